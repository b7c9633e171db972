"""Constructors, run without drawing: torch's operations are noted, not executed; JAX's are read from their jaxprs."""
