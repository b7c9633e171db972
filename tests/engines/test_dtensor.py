"""DTensors: every rank of every mesh fills its part of the one tensor, in processes of their own on this machine."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import arrayinit as ai
from arrayinit.backends.chunks import chunk, held, strided_chunk

torch = pytest.importorskip("torch")

RANK = Path(__file__).parents[1] / "helpers" / "dtensor_rank.py"


def places(runs):
    return [place for start, length in runs for place in range(start, start + length)]


@pytest.mark.parametrize("n", [0, 1, 5, 8, 12, 13])
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7])
def test_chunks_are_those_of_torch(n, parts):
    wanted = [piece.tolist() for piece in torch.arange(n).chunk(parts)]
    wanted += [[]] * (parts - len(wanted))
    assert [places(chunk(((0, n),), parts, k)) for k in range(parts)] == wanted


@pytest.mark.parametrize("n", [1, 5, 8, 9, 13, 24])
@pytest.mark.parametrize("split_factor", [2, 3])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_strided_chunks_are_those_of_torch(n, split_factor, parts):
    types = pytest.importorskip("torch.distributed.tensor.placement_types")
    placement = types._StridedShard(0, split_factor=split_factor)
    pieces, _ = placement._split_tensor(torch.arange(n), parts, with_padding=False, contiguous=True)
    found = [strided_chunk(((0, n),), split_factor, parts, k) for k in range(parts)]
    assert [places(runs) for runs in found] == [piece.tolist() for piece in pieces]
    for runs in found:  # in as few runs as there can be
        assert all(sum(a) != b[0] for a, b in itertools.pairwise(runs))


@pytest.mark.parametrize("n", [1, 8, 9, 17, 27, 50, 54])
@pytest.mark.parametrize(("parts", "tensor_parallel"), [(2, 2), (4, 2), (3, 4), (3, 8)])
def test_parts_of_fsdp_over_tensor_parallelism(n, parts, tensor_parallel):
    """FSDP cuts the rows of each rank of tensor parallelism, though its mesh dimension comes first."""

    def part_of(rows, count, k):
        return (rows.chunk(count) + (rows[:0],) * count)[k]

    for k, j in itertools.product(range(parts), range(tensor_parallel)):
        wanted = part_of(part_of(torch.arange(n), tensor_parallel, j), parts, k).tolist()
        cuts = [(parts, k, tensor_parallel), (tensor_parallel, j, 1)]
        assert places(held(n, cuts, len(wanted))) == wanted


def test_parts_by_distribute_tensor_over_both():
    """It cuts by the mesh dimensions in order, which the number of rows tells here: FSDP leaves (0, 1) to these two."""
    lengths = {(3, 0): [8], (3, 1): []}
    for (k, j), wanted in lengths.items():
        assert places(held(9, [(4, k, 2), (2, j, 1)], len(wanted))) == wanted


def world(size, store, *arguments, kill=None):
    """Run every rank; the JSON that each prints. `kill` is a rank that is killed when it says so."""
    environment = {**os.environ, "ARRAYINIT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(RANK), str(rank), str(size), str(store), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for rank in range(size)
    ]  # fmt: skip
    try:
        if kill is not None:
            first = ranks[kill].stdout.readline()
            ranks[kill].send_signal(signal.SIGKILL)
            return json.loads(first)
        results = []
        for rank in ranks:
            out, err = rank.communicate(timeout=240)
            assert rank.returncode == 0, err
            results.append(json.loads(out.strip().splitlines()[-1]))
        return results
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


@pytest.mark.slow
def test_every_world_fills_the_one_tensor(tmp_path):
    """All laws, dtypes and placements, compared on each rank with the part that torch itself cuts for it."""
    marks = []
    for size in (1, 2, 3, 4):
        results = world(size, tmp_path / f"store{size}", "cases")
        for result in results:
            assert result["differing"] == []
            assert result["compared"] >= 40
        marks += [result["fingerprints"] for result in results]
    assert all(mark == marks[0] for mark in marks)


@pytest.mark.slow
def test_a_sharded_model_from_meta_is_that_of_one_process(tmp_path):
    """FSDP2's fully_shard, alone and over tensor parallelism, from the meta device."""
    marks = [world(size, tmp_path / f"store{size}", "model") for size in (1, 2, 4)]
    flat = [mark for results in marks for mark in results]
    assert all(mark == flat[0] for mark in flat)


