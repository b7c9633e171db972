"""Attention whose products of weights are near multiples of the identity."""

import re
from collections.abc import Sequence
from typing import Any

from arrayinit.common.arguments import finite, integer, positive
from arrayinit.common.messages import shown
from arrayinit.models.rules import Rule, Rules
from arrayinit.recipes.layers import named
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import Spec, spec

__all__ = ["mimetic"]

SEPARATE = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"))
PROJECTIONS = "qkv|c_attn|q_proj|k_proj|v_proj|query|key|value|out_proj|o_proj|out"


def mimetic(heads: int = 12, qk: Sequence[float] = (0.7, 0.7), vo: Sequence[float] = (0.4, -0.4)) -> Rules:
    """Mimetic attention: W_Q W_K^T near 0.7 I in each head, W_V W_O near -0.4 I, biases 0. All else stays. By paths.

    ================================================  ==================================================
    query, key                                        :func:`arrayinit.mimetic`, alpha and beta of `qk`
    value, out                                        the same with one head, alpha and beta of `vo`
    biases of these                                   0
    ================================================  ==================================================

    Known names: the qkv and attn.proj of timm; in_proj_weight and out_proj of torch.nn.MultiheadAttention; c_attn and
    attn.c_proj of GPT-2; q_proj, k_proj, v_proj and o_proj or out_proj; query, key, value and out, as Flax has them, or
    attention.output.dense of BERT. Fused weights have q, k and v in this order, each with its heads one after another.
    Key and out have the seed names of query and value, so that each pair is of one draw. Where several queries share a
    key there is no such pair, and grouped attention is refused.

    Other layers keep their values, or have a recipe of their own, of which these rules, but for the last, come first.

        >>> from arrayinit.recipes import mimetic, timm_vit
        >>> rules = mimetic(heads=3)
        >>> rules.find("blocks.0.attn.proj.weight", (192, 192)).words
        "mimetic, alpha=0.4, beta=-0.4, part='out', seed of .qkv.weight"
        >>> whole = [*rules[:-1], *timm_vit()]

    Args:
        heads: the number of heads of each layer, >= 1.
        qk, vo: (alpha, beta) of each product alpha Z + beta I, alpha > 0.

    Raises:
        ValueError, TypeError: heads below 1, what is no pair of numbers, an alpha that is not positive.

    Source: Trockman and Kolter, Mimetic Initialization of Self-Attention Layers, ICML 2023, section 3; the numbers as
    in osiriszjq/impulse_init, advanced_init_weights.
    """
    count = integer(heads, "heads")
    attention, values = _numbers(qk, "qk"), _numbers(vo, "vo")
    query, key = (spec("mimetic", part=part, heads=count, **attention) for part in ("query", "key"))
    value, out = (spec("mimetic", part=part, **values) for part in ("value", "out"))
    fused = spec("packed", initializer=[query, key, value], blocks=3, shared=True)
    rules = [
        named(r"(qkv|c_attn)\.(weight|kernel)|in_proj_weight", fused),
        *_outs(r"attn\.proj", out, ".qkv"),
        *_outs(r"attn\.c_proj", out, ".c_attn"),
        rule("*out_proj.weight", out, kind="NonDynamicallyQuantizableLinear", seed_of=".in_proj_weight"),
        rule(re.compile(r"(^|\.)attention\.output\.dense\.weight$"), out, seed_of="..self.value.weight"),
    ]
    for q, k, v in SEPARATE:
        rules += [
            named(rf"{q}\.(weight|kernel)", query),
            *_outs(k, key, f".{q}"),
            named(rf"{v}\.(weight|kernel)", value),
            *_outs("o_proj|out_proj" if v == "v_proj" else "out", out, f".{v}"),
        ]
    biases = rf"({PROJECTIONS}|attn\.(c_)?proj|attention\.output\.dense)\.bias|in_proj_bias"
    return Rules([*rules, named(biases, spec("zeros")), rule("*", None)])


def _outs(names: str, initializer: Spec, neighbour: str) -> list[Rule]:
    """The rules of the second matrix of a pair, in torch and in JAX."""
    return [
        rule(re.compile(rf"(^|\.)({names})\.{leaf}$"), initializer, seed_of=f"{neighbour}.{leaf}")
        for leaf in ("weight", "kernel")
    ]


def _numbers(pair: Any, name: str) -> dict[str, float]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise TypeError(f"`{name}` must be two numbers, alpha and beta; got {shown(pair)}")
    return {"alpha": positive(pair[0], f"{name}[0]"), "beta": finite(pair[1], f"{name}[1]")}
