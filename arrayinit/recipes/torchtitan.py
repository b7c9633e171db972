"""Llama 3, DeepSeek-V3 and GPT-OSS as torchtitan trains them: scaled by depth."""

import math
from collections.abc import Callable

from arrayinit.common.arguments import flag, integer, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import buffers_of_experts, gains_and_biases, named, of_each_layer
from arrayinit.specs import Spec, spec

__all__ = ["torchtitan", "torchtitan_gpt_oss"]

HEAD = r"(lm_head|output)\.weight"
EMBEDDING = r"(tok_embeddings|embed_tokens)\.weight"
# Names of torchtitan, then those of transformers.
PLAIN = (
    r"(wq|wk|wv|wqkv|w1|wq_a|wq_b|wkv_a|wkv_b|q_proj|k_proj|v_proj|gate_proj|q_a_proj|q_b_proj|kv_a_proj_with_mqa|"
    r"kv_b_proj)\.weight|w1_EFD"
)
SCALED = r"(wo|w2|w3|router\.gate|o_proj|up_proj|down_proj)\.weight|w2_EDF|w3_EFD"
BIAS = r"(wq|wk|wv|wqkv|wo|w1|w2|w3|router\.gate|lm_head|output)\.bias"


def torchtitan(
    layers: int = 32, depth_init: bool = True, std: float = 0.02, tied: bool = False, container: str = "layers"
) -> Rules:
    """Llama 3 and DeepSeek-V3 in torchtitan: std / sqrt(2 (l + 1)) in layer l for all that follows attention and gate.

    ===================================================  ==================================================
    wo, w2, w3, the router, experts' w2_EDF and w3_EFD   N(0, (std / sqrt(2 (l + 1)))^2), l from 0
    wq, wk, wv, w1, w1_EFD, the low-rank wq_a to wkv_b   N(0, std^2)
    tok_embeddings                                       N(0, 1); where tied, as the head
    lm_head (or output)                                  N(0, 1 / fan_in), cut at 3 standard deviations
    norms; biases, expert_bias                           1; 0
    ===================================================  ==================================================

    The first two are cut at the absolute -2 and 2, which cuts nothing off. w3 is scaled as w2 is. Without `depth_init`
    the std is std / sqrt(2 layers) in each layer; the code has that for models of the transformers library alone. By
    paths, in which the weights of transformers' dense models are known, too: o_proj, up_proj and down_proj are scaled.

        >>> from arrayinit.recipes import torchtitan
        >>> torchtitan(layers=8).find("layers.7.feed_forward.w2.weight", (4096, 14336)).initializer
        spec('trunc_normal', std=0.005)

    Args:
        layers: the number of layers, >= 1. A model with more has parameters that no rule matches.
        depth_init: by the number of a layer, or by the number of all layers.
        std: of the weights that are not scaled, >= 0.
        tied: whether the embedding is the head, which is then drawn as a head.
        container: the word before the number of a layer in paths.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: pytorch/torchtitan (August 2026), torchtitan/models/llama3/__init__.py, deepseek_v3/__init__.py,
    common/param_init.py; experiments/transformers_modeling_backend/model.py for depth_init=False.
    """
    scale, depth = nonnegative(std, "std"), integer(layers, "layers")
    head = spec("scaled_truncated_normal")
    embedding = head if flag(tied, "tied") else spec("normal")
    return Rules(
        [
            *gains_and_biases(),
            *buffers_of_experts(),
            *of_each_layer(depth, container, SCALED, _by_depth(scale, depth, depth_init)),
            named(PLAIN, spec("trunc_normal", std=scale)),
            named(EMBEDDING, embedding),
            named(HEAD, head),
            named(BIAS, spec("zeros")),
        ]
    )


def torchtitan_gpt_oss(layers: int = 24, std: float = 0.02, container: str = "layers") -> Rules:
    """GPT-OSS in torchtitan: std / sqrt(2 (l + 1)) in layer l for all: attention, sinks, router, experts and biases.

    wq, wk, wv (or wqkv), wo and the router: N(0, (std / sqrt(2 (l + 1)))^2), their biases 0; `sinks`, and the experts'
    mlp1 and mlp2, weights and biases: the same normal. Embeddings N(0, std^2); lm_head N(0, 1 / fan_in), cut at 3
    standard deviations; norms 1. By paths.

        >>> from arrayinit.recipes import torchtitan_gpt_oss
        >>> torchtitan_gpt_oss().find("layers.1.attention.sinks", (64,)).initializer
        spec('trunc_normal', std=0.01)

    Args:
        layers: the number of layers, >= 1. A model with more has parameters that no rule matches.
        std: of embeddings, and before it is scaled, >= 0.
        container: the word before the number of a layer in paths.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: pytorch/torchtitan (August 2026), torchtitan/models/gpt_oss/__init__.py.
    """
    scale, depth = nonnegative(std, "std"), integer(layers, "layers")
    names = r"(wq|wk|wv|wqkv|wo|router\.gate)\.weight|sinks|mlp[12]_(weight|bias)_[A-Z]+"
    return Rules(
        [
            *gains_and_biases(),
            *buffers_of_experts(),
            *of_each_layer(depth, container, names, _by_depth(scale, depth, True)),
            named(EMBEDDING, spec("normal", std=scale)),
            named(HEAD, spec("scaled_truncated_normal")),
            named(BIAS, spec("zeros")),
        ]
    )


def _by_depth(std: float, layers: int, depth_init: bool) -> Callable[[int], Spec]:
    by_layer = flag(depth_init, "depth_init")
    return lambda k: spec("trunc_normal", std=std / math.sqrt(2 * (k + 1 if by_layer else layers)))
