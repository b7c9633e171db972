"""Tensors that are a formula of their indices, computed on the host with + - * / sqrt alone: equal on all machines.

A formula takes the coordinates of elements in canonical order, as int64 arrays that broadcast against each other, and
gives float64 or complex128 values.
"""

import functools
import math
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from arrayinit.laws import Formula
from arrayinit.laws.elementary import cos_sin, exp, log
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box
from arrayinit.stream.formats import wide_name

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = [
    "blocks",
    "eigenvalues",
    "hadamard",
    "hippo",
    "inverse",
    "legs",
    "linear",
    "logs",
    "ramp",
    "real",
    "sinusoid",
    "tent",
    "upsampling",
    "zigzag_ramp",
]

RUN = 1 << 20  # elements that are computed at a time, at most,
WIDEST = 1 << 14  # and at most so many along an axis, so that blocks share columns whose values are remembered
NEAR = 6  # bits of a position within a group of positions whose angles start from one angle

Integers = npt.NDArray[np.int64]


def blocks(law: Formula, geometry: Geometry, box: Box, dtype: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(position, values) of each block of the part that a box selects, in the dtype that `dtype` is rounded from."""
    wide = wide_name(dtype)
    for position in _slices(box.shape):
        corner, counts = tuple(s.start for s in position), tuple(s.stop - s.start for s in position)
        yield position, _values(law, geometry, box.part(corner, counts)).astype(wide)


def _slices(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Blocks of at most RUN elements that cover a shape; blocks with the same columns follow each other."""
    sizes: list[int] = []
    for axis in reversed(range(len(shape))):
        room = RUN // math.prod(sizes)
        sizes.insert(0, max(1, min(shape[axis], room if axis == 0 else min(room, WIDEST))))
    starts = [range(0, n, size) for n, size in zip(shape, sizes, strict=True)]
    for corner in product(*reversed(starts)):
        yield tuple(
            slice(first, min(first + size, n)) for first, size, n in zip(reversed(corner), sizes, shape, strict=True)
        )


def _values(law: Formula, geometry: Geometry, box: Box) -> Any:
    rank = len(box.shape)
    coordinates: list[Integers] = []
    kept = 0
    for start, step, count in zip(box.starts, box.steps, box.counts, strict=True):
        along = np.int64(start) + np.int64(step) * np.arange(1 if count is None else count, dtype=np.int64)
        coordinates.append(along.reshape([-1 if count is not None and k == kept else 1 for k in range(rank)]))
        kept += count is not None
    values = law.formula([coordinates[axis] for axis in geometry.order], *law.arguments)
    return np.array(np.broadcast_to(values, box.shape))


def hadamard(at: list[Integers], scale: float) -> Any:
    """Sylvester's matrix times a scale: -1 where the two indices share an odd number of ones in binary."""
    shared = at[-2] & at[-1]
    for shift in (32, 16, 8, 4, 2, 1):
        shared = shared ^ (shared >> shift)
    return np.where(shared & 1, -scale, scale)


def hippo(at: list[Integers]) -> Any:
    """-sqrt((2n + 1)(2k + 1)) below the diagonal, -(n + 1) on it, 0 above."""
    n, k = at[-2], at[-1]
    below = -np.sqrt((2 * n + 1.0) * (2 * k + 1.0))
    return np.where(n > k, below, np.where(n == k, -(n + 1.0), 0.0))


def real(at: list[Integers]) -> Any:
    """-(n + 1)."""
    return -(at[-1] + 1.0)


def linear(at: list[Integers]) -> Any:
    """-1/2 + i pi n."""
    return -0.5 + 1j * (math.pi * at[-1])


def inverse(at: list[Integers], count: int) -> Any:
    """-1/2 + i N / pi (N / (2 n + 1) - 1), with N = 2 count."""
    size = 2.0 * count
    return -0.5 + 1j * (size / math.pi * (size / (2.0 * at[-1] + 1) - 1))


def legs(at: list[Integers], count: int) -> Any:
    """-1/2 + i times the eigenvalues."""
    return -0.5 + 1j * eigenvalues(count)[at[-1]]


def logs(at: list[Integers]) -> Any:
    """log(n + 1)."""
    return log(np.asarray(at[-1] + 1.0, np.float64))


def upsampling(at: list[Integers], channels: int, sizes: tuple[int, ...]) -> Any:
    """The product of a tent along each spatial axis where the channels are the same, else 0; one division rounds."""
    value: Any = np.where(at[0] % max(channels, 1) == at[1], 1.0, 0.0)
    scale = 1.0
    for place, size in zip(at[2:], sizes, strict=True):
        height, below = tent(place, size)
        value = value * height
        scale *= below
    return value / scale


def tent(place: Integers, size: int) -> tuple[Integers, int]:
    """1 - |place - centre| / f as numerators and a denominator, both twice as large, so that all are integers."""
    twice = 2 * ((size + 1) // 2)
    return twice - np.abs(2 * place - (twice - 1 - size % 2)), twice


def ramp(at: list[Integers], start: float, end: float, power: float, steps: int) -> Any:
    """start + (end - start) (n / steps)^power."""
    t = np.asarray(at[-1] / float(steps), np.float64)
    if power != 1:
        inner = np.where(t > 0, t, 1.0)
        t = np.where(t > 0, exp(np.maximum(power * log(inner), -700.0)), t)
    return np.where(t == 1, end, start + (end - start) * t)


def zigzag_ramp(
    at: list[Integers], start: float, end: float, power: float, steps: int, height: float, period: int
) -> Any:
    """The ramp plus height * s |s|, s from -1 to 1 within each period."""
    s = (2.0 * (at[-1] % period) - (period - 1)) / (period - 1)
    level = ramp(at, start, end, power, steps) if steps > 0 else start
    return level + height * (s * np.abs(s))


@functools.lru_cache(maxsize=8)
def eigenvalues(count: int) -> Any:
    """The positive imaginary parts of the eigenvalues of HiPPO-LegS's normal part of size N = 2 count, ascending.

    The normal part is -1/2 I - S with S[n, k] = sign(n - k) sqrt((2n + 1)(2k + 1)) / 2. Partial sums of an eigenvector
    turn S x = i y x into the product over n < N of (2n + 1 + 2 i y) / (2n + 1 - 2 i y) = -1, that is

        sum over n < N of arctan(2 y / (2n + 1)) = pi / 2 + pi j, for j < count,

    whose left side grows with y. So y is bisected. The angle itself would need arctan: instead the product of the
    factors 2n + 1 + 2 i y is followed, and the quarters of a turn that it has made are counted. Each factor turns it by
    less than a quarter, so no quarter is missed.
    """
    odd = 2 * np.arange(2 * count) + 1.0
    low, high = np.zeros(count), np.full(count, 4.0 * count * count)
    wanted = 1 + 2 * np.arange(count)  # quarters
    while True:
        y = (low + high) / 2
        if ((y == low) | (y == high)).all():
            return y
        x, z, quarters, before = np.ones(count), np.zeros(count), np.zeros(count, np.int64), np.zeros(count, np.int64)
        for d in odd:
            x, z = x * d - z * (2 * y), z * d + x * (2 * y)
            size = np.maximum(np.abs(x), np.abs(z))
            x, z = x / size, z / size
            now = np.where(z >= 0, np.where(x > 0, 0, 1), np.where(x < 0, 2, 3))
            quarters += now != before
            before = now
        beyond = quarters >= wanted
        low, high = np.where(beyond, low, y), np.where(beyond, y, high)


def sinusoid(at: list[Integers], base: float, features: int, interleaved: bool) -> Any:
    """sin and cos of position / base**(2 i / features): neighbours where interleaved, else in two halves."""
    position, feature = at
    p, f = position.reshape(-1), feature.reshape(-1)
    pair, odd = (f // 2, f % 2) if interleaved else (f % (features // 2), f // (features // 2))
    pairs, where = np.unique(pair, return_inverse=True)
    turns = [_turns(base, features, int(i)) for i in pairs]
    # The angle of a position is the sum of two: that of its group and that within the group. Both have few values.
    (c, s), (d, t) = _cos_sin_rows(p >> NEAR << NEAR, turns), _cos_sin_rows(p & ((1 << NEAR) - 1), turns)
    cos, sin = c * d, s * d
    cos -= s * t
    sin += c * t
    result = np.empty((len(p), len(f)))
    for half, values in ((0, sin), (1, cos)):
        result[:, odd == half] = np.take(values, where[odd == half], axis=1)
    across = position.ndim == 2 and (position.shape[1] != 1 or feature.shape[0] != 1)
    return (result.T if across else result).reshape(np.broadcast_shapes(position.shape, feature.shape))


def _cos_sin_rows(p: Integers, turns: list[int]) -> tuple[Any, Any]:
    """(cos, sin) of each position times each fraction of a turn."""
    positions, where = np.unique(p, return_inverse=True)
    high = np.array([turn >> 32 for turn in turns], np.uint64)
    low = np.array([turn & 0xFFFFFFFF for turn in turns], np.uint64)
    rows = positions.astype(np.uint64)[:, None]
    cos, sin = cos_sin(rows * high + ((rows * low) >> np.uint64(32)))
    return np.take(cos, where, axis=0), np.take(sin, where, axis=0)


@functools.lru_cache(maxsize=1 << 15)
def _turns(base: float, features: int, pair: int) -> int:
    """base**(-2 pair / features) / (2 pi) in units of 2**-96: the fraction of a turn from one position to the next."""
    from arrayinit.stream.normal_cdf import digits, pi  # imported here: few processes need it

    with digits(45):
        frequency = (-_log(base) * (2 * pair) / features).exp()
        return round(frequency / (2 * pi()) * (1 << 96))


@functools.cache
def _log(base: float) -> "Decimal":
    from decimal import Decimal  # as above

    from arrayinit.stream.normal_cdf import digits

    with digits(50):
        return Decimal(base).ln()
