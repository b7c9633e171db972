"""The list of benchmarks: what is drawn, how, beside which peers, and the ratio to be reached."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial

from arrayinit.bench.peers import JAX, JAX_JIT, OURS, SETUPS, TORCH, Calls, peer_names, warm_engines
from arrayinit.bench.slices import BLOCKS, DASK, WHOLE, block_calls, slice_calls
from arrayinit.bench.timing import Contender, Process, TimedCall

__all__ = ["BENCHMARKS", "Benchmark", "Goals", "select"]

UNIFORM = ("uniform", "xavier_uniform", "kaiming_uniform")
NORMAL = ("normal", "xavier_normal", "kaiming_normal")
RANDOM = (*UNIFORM, *NORMAL, "trunc_normal")
INITIALIZERS = (*RANDOM, "orthogonal", "sparse", "eye", "constant")

SMALL, MEDIUM, LARGE = 64, 1024, 4096
SIZES = (SMALL, MEDIUM, LARGE)
ORTHOGONAL_SIZES = (SMALL, 512, MEDIUM, 2048, LARGE)

MIB = 2**20

CONSTRUCTOR = "its constructor"


@dataclass(frozen=True)
class Goals:
    """ratios: peer -> its time over ours. share: of the speed of a plain fill. most: seconds or bytes of ours."""

    ratios: Mapping[str, float] = field(default_factory=dict)
    share: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """A named group of contenders that are measured in turn; a row of the table, which `--rows` selects.

    contenders: makes them, when the benchmark runs. needs: libraries that must be installed. unit: "s" or "B".
    is_quick: whether it is part of `--quick`. rounds: the most rounds, if there is a limit.
    """

    name: str
    peers: tuple[str, ...]
    contenders: Callable[[], Mapping[str, Contender]] = field(repr=False)
    goals: Goals = field(default_factory=Goals)
    needs: tuple[str, ...] = ()
    unit: str = "s"
    is_quick: bool = False
    rounds: int | None = None


def select(patterns: Sequence[str], quick: bool, benchmarks: Sequence[Benchmark] | None = None) -> list[Benchmark]:
    """The benchmarks whose names match a pattern, or all without patterns. ValueError if a pattern matches none."""
    known = [each for each in (BENCHMARKS if benchmarks is None else benchmarks) if each.is_quick or not quick]
    for pattern in patterns:
        if not any(fnmatchcase(each.name, pattern) for each in known):
            among = "a row of --quick" if quick else "a row"
            raise ValueError(f"`--rows` must match the name of {among}, see --list; got {pattern!r}")
    return [each for each in known if not patterns or any(fnmatchcase(each.name, pattern) for pattern in patterns)]


def _goals(setup: str, initializer: str, size: int) -> Goals:
    """The goals of a float32 draw, for the peers that it has."""
    goals, peers = _possible_goals(setup, initializer, size), peer_names(setup, initializer)
    return replace(goals, ratios={peer: goal for peer, goal in goals.ratios.items() if peer in peers})


def _possible_goals(setup: str, initializer: str, size: int) -> Goals:
    """The goals of a float32 draw, also for peers that it does not have."""
    if initializer == "orthogonal" and setup in ("torch", "numpy") and size >= 2048:
        return Goals({TORCH: 2, "numpy.linalg.qr": 5})
    if setup == "torch" and size == SMALL:
        return Goals({TORCH: 1})
    if size != LARGE:
        return Goals()
    if setup == "jit":
        return Goals({JAX: 4} if initializer in RANDOM else {})
    if setup == "jax":  # 10 is the goal for truncated normals, as JAX's xavier_normal and kaiming_normal are
        goal = 40 if initializer in UNIFORM else 15 if initializer == "normal" else 10
        return Goals({JAX_JIT: goal} if initializer in RANDOM else {})
    if initializer in UNIFORM:
        return Goals({TORCH: 8, "numpy.random": 5}, share=0.45)
    if initializer in NORMAL:
        return Goals({TORCH: 4, "numpy.random": 8}, share=0.15)
    return Goals({"trunc_normal": {TORCH: 30}, "sparse": {TORCH: 3}}.get(initializer, {}))


def _needs(setup: str) -> tuple[str, ...]:
    """The libraries that a setup needs beside NumPy."""
    return {"torch": ("torch",), "numpy": ()}.get(setup, ("jax",))


def _timed(make: Callable[..., Calls], *arguments: object) -> Mapping[str, Contender]:
    """Contenders in this process."""
    warm_engines()
    return {name: TimedCall(call) for name, call in make(*arguments).items()}


def _processes(program: str, peers: Sequence[str], before: Sequence[str], after: Sequence[str]) -> dict[str, Contender]:
    """Contenders in fresh processes: the program takes the contender's name between other arguments."""
    return {name: Process(program, (*before, name, *after)) for name in (OURS, *peers)}


