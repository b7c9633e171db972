"""A call of an initializer as text, and back, for graphs of other libraries, which can hold a draw only as text.

The text is a JSON object: "stream" (the version of the stream), "draw" (the name of the scheme), "with" (its
parameters), and those shared keywords that differ from their defaults and say which elements of which tensor to draw.
Neither the array nor the seed is part of it. Graphs are saved, so the meaning of the keys must not change.
"""

import functools
import json
from collections.abc import Mapping
from functools import partial
from numbers import Integral, Real
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

from arrayinit import initializers
from arrayinit.common.float_environment import in_default_environment
from arrayinit.common.integers import as_integer, as_integers
from arrayinit.common.messages import shown
from arrayinit.draw import Scheme
from arrayinit.initializers.bits import words
from arrayinit.laws.gains import calculate_gain
from arrayinit.specs import Spec, complete, spec

__all__ = ["Call", "Where", "call", "is_fixed", "text"]

Where: TypeAlias = tuple[Any, Any, Any, tuple[Any, ...]]  # name, shape, index, and the keywords of `_AXES`

_AXES = ("layout", "in_axis", "out_axis", "batch_axis", "groups", "transposed")
_DEFAULTS = {"batch_axis": (), "groups": 1, "transposed": False}  # of shared keywords; that of all others is None
_INTEGERS = ("name", "shape", "index", *_AXES)  # keywords whose integers may be of any library, arrays or traced sizes
_BITS = "bits"  # the name of the only scheme that is no initializer

# Schemes that draw nothing at random, for any parameters and shape.
_FIXED = (
    "bilinear",
    "constant",
    "dirac",
    "eye",
    "hippo_legs",
    "identity",
    "linspace",
    "lstm_bias",
    "mamba_a_log",
    "ones",
    "prior_bias",
    "s4d",
    "sinusoidal",
    "zero_hadamard",
    "zeros",
)


class Call(NamedTuple):
    """The arguments of :func:`text`."""

    scheme: Scheme
    where: Where


@in_default_environment  # numbers are rounded as they become text, too
def text(scheme: Scheme, where: Where) -> str:
    """A scheme with its parameters, and its place in the global tensor, as text. TypeError where text can't hold it."""
    name = _name(scheme)
    given = scheme.keywords if isinstance(scheme, partial) else {}
    if name == "distribution":
        from arrayinit.laws.quantile_functions import as_data  # here, because few processes need it

        data = as_data(given["distribution"], given.get("parameters", ()))
        given = dict(zip(("distribution", "parameters"), data, strict=True)) if isinstance(data, tuple) else given
    if callable(given.get("nonlinearity")) and given.get("gain") is None:  # a function is no data; its gain is
        given = {**given, "nonlinearity": "leaky_relu", "a": 0.0, "gain": calculate_gain(given["nonlinearity"])}
    from arrayinit import STREAM_VERSION  # here, because it is defined at the top of the package

    folded, shape, index, axes = where
    shared = {"name": folded, "shape": shape, "index": index, **dict(zip(_AXES, axes, strict=True))}
    return json.dumps(
        {"stream": STREAM_VERSION, "draw": name, "with": {key: _data(value, key) for key, value in given.items()}}
        | {key: _data(value, key) for key, value in shared.items() if not _is_default(value, key)}
    )


@functools.lru_cache(maxsize=4096)
@in_default_environment
def call(text: str) -> Call:
    """The inverse of :func:`text`. ValueError for text of another version of the stream."""
    from arrayinit import STREAM_VERSION  # as above

    data = json.loads(text)
    if data["stream"] != STREAM_VERSION:
        raise ValueError(
            f"the graph must be recorded by an arrayinit of this stream version, {STREAM_VERSION}; "
            f"got one of version {data['stream']}"
        )
    given = {key: _value(value) for key, value in data["with"].items()}
    scheme = words if data["draw"] == _BITS else _scheme(data["draw"], given)
    keys = ("name", "shape", "index", *_AXES)
    folded, shape, index, *axes = (_value(data[key]) if key in data else _DEFAULTS.get(key) for key in keys)
    return Call(scheme, (folded, shape, index, tuple(axes)))


def _scheme(name: str, given: Mapping[str, Any]) -> Scheme:
    """A scheme with these parameters, and defaults for the others. ValueError or TypeError for unknown ones."""
    parameters = complete(spec(name, **given).name, given)  # refuses unknown names and missing parameters
    unknown = [key for key in given if key not in parameters]
    if unknown:
        raise TypeError(f"`with` must have parameters of {name}, {', '.join(parameters)}; got {', '.join(unknown)}")
    return partial(initializers.scheme_of(name), **parameters)


def is_fixed(scheme: Scheme) -> bool:
    """Whether a scheme takes no key, whatever the shape."""
    return getattr(_function(scheme), "__name__", "").removeprefix("_") in _FIXED


def _is_default(value: Any, key: str) -> bool:
    default = _DEFAULTS.get(key)
    return value is None or (type(value) is type(default) and value == default)


def _function(scheme: Scheme) -> Any:
    return scheme.func if isinstance(scheme, partial) else scheme


def _name(scheme: Scheme) -> str:
    function = _function(scheme)
    if function is words:
        return _BITS
    name: str = getattr(function, "__name__", "").removeprefix("_")
    if initializers.full_name(name) is None or initializers.scheme_of(name) is not function:
        raise TypeError(
            f"a draw that torch records must be of an initializer of arrayinit, or of one that arrayinit.scheme has "
            f"registered; got {shown(scheme)}"
        )
    return name


def _data(value: Any, name: str) -> Any:
    """A value for JSON. Numbers are converted as schemes do it, so that the law is the same to the last digit."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral) or _is_symbolic(value, "SymInt"):
        return int(value)
    if name in _INTEGERS:
        number = as_integer(value)
        numbers = as_integers(value) if number is None else None
        if number is not None or numbers is not None:
            return number if numbers is None else list(numbers)
    if isinstance(value, Real) or _is_symbolic(value, "SymFloat"):
        return float(value)
    if isinstance(value, list | tuple):
        return [_data(one, name) for one in value]
    if isinstance(value, slice):
        return {"slice": [_data(end, name) for end in (value.start, value.stop, value.step)]}
    if isinstance(value, EllipsisType):
        return {"slice": "..."}
    if isinstance(value, Spec):
        return {"spec": value.as_dict()}
    raise TypeError(
        f"`{name}` must be plain data (a number, a string, a bool, a spec, a sequence of them) where torch records "
        f"the draw; got {shown(value)}"
    )


def _is_symbolic(value: Any, kind: str) -> bool:
    """Whether torch has a symbol for a number; converted to a Python number it becomes a condition of the graph."""
    return type(value).__name__ == kind


def _value(data: Any) -> Any:
    """The inverse of `_data`; sequences become tuples."""
    if isinstance(data, list):
        return tuple(map(_value, data))
    if not isinstance(data, Mapping):
        return data
    if "spec" in data:
        return Spec.from_dict(data["spec"])
    return ... if data["slice"] == "..." else slice(*data["slice"])
