"""`python -m arrayinit bench`: the contenders, the timing and the output. No speed is asserted."""

import gc
import json
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from conftest import to_host

from arrayinit import __main__ as command
from arrayinit.bench import benchmarks, command as bench_command, slices
from arrayinit.bench.benchmarks import BENCHMARKS, INITIALIZERS, Benchmark, Goals
from arrayinit.bench.measurements import Measurement, measure
from arrayinit.bench.output import lines, quantity, significant, write_json
from arrayinit.bench.peers import FILL, JAX, JAX_JIT, OURS, SETUPS, TORCH, peer_names
from arrayinit.bench.timing import LEAST, Process, Samples, TimedCall, interleaved

NAMES = [each.name for each in BENCHMARKS]


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def takes(self, seconds, log=None, name=None):
        def call():
            self.now += seconds
            if log is not None:
                log.append(name)

        return call


def fake(seconds, clock, **options):
    return TimedCall(clock.takes(seconds), clock=clock, **options)


def benchmark(contenders, peers=("peer",), **options):
    return Benchmark("fake/row/64", tuple(peers), lambda: contenders, **options)


# Timing


def test_ratios_are_those_of_a_fake_clock():
    clock = Clock()
    fake_benchmark = benchmark(
        {OURS: fake(0.5, clock), "peer": fake(2.0, clock), FILL: fake(0.125, clock)},
        goals=Goals({"peer": 4.0}, share=0.3, most=0.6),
    )
    result = measure(fake_benchmark, 5)
    assert result.samples.raw == {OURS: [0.5] * 5, "peer": [2.0] * 5, FILL: [0.125] * 5}
    assert result.medians == {OURS: 0.5, "peer": 2.0, FILL: 0.125}
    assert result.ratios == {"peer": 4.0}
    assert result.share == 0.25
    assert result.reached == [True, False, True]
    assert not result.is_broken


def test_the_median_is_taken_not_the_mean():
    result = Measurement(benchmark({}), Samples({OURS: [1.0, 2.0, 100.0], "peer": [6.0, 4.0, 0.1]}))
    assert result.medians == {OURS: 2.0, "peer": 4.0}
    assert result.ratios == {"peer": 2.0}


def test_every_contender_has_its_turn_in_every_round():
    clock, log = Clock(), []
    contenders = {name: TimedCall(clock.takes(1.0, log, name), clock=clock) for name in "abc"}
    interleaved(contenders, 4)
    turns = "".join(log[-12:])
    assert turns == "abcbcacababc"


def test_a_sample_is_long_enough_for_the_clock():
    clock = Clock()
    call = fake(1e-5, clock)
    call.warm()
    assert call.inner * 1e-5 >= LEAST
    assert call.inner * 1e-5 <= 5 * LEAST
    assert call.sample() == pytest.approx(1e-5)
    slow = fake(0.1, clock)
    slow.warm()
    assert slow.inner == 1


def test_a_coarse_clock():
    exact = Clock()
    call = TimedCall(exact.takes(1e-5), clock=lambda: int(exact.now * 100) / 100)  # steps of 10 ms
    call.warm()
    assert 200 <= call.inner <= 10**4


def test_rounds_end_after_the_budget_but_not_before_the_third():
    clock = Clock()
    assert len(interleaved({"a": fake(10.0, clock)}, 7, budget=5, clock=clock).raw["a"]) == 3
    assert len(interleaved({"a": fake(1.0, clock)}, 7, budget=4.5, clock=clock).raw["a"]) == 5
    assert len(interleaved({"a": fake(10.0, clock)}, 7, clock=clock).raw["a"]) == 7
    assert len(interleaved({"a": fake(10.0, clock)}, 1, budget=5, clock=clock).raw["a"]) == 1


def test_no_garbage_is_collected_while_timing():
    seen = []
    call = TimedCall(lambda: seen.append(gc.isenabled()))
    call.warm()
    seen.clear()
    call.sample()
    assert set(seen) == {False}
    assert gc.isenabled()


def test_one_that_fails_leaves_the_others():
    clock = Clock()
    calls = iter([None, None, None])  # fails in its second round, after warm-up and one round

    def fails_later():
        clock.now += 1
        next(calls)

    def fails():
        raise RuntimeError("no such thing\nand more")

    contenders = {OURS: fake(1.0, clock), "peer": TimedCall(fails), "later": TimedCall(fails_later, clock=clock)}
    result = measure(benchmark(contenders, ("peer", "later")), 3)
    assert result.medians == {OURS: 1.0}
    assert result.samples.notes == {"peer": "RuntimeError: no such thing", "later": "StopIteration: "}
    assert result.ratios == {}
    assert not result.is_broken
    assert measure(benchmark({OURS: TimedCall(fails)}), 1).is_broken