def _warm() -> Iterator[Benchmark]:
    """Warm draws in this process."""
    for setup, calls in SETUPS.items():
        for initializer in INITIALIZERS:
            for size in ORTHOGONAL_SIZES if initializer == "orthogonal" else SIZES:
                yield Benchmark(
                    name=f"{setup}/{initializer}/{size}",
                    peers=peer_names(setup, initializer),
                    contenders=partial(_timed, calls, initializer, (size, size), "float32"),
                    goals=_goals(setup, initializer, size),
                    needs=_needs(setup),
                    is_quick=size <= MEDIUM,
                )
            if setup == "torch" and initializer in ("uniform", "normal"):
                yield from _half_precision(initializer)


def _half_precision(initializer: str) -> Iterator[Benchmark]:
    for dtype in ("float16", "bfloat16"):
        for size in SIZES:
            yield Benchmark(
                name=f"torch/{initializer}/{dtype}/{size}",
                peers=(TORCH,),
                contenders=partial(_timed, SETUPS["torch"], initializer, (size, size), dtype),
                goals=Goals({TORCH: 4} if size == LARGE else {}),
                needs=("torch",),
                is_quick=size <= MEDIUM,
            )


def _parts() -> Iterator[Benchmark]:
    """Parts of tensors: slices, Dask's blocks, the ranks of a mesh."""
    for count in (8, 64):
        for kind in ("rows", "columns"):
            # A slice should take no more than 1.3 times its share of the whole.
            yield Benchmark(
                name=f"slice/{kind}/{count}",
                peers=(WHOLE,),
                contenders=partial(_timed, slice_calls, kind, count),
                goals=Goals({WHOLE: round(count / 1.3, 1)} if kind == "rows" else {}),
            )
    yield Benchmark(
        name=f"dask/normal/{BLOCKS[0][0]}", peers=(DASK,), contenders=partial(_timed, block_calls), needs=("dask",)
    )
    yield Benchmark(
        name=f"dtensor/normal/{LARGE}",
        peers=(TORCH,),
        contenders=partial(_processes, "dtensor", (TORCH,), (), ("2",)),
        needs=("torch",),
    )


def _fresh() -> Iterator[Benchmark]:
    """Measurements that need a fresh process."""
    yield Benchmark(
        name="jit/compile",
        peers=(JAX,),
        contenders=partial(_processes, "compiling", (JAX,), (), ()),
        goals=Goals({JAX: 2}),
        needs=("jax",),
    )
    yield Benchmark(
        name="flax/33M",
        peers=("model.init", "model.init, jit"),
        contenders=partial(_processes, "flax_model", ("model.init", "model.init, jit"), (), ()),
        goals=Goals({"model.init": 15}),
        needs=("jax", "flax"),
    )
    ours: dict[str, Contender] = {OURS: Process("importing")}
    yield Benchmark(name="cold/import", peers=(), contenders=lambda: ours, goals=Goals(most=0.030), is_quick=True)
    for setup in ("torch", "numpy"):
        peers = peer_names(setup, "normal")
        for size in (SMALL, LARGE):
            yield Benchmark(
                name=f"cold/{setup}/normal/{size}",
                peers=peers,
                contenders=partial(_processes, "first_draw", peers, (setup,), ("normal", str(size))),
                needs=_needs(setup),
            )
    yield Benchmark(
        name=f"no-loops/torch/normal/{LARGE}",
        peers=(TORCH,),
        contenders=partial(_processes, "without_loops", (TORCH,), ("torch",), ("normal",)),
        goals=Goals({TORCH: 0.5}),
        needs=("torch",),
    )
    for setup in ("torch", "numpy", "jax"):
        for initializer in ("uniform", "normal"):
            peers = peer_names(setup, initializer)[-1:]
            yield Benchmark(
                name=f"memory/{setup}/{initializer}",
                peers=peers,
                contenders=partial(_processes, "memory", peers, (setup,), (initializer,)),
                goals=Goals(most=16 * MIB),
                needs=_needs(setup),
                unit="B",
                rounds=1,
            )


def _models() -> Iterator[Benchmark]:
    """Models from their configuration to drawn parameters, and the memory beyond these."""
    for unit, group, program in (("s", "model", "model"), ("B", "model-memory", "model_memory")):
        for name in ("gpt2", "bert-base", "vit-large", "llama-1b"):
            yield Benchmark(
                name=f"{group}/{name}",
                peers=(CONSTRUCTOR,),
                contenders=partial(_processes, program, (CONSTRUCTOR,), (), (name,)),
                goals=Goals({CONSTRUCTOR: 5}) if unit == "s" else Goals(most=16 * MIB),
                needs=("torch", "transformers"),
                unit=unit,
                rounds=None if unit == "s" else 1,
            )


BENCHMARKS: tuple[Benchmark, ...] = (*_warm(), *_parts(), *_fresh(), *_models())
