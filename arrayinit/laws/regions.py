"""The part of a global tensor that an array holds: `index` -> a box by axes -> a region of linear indices.

`flat` selects elements in row-major order, and is cut into boxes.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, TypeAlias

from arrayinit.common.integers import as_integer
from arrayinit.common.messages import shown
from arrayinit.laws.geometry import Geometry

__all__ = [
    "Axis",
    "Box",
    "Flat",
    "FlatIndex",
    "Index",
    "Region",
    "box",
    "flat_index",
    "is_flat",
    "merged",
    "part_of",
    "region",
]

Index: TypeAlias = int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]
Axis: TypeAlias = tuple[int, int, int]  # of a region in memory: (count, stride in the region, stride in memory)
FlatIndex: TypeAlias = tuple[str, int | None, int | None]  # ("flat", start, stop): `flat` in the place of an index


@dataclass(frozen=True, slots=True)
class Box:
    """`index` in full: start, step and count along each axis of the global shape."""

    starts: tuple[int, ...]
    steps: tuple[int, ...]
    counts: tuple[int | None, ...]  # None where an integer removed the axis

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the part."""
        return tuple(count for count in self.counts if count is not None)

    @property
    def ascending(self) -> tuple[tuple[int | slice, ...], tuple[int, ...]]:
        """An index with positive steps into an array of the global shape, and the axes to flip afterwards."""
        index: list[int | slice] = []
        flipped = []
        kept = 0
        for start, step, count in zip(self.starts, self.steps, self.counts, strict=True):
            if count is None:
                index.append(start)
                continue
            if step < 0:
                start, step = start + step * max(count - 1, 0), -step
                flipped.append(kept)
            index.append(slice(start, start + step * (count - 1) + 1, step) if count else slice(0, 0))
            kept += 1
        return tuple(index), tuple(flipped)

    def part(self, corner: tuple[int, ...], shape: tuple[int, ...]) -> "Box":
        """The box of this shape whose first element is element `corner` of this one."""
        starts, counts = list(self.starts), list(self.counts)
        kept = [axis for axis, count in enumerate(self.counts) if count is not None]
        for axis, first, count in zip(kept, corner, shape, strict=True):
            starts[axis] += first * self.steps[axis]
            counts[axis] = count
        return Box(tuple(starts), self.steps, tuple(counts))

    def within(self, other: "Box") -> "tuple[tuple[int | slice, ...], Box] | None":
        """The elements of this box that lie in another box of the same tensor, whose steps are positive.

        Returns:
            Their index in the part that this box selects, and their box in the axes of the part that the other selects;
            None if there are no such elements.
        """
        index: list[int | slice] = []
        starts, steps, counts = [], [], []
        for axis in range(len(self.starts)):
            progression = (self.starts[axis], self.steps[axis], self.counts[axis])
            other_progression = (other.starts[axis], other.steps[axis], other.counts[axis])
            common = _common(*progression, *other_progression)
            if common is None:
                return None
            first, stride, count, start, step = common
            if other.counts[axis] is not None:
                starts.append(start)
                steps.append(step)
                counts.append(None if self.counts[axis] is None else count)
                if self.counts[axis] is not None:
                    index.append(slice(first, first + stride * (count - 1) + 1, stride))
            elif self.counts[axis] is not None:
                index.append(first)
        return tuple(index), Box(tuple(starts), tuple(steps), tuple(counts))


