"""nanochat's GPT."""

import math
import re

from arrayinit.common.arguments import integer
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import named
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import spec

__all__ = ["nanochat"]


def nanochat(width: int = 768) -> Rules:
    """nanochat: uniform matrices of std width^-1/2, zeros where a branch ends, scalars that depend on the layer.

    =====================================  ====================================================
    transformer.wte; lm_head               N(0, 0.8^2); N(0, 0.001^2)
    attn.c_q, c_k, c_v                     U(-s, s), s = sqrt(3 / fan_in); fan_in is the width
    mlp.c_fc                               U(-0.4 s, 0.4 s)
    c_proj of both                         0
    value_embeds                           U(-s, s), s = sqrt(3 / width)
    ve_gate, smear_gate                    U(0, 0.02)
    resid_lambdas                          1.15 to 1.05, from the first layer to the last
    x0_lambdas                             0.2 to 0.05
    smear_lambda; backout_lambda           0; 0.2
    =====================================  ====================================================

    The embedding is what the code draws; its docstring says std 1. Norms have no parameters. By paths.

        >>> from arrayinit.recipes import nanochat
        >>> nanochat().find("transformer.h.0.mlp.c_fc.weight", (3072, 768)).words
        "variance_scaling, distribution='uniform', scale=0.16"

    Args:
        width: `n_embd`, for value embeddings, whose rows may be shorter.

    Raises:
        ValueError, TypeError: a width below 1, or that is not an integer.

    Source: karpathy/nanochat (July 2026), nanochat/gpt.py, GPT.init_weights.
    """
    bound = math.sqrt(3.0) / math.sqrt(integer(width, "width"))
    gate = spec("uniform", a=0.0, b=0.02)
    return Rules(
        [
            named(r"wte\.weight", spec("normal", std=0.8)),
            named(r"lm_head\.weight", spec("normal", std=0.001)),
            named(r"attn\.c_[qkv]\.weight", spec("variance_scaling", distribution="uniform")),
            named(r"mlp\.c_fc\.weight", spec("variance_scaling", scale=0.16, distribution="uniform")),
            named(r"c_proj\.weight", spec("zeros")),
            rule(re.compile(r"(^|\.)value_embeds\.\w+\.weight$"), spec("uniform", a=-bound, b=bound)),
            named(r"(ve_gate|smear_gate)\.weight", gate),
            named("resid_lambdas", spec("linspace", start=1.15, end=1.05)),
            named("x0_lambdas", spec("linspace", start=0.2, end=0.05)),
            named("smear_lambda", spec("zeros")),
            named("backout_lambda", spec("constant", val=0.2)),
        ]
    )
