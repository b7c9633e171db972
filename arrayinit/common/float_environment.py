"""Float arithmetic in IEEE's default environment, whatever the thread has set.

A thread may round other than to nearest (C's fesetround) or flush subnormal numbers to zero (torch.set_flush_denormal,
a library compiled with -ffast-math). Both would change digits of bounds and the last step of a draw, where an integer
becomes a float. To look costs less than a tenth of a microsecond; the environment is set only where it is another one.
"""

import ctypes
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

__all__ = ["default_environment", "in_default_environment", "is_default"]

P = ParamSpec("P")
T = TypeVar("T")

# Names of the module, so that the interpreter computes with them when a draw begins and not when it compiles.
_ONE, _TINY, _HALF, _SMALL = 1.0, 2.0**-60, 0.5, sys.float_info.min

_BYTES = 256  # more than any C library's fenv_t takes


def is_default() -> bool:
    """Whether this thread rounds to nearest and keeps subnormal numbers."""
    return _ONE + _TINY == _ONE - _TINY and _SMALL * _HALF > 0


@contextmanager
def default_environment() -> Iterator[None]:
    """The default environment for this thread, and afterwards what it had before.

    RuntimeError where the C library offers no way to set it.
    """
    saved = ctypes.create_string_buffer(_BYTES)
    get, set_, default = _functions()
    get(saved)
    set_(default)
    try:
        if not is_default():
            raise _refusal()
        yield
    finally:
        set_(saved)


def in_default_environment(function: Callable[P, T]) -> Callable[P, T]:
    """A function that computes in the default environment."""

    @functools.wraps(function)
    def computed(*args: P.args, **keywords: P.kwargs) -> T:
        if is_default():
            return function(*args, **keywords)
        with default_environment():
            return function(*args, **keywords)

    return computed


@functools.cache
def _functions() -> tuple[Any, Any, Any]:
    """C's fegetenv and fesetenv, and its FE_DFL_ENV."""
    for name in (None, "libm.so.6"):
        try:
            library = ctypes.CDLL(name)
            get, set_ = library.fegetenv, library.fesetenv
        except (OSError, TypeError, AttributeError):  # TypeError: None on Windows
            continue
        default: Any
        try:
            default = ctypes.byref(ctypes.c_char.in_dll(library, "_FE_DFL_ENV"))  # macOS
        except ValueError:
            default = ctypes.c_void_p(-1)  # glibc and musl
        return get, set_, default
    raise _refusal()


def _refusal() -> RuntimeError:
    return RuntimeError(
        "draws need float arithmetic that rounds to nearest and keeps subnormal numbers; this thread's is set "
        "otherwise (by fesetround, torch.set_flush_denormal or a library) and can't be set back on this platform"
    )
