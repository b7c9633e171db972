"""Keys of caches: equal where nothing that is drawn can tell the values apart, and made of plain data alone.

1 == 1.0 == True and 0.0 == -0.0, yet not all of them are what an argument may be, nor draw the same. Objects that are
no plain data have no key: they may change, or be equal to others that they differ from, and a cache would keep them
alive.
"""

from collections.abc import Hashable
from math import copysign
from typing import Any

import numpy as np

__all__ = ["NotPlainError", "exact"]

_ATOMS = frozenset({float, int, bool, str, type(None), type(...)})


class NotPlainError(TypeError):
    """The value is no plain data: nothing that depends on it is to be remembered."""


def exact(values: tuple[Any, ...]) -> Hashable:
    """The key of values: numbers, texts, None, slices, types with `__exact__`, and tuples and lists of such.

    Raises:
        NotPlainError: one of them is something else, or nested without end.
    """
    try:
        return _several(values)
    except RecursionError:
        raise NotPlainError("a value that is nested too deeply has no key") from None


def _several(values: Any) -> Hashable:
    kinds = tuple(map(type, values))
    if _ATOMS.issuperset(kinds):
        # In C where it can be, for each draw needs one. Types, values, and the signs of zeros tell all.
        zeros = [copysign(1, value) for value in values if value.__class__ is float and not value]
        return (kinds, tuple(values), *zeros)
    return tuple(map(_exact, values))


def _exact(value: Any) -> Hashable:
    kind = type(value)
    if kind in _ATOMS:
        return (kind, value, copysign(1, value)) if kind is float else (kind, value)
    if kind is tuple or kind is list:
        return (kind, _several(value))
    if kind is slice:
        return (kind, _several((value.start, value.stop, value.step)))
    if issubclass(kind, np.number) and kind.__module__ == "numpy":
        return (kind, value.tobytes())
    if hasattr(kind, "__exact__"):
        return (kind, value.__exact__())
    raise NotPlainError(f"{kind.__name__} is no plain data")
