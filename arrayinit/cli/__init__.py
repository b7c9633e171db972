"""The command line: `arrayinit`, or `python -m arrayinit`."""

import os
import sys
from collections.abc import Sequence

import click

from arrayinit import STREAM_VERSION, __version__
from arrayinit.cli.bench import bench
from arrayinit.cli.check import check
from arrayinit.cli.describe import describe
from arrayinit.cli.fingerprint import fingerprint
from arrayinit.cli.init import init
from arrayinit.cli.output import say, show
from arrayinit.cli.recipes import recipes

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message=f"arrayinit %(version)s, stream {STREAM_VERSION}")
def cli() -> None:
    """Weight initializers for the array API: one seed, one tensor, the same bits on every library.

    Shell completion: eval "$(_ARRAYINIT_COMPLETE=bash_source arrayinit)", or zsh_source, fish_source.
    """


for command in (check, describe, recipes, init, fingerprint, bench):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status: 1 if something failed, 2 if an argument is wrong."""
    try:
        status = int(cli.main(arguments, prog_name="arrayinit", standalone_mode=False) or 0)
        sys.stdout.flush()
        return status
    except click.ClickException as error:
        show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("arrayinit: interrupted", err=True)
        return 130
    except ImportError as error:  # an optional library is missing
        say(f"arrayinit: {error}", err=True)
        return 1
    except OSError as error:  # of stdout: commands catch the errors of their files themselves
        _give_up_stdout()
        if not isinstance(error, BrokenPipeError):  # the reader of the pipe has ended, as `head` does
            say(f"arrayinit: {error}", err=True)
        return 1


def _give_up_stdout() -> None:
    """Send the rest of its buffer to the null device. Otherwise Python would write it again at exit, and complain."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):  # stdout is no file
        pass
