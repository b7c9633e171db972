"""Deviates -> lattice integers k -> values: scale and offset in integers, then one exact product with 2**exponent.

A lattice is the multiples k * 2**exponent with k in [-2**31, 2**31). Why a value is rounded once at most, on all
libraries: k fits into float64, so that its product with a power of two is exact there. In float32, k is rounded to 24
bits when it is converted. The product is exact because it stays in the normal range: a product other than 0 is at least
2**exponent, which `_exponent` keeps at or above the smallest normal number, and at most the format's largest value.
"""

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from arrayinit.laws import Normal, Quantile, Sampled, Truncated, Uniform
from arrayinit.stream import deviates
from arrayinit.stream.formats import FORMATS, Format, is_complex, real_name
from arrayinit.stream.philox import Lane
from arrayinit.stream.truncation import Interval, interval

if TYPE_CHECKING:
    from arrayinit.stream.quantile_tables import Quantiles

__all__ = ["Lattice", "Sampling", "sampling"]

LATTICE_BITS = 31  # a lattice integer k takes a sign and 31 bits
COARSEST = 2**12  # lattice steps that a range of values must have at least; of a normal, 8 standard deviations
NARROWEST = 2**20  # lattice steps that the interval of a truncated normal must have at least


@dataclass(frozen=True)
class Lattice:
    """value = k * 2**exponent with k = offset + ((deviate * scale) >> shift)."""

    offset: int
    scale: int
    shift: int
    exponent: int

    def place(self, deviate: Lane) -> Lane:
        """k, in [-2**31, 2**31), for a deviate."""
        return ((deviate * self.scale) >> self.shift) + self.offset


Kind: TypeAlias = Literal["uniform", "normal", "truncated", "quantile"]


@dataclass(frozen=True)
class Sampling:
    """All that an engine needs to draw an element: integers, a format, and the ends of the range in it."""

    kind: Kind
    lattice: Lattice
    interval: Interval | None  # of a truncated law
    dtype: str
    low: float | None  # values are clipped to [low, high], both values of the format
    high: float | None
    quantiles: "Quantiles | None" = None  # of a law that is drawn by a quantile table, with units by octave

    @property
    def words_per_element(self) -> int:
        """Words of the stream that an element takes: 2 for complex dtypes, else 1."""
        return 2 if is_complex(self.dtype) else 1

    @property
    def format(self) -> Format:
        """The format of an element, or of each part of a complex one."""
        return FORMATS[real_name(self.dtype)]

    def deviate(self, lanes: Any, words: Lane) -> Lane:
        """The standard deviate of each word."""
        if self.kind == "uniform":
            return deviates.uniform(words)
        if self.interval is None:
            return deviates.normal(lanes, words)
        return deviates.truncated(lanes, words, self.interval)


def sampling(law: Sampled, dtype: str) -> Sampling:
    """The integers of a law in a dtype. ValueError where the dtype can't hold the law."""
    if isinstance(law, Quantile) and not law.is_data:
        return _sampling.__wrapped__(law, dtype)
    return _sampling(law, dtype)


@functools.lru_cache(maxsize=4096)
def _sampling(law: Sampled, dtype: str) -> Sampling:
    form = FORMATS[real_name(dtype)]
    if is_complex(dtype):
        law = law.complex_part()
    if isinstance(law, Uniform):
        return _uniform(law, form, dtype)
    if isinstance(law, Normal):
        lattice = _normal_lattice(law.mean, law.std, 3, form)
        return Sampling(kind="normal", lattice=lattice, interval=None, dtype=dtype, low=None, high=None)
    if isinstance(law, Quantile):
        return _quantile(law, form, dtype)
    return _truncated(law, form, dtype)


def _quantile(law: Quantile, form: Format, dtype: str) -> Sampling:
    from arrayinit.stream.quantile_tables import DIGITS, quantiles  # imported here: few processes need it

    table = quantiles(law.function, law.arguments)
    what = f"quantiles of {', '.join(map(str, law.arguments))}"
    exponent = _exponent(table.largest, form, what)
    # The unit of the middle decides how many values the bulk has. Twice the spread is 8 deviations of a normal.
    unit = math.frexp(table.coarsest)[1] - 1
    steps = round(2 * table.spread / table.coarsest)
    if _is_coarse(steps, unit, math.ldexp(1.0, unit + DIGITS), form):
        raise ValueError(
            f"the spread of a distribution is too small beside its largest values for {form.name}: it has only "
            f"{steps} steps of the lattice, at least {COARSEST} are needed (draw around zero, then add the offset)"
        )
    ends = (-law.high, -law.low) if law.negative else (law.low, law.high)
    low, high = form.within(*ends, "support")
    table = table.within(form.wide, law.negative)
    lattice = Lattice(offset=0, scale=1, shift=0, exponent=exponent)
    return Sampling(kind="quantile", lattice=lattice, interval=None, dtype=dtype, low=low, high=high, quantiles=table)


