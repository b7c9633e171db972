"""Whether to draw with compiled loops: when they have earned their loading, or their compilation."""

import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["compiled"]

VARIABLE = "ARRAYINIT_COMPILE"
WORTH_LOADING = 1 << 22  # elements that NumPy draws in the time that stored loops take to load
WORTH_COMPILING = 1 << 24  # elements of a process whose like will want stored loops
CALL = 1 << 15  # elements that NumPy draws in the time that the smallest draw takes without the loops

_lock = threading.Lock()
_drawn = 0
_worth = WORTH_LOADING
_loaded: Callable[..., None] | None = None
_missing = False


def compiled(elements: int) -> Callable[..., None] | None:
    """The loops, if they are loaded or worth it now that so many more elements are to be drawn; else None.

    Raises:
        ValueError: ARRAYINIT_COMPILE is neither 0 nor 1.
    """
    global _drawn
    elements = max(elements, CALL)
    if _loaded is not None or _missing:
        return _loaded
    given = os.environ.get(VARIABLE, "")
    if given not in ("", "0", "1"):
        raise ValueError(f"`{VARIABLE}` must be 0 or 1; got {given!r}")
    _drawn += elements
    if given == "0" or (not given and _drawn < _worth):
        return None
    return _load(given == "1" or _drawn >= WORTH_COMPILING)


def _load(may_compile: bool) -> Callable[..., None] | None:
    global _loaded, _missing, _worth
    with _lock:
        if _loaded is None and not _missing:
            from arrayinit.engines.cpu import machine_code

            if may_compile or machine_code.is_stored():
                try:
                    with _without_collections():
                        _loaded = machine_code.load(may_compile)
                except ImportError:
                    _missing = True
                except Exception as error:
                    _missing = True
                    warnings.warn(
                        f"draws will be slow, for the loops could not be compiled: {error!r}",
                        RuntimeWarning,
                        stacklevel=2,
                    )
            _worth = WORTH_COMPILING
    return _loaded


@contextmanager
def _without_collections() -> Iterator[None]:
    """No garbage collection: beside a large library one takes longer than the import of a small one that causes it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
