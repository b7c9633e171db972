"""Dask: a lazy array, whose blocks are drawn where they are computed, by the engine of their library."""

from typing import Any

import dask
import dask.array

from arrayinit.backends import backend_of
from arrayinit.backends.dask import DaskBackend
from arrayinit.common.float_environment import in_default_environment
from arrayinit.engines import run
from arrayinit.job import Job, Target
from arrayinit.laws import is_joint

__all__ = ["draw"]


def draw(job: Job, target: Target) -> Any:
    """A lazy array, or the target's with its graph replaced. The values don't depend on the chunks."""
    backend = target.backend
    assert isinstance(backend, DaskBackend)
    meta = target.array._meta if target.array is not None else backend.meta(job.dtype)
    chunks = target.array.chunks if target.array is not None else backend.chunks(job.shape, job.dtype, target.chunks)
    if is_joint(job.law):
        # Drawn once as a whole, then cut: elements of a block depend on all others. Dask keeps the whole, not `parts`.
        whole = dask.delayed(_draw, pure=True)(job, meta)
        result = dask.array.from_delayed(whole, job.shape, backend.dtype(job.dtype), meta=meta).rechunk(chunks)
    else:
        result = dask.array.map_blocks(
            _block, job=job, library=meta, chunks=chunks, dtype=backend.dtype(job.dtype), meta=meta
        )
    if target.in_place:
        if 0 not in job.shape:  # Dask refuses to assign empty arrays
            target.array[...] = result
        return target.array
    return result


@in_default_environment  # in the thread that computes the block
def _draw(job: Job, meta: Any) -> Any:
    backend = backend_of(meta)
    return run(job, Target(backend, None, in_place=False, device=backend.device(meta)))


def _block(job: Job, library: Any, block_info: Any = None) -> Any:
    ends = block_info[None]["array-location"]
    corner, shape = tuple(a for a, _ in ends), tuple(b - a for a, b in ends)
    return _draw(job.part(corner, shape), library)
