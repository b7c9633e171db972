"""Parts of a tensor beside the whole of it, and Dask's blocks beside those of Dask's own generators."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import arrayinit
from arrayinit.bench.peers import OURS, Calls

__all__ = ["BLOCKS", "DASK", "WHOLE", "block_calls", "slice_calls"]

WHOLE, DASK = "the whole", "dask.array.random"
SHAPE = (16384, 8192)  # half a GiB, of which the smallest part is worth more than waking a thread
BLOCKS = ((8192, 8192), (1024, 8192))  # the shape of a Dask array, and of its blocks


def slice_calls(kind: str, parts: int) -> Calls:
    """Filling an array with one of so many equal parts of a normal tensor, and another with all of it."""
    count, axis = SHAPE[kind == "columns"] // parts, int(kind == "columns")
    index: list[Any] = [slice(None), slice(None)]
    index[axis] = slice(count, 2 * count)
    shape = list(SHAPE)
    shape[axis] = count
    part = partial(arrayinit.normal_, np.empty(shape, np.float32), shape=SHAPE, index=tuple(index), seed=0)
    return {OURS: part, WHOLE: partial(arrayinit.normal_, np.empty(SHAPE, np.float32), seed=0)}


def block_calls() -> Calls:
    """Making a Dask array of normal float32 numbers and computing it, on Dask's own threads."""
    import dask.array

    shape, chunks = BLOCKS

    def computed(make: Callable[[], Any]) -> Any:
        return make().compute(scheduler="threads")

    def theirs() -> Any:
        return dask.array.random.default_rng(0).normal(size=shape, chunks=chunks).astype("float32")

    ours = partial(arrayinit.normal, shape, seed=0, xp="dask", chunks=chunks)
    return {OURS: partial(computed, ours), DASK: partial(computed, theirs)}
