"""Values that no argument should be taken for, and what a call with one may do: refuse it by name, or be right."""

import collections
import decimal
import enum
import fractions
import itertools
import math
import random
import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import arrayinit as ai


class Broken:
    """An object of a user's whose methods raise."""

    def __repr__(self):
        raise ZeroDivisionError("repr")


class Text(str):
    """A text that is not just a text."""


class Whole(enum.IntEnum):
    THREE = 3


def _nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


def _selfish():
    found = []
    found.append(found)
    return found


# What a value is called -> what makes it, and the plain value that it may be taken for, if any.
NONE = object()
VALUES = {
    "None": (lambda: None, NONE),
    "True": (lambda: True, NONE),
    "False": (lambda: False, NONE),
    "text": (lambda: "x", "x"),
    "empty text": (lambda: "", ""),
    "bytes": (lambda: b"\x02\x03", NONE),
    "memoryview": (lambda: memoryview(b"\x02\x03"), NONE),
    "list": (list, []),
    "dict": (dict, NONE),
    "set": (lambda: {2, 3}, NONE),
    "iterator": (lambda: iter([2, 3]), NONE),
    "map": (lambda: map(int, ["2", "3"]), NONE),
    "generator": (lambda: (i for i in (2, 3)), NONE),
    "endless": (itertools.count, NONE),
    "object": (object, NONE),
    "broken": (Broken, NONE),
    "type": (lambda: int, NONE),
    "function": (lambda: lambda *a: 0, NONE),
    "module": (lambda: math, NONE),
    "exception": (lambda: ValueError("x"), NONE),
    "NotImplemented": (lambda: NotImplemented, NONE),
    "nan": (lambda: math.nan, math.nan),
    "inf": (lambda: math.inf, math.inf),
    "-inf": (lambda: -math.inf, -math.inf),
    "10**400": (lambda: 10**400, NONE),
    "-10**400": (lambda: -(10**400), NONE),
    "10**5000": (lambda: 10**5000, NONE),
    "2**63": (lambda: 2**63, 2**63),
    "2**70": (lambda: 2**70, 2**70),
    "-1": (lambda: -1, -1),
    "0": (lambda: 0, 0),
    "1": (lambda: 1, 1),
    "0.0": (lambda: 0.0, 0),
    "-0.0": (lambda: -0.0, -0.0),
    "1.0": (lambda: 1.0, 1),
    "1.5": (lambda: 1.5, 1.5),
    "1e308": (lambda: 1e308, 1e308),
    "5e-324": (lambda: 5e-324, 5e-324),
    "complex": (lambda: 1 + 1j, NONE),
    "Decimal": (lambda: decimal.Decimal("0.5"), NONE),
    "Fraction": (lambda: fractions.Fraction(1, 2), 0.5),
    "longdouble": (lambda: np.longdouble("1e4000"), NONE),
    "float32": (lambda: np.float32(0.5), 0.5),
    "int64": (lambda: np.int64(2), 2),
    "bool_": (lambda: np.True_, True),
    "timedelta64": (lambda: np.timedelta64(2, "s"), NONE),
    "datetime64": (lambda: np.datetime64("2020"), NONE),
    "array of floats": (lambda: np.array([0.5, 0.25]), [0.5, 0.25]),
    "array of one": (lambda: np.array([0.5]), [0.5]),
    "array of none": (lambda: np.array(0.5), 0.5),
    "integer array of none": (lambda: np.array(2), 2),
    "integer array": (lambda: np.array([2, 3]), (2, 3)),
    "object array": (lambda: np.array([object()]), NONE),
    "IntEnum": (lambda: Whole.THREE, 3),
    "text of a user's": (lambda: Text("normal"), "normal"),
    "surrogate": (lambda: "\ud800", "\ud800"),
    "NUL": (lambda: "a\0b", "a\0b"),
    "long text": (lambda: "x" * 10**5, "x" * 10**5),
    "syntax": (lambda: "f4,(", "f4,("),
    "deep": (lambda: _nested(10**4), NONE),
    "holds itself": (_selfish, NONE),
    "slice": (lambda: slice(0, 2), slice(0, 2)),
    "Ellipsis": (lambda: ..., ...),
    "range": (lambda: range(2, 4), (2, 3)),
    "long range": (lambda: range(10**30), NONE),
    "long list": (lambda: list(range(1000)), NONE),
    "pair": (lambda: (2, 3), (2, 3)),
    "pair of floats": (lambda: (2.0, 3.0), (2.0, 3.0)),
    "pair with True": (lambda: (True, 2), NONE),
    "(None,)": (lambda: (None,), NONE),
    "nested pair": (lambda: ((2,), 3), NONE),
    "deque": (lambda: collections.deque([2, 3]), (2, 3)),
    "spec": (lambda: ai.spec("normal"), ai.spec("normal")),
    "key": (lambda: ai.Key(3), 3),
}


SOME = 12  # values of each argument in the quick run

