"""The subcommand: options are checked, rows are measured one after the other, lines are printed as they come."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arrayinit.bench import cuda, rows as table
from arrayinit.bench.machine import machine
from arrayinit.bench.report import head, lines, listing, machine_lines, summary, write_json
from arrayinit.bench.results import Result, measure
from arrayinit.bench.rows import Row, select
from arrayinit.storage.files import check_replaceable

__all__ = ["bench"]

REPEATS, QUICK_REPEATS = 7, 3
BUDGET = 30.0  # seconds for the rounds of a row, unless their number is given


def bench(
    patterns: Sequence[str],
    quick: bool = False,
    only_list: bool = False,
    repeats: int | None = None,
    json_file: str | None = None,
    force: bool = False,
    markdown: bool = False,
    device: str = "cpu",
) -> int:
    """Run the benchmark; returns an exit status: 2 for a wrong option, 1 where our own call failed."""
    found: dict[str, str] = {}
    try:
        known = table.ROWS
        if device == "cuda":
            found, missing = cuda.devices()
            if not (found or only_list):
                reasons = "; ".join(f"{library}: {reason}" for library, reason in missing.items())
                raise ValueError(f"`--device cuda` needs a library that has a CUDA device; {reasons}")
            known = tuple(cuda.rows(cuda.LIBRARIES if only_list else found))
        elif device != "cpu":
            raise ValueError(f"`--device` must be 'cpu' or 'cuda'; got {device!r}")
        rows = select(patterns, quick, known)
        if repeats is not None and repeats < 1:
            raise ValueError(f"`--repeats` must be at least 1; got {repeats}")
        path = None if json_file is None else _writable(Path(json_file), force)
    except (ValueError, FileExistsError) as error:
        sys.stderr.write(f"arrayinit: {error}\n")
        return 2
    if only_list:
        print(*listing(rows), sep="\n")
        return 0
    try:
        import rich  # noqa: F401
    except ImportError:
        sys.stderr.write(
            "arrayinit: bench shows its progress with rich, which is missing: pip install arrayinit[bench]\n"
        )
        return 1
    rounds = repeats or (QUICK_REPEATS if quick else REPEATS)
    here = machine()
    if device == "cuda":
        here["devices"] = found | {library: f"left out: {reason}" for library, reason in missing.items()}
    print(*machine_lines(here), "", *head(markdown), sep="\n", flush=True)
    results: list[Result] = []
    is_complete = True
    try:
        with _progress(rows) as turns:
            for row in turns:
                results.append(measure(row, rounds, math.inf if repeats else BUDGET))
                print(*lines(results[-1], markdown), sep="\n", flush=True)
    except KeyboardInterrupt:
        is_complete = False
    print("", summary(results) + ("" if is_complete else "; interrupted"), sep="\n", flush=True)
    if path is not None:
        options = {
            "device": device,
            "quick": quick,
            "rows": list(patterns),
            "repeats": rounds,
            "is_complete": is_complete,
        }
        write_json(path, here, options, results)
    return 130 if not is_complete else 1 if any(result.is_broken for result in results) else 0


def _writable(path: Path, force: bool) -> Path:
    """The path, where a file can be written to it; ValueError or FileExistsError otherwise."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"`--json` must name a file in a directory that can be written to; got {str(path)!r}")
    if path.exists() and not force:
        raise ValueError(f"`--json` must name a new file unless --force is given; got {str(path)!r}, which exists")
    check_replaceable(path, "`--json`", force)
    return path


@contextmanager
def _progress(rows: Sequence[Row]) -> Iterator[Iterator[Row]]:
    """The rows one by one, with a bar on stderr where that is a terminal. It moves between rows, never while timing."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TimeRemainingColumn()]
    progress = Progress(
        *columns,
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # where both are the terminal, lines go above the bar
        disable=not console.is_terminal,
    )
    with progress:
        task = progress.add_task("", total=len(rows))

        def turns() -> Iterator[Row]:
            for row in rows:
                progress.update(task, description=row.name)
                progress.refresh()
                yield row
                progress.advance(task)

        yield turns()
