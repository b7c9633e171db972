"""Nonlinearity -> gain: the factor that keeps the second moment of activations constant through a layer."""

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from arrayinit.common.arguments import is_real, one_of
from arrayinit.common.float_environment import in_default_environment
from arrayinit.common.messages import shown

__all__ = ["NONLINEARITIES", "OF_TORCH", "calculate_gain", "gain"]

_LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)
# 1 / sqrt(E[f(z)^2]) under a standard normal z, for which torch has no value; by quadrature to 25 digits.
_SECOND_MOMENT = {
    "gelu": 1.5335304411955353,  # z * Phi(z)
    "silu": 1.676532470331091,  # z / (1 + exp(-z))
    "swish": 1.676532470331091,  # another name of silu
    "mish": 1.486847581273208,  # z * tanh(log(1 + exp(z)))
    "elu": 1.2451983007007066,  # alpha = 1
    "celu": 1.2451983007007066,  # which is elu for alpha = 1
    "softplus": 1.0418668355353018,
    "relu^2": 0.816496580927726,  # sqrt(2 / 3)
    "sin": 1.5208666231788148,  # sqrt(2 / (1 - exp(-2)))
}
OF_TORCH = (*_LINEAR, "sigmoid", "tanh", "relu", "leaky_relu", "selu")
NONLINEARITIES = (*OF_TORCH, *_SECOND_MOMENT)


def calculate_gain(nonlinearity: str | Callable[[Any], Any], param: float | None = None) -> float:
    """The recommended gain for a nonlinearity, for those of torch.nn.init equal to torch's to the last digit.

    linear, conv1d to conv3d, conv_transpose1d to conv_transpose3d, sigmoid: 1; tanh: 5/3; relu: sqrt(2);
    leaky_relu: sqrt(2 / (1 + param**2)); selu: 3/4. gelu, silu (also swish), mish, elu and celu (alpha = 1), softplus,
    relu^2 and sin: 1 / sqrt(E[f(z)^2]) for a standard normal z, as :func:`gain` has it for every function.

        >>> ai.calculate_gain("relu")
        1.4142135623730951
        >>> ai.calculate_gain("leaky_relu", 1.0)
        1.0
        >>> round(ai.calculate_gain("gelu"), 4)
        1.5335

    Args:
        nonlinearity: one of the names above, or an elementwise function, whose `gain(f)` is computed. np.tanh has
            1.5925 then, for which the name "tanh" has torch's 5/3.
        param: the negative slope of leaky_relu, None for 0.01; ignored for other nonlinearities.

    Returns:
        The gain, dimensionless.

    Raises:
        ValueError: an unknown name, a function that :func:`gain` refuses, or a slope that is no number with a finite
            square. A bool is not a number here.
        TypeError: a function that takes no arrays.

    Sources: He et al., ICCV 2015, eq. 10 and 15 (relu, leaky_relu); the values for tanh and selu are torch's; Poole et
        al., NeurIPS 2016, eq. 3 (the second moment).
    """
    if callable(nonlinearity):
        try:
            return gain(nonlinearity)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("`f`", "`nonlinearity`")) from None
    nonlinearity = one_of(nonlinearity, "nonlinearity", NONLINEARITIES, ", or an elementwise function")
    if nonlinearity in _SECOND_MOMENT:
        return _SECOND_MOMENT[nonlinearity]
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = _slope(param)
        return math.sqrt(2.0 / (1 + slope * slope))
    return 3.0 / 4  # selu


def _slope(param: Any) -> float:
    """A slope, 0.01 by default; one error for all that is refused, as torch.nn.init has it."""
    if param is None:
        return 0.01
    try:
        is_valid = is_real(param) and math.isfinite(float(param) ** 2)
    except OverflowError:
        is_valid = False
    if not is_valid:
        raise ValueError(
            f"`param` (`a` of kaiming_*), the negative slope of leaky_relu, must be a number with a finite square; "
            f"got {shown(param)}"
        )
    return param if isinstance(param, int) else float(param)  # the square of an integer is exact, as in torch


Floats: TypeAlias = npt.NDArray[np.float64]

REACH = 14  # standard deviations on either side; beyond them lies 1e-44 of the mass
PANEL = 16  # Gauss-Legendre nodes of an interval
PRECISION = 1e-13  # of the whole integral
TAIL = 1e-14  # of the integral, at most, at either end of the probed range
NEGLIGIBLE = 1e-19  # of the integral, in one interval: even INTERVALS of them add up to less than PRECISION
HALVINGS = 100  # of an interval, at most
INTERVALS = 1 << 18  # open at a time, at most: those of a step function with as many jumps
TOGETHER = 1 << 12  # intervals whose nodes are computed at a time
PROBED = 1000  # arguments at which f is tried first; 0, where it may have a pole, is not among them
SMALLEST, LARGEST = 1e-140, 1e140  # magnitudes whose squares lose no digits


