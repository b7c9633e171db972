"""A report as plain text, Markdown, HTML and rich's renderables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from arrayinit.common.tables import (
    Column,
    fitted,
    heading,
    html_document,
    html_table,
    line,
    markdown_heading,
    markdown_line,
    markdown_text,
)

__all__ = ["Table", "document", "fragment", "markdown", "rich_parts", "text"]


@dataclass(frozen=True)
class Table:
    """The content of a report: cells, findings as (path, kind, text), and a line with the totals.

    The first column has the path of the parameter, the last one the kinds of its findings.
    """

    columns: Sequence[Column]
    cells: Sequence[Sequence[str]]
    findings: Sequence[tuple[str, str, str]]
    total: str


def text(table: Table, width: int | None = None) -> str:
    """Aligned columns, a line with the totals, a line for each finding."""
    columns, cells = _fitted(table, width)
    titles, dashes = heading(columns)
    lines = [titles, dashes, *(line(row, columns) for row in cells), dashes, table.total]
    return "\n".join(lines + [f"! {path}: {kind}: {reason}" for path, kind, reason in table.findings])


def _fitted(table: Table, width: int | None) -> tuple[list[Column], list[list[str]]]:
    """The columns that fit into a width, and their cells. Without findings, their column is left out."""
    if any(row[-1] for row in table.cells):
        return fitted(table.columns, table.cells, width)
    return fitted(table.columns[:-1], [row[:-1] for row in table.cells], width)


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, and a list of the findings."""
    lines = [*markdown_heading(table.columns), *map(markdown_line, table.cells), "", markdown_text(table.total)]
    if table.findings:
        lines.append("")
        lines += [
            f"- {markdown_text(path)}: **{kind}**: {markdown_text(reason)}" for path, kind, reason in table.findings
        ]
    return "\n".join(lines) + "\n"


def fragment(table: Table) -> str:
    """An HTML table with its style, to be put into a page."""
    return html_table(table.columns, table.cells, table.total, table.findings, _marked(table), limit=None)


def document(table: Table) -> str:
    """A whole HTML page."""
    return html_document("arrayinit report", fragment(table))


def _marked(table: Table) -> list[bool]:
    """For each row whether there is a finding about it."""
    bad = {path for path, _, _ in table.findings}
    return [bool(row[-1]) or row[0] in bad for row in table.cells]


def rich_parts(table: Table, width: int) -> Iterator[Any]:
    """The lines of the plain text in colours, fitted to a width, as rich's renderables."""
    from rich.text import Text

    columns, cells = _fitted(table, width)
    titles, dashes = heading(columns, "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    styled = [(titles, "bold"), (dashes, "dim")]
    for row, is_bad in zip(cells, _marked(table), strict=True):
        styled.append((line(row, columns), "yellow" if is_bad else ""))
    styled += [(dashes, "dim"), (table.total, "bold")]
    for shown, style in styled:
        yield Text(shown, style=style, no_wrap=True, overflow="ellipsis")
    for path, kind, reason in table.findings:
        yield Text.assemble(("! ", "bold red"), (path, "bold"), ": ", (kind, "yellow"), f": {reason}")
