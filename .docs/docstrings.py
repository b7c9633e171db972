"""Docstrings are plain text with `code` in backticks; Sphinx expects reStructuredText. This translates.

A Sphinx extension; it runs before napoleon.
"""

import re
from itertools import groupby, pairwise
from typing import Any

ROLE_OR_CODE = re.compile(r":\w+:`[^`]*`|(?<!`)`([^`]+)`(?!`)(\w?)")
MARKS = re.compile(r"[*|\\]|(?<=\w)_(?!\w)|(?<!\w)_(?=\w)")  # which reStructuredText would interpret
ENTRY = re.compile(r"([a-z_][\w, ]*): (?=\S)")  # of a list of fields: "reach: what no part ..."
SHARED = re.compile(r"^    (?=(\w+, ){5,}\w+: )")  # an entry of many names, which napoleon would repeat for each
SECTIONS = ("Args:", "Raises:", "Warns:", "Returns:")


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _translate, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _translate(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    out: list[str] = []
    for is_blank, group in groupby(_with_names_on_one_line(lines), key=lambda line: not line.strip()):
        paragraph = list(group)
        out += paragraph if is_blank else _paragraph(paragraph)
    lines[:] = out


def _paragraph(lines: list[str]) -> list[str]:
    if lines[0].lstrip().startswith(">>>"):
        return lines
    if all(line.startswith("    ") for line in lines):  # a formula, or code
        return ["::", "", *lines]
    if lines[0].startswith("==="):
        return [_row(line) for line in lines]
    lines = _escaped("\n".join(lines)).split("\n")
    is_list = ENTRY.match(lines[0]) and all(line.startswith("    ") or ENTRY.match(line) for line in lines)
    return (
        [line[2:] if line.startswith("    ") else f"- **{line}".replace(":", "**:", 1) for line in lines]
        if is_list
        else lines
    )


def _escaped(text: str) -> str:
    """Text in which only roles and code have a meaning."""
    done, at = [], 0
    for match in ROLE_OR_CODE.finditer(text):
        code = match[0] if match[1] is None else f"``{match[1]}``" + (f"\\ {match[2]}" if match[2] else "")
        done += [MARKS.sub(r"\\\g<0>", text[at : match.start()]), code]
        at = match.end()
    return "".join([*done, MARKS.sub(r"\\\g<0>", text[at:])])


def _row(line: str) -> str:
    """A row of a table: what escaping adds to a cell is taken from the gap behind it."""
    cells = re.split(r"( {2,})", line)
    for i, cell in enumerate(cells):
        if i % 2 == 0:
            cells[i] = _escaped(cell)
            if i + 1 < len(cells):
                cells[i + 1] = " " * max(1, len(cells[i + 1]) - len(cells[i]) + len(cell))
    return "".join(cells)


def _with_names_on_one_line(lines: list[str]) -> list[str]:
    """An entry of a section whose names take several lines has them on one, as napoleon expects."""
    out, in_section = list(lines[:1]), False
    for previous, line in pairwise(lines):
        in_section = line in SECTIONS or (in_section and (line.startswith(" ") or not line))
        is_split = in_section and out[-1].startswith("    ") and ":" not in out[-1]
        if is_split and re.match(r"    \w", previous) and line.startswith("        "):
            out[-1] += f" {line.strip()}"
        else:
            out.append(line)
    return [SHARED.sub("    **keywords: ", line) for line in out]
