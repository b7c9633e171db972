"""Vision transformers as transformers and as Google's JAX code start them."""

from arrayinit.common.arguments import finite, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import NORM_WEIGHT, rule
from arrayinit.specs import spec

__all__ = ["vit", "vit_jax"]


def vit(std: float = 0.02) -> Rules:
    """ViT in torch: N(0, std^2) for matrices, patches, cls token and positions, biases and mask token 0. By paths.

    The transformers library draws this. It truncates cls token and positions at the absolute -2 and 2, which is 100 std
    and cuts nothing off. Norms are 1 and 0.

        >>> from arrayinit.recipes import vit
        >>> vit().find("embeddings.cls_token", (1, 1, 768)).initializer
        spec('trunc_normal', a=-2.0, b=2.0, std=0.02)

    Args:
        std: `initializer_range`, >= 0.

    Raises:
        ValueError, TypeError: a std that is negative or not finite, or that is not a number.

    Source: transformers.ViTPreTrainedModel._init_weights (5.23).
    """
    scale = nonnegative(std, "std")
    tokens = spec("trunc_normal", std=scale, a=-2.0, b=2.0)
    return Rules(
        [
            rule("*cls_token", tokens),
            rule("*distillation_token", tokens),
            rule("*position_embeddings", tokens),
            rule("*mask_token", spec("zeros")),
            rule(NORM_WEIGHT, spec("ones")),
            rule("*.weight", spec("normal", std=scale), optional=False),
            rule("*.bias", spec("zeros")),
        ]
    )


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
