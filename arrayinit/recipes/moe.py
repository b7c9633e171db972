"""Mixtures of experts as the transformers library starts them."""

import math

from arrayinit.common.arguments import integer, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import buffers_of_experts, gains_and_biases, named
from arrayinit.recipes.shorthand import routers_and_sinks
from arrayinit.specs import spec

__all__ = ["moe"]

ATTENTION = r"q_proj|k_proj|v_proj|q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj"
OTHERS = r"gate_proj|up_proj|gate|router|shared_expert_gate|embed_tokens|lm_head|score"


def moe(std: float = 0.02, layers: int | None = None) -> Rules:
    """Mixtral, DeepSeek-V3, GPT-OSS, Qwen-MoE: N(0, std^2) for matrices, fused experts, routers and sinks; norms 1.

    Experts are tensors (experts, out, in), or (experts, in, out) in GPT-OSS, without the suffix `.weight`:
    gate_up_proj and down_proj; or lists of layers: experts.0.gate_proj.weight, experts.0.w1.weight. Routers' biases and
    attention sinks are N(0, std^2), but the sinks of DeepSeek-V4, Granite and HY-V4 and the router of AFMoE 0. Biases
    that correct the choice of experts (e_score_correction_bias, expert_bias), those of norms, of projections whose
    names end in _proj and of experts (gate_up_proj_bias, down_proj_bias) are 0. With `layers` the
    projections onto the residual stream, o_proj, down_proj and w2, are drawn with std / sqrt(2 layers), as in
    Megatron-LM; the library does not do that. By paths, sinks by kinds.

    Known names: q_proj, k_proj, v_proj, o_proj, q_a_proj, q_b_proj, kv_a_proj_with_mqa and kv_b_proj of attention;
    gate_proj, up_proj, down_proj, w1, w2, w3 and fused gate_up_proj and down_proj of experts; gate, router and
    shared_expert_gate; sinks; embed_tokens, lm_head, score; norms by class or by their single axis. A parameter with
    another name is refused.

        >>> from arrayinit.recipes import moe
        >>> moe().find("model.layers.0.mlp.experts.gate_up_proj", (8, 28672, 4096)).initializer
        spec('normal', std=0.02)

    Args:
        std: `initializer_range`, >= 0.
        layers: the number of layers, >= 1, or None for one std everywhere.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: transformers (5.23), `_init_weights` of MixtralPreTrainedModel, DeepseekV3PreTrainedModel,
    GptOssPreTrainedModel and Qwen3MoePreTrainedModel.
    """
    scale = nonnegative(std, "std")
    plain = spec("normal", std=scale)
    last = plain if layers is None else spec("normal", std=scale / math.sqrt(2 * integer(layers, "layers")))
    return Rules(
        [
            *gains_and_biases(),
            *buffers_of_experts(),
            *routers_and_sinks(plain),
            named(r"(o_proj|down_proj|experts\.\d+\.w2)\.weight|experts\.down_proj", last),
            named(rf"({ATTENTION}|{OTHERS}|experts\.\d+\.w[13])\.weight|experts\.gate_up_proj", plain),
            named(r"experts\.(gate_up|down)_proj_bias|(\w+_proj(_with_mqa)?|score)\.bias", spec("zeros")),
        ]
    )
