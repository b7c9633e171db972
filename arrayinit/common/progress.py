"""A progress bar on the terminal for what takes longer than a second."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from arrayinit.common.escapes import printable
from arrayinit.common.messages import shown

__all__ = ["check_progress", "progress_bar"]

PATIENCE = 1.0  # seconds before a bar appears that nobody asked for


def check_progress(show: bool | None) -> None:
    """TypeError where a `progress` is neither True nor False nor None."""
    if show is not None and not isinstance(show, bool):
        raise TypeError(f"`progress` must be True, False or None; got {shown(show)}")


@contextmanager
def progress_bar(
    description: str, total: int, show: bool | None = None, counted: Literal["bytes", "elements"] = "bytes"
) -> Iterator[Callable[[int], None]]:
    """A function that is told how many more of `total` bytes, or elements, are done.

    Args:
        show: True for a bar on stderr from the start, False for none, None for one where stderr is a terminal, rich is
            installed and more than a second has passed.

    Raises:
        ImportError: show is True and rich is not installed. TypeError: show is something else.
    """
    check_progress(show)
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda count: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError as error:
        if show:
            raise ImportError(f"`progress` needs rich, which can't be imported ({error}): pip install rich") from error
        yield lambda count: None
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),  # a name may have brackets
        BarColumn(),
        DownloadColumn(binary_units=True)
        if counted == "bytes"
        else TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
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
