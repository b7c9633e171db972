"""Conformance: the golden vectors, the script that makes them, and the check that compares this machine with them."""
