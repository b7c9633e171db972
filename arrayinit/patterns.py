"""Patterns: eye and dirac as masks of the canonical index (so slices and layouts come for free), and sparse columns."""

from typing import Any

from arrayinit.philox import Lane

__all__ = ["dirac", "eye", "keep"]

ROW_BITS = 31


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


def keep(lanes: Any, words: Lane, zeros: int) -> Lane:
    """True where an element stays, given one word an element, shape (rows, columns), and how many a column loses.

    Elements are ordered by (word, row), so that equal words don't lose an element twice and ties fall the same way
    everywhere; each subset of a column is as likely as any other up to ties of 32-bit words.
    """
    rows = words.shape[0]
    order = (words << ROW_BITS) | lanes.xp.reshape(lanes.arange(0, rows), (rows, 1))
    if zeros == 0:
        return order >= 0
    return order > lanes.sort(order)[zeros - 1 : zeros, :]
