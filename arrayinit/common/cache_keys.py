"""Cache keys that separate values which `==` conflates: 1, 1.0 and True; 0.0 and -0.0.

Such values may draw different numbers, and some are refused where others are allowed. Only plain data has a key: other
objects may change or define `==` loosely, and a cache would keep them alive.
"""

from collections.abc import Hashable
from math import copysign
from typing import Any

import numpy as np

__all__ = ["NotPlainError", "exact"]

_ATOMS = frozenset({float, int, bool, str, type(None), type(...)})


class NotPlainError(TypeError):
    """The value is not plain data, so nothing that depends on it may be cached."""


def exact(values: tuple[Any, ...]) -> Hashable:
    """The key of values: numbers, strings, None, slices, types with `__exact__`, and tuples and lists of them.

    Raises:
        NotPlainError: a value is something else, or is nested too deeply.
    """
    try:
        return _several(values)
    except RecursionError:
        raise NotPlainError("a value that is nested too deeply has no key") from None


def _several(values: Any) -> Hashable:
    kinds = tuple(map(type, values))
    if _ATOMS.issuperset(kinds):
        # This loop-free case serves most draws, each of which needs a key. Types, values and signs of zeros suffice.
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
    raise NotPlainError(f"{kind.__name__} is not plain data")
