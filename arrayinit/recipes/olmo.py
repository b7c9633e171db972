"""The initializations of OLMo-core."""

import math
import re
from collections.abc import Callable

from arrayinit.common.arguments import integer, nonnegative, one_of, positive
from arrayinit.common.messages import shown
from arrayinit.models.norms import NORMS
from arrayinit.models.rules import Rule, Rules
from arrayinit.recipes.layers import named, of_each_layer
from arrayinit.recipes.shorthand import gains_of_kinds, rule
from arrayinit.specs import Spec, spec

__all__ = ["olmo"]

METHODS = ("normal", "llama", "llama_depth", "fan_in", "normalized")
EXPERTS = r"feed_forward_moe\.(router\.weight|experts\.mlp\.w[123])"
CONVOLUTIONS = r"[qkv]_conv1d\.weight"


def olmo(
    method: str = "normal",
    layers: int = 32,
    std: float = 0.02,
    embedding_std: float | None = None,
    embed_scale: float | None = None,
    container: str = "blocks",
    width: int | None = None,
    expert_hidden: int | None = None,
) -> Rules:
    """OLMo-core's `InitMethod`s: truncated normals, cut at 3 standard deviations of their own.

    With d the width of the model and L its layers, all matrices have the std of the first line unless another names
    them. w_out is the last weight of attention, "head" that of the model.

    =============  ===========  ==========================  =====================  =====================
    method         matrices     w_out                       w3; w2                 embeddings; head
    =============  ===========  ==========================  =====================  =====================
    "normal"       std          std                         std; std               embedding_std; std
    "llama"        std          std / sqrt(2 L)             std / sqrt(2 L), both  N(0, 1); d^-1/2
    "llama_depth"  std          std / sqrt(2 (l + 1))       the same, both         N(0, 1); d^-1/2
    "fan_in"       fan_in^-1/2  fan_in^-1/2                 fan_in^-1/2, both      N(0, 1); d^-1/2
    "normalized"   d^-1/2       d^-1/2 / sqrt(2 L)          d^-1/2; / sqrt(2 L)    N(0, 1 / d); d^-1/2
    =============  ===========  ==========================  =====================  =====================

    Normals in the column of embeddings are not cut. Routers and experts' w1, w2 and w3 have all the std of "w3; w2",
    std for "normalized"; for "fan_in" d^-1/2, and w2 its hidden size^-1/2. Their flat shapes tell neither size, so that
    "fan_in" has rules for them only with `width` and `expert_hidden`. Gated DeltaNet mixers,
    for the first three methods: as other matrices, convolutions too, log U(0, 16) for A_log, Mamba's dt_bias. Norms are
    1, biases 0. "normalized" is nGPT's before its matrices are divided by their lengths. By paths.

        >>> from arrayinit.recipes import olmo
        >>> olmo("llama_depth").find("blocks.7.feed_forward.w2.weight", (4096, 11008)).initializer
        spec('truncated_normal', lower=-3.0, std=0.005, upper=3.0)

    Args:
        method: "normal", "llama", "llama_depth", "fan_in" or "normalized".
        layers: the number of layers, >= 1. A model with more has parameters that no rule matches.
        std: `init_std`, >= 0; unused by "fan_in".
        embedding_std: `embedding_init_std` of "normal"; None for std.
        embed_scale: of "fan_in", whose embeddings are N(0, 1 / embed_scale^2); None for 1.
        container: the word before the number of a layer in paths.
        width, expert_hidden: d, and the hidden size of an expert, of "fan_in" with experts; both or neither.

    Raises:
        ValueError, TypeError: an argument out of range, of another kind, or one that the method does not use.

    Source: allenai/OLMo-core (June 2026), olmo_core/nn/transformer/init.py; `init_weights` in
    olmo_core/nn/attention/__init__.py and recurrent.py.
    """
    scale, depth = nonnegative(std, "std"), integer(layers, "layers")
    one_of(method, "method", METHODS)
    if embedding_std is not None and method != "normal":
        raise ValueError(f"`embedding_std` is of the method 'normal' alone; got {shown(embedding_std)} with {method!r}")
    if embed_scale is not None and method != "fan_in":
        raise ValueError(f"`embed_scale` is of the method 'fan_in' alone; got {shown(embed_scale)} with {method!r}")
    for name, size in (("width", width), ("expert_hidden", expert_hidden)):
        if size is not None and method != "fan_in":
            raise ValueError(f"`{name}` is of the method 'fan_in' alone; got {shown(size)} with {method!r}")
    if (width is None) != (expert_hidden is None):
        raise ValueError(
            f"`width` and `expert_hidden` must be given together; got width={shown(width)} and "
            f"expert_hidden={shown(expert_hidden)}"
        )
    weights = r"attention\.(w_q|w_k|w_v|w_g|w_a|w_b|w_qkv)\.weight|feed_forward\.w1\.weight"
    last = r"attention\.w_out\.weight|feed_forward\.w[23]\.weight"
    matrix, head, embedding = spec("scaled_truncated_normal"), spec("scaled_truncated_normal"), spec("normal")
    rules: list[Rule]
    if method == "fan_in":
        rules = [named(f"{weights}|{last}", matrix)]
        if width is not None and expert_hidden is not None:
            small = _cut(1 / math.sqrt(integer(expert_hidden, "expert_hidden")))
            rules += [
                named(r"feed_forward_moe\.experts\.mlp\.w2", small),
                named(EXPERTS, _cut(1 / math.sqrt(integer(width, "width")))),
            ]
        embedding = spec("normal", std=1 / (1.0 if embed_scale is None else positive(embed_scale, "embed_scale")))
    elif method == "normalized":
        # Both of these weights write to the residual stream, so that d is their fan_out.
        small = spec("scaled_truncated_normal", gain=1 / math.sqrt(2 * depth), mode="fan_out")
        rules = [
            named(r"attention\.w_out\.weight|feed_forward\.w2\.weight", small),
            named(rf"{weights}|feed_forward\.w3\.weight", matrix),
            named(EXPERTS, _cut(scale)),
        ]
        embedding = spec("variance_scaling", distribution="normal")
    else:
        rules = [named(weights, _cut(scale)), *_recurrent(_cut(scale))]
        if method == "normal":
            rules += [named(f"{last}|{EXPERTS}", _cut(scale))]
            head = _cut(scale)
            embedding = _cut(scale if embedding_std is None else nonnegative(embedding_std, "embedding_std"))
        else:
            of_layer: Callable[[int], Spec] = lambda k: _cut(  # noqa: E731
                scale / math.sqrt(2 * (depth if method == "llama" else k + 1))
            )
            rules += of_each_layer(depth, container, f"{last}|{EXPERTS}", of_layer)
    return Rules(
        [
            *_norms(),
            *rules,
            named(r"embeddings\.weight", embedding),
            named(r"lm_head\.w_out\.weight", head),
            named(r"(w_[a-z]+|w[123])\.bias", spec("zeros")),
        ]
    )


def _norms() -> list[Rule]:
    """Norms by class and by name: routers and experts have weights of one axis, too, so that axes tell nothing here."""
    zeros = spec("zeros")
    return [
        *gains_of_kinds(),
        rule(re.compile(r"norm[^.]*\.weight$"), spec("ones")),
        rule("*bias", zeros, kind=NORMS),
        rule(re.compile(r"norm[^.]*\.bias$"), zeros),
    ]


def _cut(std: float) -> Spec:
    return spec("truncated_normal", std=std, lower=-3.0, upper=3.0)


def _recurrent(convolution: Spec) -> list[Rule]:
    """What only Gated DeltaNet mixers have."""
    return [
        named(CONVOLUTIONS, convolution),
        named("A_log", spec("mamba2_a_log", a_min=0.0)),
        named("dt_bias", spec("mamba_dt_bias")),
    ]
