"""Adapters of a sharded model: from one seed, each rank has its slices of the whole A and B, with their fans.

The modules are stand-ins with the names of peft, so that the tests need no other package.
"""

import pytest
from worlds import results_of

torch = pytest.importorskip("torch")
pytest.importorskip("torch.distributed")


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_real_worlds(size, tmp_path):
    results = results_of("sharded_adapters.py", size, tmp_path / "store")
    ways = ["fsdp", "tensor parallel"] + (["fsdp over tensor parallel"] if size == 4 else [])
    for result in results:
        assert {what: paths for what, paths in result["found"].items() if paths} == {}
        assert len(result["found"]) == 3 * len(ways)
        assert result["sharded"] == sorted(ways)
