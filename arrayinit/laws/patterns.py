"""Where eye and dirac are 1, as masks of the canonical index and as positions, and which elements of sparse stay.

Masks run in all namespaces, and compilers fuse them. Positions are few, and the host computes them.
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
    # in_ < shape[1], so the first condition leaves min(out / groups, in) channels of each group.
    return (out % (shape[0] // groups) == in_) & (index % field == centre)


def ones(geometry: Geometry, box: Box, groups: int) -> Iterator[Sequence[int | npt.NDArray[np.int64]]]:
    """Where dirac is 1 in a box, as indices into the part, some rows at a time; eye is dirac without spatial axes."""
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
    """Where global positions along an axis lie in a box, and whether they lie in it at all."""
    count = box.counts[axis]
    at, rest = np.divmod(wanted - box.starts[axis], box.steps[axis])
    return at, (rest == 0) & (at >= 0) & (at < (1 if count is None else count))


def keep(lanes: Any, words: Lane, zeros: int) -> Lane:
    """True where an element stays, given one word an element, shape (rows, columns), and how many zeros a column has.

    A column loses its `zeros` smallest elements in the order by (word, row). Words are independent and alike, so all
    subsets are equally likely, but for ties: those lose the upper row, on all libraries alike.

    The order takes 63-bit integers, word * 2**31 + row, and a selection among them. Mostly the words alone give the
    same answer: with t the word that is number `zeros` from below, at least `zeros` elements are <= t, so at most
    rows - zeros are above t. If exactly rows - zeros are, the other `zeros` elements all have smaller words than they,
    and come first in the order by (word, row) too. If fewer are above, several elements tie with t and only some of
    them go, which rows must decide; that is so for about one word in 2**32 / (rows * columns).
    """
    xp, rows = lanes.xp, words.shape[0]
    if zeros == 0:
        return words >= 0
    if not lanes.fused:
        above = words > lanes.kth(words, zeros - 1)
        kept = xp.sum(lanes.astype(above, xp.uint8), axis=0, dtype=xp.int64)
        if bool(xp.all(kept == rows - zeros)):
            return above
    order = (lanes.astype(words, xp.int64) << ROW_BITS) | xp.reshape(lanes.arange(0, rows), (rows, 1))
    return order > lanes.kth(order, zeros - 1)
