"""Nonlinearity -> gain: the factor that keeps the second moment of activations constant through a layer."""

import math
from numbers import Real
from typing import Any

__all__ = ["NONLINEARITIES", "calculate_gain"]

_LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)
NONLINEARITIES = (*_LINEAR, "sigmoid", "tanh", "relu", "leaky_relu", "selu")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The recommended gain for a nonlinearity, torch.nn.init's table to the last digit.

    linear, conv1d to conv3d, conv_transpose1d to conv_transpose3d, sigmoid: 1; tanh: 5/3; relu: sqrt(2);
    leaky_relu: sqrt(2 / (1 + param**2)); selu: 3/4.

    Args:
        nonlinearity: one of the names above.
        param: the negative slope of leaky_relu, 0.01 where it is None; unused by the others.

    Returns:
        The gain, dimensionless.

    Raises:
        ValueError: an unknown name, or a slope that is not a number with a finite square (a bool is none).

    Sources: He et al., ICCV 2015, eq. 10 and 15 (relu, leaky_relu); the tanh and selu values are torch's own.
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = _slope(param)
        return math.sqrt(2.0 / (1 + slope * slope))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"`nonlinearity` must be one of {', '.join(NONLINEARITIES)}; got {nonlinearity!r}")


def _slope(param: Any) -> float:
    if param is None:
        return 0.01
    try:
        if isinstance(param, bool) or not isinstance(param, Real) or not math.isfinite(float(param) ** 2):
            raise OverflowError
    except OverflowError:
        raise ValueError(
            f"`param` (`a` of kaiming_*), the negative slope of leaky_relu, must be a number with a finite square; "
            f"got {param!r}"
        ) from None
    return param if isinstance(param, int) else float(param)  # the square of an integer is exact, as in torch
