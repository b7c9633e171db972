"""exp, log, sin and cos in binary64, from + - * / alone, one NumPy operation each: the same bits on all machines.

Mathematical libraries differ in their last digits. These functions are for numbers that are part of a draw and are
computed on the host. Their relative error is a few units of 2**-53.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["cos_sin", "exp", "expm1", "log", "log1p"]

Floats: TypeAlias = npt.NDArray[np.float64]

# log 2 in two parts, the first with 32 digits, so that its products with exponents are exact.
LOG2_HIGH = float.fromhex("0x1.62e42feep-1")
LOG2_LOW = float.fromhex("0x1.a39ef35793c76p-33")

_EXP = [1 / math.factorial(n) for n in range(1, 18)]  # (e^r - 1) / r, |r| < 0.35
_ATANH = [2 / (2 * n + 1) for n in range(13)]  # 2 atanh(s) / s in s^2 < 0.03
_SIN = [(-1) ** n / math.factorial(2 * n + 1) for n in range(10)]  # sin(x) / x in x^2, |x| < pi / 4
_COS = [(-1) ** n / math.factorial(2 * n) for n in range(11)]

SMALL = 0.35  # where expm1 and log1p need no reduction


def exp(x: Floats) -> Floats:
    """e**x for |x| < 700."""
    exponent = np.rint(x / (LOG2_HIGH + LOG2_LOW))
    rest = (x - exponent * LOG2_HIGH) - exponent * LOG2_LOW
    return np.ldexp(1 + rest * _polynomial(_EXP, rest), exponent.astype(np.int32))


def expm1(x: Floats) -> Floats:
    """e**x - 1 for |x| < 700, without cancellation around 0."""
    small = np.clip(x, -SMALL, SMALL)
    return np.where(small == x, small * _polynomial(_EXP, small), exp(x) - 1)


def log(x: Floats) -> Floats:
    """The natural logarithm of x > 0."""
    digits, exponent = np.frexp(x)
    low = digits < math.sqrt(0.5)
    digits, exponent = np.where(low, 2 * digits, digits), exponent - low
    return exponent * LOG2_HIGH + (exponent * LOG2_LOW + _log_ratio(digits - 1, digits + 1))


def log1p(x: Floats) -> Floats:
    """The logarithm of 1 + x for x > -1, without cancellation around 0."""
    small = np.clip(x, -SMALL / 2, SMALL)
    return np.where(small == x, _log_ratio(small, 2 + small), log(1 + x))


def cos_sin(turns: npt.NDArray[np.uint64]) -> tuple[Floats, Floats]:
    """(cos, sin) of 2 pi turns / 2**64."""
    quarter = (turns + np.uint64(1 << 61)) >> np.uint64(62)
    x = (turns - (quarter << np.uint64(62))).view(np.int64) * (math.pi / 2**63)
    square = x * x
    sine, cosine = x * _polynomial(_SIN, square), _polynomial(_COS, square)
    swapped, below, left = quarter % 2 == 1, quarter >= 2, (quarter == 1) | (quarter == 2)
    cos, sin = np.where(swapped, sine, cosine), np.where(swapped, cosine, sine)
    return np.where(left, -cos, cos), np.where(below, -sin, sin)


def _log_ratio(below: Floats, above: Floats) -> Floats:
    """log x for x near 1, from x - 1 and x + 1: 2 atanh of their ratio."""
    s = below / above
    return s * _polynomial(_ATANH, s * s)


def _polynomial(coefficients: Sequence[float], x: Floats) -> Floats:
    """c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total *= x
        total += c
    return total
