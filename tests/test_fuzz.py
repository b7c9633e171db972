"""A fuzzer: random draws in every library, engine and memory layout against the implementation by hand.

`pytest tests/test_fuzz.py --fuzz-seconds 3600 --fuzz-seed 7` draws for longer, and other cases;
`PYTHONPATH=tests/helpers python tests/test_fuzz.py "Case('normal', (3, 4))"` draws one, as a failure prints it.
"""

import dataclasses
import itertools
import math
import random
import shlex
import sys
import time
from collections.abc import Iterator
from math import inf  # noqa: F401 # as a case prints it
from typing import Any

import fuzz_places
import initializers_by_hand
import numpy as np
import pytest
from fuzz_cases import Case, Destination, Engine, case_of
from fuzz_places import refuses
from stream_by_hand import FORMATS, PARTS, Refused, fold

SHARDS = 8
EXAMINED = 96  # elements of a large array that are compared one by one
BOUNDARIES = (4, 64, 384, 960, 65536, 131072)  # what engines do at a time
SHRINKING = 20.0  # seconds
MOST = 1 << 20  # elements of a part that is drawn


def by_hand(case: Case, member: int) -> Any:
    """The draw as the implementation by hand has it; raises Refused."""
    key = fold(fuzz_places.key_of(case, member), case.fold)
    return initializers_by_hand.draw(
        case.name, case.shape, case.dtype, key, case.index, **case.keywords, **plain(case.arguments)
    )


