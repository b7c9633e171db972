"""The programs in examples/ run, and show what they say."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# program: the modules it imports, a line that it must print
PROGRAMS = {
    "torch_models": (["torch"], "ok: the same 31 fingerprints from NumPy, in reverse order, and in a model of 45"),
    "flax_model": (["jax", "flax"], "ok: all bits equal, eagerly and under jit, in linen, nnx and NumPy"),
    "fsdp_model": (["torch"], "the same weights in every world"),
    "lora": (["torch"], "ok: the same adapters on every rank, and the same projections from their config"),
    "six_frameworks": (
        ["torch", "jax", "flax", "equinox", "haiku", "keras", "sklearn"],
        "ok: the same weights in six frameworks, and curves that part by less than 0.0001",
    ),
    "plots": (["torch", "matplotlib"], "ok: depth_relu.png, depth_tanh.png, depth_gpt.png, weights.png in "),
    "same_start": (
        ["torch", "jax", "flax", "optax", "sklearn", "matplotlib"],
        "accuracy on 450 held-out digits: torch 9",
    ),
    "trillion_parameters": (["torch", "resource"], "elements equal the slices of the whole"),
    "sharded_tree": (["jax"], "elements equal the slices of the whole on 10 devices"),
}
# program: smaller sizes than its own
ARGUMENTS = {
    "trillion_parameters": ["--count", "1", "--width", "448", "--hidden", "128", "--layers", "5", "--tokens", "2048"],
    "sharded_tree": ["--width", "256", "--layers", "2"],
}


@pytest.fixture
def run(request, tmp_path):
    """A function that runs a program and returns what it prints; it fails with what the program said on stderr.

    Files go to a directory of the test's own.
    """

    def run(program, *arguments):
        missing = [module for module in PROGRAMS[program][0] if importlib.util.find_spec(module) is None]
        if missing:
            stop = pytest.fail if request.config.getoption("--all-backends") else pytest.skip
            stop(f"examples/{program}.py needs {', '.join(missing)}")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / f"{program}.py"), *arguments],
            capture_output=True, text=True, timeout=300, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def test_every_program_is_tested():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(run, program):
    assert PROGRAMS[program][1] in run(program, *ARGUMENTS.get(program, ()))


def test_plots_are_the_same_each_time(run, tmp_path):
    for folder in ("first", "second"):
        run("plots", "--out", str(tmp_path / folder))
    files = sorted((tmp_path / "first").iterdir())
    assert [file.name for file in files] == ["depth_gpt.png", "depth_relu.png", "depth_tanh.png", "weights.png"]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


def test_curves_of_another_seed_are_drawn(run, tmp_path):
    file = tmp_path / "curves.png"
    assert f"curves drawn in {file}" in run("same_start", "--seed", "7", "--plot", str(file))
    assert file.read_bytes().startswith(b"\x89PNG")
