"""Quantile functions -> tables of integers, from which a word draws what the function's law says.

A word chooses a half of the distribution by its lowest bit, and p = q / 2**33 there by the others, q odd: p from the
bottom, or from the top. As for the normal, [2**-(c+2), 2**-(c+1)) is octave c of a half, cut into 64 equal segments,
and each segment is a parabola in t in [0, 2**32), evaluated in integers as

    k = c0 - (((c1 - ((c2 * t) >> 32)) * t) >> 32).

Each octave of a half has a unit of its own, a power of two, so that |k| < 2**31 takes 30 digits there however heavy the
tail is. The parabola goes through the function at the three Chebyshev nodes of its segment.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

import numpy as np
import numpy.typing as npt

__all__ = ["DIGITS", "Function", "Quantiles", "quantiles"]

OCTAVES = 32
SEGMENTS = 64
HALVES = 2  # the upper one first: of words whose lowest bit is 0
DIGITS = 30  # of k in an octave
SMALLEST = -126  # no unit is below 2**-126, which float32 takes as it is; what is smaller is drawn as a multiple of it
LEAST = 2.0**-96  # of the largest quantile
SMOOTH = 2.0**-7  # of the range of an octave: what a parabola may be off between its nodes,
NOISE = 2.0**-24  # or of the spread of the law, for far octaves in which functions of float64 have no digits left

Floats: TypeAlias = npt.NDArray[np.float64]
# (p, whether from the top, the arguments) -> the p-quantiles of a law, or the (1 - p)-quantiles; 0 < p <= 1/2
Function: TypeAlias = Callable[..., Floats]


@dataclass(frozen=True)
class Quantiles:
    """A table. Equal where its numbers are, which `source` is a digest of: it holds nothing of a user's."""

    source: tuple[str | bool, ...]
    columns: Any = field(compare=False, repr=False)  # c0, c1, c2 by half, octave and segment, int32
    units: Any = field(compare=False, repr=False)  # by half and octave
    largest: float = field(compare=False, default=0.0)
    spread: float = field(compare=False, default=0.0)  # between the quantiles of 1/64 and 63/64
    coarsest: float = field(compare=False, default=0.0)  # unit of what lies between the quartiles

    def within(self, dtype: str, negative: bool) -> "Quantiles":
        """The table with units of this dtype; those of the mirrored law give each word the other sign."""
        units = (-self.units if negative else self.units).astype(dtype)
        return replace(self, source=(*self.source, dtype, negative), units=units)

    @property
    def moments(self) -> tuple[float, float, float, float]:
        """(mean, standard deviation, smallest, largest) of what is drawn."""
        c0, c1, c2 = (c.astype(np.float64).reshape(HALVES * OCTAVES, SEGMENTS) for c in self.columns)
        units = self.units[:, None]
        weight = np.tile(2.0 ** -np.arange(2.0, OCTAVES + 2), HALVES)[:, None] / SEGMENTS
        # Of a + b s + c s^2 over s in [0, 1].
        a, b, c = c0 * units, -c1 * units, c2 * units
        mean = float((weight * (a + b / 2 + c / 3)).sum() / weight.sum() / SEGMENTS)
        a = a - mean
        square = a * a + a * b + (2 * a * c + b * b) / 3 + b * c / 2 + c * c / 5
        ends = np.stack([a, a + b + c]) + mean
        std = math.sqrt(float((weight * square).sum() / weight.sum() / SEGMENTS))
        return mean, std, float(ends.min()), float(ends.max())


PROBES = np.ldexp(1.0, -np.array([33, 24, 17, 11, 7, 4, 3, 2, 1]))  # where an object is asked whether it is as it was


class _Remembered(NamedTuple):
    """The table of an object of a user's, what the object said when the table was made, and a look at whether it is."""

    alive: "ref[Any]"
    function: Function
    probes: bytes
    table: Quantiles


_remembered: dict[int, _Remembered] = {}  # by id, and gone with the object


