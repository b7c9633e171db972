"""A report as plain text, Markdown, HTML and rich's renderables."""

import os
import shutil
import sys
import textwrap
from abc import ABC, abstractmethod
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
    sized,
    table_width,
)

__all__ = ["Rendered", "Table", "document", "fragment", "markdown", "rich_parts", "text"]


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


class Rendered(ABC):
    """What shows a table, in all forms."""

    @abstractmethod
    def _table(self) -> Table: ...

    def to_text(self, width: int | None = None) -> str:
        """A plain table, and the findings below it.

        Args:
            width: the most characters of a line. To fit, paths lose their middle and less important columns are left
                out, which the last line says; paths, stds and findings stay. None: the width of the terminal, or 100
                where the text is printed to a file, a pipe or a notebook; the environment variable COLUMNS goes first.
        """
        return text(self._table(), width)

    def to_markdown(self) -> str:
        """A table in GitHub's Markdown with all columns, and a list of the findings."""
        return markdown(self._table())

    def to_html(self) -> str:
        """A whole HTML document that needs no other file. Its first columns are those that findings are about."""
        return document(self._table())

    def _repr_html_(self) -> str:
        return fragment(self._table())

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        return rich_parts(self._table(), options.max_width)


def text(table: Table, width: int | None = None) -> str:
    """Aligned columns, a line with the totals, the findings, broken into lines, and which columns were left out."""
    width = _own_width() if width is None else width
    columns, cells, left_out = _fitted(table, width)
    titles, dashes = heading(columns)
    lines = [titles, dashes, *(line(row, columns) for row in cells), dashes] if cells else []
    lines.append(table.total)
    for path, kind, reason in table.findings:
        head = f"! {path}: {kind}:".replace(" ", GLUE)  # in one piece, so that paths can be found and copied
        broken = textwrap.wrap(
            f"{head} {reason}", max(width, NARROWEST), subsequent_indent="  ", break_long_words=False
        )
        lines += [each.replace(GLUE, " ") for each in broken]
    lines += textwrap.wrap(left_out, max(width, NARROWEST), subsequent_indent="  ")
    return "\n".join(lines)


def _own_width() -> int:
    """That of the environment variable COLUMNS or the terminal that is printed to; else WIDTH."""
    is_terminal = getattr(sys.stdout, "isatty", lambda: False)()
    is_known = is_terminal or os.environ.get("COLUMNS")
    return shutil.get_terminal_size((WIDTH, 24)).columns if is_known else WIDTH


def _fitted(table: Table, width: int) -> tuple[list[Column], list[list[str]], str]:
    """The columns that fit into a width, their cells, and a text on the others, if any.

    Columns without any text, as of findings, are left out without a word.
    """
    columns, cells = filled(table.columns, table.cells)
    kept, shown = fitted(columns, cells, width)
    titles = [column.title for column in kept]
    missing = [column.title for column in columns if column.title not in titles]
    full = table_width(sized(columns, cells))
    text = f"left out to fit {width} characters: {', '.join(missing)}; to_text(width={full}) shows them"
    return kept, shown, text if missing else ""


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, and a list of the findings."""
    lines = [*markdown_heading(table.columns), *map(markdown_line, table.cells), ""] if table.cells else []
    lines.append(markdown_text(table.total))
    if table.findings:
        lines.append("")
        lines += [
            f"- {markdown_text(path)}: **{kind}**: {markdown_text(reason)}" for path, kind, reason in table.findings
        ]
    return "\n".join(lines) + "\n"


def fragment(table: Table) -> str:
    """An HTML table with its style, to be put into a page."""
    columns, cells = filled(table.columns, table.cells) if table.cells else ([], [])
    order = sorted(range(len(columns)), key=lambda k: not columns[k].early)
    columns, cells = [columns[k] for k in order], [[row[k] for k in order] for row in cells]
    return html_table(columns, cells, table.total, table.findings, table.marked, limit=None)


def document(table: Table) -> str:
    """A whole HTML page."""
    return html_document(table.title, fragment(table))


def rich_parts(table: Table, width: int) -> Iterator[Any]:
    """The lines of the plain text in colours, fitted to a width, as rich's renderables."""
    from rich.text import Text

    columns, cells, left_out = _fitted(table, width)
    titles, dashes = heading(columns, "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    styled = [(titles, "bold"), (dashes, "dim")] if cells else []
    marked = table.marked or [False] * len(cells)
    styled += [(line(row, columns), "yellow" if is_bad else "") for row, is_bad in zip(cells, marked, strict=True)]
    styled += [(dashes, "dim")] if cells else []
    for shown, style in styled:
        yield Text(shown, style=style, no_wrap=True, overflow="ellipsis")
    yield Text(table.total, style="bold")
    for path, kind, reason in table.findings:
        yield Text.assemble(("! ", "bold red"), (path, "bold"), ": ", (kind, "yellow"), f": {reason}")
    if left_out:
        yield Text(left_out, style="dim")
