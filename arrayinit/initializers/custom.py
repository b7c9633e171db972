"""Schemes of one's own: a decorator makes an initializer of a function of geometry and numbers, and registers it."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import numpy as np

from arrayinit.common.arguments import finite, flag, integer, nonnegative, number, one_of
from arrayinit.common.messages import shown
from arrayinit.common.plain_data import is_plain, plain
from arrayinit.draw import KEYWORDS, draw, unknown_parameter
from arrayinit.initializers.forms import shared_parameters
from arrayinit.initializers.packs import SpecLike
from arrayinit.laws import (
    SAMPLED,
    Bits,
    Constant,
    Dirac,
    Eye,
    Formula,
    Law,
    Normal,
    Point,
    Rows,
    Truncated,
    Uniform,
)
from arrayinit.laws.geometry import Geometry

__all__ = ["CustomInitializer", "custom", "custom_names", "scheme"]

_INDEPENDENT = (*SAMPLED, Constant, Point, Formula, Eye, Dirac)  # laws of which a slice can be drawn alone
_registered: dict[str, "CustomInitializer"] = {}


class CustomInitializer:
    """An initializer by a scheme of one's own, made by :func:`arrayinit.scheme`; it does what arrayinit's own do.

    Attributes:
        name: the name by which specs, rules, JSON, TOML and the command line know it.
        path: "module:function", by which they know it, too.
        function: the decorated function.
        parameters: those that follow the geometry.
        scheme: geometry and parameters -> law, checked.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name, self.path = name, f"{function.__module__}:{function.__qualname__}"
        self.parameters = tuple(inspect.signature(function).parameters.values())[1:]
        self._names = tuple(parameter.name for parameter in self.parameters)
        self._defaults = {p.name: plain(p.default) for p in self.parameters if p.default is not p.empty}
        self.scheme = _law_function(function, name)

    @property
    def __signature__(self) -> inspect.Signature:
        kind = inspect.Parameter
        first = kind("x", kind.POSITIONAL_OR_KEYWORD)
        return inspect.Signature([first, *self.parameters, *shared_parameters(KEYWORDS)])

    def __call__(self, x: Any, *values: Any, **keywords: Any) -> Any:
        """A new array, with the parameters of the scheme and the keywords that all initializers share."""
        return self._draw(x, values, keywords, in_place=False)

    def fill_(self, x: Any, *values: Any, **keywords: Any) -> Any:
        """Fill x in place; returns x."""
        return self._draw(x, values, keywords, in_place=True)

    def _draw(self, x: Any, values: tuple[Any, ...], keywords: dict[str, Any], in_place: bool) -> Any:
        # Without inspect, which torch's compiler can't read.
        if len(values) > len(self._names):
            raise TypeError(
                f"{self.name} takes x and at most {len(self._names)} more positional arguments; got {len(values) + 1}"
            )
        given = dict(zip(self._names, values, strict=False))
        shared = {}
        for key, value in keywords.items():
            if key in given:
                raise TypeError(f"{self.name} must be given `{key}` once; got {shown(given[key])} and {shown(value)}")
            if key in self._names:
                given[key] = value
            else:
                shared[key] = value
        missing = [key for key in self._names if key not in given and key not in self._defaults]
        misspelt = next((key for key in shared if missing and key not in KEYWORDS), None)
        if misspelt is not None:
            raise unknown_parameter(self.scheme, misspelt)
        if missing:
            raise TypeError(f"{self.name} must be given {', '.join(missing)}; got {', '.join(given) or 'nothing'}")
        parameters = {key: given[key] if key in given else self._defaults[key] for key in self._names}
        return draw(x, partial(self.scheme, **parameters), in_place, **shared)

    def __reduce__(self) -> str:
        return self.path.partition(":")[2]  # pickled as functions are, by module and name

    def __repr__(self) -> str:
        return f"<initializer {self.name} of {self.path}>"


@overload
def scheme(function: Callable[..., Any], /) -> CustomInitializer: ...


@overload
def scheme(*, name: str) -> Callable[[Callable[..., Any]], CustomInitializer]: ...


