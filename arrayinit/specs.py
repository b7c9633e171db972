"""Initializers as data: a name and parameters that can be frozen, compared, pickled, written as JSON, and called."""

import functools
import inspect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, Unpack

import numpy as np

from arrayinit import initializers
from arrayinit.backends import backend_named, is_compiling
from arrayinit.common.exact import exact
from arrayinit.common.float_environment import in_default_environment
from arrayinit.common.messages import shown
from arrayinit.draw import Keywords, draw, whole_job
from arrayinit.job import Job
from arrayinit.laws import (
    SAMPLED,
    Bits,
    Constant,
    Dirac,
    Eye,
    Formula,
    Law,
    Normal,
    Orthogonal,
    Packed,
    Point,
    Quantile,
    Sparse,
    Truncated,
    Uniform,
)
from arrayinit.laws.gains import calculate_gain
from arrayinit.laws.geometry import Axes, Geometry
from arrayinit.stream.deviates import NORMAL_REACH
from arrayinit.stream.formats import COMPLEX

__all__ = ["Description", "Spec", "complete", "describe", "job_of", "law_of", "spec"]

# The shared keywords that say what a weight is, not where it goes or from which seed.
_GEOMETRY = {"layout": None, "in_axis": None, "out_axis": None, "batch_axis": (), "groups": 1, "transposed": False}
_Numbers: TypeAlias = tuple[str, float, float, float, float]  # distribution, mean, std, low, high


NESTED = 16  # specs within specs, far more than mean anything


