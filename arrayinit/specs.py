"""Initializers as data: a name and parameters that can be frozen, compared, pickled, written as JSON, and called."""

import functools
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Unpack

from arrayinit import initializers
from arrayinit.backends import backend_named, is_compiling
from arrayinit.common.arguments import is_real
from arrayinit.common.cache_keys import exact
from arrayinit.common.float_environment import in_default_environment
from arrayinit.common.messages import did_you_mean, known_as, shape_text, shown
from arrayinit.common.plain_data import NESTED, is_plain, plain
from arrayinit.draw import KEYWORDS, Keywords, draw, whole_job
from arrayinit.job import Job
from arrayinit.laws import Law, Packed
from arrayinit.laws.gains import calculate_gain
from arrayinit.laws.geometry import Axes, Geometry
from arrayinit.laws.moments import moments

__all__ = [
    "Description", "Spec", "complete", "describe", "job_of", "law_of", "named", "spec", "spec_hint", "value_text",
    "with_path",
]  # fmt: skip

# The shared keywords that belong to a spec, and their defaults: they describe the weight, not its place, dtype or seed.
_GEOMETRY = {"layout": None, "in_axis": None, "out_axis": None, "batch_axis": (), "groups": 1, "transposed": False}


@dataclass(frozen=True)
class Spec:
    """An initializer with its parameters: frozen, comparable, picklable, JSON-able, callable.

    :func:`spec` makes one, also from lists and NumPy's numbers.

        >>> draw = ai.spec("normal", std=0.02)
        >>> draw((2, 3), seed=0).shape
        (2, 3)
        >>> draw == ai.Spec("normal", (("std", 0.02),))
        True

    Raises:
        TypeError, ValueError: as :func:`spec`.
    """

    name: str
    items: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if is_compiling():  # torch's compiler can't read signatures; the draw checks the spec
            return
        object.__setattr__(self, "name", initializers.full_name(self.name) or self.name)
        parameters = _parameters_of(self.name)
        if type(self.items) is not tuple or not all(type(item) is tuple and len(item) == 2 for item in self.items):
            raise TypeError(f"`items` must be a tuple of pairs of a name and a value; got {shown(self.items)}")
        given = [name for name, _ in self.items]
        known = {parameter.name for parameter in parameters} | set(_GEOMETRY)
        for key, value in self.items:
            if not isinstance(key, str) or key not in known:
                other = known_as(key, known) if isinstance(key, str) else None
                hint = did_you_mean(key, sorted(known)) or ":"
                text = f"takes {other!r}, not {key!r};" if other else f"has no parameter {shown(key)}{hint}"
                keyword = "; give that to the call of the spec" if key in KEYWORDS else ""
                raise TypeError(f"{self.name} {text} a spec of it takes {', '.join(sorted(known))}{keyword}")
            if not is_plain(value, Spec):
                raise TypeError(
                    f"`{key}` must be plain data (a number, a string, a bool, a spec, a sequence of them), nested at "
                    f"most {NESTED} times; got {shown(value)}"
                )
        if len(set(given)) < len(given):
            raise TypeError(f"`items` must give each parameter once; got {', '.join(given)}")
        missing = [p.name for p in parameters if p.default is p.empty and p.name not in given]
        if missing:
            raise TypeError(f"{self.name} must be given {', '.join(missing)}; got {', '.join(given) or 'nothing'}")

    def __exact__(self) -> Any:
        """The key of a cache. Specs that are equal, as 1 == 1.0 == True, need not draw the same."""
        return (self.name, exact(self.items))

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that were given, by name.

        >>> ai.spec("normal", std=0.02).parameters
        {'std': 0.02}
        """
        return dict(self.items)

    def __call__(self, x: Any, *others: Any, **keywords: Unpack[Keywords]) -> Any:
        """A new array, as `arrayinit.NAME(x, **parameters, **keywords)` returns it.

        >>> ai.spec("constant", val=2.5)((2, 2))
        array([[2.5, 2.5],
               [2.5, 2.5]], dtype=float32)

        Raises:
            TypeError: positional arguments beyond `x`, which Flax, Haiku and Equinox give their initializers.
            TypeError, ValueError: as the initializer.
        """
        if others:
            raise TypeError(
                f"a spec is called with an array or a shape, and keywords; got {len(others) + 1} positional arguments "
                f"(for Flax, Haiku and Equinox, which call it with a key, a shape and a dtype, use "
                f"arrayinit.jax.initializer({self}))"
            )
        return self._draw(x, False, keywords)

    def fill_(self, x: Any, **keywords: Unpack[Keywords]) -> Any:
        """Fill x in place, as `arrayinit.NAME_(x, **parameters, **keywords)` does; returns x.

        >>> x = np.empty(3)
        >>> ai.spec("constant", val=7.0).fill_(x) is x
        True
        >>> x
        array([7., 7., 7.])
        """
        return self._draw(x, True, keywords)

    def _draw(self, x: Any, in_place: bool, keywords: Keywords) -> Any:
        given: dict[str, Any] = self.parameters | keywords
        if is_compiling():  # torch's compiler can't read signatures
            return initializers.function_of(self.name, in_place)(x, **given)
        parameters = complete(self.name, given)
        shared: dict[str, Any] = {key: value for key, value in given.items() if key not in parameters}
        return draw(x, partial(initializers.scheme_of(self.name), **parameters), in_place, **shared)

    def law(self, geometry: Geometry) -> Law:
        """The law of a tensor of this geometry; the spec must have no layout or axes. Errors as the initializer.

        A scheme that draws parts of a tensor by other specs, such as `packed`, asks for theirs:

            law = initializer.law(geometry_of_a_block)
        """
        keywords = [key for key in self.parameters if key in _GEOMETRY]
        if keywords:
            raise ValueError(
                f"`{keywords[0]}` must be given for the whole tensor, not in the spec of a part; got {self!r}"
            )
        return initializers.scheme_of(self.name)(geometry, **complete(self.name, self.parameters))

    def __reduce__(self) -> Any:
        path = initializers.path_of(self.name)
        return (_unpickled, (self.name, self.items, path)) if path else (Spec, (self.name, self.items))

    def as_dict(self) -> dict[str, Any]:
        """{"name": ..., parameter: value, ...}, plain data for JSON or TOML; also for specs among the values.

        >>> ai.spec("packed", initializer=ai.spec("eye"), blocks=2).as_dict()
        {'name': 'packed', 'blocks': 2, 'initializer': {'name': 'eye'}}
        """
        return {"name": self.name} | {key: _data(value) for key, value in self.items}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Spec":
        """The inverse of :meth:`as_dict`.

        >>> ai.Spec.from_dict({"name": "normal", "std": 0.02})
        spec('normal', std=0.02)

        Raises:
            ValueError: data that is no mapping with a name, or is nested too deeply. TypeError, ValueError: as
                :func:`spec`.
        """
        return _from_dict(data, 0)

    def _repr_html_(self) -> str:
        """Its parameters, those that were not given with their defaults."""
        from arrayinit.common.tables import Column, html_table  # here, as few programs show specs

        known = complete(self.name, self.parameters) | self.parameters
        rows = [(key, value_text(value), "" if key in self.parameters else "default") for key, value in known.items()]
        return html_table([Column(self.name), Column("value"), Column()], rows)

    def __repr__(self) -> str:
        return f"spec({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.items)])})"


def value_text(value: Any) -> str:
    """A parameter of a spec for tables: as Python writes it, but numbers with 6 digits."""
    if isinstance(value, float):
        short = f"{value:.6g}"
        return repr(value) if float(short) == value else short
    if isinstance(value, tuple):
        return f"({', '.join(map(value_text, value))}{',' * (len(value) == 1)})"
    if isinstance(value, Spec):
        parts = [repr(value.name), *(f"{key}={value_text(each)}" for key, each in value.items)]
        return f"spec({', '.join(parts)})"
    return repr(value)


def _unpickled(name: str, items: tuple[tuple[str, Any], ...], path: str) -> Spec:
    """A spec of the user's own initializer; another process first imports the module that registers it."""
    if initializers.full_name(name) is None:
        importlib.import_module(path.partition(":")[0])
    return Spec(name, items)


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
    """An initializer with parameters, as data: its name, its parameters, and what the axes of the weight mean.

        >>> he = ai.spec("kaiming_normal", nonlinearity="relu", mode="fan_out")
        >>> he
        spec('kaiming_normal', mode='fan_out', nonlinearity='relu')
        >>> w = he((256, 128), seed=0)          # a new array
        >>> w = he.fill_(w, seed=0, name="w")   # in place
        >>> thirds = ai.spec("packed", initializer=he, blocks=3)  # a parameter may be a spec, or a sequence of specs

    Args:
        name: of the initializer, without an underscore.
        parameters: those of the initializer, and of the shared keywords layout, in_axis, out_axis, batch_axis, groups
            and transposed. Values are plain data: numbers, strings, bools, None, specs, and sequences of them.

    Raises:
        ValueError: an unknown initializer. TypeError: an unknown or missing parameter, or a value that is not plain
            data. Whether the initializer takes a value is only checked when the spec is described or drawn.
    """
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # here, because it imports the compiler, which is loaded by now

        return torch_compiled.spec(name, parameters)
    _parameters_of(name)  # refuses unknown initializers
    name = initializers.full_name(name) or name
    if name == "distribution" and "distribution" in parameters:
        parameters |= _distribution(parameters)
    _refuse_numbers_as_text(name, parameters)
    items = ((key, plain(value)) for key, value in parameters.items())
    return Spec(name, tuple(sorted(items, key=lambda item: item[0])))


