"""Laws -> the density of one element. The moments stand beside, in `moments`."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.laws import (
    SAMPLED,
    Constant,
    Dirac,
    Eye,
    Law,
    Normal,
    Orthogonal,
    Packed,
    Quantile,
    Rows,
    Sparse,
    Truncated,
    Uniform,
)
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.moments import components, count_of_ones
from arrayinit.stream.formats import is_complex

__all__ = ["Density", "density"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Density:
    """curve: the density of the continuous part at given points. atoms: values with a probability of their own."""

    curve: Floats
    atoms: dict[float, float]


def density(law: Law, where: Geometry, dtype: str, x: Any) -> Density | None:
    """The density of an element (of a part of a complex one) at equally spaced points x; None where none is known."""
    x = np.asarray(x, np.float64)
    if isinstance(law, Packed | Rows):
        return _mixture(law, where, dtype, x)
    if is_complex(dtype) and isinstance(law, SAMPLED):
        law = law.complex_part()
    match law:
        case Uniform(low, high):
            return Density(np.where((x >= low) & (x <= high), 1 / (high - low), 0.0), {})
        case Normal(mean, std):
            return Density(_normal((x - mean) / std) / std, {})
        case Truncated(mean, std, low, high):
            from scipy.stats import truncnorm  # imported here: few processes need it

            return Density(truncnorm.pdf(x, (low - mean) / std, (high - mean) / std, mean, std), {})
        case Quantile():
            return Density(_slope(law, x), {})
        case Sparse(zeros, std):
            share = zeros / where.canonical[0]
            return Density((1 - share) * _normal(x / std) / std, {0.0: share})
        case Constant(value):
            return Density(np.zeros_like(x), {value: 1.0})
        case Orthogonal(gain):
            return _sphere(abs(gain), where, x)
        case Eye():
            return _two_values(law, 1.0, where, x)
        case Dirac():
            return _two_values(law, law.value, where, x)
    return None


def _mixture(law: Packed | Rows, where: Geometry, dtype: str, x: Floats) -> Density | None:
    total = math.prod(where.shape)
    curve, atoms = np.zeros_like(x), dict[float, float]()
    for component in components(law, where):
        part = density(component.law, component.geometry, dtype, x)
        if part is None:
            return None
        share = component.size / total
        curve += share * part.curve
        for value, mass in part.atoms.items():
            atoms[value] = atoms.get(value, 0.0) + share * mass
    return Density(curve, atoms)


def _normal(z: Floats) -> Floats:
    """The density of the standard normal."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _slope(law: Quantile, x: Floats) -> Floats:
    """The slope of the distribution function around each point, from a table of its inverse."""
    p = np.concatenate([np.ldexp(1.0, -np.arange(33, 10, -1)), np.linspace(2.0**-10, 0.5, 2047)])
    bottom, top = (np.asarray(law.function(p, upper, *law.arguments)) for upper in (False, True))
    values, shares = np.concatenate([bottom, top[::-1]]), np.concatenate([p, 1 - p[::-1]])
    if law.negative:
        values, shares = -values[::-1], 1 - shares[::-1]
    step = x[1] - x[0]
    below, above = (np.interp(x + offset, values, shares, left=0.0, right=1.0) for offset in (-step / 2, step / 2))
    return np.asarray((above - below) / step)


def _sphere(gain: float, where: Geometry, x: Floats) -> Density | None:
    """A coordinate of a vector that is uniform on the sphere of radius gain in n dimensions.

    The density is proportional to (1 - (x / gain)^2)^((n - 3) / 2), and its integral is
    gain sqrt(pi) Gamma((n - 1) / 2) / Gamma(n / 2).
    """
    out, in_, spatial = where.sizes
    n = max(out, in_ * spatial)
    if n < 2 or gain == 0:
        return Density(np.zeros_like(x), {0.0: 1.0} if gain == 0 else {-gain: 0.5, gain: 0.5})
    constant = math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2)) / math.sqrt(math.pi) / gain
    inside = np.abs(x) < gain
    square = np.where(inside, 1 - (x / gain) ** 2, 1.0)
    return Density(np.where(inside, constant * square ** ((n - 3) / 2), 0.0), {})


def _two_values(law: Eye | Dirac, value: float, where: Geometry, x: Floats) -> Density:
    """The density of a tensor of `value` and zeros."""
    share = count_of_ones(law, where) / math.prod(where.shape)
    return Density(np.zeros_like(x), {0.0: 1 - share, value: share})
