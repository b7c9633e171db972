"""Which places of an axis a rank holds, where an axis is cut over the ranks of one mesh dimension after another."""

from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Runs", "chunk", "strided_chunk"]

Runs: TypeAlias = tuple[tuple[int, int], ...]  # (start, length) of neighbouring places, in the order they are held


def chunk(runs: Runs, parts: int, k: int) -> Runs:
    """Chunk k of as many parts, each of ceil(n / parts) of the n places but for the last ones, which may be empty.

    Source: torch.chunk; torch.distributed.tensor.Shard.
    """
    total = sum(length for _, length in runs)
    size = -(-total // parts)
    return _between(runs, k * size, (k + 1) * size)


def strided_chunk(runs: Runs, split_factor: int, parts: int, k: int) -> Runs:
    """Chunk k of each of `split_factor` chunks: what FSDP holds of an axis that tensor parallelism cuts after it.

    Source: torch.distributed.tensor.placement_types._StridedShard.
    """
    pieces = [chunk(chunk(runs, split_factor, j), parts, k) for j in range(split_factor)]
    return _joined([run for piece in pieces for run in piece])


def _between(runs: Runs, first: int, last: int) -> Runs:
    """The places first to last - 1 of those that runs hold."""
    found = []
    before = 0
    for start, length in runs:
        low, high = max(first - before, 0), min(last - before, length)
        if low < high:
            found.append((start + low, high - low))
        before += length
    return tuple(found)


def _joined(runs: Sequence[tuple[int, int]]) -> Runs:
    """The same places in as few runs as there can be."""
    found: list[tuple[int, int]] = []
    for start, length in runs:
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((start, length))
    return tuple(found)
