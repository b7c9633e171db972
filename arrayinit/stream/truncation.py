"""The bounds of a truncated normal draw as fixed-point probabilities, the same integers on every machine."""

import functools
import math
from dataclasses import dataclass

__all__ = ["TAIL_BITS", "Tail", "tail"]

TAIL_BITS = 62  # p is an integer in units of 2**-62, or of 2**-(62 + octave) for an interval far out in a tail
OCTAVES = 96  # of the inverse-CDF table: it ends at p = 2**-97; one octave is left as a margin for rounding
STEP_BITS = 32  # the smallest p of a half-infinite interval is its mass times 2**-32
RESOLUTION_BITS = 24  # an interval must have at least 2**24 distinct p


@dataclass(frozen=True)
class Tail:
    """P(Z <= low), P(low < Z <= high) in units of 2**-(62 + octave); the mirror image where `lower` is false."""

    low: int
    range_high: int  # range = range_high * 2**31 + range_low
    range_low: int
    octave: int
    lower: bool  # deviates are negative for small p; else the interval was mirrored and they are positive

    @property
    def folds(self) -> bool:
        """Whether p can exceed 1/2."""
        return self.octave == 0


@functools.lru_cache(maxsize=256)
def tail(mean: float, std: float, low: float, high: float) -> Tail:
    """The interval [low, high] of N(mean, std^2), std > 0, low < high, in the tail where it can be resolved best.

    ValueError where the table ends (the interval lies beyond about 11 standard deviations, or is half-infinite and
    starts beyond about 9), or where the interval is so narrow that fewer than 2**24 values of p fall into it.
    """
    from decimal import Decimal  # here, for few processes need it

    from arrayinit.stream.normal_cdf import cdf, digits

    with digits(60):
        alpha, beta = ((Decimal(x) - Decimal(mean)) / Decimal(std) for x in (low, high))
        lower = alpha + beta <= 0 if math.isfinite(low) or math.isfinite(high) else True
        if not lower:
            alpha, beta = -beta, -alpha
    with digits(160):
        p_low, p_high = cdf(alpha), cdf(beta)
        # Far out, a finer unit: the largest p still takes 61 bits, half of the whole.
        octave = 0
        while p_high and p_high * (1 << (octave + 2)) <= 1 and octave < OCTAVES:
            octave += 1
        unit = 1 << (TAIL_BITS + octave)
        first, last = round(p_low * unit), round(p_high * unit)
        mass = p_high - p_low
        smallest = max(p_low, mass / (1 << STEP_BITS))
        if mass <= 0 or smallest * (1 << OCTAVES) < 1 or last - first < 1 << RESOLUTION_BITS:
            raise ValueError(
                f"the interval [a, b] of a truncated normal must hold a probability that can be resolved; "
                f"got [{low!r}, {high!r}] for mean {mean!r} and std {std!r}, which holds {float(mass):.3g}"
            )
    span = last - first
    return Tail(first, span >> 31, span & 0x7FFFFFFF, octave, lower)
