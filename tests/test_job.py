"""Jobs cut into others, and targets that allocate."""

import pickle

import numpy as np
import pytest
from conftest import same

import arrayinit as ai
from arrayinit import engines, job as jobs
from arrayinit.backends import backend_named
from arrayinit.engines.parts import part_filler
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Bits, Normal, Orthogonal, Packed, Piece, Sparse
from arrayinit.laws.geometry import geometry
from arrayinit.laws.regions import box

NUMPY = backend_named("numpy")
SHAPE = (12, 10)
LAWS = [Normal(0.1, 2.0), Bits(0), Orthogonal(1.0), Sparse(zeros=4, std=0.5)]
by_law = pytest.mark.parametrize("law", LAWS, ids=str)


def job_of(law, index=None, shape=SHAPE):
    dtype = "uint32" if isinstance(law, Bits) else "float32"
    return Job.of(law, Key(3), geometry(shape), box(shape, index), dtype)


def drawn(job):
    return engines.run(job, Target(NUMPY, None, in_place=False, device=None))


@by_law
def test_a_part_is_a_slice_of_the_draw(law):
    whole = job_of(law, np.s_[::-1, 1:])
    assert same(drawn(whole.part((2, 3), (5, 4))), drawn(whole)[2:7, 3:7])
    assert same(drawn(whole.part((2, 3), (5, 4)).part((1, 0), (2, 4))), drawn(whole)[3:5, 3:7])
    assert whole.part((2, 3), (5, 4)).memo is not whole.memo


@by_law
def test_parts_of_a_job_are_filled_from_one_draw_of_a_joint_law(law, monkeypatch):
    asked = []
    run = engines.run
    monkeypatch.setattr(
        "arrayinit.engines.parts.run", lambda job, target: (asked.append(job.shape), run(job, target))[1]
    )
    out, fill = np.empty(SHAPE, "uint32" if isinstance(law, Bits) else "float32"), part_filler(job_of(law), NUMPY)
    for row in (0, 4, 8):
        fill((row, 0), out[row : row + 4])
    assert same(out, drawn(job_of(law)))
    assert asked == ([SHAPE] if isinstance(law, Orthogonal | Sparse) else [(4, 10)] * 3)


def test_pieces_and_what_they_cover(monkeypatch):
    halves = [box(SHAPE, np.s_[:6]), box(SHAPE, np.s_[6:])]
    pieces = tuple(
        Piece(box=half, law=Normal(0.0, 1.0), geometry=geometry((6, 10)), fold=fold) for fold, half in enumerate(halves)
    )
    for kept in (256, 0):
        monkeypatch.setattr(jobs, "PIECES_KEPT", kept)
        both, first = job_of(Packed(pieces)), job_of(Packed(pieces[:1]))
        assert both.is_covered
        assert not first.is_covered
        assert [job.key for _, job in both.pieces()] == [Key(3).fold(0), Key(3).fold(1)]
        assert [place for place, _ in both.pieces()] == [
            (slice(0, 6, 1), slice(0, 10, 1)),
            (slice(6, 12, 1), slice(0, 10, 1)),
        ]


def test_a_job_is_pickled_without_its_memo():
    job = job_of(Normal(0.0, 1.0))
    job.memo["address"] = 1
    copy = pickle.loads(pickle.dumps(job))
    assert copy == job
    assert not copy.memo


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "dask"])
def test_a_target_is_ready_with_its_array_or_as_it_is(library):
    pytest.importorskip(library)
    target = Target(backend_named(library), None, in_place=False, device=None)
    ready = target.ready(job_of(Normal(0.0, 1.0)))
    if target.backend.fills_in_place:
        assert ready.in_place
        assert tuple(ready.array.shape) == SHAPE
    else:
        assert ready is target
    with pytest.raises(ValueError, match="fewer than" if library != "dask" else "blocks"):
        target.ready(job_of(Normal(0.0, 1.0), shape=(2**31, 2**31)))
    assert ai.normal(SHAPE, seed=0, xp=library).shape == SHAPE
