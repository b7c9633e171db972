"""Initializers of tensors that consist of blocks: packed projections, gates, sub-pixel kernels."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, Unpack, runtime_checkable

from arrayinit.common.arguments import finite, flag, integer
from arrayinit.common.integers import as_integer, as_integers
from arrayinit.common.messages import shown
from arrayinit.draw import Keywords, draw
from arrayinit.initializers.elementwise import _kaiming_normal
from arrayinit.initializers.forms import creating, filling
from arrayinit.laws import Constant, Law, Packed, Piece
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box

GATES = "ifgo"
BLOCKS = 1 << 16  # the most blocks of a tensor


@runtime_checkable
class SpecLike(Protocol):
    """An :class:`arrayinit.Spec`, which `specs.py` defines above this module."""

    def law(self, geometry: Geometry) -> Law:
        """The law of a tensor of this geometry."""


def _packed(
    geometry: Geometry,
    initializer: SpecLike | Sequence[SpecLike],
    blocks: int | Sequence[int],
    order: Sequence[int] | None,
    shared: bool,
) -> Law:
    axis = _out_axis(geometry, "packed")
    sizes = _sizes(geometry.shape[axis], blocks)
    numbers = _order(len(sizes), order)
    is_shared = flag(shared, "shared")
    if is_shared and order is not None:
        raise ValueError(
            f"`order` numbers blocks that have keys of their own, and excludes `shared`; got {shown(order)}"
        )
    specs = initializer if isinstance(initializer, list | tuple) else [initializer] * len(sizes)
    if len(specs) != len(sizes):
        raise ValueError(
            f"`initializer` must be one spec, or one for each of the {len(sizes)} blocks; got {len(specs)} of them"
        )
    pieces, start = [], 0
    laws: dict[tuple[int, int], tuple[Geometry, Law]] = {}  # thousands of blocks may share a spec and a size
    for number, spec, size in zip(numbers, specs, sizes, strict=True):
        if (id(spec), size) not in laws:
            block = _resized(geometry, axis, size)
            laws[id(spec), size] = (block, _law(spec, block))
        block, law = laws[id(spec), size]
        pieces.append(Piece(_slab(geometry, axis, start, 1, size), law, block, None if is_shared else number))
        start += size
    return Packed(tuple(pieces))


@creating
def packed(
    x: Any,
    initializer: SpecLike | Sequence[SpecLike],
    blocks: int | Sequence[int] = 1,
    order: Sequence[int] | None = None,
    shared: bool = False,
    **keywords: Unpack[Keywords],
) -> Any:
    """Blocks along the output axis, each drawn as a tensor of its own: packed projections (QKV), gates, experts.

    Block k is what its initializer draws for its own shape under the key fold(key, k), so that fans are those of one
    block, and a packed weight and separate ones can start alike. The output axis is axis 0 or, with a layout, the first
    'o'; a bias may be packed too. A part of the tensor costs as much as the parts of the blocks in it.

        >>> qkv = ai.packed((3 * 4, 4), ai.spec("xavier_uniform"), blocks=3, seed=0)
        >>> np.array_equal(qkv[4:8], ai.xavier_uniform((4, 4), seed=ai.fold(0, 1)))
        True

    `order` numbers the blocks otherwise, so that libraries that pack the same parts in another order start alike: with
    order=(1, 0, 2), the gates z, r, h of Keras's GRU are those of torch's, r, z, n.

        >>> kernel = ai.packed((4, 3 * 4), ai.spec("xavier_uniform"), blocks=3, order=(1, 0, 2), layout="io", seed=0)
        >>> np.array_equal(kernel[:, :4], qkv[4:8].T)
        True

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        initializer: an :class:`arrayinit.Spec`, or a sequence of specs, one for each block. `packed` itself takes
            layout, axes, groups and transposed, which hold for each block.
        blocks: the number of blocks of equal size, or the size of each.
        order: the number of each block, whose key is fold(key, number); 0, 1, 2, ... by default. Specs and sizes go
            with the place of a block.
        shared: True to draw all blocks under the key of the whole, for laws of one draw, such as the parts of
            :func:`mimetic`; blocks of one law and size are then equal.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: blocks that do not divide or add up to the output axis, another number of initializers, an order
            that does not have each number once or stands beside `shared`, a spec with a layout of its own; and as each
            initializer for its block.
        TypeError: an initializer that is not a spec, a shape without axes.
    """
    return draw(x, partial(_packed, initializer=initializer, blocks=blocks, order=order, shared=shared), **keywords)


packed_ = filling(packed)


def _icnr(geometry: Geometry, initializer: SpecLike | None, scale: int) -> Law:
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
    law = _kaiming_normal(base, 0.0, "fan_in", "leaky_relu", None) if initializer is None else _law(initializer, base)
    return Packed(tuple(Piece(_slab(geometry, axis, k, copies, channels), law, base, None) for k in range(copies)))


@creating
def icnr(x: Any, initializer: SpecLike | None = None, scale: int = 2, **keywords: Unpack[Keywords]) -> Any:
    """Kernels whose channels are alike before a pixel shuffle, which then repeats pixels: no checkerboard at the start.

    Output channel c * scale^d + s holds what `initializer` draws for channel c of a kernel with 1 / scale^d of the
    output channels, for each s < scale^d, where d is the number of spatial axes: the order of torch's PixelShuffle.

        >>> w = ai.icnr((8, 3, 3, 3), scale=2, seed=0)
        >>> np.array_equal(w[0], w[3]), np.array_equal(w[3], w[4])
        (True, False)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        initializer: an :class:`arrayinit.Spec`; kaiming_normal by default, whose fan_in is that of the whole kernel.
        scale: the upscaling factor of each spatial axis, >= 1.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape without spatial axes, scale^d that does not divide the output channels; as the initializer.
        TypeError: an initializer that is not a spec.

    Source: Aitken et al., Checkerboard artifact free sub-pixel convolution, 2017, section 3.
    """
    return draw(x, partial(_icnr, initializer=initializer, scale=scale), **keywords)


icnr_ = filling(icnr)


def _lstm_bias(geometry: Geometry, forget: float, gates: str) -> Law:
    return _gated(geometry, "lstm_bias", gates, {"f": Constant(finite(forget, "forget"), argument="forget")})


@creating
def lstm_bias(x: Any, forget: float = 1.0, gates: str = "ifgo", **keywords: Unpack[Keywords]) -> Any:
    """The bias of an LSTM that remembers from the start: `forget` for the forget gate, 0 for the others.

    torch adds two biases: fill one of them with it, the other with zeros.

        >>> ai.lstm_bias(8)
        array([0., 0., 1., 1., 0., 0., 0., 0.], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        forget: the bias of the forget gate, 1 in the paper.
        gates: the order of the four blocks along axis 0: input i, forget f, cell g, output o. "ifgo" is the order of
            torch and Keras, "igfo" that of Haiku.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a size that 4 does not divide, gates that are no order of "ifgo", a bias that is not finite.

    Source: Jozefowicz, Zaremba and Sutskever, ICML 2015, section 2.1; Gers, Schmidhuber and Cummins, 2000.
    """
    return draw(x, partial(_lstm_bias, forget=forget, gates=gates), **keywords)


lstm_bias_ = filling(lstm_bias)


def _chrono(geometry: Geometry, t_max: float, t_min: float, gates: str) -> Law:
    from arrayinit.laws.quantile_functions import bounded_law, log_of_uniform  # imported here: few processes need it

    first, last = finite(t_min, "t_min"), finite(t_max, "t_max")
    if not 1 < first < last:
        raise ValueError(f"`t_min` must be above 1 and below `t_max`; got t_min={t_min!r} and t_max={t_max!r}")
    forget = bounded_law(log_of_uniform, first - 1, last - 1)
    return _gated(geometry, "chrono", gates, {"f": forget, "i": replace(forget, negative=True)})


@creating
def chrono(x: Any, t_max: float, t_min: float = 2.0, gates: str = "ifgo", **keywords: Unpack[Keywords]) -> Any:
    """LSTM biases for time spans up to t_max: b_f = log U[t_min - 1, t_max - 1], b_i = -b_f, 0 for the others.

    A unit whose forget gate has the bias log(T - 1) forgets over about T steps. torch adds two biases: fill one of them
    with it, the other with zeros. The same on each machine.

        >>> ai.chrono(8, t_max=100, seed=0)
        array([-3.0230205, -3.7874908,  3.0230205,  3.7874908,  0.       ,
                0.       ,  0.       ,  0.       ], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        t_max: the longest span, in steps.
        t_min: the shortest, above 1; 2 in the paper.
        gates: the order of the four blocks, as in :func:`lstm_bias`.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

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
        raise ValueError(f"`gates` must be the letters of {GATES!r}, in the order of the blocks; got {shown(gates)}")
    width, rest = divmod(geometry.shape[axis], len(GATES))
    if rest:
        raise ValueError(f"{name} needs a size divisible by 4, the number of gates; got {geometry.shape}")
    block = _resized(geometry, axis, width)
    return Packed(
        tuple(
            Piece(_slab(geometry, axis, k * width, 1, width), laws.get(gate, Constant(0.0)), block, None)
            for k, gate in enumerate(gates)
        )
    )


def _law(initializer: Any, geometry: Geometry) -> Law:
    law = initializer.law(geometry) if isinstance(initializer, SpecLike) else None
    if not isinstance(law, Law):
        hint = f": write arrayinit.spec({shown(initializer)})" if isinstance(initializer, str) else ""
        raise TypeError(f"`initializer` must be made by arrayinit.spec; got {shown(initializer)}{hint}")
    return law


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


def _order(count: int, order: Any) -> Sequence[int]:
    """The numbers of `count` blocks."""
    if order is None:
        return range(count)
    numbers = as_integers(order, BLOCKS)
    if numbers is None:
        raise TypeError(f"`order` must be a sequence of integers, at most {BLOCKS} of them; got {shown(order)}")
    if sorted(numbers) != list(range(count)):
        raise ValueError(f"`order` must have each number from 0 to {count - 1} once; got {shown(order)}")
    return numbers


def _resized(geometry: Geometry, axis: int, size: int) -> Geometry:
    shape = (*geometry.shape[:axis], size, *geometry.shape[axis + 1 :])
    return Geometry(shape, geometry.roles, geometry.groups, geometry.transposed)


def _slab(geometry: Geometry, axis: int, start: int, step: int, count: int) -> Box:
    """The box of `count` indices of one axis, from `start` by `step`, and of all indices of the others."""
    ones, zeros = [1] * len(geometry.shape), [0] * len(geometry.shape)
    ones[axis], zeros[axis] = step, start
    return Box(tuple(zeros), tuple(ones), _resized(geometry, axis, count).shape)
