"""Checks of arguments: each returns the value as a scheme uses it, or raises an error with argument, rule and value."""

import math
from numbers import Real
from typing import Any

import numpy as np

from arrayinit.common.integers import as_integer
from arrayinit.common.messages import shown
from arrayinit.laws.geometry import Geometry

__all__ = ["finite", "flag", "integer", "nonnegative", "number", "one_of", "plain", "positive", "real"]


def plain(geometry: Geometry, ranks: tuple[int, ...] | None, name: str) -> None:
    """Refuse shapes of another rank (None: below 2), and layouts that are not one o, one i and spatial axes."""
    if len(geometry.shape) not in ranks if ranks else len(geometry.shape) < 2:
        wanted = " or ".join(map(str, ranks)) if ranks else "at least 2"
        raise ValueError(f"{name} needs a shape of {wanted} dimensions; got {geometry.shape}")
    if geometry.roles is not None and sorted(geometry.roles.replace("s", "")) != ["i", "o"]:
        raise ValueError(f"`layout` must have one 'o', one 'i' and no 'b' for {name}; got roles {geometry.roles!r}")


def real(value: Any, name: str) -> float:
    """A real number as a float, NaN and infinite ones too."""
    if type(value) is float:
        return value
    # NumPy's durations are among its integers.
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, Real):
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
    """An integer of at least this size, and of 63 bits, so that it has a root and a float."""
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


def one_of(value: Any, name: str, known: tuple[str, ...]) -> str:
    """One of these words."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}; got {shown(value)}")
    return next(word for word in known if word == value)
