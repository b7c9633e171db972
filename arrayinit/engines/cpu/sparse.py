"""Sparse matrices in host memory: drawn as normal ones, then set to 0 where `patterns.keep` has it, a slab at a time.

Each element has a word, and a column loses its `zeros` smallest words, ties by the row. A slab is some columns of the
words, all their rows, few enough to stay in a cache.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends import Lanes
from arrayinit.engines.cpu import pool
from arrayinit.job import Job
from arrayinit.laws import Bits, Sparse
from arrayinit.laws.patterns import keep
from arrayinit.laws.regions import Box
from arrayinit.stream.philox import ORDER

__all__ = ["clear"]

SLAB = 1 << 19  # words that are ordered at a time
NARROWEST = 16  # columns of a slab at least, a cache line of each row, up to MAX_WORDS
MAX_WORDS = 1 << 23  # words of a slab that is widened to NARROWEST columns
ALL = 1 << 24  # words of the slabs of all threads together; one slab alone may have more


def clear(job: Job, out: npt.NDArray[Any], lanes: Lanes, fill: Callable[[Job, Any], None]) -> None:
    """Set to 0 the elements that a sparse matrix loses, in the part of it that a job asks for.

    `fill` draws the words, for all rows of the columns of a slab.
    """
    law, box, (rows, columns) = job.law, job.box, job.geometry.order
    assert isinstance(law, Sparse)
    if not law.zeros:
        return
    height = job.geometry.shape[rows]
    matrix = out.transpose(job.placed[1])
    for axis, k in enumerate((rows, columns)):
        if box.counts[k] is None:
            matrix = np.expand_dims(matrix, axis)
    here: Any = slice(None)
    if (box.starts[rows], box.steps[rows], box.counts[rows]) != (0, 1, height):
        here = box.starts[rows] + box.steps[rows] * np.arange(matrix.shape[0])
    width = min(max(min(NARROWEST, MAX_WORDS // height), SLAB // height, 1), matrix.shape[1])
    slabs = -(-matrix.shape[1] // width)
    together = max(1, ALL // (height * width))
    memories: list[_Memory] = []  # memory that no thread is using

    def work(slab: int) -> None:
        start = slab * width
        columns_here = matrix[:, start : start + width]
        try:
            memory = memories.pop()
        except IndexError:
            memory = _Memory(height * width)
        words = memory.words[: height * columns_here.shape[1]].reshape(height, columns_here.shape[1])
        wanted = _columns(box, (rows, columns), height, start, columns_here.shape[1])
        fill(Job.of(Bits(ORDER), job.key, job.geometry, wanted, "uint32"), words if rows == 0 else words.T)
        lost = memory.lost(words, law.zeros)
        if lost is None:
            lost = ~keep(lanes, words, law.zeros)
        memory.set_zero(columns_here, lost[here])
        memories.append(memory)

    def work_on(some: range) -> None:
        pool.each(lambda i: work(some[i]), len(some))

    if pool.threads() <= together:
        work_on(range(slabs))
        return
    for first in range(0, slabs, together):  # at most so many slabs have memory at a time
        work_on(range(first, min(first + together, slabs)))


def _columns(box: Box, axes: tuple[int, int], height: int, start: int, count: int) -> Box:
    """Some of the columns of a box, and all rows."""
    rows, columns = axes
    step = box.steps[columns]
    axes_of = {rows: (0, 1, height), columns: (box.starts[columns] + start * step, step, count)}
    starts, steps, counts = zip(axes_of[0], axes_of[1], strict=True)
    return Box(starts, steps, counts)


class _Memory:
    """Memory for one slab, used again for others: new memory is slow where several threads ask for it."""

    def __init__(self, size: int) -> None:
        self.words = np.empty(size, np.uint32)
        self._spare = np.empty(size, np.uint64)
        self._mask = np.empty(size, np.bool_)

    def lost(self, words: npt.NDArray[np.uint32], zeros: int) -> npt.NDArray[np.bool_] | None:
        """Where a column has its `zeros` smallest words; None where this way does not find them, and `keep` must.

        It finds the largest word to go in each column without sorting the column. The number of words of a column below
        a given one is binomial, so the largest word to go is near the quantile zeros / rows: in all but one column of
        10**10 it lies between `low` and `high`, 6.5 standard deviations and 25 words around it. With `below` words less
        than `low`, it is number zeros - 1 - below among the words of its column in between.

        These few are sorted together, for all columns at once, as numbers of 32 bits: the column above the leading bits
        of the word minus `low`, as many as there is room for. `first` and `stop` are the ends of each column. Dropped
        bits do no harm while the next word of the column differs in those that are kept: then exactly the words up to
        `end`, the largest with the same leading bits, are the smallest ones. The answer is None where the next word
        does not differ, ties among them, or where the largest word to go is not in between.

        `test_slabs_of_columns_lose_the_same` and `test_one_tie_in_one_column` compare with `keep`.
        """
        rows, columns = words.shape
        expected, reach = zeros / rows, (6.5 * math.sqrt(zeros * (rows - zeros) / rows) + 25) / rows
        low, high = (min(max(int(p * 2**32), 0), 2**32 - 1) for p in (expected - reach, expected + reach))
        mask = self._mask[: words.size].reshape(words.shape)
        above = np.subtract(words, np.uint32(low), out=self._spare.view(np.uint32)[: words.size].reshape(words.shape))
        near = np.flatnonzero(np.less_equal(above, np.uint32(high - low), out=mask))
        value_bits = 32 - (columns - 1).bit_length()
        shift = max(0, (high - low).bit_length() - value_bits)
        ordered = above.reshape(-1)[near] >> np.uint32(shift)
        ordered |= (near % columns).astype(np.uint32) << np.uint32(value_bits)
        ordered.sort()
        first = np.searchsorted(ordered, np.arange(columns, dtype=np.uint32) << np.uint32(value_bits))
        stop = np.append(first[1:], len(ordered))
        below = np.add.reduce(np.less(words, low, out=mask).view(np.uint8), axis=0, dtype=np.int32)
        last = first + (zeros - 1) - below
        if (last < first).any() or (last >= stop).any():
            return None
        if (ordered[last] == ordered[np.minimum(last + 1, len(ordered) - 1)])[last + 1 < stop].any():
            return None
        end = (ordered[last] & np.uint32(2**value_bits - 1)).astype(np.int64) + 1 << shift
        np.less_equal(words, np.minimum(low + end - 1, 2**32 - 1).astype(np.uint32), out=mask)
        return mask

    def set_zero(self, values: npt.NDArray[Any], where: npt.NDArray[np.bool_]) -> None:
        """`values[where] = 0`, without a branch for each element where integers have its size."""
        if values.itemsize > 8:
            np.copyto(values, 0, where=where)
            return
        bits = values.view(f"u{values.itemsize}")
        kept = self._spare.view(bits.dtype)[: where.size].reshape(where.shape)
        bits &= np.subtract(where, bits.dtype.type(1), out=kept)