@dataclass(frozen=True)
class Spec:
    """An initializer with its parameters, as :func:`spec` makes it: frozen, picklable, JSON-able, callable.

    Raises:
        TypeError, ValueError: as :func:`spec`, which also takes lists and NumPy's numbers.
    """

    name: str
    items: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if is_compiling():  # which can't read signatures; it is checked when it is drawn
            return
        own = _parameters_of(self.name)
        if type(self.items) is not tuple or not all(type(item) is tuple and len(item) == 2 for item in self.items):
            raise TypeError(f"`items` must be a tuple of pairs of a name and a value; got {shown(self.items)}")
        given = [name for name, _ in self.items]
        known = {parameter.name for parameter in own} | set(_GEOMETRY)
        for key, value in self.items:
            if not isinstance(key, str) or key not in known:
                raise TypeError(
                    f"{self.name} has no parameter {shown(key)}: a spec of it takes {', '.join(sorted(known))}"
                )
            if not _is_plain(value):
                raise TypeError(
                    f"`{key}` must be plain data (a number, a string, a bool, a spec, a sequence of them), nested at "
                    f"most {NESTED} times; got {shown(value)}"
                )
        if len(set(given)) < len(given):
            raise TypeError(f"`items` must give each parameter once; got {', '.join(given)}")
        missing = [p.name for p in own if p.default is p.empty and p.name not in given]
        if missing:
            raise TypeError(f"{self.name} must be given {', '.join(missing)}; got {', '.join(given) or 'nothing'}")

    def __exact__(self) -> Any:
        """The key of a cache: of equal specs, 1 == 1.0 == True, not all draw the same."""
        return (self.name, exact(self.items))

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that were given, by name."""
        return dict(self.items)

    def __call__(self, x: Any, *others: Any, **keywords: Unpack[Keywords]) -> Any:
        """A new array, as `arrayinit.NAME(x, **parameters, **keywords)` returns it.

        Raises:
            TypeError: positional arguments beyond `x`, as Flax, Haiku and Equinox have them for their initializers.
        """
        if others:
            raise TypeError(
                f"a spec is called with an array or a shape, and keywords; got {len(others) + 1} positional arguments: "
                f"what Flax, Haiku and Equinox call with a key, a shape, a dtype is arrayinit.jax.initializer({self})"
            )
        return self._draw(x, False, keywords)

    def fill_(self, x: Any, **keywords: Unpack[Keywords]) -> Any:
        """Fill x in place, as `arrayinit.NAME_(x, **parameters, **keywords)` does; returns x."""
        return self._draw(x, True, keywords)

    def _draw(self, x: Any, in_place: bool, keywords: Keywords) -> Any:
        given: dict[str, Any] = self.parameters | keywords
        if is_compiling():  # for torch's compiler can't read signatures
            return getattr(initializers, self.name + "_" * in_place)(x, **given)
        own = complete(self.name, given)
        shared: dict[str, Any] = {key: value for key, value in given.items() if key not in own}
        return draw(x, partial(initializers.scheme(self.name), **own), in_place, **shared)

    def law(self, geometry: Geometry) -> Law:
        """The law of a tensor of this geometry, which the spec must not say itself. Errors as the initializer."""
        own = [key for key in self.parameters if key in _GEOMETRY]
        if own:
            raise ValueError(f"`{own[0]}` must be said of the whole, not of the spec of a part; got {self!r}")
        return initializers.scheme(self.name)(geometry, **complete(self.name, self.parameters))

    def as_dict(self) -> dict[str, Any]:
        """{"name": ..., parameter: value, ...}, plain data for JSON or TOML; specs among the values likewise."""
        return {"name": self.name} | {key: _data(value) for key, value in self.items}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Spec":
        """The inverse of :meth:`as_dict`. ValueError or TypeError as for :func:`spec`."""
        return _from_dict(data, 0)

    def __repr__(self) -> str:
        return f"spec({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.items)])})"


def _data(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.as_dict()
    return [_data(one) for one in value] if isinstance(value, tuple) else value


def _from_dict(data: Any, depth: int) -> Spec:
    if not isinstance(data, Mapping) or "name" not in data:
        raise ValueError(f"`data` must be a mapping with the name of an initializer under 'name'; got {shown(data)}")
    if not all(isinstance(key, str) for key in data):
        raise ValueError(f"`data` must have names for keys; got {shown(data)}")
    return spec(data["name"], **{key: _value(value, depth + 1) for key, value in data.items() if key != "name"})


def _value(data: Any, depth: int) -> Any:
    """The inverse of `_data`."""
    if depth > NESTED:
        raise ValueError(f"`data` must be nested at most {NESTED} times; got {shown(data)} within")
    if isinstance(data, Mapping):
        return _from_dict(data, depth)
    return tuple(_value(one, depth + 1) for one in data) if isinstance(data, list | tuple) else data


def spec(name: str, /, **parameters: Any) -> Spec:
    """An initializer by name, with its own parameters and layout, in_axis, out_axis, batch_axis, groups, transposed.

        he = spec("kaiming_normal", mode="fan_out", nonlinearity="relu")
        he((256, 128), seed=0)          # a new array
        he.fill_(x, seed=0, name="w")   # in place
        spec("packed", initializer=he, blocks=3)  # a parameter may be a spec, or a sequence of them

    Raises:
        ValueError: an unknown initializer. TypeError: an unknown or missing parameter, or one that is not plain data.
            What a value may be is checked when the spec is described or drawn.
    """
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # here, for it needs the compiler, which is there by now

        return torch_compiled.spec(name, parameters)
    _parameters_of(name)  # refuses what is no initializer
    if name == "distribution" and "distribution" in parameters:
        parameters |= _distribution(parameters)
    items = ((key, _plain(value)) for key, value in parameters.items())
    return Spec(name, tuple(sorted(items, key=lambda item: item[0])))


def _parameters_of(name: Any) -> tuple[inspect.Parameter, ...]:
    """The parameters that an initializer has of its own. ValueError for a name that is none's."""
    if not isinstance(name, str) or initializers.ALIASES.get(name, name) not in initializers.NAMES:
        known = ", ".join([*initializers.NAMES, *initializers.ALIASES])
        raise ValueError(f"`name` must be an initializer: {known}; got {shown(name)}")
    return _signature(name)


@functools.cache
def _signature(name: str) -> tuple[inspect.Parameter, ...]:
    """Looking takes longer than all the rest of a spec."""
    return tuple(inspect.signature(getattr(initializers, name)).parameters.values())[1:-1]


