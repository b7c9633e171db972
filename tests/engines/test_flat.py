"""Flat parts: elements of a tensor in row-major order equal that slice of the whole, on every backend."""

import math

import dask.array
import jax
import numpy as np
import own_schemes  # noqa: F401 # registers schemes whose parts are drawn in several ways
import pytest
import torch
from conftest import PLACES, same
from hypothesis import given, settings, strategies as st

import arrayinit as ai
from arrayinit.laws.regions import Flat

SPECS = [
    ai.spec("normal"),
    ai.spec("uniform", a=-0.25, b=3.0),
    ai.spec("trunc_normal", std=0.7),
    ai.spec("distribution", distribution="logistic"),
    ai.spec("sinusoidal"),
    ai.spec("eye"),
    ai.spec("constant", val=2.0),
    ai.spec("sparse", sparsity=0.4),
    ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=2),
    ai.spec("lab.by_frequency"),
]
spec_of_all = pytest.mark.parametrize("s", SPECS, ids=lambda s: s.name)


@st.composite
def ranges(draw, ranks=(1, 4)):
    shape = draw(st.lists(st.integers(0, 5), min_size=ranks[0], max_size=ranks[1]).map(tuple))
    start = draw(st.integers(0, math.prod(shape)))
    return shape, start, draw(st.integers(start, math.prod(shape)))


@given(ranges(ranks=(0, 5)))
def test_boxes_cover_the_elements_in_order(case):
    shape, start, stop = case
    whole = np.arange(math.prod(shape)).reshape(shape)
    pieces, place = [np.zeros(0, int)], 0
    for where, box in Flat(shape, start, stop).boxes():
        index, flipped = box.ascending
        assert not flipped
        pieces.append(whole[index].reshape(-1))
        assert where == slice(place, place + pieces[-1].size)
        place = where.stop
    assert np.array_equal(np.concatenate(pieces), np.arange(start, stop))
    assert len(pieces) - 1 <= max(1, 2 * len(shape) - 1)


@spec_of_all
@settings(max_examples=40, deadline=None)
@given(case=ranges(ranks=(2, 2)), seed=st.integers(0, 2**64 - 1), layout=st.sampled_from([None, "io"]))
def test_any_range_of_a_matrix(s, case, seed, layout):
    shape, start, stop = case
    if s.name == "packed":
        shape = (2 * shape[0], 2 * shape[1])
    keywords = {} if layout is None else {"layout": layout}
    if s.name == "lab.by_frequency" and 0 in shape:
        return
    whole = s(shape, seed=seed, name="w", **keywords).reshape(-1)[start:stop]
    flat = slice(start, stop)
    assert same(s(shape, seed=seed, name="w", flat=flat, **keywords), whole)
    x = np.full(2 * (stop - start), 7.0, np.float32)
    s.fill_(x[::2], seed=seed, name="w", shape=shape, flat=flat, **keywords)
    assert same(x[::2], whole)
    assert (x[1::2] == 7.0).all()
    local = torch.empty(stop - start)
    assert s.fill_(local, seed=seed, name="w", shape=shape, flat=flat, **keywords) is local
    assert same(local, whole)


@spec_of_all
@pytest.mark.places
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_all_places(s, dtype):
    shape, flat = (6, 10), slice(7, 43)
    if s.name in ("normal", "uniform", "trunc_normal", "packed", "lab.by_frequency"):
        shape = (6, 2, 5)
    whole = s(shape, seed=3, dtype=dtype, xp="torch").reshape(-1)[flat]
    for place in PLACES:
        if dtype in place.dtypes:
            with place.precision(dtype):
                assert same(s(shape, seed=3, dtype=dtype, flat=flat, **place.where), whole), place


@spec_of_all
def test_traced_and_chunked(s):
    shape, flat = (6, 10), slice(7, 43)
    whole = s(shape, seed=3).reshape(-1)[flat]
    assert same(jax.jit(lambda key: s(shape, seed=key, flat=flat, xp="jax"))(jax.random.key(3)), whole)
    assert same(s(shape, seed=3, flat=flat, xp=dask.array, chunks=5).compute(scheduler="synchronous"), whole)
    torch.compiler.reset()
    fill = torch.compile(lambda x: s.fill_(x, seed=3, shape=shape, flat=flat), fullgraph=True, backend="eager")
    assert same(fill(torch.empty(36)), whole)


def test_orthogonal():
    whole = ai.orthogonal((6, 4), seed=3)
    assert np.abs(ai.orthogonal((6, 4), seed=3, flat=slice(3, 17)) - whole.reshape(-1)[3:17]).max() <= 2e-6


def test_a_range_costs_as_much_as_its_elements():
    far = ai.normal((2**30, 2**20), seed=3, flat=slice(2**49 - 3, 2**49 + 4))
    row, before = divmod(2**49 - 3, 2**20)
    assert same(far[:3], ai.normal((2**30, 2**20), seed=3, index=(row, slice(before, None))))
    assert same(far[3:], ai.normal((2**30, 2**20), seed=3, index=(row + 1, slice(0, 4))))


def test_open_ends():
    whole = ai.uniform((3, 5), seed=1).reshape(-1)
    assert same(ai.uniform((3, 5), seed=1, flat=slice(None)), whole)
    assert same(ai.uniform((3, 5), seed=1, flat=slice(4, None)), whole[4:])
    assert same(ai.uniform((3, 5), seed=1, flat=slice(None, np.int64(4))), whole[:4])
    assert ai.uniform((3, 5), seed=1, flat=slice(15, 15)).shape == (0,)


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"flat": slice(0, 61)}, ValueError, r"`flat` must be 0 <= start <= stop <= 60, .*slice\(0, 61\)"),
        ({"flat": slice(5, 2)}, ValueError, r"got slice\(5, 2\)"),
        ({"flat": slice(-3, 2)}, ValueError, r"got slice\(-3, 2\)"),
        ({"flat": slice(0, 9, 2)}, TypeError, "with a step of 1"),
        ({"flat": slice(9, 0, -1)}, TypeError, "with a step of 1"),
        ({"flat": (0, 3)}, TypeError, r"such as slice\(0, 1000\); got \(0, 3\)"),
        ({"flat": 3}, TypeError, "got 3"),
        ({"flat": slice(0, 2.5)}, TypeError, "`flat` must have integers for its ends"),
        ({"flat": slice("0", 2)}, TypeError, "`flat` must have integers for its ends"),
        ({"flat": slice(0, 5), "index": 0}, TypeError, "`flat` and `index` must not be given together"),
    ],
)  # fmt: skip
def test_wrong_ranges(keywords, error, words):
    with pytest.raises(error, match=words):
        ai.normal((4, 3, 5), seed=0, **keywords)
    x = np.full(5, 7.0)
    with pytest.raises(error, match=words):
        ai.normal_(x, seed=0, shape=(4, 3, 5), **keywords)
    assert (x == 7.0).all()


@pytest.mark.parametrize(
    ("x", "keywords", "error", "words"),
    [
        (np.empty(4), {"shape": (4, 3), "flat": slice(0, 5)}, ValueError, r"`flat` must select .* of shape \(5,\)"),
        (np.empty((1, 5)), {"shape": (4, 3), "flat": slice(0, 5)}, ValueError, "`flat` must select a part of"),
        (np.empty(5), {"flat": slice(0, 5)}, TypeError, "`flat` must come with `shape`"),
    ],
)  # fmt: skip
def test_arrays_that_hold_something_else(x, keywords, error, words):
    with pytest.raises(error, match=words):
        ai.normal_(x, seed=0, **keywords)
