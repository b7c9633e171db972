"""Draws that torch's compilers and tracers record: calls as text, and the operator that makes them."""
