"""Rows of a table that repeat from layer to layer, as one row with a range of numbers in its path."""

import re
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby
from math import prod

__all__ = ["folded", "template"]

LEAST = 3  # rows that become one; two are as easy to read
NUMBER = re.compile(r"(?:(?<=[._])|^)\d+(?=\.|$)")  # a word of a path, or the end of one: "h.3.w", "Dense_3.kernel"


def template(path: str) -> str:
    """A path without the numbers of its layers."""
    return NUMBER.sub("#", path)


def folded(paths: Sequence[str], kinds: Sequence[Hashable]) -> list[tuple[str, list[int]]]:
    """(label, numbers of the rows) of each group of rows, in the order of their first rows.

    Rows are in one group if their paths differ in numbers of layers alone, and their kinds are equal; the label says
    which numbers, as in "h.{0..11}.attn.weight". A group has each combination of its numbers.
    """
    groups: dict[tuple[str, Hashable], list[int]] = {}
    for k, (path, kind) in enumerate(zip(paths, kinds, strict=True)):
        groups.setdefault((template(path), kind), []).append(k)
    result: list[tuple[str, list[int]]] = []
    for rows in groups.values():
        result += _grids([(tuple(map(int, NUMBER.findall(paths[k]))), k) for k in rows], paths)
    return sorted(result, key=lambda group: min(group[1]))


def _grids(
    rows: list[tuple[tuple[int, ...], int]], paths: Sequence[str], fixed: int = 0
) -> Iterable[tuple[str, list[int]]]:
    """Groups that have each combination of their numbers; where these rows lack one, they are parted by a number."""
    numbers = [sorted({row[axis] for row, _ in rows}) for axis in range(len(rows[0][0]))]
    if len(rows) < LEAST:
        return [(paths[k], [k]) for _, k in rows]
    if prod(map(len, numbers)) == len(rows):
        texts = iter(_range(each) for each in numbers)
        return [(NUMBER.sub(lambda _: next(texts), paths[rows[0][1]]), [k for _, k in rows])]
    first = sorted(rows)
    parts = [list(part) for _, part in groupby(first, key=lambda row: row[0][fixed])]
    return [group for part in parts for group in _grids(part, paths, fixed + 1)]


def _range(numbers: Sequence[int]) -> str:
    """Sorted numbers as "7" or "{0..4,6}"."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]
    return texts[0] if len(numbers) == 1 else f"{{{','.join(texts)}}}"
