"""Values that JSON and TOML can hold: numbers, strings, booleans, None, specs, and tuples of them."""

from typing import Any

import numpy as np

__all__ = ["NESTED", "is_plain", "plain"]

NESTED = 16  # levels of sequences and specs within each other, far more than make sense


def plain(value: Any, depth: int = 0) -> Any:
    """Numbers of NumPy as Python's, lists as tuples. Lists that are nested too deeply stay, and are then refused."""
    if isinstance(value, list | tuple) and depth < NESTED:
        return tuple(plain(one, depth + 1) for one in value)
    is_number = isinstance(value, np.number | np.bool_) and not isinstance(value, np.timedelta64)
    return value.item() if is_number else value


def is_plain(value: Any, spec: type, depth: int = 0) -> bool:
    """Whether a value is plain data, in the form that `plain` gives; `spec` is the class of specs."""
    if depth > NESTED:
        return False
    if isinstance(value, spec):
        items: Any = getattr(value, "items", ())
        return all(is_plain(parameter, spec, depth + 1) for _, parameter in items)
    if isinstance(value, tuple):
        return all(is_plain(one, spec, depth + 1) for one in value)
    return isinstance(value, bool | int | float | str | None)
