"""The numbers of schemes against their papers' formulas, worked out by other means."""

import math

import jax
import numpy as np
import pytest
import scipy.stats
import torch
from conftest import PLACES, same, to_host

import arrayinit as ai
import arrayinit.torch


def test_truncated_normal_is_in_units_of_std():
    x = ai.truncated_normal((300, 301), 2.0, 0.5, -1.0, 3.0, seed=1, dtype="float64")
    assert same(x, ai.trunc_normal((300, 301), 2.0, 0.5, 1.5, 3.5, seed=1, dtype="float64"))
    assert scipy.stats.kstest(x.ravel(), scipy.stats.truncnorm(-1, 3, 2.0, 0.5).cdf).pvalue > 1e-3
    half = ai.truncated_normal((9, 9), lower=1.0, upper=math.inf, seed=1)
    assert half.min() >= 1
    z = ai.truncated_normal((300, 301), 2.0, 0.5, -1.0, 3.0, seed=1, dtype="complex128")
    part = scipy.stats.truncnorm(-1, 3, 2.0, 0.5 / math.sqrt(2))
    assert scipy.stats.kstest(z.imag.ravel(), part.cdf).pvalue > 1e-3
    assert (ai.truncated_normal((3,), 2.0, 0.0) == 2).all()


@pytest.mark.parametrize(("mean", "std", "a", "b"), [(5.0, 1.0, -2.0, 2.0), (0.0, 0.5, 1.5, math.inf)])
def test_a_mean_far_from_the_bounds_warns_once_of_the_line_that_draws(mean, std, a, b):
    text = rf"^mean is more than 2 std from \[a, b\].*got mean={mean}, std={std}, a={a} and b={b}$"
    draws = (
        lambda: ai.trunc_normal((3,), mean, std, a, b, seed=0),
        lambda: ai.trunc_normal_(np.ones(3), mean, std, a, b, seed=0),
        lambda: arrayinit.torch.trunc_normal_(torch.empty(3), mean, std, a, b, seed=0),
    )
    for draw in draws:
        for _ in range(2):  # each call warns, though the law is remembered
            with pytest.warns(UserWarning, match=text) as caught:
                draw()
            assert [(warning.filename, len(caught)) for warning in caught] == [(__file__, 1)]
    # A spec is written down on purpose, and bounds in units of std are meant as they are.
    ai.spec("trunc_normal", mean=mean, std=std, a=a, b=b)((3,), seed=0)
    ai.truncated_normal((3,), lower=3.0, upper=math.inf, seed=0)
    ai.trunc_normal((3,), 2.0 + 2 * std, std, seed=0)  # just not far


def test_siren_keeps_the_variance_of_sines():
    assert ai.describe(ai.spec("siren"), (50, 40)).high == math.sqrt(6 / 40) / 30
    assert ai.describe(ai.spec("siren", omega=10.0, layout="io"), (40, 50)).high == math.sqrt(6 / 40) / 10
    assert ai.describe(ai.spec("siren", first=True), (50, 40)).high == 1 / 40
    # What enters the sines of hidden layers has a variance v = 1 - exp(-2 v): 2 E[sin^2] of a normal with variance v.
    x = np.random.default_rng(0).uniform(-1, 1, (2000, 128))
    h = np.sin(30 * x @ ai.siren((256, 128), first=True, seed=0, dtype="float64").T)
    for seed in range(1, 4):
        entering = 30 * h @ ai.siren((256, h.shape[1]), seed=seed, dtype="float64").T
        h = np.sin(entering)
    assert entering.var() == pytest.approx(0.7968, abs=0.02)


def test_scaled_truncated_normal():
    law = ai.describe("scaled_truncated_normal", (50, 40))
    assert (law.distribution, law.low, law.high) == ("truncated_normal", -3 / math.sqrt(40), 3 / math.sqrt(40))
    assert law.std == pytest.approx(scipy.stats.truncnorm.std(-3, 3) / math.sqrt(40), rel=1e-9)
    law = ai.describe(ai.spec("scaled_truncated_normal", gain=0.5, mode="fan_out", cut=2), (50, 40))
    assert law.high == pytest.approx(2 * 0.5 / math.sqrt(50), rel=1e-15)
    x = ai.scaled_truncated_normal((300, 400), seed=0, dtype="float64").ravel() * 20
    assert scipy.stats.kstest(x, scipy.stats.truncnorm(-3, 3).cdf).pvalue > 1e-4
    wanted = ai.truncated_normal((300, 400), std=1 / 20, lower=-3, upper=3, seed=0)
    assert np.array_equal(ai.scaled_truncated_normal((300, 400), seed=0), wanted)
    assert (ai.scaled_truncated_normal((3, 4), gain=0, seed=0) == 0).all()


