"""The command line: `arrayinit`, or `python -m arrayinit`."""

import sys
from collections.abc import Sequence

import click

from arrayinit import STREAM_VERSION, __version__
from arrayinit.cli.bench import bench
from arrayinit.cli.check import check
from arrayinit.cli.describe import describe
from arrayinit.cli.fingerprint import fingerprint
from arrayinit.cli.init import init
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
    """Run a command; returns its exit status: 1 where something failed, 2 where an argument is wrong."""
    try:
        return int(cli.main(arguments, prog_name="arrayinit", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("arrayinit: interrupted\n")
        return 130
