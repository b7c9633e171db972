"""Run `arrayinit bench`: check the options, run the benchmarks one after another, print each line at once."""

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arrayinit.bench import benchmarks, cuda
from arrayinit.bench.machine import machine
from arrayinit.bench.measurements import Measurement, measure
from arrayinit.bench.output import as_data, head, lines, listed, listing, machine_lines, summary, write_json
from arrayinit.common.progress import step_bar
from arrayinit.storage.files import check_replaceable

__all__ = ["run"]

REPEATS, QUICK_REPEATS = 7, 3
BUDGET = 30.0  # seconds for the rounds of a benchmark, unless their number is given


def run(
    patterns: Sequence[str],
    *,
    quick: bool = False,
    only_list: bool = False,
    repeats: int | None = None,
    json_file: str | None = None,
    force: bool = False,
    markdown: bool = False,
    device: str = "cpu",
) -> int:
    """Run the benchmarks. Returns an exit status: 1 if our call failed, 2 if an option is wrong."""
    devices: dict[str, str] = {}
    try:
        known = benchmarks.BENCHMARKS
        if device == "cuda":
            devices, missing = cuda.devices()
            if not (devices or only_list):
                reasons = "; ".join(f"{library}: {reason}" for library, reason in missing.items())
                raise ValueError(f"`--device cuda` needs a library that has a CUDA device; {reasons}")
            known = tuple(cuda.benchmarks(cuda.LIBRARIES if only_list else devices))
            devices |= {library: f"left out: {reason}" for library, reason in missing.items()}
        elif device != "cpu":
            raise ValueError(f"`--device` must be 'cpu' or 'cuda'; got {device!r}")
        chosen = benchmarks.select(patterns, quick, known)
        if repeats is not None and repeats < 1:
            raise ValueError(f"`--repeats` must be at least 1; got {repeats}")
        is_document = json_file == "-"
        if is_document and markdown:
            raise ValueError("`--json` without a file excludes --markdown")
        path = None if json_file is None or is_document or only_list else _writable(Path(json_file), force)
    except (ValueError, FileExistsError) as error:
        sys.stderr.write(f"arrayinit: {error}\n")
        return 2
    if only_list:
        print(*([json.dumps(listed(chosen))] if json_file else listing(chosen)), sep="\n")
        return 0
    try:
        import rich  # noqa: F401
    except ImportError:
        sys.stderr.write("arrayinit: bench needs rich for its progress bar: pip install rich\n")
        return 1
    rounds = repeats or (QUICK_REPEATS if quick else REPEATS)
    description = machine() | ({"devices": devices} if device == "cuda" else {})
    show = _nothing if is_document else _lines
    show(*machine_lines(description), "", *head(markdown))
    measurements: list[Measurement] = []
    is_complete = True
    try:
        with step_bar(len(chosen)) as begin:
            for benchmark in chosen:
                begin(benchmark.name)
                measurements.append(measure(benchmark, rounds, math.inf if repeats else BUDGET))
                show(*lines(measurements[-1], markdown))
    except KeyboardInterrupt:
        is_complete = False
    show("", summary(measurements) + ("" if is_complete else "; interrupted"))
    options: dict[str, Any] = {
        "device": device,
        "quick": quick,
        "rows": list(patterns),
        "repeats": rounds,
        "is_complete": is_complete,
    }
    if path is not None:
        write_json(path, description, options, measurements)
    elif is_document:
        print(json.dumps(as_data(description, options, measurements)))
    return 130 if not is_complete else 1 if any(measurement.is_broken for measurement in measurements) else 0


def _lines(*texts: str) -> None:
    print(*texts, sep="\n", flush=True)


def _nothing(*_: str) -> None:
    pass


def _writable(path: Path, force: bool) -> Path:
    """The path, if a file can be written there; else ValueError or FileExistsError."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"`--json` must name a file in a directory that can be written to; got {str(path)!r}")
    if path.exists() and not force:
        raise ValueError(f"`--json` must name a new file unless --force is given; got {str(path)!r}, which exists")
    check_replaceable(path, "`--json`", force)
    return path
