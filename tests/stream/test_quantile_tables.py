"""Draws by tables of quantile functions: right, and the same bits everywhere."""

import json
import math
import pickle

import jax
import numpy as np
import pytest
import scipy.stats as st
import torch
from conftest import PLACES, same, to_host

import arrayinit as ai
from arrayinit.laws import quantile_functions as distributions
from arrayinit.stream.quantile_tables import quantiles

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")

N = (300, 401)
# (distribution, largest error allowed, of the largest quantile of the octave)
LAWS = [
    (st.norm(), 4e-8),
    (st.norm(3.0, 0.5), 4e-8),
    (st.gamma(2.0, scale=0.5), 2e-7),
    (st.gamma(0.1), 1e-4),
    (st.t(3.0), 2e-7),
    (st.cauchy(), 2e-7),
    (st.cauchy(1.0, 5.0), 2e-7),
    (st.levy(), 1e-6),
    (st.pareto(1.5), 2e-7),
    (st.logistic(), 4e-8),
    (st.laplace(-1.0, 2.0), 1e-7),
    (st.gumbel_r(), 4e-8),
    (st.expon(), 4e-8),
    (st.lognorm(1.5), 2e-7),
    (st.beta(0.5, 0.5), 2e-7),
    (st.beta(5.0, 2.0), 2e-7),
    (st.triang(0.3), 1e-4),
    (st.uniform(-2.0, 5.0), 2e-9),
    (st.truncnorm(-1.0, 3.0), 4e-8),
    (st.rv_histogram(np.histogram(np.random.default_rng(0).normal(size=9999), bins=20), density=True)(), 2e-2),
]


def exact(distribution, words):
    """The quantile that each word stands for."""
    p = (words | 1) / 2**33
    return np.where(words & 1, distribution.ppf(p), distribution.isf(p))


@pytest.mark.parametrize(("law", "error"), LAWS, ids=lambda x: getattr(getattr(x, "dist", None), "name", ""))
def test_draws_are_quantiles_of_their_words(law, error):
    x = ai.distribution(N, law, seed=1, dtype="float64")
    assert st.kstest(x.ravel(), law.cdf).pvalue > 1e-4
    words = ai.bits(N, seed=1).astype(np.int64)
    wanted = exact(law, words)
    octave = np.floor(-np.log2((words | 1) / 2**33)).astype(int)
    for half in (0, 1):
        for c in np.unique(octave):
            here = (octave == c) & (words & 1 == half)
            ends = exact(law, np.array([2 ** (33 - c) - 2, 2 ** (32 - c)]) | half)
            scale = max(np.abs(ends).max(), np.abs(wanted[here]).max(initial=0))
            assert np.abs(x - wanted)[here].max(initial=0) <= error * scale + 2.0**-126
    low, high = law.support()
    assert x.min() >= low
    assert x.max() <= high


@pytest.mark.places
def test_every_place_draws_the_same_bits():
    for law in (st.gamma(2.0, scale=0.5), st.cauchy(), st.beta(0.5, 0.5)):
        for dtype in ("float64", "float32", "bfloat16", "complex64"):
            wanted = ai.distribution((257, 131), law, seed=5, dtype=dtype)
            for place in PLACES:
                if dtype not in place.dtypes:
                    continue
                with place.precision(dtype):
                    x = ai.distribution((257, 131), law, seed=5, dtype=dtype, **place.where)
                    assert ai.fingerprint(x) == ai.fingerprint(wanted), place
            with jax.enable_x64(True):
                draw = jax.jit(
                    lambda key, law=law, dtype=dtype: ai.distribution((257, 131), law, seed=key, xp="jax", dtype=dtype)
                )
                assert same(draw(jax.random.key(5)), wanted)


@pytest.mark.places
@pytest.mark.parametrize("index", [np.s_[3:20], np.s_[::-2, 1::3], np.s_[7], np.s_[2:2]], ids=str)
def test_a_part_is_a_slice(index):
    whole = ai.distribution((29, 23), "gumbel_l", seed=3, layout="io")
    for place in PLACES:
        x = ai.distribution((29, 23), "gumbel_l", seed=3, layout="io", index=index, **place.where)
        assert same(x, whole[index]), place
    assert same(whole.T, ai.distribution((23, 29), "gumbel_l", seed=3))
    far = ai.distribution((2**40, 9), "gumbel_l", seed=3, index=slice(2**40 - 3, 2**40))
    assert np.isfinite(far).all()


def test_one_draw_every_precision():
    for law in (st.gamma(2.0), st.t(3.0), st.cauchy(0.5)):
        wide = ai.distribution(N, law, seed=5, dtype="float64")
        narrow = wide.astype(np.float32)
        assert same(ai.distribution(N, law, seed=5), narrow)
        half = ai.distribution(N, law, seed=5, dtype="bfloat16")
        assert same(to_host(half), np.asarray(narrow.astype(half.dtype)).astype(np.float32))


