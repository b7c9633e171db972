"""Vision transformers as transformers and as Google's JAX code start them."""

import re

from arrayinit.common.arguments import finite, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import NO_BUFFER, biases, norms, rule
from arrayinit.specs import spec

__all__ = ["vit", "vit_jax"]


def vit(std: float = 0.02, layer_scale: float = 1.0, zero_centered_norms: bool | None = None) -> Rules:
    """ViT in torch: N(0, std^2) for matrices, patches, cls token and positions, biases and mask token 0.

    By paths, norms and layer scales by kinds, too. The transformers library draws this for ViT and DINOv2. It truncates
    cls token and positions at the absolute -2 and 2, which is 100 std and cuts nothing off. Norms are 1 and 0, register
    tokens 0, also under timm's name, reg_token. Position embeddings that are frozen, as the sines and cosines of MAE,
    stay. DeiT, BEiT and the audio spectrogram transformer start cls token and positions with 0: put a rule for that
    before these.

        >>> from arrayinit.recipes import vit
        >>> vit().find("embeddings.cls_token", (1, 1, 768)).initializer
        spec('trunc_normal', a=-2.0, b=2.0, std=0.02)

    Args:
        std: `initializer_range`, >= 0.
        layer_scale: the gain of each residual branch, where a model has one: `layerscale_value` of DINOv2 (1),
            `layer_scale_init_value` of BEiT (0.1). Known by the class of the layer, or names such as `ls1.gamma`.
        zero_centered_norms: True if norms multiply by 1 + weight, so that their weights start with 0; False if none
            does, so that they start with 1; None to go by the class of each norm, and by False in trees of arrays.

    Raises:
        ValueError, TypeError: a number that is negative or not finite, or an argument of another kind.

    Source: transformers.ViTPreTrainedModel._init_weights and Dinov2WithRegistersPreTrainedModel._init_weights (5.23).
    """
    scale = nonnegative(std, "std")
    branch = spec("constant", val=nonnegative(layer_scale, "layer_scale"))
    tokens = spec("trunc_normal", std=scale, a=-2.0, b=2.0)
    return Rules(
        [
            rule("*cls_token", tokens),
            rule("*distillation_token", tokens),
            rule("*position_embeddings", tokens),
            rule("*pos_embed", tokens),
            rule("*mask_token", spec("zeros")),
            rule("*register_tokens", spec("zeros")),
            rule("*reg_token", spec("zeros")),
            rule("*", branch, kind=("*LayerScale", *NO_BUFFER), max_ndim=1),
            rule(_LAYER_SCALE, branch, max_ndim=1),
            *norms(zero_centered_norms),
            rule("*.weight", spec("normal", std=scale), optional=False, min_ndim=2),
            *biases(),
        ]
    )


# layer_scale1.lambda1 of DINOv2, lambda_1 of BEiT, ls1.gamma and gamma_1 of timm, layer_scale_1
_LAYER_SCALE = re.compile(r"(^|\.)((ls|layer_?scale)_?\d*\.\w+|lambda_?\d|gamma_\d|layer_?scale(_\w+)?)$")


def vit_jax(head_bias: float = 0.0) -> Rules:
    """ViT in JAX: Xavier-uniform blocks, MLP biases N(0, 1e-12), positions N(0, 0.02^2), cls and head 0. By paths.

    The patches (`embedding`) and `pre_logits` are Flax's default, lecun_normal truncated at two sigma; norms are 1 and
    0, all other biases 0. Attention kernels (in, heads, dim) and (heads, dim, out) have the fans of the matrices (in,
    heads * dim) and (heads * dim, out).

        >>> from arrayinit.recipes import vit_jax
        >>> vit_jax().find("Transformer.encoderblock_0.MlpBlock_3.Dense_0.bias", (3072,)).initializer
        spec('normal', std=1e-06)

    Args:
        head_bias: the bias of the head, `head_bias_init`: about -log(classes) for sigmoid losses.

    Raises:
        ValueError, TypeError: a head_bias that is not finite, or that is not a number.

    Source: google-research/vision_transformer, vit_jax/models_vit.py; Dosovitskiy et al., 2021.
    """
    return Rules(
        [
            rule("*MlpBlock_*.kernel", spec("xavier_uniform"), optional=False),
            rule("*MlpBlock_*.bias", spec("normal", std=1e-6), optional=False),
            rule("*MultiHeadDotProductAttention_*.kernel", spec("xavier_uniform"), optional=False),
            rule("*pos_embedding", spec("normal", std=0.02)),
            rule("*cls", spec("zeros")),
            rule("*head.kernel", spec("zeros")),
            rule("*head.bias", spec("constant", val=finite(head_bias, "head_bias"))),
            rule("*scale", spec("ones")),
            rule("*.kernel", spec("variance_scaling")),
            rule("*.bias", spec("zeros")),
        ]
    )