def _refuse_numbers_as_text(name: str, parameters: Mapping[str, Any]) -> None:
    """TypeError for "0.02" in the place of a parameter whose default is a number."""
    if not any(isinstance(value, str) for value in parameters.values()):
        return
    for known in _parameters_of(name):
        value = parameters.get(known.name)
        if isinstance(value, str) and is_real(known.default) and _is_number(value):
            raise TypeError(f"`{known.name}` must be a number; got {shown(value)}: write {value.strip()}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parameters_of(name: Any) -> tuple[inspect.Parameter, ...]:
    """The parameters of an initializer, without `x` and the shared keywords; ValueError for an unknown name."""
    check_name(name, "name")
    return _signature(initializers.function_of(name))


def named(name: Any, argument: str) -> Spec:
    """The spec of an initializer given by its name, with its defaults; an error calls the name by its argument."""
    check_name(name, argument)
    return spec(name)


def check_name(name: Any, argument: str) -> None:
    """ValueError unless an argument is the name of an initializer."""
    if initializers.full_name(name) is None:
        names = initializers.known_names()
        hint = spec_hint(name) or did_you_mean(name, names) or f"; there are {', '.join(names)}"
        if isinstance(name, str) and not hint.startswith(":"):
            hint += " (for a scheme of your own, import its module first; on the command line: --import MODULE)"
        verb = "be" if argument == "name" else "name"
        raise ValueError(f"`{argument}` must {verb} an initializer; got {shown(name)}{hint}")


def spec_hint(given: Any) -> str:
    """The end of an error about a name, an initializer or a number that stands in place of a spec; "" for others."""
    if is_real(given):
        return f": write arrayinit.spec('constant', val={shown(given)})"
    if isinstance(given, str) and "(" in given:
        return _call_hint(given)
    name = given if isinstance(given, str) else str(getattr(given, "__name__", "")).removesuffix("_")
    if isinstance(given, initializers.CustomInitializer):
        name = given.name
    return f": write arrayinit.spec({name!r})" if initializers.full_name(name) else ""


def _call_hint(text: str) -> str:
    """What to write for a call as text, "normal(0, 0.02)"; "" where it calls no initializer."""
    name, _, rest = text.strip().removesuffix(")").partition("(")
    name = name.rpartition(".")[2].removesuffix("_")
    if initializers.full_name(name) is None:
        return ""
    given = [each.strip() for each in rest.split(",") if each.strip()]
    names = [each.name for each in _parameters_of(name)]
    if len(given) > len(names):
        return f": write arrayinit.spec({name!r}, ...)"
    words = [each if "=" in each else f"{key}={each}" for key, each in zip(names, given, strict=False)]
    return f": write arrayinit.spec({', '.join([repr(name), *words])})"


@functools.lru_cache(maxsize=1024)
def _signature(function: Any) -> tuple[inspect.Parameter, ...]:
    """As `_parameters_of`. Cached, because reading a signature takes longer than all else that a spec does."""
    parameters = [*inspect.signature(function).parameters.values()][1:]
    return tuple(each for each in parameters if each.name not in KEYWORDS)


def complete(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of an initializer, given or by default, in the order of its signature: cache keys rely on it."""
    return {p.name: given.get(p.name, p.default) for p in _parameters_of(name)}


def with_path(initializer: Spec, path: str) -> Spec:
    """The spec of a parameter of a model, with its path where a scheme of one's own has a parameter for that."""
    given = {key: _value_with_path(value, path) for key, value in initializer.parameters.items()}
    if initializers.path_of(initializer.name) is not None:
        takes_path = any(parameter.name == "path" for parameter in _parameters_of(initializer.name))
        given = ({"path": path} if takes_path else {}) | given
    return spec(initializer.name, **given) if given != initializer.parameters else initializer


def _value_with_path(value: Any, path: str) -> Any:
    if isinstance(value, Spec):
        return with_path(value, path)
    return tuple(_value_with_path(one, path) for one in value) if isinstance(value, tuple) else value


def _distribution(parameters: dict[str, Any]) -> dict[str, Any]:
    """A frozen distribution of scipy.stats as its name and parameters."""
    from arrayinit.laws.quantile_functions import as_data  # imported here: few processes need it

    data = as_data(parameters["distribution"], parameters.get("parameters", ()))
    return {"distribution": data[0], "parameters": data[1]} if type(data) is tuple else {}


@dataclass(frozen=True)
class Description:
    """The numbers of what an initializer draws for a shape, by :func:`describe`. A field that does not apply is None.

    >>> ai.describe("orthogonal", (4, 4)).std
    0.5

    `print` shows a line for each, as the command line's `describe` does.
    """

    name: str
    shape: tuple[int, ...]
    distribution: str  # "uniform", "normal", "truncated_normal", "constant", "orthogonal", ..., or a "mixture" of them
    fan_in: int | None  # of one block, if a packed tensor has equal blocks
    fan_out: int | None
    gain: float | None  # of xavier_*, kaiming_*, identity and the orthogonal ones
    mean: float  # of the real part, for complex dtypes
    std: float  # of an element, after truncation
    low: float  # no element is smaller; for complex dtypes, no part of one
    high: float  # no element is larger, likewise

    def __str__(self) -> str:
        from arrayinit.common.tables import aligned

        rows = [(field.name, _field_text(getattr(self, field.name))) for field in fields(self)]
        return "\n".join(aligned(rows))

    def _repr_html_(self) -> str:
        from arrayinit.common.tables import html_fields

        numbers = {
            field.name: f"{value:.6g}" if isinstance(value, float) else str(value)
            for field in fields(self)[1:]
            if (value := getattr(self, field.name)) is not None
        }
        return html_fields(self.name, numbers)


def _field_text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return shape_text(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


@in_default_environment
def job_of(initializer: Spec, shape: Sequence[int] | int, dtype: str = "float32") -> Job:
    """The draw of a whole tensor by a spec, decided but for its key; errors as when it is drawn."""
    return _job_of(initializer.name, initializer.parameters, shape, dtype)


def _job_of(name: str, parameters: Mapping[str, Any], shape: Sequence[int] | int, dtype: str) -> Job:
    axes = tuple(parameters.get(key, default) for key, default in _GEOMETRY.items())
    return whole_job(partial(initializers.scheme_of(name), **complete(name, parameters)), shape, axes, dtype)


def law_of(initializer: Spec, shape: Sequence[int] | int, dtype: str = "float32") -> tuple[Law, Geometry]:
    """The law of a spec for a shape and a dtype, and the geometry of the shape; errors as when it is drawn."""
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
    """Fans, gain, mean, standard deviation and range of what an initializer draws for a shape, without a draw.

        >>> he = ai.describe(ai.spec("kaiming_uniform", nonlinearity="relu"), (64, 24))
        >>> he.fan_in, he.fan_out, round(he.std, 6), he.high
        (24, 64, 0.288675, 0.5)

    The numbers of a formula (sinusoidal, s4d, ...) with more than 2**20 elements, or more than 4096 along an axis, are
    estimates from some elements, right to about three digits.

    Args:
        initializer: a :class:`Spec`, or the name of an initializer with its defaults.
        shape: the global shape. dtype: real or complex; half the variance goes into each part of a complex element.
        layout, in_axis, out_axis, batch_axis, groups, transposed: as in all initializers; those in the spec win.

    Raises:
        TypeError, ValueError: as the initializer.
    """
    chosen = initializer if isinstance(initializer, Spec) else named(initializer, "initializer")
    parameters = {
        "layout": layout, "in_axis": in_axis, "out_axis": out_axis,
        "batch_axis": batch_axis, "groups": groups, "transposed": transposed,
    } | chosen.parameters  # fmt: skip
    dtype_name = backend_named("numpy").dtype_name(dtype)
    job = _job_of(chosen.name, parameters, shape, dtype_name)
    law, where = job.law, job.geometry
    element = moments(law, where, dtype_name)
    fan_in, fan_out = _fans(law, where)
    return Description(
        name=chosen.name,
        shape=where.shape,
        distribution=element.distribution,
        fan_in=fan_in,
        fan_out=fan_out,
        gain=_gain(chosen.name, parameters),
        mean=element.mean,
        std=element.std,
        low=element.low,
        high=element.high,
    )


def _fans(law: Law, where: Geometry) -> tuple[int | None, int | None]:
    """The fans of the whole, or of one block if all blocks are equal; (None, None) if there are none."""
    if isinstance(law, Packed) and all(piece.fold is not None for piece in law.pieces):
        blocks = {piece.geometry for piece in law.pieces}
        if len(blocks) != 1:
            return None, None
        where = blocks.pop()
    return where.fans if where.has_fans else (None, None)


def _gain(name: str, parameters: Mapping[str, Any]) -> float | None:
    base = initializers.ALIASES.get(name, name)
    if base.startswith("kaiming"):
        if parameters.get("gain") is not None:
            return float(parameters["gain"])
        return calculate_gain(parameters.get("nonlinearity", "leaky_relu"), parameters.get("a", 0.0))
    if base == "lora_orthogonal":
        return float(parameters.get("gain", 0.1))
    if base in ("xavier_uniform", "xavier_normal", "orthogonal", "delta_orthogonal", "spectral_orthogonal", "identity"):
        return float(parameters.get("gain", 1.0))
    return None
