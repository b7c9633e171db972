"""The laws an array can follow, as plain data. An initializer chooses one, and an engine draws it.

:class:`Uniform`, :class:`Normal`, :class:`Truncated`, :class:`Constant`, :class:`Formula` and :class:`Rows` are public,
and so is :class:`Geometry`: schemes of one's own get the one and return the others (:func:`arrayinit.scheme`). Numbers
are checked as the scheme returns them. All other laws are private; a scheme returns specs of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box
from arrayinit.stream.formats import is_complex

if TYPE_CHECKING:
    from arrayinit.stream.quantile_tables import Function

# What is public; `help` shows these. The other names are for this package.
__all__ = ["Constant", "Formula", "Geometry", "Normal", "Rows", "Truncated", "Uniform"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


@dataclass(frozen=True)
class Uniform:
    """U[low, high).

        >>> from arrayinit.laws import Uniform
        >>> Uniform(-0.5, 0.5).high
        0.5

    bounds_follow_std: whether the bounds were computed from a standard deviation; then those of each part of a complex
    element are 1/sqrt(2) of them.
    """

    low: float
    high: float
    bounds_follow_std: bool = False

    def complex_part(self) -> "Uniform":
        """The law of the real and of the imaginary part of a complex element."""
        if not self.bounds_follow_std:
            return self
        return replace(self, low=self.low / math.sqrt(2), high=self.high / math.sqrt(2))


@dataclass(frozen=True)
class Normal:
    """N(mean, std^2), std > 0; a scheme of one's own may give a std of 0, and gets the constant mean.

    >>> from arrayinit.laws import Normal
    >>> Normal(0.0, 0.02).std
    0.02
    """

    mean: float
    std: float

    def complex_part(self) -> "Normal":
        """The law of the real and of the imaginary part of a complex element: half the variance each."""
        return replace(self, std=self.std / math.sqrt(2))


@dataclass(frozen=True)
class Truncated:
    """N(mean, std^2) given that it falls into [low, high]; std > 0 is that of the normal.

        >>> from arrayinit.laws import Truncated
        >>> Truncated(0.0, 0.02, -0.04, 0.04).low
        -0.04

    bounds_follow_std: as in Uniform, for the distance of the bounds from the mean.
    """

    mean: float
    std: float
    low: float
    high: float
    bounds_follow_std: bool = False

    def complex_part(self) -> "Truncated":
        """The law of the real and of the imaginary part of a complex element: half the variance each."""
        part = replace(self, std=self.std / math.sqrt(2))
        if not self.bounds_follow_std:
            return part
        low, high = (self.mean + (end - self.mean) / math.sqrt(2) for end in (self.low, self.high))
        return replace(part, low=low, high=high)


@dataclass(frozen=True)
class Quantile:
    """The law of a quantile function (see `quantile_functions`) within [low, high], or of its negative."""

    function: "Function"
    arguments: tuple[Any, ...]
    low: float
    high: float
    negative: bool = False

    @property
    def is_data(self) -> bool:
        """Whether the arguments are plain data, not a user's object, which may change and must not be cached."""
        return all(type(argument) in (float, str, tuple) for argument in self.arguments)

    def complex_part(self) -> "Quantile":
        """The law of the real and of the imaginary part of a complex element."""
        return self


@dataclass(frozen=True)
class Constant:
    """All elements are `value`.

        >>> from arrayinit.laws import Constant
        >>> Constant(1.0).value
        1.0

    of_parts: whether the imaginary part of a complex element is `value`, too; else it is 0. is_empty: whether the
    tensor has no elements and its initializer warns of that. argument: the name of the value in error messages.
    """

    value: float
    of_parts: bool = False
    is_empty: bool = False
    argument: str = field(default="val", compare=False)

    def element(self, dtype: str) -> complex:
        """An element of this dtype."""
        return complex(self.value, self.value) if self.of_parts and is_complex(dtype) else self.value


@dataclass(frozen=True)
class Point:
    """A random law with a standard deviation of 0: each part of an element is `value`.

    As a sample, the value is moved into [low, high] after it is rounded to a dtype.
    """

    value: float
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Eye:
    """1 on the diagonal of a matrix, else 0."""


@dataclass(frozen=True)
class Dirac:
    """`value` where a matrix or a convolution kernel passes its own channel through, else 0."""

    groups: int = 1
    value: float = 1.0


@dataclass(frozen=True)
class Orthogonal:
    """A matrix (out, all the rest) with orthogonal rows or columns of length `gain`, uniform over all such matrices."""

    gain: float


@dataclass(frozen=True)
class Factor:
    """A matrix of a pair that is computed from one draw, on the host in float64: see `factors`.

    formula: a function (source, (batch, out, in), *arguments) -> values of this shape.
    pair: what both matrices of a pair must have in common. std: that of an element; its mean is 0. reach: what no
    element exceeds in magnitude.
    """

    formula: Callable[..., Any]
    arguments: tuple[Any, ...]
    pair: tuple[Any, ...]
    std: float
    reach: float