def test_the_normal_is_that_of_normal():
    x = ai.distribution(N, st.norm(1.0, 2.0), seed=1, dtype="float64")
    assert np.abs(x - ai.normal(N, 1.0, 2.0, seed=1, dtype="float64")).max() < 1e-7
    assert same(ai.distribution(N, st.norm, seed=1), ai.distribution(N, "norm", seed=1))


def test_parts_of_complex_elements_each_follow_the_distribution():
    z = ai.distribution(N, "expon", seed=1, dtype="complex128")
    for part in (z.real, z.imag):
        assert st.kstest(part.ravel(), st.expon.cdf).pvalue > 1e-4


def test_a_distribution_is_plain_data_in_a_spec():
    for given in (
        {"distribution": st.gamma(2.0, scale=0.5)},
        {"distribution": st.gamma(a=2.0, scale=0.5)},
        {"distribution": "gamma", "parameters": [2, 0, np.float32(0.5)]},
    ):
        s = ai.spec("distribution", **given)
        assert s.as_dict() == {"name": "distribution", "distribution": "gamma", "parameters": [2.0, 0.0, 0.5]}
        again = ai.Spec.from_dict(json.loads(json.dumps(s.as_dict())))
        assert again == s == pickle.loads(pickle.dumps(s))
        assert same(again((5, 6), seed=1), ai.distribution((5, 6), st.gamma(2.0, scale=0.5), seed=1))
    blocks = ai.packed(
        (4, 5), [ai.spec("distribution", distribution="t", parameters=[4.0]), ai.spec("zeros")], blocks=2, seed=1
    )
    assert same(blocks[:2], ai.distribution((2, 5), st.t(4.0), seed=ai.fold(1, 0)))


def test_distributions_that_scipy_has_no_name_for():
    law = st.rv_histogram(np.histogram([0.0, 1.0, 1.5, 2.0], bins=3), density=True)
    x = ai.distribution(N, law(), seed=1)
    assert 0 <= x.min() <= x.max() <= 2
    lazy = ai.distribution(N, law(), seed=1, xp="dask", chunks=100)
    assert same(lazy, x)

    class Ramp(st.rv_continuous):
        def _cdf(self, x):
            return x * x

        def _ppf(self, q):
            return np.sqrt(q)

    x = ai.distribution(N, Ramp(a=0, b=1, name="ramp")(), seed=1)
    assert st.kstest(x.ravel(), lambda v: v * v).pvalue > 1e-4
    with pytest.raises(TypeError, match="`distribution`"):
        ai.spec("distribution", distribution=law())
    if hasattr(st, "Normal"):
        x = ai.distribution(N, st.Normal(mu=1.0, sigma=2.0), seed=1, dtype="float64")
        assert np.abs(x - ai.normal(N, 1.0, 2.0, seed=1, dtype="float64")).max() < 1e-7


def test_pickled_draws_carry_their_table():
    lazy = ai.distribution((40, 30), st.gamma(3.0), seed=1, xp="dask", chunks=10)
    again = pickle.loads(pickle.dumps(lazy))
    assert isinstance(again, dask.array.Array)
    assert same(again, ai.distribution((40, 30), st.gamma(3.0), seed=1))


@pytest.mark.parametrize(
    ("distribution", "parameters", "keywords", "error", "words"),
    [
        (st.poisson(3.0), (), {}, ValueError, ["`distribution`", "continuous", "poisson"]),
        ("poisson", (3.0,), {}, ValueError, ["continuous", "poisson"]),
        (st.binom, (), {}, ValueError, ["continuous", "binom"]),
        ("gama", (), {}, ValueError, ["`distribution`", "'gama'"]),
        ("kstest", (), {}, ValueError, ["`distribution`", "'kstest'"]),
        ("gamma", (), {}, ValueError, ["`parameters`", "a, and perhaps loc"]),
        ("gamma", (1.0, 2.0, 3.0, 4.0), {}, ValueError, ["`parameters`", "4.0"]),
        ("gamma", (-1.0,), {}, ValueError, ["`distribution`", "'gamma'", "-1.0"]),
        ("norm", (0.0, -1.0), {}, ValueError, ["`distribution`", "'norm'", "-1.0"]),
        ("norm", ("0",), {}, TypeError, ["`parameters`", "'0'"]),
        ("norm", 3, {}, TypeError, ["`parameters`", "3"]),
        (st.norm(), (1.0,), {}, TypeError, ["`parameters`", "1.0"]),
        (st.norm([0.0, 1.0]), (), {}, ValueError, ["`distribution`", "one distribution"]),
        (3, (), {}, TypeError, ["`distribution`", "3"]),
        (None, (), {}, TypeError, ["`distribution`", "None"]),
        ("norm", (0.0, 1e38), {}, ValueError, ["float32", "1e+38"]),
        ("norm", (0.0, 1e-30), {}, ValueError, ["2**-96", "1e-30"]),
        ("cauchy", (), {"dtype": "float16"}, ValueError, ["float16", "cauchy"]),
        ("norm", (1e6, 1e-6), {"dtype": "float64"}, ValueError, ["spread", "norm"]),
        ("uniform", (1.00000001, 1e-8), {}, ValueError, ["support", "float32"]),
        ("norm", (), {"dtype": "int32"}, TypeError, ["`dtype`", "int32"]),
    ],
)
def test_wrong_arguments(distribution, parameters, keywords, error, words):
    with pytest.raises(error) as caught:
        ai.distribution((3, 4), distribution, parameters, seed=0, **keywords)
    assert all(word in str(caught.value) for word in words), caught.value


