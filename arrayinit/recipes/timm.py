"""Models of vision as timm starts them: ViT and DeiT, BEiT and EVA, CaiT, ConvNeXt."""

import math
import re

from arrayinit.common.arguments import finite, integer, nonnegative, one_of
from arrayinit.models.norms import NORMS
from arrayinit.models.rules import Rule, Rules
from arrayinit.recipes.layers import of_each_layer
from arrayinit.recipes.shorthand import gains_of_kinds, rule
from arrayinit.recipes.torch import torch_defaults
from arrayinit.specs import Spec, spec

__all__ = ["beit", "cait", "convnext", "timm_vit"]

WEIGHT_INITS = ("", "jax", "jax_nlhb", "moco")
ZEROS, ONES = spec("zeros"), spec("ones")
HEAD = re.compile(r"(^|\.)(head|head_dist|classifier)\.(.*\.)?weight$")
HEAD_BIAS = re.compile(r"(^|\.)(head|head_dist)\.(.*\.)?bias$")
# The variance of a normal law cut at two sigma, by which `variance_scaling` divides.
CUT_VARIANCE = 0.87962566103423978**2


def timm_vit(weight_init: str = "", layer_scale: float | None = None, num_classes: int = 1000) -> Rules:
    """ViT, DeiT and DeiT III as timm starts them, in the four ways of its `weight_init`. By kinds, for torch modules.

    =============  ===================================  ===================  ====================  =====================
    weight_init    linear layers                        their biases         head, head_dist       patches
    =============  ===================================  ===================  ====================  =====================
    ""             N(0, 0.02^2)                         0                    as all others         torch's default
    "jax"          xavier_uniform, qkv as one matrix    N(0, 1e-12) in MLPs  0; bias 0             lecun_normal; bias 0
    "jax_nlhb"     as "jax"                             as "jax"             0; -log(num_classes)  as "jax"
    "moco"         xavier_uniform, of q, k and v each   0                    as all others         torch's default
    =============  ===================================  ===================  ====================  =====================

    In all of them positions and DeiT's distillation token are N(0, 0.02^2), cls and register tokens N(0, 1e-12), the
    latent of a map head is N(0, 1 / dim) cut at two sigma, norms are 1 and 0. Each N(0, 0.02^2) is cut at the absolute
    -2 and 2, which is 100 std. `weight_init="moco"` lacks MoCo's fixed patch embedding, as timm's does.

        >>> from arrayinit.recipes import timm_vit
        >>> timm_vit("jax").find("blocks.0.mlp.fc1.bias", (3072,), ["Linear"]).initializer
        spec('normal', std=1e-06)
        >>> timm_vit(layer_scale=1e-5).find("blocks.0.ls1.gamma", (768,), ["LayerScale"]).initializer
        spec('constant', val=1e-05)

    Args:
        weight_init: "", "jax", "jax_nlhb" or "moco".
        layer_scale: timm's `init_values`, the gammas of LayerScale, of models that have it: 1e-6 for DeiT III. None
            leaves them without a rule.
        num_classes: for "jax_nlhb".

    Raises:
        ValueError, TypeError: another weight_init, a layer_scale that is not finite, num_classes below 1.

    Source: timm.models.vision_transformer (1.0.31), VisionTransformer.init_weights and init_weights_vit_timm, _jax and
    _moco; timm.models.deit; timm.layers.AttentionPoolLatent.
    """
    mode, classes = one_of(weight_init, "weight_init", WEIGHT_INITS), integer(num_classes, "num_classes")
    xavier, linear = spec("xavier_uniform"), []
    if mode == "moco":
        linear = [rule("*qkv.weight", spec("packed", initializer=xavier, blocks=3), kind="Linear")]
    elif mode:
        bias = -math.log(classes) if mode == "jax_nlhb" else 0.0
        linear = [
            rule(HEAD, ZEROS, kind="Linear"),
            rule(HEAD_BIAS, spec("constant", val=bias) if bias else ZEROS, kind="Linear"),
            rule("*mlp*.bias", spec("normal", std=1e-6), kind="Linear"),
            rule("*.weight", spec("variance_scaling"), kind="Conv2d"),
            rule("*.bias", ZEROS, kind="Conv2d"),
        ]
    scales = [] if layer_scale is None else _layer_scale("*.gamma", layer_scale, kind="LayerScale*")
    latent = spec("variance_scaling", scale=CUT_VARIANCE, in_axis=-1, out_axis=(), batch_axis=(0, 1))
    return Rules(
        [
            *scales,
            *(rule(f"*{token}_token", spec("normal", std=1e-6)) for token in ("cls", "reg")),
            *(rule(f"*{name}", _small(1.0)) for name in ("dist_token", "pos_embed")),
            rule("*attn_pool.latent", latent),
            *linear,
            rule("*weight", xavier if mode else _small(1.0), kind="Linear", optional=False),
            rule("*bias", ZEROS, kind="Linear"),
            *_rest(),
        ]
    )