def _exponent(top: float, form: Format, what: str) -> int:
    """The exponent of the finest lattice that spans [-top, top]; ValueError if values would overflow or be subnormal.

    frexp gives the E with 2**(E - 1) <= top < 2**E. So top / 2**(E - 31) lies in [2**30, 2**31), and a lattice with a
    smaller exponent could not hold it.
    """
    if top > form.largest:
        raise ValueError(f"values must stay within {form.name}'s largest, {form.largest!r}; {what} reach {top!r}")
    exponent = math.frexp(top)[1] - LATTICE_BITS
    emin = FORMATS[form.wide].emin
    if exponent < emin:
        raise ValueError(
            f"values must have a scale of at least 2**{emin + LATTICE_BITS - 1} in {form.name} (below, steps would be "
            f"subnormal numbers, which some hardware flushes to zero); {what} reach only {top!r}"
        )
    return exponent


def _units(x: float, exponent: int) -> int:
    """x / 2**exponent, rounded to nearest even."""
    return round(math.ldexp(x, -exponent))


def _uniform(law: Uniform, form: Format, dtype: str) -> Sampling:
    top, what = max(abs(law.low), abs(law.high)), f"bounds [{law.low!r}, {law.high!r})"
    exponent = _exponent(top, form, what)
    first = _units(law.low, exponent)
    span = _units(law.high, exponent) - first
    if _is_coarse(span, exponent, top, form):
        raise ValueError(
            f"`a` and `b` are too close together beside their distance from zero for {form.name}: they span only "
            f"{span} steps of the lattice, at least {COARSEST} are needed (draw around zero, then add the offset)"
        )
    low, high = form.at_least(law.low), form.below(law.high)
    if low > high:  # bounds that are closer than lattice steps hold at most one value, and it is drawn
        raise ValueError(f"the interval [a, b) must hold a value of {form.name}; got [{law.low!r}, {law.high!r})")
    lattice = Lattice(offset=first, scale=span, shift=LATTICE_BITS, exponent=exponent)
    return Sampling(kind="uniform", lattice=lattice, interval=None, dtype=dtype, low=low, high=high)


def _normal_lattice(mean: float, std: float, reach_bits: int, form: Format) -> Lattice:
    """The lattice that holds mean + z * std for |z| < 2**reach_bits.

    The exponent is the smallest for which |mean| + 2**reach_bits * std, in lattice steps, stays below 2**31. Both terms
    are rounded to steps; where their sum is then rounded up to 2**31, the exponent is one larger.
    """
    span = std * 2**reach_bits
    what = f"mean {mean!r} and {2**reach_bits} times std {std!r}"
    exponent = _exponent(abs(mean) + span, form, what)
    if abs(_units(mean, exponent)) + _units(span, exponent) >= 2**LATTICE_BITS:
        exponent += 1
    steps = _units(span, exponent)
    if _is_coarse(steps, exponent, abs(mean) + span, form):
        raise ValueError(
            f"`std` is too small beside `mean` for {form.name}: {2**reach_bits} std span only {steps} steps of the "
            f"lattice, at least {COARSEST} are needed (draw with mean=0, then add the mean)"
        )
    return Lattice(
        offset=_units(mean, exponent),
        scale=steps,
        shift=deviates.Z_BITS + reach_bits,
        exponent=exponent,
    )


def _is_coarse(steps: int, exponent: int, top: float, form: Format) -> bool:
    """Whether the lattice would draw a law with few values, though the dtype has more."""
    return steps < COARSEST and math.ldexp(1.0, exponent) > form.quantum(top)


def _truncated(law: Truncated, form: Format, dtype: str) -> Sampling:
    ends = [abs(x - law.mean) / law.std for x in (law.low, law.high)]
    # |z| < 8 for an interval around the mean, as in a normal draw, and for bounds within 8; else |z| < 16.
    reach_bits = 3 if law.low <= law.mean <= law.high or max(ends) <= 8 else 4
    probabilities = interval(law.mean, law.std, law.low, law.high)
    lattice = _normal_lattice(law.mean, law.std, reach_bits, form)
    low, high = form.within(law.low, law.high, "interval [a, b]")
    if law.high - law.low < math.ldexp(NARROWEST, lattice.exponent):
        raise ValueError(
            f"the interval [a, b] of a truncated normal must be at least 2**20 steps of the lattice wide, "
            f"{math.ldexp(NARROWEST, lattice.exponent)!r} for mean {law.mean!r} and std {law.std!r}; "
            f"got [{law.low!r}, {law.high!r}] (over so short an interval a uniform law is the same)"
        )
    return Sampling(kind="truncated", lattice=lattice, interval=probabilities, dtype=dtype, low=low, high=high)
