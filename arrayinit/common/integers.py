"""Integer arguments, and sequences of them, of Python, NumPy, torch or JAX; anything ambiguous is refused.

An iterator, a set, a text or bytes is no sequence of integers, a boolean no integer.
"""

import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["AXES", "as_integer", "as_integers"]

AXES = 64  # of an array, as many as NumPy has


def as_integer(value: Any) -> int | None:
    """The value of an integer of any library, also one in an array without axes; None for all else."""
    if type(value) is int:
        return value
    # A boolean of torch is an integer to Python.
    is_boolean = isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))
    if is_boolean or getattr(value, "ndim", None):
        return None
    try:
        return int(operator.index(value))
    except Exception:  # none, or one that has no value yet: TypeErrors of JAX, RuntimeErrors of torch
        return None


def as_integers(values: Any, most: int = AXES) -> tuple[int, ...] | None:
    """The values of a sequence, or of an array with one axis, of at most so many integers; None for all else."""
    if not isinstance(values, tuple | list):
        is_array = getattr(values, "ndim", None) == 1
        if isinstance(values, str | bytes | bytearray | memoryview) or not (is_array or isinstance(values, Sequence)):
            return None
    try:
        if len(values) > most:
            return None
        found = [as_integer(value) for value in values]
    except Exception:  # of a sequence of a user's own, or of one longer than any memory
        return None
    return None if None in found else tuple(found)  # type: ignore[arg-type]
