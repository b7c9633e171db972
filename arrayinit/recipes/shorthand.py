"""Shorthand for recipes: rules that are optional by default, those of norms, biases, routers and sinks."""

import re
from collections.abc import Sequence

from arrayinit.common.messages import shown
from arrayinit.models.norms import GAINS, NORMS, RESIDUAL_NORMS, ZERO_CENTERED_NORMS
from arrayinit.models.rules import BUFFER, Pattern, Rule
from arrayinit.specs import Spec, spec

__all__ = ["EXPERTS", "NO_BUFFER", "biases", "gains_of_kinds", "norms", "routers_and_sinks", "rule"]

# Tensors of all experts together, (E, out, in) or (E, in, out), that end in no `.weight`: mlp.experts.gate_up_proj,
# shared_experts.down_proj, ffn.experts.mlp.w1. Their biases have two axes, too, and need a rule before.
EXPERTS = re.compile(r"(^|\.)(shared_)?experts\.(\w+\.)?\w+$")

NO_BUFFER = (f"!{BUFFER}",)  # the weights of FrozenBatchNorm2d are buffers, and no recipe's business

# Not those that start otherwise: logit_bias of SigLIP (-10 in its paper), the gates of xLSTM, and the steps of Mamba.
_BIAS = re.compile(r"(?<!logit_)(?<!gate_preact\.)(?<!mixer\.dt_proj\.)bias$")
_EXPERT_BIAS = re.compile(r"(^|\.)(shared_)?experts\.(\w+\.)?\w*bias$")

_GAIN = re.compile(rf"(^|[._])({'|'.join(GAINS)})$")
_WEIGHT = re.compile(r"(^|\.|_norm_)weight$")  # linear_qkv.layer_norm_weight, too, which stands beside a matrix
_NAMED = re.compile(r"(?i)(^|\.)\w*norm\d*\.weight$")  # q_norm.weight, with an axis for heads
_PRELU = re.compile(r"(?i)(^|\.)\w*prelu\w*\.weight$")


def rule(
    pattern: Pattern,
    initializer: Spec | None,
    kind: str | Sequence[str] | None = None,
    like: str | None = None,
    lr_scale: float = 1.0,
    optional: bool = True,
    min_ndim: int | None = None,
    max_ndim: int | None = None,
    seed_of: str | None = None,
) -> Rule:
    """A rule that may match nothing in a model, unless `optional` is False, and that keeps frozen parameters.

    Recipes speak of weights that are trained. What a constructor freezes is a table, such as the sines of Whisper.
    """
    return Rule(
        pattern,
        initializer,
        like=like,
        kind=kind,
        lr_scale=lr_scale,
        optional=optional,
        min_ndim=min_ndim,
        max_ndim=max_ndim,
        keeps_frozen=True,
        seed_of=seed_of,
    )


def biases(lr_scale: float = 1.0) -> list[Rule]:
    """The rules of biases, which are 0: those with one axis, those of norms, and of all experts together, (E, out).

    What has more axes and a name that ends in bias is a table: relative_attention_bias of CPM-Ant, or the causal mask
    in files of GPT-2.
    """
    zeros = spec("zeros")
    return [
        rule(_BIAS, zeros, lr_scale=lr_scale, max_ndim=1),
        rule("*bias", zeros, kind=(*NORMS, *NO_BUFFER), lr_scale=lr_scale),
        rule(_EXPERT_BIAS, zeros, lr_scale=lr_scale, max_ndim=2),
    ]


def routers_and_sinks(normal: Spec) -> list[Rule]:
    """The rules of what starts otherwise than matrices and biases in mixtures of experts of transformers (5.23).

    The routers' biases of GPT-OSS and OpenAI's privacy filter, and the sinks of attention, which are 0 in four models;
    the router of AFMoE is 0.
    """
    return [
        rule(re.compile(r"(^|\.)router\.bias$"), normal),
        rule(re.compile(r"(^|\.)mlp\.router\.gate\.weight$"), spec("zeros")),
        rule("*sinks", spec("zeros"), kind=("DeepseekV4*", "GraniteSWA*", "GraniteMoeSWA*", "HYV4*")),
        rule("*sinks", normal),
    ]


def gains_of_kinds(below: str = "*") -> list[Rule]:
    """The rules of gains by class alone, for layers below a glob: slopes of PReLU, and norms as each class has them."""
    return [
        rule(f"{below}weight", spec("constant", val=0.25), kind="PReLU"),
        rule(f"{below}weight", spec("zeros"), kind=(*RESIDUAL_NORMS, *ZERO_CENTERED_NORMS, *NO_BUFFER)),
        rule(f"{below}weight", spec("ones"), kind=(*NORMS, *NO_BUFFER)),
    ]


def norms(zero_centered_norms: bool | None = None, lr_scale: float = 1.0) -> list[Rule]:
    """The rules of gains of norms, and of slopes of PReLU: by the class of the layer, else by their single axis.

    Names decide only where neither does: of a gain with several axes, in a tree of arrays. These rules come before
    those of matrices, which have min_ndim=2, so that neither takes what is the other's.

    Args:
        zero_centered_norms: True for norms that multiply by 1 + weight, whose weight is 0; False for all others, whose
            weight is 1; None for what the class of each is known to be, and 1 where there is none.

    Raises:
        TypeError: `zero_centered_norms` is none of these.
    """
    if zero_centered_norms is not None and not isinstance(zero_centered_norms, bool):
        raise TypeError(f"`zero_centered_norms` must be True, False or None; got {shown(zero_centered_norms)}")
    zeros, ones, slope = spec("zeros"), spec("ones"), spec("constant", val=0.25)
    rules = [
        rule("*weight", slope, kind="PReLU", lr_scale=lr_scale),
        rule(_PRELU, slope, lr_scale=lr_scale, max_ndim=1),
        rule("*weight", zeros, kind=(*RESIDUAL_NORMS, *NO_BUFFER), lr_scale=lr_scale),
    ]
    if zero_centered_norms is None:
        rules.append(rule(_GAIN, zeros, kind=(*ZERO_CENTERED_NORMS, *NO_BUFFER), lr_scale=lr_scale))
    elif zero_centered_norms:  # but for gated norms, which multiply by their weight in the same models
        rules.append(rule(_GAIN, ones, kind=("*NormGated", *NO_BUFFER), lr_scale=lr_scale))
        rules.append(rule(re.compile(r"(^|\.)linear_attn\.norm\.weight$"), ones, lr_scale=lr_scale, max_ndim=1))
    gain = zeros if zero_centered_norms else ones
    return [
        *rules,
        rule(_GAIN, gain, kind=(*NORMS, *NO_BUFFER), lr_scale=lr_scale),
        rule(_WEIGHT, gain, lr_scale=lr_scale, max_ndim=1),
        rule(_NAMED, gain, lr_scale=lr_scale),
    ]
