"""One seed, one tensor: every backend x engine x initializer x dtype x shape, by == against the golden vectors."""

import json

import numpy as np
import pytest
from conftest import PLACES, param_places, same, to_host

import arrayinit as ai
from arrayinit.conformance import make_golden
from arrayinit.conformance.cases import CASES, DTYPES, SEED, Case, golden
from arrayinit.conformance.check import tolerance
from arrayinit.conformance.make_golden import vector
from arrayinit.conformance.vector_digest import vector_digest

EXACT = [case for case in CASES if case.is_exact]
INEXACT = [case for case in CASES if not case.is_exact]


@pytest.fixture(scope="module", params=param_places())
def place(request):
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_case_has_the_golden_bits(place, dtype):
    if dtype not in place.dtypes:
        pytest.skip(f"{place.label} has no {dtype}")
    with place.precision(dtype):
        drawn = place.draw(CASES, dtype)
        marks = {case.name: vector_digest(drawn[case.name]) for case in EXACT}
        wanted = {case.name: golden()[case.name][dtype]["fingerprint"] for case in EXACT}
        assert marks == wanted
        for case in INEXACT:
            exact = case.draw("complex128" if dtype.startswith("complex") else "float64")
            assert np.abs(to_host(drawn[case.name]) - exact).max() <= tolerance(dtype)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_file_is_what_the_reference_draws(case):
    for dtype in DTYPES:
        made, wanted = vector(case, dtype), golden()[case.name][dtype]
        if case.is_exact:
            assert made == wanted
        else:
            parts = [[float.fromhex(x) for x in v["head"]] for v in (made, wanted)]
            assert parts[0] == pytest.approx(parts[1], abs=tolerance(dtype))


def test_every_initializer_has_a_golden_vector():
    from arrayinit import initializers

    assert {case.spec.name for case in CASES} == set(initializers.NAMES)
    assert set(golden()) == {case.name for case in CASES}
    assert all(set(by_dtype) == set(DTYPES) for by_dtype in golden().values())


def test_the_file_says_what_its_vectors_are_of():
    data = json.loads(make_golden.PATH.read_text("utf-8"), parse_constant=pytest.fail)
    assert (data["format"], data["stream_version"], int(data["seed"], 16)) == (1, ai.STREAM_VERSION, SEED)
    assert list(data["cases"]) == list(data["vectors"]) == [case.name for case in CASES]
    for case in CASES:
        said = json.loads(json.dumps(data["cases"][case.name]).replace('"inf"', "Infinity"))
        index = tuple(slice(*part) for part in said["index"]) if "index" in said else ()
        keywords = {"index": index} if index else {}
        read = Case(case.name, ai.Spec.from_dict(said["initializer"]), tuple(said["shape"]), keywords)
        assert ai.fingerprint(read.draw("float32")) == ai.fingerprint(case.draw("float32")), case.name


@pytest.mark.places
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "case", [c for c in EXACT if c.name in ("uniform", "normal", "trunc_normal", "sparse", "eye")], ids=lambda c: c.name
)
def test_in_place_and_functional_agree_everywhere(case, dtype):
    wanted = case.draw(dtype)
    keywords = {"seed": 0x0123456789ABCDEF, "name": case.name}
    for place in PLACES:
        if place.backend == "jax" or dtype not in place.dtypes:
            continue
        x = ai.zeros(case.shape, dtype=dtype, **place.where)
        assert case.spec.fill_(x, **keywords) is x
        assert same(x, wanted), place
        assert same(case.spec(x, **keywords), wanted), place


SAMPLED = [
    ai.spec("uniform", a=-0.25, b=3.0),
    ai.spec("normal"),
    ai.spec("trunc_normal", std=0.7),
    ai.spec("sparse", sparsity=0.3),
]