def quantiles(function: Function, arguments: tuple[Any, ...]) -> Quantiles:
    """The table of a quantile function with these arguments. ValueError where it is not finite, smooth and large.

    It is kept for the next draw: by numbers and texts, or for one object of a user's, for as long as the object exists
    and has the same quantiles at some places.
    """
    if all(type(argument) in (float, str, tuple) for argument in arguments):
        return _plain(function, arguments)
    if len(arguments) != 1:
        return _table(function, arguments)
    owner = arguments[0]
    number = id(owner)
    probes = b"".join(np.asarray(function(PROBES, upper, owner), np.float64).tobytes() for upper in (True, False))
    known = _remembered.get(number)
    if known is not None and known.alive() is owner and (known.function, known.probes) == (function, probes):
        return known.table
    table = _table(function, arguments)
    try:
        alive = ref(owner, lambda _: _remembered.pop(number, None))
    except TypeError:  # an object without weak references is asked each time
        return table
    _remembered[number] = _Remembered(alive, function, probes, table)
    return table


@functools.lru_cache(maxsize=64)
def _plain(function: Function, arguments: tuple[Any, ...]) -> Quantiles:
    return _table(function, arguments)


@np.errstate(all="ignore")  # of far tails; what is not finite is refused
def _table(function: Function, arguments: tuple[Any, ...]) -> Quantiles:
    octave, segment = np.arange(OCTAVES)[:, None, None], np.arange(SEGMENTS)[:, None]
    nodes = np.array([0.0, (1 - math.sqrt(3) / 2) / 2, 0.5, (1 + math.sqrt(3) / 2) / 2])  # the start, to check by
    p = np.ldexp(1 + (segment + nodes) / SEGMENTS, -(octave + 2))
    halves = [np.asarray(function(p.reshape(-1), upper, *arguments), np.float64) for upper in (True, False)]
    if not all(np.isfinite(values).all() for values in halves):
        raise ValueError(f"the quantile function must be finite between 0 and 1, for {_name(arguments)} it is not")
    values = np.stack(halves).reshape(HALVES * OCTAVES, SEGMENTS, len(nodes))
    largest = float(np.abs(values).max())
    if largest < LEAST:
        raise ValueError(f"quantiles must reach 2**-96 at least; those of {_name(arguments)} end at {largest!r}")
    exponents = np.maximum(np.frexp(np.abs(values).max(axis=(1, 2)))[1] - DIGITS, SMALLEST)
    # Where a function is all noise, its slopes take more digits than it does.
    slopes = np.abs(_parabolas(values, exponents)[1:]).sum(axis=0).max(axis=1)
    exponents = exponents + np.maximum(np.frexp(slopes)[1] - DIGITS, 0)
    c0, c1, c2 = _parabolas(values, exponents)
    upper, lower = (values[half * OCTAVES + 4, 0, 0] for half in range(HALVES))  # p = 2**-6
    span = values.max(axis=(1, 2)) - values.min(axis=(1, 2))
    error = np.abs(np.ldexp(c0, exponents[:, None]) - values[:, :, 0]).max(axis=1)
    allowed = np.maximum(span * SMOOTH, (upper - lower) * NOISE) + np.ldexp(4.0, exponents)
    if (error > allowed).any():
        raise ValueError(
            f"the quantile function must be smooth: no jumps, and no power of p above about 50; that of "
            f"{_name(arguments)} is not"
        )
    columns = tuple(c.astype(np.int32).reshape(-1) for c in (c0, c1, c2))
    units = np.ldexp(1.0, exponents)
    coarsest = float(max(units[0], units[OCTAVES]))
    import hashlib  # here, for it takes as long to import as a sixth of the package

    digest = hashlib.blake2b(b"".join(part.tobytes() for part in (*columns, units)), digest_size=16).hexdigest()
    return Quantiles((digest,), columns, units, largest, float(upper - lower), coarsest)


def _parabolas(values: Floats, exponents: npt.NDArray[np.int64]) -> Floats:
    """c0, c1 and c2 of all segments, in units of 2**exponents, from values at the start and three nodes of each."""
    _, low, middle, high = np.moveaxis(np.ldexp(values, -exponents[:, None, None]), 2, 0)
    # With x = 2 s - 1 and s = t / 2**32: middle + slope x + bend x^2, whose nodes are at x = 0 and +-sqrt(3) / 2.
    slope, bend = (high - low) / math.sqrt(3), (high - 2 * middle + low) / 1.5
    result: Floats = np.rint(np.stack([middle - slope + bend, 4 * bend - 2 * slope, 4 * bend]))
    return result


def _name(arguments: tuple[Any, ...]) -> str:
    return ", ".join(map(str, arguments))
