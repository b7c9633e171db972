"""Public functions that name the nearest right keyword where a call has a wrong one."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from arrayinit.common.messages import did_you_mean

__all__ = ["hinting", "no_parameter"]

P = ParamSpec("P")
R = TypeVar("R")


def hinting(function: Callable[P, R]) -> Callable[P, R]:
    """The function, or the `__init__` of a class, with an error that says which keywords it takes.

    Its parameters are read from its code: inspect takes longer than a draw, and the compiler of torch knows no inspect.
    """
    code: Any = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> R:
        for key in keywords:
            if key not in names:
                is_method = code.co_name == "__init__"
                name = type(args[0]).__name__ if is_method else code.co_name
                raise no_parameter(name, key, names[is_method:])
        return function(*args, **keywords)

    return call


def no_parameter(name: str, key: str, takes: tuple[str, ...]) -> TypeError:
    """The error of a keyword that a function does not have."""
    rest = f"it takes {', '.join(takes)}" if takes else "it takes none"
    return TypeError(f"{name} has no parameter {key!r}{did_you_mean(key, takes) or ':'} {rest}")