@pytest.mark.places
@pytest.mark.parametrize("draw", SAMPLED, ids=lambda s: s.name)
@pytest.mark.parametrize(
    "index",
    [np.s_[3:20], np.s_[:, 5:6], np.s_[::-2, 1::3], np.s_[7], np.s_[..., 4], np.s_[2:2], np.s_[-4:-1, -3]],
    ids=str,
)
def test_a_shard_is_a_slice(draw, index):
    shape = (29, 23)
    whole = draw(shape, seed=3)
    part = whole[index]
    for place in PLACES:
        x = draw(shape, seed=3, index=index, **place.where)
        assert same(x, part), place
        if place.backend != "jax":
            local = ai.ones(part.shape, **place.where)
            assert same(draw.fill_(local, seed=3, shape=shape, index=index), part), place


@pytest.mark.places
@pytest.mark.parametrize("draw", SAMPLED[:3], ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_layout_is_only_layout(draw, dtype):
    torch_conv = draw((6, 5, 3, 4), seed=1, layout="oihw", dtype=dtype)
    for place in PLACES:
        if dtype in place.dtypes:
            flax_conv = draw((3, 4, 5, 6), seed=1, layout="hwio", dtype=dtype, **place.where)
            assert same(flax_conv, torch_conv.transpose(2, 3, 1, 0)), place
            by_axes = draw((3, 4, 5, 6), seed=1, in_axis=-2, out_axis=-1, dtype=dtype, **place.where)
            assert same(by_axes, flax_conv), place


def test_layouts_of_dense_and_stacked_weights():
    dense = ai.xavier_normal((8, 6), seed=1)
    assert same(ai.xavier_normal((6, 8), seed=1, layout="io"), dense.T)
    # Attention kernels with two output axes: the canonical order is (heads, size, in).
    heads = ai.xavier_normal((6, 2, 4), seed=1, layout="ioo")
    assert same(heads.transpose(1, 2, 0).reshape(8, 6), dense)
    stacked = ai.xavier_normal((6, 3, 8), seed=1, layout="ibo")
    assert same(stacked.transpose(1, 2, 0), ai.xavier_normal((3, 8, 6), seed=1, layout="boi"))
    assert same(stacked[:, 0].T, dense)  # the batch comes first, so its first element has the same indices


@pytest.mark.parametrize("name", ["sparse", "orthogonal", "eye"])
def test_layout_of_matrices(name):
    parameters = {"sparsity": 0.5} if name == "sparse" else {}
    draw = ai.spec(name, **parameters)
    assert same(draw((8, 6), seed=1), draw((6, 8), seed=1, layout="io").T)


@pytest.mark.parametrize("draw", SAMPLED[1:2], ids=lambda s: s.name)
def test_value_does_not_depend_on_the_size_of_what_is_drawn(draw):
    whole = draw((200_000,), seed=9)
    for n in (1, 2, 3, 4, 5, 65_535, 65_536, 65_537, 131_073):
        assert same(draw((n,), seed=9), whole[:n])


def test_names_and_seeds_are_separate_streams():
    draws = [
        ai.normal((64,), seed=s, name=n) for s in (0, 1, 2**32, 2**63) for n in (None, "a", "b", "", "a.weight", 0, 1)
    ]
    assert len({x.tobytes() for x in draws}) == len(draws)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("draw", SAMPLED[:3], ids=lambda s: s.name)
def test_one_draw_every_precision(draw, dtype):
    """The narrow draw is the wide one rounded, then moved inside the bounds."""
    kind = np.dtype(np.float32) if dtype == "float32" else ai.zeros(1, dtype=dtype).dtype
    wide = draw((300, 301), seed=5, dtype="float64").astype(np.float32)
    rounded = wide.astype(kind).astype(np.float64)
    if draw.name != "normal":
        bounds = (-0.25, float(np.nextafter(np.float32(3), np.float32(0)))) if draw.name == "uniform" else (-2.0, 2.0)
        if draw.name == "uniform" and dtype != "float32":
            bounds = (-0.25, {"float16": 3 - 2.0**-9, "bfloat16": 3 - 2.0**-6}[dtype])
        rounded = np.clip(rounded, *bounds)
    assert same(to_host(draw((300, 301), seed=5, dtype=dtype)).astype(np.float64), rounded)
