"""Gains of functions, against known values and integrals found by other means."""

import itertools
import math
import tracemalloc
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F

import arrayinit as ai
from arrayinit.laws import gains

SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def relu(x):
    return np.maximum(x, 0)


def gelu(x):
    return x * scipy.special.ndtr(x)


def silu(x):
    return x * scipy.special.expit(x)


def mish(x):
    return x * np.tanh(np.log1p(np.exp(x)))


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def selu(x):
    return SELU[0] * np.where(x > 0, x, SELU[1] * np.expm1(x))


# (function, 1 / sqrt(E[f^2]), 1 / std[f])
TABLE = [
    (relu, 1.4142135624, 1.7128585),
    (gelu, 1.5335304412, 1.7009262),
    (silu, 1.6765324703, 1.7871872),
    (mish, 1.4868475813, 1.5920254),
    (np.tanh, 1.5925374197, 1.5925374197),
    (elu, 1.2451983007, 1.2708434),
    (lambda x: relu(x) ** 2, 0.8164965809, 0.8944272),
    (np.sin, 1.5208666232, 1.5208666232),
    (selu, 1.0, 1.0),
    (lambda x: x, 1.0, 1.0),
]


@pytest.mark.parametrize(("f", "second", "variance"), TABLE)
def test_known_gains(f, second, variance):
    assert ai.gain(f) == pytest.approx(second, abs=6e-11)
    assert ai.gain(f, moment="variance") == pytest.approx(variance, abs=6e-8)


