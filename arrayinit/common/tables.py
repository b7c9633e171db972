"""Tables as aligned plain text and as Markdown. Needs no library, and prints a row as soon as it is known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = [
    "Column",
    "aligned",
    "fitted",
    "heading",
    "line",
    "markdown_heading",
    "markdown_line",
    "markdown_text",
    "sized",
]

GAP = "  "
CELL_CHARACTERS = 48  # characters of a cell in `fitted`
SHORTEST = 12  # characters that `fitted` leaves of the first column
KEPT = 9  # weight of a column that is never left out


@dataclass(frozen=True)
class Column:
    """A column of a table.

    right: whether cells end at the right, as numbers do. width: the least number of characters; longer cells push the
    rest of their line to the right. weight: `fitted` leaves out columns of the least weight first, never those of 9.
    """

    title: str = ""
    right: bool = False
    width: int = 0
    weight: int = KEPT


def line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    """One row. It may have fewer cells than there are columns."""
    padded = [
        cell.rjust(column.width) if column.right else cell.ljust(column.width)
        for cell, column in zip(cells, columns, strict=False)
    ]
    return GAP.join(padded).rstrip()


def heading(columns: Sequence[Column], dash: str = "-") -> list[str]:
    """Two lines: the titles, and dashes below the whole table."""
    return [line([column.title for column in columns], columns), dash * _total_width(columns)]


def sized(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[Column]:
    """The columns, each as wide as its longest cell."""
    return [
        replace(column, width=max([column.width, len(column.title), *(len(row[k]) for row in rows)]))
        for k, column in enumerate(columns)
    ]


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows without titles as lines; `right` has the numbers of the columns that end at the right."""
    count = len(rows[0]) if rows else 0
    columns = sized([Column(right=k in right) for k in range(count)], rows)
    return [line(row, columns) for row in rows]


def fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> tuple[list[Column], list[list[str]]]:
    """The columns that fit into a width, with their sizes, and their cells.

    Cells of the first column, such as paths, lose their middle before a column is left out.
    """
    kept = list(columns)
    cells = [[_shortened(cell, CELL_CHARACTERS) for cell in row] for row in rows]
    while True:
        wide = sized(kept, cells)
        excess = 0 if width is None else _total_width(wide) - width
        if excess <= 0:
            return wide, cells
        droppable = [column for column in kept if column.weight < KEPT]
        first = wide[0].width
        least = 2 * SHORTEST if droppable else SHORTEST
        limit = max(first - excess, least, len(kept[0].title))
        if limit < first and (limit == first - excess or not droppable):
            cells = [[_shortened(row[0], limit), *row[1:]] for row in cells]
            continue
        if not droppable:
            return wide, cells
        dropped = kept.index(min(droppable, key=lambda column: column.weight))
        del kept[dropped]
        cells = [[*row[:dropped], *row[dropped + 1 :]] for row in cells]


def _total_width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _shortened(cell: str, limit: int) -> str:
    """A cell without its middle if it is too long."""
    if len(cell) <= limit:
        return cell
    tail = (limit - 1) * 2 // 3  # the end of a path says more than its beginning
    return f"{cell[: limit - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{cell[len(cell) - tail :]}"


def markdown_heading(columns: Sequence[Column]) -> list[str]:
    """The first two lines of a table in GitHub's Markdown."""
    marks = "|".join("--:" if column.right else "---" for column in columns)
    return [markdown_line([column.title for column in columns]), f"|{marks}|"]


def markdown_line(cells: Sequence[str]) -> str:
    """One row in GitHub's Markdown."""
    return f"| {' | '.join(map(markdown_text, cells))} |"


def markdown_text(text: str) -> str:
    """Text on one line, escaped so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>|~&]|^[-+#=])", r"\\\1", " ".join(text.split()))
