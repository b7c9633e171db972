"""Laws by their quantile functions: those of scipy.stats, and some from papers that are equal on all machines."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from arrayinit.common.arguments import is_real
from arrayinit.common.messages import shown
from arrayinit.laws import Quantile, elementary
from arrayinit.stream.quantile_tables import Floats, Function

__all__ = [
    "as_data", "bounded_law", "frozen", "law", "log_of_uniform", "named", "ring_decay", "ring_norm", "softplus_inverse",
]  # fmt: skip

MAX_PARAMETERS = 16  # parameters of a distribution, far more than any of scipy's has


def named(p: Floats, upper: bool, name: str, parameters: tuple[float, ...]) -> Floats:
    """Quantiles of a distribution of scipy.stats."""
    return frozen(p, upper, _distribution(name)(*parameters))


def frozen(p: Floats, upper: bool, distribution: Any) -> Floats:
    """Quantiles of an object with scipy's methods: ppf and isf, or icdf and iccdf."""
    names = ("isf", "iccdf") if upper else ("ppf", "icdf")
    method = next(getattr(distribution, name) for name in names if hasattr(distribution, name))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about the far tails; their values are checked
        try:
            values = np.asarray(method(p), np.float64)
        except Exception as error:
            raise ValueError(
                f"`distribution` must have quantiles of float64 arrays; {shown(distribution)} raised {error!r}"
            ) from error
    if values.shape != p.shape:
        raise ValueError(
            f"`distribution` must be one distribution, with one quantile for each number; got {values.shape} for "
            f"{p.shape} of {shown(distribution)}"
        )
    return values


def law(distribution: Any, parameters: Any = ()) -> Quantile:
    """The law of a distribution in any of the forms of :func:`as_data`."""
    data = as_data(distribution, parameters)
    if type(data) is tuple:
        return Quantile(named, data, *_support(*data))
    return Quantile(frozen, (data,), *_ends(data))


def bounded_law(function: Function, *arguments: float) -> Quantile:
    """The law of a quantile function of this module that is finite at both ends."""
    with np.errstate(all="ignore"):  # values that are not finite are refused
        low, high = (float(function(np.zeros(1), upper, *arguments)[0]) for upper in (False, True))
    return Quantile(function, arguments, low, high)


def as_data(distribution: Any, parameters: Any = ()) -> tuple[str, tuple[float, ...]] | Any:
    """A distribution of scipy.stats as its name and parameters (shapes, loc, scale); others as frozen objects.

    Raises:
        TypeError: no distribution. ValueError: a discrete or unknown one, or parameters that it does not take.
    """
    from scipy import stats

    if isinstance(distribution, str):
        kind = _distribution(distribution)
        values = _parameters(parameters)
        names = kind.shapes.split(", ") if kind.shapes else []
        if not len(names) <= len(values) <= len(names) + 2:
            wanted = ", ".join([*names, "and perhaps loc and scale"])
            raise ValueError(f"`parameters` of {distribution!r} must be {wanted}; got {shown(parameters)}")
        name = str.__str__(distribution)
        _support(name, values)  # refuses parameters that the distribution does not take
        return name, values
    if not (parameters is None or (isinstance(parameters, tuple | list) and not parameters)):
        raise TypeError(
            f"`parameters` go with a `distribution` by name; got {shown(parameters)} and {shown(distribution)}"
        )
    if isinstance(distribution, stats.rv_continuous):
        distribution = distribution()
    base = getattr(distribution, "dist", None)
    if isinstance(distribution, stats.rv_discrete) or isinstance(base, stats.rv_discrete):
        raise ValueError(f"`distribution` must be continuous; got the discrete {(base or distribution).name!r}")
    is_scipys = isinstance(base, stats.rv_continuous) and type(getattr(stats, base.name, None)) is type(base)
    if is_scipys and base is not None:
        given = dict(zip(_names(base), distribution.args, strict=False)) | distribution.kwds
        defaults = {"loc": 0.0, "scale": 1.0}
        if all(np.ndim(value) == 0 for value in given.values()):
            return as_data(base.name, [(defaults | given)[name] for name in _names(base)])
    needed = (("ppf", "icdf"), ("isf", "iccdf"), ("support",))
    if not all(any(hasattr(distribution, name) for name in names) for names in needed):
        raise TypeError(
            f"`distribution` must be a continuous distribution of scipy.stats, frozen or by name; got "
            f"{shown(distribution)}"
        )
    _check(distribution, shown(distribution))
    return distribution


