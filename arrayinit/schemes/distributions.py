"""Laws by quantile functions."""

from typing import Any

from arrayinit.laws import Law
from arrayinit.laws.geometry import Geometry
from arrayinit.schemes.arguments import nonnegative, positive

__all__ = ["distribution", "mamba_dt_bias"]


def distribution(geometry: Geometry, distribution: Any, parameters: Any = ()) -> Law:
    from arrayinit.laws.quantile_functions import law  # here, for few processes need it

    return law(distribution, parameters)


def mamba_dt_bias(geometry: Geometry, dt_min: float = 1e-3, dt_max: float = 0.1, dt_floor: float = 1e-4) -> Law:
    from arrayinit.laws.quantile_functions import known, softplus_inverse  # here, for few processes need it

    low, high, floor = positive(dt_min, "dt_min"), positive(dt_max, "dt_max"), nonnegative(dt_floor, "dt_floor")
    if not max(low, floor) < high:
        raise ValueError(
            f"`dt_max` must be above `dt_min` and `dt_floor`; got dt_min={dt_min!r}, dt_max={dt_max!r} and "
            f"dt_floor={dt_floor!r}"
        )
    return known(softplus_inverse, low, high, floor)
