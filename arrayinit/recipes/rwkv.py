"""RWKV-7."""

import re
from typing import Any

from arrayinit.common.arguments import integer, one_of
from arrayinit.common.messages import shown
from arrayinit.models.rules import Rule, Rules
from arrayinit.recipes.layers import gains_and_biases, named
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import Spec, spec

__all__ = ["rwkv7"]

MATRICES = ("orthogonal", "uniform")
# The powers of i / C in the mixing coefficients of time mixing, times 1 - l / L.
MIXES = {"x_r": 0.2, "x_w": 0.9, "x_k": 0.7, "x_v": 0.7, "x_a": 0.9, "x_g": 0.2}


def rwkv7(layers: int = 12, head_size: int = 64, matrices: str = "orthogonal", container: str = "blocks") -> Rules:
    """RWKV-7: mixing and decays that depend on layer and channel, orthogonal or uniform matrices. By paths.

    For channel i of C, layer l of L, q = 1 - l / L, and z = s |s|, where s goes from -1 to 1 within each head:

    ==============================  ==================================================================
    att.x_r, x_w, x_k, x_v, x_a     1 - (i / C)^(p q), p = 0.2, 0.9, 0.7, 0.7, 0.9; x_g: p = 0.2
    ffn.x_k                         1 - (i / C)^(q^4)
    att.w0                          -5.5 + 6 (i / (C - 1))^(1 + (l / (L - 1))^0.3) + 2.5 z
    att.a0                          from -0.39 to 0.01, + 0.3 z
    att.v0; k_k; k_a; r_k           from 0.93 to 0.53; from 0.76 to 0.66; 1.02; -0.04
    att.w1, a1, v1, g1              0
    att.w2, a2, v2, g2              orthogonal, gain 0.1
    emb; head                       U(-1e-4, 1e-4); orthogonal, gain 0.5 sqrt(vocabulary / C)
    att.ln_x                        ((1 + l) / L)^0.7
    att.output, ffn.value           0
    ==============================  ==================================================================

    ====================  ==================  =============================
    matrices              "orthogonal"        "uniform"
    ====================  ==================  =============================
    att.receptance        gain 1              U(-0.5, 0.5) / sqrt(C)
    att.key               gain 0.1            U(-0.05, 0.05) / sqrt(C)
    att.value             gain 1              U(-0.5, 0.5) / sqrt(C)
    ffn.key               gain 1              U(-0.5, 0.5) / sqrt(C)
    ====================  ==================  =============================

    "orthogonal" is what training starts from, the file that `generate_init_weight` writes; "uniform" has the four as
    the modules themselves draw them. Other norms are 1 and 0. The vocabulary must be larger than C, and C
    at least as large as the ranks of w2, a2, v2 and g2, as in all published models.

        >>> from arrayinit.recipes import rwkv7
        >>> rwkv7(layers=12).find("blocks.3.att.x_w", (1, 1, 768)).initializer
        spec('linspace', end=0.0, endpoint=False, layout='boi', power=0.675, start=1.0)

    Args:
        layers: L, >= 2. A model with more has parameters that no rule matches; one with fewer is warned of.
        head_size: channels of a head, >= 2.
        matrices: "orthogonal" or "uniform".
        container: the word before the number of a layer in paths.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: BlinkDL/RWKV-LM (August 2026), RWKV-v7/train_temp/src/model.py, RWKV_Tmix_x070, RWKV_CMix_x070 and
    `generate_init_weight`; Peng et al., RWKV-7 "Goose", 2025.
    """
    count, size = integer(layers, "layers"), integer(head_size, "head_size")
    if count < 2:
        raise ValueError(f"`layers` must be at least 2, because decays divide by layers - 1; got {layers!r}")
    if size < 2:
        raise ValueError(f"`head_size` must be at least 2; got {head_size!r}")
    is_orthogonal = one_of(matrices, "matrices", MATRICES) == "orthogonal"
    if not isinstance(container, str) or not container:
        raise TypeError(f"`container` must be the word before the numbers of layers in paths; got {shown(container)}")

    def large(gain: float, bound: float) -> Spec:
        # A variance of bound^2 / (3 fan_in) is U(-bound, bound) / sqrt(fan_in).
        uniform = spec("variance_scaling", scale=bound**2 / 3, distribution="uniform")
        return spec("orthogonal", gain=gain) if is_orthogonal else uniform

    return Rules(
        [
            *(each for layer in range(count) for each in _of_layer(layer, count, size, container)),
            *gains_and_biases(),
            named(r"att\.a0", _ramp(-0.39, 0.01, zigzag=0.3, period=size)),
            named(r"att\.v0", _ramp(0.93, 0.53)),
            named(r"att\.k_k", _ramp(0.76, 0.66)),
            named(r"att\.k_a", spec("constant", val=1.02)),
            named(r"att\.r_k", spec("constant", val=-0.04)),
            named(r"att\.[wavg]1|(att\.output|ffn\.value)\.weight", spec("zeros")),
            named(r"att\.[wavg]2", spec("orthogonal", gain=0.1)),
            named(r"att\.key\.weight", large(0.1, 0.05)),
            named(r"(att\.(receptance|value)|ffn\.key)\.weight", large(1.0, 0.5)),
            named(r"emb\.weight", spec("uniform", a=-1e-4, b=1e-4)),
            named(r"head\.weight", spec("spectral_orthogonal", gain=0.5)),
        ]
    )


def _of_layer(layer: int, layers: int, head_size: int, container: str) -> list[Rule]:
    left, depth = 1 - layer / layers, layer / (layers - 1)
    laws = {f"att.{name}": _mix(power * left) for name, power in MIXES.items()}
    laws["ffn.x_k"] = _mix(left**4)
    laws["att.w0"] = _ramp(-5.5, 0.5, power=1 + depth**0.3, zigzag=2.5, period=head_size)
    laws["att.ln_x.weight"] = spec("constant", val=((1 + layer) / layers) ** 0.7)
    at = rf"(^|\.){re.escape(container)}\.{layer}\."
    # Each layer has w0, so a model with fewer layers is told of.
    return [rule(re.compile(rf"{at}{re.escape(path)}$"), law, optional=path != "att.w0") for path, law in laws.items()]


def _mix(power: float) -> Spec:
    return _ramp(1.0, 0.0, power=power, endpoint=False)


def _ramp(start: float, end: float, **parameters: Any) -> Spec:
    return spec("linspace", start=start, end=end, layout="boi", **parameters)  # of shape (1, 1, C)