# What an error calls an argument otherwise: bounds by each other, axes by the other axes, a shape by what it is.
NAMES = {
    "a": ("param", "b", "bounds"), "b": ("bounds",), "lower": ("upper",), "x": ("shape", "dtype", "blocks", "index"),
    "in_axis": ("out_axis",), "out_axis": ("in_axis", "output axis"), "batch_axis": ("in_axis",), "t_max": ("t_min",),
    "dt_floor": ("dt_max",), "dt_min": ("dt_max",), "parameters": ("distribution",), "distribution": ("parameters",),
    "groups": ("output axis",), "key": ("seed",), "shape": ("x", "index"), "mean": ("std",), "initializer": ("name",),
}  # fmt: skip
# What an argument takes as it is, everywhere.
TAKES = {"a": ("None",), "seed": ("None",), "dtype": ("type",)}


def library_values(torch=None, jax=None):
    """Wrong values from torch and JAX."""
    found = {}
    if torch is not None:
        found |= {
            "tensor of none": (lambda: torch.tensor(0.5), 0.5),
            "tensor of one": (lambda: torch.tensor([0.5]), [0.5]),
            "tensor": (lambda: torch.ones(2), [1.0, 1.0]),
            "integer tensor": (lambda: torch.tensor([2, 3]), (2, 3)),
            "integer tensor of one": (lambda: torch.tensor([2]), (2,)),
            "integer tensor of none": (lambda: torch.tensor(2), 2),
            "boolean tensor": (lambda: torch.tensor(True), NONE),
            "meta tensor": (lambda: torch.empty(2, device="meta"), NONE),
            "meta tensor of none": (lambda: torch.empty((), device="meta"), NONE),
            "torch.Size": (lambda: torch.Size([2, 3]), (2, 3)),
        }
    if jax is not None:
        found |= {
            "jax scalar": (lambda: jax.numpy.float32(0.5), 0.5),
            "jax array": (lambda: jax.numpy.ones(2), [1.0, 1.0]),
            "jax integers": (lambda: jax.numpy.array([2, 3]), (2, 3)),
            "jax booleans": (lambda: jax.numpy.array([True]), NONE),
        }
    return found


@dataclass
class Call:
    """A call that is right: `function(**arguments)`, of which one argument at a time is replaced.

    names: argument -> other words by which an error may name it. errors: what else than ValueError and TypeError is
    documented. skip: arguments that anything may be given for. takes: argument -> labels of values that it takes for
    what they are. without: labels of values that it is not called with. fresh: arguments made anew for each call.
    """

    label: str
    function: Any
    arguments: dict[str, Any] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    errors: tuple[type[BaseException], ...] = ()
    skip: tuple[str, ...] = ()
    takes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    fresh: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **changed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = {name: make() for name, make in self.fresh.items()}
            return self.function(**{**self.arguments, **made, **changed})

    @property
    def varied(self):
        return [name for name in (*self.arguments, *self.fresh) if name not in self.skip]


def outcome(call, changed):
    """(what is returned, what is raised)."""
    try:
        return call(**changed), None
    except Exception as error:
        return None, error


def wrong(call, name, label, make, plain, others=(), takes=()):
    """The problem with the behaviour of a call for a value of an argument; None where it is right."""
    found, error = outcome(call, {name: make()})
    if error is not None:
        if isinstance(error, (*call.errors, ImportError)):
            return None
        if not isinstance(error, ValueError | TypeError):
            return f"{call.label}({name}={label}) raises {type(error).__name__}: {str(error)[:200]}"
        words = (name, *others, *call.names.get(name, ()))
        if not any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", str(error)) for word in words):
            return f"{call.label}({name}={label}) does not name it: {type(error).__name__}: {str(error)[:200]}"
        return None
    if label in (*takes, *call.takes.get(name, ())) or (
        isinstance(call.arguments.get(name), bool) and label in ("True", "False")
    ):
        return None
    expected = []
    if plain is not NONE:
        expected.append({name: plain})
    expected.append({name: call.arguments[name]} if name in call.arguments else {})
    for one in (*expected, None):
        right, error = outcome(call, one) if one is not None else _without(call, name)
        if error is None and _alike(found, right):
            return None
    return f"{call.label}({name}={label}) returns {type(found)!s}, as no clean call does"


def _without(call, name):
    rest = Call(call.label, call.function, {k: v for k, v in call.arguments.items() if k != name})
    rest.fresh = {k: v for k, v in call.fresh.items() if k != name}
    return outcome(rest, {})


def _alike(a, b):
    try:
        return alike(a, b)
    except RecursionError:
        return False


def alike(a, b):
    """Whether two results are the same, by ==."""
    if isinstance(a, np.ndarray) or hasattr(a, "__array__"):
        if not hasattr(b, "__array__"):
            return False
        if getattr(getattr(a, "device", None), "type", "") == "meta":
            return str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape)
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return repr(a) == repr(b)
    return type(a) is type(b) and (a == b or repr(a) == repr(b))


def sample(values, count, seed):
    """Some of the values, the same ones each time; all where there is no count."""
    names = sorted(values)
    if count is None:
        return names
    return random.Random(seed).sample(names, min(count, len(names)))


def failures(call, values, count=None):
    """The problems of a call with `count` of these values for each of its arguments; with all of them by default."""
    call()  # as it is, it is right
    problems = []
    for name in call.varied:
        given = {label: value for label, value in values.items() if label not in call.without}
        for label in sample(given, count, f"{call.label} {name}"):
            problem = wrong(call, name, label, *given[label], NAMES.get(name, ()), TAKES.get(name, ()))
            if problem is not None:
                problems.append(problem)
    return problems