def test_small_and_wang():
    assert ai.describe(ai.spec("small_normal"), (50, 40)).std == math.sqrt(2 / 5 / 40)
    assert ai.describe(ai.spec("small_normal", dim=64), (50,)).std == math.sqrt(2 / (5 * 64))
    wide = ai.describe("xavier_normal", (256, 64)).std  # section 2.2: the smallest of a transformer's weights
    assert ai.describe(ai.spec("small_normal"), (256, 64)).std == pytest.approx(wide)
    assert ai.describe(ai.spec("wang_normal", layers=12), (50, 64)).std == 2 / 12 / 8


def test_prior_bias_predicts_the_prior():
    for p in (0.01, 0.5, 0.3, 1e-300, 1 - 2**-53):
        bias = float(ai.prior_bias((1,), p, dtype="float64")[0])
        assert bias == pytest.approx(-math.log((1 - p) / p), rel=1e-15, abs=1e-300)
    assert (torch.sigmoid(ai.prior_bias((3,), xp="torch")) - 0.01).abs().max() < 1e-8


@pytest.mark.places
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "int32"])
def test_identity_is_eye_and_dirac_of_any_rank(dtype):
    for place in PLACES:
        if dtype not in (*place.dtypes, "int32"):
            continue
        keywords = {"dtype": dtype, **place.where}
        assert same(ai.identity((5, 7), **keywords), ai.eye((5, 7), **keywords)), place
        assert same(ai.identity((6, 4, 3, 2), groups=2, **keywords), ai.dirac((6, 4, 3, 2), groups=2, **keywords))
        assert same(to_host(ai.identity((7, 5), -2, **keywords)), -2 * np.eye(7, 5)), place
    deep = ai.identity((2, 4, 3, 1, 2, 4, 2), 0.25, layout="oihhhhh".replace("h", "s"), index=np.s_[1])
    assert deep[1, 1, 0, 1, 2, 1] == 0.25
    assert np.count_nonzero(deep) == 1
    x = np.random.default_rng(0).normal(size=(3, 5))
    stacked = ai.identity((6, 5), 3.0, groups=2, dtype="float64")
    assert np.array_equal(x @ stacked.T, 3 * np.concatenate([x[:, :3], x[:, :3]], axis=1))


@pytest.mark.parametrize("shape", [(6, 4, 3), (5, 5, 4, 3), (7, 3, 2, 1, 5)])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_delta_orthogonal_keeps_lengths(shape, dtype):
    x = ai.delta_orthogonal(shape, 2.0, seed=1, dtype=dtype)
    centre = tuple((k - 1) // 2 for k in shape[2:])
    w = x[(slice(None), slice(None), *centre)]
    assert np.abs(w.conj().T @ w - 4 * np.eye(shape[1])).max() < 1e-13
    assert np.count_nonzero(x) == np.count_nonzero(w)
    assert np.abs(w - ai.orthogonal(shape[:2], 2.0, seed=1, dtype=dtype)).max() < 1e-13
    flax = ai.delta_orthogonal((*shape[2:], shape[1], shape[0]), 2.0, seed=1, dtype=dtype, in_axis=-2, out_axis=-1)
    assert np.abs(np.moveaxis(flax, (-1, -2), (0, 1)) - x).max() < 1e-13
    part = ai.delta_orthogonal(shape, 2.0, seed=1, dtype=dtype, index=np.s_[::-2, 1:])
    assert np.abs(part - x[::-2, 1:]).max() < 1e-13


@pytest.mark.parametrize(
    ("shape", "keywords"), [((12, 5), {}), ((5, 12), {}), ((7, 7), {}), ((4, 9), {"layout": "io"})]
)
def test_spectral_orthogonal_has_equal_singular_values(shape, keywords):
    x = ai.spectral_orthogonal(shape, 0.5, seed=1, dtype="float64", **keywords)
    out, in_ = reversed(shape) if keywords else shape
    assert np.linalg.svd(x, compute_uv=False) == pytest.approx(0.5 * math.sqrt(out / in_), rel=1e-9)
    same_directions = ai.orthogonal(shape, 0.5 * math.sqrt(out / in_), seed=1, dtype="float64", **keywords)
    assert np.array_equal(x, same_directions)
    assert ai.describe(ai.spec("spectral_orthogonal", gain=0.5), (12, 5)).gain == 0.5
    turned = ai.spectral_orthogonal((12, 5), seed=1, dtype="float64", transposed=True)
    assert np.linalg.svd(turned, compute_uv=False) == pytest.approx(math.sqrt(5 / 12), rel=1e-9)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 7])
