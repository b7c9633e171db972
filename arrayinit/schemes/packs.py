"""Laws of tensors that are several in one: packed projections and gates, and kernels before a pixel shuffle."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from arrayinit.common.integers import as_integer, as_integers
from arrayinit.common.messages import shown
from arrayinit.laws import Constant, Law, Packed, Piece
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box
from arrayinit.schemes.arguments import finite, integer
from arrayinit.schemes.scaled import kaiming_normal

__all__ = ["chrono", "icnr", "lstm_bias", "packed"]

GATES = "ifgo"
BLOCKS = 1 << 16  # more than any tensor is packed of


@runtime_checkable
class Initializer(Protocol):
    """An initializer with its parameters, as `arrayinit.spec` makes it."""

    def law(self, geometry: Geometry) -> Law:
        """The law of a tensor of this geometry."""


def packed(
    geometry: Geometry, initializer: Initializer | Sequence[Initializer], blocks: int | Sequence[int] = 1
) -> Law:
    axis = _out_axis(geometry, "packed")
    sizes = _sizes(geometry.shape[axis], blocks)
    each = initializer if isinstance(initializer, list | tuple) else [initializer] * len(sizes)
    if len(each) != len(sizes):
        raise ValueError(
            f"`initializer` must be one spec, or one for each of the {len(sizes)} blocks; got {len(each)} of them"
        )
    pieces, start = [], 0
    alike: dict[tuple[int, int], tuple[Geometry, Law]] = {}  # there may be thousands of them
    for number, (one, size) in enumerate(zip(each, sizes, strict=True)):
        if (id(one), size) not in alike:
            block = _resized(geometry, axis, size)
            alike[id(one), size] = (block, _law(one, block))
        block, law = alike[id(one), size]
        pieces.append(Piece(_slab(geometry, axis, start, 1, size), law, block, number))
        start += size
    return Packed(tuple(pieces))


def icnr(geometry: Geometry, initializer: Initializer | None = None, scale: int = 2) -> Law:
    axis = _out_axis(geometry, "icnr")
    roles = geometry.roles or "oi" + "s" * (len(geometry.shape) - 2)
    if "s" not in roles:
        raise ValueError(f"icnr needs the shape of a convolution, with spatial axes; got {geometry.shape}")
    copies = integer(scale, "scale") ** roles.count("s")
    channels, rest = divmod(geometry.shape[axis], copies)
    if rest or copies > BLOCKS:
        raise ValueError(
            f"`scale` ** {roles.count('s')} must divide the output channels, and be at most {BLOCKS}; got scale "
            f"{shown(scale)} and {geometry.shape[axis]} channels"
        )
    base = _resized(geometry, axis, channels)
    law = kaiming_normal(base) if initializer is None else _law(initializer, base)
    return Packed(tuple(Piece(_slab(geometry, axis, k, copies, channels), law, base, None) for k in range(copies)))


def lstm_bias(geometry: Geometry, forget: float = 1.0, gates: str = GATES) -> Law:
    return _gated(geometry, "lstm_bias", gates, {"f": Constant(finite(forget, "forget"), argument="forget")})


def chrono(geometry: Geometry, t_max: float, t_min: float = 2.0, gates: str = GATES) -> Law:
    from arrayinit.laws.quantile_functions import known, log_of_uniform  # here, for few processes need it

    first, last = finite(t_min, "t_min"), finite(t_max, "t_max")
    if not 1 < first < last:
        raise ValueError(f"`t_min` must be above 1 and below `t_max`; got t_min={t_min!r} and t_max={t_max!r}")
    forget = known(log_of_uniform, first - 1, last - 1)
    return _gated(geometry, "chrono", gates, {"f": forget, "i": replace(forget, negative=True)})


def _gated(geometry: Geometry, name: str, gates: str, laws: dict[str, Law]) -> Law:
    """The law of a bias of four gates in this order, 0 where no other law is given."""
    axis = _out_axis(geometry, name)
    if not isinstance(gates, str) or sorted(gates) != sorted(GATES):
        raise ValueError(f"`gates` must be the letters of {GATES!r} in the order of the blocks; got {shown(gates)}")
    width, rest = divmod(geometry.shape[axis], len(GATES))
    if rest:
        raise ValueError(f"{name} needs a size that four gates divide; got {geometry.shape}")
    block = _resized(geometry, axis, width)
    return Packed(
        tuple(
            Piece(_slab(geometry, axis, k * width, 1, width), laws.get(gate, Constant(0.0)), block, None)
            for k, gate in enumerate(gates)
        )
    )


def _law(initializer: Any, geometry: Geometry) -> Law:
    found = initializer.law(geometry) if isinstance(initializer, Initializer) else None
    if not isinstance(found, Law):
        raise TypeError(f"`initializer` must be made by arrayinit.spec; got {shown(initializer)}")
    return found


def _out_axis(geometry: Geometry, name: str) -> int:
    if not geometry.shape:
        raise ValueError(f"{name} needs a shape of at least 1 dimension; got {geometry.shape}")
    if geometry.roles is None:
        return 0
    if "o" not in geometry.roles:
        raise ValueError(f"`out_axis` must name an axis for {name}; got none for the shape {geometry.shape}")
    return geometry.roles.index("o")


def _sizes(n: int, blocks: Any) -> list[int]:
    """The sizes of the blocks of an axis."""
    sizes = as_integers(blocks, BLOCKS)
    if sizes is not None:
        if any(size < 0 for size in sizes) or sum(sizes) != n:
            raise ValueError(f"`blocks` must add up to the size of the output axis, {n}; got {shown(blocks)}")
        return list(sizes)
    count = as_integer(blocks)
    if count is None:
        raise TypeError(
            f"`blocks` must be an integer or a sequence of integers, at most {BLOCKS} of them; got {shown(blocks)}"
        )
    if not 1 <= count <= BLOCKS or n % count:
        raise ValueError(
            f"`blocks` must divide the size of the output axis, {n}, and be from 1 to {BLOCKS}; got {shown(blocks)}"
        )
    return [n // count] * count


def _resized(geometry: Geometry, axis: int, size: int) -> Geometry:
    shape = (*geometry.shape[:axis], size, *geometry.shape[axis + 1 :])
    return Geometry(shape, geometry.roles, geometry.groups, geometry.transposed)


def _slab(geometry: Geometry, axis: int, start: int, step: int, count: int) -> Box:
    """All of a tensor but for one axis."""
    ones, zeros = [1] * len(geometry.shape), [0] * len(geometry.shape)
    ones[axis], zeros[axis] = step, start
    return Box(tuple(zeros), tuple(ones), _resized(geometry, axis, count).shape)
