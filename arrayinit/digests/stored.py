"""Arrays in files (zarr, h5py): read block by block, along the grid of their chunks."""

import math
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends import find_backend

__all__ = ["arrays_of_group", "is_stored", "stored_blocks"]

BLOCK = 1 << 26  # bytes read at a time, or one chunk where that is larger


def is_stored(x: Any) -> bool:
    """Whether x is no array of a library but has a shape, a dtype of NumPy and elements to be read by slices."""
    if find_backend(x) is not None or isinstance(x, np.generic | Mapping) or hasattr(x, "__array_namespace__"):
        return False
    return isinstance(getattr(x, "shape", None), tuple) and isinstance(
        getattr(x, "dtype", None), np.dtype
    ) and hasattr(x, "__getitem__")  # fmt: skip


def arrays_of_group(x: Any) -> dict[str, Any] | None:
    """Dotted path -> array of all arrays in a group of zarr, which is no mapping; None for other objects."""
    group: Any = getattr(sys.modules.get("zarr"), "Group", ())
    if not isinstance(x, group):
        return None
    arrays: dict[str, Any] = {}
    for name in x.keys():  # noqa: SIM118 # a group of zarr 3 is not iterable
        inner = arrays_of_group(x[name])
        arrays |= {name: x[name]} if inner is None else {f"{name}.{path}": each for path, each in inner.items()}
    return arrays


def stored_blocks(x: Any) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
    """(position, values) of blocks that cover an array, each of whole chunks, in row-major order."""
    shape = tuple(map(int, x.shape))
    if not math.prod(shape):
        return
    chunks = getattr(x, "shards", None) or getattr(x, "chunks", None) or (1,) * len(shape)
    size = [min(n, int(chunk)) for n, chunk in zip(shape, chunks, strict=True)]
    for axis in reversed(range(len(shape))):
        more = BLOCK // (np.dtype(x.dtype).itemsize * math.prod(size))
        size[axis] = min(shape[axis], size[axis] * max(1, more))
    for corner in product(*(range(0, n, step) for n, step in zip(shape, size, strict=True))):
        block = tuple(slice(start, min(start + step, n)) for start, step, n in zip(corner, size, shape, strict=True))
        yield corner, np.asarray(x[block])