@in_default_environment
def gain(f: Callable[[Any], Any], moment: str = "second") -> float:
    """The gain of any elementwise function, from its moments under a standard normal z.

        "second":    1 / sqrt(E[f(z)^2])   keeps the second moment of activations, as sqrt(2) does for relu
        "variance":  1 / std[f(z)]         keeps their variance, for networks that subtract their mean

    Right to 12 digits: Gauss-Legendre quadrature against the normal density, on intervals that are halved where f has a
    kink, since Gauss-Hermite quadrature converges slowly there. selu has 1 by design. tanh has 1.5925374, for which
    :func:`calculate_gain` has 5/3.

        >>> round(ai.gain(np.tanh), 7)
        1.5925374
        >>> w = ai.xavier_normal((256, 128), gain=ai.gain(np.tanh), seed=0)

    Args:
        f: from float64 arrays to arrays of their shape: NumPy, scipy.special, torch (functions and modules) or JAX.
        moment: "second" or "variance".

    Raises:
        ValueError: an unknown moment, or an f that is refused: it returns another shape or no real numbers, is random,
            is not finite on [-14, 14], grows so fast that values beyond count, is zero (for "variance", constant), or
            has an integral that does not converge, because f jumps or oscillates hundreds of thousands of times or
            computes in less than float64.
        TypeError: an f that can't be called, or that takes no arrays.

    Sources: Poole et al., NeurIPS 2016, eq. 3; Klambauer et al., NeurIPS 2017; as "variance": Brock et al., ICLR 2021.
    """
    moment = one_of(moment, "moment", ("second", "variance"))
    if not callable(f):
        raise TypeError(f"`f` must be a function of arrays; got {shown(f)} (by name: calculate_gain)")
    if isinstance(f, type):
        raise TypeError(f"`f` must be a function of arrays, not a class; got {shown(f)}: write {f.__name__}()")
    _check(f, moment)
    mean, square = _moments(f)
    centre = mean if moment == "variance" else 0.0
    # A second integral around the mean, because the difference of two moments would lose digits.
    spread = _moments(f, centre)[1] if centre else square
    if not spread > (1e-20 * square if centre else 0):
        raise ValueError(f"`f` must not be {'constant' if moment == 'variance' else 'zero'}; got {f!r}")
    return 1 / math.sqrt(spread)


def _check(f: Callable[[Any], Any], moment: str) -> None:
    """Refuse functions for which quadrature would give wrong moments, by some of their values."""
    z = np.linspace(-REACH, REACH, PROBED)
    values = _values(f, z)
    if not np.array_equal(values, _values(f, z)):
        raise ValueError(f"`f` must return the same values for the same arguments; got {f!r}, which doesn't")
    largest = float(np.abs(values).max())
    if largest and not SMALLEST < largest < LARGEST:
        raise ValueError(
            f"`f` must have values between {SMALLEST} and {LARGEST} to be squared; got {largest!r} of {f!r}"
        )
    weights = np.exp(-z * z / 2) * (z[1] - z[0]) / math.sqrt(math.tau)
    centre = float((values * weights).sum()) if moment == "variance" else 0.0
    squares = (values - centre) ** 2 * weights
    if max(squares[0], squares[-1]) > TAIL * squares.sum():
        raise ValueError(
            f"`f` must grow so slowly that nothing beyond [-{REACH}, {REACH}] counts in its moments under a standard "
            f"normal; got {f!r}"
        )


