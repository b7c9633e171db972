"""Initializers whose elements are drawn one by one, or are one number."""

from functools import partial
from typing import Any, Unpack

from arrayinit import schemes
from arrayinit.common.messages import warn
from arrayinit.draw import Keywords, draw

__all__ = [
    "constant",
    "constant_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lecun_normal",
    "lecun_normal_",
    "lecun_uniform",
    "lecun_uniform_",
    "normal",
    "normal_",
    "ones",
    "ones_",
    "prior_bias",
    "prior_bias_",
    "siren",
    "siren_",
    "small_normal",
    "small_normal_",
    "trunc_normal",
    "trunc_normal_",
    "truncated_normal",
    "truncated_normal_",
    "uniform",
    "uniform_",
    "variance_scaling",
    "variance_scaling_",
    "wang_normal",
    "wang_normal_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros",
    "zeros_",
]


def uniform(x: Any, a: float = 0.0, b: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """U[a, b): 2**31 equally likely steps from a up to, not including, b, rounded to the dtype.

    Args:
        a, b: finite bounds, a < b; for a complex dtype those of the real and of the imaginary part.

    Raises:
        ValueError: a >= b, a bound that is NaN or infinite, or no value of the dtype in [a, b).
    """
    return draw(x, partial(schemes.uniform, a=a, b=b), False, **keywords)


def uniform_(x: Any, a: float = 0.0, b: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`uniform`; returns x."""
    return draw(x, partial(schemes.uniform, a=a, b=b), True, **keywords)


def normal(x: Any, mean: float = 0.0, std: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """N(mean, std^2), by the inverse distribution function to 3e-8 standard deviations; |x - mean| <= 6.34 std.

    Args:
        mean: the expectation; for a complex dtype of the real and of the imaginary part.
        std: the standard deviation, >= 0; 0 gives the constant mean.

    Raises:
        ValueError: a negative std, NaN or infinity, or |mean| + 8 std beyond the dtype's range.
    """
    return draw(x, partial(schemes.normal, mean=mean, std=std), False, **keywords)


def normal_(x: Any, mean: float = 0.0, std: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`normal`; returns x."""
    return draw(x, partial(schemes.normal, mean=mean, std=std), True, **keywords)


def trunc_normal(
    x: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, **keywords: Unpack[Keywords]
) -> Any:
    """N(mean, std^2) given that it falls into [a, b], by the inverse distribution function: one word each.

    Both ends are in range. The tails are exact: intervals up to 11 standard deviations from the mean, or half-infinite
    ones that start up to 9 from it, are drawn as well as those around it.

    Args:
        mean, std: of the normal before it is truncated; std 0 gives the constant closest to mean in [a, b].
        a, b: absolute bounds (not in units of std), a < b; either may be infinite.

    Raises:
        ValueError: a >= b, a negative std, NaN, an interval without a value of the dtype, with too little mass, or
            narrower than about 2**20 steps of the grid.

    Warns:
        UserWarning: a mean more than 2 std outside of [a, b], as torch.nn.init does. What is drawn is right there, but
            nearly all of it lies at one bound, and what was meant is often bounds in units of std. A spec, and
            :func:`truncated_normal`, whose bounds are in those units, don't warn.
    """
    new = draw(x, partial(schemes.trunc_normal, mean=mean, std=std, a=a, b=b), False, **keywords)
    _warn_far(mean, std, a, b)
    return new


def trunc_normal_(
    x: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, **keywords: Unpack[Keywords]
) -> Any:
    """Fill x in place with :func:`trunc_normal`; returns x."""
    draw(x, partial(schemes.trunc_normal, mean=mean, std=std, a=a, b=b), True, **keywords)
    _warn_far(mean, std, a, b)
    return x


def _warn_far(mean: float, std: float, a: float, b: float) -> None:
    """Warn of a mean that is far from the bounds, where the draw has passed."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            f"mean is more than 2 std from [a, b]: samples crowd at one of the bounds; "
            f"got mean={mean!r}, std={std!r}, a={a!r} and b={b!r}"
        )


def constant(x: Any, val: float, **keywords: Unpack[Keywords]) -> Any:
    """Every element is val, rounded to the dtype as samples are.

    Args:
        val: a real number; infinite and NaN values are stored as they are.

    Raises:
        ValueError: a finite val beyond the dtype's range or, for integer and boolean dtypes, one that they don't have.
    """
    return draw(x, partial(schemes.constant, val=val), False, **keywords)


def constant_(x: Any, val: float, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`constant`; returns x."""
    return draw(x, partial(schemes.constant, val=val), True, **keywords)


def ones(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Every element is 1."""
    return draw(x, schemes.ones, False, **keywords)


def ones_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`ones`; returns x."""
    return draw(x, schemes.ones, True, **keywords)


def zeros(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Every element is 0."""
    return draw(x, schemes.zeros, False, **keywords)


def zeros_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`zeros`; returns x."""
    return draw(x, schemes.zeros, True, **keywords)


def xavier_uniform(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """U[-bound, bound), bound = gain * sqrt(6 / (fan_in + fan_out)).

    Args:
        gain: a factor >= 0, see :func:`arrayinit.calculate_gain`.

    Raises:
        ValueError: a negative or non-finite gain, a shape of fewer than 2 dimensions.

    Source: Glorot and Bengio, AISTATS 2010, eq. 16.
    """
    return draw(x, partial(schemes.xavier_uniform, gain=gain), False, **keywords)


def xavier_uniform_(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`xavier_uniform`; returns x."""
    return draw(x, partial(schemes.xavier_uniform, gain=gain), True, **keywords)


def xavier_normal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = gain * sqrt(2 / (fan_in + fan_out)); not truncated, as in torch (JAX's glorot_normal is).

    Args:
        gain: a factor >= 0, see :func:`arrayinit.calculate_gain`.

    Raises:
        ValueError: a negative or non-finite gain, a shape of fewer than 2 dimensions.

    Source: Glorot and Bengio, AISTATS 2010, eq. 12.
    """
    return draw(x, partial(schemes.xavier_normal, gain=gain), False, **keywords)


def xavier_normal_(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`xavier_normal`; returns x."""
    return draw(x, partial(schemes.xavier_normal, gain=gain), True, **keywords)


def kaiming_uniform(
    x: Any, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", **keywords: Unpack[Keywords]
) -> Any:
    """U[-bound, bound), bound = gain * sqrt(3 / fan), with the gain of the nonlinearity.

    Args:
        a: the negative slope of leaky_relu (0 makes it relu, None is 0.01); unused by other nonlinearities.
        mode: which fan: "fan_in" keeps the variance of activations, "fan_out" that of gradients; also "fan_avg" and
            "fan_geo_avg", their arithmetic and geometric mean.
        nonlinearity: see :func:`arrayinit.calculate_gain`.

    Raises:
        ValueError: an unknown mode or nonlinearity, a slope that is no number, a shape of fewer than 2 dimensions.

    Source: He et al., ICCV 2015, eq. 10 and 14.
    """
    return draw(x, partial(schemes.kaiming_uniform, a=a, mode=mode, nonlinearity=nonlinearity), False, **keywords)


def kaiming_uniform_(
    x: Any, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", **keywords: Unpack[Keywords]
) -> Any:
    """Fill x in place with :func:`kaiming_uniform`; returns x."""
    return draw(x, partial(schemes.kaiming_uniform, a=a, mode=mode, nonlinearity=nonlinearity), True, **keywords)


def kaiming_normal(
    x: Any, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", **keywords: Unpack[Keywords]
) -> Any:
    """N(0, std^2), std = gain / sqrt(fan); not truncated, as in torch (JAX's he_normal is).

    Args:
        a, mode, nonlinearity: as in :func:`kaiming_uniform`.

    Raises:
        ValueError: an unknown mode or nonlinearity, a slope that is no number, a shape of fewer than 2 dimensions.

    Source: He et al., ICCV 2015, eq. 10 and 14.
    """
    return draw(x, partial(schemes.kaiming_normal, a=a, mode=mode, nonlinearity=nonlinearity), False, **keywords)


def kaiming_normal_(
    x: Any, a: float | None = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", **keywords: Unpack[Keywords]
) -> Any:
    """Fill x in place with :func:`kaiming_normal`; returns x."""
    return draw(x, partial(schemes.kaiming_normal, a=a, mode=mode, nonlinearity=nonlinearity), True, **keywords)


def lecun_uniform(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """U[-bound, bound), bound = sqrt(3 / fan_in).

    Raises:
        ValueError: a shape of fewer than 2 dimensions.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6.
    """
    return draw(x, schemes.lecun_uniform, False, **keywords)


def lecun_uniform_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`lecun_uniform`; returns x."""
    return draw(x, schemes.lecun_uniform, True, **keywords)


def lecun_normal(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = sqrt(1 / fan_in); not truncated (JAX's and Keras's are).

    Raises:
        ValueError: a shape of fewer than 2 dimensions.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6; Klambauer et al., NeurIPS 2017 (SELU).
    """
    return draw(x, schemes.lecun_normal, False, **keywords)


def lecun_normal_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`lecun_normal`; returns x."""
    return draw(x, schemes.lecun_normal, True, **keywords)


def variance_scaling(
    x: Any,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    **keywords: Unpack[Keywords],
) -> Any:
    """Mean 0 and variance scale / fan, whatever the distribution.

    "uniform": U[-bound, bound) with bound = sqrt(3 scale / fan). "normal": N(0, scale / fan). "truncated_normal": a
    normal of std s truncated to [-2 s, 2 s], where s = sqrt(scale / fan) / 0.87962566103423978 makes up for the
    truncation.

    Args:
        scale: the variance times the fan, >= 0: 2 for relu, 1 for linear layers.
        mode: "fan_in", "fan_out", "fan_avg" (arithmetic mean) or "fan_geo_avg" (geometric mean).
        distribution: "uniform", "normal" or "truncated_normal".

    Raises:
        ValueError: an unknown mode or distribution, a negative or non-finite scale, a shape of fewer than 2 dimensions.

    Source: jax.nn.initializers.variance_scaling and Keras's VarianceScaling, after Glorot and He.
    """
    return draw(
        x, partial(schemes.variance_scaling, scale=scale, mode=mode, distribution=distribution), False, **keywords
    )


def variance_scaling_(
    x: Any,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    **keywords: Unpack[Keywords],
) -> Any:
    """Fill x in place with :func:`variance_scaling`; returns x."""
    return draw(
        x, partial(schemes.variance_scaling, scale=scale, mode=mode, distribution=distribution), True, **keywords
    )


def truncated_normal(
    x: Any, mean: float = 0.0, std: float = 1.0, lower: float = -2.0, upper: float = 2.0, **keywords: Unpack[Keywords]
) -> Any:
    """N(mean, std^2) given that it falls into [mean + lower std, mean + upper std], both ends in range.

    The bounds are in units of std, those of :func:`trunc_normal` are absolute. What is drawn has a smaller standard
    deviation than std, 0.8796 of it for [-2, 2]: only :func:`variance_scaling` makes up for that. The parts of a
    complex element are truncated at the same multiples of their own standard deviation, std / sqrt(2).

    Args:
        mean, std: of the normal before it is truncated; std 0 gives the constant mean.
        lower, upper: lower < upper; either may be infinite.

    Raises:
        ValueError: lower >= upper, a negative std, NaN, an interval with too little mass (as in trunc_normal).

    Source: jax.nn.initializers.truncated_normal.
    """
    return draw(x, partial(schemes.truncated_normal, mean=mean, std=std, lower=lower, upper=upper), False, **keywords)


def truncated_normal_(
    x: Any, mean: float = 0.0, std: float = 1.0, lower: float = -2.0, upper: float = 2.0, **keywords: Unpack[Keywords]
) -> Any:
    """Fill x in place with :func:`truncated_normal`; returns x."""
    return draw(x, partial(schemes.truncated_normal, mean=mean, std=std, lower=lower, upper=upper), True, **keywords)


def siren(x: Any, omega: float = 30.0, first: bool = False, **keywords: Unpack[Keywords]) -> Any:
    """U[-bound, bound), bound = sqrt(6 / fan_in) / omega, or 1 / fan_in in the first layer: for sin(omega (Wx + b)).

    Args:
        omega: the factor omega_0 > 0 within the sine, 30 in the paper; unused in the first layer.
        first: whether it is the first layer, whose inputs are coordinates.

    Raises:
        ValueError: an omega that is not positive and finite, a shape of fewer than 2 dimensions.

    Source: Sitzmann et al., NeurIPS 2020, section 3.2 and supplement, section 1.5.
    """
    return draw(x, partial(schemes.siren, omega=omega, first=first), False, **keywords)


def siren_(x: Any, omega: float = 30.0, first: bool = False, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`siren`; returns x."""
    return draw(x, partial(schemes.siren, omega=omega, first=first), True, **keywords)


def small_normal(x: Any, dim: int | None = None, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = sqrt(2 / (5 dim)), the "small init" of transformers: xavier_normal of a (dim, 4 dim) weight.

    Args:
        dim: the width of the model; fan_in by default, which is the same for all weights that read the model's state.

    Raises:
        ValueError: a dim below 1, a shape of fewer than 2 dimensions where dim is not given.

    Source: Nguyen and Salazar, Transformers without Tears, IWSLT 2019, section 2.2.
    """
    return draw(x, partial(schemes.small_normal, dim=dim), False, **keywords)


def small_normal_(x: Any, dim: int | None = None, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`small_normal`; returns x."""
    return draw(x, partial(schemes.small_normal, dim=dim), True, **keywords)


def wang_normal(x: Any, layers: int, dim: int | None = None, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), std = 2 / (layers sqrt(dim)): for the last weight of each residual branch of a transformer.

    Args:
        layers: how many layers the model has.
        dim: the width of the model; fan_in by default.

    Raises:
        ValueError: layers or a dim below 1, a shape of fewer than 2 dimensions where dim is not given.

    Source: Wang and Komatsuzaki, GPT-J-6B, 2021; Black et al., GPT-NeoX-20B, 2022, section 2.1.
    """
    return draw(x, partial(schemes.wang_normal, layers=layers, dim=dim), False, **keywords)


def wang_normal_(x: Any, layers: int, dim: int | None = None, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`wang_normal`; returns x."""
    return draw(x, partial(schemes.wang_normal, layers=layers, dim=dim), True, **keywords)


def prior_bias(x: Any, p: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """The constant log(p / (1 - p)): the bias of a sigmoid output that starts by predicting the probability p.

    Computed in decimal arithmetic, so that it is the same number on every machine.

    Args:
        p: the probability of the positive class, 0 < p < 1; 0.01 in the paper.

    Raises:
        ValueError: a p outside (0, 1).

    Source: Lin et al., Focal Loss, ICCV 2017, section 4.1.
    """
    return draw(x, partial(schemes.prior_bias, p=p), False, **keywords)


def prior_bias_(x: Any, p: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`prior_bias`; returns x."""
    return draw(x, partial(schemes.prior_bias, p=p), True, **keywords)