def beit(layers: int = 12, layer_scale: float | None = None, head_init_scale: float = 0.001) -> Rules:
    """BEiT and EVA of timm: N(0, 0.02^2), the last weights of branches / sqrt(2 (l + 1)). By kinds, for torch modules.

    In layer l, from 0, attn.proj and mlp.fc2 are divided by sqrt(2 (l + 1)); the head, `head.weight`, is multiplied by
    head_init_scale, or stays as all others where that is 0. Positions, cls and register tokens are N(0, 0.02^2) too,
    biases and tables of relative positions 0, norms 1 and 0, patches torch's default. Each N(0, 0.02^2) is cut at the
    absolute -2 and 2, which is 100 std.

        >>> from arrayinit.recipes import beit
        >>> beit().find("blocks.7.attn.proj.weight", (768, 768), ["Linear"]).initializer
        spec('trunc_normal', a=-0.5, b=0.5, std=0.005)

    Args:
        layers: the number of layers, >= 1. Those of a model beyond it have no rule; a model with fewer is warned of.
        layer_scale: timm's `init_values`, gamma_1 and gamma_2, of models that have them: 0.1 or 1e-5. None leaves them
            without a rule.
        head_init_scale: a factor of the head's weight, >= 0.

    Raises:
        ValueError, TypeError: layers below 1, a number that is not finite, a negative head_init_scale.

    Source: Bao et al., BEiT, 2022, section 2.5; timm (August 2026), timm.models.beit and timm.models.eva,
    `fix_init_weight` and `_init_weights`.
    """
    scale, count = nonnegative(head_init_scale, "head_init_scale"), integer(layers, "layers")
    last = r"attn\.proj\.weight|mlp\.fc2\.weight"
    rest = re.compile(rf"^(?!(.*\.)?blocks\.\d+\.({last})$).*weight$")  # all but those of layers beyond
    return Rules(
        [
            *([] if layer_scale is None else _layer_scale("*.gamma_?", layer_scale)),
            *(rule(f"*{name}", _small(1.0)) for name in ("cls_token", "reg_token", "pos_embed")),
            *(rule(f"*{name}", ZEROS) for name in ("relative_position_bias_table", "q_bias", "v_bias")),
            rule(re.compile(r"(^|\.)head\.weight$"), _small(scale or 1.0), kind="Linear"),
            *of_each_layer(count, "blocks", last, lambda layer: _small(1 / math.sqrt(2 * (layer + 1)))),
            rule(rest, _small(1.0), kind="Linear", optional=False),
            rule("*bias", ZEROS, kind="Linear"),
            *(each for each in _rest() if "Linear" not in each.kinds),
        ]
    )


