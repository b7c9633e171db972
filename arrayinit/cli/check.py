"""`arrayinit check`: every backend against the vectors that the stream is defined by."""

import click

from arrayinit import STREAM_VERSION
from arrayinit.cli.output import say
from arrayinit.conformance import check as checks
from arrayinit.conformance.cases import DTYPES

__all__ = ["check"]


@click.command()
@click.option("--backend", "backends", multiple=True, metavar="NAME", type=click.Choice(checks.BACKENDS),
              help="Only this backend, which must be installed (repeatable).")  # fmt: skip
@click.option("--dtype", "dtypes", multiple=True, metavar="NAME", type=click.Choice(DTYPES),
              help="Only this dtype (repeatable).")  # fmt: skip
@click.option("--each", is_flag=True, help="Also print the fingerprint of each initializer.")
def check(backends: tuple[str, ...], dtypes: tuple[str, ...], each: bool) -> int:
    """Draw every initializer on every backend and compare the bits.

    Each bit is compared with the vectors that this version of the stream is defined by. Exit status 1 where anything
    differs or a backend that was asked for is missing. The fingerprint is one digest of all draws but orthogonal, which
    needs matrix products and is compared by its largest difference from float64; Mel/s is million elements of
    xavier_normal a second, the median of three warm draws of 1024 x 1024.
    """
    failures = 0
    rows = 0
    titles = ("backend", "device", "dtype", "fingerprint", "identical", "orthogonal", "Mel/s")
    head = "{:17} {:7} {:10} {:32} {:9} {:>10} {:>7}".format(*titles)
    say(f"{head}\n{'-' * len(head)}")
    for name in backends or checks.BACKENDS:
        if not checks.installed(name):
            say(f"{name:17} not installed")
            failures += bool(backends)
            continue
        try:
            found = list(checks.places(name))
        except Exception as error:
            # A library that is installed but can't start (no driver, no device) is told like one that is missing.
            say(f"{name:17} not usable: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            failures += bool(backends)
            continue
        for place in found:
            for dtype in place.dtypes:
                if dtypes and dtype not in dtypes:
                    continue
                row = checks.check(place, dtype)
                rows += 1
                failures += not row.is_identical
                say(
                    f"{place.label:17} {place.device:7} {dtype:10} {row.fingerprint:32} "
                    f"{'yes' if row.is_identical else 'NO':9} {row.orthogonal:10.1e} {row.rate:7.1f}"
                )
                for case in row.differing:
                    say(f"    differs: {case}")
                if each:
                    for case, mark in row.fingerprints.items():
                        say(f"    {case:20} {mark}")
    if not rows and not failures:
        say("nothing to check: no such dtype there")
    elif failures:
        say(f"{failures} of these differ or are missing")
    else:
        say(f"all {rows} identical, stream version {STREAM_VERSION}")
    return 1 if failures or not rows else 0
