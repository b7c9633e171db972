"""Schemes: the geometry of a weight and the parameters of an initializer -> the law of its elements.

Pure functions of Python floats (binary64; + - * / sqrt only), so that a bound is the same number everywhere. What each
scheme is, and where it comes from, is said in the docstring of its namesake in `initializers`.
"""

import math
import warnings
from numbers import Integral, Real
from typing import Any

from arrayinit.fans import Geometry
from arrayinit.gains import calculate_gain
from arrayinit.laws import Constant, Dirac, Eye, Law, Normal, Orthogonal, Sparse, Truncated, Uniform

__all__ = [
    "constant",
    "dirac",
    "eye",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "sparse",
    "trunc_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("uniform", "normal", "truncated_normal")

# The standard deviation of a standard normal truncated to [-2, 2]: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STD = 0.87962566103423978


def uniform(geometry: Geometry, a: float = 0.0, b: float = 1.0) -> Law:
    low, high = _finite(a, "a"), _finite(b, "b")
    if not low < high:
        raise ValueError(f"`a` must be less than `b`; got a={a!r} and b={b!r}")
    return Uniform(low, high)


def normal(geometry: Geometry, mean: float = 0.0, std: float = 1.0) -> Law:
    return _normal(_finite(mean, "mean"), _scale(std, "std"))


def trunc_normal(geometry: Geometry, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Law:
    mean, std, low, high = _finite(mean, "mean"), _scale(std, "std"), _number(a, "a"), _number(b, "b")
    if not low < high:
        raise ValueError(f"`a` must be less than `b`; got a={a!r} and b={b!r}")
    return Truncated(mean, std, low, high) if std else Constant(min(max(mean, low), high))


def constant(geometry: Geometry, val: float) -> Law:
    _real(val, "val")
    return Constant(int(val) if isinstance(val, Integral) else float(val))


def ones(geometry: Geometry) -> Law:
    return Constant(1.0)


def zeros(geometry: Geometry) -> Law:
    return Constant(0.0)


def eye(geometry: Geometry) -> Law:
    _plain(geometry, (2,), "eye")
    return Eye()


def dirac(geometry: Geometry) -> Law:
    _plain(geometry, (3, 4, 5), "dirac")
    out = geometry.canonical[0]
    if out % geometry.groups:
        raise ValueError(f"`groups` must divide the output channels; got groups {geometry.groups} and {out} channels")
    return Dirac(geometry.groups)


def xavier_uniform(geometry: Geometry, gain: float = 1.0) -> Law:
    return _centred(_xavier_std(geometry, gain), "uniform")


def xavier_normal(geometry: Geometry, gain: float = 1.0) -> Law:
    return _centred(_xavier_std(geometry, gain), "normal")


def kaiming_uniform(
    geometry: Geometry, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Law:
    return _centred(_kaiming_std(geometry, a, mode, nonlinearity), "uniform")


def kaiming_normal(
    geometry: Geometry, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Law:
    return _centred(_kaiming_std(geometry, a, mode, nonlinearity), "normal")


def lecun_uniform(geometry: Geometry) -> Law:
    return variance_scaling(geometry, 1.0, "fan_in", "uniform")


def lecun_normal(geometry: Geometry) -> Law:
    return variance_scaling(geometry, 1.0, "fan_in", "normal")


def variance_scaling(
    geometry: Geometry, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal"
) -> Law:
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"`distribution` must be one of {', '.join(map(repr, DISTRIBUTIONS))}; got {distribution!r}")
    factor = _scale(scale, "scale")
    fan = _fan(geometry, mode)
    return _centred(math.sqrt(factor / fan) if fan else 0.0, distribution)


def orthogonal(geometry: Geometry, gain: float = 1.0) -> Law:
    if len(geometry.shape) < 2:
        raise ValueError(f"orthogonal needs a shape of at least 2 dimensions; got {geometry.shape}")
    return Orthogonal(_finite(gain, "gain"))


def sparse(geometry: Geometry, sparsity: float, std: float = 0.01) -> Law:
    from fractions import Fraction  # here, for few processes need it

    _plain(geometry, (2,), "sparse")
    fraction, scale = _finite(sparsity, "sparsity"), _scale(std, "std")
    if not 0 <= fraction <= 1:
        raise ValueError(f"`sparsity` must be in [0, 1]; got {sparsity!r}")
    # The decimal number that was written, not the binary one nearest to it: 0.07 of 100 rows are 7, not 8.
    zeros = math.ceil(Fraction(repr(fraction)) * geometry.canonical[0])
    return Sparse(zeros, scale) if scale else Constant(0.0)


def _centred(std: float, distribution: str) -> Law:
    """The law of mean 0 and this standard deviation."""
    if std == 0:
        return Constant(0.0)
    if distribution == "normal":
        return Normal(0.0, std)
    if distribution == "uniform":
        bound = math.sqrt(3.0) * std
        return Uniform(-bound, bound, scaled=True)
    whole = std / TRUNCATED_STD
    return Truncated(0.0, whole, -2 * whole, 2 * whole, scaled=True)


def _normal(mean: float, std: float) -> Law:
    return Normal(mean, std) if std else Constant(mean)


def _xavier_std(geometry: Geometry, gain: float) -> float:
    factor = _scale(gain, "gain")
    fan_in, fan_out = geometry.fans
    return factor * math.sqrt(2.0 / float(fan_in + fan_out)) if fan_in + fan_out else 0.0


def _kaiming_std(geometry: Geometry, a: float | None, mode: str, nonlinearity: str) -> float:
    gain = calculate_gain(nonlinearity, a)
    if 0 in geometry.shape:
        _check_mode(mode)
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=5)
        return 0.0
    return gain / math.sqrt(_fan(geometry, mode))


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"`mode` must be one of {', '.join(map(repr, MODES))}; got {mode!r}")


def _fan(geometry: Geometry, mode: str) -> float:
    _check_mode(mode)
    fan_in, fan_out = geometry.fans
    if mode == "fan_in":
        return fan_in
    if mode == "fan_out":
        return fan_out
    return (fan_in + fan_out) / 2 if mode == "fan_avg" else math.sqrt(fan_in * fan_out)


def _plain(geometry: Geometry, ranks: tuple[int, ...], name: str) -> None:
    """Refuse shapes of another rank, and layouts that are not one out axis, one in axis and spatial ones."""
    if len(geometry.shape) not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise ValueError(f"{name} needs a shape of {wanted} dimensions; got {geometry.shape}")
    if geometry.roles is not None and sorted(geometry.roles.replace("s", "")) != ["i", "o"]:
        raise ValueError(f"`layout` must have one 'o', one 'i' and no 'b' for {name}; got roles {geometry.roles!r}")


def _real(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a real number; got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"`{name}` must be within the range of float64; got {value!r}") from None


def _number(value: Any, name: str) -> float:
    number = _real(value, name)
    if math.isnan(number):
        raise ValueError(f"`{name}` must not be NaN; got {value!r}")
    return number


def _finite(value: Any, name: str) -> float:
    number = _number(value, name)
    if math.isinf(number):
        raise ValueError(f"`{name}` must be finite; got {value!r}")
    return number


def _scale(value: Any, name: str) -> float:
    number = _finite(value, name)
    if number < 0:
        raise ValueError(f"`{name}` must not be negative; got {value!r}")
    return number