def test_a_missing_library_is_a_note():
    result = measure(benchmark({}, needs=("no_such_library",)), 3)
    text = lines(result)
    assert len(text) == 1
    assert "no_such_library: not installed" in text[0]
    assert text[0].split()[:5] == ["fake/row/64", "-", "peer", "-", "-"]
    assert not result.is_broken


# Rows


def test_names_are_unique_and_every_pair_has_its_rows():
    assert len(set(NAMES)) == len(NAMES)
    for setup in SETUPS:
        for initializer in INITIALIZERS:
            for size in (64, 1024, 4096):
                assert f"{setup}/{initializer}/{size}" in NAMES
    assert {"torch/normal/bfloat16/4096", "jit/compile", "flax/33M", "cold/import", "memory/jax/normal"} <= set(NAMES)


def test_goals_name_peers_that_the_row_has():
    for each in BENCHMARKS:
        assert set(each.goals.ratios) <= set(each.peers), each.name
    goals = {each.name: each.goals for each in BENCHMARKS}
    assert goals["torch/normal/4096"].ratios[TORCH] == 4
    assert goals["jax/uniform/4096"].ratios == {JAX_JIT: 40}
    assert goals["jit/normal/4096"].ratios == {JAX: 4}
    assert goals["numpy/orthogonal/2048"].ratios["numpy.linalg.qr"] == 5
    assert goals["torch/orthogonal/1024"].ratios == {}


@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("setup", SETUPS)
def test_contenders_draw_the_same_law(setup, initializer):
    library = pytest.importorskip("jax" if setup == "jit" else setup)
    if setup == "torch":
        library.manual_seed(0)  # its initializers draw from the global generator
    calls = SETUPS[setup](initializer, (64, 96), "float32")
    assert set(calls) == {OURS, FILL, *peer_names(setup, initializer)}
    drawn = {}
    for name, call in calls.items():
        value = call()
        if setup == "numpy":  # the peer may return nothing; the array is the first argument of our call
            value = calls[OURS].args[0]
        drawn[name] = to_host(value).astype(np.float64)
        assert drawn[name].shape == (64, 96)
    assert (drawn.pop(FILL) == 1).all()
    ours = drawn.pop(OURS)
    for name, theirs in drawn.items():
        if initializer in ("eye", "constant"):
            assert (theirs == ours).all(), name
            continue
        assert theirs.mean() == pytest.approx(ours.mean(), abs=0.1 * ours.std() + 1e-3), name
        assert theirs.std() == pytest.approx(ours.std(), rel=0.2 if initializer == "sparse" else 0.05), name
        if "uniform" in initializer:
            assert theirs.max() == pytest.approx(ours.max(), rel=0.01), name
            assert theirs.min() == pytest.approx(ours.min(), rel=0.01, abs=0.01), name
        if initializer == "orthogonal":
            assert theirs @ theirs.T == pytest.approx(np.eye(64), abs=1e-5), name
        if initializer == "sparse":
            assert ((theirs == 0).sum(0) == (ours == 0).sum(0)).all(), name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_torch_rows_in_half_precision(dtype):
    torch = pytest.importorskip("torch")
    calls = SETUPS["torch"]("normal", (64, 64), dtype)
    assert calls[OURS]().dtype == calls[TORCH]().dtype == getattr(torch, dtype)


# Printing


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "-"),
        (12.345, "s", "12.3 s"),
        (0.1234, "s", "123 ms"),
        (4.5e-6, "s", "4.50 us"),
        (3e-8, "s", "30 ns"),
        (0.0, "s", "0 ns"),
        (16 * 2**20, "B", "16 MiB"),
        (0.0, "B", "0 MiB"),
    ],
)
def test_quantities(value, unit, text):
    assert quantity(value, unit) == text


def test_three_digits():
    assert [significant(x) for x in (0.0012, 0.099, 9.99, 9.996, 12.34, 123.4)] == [
        "0.0012",
        "0.10",
        "9.99",
        "10.0",
        "12.3",
        "123",
    ]


def test_memory_has_no_ratio():
    fake_benchmark = benchmark({}, unit="B", goals=Goals(most=16 * 2**20))
    result = Measurement(fake_benchmark, Samples({OURS: [0.0], "peer": [2.0**30]}))
    assert result.ratios == {}
    assert result.reached == [True]
    assert "0 MiB" in lines(result)[0]
    assert "1024 MiB" in lines(result)[0]
    assert "<16 MiB" in lines(result)[0]


