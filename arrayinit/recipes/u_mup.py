"""u-muP: muP with unit-scaled weights, whose learning rates fit any width and depth."""

import math
from collections.abc import Sequence
from dataclasses import replace

from arrayinit.common.arguments import integer
from arrayinit.models.rules import Rules
from arrayinit.recipes.completep import BLOCKS
from arrayinit.recipes.mup import EMBEDDINGS, HEADS, globs
from arrayinit.recipes.shorthand import biases, gains_of_kinds, rule
from arrayinit.specs import spec

__all__ = ["u_mup"]

DOWN = ("*linear_2.weight", "*down_proj.weight", "*mlp.c_proj.weight", "*fc2.weight", "*linear2.weight", "*w2.weight")


def u_mup(
    width: int = 1024,
    ffn_width: int = 4096,
    layers: int = 12,
    inputs: str | Sequence[str] = EMBEDDINGS,
    outputs: str | Sequence[str] = HEADS,
    blocks: str | Sequence[str] = BLOCKS,
    down: str | Sequence[str] = DOWN,
) -> Rules:
    """u-muP: all weights N(0, 1), and the learning rates of Adam that go with them.

    =================================  ============================
    parameters                         lr
    =================================  ============================
    embeddings                         1 / sqrt(width)
    matrices of blocks                 1 / sqrt(width * layers)
    those of blocks in `down`          1 / sqrt(ffn_width * layers)
    biases (0) and norms (1) of these  1 / sqrt(layers)
    heads, other biases and norms      1
    =================================  ============================

    The factors are each rule's `lr_scale`, and `plan.lr_scales` of a plan: nothing here sets them. A matrix of a block
    whose fan_in is neither `width` nor, in `down`, `ffn_width` needs a rule of its own, with the root of its fan_in.
    The model must be unit-scaled: its operations divide by the roots of their fans, as those of the package
    unit_scaling do. Plain layers with these weights overflow.

        >>> from arrayinit.recipes import u_mup
        >>> rule = u_mup(width=256, layers=16).find("layers.0.q_proj.weight", (256, 256))
        >>> rule.initializer, rule.lr_scale
        (spec('normal'), 0.015625)

    Args:
        width: the size of the hidden layers, which is the fan_in of matrices of blocks.
        ffn_width: that of the feed-forward layers, the fan_in of the matrices in `down`.
        layers: the number of blocks, each with its two residual branches.
        inputs, outputs: globs of the paths of embeddings and heads.
        blocks: globs of the paths of everything in the blocks; a matrix that is in none of the three has no rule.
        down: globs of the paths of the last matrices of the feed-forward layers.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Blake et al., u-muP: the unit-scaled maximal update parametrization, 2024, table 2; unit_scaling (0.3.5),
    optim.py, lr_scale_func_adam, whose depth is the number of blocks.
    """
    deep = 1 / math.sqrt(integer(layers, "layers"))
    wide, wider = (1 / math.sqrt(integer(value, name)) for value, name in ((width, "width"), (ffn_width, "ffn_width")))
    zeros, ones, unit = spec("zeros"), spec("ones"), spec("normal")
    last = globs(down, "down")
    rules = []
    for block in globs(blocks, "blocks"):
        rules += [
            rule(f"{block}bias", zeros, lr_scale=deep, max_ndim=1),
            *(replace(each, lr_scale=deep) for each in gains_of_kinds(block)),
            rule(f"{block}weight", ones, lr_scale=deep, max_ndim=1),
            *(rule(block + glob, unit, lr_scale=deep * wider) for glob in last),
            rule(f"{block}weight", unit, lr_scale=deep * wide),
        ]
    rules += [*biases(), *gains_of_kinds(), rule("*weight", ones, max_ndim=1)]
    rules += [rule(glob, unit, lr_scale=wide, min_ndim=2) for glob in globs(inputs, "inputs")]
    rules += [rule(glob, unit, min_ndim=2) for glob in globs(outputs, "outputs")]
    return Rules(rules)
