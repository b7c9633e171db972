"""Printing for all commands. Control characters in names from files never reach the terminal."""

import io
import sys

import click

from arrayinit.common.escapes import printable

__all__ = ["say", "show"]


def say(text: str, err: bool = False) -> None:
    """Print lines, with escapes for characters that are not printable or that the stream can't encode."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    lines = "\n".join(map(printable, text.split("\n")))
    click.echo(lines.encode(encoding, "backslashreplace").decode(encoding), err=err)


def show(error: click.ClickException) -> None:
    """Print an error as click does, but through :func:`say`."""
    text = io.StringIO()
    error.show(text)
    say(text.getvalue().removesuffix("\n"), err=True)
