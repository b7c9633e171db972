"""Vision transformers as transformers and as Google's JAX code start them."""

from arrayinit.common.arguments import finite, nonnegative
from arrayinit.models.rules import Rules
from arrayinit.recipes.parts import NORM_WEIGHT, rule
from arrayinit.specs import spec

__all__ = ["vit", "vit_jax"]


def vit(std: float = 0.02) -> Rules:
    """ViT in torch: N(0, std^2) for matrices, patches, cls token and positions, biases and mask token 0. By paths.

    This is what transformers draws. It truncates cls token and positions at the absolute -2 and 2, which is 100 sigma
    and cuts nothing off. Norms are 1 and 0.

    Args:
        std: `initializer_range`.

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
    0, all other biases 0. Attention kernels (in, heads, dim) and (heads, dim, out) have the fans of the matrices that
    they are.

    Args:
        head_bias: the bias of the head, `head_bias_init`: -log(classes) and the like for sigmoid losses.

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
