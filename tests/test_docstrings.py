"""The examples in docstrings run and show what they say; everything public has one."""

import functools
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import docstrings
import pytest
from conftest import NEEDS_DEVICE
from docstrings import Examination

import arrayinit as ai
from arrayinit.draw import KEYWORDS
from arrayinit.initializers import NAMES

PACKAGE = Path(ai.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
PUBLIC = ("", ".jax", ".keras", ".plot", ".recipes", ".storage", ".torch")
KERAS = (
    "arrayinit.keras",
    "arrayinit.models.keras",
    "arrayinit.plot.scales_keras",
)  # which read KERAS_BACKEND once in a process

LIBRARIES = {
    "arrayinit.plot.figures": "matplotlib",
    "arrayinit.plot.canvas": "matplotlib",
    "arrayinit.plot.scales": "torch",
}  # of their examples


@pytest.fixture
def examine(request):
    """A function that examines a module by name; it skips where the module needs a library that is missing."""

    def examination(name):
        try:
            importlib.import_module(LIBRARIES.get(name, "arrayinit"))
            return _in_a_process(name) if name in KERAS else docstrings.examine(name)
        except ImportError as error:
            needs_device = any(library in name for library in NEEDS_DEVICE)
            is_required = request.config.getoption("--all-backends") and not needs_device
            return (pytest.fail if is_required else pytest.skip)(f"{name} can't be imported: {error}")

    return examination


@functools.cache
def _in_a_process(name):
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, docstrings.__file__, name], capture_output=True, text=True, timeout=300,
        env=os.environ | {"KERAS_BACKEND": "numpy", "PYTHONPATH": path},
    )  # fmt: skip
    if "ModuleNotFoundError" in done.stderr:
        raise ImportError(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return Examination(*json.loads(done.stdout))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(examine, name):
    failures = examine(name).failures
    assert not failures, "".join(failures)


@pytest.mark.parametrize("name", [f"arrayinit{name}" for name in PUBLIC])
def test_what_is_public_has_an_example(examine, name):
    assert not examine(name).without_example


@pytest.mark.parametrize("name", NAMES)
def test_initializers_name_the_shared_keywords(name):
    text = " ".join(getattr(ai, name).__doc__.split())
    assert f"{', '.join(KEYWORDS)}:" in text
