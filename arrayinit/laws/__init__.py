"""The laws an array can follow, as plain data: what an initializer decides and what an engine draws."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box
from arrayinit.stream.formats import is_complex

if TYPE_CHECKING:
    from arrayinit.stream.quantile_tables import Function

__all__ = [
    "SAMPLED",
    "Bits",
    "Constant",
    "Dirac",
    "Eye",
    "Formula",
    "Law",
    "Normal",
    "Orthogonal",
    "Packed",
    "Piece",
    "Point",
    "Quantile",
    "Sampled",
    "Sparse",
    "Truncated",
    "Uniform",
    "is_joint",
    "is_random",
    "warns",
]


@dataclass(frozen=True)
class Uniform:
    """U[low, high). `scaled`: the bounds state a standard deviation, so those of a complex part are 1/sqrt(2) of it."""

    low: float
    high: float
    scaled: bool = False

    def part(self) -> "Uniform":
        """The law of the real and of the imaginary part of a complex element."""
        return replace(self, low=self.low / math.sqrt(2), high=self.high / math.sqrt(2)) if self.scaled else self


@dataclass(frozen=True)
class Normal:
    """N(mean, std^2), std > 0."""

    mean: float
    std: float

    def part(self) -> "Normal":
        """The law of the real and of the imaginary part of a complex element: half the variance each."""
        return replace(self, std=self.std / math.sqrt(2))


@dataclass(frozen=True)
class Truncated:
    """N(mean, std^2) given that it falls into [low, high]; std > 0 is that of the normal. `scaled` as in Uniform."""

    mean: float
    std: float
    low: float
    high: float
    scaled: bool = False

    def part(self) -> "Truncated":
        """The law of the real and of the imaginary part of a complex element: half the variance each."""
        half = replace(self, std=self.std / math.sqrt(2))
        low, high = (self.mean + (end - self.mean) / math.sqrt(2) for end in (self.low, self.high))
        return replace(half, low=low, high=high) if self.scaled else half


@dataclass(frozen=True)
class Quantile:
    """The law of this quantile function (see `quantile_functions`), within [low, high]; `negative`: of its negative."""

    function: "Function"
    arguments: tuple[Any, ...]
    low: float
    high: float
    negative: bool = False

    @property
    def is_data(self) -> bool:
        """Whether it is plain data; else it holds an object of a user's, which may change, and which no cache keeps."""
        return all(type(argument) in (float, str, tuple) for argument in self.arguments)

    def part(self) -> "Quantile":
        """The law of the real and of the imaginary part of a complex element."""
        return self


@dataclass(frozen=True)
class Constant:
    """Every element is `value`, which comes from an `argument` of that name.

    of_parts: whether the imaginary part of a complex element is `value`, too. is_empty: of a tensor without elements,
    which its initializer warns of.
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
    """What a random law becomes where its standard deviation is 0: each part of an element is `value`.

    It is moved into [low, high] after it was rounded to a dtype, as a sample is.
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
class Sparse:
    """N(0, std^2) with `zeros` elements of each column, chosen at random, set to 0."""

    zeros: int
    std: float


@dataclass(frozen=True)
class Formula:
    """A formula of the indices of an element (see `formulas`); no part of a value is larger than `reach`."""

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
    """A part of a tensor that is a tensor of its own: where it lies, what it follows, and under which key."""

    box: Box  # in the axes of the whole; an axis that an integer removes is none of the piece's own
    law: "Law"
    geometry: Geometry  # of the piece, its axes in the order in which they lie
    fold: int | None  # what is folded into the key of the whole; None where the piece is drawn under that key itself


@dataclass(frozen=True)
class Packed:
    """Pieces that don't overlap, each of a law of its own. Elements of none of them are 0."""

    pieces: tuple[Piece, ...]


Sampled: TypeAlias = Uniform | Normal | Truncated | Quantile
SAMPLED = (Uniform, Normal, Truncated, Quantile)  # laws whose elements are drawn one by one
# Laws that draw nothing. A union of types in `isinstance` would be made anew in each call.
_FIXED = (Constant, Point, Eye, Dirac, Formula)
Law: TypeAlias = Sampled | Constant | Point | Eye | Dirac | Orthogonal | Sparse | Formula | Bits | Packed


def is_random(law: Law) -> bool:
    """Whether a draw takes a key."""
    if isinstance(law, Packed):
        return any(is_random(piece.law) for piece in law.pieces if 0 not in piece.geometry.shape)
    return not isinstance(law, _FIXED)


def warns(law: Law) -> bool:
    """Whether a draw warns that there is nothing to be drawn."""
    if isinstance(law, Packed):
        return any(warns(piece.law) for piece in law.pieces)
    return isinstance(law, Constant) and law.is_empty


def is_joint(law: Law) -> bool:
    """Whether elements depend on others, so that a part costs as much as the whole."""
    if isinstance(law, Packed):
        return any(is_joint(piece.law) for piece in law.pieces)
    return isinstance(law, Orthogonal | Sparse)
