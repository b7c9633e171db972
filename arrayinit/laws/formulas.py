"""Tensors that are a formula of their indices: computed on the host with + - * / sqrt alone, the same on every machine.

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
from arrayinit.laws.elementary import cos_sin, log
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box
from arrayinit.stream.formats import COMPLEX, FORMATS

if TYPE_CHECKING:
    from decimal import Decimal

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

RUN = 1 << 20  # elements that are computed at a time,
WIDEST = 1 << 14  # of them along an axis, so that what they share along the others is worked out once, and remembered
NEAR = 6  # bits of a position within a group of positions that share an angle to start from
EXAMINED = 1 << 20  # elements that numbers of a description are of,
LONGEST = 1 << 12  # of them along an axis
GOLDEN = (math.sqrt(5) - 1) / 2  # the number whose multiples are spread most evenly between integers

Integers = npt.NDArray[np.int64]


def parts(law: Formula, geometry: Geometry, box: Box, dtype: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(position, values) of blocks of the part that a box selects, in the type that dtype is rounded from."""
    wide = dtype if dtype in COMPLEX else FORMATS[dtype].wide
    for position in _blocks(box.shape):
        corner, counts = tuple(s.start for s in position), tuple(s.stop - s.start for s in position)
        yield position, _values(law, geometry, box.part(corner, counts)).astype(wide)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Blocks of at most RUN elements that cover a shape, those that share their columns one after another."""
    sizes: list[int] = []
    for axis in reversed(range(len(shape))):
        room = RUN // math.prod(sizes)
        sizes.insert(0, max(1, min(shape[axis], room if axis == 0 else min(room, WIDEST))))
    starts = [range(0, n, size) for n, size in zip(shape, sizes, strict=True)]
    for corner in product(*reversed(starts)):
        yield tuple(
            slice(first, min(first + size, n)) for first, size, n in zip(reversed(corner), sizes, shape, strict=True)
        )


def moments(law: Formula, geometry: Geometry) -> tuple[float, float, float, float]:
    """(mean, standard deviation, smallest, largest) of elements; where they are many, estimated from some of them.

    Formulas depend on the last two axes alone, and change fastest at their ends.
    """
    shape = geometry.canonical
    if 0 in shape:
        return 0.0, 0.0, 0.0, 0.0
    counts = [min(n, LONGEST) for n in shape[-2:]]
    while math.prod(counts) > EXAMINED:
        counts[counts.index(max(counts))] //= 2
    some = [_some(n, count) for n, count in zip(shape[-2:], counts, strict=True)]
    grid = np.meshgrid(*(indices for indices, _ in some), indexing="ij", sparse=True)
    others = [np.zeros((1,) * len(some), np.int64)] * (len(shape) - len(some))
    values = np.broadcast_to(law.formula([*others, *grid], *law.arguments), tuple(counts))
    numbers = [values.real, values.imag] if law.is_complex else [values]
    ends = float(min(x.min() for x in numbers)), float(max(x.max() for x in numbers))
    if tuple(counts) == shape[-2:]:
        return float(values.real.mean()), float(values.std()), *ends
    share = functools.reduce(np.multiply.outer, (widths / n for (_, widths), n in zip(some, shape[-2:], strict=True)))
    mean = (values * share).sum()
    spread = np.abs(values - mean)
    return float(mean.real), math.sqrt(float((spread * spread * share).sum())), *ends


def _some(n: int, count: int) -> tuple[Integers, Any]:
    """Count of n indices, in order, and how many each stands for: all near the ends, one of each equal part between.

    Where in its part that lies never repeats, since formulas do: a sinusoid's sines have all the even columns.
    """
    if n == count:
        return np.arange(n, dtype=np.int64), np.ones(n)
    near = np.arange(count // 4, dtype=np.int64)
    part = np.arange(count - 2 * len(near))
    width = (n - 2 * len(near)) / len(part)
    between = len(near) + ((part + part * GOLDEN % 1) * width).astype(np.int64)
    indices = np.concatenate([near, between, n - 1 - near[::-1]])
    return indices, np.concatenate([np.ones(len(near)), np.full(len(part), width), np.ones(len(near))])


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
    from arrayinit.stream.normal_cdf import digits, pi  # here, for few processes need it

    with digits(45):
        frequency = (-_log(base) * (2 * pair) / features).exp()
        return round(frequency / (2 * pi()) * (1 << 96))


@functools.cache
def _log(base: float) -> "Decimal":
    from decimal import Decimal  # as above

    from arrayinit.stream.normal_cdf import digits

    with digits(50):
        return Decimal(base).ln()