def test_bilinear_is_the_filter_of_fcn(kernel):
    factor = (kernel + 1) // 2
    centre = factor - 1 if kernel % 2 else factor - 0.5
    y, x = np.ogrid[:kernel, :kernel]
    tent = (1 - abs(y - centre) / factor) * (1 - abs(x - centre) / factor)
    weight = ai.bilinear((3, 3, kernel, kernel), dtype="float64")
    for o in range(3):
        for i in range(3):
            np.testing.assert_allclose(weight[o, i], tent if o == i else 0 * tent, rtol=1e-15)
    depthwise = ai.bilinear((3, 1, kernel, kernel), groups=3, dtype="float64")
    assert (depthwise == weight[0, :1]).all()
    flax = ai.bilinear((kernel, kernel, 3, 3), layout="hwio", dtype="float64")
    assert np.array_equal(flax.transpose(3, 2, 0, 1), weight)
    part = ai.bilinear((3, 3, kernel, kernel), dtype="float64", index=np.s_[::-1, 1:, 1])
    assert np.array_equal(part, weight[::-1, 1:, 1])


def test_a_transposed_convolution_of_bilinear_interpolates():
    image = torch.rand(1, 2, 6, 6, dtype=torch.float64)
    layer = torch.nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, groups=2, bias=False, dtype=torch.float64)
    ai.bilinear_(layer.weight, groups=2, transposed=True)
    wanted = torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    found = layer(image)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1])  # the edges are zero-padded


def test_delta_orthogonal_is_where_jax_puts_it():
    for shape in ((3, 4, 6), (4, 2, 3, 3)):
        theirs = jax.nn.initializers.delta_orthogonal()(jax.random.key(0), shape)
        ours = ai.delta_orthogonal(shape, seed=0, in_axis=-2, out_axis=-1)
        assert ((np.abs(theirs).sum((-1, -2)) > 0) == (np.abs(ours).sum((-1, -2)) > 0)).all()


@pytest.mark.places
@pytest.mark.parametrize(
    ("draw", "limit"),
    [
        (ai.spec("normal", mean=5.0, std=0.0), 5),
        (ai.spec("trunc_normal", mean=5.0, std=0.0, a=-2.0, b=2.0), 2),
        (ai.spec("trunc_normal", mean=-5.0, std=0.0, a=-2.0, b=float("inf")), -2),
        (ai.spec("truncated_normal", mean=5.0, std=0.0), 5),
        (ai.spec("xavier_normal", gain=0.0), 0),
        (ai.spec("xavier_uniform", gain=0.0), 0),
        (ai.spec("variance_scaling", scale=0.0), 0),
        (ai.spec("orthogonal", gain=0.0), 0),
        (ai.spec("sparse", sparsity=0.5, std=0.0), 0),
        (ai.spec("packed", initializer=ai.spec("normal", mean=5.0, std=0.0), blocks=2), 5),
        (ai.spec("constant", val=5.0), None),
    ],
    ids=str,
)
def test_laws_without_a_spread_are_the_limit_of_those_with_one(draw, limit):
    """Each part of a complex element has the mean; only of a constant the value is that of the whole."""
    wanted = {"float32": limit or 0, "complex64": complex(limit or 0, limit or 0)}
    if limit is None:
        wanted = {"float32": 5, "complex64": 5}
    for place in PLACES:
        for dtype, value in wanted.items():
            if dtype in place.dtypes:
                x = draw((4, 6), seed=0, dtype=dtype, **place.where)
                assert (to_host(x) == value).all(), (place, dtype)
    traced = jax.jit(lambda k: draw((4, 6), seed=k, xp="jax", dtype="complex64"))(jax.random.key(0))
    assert (to_host(traced) == wanted["complex64"]).all()


def test_laws_with_little_spread_are_near_those_with_none():
    for name in ("normal", "truncated_normal"):
        near = getattr(ai, name)((50,), 5.0, 0.01, seed=0, dtype="complex64")
        assert np.abs(near - getattr(ai, name)((50,), 5.0, 0.0, dtype="complex64")).max() < 0.1


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
def test_laws_without_a_spread_keep_their_bounds_in_every_dtype():
    keywords = {"mean": 5.0, "std": 0.0, "a": -0.3, "b": 0.3}
    for dtype, most in (("bfloat16", 0.298828125), ("float16", 0.2998046875), ("float32", 0.29999998211860657)):
        assert (to_host(ai.trunc_normal((3,), seed=0, dtype=dtype, **keywords)) == most).all()
        assert (to_host(ai.trunc_normal((3,), seed=0, dtype=dtype, **keywords | {"mean": -5.0})) == -most).all()
    z = ai.trunc_normal((3,), seed=0, dtype="complex64", **keywords)
    assert (z == np.complex64(0.29999998211860657 * (1 + 1j))).all()
    with pytest.raises(ValueError, match=r"\[a, b\] must hold a value of bfloat16"):
        ai.trunc_normal((3,), 5.0, 0.0, 0.2995, 0.3, dtype="bfloat16")
    with pytest.raises(ValueError, match="`mean`"):
        ai.normal((3,), 1e6, 0.0, dtype="float16")
    assert (ai.normal((3,), 7.0, 0.0, dtype="int32") == 7).all()