def _moments(f: Callable[[Any], Any], centre: float = 0.0) -> tuple[float, float]:
    """E[f(z) - centre] and E[(f(z) - centre)^2]. Intervals are halved until they agree with the sum of their halves."""
    edges = np.arange(-REACH, REACH + 1.0)  # common functions have their kinks at whole numbers
    left, right = edges[:-1], edges[1:]
    whole = _panels(f, left, right, centre)
    total = np.zeros(2)
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        halves = _panels(f, np.stack([left, middle]), np.stack([middle, right]), centre)
        both = halves.sum(axis=1)
        scale = max(float(total[1] + both[1].sum()), 1e-300)
        allowed = PRECISION * np.array([[math.sqrt(scale)], [scale]]) * (right - left) / (2 * REACH)
        allowed = np.maximum(allowed, NEGLIGIBLE * np.array([[math.sqrt(scale)], [scale]]))
        open_ = (np.abs(both - whole) > np.maximum(allowed, 2.0**-50 * np.abs(both))).any(axis=0)
        total += both[:, ~open_].sum(axis=1)
        if not open_.any():
            return float(total[0]), float(total[1])
        if int(open_.sum()) > INTERVALS:
            break
        left, right = (np.stack(ends)[:, open_].ravel() for ends in ((left, middle), (middle, right)))
        whole = halves[:, :, open_].reshape(2, -1)
    raise ValueError(
        f"`f` must have moments that quadrature finds; got {f!r}, whose integral does not settle in "
        f"{int(open_.sum())} places: f may oscillate or jump too often, have a pole, or compute in less than float64"
    )


def _panels(f: Callable[[Any], Any], left: Floats, right: Floats, centre: float) -> Floats:
    """The integrals of f - centre and of its square against the normal density, over each interval."""
    a, b = left.reshape(-1), right.reshape(-1)
    some = [_some_panels(f, a[k : k + TOGETHER], b[k : k + TOGETHER], centre) for k in range(0, len(a), TOGETHER)]
    return np.concatenate(some, axis=1).reshape(2, *left.shape)


def _some_panels(f: Callable[[Any], Any], left: Floats, right: Floats, centre: float) -> Floats:
    nodes, weights = np.polynomial.legendre.leggauss(PANEL)
    half = (right - left)[:, None] / 2
    z = left[:, None] + half * (1 + nodes)
    values = _values(f, z.reshape(-1)).reshape(z.shape) - centre
    density = weights * half * np.exp(-z * z / 2) / math.sqrt(math.tau)
    return np.stack([(values * density).sum(axis=1), (values * values * density).sum(axis=1)])


def _values(f: Callable[[Any], Any], z: Floats) -> Floats:
    """f of an array; torch's functions get a tensor."""
    module = getattr(f, "__module__", None) or type(f).__module__
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    torch = torch if hasattr(torch, "nn") else None  # it may be half imported, or None
    jax = jax if hasattr(jax, "enable_x64") else None
    try:
        if torch is not None and (
            isinstance(f, torch.nn.Module) or module.split(".")[0] in ("torch", "_VariableFunctions")
        ):
            with _without_modes(torch):
                values = f(torch.from_numpy(z)).numpy()
        else:
            with _without_modes(torch), _wide(jax), _now(jax), np.errstate(over="ignore"):
                values = np.asarray(f(z))
    except Exception as error:
        if torch is None:
            raise TypeError(f"`f` must take an array; got {shown(f)}, which raised {error!r}") from error
        try:  # a user's function that calls torch's
            with _without_modes(torch):
                values = f(torch.from_numpy(z)).numpy()
        except Exception:
            raise TypeError(f"`f` must take an array; got {shown(f)}, which raised {error!r}") from error
    if values.shape != z.shape:
        raise ValueError(
            f"`f` must return an array of the shape it is given, {z.shape}; got {values.shape} from {shown(f)}"
        )
    if values.dtype.kind not in "fiub":
        raise ValueError(f"`f` must return real numbers; got the dtype {values.dtype} from {shown(f)}")
    if not np.isfinite(values).all():
        raise ValueError(f"`f` must be finite on [-{REACH}, {REACH}]; got {shown(f)}, which is not")
    result: Floats = values.astype(np.float64)
    return result


def _without_modes(torch: Any) -> AbstractContextManager[Any]:
    """A context in which torch, if it is imported, computes at once: outside of records, fake tensors and devices."""
    if torch is None:
        return nullcontext()
    stack = ExitStack()
    stack.enter_context(torch.no_grad())
    stack.enter_context(torch._C.DisableTorchFunction())
    stack.enter_context(torch.utils._python_dispatch._disable_current_modes())
    return stack


def _now(jax: Any) -> AbstractContextManager[Any]:
    """A context in which JAX, if it is imported, computes at once, also while it traces a function."""
    if jax is None:
        return nullcontext()
    now: AbstractContextManager[Any] = jax.ensure_compile_time_eval()
    return now


def _wide(jax: Any) -> AbstractContextManager[Any]:
    """A context in which JAX, if it is imported, has 64 bits."""
    if jax is None:
        return nullcontext()
    wide: AbstractContextManager[Any] = jax.enable_x64(True)
    return wide
