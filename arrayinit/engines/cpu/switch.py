"""Whether to draw with compiled loops: when numba has earned its import."""

import os
import sys
import threading
from collections.abc import Callable

__all__ = ["compiled"]

VARIABLE = "ARRAYINIT_NUMBA"
WORTH = 1 << 25  # elements that the reference draws in the time that importing numba takes
WORTH_LOADED = 1 << 22  # where numba is imported already, in the time that loading the loops takes

_lock = threading.Lock()
_drawn = 0
_loaded: Callable[..., None] | None = None
_missing = False


def compiled(elements: int) -> Callable[..., None] | None:
    """The loops, if they are loaded or worth it now that so many more elements are to be drawn; else None.

    Raises:
        ValueError: ARRAYINIT_NUMBA is neither 0 nor 1.
    """
    global _drawn
    if _loaded is not None or _missing:
        return _loaded
    given = os.environ.get(VARIABLE, "")
    if given not in ("", "0", "1"):
        raise ValueError(f"`{VARIABLE}` must be 0 or 1; got {given!r}")
    _drawn += elements
    enough = WORTH_LOADED if "numba" in sys.modules else WORTH
    return _load() if given == "1" or (not given and _drawn >= enough) else None


def _load() -> Callable[..., None] | None:
    global _loaded, _missing
    with _lock:
        if _loaded is None and not _missing:
            try:
                from arrayinit.engines.cpu.kernels import kernel
            except ImportError:
                _missing = True
            else:
                _loaded = kernel()
    return _loaded


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
