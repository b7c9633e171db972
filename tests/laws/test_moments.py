"""Moments of laws: estimates for large formulas, and mixtures; `test_specs.py` compares the others with draws."""

import math

import pytest

import arrayinit as ai
from arrayinit.laws import Constant, Normal, formulas, moments
from arrayinit.laws.geometry import geometry
from arrayinit.specs import law_of

S = ai.spec

ESTIMATED = [
    (S("hippo_legs"), (700, 700), "float32"),
    (S("mamba_a_log"), (3, 30_000), "float32"),
    (S("s4d", variant="real"), (20_000,), "float32"),
    (S("s4d", variant="inv"), (3, 10_000), "complex64"),
    (S("sinusoidal"), (900, 700), "float32"),
    (S("sinusoidal", layout="io"), (512, 2048), "float32"),
    (S("zero_hadamard"), (1025, 1000), "float32"),
]


@pytest.mark.parametrize(("draw", "shape", "dtype"), ESTIMATED, ids=str)
def test_descriptions_of_large_formulas_are_near_the_whole(draw, shape, dtype, monkeypatch):
    monkeypatch.setattr(moments, "SAMPLES_PER_AXIS", 1 << 20)
    whole = ai.describe(draw, shape, dtype=dtype)
    x = draw(shape, dtype={"float32": "float64", "complex64": "complex128"}[dtype])
    assert whole.std == pytest.approx(x.std(), rel=1e-12)
    monkeypatch.setattr(moments, "SAMPLES_PER_AXIS", 512)
    monkeypatch.setattr(moments, "EXAMINED", 1 << 16)
    estimate = ai.describe(draw, shape, dtype=dtype)
    assert estimate.std == pytest.approx(whole.std, rel=0.01)
    assert abs(estimate.mean - whole.mean) < 0.01 * whole.std
    assert (estimate.low, estimate.high) == pytest.approx((whole.low, whole.high), rel=1e-3)


def test_few_columns_are_worked_out_for_a_description():
    formulas._turns.cache_clear()
    description = ai.describe("sinusoidal", (2, 10**6))
    assert formulas._turns.cache_info().misses < 5000
    assert (description.low, description.high) == (0, 1)
    assert description.mean == pytest.approx(0.5195, abs=1e-3)


def test_components_add_up_to_the_whole():
    law, where = law_of(S("packed", initializer=[S("zeros"), S("normal"), S("zeros")], blocks=3), (6, 5))
    zeros, normal = moments.components(law, where)
    assert (zeros.law, zeros.geometry.shape, zeros.size) == (Constant(0.0), (2, 5), 20)
    assert (normal.law, normal.geometry.shape, normal.size) == (Normal(0.0, 1.0), (2, 5), 10)


def test_zeros_around_the_pieces_are_a_component():
    law, where = law_of(S("delta_orthogonal"), (4, 4, 3, 3))
    pieces = moments.components(law, where)
    assert sum(piece.size for piece in pieces) == 4 * 4 * 9
    assert pieces[-1].law == Constant(0.0)
    assert moments.moments(law, where, "float32") == ("mixture", 0.0, pytest.approx(math.sqrt(1 / 36)), -1.0, 1.0)


def test_of_an_empty_tensor():
    law, where = law_of(S("packed", initializer=S("normal"), blocks=2), (0, 5))
    assert moments.moments(law, where, "float32").mean == 0


def test_words_have_no_moments():
    from arrayinit.laws import Bits

    with pytest.raises(TypeError, match="no one distribution"):
        moments.moments(Bits(), geometry((3,)), "uint32")
