"""A table of text -> plain text, Markdown, HTML and rich."""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Column", "Table", "document", "fragment", "markdown", "rich_parts", "text"]


@dataclass(frozen=True)
class Column:
    """A column. weight: those of least weight are left out first where there is little room, 9 never."""

    title: str
    right: bool
    weight: int
    is_of_rules: bool = False


@dataclass(frozen=True)
class Table:
    """What is shown: cells, findings as (path, kind, text), and a line with the totals."""

    columns: Sequence[Column]
    cells: Sequence[Sequence[str]]
    findings: Sequence[tuple[str, str, str]]
    total: str


LONGEST = 48  # characters of a cell of plain text, unless a width says otherwise
SHORTEST = 12  # to which a path is shortened
GAP = 2


def text(table: Table, width: int | None = None) -> str:
    """Aligned columns, a line with the totals, a line for each finding."""
    columns, cells, widths = _fitted(table, width)
    lines = [_line([column.title for column in columns], widths, columns)]
    lines.append("-" * (sum(widths) + GAP * (len(widths) - 1)))
    lines += [_line(row, widths, columns) for row in cells]
    lines += [lines[1], table.total]
    return "\n".join(lines + [f"! {path}: {kind}: {said}" for path, kind, said in table.findings])


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    parts = [
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    return (" " * GAP).join(parts).rstrip()


def _fitted(table: Table, width: int | None) -> tuple[list[Column], list[list[str]], list[int]]:
    """The columns that there is room for, their cells, and how wide they are."""
    columns = list(table.columns)
    cells = [[_shortened(cell, LONGEST) for cell in row] for row in table.cells]
    if not any(row[-1] for row in cells):
        columns, cells = columns[:-1], [row[:-1] for row in cells]  # of findings, where there are none
    while True:
        widths = [
            max([len(column.title), *(len(row[k]) for row in cells)])
            for k, column in enumerate(columns)
        ]  # fmt: skip
        over = 0 if width is None else sum(widths) + GAP * (len(widths) - 1) - width
        if over <= 0:
            return columns, cells, widths
        # A long path gives way before a column does, but not below twice what it may be cut to at last.
        least = SHORTEST if all(column.weight == 9 for column in columns) else 2 * SHORTEST
        if widths[0] - over >= least or (least == SHORTEST < widths[0]):
            limit = max(widths[0] - over, least, len(columns[0].title))
            if limit < widths[0]:
                cells = [[_shortened(row[0], limit), *row[1:]] for row in cells]
                continue
        droppable = [column for column in columns if column.weight < 9]
        if not droppable:
            return columns, cells, widths
        gone = columns.index(min(droppable, key=lambda column: column.weight))
        del columns[gone]
        cells = [[*row[:gone], *row[gone + 1 :]] for row in cells]


def _shortened(cell: str, limit: int) -> str:
    """A cell without its middle, where it is too long."""
    if len(cell) <= limit:
        return cell
    tail = (limit - 1) * 2 // 3  # the end of a path says more than its beginning
    return f"{cell[: limit - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{cell[len(cell) - tail :]}"


def markdown(table: Table) -> str:
    """A table of GitHub's Markdown, and a list of the findings."""
    lines = [_piped([column.title for column in table.columns])]
    lines.append("|" + "|".join("--:" if column.right else "---" for column in table.columns) + "|")
    lines += [_piped(row) for row in table.cells]
    lines += ["", _escaped(table.total)]
    if table.findings:
        lines += ["", *(f"- {_escaped(path)}: **{kind}**: {_escaped(said)}" for path, kind, said in table.findings)]
    return "\n".join(lines) + "\n"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(cell: str) -> str:
    """Text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>|~&]|^[-+#=])", r"\\\1", " ".join(cell.split()))


STYLE = """
.arrayinit { border-collapse: collapse; font: 13px/1.4 system-ui, sans-serif; margin: 8px 0 }
.arrayinit th, .arrayinit td { padding: 2px 10px; text-align: left; white-space: nowrap }
.arrayinit th { border-bottom: 1px solid #8888; vertical-align: bottom }
.arrayinit td { font-family: ui-monospace, monospace; border-bottom: 1px solid #8882 }
.arrayinit .n { text-align: right }
.arrayinit .bad { background: #d5500022 }
.arrayinit tfoot td { font-family: inherit; border: 0; padding-top: 6px; white-space: normal }
""".strip()


def fragment(table: Table) -> str:
    """A table with its style, for a page that is already there."""
    bad = {path for path, _, _ in table.findings}
    marks = [' class="n"' if column.right else "" for column in table.columns]
    lines = [f"<style>{STYLE}</style>", '<table class="arrayinit">', "<thead><tr>"]
    lines += [f"<th{m}>{html.escape(c.title)}</th>" for m, c in zip(marks, table.columns, strict=True)]
    lines.append("</tr></thead><tbody>")
    for row in table.cells:
        mark = ' class="bad"' if row[-1] or row[0] in bad else ""
        cells = "".join(f"<td{m}>{html.escape(cell)}</td>" for m, cell in zip(marks, row, strict=True))
        lines.append(f"<tr{mark}>{cells}</tr>")
    found = "".join(
        f"<li><code>{html.escape(path)}</code>: <b>{html.escape(kind)}</b>: {html.escape(said)}</li>"
        for path, kind, said in table.findings
    )
    total = html.escape(table.total) + (f"<ul>{found}</ul>" if found else "")
    lines.append(f'</tbody><tfoot><tr><td colspan="{len(marks)}">{total}</td></tr></tfoot></table>')
    return "\n".join(lines)


def document(table: Table) -> str:
    """A whole page."""
    head = '<meta charset="utf-8"><title>arrayinit report</title><style>:root { color-scheme: light dark }</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{fragment(table)}\n</body></html>\n'


def rich_parts(table: Table, width: int) -> Iterator[Any]:
    """What rich prints: the lines of the plain text, as wide as there is room for, in colours."""
    from rich.text import Text

    columns, cells, widths = _fitted(table, width)
    bad = {path for path, _, _ in table.findings}
    styled = [(_line([column.title for column in columns], widths, columns), "bold")]
    styled.append(("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (sum(widths) + GAP * (len(widths) - 1)), "dim"))
    for row, whole in zip(cells, table.cells, strict=True):
        styled.append((_line(row, widths, columns), "yellow" if whole[0].split(" = ")[0] in bad else ""))
    styled += [styled[1], (table.total, "bold")]
    for line, style in styled:
        yield Text(line, style=style, no_wrap=True, overflow="ellipsis")
    for path, kind, said in table.findings:
        yield Text.assemble(("! ", "bold red"), (path, "bold"), ": ", (kind, "yellow"), f": {said}")