NAMED = {
    "gelu": gelu, "silu": silu, "swish": silu, "mish": mish, "elu": elu, "celu": elu, "sin": np.sin,
    "softplus": lambda x: np.logaddexp(0, x), "relu^2": lambda x: relu(x) ** 2,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_gains_of_nonlinearities_that_torch_lacks(name):
    assert ai.calculate_gain(name) == pytest.approx(ai.gain(NAMED[name]), rel=1e-12)
    assert ai.calculate_gain(NAMED[name]) == ai.gain(NAMED[name])
    with pytest.raises(ValueError, match="onlinearity"):
        torch.nn.init.calculate_gain(name)


def test_gains_in_kaiming():
    expected = ai.kaiming_normal((5, 4), nonlinearity="gelu", seed=0)
    for keywords in ({"gain": ai.calculate_gain("gelu")}, {"gain": ai.calculate_gain("gelu"), "a": 0}):
        assert np.array_equal(ai.kaiming_normal((5, 4), seed=0, **keywords), expected)
    by_function = ai.kaiming_normal((5, 4), nonlinearity=F.gelu, seed=0)
    assert np.allclose(by_function, expected, rtol=1e-6)
    assert ai.kaiming_uniform((5, 4), gain=0.5, seed=0).max() <= 0.5 * math.sqrt(3 / 4)
    for keywords in (
        {"gain": 2.0, "a": 0.1},
        {"gain": 2.0, "nonlinearity": "relu"},
        {"gain": 2.0, "nonlinearity": np.sin},
    ):
        with pytest.raises(ValueError, match="`gain` must not be given together with `nonlinearity` or `a`"):
            ai.kaiming_normal((5, 4), **keywords)
    assert ai.describe(ai.spec("kaiming_uniform", gain=1.5), (5, 4)).gain == 1.5
    assert ai.describe(ai.spec("kaiming_uniform", nonlinearity="silu"), (5, 4)).gain == ai.calculate_gain("silu")


def test_closed_forms():
    assert ai.gain(relu) == pytest.approx(math.sqrt(2), rel=1e-12)
    assert ai.gain(relu, "variance") == pytest.approx(1 / math.sqrt(0.5 - 0.5 / math.pi), rel=1e-12)
    assert ai.gain(np.sin) == pytest.approx(math.sqrt(2 / (1 - math.exp(-2))), rel=1e-12)
    assert ai.gain(lambda x: np.where(x > 0, x, 0.2 * x)) == pytest.approx(
        ai.calculate_gain("leaky_relu", 0.2), rel=1e-12
    )
    assert ai.gain(np.exp) == pytest.approx(math.exp(-1), rel=1e-12)
    assert ai.gain(lambda x: x**4) == pytest.approx(1 / math.sqrt(105), rel=1e-12)
    assert ai.gain(lambda x: x + 1e6, "variance") == pytest.approx(1, rel=1e-9)
    assert ai.gain(lambda x: 1e-3 * np.sign(x)) == pytest.approx(1e3, rel=1e-12)


@pytest.mark.parametrize("kink", [0.1, -0.7321, 2.34567, 5.5])
def test_kinks_and_jumps_anywhere(kink):
    for f in (
        lambda x: np.maximum(x, kink),
        lambda x: np.where(x > kink, x, -1.0),
        lambda x: np.clip(x, -(kink**2), kink**2),
    ):
        cuts = sorted({-14.0, kink, -(kink**2), kink**2, 14.0})
        second = sum(
            scipy.integrate.quad(
                lambda z, f=f: f(np.array(z)) ** 2 * scipy.stats.norm.pdf(z),
                a,
                b,
                epsabs=1e-15,
                epsrel=1e-13,
                limit=500,
            )[0]
            for a, b in itertools.pairwise(cuts)
        )
        assert ai.gain(f) == pytest.approx(1 / math.sqrt(second), rel=1e-9)


@pytest.mark.parametrize(
    ("f", "same_as"),
    [
        (torch.nn.GELU(), gelu),
        (F.silu, silu),
        (torch.tanh, np.tanh),
        (torch.nn.ReLU(), relu),
        (lambda x: F.mish(x), mish),
        (lambda x: x.clamp(min=0), relu),
        (jax.nn.relu, relu),
        (jax.nn.silu, silu),
        (jnp.tanh, np.tanh),
        (jax.jit(lambda x: jax.nn.gelu(x, approximate=False)), gelu),
        (scipy.special.erf, scipy.special.erf),
    ],
)
def test_functions_of_other_libraries(f, same_as):
    assert ai.gain(f) == pytest.approx(ai.gain(same_as), rel=1e-10)
    assert ai.gain(f, "variance") == pytest.approx(ai.gain(same_as, "variance"), rel=1e-10)


def test_it_keeps_the_second_moment_through_a_deep_network():
    h = np.random.default_rng(0).normal(size=(512, 400))
    for seed in range(12):
        h = gelu(h @ ai.lecun_normal((400, 400), seed=seed, dtype="float64").T) * ai.gain(gelu)
    assert 0.5 < np.mean(h**2) < 2  # without the gain it would be 1e-4


@pytest.mark.parametrize(
    ("f", "moment", "error", "words"),
    [
        ("gelu", "second", TypeError, ["`f`", "'gelu'"]),
        (np.tanh, "third", ValueError, ["`moment`", "'third'"]),
        (lambda x: x[:1], "second", ValueError, ["`f`", "shape"]),
        (lambda x: 0 * x, "second", ValueError, ["`f`", "zero"]),
        (lambda x: 0 * x + 2.5, "variance", ValueError, ["`f`", "constant"]),
        (lambda x: np.where(x > 1, np.nan, x), "second", ValueError, ["`f`", "finite"]),
        (lambda x: np.exp(x * x), "second", ValueError, ["`f`", "grow", "[-14, 14]"]),
        (lambda x: np.exp(5 * x), "variance", ValueError, ["`f`", "grow"]),
        (lambda x: 1e200 * x, "second", ValueError, ["`f`", "1e+140", "1.4e+201"]),
        (lambda x: 1e-170 * x, "second", ValueError, ["`f`", "1e-140"]),
        (lambda x: x + 1j, "second", ValueError, ["`f`", "real", "complex128"]),
        (lambda x: x.astype(object), "second", ValueError, ["`f`", "real", "object"]),
        (lambda x: x + np.random.default_rng().normal(size=x.shape), "second", ValueError, ["`f`", "same values"]),
        (torch.nn.Dropout(), "second", ValueError, ["`f`", "same values", "Dropout"]),
        (math.sin, "second", TypeError, ["`f`", "array"]),
        (lambda: 1, "second", TypeError, ["`f`", "array"]),
    ],
)
def test_wrong_functions(f, moment, error, words):
    with pytest.raises(error) as caught:
        ai.gain(f, moment)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("f", [F.logsigmoid, torch.nn.GELU(), np.tanh, lambda x: torch.ones(()) * torch.sin(x)])
@pytest.mark.parametrize("mode", ["fake", "meta", "record", "no device"])
def test_gains_are_computed_outside_of_modes(f, mode):
    from torch._subclasses import FakeTensorMode

    from arrayinit.torch import record

    expected = ai.gain(f)
    modes = {"fake": FakeTensorMode(), "meta": torch.device("meta"), "record": record(), "no device": nullcontext()}
    with modes[mode]:
        assert ai.gain(f) == expected
        w = ai.kaiming_normal((4, 6), nonlinearity=f, seed=0)
    assert (w == ai.kaiming_normal((4, 6), gain=expected, seed=0)).all()


def test_the_error_of_an_unknown_nonlinearity_says_that_functions_work():
    with pytest.raises(ValueError, match="'sin', or an elementwise function; got 'gleu', did you mean 'gelu'"):
        ai.kaiming_normal((3, 3), nonlinearity="gleu", seed=0)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.tanh(x.astype(np.float32)),
        lambda x: np.sin(1e6 * x),
        lambda x: np.sin(1 / (np.abs(x) + 1e-9)),
        lambda x: 1 / x,
    ],
    ids=["float32", "fast", "ever faster", "pole"],
)
def test_functions_that_do_not_settle_are_refused_in_bounded_memory(f, monkeypatch):
    monkeypatch.setattr(gains, "INTERVALS", 1 << 14, raising=False)
    monkeypatch.setattr(gains, "TOGETHER", 1 << 11, raising=False)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"`f` .* does not settle") as caught:
            ai.gain(f)
        assert repr(f) in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_poles_that_count_for_little_and_steps_that_are_many():
    assert ai.gain(lambda x: np.sqrt(np.abs(x))) == pytest.approx((math.pi / 2) ** 0.25, rel=1e-12)
    log = (np.euler_gamma + math.log(2)) ** 2 / 4 + math.pi**2 / 8
    assert ai.gain(lambda x: np.log(np.abs(x))) == pytest.approx(1 / math.sqrt(log), rel=1e-12)
    steps = 256
    assert ai.gain(lambda x: np.round(x * steps) / steps) == pytest.approx(1 - 1 / 24 / steps**2, rel=1e-9)
    assert ai.gain(lambda x: np.exp(3 * x)) == pytest.approx(math.exp(-9), rel=1e-12)
