"""Packed tensors and all that is made of them: each block is a draw of its own, whatever the library and the part."""

import tracemalloc

import jax
import numpy as np
import pytest
import torch
from conftest import PLACES, same, to_host

import arrayinit as ai
import arrayinit.draw as draw_module
from arrayinit import job
from arrayinit.laws import moments
from arrayinit.laws.regions import Box

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")

S = ai.spec
CUTS = [
    np.s_[...],
    np.s_[3:20],
    np.s_[::-2, 1::3],
    np.s_[7],
    np.s_[..., 4],
    np.s_[2:2],
    np.s_[-4:-1, -3],
    np.s_[20, 3],
    np.s_[::5, ::-1],
]
MIXED = S("packed", initializer=[S("normal"), S("ones"), S("uniform"), S("trunc_normal")], blocks=[9, 1, 0, 14])
DRAWS = [
    S("packed", initializer=S("xavier_uniform"), blocks=4),
    S("packed", initializer=S("kaiming_normal"), blocks=[5, 19]),
    S("packed", initializer=S("sparse", sparsity=0.3), blocks=3),
    MIXED,
    S("packed", initializer=[MIXED, S("xavier_normal")], blocks=[24, 0]),
    S("packed", initializer=S("packed", initializer=S("normal"), blocks=3), blocks=2),
]


def test_many_blocks_take_little_memory_each(monkeypatch):
    x, blocks = np.empty((800, 2), np.float32), 800
    ai.packed_(x, S("normal"), blocks, seed=1)
    draw_module._jobs.clear()
    tracemalloc.start()
    try:
        ai.packed_(x, S("normal"), blocks, seed=1)
        assert tracemalloc.get_traced_memory()[1] < 1000 * blocks
    finally:
        tracemalloc.stop()
    for k in (0, 177, 799):
        assert same(x[k : k + 1], ai.normal((1, 2), seed=ai.fold(1, k)))


@pytest.mark.parametrize("draw", DRAWS, ids=range(len(DRAWS)))
def test_pieces_are_the_same_whether_they_are_remembered_or_not(draw, monkeypatch):
    wanted = draw((24, 6), seed=1)
    monkeypatch.setattr(job, "PIECES_KEPT", 0)
    monkeypatch.setattr(draw_module, "PIECES", 0)
    for library in ("numpy", "jax"):
        for _ in range(2):
            assert same(draw((24, 6), seed=1, xp=library), wanted)
    assert same(draw((24, 6), seed=1, index=np.s_[::5, ::-1]), wanted[::5, ::-1])


def test_blocks_that_are_alike_are_described_once(monkeypatch):
    asked = []
    real = moments._moments
    monkeypatch.setattr(moments, "_moments", lambda *given: (asked.append(given), real(*given))[1])
    found = ai.describe(S("packed", initializer=S("truncated_normal"), blocks=500), (1000, 3))
    assert len(asked) == 1
    assert found == ai.Description(
        **vars(ai.describe("truncated_normal", (2, 3))) | {"name": "packed", "shape": (1000, 3)}
    )


@pytest.mark.places
@pytest.mark.parametrize("index", CUTS, ids=str)
@pytest.mark.parametrize("draw", DRAWS, ids=range(len(DRAWS)))
def test_a_part_is_a_slice(draw, index):
    whole = draw((24, 7), seed=3)
    for place in PLACES:
        x = draw((24, 7), seed=3, index=index, **place.where)
        assert same(x, whole[index]), place
        if place.backend != "jax":
            local = ai.ones(whole[index].shape, **place.where)
            assert same(draw.fill_(local, seed=3, shape=(24, 7), index=index), whole[index]), place


@pytest.mark.parametrize("index", CUTS, ids=str)
@pytest.mark.parametrize("draw", DRAWS, ids=range(len(DRAWS)))
def test_a_part_is_a_slice_under_jit(draw, index):
    traced = jax.jit(lambda key: draw((24, 7), seed=key, index=index, xp="jax"))(jax.random.key(3))
    assert same(traced, draw((24, 7), seed=3)[index])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "complex64"])
