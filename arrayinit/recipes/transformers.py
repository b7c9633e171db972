"""Language models as the transformers library and their papers start them: GPT-2, Llama, BERT."""

import math
import re

from arrayinit.common.arguments import flag, integer, nonnegative
from arrayinit.models.rules import BUFFER, Rules
from arrayinit.recipes.shorthand import EXPERTS, biases, norms, routers_and_sinks, rule
from arrayinit.specs import spec

__all__ = ["bert", "gpt2", "llama"]


def gpt2(layers: int = 12, std: float = 0.02, zero_centered_norms: bool | None = None) -> Rules:
    """GPT-2: N(0, std^2), and std / sqrt(2 layers) for the projections onto the residual stream (c_proj).

    All other matrices and both embeddings N(0, std^2), biases 0, norms 1 and 0. By paths, norms by kinds. The
    transformers library draws this; it follows the paper in the scale of c_proj, with two residual branches a layer.
    OpenAI's published code does not scale c_proj, and draws the position embedding with std 0.01: put rules for that
    before these.

        >>> from arrayinit.recipes import gpt2
        >>> gpt2(layers=8).find("h.0.mlp.c_proj.weight", (3072, 768)).initializer
        spec('normal', std=0.005)

    Args:
        layers: the number of blocks of the model, `n_layer`, >= 1.
        std: `initializer_range`, >= 0.
        zero_centered_norms: True if norms multiply by 1 + weight, so that their weights start with 0; False if none
            does, so that they start with 1; None to go by the class of each norm, and by False in trees of arrays.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Radford et al., Language models are unsupervised multitask learners, 2019, section 2.3;
    transformers.GPT2PreTrainedModel._init_weights (5.23); openai/gpt-2, src/model.py.
    """
    scale, depth = nonnegative(std, "std"), integer(layers, "layers")
    return Rules(
        [
            rule("*c_proj.weight", spec("normal", std=scale / math.sqrt(2 * depth)), optional=False, min_ndim=2),
            *norms(zero_centered_norms),
            rule("*.weight", spec("normal", std=scale), optional=False, min_ndim=2),
            *biases(),
        ]
    )


def llama(std: float = 0.02, layers: int | None = None, zero_centered_norms: bool | None = None) -> Rules:
    """Llama-style: N(0, std^2) for matrices, embeddings and experts, RMSNorm 1, biases 0.

    By paths, norms by kinds. The transformers library draws this for Llama, Mistral, Mixtral, Qwen, DeepSeek, GPT-OSS,
    Gemma and similar models; Meta published no initialization. With `layers` the projections onto the residual stream
    (o_proj, down_proj and out_proj, or wo and w2) are drawn with std / sqrt(2 layers), as in GPT-2 and Megatron-LM.

    The gains of norms are 0 where their class multiplies by 1 + weight (Gemma, Gemma 2 and 3, Qwen3-Next, Qwen3.5, ...;
    not Gemma 3n and 4, nor the gated norms of Qwen3-Next), and 1 elsewhere. Nemotron and Muse Glimmer have such norms,
    too, whose weights transformers starts with 1, so that they double their outputs; here they are 0.

    Routers and experts are matrices, biases and correction biases 0; the router's bias in GPT-OSS is N(0, std^2), the
    router of AFMoE 0. Attention sinks are N(0, std^2), but 0 in DeepSeek-V4, Granite and HY-V4. In layers of Mamba-2
    and of the gated delta rule D is 1, dt_bias 1 or :func:`arrayinit.mamba_dt_bias`, and A_log log n, log U(0.01, 16)
    in Qwen, log U(1, 16) in Kimi.

    No rule matches matrices of models that start otherwise, so that they are refused: Mamba and Mamba-2 (:func:`mamba`,
    :func:`mamba2`), Nemotron-H, xLSTM, RWKV-4, RecurrentGemma, T5, ModernBERT and BLT; nor what is called a bias and is
    a table, with two axes, or logit_bias; nor those of towers for images and sound (vision_tower, visual, audio_tower,
    ...), which need rules of their own before these. Two models are drawn wrong and can't be told from their names:
    NanoChat scales its o_proj alone, and Youtu has an std of its own for embeddings.

        >>> from arrayinit.recipes import llama
        >>> llama(layers=8).find("layers.0.mlp.down_proj.weight", (4096, 11008)).initializer
        spec('normal', std=0.005)
        >>> llama().find("norm.weight", (2048,), ["GemmaRMSNorm"]).initializer
        spec('zeros')
        >>> llama(zero_centered_norms=True).find("norm.weight", (2048,)).initializer  # of shapes without layers
        spec('zeros')

    Args:
        std: `initializer_range`, >= 0.
        layers: the number of blocks, >= 1, or None for one std everywhere.
        zero_centered_norms: True if norms multiply by 1 + weight, so that their weights start with 0; False if none
            does, so that they start with 1; None to go by the class of each norm, and by False in trees of arrays.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: transformers.PreTrainedModel._init_weights (5.23), and those of the models; with `layers`, Shoeybi et al.,
    Megatron-LM, 2019, section 4.
    """
    normal = spec("normal", std=nonnegative(std, "std"))
    residual = []
    if layers is not None:
        small = spec("normal", std=float(std) / math.sqrt(2 * integer(layers, "layers")))
        residual.append(rule(_RESIDUAL, small, optional=False, min_ndim=2))
    return Rules(
        [
            *residual,
            *norms(zero_centered_norms),
            *routers_and_sinks(normal),
            *_STATE_SPACES,
            rule("*fn", normal, kind=_HYPER),
            rule("*scale", spec("ones"), kind=_HYPER),
            rule("*base", spec("zeros"), kind=_HYPER),
            rule("*.lambda_[qk][12]", spec("normal", std=0.1)),  # DiffLlama
            rule("*.cross_attn_*_gate", spec("zeros")),  # Llama 3.2 with vision
            rule("*.correct_output_scale", spec("zeros")),  # Gemma 3n
            rule("*e_score_correction_bias", spec("zeros")),
            rule("*e_score_correction_bias", spec("zeros"), kind=BUFFER),
            rule("*compressor.*position_bias", spec("zeros")),  # DeepSeek-V4
            *biases(),
            rule(_MATRICES, normal, optional=False, min_ndim=2),
            rule(EXPERTS, normal, min_ndim=2),
        ]
    )


