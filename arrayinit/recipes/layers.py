"""Rules whose law depends on the number of a layer, which its path tells: one rule for each layer."""

import re
from collections.abc import Callable

from arrayinit.common.messages import shown
from arrayinit.models.rules import Rule
from arrayinit.recipes.shorthand import NORM_WEIGHT, rule
from arrayinit.specs import Spec, spec

__all__ = ["buffers_of_experts", "named", "norms", "of_each_layer"]


def of_each_layer(
    layers: int, container: str, names: str, spec_of: Callable[[int], Spec], optional: bool = False
) -> list[Rule]:
    """A rule for each layer l < `layers`: what ends in `names` below `container`.l is drawn by spec_of(l).

    A model with fewer layers is told of, unless these rules are optional. One with more has parameters that no rule
    matches, as long as the recipe has no rule that matches every weight.
    """
    if not isinstance(container, str) or not container:
        raise TypeError(f"`container` must be the word before the numbers of layers in paths; got {shown(container)}")
    return [
        rule(re.compile(rf"(^|\.){re.escape(container)}\.{k}\.(.*\.)?({names})$"), spec_of(k), optional=optional)
        for k in range(layers)
    ]


def named(names: str, initializer: Spec) -> Rule:
    """A rule for what ends in `names`, an expression for the last words of a path."""
    return rule(re.compile(rf"(^|\.)({names})$"), initializer)


def norms(gain: str = "ones") -> list[Rule]:
    """Norms by their class, then by their name where there are no classes: gains, and biases 0."""
    return [
        rule("*weight", spec(gain), kind="*Norm*"),
        rule("*bias", spec("zeros"), kind="*Norm*"),
        rule(NORM_WEIGHT, spec(gain)),
        rule(re.compile(NORM_WEIGHT.pattern.replace("weight", "bias")), spec("zeros")),
    ]


def buffers_of_experts() -> list[Rule]:
    """Biases that correct the choice of experts, and counts of their tokens, are 0 at the start."""
    names = re.compile(r"(expert_bias|e_score_correction_bias|tokens_per_expert)(_E)?$")
    return [rule(names, spec("zeros")), rule(names, spec("zeros"), kind="buffer")]
