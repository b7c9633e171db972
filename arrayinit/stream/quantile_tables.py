"""Quantile functions -> tables of integers, by which a word draws from the law of the function.

The lowest bit of a word chooses a half of the distribution, and the other bits choose p = q / 2**33 there, q odd,
counted from the bottom or from the top. As for the normal, [2**-(c+2), 2**-(c+1)) is octave c of a half, cut into 64
equal segments, and each segment is a parabola in t in [0, 2**32), evaluated in integers as

    k = c0 - (((c1 - ((c2 * t) >> 32)) * t) >> 32).

Each octave of a half has its unit, a power of two, so that |k| < 2**31 has 30 bits there however heavy the tail is. The
parabola goes through the function at the three Chebyshev nodes of its segment.
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
DIGITS = 30  # bits of k in an octave
SMALLEST = -126  # no unit is below 2**-126, the smallest normal float32; smaller quantiles are rounded to multiples
LEAST = 2.0**-96  # of the largest quantile
SMOOTH = 2.0**-7  # of the range of an octave: the largest error of a parabola between its nodes,
NOISE = 2.0**-24  # or of the spread of the law, for far octaves in which float64 functions have no digits left

Floats: TypeAlias = npt.NDArray[np.float64]
# (p, whether p counts from the top, *arguments) -> the quantiles of a law at p, or at 1 - p; 0 < p <= 1/2
Function: TypeAlias = Callable[..., Floats]


@dataclass(frozen=True)
class Quantiles:
    """A quantile table. Tables compare by `source`, a digest of their numbers, and keep no object of a user alive."""

    source: tuple[str | bool, ...]
    columns: Any = field(compare=False, repr=False)  # c0, c1, c2 by half, octave and segment, int32
    units: Any = field(compare=False, repr=False)  # by half and octave
    largest: float = field(compare=False, default=0.0)
    spread: float = field(compare=False, default=0.0)  # between the quantiles of 1/64 and 63/64
    coarsest: float = field(compare=False, default=0.0)  # the larger unit of the two octaves between the quartiles

    def within(self, dtype: str, negative: bool) -> "Quantiles":
        """The table with units of this dtype; for the mirrored law they are negative."""
        units = (-self.units if negative else self.units).astype(dtype)
        return replace(self, source=(*self.source, dtype, negative), units=units)

    @property
    def moments(self) -> tuple[float, float, float, float]:
        """(mean, standard deviation, smallest, largest) of the values that the table gives."""
        c0, c1, c2 = (c.astype(np.float64).reshape(HALVES * OCTAVES, SEGMENTS) for c in self.columns)
        units = self.units[:, None]
        weight = np.tile(2.0 ** -np.arange(2.0, OCTAVES + 2), HALVES)[:, None] / SEGMENTS
        # Integrals of the parabolas a + b s + c s^2 over s in [0, 1], and of their squares.
        a, b, c = c0 * units, -c1 * units, c2 * units
        mean = float((weight * (a + b / 2 + c / 3)).sum() / weight.sum() / SEGMENTS)
        a = a - mean
        square = a * a + a * b + (2 * a * c + b * b) / 3 + b * c / 2 + c * c / 5
        ends = np.stack([a, a + b + c]) + mean
        std = math.sqrt(float((weight * square).sum() / weight.sum() / SEGMENTS))
        return mean, std, float(ends.min()), float(ends.max())


PROBES = np.ldexp(1.0, -np.array([33, 24, 17, 11, 7, 4, 3, 2, 1]))  # p at which an object is checked for changes


class _Remembered(NamedTuple):
    """The table of a user's object, a weak reference to the object, and its quantiles at PROBES when it was made."""

    alive: "ref[Any]"
    function: Function
    probes: bytes
    table: Quantiles


_remembered: dict[int, _Remembered] = {}  # by id; an entry goes with its object


