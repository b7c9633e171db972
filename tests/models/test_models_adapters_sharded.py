"""Adapters of a sharded model: from one seed, each rank has its slices of the whole A and B, with their fans.

The modules are stand-ins with the names of peft, so that the tests need no other package.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch.distributed")

WORLD = Path(__file__).parents[1] / "helpers" / "sharded_adapters.py"


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_real_worlds(size, tmp_path):
    run = subprocess.run(
        [sys.executable, str(WORLD), str(size), str(tmp_path / "store")],
        capture_output=True, text=True, timeout=240,
        env={**os.environ, "ARRAYINIT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout.splitlines()[-1])
    ways = ["fsdp", "tensor parallel"] + (["fsdp over tensor parallel"] if size == 4 else [])
    assert len(results) == size
    for result in results:
        assert {what: paths for what, paths in result["found"].items() if paths} == {}
        assert len(result["found"]) == 3 * len(ways)
        assert result["sharded"] == sorted(ways)
