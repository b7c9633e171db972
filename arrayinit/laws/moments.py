"""Laws -> mean, standard deviation and range of one element. The densities stand beside, in `densities`."""

import functools
import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
    Quantile,
    Rows,
    Sparse,
    Truncated,
    Uniform,
)
from arrayinit.laws.geometry import Geometry
from arrayinit.stream.deviates import NORMAL_REACH
from arrayinit.stream.formats import is_complex

__all__ = ["Component", "Moments", "components", "count_of_ones", "moments"]

EXAMINED = 1 << 20  # the most elements of a formula that its moments are estimated from
SAMPLES_PER_AXIS = 1 << 12  # the most of them along an axis
GOLDEN = (math.sqrt(5) - 1) / 2  # the number whose multiples are spread most evenly between integers

Integers = npt.NDArray[np.int64]


class Moments(NamedTuple):
    """The name of a distribution, its mean and standard deviation, and the smallest and largest value it gives."""

    distribution: str
    mean: float
    std: float
    low: float
    high: float


def moments(law: Law, where: Geometry, dtype: str) -> Moments:
    """The moments of an element of a tensor; where its place matters, of one at a random place.

    A complex element has the mean and the range of its real part, and the standard deviation of the whole.
    """
    if isinstance(law, Packed | Rows):
        return _mixture(law, where, dtype)
    if is_complex(dtype) and isinstance(law, SAMPLED):
        part = _moments(law.complex_part(), where)
        return part._replace(std=part.std * math.sqrt(2))
    return _moments(law, where)


class Component(NamedTuple):
    """Elements of a tensor of several laws that follow one of them, each in a piece of this geometry."""

    law: Law
    geometry: Geometry
    size: int  # elements of all such pieces together


def components(law: Packed | Rows, where: Geometry) -> list[Component]:
    """The pieces of a packed law, equal ones together, and the zeros around them; sizes add up to the whole.

    The slices of one law likewise; each stays a part of the whole.
    """
    if isinstance(law, Rows):
        size = math.prod(where.shape) // (len(law.laws) or 1)
        return [Component(each, where, count * size) for each, count in Counter(law.laws).items()]
    counts = Counter((piece.law, piece.geometry) for piece in law.pieces)
    result = [Component(law, inner, count * math.prod(inner.shape)) for (law, inner), count in counts.items()]
    rest = math.prod(where.shape) - sum(component.size for component in result)
    if rest or not result:
        result.append(Component(Constant(0.0), where, rest))
    return result


