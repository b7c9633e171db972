"""Language models as the library transformers and the papers start them: GPT-2, Llama, BERT."""

import math
import re

from arrayinit.common.arguments import flag, integer, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.parts import NORM_WEIGHT, rule
from arrayinit.specs import spec

__all__ = ["bert", "gpt2", "llama"]


def gpt2(layers: int = 12, std: float = 0.02) -> Rules:
    """GPT-2: N(0, std^2), and std / sqrt(2 layers) for the projections onto the residual stream (c_proj). By paths.

    All other matrices and both embeddings N(0, std^2), biases 0, norms 1 and 0. This is what transformers draws, which
    follows the paper in the scale of c_proj: two residual branches a layer. OpenAI's published code does not scale
    c_proj, and draws the position embedding with std 0.01: a rule before these says so.

    Args:
        layers: the number of blocks of the model, `n_layer`. std: `initializer_range`.

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

    This is what transformers draws for Llama, Mistral, Qwen and others of their form; Meta published no initialization.
    With `layers` the projections onto the residual stream (o_proj and down_proj, or wo and w2) are drawn with
    std / sqrt(2 layers), as in GPT-2 and Megatron-LM.

    Args:
        std: `initializer_range`. layers: the number of blocks, or None for one std everywhere.

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

    This is what transformers draws, from a plain normal; the row of padding is 0. Google's code draws a normal cut off
    at two std, without restoring its variance: `truncated`.

    Args:
        std: `initializer_range`. truncated: to [-2 std, 2 std], as in google-research/bert.

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
