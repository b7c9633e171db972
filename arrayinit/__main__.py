"""The command line: `python -m arrayinit`, or `arrayinit`."""

import argparse
import sys
from collections.abc import Sequence

from arrayinit import STREAM_VERSION, __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="arrayinit",
        description="Weight initializers for the array API: one seed, one tensor, the same bits on every library.",
    )
    parser.add_argument("--version", action="version", version=f"arrayinit {__version__}, stream {STREAM_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="draw every initializer on every installed backend and compare the bits",
        description="Draw every initializer on every installed backend and compare each bit with the vectors that this "
        "version of the stream is defined by. Exit status 1 where anything differs or a backend that was asked for is "
        "missing. The fingerprint is one digest of all draws but orthogonal, which needs matrix products and is "
        "compared by its largest difference from float64; Mel/s is million elements of xavier_normal a second, the "
        "median of three warm draws of 1024 x 1024.",
    )
    check.add_argument(
        "--backend", action="append", metavar="NAME", help="only this backend, which must be installed (repeatable)"
    )
    check.add_argument("--dtype", action="append", metavar="NAME", help="only this dtype (repeatable)")
    check.add_argument("--each", action="store_true", help="also print the fingerprint of each initializer")
    bench = commands.add_parser(
        "bench",
        help="time every initializer beside each installed library's own",
        description="Time arrayinit and every installed library's own initializers in one run, in turn on the same "
        "shapes, and print medians and ratios: 2x means that theirs takes twice as long as ours. `of fill` is the time "
        "of a plain fill of the same array over ours. A goal is what this version is meant to reach. A row that takes "
        "more than 30 seconds ends after three rounds, unless --repeats is given.",
    )
    bench.add_argument(
        "--quick", action="store_true", help="three rounds of the rows up to 1024 x 1024 in this process"
    )
    bench.add_argument(
        "--rows", action="append", default=[], metavar="PATTERN", help="only rows like this (repeatable)"
    )
    bench.add_argument("--list", action="store_true", help="print the rows, their peers and goals, and measure nothing")
    bench.add_argument("--repeats", type=int, metavar="N", help="rounds of each row, 7 by default")
    bench.add_argument(
        "--json", metavar="FILE", help="also write the machine, all medians and all samples to a new file"
    )
    bench.add_argument("--force", action="store_true", help="let --json replace a file")
    bench.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    given = parser.parse_args(arguments)
    if given.command == "bench":
        from arrayinit.bench.command import bench as run

        return run(given.rows, given.quick, given.list, given.repeats, given.json, given.force, given.markdown)
    return _check(given.backend, given.dtype, given.each)


def _check(backends: list[str] | None, dtypes: list[str] | None, each: bool) -> int:
    from arrayinit.cases import DTYPES
    from arrayinit.check import BACKENDS, check, installed, places

    for kind, known, asked in (("backend", BACKENDS, backends), ("dtype", DTYPES, dtypes)):
        for name in asked or []:
            if name not in known:
                sys.stderr.write(f"arrayinit: `--{kind}` must be one of {', '.join(known)}; got {name!r}\n")
                return 2
    failures = 0
    rows = 0
    titles = ("backend", "device", "dtype", "fingerprint", "identical", "orthogonal", "Mel/s")
    head = "{:17} {:7} {:10} {:32} {:9} {:>10} {:>7}".format(*titles)
    print(head, "-" * len(head), sep="\n", flush=True)
    for name in backends or BACKENDS:
        if not installed(name):
            print(f"{name:17} not installed")
            failures += backends is not None
            continue
        try:
            found = list(places(name))
        except Exception as error:
            # A library that is installed but can't start (no driver, no device) is told like one that is missing.
            print(f"{name:17} not usable: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            failures += backends is not None
            continue
        for place in found:
            for dtype in place.dtypes:
                if dtypes and dtype not in dtypes:
                    continue
                row = check(place, dtype)
                rows += 1
                failures += not row.is_identical
                print(
                    f"{place.label:17} {place.device:7} {dtype:10} {row.fingerprint:32} "
                    f"{'yes' if row.is_identical else 'NO':9} {row.orthogonal:10.1e} {row.rate:7.1f}",
                    flush=True,
                )
                for case in row.differing:
                    print(f"    differs: {case}")
                if each:
                    for case, mark in row.fingerprints.items():
                        print(f"    {case:20} {mark}")
    if not rows and not failures:
        print("nothing to check: no such dtype there")
    elif failures:
        print(f"{failures} of these differ or are missing")
    else:
        print(f"all {rows} identical, stream version {STREAM_VERSION}")
    return 1 if failures or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
