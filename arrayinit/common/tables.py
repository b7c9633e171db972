"""Tables as aligned plain text, Markdown and HTML. Needs no library, and prints a row as soon as it is known."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from arrayinit.common.messages import counted

__all__ = [
    "Column",
    "aligned",
    "filled",
    "fitted",
    "heading",
    "html_document",
    "html_fields",
    "html_table",
    "line",
    "markdown_heading",
    "markdown_line",
    "markdown_text",
    "sized",
    "table_width",
    "titled",
]

GAP = "  "
CELL_CHARACTERS = 48  # characters of a cell in `fitted`
SHORTEST = 12  # characters that `fitted` leaves of the first column
KEPT = 9  # weight of a column that is never left out
HTML_ROWS = 500  # rows of a table in a notebook, where longer ones make the page slow


@dataclass(frozen=True)
class Column:
    """A column of a table.

    right: whether cells end at the right, as numbers do. width: the least number of characters; longer cells push the
    rest of their line to the right. weight: `fitted` leaves out columns of the least weight first, those of one weight
    together, never those of 9. early: whether a web page, which scrolls, has the column before those that are not.
    """

    title: str = ""
    right: bool = False
    width: int = 0
    weight: int = KEPT
    early: bool = False


def line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    """One row. It may have fewer cells than there are columns."""
    padded = [
        cell.rjust(column.width) if column.right else cell.ljust(column.width)
        for cell, column in zip(cells, columns, strict=False)
    ]
    return GAP.join(padded).rstrip()


def heading(columns: Sequence[Column], dash: str = "-") -> list[str]:
    """Two lines: the titles, and dashes below the whole table."""
    return [line([column.title for column in columns], columns), dash * table_width(columns)]


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


def filled(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> tuple[list[Column], list[list[str]]]:
    """The columns that have a cell with text, and their cells; the first one always."""
    kept = [k for k in range(len(columns)) if not k or any(row[k] for row in rows)]
    return [columns[k] for k in kept], [[row[k] for k in kept] for row in rows]


def titled(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a whole table: titles, dashes, rows. Columns without any text are left out."""
    kept, cells = filled(columns, rows)
    wide = sized(kept, cells)
    return [*heading(wide), *(line(row, wide) for row in cells)]


def fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> tuple[list[Column], list[list[str]]]:
    """The columns that fit into a width, with their sizes, and their cells.

    Where not all of it fits, long cells and then those of the first column, such as paths, lose their middle before a
    column is left out.
    """
    kept = list(columns)
    cells = [list(row) for row in rows]
    is_cut = False
    while True:
        wide = sized(kept, cells)
        excess = 0 if width is None else table_width(wide) - width
        if excess <= 0:
            return wide, cells
        if not is_cut:
            cells, is_cut = [[_shortened(cell, CELL_CHARACTERS) for cell in row] for row in cells], True
            continue
        droppable = [column for column in kept if column.weight < KEPT]
        first = wide[0].width
        least = 2 * SHORTEST if droppable else SHORTEST
        limit = max(first - excess, least, len(kept[0].title))
        if limit < first and (limit == first - excess or not droppable):
            cells = [[_shortened(row[0], limit), *row[1:]] for row in cells]
            continue
        if not droppable:
            return wide, cells
        least_weight = min(column.weight for column in droppable)
        stay = [k for k, column in enumerate(kept) if column.weight > least_weight]
        kept, cells = [kept[k] for k in stay], [[row[k] for k in stay] for row in cells]


def table_width(columns: Sequence[Column]) -> int:
    """The characters of a line, of columns that have their sizes."""
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


STYLE = """
.arrayinit { border-collapse: collapse; font: 13px/1.4 system-ui, sans-serif; margin: 8px 0 }
.arrayinit th, .arrayinit td { padding: 2px 10px; text-align: left; white-space: nowrap }
.arrayinit th { border-bottom: 1px solid #8888; vertical-align: bottom }
.arrayinit td { font-family: ui-monospace, monospace; border-bottom: 1px solid #8882 }
.arrayinit .n { text-align: right }
.arrayinit .bad { background: #d5500022 }
.arrayinit tfoot td { font-family: inherit; border: 0; padding-top: 6px; white-space: normal; text-align: left }
""".strip()


def html_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], total: str = "",
    notes: Sequence[tuple[str, str, str]] = (), marked: Sequence[bool] = (), limit: int | None = HTML_ROWS,
) -> str:  # fmt: skip
    """A table with its style, to be put into a page. All text is escaped.

    Args:
        total: a line below the table.
        notes: (of what, kind, text) of items below that line; any of the first two may be empty.
        marked: for each row whether it is shown on a coloured ground; none by default.
        limit: the most rows that are shown; None for all. The number of the others stands below the table.
    """
    classes = [' class="n"' if column.right else "" for column in columns]
    titles = [f"<th{c}>{html.escape(column.title)}</th>" for c, column in zip(classes, columns, strict=True)]
    lines = [f"<style>{STYLE}</style>", '<table class="arrayinit">']
    lines += ["<thead><tr>", *titles, "</tr></thead>"] if columns else []
    lines.append("<tbody>")
    for k, row in enumerate(rows[:limit]):
        cells = "".join(f"<td{c}>{html.escape(cell)}</td>" for c, cell in zip(classes, row, strict=True))
        mark = ' class="bad"' if marked and marked[k] else ""
        lines.append(f"<tr{mark}>{cells}</tr>")
    hidden = 0 if limit is None else max(0, len(rows) - limit)
    words = [f"{counted(hidden, 'more row')}, which print shows", total] if hidden else [total]
    foot = html.escape("; ".join(filter(None, words))) + _html_list(notes)
    if foot:
        foot = f'<tfoot><tr><td colspan="{max(1, len(columns))}">{foot}</td></tr></tfoot>'
    return "\n".join([*lines, f"</tbody>{foot}</table>"])


def _html_list(notes: Sequence[tuple[str, str, str]]) -> str:
    items = ""
    for subject, kind, text in notes:
        parts = [f"<code>{html.escape(subject)}</code>"] if subject else []
        parts += [f"<b>{html.escape(kind)}</b>"] if kind else []
        items += f"<li>{': '.join([*parts, html.escape(text)])}</li>"
    return f"<ul>{items}</ul>" if items else ""


def html_fields(title: str, fields: Mapping[str, str]) -> str:
    """A table of the fields of one object, below its title."""
    return html_table([Column(title), Column()], list(fields.items()))


def html_document(title: str, body: str) -> str:
    """A whole page that needs no other file."""
    head = (
        f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>:root {{ color-scheme: light dark }}</style>'
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'
