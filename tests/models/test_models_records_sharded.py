"""Models that are recorded and then sharded: each rank has the slices of the model in one piece, element by element."""

from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
dist = pytest.importorskip("torch.distributed")
fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")

from sharded_world import MODELS, check, mark, whole  # noqa: E402
from worlds import results_of  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_real_worlds(size, tmp_path):
    """FSDP2, tensor parallelism, both, HSDP and DDP; ranks with other generators, and that build in another order."""
    results = results_of("sharded_world.py", size, tmp_path / "store")
    for result in results:
        assert {what: paths for what, paths in result["found"].items() if paths} == {}
        assert len(result["found"]) == (3 * 7 + 2 if size == 2 else 3 * 14 + 2)
        assert result["marks"] == [mark(whole(model)) for model in MODELS]


@contextmanager
def rank_of(size, rank):
    """A world of which this process is one rank, and in which nobody else is there."""
    dist.init_process_group("fake", store=fake.FakeStore(), rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("rank", [0, 1029, 2047])
@pytest.mark.parametrize("model", ["programs, many rows", "llama, tied, many rows"])
def test_single_ranks_of_2048(model, rank):
    with rank_of(2048, rank):
        for way in ("fsdp", "fsdp over 8 of tensor parallel", "hybrid over tensor parallel"):
            assert check(model, way, turn=rank % 7)[1] == [], way


@pytest.mark.parametrize(("size", "way", "model", "ranks"), [
    (8, "fsdp over tensor parallel", "programs, 17 rows", (6, 7)),
    (12, "fsdp over 4 of tensor parallel", "programs, 27 rows", (8, 9, 10, 11)),
])  # fmt: skip
def test_unequal_parts_of_unequal_parts(size, way, model, ranks):
    """The last ranks of FSDP cut what tensor parallelism leaves to them into other rows than their placements say."""
    for rank in ranks:
        with rank_of(size, rank):
            assert check(model, way)[1] == [], rank
