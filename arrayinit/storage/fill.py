"""Arrays in files, filled part by part: memory maps, zarr arrays, and whatever else is written to by index."""

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
from arrayinit.specs import Spec, law_of, spec
from arrayinit.storage.journal import opened
from arrayinit.storage.parts import PART, Part, check_part, parts

__all__ = ["fill_"]


def fill_(
    x: Any,
    initializer: Spec | str,
    *,
    seed: Any = None,
    name: Name | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    part: int = PART,
) -> Any:
    """Fill an array that may be larger than memory, part by part; returns x.

        z = zarr.create_array("w.zarr", shape=(10**6, 16384), chunks=(4096, 4096), dtype="float32")
        fill_(z, ai.spec("normal", std=0.02), seed=0, name="w", journal="w.journal")

    The values are those of `initializer(x.shape, seed=seed, name=name)`. No more than about twice `part` bytes of
    memory are used, except for laws whose elements depend on each other (orthogonal, sparse), which are drawn in one.

    With a journal an interrupted draw goes on. A part counts as done only if the journal says that it was written and
    reading it gives, bit for bit, what is drawn for it again; all else is written. So the result is that of one run
    after a killed process, a loss of power, a full disk, or an array that was made anew. A memory map is on the disk
    when this returns; how soon other arrays are is up to what keeps them.

    Args:
        x: a numpy.memmap (or any array that can be filled in place), a zarr or h5py array, or another object with
            `shape`, a `dtype` of NumPy's and assignment by slices. Chunks and shards of zarr and h5py are never cut.
        initializer: a :class:`arrayinit.Spec`, or the name of an initializer with its defaults.
        seed, name: as in every initializer. With a journal a generator gives up its bits when all is written, so that
            an interrupted draw goes on with the same one.
        journal: a file that says which draw is under way and what of it was written, for one process at a time (on
            Windows, and on file systems without flock, nothing keeps two apart). Where it exists the draw goes on; at
            the end it is removed.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.
        part: bytes to draw at a time.

    Raises:
        TypeError: x is no array or can't be written to, as those of Dask and JAX; a journal without a seed, since the
            next run would take another. ValueError: x is read-only, a journal of another draw, and all that the
            initializer raises. OSError: a journal that can't be written, is no regular file (or is a link), or is
            another process's; a disk with less room than a memory map needs. All before anything is drawn.
    """
    chosen = initializer if isinstance(initializer, Spec) else spec(initializer)
    backend = find_backend(x)
    dtype = _check(x, backend)
    check_part(part)
    if journal is not None and seed is None:
        raise TypeError(
            f"`seed` must be given with a journal, for a draw that goes on needs the same; got {shown(seed)}"
        )
    shape = tuple(map(int, x.shape))
    law, _ = law_of(chosen, shape, dtype)  # raises what the initializer would
    size = int((np.dtype(x.dtype) if backend is None else x.dtype).itemsize)
    cut = parts(law, shape, size, part, _chunks(x), _order(x))
    check_progress(progress)
    check_space(x)
    key = peek(seed, name)
    takes = is_random(law) and len(cut) > 0 and not (backend is not None and backend.is_abstract(x))
    made = {"initializer": chosen.as_dict(), "key": int(key), "shape": list(shape), "dtype": dtype, "parts": len(cut)}

    def draw(where: Part) -> None:
        if backend is None:
            x[where] = chosen(shape, index=where, seed=key, dtype=dtype)
        else:
            chosen.fill_(x[(*where, ...)], shape=shape, index=where, seed=key)

    def holds(where: Part) -> bool:
        if backend is None:
            try:
                there = np.asarray(x[where])
            except Exception:  # a chunk that was written in part: each store has errors of its own
                return False
            return _same_bits(there, np.asarray(chosen(shape, index=where, seed=key, dtype=dtype)))
        here = x[(*where, ...)]
        drawn = chosen(here, shape=shape, index=where, seed=key)
        return _same_bits(backend.to_numpy(here), backend.to_numpy(drawn))

    title = str(chosen.name if name is None else name)
    with progress_bar(title, math.prod(shape) * size, progress) as advance, opened(journal, made) as kept:
        if takes and journal is None:
            key = resolve(seed, name)  # now that nothing can be refused
        written = kept.done
        for number, where in enumerate(cut):
            if number < written and holds(where):
                release(x)
            else:
                draw(where)
                write_back(x)
                kept.advance(max(kept.done, number + 1))
            advance(math.prod(s.stop - s.start for s in where) * size)
        write_back(x)  # what was found there may be in memory alone, too
        if takes and journal is not None:
            resolve(seed)  # at the end, for what is interrupted goes on with the key of the same generator
    return x


def _check(x: Any, backend: Backend | None) -> str:
    """The name of the dtype of something that can be filled."""
    if backend is not None:
        if backend.is_chunked or backend.is_distributed:
            raise TypeError(
                f"`x` must be an array that one process holds or writes to; got one of {backend.name}: call the "
                "initializer itself, which draws each of its parts where that lies"
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
    """The grid that a file keeps an array in: that of zarr's shards, which hold chunks, or of the chunks."""
    return getattr(x, "shards", None) or getattr(x, "chunks", None)


def _order(x: Any) -> list[int] | None:
    """The axes from the slowest to the fastest."""
    strides = getattr(x, "strides", None)
    return None if strides is None else sorted(range(len(strides)), key=lambda axis: -abs(strides[axis]))


def _same_bits(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Whether two arrays hold the same, zeros of either sign and NaN told apart; in any memory layout."""
    if a.shape != b.shape:
        return False
    b = b.astype(a.dtype, copy=False)  # the other byte order
    if a.dtype.kind == "c":
        return _same_bits(a.real, b.real) and _same_bits(a.imag, b.imag)
    words = f"u{a.dtype.itemsize}"
    return bool((a.view(words) == b.view(words)).all())
