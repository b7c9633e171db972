"""Keras reads KERAS_BACKEND when it is imported: its recipe is compared in a process for each backend."""

from pathlib import Path

import pytest
from test_keras import run


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_on(backend):
    suite = Path(__file__).parents[1] / "helpers" / "keras_recipes_suite.py"
    assert " passed" in run(backend, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", str(suite))
