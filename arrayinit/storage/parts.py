"""Tensors larger than memory, cut into parts: blocks of the grid that a file keeps them in, in the order they lie."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from arrayinit.common.messages import shown
from arrayinit.laws import Law, is_joint

__all__ = ["PART", "Part", "Parts", "check_part", "parts"]

PART = 1 << 26  # bytes of a part: enough for all processors, and little beside the memory of any machine

Part: TypeAlias = tuple[slice, ...]


@dataclass(frozen=True)
class Parts:
    """Blocks of one size that cover a shape, in the order of `axes`, the slowest first; each is made at its turn."""

    shape: tuple[int, ...]
    block: tuple[int, ...]
    axes: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self._counts())

    def __iter__(self) -> Iterator[Part]:
        counts = self._counts()
        for number in range(math.prod(counts)):
            where = [slice(0)] * len(self.shape)
            for axis, count in zip(reversed(self.axes), reversed(counts), strict=True):
                number, cell = divmod(number, count)
                start = cell * self.block[axis]
                where[axis] = slice(start, min(start + self.block[axis], self.shape[axis]))
            yield tuple(where)

    def _counts(self) -> list[int]:
        """How many blocks there are along each of `axes`."""
        return [-(-self.shape[axis] // self.block[axis]) for axis in self.axes]


def check_part(part: int) -> None:
    """ValueError where a limit is no number of bytes."""
    if isinstance(part, bool) or not isinstance(part, int) or part < 1:
        raise ValueError(f"`part` must be a positive number of bytes; got {shown(part)}")


def parts(
    law: Law,
    shape: tuple[int, ...],
    itemsize: int,
    limit: int = PART,
    chunks: Sequence[int] | None = None,
    order: Sequence[int] | None = None,
) -> Parts:
    """Blocks of at most `limit` bytes (or one chunk, where that is larger) that cover a tensor; none of an empty one.

    A law whose elements depend on each other gives one block, for each part of it would cost the whole.

    Args:
        chunks: the grid of the file, whose cells are never cut. order: the axes from the slowest to the fastest.
    """
    axes = tuple(range(len(shape)) if order is None else order)
    if is_joint(law) or 0 in shape:
        return Parts(shape, tuple(max(n, 1) for n in shape), axes)
    block = [min(c, n) for c, n in zip(chunks or [1] * len(shape), shape, strict=True)]
    for axis in reversed(axes):
        block[axis] = min(shape[axis], block[axis] * max(1, limit // (math.prod(block) * itemsize)))
        if block[axis] < shape[axis]:
            break
    return Parts(shape, tuple(block), axes)
