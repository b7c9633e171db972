"""DTensors: each rank draws the parts that it holds, by the engine of their memory."""

from typing import Any

import torch

from arrayinit.backends import backend_of
from arrayinit.backends.dtensor import DTensorBackend, local
from arrayinit.engines.parts import part_filler
from arrayinit.job import Job, Target

__all__ = ["draw"]


def draw(job: Job, target: Target) -> Any:
    """The target's DTensor, or a new one like it, filled on this rank."""
    backend = target.backend
    assert isinstance(backend, DTensorBackend)
    out = target.array_for(job)
    shard = local(out)
    if target.in_place:
        torch.autograd.graph.increment_version(out)  # so that a backward pass that saved it notices
    parts = list(backend.parts(out))
    fill = part_filler(job, backend_of(shard), several=len(parts) > 1)
    for corner, place in parts:
        fill(corner, shard[place])
    return out