def test_a_block_is_the_draw_of_its_own_shape_under_a_folded_key(dtype):
    specs = [S("xavier_uniform", gain=2.0), S("orthogonal"), S("kaiming_normal", mode="fan_out")]
    for layout, axis in ((None, 0), ("oi", 0), ("io", 1)):
        shape, block = ((12, 5), (4, 5)) if axis == 0 else ((5, 12), (5, 4))
        x = ai.packed(shape, specs, blocks=3, seed=7, layout=layout, dtype=dtype)
        for k, (piece, one) in enumerate(zip(np.split(to_host(x), 3, axis), specs, strict=True)):
            assert same(piece, one(block, seed=ai.fold(7, k), layout=layout, dtype=dtype))
    x = ai.packed((4, 3), S("normal"), seed=7, name="w")
    assert same(x, ai.normal((4, 3), seed=ai.fold(ai.fold(7, "w"), 0)))


def test_an_order_gives_blocks_other_numbers():
    specs = [S("xavier_uniform"), S("normal"), S("orthogonal")]
    x = ai.packed((7, 4), specs, blocks=[2, 4, 1], order=(2, 0, 1), seed=7)
    for number, piece, one in zip((2, 0, 1), np.split(x, [2, 6]), specs, strict=True):
        assert same(piece, one(piece.shape, seed=ai.fold(7, number)))
    assert same(ai.packed((6, 4), specs[0], 3, order=range(3), seed=7), ai.packed((6, 4), specs[0], 3, seed=7))
    assert ai.spec("packed", initializer=specs[0], blocks=3, order=[1, 0, 2])((6, 4), seed=7).shape == (6, 4)


@pytest.mark.parametrize(
    ("order", "error", "match"),
    [
        ((0, 1), ValueError, r"`order` must have each number from 0 to 2 once; got \(0, 1\)"),
        ((1, 2, 3), ValueError, "`order` must have each number from 0 to 2 once"),
        ((0, 0, 1), ValueError, "`order` must have each number from 0 to 2 once"),
        ("rzn", TypeError, "`order` must be a sequence of integers, at most 65536 of them; got 'rzn'"),
        (3, TypeError, "`order` must be a sequence of integers"),
    ],
)
def test_wrong_orders(order, error, match):
    with pytest.raises(error, match=match):
        ai.packed((6, 4), S("normal"), 3, order, seed=0)


def test_packed_projections_and_separate_ones_share_weights_in_all_layouts():
    wide = ai.packed((5, 3, 2, 4), S("xavier_normal"), blocks=[1, 2], seed=1, layout="iobo")
    assert same(wide[:, :1], ai.xavier_normal((5, 1, 2, 4), seed=ai.fold(1, 0), layout="iobo"))
    assert same(wide[:, 1:], ai.xavier_normal((5, 2, 2, 4), seed=ai.fold(1, 1), layout="iobo"))
    grouped = ai.packed((8, 3, 3), S("kaiming_uniform"), blocks=2, seed=1, groups=2, transposed=True)
    assert same(grouped[4:], ai.kaiming_uniform((4, 3, 3), seed=ai.fold(1, 1), groups=2, transposed=True))


def test_biases_are_packed():
    x = ai.packed((12,), [S("zeros"), S("ones"), S("uniform", a=-0.1, b=0.1)], blocks=3, seed=5)
    assert (x[:4] == 0).all()
    assert (x[4:8] == 1).all()
    assert same(x[8:], ai.uniform((4,), -0.1, 0.1, seed=ai.fold(5, 2)))
    assert same(ai.packed((4,), [S("zeros"), S("ones")], blocks=2, dtype="int32"), np.int32([0, 0, 1, 1]))


def test_in_place_into_any_memory():
    draw = S("packed", initializer=[S("normal"), S("dirac"), S("uniform")], blocks=[2, 3, 4])
    wanted = draw((9, 4, 3), seed=1, dtype="float64")
    memory = np.full((18, 3, 9), 7.0)
    x = memory[::-2].transpose(0, 2, 1)[:, ::2][:, :4]
    assert draw.fill_(x, seed=1) is x
    assert same(x, wanted)
    assert (memory[::2] == 7).all()
    parameter = torch.nn.Parameter(torch.empty(9, 3, 4, dtype=torch.float64).transpose(1, 2))
    before = parameter._version
    assert same(draw.fill_(parameter, seed=1).detach(), wanted)
    assert parameter._version > before
    assert draw(torch.empty((9, 4, 3), device="meta"), seed=1).is_meta
    blocks = dask.array.empty((9, 4, 3), chunks=((4, 5), 2, 3))
    assert same(draw.fill_(blocks, seed=1), wanted)
    for chunks in ((4, 3, 3), (9, 4, 1)):
        x = DRAWS[0]((24, 7), seed=2, xp="dask", chunks=chunks[:2])
        assert same(x, DRAWS[0]((24, 7), seed=2))


