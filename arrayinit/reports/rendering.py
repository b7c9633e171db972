"""A report as plain text, Markdown, HTML and rich's renderables."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from arrayinit.common.tables import (
    Column,
    filled,
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


WIDTH = 100  # of a text that goes to no terminal
NARROWEST = 40  # of the lines of findings
GLUE = "\0"


@dataclass(frozen=True)
class Table:
    """The content of a report: cells, findings as (path, kind, text), and a line with the totals.

    The first column has the path of the parameter. marked: for each row whether there is something to see.
    """

    title: str
    columns: Sequence[Column]
    cells: Sequence[Sequence[str]]
    total: str
    findings: Sequence[tuple[str, str, str]] = ()
    marked: Sequence[bool] = ()


def text(table: Table, width: int | None = None) -> str:
    """Aligned columns, a line with the totals, and the findings, broken into lines."""
    width = _own_width() if width is None else width
    columns, cells = _fitted(table, width)
    titles, dashes = heading(columns)
    lines = [titles, dashes, *(line(row, columns) for row in cells), dashes, table.total]
    for path, kind, reason in table.findings:
        head = f"! {path}: {kind}:".replace(" ", GLUE)  # in one piece, so that paths can be found and copied
        broken = textwrap.wrap(
            f"{head} {reason}", max(width, NARROWEST), subsequent_indent="  ", break_long_words=False
        )
        lines += [each.replace(GLUE, " ") for each in broken]
    return "\n".join(lines)


def _own_width() -> int:
    """The width of the terminal that is printed to; WIDTH for files, pipes and notebooks."""
    is_terminal = getattr(sys.stdout, "isatty", lambda: False)()
    return shutil.get_terminal_size((WIDTH, 24)).columns if is_terminal else WIDTH


def _fitted(table: Table, width: int | None) -> tuple[list[Column], list[list[str]]]:
    """The columns that fit into a width, and their cells. Those without any text, as of findings, are left out."""
    return fitted(*filled(table.columns, table.cells), width)


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
    return html_table(*filled(table.columns, table.cells), table.total, table.findings, table.marked, limit=None)


def document(table: Table) -> str:
    """A whole HTML page."""
    return html_document(table.title, fragment(table))


def rich_parts(table: Table, width: int) -> Iterator[Any]:
    """The lines of the plain text in colours, fitted to a width, as rich's renderables."""
    from rich.text import Text

    columns, cells = _fitted(table, width)
    titles, dashes = heading(columns, "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    styled = [(titles, "bold"), (dashes, "dim")]
    marked = table.marked or [False] * len(cells)
    styled += [(line(row, columns), "yellow" if is_bad else "") for row, is_bad in zip(cells, marked, strict=True)]
    styled += [(dashes, "dim"), (table.total, "bold")]
    for shown, style in styled:
        yield Text(shown, style=style, no_wrap=True, overflow="ellipsis")
    for path, kind, reason in table.findings:
        yield Text.assemble(("! ", "bold red"), (path, "bold"), ": ", (kind, "yellow"), f": {reason}")
