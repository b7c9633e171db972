"""`arrayinit check`: compare every backend with the golden vectors."""

from collections.abc import Iterator
from typing import Any

import click

from arrayinit import STREAM_VERSION
from arrayinit.cli.arguments import Word
from arrayinit.cli.output import as_json as json_option, say, say_json, status
from arrayinit.common.tables import Column, aligned, heading, line
from arrayinit.conformance import check as checks
from arrayinit.conformance.cases import CASES, DTYPES, ONE_EACH
from arrayinit.engines.cpu.compile_policy import why_not_compiled

__all__ = ["check"]

JIT_DTYPE = "float32"  # under jit, where each dtype takes eight seconds to compile

COLUMNS = (
    Column("backend", width=16),
    Column("device", width=6),
    Column("dtype", width=10),
    Column("fingerprint", width=32),
    Column("identical", width=9),
    Column("orthogonal", right=True, width=10),
    Column("Mel/s", right=True, width=7),
)


@click.command(
    short_help="Draw every initializer everywhere and compare the bits.",
    epilog=status("all that was drawn is identical", "a draw differs, or a backend of --backend is missing"),
)
@click.option("--backend", "backends", multiple=True, metavar="NAME", type=click.Choice(checks.BACKENDS),
              help="Only this backend, which must be installed (repeatable).")  # fmt: skip
@click.option("--dtype", "dtypes", multiple=True, metavar="NAME", type=Word(DTYPES),
              help="Only this dtype, everywhere (repeatable).")  # fmt: skip
@click.option("--full", is_flag=True, help="More shapes and parameters, and all dtypes under jax.jit.")
@click.option("--each", is_flag=True, help="Also print the fingerprint of each initializer.")
@json_option
def check(backends: tuple[str, ...], dtypes: tuple[str, ...], full: bool, each: bool, as_json: bool) -> int:
    """Draw every initializer on every installed backend and compare the bits.

    \b
        arrayinit check
        arrayinit check --backend numpy --dtype float32
        arrayinit check --full --json > check.json

    Each initializer is drawn once on each installed backend in each dtype; under jax.jit, which compiles it, in float32
    only. --full draws some in several shapes, in slices and with other parameters, and under jax.jit in all dtypes,
    which takes five times as long.

    \b
    fingerprint  one digest of all draws but the orthogonal ones
    identical    whether every bit equals the vectors that define this version of the stream
    orthogonal   the largest difference of orthogonal, delta_orthogonal and spectral_orthogonal from
                 float64 on NumPy. They need matrix products, which libraries round differently.
                 Allowed: 1e-13 in float64 and complex128, 2e-6 in float32 and complex64, 4.9e-4 in
                 float16, 3.9e-3 in bfloat16 (half a step of these dtypes more)
    Mel/s        million elements of xavier_normal a second: the median of three warm draws of
                 1024 x 1024, with the compiled loops where there are some
    """  # noqa: D301 # click reads the backspace
    failures = 0
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    if not as_json:
        say("\n".join(heading(COLUMNS)))
    for name in backends or checks.BACKENDS:
        try:
            sites = _sites(name)
        except LookupError as error:
            missing[name] = str(error)
            failures += bool(backends)
            if not as_json:
                say(line((name, str(error)), COLUMNS))
            continue
        for site in sites:
            for dtype in site.dtypes:
                if dtype not in (dtypes or (DTYPES if full or not site.jit else (JIT_DTYPE,))):
                    continue
                comparison = checks.check(site, dtype, CASES if full else ONE_EACH)
                failures += not comparison.is_identical
                rows.append(_data(comparison, each))
                if not as_json:
                    say("\n".join(_lines(comparison, each)))
    slow = why_not_compiled()
    if as_json:
        found = {"identical": bool(rows) and not failures, "stream_version": STREAM_VERSION, "missing": missing}
        say_json({**found, "compiled_loops": slow is None, "comparisons": rows})
    else:
        if not rows and not failures:
            say("nothing to check: no backend has this dtype")
        elif failures:
            say(f"{failures} of these differ or are missing")
        else:
            more = "" if full else "; --full draws more"
            say(f"all {len(rows)} identical, stream version {STREAM_VERSION}{more}")
        if slow is not None:
            say(slow)
    return 1 if failures or not rows else 0


def _data(comparison: checks.Comparison, each: bool) -> dict[str, Any]:
    """A comparison for JSON."""
    site = comparison.site
    return {
        "backend": site.backend,
        "jit": site.jit,
        "device": site.device,
        "dtype": comparison.dtype,
        "fingerprint": comparison.fingerprint,
        "identical": comparison.is_identical,
        "differing": comparison.differing,
        "orthogonal": comparison.orthogonal,
        "tolerance": checks.tolerance(comparison.dtype),
        "million_elements_per_second": comparison.rate,
    } | ({"fingerprints": comparison.fingerprints} if each else {})


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
