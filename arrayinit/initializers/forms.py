"""The two public forms of an initializer: `f`, which returns a new array, and `f_`, which fills one.

Both check what Python itself would refuse with less to say, and show the shared keywords in their signatures.
"""

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from arrayinit.common.messages import counted, shown, warn
from arrayinit.draw import IN_PLACE, KEYWORDS, draw, unknown_keyword

if TYPE_CHECKING:
    from inspect import Parameter, Signature

__all__ = ["creating", "filling", "shared_parameters", "signature"]

P = ParamSpec("P")

# Second parameters in whose place a second size is easily written. After a size, those of vectors (`val`, `start`,
# `t_max`, ...) are given by position as a rule.
_LIKE_SIZES = frozenset({"a", "base", "dim", "gain", "layers", "mean", "omega", "scale", "sparsity"})


def creating(function: Callable[P, Any]) -> Callable[P, Any]:
    """The public form `f` of an initializer."""
    names, required = _positional(function)

    def new(*args: P.args, **keywords: P.kwargs) -> Any:
        given = len(args)
        if given > 1 or given < required:
            _check(function, names, required, args, keywords, KEYWORDS)
            if given > 1 and names[1] in _LIKE_SIZES:
                _check_sizes(function.__name__, names, args)
        return function(*args, **keywords)

    functools.update_wrapper(new, function)
    new.__wrapped__ = _Shown(function, KEYWORDS)  # type: ignore[attr-defined] # where inspect looks for a signature
    return new


def filling(initializer: Callable[P, Any]) -> Callable[P, Any]:
    """The in-place form `f_` of an initializer `f`."""
    function: Callable[P, Any] = initializer.__wrapped__.__wrapped__  # type: ignore[attr-defined] # see `creating`
    names, required = _positional(function)
    name = function.__name__

    def fill_(*args: P.args, **keywords: P.kwargs) -> Any:
        given = len(args)
        if given > 1 or given < required:
            _check(function, names, required, args, keywords, IN_PLACE)
        return function(*args, **keywords, _in_place=True)  # type: ignore[arg-type] # private to `draw`

    functools.update_wrapper(fill_, function)
    fill_.__wrapped__ = _Shown(function, IN_PLACE)  # type: ignore[attr-defined]
    fill_.__name__ = fill_.__qualname__ = f"{name}_"
    own = f"{', '.join(names[1:])}: as in :func:`{name}`.\n        " if names[1:] else ""
    fill_.__doc__ = f"""Fill x in place with :func:`{name}`; returns x.

    Args:
        x: an array that can be written to. Its library, dtype and device are its own: there is no xp, dtype, device or
            chunks.
        {own}{", ".join(IN_PLACE)}: shared by all
            initializers; :class:`arrayinit.Keywords` explains each.
    """
    return fill_


class _Shown:
    """What `inspect` finds behind a public form: the signature with the shared keywords in it, made when it is read.

    An attribute of a function can't be computed late, and signatures of all initializers would slow down the import.
    """

    def __init__(self, function: Callable[..., Any], keywords: tuple[str, ...]) -> None:
        self.__wrapped__, self._keywords = function, keywords

    @property
    def __signature__(self) -> "Signature":
        return signature(self.__wrapped__, self._keywords)


def signature(function: Callable[..., Any], keywords: Iterable[str] = KEYWORDS) -> "Signature":
    """The signature of a function, with shared keywords and their defaults where it has **keywords."""
    import inspect

    written = inspect.signature(function, follow_wrapped=False)
    own = [each for each in written.parameters.values() if each.kind is not each.VAR_KEYWORD]
    return written.replace(parameters=[*own, *shared_parameters(keywords)])


def shared_parameters(keywords: Iterable[str]) -> "list[Parameter]":
    """Shared keywords as parameters, without their types, which would fill a page; `Keywords` has them."""
    import inspect

    known = inspect.signature(draw).parameters
    return [known[key].replace(annotation=inspect.Parameter.empty) for key in keywords]


def _positional(function: Callable[..., Any]) -> tuple[tuple[str, ...], int]:
    """The names of the parameters, and how many have no default. Without inspect, which takes longer than a draw."""
    code: Any = function.__code__
    names = code.co_varnames[: code.co_argcount]
    return names, len(names) - len(function.__defaults__ or ())


def _check(
    function: Callable[..., Any],
    names: tuple[str, ...],
    required: int,
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    shared: tuple[str, ...],
) -> None:
    """Refuse too many positional arguments, and calls without a parameter that has no default."""
    name = function.__name__
    if len(args) > len(names):
        raise TypeError(
            f"{name} takes {counted(len(names), 'positional argument')}, {', '.join(f'`{each}`' for each in names)}; "
            f"got {len(args)}{_hint_of_sizes(name, args)}"
        )
    missing = [each for each in names[len(args) : required] if each not in keywords]
    if missing == ["x"] and "shape" in keywords and shared is KEYWORDS:
        example = f"{name}({shown(keywords['shape'])}{', ...' if len(keywords) > 1 else ''})"
        raise TypeError(f"{name} takes the shape of a new array as its first argument, not as `shape`: write {example}")
    if missing:
        misspelt = next((key for key in keywords if key not in names and key not in shared), None)
        if misspelt is not None:
            raise unknown_keyword(name, names[1:], misspelt, shared)
        given = ", ".join(f"`{each}`" for each in [*names[: len(args)], *keywords])
        wanted = " and ".join(f"`{each}`" for each in missing)
        raise TypeError(f"{name} must be given {wanted}; got {f'only {given}' if given else 'nothing'}")


def _check_sizes(name: str, names: tuple[str, ...], args: tuple[Any, ...]) -> None:
    """Warn of numbers that look like the sizes of a shape; refuse a shape that comes last, as in numpy.random."""
    if isinstance(args[0], int | float) and isinstance(args[-1], tuple | list):
        rest = ", ".join(map(shown, (args[-1], *args[:-1])))
        raise TypeError(
            f"`x`, the first argument, must be the array or the shape; got {shown(args[0])}, and {shown(args[-1])} as "
            f"`{names[len(args) - 1]}`: write {name}({rest})"
        )
    hint = _hint_of_sizes(name, args)
    if hint:
        given = ", ".join(map(shown, args))
        warn(
            f"{name}({given}) is an array of shape ({args[0]},) with `{names[1]}` {args[1]}{hint}; where `{names[1]}` "
            f"is meant, write {names[1]}={args[1]}"
        )


def _hint_of_sizes(name: str, args: tuple[Any, ...]) -> str:
    """What to write where the first arguments look like sizes; "" where they don't."""
    count = next((k for k, each in enumerate(args) if not _is_size(each)), len(args))
    if count < 2:
        return ""
    shape = tuple(map(int, args[:count]))
    return f": for the shape {shape} write {name}({', '.join([str(shape), *map(shown, args[count:])])})"


def _is_size(value: Any) -> bool:
    is_integer = type(value) is int or (isinstance(value, np.integer) and not isinstance(value, np.timedelta64))
    return is_integer and bool(value > 0)