# The command


def run(*options, capsys):
    status = command.main(["bench", *options])
    taken = capsys.readouterr()
    return status, taken.out, taken.err


def test_a_few_rows_and_their_json(capsys, tmp_path):
    file = tmp_path / "bench.json"
    status, out, err = run(
        "--quick", "--rows", "numpy/*normal/64", "--rows", "numpy/eye/64", "--json", str(file), capsys=capsys
    )
    assert (status, err) == (0, "")
    assert "arrayinit 0." in out
    names = ["numpy/normal/64", "numpy/xavier_normal/64", "numpy/kaiming_normal/64", "numpy/trunc_normal/64"]
    names.append("numpy/eye/64")
    assert [line.split()[0] for line in out.splitlines() if line.startswith("numpy/")] == names
    assert "no peer" in next(line for line in out.splitlines() if "trunc_normal" in line)
    assert "5 rows, 0 of 0 goals reached" in out

    data = json.loads(file.read_text())
    assert os.listdir(tmp_path) == ["bench.json"]
    assert data["options"] == {
        "device": "cpu",
        "quick": True,
        "rows": ["numpy/*normal/64", "numpy/eye/64"],
        "repeats": 3,
        "is_complete": True,
    }
    assert data["machine"]["cpu"]
    assert data["machine"]["cores"] >= 1
    assert data["machine"]["versions"]["numpy"] == np.__version__
    assert "threads" in data["machine"]
    assert data["machine"]["python"].endswith(sys.version.split()[0])
    first = data["rows"][0]
    assert first["name"] == "numpy/normal/64"
    assert set(first["raw"]) == set(first["median"]) == {OURS, "numpy.random", FILL}
    for name, samples in first["raw"].items():
        assert len(samples) == 3
        assert first["median"][name] == sorted(samples)[1]
        assert min(samples) > 0
    assert first["ratio"] == {"numpy.random": first["median"]["numpy.random"] / first["median"][OURS]}
    assert first["fill_share"] == first["median"][FILL] / first["median"][OURS]
    assert data["rows"][3]["ratio"] == {}


def test_repeats_and_markdown(capsys, tmp_path):
    file = tmp_path / "bench.json"
    file.write_text("old")
    given = ("--rows", "numpy/constant/64", "--repeats", "2", "--markdown", "--json", str(file), "--force")
    status, out, _ = run(*given, capsys=capsys)
    assert status == 0
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert len({line.count("|") for line in table}) == 1
    assert [len(samples) for samples in json.loads(file.read_text())["rows"][0]["raw"].values()] == [2, 2, 2]


def test_list_measures_nothing(capsys, monkeypatch):
    monkeypatch.setattr(bench_command, "measure", None)
    status, out, _ = run("--list", capsys=capsys)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == NAMES
    assert "torch.nn.init 8x; fill 45%" in out
    assert "at most 16 MiB" in out
    _, quick, _ = run("--list", "--quick", capsys=capsys)
    assert "4096" not in quick
    assert "flax" not in quick
    assert "numpy/normal/64" in quick


def test_wrong_options(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_command, "measure", None)  # nothing is measured
    old = tmp_path / "old.json"
    old.write_text("old")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(old)
    for options, said in (
        (["--rows", "nothing*"], "`--rows` must match the name of a row, see --list; got 'nothing*'"),
        (["--rows", "numpy/*", "--rows", "TORCH/*"], "got 'TORCH/*'"),
        (["--quick", "--rows", "flax/*"], "`--rows` must match the name of a row of --quick"),
        (["--repeats", "0"], "`--repeats` must be at least 1; got 0"),
        (["--repeats", "-3"], "got -3"),
        (["--json", str(old)], "`--json` must name a new file unless --force is given"),
        (["--json", str(tmp_path), "--force"], "`--json` must name a file in a directory"),
        (["--json", str(tmp_path / "fifo"), "--force"], "`--json` must be a regular file or a new one; got the FIFO"),
        (["--json", str(tmp_path / "link"), "--force"], "`--json` must not be a symbolic link"),
        (["--json", str(tmp_path / "no" / "such.json")], "`--json` must name a file in a directory"),
    ):
        status, out, err = run(*options, capsys=capsys)
        assert status == 2, options
        assert out == ""
        assert said in err
        assert err.count("\n") == 1
    assert old.read_text() == "old"
    assert command.main(["bench", "--repeats", "many"]) == 2


