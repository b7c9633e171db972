"""Rectangles: the two innermost axes of a region in memory, which a call of the compiled loops fills."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from arrayinit.laws.regions import Axis, Region, merged

__all__ = ["Rectangle", "Repeats", "rectangle_of"]


class Rectangle(NamedTuple):
    """Rows of elements. Element j of row r is number first + r * row_step + j * step of the tensor.

    It lies at + r * row_jump + j * jump elements behind the address of the array.
    """

    first: int
    rows: int
    row_step: int
    length: int  # elements of a row
    step: int
    at: int
    row_jump: int
    jump: int

    def moved(self, elements: int, places: int) -> "Rectangle":
        """The same rectangle, so many elements of the tensor and places in memory further on."""
        return self._replace(first=self.first + elements, at=self.at + places) if elements or places else self

    def split(self, grain: int, strip: tuple[int, int]) -> Iterator["Rectangle"]:
        """Rectangles of about `grain` elements each, of whole strips (rows, elements of a row) where rows are short.

        A rectangle takes neighbouring memory where it can: then each thread asks the system for pages of its own.
        """
        if self.rows * self.length <= grain:
            yield self
        elif self.rows > 1 and abs(self.jump) > abs(self.row_jump):
            width = min(self.length, max(strip[1], grain // self.rows // strip[1] * strip[1]))
            height = max(strip[0], grain // width // strip[0] * strip[0])
            for j in range(0, self.length, width):
                for row in range(0, self.rows, height):
                    yield self._part(row, min(height, self.rows - row), j, min(width, self.length - j))
        elif self.length >= grain or self.rows == 1:
            for row in range(self.rows):
                for j in range(0, self.length, grain):
                    yield self._part(row, 1, j, min(grain, self.length - j))
        else:
            height = max(1, grain // self.length // strip[0]) * strip[0]
            for row in range(0, self.rows, height):
                yield self._part(row, min(height, self.rows - row), 0, self.length)

    def _part(self, row: int, rows: int, j: int, length: int) -> "Rectangle":
        """The rectangle of so many rows from `row` on, and of each so many elements from element j on."""
        moved = self.moved(row * self.row_step + j * self.step, row * self.row_jump + j * self.jump)
        return moved._replace(rows=rows, length=length)


class Repeats:
    """How far each repetition of a rectangle along the outer axes of a region is from the first: (elements, places).

    Each is computed when it is asked for, because there may be as many repetitions as elements.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._axes = axes  # the last one runs fastest

    @cached_property
    def count(self) -> int:
        """How many repetitions there are."""
        return math.prod(count for count, _, _ in self._axes)

    def __getitem__(self, k: int) -> tuple[int, int]:
        elements = places = 0
        for count, step, jump in reversed(self._axes):
            k, j = divmod(k, count)
            elements += j * step
            places += j * jump
        return elements, places


def rectangle_of(region: Region, jumps: tuple[int, ...]) -> tuple[Rectangle, Repeats]:
    """The rectangle of the two innermost axes of a region, and how it repeats along all others.

    `jumps` are the strides in memory of the region's axes, in elements.
    """
    axes = merged(zip(region.counts, region.strides, jumps, strict=True))
    while len(axes) < 2:
        axes.insert(0, (1, 0, 0))
    (rows, row_step, row_jump), (length, step, jump) = axes[-2:]
    if length == 1:
        step, jump = 1, 1
    rectangle = Rectangle(
        first=region.offset, rows=rows, row_step=row_step, length=length, step=step, at=0, row_jump=row_jump, jump=jump
    )
    return rectangle, Repeats(axes[:-2])
