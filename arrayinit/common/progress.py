"""Progress bars on the terminal, drawn by rich."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from arrayinit.common.escapes import printable
from arrayinit.common.extras import missing_library
from arrayinit.common.messages import shown

__all__ = ["check_progress", "progress_bar", "step_bar"]

PATIENCE = 1.0  # seconds before a bar appears that nobody asked for


def check_progress(show: bool | None) -> None:
    """TypeError if a `progress` is neither True nor False nor None."""
    if show is not None and not isinstance(show, bool):
        raise TypeError(f"`progress` must be True, False or None; got {shown(show)}")


@contextmanager
def progress_bar(
    description: str, total: int, show: bool | None = None, unit: Literal["bytes", "elements"] = "bytes"
) -> Iterator[Callable[[int], None]]:
    """A bar for work that is counted in bytes or elements; yields a function that takes how many more are done.

    Args:
        show: True for a bar on stderr from the start, False for none. None for one after a second, if stderr is a
            terminal and rich is installed.

    Raises:
        ImportError: show is True and rich is not installed. TypeError: show is something else.
    """
    check_progress(show)
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda count: None
        return
    try:
        bar = _bar(unit)
    except ImportError as error:
        if show:
            raise missing_library("`progress`", "rich", "progress", error) from error
        yield lambda count: None
        return
    task = bar.add_task(printable(description), total=total)
    since = time.monotonic()
    started = bool(show)
    if started:
        bar.start()

    def advance(count: int) -> None:
        nonlocal started
        bar.advance(task, count)
        if not started and time.monotonic() - since > PATIENCE:
            started = True
            bar.start()

    try:
        yield advance
    finally:
        if started:
            bar.stop()


@contextmanager
def step_bar(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr for steps with names, if that is a terminal; yields a function to call with each name in turn.

    The bar moves only in these calls: redrawing it from another thread would disturb what a step measures. ImportError
    if rich is not installed.
    """
    is_terminal = sys.stdout.isatty()  # then printed lines must go above the bar
    with _bar("steps", auto_refresh=False, transient=True, redirect_stdout=is_terminal) as bar:
        task = bar.add_task("", total=total)
        begun = 0

        def begin(name: str) -> None:
            nonlocal begun
            bar.update(task, description=printable(name), completed=begun)
            bar.refresh()
            begun += 1

        yield begin


def _bar(unit: Literal["bytes", "elements", "steps"], **options: Any) -> Any:
    """A bar that is not started yet."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    amount = TextColumn("{task.completed:,.0f}/{task.total:,.0f}")
    return Progress(
        TextColumn("{task.description}", markup=False),  # a name may have brackets
        BarColumn(),
        DownloadColumn(binary_units=True) if unit == "bytes" else amount,
        *([TimeElapsedColumn()] if unit == "steps" else []),
        TimeRemainingColumn(),
        console=console,
        disable=unit == "steps" and not console.is_terminal,
        **options,
    )
