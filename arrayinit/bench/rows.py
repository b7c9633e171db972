"""The table of rows: what is drawn, where, against whom, and the ratio that is wanted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial

from arrayinit.bench.measure import Call, Contender, Process
from arrayinit.bench.parts import BLOCKS, DASK, WHOLE, block_calls, slice_calls
from arrayinit.bench.peers import JAX, JAX_JIT, OURS, PLACES, TORCH, peer_names, warm_engines

__all__ = ["ROWS", "Goals", "Row", "select"]

UNIFORM = ("uniform", "xavier_uniform", "kaiming_uniform")
NORMAL = ("normal", "xavier_normal", "kaiming_normal")
RANDOM = (*UNIFORM, *NORMAL, "trunc_normal")
INITIALIZERS = (*RANDOM, "orthogonal", "sparse", "eye", "constant")

SMALL, MEDIUM, LARGE = 64, 1024, 4096
SIZES = (SMALL, MEDIUM, LARGE)
ORTHOGONAL_SIZES = (SMALL, 512, MEDIUM, 2048, LARGE)

MIB = 2**20


@dataclass(frozen=True)
class Goals:
    """What is wanted: peer -> its time over ours, the share of the speed of a fill, the most that ours may take."""

    ratios: Mapping[str, float] = field(default_factory=dict)
    share: float | None = None
    most: float | None = None  # seconds or bytes


@dataclass(frozen=True)
class Row:
    """One measurement: who competes, made when its turn comes, and what it needs installed."""

    name: str
    peers: tuple[str, ...]
    contenders: Callable[[], Mapping[str, Contender]] = field(repr=False)
    goals: Goals = field(default_factory=Goals)
    needs: tuple[str, ...] = ()
    unit: str = "s"  # or "B"
    is_quick: bool = False
    rounds: int | None = None  # at most


def select(patterns: Sequence[str], quick: bool, rows: Sequence[Row] | None = None) -> list[Row]:
    """The rows whose names match one of the patterns, or all; ValueError for a pattern that matches none."""
    known = [row for row in (ROWS if rows is None else rows) if row.is_quick or not quick]
    for pattern in patterns:
        if not any(fnmatchcase(row.name, pattern) for row in known):
            among = "a row of --quick" if quick else "a row"
            raise ValueError(f"`--rows` must match the name of {among}, see --list; got {pattern!r}")
    return [row for row in known if not patterns or any(fnmatchcase(row.name, pattern) for pattern in patterns)]


def _goals(place: str, initializer: str, size: int) -> Goals:
    """What is wanted of a float32 draw, against the peers that it has."""
    goals, peers = _wanted(place, initializer, size), peer_names(place, initializer)
    return replace(goals, ratios={peer: goal for peer, goal in goals.ratios.items() if peer in peers})


def _wanted(place: str, initializer: str, size: int) -> Goals:
    if initializer == "orthogonal" and place in ("torch", "numpy") and size >= 2048:
        return Goals({TORCH: 2, "numpy.linalg.qr": 5})
    if place == "torch" and size == SMALL:
        return Goals({TORCH: 1})
    if size != LARGE:
        return Goals()
    if place == "jit":
        return Goals({JAX: 4} if initializer in RANDOM else {})
    if place == "jax":  # where JAX truncates its normals, the goal is that of truncated ones
        goal = 40 if initializer in UNIFORM else 15 if initializer == "normal" else 10
        return Goals({JAX_JIT: goal} if initializer in RANDOM else {})
    if initializer in UNIFORM:
        return Goals({TORCH: 8, "numpy.random": 5}, share=0.45)
    if initializer in NORMAL:
        return Goals({TORCH: 4, "numpy.random": 8}, share=0.15)
    return Goals({"trunc_normal": {TORCH: 30}, "sparse": {TORCH: 3}}.get(initializer, {}))


def _needs(place: str) -> tuple[str, ...]:
    """The libraries of a place, beside NumPy."""
    return {"torch": ("torch",), "numpy": ()}.get(place, ("jax",))


def _calls(place: str, initializer: str, size: int, dtype: str) -> Mapping[str, Contender]:
    warm_engines()
    return {name: Call(call) for name, call in PLACES[place](initializer, (size, size), dtype).items()}


def _processes(program: str, peers: Sequence[str], before: Sequence[str], after: Sequence[str]) -> dict[str, Contender]:
    return {name: Process(program, (*before, name, *after)) for name in (OURS, *peers)}


def _warm() -> Iterator[Row]:
    """Warm draws in this process."""
    for place in PLACES:
        needs = _needs(place)
        for initializer in INITIALIZERS:
            peers = peer_names(place, initializer)
            for size in ORTHOGONAL_SIZES if initializer == "orthogonal" else SIZES:
                yield Row(
                    f"{place}/{initializer}/{size}",
                    peers,
                    partial(_calls, place, initializer, size, "float32"),
                    _goals(place, initializer, size),
                    needs,
                    is_quick=size <= MEDIUM,
                )
            if place == "torch" and initializer in ("uniform", "normal"):
                for dtype in ("float16", "bfloat16"):
                    for size in SIZES:
                        yield Row(
                            f"{place}/{initializer}/{dtype}/{size}",
                            peers,
                            partial(_calls, place, initializer, size, dtype),
                            Goals({TORCH: 4} if size == LARGE else {}),
                            needs,
                            is_quick=size <= MEDIUM,
                        )


def _part_calls(make: Callable[..., Mapping[str, Callable[[], object]]], *arguments: object) -> Mapping[str, Contender]:
    warm_engines()
    return {name: Call(call) for name, call in make(*arguments).items()}


def _parts() -> Iterator[Row]:
    """Parts of tensors: of one process, of Dask's blocks, of the ranks of a mesh."""
    for parts in (8, 64):
        for kind in ("rows", "columns"):
            # A part should cost no more than 1.3 times its share of the whole.
            goals = Goals({WHOLE: round(parts / 1.3, 1)} if kind == "rows" else {})
            yield Row(f"slice/{kind}/{parts}", (WHOLE,), partial(_part_calls, slice_calls, kind, parts), goals)
    yield Row(f"dask/normal/{BLOCKS[0][0]}", (DASK,), partial(_part_calls, block_calls), needs=("dask",))
    made = partial(_processes, "dtensor", (TORCH,), (), ("2",))
    yield Row(f"dtensor/normal/{LARGE}", (TORCH,), made, needs=("torch",))


