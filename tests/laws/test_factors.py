"""The singular values that `describe` and `report` expect of mimetic attention."""

import math

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.laws.factors import mean_singular_value


@pytest.mark.parametrize("share", [1.0, 1 / 4])
@pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.7), (0.4, -0.4), (1.0, 0.0), (0.02, 1.0)])
def test_against_matrices(alpha, beta, share):
    d = 200
    z = np.random.default_rng(0).normal(size=(d, d)) / math.sqrt(d)
    values = np.linalg.svd(alpha * z + beta * np.eye(d), compute_uv=False)
    assert mean_singular_value(alpha, beta, share) == pytest.approx(values[: int(d * share)].mean(), rel=0.01)


def test_the_quarter_circle_and_the_identity():
    assert mean_singular_value(1.0, 0.0, 1.0) == pytest.approx(8 / (3 * math.pi), rel=1e-3)
    assert mean_singular_value(3e-200, 0.0, 1.0) == pytest.approx(8e-200 / math.pi, rel=1e-3)
    assert mean_singular_value(1e-9, -2.0, 0.5) == 2.0


@pytest.mark.parametrize(("part", "heads"), [("query", 3), ("key", 1), ("value", 1), ("out", 2)])
def test_describe_expects_what_is_drawn(part, heads):
    said = ai.describe(ai.spec("mimetic", part=part, heads=heads), (96, 96))
    drawn = np.stack([ai.mimetic((96, 96), part, heads=heads, seed=seed) for seed in range(3)])
    assert drawn.std() == pytest.approx(said.std, rel=0.01)
    assert said.mean == 0
    assert np.abs(drawn).max() < said.high == -said.low
