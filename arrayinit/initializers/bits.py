"""The raw words of a stream, to check it against another Philox."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from arrayinit.draw import draw
from arrayinit.laws import Bits, Law
from arrayinit.laws.geometry import Geometry, check_shape
from arrayinit.laws.regions import Index
from arrayinit.seeds import Name

__all__ = ["bits", "words"]


def bits(
    shape: Sequence[int] | int,
    *,
    seed: Any = None,
    name: Name | None = None,
    index: Index | None = None,
    xp: str | ModuleType | Any = None,
    device: Any = None,
) -> Any:
    """The uint32 words behind a draw: element i of the shape (row-major) holds word i, uniform on [0, 2**32).

    Word i is output i % 4 of Philox4x32-10 with the seed as its 64-bit key and the counter (i // 4, 0), 64 bits each:
    the device stream of cuRAND with this seed, subsequence 0 and offset 0, and the words of torch.func._random for
    key(seed), whose uniform values are (word & 0xffffff) / 2**24 in float32.

        >>> ai.bits(4, seed=0)
        array([1713891541, 3781805453, 3159862348, 2600524760], dtype=uint32)

    Args:
        shape: of the result or, with `index`, the global shape that it selects from.
        index: integers and slices, the part of the shape to draw.
        seed, name, xp, device: as in every initializer, see :class:`arrayinit.Keywords`.

    Raises:
        TypeError, ValueError: as every initializer.

    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC'11.
    """
    return draw(
        check_shape(shape, "shape"),
        words,
        False,
        seed=seed,
        name=name,
        index=index,
        xp=xp,
        dtype="uint32",
        device=device,
    )


def words(geometry: Geometry) -> Law:
    """The law of :func:`bits`."""
    return Bits()
