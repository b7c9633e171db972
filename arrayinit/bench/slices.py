"""Slices of a tensor beside the whole tensor, and Dask's blocks beside those of Dask's generators."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import arrayinit
from arrayinit.bench.peers import OURS, Calls

__all__ = ["BLOCKS", "DASK", "WHOLE", "block_calls", "slice_calls"]

WHOLE, DASK = "the whole", "dask.array.random"
SHAPE = (16384, 8192)  # half a GiB: drawing the smallest slice takes longer than waking a thread
BLOCKS = ((8192, 8192), (1024, 8192))  # the shapes of a Dask array and of its blocks


def slice_calls(kind: str, count: int) -> Calls:
    """Fill an array with one of `count` equal slices of a normal tensor, and another array with the whole tensor."""
    size, axis = SHAPE[kind == "columns"] // count, int(kind == "columns")
    index: list[Any] = [slice(None), slice(None)]
    index[axis] = slice(size, 2 * size)
    shape = list(SHAPE)
    shape[axis] = size
    part = partial(arrayinit.normal_, np.empty(shape, np.float32), shape=SHAPE, index=tuple(index), seed=0)
    return {OURS: part, WHOLE: partial(arrayinit.normal_, np.empty(SHAPE, np.float32), seed=0)}


def block_calls() -> Calls:
    """Make a Dask array of normal float32 numbers and compute it on Dask's threads."""
    import dask.array

    shape, chunks = BLOCKS

    def compute(make: Callable[[], Any]) -> Any:
        return make().compute(scheduler="threads")

    def theirs() -> Any:
        return dask.array.random.default_rng(0).normal(size=shape, chunks=chunks).astype("float32")

    ours = partial(arrayinit.normal, shape, seed=0, xp="dask", chunks=chunks)
    return {OURS: partial(compute, ours), DASK: partial(compute, theirs)}
