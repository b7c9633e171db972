"""`python -m arrayinit bench`: arrayinit beside every installed library's own initializers, in one run."""
