"""Memory maps: check the disk space for their pages, write pages back, release them."""

import errno
import mmap
import os
from typing import Any, NamedTuple

import numpy as np

from arrayinit.common.disks import room

__all__ = ["check_space", "release", "write_back"]


class _Map(NamedTuple):
    """A map that is shared with a file, and the name of the file if NumPy knows it."""

    pages: mmap.mmap
    name: str | None


def release(x: Any) -> None:
    """Release the pages of an array in a shared memory map. The system still writes changed pages to the file."""
    shared = _shared(x)
    if shared is not None and hasattr(mmap, "MADV_DONTNEED"):
        shared.pages.madvise(mmap.MADV_DONTNEED)


def write_back(x: Any) -> None:
    """Write the pages of an array in a shared memory map to the disk, then release them."""
    shared = _shared(x)
    if shared is not None:
        shared.pages.flush()
        release(x)


def check_space(x: Any) -> None:
    """OSError if a shared memory map has holes that don't fit on the disk: writing there would kill the process."""
    shared = _shared(x)
    if shared is None or shared.name is None:
        return
    disk = room(os.path.dirname(shared.name))
    if disk is None or not os.path.exists(shared.name):  # renamed since
        return
    file = os.stat(shared.name)
    holes = min(file.st_size - 512 * file.st_blocks, x.nbytes)
    if holes > disk.free:
        raise OSError(
            errno.ENOSPC,
            f"`x` must have {holes:,} bytes free on its disk; got {disk.free:,}",
            shared.name,
        )


def _shared(x: Any) -> _Map | None:
    """The shared memory map that holds an array, or None."""
    is_shared, name, owner = False, None, x
    while owner is not None and not isinstance(owner, mmap.mmap):
        if isinstance(owner, np.memmap):
            is_shared = is_shared or owner.mode in ("r", "r+", "w+")
            name = owner.filename if name is None else name
        owner = getattr(owner, "base", None)
    return _Map(owner, None if name is None else str(name)) if is_shared and owner is not None else None
