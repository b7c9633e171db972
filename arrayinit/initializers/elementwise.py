"""Initializers whose elements are drawn one by one, or are one number."""

import math
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any, Unpack

from arrayinit.common.arguments import finite, flag, integer, nonnegative, number, one_of, positive, real
from arrayinit.common.messages import shown, warn
from arrayinit.draw import Keywords, draw
from arrayinit.initializers.forms import creating, filling
from arrayinit.laws import Constant, Law, Normal, Point, Truncated, Uniform
from arrayinit.laws.gains import calculate_gain
from arrayinit.laws.geometry import Geometry

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("uniform", "normal", "truncated_normal")
# The standard deviation of a standard normal truncated to [-2, 2]: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STD = 0.87962566103423978


def _uniform(geometry: Geometry, a: float, b: float) -> Law:
    low, high = finite(a, "a"), finite(b, "b")
    if not low < high:
        raise ValueError(f"`a` must be less than `b`; got a={a!r} and b={b!r}")
    return Uniform(low, high)


@creating
def uniform(x: Any, a: float = 0.0, b: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """U[a, b): multiples of 2**(E - 31) from a up to, not including, b, rounded to the dtype.

    E is the exponent of the larger bound, 2**(E-1) <= max(|a|, |b|) < 2**E: there are 2**30 steps on [0, 1), 2**31 on
    [-1, 1) and 2**21 on [1000, 1001).

        >>> ai.uniform(3, -1.0, 1.0, seed=0)
        array([-0.20190705,  0.7610404 ,  0.47142556], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        a, b: finite bounds, a < b; for a complex dtype those of the real and of the imaginary part.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a >= b, a bound that is NaN or infinite, no value of the dtype in [a, b), bounds beyond the dtype's
            range or too close to zero for it, or bounds so close together that fewer than 4096 steps lie between them
            where the dtype has more.
    """
    return draw(x, partial(_uniform, a=a, b=b), **keywords)


uniform_ = filling(uniform)


def _normal(geometry: Geometry, mean: float, std: float) -> Law:
    return _normal_law(finite(mean, "mean"), nonnegative(std, "std"))


@creating
def normal(x: Any, mean: float = 0.0, std: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """N(mean, std^2), within 6.34 std of the mean, by inversion: accurate to 3e-8 std.

        >>> ai.normal(3, std=0.02, seed=0)
        array([-0.01686651, -0.0030062 ,  0.00675072], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        mean: the expectation; for a complex dtype of the real and of the imaginary part.
        std: the standard deviation, >= 0; 0 gives the constant mean.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a negative std, NaN or infinity, |mean| + 8 std beyond the dtype's range, a scale too small for it,
            or a std so small beside the mean that 8 std are fewer than 4096 steps and the dtype has more.

    Source: inversion: Devroye, Non-Uniform Random Variate Generation, 1986, chapter II.2.
    """
    return draw(x, partial(_normal, mean=mean, std=std), **keywords)


normal_ = filling(normal)


def _trunc_normal(geometry: Geometry, mean: float, std: float, a: float, b: float) -> Law:
    mean, std, low, high = finite(mean, "mean"), nonnegative(std, "std"), number(a, "a"), number(b, "b")
    if not low < high:
        raise ValueError(f"`a` must be less than `b`; got a={a!r} and b={b!r}")
    return Truncated(mean, std, low, high) if std else Point(min(max(mean, low), high), low, high)


@creating
def trunc_normal(
    x: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, **keywords: Unpack[Keywords]
) -> Any:
    """N(mean, std^2) given that it falls into [a, b], both ends in range, by inversion.

    Tails are as accurate as the middle, to 3e-8 std: intervals up to about 11 std from the mean, or half-infinite ones
    that start up to about 9 std from it.

        >>> ai.trunc_normal(3, std=0.02, a=-0.04, b=0.04, seed=0)
        array([-0.00487874,  0.02189678,  0.01195447], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        mean, std: of the normal before it is truncated; std 0 gives the constant closest to mean in [a, b].
        a, b: absolute bounds (not in units of std), a < b; either may be infinite.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a >= b, a negative std, NaN, an interval without a value of the dtype, with too little mass, or
            narrower than 2**20 steps of the lattice, which are 2**-31 of |mean| + 8 std rounded up to a power of two
            (of 16 std for an interval beyond 8 std).

    Warns:
        UserWarning: a mean more than 2 std outside of [a, b], as torch.nn.init warns. The draw is right even there, but
            nearly all of it lies at one bound; often bounds in units of std were meant. A spec does not warn, and
            neither does :func:`truncated_normal`, whose bounds are in those units.

    Source: torch.nn.init.trunc_normal_.
    """
    new = draw(x, partial(_trunc_normal, mean=mean, std=std, a=a, b=b), **keywords)
    _warn_far(mean, std, a, b)
    return new


trunc_normal_ = filling(trunc_normal)


def _constant(geometry: Geometry, val: float) -> Law:
    real(val, "val")
    return Constant(int(val) if isinstance(val, Integral) else float(val))


@creating
def constant(x: Any, val: float, **keywords: Unpack[Keywords]) -> Any:
    """Each element is val, rounded to the dtype as samples are.

        >>> ai.constant((2, 2), 0.5)
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        val: a real number; infinite and NaN values are stored as they are.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a finite val beyond the dtype's range or, for integer and boolean dtypes, one that they don't have.
    """
    return draw(x, partial(_constant, val=val), **keywords)


constant_ = filling(constant)


def _ones(geometry: Geometry) -> Law:
    return Constant(1.0)


@creating
def ones(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Each element is 1.

        >>> ai.ones(3, dtype="int32")
        array([1, 1, 1], dtype=int32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.
    """
    return draw(x, _ones, **keywords)


ones_ = filling(ones)


def _zeros(geometry: Geometry) -> Law:
    return Constant(0.0)


@creating
def zeros(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Each element is 0.

        >>> ai.zeros((2, 3))
        array([[0., 0., 0.],
               [0., 0., 0.]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.
    """
    return draw(x, _zeros, **keywords)


zeros_ = filling(zeros)


def _xavier_uniform(geometry: Geometry, gain: float) -> Law:
    return _centred(_xavier_std(geometry, gain), "uniform")


@creating
def xavier_uniform(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """U[-bound, bound), bound = gain * sqrt(6 / (fan_in + fan_out)).

        >>> ai.xavier_uniform((2, 3), seed=0)
        array([[-0.2211781 ,  0.833678  ,  0.51642084],
               [ 0.23109916,  1.0346286 , -0.30214322]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        gain: a factor >= 0, see :func:`arrayinit.calculate_gain`.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a negative or non-finite gain, a shape of fewer than 2 dimensions.

    Source: Glorot and Bengio, AISTATS 2010, eq. 16.
    """
    return draw(x, partial(_xavier_uniform, gain=gain), **keywords)


xavier_uniform_ = filling(xavier_uniform)


def _xavier_normal(geometry: Geometry, gain: float) -> Law:
    return _centred(_xavier_std(geometry, gain), "normal")


@creating
def xavier_normal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = gain * sqrt(2 / (fan_in + fan_out)); not truncated, as in torch (JAX's glorot_normal is).

        >>> ai.xavier_normal((2, 3), seed=0)
        array([[-0.53336585, -0.09506427,  0.21347658],
               [ 0.32668447,  0.02200788, -0.5764122 ]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        gain: a factor >= 0, see :func:`arrayinit.calculate_gain`.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a negative or non-finite gain, a shape of fewer than 2 dimensions.

    Source: Glorot and Bengio, AISTATS 2010, eq. 12.
    """
    return draw(x, partial(_xavier_normal, gain=gain), **keywords)


xavier_normal_ = filling(xavier_normal)


def _kaiming_uniform(geometry: Geometry, a: float | None, mode: str, nonlinearity: Any, gain: float | None) -> Law:
    return _kaiming(geometry, a, mode, nonlinearity, gain, "uniform")


@creating
def kaiming_uniform(
    x: Any,
    a: float | None = 0.0,
    mode: str = "fan_in",
    nonlinearity: str | Callable[[Any], Any] = "leaky_relu",
    gain: float | None = None,
    **keywords: Unpack[Keywords],
) -> Any:
    """U[-bound, bound), bound = gain * sqrt(3 / fan), with the gain of the nonlinearity.

        >>> ai.kaiming_uniform((2, 3), nonlinearity="relu", seed=0)
        array([[-0.2855397 ,  1.0762737 ,  0.6666964 ],
               [ 0.29834774,  1.3356998 , -0.39006522]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        a: the negative slope of leaky_relu (0 makes it relu, None is 0.01); unused by other nonlinearities.
        mode: which fan: "fan_in" keeps the variance of activations, "fan_out" that of gradients; also "fan_avg" and
            "fan_geo_avg", their arithmetic and geometric mean.
        nonlinearity: a name that :func:`arrayinit.calculate_gain` knows ("relu", "gelu", "silu", ...), or an
            elementwise function, for which :func:`arrayinit.gain` is computed.
        gain: the gain itself, in place of a nonlinearity; a number >= 0.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: an unknown mode or nonlinearity, a slope that is not a number with a finite square, a gain that is
            negative or stands beside a nonlinearity or a slope, a shape of fewer than 2 dimensions.
        TypeError: a nonlinearity that is a function and takes no arrays.

    Warns:
        UserWarning: a shape without elements.

    Source: He et al., ICCV 2015, eq. 10 and 14.
    """
    return draw(x, partial(_kaiming_uniform, a=a, mode=mode, nonlinearity=nonlinearity, gain=gain), **keywords)


kaiming_uniform_ = filling(kaiming_uniform)


def _kaiming_normal(geometry: Geometry, a: float | None, mode: str, nonlinearity: Any, gain: float | None) -> Law:
    return _kaiming(geometry, a, mode, nonlinearity, gain, "normal")


@creating
def kaiming_normal(
    x: Any,
    a: float | None = 0.0,
    mode: str = "fan_in",
    nonlinearity: str | Callable[[Any], Any] = "leaky_relu",
    gain: float | None = None,
    **keywords: Unpack[Keywords],
) -> Any:
    """N(0, std^2), std = gain / sqrt(fan); not truncated, as in torch (JAX's he_normal is).

        >>> ai.kaiming_normal((2, 3), mode="fan_out", nonlinearity="relu", seed=0)
        array([[-0.84332544, -0.1503098 ,  0.33753613],
               [ 0.5165335 ,  0.03479751, -0.91138774]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        a: the negative slope of leaky_relu (0 makes it relu, None is 0.01); unused by other nonlinearities.
        mode: which fan: "fan_in" keeps the variance of activations, "fan_out" that of gradients; also "fan_avg" and
            "fan_geo_avg", their arithmetic and geometric mean.
        nonlinearity: a name that :func:`arrayinit.calculate_gain` knows ("relu", "gelu", "silu", ...), or an
            elementwise function, for which :func:`arrayinit.gain` is computed.
        gain: the gain itself, in place of a nonlinearity; a number >= 0.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: an unknown mode or nonlinearity, a slope that is not a number with a finite square, a gain that is
            negative or stands beside a nonlinearity or a slope, a shape of fewer than 2 dimensions.
        TypeError: a nonlinearity that is a function and takes no arrays.

    Warns:
        UserWarning: a shape without elements.

    Source: He et al., ICCV 2015, eq. 10 and 14.
    """
    return draw(x, partial(_kaiming_normal, a=a, mode=mode, nonlinearity=nonlinearity, gain=gain), **keywords)


kaiming_normal_ = filling(kaiming_normal)


def _lecun_uniform(geometry: Geometry) -> Law:
    return _variance_scaling(geometry, 1.0, "fan_in", "uniform")


@creating
def lecun_uniform(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """U[-bound, bound), bound = sqrt(3 / fan_in).

        >>> ai.lecun_uniform((2, 3), seed=0)
        array([[-0.20190705,  0.7610404 ,  0.47142556],
               [ 0.21096371,  0.9444824 , -0.27581778]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape of fewer than 2 dimensions.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6.
    """
    return draw(x, _lecun_uniform, **keywords)


lecun_uniform_ = filling(lecun_uniform)


def _lecun_normal(geometry: Geometry) -> Law:
    return _variance_scaling(geometry, 1.0, "fan_in", "normal")


@creating
def lecun_normal(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = sqrt(1 / fan_in); not truncated (JAX's and Keras's are).

        >>> ai.lecun_normal((2, 3), seed=0)
        array([[-0.48689416, -0.0867814 ,  0.19487657],
               [ 0.29822075,  0.02009035, -0.5261899 ]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape of fewer than 2 dimensions.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6; Klambauer et al., NeurIPS 2017 (SELU).
    """
    return draw(x, _lecun_normal, **keywords)


lecun_normal_ = filling(lecun_normal)


def _variance_scaling(geometry: Geometry, scale: float, mode: str, distribution: str) -> Law:
    one_of(distribution, "distribution", DISTRIBUTIONS)
    factor = nonnegative(scale, "scale")
    fan = _fan(geometry, mode)
    return _centred(math.sqrt(factor / fan) if fan else 0.0, distribution)


@creating
def variance_scaling(
    x: Any,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    **keywords: Unpack[Keywords],
) -> Any:
    """Mean 0 and variance scale / fan, whatever the distribution.

    "uniform": U[-bound, bound) with bound = sqrt(3 scale / fan). "normal": N(0, scale / fan). "truncated_normal": a
    normal of std s truncated to [-2 s, 2 s], both ends in range; s = sqrt(scale / fan) / 0.87962566103423978 makes up
    for the truncation.

        >>> ai.variance_scaling((2, 3), 2.0, "fan_avg", "uniform", seed=0)
        array([[-0.31279308,  1.1789987 ,  0.73032933],
               [ 0.32682356,  1.4631858 , -0.42729506]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        scale: the variance times the fan, >= 0: 2 for relu, 1 for linear layers.
        mode: "fan_in", "fan_out", "fan_avg" (arithmetic mean) or "fan_geo_avg" (geometric mean).
        distribution: "uniform", "normal" or "truncated_normal".
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: an unknown mode or distribution, a negative or non-finite scale, a shape of fewer than 2 dimensions.

    Source: jax.nn.initializers.variance_scaling and Keras's VarianceScaling, after Glorot and He.
    """
    return draw(x, partial(_variance_scaling, scale=scale, mode=mode, distribution=distribution), **keywords)


variance_scaling_ = filling(variance_scaling)


def _truncated_normal(geometry: Geometry, mean: float, std: float, lower: float, upper: float) -> Law:
    mean, std, low, high = finite(mean, "mean"), nonnegative(std, "std"), number(lower, "lower"), number(upper, "upper")
    if not low < high:
        raise ValueError(f"`lower` must be less than `upper`; got lower={lower!r} and upper={upper!r}")
    return Truncated(mean, std, mean + low * std, mean + high * std, bounds_follow_std=True) if std else Point(mean)


@creating
def truncated_normal(
    x: Any, mean: float = 0.0, std: float = 1.0, lower: float = -2.0, upper: float = 2.0, **keywords: Unpack[Keywords]
) -> Any:
    """N(mean, std^2) given that it falls into [mean + lower std, mean + upper std], both ends in range.

    The bounds are in units of std, those of :func:`trunc_normal` are absolute. The result has a smaller standard
    deviation than std, 0.8796 of it for [-2, 2]: only :func:`variance_scaling` makes up for that. The parts of a
    complex element are truncated at the same multiples of their own standard deviation, std / sqrt(2).

        >>> ai.truncated_normal(3, std=0.02, seed=0)
        array([-0.00487874,  0.02189678,  0.01195447], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        mean, std: of the normal before it is truncated; std 0 gives the constant mean.
        lower, upper: lower < upper; either may be infinite.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: lower >= upper, a negative std, NaN, an interval with too little mass (as in trunc_normal).

    Source: jax.nn.initializers.truncated_normal.
    """
    return draw(x, partial(_truncated_normal, mean=mean, std=std, lower=lower, upper=upper), **keywords)


truncated_normal_ = filling(truncated_normal)


def _scaled_truncated_normal(geometry: Geometry, gain: float, mode: str, cut: float) -> Law:
    factor, multiple = nonnegative(gain, "gain"), positive(cut, "cut")
    fan = _fan(geometry, mode)
    std = factor / math.sqrt(fan) if fan else 0.0
    return Truncated(0.0, std, -multiple * std, multiple * std, bounds_follow_std=True) if std else Constant(0.0)


@creating
def scaled_truncated_normal(
    x: Any, gain: float = 1.0, mode: str = "fan_in", cut: float = 3.0, **keywords: Unpack[Keywords]
) -> Any:
    """N(0, std^2), std = gain / sqrt(fan), given that it falls into [-cut std, cut std], both ends in range.

    Nothing makes up for the truncation: the standard deviation is 0.9866 std for a cut at 3, as in the codes that it
    comes from. :func:`variance_scaling` makes up for a cut at 2.

        >>> ai.scaled_truncated_normal((2, 3), seed=0)
        array([[-0.1472879 ,  0.67691743,  0.3627141 ],
               [ 0.15405002,  1.0941873 , -0.20315906]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        gain: >= 0; 1 / sqrt(2 L) in the last layer of each residual branch, for instance.
        mode: "fan_in", "fan_out", "fan_avg" (arithmetic mean) or "fan_geo_avg" (geometric mean).
        cut: where the normal is cut off, in units of std, > 0.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: an unknown mode, a negative or non-finite gain, a cut that is not positive, a shape of fewer than 2
            dimensions.

    Sources: allenai/OLMo-core, olmo_core/nn/transformer/init.py; pytorch/torchtitan, models/llama3,
    `_output_linear_init`.
    """
    return draw(x, partial(_scaled_truncated_normal, gain=gain, mode=mode, cut=cut), **keywords)


scaled_truncated_normal_ = filling(scaled_truncated_normal)


def _siren(geometry: Geometry, omega: float, first: bool) -> Law:
    frequency, fan_in = positive(omega, "omega"), geometry.fans[0]
    if not fan_in:
        return Constant(0.0)
    bound = 1 / fan_in if flag(first, "first") else math.sqrt(6 / fan_in) / frequency
    return Uniform(-bound, bound, bounds_follow_std=True)


@creating
def siren(x: Any, omega: float = 30.0, first: bool = False, **keywords: Unpack[Keywords]) -> Any:
    """U[-bound, bound), bound = sqrt(6 / fan_in) / omega, or 1 / fan_in in the first layer: for sin(omega (Wx + b)).

        >>> ai.siren((2, 3), first=True, seed=0)
        array([[-0.06730235,  0.25368014,  0.15714185],
               [ 0.07032123,  0.31482747, -0.09193926]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        omega: the factor omega_0 > 0 within the sine, 30 in the paper; unused in the first layer.
        first: whether it is the first layer, whose inputs are coordinates.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: an omega that is not positive and finite, a shape of fewer than 2 dimensions.

    Source: Sitzmann et al., NeurIPS 2020, section 3.2 and supplement, section 1.5.
    """
    return draw(x, partial(_siren, omega=omega, first=first), **keywords)


siren_ = filling(siren)


def _small_normal(geometry: Geometry, dim: int | None) -> Law:
    width = _width(geometry, dim)
    return _normal_law(0.0, math.sqrt(2 / (5 * width)) if width else 0.0)


@creating
def small_normal(x: Any, dim: int | None = None, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = sqrt(2 / (5 dim)), the "small init" of transformers: xavier_normal of a (dim, 4 dim) weight.

        >>> ai.small_normal((2, 10), seed=0).shape  # std 0.2
        (2, 10)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        dim: the width of the model; fan_in by default, which is the same for all weights that read the model's state.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a dim below 1, a shape of fewer than 2 dimensions where dim is not given.

    Source: Nguyen and Salazar, Transformers without Tears, IWSLT 2019, section 2.2.
    """
    return draw(x, partial(_small_normal, dim=dim), **keywords)


small_normal_ = filling(small_normal)


def _wang_normal(geometry: Geometry, layers: int, dim: int | None) -> Law:
    depth, width = integer(layers, "layers"), _width(geometry, dim)
    return _normal_law(0.0, 2 / (depth * math.sqrt(width)) if width else 0.0)


@creating
def wang_normal(x: Any, layers: int, dim: int | None = None, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = 2 / (layers sqrt(dim)): for the last weight of each residual branch of a transformer.

        >>> ai.wang_normal((2, 3), layers=12, dim=64, seed=0)
        array([[-0.01756928, -0.00313145,  0.007032  ],
               [ 0.01076111,  0.00072495, -0.01898724]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        layers: the number of layers of the model, >= 1.
        dim: the width of the model; fan_in by default.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: layers or a dim below 1, a shape of fewer than 2 dimensions where dim is not given.

    Source: Wang and Komatsuzaki, GPT-J-6B, 2021; Black et al., GPT-NeoX-20B, 2022, section 2.1.
    """
    return draw(x, partial(_wang_normal, layers=layers, dim=dim), **keywords)


wang_normal_ = filling(wang_normal)


def _prior_bias(geometry: Geometry, p: float) -> Law:
    from decimal import Decimal  # imported here: few processes need it

    from arrayinit.stream.normal_cdf import digits

    prior = finite(p, "p")
    if not 0 < prior < 1:
        raise ValueError(f"`p` must be a probability between 0 and 1; got {p!r}")
    with digits(40):  # correctly rounded: the same digits on every machine
        return Constant(float((Decimal(prior) / (1 - Decimal(prior))).ln()))


@creating
def prior_bias(x: Any, p: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """The constant log(p / (1 - p)): the bias of a sigmoid output that starts by predicting the probability p.

    Computed in decimal arithmetic, so that it is the same number on each machine.

        >>> ai.prior_bias(2, p=0.01)
        array([-4.59512, -4.59512], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        p: the probability of the positive class, 0 < p < 1; 0.01 in the paper.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a p outside (0, 1).

    Source: Lin et al., Focal Loss, ICCV 2017, section 4.1.
    """
    return draw(x, partial(_prior_bias, p=p), **keywords)


prior_bias_ = filling(prior_bias)


def _warn_far(mean: float, std: float, a: float, b: float) -> None:
    """Warn of a mean far from the bounds. Called after the draw, which refuses wrong arguments."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            f"mean is more than 2 std from [a, b]: samples crowd at one of the bounds; "
            f"got mean={mean!r}, std={std!r}, a={a!r} and b={b!r}"
        )


def _centred(std: float, distribution: str) -> Law:
    """The law of mean 0 and this standard deviation."""
    if std == 0:
        return Constant(0.0)
    if distribution == "normal":
        return Normal(0.0, std)
    if distribution == "uniform":
        bound = math.sqrt(3.0) * std
        return Uniform(-bound, bound, bounds_follow_std=True)
    whole = std / TRUNCATED_STD
    return Truncated(0.0, whole, -2 * whole, 2 * whole, bounds_follow_std=True)


def _normal_law(mean: float, std: float) -> Law:
    return Normal(mean, std) if std else Point(mean)


def _xavier_std(geometry: Geometry, gain: float) -> float:
    factor = nonnegative(gain, "gain")
    fan_in, fan_out = geometry.fans
    return factor * math.sqrt(2.0 / float(fan_in + fan_out)) if fan_in + fan_out else 0.0


def _kaiming(
    geometry: Geometry, a: float | None, mode: str, nonlinearity: Any, gain: float | None, distribution: str
) -> Law:
    if gain is None:
        gain = calculate_gain(nonlinearity, a)
    elif not (isinstance(nonlinearity, str) and nonlinearity == "leaky_relu" and isinstance(a, int | float) and a == 0):
        raise ValueError(
            f"`gain` must not be given together with `nonlinearity` or `a`, which it replaces; got {shown(gain)} with "
            f"{shown(nonlinearity)} and {shown(a)}"
        )
    else:
        gain = nonnegative(gain, "gain")
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
