"""Megatron-LM's language models, dense, with experts, and hybrids with Mamba."""

import math

from arrayinit.common.arguments import flag, integer, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import buffers_of_experts, gains_and_biases, named
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import spec

__all__ = ["megatron"]

# Grouped experts have a weight for each expert: weight0, weight1, ...
INNER = r"linear_(qkv|fc1|q|kv|q_proj|q_down_proj|q_up_proj|kv_down_proj|kv_up_proj)\.weight\d*|in_proj\.weight"
OUTPUT = r"linear_(proj|fc2)\.weight\d*|out_proj\.weight"


def megatron(
    layers: int = 32,
    std: float = 0.02,
    embedding_std: float | None = None,
    zero_centered: bool = False,
    hybrid: bool = False,
) -> Rules:
    """Megatron Core: N(0, std^2), and std / sqrt(2 layers) for the layers that write to the residual stream.

    =================================================  ===========================
    linear_proj, linear_fc2, out_proj, experts' too    std / sqrt(2 layers)
    all other matrices, output_layer, routers          std
    routers' biases, softmax_offset (sinks)            std
    word, position and token-type embeddings           embedding_std
    norms; all other biases, expert_bias               1; 0
    =================================================  ===========================

    Mamba and Gated DeltaNet layers: A_log is log U(1, 16), dt_bias Mamba's, D 1, convolutions torch's own. By paths,
    those of `megatron.core`; names of norms end in norm, or are layer_norm_weight within the next layer.

        >>> from arrayinit.recipes import megatron
        >>> megatron(layers=8).find("decoder.layers.0.mlp.linear_fc2.weight", (4096, 16384)).initializer
        spec('normal', std=0.005)

    Args:
        layers: `num_layers`, of the whole model, >= 1.
        std: `init_method_std`, >= 0.
        embedding_std: `embedding_init_method_std`, >= 0; None for std. Near 1, it keeps gradients of embeddings steady,
            says Megatron; where the embedding is the output layer too, both have it.
        zero_centered: `layernorm_zero_centered_gamma`: gains of norms are 0, because the layer adds 1.
        hybrid: `is_hybrid_model`, with one residual branch a layer: std / sqrt(layers).

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: NVIDIA/Megatron-LM (August 2026), megatron/core/transformer/transformer_config.py and utils.py,
    transformer/moe/router.py, transformer/dot_product_attention.py, ssm/mamba_mixer.py; Shoeybi et al., Megatron-LM,
    2019, section 4.
    """
    scale, depth = nonnegative(std, "std"), integer(layers, "layers")
    branches = 1 if flag(hybrid, "hybrid") else 2
    plain = spec("normal", std=scale)
    embedding = plain if embedding_std is None else spec("normal", std=nonnegative(embedding_std, "embedding_std"))
    zero_centered = flag(zero_centered, "zero_centered")
    default = spec("kaiming_uniform", a=math.sqrt(5))  # torch's convolutions
    return Rules(
        [
            named("layer_norm_weight", spec("zeros" if zero_centered else "ones")),
            named("layer_norm_bias", spec("zeros")),
            *gains_and_biases(zero_centered),
            *buffers_of_experts(),
            named(OUTPUT, spec("normal", std=scale / math.sqrt(branches * depth))),
            named(INNER, plain),
            named(r"output_layer\.weight|router\.(weight|bias)|gate_weight|softmax_offset", plain),
            named(r"(word|position|tokentype)_embeddings\.weight", embedding),
            named(r"A_log", spec("mamba2_a_log")),
            named(r"dt_bias", spec("mamba_dt_bias")),
            named(r"D", spec("ones")),
            named(r"conv1d[._]weight", default),
            rule("*conv1d.bias", default, like="weight"),
            rule("*conv1d_bias", default, like="conv1d_weight"),
            named(r"(linear_\w+|in_proj|out_proj|output_layer)\.bias\d*", spec("zeros")),
        ]
    )