def scheme(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None
) -> CustomInitializer | Callable[[Callable[..., Any]], CustomInitializer]:
    r"""Make an initializer of a function of geometry and numbers, and register its name.

        >>> from arrayinit.laws import Uniform
        >>> @ai.scheme
        ... def fan_out_uniform(geometry, gain=1.0):
        ...     bound = gain * (3 / geometry.fan_out) ** 0.5
        ...     return Uniform(-bound, bound)
        >>> fan_out_uniform((2, 3), gain=0.5, seed=0)
        array([[-0.12364...,  0.46604...,  0.28868...],
               [ 0.12918...,  0.57837..., -0.16890...]], dtype=float32)
        >>> x = fan_out_uniform.fill_(np.empty((2, 3)), seed=0)
        >>> rules = ai.Rules({"*.weight": ai.spec("fan_out_uniform", gain=0.5), "*": "zeros"})

    The result does what the initializers of arrayinit do: it draws the same bits in each library, layout, dtype and
    part of a tensor, takes all shared keywords (:class:`arrayinit.Keywords`), and works by its name in
    :func:`arrayinit.spec`, :func:`arrayinit.describe`, rules, JSON and TOML, under jit and torch.compile, and on the
    command line after `--import MODULE`.

    The function gets a :class:`arrayinit.laws.Geometry`, with `shape`, `fan_in`, `fan_out`, `receptive_field`,
    `groups` and `axis("out")`, the number of an axis in any layout, and the parameters. It returns what is to be drawn,
    and draws nothing itself:

    - a law of :mod:`arrayinit.laws`: Uniform, Normal, Truncated, Constant, Formula, or Rows of them, where the scale
      differs from slice to slice;
    - or a spec: `arrayinit.spec("distribution", ...)` for all other distributions, "orthogonal", and "packed" for
      blocks, each drawn by a spec of its own.

    It is called twice where a law is not known yet, and must return equal laws: they depend on the arguments alone.
    Equal numbers on all machines need + - * / and sqrt; the last digit of log and exp differs between them.

        >>> @ai.scheme
        ... def laplace_he(geometry, gain=2**0.5):  # a Laplace distribution with the variance gain^2 / fan_in
        ...     scale = gain / (2 * geometry.fan_in) ** 0.5
        ...     return ai.spec("distribution", distribution="laplace", parameters=(0.0, scale))
        >>> @ai.scheme
        ... def block_orthogonal(geometry, gains=(1.0,)):  # an orthogonal block for each gain
        ...     blocks = [ai.spec("orthogonal", gain=gain) for gain in gains]
        ...     return ai.spec("packed", initializer=blocks, blocks=len(gains))
        >>> block_orthogonal((6, 3), gains=(1.0, 2.0), seed=0).shape
        (6, 3)

    A parameter called `path` gets the path of the tensor in a model, where a rule doesn't give one, so that a scale may
    follow the depth of a layer:

        >>> import re
        >>> from arrayinit.laws import Normal
        >>> @ai.scheme
        ... def by_depth(geometry, path="", std=0.02):
        ...     layer = int(re.search(r"layers[.](\d+)", path)[1])
        ...     return Normal(0.0, std / (2 * (layer + 1)) ** 0.5)
        >>> weights = {"layers.1.wo": np.empty((64, 64), np.float32)}
        >>> weights = ai.init_params_(weights, {"*.wo": "by_depth"}, seed=0)
        >>> round(float(weights["layers.1.wo"].std()), 3)  # 0.02 / sqrt(2 * 2)
        0.01

    Args:
        function: its first parameter is the geometry; the others have names of their own, and defaults that JSON can
            hold. There are no `*` and `**` parameters.
        name: by default that of the function. Letters, digits, underscores and dots.

    Returns:
        The initializer `f`. `f(x, ...)` returns a new array, and `f.fill_(x, ...)` fills x in place.

    Raises:
        TypeError: a function of another kind, a parameter that shares its name with a shared keyword, a default that is
            not plain data.
        ValueError: a name that is taken by an initializer of arrayinit or of another function.

        Later, as the initializer is called: TypeError where the function returns neither law nor spec (an array, for
        instance, which it has drawn itself) or is given parameters that are no plain data; ValueError where two calls
        return different laws, or a law has numbers out of range.
    """
    if function is None:
        return partial(_registration, name=name)
    return _registration(function, None)