def _common(
    start: int, step: int, count: int | None, first: int, stride: int, length: int | None
) -> tuple[int, int, int, int, int] | None:
    """The common elements start + step * j = first + stride * m of two progressions, stride > 0.

    Such j are those with step * j = first - start modulo stride: none unless g = gcd(step, stride) divides the gap, and
    then one residue class modulo stride / g.

    Returns:
        The first j and its stride, how many common elements there are, the first m and its stride; None if there are
        none.
    """
    count, length = (1 if n is None else n for n in (count, length))
    shared = math.gcd(step, stride)
    gap, rest = divmod(first - start, shared)
    if rest or not count or not length:
        return None
    turn = stride // shared  # j is determined modulo this
    j = gap * pow(step // shared, -1, turn) % turn if turn > 1 else 0
    low, high = first - start, first + stride * (length - 1) - start
    if step < 0:
        low, high = -high, -low
    # The j for which the element lies between the ends of the other progression.
    least, most = max(0, -(-low // abs(step))), min(count - 1, high // abs(step))
    j += -(-(least - j) // turn) * turn
    if j > most:
        return None
    return j, turn, (most - j) // turn + 1, (start + step * j - first) // stride, step // shared


@dataclass(frozen=True, slots=True)
class Flat:
    """Elements start to stop of a tensor in row-major order, along one axis, as `flat` selects them."""

    whole: tuple[int, ...]  # the shape of the tensor
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the part."""
        return (self.stop - self.start,)

    def part(self, corner: tuple[int, ...], shape: tuple[int, ...]) -> "Flat":
        """The elements from element `corner` of this part on."""
        first = self.start + corner[0]
        return Flat(self.whole, first, first + shape[0])

    def boxes(self) -> Iterator[tuple[slice, Box]]:
        """Boxes that hold these elements, in order, each with its place in the part; two for each axis at most."""
        place = 0
        for starts, counts in _boxes(self.whole, self.start, self.stop):
            size = math.prod(counts)
            yield slice(place, place + size), Box(starts, (1,) * len(starts), counts)
            place += size


def _boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(starts, counts) of boxes that hold elements start to stop of a shape, in row-major order."""
    if start >= stop:
        return
    if not shape:
        yield (), ()
        return
    row = math.prod(shape[1:])
    (first, before), (last, after) = divmod(start, row), divmod(stop, row)
    if first == last:
        yield from _in_row(shape, first, before, after)
        return
    if before:
        yield from _in_row(shape, first, before, row)
        first += 1
    if first < last:
        yield (first, *[0] * (len(shape) - 1)), (last - first, *shape[1:])
    if after:
        yield from _in_row(shape, last, 0, after)


def _in_row(shape: tuple[int, ...], k: int, start: int, stop: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for starts, counts in _boxes(shape[1:], start, stop):
        yield (k, *starts), (1, *counts)


@dataclass(frozen=True)
class Region:
    """Elements offset + sum_k j_k * strides[k] for 0 <= j_k < counts[k]."""

    offset: int
    counts: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> "Region":
        """All elements of a tensor of this canonical shape."""
        return cls(0, shape, tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.counts)

    @property
    def is_run(self) -> bool:
        """Whether the elements are offset, offset + 1, ... in row-major order."""
        expected = 1
        for count, stride in zip(reversed(self.counts), reversed(self.strides), strict=True):
            if count != 1 and stride != expected:
                return False
            expected *= count
        return True

    def chunks(self, limit: int) -> Iterator[tuple[tuple[Any, ...], "Region"]]:
        """(position in the region, chunk of at most `limit` elements) of each chunk; only leading axes are cut."""
        if self.size == 0:
            return
        row = math.prod(self.counts[1:])
        if self.size <= limit or not self.counts:
            yield (), self
        elif row > limit:
            for j in range(self.counts[0]):
                inner = Region(self.offset + j * self.strides[0], self.counts[1:], self.strides[1:])
                for position, chunk in inner.chunks(limit):
                    yield (j, *position), chunk
        else:
            step = max(1, limit // row)
            for j in range(0, self.counts[0], step):
                stop = min(j + step, self.counts[0])
                counts = (stop - j, *self.counts[1:])
                yield (slice(j, stop),), Region(self.offset + j * self.strides[0], counts, self.strides)


def flat_index(flat: Any) -> FlatIndex:
    """The keyword `flat` where an index is expected; TypeError unless it is a slice of integers by 1."""
    if not isinstance(flat, slice) or flat.step not in (None, 1):
        raise TypeError(
            f"`flat` must be a slice of elements in row-major order, with a step of 1, such as slice(0, 1000); "
            f"got {shown(flat)}"
        )
    start, stop = as_integer(flat.start), as_integer(flat.stop)
    if (start is None and flat.start is not None) or (stop is None and flat.stop is not None):
        raise TypeError(f"`flat` must have integers for its ends; got {shown(flat)}")
    return ("flat", start, stop)


def part_of(shape: tuple[int, ...], index: Any) -> Box | Flat:
    """The part that `index` or `flat` selects; ValueError where it reaches outside."""
    if not is_flat(index):
        return box(shape, index)
    _, first, last = index
    size = math.prod(shape)
    start, stop = 0 if first is None else first, size if last is None else last
    if not 0 <= start <= stop <= size:
        raise ValueError(
            f"`flat` must be 0 <= start <= stop <= {size}, the number of elements of shape {shape}; "
            f"got slice({start}, {stop})"
        )
    return Flat(shape, start, stop)


def is_flat(index: Any) -> bool:
    """Whether an index stands for `flat`."""
    return type(index) is tuple and len(index) == 3 and type(index[0]) is str


def box(shape: tuple[int, ...], index: Index | None) -> Box:
    """`index` checked against the shape it selects from; ValueError where it reaches outside."""
    parts: list[Any] = [] if index is None else list(index) if isinstance(index, tuple) else [index]
    dots = [k for k, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1 or len(parts) - len(dots) > len(shape):
        raise ValueError(f"`index` must have at most one entry for each of {len(shape)} axes; got {shown(index)}")
    at = dots[0] if dots else len(parts)
    missing = [slice(None)] * (len(shape) - len(parts) + len(dots))
    parts = parts[:at] + missing + parts[at + 1 :]
    slices = [_slice(part, n, axis, index) for axis, (part, n) in enumerate(zip(parts, shape, strict=True))]
    return Box(tuple(s[0] for s in slices), tuple(s[1] for s in slices), tuple(s[2] for s in slices))


def _slice(part: Any, n: int, axis: int, index: Any) -> tuple[int, int, int | None]:
    """(start, step, count) along one axis."""
    if isinstance(part, slice):
        start, stop, step = (
            None if end is None else _integer(end, index) for end in (part.start, part.stop, part.step)
        )
        if any(end is not None and not -n <= end <= n for end in (start, stop)):
            raise _outside(index, axis, n)
        if step == 0:
            raise ValueError(f"`index` must have steps other than 0; got {shown(index)}")
        chosen = range(*slice(start, stop, step).indices(n))
        # With fewer than two elements the step has no effect, and it may be beyond 64 bits.
        return chosen.start, chosen.step if len(chosen) > 1 else 1, len(chosen)
    j = _integer(part, index)
    if not -n <= j < n:
        raise _outside(index, axis, n)
    return j % n, 1, None


def _integer(value: Any, index: Any) -> int:
    number = as_integer(value)
    if number is None:
        raise TypeError(f"`index` must consist of integers and slices; got {shown(index)}")
    return number


def _outside(index: Any, axis: int, n: int) -> ValueError:
    return ValueError(f"`index` must lie inside the shape; got {shown(index)}, where axis {axis} has size {n}")


def region(geometry: Geometry, chosen: Box) -> tuple[Region, tuple[int, ...]]:
    """The region of a box, with axes in canonical order, and the axes of the part in that order."""
    strides = [0] * len(geometry.shape)
    stride = 1
    for axis in reversed(geometry.order):
        strides[axis] = stride
        stride *= geometry.shape[axis]
    offset = sum(start * step for start, step in zip(chosen.starts, strides, strict=True))
    kept = [axis for axis, count in enumerate(chosen.counts) if count is not None]
    order = [axis for axis in geometry.order if axis in kept]
    counts = tuple(count for axis in order if (count := chosen.counts[axis]) is not None)
    steps = tuple(strides[axis] * chosen.steps[axis] for axis in order)
    return Region(offset, counts, steps), tuple(kept.index(axis) for axis in order)


def merged(axes: Iterable[Axis]) -> list[Axis]:
    """The same elements along as few axes as possible, in the same order.

    Axes of one element are left out. An axis continues the one before it, and the two become one, if a step along the
    outer axis is as long as all of the inner one: stride * count of the inner axis is the stride of the outer one, both
    in the region and in memory.
    """
    result: list[Axis] = []
    for count, stride, jump in axes:
        if count == 1:
            continue
        if result and result[-1][1] == stride * count and result[-1][2] == jump * count:
            result[-1] = (result[-1][0] * count, stride, jump)
        else:
            result.append((count, stride, jump))
    return result
