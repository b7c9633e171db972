"""What is printed and written: a line for each peer of each row, and everything as JSON."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from arrayinit.bench.peers import OURS
from arrayinit.bench.results import Result
from arrayinit.bench.rows import Row

__all__ = ["TITLES", "format_line", "head", "lines", "listing", "machine_lines", "summary", "write_json"]

TITLES = ("row", "ours", "peer", "theirs", "ratio", "goal", "of fill", "goal", "")
_FORMAT = "{:31} {:>8}  {:24} {:>8} {:>7} {:>7} {:>7} {:>4}  {}"


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """The machine, for people."""
    threads = ", ".join(f"{name} {value}" for name, value in machine["threads"].items())
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    cores = f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"
    return [
        f"{machine['cpu']}, {cores}; {machine['system']}; {machine['python']}",
        versions,
        f"threads: {threads or 'as each library takes them'}",
        *(f"{library}: {device}" for library, device in machine.get("devices", {}).items()),
    ]


def head(markdown: bool = False) -> list[str]:
    """The titles and what is below them."""
    if markdown:
        return [format_line(TITLES, True), "|---|--:|---|--:|--:|--:|--:|--:|---|"]
    titles = format_line(TITLES)
    return [titles, "-" * len(titles)]


def format_line(cells: Sequence[str], markdown: bool = False) -> str:
    """Cells as one line of the table."""
    return f"| {' | '.join(cells)} |" if markdown else _FORMAT.format(*cells).rstrip()


def lines(result: Result, markdown: bool = False) -> list[str]:
    """A line for each peer of a row; one where it has none."""
    return [format_line(cells, markdown) for cells in _cells(result)]


def _cells(result: Result) -> Iterable[tuple[str, ...]]:
    row, medians, ratios, notes = result.row, result.medians, result.ratios, result.measured.notes
    goals = row.goals
    common = [f"{name}: {note}" for name, note in notes.items() if name not in row.peers]
    share, share_goal = _percent(result.share), _percent(goals.share, "")
    for number, peer in enumerate(row.peers or ("",)):
        said = list(common) if number == 0 else []
        if not peer:
            said += ["no peer"] if row.unit == "s" and row.name != "cold/import" else []
        elif peer in notes:
            said.append(f"{peer}: {notes[peer]}")
        goal = "" if peer not in goals.ratios else f"{goals.ratios[peer]:g}x"
        if goals.most is not None and number == 0:
            goal = f"<{quantity(goals.most, row.unit)}"
        yield (
            row.name if number == 0 else "",
            quantity(medians.get(OURS), row.unit) if number == 0 else "",
            peer or "-",
            quantity(medians.get(peer), row.unit),
            f"{significant(ratios[peer])}x" if peer in ratios else "-",
            goal,
            share if number == 0 else "",
            share_goal if number == 0 else "",
            "; ".join(said),
        )


def listing(rows: Iterable[Row]) -> list[str]:
    """Names of rows, their peers and goals."""
    found = []
    for row in rows:
        wanted = [f"{peer} {row.goals.ratios[peer]:g}x" if peer in row.goals.ratios else peer for peer in row.peers]
        wanted += [f"fill {row.goals.share:.0%}"] if row.goals.share is not None else []
        wanted += [f"at most {quantity(row.goals.most, row.unit)}"] if row.goals.most is not None else []
        found.append(f"{row.name:31} {'; '.join(wanted)}".rstrip())
    return found


def summary(results: Sequence[Result]) -> str:
    """How many goals were reached."""
    reached = [is_reached for result in results for is_reached in result.reached]
    text = f"{len(results)} rows, {sum(reached)} of {len(reached)} goals reached"
    broken = [result.row.name for result in results if result.is_broken]
    return text + (f"; arrayinit failed in {', '.join(broken)}" if broken else "")


def write_json(path: Path, machine: dict[str, Any], options: dict[str, Any], results: Sequence[Result]) -> None:
    """Write the file whole or not at all: under another name first, then renamed."""
    data = {"machine": machine, "options": options, "rows": [result.as_data() for result in results]}
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def quantity(value: float | None, unit: str) -> str:
    """Seconds or bytes in a unit of the right size."""
    if value is None:
        return "-"
    if unit == "B":
        return f"{value / 2**20:.0f} MiB"
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{significant(value / scale)} {name}"
    return f"{value * 1e9:.0f} ns"


def significant(value: float) -> str:
    """Three digits where there is a fraction to show, two of a very small one."""
    return (
        f"{value:.2g}"
        if 0 < value < 0.095
        else f"{value:.2f}"
        if value < 9.995
        else f"{value:.1f}"
        if value < 99.95
        else f"{value:.0f}"
    )


def _percent(value: float | None, missing: str = "-") -> str:
    return missing if value is None else f"{value:.0%}"
