"""Mean, spread and likeness of an array, a bounded piece of it in memory at a time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from arrayinit.backends import backend_of

__all__ = ["CHUNK", "Moments", "measure", "values_of"]

CHUNK = 1 << 20  # elements that are looked at together, as float64 at most 8 MiB

Place: TypeAlias = tuple[int, ...]  # where a piece begins


@dataclass(frozen=True)
class Moments:
    """What the elements of an array are like. Numbers are those of the finite elements."""

    size: int  # of all elements that are held here
    mean: float | complex
    std: float  # sqrt(E|w - mean|^2)
    low: float  # the least element; the least part of a complex one
    high: float
    nans: int
    infs: int
    alike: frozenset[str]  # "o" where all outputs have the same weights, "i" where all inputs have

    @property
    def rms(self) -> float:
        """sqrt(E|w|^2)."""
        return math.hypot(self.std, abs(self.mean))

    @property
    def is_zero(self) -> bool:
        """Whether every element is 0."""
        return self.low == 0 == self.high and not self.nans + self.infs


def measure(x: Any, dtype: str, roles: str = "") -> Moments | None:
    """The moments of an array; None where it has no elements, here or at all, or they are no numbers.

    Of an array that several processes share, the part that this one holds. Of Dask's, one block is computed at a time.

    Args:
        dtype: its name. roles: of its axes, as in `laws.geometry.Geometry`; "" where they have none.
    """
    size, mean, square = 0, 0.0 + 0.0j, 0.0
    low, high = math.inf, -math.inf
    nans = infs = held = 0
    likes = [_Likeness(roles, letter) for letter in "oi" if letter in roles]
    with np.errstate(all="ignore"):  # infinities and their differences are counted, not warned about
        for place, piece in values_of(x, dtype):
            held += piece.size
            likes = [like for like in likes if like.goes_on(place, piece)]
            finite = np.isfinite(piece)
            if not finite.all():
                missing = int(np.isnan(piece).sum())
                nans, infs = nans + missing, infs + int(piece.size - finite.sum()) - missing
                piece = piece[finite]
            if not piece.size:
                continue
            for part in (piece.real, piece.imag) if np.iscomplexobj(piece) else (piece,):
                low, high = min(low, float(part.min())), max(high, float(part.max()))
            # Chan, Golub and LeVeque's sum of squares around the mean of two sets.
            here = complex(piece.mean())
            spread = piece - (here if np.iscomplexobj(piece) else here.real)
            apart, total = here - mean, size + piece.size
            square += float(np.vdot(spread, spread).real) + abs(apart) ** 2 * size * piece.size / total
            mean += apart * (piece.size / total)
            size = total
    if not held:
        return None
    if not size:
        return Moments(held, math.nan, math.nan, math.nan, math.nan, nans, infs, frozenset())
    shown = mean if dtype.startswith("complex") else mean.real
    alike = frozenset(like.letter for like in likes if like.counts)
    return Moments(held, shown, math.sqrt(square / size), low, high, nans, infs, alike)


class _Likeness:
    """Whether an array is constant along the axes of one role, found out piece by piece."""

    def __init__(self, roles: str, letter: str) -> None:
        self.letter = letter
        self.axes = [axis for axis, role in enumerate(roles) if role == letter]
        self.first: dict[Place, npt.NDArray[Any]] = {}
        self.counts = False  # whether there was more than one to compare

    def goes_on(self, place: Place, piece: npt.NDArray[Any]) -> bool:
        """Whether it still is, with this piece."""
        first = piece[tuple(slice(0, 1) if axis in self.axes else slice(None) for axis in range(piece.ndim))]
        if not bool((piece == first).all()):
            return False
        where = (*(0 if axis in self.axes else start for axis, start in enumerate(place)), *first.shape)
        known = self.first.setdefault(where, first.copy())
        self.counts |= piece.size > first.size or any(place[axis] for axis in self.axes)
        return bool((known == first).all())


def values_of(x: Any, dtype: str) -> Iterator[tuple[Place, npt.NDArray[Any]]]:
    """Pieces of an array as float64 or complex128 in host memory, and where each begins; none of an abstract one."""
    backend = backend_of(x)
    if backend.is_abstract(x) or not _is_number(dtype):
        return
    for place, block in backend.blocks(x):
        owner = backend_of(block)
        for start, piece in _cut(block):
            try:
                host = owner.numbers(piece)
            except TypeError:  # of a type that NumPy lacks, of 8 bits, or of no dense tensor: it has no numbers here
                return
            wide = np.complex128 if dtype.startswith("complex") else np.float64
            yield tuple(a + b for a, b in zip(place, start, strict=True)), host.astype(wide, copy=False)


def _is_number(dtype: str) -> bool:
    return dtype == "bool" or dtype.startswith(("int", "uint", "float", "bfloat16", "complex"))


def _cut(x: Any) -> Iterator[tuple[Place, Any]]:
    """Parts of at most CHUNK elements, whole in as many of the last axes as may be."""
    shape = tuple(map(int, x.shape))
    if math.prod(shape):
        for index in _indices(shape):
            part = x[(*index, ...)] if index else x
            yield (*(axis.start for axis in index), *[0] * (len(shape) - len(index))), part


def _indices(shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    inner = math.prod(shape[1:])
    if math.prod(shape) <= CHUNK:
        yield ()
    elif inner <= CHUNK:
        step = CHUNK // inner
        yield from ((slice(k, min(k + step, shape[0])),) for k in range(0, shape[0], step))
    else:
        yield from ((slice(k, k + 1), *rest) for k in range(shape[0]) for rest in _indices(shape[1:]))