@dataclass(frozen=True)
class Sparse:
    """N(0, std^2) with `zeros` elements of each column, chosen at random, set to 0."""

    zeros: int
    std: float


@dataclass(frozen=True)
class Formula:
    """A formula of the indices of an element, computed on the host in float64.

        >>> from arrayinit.laws import Formula
        >>> def ramp(coordinates, step):
        ...     rows, columns = coordinates
        ...     return step * (rows + columns)
        >>> @ai.scheme
        ... def ramped(geometry, step=0.5):
        ...     return Formula(ramp, (step,), reach=step * sum(geometry.shape))
        >>> ramped((2, 3))
        array([[0. , 0.5, 1. ],
               [0.5, 1. , 1.5]], dtype=float32)

    formula: a function (coordinates, *arguments) -> values that broadcast with the coordinates. These are one int64
        array of NumPy for each axis, in the order (batch, out, in, spatial) where a layout is given; they broadcast
        against each other, and are those of a part of the tensor at a time. Equal values on all machines need + - * /
        and sqrt. It must stand at the top of a module where a draw is sent to another process.
    arguments: plain data.
    reach: what no part of a value exceeds in magnitude.
    is_complex: whether the values are complex; then only complex dtypes hold them.
    """

    formula: Callable[..., Any]
    arguments: tuple[Any, ...]
    reach: float
    is_complex: bool = False


@dataclass(frozen=True)
class Bits:
    """The raw words of the stream for a purpose (see `philox`), as uint32."""

    purpose: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a tensor that is drawn as a tensor by itself: its place, law and key."""

    box: Box  # in the axes of the whole; the piece lacks axes that an integer removes
    law: "Law"
    geometry: Geometry  # of the piece, its axes in the order in which they lie
    fold: int | None  # folded into the key of the whole; None to draw the piece under that key itself


@dataclass(frozen=True)
class Packed:
    """Pieces that don't overlap, each with its law. Elements outside of all pieces are 0."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Rows:
    """Slice k along an axis follows laws[k], all under one key: as that slice of the whole tensor would under that law.

        >>> from arrayinit.laws import Normal, Rows
        >>> @ai.scheme
        ... def by_frequency(geometry, counts):
        ...     return Rows([Normal(0.0, 1 / count**0.5) for count in counts])
        >>> w = by_frequency((3, 2), counts=[1, 4, 4], seed=0)
        >>> bool((w[1] == ai.normal((3, 2), std=0.5, seed=0)[1]).all())
        True

    So a slice does not depend on the laws of the others. Each distinct scale takes some 80 us of a processor.

    laws: one for each index of the axis: Uniform, Normal, Truncated, Constant and Formula, or specs of laws whose
        elements don't depend on each other.
    axis: "out", "in" or "batch", which a layout moves with the weight, or the number of an axis as the array lies.
    """

    laws: tuple[Any, ...]
    axis: int | str = "out"

    def __post_init__(self) -> None:
        object.__setattr__(self, "laws", tuple(self.laws))

    @cached_property
    def runs(self) -> tuple[tuple[int, int, Any], ...]:
        """(start, stop, law) of slices that follow each other and have one law."""
        runs: list[tuple[int, int, Any]] = []
        for k, law in enumerate(self.laws):
            if runs and (runs[-1][2] is law or (runs[-1][2] == law and repr(runs[-1][2]) == repr(law))):  # 0.0, -0.0
                runs[-1] = (runs[-1][0], k + 1, law)
            else:
                runs.append((k, k + 1, law))
        return tuple(runs)


Sampled: TypeAlias = Uniform | Normal | Truncated | Quantile
SAMPLED = (Uniform, Normal, Truncated, Quantile)  # laws whose elements are drawn one by one
# Laws that draw nothing. A tuple, for `isinstance` would build a union `A | B` anew in each call.
_FIXED = (Constant, Point, Eye, Dirac, Formula)
Law: TypeAlias = (
    Sampled | Constant | Point | Eye | Dirac | Orthogonal | Factor | Sparse | Formula | Bits | Packed | Rows
)
MIXED = (Packed, Rows)  # laws that engines draw part by part


def parts(law: Law) -> int:
    """How many parts engines draw one by one."""
    return len(law.pieces) if isinstance(law, Packed) else len(law.runs) if isinstance(law, Rows) else 1


def is_random(law: Law) -> bool:
    """Whether a draw takes a key."""
    if isinstance(law, Packed):
        return any(is_random(piece.law) for piece in law.pieces if 0 not in piece.geometry.shape)
    if isinstance(law, Rows):
        return any(is_random(each) for _, _, each in law.runs)
    return not isinstance(law, _FIXED)


def warns(law: Law) -> bool:
    """Whether a draw warns that the tensor is empty."""
    if isinstance(law, Packed):
        return any(warns(piece.law) for piece in law.pieces)
    return isinstance(law, Constant) and law.is_empty


def is_joint(law: Law) -> bool:
    """Whether elements depend on each other, so that drawing a part costs as much as drawing the whole."""
    if isinstance(law, Packed):
        return any(is_joint(piece.law) for piece in law.pieces)
    return isinstance(law, Orthogonal | Factor | Sparse)
