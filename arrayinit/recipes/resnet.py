"""Convolutional residual networks: torchvision's ResNet, and Fixup, which has no norms."""

import math

from arrayinit.common.arguments import flag, integer, one_of
from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import rule
from arrayinit.recipes.torch import torch_defaults
from arrayinit.specs import spec

__all__ = ["fixup", "resnet"]

LAST = {"bottleneck": 3, "basic": 2}  # the last convolution and norm of each block, counted from 1


def resnet(zero_init_residual: bool = False, block: str = "bottleneck") -> Rules:
    """ResNet: kaiming_normal with fan_out and relu for convolutions, norms 1 and 0, the last layer torch's default.

    By kinds, for torch modules. fan_out is torch's own: out_channels times the kernel, whatever the groups.

        >>> from arrayinit.recipes import resnet
        >>> resnet(zero_init_residual=True).find("layer1.0.bn3.weight", (256,), ["BatchNorm2d"]).initializer
        spec('zeros')

    Args:
        zero_init_residual: start each block as the identity: the weight of its last norm is 0.
        block: which norm is the last: bn3 of a "bottleneck", bn2 of a "basic" block.

    Raises:
        ValueError, TypeError: another block, a zero_init_residual that is not a boolean.

    Source: torchvision.models.resnet; He et al., 2015; with zero_init_residual, Goyal et al., 2017, section 5.1.
    """
    last = LAST[one_of(block, "block", tuple(LAST))]
    zero = [rule(f"*.bn{last}.weight", spec("zeros"), optional=False)]
    he = spec("kaiming_normal", mode="fan_out", nonlinearity="relu", groups=1)
    convolutions = [rule("*weight", he, kind="Conv2d", optional=False)]
    return Rules([*(zero if flag(zero_init_residual, "zero_init_residual") else []), *convolutions, *torch_defaults()])


def fixup(blocks: int = 8, block: str = "basic") -> Rules:
    """Fixup: residual networks without norms. kaiming_normal (fan_out), times L^(-1 / (2 m - 2)) within branches.

    By paths, for the names of the authors' code: the first m - 1 convolutions of each of the L branches are scaled, the
    last convolution and the classifier are 0, scalar multipliers (`scale`) 1 and scalar biases 0.

        >>> from arrayinit.recipes import fixup
        >>> fixup(blocks=8).find("layer1.0.conv1.weight", (64, 64, 3, 3)).initializer
        spec('variance_scaling', distribution='normal', groups=1, mode='fan_out', scale=0.25)

    Args:
        blocks: L, the number of residual branches: 8 for ResNet-18, 16 for ResNet-50.
        block: "basic" or "bottleneck", with m = 2 or 3 convolutions.

    Raises:
        ValueError, TypeError: blocks below 1 or not an integer, another block.

    Source: Zhang, Dauphin and Ma, Fixup initialization, 2019, section 3; hongyi-zhang/Fixup.
    """
    depth, last = integer(blocks, "blocks"), LAST[one_of(block, "block", tuple(LAST))]
    branch = math.sqrt(depth) if last == 3 else float(depth)  # L^(2 / (2 m - 2)), of the variance
    he = {"mode": "fan_out", "distribution": "normal", "groups": 1}
    return Rules(
        [
            rule(f"*layer*.conv{last}.weight", spec("zeros"), optional=False),
            rule("*layer*.conv?.weight", spec("variance_scaling", scale=2 / branch, **he), optional=False),
            rule("*fc.*", spec("zeros"), optional=False),
            rule("*scale", spec("ones"), optional=False),
            rule("*bias*", spec("zeros"), optional=False),
            rule("*.weight", spec("variance_scaling", scale=2.0, **he), optional=False, min_ndim=2),
        ]
    )
