"""xLSTM language models."""

import math

from arrayinit.common.arguments import integer, one_of
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import gains_and_biases, named, of_each_layer
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import Spec, spec

__all__ = ["xlstm"]


def xlstm(
    layers: int = 48, width: int = 2048, heads: int = 4, backend: str = "cuda", container: str = "blocks"
) -> Rules:
    """xLSTM: small init, Wang init for proj_down, and forget gates whose biases span the units.

    ===========================================  ============================================================
    proj_up, q_proj, k_proj, v_proj, gates of    N(0, 2 / (5 width))
    sLSTM, token_embedding, lm_head
    proj_down                                    N(0, (2 / (layers sqrt(width)))^2)
    mLSTM: igate, fgate; their biases            0; N(0, 0.1^2) and 3 to 6, evenly spaced over the heads
    sLSTM: _bias_ of the forget gate             5 - 12 (n / (N - 1))^(0.3 + 1.3 l / (layers - 1)) for the N
                                                 units of a head, in layer l
    sLSTM: _recurrent_kernel_, other biases      0
    convolutions                                 as torch has them, U(-b, b) with b = 1 / sqrt(fan_in)
    learnable_skip; norms, which add 1; biases   1; 0; 0
    ===========================================  ============================================================

    sLSTM with its defaults: "powerlaw_blockdependent" biases, recurrent weights 0. By paths. The models of xLSTM 7B
    (xlstm_large) have other gates, and no recipe here.

        >>> from arrayinit.recipes import xlstm
        >>> xlstm(width=64).find("xlstm_block_stack.blocks.0.xlstm.mlstm_cell.fgate.bias", (4,)).initializer
        spec('linspace', end=6.0, start=3.0)

    Args:
        layers: `num_blocks`, >= 1.
        width: `embedding_dim`, >= 1.
        heads: of sLSTM layers, >= 1.
        backend: of sLSTM layers, "cuda" or "vanilla", which order the numbers of _bias_ otherwise.
        container: the word before the number of a layer in paths.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: NX-AI/xlstm (November 2025), xlstm/components/init.py, blocks/mlstm/layer.py and cell.py,
    blocks/slstm/cell.py, components/feedforward.py; Beck et al., xLSTM, NeurIPS 2024.
    """
    depth, dim, parts = integer(layers, "layers"), integer(width, "width"), integer(heads, "heads")
    is_cuda = one_of(backend, "backend", ("cuda", "vanilla")) == "cuda"
    zeros, small, default = spec("zeros"), spec("small_normal", dim=dim), spec("kaiming_uniform", a=math.sqrt(5))

    def biases(k: int) -> Spec:
        ramp = spec("linspace", start=5.0, end=-7.0, power=0.3 + 1.3 * (k / (depth - 1) if depth > 1 else 0.0))
        if is_cuda:  # (heads, gates, units)
            return spec("packed", initializer=spec("packed", initializer=[zeros, ramp, zeros, zeros], blocks=4),
                        blocks=parts)  # fmt: skip
        return spec("packed", initializer=[zeros, spec("packed", initializer=ramp, blocks=parts), zeros, zeros],
                    blocks=4)  # (gates, heads, units)  # fmt: skip

    return Rules(
        [
            *gains_and_biases(zero_centered_norms=True),
            named(r"mlstm_cell\.[if]gate\.weight", zeros),
            named(r"mlstm_cell\.fgate\.bias", spec("linspace", start=3.0, end=6.0)),
            named(r"mlstm_cell\.igate\.bias", spec("normal", std=0.1)),
            *of_each_layer(depth, container, r"slstm_cell\._bias_", biases, optional=True),
            named("_recurrent_kernel_", zeros),
            named(r"(proj_up|[qkv]_proj|[ifzo]gate|token_embedding|lm_head)\.weight", small),
            named(r"proj_down\.weight", spec("wang_normal", layers=depth, dim=dim)),
            named("learnable_skip", spec("ones")),
            named(r"conv\.weight", default),
            rule("*conv.bias", default, like="weight"),
            named(r"(proj_up|proj_down|[qkv]_proj)\.bias", zeros),
        ]
    )
