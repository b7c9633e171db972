"""`arrayinit bench`: every initializer beside each installed library's own."""

import click

__all__ = ["bench"]


@click.command()
@click.option("--quick", is_flag=True, help="Three rounds of the rows up to 1024 x 1024 in this process.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    help="Where to draw: host memory, or the CUDA device of each library that has one.",
)
@click.option("--rows", multiple=True, metavar="PATTERN", help="Only rows like this (repeatable).")
@click.option("--list", "only_list", is_flag=True, help="Print the rows, their peers and goals, and measure nothing.")
@click.option("--repeats", type=int, metavar="N", help="Rounds of each row, 7 by default.")
@click.option(
    "--json", "json_file", metavar="FILE", help="Also write the machine, all medians and all samples to a new file."
)
@click.option("--force", is_flag=True, help="Let --json replace a file.")
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
    """Time every initializer beside each installed library's own.

    All contenders run in one process, in turn, on the same shapes. Printed are medians and ratios: 2x means that theirs
    takes twice as long as ours. `of fill` is the time of a plain fill of the same array over ours. A goal is what this
    version is meant to reach. A row that takes more than 30 seconds ends after three rounds, unless --repeats is given.
    On a CUDA device, time is what passes between two events on it; JAX, which has no events, is timed by the clock.
    """
    from arrayinit.bench.command import bench as run

    return run(rows, quick, only_list, repeats, json_file, force, markdown, device)
