"""Initializers by quantile functions."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from arrayinit.common.arguments import nonnegative, positive
from arrayinit.draw import Keywords, draw
from arrayinit.initializers.forms import creating, filling
from arrayinit.laws import Law, Quantile
from arrayinit.laws.geometry import Geometry

if TYPE_CHECKING:
    from arrayinit.stream.quantile_tables import Function


def _distribution(geometry: Geometry, distribution: Any, parameters: Any) -> Law:
    from arrayinit.laws.quantile_functions import law  # imported here: few processes need it

    return law(distribution, parameters)


@creating
def distribution(x: Any, distribution: Any, parameters: Sequence[float] = (), **keywords: Unpack[Keywords]) -> Any:
    """Any continuous distribution of scipy.stats, by a table of its quantile function: one word an element.

        >>> ai.distribution(3, "gamma", (2.0, 0.0, 0.5), seed=0).round(4)  # shape parameter, loc, scale
        array([0.4115, 0.7471, 1.0731], dtype=float32)
        >>> import scipy.stats
        >>> ai.distribution(3, scipy.stats.gamma(2.0, scale=0.5), seed=0).round(4)  # the same
        array([0.4115, 0.7471, 1.0731], dtype=float32)

    The table is computed once in a process, from scipy's ppf and isf in float64, and rounded to integers; draws from it
    are equal in each library, dtype, layout and part. Another version of scipy, or another machine, may compute other
    last digits of ppf; then the last digit of a few elements differs.

    Each half of the distribution is cut into 32 octaves of p, down to 2^-33, and each octave into 64 parabolas. The
    error is about 1e-7 of the largest quantile of its octave for smooth functions (gamma, t, Cauchy, logistic, beta;
    3e-8 for the normal), and more around kinks and for functions like p^10. No value is beyond the quantiles of 2^-33
    and 1 - 2^-33, nor beyond the support; heavy tails are as accurate as the middle. No unit is below 2^-126: octaves
    whose quantiles are all below 2^-96 are drawn in multiples of it. The parts of a complex element each follow the
    distribution itself.

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        distribution: frozen, such as `scipy.stats.gamma(2.0)`; or its name. Any object with the methods ppf, isf and
            support (or icdf, iccdf and support) works, but a spec takes only distributions that scipy.stats has by
            name.
        parameters: with a name, the shape parameters in scipy's order, then loc and scale, which may be left out.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a discrete or unknown distribution, parameters that it doesn't take, a quantile function that is
            infinite inside (0, 1) or jumps, quantiles beyond the dtype's range or all below 2^-96.
        TypeError: another object that is not a distribution, parameters that are not numbers.

    Source: inversion, as in :func:`normal`: Devroye, Non-Uniform Random Variate Generation, 1986, chapter II.2.
    """
    return draw(x, partial(_distribution, distribution=distribution, parameters=parameters), **keywords)


distribution_ = filling(distribution)


def _mamba2_a_log(geometry: Geometry, a_min: float, a_max: float) -> Law:
    from arrayinit.laws import elementary  # imported here: few processes need it
    from arrayinit.laws.quantile_functions import bounded_law, log_of_uniform  # as above

    low, high = nonnegative(a_min, "a_min"), positive(a_max, "a_max")
    if not low < high:
        raise ValueError(f"`a_min` must be below `a_max`; got a_min={a_min!r} and a_max={a_max!r}")
    if low:
        return bounded_law(log_of_uniform, low, high)
    return Quantile(log_of_uniform, (low, high), -math.inf, float(elementary.log(np.array([high]))[0]))


@creating
def mamba2_a_log(x: Any, a_min: float = 1.0, a_max: float = 16.0, **keywords: Unpack[Keywords]) -> Any:
    """log A, A uniform on [a_min, a_max]: A_log of Mamba-2, one number a head, whose -exp is the decay rate of a state.

    With a_min 0, as in Gated DeltaNet, no A is below 2^-33 a_max, where torch's uniform_ may draw 0 and its log -inf.
    The same on each machine: the quantile function is computed with + - * / of binary64 alone.

        >>> ai.mamba2_a_log(3, seed=0)
        array([1.3845049, 2.0286615, 2.3496742], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        a_min, a_max: the range of A, 0 <= a_min < a_max: `A_init_range` of the reference code.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a range that is empty, negative or not finite.

    Sources: Dao and Gu, Transformers are SSMs, ICML 2024; mamba_ssm's Mamba2 (1 to 16). Yang et al., Gated Delta
    Networks, ICLR 2025; flash-linear-attention, fla/layers/gated_deltanet.py (0 to 16).
    """
    return draw(x, partial(_mamba2_a_log, a_min=a_min, a_max=a_max), **keywords)


mamba2_a_log_ = filling(mamba2_a_log)


def _mamba_dt_bias(geometry: Geometry, dt_min: float, dt_max: float, dt_floor: float) -> Law:
    from arrayinit.laws.quantile_functions import bounded_law, softplus_inverse  # imported here: few processes need it

    low, high, floor = positive(dt_min, "dt_min"), positive(dt_max, "dt_max"), nonnegative(dt_floor, "dt_floor")
    if not max(low, floor) < high:
        raise ValueError(
            f"`dt_max` must be above `dt_min` and `dt_floor`; got dt_min={dt_min!r}, dt_max={dt_max!r} and "
            f"dt_floor={dt_floor!r}"
        )
    return bounded_law(softplus_inverse, low, high, floor)


@creating
def mamba_dt_bias(
    x: Any, dt_min: float = 1e-3, dt_max: float = 0.1, dt_floor: float = 1e-4, **keywords: Unpack[Keywords]
) -> Any:
    """log(e^dt - 1), dt log-uniform on [dt_min, dt_max]: biases whose softplus is a step size of a Mamba layer.

    The same on each machine: the quantile function is computed with + - * / of binary64 alone.

        >>> ai.mamba_dt_bias(3, seed=0)
        array([-5.9876633, -4.876483 , -3.9874234], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        dt_min, dt_max: the range of step sizes, 0 < dt_min < dt_max.
        dt_floor: the least step size, >= 0: smaller ones are raised to it, as in the reference code.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a range that is empty or not positive, a negative floor, one that is not below dt_max.

    Source: Gu and Dao, Mamba, 2023, section 3.6; mamba_ssm's Mamba.
    """
    return draw(x, partial(_mamba_dt_bias, dt_min=dt_min, dt_max=dt_max, dt_floor=dt_floor), **keywords)


mamba_dt_bias_ = filling(mamba_dt_bias)


def _ring(function: "Function", r_min: float, r_max: float, is_finite_at_0: bool) -> Law:
    """The law of a function of S, uniform on [r_min^2, r_max^2]."""
    small, large = nonnegative(r_min, "r_min"), positive(r_max, "r_max")
    if not (small < large <= 1 and small * small < large * large):
        raise ValueError(
            f"`r_min` must be below `r_max`, which must be at most 1; got r_min={r_min!r} and r_max={r_max!r}"
        )
    low, high = small * small, large * large
    first = -math.inf if high == 1 else float(function(np.zeros(1), False, low, high)[0])
    last = math.inf if low == 0 and not is_finite_at_0 else float(function(np.zeros(1), True, low, high)[0])
    return Quantile(function, (low, high), first, last)


def _lru_nu_log(geometry: Geometry, r_min: float, r_max: float) -> Law:
    from arrayinit.laws.quantile_functions import ring_decay  # imported here: few processes need it

    return _ring(ring_decay, r_min, r_max, is_finite_at_0=False)


@creating
def lru_nu_log(x: Any, r_min: float = 0.0, r_max: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """log(-log r), r^2 uniform on [r_min^2, r_max^2]: nu_log of an LRU, whose eigenvalues have the absolute value r.

    r = exp(-exp(nu_log)). Eigenvalues with these lengths and with uniform phases are uniform on the ring between r_min
    and r_max. :func:`lru_gamma_log` of the same seed and name belongs to these eigenvalues, element by element. The
    same on each machine: the quantile function is computed with + - * / of binary64 alone.

        >>> x = ai.lru_nu_log(3, 0.9, 0.999, seed=0)
        >>> np.exp(-np.exp(x)).round(4)
        array([0.98  , 0.9567, 0.9376], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        r_min, r_max: the ring, 0 <= r_min < r_max <= 1.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a ring that is empty, or not within the unit circle.

    Source: Orvieto et al., Resurrecting Recurrent Neural Networks for Long Sequences, ICML 2023, section 3.2 and
    appendix A.
    """
    return draw(x, partial(_lru_nu_log, r_min=r_min, r_max=r_max), **keywords)


lru_nu_log_ = filling(lru_nu_log)


def _lru_gamma_log(geometry: Geometry, r_min: float, r_max: float) -> Law:
    from arrayinit.laws.quantile_functions import ring_norm  # imported here: few processes need it

    return _ring(ring_norm, r_min, r_max, is_finite_at_0=True)


@creating
def lru_gamma_log(x: Any, r_min: float = 0.0, r_max: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """log sqrt(1 - r^2), r^2 uniform on [r_min^2, r_max^2]: gamma_log of an LRU, by which its inputs are scaled.

    With the seed and the name of :func:`lru_nu_log`, r is that of the eigenvalue of each element: gamma_log = 1/2 log(1
    - exp(-2 exp(nu_log))), within about 1e-6. In rules, `seed_of="nu_log"` does that. Where r is close to 1, gamma_log
    is more exact than what is computed from nu_log in float32.

        >>> x = ai.lru_gamma_log(3, 0.9, 0.999, seed=0)
        >>> np.sqrt(1 - np.exp(2 * x)).round(4)
        array([0.98  , 0.9567, 0.9376], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        r_min, r_max: the ring, 0 <= r_min < r_max <= 1.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a ring that is empty, or not within the unit circle.

    Source: Orvieto et al., Resurrecting Recurrent Neural Networks for Long Sequences, ICML 2023, section 3.4 and
    appendix A.
    """
    return draw(x, partial(_lru_gamma_log, r_min=r_min, r_max=r_max), **keywords)


lru_gamma_log_ = filling(lru_gamma_log)