@pytest.mark.slow
def test_rules_take_a_sharded_model_from_meta(tmp_path):
    """By init_module_, packed laws among them, without a word of allocation."""
    marks = [world(size, tmp_path / f"store{size}", "rules") for size in (1, 2, 4)]
    flat = [mark for results in marks for mark in results]
    assert all(mark == flat[0] for mark in flat)


@pytest.mark.slow
def test_a_rank_that_was_killed_draws_its_part_again(tmp_path):
    before = world(3, tmp_path / "store1", "part", "wait", kill=2)
    after = world(3, tmp_path / "store2", "part")
    assert before == after[2]
    assert before != after[0]


@pytest.mark.slow
def test_bad_placements_are_refused_on_every_rank(tmp_path):
    """Before anything is written, and by nobody waiting for anybody."""
    for result in world(2, tmp_path / "store", "refused"):
        assert result["untouched"]
        messages = result["messages"]
        assert "`x` must be placed by Shard and Replicate" in messages["partial"]
        assert "Partial(sum)" in messages["partial"]
        assert "`x` must have on each rank the local shape of its placements" in messages["local shape"]
        assert "(3, 5)" in messages["local shape"]
        assert "`seed` must be given" in messages["no seed"]
        assert messages["no seed, drop-in"] == messages["no seed"]
        assert "`device`" in messages["device"]
        assert "`index`" in messages["index"]
        assert "modified by an inplace operation" in messages["autograd"]


@pytest.mark.slow
def test_slices_are_drawn_or_refused(tmp_path):
    """Where torch gathers a slice into memory of its own, a draw into that would be lost."""
    gathered = {"rows, S(0)", "row, S(0)", "part of rows, S(0)", "columns, S(1)"}
    for found in world(2, tmp_path / "store", "slices"):
        assert len(found) == 21
        refused = {name for name, what in found.items() if what == "refused"}
        assert refused == {name.replace("S(", "Shard(dim=") for name in gathered} or refused == gathered
        assert {what for name, what in found.items() if name not in refused} == {"drawn"}


def test_slices_are_refused_where_a_rank_holds_nothing():
    """All ranks of a world answer alike: the last three of eight have nothing of five rows."""
    torch = pytest.importorskip("torch")
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    torch.distributed.init_process_group("fake", store=fake.FakeStore(), rank=7, world_size=8)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (8,))
        rows, columns, whole = (
            distribute_tensor(torch.zeros(5, 6), mesh, [placement], src_data_rank=None)
            for placement in (Shard(0), Shard(1), Replicate())
        )
        for view in (rows[2:], rows[:2], rows[0], rows.chunk(2)[0], columns[:, 2:], columns.select(1, 0)):
            with pytest.raises(ValueError, match="has gathered from other ranks"):
                ai.normal_(view, seed=0)
        for view in (rows[:, 2:], rows.t(), rows.unsqueeze(0), columns[2:], columns[0], whole[2:], whole[:, 1]):
            ai.normal_(view, seed=0)
        assert torch.equal(whole.to_local()[2:, 2:], ai.normal((3, 6), seed=0, xp=torch)[:, 2:])
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 4])
def test_fingerprints_of_what_is_sharded(tmp_path, size):
    """FSDP2, tensor parallelism and both, uneven shards: that of the whole, by small all-reduces, none gathered."""
    results = world(size, tmp_path / "store", "marks")
    for result in results:
        assert result["differing"] == []
        assert result["changed"] == ["up.weight"]
        assert result["gathered"] == 0
        assert all(len(sizes) <= 4 for sizes in result["collectives"].values()), result["collectives"]
        assert len(result["collectives"]["fsdp"]) == 2
        assert result["collectives"]["fsdp"][0] == 6  # numbers
        assert result["refused"].startswith("`x` must be what this process holds")
        differ = "copies differ between processes"
        assert result["copies"] == [f"`x`: {differ}", f"'other': {differ}", True] * (1 if size == 3 else 4)
    parts = [ai.FingerprintPart.from_dict(result["part"]) for result in results]  # as from files
    assert {sum(parts).digest()} == {result["tensor"] for result in results}