def test_quantile_functions_that_no_table_can_hold():
    jumps = st.rv_histogram((np.array([3.0, 0.0, 7.0]), np.array([0.0, 1.0, 9.0, 10.0])), density=True)
    with pytest.raises(ValueError, match="smooth"):
        ai.distribution((3, 4), jumps(), seed=0)

    def endless(p, upper, at):
        return np.where(p < at, np.inf, p)

    with pytest.raises(ValueError, match="finite"):
        quantiles(endless, (0.1,))


@pytest.mark.parametrize("t_max", [5.0, 1000, 1e6])
def test_chrono_is_the_log_of_a_uniform_number(t_max):
    x = ai.chrono((4 * 40_000,), t_max, seed=2, dtype="float64").reshape(4, -1)
    assert st.kstest(np.exp(x[1]), st.uniform(1, t_max - 2).cdf).pvalue > 1e-4
    assert same(x[0], -x[1])
    assert (x[2:] == 0).all()
    words = ai.bits(40_000, seed=2).astype(np.int64)
    p = (words | 1) / 2**33
    assert np.abs(x[1] - np.log1p(np.where(words & 1, p, 1 - p) * (t_max - 2))).max() < 1e-6
    igfo = ai.chrono((8,), t_max, gates="igfo", seed=2)
    assert (igfo[4:6] > 0).all()
    assert same(igfo[:2], -igfo[4:6])
    spans = ai.chrono((40_000,), 50.0, 10.0, seed=2, dtype="float64")[10_000:20_000]
    assert math.log(9) <= spans.min() <= spans.max() <= math.log(49)
    lstm = torch.nn.LSTM(5, 2)
    assert same(ai.chrono_(lstm.bias_ih_l0, t_max, seed=2).detach(), ai.chrono((8,), t_max, seed=2))


@pytest.mark.parametrize(("low", "high"), [(1.0, 16.0), (0.0, 16.0), (0.01, 16.0), (0.0, 0.5)])
def test_decay_rates_of_mamba2_are_uniform(low, high):
    x = ai.mamba2_a_log((100_000,), low, high, seed=2, dtype="float64")
    assert st.kstest(np.exp(x), st.uniform(low, high - low).cdf).pvalue > 1e-4
    words = ai.bits(100_000, seed=2).astype(np.int64)
    p = (words | 1) / 2**33
    wanted = np.log(low + (high - low) * np.where(words & 1, p, 1 - p))
    assert np.abs(x - wanted).max() < 2e-7
    assert x.max() <= math.log(high)
    assert low == 0 or x.min() >= math.log(low)


def test_decay_rates_from_0_are_finite():
    table = quantiles(distributions.log_of_uniform, (0.0, 16.0))
    mean, std, low, high = table.moments
    assert (mean, std) == pytest.approx((math.log(16) - 1, 1), abs=1e-6)  # of log U(0, 16)
    assert low == pytest.approx(math.log(16 * 2.0**-33), abs=1e-6)
    assert high == pytest.approx(math.log(16), abs=1e-6)


def test_mamba_steps_are_log_uniform():
    x = ai.mamba_dt_bias((100_000,), seed=2, dtype="float64")
    steps = np.log1p(np.exp(x))
    assert st.kstest(steps, st.loguniform(1e-3, 0.1).cdf).pvalue > 1e-4
    words = ai.bits(100_000, seed=2).astype(np.int64)
    p = (words | 1) / 2**33
    wanted = 1e-3 * 100 ** np.where(words & 1, p, 1 - p)
    assert np.abs(x - (wanted + np.log(-np.expm1(-wanted)))).max() < 1e-7
    floored = ai.mamba_dt_bias((10_000,), 1e-4, 1.0, 1e-2, seed=2, dtype="float64")
    assert np.log1p(np.exp(floored)).min() == pytest.approx(1e-2, rel=1e-4)


