"""The bounds of a truncated normal draw as fixed-point probabilities, the same integers on every machine."""

import functools
import math
from dataclasses import dataclass

__all__ = ["P_BITS", "Interval", "interval"]

P_BITS = 62  # a probability p is an integer in units of 2**-62, or of 2**-(62 + octave) far out in a tail
OCTAVES = 96  # of the table of normal quantiles: it ends at p = 2**-97; one octave is a margin for rounding
STEP_BITS = 32  # the smallest p of a half-infinite interval is its mass times 2**-32
RESOLUTION_BITS = 24  # an interval must have at least 2**24 distinct p


@dataclass(frozen=True)
class Interval:
    """P(Z <= low) and P(low < Z <= high) of an interval, or of its mirror image, in units of 2**-(62 + octave)."""

    low: int
    range_high: int  # P(low < Z <= high) = range_high * 2**31 + range_low
    range_low: int
    octave: int
    lower: bool  # deviates are negative for small p; else the interval was mirrored and they are positive

    @property
    def folds(self) -> bool:
        """Whether p can exceed 1/2."""
        return self.octave == 0


@functools.lru_cache(maxsize=256)
def interval(mean: float, std: float, low: float, high: float) -> Interval:
    """The interval [low, high] of N(mean, std^2), std > 0, low < high, by probabilities.

    An interval whose middle lies above the mean is mirrored. So its probabilities are those of the lower tail, where
    they are small and the same number of bits resolves them better than near 1.

    Far out even those are small, and a finer unit keeps their resolution: the octave is the first with
    p_high > 2**-(octave + 2), where p_high = P(Z <= high) is the largest probability. If that is not octave 0, the one
    before it failed, p_high <= 2**-(octave + 1), and the largest integer lies in (2**60, 2**61]. The table of normal
    quantiles ends at p = 1/2, which is 2**61 in octave 0, so only there can p lie beyond it and be folded to 1 - p.

    Raises:
        ValueError: the smallest p that is drawn lies beyond the table (the interval starts beyond about 11 standard
            deviations, or about 9 if it is half-infinite), or the interval holds fewer than 2**24 values of p.
    """
    from decimal import Decimal  # imported here: few processes need it

    from arrayinit.stream.normal_cdf import cdf, digits

    with digits(60):
        alpha, beta = ((Decimal(x) - Decimal(mean)) / Decimal(std) for x in (low, high))
        lower = alpha + beta <= 0 if math.isfinite(low) or math.isfinite(high) else True
        if not lower:
            alpha, beta = -beta, -alpha
    with digits(160):
        p_low, p_high = cdf(alpha), cdf(beta)
        octave = 0
        while p_high and p_high * (1 << (octave + 2)) <= 1 and octave < OCTAVES:
            octave += 1
        unit = 1 << (P_BITS + octave)
        first, last = round(p_low * unit), round(p_high * unit)
        mass = p_high - p_low
        smallest = max(p_low, mass / (1 << STEP_BITS))
        if mass <= 0 or smallest * (1 << OCTAVES) < 1 or last - first < 1 << RESOLUTION_BITS:
            raise ValueError(
                f"the interval [a, b] of a truncated normal must hold a probability that can be resolved; "
                f"got [{low!r}, {high!r}] for mean {mean!r} and std {std!r}, which holds {float(mass):.3g}"
            )
    span = last - first
    return Interval(low=first, range_high=span >> 31, range_low=span & 0x7FFFFFFF, octave=octave, lower=lower)