def quantiles(function: Function, arguments: tuple[Any, ...]) -> Quantiles:
    """The table of a quantile function with these arguments; ValueError if it is not finite, smooth and large enough.

    Tables are kept for the next draw: by the arguments if these are numbers and texts, or for one object of a user, as
    long as the object exists and has the same quantiles at PROBES.
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
    except TypeError:  # without weak references, the table is made each time
        return table
    _remembered[number] = _Remembered(alive, function, probes, table)
    return table


@functools.lru_cache(maxsize=64)
def _plain(function: Function, arguments: tuple[Any, ...]) -> Quantiles:
    return _table(function, arguments)


@np.errstate(all="ignore")  # far tails may overflow; values that are not finite are refused
def _table(function: Function, arguments: tuple[Any, ...]) -> Quantiles:
    import hashlib  # here, because it takes a sixth of the time that the whole package takes to import

    values = _values(function, arguments)
    largest = float(np.abs(values).max())
    if largest < LEAST:
        raise ValueError(f"quantiles must reach at least 2**-96; those of {_name(arguments)} end at {largest!r}")
    exponents = _exponents(values)
    coefficients = _parabolas(values, exponents)
    upper, lower = (values[half * OCTAVES + 4, 0, 0] for half in range(HALVES))  # p = 2**-6
    spread = float(upper - lower)
    if not _is_smooth(values, coefficients[0], exponents, spread):
        raise ValueError(
            f"the quantile function must be smooth: no jumps, and no power of p above about 50; that of "
            f"{_name(arguments)} is not"
        )
    columns = tuple(c.astype(np.int32).reshape(-1) for c in coefficients)
    units = np.ldexp(1.0, exponents)
    digest = hashlib.blake2b(b"".join(array.tobytes() for array in (*columns, units)), digest_size=16).hexdigest()
    coarsest = float(max(units[0], units[OCTAVES]))
    return Quantiles((digest,), columns, units, largest=largest, spread=spread, coarsest=coarsest)


def _values(function: Function, arguments: tuple[Any, ...]) -> Floats:
    """Quantiles by half and octave, by segment, and by place in it: its start, then its three Chebyshev nodes."""
    octave, segment = np.arange(OCTAVES)[:, None, None], np.arange(SEGMENTS)[:, None]
    places = np.array([0.0, (1 - math.sqrt(3) / 2) / 2, 0.5, (1 + math.sqrt(3) / 2) / 2])
    p = np.ldexp(1 + (segment + places) / SEGMENTS, -(octave + 2))
    halves = [np.asarray(function(p.reshape(-1), upper, *arguments), np.float64) for upper in (True, False)]
    if not all(np.isfinite(values).all() for values in halves):
        raise ValueError(f"the quantile function must be finite between 0 and 1; that of {_name(arguments)} is not")
    return np.stack(halves).reshape(HALVES * OCTAVES, SEGMENTS, len(places))


def _exponents(values: Floats) -> npt.NDArray[np.int64]:
    """The exponent of the unit of each octave, with which all coefficients take at most `DIGITS` bits."""
    exponents = np.maximum(np.frexp(np.abs(values).max(axis=(1, 2)))[1] - DIGITS, SMALLEST)
    # Slopes of a function that is all noise take more bits than its values.
    slopes = np.abs(_parabolas(values, exponents)[1:]).sum(axis=0).max(axis=1)
    result: npt.NDArray[np.int64] = exponents + np.maximum(np.frexp(slopes)[1] - DIGITS, 0)
    return result


def _is_smooth(values: Floats, c0: Floats, exponents: npt.NDArray[np.int64], spread: float) -> bool:
    """Whether the parabolas are near the function where the segments start, which is no node of theirs."""
    span = values.max(axis=(1, 2)) - values.min(axis=(1, 2))
    error = np.abs(np.ldexp(c0, exponents[:, None]) - values[:, :, 0]).max(axis=1)
    allowed = np.maximum(span * SMOOTH, spread * NOISE) + np.ldexp(4.0, exponents)
    return not bool((error > allowed).any())


def _parabolas(values: Floats, exponents: npt.NDArray[np.int64]) -> Floats:
    """c0, c1 and c2 of all segments, in units of 2**exponents, from the values at their three nodes."""
    _, low, middle, high = np.moveaxis(np.ldexp(values, -exponents[:, None, None]), 2, 0)
    # With x = 2 s - 1 and s = t / 2**32: middle + slope x + bend x^2, whose nodes are at x = 0 and +-sqrt(3) / 2.
    slope, bend = (high - low) / math.sqrt(3), (high - 2 * middle + low) / 1.5
    result: Floats = np.rint(np.stack([middle - slope + bend, 4 * bend - 2 * slope, 4 * bend]))
    return result


def _name(arguments: tuple[Any, ...]) -> str:
    return ", ".join(map(str, arguments))