def complete(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The own parameters of an initializer, given or by default, in their order: jobs are remembered by the values."""
    return {p.name: given.get(p.name, p.default) for p in _parameters_of(name)}


def _distribution(parameters: dict[str, Any]) -> dict[str, Any]:
    """A frozen distribution of scipy.stats as its name and parameters."""
    from arrayinit.laws.quantile_functions import as_data  # here, for few processes need it

    data = as_data(parameters["distribution"], parameters.get("parameters", ()))
    return {"distribution": data[0], "parameters": data[1]} if type(data) is tuple else {}


def _plain(value: Any, depth: int = 0) -> Any:
    """Numbers of NumPy as Python's, lists as tuples; what is nested too deeply stays, and is no plain data."""
    if isinstance(value, list | tuple) and depth < NESTED:
        return tuple(_plain(one, depth + 1) for one in value)
    is_number = isinstance(value, np.number | np.bool_) and not isinstance(value, np.timedelta64)
    return value.item() if is_number else value


def _is_plain(value: Any, depth: int = 0) -> bool:
    if depth > NESTED:
        return False
    if isinstance(value, Spec):
        return all(_is_plain(own, depth + 1) for _, own in value.items)
    if isinstance(value, tuple):
        return all(_is_plain(one, depth + 1) for one in value)
    return isinstance(value, bool | int | float | str | None)


@dataclass(frozen=True)
class Description:
    """What an initializer draws for a shape, as numbers. A field that has no meaning for it is None."""

    name: str
    shape: tuple[int, ...]
    distribution: str  # "uniform", "normal", "truncated_normal", "constant", "orthogonal", ..., or a "mixture" of them
    fan_in: int | None  # of one block where the tensor is packed in equal ones
    fan_out: int | None
    gain: float | None  # of xavier_*, kaiming_*, identity and the orthogonal ones
    mean: float  # of the real parts where a formula is complex
    std: float  # of an element, after truncation
    low: float  # no element is smaller
    high: float  # no element is larger


@in_default_environment
def job_of(initializer: Spec, shape: Sequence[int] | int, dtype: str = "float32") -> Job:
    """The draw of a whole tensor by a spec, decided but for its key; errors as when it is drawn."""
    return _job_of(initializer.name, initializer.parameters, shape, dtype)


def _job_of(name: str, parameters: Mapping[str, Any], shape: Sequence[int] | int, dtype: str) -> Job:
    axes = tuple(parameters.get(key, default) for key, default in _GEOMETRY.items())
    return whole_job(partial(initializers.scheme(name), **complete(name, parameters)), shape, axes, dtype)


def law_of(initializer: Spec, shape: Sequence[int] | int, dtype: str = "float32") -> tuple[Law, Geometry]:
    """The law of a spec for a shape and a dtype, and what the axes of the shape mean; errors as when it is drawn."""
    job = job_of(initializer, shape, dtype)
    return job.law, job.geometry


@in_default_environment
def describe(
    initializer: Spec | str,
    shape: Sequence[int] | int,
    *,
    dtype: Any = "float32",
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
    groups: int = 1,
    transposed: bool = False,
) -> Description:
    """Fans, gain, mean, standard deviation and range of what an initializer draws for a shape, without drawing it.

    The numbers of a formula (sinusoidal, s4d, ...) with more than 2**20 elements, or with more than 4096 along an axis,
    are estimates from some of them, right to about three digits.

    Args:
        initializer: a :class:`Spec`, or the name of an initializer with its defaults.
        shape: the global shape. dtype: real or complex; half the variance goes into each part of a complex element.
        layout, in_axis, out_axis, batch_axis, groups, transposed: as in every initializer; the spec's own come first.

    Raises:
        TypeError, ValueError: as the initializer itself.
    """
    chosen = initializer if isinstance(initializer, Spec) else spec(initializer)
    parameters = {
        "layout": layout, "in_axis": in_axis, "out_axis": out_axis,
        "batch_axis": batch_axis, "groups": groups, "transposed": transposed,
    } | chosen.parameters  # fmt: skip
    kind = backend_named("numpy").dtype_name(dtype)
    job = _job_of(chosen.name, parameters, shape, kind)
    law, where = job.law, job.geometry
    numbers = _numbers(law, where, kind)
    gain = _gain(chosen.name, parameters)
    return Description(chosen.name, where.shape, numbers[0], *_fans(law, where), gain, *numbers[1:])


def _fans(law: Law, where: Geometry) -> tuple[int | None, int | None]:
    """The fans of the whole, or of one of several blocks that are alike; (None, None) where there are none."""
    if isinstance(law, Packed) and all(piece.fold is not None for piece in law.pieces):
        blocks = {piece.geometry for piece in law.pieces}
        if len(blocks) != 1:
            return None, None
        where = blocks.pop()
    return where.fans if where.roles is not None or len(where.shape) >= 2 else (None, None)


def _gain(name: str, parameters: Mapping[str, Any]) -> float | None:
    base = initializers.ALIASES.get(name, name)
    if base.startswith("kaiming"):
        return calculate_gain(parameters.get("nonlinearity", "leaky_relu"), parameters.get("a", 0.0))
    if base in ("xavier_uniform", "xavier_normal", "orthogonal", "delta_orthogonal", "identity"):
        return float(parameters.get("gain", 1.0))
    return None


def _numbers(law: Law, where: Geometry, dtype: str) -> _Numbers:
    """(distribution, mean, std, low, high) of one element."""
    if isinstance(law, Packed):
        return _mixture(law, where, dtype)
    if dtype in COMPLEX and isinstance(law, SAMPLED):
        distribution, mean, std, low, high = _real_numbers(law.part(), where)
        return distribution, mean, std * math.sqrt(2), low, high
    return _real_numbers(law, where)


def _mixture(law: Packed, where: Geometry, dtype: str) -> _Numbers:
    """The numbers of an element of any place: those of all pieces, and of the zeros around them."""
    kinds = Counter((piece.law, piece.geometry) for piece in law.pieces)
    sizes = [count * math.prod(of.shape) for (_, of), count in kinds.items()]
    parts = [_numbers(one, of, dtype) for one, of in kinds]
    rest = math.prod(where.shape) - sum(sizes)
    if rest or not parts:
        sizes, parts = [*sizes, rest], [*parts, ("constant", 0.0, 0.0, 0.0, 0.0)]
    if len(set(parts)) == 1:
        return parts[0]
    total = sum(sizes) or 1
    mean = sum(n * part[1] for n, part in zip(sizes, parts, strict=True)) / total
    apart = [part[1] - mean for part in parts]  # products, for the power of a large float is an error
    square = sum(n * (part[2] * part[2] + d * d) for n, part, d in zip(sizes, parts, apart, strict=True)) / total
    return "mixture", mean, math.sqrt(square), min(part[3] for part in parts), max(part[4] for part in parts)


def _real_numbers(law: Law, where: Geometry) -> _Numbers:
    shape = where.canonical
    match law:
        case Uniform(low, high):
            return "uniform", (low + high) / 2, (high - low) / math.sqrt(12), low, high
        case Normal(mean, std):
            return "normal", mean, std, mean - NORMAL_REACH * std, mean + NORMAL_REACH * std
        case Truncated(mean, std, low, high):
            from scipy.stats import truncnorm

            moments = truncnorm.stats((low - mean) / std, (high - mean) / std, mean, std, moments="mv")
            return "truncated_normal", float(moments[0]), math.sqrt(float(moments[1])), low, high
        case Quantile(function, arguments, least, most, negative):
            from arrayinit.stream.quantile_tables import quantiles  # here, for few processes need it

            mean, std, low, high = quantiles(function, arguments).moments
            low, high = max(low, least), min(high, most)
            return ("quantile", -mean, std, -high, -low) if negative else ("quantile", mean, std, low, high)
        case Constant(value):
            return "constant", value, 0.0, value, value
        case Orthogonal(gain):
            out, in_, spatial = where.sizes
            longest = max(out, in_ * spatial)
            return "orthogonal", 0.0, abs(gain) / math.sqrt(longest) if longest else 0.0, -abs(gain), abs(gain)
        case Sparse(zeros, std):
            return (
                "sparse",
                0.0,
                std * math.sqrt(1 - zeros / shape[0]) if shape[0] else 0.0,
                -NORMAL_REACH * std,
                NORMAL_REACH * std,
            )
        case Eye():
            return _indicator("eye", min(shape), shape)
        case Dirac(groups, value):
            return _indicator("dirac", groups * min(shape[0] // groups, shape[1]), shape, value)
        case Formula():
            from arrayinit.laws import formulas  # here, for few processes need it

            return "formula", *formulas.moments(law, where)
        case Bits() | Packed() | Point():
            raise TypeError(f"{law} has no one distribution")


def _indicator(distribution: str, ones: int, shape: tuple[int, ...], value: float = 1.0) -> _Numbers:
    share = ones / math.prod(shape) if math.prod(shape) else 0.0
    std = abs(value) * math.sqrt(share * (1 - share))
    return distribution, value * share, std, min(value, 0.0), max(value, 0.0)