def test_orthogonal_blocks_are_drawn_once_where_the_whole_is_cut():
    draw = S("packed", initializer=S("orthogonal"), blocks=4)
    wanted = draw((24, 7), seed=1)
    assert np.abs(to_host(draw((24, 7), seed=1, xp="dask", chunks=(5, 3))) - wanted).max() < 2e-6
    assert np.abs(draw((24, 7), seed=1, index=np.s_[::-3, 2:]) - wanted[::-3, 2:]).max() < 2e-6
    for k in range(4):
        w = wanted[6 * k : 6 * k + 6]
        assert np.abs(w @ w.T - np.eye(6)).max() < 1e-6


def test_traced_draws():
    draw = S("packed", initializer=[S("normal"), S("zeros")], blocks=[5, 3])
    keys = jax.random.split(jax.random.key(0), 3)
    mapped = jax.vmap(lambda key: draw((8, 4), seed=key, xp="jax"))(keys)
    for key, x in zip(keys, mapped, strict=True):
        assert same(x, draw((8, 4), seed=key))
    assert jax.eval_shape(lambda key: draw((8, 4), seed=key, xp="jax"), keys[0]).shape == (8, 4)
    baked = jax.jit(lambda: draw((8, 4), seed=2**63 + 5, xp="jax"))()
    assert same(baked, draw((8, 4), seed=2**63 + 5))
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    sharded = jax.jit(lambda key: draw((8, 4), seed=key, xp="jax", device=where))(keys[0])
    assert same(sharded, draw((8, 4), seed=keys[0]))
    assert same(draw((8, 4), seed=keys[0], xp="jax", device=where), draw((8, 4), seed=keys[0]))


def test_a_slice_costs_what_it_takes_of_each_block():
    draw = S("packed", initializer=S("normal"), blocks=2)
    part = draw((2**40, 512), seed=0, index=np.s_[2**39 - 1 : 2**39 + 1])
    assert same(part[0], ai.normal((2**39, 512), seed=ai.fold(0, 0), index=2**39 - 1))
    assert same(part[1], ai.normal((2**39, 512), seed=ai.fold(0, 1), index=0))


def test_values_that_are_equal_are_told_apart():
    for value in (0.0, -0.0, 0.0):
        x = ai.packed((2, 3), S("constant", val=value))
        assert (np.signbit(x) == np.signbit(value)).all()
    ai.packed((2, 3), S("constant", val=1))
    with pytest.raises(TypeError, match="`val`"):
        ai.packed((2, 3), S("constant", val=True))


@pytest.mark.parametrize(
    ("parameters", "shape", "keywords", "error", "words"),
    [
        ({"blocks": 5}, (12, 4), {}, ValueError, ["`blocks`", "12", "5"]),
        ({"blocks": 0}, (12, 4), {}, ValueError, ["`blocks`", "0"]),
        ({"blocks": 1.5}, (12, 4), {}, TypeError, ["`blocks`", "1.5"]),
        ({"blocks": True}, (12, 4), {}, TypeError, ["`blocks`", "True"]),
        ({"blocks": [6, 5]}, (12, 4), {}, ValueError, ["`blocks`", "12", "[6, 5]"]),
        ({"blocks": [13, -1]}, (12, 4), {}, ValueError, ["`blocks`", "-1"]),
        ({"blocks": 3, "initializer": [S("normal")] * 2}, (12, 4), {}, ValueError, ["`initializer`", "3", "2"]),
        ({"initializer": "normal"}, (12, 4), {}, TypeError, ["`initializer`", "spec", "'normal'"]),
        ({"initializer": S("normal", layout="io")}, (12, 4), {}, ValueError, ["`layout`", "whole"]),
        ({"initializer": S("xavier_normal")}, (12,), {}, ValueError, ["2 dimensions", "(12,)"]),
        ({}, (), {}, ValueError, ["packed", "()"]),
        ({"initializer": S("normal", std=-1.0)}, (12, 4), {}, ValueError, ["`std`", "-1.0"]),
        ({}, (12, 4), {"dtype": "int32"}, TypeError, ["`dtype`", "int32"]),
        ({"initializer": S("kaiming_normal"), "blocks": 4}, (12, 4), {"groups": 2}, ValueError, ["`groups`", "2"]),
    ],
)
def test_wrong_arguments(parameters, shape, keywords, error, words):
    given = {"initializer": S("normal"), "blocks": 2 if not parameters else 1} | parameters
    with pytest.raises(error) as caught:
        ai.packed(shape, seed=0, **given, **keywords)
    assert all(word in str(caught.value) for word in words), caught.value


