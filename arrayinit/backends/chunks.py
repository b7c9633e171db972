"""The places of an axis that a rank holds, where mesh dimensions cut the axis one after another."""

import math
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Cut", "Runs", "chunk", "held", "strided_chunk"]

Runs: TypeAlias = tuple[tuple[int, int], ...]  # (start, length) of neighbouring places, in the order they are held
Cut: TypeAlias = tuple[
    int, int, int
]  # number of chunks, which of them a rank holds, split factor (1 where not strided)


def held(n: int, cuts: Sequence[Cut], length: int) -> Runs:
    """The places of an axis of n that a rank holds, which are `length` places.

    A strided cut is FSDP's of an axis that tensor parallelism cuts, too. FSDP is the later one, though its mesh
    dimension comes first. Where n does not divide evenly that can hold other places than `_StridedShard` says, by
    which torch's `distribute_tensor` goes. The length tells which of the two it was, on nearly all ranks where they
    differ; on the others it is taken to be FSDP.
    """
    runs: Runs = ()
    for order in (_as_made(cuts), cuts):
        runs = ((0, n),)
        for count, k, split_factor in order:
            runs = chunk(runs, count, k) if split_factor == 1 else strided_chunk(runs, split_factor, count, k)
        if sum(held for _, held in runs) == length:
            break
    return runs


def _as_made(cuts: Sequence[Cut]) -> Sequence[Cut]:
    """The cuts in the order in which FSDP makes them: a strided one after those behind it, whose parts it counts."""
    order: list[Cut] = []
    for count, k, split_factor in reversed(cuts):
        if split_factor == 1:
            order.insert(0, (count, k, 1))
        elif split_factor == math.prod(count for count, _, _ in order):
            order.append((count, k, 1))
        else:
            return cuts
    return order


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
