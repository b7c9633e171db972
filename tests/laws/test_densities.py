"""Densities of laws, against draws and against their moments."""

import math

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.laws import Bits
from arrayinit.laws.densities import density
from arrayinit.laws.geometry import geometry
from arrayinit.laws.moments import moments
from arrayinit.specs import law_of

INITIALIZERS = {
    "uniform": ai.spec("xavier_uniform"),
    "normal": ai.spec("kaiming_normal"),
    "truncated": ai.spec("trunc_normal", std=0.5, a=-0.4, b=1.0),
    "sparse": ai.spec("sparse", sparsity=0.75, std=0.1),
    "orthogonal": ai.spec("orthogonal", gain=2.0),
    "packed": ai.spec("packed", initializer=(ai.spec("zeros"), ai.spec("normal", std=0.1)), blocks=2),
    "distribution": ai.spec("distribution", distribution="laplace", parameters=(0.5, 0.2)),
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_densities_are_those_of_the_draws(name):
    """The mass of each of ten bins, whose share of a million draws is known to 6 standard errors."""
    shape, initializer = (1024, 1000) if name != "orthogonal" else (500, 500), INITIALIZERS[name]
    x = initializer(shape, seed=4).astype(np.float64).ravel()
    law, where = law_of(initializer, shape)
    edges = np.linspace(np.quantile(x, 1e-4), np.quantile(x, 1 - 1e-4), 11)
    points = np.linspace(edges[0], edges[-1], 10 * 2000 + 1)
    found = density(law, where, "float32", points)
    shares = np.histogram(x, edges)[0] / x.size
    step = points[1] - points[0]
    for k in range(10):
        part = found.curve[2000 * k : 2000 * k + 2001]
        mass = (part.sum() - (part[0] + part[-1]) / 2) * step
        mass += sum(p for value, p in found.atoms.items() if edges[k] <= value < edges[k + 1])
        assert abs(shares[k] - mass) < 6 * math.sqrt(max(mass, 1e-6) / x.size) + 1e-3 * mass, k
    total = (found.curve[1:] + found.curve[:-1]).sum() / 2 * step + sum(found.atoms.values())
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(
    ("initializer", "shape", "atoms"),
    [
        (ai.spec("constant", val=3.0), (4, 6), {3.0: 1}),
        (ai.spec("eye"), (4, 6), {0.0: 20 / 24, 1.0: 4 / 24}),
        (ai.spec("dirac"), (4, 6, 3), {0.0: 68 / 72, 1.0: 4 / 72}),
        (ai.spec("orthogonal"), (1, 1), {-1.0: 0.5, 1.0: 0.5}),
    ],
)
def test_values_with_a_probability_of_their_own(initializer, shape, atoms):
    law, where = law_of(initializer, shape)
    found = density(law, where, "float32", np.linspace(-2, 2, 9))
    assert found.atoms == pytest.approx(atoms)
    assert not found.curve.any()


def test_densities_of_complex_parts_and_of_words():
    x = np.linspace(-1, 1, 5)
    law, where = law_of(ai.spec("normal", std=2.0), (3, 4))
    real = density(*law_of(ai.spec("normal", std=math.sqrt(2)), (3, 4)), "float32", x)
    np.testing.assert_allclose(density(law, where, "complex64", x).curve, real.curve)
    assert density(Bits(), geometry((3, 4), None, None, None, (), 1, False), "uint32", x) is None


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_densities_have_the_moments_of_the_law(name, dtype):
    law, where = law_of(INITIALIZERS[name], (64, 32), dtype)
    expected = moments(law, where, dtype)
    pad = 0.1 * (expected.high - expected.low)
    points = np.linspace(expected.low - pad, expected.high + pad, 200_001)
    result = density(law, where, dtype, points)
    step = points[1] - points[0]

    def mean_of(values, at_atom):
        return (values * result.curve).sum() * step + sum(at_atom(x) * p for x, p in result.atoms.items())

    mean = mean_of(points, lambda x: x)
    std = math.sqrt(mean_of((points - mean) ** 2, lambda x: (x - mean) ** 2))
    # The density is that of a part, the standard deviation that of an element.
    both_parts = dtype == "complex64" and name not in ("sparse", "orthogonal")
    assert mean == pytest.approx(expected.mean, abs=2e-3 * expected.std)
    assert std * math.sqrt(1 + both_parts) == pytest.approx(expected.std, rel=5e-3)


def test_a_mixture_without_a_density_has_none():
    law, where = law_of(ai.spec("packed", initializer=[ai.spec("normal"), ai.spec("sinusoidal")], blocks=2), (4, 6))
    assert density(law, where, "float32", np.linspace(-1, 1, 9)) is None


def test_zeros_around_pieces_have_a_mass():
    law, where = law_of(ai.spec("eye"), (4, 6))
    assert density(law, where, "float32", np.linspace(-1, 1, 9)).atoms[0.0] == pytest.approx(20 / 24)
