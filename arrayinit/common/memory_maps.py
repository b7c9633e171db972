"""Memory maps: whether the disk has room for their pages, and what becomes of pages that were read or written."""

import errno
import mmap
import os
from typing import Any, NamedTuple

import numpy as np

from arrayinit.common.disks import room

__all__ = ["check_space", "release", "write_back"]


class _Map(NamedTuple):
    """A map that is shared with a file, and the file's name where NumPy knows it."""

    pages: mmap.mmap
    name: str | None


def release(x: Any) -> None:
    """Let the pages of an array that lies in a shared memory map go; they are in the file, or on their way there."""
    found = _shared(x)
    if found is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.pages.madvise(mmap.MADV_DONTNEED)


def write_back(x: Any) -> None:
    """Return when the pages of an array that lies in a shared memory map are on the disk, and let them go."""
    found = _shared(x)
    if found is not None:
        found.pages.flush()
        release(x)


def check_space(x: Any) -> None:
    """OSError where a shared memory map has more holes than the disk has room: writing to one would end the process."""
    found = _shared(x)
    if found is None or found.name is None:
        return
    here = room(os.path.dirname(found.name))
    if here is None or not os.path.exists(found.name):  # renamed since
        return
    file = os.stat(found.name)
    holes = min(file.st_size - 512 * file.st_blocks, x.nbytes)
    if holes > here.free:
        raise OSError(
            errno.ENOSPC,
            f"`x` must have room on its disk, {holes:,} bytes, of which {here.free:,} are free",
            found.name,
        )


def _shared(x: Any) -> _Map | None:
    """The shared memory map that an array lies in."""
    shared, name, owner = False, None, x
    while owner is not None and not isinstance(owner, mmap.mmap):
        if isinstance(owner, np.memmap):
            shared = shared or owner.mode in ("r", "r+", "w+")
            name = owner.filename if name is None else name
        owner = getattr(owner, "base", None)
    return _Map(owner, None if name is None else str(name)) if shared and owner is not None else None
