"""`arrayinit check`: compare every backend with the golden vectors."""

from collections.abc import Iterator

import click

from arrayinit import STREAM_VERSION
from arrayinit.cli.output import say
from arrayinit.common.tables import Column, aligned, heading, line
from arrayinit.conformance import check as checks
from arrayinit.conformance.cases import DTYPES

__all__ = ["check"]

COLUMNS = (
    Column("backend", width=16),
    Column("device", width=6),
    Column("dtype", width=10),
    Column("fingerprint", width=32),
    Column("identical", width=9),
    Column("orthogonal", right=True, width=10),
    Column("Mel/s", right=True, width=7),
)


@click.command()
@click.option("--backend", "backends", multiple=True, metavar="NAME", type=click.Choice(checks.BACKENDS),
              help="Only this backend, which must be installed (repeatable).")  # fmt: skip
@click.option("--dtype", "dtypes", multiple=True, metavar="NAME", type=click.Choice(DTYPES),
              help="Only this dtype (repeatable).")  # fmt: skip
@click.option("--each", is_flag=True, help="Also print the fingerprint of each initializer.")
def check(backends: tuple[str, ...], dtypes: tuple[str, ...], each: bool) -> int:
    """Draw every initializer on every backend and compare the bits.

    All bits must equal those of the vectors that define this version of the stream. The exit status is 1 if anything
    differs, or if a backend given by --backend is missing. The fingerprint is one digest of all draws except
    orthogonal, which needs matrix products; its column has the largest difference from float64. Mel/s is speed:
    million elements of xavier_normal a second, with the compiled loops where they can be loaded or compiled, as the
    median of three warm draws of 1024 x 1024.
    """
    failures = 0
    comparisons = 0
    say("\n".join(heading(COLUMNS)))
    for name in backends or checks.BACKENDS:
        try:
            sites = _sites(name)
        except LookupError as error:
            say(line((name, str(error)), COLUMNS))
            failures += bool(backends)
            continue
        for site in sites:
            for dtype in site.dtypes:
                if dtypes and dtype not in dtypes:
                    continue
                comparison = checks.check(site, dtype)
                comparisons += 1
                failures += not comparison.is_identical
                say("\n".join(_lines(comparison, each)))
    if not comparisons and not failures:
        say("nothing to check: no backend has this dtype")
    elif failures:
        say(f"{failures} of these differ or are missing")
    else:
        say(f"all {comparisons} identical, stream version {STREAM_VERSION}")
    return 1 if failures or not comparisons else 0


def _sites(backend: str) -> list[checks.Site]:
    """The sites of a backend; LookupError with the reason if it can't be used here."""
    if not checks.installed(backend):
        raise LookupError("not installed")
    try:
        return list(checks.sites(backend))
    except Exception as error:  # installed, but without a driver or a device
        first_line = str(error).partition("\n")[0]
        raise LookupError(f"not usable: {type(error).__name__}: {first_line}") from None


def _lines(comparison: checks.Comparison, each: bool) -> Iterator[str]:
    site = comparison.site
    cells = (
        site.label,
        site.device,
        comparison.dtype,
        comparison.fingerprint,
        "yes" if comparison.is_identical else "NO",
        f"{comparison.orthogonal:.1e}",
        f"{comparison.rate:.1f}",
    )
    yield line(cells, COLUMNS)
    for case in comparison.differing:
        yield f"    differs: {case}"
    if each:
        yield from (f"    {text}" for text in aligned(list(comparison.fingerprints.items())))