def test_without_rich(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    status, out, err = run("--quick", capsys=capsys)
    assert (status, out) == (1, "")
    assert "pip install rich" in err


def test_our_own_failure_is_told(capsys, monkeypatch):
    def broken():
        raise RuntimeError("out of luck")

    clock = Clock()
    fake_benchmark = benchmark({OURS: TimedCall(broken), "peer": fake(1.0, clock)})
    monkeypatch.setattr(benchmarks, "BENCHMARKS", (fake_benchmark,))
    status, out, _ = run("--repeats", "1", capsys=capsys)
    assert status == 1
    assert "RuntimeError: out of luck" in out
    assert "arrayinit failed in fake/row/64" in out


def test_an_interrupted_run_keeps_what_it_has(capsys, monkeypatch, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    clock = Clock()
    first = benchmark({OURS: fake(1.0, clock), "peer": fake(2.0, clock)})
    second = Benchmark("fake/second/64", (), interrupt)
    monkeypatch.setattr(benchmarks, "BENCHMARKS", (first, second))
    file = tmp_path / "bench.json"
    status, out, _ = run("--repeats", "1", "--json", str(file), capsys=capsys)
    assert status == 130
    assert "interrupted" in out
    data = json.loads(file.read_text())
    assert not data["options"]["is_complete"]
    assert [each["name"] for each in data["rows"]] == ["fake/row/64"]


def test_json_is_whole_or_not_there(tmp_path):
    file = tmp_path / "bench.json"
    file.write_text("old")
    result = Measurement(benchmark({}), Samples({OURS: [object()]}))
    with pytest.raises(TypeError):
        write_json(file, {}, {}, [result])
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["bench.json"]


# Processes


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="KeyError: 'no such program'"):
        Process("no such program").sample()


def test_the_time_of_the_import():
    assert 0 < Process("importing").sample() < 60


def test_patience_ends(monkeypatch):
    from arrayinit.bench import timing

    monkeypatch.setattr(timing, "PATIENCE", 1e-3)
    with pytest.raises(TimeoutError, match="took more than"):
        Process("importing").sample()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["cold/numpy/normal/64", "jit/compile", "flax/33M", "no-loops/torch/normal/4096", "dtensor/normal/4096"]
)
def test_rows_of_fresh_processes(name):
    chosen = benchmarks.select([name], quick=False)
    result = measure(chosen[0], 1)
    assert result.samples.notes == {}
    assert set(result.ratios) == set(chosen[0].peers)
    assert all(ratio > 0 for ratio in result.ratios.values())


@pytest.mark.parametrize(("kind", "parts"), [("rows", 8), ("columns", 64)])
def test_slices_are_parts_of_the_whole(kind, parts, monkeypatch):
    monkeypatch.setattr(slices, "SHAPE", (192, 128))
    calls = slices.slice_calls(kind, parts)
    part, whole = calls[OURS](), calls[slices.WHOLE]()
    count = whole.shape[kind == "columns"] // parts
    wanted = whole[count : 2 * count] if kind == "rows" else whole[:, count : 2 * count]
    assert (part == wanted).all()
    assert part.size * parts == whole.size


def test_dask_contenders_make_the_same_kind_of_array(monkeypatch):
    pytest.importorskip("dask.array")
    monkeypatch.setattr(slices, "BLOCKS", ((96, 64), (24, 64)))
    arrays = [call() for call in slices.block_calls().values()]
    for array in arrays:
        assert (array.shape, array.dtype) == ((96, 64), np.float32)
        assert abs(array.mean()) < 0.1
        assert abs(array.std() - 1) < 0.1
    assert not (arrays[0] == arrays[1]).any()


@pytest.mark.slow
def test_memory_is_seen():
    chosen = benchmarks.select(["memory/numpy/uniform"], quick=False)[0]
    result = measure(chosen, 7)
    assert {name: len(samples) for name, samples in result.samples.raw.items()} == {OURS: 1, "numpy.random": 1}
    assert result.medians["numpy.random"] < 2**20 * 64
    jax_row = benchmarks.select(["memory/jax/normal"], quick=False)[0]
    assert measure(jax_row, 1).medians[JAX_JIT] > -(2**25)  # not less than the result


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_bar_is_on_a_terminal_only():
    arguments = [sys.executable, "-m", "arrayinit", "bench", "--repeats", "1", "--rows", "numpy/constant/64"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert done.stderr == ""
    main, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=other, text=True, timeout=300, env=environment)
    os.close(other)
    shown = os.read(main, 10000).decode()
    os.close(main)
    assert "numpy/constant/64" in shown
    assert "0/1" in shown
    assert "1 rows" in done.stdout  # the table goes to stdout, although the bar is shown
    assert "\x1b" not in done.stdout
