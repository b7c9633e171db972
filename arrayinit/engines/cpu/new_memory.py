"""New memory, whose pages the system gives one by one, at the first write to each: those of a rectangle at once.

That is cheaper: filling 2 GB of new memory with normals took 1.6 s of processor time, and 1.07 s when each thread first
asked for the pages of its rectangle. Memory that has its pages would lose by it, so one of them is looked at before.
"""

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable

__all__ = ["is_untouched", "populate"]

MADV_POPULATE_WRITE = 23  # since Linux 5.14; before it an error, which changes nothing


def is_untouched(address: int) -> bool:
    """Whether the system has no page yet for an address, and can be asked for several at once."""
    calls = _calls()
    if calls is None:
        return False
    resident = ctypes.c_ubyte(1)
    calls[0](address // mmap.PAGESIZE * mmap.PAGESIZE, 1, ctypes.byref(resident))
    return not resident.value & 1


def populate(address: int, size: int) -> None:
    """Ask for all pages of memory that is about to be written; it keeps its values."""
    calls = _calls()
    if calls is not None:
        start = address // mmap.PAGESIZE * mmap.PAGESIZE
        calls[1](start, address + size - start, MADV_POPULATE_WRITE)


@functools.cache
def _calls() -> tuple[Callable[[int, int, object], int], Callable[[int, int, int], int]] | None:
    """The system's mincore and madvise; None where there are none."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        mincore, madvise = library.mincore, library.madvise
    except (OSError, AttributeError):
        return None
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return mincore, madvise
