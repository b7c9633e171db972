"""exp, log, sin and cos against correctly rounded decimals, and against their own bits."""

import hashlib
import math
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest

from arrayinit.laws import elementary as own

RNG = np.random.default_rng(0)
ULP = 2.0**-52


def exactly(f, values):
    with localcontext(Context(prec=50)):
        return np.array([float(f(Decimal(float(x)))) for x in values])


def close(mine, wanted, ulps):
    return (np.abs(mine - wanted) <= ulps * ULP * np.abs(wanted)).all()


def test_exp_and_expm1():
    x = np.concatenate([RNG.uniform(-690, 690, 2000), RNG.normal(size=2000), [0.0, 1.0, -0.35, 0.35]])
    assert close(own.exp(x), exactly(Decimal.exp, x), 2)
    x = np.concatenate([x, 10.0 ** RNG.uniform(-300, 0, 2000), -(10.0 ** RNG.uniform(-20, 2, 2000))])
    with localcontext(Context(prec=400)):
        wanted = np.array([float(Decimal(float(v)).exp() - 1) for v in x])
    assert close(own.expm1(x), wanted, 4)


def test_log_and_log1p():
    x = np.concatenate([10.0 ** RNG.uniform(-300, 300, 3000), RNG.uniform(0.5, 2, 3000), np.arange(1.0, 100)])
    assert close(own.log(x), exactly(Decimal.ln, x), 3)
    assert own.log(np.ones(1))[0] == 0
    y = np.concatenate([10.0 ** RNG.uniform(-30, 9, 3000), RNG.uniform(-0.9, 0, 1000), [0.0]])
    assert close(own.log1p(y), exactly(lambda v: (1 + v).ln(), y), 4)


def test_cos_and_sin():
    turns = np.concatenate(
        [RNG.integers(0, 2**64, 5000, np.uint64), np.arange(0, 8, dtype=np.uint64) << np.uint64(61), [np.uint64(5)]]
    )
    cos, sin = own.cos_sin(turns)
    angle = np.array([math.tau * (int(t) / 2**64) for t in turns])
    assert np.abs(cos - np.cos(angle)).max() < 1e-15
    assert np.abs(sin - np.sin(angle)).max() < 1e-15
    assert np.abs(cos * cos + sin * sin - 1).max() < 5 * ULP
    assert cos[5000] == 1
    assert sin[5000] == 0
    assert sin[5002] == 1
    assert cos[5004] == -1
    assert sin[-1] == pytest.approx(5 * math.tau / 2**64, rel=1e-15)


def test_bits_are_the_same_everywhere():
    x = np.linspace(-20, 20, 10_001)
    y = np.linspace(0.001, 1000, 10_001)
    turns = np.arange(10_001, dtype=np.uint64) * np.uint64(1844674407370955)
    digest = hashlib.blake2b(digest_size=8)
    for values in (own.exp(x), own.expm1(x), own.log(y), own.log1p(y), *own.cos_sin(turns)):
        digest.update(values.astype("<f8").tobytes())
    assert digest.hexdigest() == "337e5f34a208b9b5"