def test_boxes_meet_where_their_elements_do():
    """`Box.within` against sets of positions, over all small arithmetic progressions."""
    rng = np.random.default_rng(0)
    for _ in range(20_000):
        start, first = rng.integers(0, 12, 2).tolist()
        step, stride = int(rng.choice([-5, -3, -2, -1, 1, 2, 3, 4, 6])), int(rng.integers(1, 7))
        count, length = (None if n < 0 else n for n in rng.integers(-1, 8, 2).tolist())
        mine = [start + step * j for j in range(1 if count is None else count)]
        others = [first + stride * m for m in range(1 if length is None else length)]
        wanted = [(j, others.index(place)) for j, place in enumerate(mine) if place in others]
        found = Box((start,), (step,), (count,)).within(Box((first,), (stride,), (length,)))
        if found is None:
            assert not wanted
            continue
        index, box = found
        at = index[0] if index else 0
        taken = list(range(*at.indices(len(mine)))) if isinstance(at, slice) else [at]
        if box.starts:
            n = 1 if box.counts[0] is None else box.counts[0]
            places = [box.starts[0] + box.steps[0] * j for j in range(n)]
        else:
            places = [0]
        assert list(zip(taken, places, strict=True)) == wanted


def test_icnr_repeats_its_base_for_a_pixel_shuffle():
    shape, base = (12, 5, 3, 3), (3, 5, 3, 3)
    for inner in (None, S("orthogonal", gain=2.0), S("normal")):
        x = ai.icnr(shape, inner, seed=4)
        wanted = (inner or S("kaiming_normal"))(base, seed=4)
        assert same(x, np.repeat(wanted, 4, axis=0))
    assert same(ai.icnr((3, 3, 5, 12), seed=4, layout="hwio").transpose(3, 2, 0, 1), ai.icnr(shape, seed=4))
    assert same(ai.icnr((9, 5, 3), seed=4, scale=3), np.repeat(ai.kaiming_normal((3, 5, 3), seed=4), 3, axis=0))
    weight = torch.from_numpy(ai.icnr((12, 5, 3, 3), seed=4, dtype="float64"))
    image = torch.from_numpy(ai.normal((2, 5, 6, 7), seed=5, dtype="float64"))
    up = torch.nn.functional.pixel_shuffle(torch.nn.functional.conv2d(image, weight), 2)
    low = torch.nn.functional.conv2d(image, weight[::4])
    assert torch.allclose(up, low.repeat_interleave(2, 2).repeat_interleave(2, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "keywords", "error", "words"),
    [
        ((6, 5, 3, 3), {}, ValueError, ["`scale`", "6"]),
        ((8, 5), {}, ValueError, ["spatial", "(8, 5)"]),
        ((8, 5, 3), {"scale": 0}, ValueError, ["`scale`", "0"]),
        ((8, 5, 3), {"scale": 2.0}, TypeError, ["`scale`", "2.0"]),
        ((8, 5, 3), {"initializer": "normal"}, TypeError, ["`initializer`", "'normal'"]),
    ],
)
def test_wrong_icnr(shape, keywords, error, words):
    with pytest.raises(error) as caught:
        ai.icnr(shape, seed=0, **keywords)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("gates", ["ifgo", "igfo", "fiog"])
def test_lstm_bias_is_at_the_forget_gate(gates):
    x = ai.lstm_bias((12,), 2.5, gates)
    at = gates.index("f")
    assert (x[3 * at : 3 * at + 3] == 2.5).all()
    assert np.count_nonzero(x) == 3
    lstm = torch.nn.LSTM(5, 3)
    ai.lstm_bias_(lstm.bias_ih_l0)
    assert lstm.bias_ih_l0.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6


@pytest.mark.parametrize(
    ("shape", "keywords", "words"),
    [
        ((10,), {}, ["lstm_bias", "(10,)"]),
        ((), {}, ["lstm_bias", "()"]),
        ((12,), {"gates": "ifg"}, ["`gates`", "'ifg'"]),
        ((12,), {"gates": 4}, ["`gates`", "4"]),
        ((12,), {"forget": float("inf")}, ["`forget`", "inf"]),
    ],
)
def test_wrong_lstm_bias(shape, keywords, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the words are what is asked
        ai.lstm_bias(shape, **keywords)
    assert all(word in str(caught.value) for word in words)
