"""Regions of an array in memory -> rows, the two innermost axes that the compiled loops run over."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from arrayinit.laws.regions import Region, merged

__all__ = ["Moves", "Rows", "rows_of"]


@dataclass(frozen=True)
class Rows:
    """Elements first + row * row_step + j * step, `jump` apart in memory from `at + row * row_jump` on."""

    first: int
    rows: int
    row_step: int
    count: int
    step: int
    at: int
    row_jump: int
    jump: int

    def moved(self, elements: int, places: int) -> "Rows":
        """The same rows further on."""
        return self._part(0, self.rows, 0, self.count, elements, places) if elements or places else self

    def split(self, grain: int, strip: tuple[int, int]) -> Iterator["Rows"]:
        """Parts of about `grain` elements each, of whole strips (rows, elements of a row) where rows are short.

        A part is of neighbouring memory where it can be: then each thread asks the system for pages of its own.
        """
        if self.rows * self.count <= grain:
            yield self
        elif self.rows > 1 and abs(self.jump) > abs(self.row_jump):
            width = min(self.count, max(strip[1], grain // self.rows // strip[1] * strip[1]))
            height = max(strip[0], grain // width // strip[0] * strip[0])
            for j in range(0, self.count, width):
                for row in range(0, self.rows, height):
                    yield self._part(row, min(height, self.rows - row), j, min(width, self.count - j))
        elif self.count >= grain or self.rows == 1:
            for row in range(self.rows):
                for j in range(0, self.count, grain):
                    yield self._part(row, 1, j, min(grain, self.count - j))
        else:
            height = max(1, grain // self.count // strip[0]) * strip[0]
            for row in range(0, self.rows, height):
                yield self._part(row, min(height, self.rows - row), 0, self.count)

    def _part(self, row: int, rows: int, j: int, count: int, elements: int = 0, places: int = 0) -> "Rows":
        first = self.first + row * self.row_step + j * self.step + elements
        at = self.at + row * self.row_jump + j * self.jump + places
        return Rows(first, rows, self.row_step, count, self.step, at, self.row_jump, self.jump)


@dataclass(frozen=True)
class Moves:
    """(element, place) that each repetition of rows adds, made when asked for: there may be as many as elements."""

    axes: Sequence[tuple[int, int, int]]  # how many, elements and places from one to the next; the last the fastest

    @cached_property
    def count(self) -> int:
        """How many repetitions there are."""
        return math.prod(n for n, _, _ in self.axes)

    def __getitem__(self, k: int) -> tuple[int, int]:
        elements = places = 0
        for n, step, jump in reversed(self.axes):
            k, j = divmod(k, n)
            elements += j * step
            places += j * jump
        return elements, places


def rows_of(region: Region, jumps: tuple[int, ...]) -> tuple[Rows, Moves]:
    """The rows of the two innermost axes of a region, and how they are repeated along all others.

    `jumps` are the strides in memory of the region's axes, in elements. Axes that continue one another are one.
    """
    axes = merged(zip(region.counts, region.strides, jumps, strict=True))
    while len(axes) < 2:
        axes.insert(0, (1, 0, 0))
    (rows, row_step, row_jump), (count, step, jump) = axes[-2:]
    if count == 1:
        step, jump = 1, 1
    inner = Rows(region.offset, rows, row_step, count, step, 0, row_jump, jump)
    return inner, Moves(axes[:-2])