def count_of_ones(law: Eye | Dirac, where: Geometry) -> int:
    """How many elements of eye or dirac are not 0."""
    shape = where.canonical
    return min(shape) if isinstance(law, Eye) else law.groups * min(shape[0] // law.groups, shape[1])


def _mixture(law: Packed | Rows, where: Geometry, dtype: str) -> Moments:
    pieces = components(law, where)
    sizes, parts = [piece.size for piece in pieces], [moments(piece.law, piece.geometry, dtype) for piece in pieces]
    if len(set(parts)) == 1:
        return parts[0]
    total = sum(sizes) or 1
    mean = sum(size * part.mean for size, part in zip(sizes, parts, strict=True)) / total
    squares = [_squared(part.std) + _squared(part.mean - mean) for part in parts]
    variance = sum(size * square for size, square in zip(sizes, squares, strict=True)) / total
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return Moments("mixture", mean, math.sqrt(variance), low, high)


def _squared(x: float) -> float:
    return x * x  # infinite for large floats, where `x**2` is an OverflowError


def _moments(law: Law, where: Geometry) -> Moments:
    """The moments of a real element of a law that is not packed."""
    match law:
        case Uniform(low, high):
            return Moments("uniform", (low + high) / 2, (high - low) / math.sqrt(12), low, high)
        case Normal(mean, std):
            return Moments("normal", mean, std, mean - NORMAL_REACH * std, mean + NORMAL_REACH * std)
        case Truncated(mean, std, low, high):
            from scipy.stats import truncnorm  # imported here: few processes need it

            centre, variance = truncnorm.stats((low - mean) / std, (high - mean) / std, mean, std, moments="mv")
            return Moments("truncated_normal", float(centre), math.sqrt(float(variance)), low, high)
        case Quantile(function, arguments, least, most, negative):
            from arrayinit.stream.quantile_tables import quantiles  # imported here: few processes need it

            mean, std, low, high = quantiles(function, arguments).moments
            low, high = max(low, least), min(high, most)
            if negative:
                mean, low, high = -mean, -high, -low
            return Moments("quantile", mean, std, low, high)
        case Constant(value):
            return Moments("constant", value, 0.0, value, value)
        case Orthogonal(gain):
            out, in_, spatial = where.sizes
            longest = max(out, in_ * spatial)
            std = abs(gain) / math.sqrt(longest) if longest else 0.0
            return Moments("orthogonal", 0.0, std, -abs(gain), abs(gain))
        case Factor(std=std, reach=reach):
            return Moments("factor", 0.0, std, -reach, reach)
        case Sparse(zeros, std):
            rows = where.canonical[0]
            spread = std * math.sqrt(1 - zeros / rows) if rows else 0.0
            return Moments("sparse", 0.0, spread, -NORMAL_REACH * std, NORMAL_REACH * std)
        case Eye():
            return _two_values("eye", law, 1.0, where)
        case Dirac():
            return _two_values("dirac", law, law.value, where)
        case Formula():
            return Moments("formula", *_of_formula(law, where))
        case Bits() | Packed() | Point() | Rows():
            raise TypeError(f"{law} has no one distribution")


def _two_values(distribution: str, law: Eye | Dirac, value: float, where: Geometry) -> Moments:
    """The moments of a tensor of `value` and zeros."""
    size = math.prod(where.shape)
    share = count_of_ones(law, where) / size if size else 0.0
    std = abs(value) * math.sqrt(share * (1 - share))
    return Moments(distribution, value * share, std, min(value, 0.0), max(value, 0.0))


def _of_formula(law: Formula, where: Geometry) -> tuple[float, float, float, float]:
    """(mean, standard deviation, smallest, largest) of the elements; where they are many, estimated from some of them.

    Formulas depend on the last two axes alone, apart from `upsampling`, and change fastest at their ends.
    """
    from arrayinit.laws.formulas import upsampling  # imported here: few processes need it

    shape = where.canonical
    if 0 in shape:
        return 0.0, 0.0, 0.0, 0.0
    if law.formula is upsampling:
        return _of_upsampling(*law.arguments)
    counts = [min(n, SAMPLES_PER_AXIS) for n in shape[-2:]]
    while math.prod(counts) > EXAMINED:
        counts[counts.index(max(counts))] //= 2
    samples = [_sample(n, count) for n, count in zip(shape[-2:], counts, strict=True)]
    grid = np.meshgrid(*(indices for indices, _ in samples), indexing="ij", sparse=True)
    other_axes = [np.zeros((1,) * len(samples), np.int64)] * (len(shape) - len(samples))
    values = np.broadcast_to(law.formula([*other_axes, *grid], *law.arguments), tuple(counts))
    numbers = [values.real, values.imag] if law.is_complex else [values]
    ends = float(min(x.min() for x in numbers)), float(max(x.max() for x in numbers))
    if tuple(counts) == shape[-2:]:
        return float(values.real.mean()), float(values.std()), *ends
    shares = functools.reduce(
        np.multiply.outer, (weights / n for (_, weights), n in zip(samples, shape[-2:], strict=True))
    )
    mean = (values * shares).sum()
    spread = np.abs(values - mean)
    return float(mean.real), math.sqrt(float((spread * spread * shares).sum())), *ends


def _of_upsampling(channels: int, sizes: tuple[int, ...]) -> tuple[float, float, float, float]:
    """As :func:`_of_formula`: a product of independent factors, in one of so many channels, else 0."""
    from arrayinit.laws.formulas import tent  # as above

    tents = [tent(np.arange(size), size) for size in sizes]
    factors = [values / scale for values, scale in tents]
    mean = math.prod(float(x.mean()) for x in factors) / channels
    square = math.prod(float((x * x).mean()) for x in factors) / channels
    low = math.prod(float(x.min()) for x in factors) if channels == 1 else 0.0
    return mean, math.sqrt(max(square - mean * mean, 0.0)), low, math.prod(float(x.max()) for x in factors)


def _sample(n: int, count: int) -> tuple[Integers, Any]:
    """`count` of n indices in order, and how many indices each stands for.

    All indices near the ends are taken, and one of each equal part between them. Its place within the part follows
    multiples of the golden ratio and so never repeats. A fixed place would, as formulas do: where sin and cos
    alternate, a step of two columns would only see the sines.
    """
    if n == count:
        return np.arange(n, dtype=np.int64), np.ones(n)
    near = np.arange(count // 4, dtype=np.int64)
    part = np.arange(count - 2 * len(near))
    width = (n - 2 * len(near)) / len(part)
    between = len(near) + ((part + part * GOLDEN % 1) * width).astype(np.int64)
    indices = np.concatenate([near, between, n - 1 - near[::-1]])
    return indices, np.concatenate([np.ones(len(near)), np.full(len(part), width), np.ones(len(near))])
