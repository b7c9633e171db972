"""Tensors larger than memory, cut into parts: blocks of the grid that a file keeps them in, in the order they lie."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arrayinit.laws import Law, is_joint

__all__ = ["PART", "Grid", "Part", "check_part", "parts"]

PART = 1 << 26  # bytes of a part: enough for all processors, and little beside the memory of any machine

Part = tuple[slice, ...]


def check_part(part: int) -> None:
    """ValueError where a limit is no number of bytes."""
    if isinstance(part, bool) or not isinstance(part, int) or part < 1:
        raise ValueError(f"`part` must be a positive number of bytes; got {part!r}")


def parts(
    law: Law,
    shape: tuple[int, ...],
    itemsize: int,
    limit: int = PART,
    chunks: Sequence[int] | None = None,
    order: Sequence[int] | None = None,
) -> "Grid":
    """Blocks of at most `limit` bytes (or one chunk, where that is larger) that cover a tensor; none of an empty one.

    A law whose elements depend on each other gives one block, for each part of it would cost the whole.

    Args:
        chunks: the grid of the file, whose cells are never cut. order: the axes from the slowest to the fastest.
    """
    if 0 in shape or is_joint(law):
        return Grid(shape, shape, range(len(shape)))
    block = [min(c, n) for c, n in zip(chunks or [1] * len(shape), shape, strict=True)]
    axes = range(len(shape)) if order is None else order
    for axis in reversed(axes):
        block[axis] = min(shape[axis], block[axis] * max(1, limit // (math.prod(block) * itemsize)))
        if block[axis] < shape[axis]:
            break
    return Grid(shape, block, axes)


@dataclass(frozen=True)
class Grid:
    """The cells of a grid over a tensor, in the order of these axes. Each is made when it is asked for."""

    shape: tuple[int, ...]
    block: Sequence[int]
    axes: Sequence[int]

    def __len__(self) -> int:
        return 0 if 0 in self.shape else math.prod(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    def __iter__(self) -> Iterator[Part]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> Part:
        if not 0 <= k < len(self):
            raise IndexError(k)
        cell = [slice(0)] * len(self.shape)
        for axis in reversed(self.axes):
            n, b = self.shape[axis], self.block[axis]
            k, j = divmod(k, -(-n // b))
            cell[axis] = slice(j * b, min((j + 1) * b, n))
        return tuple(cell)
