"""What is installed: extras with the compiled loops, versions that agree, and a package that needs no extra."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import arrayinit

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize("extra", ["torch", "jax", "keras", "dask"])
def test_extras_bring_the_compiled_loops(extra):
    assert "arrayinit[fast]" in PROJECT["optional-dependencies"][extra]


@pytest.mark.parametrize(
    ("implementation", "machine", "is_needed"),
    [
        ("CPython", "x86_64", True),
        ("CPython", "AMD64", True),
        ("CPython", "aarch64", True),
        ("CPython", "arm64", True),
        ("CPython", "riscv64", False),
        ("CPython", "i686", False),
        ("PyPy", "x86_64", False),
    ],
)
def test_llvmlite_is_asked_for_where_it_has_wheels(implementation, machine, is_needed):
    requirements = pytest.importorskip("packaging.requirements")
    (text,) = PROJECT["optional-dependencies"]["fast"]
    requirement = requirements.Requirement(text)
    assert requirement.name == "llvmlite"
    place = {"platform_python_implementation": implementation, "platform_machine": machine, "python_version": "3.12"}
    assert requirement.marker.evaluate(place) is is_needed


@pytest.mark.parametrize(
    ("file", "pattern"), [("CITATION.cff", r"^version: (.*)$"), (".conda/recipe.yaml", r'^  version: "(.*)"$')]
)
def test_versions_agree(file, pattern):
    assert re.findall(pattern, (ROOT / file).read_text("utf-8"), re.MULTILINE) == [arrayinit.__version__]


def test_draws_need_no_llvmlite():
    code = """
import sys
sys.modules["llvmlite"] = None
import arrayinit as ai
large = ai.normal((1 << 12, 1 << 12), seed=0)  # for which loops would be compiled
assert (large[:2, :3] == ai.normal((1 << 12, 1 << 12), seed=0, index=(slice(2), slice(3)))).all()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