def plain(value: Any) -> Any:
    """Arguments with numbers of NumPy as Python's."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def check(case: Case) -> str | None:
    """The problem with a case; None where all is well."""
    if any(known(case) for known in KNOWN):
        return None
    refusal = None
    try:
        wanted = by_hand(case, 0)
        if refuses(case):
            refusal = "the array can't be filled"
    except Refused as error:
        refusal = f"by hand: {error}"
    try:
        drawn = fuzz_places.draw(case)
    except (ValueError, TypeError) as error:
        return None if refusal else f"refused: {error!r}"
    except Exception as error:
        return f"raised {error!r}"
    if refusal:
        return f"drawn, but refused {refusal}: {drawn[0][1].ravel()[:4]}"
    for member, values in drawn:
        wrong = compare(case, by_hand(case, member) if member else wanted, values)
        if wrong:
            return wrong
    return compare_all(case, drawn[0][1])


def compare_all(case: Case, values: Any) -> str | None:
    """The first element of a large array that differs from what another engine draws into a plain NumPy array."""
    if values.size <= EXAMINED or case.name in initializers_by_hand.CLOSE:
        return None
    engine = Engine("vectors" if case.engine.loops == "reference" else "reference", 1)
    ((_, plain),) = fuzz_places.draw(dataclasses.replace(case, place=Destination(), engine=engine))
    if (values == plain).all():
        return None
    at = tuple(int(j) for j in np.argwhere(values != plain)[0])
    return f"element {at} is {shown(values[at].item())}, by another engine {shown(plain[at].item())}"


def compare(case: Case, wanted: Any, values: Any) -> str | None:
    """The first element that differs."""
    if values.shape != wanted.shape:
        return f"shape {values.shape}, by hand {wanted.shape}"
    for at in positions(values.shape):
        ours, theirs = values[at].item(), wanted[at]
        if not (close(case, ours, theirs) if case.name in initializers_by_hand.CLOSE else exactly(ours, theirs)):
            return f"element {at} is {shown(ours)}, by hand {shown(theirs)}"
    return None


def positions(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All positions, or those of the ends, of boundaries, and some at random."""
    size = math.prod(shape)
    if size <= EXAMINED:
        yield from itertools.product(*map(range, shape))
        return
    rng = random.Random(size)
    chosen = {0, 1, size - 2, size - 1, *(rng.randrange(size) for _ in range(EXAMINED // 2))}
    while len(chosen) < EXAMINED:
        boundary = rng.choice(BOUNDARIES)
        chosen.add(min(size - 1, boundary * rng.randint(1, max(1, size // boundary)) + rng.randint(-2, 1)))
    for i in sorted(chosen):
        at = []
        for n in reversed(shape):
            i, j = divmod(i, n)
            at.append(j)
        yield tuple(reversed(at))


def parts(x: Any) -> tuple[Any, ...]:
    return (x.real, x.imag) if isinstance(x, complex) else (x,)


def exactly(a: Any, b: Any) -> bool:
    """Equal, and of equal signs where they are zero."""
    return len(parts(a)) == len(parts(b)) and all(
        x == y and math.copysign(1, x) == math.copysign(1, y) for x, y in zip(parts(a), parts(b), strict=True)
    )


def close(case: Case, a: Any, b: Any) -> bool:
    """Equal to what the docstrings say of matrix products and of formulas."""
    real = PARTS.get(case.dtype, case.dtype)
    size = max(1.0, abs(float(case.arguments.get("gain", 1.0)))) * max(1.0, abs(b))
    error = 1e-13 if real == "float64" else 2e-6
    return abs(a - b) <= size * (error + math.ldexp(1.0, -FORMATS[real].digits))


def shown(x: Any) -> str:
    return " ".join(f"{part!r} ({part.hex()})" if isinstance(part, float) else repr(part) for part in parts(x))


# Shrinking.


def simpler(case: Case) -> Iterator[Case]:
    """Cases that are a little simpler."""

    def changed(**fields: Any) -> Case:
        return dataclasses.replace(case, **fields)

    yield changed(place=Destination())
    yield changed(place=dataclasses.replace(case.place, memory=()))
    for word in case.place.memory:
        yield changed(place=dataclasses.replace(case.place, memory=tuple(w for w in case.place.memory if w != word)))
    yield changed(engine=Engine())
    yield changed(engine=dataclasses.replace(case.engine, grain=0))
    yield changed(engine=dataclasses.replace(case.engine, threads=1))
    yield changed(by_spec=False)
    yield changed(before="")
    yield changed(fold=None)
    yield changed(seed=("int", 0))
    yield changed(seed=("int", case.seed[1]))
    yield changed(index=None)
    for key in case.keywords:
        yield changed(keywords={k: v for k, v in case.keywords.items() if k != key})
    for key, value in case.arguments.items():
        yield changed(arguments={k: v for k, v in case.arguments.items() if k != key})
        if isinstance(value, float | int | np.floating) and not isinstance(value, bool):
            for number in (0.0, 1.0, 0.5, float(np.float32(value)), round(float(value), 3) if value == value else 0.0):
                yield changed(arguments={**case.arguments, key: number})
    yield changed(dtype="float32")
    if case.index is None:
        for axis, n in enumerate(case.shape):
            for smaller in (1, 2, n // 2, n - 1):
                if 0 <= smaller < n:
                    yield changed(shape=(*case.shape[:axis], smaller, *case.shape[axis + 1 :]))
        if not case.keywords:
            for axis in range(len(case.shape)):
                yield changed(shape=(*case.shape[:axis], *case.shape[axis + 1 :]))


def shrunk(case: Case, wrong: str) -> Case:
    """A case that still fails in the same way, simpler if there is one."""
    stop, kind = time.monotonic() + SHRINKING, kind_of(wrong)
    tried = {repr(case)}
    again = True
    while again:
        again = False
        for one in simpler(case):
            if time.monotonic() > stop:
                return case
            if repr(one) not in tried:
                tried.add(repr(one))
                if kind_of(outcome(one)) == kind:
                    case, again = one, True
                    break
    return case


def outcome(case: Case) -> str:
    """The problem that `check` finds; "" where there is no such case, as for an index that does not fit."""
    try:
        return (check(case) or "") if math.prod(fuzz_places.local_shape(case)) <= MOST else ""
    except Exception:
        return ""


def kind_of(wrong: str) -> str:
    """The part of a failure that it shares with the simpler ones that it may become."""
    return wrong[:40] if wrong.startswith(("raised", "refused")) else wrong.partition(" ")[0]


def report(case: Case, wrong: str, where: str) -> str:
    small = shrunk(case, wrong)
    quoted = shlex.quote(str(small)) if set(str(small)) & set('"$`') else f'"{small}"'  # shorter, where it may be
    lines = (
        where,
        case,
        wrong,
        f"shrunk: PYTHONPATH=tests/helpers python tests/test_fuzz.py {quoted}",
        check(small) or wrong,
    )
    return "\n  ".join(map(str, lines))


# What is being mended; each line goes with its mending.
KNOWN = (
    lambda case: is_sparse_of_one_column(case),  # the reference orders its own words in place
    lambda case: has_zero_std(case.arguments),  # complex elements get the mean in one part, bounds are left by rounding
    lambda case: case.place.form == "vmap" and "orthogonal" in case.name,
    lambda case: case.place.library == "dask" and 0 in fuzz_places.local_shape(case),
)


def is_sparse_of_one_column(case: Case) -> bool:
    return case.name == "sparse" and 1 in case.shape


def has_zero_std(arguments: Any) -> bool:
    if isinstance(arguments, dict):
        return arguments.get("std", 1) == 0 or any(map(has_zero_std, arguments.values()))
    return isinstance(arguments, list | tuple) and any(map(has_zero_std, arguments))


def runs_here(case: Case) -> Case:
    """The same case where a library that is there draws it."""
    if fuzz_places.is_there(case.place.library):
        return case
    return dataclasses.replace(case, place=Destination(), seed=("int", case.seed[1]))


# Tests.


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_draw_is_the_one_by_hand(shard, request):
    seconds = request.config.getoption("--fuzz-seconds") / SHARDS
    seed = request.config.getoption("--fuzz-seed")
    stop, number = time.monotonic() + seconds, shard
    while number == shard or time.monotonic() < stop:
        case = runs_here(case_of(seed, number))
        wrong = check(case)
        assert wrong is None, report(case, wrong, f"case {number} of seed {seed}")
        number += SHARDS


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("arrayinit.key.NUMBERED", 0),
        ("arrayinit.laws.geometry.Geometry.order", property(lambda geometry: tuple(range(len(geometry.shape))))),
        ("arrayinit.backends.numpy.NumpyBackend.check_writable", lambda backend, x: None),
    ],
    ids=["names", "layouts", "memory"],
)
def test_errors_are_found_and_shrunk(place, value, monkeypatch):
    monkeypatch.setattr(place, value)
    monkeypatch.setattr(f"{__name__}.SHRINKING", 1.0)
    fuzz_places.forget_decisions()
    try:
        found = next(case for case in (runs_here(case_of(0, number)) for number in range(500)) if check(case))
        lines = report(found, check(found), "").splitlines()
        small = eval(shlex.split(lines[3])[-1])
        assert check(small)
        assert len(str(small)) <= len(str(found))
    finally:
        fuzz_places.forget_decisions()


if __name__ == "__main__":
    failed = check(eval(sys.argv[1]))
    print(failed or "as by hand")
    sys.exit(failed is not None)
