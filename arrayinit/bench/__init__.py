"""Benchmarks: arrayinit's initializers beside those of each installed library, in one run."""
