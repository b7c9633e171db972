"""A report as plain text, Markdown, HTML and rich's renderables."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from arrayinit.common.tables import (
    Column,
    fitted,
    heading,
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
    """An HTML table with its style, to be put into a page."""
    bad = {path for path, _, _ in table.findings}
    marks = [' class="n"' if column.right else "" for column in table.columns]
    lines = [f"<style>{STYLE}</style>", '<table class="arrayinit">', "<thead><tr>"]
    lines += [f"<th{m}>{html.escape(c.title)}</th>" for m, c in zip(marks, table.columns, strict=True)]
    lines.append("</tr></thead><tbody>")
    for row in table.cells:
        mark = ' class="bad"' if row[-1] or row[0] in bad else ""
        cells = "".join(f"<td{m}>{html.escape(cell)}</td>" for m, cell in zip(marks, row, strict=True))
        lines.append(f"<tr{mark}>{cells}</tr>")
    findings = "".join(
        f"<li><code>{html.escape(path)}</code>: <b>{html.escape(kind)}</b>: {html.escape(reason)}</li>"
        for path, kind, reason in table.findings
    )
    total = html.escape(table.total) + (f"<ul>{findings}</ul>" if findings else "")
    lines.append(f'</tbody><tfoot><tr><td colspan="{len(marks)}">{total}</td></tr></tfoot></table>')
    return "\n".join(lines)


def document(table: Table) -> str:
    """A whole HTML page."""
    head = '<meta charset="utf-8"><title>arrayinit report</title><style>:root { color-scheme: light dark }</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{fragment(table)}\n</body></html>\n'


def rich_parts(table: Table, width: int) -> Iterator[Any]:
    """The lines of the plain text in colours, fitted to a width, as rich's renderables."""
    from rich.text import Text

    columns, cells = _fitted(table, width)
    titles, dashes = heading(columns, "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
    bad = {path for path, _, _ in table.findings}
    styled = [(titles, "bold"), (dashes, "dim")]
    for row, whole in zip(cells, table.cells, strict=True):
        styled.append((line(row, columns), "yellow" if whole[0].split(" = ")[0] in bad else ""))
    styled += [(dashes, "dim"), (table.total, "bold")]
    for shown, style in styled:
        yield Text(shown, style=style, no_wrap=True, overflow="ellipsis")
    for path, kind, reason in table.findings:
        yield Text.assemble(("! ", "bold red"), (path, "bold"), ": ", (kind, "yellow"), f": {reason}")
