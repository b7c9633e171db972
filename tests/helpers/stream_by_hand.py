"""The stream by hand: (key, index, law, dtype) -> value, one element at a time, in plain Python integers.

It shares no code with the package, whose table file is all that it reads: what it says was written anew from the
contract, so that it disagrees where the package has an error, be it in an engine or in what all engines share.
`initializers_by_hand` does the same for names, arguments, shapes, layouts and indices.
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from pathlib import Path

import mpmath

MASK = 2**32 - 1
TABLE = Path(__file__).parents[2] / "arrayinit" / "stream" / "inverse_normal.npy"


class Refused(Exception):
    """No such draw: the package raises ValueError or TypeError."""


# Words and keys. A key is an integer below 2**64, which is what a seed is.


@lru_cache(maxsize=1 << 14)
def philox(counter, key):
    """Philox4x32-10: four words for a counter of four."""
    (c0, c1, c2, c3), (k0, k1) = counter, (key & MASK, key >> 32)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 & MASK, p0 >> 32 ^ c3 ^ k1, p0 & MASK
        k0, k1 = k0 + 0x9E3779B9 & MASK, k1 + 0xBB67AE85 & MASK
    return c0, c1, c2, c3


def word(i, key, purpose=0):
    """Word i of a stream."""
    return philox((i // 4 & MASK, i // 4 >> 32, purpose, 0), key)[i % 4]


def fold(key, name):
    """The key of a name within a key; a tuple is folded part by part."""
    if name is None:
        return key
    if isinstance(name, tuple):
        for part in name:
            key = fold(key, part)
        return key
    if isinstance(name, str):
        counter = struct.unpack("<4I", hashlib.blake2b(name.encode(), digest_size=16).digest())
    else:
        counter = (name & MASK, name >> 32, 0, 1)
    low, high, _, _ = philox(counter, key)
    return high << 32 | low


def key_of_words(words):
    """The key that a JAX key stands for: (high, low); each two words more are mixed into what was folded so far."""
    key = words[0] << 32 | words[1]
    for high, low in zip(words[2::2], words[3::2], strict=True):
        key = fold(key, "long key") ^ (high << 32 | low)
    return key


# Formats: digits, exponent of the smallest normal number, largest value.


@dataclass(frozen=True)
class Format:
    digits: int
    least: int
    largest: float

    def unit(self, x):
        """log2 of the distance between neighbouring values around x."""
        return max(math.frexp(x)[1], self.least + 1) - self.digits

    def nearest(self, x):
        """x rounded to nearest, ties to even, as the cast of a library does."""
        if x == 0 or not math.isfinite(x):
            return x
        unit = self.unit(x)
        value = math.ldexp(round(math.ldexp(x, -unit)), unit) if abs(x) <= 2 * self.largest else math.inf
        return math.copysign(value if abs(value) <= self.largest else math.inf, x)


FLOAT64 = Format(53, -1022, math.ldexp(1 - 2.0**-53, 1024))
FLOAT32 = Format(24, -126, math.ldexp(1 - 2.0**-24, 128))
FORMATS = {
    "float64": FLOAT64,
    "float32": FLOAT32,
    "float16": Format(11, -14, 65504.0),
    "bfloat16": Format(8, -126, math.ldexp(1 - 2.0**-8, 128)),
}
PARTS = {"complex64": "float32", "complex128": "float64"}


def formats(dtype):
    """(format, wide format) of the real parts of a dtype: values are rounded to the wide one first."""
    real = PARTS.get(dtype, dtype)
    if real not in FORMATS:
        raise Refused(dtype)
    return FORMATS[real], FLOAT64 if real == "float64" else FLOAT32


def rounded(x, dtype):
    """A constant in a dtype: rounded to the wide format, then to the narrow one. Refused beyond the range.

    It is 0.0 where it rounds to 0 from either side; -0.0 itself stays.
    """
    form, wide = formats(dtype)
    value = form.nearest(wide.nearest(x))
    if math.isfinite(x) and not math.isfinite(value):
        raise Refused(x)
    return value + 0.0 if x else x


def value_from(x, dtype, strictly=False):
    """The smallest value of a dtype >= x, or > x: but none nearer to 0 than what hardware never flushes to 0."""
    form, wide = formats(dtype)
    least = math.ldexp(1.0, max(form.least - form.digits + 1, wide.least))
    if -least < x < least:
        return least if x > 0 or (strictly and x == 0) else 0.0
    if abs(x) > form.largest:
        return math.copysign(form.largest, x)
    unit = form.unit(x)
    if x < 0 and math.frexp(x)[0] == -0.5:  # towards 0, values are twice as dense below a power of two
        unit = max(unit - 1, form.least - form.digits + 1)
    steps = math.ceil(math.ldexp(x, -unit))
    if strictly and math.ldexp(steps, unit) == x:
        steps += 1
    value = math.ldexp(steps, unit)
    return value if abs(value) >= least else 0.0


def value_to(x, dtype, strictly=False):
    """The largest value of a dtype <= x, or < x."""
    return 0.0 - value_from(-x, dtype, strictly)


def ends(low, high, dtype):
    """The smallest and the largest value of a dtype in [low, high]."""
    low, high = max(low, -FLOAT64.largest), min(high, FLOAT64.largest)
    least, most = value_from(low, dtype), value_to(high, dtype)
    if least > most:
        raise Refused("no value between")
    return least, most


# Standard deviates.


@lru_cache
def table():
    """Rows (c0, c1, c2): 96 octaves of 64 segments. The file is a header, then int32."""
    data = TABLE.read_bytes()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    return list(struct.iter_unpack("<3i", data[start:]))


def quantile(p, bits):
    """|z| in units of 2**-27 for the probability p / 2**bits below 1/2."""
    digits = p.bit_length()
    octave = bits - 1 - digits  # p is in [2**-(octave + 2), 2**-(octave + 1))
    fraction = (p << 38 >> digits - 1) & (2**38 - 1)  # what follows the leading one: 6 bits of segment, 32 of t
    c0, c1, c2 = table()[octave << 6 | fraction >> 32]
    t = fraction & MASK
    return c0 - ((c1 - (c2 * t >> 32)) * t >> 32)


def uniform(w):
    return w >> 1


def normal(w):
    return quantile(w | 1, 33) * (-1 if w & 1 else 1)


def probability(x):
    """Phi(x) to at least 150 digits."""
    if abs(x) > 40:  # where nothing is left
        return mpmath.mpf(x > 0)
    return mpmath.erfc(-mpmath.mpf(str(x)) / mpmath.sqrt(2)) / 2


@lru_cache(maxsize=4096)
def interval(mean, std, low, high):
    """(P(low), P(high) - P(low), bits, sign) of a truncated normal, P in units of 2**-bits, in the tail nearer to 0.

    The sign is that of z for a small p.
    """
    with localcontext(Context(prec=60)):
        alpha, beta = ((Decimal(x) - Decimal(mean)) / Decimal(std) for x in (low, high))
        sign = -1
        if (math.isfinite(low) or math.isfinite(high)) and alpha + beta > 0:
            alpha, beta, sign = -beta, -alpha, 1
    with mpmath.workdps(200):
        first, last = probability(alpha), probability(beta)
        bits = 62
        while last * mpmath.mpf(2) ** (bits - 60) <= 1 and bits < 62 + 96:
            bits += 1
        smallest = max(first, (last - first) / 2**32)
        if last <= first or smallest * 2**96 < 1:
            raise Refused("too far out")
        low, high = (int(mpmath.nint(x * mpmath.mpf(2) ** bits)) for x in (first, last))
    if high - low < 2**24:
        raise Refused("too narrow")
    return low, high - low, bits, sign


def truncated(w, low, span, bits, sign):
    """The quantile in the middle of step w >> 1 of 2**31 equal ones."""
    p = low + ((w | 1) * span >> 32)
    if bits == 62 and p >= 2**61:  # above 1/2
        p, sign = 2**62 - p, -sign
    return sign * quantile(min(max(p, 1), 2**61 - 1), bits)


# Lattice: integers k and an exponent e, so that a sample is k * 2**e.


def exponent_of(top, dtype):
    """e for laws that reach `top`."""
    form, wide = formats(dtype)
    exponent = math.frexp(top)[1] - 31
    if top > form.largest or exponent < wide.least:
        raise Refused(top)
    return exponent


def in_steps(x, exponent):
    return round(math.ldexp(x, -exponent))


def check_steps(steps, exponent, top, dtype):
    """Refuse a law of few steps where the dtype has more values."""
    if steps < 2**12 and exponent > formats(dtype)[0].unit(top):
        raise Refused("coarse")


def sampler(k, exponent, dtype, low=None, high=None):
    """The function word -> value of a function word -> k, clipped to [low, high]."""
    form, wide = formats(dtype)

    def value(w):
        x = wide.nearest(math.ldexp(k(w), exponent))
        return form.nearest(x if low is None else min(max(x, low), high))

    return value


def uniform_law(low, high, dtype):
    """U[low, high)."""
    top = max(abs(low), abs(high))
    exponent = exponent_of(top, dtype)
    first = in_steps(low, exponent)
    span = in_steps(high, exponent) - first
    check_steps(span, exponent, top, dtype)
    least, most = value_from(low, dtype), value_to(high, dtype, strictly=True)
    if least > most:
        raise Refused("no value between")
    return sampler(lambda w: first + (uniform(w) * span >> 31), exponent, dtype, least, most)


def scale(mean, std, reach, dtype):
    """(M, S, e) for mean + z * std with |z| < 2**reach."""
    top = abs(mean) + std * 2**reach
    exponent = exponent_of(top, dtype)
    if abs(in_steps(mean, exponent)) + in_steps(std * 2**reach, exponent) >= 2**31:
        exponent += 1
    check_steps(in_steps(std * 2**reach, exponent), exponent, top, dtype)
    return in_steps(mean, exponent), in_steps(std * 2**reach, exponent), exponent


def normal_law(mean, std, dtype):
    """N(mean, std**2)."""
    offset, factor, exponent = scale(mean, std, 3, dtype)
    return sampler(lambda w: offset + (normal(w) * factor >> 30), exponent, dtype)


def truncated_law(mean, std, low, high, dtype):
    """N(mean, std**2) given that it falls into [low, high]."""
    tail = interval(mean, std, low, high)
    near = low <= mean <= high or max(abs(low - mean), abs(high - mean)) / std <= 8
    reach = 3 if near else 4
    offset, factor, exponent = scale(mean, std, reach, dtype)
    least, most = ends(low, high, dtype)
    if high - low < math.ldexp(1.0, exponent + 20):
        raise Refused("few steps between")
    return sampler(lambda w: offset + (truncated(w, *tail) * factor >> 27 + reach), exponent, dtype, least, most)
