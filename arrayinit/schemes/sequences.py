"""Laws of sequence models: state spaces and positions."""

import math

from arrayinit.laws import Constant, Law, Table
from arrayinit.laws.geometry import Geometry
from arrayinit.schemes.arguments import flag, one_of, plain, positive

__all__ = ["hippo_legs", "mamba_a_log", "s4d", "sinusoidal"]

VARIANTS = ("lin", "inv", "legs", "real")
POSITIONS = 1 << 32


def hippo_legs(geometry: Geometry) -> Law:
    from arrayinit.laws import formulas as tables  # here, for few processes need it

    shape, roles = geometry.canonical, geometry.roles
    if len(shape) != 2 if roles is None else sorted(roles.replace("b", "")) != ["i", "o"]:
        raise ValueError(f"hippo_legs needs a matrix, or with a layout a batch of them; got {geometry.shape}")
    n = shape[-1]
    if shape[-2] != n:
        raise ValueError(f"hippo_legs needs a square matrix; got {geometry.shape}")
    return Table(tables.hippo, (), math.sqrt((2 * n + 1) * (2 * n - 1)) if n else 0.0)


def s4d(geometry: Geometry, variant: str = "lin") -> Law:
    from arrayinit.laws import formulas as tables  # here, for few processes need it

    one_of(variant, "variant", VARIANTS)
    count = _last(geometry, "s4d")
    if not count:
        return Constant(0.0)
    if variant == "real":
        return Table(tables.real, (), float(count))
    if variant == "lin":
        return Table(tables.linear, (), math.pi * count, is_complex=True)
    if variant == "inv":
        return Table(tables.inverse, (count,), 4 / math.pi * count * count, is_complex=True)
    return Table(tables.legs, (count,), float(tables.eigenvalues(count)[-1]), is_complex=True)


def mamba_a_log(geometry: Geometry) -> Law:
    from arrayinit.laws import formulas as tables  # here, for few processes need it

    return Table(tables.logs, (), math.log(_last(geometry, "mamba_a_log") + 1))


def sinusoidal(geometry: Geometry, base: float = 10000.0, interleaved: bool = True) -> Law:
    from arrayinit.laws import formulas as tables  # here, for few processes need it

    plain(geometry, (2,), "sinusoidal")
    number, (positions, features) = positive(base, "base"), geometry.canonical
    if number <= 1:
        raise ValueError(f"`base` must be above 1; got {base!r}")
    if not flag(interleaved, "interleaved") and features % 2:
        raise ValueError(f"sinusoidal in two halves needs an even number of features; got {features}")
    if positions > POSITIONS:
        raise ValueError(f"sinusoidal has at most 2**32 positions; got {positions}")
    return Table(tables.sinusoid, (number, features, interleaved), 1.0)


def _last(geometry: Geometry, name: str) -> int:
    if not geometry.shape:
        raise ValueError(f"{name} needs a shape of at least 1 dimension; got {geometry.shape}")
    return geometry.canonical[-1]