_OF_JAX: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], Goals], ...] = (
    ("jit/compile", "compiling", (JAX,), ("jax",), Goals({JAX: 2})),
    ("flax/33M", "flax_model", ("model.init", "model.init, jit"), ("jax", "flax"), Goals({"model.init": 15})),
)


def _fresh() -> Iterator[Row]:
    """What takes a process of its own."""
    for name, program, peers, needs, goals in _OF_JAX:
        yield Row(name, peers, partial(_processes, program, peers, (), ()), goals, needs)
    contenders: dict[str, Contender] = {OURS: Process("importing")}
    yield Row("cold/import", (), lambda: contenders, Goals(most=0.030), is_quick=True)
    for place in ("torch", "numpy"):
        peers = peer_names(place, "normal")
        for size in (SMALL, LARGE):
            made = partial(_processes, "first_draw", peers, (place,), ("normal", str(size)))
            yield Row(f"cold/{place}/normal/{size}", peers, made, needs=_needs(place))
    made = partial(_processes, "without_loops", (TORCH,), ("torch",), ("normal",))
    yield Row(f"no-loops/torch/normal/{LARGE}", (TORCH,), made, Goals({TORCH: 0.5}), ("torch",))
    for place in ("torch", "numpy", "jax"):
        for initializer in ("uniform", "normal"):
            peers = peer_names(place, initializer)[-1:]
            yield Row(
                f"memory/{place}/{initializer}",
                peers,
                partial(_processes, "memory", peers, (place,), (initializer,)),
                Goals(most=16 * MIB),
                _needs(place),
                unit="B",
                rounds=1,
            )


ROWS: tuple[Row, ...] = (*_warm(), *_parts(), *_fresh())
