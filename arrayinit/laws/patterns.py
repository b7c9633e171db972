"""Where eye and dirac are 1, as masks of the canonical index and as positions, and which elements of sparse stay.

The masks are what a compiler fuses, and what runs in every namespace; the positions are few, and found on the host.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box
from arrayinit.stream.philox import Lane

__all__ = ["dirac", "eye", "keep", "ones"]

ROW_BITS = 31
RUN = 1 << 16  # rows whose positions are worked out at a time


def eye(index: Lane, shape: tuple[int, ...]) -> Lane:
    """True where row and column are equal in a matrix of this shape."""
    columns = shape[1]
    return index // columns == index % columns


def dirac(index: Lane, shape: tuple[int, ...], groups: int) -> Lane:
    """True at the centre k // 2 of the kernel from input channel d to output channel d of each group."""
    centre, field = 0, 1
    for n in shape[2:]:
        centre = centre * n + n // 2
        field *= n
    out, in_ = index // (field * shape[1]), index // field % shape[1]
    # in_ < shape[1] by construction, so that out % (out / groups) == in_ leaves min(out / groups, in) channels a group.
    return (out % (shape[0] // groups) == in_) & (index % field == centre)


def ones(geometry: Geometry, box: Box, groups: int) -> Iterator[Sequence[int | npt.NDArray[np.int64]]]:
    """Where dirac, or eye as one of no space and one group, is 1 in a box: indices of integers, for some rows each."""
    (out, in_, *space), canonical = geometry.order, geometry.canonical
    here: dict[int, int | npt.NDArray[np.int64]] = {}
    for axis, n in zip(space, canonical[2:], strict=True):
        centre, valid = _positions(box, axis, np.asarray([n // 2]))
        if not valid[0]:
            return
        here[axis] = int(centre[0])
    count = box.counts[out]
    end = 1 if count is None else count
    for first in range(0, end, RUN):
        rows = np.arange(first, min(first + RUN, end), dtype=np.int64)
        columns = (box.starts[out] + box.steps[out] * rows) % (canonical[0] // groups)
        columns, valid = _positions(box, in_, columns)
        if valid.any():
            here[out], here[in_] = rows[valid], columns[valid]
            yield [here[axis] for axis, taken in enumerate(box.counts) if taken is not None]


def _positions(box: Box, axis: int, wanted: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """Where a box holds global positions along an axis, and whether it does."""
    count = box.counts[axis]
    at, rest = np.divmod(wanted - box.starts[axis], box.steps[axis])
    return at, (rest == 0) & (at >= 0) & (at < (1 if count is None else count))


def keep(lanes: Any, words: Lane, zeros: int) -> Lane:
    """True where an element stays, given one word an element, shape (rows, columns), and how many a column loses.

    Elements are ordered by (word, row), so that equal words don't lose an element twice and ties fall the same way
    everywhere; each subset of a column is as likely as any other up to ties of 32-bit words.
    """
    xp, rows = lanes.xp, words.shape[0]
    if zeros == 0:
        return words >= 0
    if not lanes.fused:
        # Words that are tied with the last to go are one in 2**32 / rows columns: rows matter only where there are any.
        above = words > lanes.kth(words, zeros - 1)
        kept = xp.sum(lanes.astype(above, xp.uint8), axis=0, dtype=xp.int64)
        if bool(xp.all(kept == rows - zeros)):
            return above
    order = (lanes.astype(words, xp.int64) << ROW_BITS) | xp.reshape(lanes.arange(0, rows), (rows, 1))
    return order > lanes.kth(order, zeros - 1)
