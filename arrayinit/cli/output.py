"""Printing for all commands. Control characters in names from files never reach the terminal."""

import io
import json
import math
import sys
from typing import Any

import click

from arrayinit.common.escapes import printable

__all__ = ["as_json", "say", "say_json", "show", "status"]

as_json = click.option(
    "--json", "as_json", is_flag=True,
    help="Print one JSON document, and nothing else on stdout; numbers that are unknown or infinite are null.",
)  # fmt: skip


def status(zero: str, one: str) -> str:
    """The end of a command's help: what its exit status says."""
    return f"Exit status: 0 if {zero}; 1 if {one}; 2 if the command line is wrong; 130 after Ctrl-C."


def say(text: str, err: bool = False) -> None:
    """Print lines, with escapes for characters that are not printable or that the stream can't encode."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    lines = "\n".join(map(printable, text.split("\n")))
    click.echo(lines.encode(encoding, "backslashreplace").decode(encoding), err=err)


def say_json(data: Any) -> None:
    """Print data as one line of JSON."""
    click.echo(json.dumps(_finite(data), allow_nan=False))


def _finite(data: Any) -> Any:
    """Data without the numbers that JSON lacks."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def show(error: click.ClickException) -> None:
    """Print an error as click does, but through :func:`say`."""
    text = io.StringIO()
    error.show(text)
    say(text.getvalue().removesuffix("\n"), err=True)
