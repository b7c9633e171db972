"""muP, the maximal update parametrization: hyperparameters tuned on a narrow model fit a wide one."""

import math
from collections.abc import Sequence

from arrayinit.common.arguments import flag, integer, nonnegative, one_of
from arrayinit.common.messages import shown
from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import EXPERTS, biases, norms, rule
from arrayinit.specs import spec

__all__ = ["EMBEDDINGS", "HEADS", "globs", "mup"]

OPTIMIZERS = ("adam", "sgd")
READOUTS = ("multiplier", "variance")
EMBEDDINGS = ("*embed*", "*wte*", "*wpe*")
HEADS = ("head.*", "*.head.*", "*lm_head.*", "*readout.*", "*output_projection.*")


def mup(
    width: int = 1024,
    base_width: int = 256,
    std: float = 0.02,
    optimizer: str = "adam",
    readout: str = "multiplier",
    zero_readout: bool = False,
    inputs: str | Sequence[str] = EMBEDDINGS,
    outputs: str | Sequence[str] = HEADS,
    zero_centered_norms: bool | None = None,
) -> Rules:
    """muP: standard deviations and learning rates for a model of `width`, tuned on one of `base_width`.

    With m = width / base_width and everything N(0, std^2) at base_width:

    ============================  =============  ==========  ============
    weights                       std            lr, Adam    lr, SGD
    ============================  =============  ==========  ============
    input weights                 std            1           m
    biases and norms              0; 1           1           m
    hidden weights                std / sqrt(m)  1 / m       1
    output weights, "multiplier"  std            1           m
    output weights, "variance"    std / m        1 / m       1 / m
    output biases                 0              1           1
    ============================  =============  ==========  ============

    The factors of the learning rate are each rule's `lr_scale`, and `plan.lr_scales` of a plan: nothing here sets them.
    "multiplier" is table 8 of the paper and the package mup, where the model multiplies its output by 1 / m, which
    makes room for weights tied to an embedding; "variance" is table 3, which needs no change of the model. In either,
    attention scores must be divided by the size of a head, not by its root. All widths grow by m: feed-forward ones
    and heads too, while depth, vocabulary and the size of the input stay.

        >>> from arrayinit.recipes import mup
        >>> mup(width=1024, base_width=256).find("layers.0.fc.weight", (1024, 1024)).lr_scale
        0.25

    Args:
        width, base_width: the size of the hidden layers, here and where the learning rate was tuned.
        std: of all weights at base_width, >= 0.
        optimizer: "adam" or "sgd", or similar ones.
        readout: "multiplier" or "variance".
        zero_readout: output weights 0, as the paper recommends.
        inputs, outputs: globs of the paths of the first and last layers, weight and bias; all other weights are hidden.
        zero_centered_norms: True if norms multiply by 1 + weight, so that their weights start with 0; False if none
            does, so that they start with 1; None to go by the class of each norm, and by False in trees of arrays.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Yang et al., Tensor Programs V, 2022, tables 3 and 8; microsoft/mup, mup/optim.py.
    """
    m = integer(width, "width") / integer(base_width, "base_width")
    scale = nonnegative(std, "std")
    sgd = one_of(optimizer, "optimizer", OPTIMIZERS) == "sgd"
    vector = m if sgd else 1.0
    hidden, hidden_lr = spec("normal", std=scale / math.sqrt(m)), 1.0 if sgd else 1 / m
    if one_of(readout, "readout", READOUTS) == "multiplier":
        output, output_lr = spec("normal", std=scale), vector
    else:
        output, output_lr = spec("normal", std=scale / m), 1 / m
    if flag(zero_readout, "zero_readout"):
        output = spec("zeros")
    last = globs(outputs, "outputs")
    return Rules(
        [
            *(rule(f"{glob}bias", spec("zeros"), max_ndim=1) for glob in last),
            *biases(vector),
            *norms(zero_centered_norms, vector),
            *(rule(glob, spec("normal", std=scale), lr_scale=vector, min_ndim=2) for glob in globs(inputs, "inputs")),
            *(rule(glob, output, lr_scale=output_lr, min_ndim=2) for glob in last),
            rule("*weight", hidden, lr_scale=hidden_lr, optional=False, min_ndim=2),
            rule(EXPERTS, hidden, lr_scale=hidden_lr, min_ndim=2),
        ]
    )


def globs(value: str | Sequence[str], name: str) -> tuple[str, ...]:
    """One glob or several, as a tuple. TypeError for anything else."""
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, tuple | list) or not several or not all(isinstance(x, str) and x for x in several):
        raise TypeError(f"`{name}` must be a glob or a sequence of them; got {shown(value)}")
    return tuple(several)
