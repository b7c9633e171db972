"""Laws as a dtype can hold them: constants rounded, samplings worked out, and errors where neither is possible."""

import math
from dataclasses import replace

from arrayinit.laws import (
    SAMPLED,
    Bits,
    Constant,
    Dirac,
    Eye,
    Factor,
    Formula,
    Law,
    Normal,
    Orthogonal,
    Packed,
    Point,
    Rows,
    Sparse,
)
from arrayinit.laws.lattice import Sampling, sampling
from arrayinit.stream.formats import COMPLEX, FORMATS, integer_range, is_complex, is_floating, real_name

__all__ = ["fit"]


def fit(law: Law, dtype: str) -> tuple[Law, Sampling | None]:
    """A law as a dtype can hold it, and its sampling; TypeError or ValueError where it can't."""
    if isinstance(law, Bits):
        return law, None
    if isinstance(law, Constant):
        return replace(law, value=_fit_value(law.value, dtype, law.argument)), None
    if isinstance(law, Point):
        return Constant(_fit_point(law, dtype), of_parts=True), None
    if isinstance(law, Packed):
        return _fit_packed(law, dtype), None
    if isinstance(law, Rows):
        return _fit_rows(law, dtype), None
    if isinstance(law, Eye):
        _fit_value(1.0, dtype, "val")
        return law, None
    if isinstance(law, Dirac):
        return replace(law, value=_fit_value(law.value, dtype, "gain")), None
    _check_floating(law, dtype)
    if isinstance(law, SAMPLED):
        return law, sampling(law, dtype)
    if isinstance(law, Formula | Factor):
        _fit_value(law.reach, dtype, "values")
    elif isinstance(law, Sparse):
        sampling(Normal(0.0, law.std), dtype)
    elif isinstance(law, Orthogonal):
        _fit_value(law.gain, dtype, "gain")
    return law, None


def _check_floating(law: Law, dtype: str) -> None:
    """Refuse dtypes without fractions, and real dtypes for complex formulas."""
    if isinstance(law, Formula) and law.is_complex and not is_complex(dtype):
        raise TypeError(f"`dtype`, or that of `x`, must be one of {', '.join(COMPLEX)} for complex values; got {dtype}")
    if not is_floating(dtype):
        dtypes = ", ".join([*FORMATS, *COMPLEX])
        values = "formulas" if isinstance(law, Formula) else "random values"
        raise TypeError(f"`dtype`, or that of `x`, must be one of {dtypes} for {values}; got {dtype}")


def _fit_packed(law: Packed, dtype: str) -> Packed:
    laws = {id(piece.law): piece.law for piece in law.pieces}  # most pieces share one object
    fitted = {key: fit(inner, dtype)[0] for key, inner in laws.items()}
    return Packed(tuple(replace(piece, law=fitted[id(piece.law)]) for piece in law.pieces))


def _fit_rows(law: Rows, dtype: str) -> Rows:
    runs = [(fit(each, dtype)[0], stop - start) for start, stop, each in law.runs]
    return replace(law, laws=tuple(each for each, count in runs for _ in range(count)))


def _fit_point(law: Point, dtype: str) -> float:
    """The value of a law without a spread, rounded and moved into its bounds."""
    value = _fit_value(law.value, dtype, "mean")
    if not is_floating(dtype):
        return value
    low, high = FORMATS[real_name(dtype)].within(law.low, law.high, "interval [a, b]")
    return min(max(value, low), high)


def _fit_value(value: float, dtype: str, name: str) -> float:
    """A constant rounded as samples are, so that all libraries store the same bits."""
    if is_floating(dtype):
        return _round(value, dtype, name)
    ends = integer_range(dtype)
    if ends is None:
        raise TypeError(
            f"`dtype`, or that of `x`, must be a type of the array API standard, float16 or bfloat16; got {dtype}"
        )
    low, high = ends
    if not (math.isfinite(value) and value == int(value) and low <= value <= high):
        raise ValueError(f"`{name}` must be a value of the dtype {dtype}; got {value!r}")
    return value


def _round(value: float, dtype: str, name: str) -> float:
    form = FORMATS[real_name(dtype)]
    try:
        return form.round(float(value))
    except (ValueError, OverflowError):
        raise ValueError(
            f"`{name}` must be within the range of {dtype}, which ends at {form.largest!r}; got {value!r}"
        ) from None
