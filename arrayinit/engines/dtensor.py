"""DTensors: each rank draws the blocks that it holds, by the engine of the memory that it holds them in."""

from typing import Any

import torch

from arrayinit.backends import backend_of
from arrayinit.backends.dtensor import DTensorBackend, local
from arrayinit.engines import run
from arrayinit.job import Job, Target
from arrayinit.laws import is_joint

__all__ = ["draw"]


def draw(job: Job, target: Target) -> Any:
    """The target's DTensor, or a new one like it, filled on this rank."""
    backend, x = target.backend, target.array
    assert isinstance(backend, DTensorBackend)
    out = x if target.in_place else backend.empty_like(x, job.dtype, target.device)
    held = local(out)
    if target.in_place:
        torch.autograd.graph.increment_version(out)  # so that a backward pass that saved it notices
    plain = backend_of(held)
    parts = list(backend.parts(out))
    if is_joint(job.law) and len(parts) > 1:
        # The elements of a block depend on all the others: drawn once, then cut.
        whole = run(job, Target(plain, None, in_place=False, device=plain.device(held)))
        for corner, where in parts:
            from_ = tuple(slice(a, a + w.stop - w.start) for a, w in zip(corner, where, strict=True))
            plain.write(plain.view(held), where, whole[from_])
        return out
    for corner, where in parts:
        shape = tuple(w.stop - w.start for w in where)
        block = Job(job.law, job.sampling, job.key, job.geometry, job.box.part(corner, shape), job.dtype)
        run(block, Target(plain, held[where], in_place=True, device=None))
    return out
