"""Tensors larger than memory, cut into tiles: blocks of the grid of their file, in the order that they lie in it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from arrayinit.common.messages import shown
from arrayinit.laws import Law, is_joint

__all__ = ["TILE_BYTES", "Tile", "Tiling", "check_part", "tiling"]

TILE_BYTES = 1 << 26  # enough to keep all processors busy, and little beside the memory of any machine

Tile: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size that cover a shape, in the order of `axes`, the slowest first; computed as they are asked for.

    The last tile along an axis may be smaller.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    axes: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self._counts())

    def __iter__(self) -> Iterator[Tile]:
        counts = self._counts()
        for number in range(math.prod(counts)):
            tile = [slice(0)] * len(self.shape)
            for axis, count in zip(reversed(self.axes), reversed(counts), strict=True):
                number, place = divmod(number, count)
                start = place * self.size[axis]
                tile[axis] = slice(start, min(start + self.size[axis], self.shape[axis]))
            yield tuple(tile)

    def _counts(self) -> list[int]:
        """The number of tiles along each of `axes`."""
        return [-(-self.shape[axis] // self.size[axis]) for axis in self.axes]


def check_part(part: int) -> None:
    """ValueError where `part`, the limit on the bytes of a tile, is not a positive integer."""
    if isinstance(part, bool) or not isinstance(part, int) or part < 1:
        raise ValueError(f"`part` must be a positive number of bytes; got {shown(part)}")


def tiling(
    law: Law,
    shape: tuple[int, ...],
    itemsize: int,
    limit: int = TILE_BYTES,
    chunks: Sequence[int] | None = None,
    order: Sequence[int] | None = None,
) -> Tiling:
    """Tiles of at most `limit` bytes (or one chunk, where that is larger) that cover a tensor; none of an empty one.

    A law whose elements depend on each other gives one tile, for each part of it would cost as much as the whole.

    Args:
        chunks: the grid of the file, whose cells are never cut.
        order: the axes from the slowest to the fastest.
    """
    axes = tuple(range(len(shape)) if order is None else order)
    if is_joint(law) or 0 in shape:
        return Tiling(shape, tuple(max(n, 1) for n in shape), axes)
    size = [min(c, n) for c, n in zip(chunks or [1] * len(shape), shape, strict=True)]
    for axis in reversed(axes):
        size[axis] = min(shape[axis], size[axis] * max(1, limit // (math.prod(size) * itemsize)))
        if size[axis] < shape[axis]:
            break
    return Tiling(shape, tuple(size), axes)
