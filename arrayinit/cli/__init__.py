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


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 if all is well; 1 if a draw differs, or something can't be drawn, read or written; 2 if the "
    "command line is wrong; 130 after Ctrl-C. Each command's help says more. With --json a command prints one JSON "
    "document on stdout, and errors on stderr.",
)
@click.version_option(__version__, message=f"arrayinit %(version)s, stream {STREAM_VERSION}")
def cli() -> None:
    """Weight initializers for the array API: one seed, one tensor, the same bits on every library.

    \b
        arrayinit describe kaiming_normal 512x256 --nonlinearity relu
        arrayinit recipes gpt2 --set layers=12
        arrayinit init --like model.safetensors --recipe gpt2 --seed 0 -o new.safetensors
        arrayinit fingerprint new.safetensors

    Completion of commands, options, recipes, initializers, parameters and dtypes by the Tab key, as one line in the
    start file of the shell:

    \b
        eval "$(_ARRAYINIT_COMPLETE=bash_source arrayinit)"          # ~/.bashrc
        eval "$(_ARRAYINIT_COMPLETE=zsh_source arrayinit)"           # ~/.zshrc
        _ARRAYINIT_COMPLETE=fish_source arrayinit | source           # ~/.config/fish/config.fish
    """  # noqa: D301 # click reads the backspace


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
