"""Tensors that are a formula of their indices: computed on the host with + - * / sqrt alone, the same on every machine.

A formula takes the coordinates of elements in canonical order, as int64 arrays that broadcast against each other, and
gives float64 or complex128 values.
"""

import functools
import math
from collections.abc import Iterator
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.elementary import cos_sin, log
from arrayinit.fans import Geometry
from arrayinit.formats import COMPLEX, FORMATS
from arrayinit.laws import Table
from arrayinit.normal_cdf import pi
from arrayinit.regions import Box

__all__ = [
    "eigenvalues",
    "hadamard",
    "hippo",
    "inverse",
    "legs",
    "linear",
    "logs",
    "moments",
    "parts",
    "real",
    "sinusoid",
]

RUN = 1 << 21  # elements that are computed at a time
NEAR = 6  # bits of a position within a group of positions that share an angle to start from
EXAMINED = 1 << 22  # elements that numbers of a description are of

Integers = npt.NDArray[np.int64]


def parts(law: Table, geometry: Geometry, box: Box, dtype: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(position, values) of runs of rows of the part that a box selects, in the type that dtype is rounded from."""
    wide = dtype if dtype in COMPLEX else FORMATS[dtype].wide
    rows = max(1, RUN // max(1, math.prod(box.shape[1:])))
    for first in range(0, box.shape[0] if box.shape else 1, rows):
        if not box.shape:
            yield (), _values(law, geometry, box).astype(wide)
            return
        count = min(rows, box.shape[0] - first)
        piece = box.part((first, *(0 for _ in box.shape[1:])), (count, *box.shape[1:]))
        yield (slice(first, first + count),), _values(law, geometry, piece).astype(wide)


def moments(law: Table, geometry: Geometry) -> tuple[float, float, float, float]:
    """(mean, standard deviation, smallest, largest) of elements; where they are many, of evenly spaced rows."""
    shape = geometry.shape
    if 0 in shape:
        return 0.0, 0.0, 0.0, 0.0
    step = -(-math.prod(shape) // EXAMINED)
    counts = (-(-shape[0] // step), *shape[1:]) if shape else ()
    steps = (step, *(1 for _ in shape[1:])) if shape else ()
    values = _values(law, geometry, Box((0,) * len(shape), steps, counts))
    numbers = np.stack([values.real, values.imag]) if law.is_complex else values
    return float(values.real.mean()), float(values.std()), float(numbers.min()), float(numbers.max())


def _values(law: Table, geometry: Geometry, box: Box) -> Any:
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


@functools.lru_cache(maxsize=8)
def eigenvalues(count: int) -> Any:
    """The positive imaginary parts of the eigenvalues of HiPPO-LegS's normal part of size N = 2 count, ascending.

    The normal part is -1/2 I - S with S[n, k] = sign(n - k) sqrt((2n + 1)(2k + 1)) / 2. Partial sums of an eigenvector
    turn S x = i y x into the product over n < N of (2n + 1 + 2 i y) / (2n + 1 - 2 i y) = -1, that is

        sum over n < N of arctan(2 y / (2n + 1)) = pi / 2 + pi j, for j < count,

    whose left side grows with y. It is bisected, and the angle compared by the quarters that a product has turned.
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
            quarters += now != before  # each factor turns by less than a quarter
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
    # The angles of few positions are worked out; those of all others are sums of two of them.
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
    found, where = np.unique(p, return_inverse=True)
    high = np.array([turn >> 32 for turn in turns], np.uint64)
    low = np.array([turn & 0xFFFFFFFF for turn in turns], np.uint64)
    rows = found.astype(np.uint64)[:, None]
    cos, sin = cos_sin(rows * high + ((rows * low) >> np.uint64(32)))
    return np.take(cos, where, axis=0), np.take(sin, where, axis=0)


@functools.lru_cache(maxsize=1 << 15)
def _turns(base: float, features: int, pair: int) -> int:
    """base**(-2 pair / features) / (2 pi), in units of 2**-96: what fraction of a turn a position is."""
    with localcontext(Context(prec=45)):
        frequency = (-_log(base) * (2 * pair) / features).exp()
        return round(frequency / (2 * pi()) * (1 << 96))


@functools.cache
def _log(base: float) -> Decimal:
    with localcontext(Context(prec=50)):
        return Decimal(base).ln()