WRONG = [
    ("truncated_normal", {"lower": 1.0, "upper": 1.0}, (4, 6), ValueError, ["`lower`", "lower=1.0", "upper=1.0"]),
    ("truncated_normal", {"lower": math.nan}, (4, 6), ValueError, ["`lower`", "nan"]),
    ("siren", {"omega": 0.0}, (4, 6), ValueError, ["`omega`", "0.0"]),
    ("siren", {"first": 1}, (4, 6), TypeError, ["`first`", "1"]),
    ("siren", {}, (4,), ValueError, ["2 dimensions"]),
    ("scaled_truncated_normal", {"gain": -1.0}, (4, 6), ValueError, ["`gain`", "-1.0"]),
    ("scaled_truncated_normal", {"mode": "fan"}, (4, 6), ValueError, ["`mode`", "'fan'"]),
    ("scaled_truncated_normal", {"cut": 0}, (4, 6), ValueError, ["`cut`", "0"]),
    ("scaled_truncated_normal", {}, (4,), ValueError, ["2 dimensions"]),
    ("small_normal", {"dim": 0}, (4, 6), ValueError, ["`dim`", "0"]),
    ("small_normal", {"dim": 2.0}, (4, 6), TypeError, ["`dim`", "2.0"]),
    ("small_normal", {}, (4,), ValueError, ["2 dimensions"]),
    ("wang_normal", {"layers": 0}, (4, 6), ValueError, ["`layers`", "0"]),
    ("prior_bias", {"p": 0.0}, (4,), ValueError, ["`p`", "0.0"]),
    ("prior_bias", {"p": 1}, (4,), ValueError, ["`p`", "1"]),
    ("prior_bias", {"p": "1"}, (4,), TypeError, ["`p`", "'1'"]),
    ("identity", {}, (4,), ValueError, ["identity", "(4,)"]),
    ("identity", {"gain": math.inf}, (4, 6), ValueError, ["`gain`", "inf"]),
    ("spectral_orthogonal", {}, (4, 6, 3), ValueError, ["spectral_orthogonal", "(4, 6, 3)", "'oibb'"]),
    ("spectral_orthogonal", {}, (4,), ValueError, ["(4,)"]),
    ("spectral_orthogonal", {"gain": math.inf}, (4, 6), ValueError, ["`gain`", "inf"]),
    ("bilinear", {}, (4, 4), ValueError, ["bilinear", "(4, 4)"]),
    ("bilinear", {}, (4, 1, 3, 3), ValueError, ["4 and 1", "groups 1"]),
    ("bilinear", {}, (4, 6, 3), ValueError, ["4 and 6"]),
    ("delta_orthogonal", {}, (4, 6), ValueError, ["delta_orthogonal", "(4, 6)"]),
    ("delta_orthogonal", {}, (4, 6, 3), ValueError, ["6 in", "4 out"]),
    ("delta_orthogonal", {"gain": math.nan}, (6, 4, 3), ValueError, ["`gain`", "nan"]),
]


@pytest.mark.parametrize(("name", "parameters", "shape", "error", "words"), WRONG)
def test_wrong_arguments(name, parameters, shape, error, words):
    x = np.full(shape, 7.0)
    with pytest.raises(error) as caught:
        getattr(ai, name + "_")(x, **parameters, seed=0)
    assert all(word in str(caught.value) for word in words), caught.value
    assert (x == 7).all()


def test_identity_and_deltas_refuse_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="`groups`"):
        ai.identity((5, 4), groups=2)
    with pytest.raises(ValueError, match="`groups`"):
        ai.delta_orthogonal((6, 4, 3), groups=2)
    with pytest.raises(ValueError, match="float16"):
        ai.identity((5, 4), 1e6, dtype="float16")


def test_shapes_without_elements():
    for shape in ((0, 4), (4, 0)):
        assert ai.siren(shape, seed=0).shape == shape
        assert ai.small_normal(shape, seed=0).shape == shape
        assert ai.scaled_truncated_normal(shape, seed=0).shape == shape
        assert ai.identity(shape).shape == shape
        assert ai.packed(shape, ai.spec("xavier_normal"), blocks=2 if shape[0] else 1, seed=0).shape == shape
    assert ai.delta_orthogonal((4, 0, 3), seed=0).shape == (4, 0, 3)
    assert ai.icnr((4, 3, 0), ai.spec("normal"), seed=0).shape == (4, 3, 0)
