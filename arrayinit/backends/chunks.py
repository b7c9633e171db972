"""The places of an axis that a rank holds, where mesh dimensions cut the axis one after another."""

from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Runs", "chunk", "strided_chunk"]

Runs: TypeAlias = tuple[tuple[int, int], ...]  # (start, length) of neighbouring places, in the order they are held


def chunk(runs: Runs, count: int, k: int) -> Runs:
    """Chunk k of `count` chunks of n places. Each has ceil(n / count) places; the last ones have fewer or none.

    Source: torch.chunk; torch.distributed.tensor.Shard.
    """
    total = sum(length for _, length in runs)
    size = -(-total // count)
    return _between(runs, k * size, (k + 1) * size)


def strided_chunk(runs: Runs, split_factor: int, count: int, k: int) -> Runs:
    """Chunk k of each of `split_factor` chunks: FSDP's part of an axis that tensor parallelism cuts after it.

    Source: torch.distributed.tensor.placement_types._StridedShard.
    """
    chunks = [chunk(chunk(runs, split_factor, j), count, k) for j in range(split_factor)]
    return _joined([run for held in chunks for run in held])


def _between(runs: Runs, first: int, last: int) -> Runs:
    """Places number first to last - 1 among those that runs hold."""
    between = []
    before = 0
    for start, length in runs:
        low, high = max(first - before, 0), min(last - before, length)
        if low < high:
            between.append((start + low, high - low))
        before += length
    return tuple(between)


def _joined(runs: Sequence[tuple[int, int]]) -> Runs:
    """The same places in as few runs as possible."""
    joined: list[tuple[int, int]] = []
    for start, length in runs:
        if joined and sum(joined[-1]) == start:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((start, length))
    return tuple(joined)