def custom(name: Any) -> CustomInitializer | None:
    """The registered initializer of a name, or of a path "module:function"; None where there is none."""
    if not isinstance(name, str):
        return None
    if ":" in name:
        return next((each for each in _registered.values() if each.path == name), None)
    return _registered.get(name)


def custom_names() -> Iterable[str]:
    """All registered names."""
    return tuple(_registered)


def _registration(function: Any, name: str | None) -> CustomInitializer:
    _check_function(function)
    name = function.__name__ if name is None else name
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string; got {shown(name)}")
    words = name.split(".")
    if not all(word.isidentifier() and word.isascii() for word in words) or name[-1] == "_" or name[0] == "_":
        hint = "; give a lambda a name" if name == "<lambda>" else ""
        raise ValueError(
            f"`name` must be letters, digits, underscores and dots, without an underscore at its ends; "
            f"got {shown(name)}{hint}"
        )
    initializer = CustomInitializer(function, name)
    other = _registered.get(name)
    if other is not None and other.path != initializer.path:
        raise ValueError(f"`name` must be free; {name!r} is taken by {other.path}")
    if other is not None and other.function.__code__ is function.__code__ and function.__closure__:
        raise ValueError(
            f"`name` must be free; {name!r} is taken by the same function with other values in its closure: make them "
            f"parameters, or give each function its own name"
        )
    from arrayinit import initializers  # here, because it imports this module

    if name in initializers.NAMES or name in initializers.ALIASES or name == "bits":
        raise ValueError(f"`name` must be free; {name!r} is an initializer of arrayinit")
    _registered[name] = initializer
    return initializer


def _check_function(function: Any) -> None:
    """Refuse what can't be a scheme."""
    is_other = inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
    if not inspect.isfunction(function) or is_other:
        hint = ": write @arrayinit.scheme(name=...)" if isinstance(function, str) else ""
        raise TypeError(f"`function` must be a function of a geometry and parameters; got {shown(function)}{hint}")
    parameters = list(inspect.signature(function).parameters.values())
    ordinary = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"`function` must take a geometry first; {function.__name__} has no positional parameter")
    for parameter in parameters[1:]:
        if parameter.kind not in ordinary:
            raise TypeError(
                f"`function` must have parameters with names; got {str(parameter)!r} of {function.__name__}"
            )
        if parameter.name in (*KEYWORDS, "x") or parameter.name[0] == "_":
            raise TypeError(
                f"`function` must have parameters whose names are free; {parameter.name!r} is one of the keywords that "
                f"all initializers share, `x`, or private"
            )
        if parameter.name == "path" and parameter.default is parameter.empty:
            raise TypeError("`path` must have a default, for draws outside of a model; got none")
        if parameter.default is not parameter.empty and not is_plain(plain(parameter.default), SpecLike):
            raise TypeError(
                f"`{parameter.name}` must have a default that is plain data (a number, a string, a bool, a spec, a "
                f"sequence of them); got {shown(parameter.default)}"
            )


def _law_function(function: Callable[..., Any], name: str) -> Callable[..., Law]:
    """The scheme as the package calls it: on plain parameters, twice, with the law checked."""

    @functools.wraps(function)
    def law(geometry: Geometry, **parameters: Any) -> Law:
        values = {key: plain(value) for key, value in parameters.items()}
        for key, value in values.items():
            if not is_plain(value, SpecLike):
                raise TypeError(
                    f"`{key}` must be plain data (a number, a string, a bool, a spec, a sequence of them); "
                    f"got {shown(value)}"
                )
        first, second = (_returned(function, name, geometry, values) for _ in range(2))
        if first != second or repr(first) != repr(second):
            raise ValueError(
                f"{name} must return equal laws for equal arguments; got {shown(first)}, then {shown(second)}"
            )
        return first

    law.__name__ = name
    return law


