"""Dask arrays: lazy, each block drawn where it is computed, in the library of the block (NumPy or CuPy)."""

import math
from collections.abc import Iterator
from typing import Any

import array_api_compat.dask.array as xp
import dask.array
import dask.config
import dask.utils
import numpy as np
import numpy.typing as npt

from arrayinit.backends.base import Backend
from arrayinit.common.messages import shown

__all__ = ["make"]


BLOCKS = 1 << 18  # at most, where no chunks are given: a draw takes some 20 microseconds for each
_FORMS = (int, float, np.integer, str, list, tuple, dict, type(None))  # types of `chunks`


class DaskBackend(Backend):
    """The backend of dask.array.Array."""

    engine = "dask"
    fills_in_place = False  # there is no memory to write to, only a graph
    is_chunked = True

    def dtype(self, name: str) -> Any:
        from arrayinit.backends import backend_named

        return backend_named("numpy").dtype(name)

    def check_new(self, shape: tuple[int, ...], dtype: str, like: Any, device: Any, chunks: Any = None) -> None:
        if like is None:
            self.chunks(shape, dtype, chunks)

    def check_readable(self, x: Any) -> None:
        if self.shapeless(x):
            raise ValueError(f"`x` must have a known shape; got a Dask array of shape {x.shape}")

    def check_device(self, device: Any) -> Any:
        if device is not None and not (isinstance(device, str) and device == "cpu"):
            raise ValueError(
                f"`device` must be None or 'cpu' for Dask, whose blocks know their own; got {shown(device)}"
            )
        return device

    def device(self, x: Any) -> Any:
        return "cpu"

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        from arrayinit.backends import backend_of

        block = x.compute()
        return backend_of(block).to_numpy(block)

    def blocks(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        starts = [np.cumsum((0, *sizes)) for sizes in x.chunks]
        for number in np.ndindex(*x.numblocks):
            position = tuple(int(start[k]) for start, k in zip(starts, number, strict=True))
            yield position, x.blocks[number].compute()

    def meta(self, dtype: str) -> Any:
        """An empty array in the library and dtype of the blocks of an array made from a shape."""
        return np.empty((0,), self.dtype(dtype))

    def shapeless(self, x: Any) -> str:
        is_unknown = any(math.isnan(n) for n in x.shape)
        return "of unknown shape: call its compute_chunk_sizes() first" if is_unknown else ""

    def chunks(self, shape: tuple[int, ...], dtype: str, given: Any = None) -> Any:
        """The sizes of the blocks of an array: the given ones, or those that Dask itself would choose."""
        wanted, normalize = "auto" if given is None else given, dask.array.core.normalize_chunks
        if given is None:
            self._check_blocks(shape, dtype)
        try:
            if not isinstance(given, _FORMS):  # an iterator may not end, a set has no order
                raise TypeError("no number, text, sequence or dictionary")
            try:
                return normalize(wanted, shape, dtype=self.dtype(dtype))
            except ZeroDivisionError:  # Dask divides bytes among axes, and some empty arrays have none
                return normalize(_without_bytes(wanted), shape, dtype=self.dtype(dtype))
        except MemoryError:
            raise
        except Exception as error:  # from Dask's arithmetic
            if given is None:
                raise ValueError(
                    f"`x` must be a shape that Dask can cut into blocks where `chunks` is not given; got {shape} "
                    f"({error})"
                ) from None
            raise ValueError(
                f"`chunks` must be one of the forms that Dask takes, and fit the shape {shape}; got {shown(given)} "
                f"({error})"
            ) from None

    def _check_blocks(self, shape: tuple[int, ...], dtype: str) -> None:
        """Refuse a shape that Dask would cut into more blocks than it can list, before it tries."""
        size = dask.utils.parse_bytes(dask.config.get("array.chunk-size"))
        blocks = math.prod(shape) * np.dtype(self.dtype(dtype)).itemsize // max(size, 1)
        if blocks > BLOCKS:
            raise ValueError(
                f"`x` must have at most 2**18 blocks where `chunks` is not given; got {shape}, which Dask cuts into "
                f"some {blocks:,}: give larger `chunks`, or 'auto' for these"
            )


def _without_bytes(chunks: Any) -> Any:
    """Chunks that leave each axis whole that was to be cut by a number of bytes."""
    if isinstance(chunks, dict):
        return {axis: _without_bytes(given) for axis, given in chunks.items()}
    if isinstance(chunks, list | tuple):
        return tuple(map(_without_bytes, chunks))
    return -1 if isinstance(chunks, str) else chunks


def make() -> Backend:
    """The one backend for Dask."""
    return DaskBackend("dask", xp)
