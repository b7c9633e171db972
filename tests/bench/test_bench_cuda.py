"""`python -m arrayinit bench --device cuda`: refused without a device; run on stand-ins."""

import subprocess
import sys
from pathlib import Path

import pytest

from arrayinit import __main__ as command
from arrayinit.bench import cuda
from arrayinit.bench.peers import FILL, OURS, TORCH
from arrayinit.bench.timing import TimedCall, interleaved

HELPERS = Path(__file__).parents[1] / "helpers"

STANDIN = """
import importlib.machinery, sys
from standin_cupy import install
cupy = install()
cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
from arrayinit.__main__ import main
from arrayinit.bench import timing
timing.LEAST = timing.TimedCall.least = 1e-4
sys.exit(main(sys.argv[1:]))
"""


def on_a_standin(*options):
    code = [sys.executable, "-c", STANDIN, "bench", "--device", "cuda", *options]
    return subprocess.run(code, cwd=HELPERS, capture_output=True, text=True, timeout=300)


def test_the_table_of_cupy(tmp_path):
    file = tmp_path / "cuda.json"
    done = on_a_standin("--rows", "cuda/cupy/*/64", "--rows", "cuda/cupy/orth*/512", "--repeats", "1", "--json", file)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "cupy: Stand-in, CuPy 0-standin, CUDA 12.8, driver for CUDA 13.0" in done.stdout
    assert "left out" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("cuda/cupy")]
    assert [line.split()[0].split("/")[2] for line in lines] == list(cuda.INITIALIZERS)
    assert all(("cupy.random" in line or "linalg.qr" in line) == ("trunc" not in line) for line in lines)
    assert all("%" in line for line in lines), "each is compared with a fill"
    assert '"device": "cuda"' in file.read_text()
    assert '"Stand-in, CuPy' in file.read_text()


def test_what_cupy_draws_is_as_much_as_ours():
    code = """
from standin_cupy import install
cupy = install()
from arrayinit.bench import cuda
for name in cuda._IN_CUPY:
    calls = cuda.cupy_calls(name, (64, 48))
    drawn = calls[cuda._IN_CUPY[name]]()
    x = calls["arrayinit"]()
    x = x if drawn is None else drawn
    assert x.shape == (64, 48) and str(x.dtype) == "float32" and len(set(x.get().ravel().tolist())) > 3000, name
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=HELPERS, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_without_a_device(capsys, monkeypatch):
    reasons = {"torch": "no CUDA device (torch 2)", "cupy": "not installed", "jax": "no CUDA device (JAX 1 on cpu)"}
    monkeypatch.setattr(cuda, "devices", lambda: ({}, reasons))
    assert command.main(["bench", "--device", "cuda"]) == 2
    taken = capsys.readouterr()
    assert taken.out == ""
    assert taken.err == (
        "arrayinit: `--device cuda` needs a library that has a CUDA device; torch: no CUDA device (torch 2); "
        "cupy: not installed; jax: no CUDA device (JAX 1 on cpu)\n"
    )


def test_devices_are_found_or_it_is_said_why_not(monkeypatch):
    def broken():
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient\nand more")

    monkeypatch.setattr(cuda, "_torch_device", broken)
    monkeypatch.setattr(cuda, "_jax_device", lambda: "a device")
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None if name == "cupy" else object())
    assert cuda.devices() == (
        {"jax": "a device"},
        {
            "torch": "cudaErrorInsufficientDriver: CUDA driver version is insufficient",
            "cupy": "not installed",
        },
    )


def test_rows_and_their_goals(capsys):
    assert command.main(["bench", "--device", "cuda", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    assert len(set(names)) == len(names)
    assert {name.split("/")[1] for name in names} == set(cuda.LIBRARIES)
    told = {line.split()[0]: line for line in lines}
    assert "torch.nn.init 1x; fill 80%" in told["cuda/torch/uniform/16384"]
    assert "cupy.random 1x; fill 60%" in told["cuda/cupy/normal/16384"]
    assert "cupy.linalg.qr 1x" in told["cuda/cupy/orthogonal/4096"]
    assert "jax.nn.initializers" in told["cuda/jax/trunc_normal/4096"]
    assert "cuda/torch/normal/bfloat16/4096" in told
    assert command.main(["bench", "--device", "cuda", "--list", "--rows", "numpy/*"]) == 2
    assert "`--rows` must match" in capsys.readouterr().err


def test_calls_are_timed_by_the_device():
    times = iter([0.5, 0.004, 0.04, 0.02])
    asked = []

    def timer(run):
        before = len(asked)
        run()
        return next(times) * (len(asked) - before)

    call = cuda.DeviceCall(lambda: asked.append(1), timer=timer)
    assert call.sample() == 0.5
    call.warm()
    assert call.inner > 2  # enough calls of 4 ms for 20 ms
    assert call.sample() == 0.02


def test_torch_calls_on_a_device(monkeypatch):
    torch = pytest.importorskip("torch")
    empty, asked, timed = torch.empty, [], []

    def on_host(*arguments, device=None, **keywords):
        asked.append(device)
        return empty(*arguments, **keywords)

    monkeypatch.setattr(torch, "empty", on_host)

    def timer(run):
        timed.append(run)
        run()
        return 0.1

    monkeypatch.setattr(cuda, "_torch_timer", timer)
    made = cuda._contenders("torch", "orthogonal", 64, "float32")
    assert asked == ["cuda"]
    assert set(made) == {OURS, TORCH, FILL}
    samples = interleaved(made, 2)
    assert samples.notes == {}
    assert all(len(values) == 2 for values in samples.raw.values())
    assert len(timed) == 3 * 3
    assert not any(type(each) is TimedCall for each in made.values())


@pytest.mark.gpu
def test_on_a_device():
    found, missing = cuda.devices()
    if not found:
        pytest.skip(f"no CUDA device: {missing}")
    assert command.main(["bench", "--device", "cuda", "--rows", "cuda/*/normal/64", "--repeats", "1"]) == 0
