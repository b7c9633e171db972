"""Checks of numbers, flags and words: each returns the value in its plain form, or raises an error that names it."""

import math
from numbers import Real
from typing import Any

import numpy as np

from arrayinit.common.integers import as_integer
from arrayinit.common.messages import did_you_mean, shown

__all__ = [
    "finite",
    "flag",
    "integer",
    "is_real",
    "nonnegative",
    "number",
    "one_of",
    "positive",
    "real",
    "scalar",
]


def is_real(value: Any) -> bool:
    """Whether a value is a real number of Python, NumPy or another library that registers its scalars as such."""
    # np.timedelta64 registers as a number.
    return isinstance(value, Real) and not isinstance(value, bool | np.timedelta64)


def scalar(value: Any) -> Any:
    """The Python number in an array without axes, None where the array has no value yet; other values as they are."""
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except Exception:  # of a tensor that is traced, or on the meta device
        return None


def real(value: Any, name: str) -> float:
    """A real number as a float; NaN and infinities pass."""
    if type(value) is float:
        return value
    if not is_real(value):
        raise TypeError(f"`{name}` must be a real number; got {shown(value)}")
    try:
        x = float(value)
        if not math.isinf(x) or bool(value == x):
            return x
    except OverflowError:
        pass
    raise ValueError(f"`{name}` must be within the range of float64; got {shown(value)}")


def number(value: Any, name: str) -> float:
    """A real number other than NaN."""
    x = real(value, name)
    if math.isnan(x):
        raise ValueError(f"`{name}` must not be NaN; got {shown(value)}")
    return x


def finite(value: Any, name: str) -> float:
    """A finite real number."""
    x = real(value, name)
    if not math.isfinite(x):
        raise ValueError(f"`{name}` must be finite; got {shown(value)}")
    return x


def nonnegative(value: Any, name: str) -> float:
    """A finite real number >= 0."""
    x = finite(value, name)
    if x < 0:
        raise ValueError(f"`{name}` must not be negative; got {shown(value)}")
    return x


def positive(value: Any, name: str) -> float:
    """A finite real number > 0."""
    x = finite(value, name)
    if x <= 0:
        raise ValueError(f"`{name}` must be positive; got {shown(value)}")
    return x


def integer(value: Any, name: str, least: int = 1) -> int:
    """An integer from `least` to 2**63 - 1, the range in which it has a square root and a float."""
    n = as_integer(value)
    if n is None:
        raise TypeError(f"`{name}` must be an integer; got {shown(value)}")
    if n < least:
        raise ValueError(f"`{name}` must be at least {least}; got {shown(value)}")
    if n >= 1 << 63:
        raise ValueError(f"`{name}` must be less than 2**63; got {shown(value)}")
    return n


def flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False; got {shown(value)}")
    return value


def one_of(value: Any, name: str, known: tuple[str, ...], other: str = "") -> str:
    """One of these words. `other`: what else the error names that the argument may be."""
    if not isinstance(value, str) or value not in known:
        words = ", ".join(map(repr, known))
        raise ValueError(f"`{name}` must be one of {words}{other}; got {shown(value)}{did_you_mean(value, known)}")
    return next(word for word in known if word == value)
