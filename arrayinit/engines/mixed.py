"""Tensors of several laws: each part drawn by itself, in place in the memory of the whole, by that memory's engine."""

from typing import Any

from arrayinit.engines import run
from arrayinit.job import Job, Target

__all__ = ["draw"]


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    backend, out = target.backend, target.array_for(job)
    if backend.is_abstract(out) or not job.size:
        return out
    if not job.is_covered:
        backend.fill(out, 0, job.dtype)
    for place, part in job.pieces():
        if backend.indexes:
            with backend.drawing(backend.device(out)):
                view = backend.view(out)[(*place, ...)]
            run(part, Target(backend, view, in_place=True, device=None))
        else:
            backend.write(out, place, run(part, Target(backend, None, in_place=False, device=backend.device(out))))
    return out
