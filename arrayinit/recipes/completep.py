"""CompleteP and depth-muP: hyperparameters tuned on a narrow and shallow transformer fit a wide and deep one."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from arrayinit.common.arguments import finite, integer, nonnegative
from arrayinit.common.messages import shown
from arrayinit.models.rules import Pattern, Rule, Rules
from arrayinit.recipes.mup import EMBEDDINGS, HEADS, globs
from arrayinit.recipes.shorthand import biases, gains_of_kinds
from arrayinit.specs import Spec, spec

__all__ = ["BLOCKS", "completep", "depth_mup"]

BLOCKS = ("h.[0-9]*", "*.h.[0-9]*", "layers.[0-9]*", "*.layers.[0-9]*", "blocks.[0-9]*", "*.blocks.[0-9]*")


def completep(
    width: int = 1024,
    base_width: int = 256,
    layers: int = 12,
    base_layers: int = 2,
    std: float = 0.02,
    alpha: float = 1.0,
    inputs: str | Sequence[str] = EMBEDDINGS,
    outputs: str | Sequence[str] = HEADS,
    blocks: str | Sequence[str] = BLOCKS,
) -> Rules:
    """CompleteP: standard deviations, learning rates and epsilons for a transformer of `width` and `layers`.

    With m = width / base_width, d = layers / base_layers, and everything N(0, std^2) at the base, for Adam:

    =======================  =============  ====================  =================
    parameters               std            lr                    eps
    =======================  =============  ====================  =================
    embeddings, head         std            1                     d^-alpha / m
    matrices of blocks       std / sqrt(m)  d^(alpha - 1) / m     d^-alpha / m
    their biases and norms   0; 1           d^(alpha - 1)         d^-alpha / m
    other biases and norms   0; 1           1                     d^-alpha / m
    =======================  =============  ====================  =================

    The factors are each rule's `lr_scale` and `eps_scale`, and `plan.lr_scales` and `plan.eps_scales` of a plan:
    nothing here sets them. alpha=1 is CompleteP, alpha=0.5 is :func:`depth_mup`. The model itself must add its branches
    as x + d^-alpha f(x), multiply its logits by 1 / m and divide attention scores by the size of a head, not by its
    root. The weight decay of matrices of blocks, where it is multiplied by the learning rate, grows by m. The paper has
    the factor of epsilon for blocks; the authors' code, followed here, has it for all parameters.

        >>> from arrayinit.recipes import completep
        >>> rule = completep(width=1024, layers=8).find("h.0.mlp.c_fc.weight", (4096, 1024))
        >>> rule.initializer, rule.lr_scale, rule.eps_scale
        (spec('normal', std=0.01), 0.25, 0.0625)

    Args:
        width, base_width: the size of the hidden layers, here and where the hyperparameters were tuned.
        layers, base_layers: the number of blocks, here and there.
        std: of all weights at the base, >= 0.
        alpha: from 0.5 to 1.
        inputs, outputs: globs of the paths of embeddings and heads.
        blocks: globs of the paths of everything in the blocks; a matrix that is in none of the three has no rule.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Dey et al., Don't be lazy: CompleteP enables compute-efficient deep transformers, 2025, table 1;
    EleutherAI/nanoGPT-mup, branch completep, model.py.
    """
    m = integer(width, "width") / integer(base_width, "base_width")
    d = integer(layers, "layers") / integer(base_layers, "base_layers")
    scale, exponent = nonnegative(std, "std"), finite(alpha, "alpha")
    if not 0.5 <= exponent <= 1:
        raise ValueError(f"`alpha` must be from 0.5 to 1; got {shown(alpha)}")
    eps = d**-exponent / m
    deep = d ** (exponent - 1)
    within, first, last = (
        globs(value, name) for value, name in ((blocks, "blocks"), (inputs, "inputs"), (outputs, "outputs"))
    )

    def rule(pattern: Pattern, initializer: Spec, lr: float = 1.0, **fields: Any) -> Rule:
        return Rule(pattern, initializer, lr_scale=lr, eps_scale=eps, optional=True, keeps_frozen=True, **fields)

    zeros, ones, plain = spec("zeros"), spec("ones"), spec("normal", std=scale)
    hidden = spec("normal", std=scale / math.sqrt(m))
    rules = []
    for glob in within:
        rules += [
            rule(f"{glob}bias", zeros, deep, max_ndim=1),
            *(replace(each, lr_scale=deep, eps_scale=eps) for each in gains_of_kinds(glob)),
            rule(f"{glob}weight", ones, deep, max_ndim=1),
            rule(f"{glob}weight", hidden, deep / m, min_ndim=2),
        ]
    rules += [
        *(replace(each, eps_scale=eps) for each in biases()),
        *(replace(each, eps_scale=eps) for each in gains_of_kinds()),
    ]
    rules += [rule("*weight", ones, max_ndim=1)]
    rules += [rule(glob, plain, min_ndim=2) for glob in (*first, *last)]
    return Rules(rules)


def depth_mup(
    width: int = 1024,
    base_width: int = 256,
    layers: int = 12,
    base_layers: int = 2,
    std: float = 0.02,
    inputs: str | Sequence[str] = EMBEDDINGS,
    outputs: str | Sequence[str] = HEADS,
    blocks: str | Sequence[str] = BLOCKS,
) -> Rules:
    """depth-muP: :func:`completep` with alpha = 1/2, whose learning rates in blocks fall as 1 / sqrt(layers).

    The model itself must add its branches as x + f(x) / sqrt(layers / base_layers).

        >>> from arrayinit.recipes import depth_mup
        >>> depth_mup(width=256, layers=8).find("h.0.mlp.c_fc.weight", (1024, 256)).lr_scale
        0.5

    Args:
        width, base_width, layers, base_layers, std, inputs, outputs, blocks: as :func:`completep`.

    Raises:
        ValueError, TypeError: as :func:`completep`.

    Source: Yang et al., Tensor Programs VI: feature learning in infinite-depth neural networks, 2023, table 1; Dey et
    al., 2025, table 1, which has its numbers for transformers.
    """
    return completep(width, base_width, layers, base_layers, std, 0.5, inputs, outputs, blocks)
