"""Initializers of tensors that are several in one."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

from arrayinit import schemes
from arrayinit.draw import Keywords, draw
from arrayinit.schemes.packs import Initializer

__all__ = [
    "chrono",
    "chrono_",
    "icnr",
    "icnr_",
    "lstm_bias",
    "lstm_bias_",
    "packed",
    "packed_",
]


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
    return draw(x, partial(schemes.packed, initializer=initializer, blocks=blocks), False, **keywords)


def packed_(
    x: Any,
    initializer: Initializer | Sequence[Initializer],
    blocks: int | Sequence[int] = 1,
    **keywords: Unpack[Keywords],
) -> Any:
    """Fill x in place with :func:`packed`; returns x."""
    return draw(x, partial(schemes.packed, initializer=initializer, blocks=blocks), True, **keywords)


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
    return draw(x, partial(schemes.icnr, initializer=initializer, scale=scale), False, **keywords)


def icnr_(x: Any, initializer: Initializer | None = None, scale: int = 2, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`icnr`; returns x."""
    return draw(x, partial(schemes.icnr, initializer=initializer, scale=scale), True, **keywords)


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
    return draw(x, partial(schemes.lstm_bias, forget=forget, gates=gates), False, **keywords)


def lstm_bias_(x: Any, forget: float = 1.0, gates: str = "ifgo", **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`lstm_bias`; returns x."""
    return draw(x, partial(schemes.lstm_bias, forget=forget, gates=gates), True, **keywords)


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
    return draw(x, partial(schemes.chrono, t_max=t_max, t_min=t_min, gates=gates), False, **keywords)


def chrono_(x: Any, t_max: float, t_min: float = 2.0, gates: str = "ifgo", **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`chrono`; returns x."""
    return draw(x, partial(schemes.chrono, t_max=t_max, t_min=t_min, gates=gates), True, **keywords)
