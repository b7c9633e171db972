"""Initializers of tensors that are several in one."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, Unpack, runtime_checkable

from arrayinit.common.arguments import finite, integer
from arrayinit.common.integers import as_integer, as_integers
from arrayinit.common.messages import shown
from arrayinit.draw import Keywords, draw, filling
from arrayinit.initializers.elementwise import _kaiming_normal
from arrayinit.laws import Constant, Law, Packed, Piece
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box

GATES = "ifgo"
BLOCKS = 1 << 16  # more than any tensor is packed of


@runtime_checkable
class Initializer(Protocol):
    """An initializer with its parameters, as `arrayinit.spec` makes it."""

    def law(self, geometry: Geometry) -> Law:
        """The law of a tensor of this geometry."""


def _packed(geometry: Geometry, initializer: Initializer | Sequence[Initializer], blocks: int | Sequence[int]) -> Law:
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


def packed(
    x: Any,
    initializer: Initializer | Sequence[Initializer],
    blocks: int | Sequence[int] = 1,
    **keywords: Unpack[Keywords],
) -> Any:
    """Blocks along the output axis, each drawn as a tensor of its own: packed projections (QKV), gates, experts.

        packed((3 * 512, 512), spec("xavier_uniform"), blocks=3, seed=0)[512:1024]
        == xavier_uniform((512, 512), seed=fold(0, 1))

    Block k is what its initializer draws for its own shape under the key fold(key, k), so that fans are those of one
    block, and a packed weight and separate ones can start alike. The output axis is axis 0 or, with a layout, the first
    'o'; a bias may be packed too. A part costs what it costs of each block.

    Args:
        initializer: made by :func:`arrayinit.spec`, or a sequence of those, one a block. Layout, axes, groups and
            transposed are said to packed, and hold for each block.
        blocks: how many blocks of equal size, or the size of each.

    Raises:
        ValueError: blocks that do not divide or add up to the output axis, another number of initializers, a spec that
            says its own layout; and as each initializer for its block.
        TypeError: an initializer that is no spec, a shape without axes.
    """
    return draw(x, partial(_packed, initializer=initializer, blocks=blocks), **keywords)


packed_ = filling(packed)


def _icnr(geometry: Geometry, initializer: Initializer | None, scale: int) -> Law:
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
    law = _kaiming_normal(base, 0.0, "fan_in", "leaky_relu") if initializer is None else _law(initializer, base)
    return Packed(tuple(Piece(_slab(geometry, axis, k, copies, channels), law, base, None) for k in range(copies)))


def icnr(x: Any, initializer: Initializer | None = None, scale: int = 2, **keywords: Unpack[Keywords]) -> Any:
    """Kernels that are alike before a pixel shuffle, so that it starts without a checkerboard: it repeats pixels.

    Output channel c * scale^d + s holds what `initializer` draws for channel c of a kernel with 1 / scale^d of the
    output channels, for each s < scale^d, where d is the number of spatial axes: the order of torch's PixelShuffle.

    Args:
        initializer: made by :func:`arrayinit.spec`; kaiming_normal by default, whose fan_in is that of the whole.
        scale: the upscaling factor of each spatial axis, >= 1.

    Raises:
        ValueError: a shape without spatial axes, scale^d that does not divide the output channels; as the initializer.

    Source: Aitken et al., Checkerboard artifact free sub-pixel convolution, 2017, section 3.
    """
    return draw(x, partial(_icnr, initializer=initializer, scale=scale), **keywords)


icnr_ = filling(icnr)


def _lstm_bias(geometry: Geometry, forget: float, gates: str) -> Law:
    return _gated(geometry, "lstm_bias", gates, {"f": Constant(finite(forget, "forget"), argument="forget")})


def lstm_bias(x: Any, forget: float = 1.0, gates: str = "ifgo", **keywords: Unpack[Keywords]) -> Any:
    """0, and `forget` for the forget gate: an LSTM that remembers from the start.

    torch adds two biases: fill one of them with it, the other with zeros.

    Args:
        forget: the bias of the forget gate, 1 in the paper.
        gates: the order of the four blocks along axis 0: input i, forget f, cell g, output o. "ifgo" is that of torch,
            Keras and ONNX-free frameworks; "igfo" that of Haiku.

    Raises:
        ValueError: a size that 4 does not divide, gates that are no order of "ifgo", a bias that is not finite.

    Source: Jozefowicz, Zaremba and Sutskever, ICML 2015, section 2.1; Gers, Schmidhuber and Cummins, 2000.
    """
    return draw(x, partial(_lstm_bias, forget=forget, gates=gates), **keywords)


lstm_bias_ = filling(lstm_bias)


def _chrono(geometry: Geometry, t_max: float, t_min: float, gates: str) -> Law:
    from arrayinit.laws.quantile_functions import bounded_law, log_of_uniform  # here, for few processes need it

    first, last = finite(t_min, "t_min"), finite(t_max, "t_max")
    if not 1 < first < last:
        raise ValueError(f"`t_min` must be above 1 and below `t_max`; got t_min={t_min!r} and t_max={t_max!r}")
    forget = bounded_law(log_of_uniform, first - 1, last - 1)
    return _gated(geometry, "chrono", gates, {"f": forget, "i": replace(forget, negative=True)})


def chrono(x: Any, t_max: float, t_min: float = 2.0, gates: str = "ifgo", **keywords: Unpack[Keywords]) -> Any:
    """LSTM biases for time spans up to t_max: b_f = log U[t_min - 1, t_max - 1], b_i = -b_f, 0 for the others.

    A unit whose forget gate has the bias log(T - 1) forgets over about T steps. torch adds two biases: fill one of them
    with it, the other with zeros. The same on every machine.

    Args:
        t_max: the longest span, in steps. t_min: the shortest, above 1; 2 in the paper.
        gates: the order of the four blocks, as in :func:`lstm_bias`.

    Raises:
        ValueError: 1 < t_min < t_max does not hold, a size that 4 does not divide, gates that are no order of "ifgo".

    Source: Tallec and Ollivier, Can recurrent neural networks warp time?, ICLR 2018, section 3, eq. 16.
    """
    return draw(x, partial(_chrono, t_max=t_max, t_min=t_min, gates=gates), **keywords)


chrono_ = filling(chrono)


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
