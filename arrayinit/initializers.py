"""The catalogue: every initializer, in a form that returns a new array and in one, with an underscore, that fills x.

What all of them share. `x` is an array of any library or, for a new array, a shape. The keywords are those of
:class:`arrayinit.draw.Keywords`: seed, name, shape, index, layout, in_axis, out_axis, batch_axis, groups, transposed,
xp, dtype, device. `f(x)` returns a new array of x's library, shape, dtype, device and sharding; `f_(x)` fills x in
place and returns it. The value of an element depends on the seed, the name, its index in the global shape and the
distribution, and on nothing else: every library, device, dtype, layout and part of a tensor shows the same draw.

Ranges are those of the dtype: a draw is rounded to it (nearest even) and then moved to the nearest value that it has
within the bounds. Samples lie on a grid of 31 bits and a sign over the largest magnitude the law can reach, and
normal samples within 6.34 standard deviations. The real and the imaginary part of a complex element are drawn alike,
each with half the variance, so that E|w - E w|^2 = std^2; bounds that an argument states hold for each part.

Errors, before anything is written: TypeError for an argument or a dtype of the wrong kind (random values need a
floating or complex dtype; constants, eye and dirac also take integers and booleans), ValueError for one out of range,
for a law that the dtype can't hold, and for arrays that are read-only or overlap themselves.
"""

from functools import partial
from typing import Any, Unpack

from arrayinit import schemes
from arrayinit.draw import Keywords, draw

__all__ = [
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "glorot_normal",
    "glorot_normal_",
    "glorot_uniform",
    "glorot_uniform_",
    "he_normal",
    "he_normal_",
    "he_uniform",
    "he_uniform_",
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
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "variance_scaling",
    "variance_scaling_",
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
    """
    return draw(x, partial(schemes.trunc_normal, mean=mean, std=std, a=a, b=b), False, **keywords)


def trunc_normal_(
    x: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, **keywords: Unpack[Keywords]
) -> Any:
    """Fill x in place with :func:`trunc_normal`; returns x."""
    return draw(x, partial(schemes.trunc_normal, mean=mean, std=std, a=a, b=b), True, **keywords)


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


def eye(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """The identity: 1 where the row equals the column, else 0, for a matrix of any two sizes.

    Raises:
        ValueError: a shape that is not two-dimensional.
    """
    return draw(x, schemes.eye, False, **keywords)


def eye_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`eye`; returns x."""
    return draw(x, schemes.eye, True, **keywords)


def dirac(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """The identity of a convolution: w[g * out/groups + d, d, k//2, ...] = 1 for d < min(out/groups, in), else 0.

    For shapes (out, in, *kernel) of 3 to 5 dimensions (another order by `layout`), for each group g < groups.

    Raises:
        ValueError: a shape of another rank, or groups that do not divide out.

    Source: Zagoruyko and Komodakis, DiracNets, 2017; torch.nn.init.dirac_.
    """
    return draw(x, schemes.dirac, False, **keywords)


def dirac_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`dirac`; returns x."""
    return draw(x, schemes.dirac, True, **keywords)


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


def orthogonal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Orthogonal rows or columns (whichever are fewer) of length gain, uniform over all such matrices (Haar).

    The weight is seen as a matrix (out, everything else): W W^H = gain^2 I or W^H W = gain^2 I. float16 and bfloat16
    are computed in float32, complex matrices are unitary. With a batch axis each of the batch is such a matrix.

    This is the one initializer that needs matrix products, so libraries agree to 2e-6 absolute in float32 for gain 1
    (1e-13 in float64), not bit for bit. A part of it costs as much as the whole.

    Args:
        gain: a finite factor.

    Raises:
        ValueError: a gain that is not finite, a shape of fewer than 2 dimensions.

    Sources: Saxe et al., ICLR 2014; the Haar measure by Householder reflectors: Stewart 1980, Mezzadri 2007.
    """
    return draw(x, partial(schemes.orthogonal, gain=gain), False, **keywords)


def orthogonal_(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`orthogonal`; returns x."""
    return draw(x, partial(schemes.orthogonal, gain=gain), True, **keywords)


def sparse(x: Any, sparsity: float, std: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2) with exactly ceil(sparsity * rows) zeros in each column, at random places.

    The product is that of the decimal number as written: 0.07 of 100 rows are 7. A column holds the weights of one
    input (axis 0 is out, axis 1 is in). A part of it costs as much as the whole.

    Args:
        sparsity: the fraction of zeros, in [0, 1].
        std: the standard deviation of the others, >= 0.

    Raises:
        ValueError: a shape that is not two-dimensional, sparsity outside [0, 1], a negative or non-finite std.

    Source: Martens, ICML 2010, section 5.
    """
    return draw(x, partial(schemes.sparse, sparsity=sparsity, std=std), False, **keywords)


def sparse_(x: Any, sparsity: float, std: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`sparse`; returns x."""
    return draw(x, partial(schemes.sparse, sparsity=sparsity, std=std), True, **keywords)


# The names of JAX and Keras for the same formulas. Theirs truncate the normal ones: see `arrayinit.jax`.
glorot_uniform, glorot_uniform_ = xavier_uniform, xavier_uniform_
glorot_normal, glorot_normal_ = xavier_normal, xavier_normal_
he_uniform, he_uniform_ = kaiming_uniform, kaiming_uniform_
he_normal, he_normal_ = kaiming_normal, kaiming_normal_
