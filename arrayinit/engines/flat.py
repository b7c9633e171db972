"""Flat parts: elements of a tensor in row-major order, drawn as boxes, each in its place of the one axis."""

from typing import Any

from arrayinit.engines import run
from arrayinit.job import Job, Target
from arrayinit.laws import is_joint

__all__ = ["draw"]


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    backend, out = target.backend, target.array_for(job)
    if backend.is_abstract(out) or not job.size:
        return out
    device, xp = backend.device(out), backend.xp
    if is_joint(job.law):  # each box would cost as much as the whole
        whole = run(job.whole, Target(backend, None, in_place=False, device=device))
        backend.write(backend.view(out), (), xp.reshape(whole, (-1,))[job.flat.start : job.flat.stop])
        return out
    for place, part in job.boxes():
        if backend.indexes:
            with backend.drawing(device):
                view = xp.reshape(backend.view(out)[place], part.shape)
            run(part, Target(backend, view, in_place=True, device=None))
        else:
            values = run(part, Target(backend, None, in_place=False, device=device))
            backend.write(out, (place,), xp.reshape(values, (-1,)))
    return out
