"""Laws -> densities of one element, to be drawn over histograms."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.laws import Constant, Dirac, Eye, Law, Normal, Orthogonal, Packed, Quantile, Sparse, Truncated, Uniform
from arrayinit.laws.geometry import Geometry
from arrayinit.stream.formats import COMPLEX

__all__ = ["Density", "density"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Density:
    """curve: the density of the continuous part at given points. atoms: values with a probability of their own."""

    curve: Floats
    atoms: dict[float, float]


def density(law: Law, where: Geometry, dtype: str, x: Any) -> Density | None:
    """The density of an element (of a part of a complex one) at the points x; None for a law that has none here."""
    x = np.asarray(x, np.float64)
    if isinstance(law, Packed):
        return _mixture(law, where, dtype, x)
    if dtype in COMPLEX and isinstance(law, Uniform | Normal | Truncated):
        law = law.part()
    none = np.zeros_like(x)
    match law:
        case Uniform(low, high):
            return Density(np.where((x >= low) & (x <= high), 1 / (high - low), 0.0), {})
        case Normal(mean, std):
            return Density(_bell((x - mean) / std) / std, {})
        case Truncated(mean, std, low, high):
            from scipy.stats import truncnorm

            return Density(truncnorm.pdf(x, (low - mean) / std, (high - mean) / std, mean, std), {})
        case Quantile():
            return Density(_slope(law, x), {})
        case Sparse(zeros, std):
            share = zeros / where.canonical[0]
            return Density((1 - share) * _bell(x / std) / std, {0.0: share})
        case Constant(value):
            return Density(none, {value: 1.0})
        case Orthogonal(gain):
            return _sphere(abs(gain), where, x)
        case Eye():
            return Density(none, _ones(min(where.canonical), 1.0, where))
        case Dirac(groups, value):
            out, in_ = where.canonical[:2]
            return Density(none, _ones(groups * min(out // groups, in_), value, where))
    return None


def _bell(z: Floats) -> Floats:
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _slope(law: Quantile, x: Floats) -> Floats:
    """The slope of the distribution function, which is known by its inverse, around each point."""
    p = np.concatenate([np.ldexp(1.0, -np.arange(33, 10, -1)), np.linspace(2.0**-10, 0.5, 2047)])
    bottom, top = (np.asarray(law.function(p, upper, *law.arguments)) for upper in (False, True))
    values, shares = np.concatenate([bottom, top[::-1]]), np.concatenate([p, 1 - p[::-1]])
    if law.negative:
        values, shares = -values[::-1], 1 - shares[::-1]
    step = x[1] - x[0]
    ends = (np.interp(x + offset, values, shares, left=0.0, right=1.0) for offset in (-step / 2, step / 2))
    below, above = ends
    return np.asarray((above - below) / step)


def _sphere(gain: float, where: Geometry, x: Floats) -> Density | None:
    """A coordinate of a vector that is uniform on the sphere: (1 - (x/gain)^2)^((n-3)/2), normalized."""
    out, in_, spatial = where.sizes
    n = max(out, in_ * spatial)
    if n < 2 or gain == 0:
        return Density(np.zeros_like(x), {0.0: 1.0} if gain == 0 else {-gain: 0.5, gain: 0.5})
    constant = math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2)) / math.sqrt(math.pi) / gain
    inside = np.abs(x) < gain
    square = np.where(inside, 1 - (x / gain) ** 2, 1.0)
    return Density(np.where(inside, constant * square ** ((n - 3) / 2), 0.0), {})


def _ones(count: int, value: float, where: Geometry) -> dict[float, float]:
    share = count / math.prod(where.shape)
    return {0.0: 1 - share, value: share}


def _mixture(law: Packed, where: Geometry, dtype: str, x: Floats) -> Density | None:
    total = math.prod(where.shape)
    curve, atoms, left = np.zeros_like(x), dict[float, float](), 1.0
    for piece in law.pieces:
        share = math.prod(piece.geometry.shape) / total
        part = density(piece.law, piece.geometry, dtype, x)
        if part is None:
            return None
        curve += share * part.curve
        left -= share
        for value, mass in part.atoms.items():
            atoms[value] = atoms.get(value, 0.0) + share * mass
    if left > 1e-9:
        atoms[0.0] = atoms.get(0.0, 0.0) + left
    return Density(curve, atoms)
