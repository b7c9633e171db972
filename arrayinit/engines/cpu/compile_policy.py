"""When to draw by compiled loops: once loading, or compiling, them pays off."""

import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from arrayinit.engines.cpu.warnings_once import warn_once

__all__ = ["compiled", "why_not_compiled"]

VARIABLE = "ARRAYINIT_COMPILE"
WORTH_LOADING = 1 << 22  # elements that NumPy draws in the time that stored loops take to load
WORTH_COMPILING = 1 << 24  # elements after which compiling pays off for later runs
CALL = 1 << 15  # elements that NumPy draws in the time that its smallest draw takes

_drawn = 0
_worth = WORTH_LOADING  # elements after which to try
_loaded: Callable[..., None] | None = None
_missing = False
_loading = False  # a flag, not a lock: a signal handler may draw while the thread that it interrupts loads them


def compiled(elements: int) -> Callable[..., None] | None:
    """The loops, if they are loaded or pay off with a draw of so many elements more; else None."""
    global _drawn
    elements = max(elements, CALL)
    if _loaded is not None or _missing:
        return _loaded
    given = os.environ.get(VARIABLE, "")
    if given not in ("", "0", "1"):
        warn_once(f"`{VARIABLE}` must be 0 or 1; got {given!r}, so it is ignored")
        given = ""
    _drawn += elements
    if given == "0" or (not given and _drawn < _worth):
        return None
    return _load(given == "1" or _drawn >= WORTH_COMPILING)


def why_not_compiled() -> str | None:
    """Why draws never use the compiled loops, and how to get them, in a sentence; None where they use them or will."""
    if os.environ.get(VARIABLE) == "0":
        reason = f"not used, because {VARIABLE} is 0"
    elif importlib.util.find_spec("llvmlite") is None:
        reason = "missing, because llvmlite is not installed (pip install llvmlite)"
    elif _missing:
        reason = "missing, because they could not be compiled"
    else:
        return None
    return f"The compiled loops are {reason}; NumPy draws the same bits, more slowly."


def _load(may_compile: bool) -> Callable[..., None] | None:
    """The loops; None if they are not available, and while another draw loads them."""
    global _loaded, _loading, _missing, _worth
    if sys.is_finalizing() or _loaded is not None or _missing or _loading:
        return _loaded
    try:
        _loading = True
        with _without_collections():
            from arrayinit.engines.cpu import machine_code

            if may_compile or machine_code.is_stored():
                _loaded = machine_code.load(may_compile)
        _worth = WORTH_COMPILING
    except Exception as error:
        _missing = True
        if not (isinstance(error, ModuleNotFoundError) and error.name == "llvmlite"):  # an optional dependency
            warn_once(f"arrayinit could not compile its fast loops ({error!r}); using NumPy, which draws the same bits")
    finally:
        _loading = False
    return _loaded


@contextmanager
def _without_collections() -> Iterator[None]:
    """Pause garbage collection: an import may trigger it, and it can take longer than the load."""
    was_enabled = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if was_enabled:
            gc.enable()


def _after_fork() -> None:
    global _loading
    _loading = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
