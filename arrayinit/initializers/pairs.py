"""Matrices of a pair, which are computed from one draw: factors of a product, and adapters at right angles."""

import math
from functools import partial
from typing import Any, Unpack

from arrayinit.common.arguments import finite, integer, one_of, positive
from arrayinit.draw import Keywords, draw
from arrayinit.initializers.forms import creating, filling
from arrayinit.laws import Factor, Law
from arrayinit.laws.factors import mean_singular_value, rotated, singular
from arrayinit.laws.geometry import Geometry
from arrayinit.stream.deviates import NORMAL_REACH

PARTS = ("query", "key", "value", "out")


def _matrix(geometry: Geometry, name: str) -> tuple[int, int]:
    """(out, in) of a matrix, or of each of a batch."""
    out, in_, _ = geometry.sizes
    if "s" in (geometry.roles or "oi" + "s" * (len(geometry.shape) - 2)):
        raise ValueError(f"{name} needs matrices, without spatial axes; got {geometry.shape}")
    if geometry.groups != 1:
        raise ValueError(f"`groups` must be 1 for {name}; got {geometry.groups}")
    return out, in_


def _mimetic(geometry: Geometry, part: str, heads: int, alpha: float | None, beta: float | None) -> Law:
    out, in_ = _matrix(geometry, "mimetic")
    one_of(part, "part", PARTS)
    count = integer(heads, "heads")
    is_attention = part in ("query", "key")
    scale = positive((0.7 if is_attention else 0.4) if alpha is None else alpha, "alpha")
    shift = finite((0.7 if is_attention else -0.4) if beta is None else beta, "beta")
    rows, width = (in_, out) if part == "out" else (out, in_)
    if rows % count:
        raise ValueError(f"`heads` must divide the size of all heads together, {rows}; got {count}")
    size = rows // count
    if size > width:
        raise ValueError(f"mimetic needs heads of at most the width of the model, {width}; got {size} for each head")
    std = reach = 0.0
    if size:
        std = math.sqrt(mean_singular_value(scale, shift, size / width) / width)
        reach = math.sqrt(abs(shift) + scale * NORMAL_REACH * math.sqrt(width))
    pair = ("mimetic", "query and key" if is_attention else "value and out", count, size, width, scale, shift)
    return Factor(singular, (part, count, scale, shift), pair, std, reach)


@creating
def mimetic(
    x: Any,
    part: str,
    heads: int = 1,
    alpha: float | None = None,
    beta: float | None = None,
    **keywords: Unpack[Keywords],
) -> Any:
    """Mimetic attention: W_Q W_K^T and W_V W_O near multiples of the identity, as trained transformers have them.

        alpha Z + beta I = U S V^T,    Z of independent N(0, 1 / d),    d the width of the model
        W_Q = U S^(1/2),  W_K = V S^(1/2)   (d, size), of the largest singular values, for each head
        W_V = U S^(1/2),  W_O = S^(1/2) V^T   from a Z of their own

    These act on rows, x W. Weights are their transposes (out, in): (heads * size, d) for query, key and value, (d,
    heads * size) for out. So they are matrices of x W in a layout such as "io", too. With a batch axis each entry has
    its own Z. Signs of singular vectors are random, so that the mean of each element is 0.

    Two parts belong together where they have the same seed, name, heads, alpha, beta and dtype. In rules,
    `seed_of=".q_proj.weight"` does that, and in fused projections `packed` with `shared=True`.

    All is computed by NumPy on the host in float64, so that libraries of one machine agree bit for bit. Machines agree
    as their LAPACKs do: before rounding, to some 1e-15 over the relative distance of two singular values. Each head
    takes a singular value decomposition of a matrix (d, d), and a part of the tensor costs as much as the whole. With
    a traced key of JAX it is a callback. Complex tensors get real values.

        >>> v, out = (ai.mimetic((8, 8), part, alpha=0.01, beta=-0.4, seed=0) for part in ("value", "out"))
        >>> bool(np.abs(out @ v + 0.4 * np.eye(8)).max() < 0.02)
        True

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        part: "query", "key", "value" or "out".
        heads: the number of heads whose products are set, one by one. The paper sets W_V W_O as a whole, heads=1.
        alpha: the factor of Z, > 0; by default 0.7 for query and key, 0.4 for value and out.
        beta: the factor of I; by default 0.7 for query and key, -0.4 for value and out.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: another part, heads that do not divide their axis or are wider than the model, an alpha that is not
            positive, a beta that is not finite, fewer than 2 dimensions, spatial axes, groups.

    Source: Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, ICML 2023, section 3.
    """
    return draw(x, partial(_mimetic, part=part, heads=heads, alpha=alpha, beta=beta), **keywords)


mimetic_ = filling(mimetic)


def _lora_orthogonal(geometry: Geometry, part: str, gain: float) -> Law:
    out, in_ = _matrix(geometry, "lora_orthogonal")
    rank = out if one_of(part, "part", ("A", "B")) == "A" else in_
    if rank % 2:
        raise ValueError(f"lora_orthogonal needs an even rank; got {rank} for part {part!r} of shape {geometry.shape}")
    factor = finite(gain, "gain")
    std = abs(factor) / math.sqrt(2) if rank else 0.0
    reach = abs(factor) * NORMAL_REACH * math.sqrt(rank / 2)
    return Factor(rotated, (part, factor), ("lora_orthogonal", rank), std, reach)


@creating
def lora_orthogonal(x: Any, part: str, gain: float = 0.1, **keywords: Unpack[Keywords]) -> Any:
    """LoRA with B A = 0 and neither of them 0: A and B use every other row of one random rotation.

        A = gain Q_1^T G,    B = gain H^T Q_2

    Q_1 and Q_2 are the rows 0, 2, 4, ... and 1, 3, 5, ... of an orthogonal matrix (r, r) that is uniform (Haar); G
    (r/2, in) and H (r/2, out) are of independent N(0, 1). A has the shape (r, in), B (out, r). The variance of each
    element is gain^2 / 2.

    A and B belong together where they have the same seed and name; in rules, `seed_of` does that. They are computed on
    the host in float64, as :func:`mimetic` is. Complex tensors get real values.

        >>> a = ai.lora_orthogonal((4, 6), "A", seed=0)
        >>> b = ai.lora_orthogonal((5, 4), "B", seed=0)
        >>> bool(np.abs(b @ a).max() < 1e-7)
        True

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        part: "A" or "B".
        gain: a finite factor; 0.1 in peft.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: another part, an odd rank, a gain that is not finite, fewer than 2 dimensions, spatial axes, groups.

    Source: peft.tuners.lora.layer, orthogonal_init (0.21), where LAPACK chooses the signs of Q's columns; here they are
    those of the uniform law.
    """
    return draw(x, partial(_lora_orthogonal, part=part, gain=gain), **keywords)


lora_orthogonal_ = filling(lora_orthogonal)
