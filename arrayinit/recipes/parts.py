"""What the recipes share: rules that may match nothing, and the names that norms go by."""

import re

from arrayinit.models.rules import Pattern, Rule
from arrayinit.specs import Spec

__all__ = ["NORM_WEIGHT", "rule"]

# ln_1.weight, LayerNorm.weight, input_layernorm.weight, model.norm.weight: a last layer named so, not any on the way.
NORM_WEIGHT = re.compile(r"(?i)(norm[^.]*|(^|\.)ln_?\w*)\.weight$")


def rule(
    pattern: Pattern,
    initializer: Spec | None,
    kind: str | None = None,
    like: str | None = None,
    lr_scale: float = 1.0,
    optional: bool = True,
) -> Rule:
    """A rule that a model may have nothing for, unless it is said."""
    return Rule(pattern, initializer, like=like, kind=kind, lr_scale=lr_scale, optional=optional)
