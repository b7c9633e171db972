"""The golden vectors, the script that writes them, and the check that compares this machine with them."""