def _returned(function: Callable[..., Any], name: str, geometry: Geometry, values: dict[str, Any]) -> Law:
    try:
        returned = function(geometry, **values)
    except (TypeError, ValueError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{name}: {error}") from error
    except Exception as error:  # so that a plan lists it beside the path of the parameter
        raise ValueError(f"{name} failed for the shape {geometry.shape}: {type(error).__name__}: {error}") from error
    return _checked(returned, geometry, name)


def _checked(law: Any, geometry: Geometry, name: str) -> Law:
    """A law with its numbers in range, or the law of a spec."""
    match law:
        case Uniform(low, high):
            low, high = finite(low, "low"), finite(high, "high")
            if not low < high:
                raise ValueError(f"`low` must be less than `high` in a Uniform; got {shown(law)} by {name}")
            return Uniform(low, high, law.bounds_follow_std)
        case Normal(mean, std):
            mean, std = finite(mean, "mean"), nonnegative(std, "std")
            return Normal(mean, std) if std else Point(mean)
        case Truncated(mean, std, low, high):
            mean, std = finite(mean, "mean"), nonnegative(std, "std")
            low, high = number(low, "low"), number(high, "high")
            if not low < high:
                raise ValueError(f"`low` must be less than `high` in a Truncated; got {shown(law)} by {name}")
            if not std:
                return Point(min(max(mean, low), high), low, high)
            return Truncated(mean, std, low, high, law.bounds_follow_std)
        case Constant(value):
            return Constant(finite(value, "value"), law.of_parts)
        case Rows():
            return _rows(law, geometry, name)
        case Formula(formula, arguments, reach):
            if not callable(formula):
                raise TypeError(f"`formula` must be a function of coordinates; got {shown(formula)} by {name}")
            reach = nonnegative(reach, "reach")
            bounded = formula if isinstance(formula, _Bounded) else _Bounded(formula, name, reach)
            return Formula(bounded, plain(arguments), reach, flag(law.is_complex, "is_complex"))
    if isinstance(law, Law) and not isinstance(law, Bits):
        return law
    if isinstance(law, SpecLike):
        return law.law(geometry)
    raise TypeError(f"{name} must return a law of arrayinit.laws or a spec, and draw nothing itself; got {_kind(law)}")


def _rows(law: Rows, geometry: Geometry, name: str) -> Rows:
    """The law with its axis as a number, and all laws checked."""
    axis = law.axis
    if isinstance(axis, str):
        axis = geometry.axis(one_of(axis, "axis", ("out", "in", "batch")))
    else:
        axis = integer(axis, "axis", least=-len(geometry.shape))
        if axis >= len(geometry.shape):
            raise ValueError(f"`axis` must be one of the {len(geometry.shape)} axes; got {axis} in Rows by {name}")
        axis %= len(geometry.shape)
    if len(law.laws) != geometry.shape[axis]:
        raise ValueError(
            f"`laws` must be one for each of the {geometry.shape[axis]} indices of axis {axis}; got {len(law.laws)} "
            f"in Rows by {name}"
        )
    checked: dict[int, Law] = {}  # most rows may share one object
    for each in law.laws:
        if id(each) not in checked:
            checked[id(each)] = inner = _checked(each, geometry, name)
            if not isinstance(inner, _INDEPENDENT):
                raise ValueError(
                    f"`laws` of Rows must be those of elements that don't depend on each other; got {shown(each)}"
                )
    return Rows(tuple(checked[id(each)] for each in law.laws), axis)


@dataclass(frozen=True)
class _Bounded:
    """A formula whose values are compared with the reach that its law claims."""

    formula: Callable[..., Any]
    name: str
    reach: float

    def __call__(self, coordinates: list[Any], *arguments: Any) -> Any:
        values = np.asarray(self.formula(coordinates, *arguments))
        parts = (values.real, values.imag) if values.dtype.kind == "c" else (values,)
        if not all((abs(part) <= self.reach).all() for part in parts):  # NaN is not, either
            largest = max(float(abs(part).max()) for part in parts)
            raise ValueError(
                f"`reach` must bound the values of the formula of {self.name}; got {self.reach!r} and {largest!r}"
            )
        return values


def _kind(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)}"
    return shown(value)