# Projections onto the residual stream; those of fused experts have no `.weight`.
_RESIDUAL = re.compile(r"(^|\.)(o_proj|down_proj|(?<!mixer\.)out_proj|wo|w2)(\.weight)?$")

# Matrices, apart from those of Mamba, xLSTM, RWKV-4, RecurrentGemma, T5, ModernBERT and BLT, which start otherwise, and
# of towers for images and sound, of which most do.
_MATRICES = re.compile(
    r"^(?!(.*\.)?((vision|image|audio|speech)_(tower|model|encoder|backbone)|visual|vqmodel)\.)"
    r"(?!.*\b(mixer\.(dt|out)_proj|mlstm_layer\.\w+|attention\.receptance|temporal_block\.linear_\w+|"
    r"(Self|EncDec)Attention\.\w+|(attn|mlp)\.W[io]|(local_encoder|local_decoder|global_transformer)\..*)\.weight$)"
    r".*\.weight$"
)

_HYPER = ("DeepseekV4HyperConnection", "DeepseekV4HyperHead", "Glm5NextTextHyperConnection", "Glm5NextTextHyperHead")

_STATE_SPACES = [
    rule(
        "*dt_bias",
        spec("mamba_dt_bias"),
        kind=("Mamba2Mixer", "NemotronHMamba2Mixer", "OlmoHybridGatedDeltaNet", "Zamba2MambaMixer"),
    ),
    rule(re.compile(r"(^|\.)(forget_gate|mixer)\.dt_bias$"), spec("mamba_dt_bias")),  # Kimi Linear, Nemotron-H
    rule("*dt_bias", spec("ones")),
    rule("*forget_gate.A_log", spec("mamba2_a_log")),
    rule("*A_log", spec("mamba2_a_log", a_min=0.0), kind="OlmoHybridGatedDeltaNet"),
    rule("*linear_attn.A_log", spec("mamba2_a_log", a_min=0.01)),  # Qwen3-Next, Qwen3.5
    rule("*A_log", spec("mamba_a_log")),
    rule(re.compile(r"(^|\.)D$"), spec("ones")),
]


def bert(std: float = 0.02, truncated: bool = False, zero_centered_norms: bool | None = None) -> Rules:
    """BERT: N(0, std^2) for matrices and embeddings, biases 0, LayerNorm 1 and 0.

    By paths, norms by kinds. The transformers library draws this, from a plain normal; the row of padding is 0.
    Google's code draws a normal truncated at two std, without restoring its variance: `truncated`.

        >>> from arrayinit.recipes import bert
        >>> bert(truncated=True).find("encoder.layer.0.output.dense.weight", (768, 3072)).initializer
        spec('truncated_normal', std=0.02)

    Args:
        std: `initializer_range`, >= 0.
        truncated: to [-2 std, 2 std], as in google-research/bert.
        zero_centered_norms: True if norms multiply by 1 + weight, so that their weights start with 0; False if none
            does, so that they start with 1; None to go by the class of each norm, and by False in trees of arrays.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Devlin et al., 2019; transformers.BertPreTrainedModel._init_weights (5.23); google-research/bert,
    modeling.py, create_initializer.
    """
    name = "truncated_normal" if flag(truncated, "truncated") else "normal"
    return Rules(
        [
            *norms(zero_centered_norms),
            rule("*.weight", spec(name, std=nonnegative(std, "std")), optional=False, min_ndim=2),
            *biases(),
        ]
    )
