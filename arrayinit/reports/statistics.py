"""Statistics of an array: mean, spread, range, and whether outputs or inputs are alike. Memory use is bounded."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from arrayinit.backends import backend_of
from arrayinit.stream.formats import is_complex, is_number

__all__ = ["CHUNK", "Statistics", "measure", "values_of"]

CHUNK = 1 << 20  # elements that are measured at a time, at most 8 MiB as float64

Start: TypeAlias = tuple[int, ...]  # where a chunk begins


@dataclass(frozen=True)
class Statistics:
    """Statistics of the elements of an array, the finite ones where nothing else is stated."""

    size: int  # elements that this process holds, finite or not
    mean: float | complex
    std: float  # sqrt(E|w - mean|^2)
    low: float  # the smallest element; of complex ones the smallest part
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
        """Whether all elements are 0."""
        return self.low == 0 == self.high and not self.nans + self.infs


def measure(x: Any, dtype: str, roles: str = "") -> Statistics | None:
    """The statistics of an array; None if this process holds no elements of it, or if they are no numbers.

    An array that several processes share is measured where this process holds it. A Dask array is computed one block
    at a time.

    Args:
        dtype: the name of its dtype. roles: of its axes, as in `laws.geometry.Geometry`, or "".
    """
    size, mean, square = 0, 0.0 + 0.0j, 0.0
    low, high = math.inf, -math.inf
    nans = infs = held = 0
    likenesses = [_Likeness(roles, role) for role in "oi" if role in roles]
    with np.errstate(all="ignore"):  # infinities and their differences are counted, not warned about
        for place, chunk in values_of(x, dtype):
            held += chunk.size
            likenesses = [likeness for likeness in likenesses if likeness.holds_with(place, chunk)]
            finite = np.isfinite(chunk)
            if not finite.all():
                missing = int(np.isnan(chunk).sum())
                nans, infs = nans + missing, infs + int(chunk.size - finite.sum()) - missing
                chunk = chunk[finite]
            if not chunk.size:
                continue
            for part in (chunk.real, chunk.imag) if np.iscomplexobj(chunk) else (chunk,):
                low, high = min(low, float(part.min())), max(high, float(part.max()))
            # Chan, Golub and LeVeque's sum of squares around the mean of two sets.
            here = complex(chunk.mean())
            spread = chunk - (here if np.iscomplexobj(chunk) else here.real)
            apart, total = here - mean, size + chunk.size
            square += float(np.vdot(spread, spread).real) + abs(apart) ** 2 * size * chunk.size / total
            mean += apart * (chunk.size / total)
            size = total
    if not held:
        return None
    if not size:
        return Statistics(
            size=held,
            mean=math.nan,
            std=math.nan,
            low=math.nan,
            high=math.nan,
            nans=nans,
            infs=infs,
            alike=frozenset(),
        )
    return Statistics(
        size=held,
        mean=mean if is_complex(dtype) else mean.real,
        std=math.sqrt(square / size),
        low=low,
        high=high,
        nans=nans,
        infs=infs,
        alike=frozenset(likeness.role for likeness in likenesses if likeness.was_compared),
    )


class _Likeness:
    """A check, chunk by chunk, whether an array is constant along the axes of one role."""

    def __init__(self, roles: str, role: str) -> None:
        self.role = role
        self.axes = [axis for axis, letter in enumerate(roles) if letter == role]
        self.first: dict[Start, npt.NDArray[Any]] = {}
        self.was_compared = False  # whether there were two elements to compare

    def holds_with(self, place: Start, chunk: npt.NDArray[Any]) -> bool:
        """Whether the array is constant as far as it is known, with this chunk."""
        first = chunk[tuple(slice(0, 1) if axis in self.axes else slice(None) for axis in range(chunk.ndim))]
        if not bool((chunk == first).all()):
            return False
        where = (*(0 if axis in self.axes else start for axis, start in enumerate(place)), *first.shape)
        known = self.first.setdefault(where, first.copy())
        self.was_compared |= chunk.size > first.size or any(place[axis] for axis in self.axes)
        return bool((known == first).all())


def values_of(x: Any, dtype: str) -> Iterator[tuple[Start, npt.NDArray[Any]]]:
    """Where each chunk of an array begins, and its elements as float64 or complex128 on the host; none if abstract."""
    backend = backend_of(x)
    if backend.is_abstract(x) or not is_number(dtype):
        return
    for place, block in backend.blocks(x):
        owner = backend_of(block)
        for start, chunk in _cut(block):
            try:
                host = owner.numbers(chunk)
            except TypeError:  # of a dtype that NumPy lacks, or a tensor that is not dense
                return
            wide = np.complex128 if is_complex(dtype) else np.float64
            yield tuple(a + b for a, b in zip(place, start, strict=True)), host.astype(wide, copy=False)


def _cut(x: Any) -> Iterator[tuple[Start, Any]]:
    """Pieces of at most CHUNK elements, cut along the first axes."""
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
