"""Read arguments that are integers, or sequences of integers, of Python, NumPy, torch or JAX.

Ambiguous values are refused: booleans are not integers; iterators, sets, strings and bytes are not sequences of them.
"""

import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["MAX_AXES", "as_integer", "as_integers"]

MAX_AXES = 64  # the most axes of an array, as in NumPy


def as_integer(value: Any) -> int | None:
    """The value of an integer of any library, or of an array without axes that holds one; else None."""
    if type(value) is int:
        return value
    # operator.index accepts booleans of torch.
    is_boolean = isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))
    if is_boolean or getattr(value, "ndim", None):
        return None
    try:
        return int(operator.index(value))
    except Exception:  # no integer, or one without a value yet (TypeErrors of JAX, RuntimeErrors of torch)
        return None


def as_integers(values: Any, most: int = MAX_AXES) -> tuple[int, ...] | None:
    """The values of a sequence, or of an array with one axis, of at most `most` integers; else None."""
    if not isinstance(values, tuple | list):
        is_array = getattr(values, "ndim", None) == 1
        if isinstance(values, str | bytes | bytearray | memoryview) or not (is_array or isinstance(values, Sequence)):
            return None
    try:
        if len(values) > most:
            return None
        integers = [as_integer(value) for value in values]
    except Exception:  # of a user-defined sequence, or of one longer than memory
        return None
    return None if None in integers else tuple(integers)  # type: ignore[arg-type]
