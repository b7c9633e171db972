"""Laws of elements that are drawn one by one: bounds and standard deviations from fans, gains and numbers."""

import math
from numbers import Integral

from arrayinit.laws import Constant, Law, Normal, Point, Truncated, Uniform
from arrayinit.laws.gains import calculate_gain
from arrayinit.laws.geometry import Geometry
from arrayinit.schemes.arguments import finite, flag, integer, nonnegative, number, one_of, positive, real

__all__ = [
    "constant",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "prior_bias",
    "siren",
    "small_normal",
    "trunc_normal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "wang_normal",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("uniform", "normal", "truncated_normal")

# The standard deviation of a standard normal truncated to [-2, 2]: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STD = 0.87962566103423978


def uniform(geometry: Geometry, a: float = 0.0, b: float = 1.0) -> Law:
    low, high = finite(a, "a"), finite(b, "b")
    if not low < high:
        raise ValueError(f"`a` must be less than `b`; got a={a!r} and b={b!r}")
    return Uniform(low, high)


def normal(geometry: Geometry, mean: float = 0.0, std: float = 1.0) -> Law:
    return _normal(finite(mean, "mean"), nonnegative(std, "std"))


def trunc_normal(geometry: Geometry, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Law:
    mean, std, low, high = finite(mean, "mean"), nonnegative(std, "std"), number(a, "a"), number(b, "b")
    if not low < high:
        raise ValueError(f"`a` must be less than `b`; got a={a!r} and b={b!r}")
    return Truncated(mean, std, low, high) if std else Point(min(max(mean, low), high), low, high)


def truncated_normal(
    geometry: Geometry, mean: float = 0.0, std: float = 1.0, lower: float = -2.0, upper: float = 2.0
) -> Law:
    mean, std, low, high = finite(mean, "mean"), nonnegative(std, "std"), number(lower, "lower"), number(upper, "upper")
    if not low < high:
        raise ValueError(f"`lower` must be less than `upper`; got lower={lower!r} and upper={upper!r}")
    return Truncated(mean, std, mean + low * std, mean + high * std, scaled=True) if std else Point(mean)


def constant(geometry: Geometry, val: float) -> Law:
    real(val, "val")
    return Constant(int(val) if isinstance(val, Integral) else float(val))


def ones(geometry: Geometry) -> Law:
    return Constant(1.0)


def zeros(geometry: Geometry) -> Law:
    return Constant(0.0)


def xavier_uniform(geometry: Geometry, gain: float = 1.0) -> Law:
    return _centred(_xavier_std(geometry, gain), "uniform")


def xavier_normal(geometry: Geometry, gain: float = 1.0) -> Law:
    return _centred(_xavier_std(geometry, gain), "normal")


def kaiming_uniform(
    geometry: Geometry, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Law:
    return _kaiming(geometry, a, mode, nonlinearity, "uniform")


def kaiming_normal(
    geometry: Geometry, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Law:
    return _kaiming(geometry, a, mode, nonlinearity, "normal")


def lecun_uniform(geometry: Geometry) -> Law:
    return variance_scaling(geometry, 1.0, "fan_in", "uniform")


def lecun_normal(geometry: Geometry) -> Law:
    return variance_scaling(geometry, 1.0, "fan_in", "normal")


def variance_scaling(
    geometry: Geometry, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal"
) -> Law:
    one_of(distribution, "distribution", DISTRIBUTIONS)
    factor = nonnegative(scale, "scale")
    fan = _fan(geometry, mode)
    return _centred(math.sqrt(factor / fan) if fan else 0.0, distribution)


def siren(geometry: Geometry, omega: float = 30.0, first: bool = False) -> Law:
    frequency, fan_in = positive(omega, "omega"), geometry.fans[0]
    if not fan_in:
        return Constant(0.0)
    bound = 1 / fan_in if flag(first, "first") else math.sqrt(6 / fan_in) / frequency
    return Uniform(-bound, bound, scaled=True)


def small_normal(geometry: Geometry, dim: int | None = None) -> Law:
    width = _width(geometry, dim)
    return _normal(0.0, math.sqrt(2 / (5 * width)) if width else 0.0)


def wang_normal(geometry: Geometry, layers: int, dim: int | None = None) -> Law:
    depth, width = integer(layers, "layers"), _width(geometry, dim)
    return _normal(0.0, 2 / (depth * math.sqrt(width)) if width else 0.0)


def prior_bias(geometry: Geometry, p: float = 0.01) -> Law:
    from decimal import Decimal  # here, for few processes need it

    from arrayinit.stream.normal_cdf import digits

    prior = finite(p, "p")
    if not 0 < prior < 1:
        raise ValueError(f"`p` must be a probability between 0 and 1; got {p!r}")
    with digits(40):  # correctly rounded: the same digits on every machine
        return Constant(float((Decimal(prior) / (1 - Decimal(prior))).ln()))


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
    return Normal(mean, std) if std else Point(mean)


def _xavier_std(geometry: Geometry, gain: float) -> float:
    factor = nonnegative(gain, "gain")
    fan_in, fan_out = geometry.fans
    return factor * math.sqrt(2.0 / float(fan_in + fan_out)) if fan_in + fan_out else 0.0


def _kaiming(geometry: Geometry, a: float | None, mode: str, nonlinearity: str, distribution: str) -> Law:
    gain = calculate_gain(nonlinearity, a)
    if 0 in geometry.shape:
        one_of(mode, "mode", MODES)
        return Constant(0.0, is_empty=True)
    return _centred(gain / math.sqrt(_fan(geometry, mode)), distribution)


def _fan(geometry: Geometry, mode: str) -> float:
    one_of(mode, "mode", MODES)
    fan_in, fan_out = geometry.fans
    if mode == "fan_in":
        return fan_in
    if mode == "fan_out":
        return fan_out
    return (fan_in + fan_out) / 2 if mode == "fan_avg" else math.sqrt(fan_in * fan_out)


def _width(geometry: Geometry, dim: int | None) -> int:
    return geometry.fans[0] if dim is None else integer(dim, "dim")
