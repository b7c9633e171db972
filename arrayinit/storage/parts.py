"""Tensors larger than memory, cut into parts: blocks of the grid that a file keeps them in, in the order they lie."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

from arrayinit.laws import Law, is_joint

__all__ = ["PART", "Part", "check_part", "parts"]

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
) -> list[Part]:
    """Blocks of at most `limit` bytes (or one chunk, where that is larger) that cover a tensor; none of an empty one.

    A law whose elements depend on each other gives one block, for each part of it would cost the whole.

    Args:
        chunks: the grid of the file, whose cells are never cut. order: the axes from the slowest to the fastest.
    """
    if 0 in shape:
        return []
    if is_joint(law):
        return [tuple(slice(0, n) for n in shape)]
    block = [min(c, n) for c, n in zip(chunks or [1] * len(shape), shape, strict=True)]
    axes = range(len(shape)) if order is None else order
    for axis in reversed(axes):
        block[axis] = min(shape[axis], block[axis] * max(1, limit // (math.prod(block) * itemsize)))
        if block[axis] < shape[axis]:
            break
    return list(_grid(shape, block, axes))


def _grid(shape: tuple[int, ...], block: Sequence[int], axes: Sequence[int]) -> Iterator[Part]:
    """The cells of a grid, in the order of these axes."""
    for corner in product(*(range(0, shape[axis], block[axis]) for axis in axes)):
        starts = dict(zip(axes, corner, strict=True))
        yield tuple(slice(starts[k], min(starts[k] + block[k], n)) for k, n in enumerate(shape))
