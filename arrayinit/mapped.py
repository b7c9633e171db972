"""Memory maps: pages that were read or written need not stay in the memory of the process."""

import mmap
from typing import Any

import numpy as np

__all__ = ["release"]


def release(x: Any) -> None:
    """Let the pages of an array that lies in a shared memory map go; they are in the file, or on their way there."""
    shared, owner = False, x
    while owner is not None and not isinstance(owner, mmap.mmap):
        shared = shared or (isinstance(owner, np.memmap) and owner.mode in ("r", "r+", "w+"))
        owner = getattr(owner, "base", None)
    if shared and owner is not None and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
