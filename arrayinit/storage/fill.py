"""Arrays in files, filled tile by tile: memory maps, zarr arrays, and other objects with assignment by slices."""

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends import Backend, find_backend
from arrayinit.common.memory_maps import check_space, release, write_back
from arrayinit.common.messages import shown
from arrayinit.common.progress import check_progress, progress_bar
from arrayinit.laws import is_random
from arrayinit.seeds import Name, peek, resolve
from arrayinit.specs import Spec, law_of, named
from arrayinit.storage.journal import open_journal
from arrayinit.storage.tiling import TILE_BYTES, Tile, check_part, tiling

__all__ = ["fill_"]


def fill_(
    x: Any,
    initializer: Spec | str,
    *,
    seed: Any = None,
    name: Name | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    part: int = TILE_BYTES,
) -> Any:
    """Fill an array that may be larger than memory, part by part; returns x.

    The values are those of `initializer(x.shape, seed=seed, name=name)`. The draw uses about twice `part` bytes of
    memory, except orthogonal and sparse tensors, which must fit in memory.

        >>> from arrayinit.storage import fill_
        >>> x = fill_(np.empty((4, 3), "float32"), ai.spec("normal", std=0.02), seed=0, part=16)
        >>> np.array_equal(x, ai.normal((4, 3), std=0.02, seed=0))
        True

    A zarr array of 64 GB, with a journal:

        z = zarr.create_array("w.zarr", shape=(10**6, 16384), chunks=(4096, 4096), dtype="float32")
        fill_(z, ai.spec("normal", std=0.02), seed=0, name="w", journal="w.journal")

    With a journal an interrupted draw goes on. A part counts as written only if the journal says so and the array holds
    the bits that drawing the part again gives; all other parts are written. So the result is the same as that of one
    run, even after a killed process, a loss of power, a full disk, or a new array in the place of the old one. A memory
    map is on the disk when this returns; when other arrays are depends on their library.

    Args:
        x: a numpy.memmap (or any array that can be filled in place), a zarr or h5py array, or another object with
            `shape`, a `dtype` of NumPy's and assignment by slices. Chunks and shards of zarr and h5py are never cut.
        initializer: a :class:`arrayinit.Spec`, or the name of an initializer with its defaults.
        seed, name: as in every initializer. With a journal a generator gives up its bits when all parts are written, so
            that an interrupted draw goes on with the same key.
        journal: the path of a file that records the draw and how much of it was written. One process at a time may have
            it (on Windows, and on file systems without flock, nothing keeps two apart). Where the file exists the draw
            goes on; at the end it is removed.
        progress: True for a progress bar, False for none; None for one on terminals after a second, if rich is
            installed.
        part: the bytes to draw at a time.

    Raises:
        TypeError: x is not an array or can't be written to, as those of Dask and JAX; a journal without a seed, since
            the next run would take another key.
        ValueError: x is read-only, the journal is of another draw; and as the initializer.
        OSError: a journal that can't be written, is a link or not a regular file, or belongs to another process; a disk
            with less room than a memory map needs. All of these come before anything is drawn.
    """
    drawn_by = initializer if isinstance(initializer, Spec) else named(initializer, "initializer")
    backend = find_backend(x)
    dtype = _check(x, backend)
    check_part(part)
    if journal is not None and seed is None:
        raise TypeError(
            f"`seed` must be given with a journal, so that an interrupted draw goes on with it; got {shown(seed)}"
        )
    shape = tuple(map(int, x.shape))
    law, _ = law_of(drawn_by, shape, dtype)  # raises as the initializer would
    itemsize = int((np.dtype(x.dtype) if backend is None else x.dtype).itemsize)
    tiles = tiling(law, shape, itemsize, part, _chunks(x), _order(x))
    check_progress(progress)
    check_space(x)
    key = peek(seed, name)
    takes_key = is_random(law) and len(tiles) > 0 and not (backend is not None and backend.is_abstract(x))
    entry = {
        "initializer": drawn_by.as_dict(), "key": int(key), "shape": list(shape), "dtype": dtype, "parts": len(tiles),
    }  # fmt: skip

    def draw(tile: Tile) -> None:
        if backend is None:
            x[tile] = drawn_by(shape, index=tile, seed=key, dtype=dtype)
        else:
            drawn_by.fill_(x[(*tile, ...)], shape=shape, index=tile, seed=key)

    def is_drawn(tile: Tile) -> bool:
        if backend is None:
            try:
                stored = np.asarray(x[tile])
            except Exception:  # a chunk that is only half written: each store has errors of its own
                return False
            return _same_bits(stored, np.asarray(drawn_by(shape, index=tile, seed=key, dtype=dtype)))
        view = x[(*tile, ...)]
        drawn = drawn_by(view, shape=shape, index=tile, seed=key)
        return _same_bits(backend.to_numpy(view), backend.to_numpy(drawn))

    title = str(drawn_by.name if name is None else name)
    with progress_bar(title, math.prod(shape) * itemsize, progress) as advance, open_journal(journal, entry) as record:
        if takes_key and journal is None:
            key = resolve(seed, name)  # now that nothing can be refused
        written = record.done
        for number, tile in enumerate(tiles):
            if number < written and is_drawn(tile):
                release(x)
            else:
                draw(tile)
                write_back(x)
                record.advance(max(record.done, number + 1))
            advance(math.prod(s.stop - s.start for s in tile) * itemsize)
        write_back(x)  # tiles that were there already may be in memory only
        if takes_key and journal is not None:
            resolve(seed)  # at the end: an interrupted draw goes on with the key of the same generator
    return x


def _check(x: Any, backend: Backend | None) -> str:
    """The name of the dtype of x; TypeError or ValueError where x can't be filled."""
    if backend is not None:
        if backend.is_chunked or backend.is_distributed:
            raise TypeError(
                f"`x` must be an array that one process holds or writes to; got one of {backend.name}: call the "
                "initializer itself, which draws each chunk or shard in place"
            )
        backend.check_readable(x)
        backend.check_writable(x)
        return backend.dtype_name(x.dtype)
    if not all(hasattr(x, name) for name in ("shape", "dtype", "__getitem__", "__setitem__")):
        raise TypeError(
            "`x` must be an array, or have a shape, a dtype and assignment by slices, as those of zarr do; got "
            f"{shown(x)}"
        )
    if getattr(x, "read_only", False) or getattr(getattr(x, "file", None), "mode", None) == "r":  # zarr's, h5py's
        raise ValueError(f"`x` must be writable; got {shown(x)}, which is read-only")
    try:
        return str(np.dtype(x.dtype).name)
    except TypeError:
        raise TypeError(f"`x` must have a dtype of NumPy's; got {shown(x.dtype)}") from None


def _chunks(x: Any) -> Any:
    """The sizes of the cells that a file keeps an array in: zarr's shards, which hold chunks, or chunks."""
    return getattr(x, "shards", None) or getattr(x, "chunks", None)


def _order(x: Any) -> list[int] | None:
    """The axes from the slowest to the fastest."""
    strides = getattr(x, "strides", None)
    return None if strides is None else sorted(range(len(strides)), key=lambda axis: -abs(strides[axis]))


def _same_bits(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Whether two arrays hold the same bits, so that 0.0 differs from -0.0 and NaNs compare; in any memory layout."""
    if a.shape != b.shape:
        return False
    b = b.astype(a.dtype, copy=False)  # to the same byte order
    if a.dtype.kind == "c":
        return _same_bits(a.real, b.real) and _same_bits(a.imag, b.imag)
    words = f"u{a.dtype.itemsize}"
    return bool((a.view(words) == b.view(words)).all())
