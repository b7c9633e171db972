"""Constructors of torch models, run without drawing: what they do to their tensors is noted, not executed."""