RINGS = ((0.0, 1.0), (0.9, 0.999), (0.5, 1.0), (0.0, 0.9), (0.9999, 0.99999))


@pytest.mark.parametrize(("r_min", "r_max"), RINGS)
def test_eigenvalues_of_lru_are_uniform_on_a_ring(r_min, r_max):
    nu, gamma = (f((100_000,), r_min, r_max, seed=2, dtype="float64") for f in (ai.lru_nu_log, ai.lru_gamma_log))
    low, high = r_min**2, r_max**2
    assert st.kstest(np.exp(-2 * np.exp(nu)), st.uniform(low, high - low).cdf).pvalue > 1e-4
    words = ai.bits(100_000, seed=2).astype(np.int64)
    p = (words | 1) / 2**33
    s = high - (high - low) * np.where(words & 1, p, 1 - p)
    assert np.abs(nu - np.log(-0.5 * np.log(s))).max() < 2e-7
    assert np.abs(gamma - 0.5 * np.log(1 - s)).max() < 2e-6  # 1 - s loses digits here, not in the table
    assert np.abs(gamma - 0.5 * np.log(-np.expm1(-2 * np.exp(nu)))).max() < 1e-7
    for x in (nu, gamma):
        assert np.isfinite(x).all()
    if r_max < 1:
        assert nu.min() >= math.log(-math.log(r_max)) - 1e-15
        assert gamma.min() >= 0.5 * math.log((1 - r_max) * (1 + r_max)) - 1e-10
    if r_min:
        assert nu.max() <= math.log(-math.log(r_min)) + 1e-15


def test_tables_of_the_literature_are_the_same_everywhere():
    """They are + - * / alone: golden vectors hold draws, this holds every integer of a table."""
    for function, arguments in (
        (distributions.log_of_uniform, (1.0, 999.0)),
        (distributions.log_of_uniform, (0.0, 16.0)),
        (distributions.softplus_inverse, (1e-3, 0.1, 1e-4)),
        (distributions.ring_decay, (0.25, 1.0)),
        (distributions.ring_norm, (0.5, 1.0)),
    ):
        table = quantiles(function, arguments)
        sums = [int(column.astype(np.int64).sum()) for column in table.columns]
        assert sums == SUMS[arguments[0]]


SUMS = {
    1.0: [3386414769959, -12783089571, -8629099],
    0.0: [302048778208, -4071175291, -24266965],
    0.25: [-3109170293211, -975353237, -11167429],
    0.5: [-3022901515878, -1415672883, -11829326],
    1e-3: [-3133672392684, 164694668, 41124],
}


@pytest.mark.parametrize(
    ("name", "parameters", "shape", "error", "words"),
    [
        ("chrono", {"t_max": 2.0}, (8,), ValueError, ["`t_max`", "t_max=2.0"]),
        ("chrono", {"t_max": 9.0, "t_min": 1.0}, (8,), ValueError, ["`t_min`", "t_min=1.0"]),
        ("chrono", {"t_max": math.inf}, (8,), ValueError, ["`t_max`", "inf"]),
        ("chrono", {"t_max": 9.0}, (9,), ValueError, ["chrono", "(9,)"]),
        ("chrono", {"t_max": 9.0, "gates": "iifo"}, (8,), ValueError, ["`gates`", "'iifo'"]),
        ("mamba2_a_log", {"a_min": 16}, (8,), ValueError, ["`a_min`", "a_min=16"]),
        ("mamba2_a_log", {"a_min": -1.0}, (8,), ValueError, ["`a_min`", "-1.0"]),
        ("mamba2_a_log", {"a_max": math.inf}, (8,), ValueError, ["`a_max`", "inf"]),
        ("lru_nu_log", {"r_min": 0.5, "r_max": 0.5}, (8,), ValueError, ["`r_min`", "r_max=0.5"]),
        ("lru_nu_log", {"r_max": 1.5}, (8,), ValueError, ["`r_max`", "1.5"]),
        ("lru_gamma_log", {"r_min": -0.5}, (8,), ValueError, ["`r_min`", "-0.5"]),
        ("lru_gamma_log", {"r_max": 1e-200}, (8,), ValueError, ["`r_max`", "1e-200"]),
        ("mamba_dt_bias", {"dt_min": 0.1}, (8,), ValueError, ["`dt_max`", "dt_min=0.1"]),
        ("mamba_dt_bias", {"dt_min": 0.0}, (8,), ValueError, ["`dt_min`", "0.0"]),
        ("mamba_dt_bias", {"dt_floor": 0.2}, (8,), ValueError, ["`dt_max`", "dt_floor=0.2"]),
    ],
)
def test_wrong_biases(name, parameters, shape, error, words):
    with pytest.raises(error) as caught:
        getattr(ai, name)(shape, **parameters, seed=0)
    assert all(word in str(caught.value) for word in words), caught.value
