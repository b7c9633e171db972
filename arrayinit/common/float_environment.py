"""Run code in IEEE's default floating-point environment, whatever the thread has set.

A thread may have another rounding mode (C's fesetround) or flush subnormal numbers to zero (torch.set_flush_denormal, a
library compiled with -ffast-math). Both would change digits of bounds and the last step of a draw, where an integer
becomes a float. The check takes less than a tenth of a microsecond; the environment is set only if it differs.
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

# Variables, so that the interpreter can't fold the arithmetic in `is_default` when it compiles this file.
_ONE, _TINY, _HALF, _SMALL = 1.0, 2.0**-60, 0.5, sys.float_info.min

_BYTES = 256  # more than any C library's fenv_t takes


def is_default() -> bool:
    """Whether this thread rounds to nearest and keeps subnormal numbers."""
    return _ONE + _TINY == _ONE - _TINY and _SMALL * _HALF > 0


@contextmanager
def default_environment() -> Iterator[None]:
    """Set the default environment for this thread, and restore the previous one at the end.

    RuntimeError if the C library has no functions to set it.
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
    """A decorator: the function runs in the default environment."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **keywords: P.kwargs) -> T:
        if is_default():
            return function(*args, **keywords)
        with default_environment():
            return function(*args, **keywords)

    return wrapper


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
        "draws need floating-point arithmetic that rounds to nearest and keeps subnormal numbers; this thread has "
        "another setting (of fesetround, torch.set_flush_denormal or a library), and this platform can't reset it"
    )
