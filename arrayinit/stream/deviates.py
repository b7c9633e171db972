"""Words -> standard deviates: integers that follow the uniform, the normal, the truncated normal or a quantile table.

All arithmetic is on int64 lanes and stays below 2**63. `lanes` does what differs between array libraries (see
`backends.base.Lanes`).
"""

from typing import TYPE_CHECKING, Any

from arrayinit.stream.philox import MASK, Lane
from arrayinit.stream.truncation import P_BITS, Interval

if TYPE_CHECKING:
    from arrayinit.stream.quantile_tables import Quantiles

__all__ = ["NORMAL_REACH", "Z_BITS", "normal", "normalize", "tabulated", "truncated", "uniform"]

Z_BITS = 27  # a normal deviate z is an integer in units of 2**-27
NORMAL_REACH = 6.35  # bounds |z| of a normal deviate: the smallest p is 2**-33, where |z| = 6.338

SEGMENT_BITS = 6  # the tables have 64 segments an octave
OCTAVE_BITS = 5  # tables of other laws than the normal have 32 octaves a half


def uniform(words: Lane) -> Lane:
    """u = w >> 1, uniform on the integers [0, 2**31)."""
    return words >> 1


def normal(lanes: Any, words: Lane) -> Lane:
    """z in units of 2**-27, |z| <= 6.35: the inverse normal CDF at (w | 1) / 2**33, signed by the lowest bit of w."""
    octave, n = lanes.normalize(words | 1, 32)
    return _quantile(lanes, octave, n, 32) * (1 - 2 * (words & 1))


def truncated(lanes: Any, words: Lane, interval: Interval) -> Lane:
    """z in units of 2**-27 within the bounds of `interval`: the inverse CDF at p = low + (2u + 1) / 2**32 * range.

    u = w >> 1 numbers 2**31 equal steps of p. The middle of each is taken, so that the ends (p = 0 for an infinite
    bound) are never drawn.

    The product of 32 and 62 bits is computed in 63. With n = 2u + 1 and range = high * 2**31 + low,

        floor(n * range / 2**32) = floor((n * high + floor(n * low / 2**31)) / 2),

    since n * high is an integer. n < 2**32 and range <= 2**62, so that high <= 2**31 and both products fit.
    """
    n = words | 1
    p = interval.low + ((n * interval.range_high + ((n * interval.range_low) >> 31)) >> 1)
    if interval.folds:
        # -1 for p in the upper half of the distribution, else 0; p ^ -1 + 1 is -p.
        upper = ((1 << (P_BITS - 1)) - 1 - p) >> 63
        p = (p ^ upper) - upper + (upper & (1 << P_BITS))
        sign = 1 + 2 * upper
    else:
        sign = 1
    # Keep p in [1, 2**61 - 1]. Only roundings at the very end and at the exact middle move, by one unit.
    p = p + (((p - 1) >> 63) & 1)
    p = p - ((((1 << (P_BITS - 1)) - 1 - p) >> 63) & 1)
    octave, n = lanes.normalize(p, P_BITS - 1)
    z = _quantile(lanes, octave + interval.octave, n, P_BITS - 1)
    return z * (-sign if interval.lower else sign)


def tabulated(lanes: Any, words: Lane, quantiles: "Quantiles") -> tuple[Lane, Any]:
    """(k, unit) of each word, from the quantile table of a law; the deviate is their product."""
    octave, n = lanes.normalize(words | 1, 32)
    row = ((words & 1) << OCTAVE_BITS) | octave
    segment, t = _place(row, n, 32)
    c0, c1, c2 = (lanes.astype(c, lanes.xp.int64) for c in lanes.look_up(quantiles.columns, segment))
    (unit,) = lanes.look_up((quantiles.units,), row)
    return _parabola(c0, c1, c2, t), unit


def normalize(x: Lane, bits: int) -> tuple[Lane, Lane]:
    """(c, x << c), where c is the number of leading zeros of 0 < x < 2**bits, by bisection; bits <= 62."""
    zeros = x & 0
    for step in (32, 16, 8, 4, 2, 1):
        if step < bits:
            shift = ((x - (1 << (bits - step))) >> 63) & step  # step where x < 2**(bits - step), else 0
            x = x << shift
            zeros = zeros + shift
    return zeros, x


def _quantile(lanes: Any, octave: Lane, n: Lane, bits: int) -> Lane:
    """|z| at p = n / 2**bits * 2**-(octave + 1), for n normalized to `bits` bits: a parabola from the table."""
    segment, t = _place(octave, n, bits)
    c0, c1, c2 = lanes.parabola(segment)
    return _parabola(c0, c1, c2, t)


def _place(octave: Lane, n: Lane, bits: int) -> tuple[Lane, Lane]:
    """The segment of an octave that holds n, and the position of n within it, in units of 2**-32."""
    below = bits - 1 - SEGMENT_BITS  # bits of n below those that choose the segment
    segment = (octave << SEGMENT_BITS) | ((n >> below) & ((1 << SEGMENT_BITS) - 1))
    return segment, ((n << (32 - below)) if below <= 32 else (n >> (below - 32))) & MASK


def _parabola(c0: Lane, c1: Lane, c2: Lane, t: Lane) -> Lane:
    return c0 - (((c1 - ((c2 * t) >> 32)) * t) >> 32)
