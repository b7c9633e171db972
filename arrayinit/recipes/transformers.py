"""Language models as the transformers library and their papers start them: GPT-2, Llama, BERT."""

import math
import re

from arrayinit.common.arguments import flag, integer, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import NORM_WEIGHT, rule
from arrayinit.specs import spec

__all__ = ["bert", "gpt2", "llama"]


def gpt2(layers: int = 12, std: float = 0.02) -> Rules:
    """GPT-2: N(0, std^2), and std / sqrt(2 layers) for the projections onto the residual stream (c_proj). By paths.

    All other matrices and both embeddings N(0, std^2), biases 0, norms 1 and 0. The transformers library draws this; it
    follows the paper in the scale of c_proj, with two residual branches a layer. OpenAI's published code does not scale
    c_proj, and draws the position embedding with std 0.01: put rules for that before these.

        >>> from arrayinit.recipes import gpt2
        >>> gpt2(layers=8).find("h.0.mlp.c_proj.weight", (3072, 768)).initializer
        spec('normal', std=0.005)

    Args:
        layers: the number of blocks of the model, `n_layer`, >= 1.
        std: `initializer_range`, >= 0.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Radford et al., Language models are unsupervised multitask learners, 2019, section 2.3;
    transformers.GPT2PreTrainedModel._init_weights (5.23); openai/gpt-2, src/model.py.
    """
    scale, depth = nonnegative(std, "std"), integer(layers, "layers")
    return Rules(
        [
            rule("*c_proj.weight", spec("normal", std=scale / math.sqrt(2 * depth)), optional=False),
            rule(NORM_WEIGHT, spec("ones")),
            rule("*.weight", spec("normal", std=scale), optional=False),
            rule("*.bias", spec("zeros")),
        ]
    )


def llama(std: float = 0.02, layers: int | None = None) -> Rules:
    """Llama-style: N(0, std^2) for matrices and embeddings, RMSNorm 1, biases 0. By paths.

    The transformers library draws this for Llama, Mistral, Qwen and similar models; Meta published no initialization.
    With `layers` the projections onto the residual stream (o_proj and down_proj, or wo and w2) are drawn with
    std / sqrt(2 layers), as in GPT-2 and Megatron-LM.

        >>> from arrayinit.recipes import llama
        >>> llama(layers=8).find("layers.0.mlp.down_proj.weight", (4096, 11008)).initializer
        spec('normal', std=0.005)

    Args:
        std: `initializer_range`, >= 0.
        layers: the number of blocks, >= 1, or None for one std everywhere.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: transformers.PreTrainedModel._init_weights (5.23); with `layers`, Shoeybi et al., Megatron-LM, 2019,
    section 4.
    """
    scale = nonnegative(std, "std")
    residual = []
    if layers is not None:
        small = spec("normal", std=scale / math.sqrt(2 * integer(layers, "layers")))
        residual = [rule(re.compile(r"(^|\.)(o_proj|down_proj|wo|w2)\.weight$"), small, optional=False)]
    return Rules(
        [
            *residual,
            rule(NORM_WEIGHT, spec("ones")),
            rule("*.weight", spec("normal", std=scale), optional=False),
            rule("*.bias", spec("zeros")),
        ]
    )


def bert(std: float = 0.02, truncated: bool = False) -> Rules:
    """BERT: N(0, std^2) for matrices and embeddings, biases 0, LayerNorm 1 and 0. By paths.

    The transformers library draws this, from a plain normal; the row of padding is 0. Google's code draws a normal
    truncated at two std, without restoring its variance: `truncated`.

        >>> from arrayinit.recipes import bert
        >>> bert(truncated=True).find("encoder.layer.0.output.dense.weight", (768, 3072)).initializer
        spec('truncated_normal', std=0.02)

    Args:
        std: `initializer_range`, >= 0.
        truncated: to [-2 std, 2 std], as in google-research/bert.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Devlin et al., 2019; transformers.BertPreTrainedModel._init_weights (5.23); google-research/bert,
    modeling.py, create_initializer.
    """
    name = "truncated_normal" if flag(truncated, "truncated") else "normal"
    return Rules(
        [
            rule(NORM_WEIGHT, spec("ones")),
            rule("*.weight", spec(name, std=nonnegative(std, "std")), optional=False),
            rule("*.bias", spec("zeros")),
        ]
    )
