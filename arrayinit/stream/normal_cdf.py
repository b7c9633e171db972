"""The normal distribution function and its inverse to 50 and 40 digits, in `decimal`.

Decimal arithmetic, exp and ln included, is correctly rounded and gives the same digits on every machine. The bounds of
truncated draws and the table of normal quantiles come from here, so they are part of the stream, not of the platform.
"""

import functools
import math
from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

__all__ = ["cdf", "digits", "pi", "quantile"]

DIGITS = 50  # significant digits of every result

_NEGLIGIBLE = 40  # beyond this many sigma the tail is below 1e-349


def digits(precision: int) -> AbstractContextManager[Context]:
    """A context of so many digits. All its settings are given: others would be what the process set as its default."""
    return localcontext(
        Context(
            precision, ROUND_HALF_EVEN, Emin=-999999, Emax=999999, capitals=1, clamp=0, flags=[],
            traps=[InvalidOperation, DivisionByZero, Overflow],
        )
    )  # fmt: skip


def _needed(x: Decimal) -> int:
    """Digits to compute with, so that Phi(x) has `DIGITS` of them.

    For x < 0 the series subtracts nearly 1/2 from 1/2. The result is about exp(-x**2 / 2) / (|x| sqrt(2 pi)), so
    x**2 / (2 ln 10) < x**2 / 4 leading digits cancel, and at most two more for the denominator, as |x| <= 40. The 15
    others are for those two and for the roundings of some thousand terms.
    """
    with digits(160):
        return DIGITS + 15 + int(x * x / 4)


def _density(x: Decimal) -> Decimal:
    return (-x * x / 2).exp() / (2 * pi()).sqrt()


@functools.cache
def pi() -> Decimal:
    """pi to 500 digits (Machin 1706: pi/4 = 4 arctan(1/5) - arctan(1/239))."""

    def arctan_inverse(n: int) -> Decimal:
        power = term = Decimal(1) / n
        total, k = term, 1
        while abs(term) > Decimal(10) ** -520:
            power /= -n * n
            k += 2
            term = power / k
            total += term
        return total

    with digits(520):
        return 4 * (4 * arctan_inverse(5) - arctan_inverse(239))


@functools.lru_cache(maxsize=1024)
def cdf(x: Decimal) -> Decimal:
    """Phi(x) = P(Z <= x) for a standard normal Z, to `DIGITS` significant digits; 0 or 1 beyond 40 sigma.

    Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...)  (Abramowitz and Stegun 1964, 26.2.11).

    All terms have the sign of x. From n > x**2 on they shrink, each faster than the one before, so the sum may end
    with the first one below the last digit.
    """
    if not -_NEGLIGIBLE <= x <= _NEGLIGIBLE:
        return Decimal(0) if x < 0 else Decimal(1)
    with digits(_needed(x)) as context:
        smallest = Decimal(10) ** -context.prec
        term, total, n, square = x, x, 1, x * x
        while abs(term) > smallest:
            n += 2
            term = term * square / n
            total += term
        return Decimal(1) / 2 + _density(x) * total


def quantile(p: Decimal) -> Decimal:
    """The x with Phi(x) = p, for 0 < p <= 1/2, to about `DIGITS` - 10 digits: Halley steps from a float64 start."""
    with digits(DIGITS + 15):
        x = Decimal(_start(p))
        while True:
            # Halley's step, with f''/f' = -x for f = Phi - p. It triples the number of right digits: once a step is
            # smaller than 10**-(DIGITS / 3), the error left is about its cube.
            newton = (cdf(x) - p) / _density(x)
            step = newton / (1 + x * newton / 2)
            x -= step
            if abs(step) < Decimal(10) ** -(DIGITS // 3 + 1):
                return x


def _start(p: Decimal) -> float:
    """A first guess for `quantile`."""
    t = math.sqrt(-2 * float(p.ln()))
    # Abramowitz and Stegun 1964, 26.2.23 (absolute error below 4.5e-4).
    top = 2.515517 + t * (0.802853 + t * 0.010328)
    bottom = 1 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    return -(t - top / bottom)