def cait(layer_scale: float = 1e-5) -> Rules:
    """CaiT as timm starts it: N(0, 0.02^2) for linear layers, positions and the cls token. By kinds, for torch modules.

    The gammas of both residual branches are `layer_scale`; biases of linear layers are 0, norms 1 and 0, and patches
    torch's default. Each N(0, 0.02^2) is cut at the absolute -2 and 2, which is 100 std.

        >>> from arrayinit.recipes import cait
        >>> cait().find("blocks.0.gamma_1", (384,), ["LayerScaleBlock"]).initializer
        spec('constant', val=1e-05)

    Args:
        layer_scale: 0.1 up to a depth of 18 in the paper, 1e-5 up to 24, 1e-6 beyond; timm's `init_values`.

    Raises:
        ValueError, TypeError: a layer_scale that is not finite, or that is not a number.

    Source: Touvron et al., Going deeper with image transformers, 2021, section 2; timm.models.cait (1.0.31).
    """
    return Rules(
        [
            *_layer_scale("*.gamma_?", layer_scale),
            *(rule(f"*{name}", _small(1.0)) for name in ("cls_token", "pos_embed")),
            rule("*weight", _small(1.0), kind="Linear", optional=False),
            rule("*bias", ZEROS, kind="Linear"),
            *_rest(),
        ]
    )


def convnext(layer_scale: float = 1e-6, head_init_scale: float = 1.0) -> Rules:
    """ConvNeXt: N(0, 0.02^2) for convolutions and linear layers, the head times head_init_scale. By kinds, for torch.

    Biases are 0, norms 1 and 0, and the layer scale is constant: `gamma` in timm, `layer_scale` in torchvision,
    `layer_scale_parameter` in transformers. ConvNeXt V2 has none, and its response norms (GRN) are 0 and 0. The normals
    are cut at the absolute -2 and 2, which is 100 std. The head is the last linear layer in timm and transformers
    (`head`, `classifier`); torchvision draws it as all others, and head_init_scale 1 is that.

        >>> from arrayinit.recipes import convnext
        >>> convnext().find("stages.0.blocks.0.gamma", (96,), ["ConvNeXtBlock"]).initializer
        spec('constant', val=1e-06)
        >>> convnext(head_init_scale=0.5).find("head.fc.weight", (1000, 768), ["Linear"]).initializer
        spec('trunc_normal', a=-1.0, b=1.0, std=0.01)

    Args:
        layer_scale: the value of layer scales, timm's `ls_init_value`.
        head_init_scale: a factor of the head's weight, >= 0; Meta's fine-tuning has 0.001.

    Raises:
        ValueError, TypeError: a number that is not finite, a negative head_init_scale.

    Source: Liu et al., A ConvNet for the 2020s, 2022, appendix A; timm.models.convnext (1.0.31); facebookresearch/
    ConvNeXt, models/convnext.py; torchvision.models.convnext (0.28).
    """
    head = _small(nonnegative(head_init_scale, "head_init_scale"))
    return Rules(
        [
            *(rule("*", ZEROS, kind=kind) for kind in ("GlobalResponseNorm", "*GRN")),
            *_layer_scale("*.gamma", layer_scale),
            *_layer_scale("*.layer_scale", layer_scale),
            *_layer_scale("*.layer_scale_parameter", layer_scale),
            rule(HEAD, head, kind="Linear"),
            *(rule("*weight", _small(1.0), kind=kind, optional=False) for kind in ("Conv2d", "Linear")),
            *(rule("*bias", ZEROS, kind=kind) for kind in ("Conv2d", "Linear")),
            *_rest(),
        ]
    )


def _small(scale: float) -> Spec:
    """timm's trunc_normal_(std=0.02), times a scale: the bounds are absolute numbers, not multiples of the std."""
    return spec("trunc_normal", std=0.02 * scale, a=-2.0 * scale, b=2.0 * scale) if scale else ZEROS


def _rest() -> list[Rule]:
    """Norms of any library, and torch's defaults for all other layers."""
    return [*gains_of_kinds(), rule("*bias", ZEROS, kind=NORMS), *torch_defaults()]


def _layer_scale(pattern: str, value: float, kind: str | None = None) -> list[Rule]:
    return [rule(pattern, spec("constant", val=finite(value, "layer_scale")), kind=kind)]
