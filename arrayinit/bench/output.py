"""The printed table, one line for each peer of a benchmark, and the JSON file."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arrayinit.bench.benchmarks import Benchmark
from arrayinit.bench.measurements import Measurement
from arrayinit.bench.peers import OURS
from arrayinit.common.tables import Column, aligned, heading, line, markdown_heading, markdown_line

__all__ = ["as_data", "head", "lines", "listed", "listing", "machine_lines", "summary", "write_json"]

COLUMNS = (
    Column("row", width=31),
    Column("ours", right=True, width=8),
    Column("peer", width=24),
    Column("theirs", right=True, width=8),
    Column("ratio", right=True, width=6),
    Column("goal", right=True, width=8),
    Column("of fill", right=True, width=7),
    Column("goal", right=True, width=4),
    Column(),
)


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """A description of the machine as text."""
    threads = ", ".join(f"{name} {value}" for name, value in machine["threads"].items())
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    cores = f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"
    return [
        f"{machine['cpu']}, {cores}; {machine['system']}; {machine['python']}",
        versions,
        f"threads: {threads or 'the default of each library'}",
        *([machine["compiled_loops"]] if machine.get("compiled_loops") else []),
        *(f"{library}: {device}" for library, device in machine.get("devices", {}).items()),
    ]


def head(markdown: bool = False) -> list[str]:
    """The first two lines of the table."""
    return markdown_heading(COLUMNS) if markdown else heading(COLUMNS)


def lines(measurement: Measurement, markdown: bool = False) -> list[str]:
    """One line for each peer of a benchmark, and one line if it has none."""
    return [markdown_line(cells) if markdown else line(cells, COLUMNS) for cells in _cells(measurement)]


def _cells(measurement: Measurement) -> Iterator[tuple[str, ...]]:
    benchmark, goals = measurement.benchmark, measurement.benchmark.goals
    medians, ratios, notes = measurement.medians, measurement.ratios, measurement.samples.notes
    unit = benchmark.unit
    for number, peer in enumerate(benchmark.peers or ("",)):
        is_first = number == 0
        remarks = [f"{name}: {note}" for name, note in notes.items() if is_first and name not in benchmark.peers]
        if not peer and unit == "s" and benchmark.name != "cold/import":
            remarks.append("no peer")
        if peer in notes:
            remarks.append(f"{peer}: {notes[peer]}")
        goal = f"{goals.ratios[peer]:g}x" if peer in goals.ratios else ""
        if goals.most is not None and is_first:
            goal = f"<{quantity(goals.most, unit)}"
        yield (
            benchmark.name if is_first else "",
            quantity(medians.get(OURS), unit) if is_first else "",
            peer or "-",
            quantity(medians.get(peer), unit),
            f"{significant(ratios[peer])}x" if peer in ratios else "-",
            goal,
            _percent(measurement.share) if is_first else "",
            _percent(goals.share, missing="") if is_first else "",
            "; ".join(remarks),
        )


def listing(benchmarks: Sequence[Benchmark]) -> list[str]:
    """One line for each benchmark: its name, its peers and its goals."""
    return aligned([(benchmark.name, "; ".join(_peers_and_goals(benchmark))) for benchmark in benchmarks])


def _peers_and_goals(benchmark: Benchmark) -> Iterator[str]:
    goals = benchmark.goals
    for peer in benchmark.peers:
        yield f"{peer} {goals.ratios[peer]:g}x" if peer in goals.ratios else peer
    if goals.share is not None:
        yield f"fill {goals.share:.0%}"
    if goals.most is not None:
        yield f"at most {quantity(goals.most, benchmark.unit)}"


def summary(measurements: Sequence[Measurement]) -> str:
    """How many goals are reached, and where our call failed."""
    reached = [is_reached for measurement in measurements for is_reached in measurement.reached]
    text = f"{len(measurements)} rows, {sum(reached)} of {len(reached)} goals reached"
    broken = [measurement.benchmark.name for measurement in measurements if measurement.is_broken]
    return text + (f"; arrayinit failed in {', '.join(broken)}" if broken else "")


def listed(benchmarks: Sequence[Benchmark]) -> list[dict[str, Any]]:
    """The benchmarks for JSON: name, peers and goals of each."""
    return [
        {
            "name": each.name,
            "peers": list(each.peers),
            "goals": {"ratios": dict(each.goals.ratios), "fill_share": each.goals.share, "most": each.goals.most},
        }
        for each in benchmarks
    ]


def as_data(machine: dict[str, Any], options: dict[str, Any], measurements: Sequence[Measurement]) -> dict[str, Any]:
    """All that was measured, and where and how, for JSON."""
    return {"machine": machine, "options": options, "rows": [measurement.as_data() for measurement in measurements]}


def write_json(
    path: Path, machine: dict[str, Any], options: dict[str, Any], measurements: Sequence[Measurement]
) -> None:
    """Write the file under another name, then rename it, so that it is whole or not there."""
    data = as_data(machine, options, measurements)
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
    """A number with three digits; with two if it is below 0.095, and without decimals from 100 on."""
    if 0 < value < 0.095:
        return f"{value:.2g}"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def _percent(value: float | None, missing: str = "-") -> str:
    return missing if value is None else f"{value:.0%}"