def log_of_uniform(p: Floats, upper: bool, low: float, high: float) -> Floats:
    """log U, U uniform on [low, high], low >= 0."""
    if not low:  # log high + log p below: the quantile function has no lower end
        return elementary.log(np.full_like(p, high)) + (elementary.log1p(-p) if upper else elementary.log(p))
    first, step = (high, low - high) if upper else (low, high - low)
    return elementary.log(np.full_like(p, first)) + elementary.log1p(p * (step / first))


def softplus_inverse(p: Floats, upper: bool, low: float, high: float, floor: float) -> Floats:
    """log(e^D - 1), D the larger of floor and a log-uniform number on [low, high]."""
    ends = elementary.log(np.array([low, high]))
    at = ends[1] - p * (ends[1] - ends[0]) if upper else ends[0] + p * (ends[1] - ends[0])
    d = np.maximum(elementary.exp(at), floor)
    return d + elementary.log(-elementary.expm1(-d))


def ring_decay(p: Floats, upper: bool, low: float, high: float) -> Floats:
    """log(-1/2 log S), S uniform on [low, high] within [0, 1]; S falls as p rises."""
    if upper:
        logs = elementary.log(low + p * (high - low))
    else:
        logs = elementary.log(np.full_like(p, high)) + elementary.log1p(p * ((low - high) / high))
    return elementary.log(-0.5 * logs)


def ring_norm(p: Floats, upper: bool, low: float, high: float) -> Floats:
    """1/2 log(1 - S) of the same S as in :func:`ring_decay`."""
    if upper:
        return 0.5 * elementary.log1p(-(low + p * (high - low)))
    return 0.5 * elementary.log((1 - high) + p * (high - low))


def _names(base: Any) -> list[str]:
    return [*(base.shapes.split(", ") if base.shapes else []), "loc", "scale"]


def _distribution(name: str) -> Any:
    from scipy import stats

    distribution = getattr(stats, name, None)
    if isinstance(distribution, stats.rv_discrete):
        raise ValueError(f"`distribution` must be continuous; got the discrete {shown(name)}")
    if not isinstance(distribution, stats.rv_continuous):
        raise ValueError(
            f"`distribution` must be the name of a continuous distribution of scipy.stats; got {shown(name)}"
        )
    return distribution


@functools.lru_cache(maxsize=64)
def _support(name: str, parameters: tuple[float, ...]) -> tuple[float, float]:
    """The ends of a distribution of scipy.stats; ValueError if it does not take these parameters."""
    distribution = _distribution(name)(*parameters)
    _check(distribution, f"{name!r} with the parameters {parameters}")
    return _ends(distribution)


def _ends(distribution: Any) -> tuple[float, float]:
    try:
        low, high = distribution.support()
        return float(low), float(high)
    except Exception as error:
        raise ValueError(
            f"`distribution` must have a support of two numbers; {shown(distribution)} raised {error!r}"
        ) from error


def _parameters(parameters: Any) -> tuple[float, ...]:
    is_array = isinstance(parameters, np.ndarray) and parameters.ndim == 1
    is_sequence = isinstance(parameters, Sequence) and not isinstance(parameters, str | bytes | bytearray | memoryview)
    if not (is_array or is_sequence):
        raise TypeError(f"`parameters` must be a sequence of numbers; got {shown(parameters)}")
    try:
        is_long = len(parameters) > MAX_PARAMETERS
    except OverflowError:  # of a range
        is_long = True
    if is_long:
        raise ValueError(f"`parameters` must be at most {MAX_PARAMETERS} numbers; got {shown(parameters)}")
    for value in parameters:
        if not is_real(value):
            raise TypeError(f"`parameters` must be real numbers; got {shown(value)}")
    try:
        return tuple(map(float, parameters))
    except OverflowError:
        raise ValueError(f"`parameters` must be within the range of float64; got {shown(parameters)}") from None


def _check(distribution: Any, what: str) -> None:
    """Refuse parameters that a distribution does not take, and arrays of distributions."""
    middle = frozen(np.array([0.5]), False, distribution)
    if middle.shape != (1,) or np.isnan(middle).any():
        raise ValueError(f"`distribution` must be one distribution with parameters that it takes; got {what}")
