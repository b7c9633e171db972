"""`arrayinit bench`: arrayinit's initializers timed beside those of other libraries."""

import click

from arrayinit.cli.output import status

__all__ = ["bench"]


@click.command(
    short_help="Time arrayinit beside each installed library.",
    epilog=status("all rows were measured", "a draw of arrayinit failed"),
)
@click.option("--quick", is_flag=True, help="Only quick rows, up to 1024 x 1024, three rounds each.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    help="Draw into host memory, or on the CUDA device of each library that has one.",
)
@click.option(
    "--rows", multiple=True, metavar="PATTERN", help="Only rows whose names match, e.g. 'torch/*/4096' (repeatable)."
)
@click.option("--list", "only_list", is_flag=True, help="List the rows with their peers and goals; measure nothing.")
@click.option("--repeats", type=int, metavar="N", help="Rounds of each row; 7 by default.")
@click.option(
    "--json",
    "json_file",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    help="Also write a description of the machine, all medians and all samples to a new file. Without FILE, print that "
    "JSON document, and nothing else on stdout; with --list, the rows.",
)
@click.option("--force", is_flag=True, help="Let --json replace an existing file.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
def bench(
    rows: tuple[str, ...],
    quick: bool,
    only_list: bool,
    repeats: int | None,
    json_file: str | None,
    force: bool,
    markdown: bool,
    device: str,
) -> int:
    """Time arrayinit's initializers beside those of each installed library.

    All contenders run in one process, in turn, on the same shapes. The table has medians and ratios: 2x means that the
    other library takes twice as long as arrayinit. `of fill` is the time of a plain fill of the same array divided by
    arrayinit's. A goal is the ratio or share that this version should reach. A row that takes more than 30 seconds ends
    after three rounds, unless --repeats is given. On a CUDA device, time is measured between two events on the device;
    JAX has no events and is timed by the clock. The table begins with the machine, and says where the compiled loops
    are missing.

    \b
        arrayinit bench --quick
        arrayinit bench --rows 'numpy/*normal/64' --repeats 3 --markdown
        arrayinit bench --rows 'torch/uniform/64' --json bench.json
        arrayinit bench --list --json
    """  # noqa: D301 # click reads the backspace
    from arrayinit.bench.command import run

    return run(
        rows,
        quick=quick,
        only_list=only_list,
        repeats=repeats,
        json_file=json_file,
        force=force,
        markdown=markdown,
        device=device,
    )
