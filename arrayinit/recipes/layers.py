"""Rules whose law depends on the number of a layer, which its path tells: one rule for each layer."""

import re
from collections.abc import Callable

from arrayinit.common.messages import shown
from arrayinit.models.norms import NORMS
from arrayinit.models.rules import Rule
from arrayinit.recipes.shorthand import norms, rule
from arrayinit.specs import Spec, spec

__all__ = ["buffers_of_experts", "gains_and_biases", "named", "of_each_layer"]


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


def gains_and_biases(zero_centered_norms: bool | None = None) -> list[Rule]:
    """Norms: gains as :func:`norms` has them, and biases 0."""
    named_as_norms = re.compile(r"(?i)(norm[^.]*|(^|\.)ln_?\w*)\.bias$")
    zeros = spec("zeros")
    return [*norms(zero_centered_norms), rule("*bias", zeros, kind=NORMS), rule(named_as_norms, zeros)]


def buffers_of_experts() -> list[Rule]:
    """Biases that correct the choice of experts, and counts of their tokens, are 0 at the start."""
    names = re.compile(r"(expert_bias|e_score_correction_bias|tokens_per_expert)(_E)?$")
    return [rule(names, spec("zeros")), rule(names, spec("zeros"), kind="buffer")]
