"""Shorthand for recipes: rules that are optional by default, and the pattern of the names of norms."""

import re

from arrayinit.models.rules import Pattern, Rule
from arrayinit.specs import Spec

__all__ = ["NORM_WEIGHT", "rule"]

# ln_1.weight, LayerNorm.weight, input_layernorm.weight, model.norm.weight: only the last module of the path counts.
NORM_WEIGHT = re.compile(r"(?i)(norm[^.]*|(^|\.)ln_?\w*)\.weight$")


def rule(
    pattern: Pattern,
    initializer: Spec | None,
    kind: str | None = None,
    like: str | None = None,
    lr_scale: float = 1.0,
    optional: bool = True,
) -> Rule:
    """A rule that may match nothing in a model, unless `optional` is False."""
    return Rule(pattern, initializer, like=like, kind=kind, lr_scale=lr_scale, optional=optional)
