"""Tables of benchmarks as Markdown, one for each file of `arrayinit bench --json` in examples/benchmarks.

A Sphinx extension. It writes `benchmarks-tables.md` to the source directory before the pages are read;
`benchmarks.md` includes it.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from arrayinit.bench.output import machine_lines, quantity, significant
from arrayinit.bench.peers import FILL, OURS

TITLES = {
    "torch": "In place, into torch tensors",
    "numpy": "In place, into NumPy arrays",
    "jit": "New JAX arrays, under jit",
    "jax": "New JAX arrays, outside of jit",
    "slice": "Parts of a tensor",
    "dask": "Dask",
    "dtensor": "A tensor over two processes",
    "flax": "A Flax model, from nothing to arrays",
    "cold": "Imports and first draws, in fresh processes",
    "no-loops": "Without the compiled loops",
    "memory": "Memory beyond the result",
    "model": "Models of transformers, in fresh processes",
    "model-memory": "Memory beyond the parameters of these models",
    "cuda": "On the GPU",
}


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def write(source: Path) -> None:
    """Write the tables of all files."""
    runs = sorted((source.parent / "benchmarks").glob("*.json"))
    text = "\n".join(line for path in runs for line in _section(path.name, json.loads(path.read_text("utf-8"))))
    page = source / "benchmarks-tables.md"
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


def _section(name: str, run: dict[str, Any]) -> Iterator[str]:
    described, versions, threads, *devices = machine_lines(run["machine"])
    yield from (f"## {run['machine'].get('devices', {}).get('torch') or run['machine']['cpu']}", "")
    yield from (f"{described}. {versions}. Threads: {threads.removeprefix('threads: ')}.", *devices, "")
    yield from (run["note"], "") if "note" in run else ()
    yield from (f"From `examples/benchmarks/{name}`.", "")
    for kind, rows in groupby(run["rows"], key=lambda row: row["name"].split("/")[0]):
        yield from (f"### {TITLES.get(kind, kind)}", "")
        yield from ("| | arrayinit | the other | takes | ratio | share of a fill |", "|---|--:|---|--:|--:|--:|")
        for row in rows:
            yield from _lines(row)
        yield ""


def _lines(row: dict[str, Any]) -> Iterator[str]:
    """One line for each other library, and one where there is none."""
    ours, unit = row["median"][OURS], row["unit"]
    share = "" if row["fill_share"] is None else f"{row['fill_share']:.0%}"
    for peer in [name for name in row["median"] if name not in (OURS, FILL)] or [""]:
        theirs = quantity(row["median"][peer], unit) if peer else ""
        times = f"{significant(row['ratio'][peer])}x" if peer in row["ratio"] else ""
        yield f"| `{row['name']}` | {quantity(ours, unit)} | {peer} | {theirs} | {times} | {share} |"
