"""The GPT of modded-nanogpt."""

from arrayinit.common.arguments import integer
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import named
from arrayinit.specs import spec

__all__ = ["modded_nanogpt"]


def modded_nanogpt(layers: int = 16, world_size: int = 8) -> Rules:
    """modded-nanogpt, medium track: uniform matrices, zeros where a branch or a gate ends. By paths.

    =====================================  =============================================================
    attn.qkvo_w, (4 width, width)          q, k and v U(-s, s), s = sqrt(3 / width); o 0
    mlp.c_fc, (4 width, width)             U(-s / 2, s / 2)
    mlp.c_proj                             0
    lm_head                                N(0, 0.005^2)
    embed, embed2                          N(0, 1)
    value_embeds, all gates                0
    x0_lambdas                             0
    scalars                                1.05 a layer, (0.5, 1) a layer, 0, 0.5, -1.5 three times,
                                           and 1 up to a multiple of world_size
    =====================================  =============================================================

    Norms have no parameters. The short track (train_gpt.py) keeps all layers in banks, padded for its GPUs, starts
    embeddings as a copy of its head, and is not here.

        >>> from arrayinit.recipes import modded_nanogpt
        >>> modded_nanogpt().find("blocks.0.mlp.c_fc", (4096, 1024)).words
        "variance_scaling, distribution='uniform', scale=0.25"

    Args:
        layers: the number of layers, for the lengths in `scalars`.
        world_size: the number of processes that train, by which the length of `scalars` divides.

    Raises:
        ValueError, TypeError: a number below 1, or that is not an integer.

    Source: KellerJordan/modded-nanogpt (August 2026), train_gpt_medium.py.
    """
    count, processes = integer(layers, "layers"), integer(world_size, "world_size")
    zeros, uniform = spec("zeros"), spec("variance_scaling", distribution="uniform")
    runs = [(1.05, count), *[(0.5, 1), (1.0, 1)] * count, (0.0, 1), (0.5, 1), (-1.5, 3)]
    runs += [(1.0, pad)] if (pad := (-3 * count - 5) % processes) else []
    scalars = spec(
        "packed",
        initializer=[spec("constant", val=value) for value, _ in runs],
        blocks=[length for _, length in runs],
    )
    return Rules(
        [
            named("qkvo_w", spec("packed", initializer=[uniform, uniform, uniform, zeros], blocks=4)),
            named("c_fc", spec("variance_scaling", scale=0.25, distribution="uniform")),
            named(r"c_proj|x0_lambdas|(attn_gate|value_embed_gate|smear_gate|skip_gates\.\d+)\.weight", zeros),
            named(r"value_embeds\.\d+\.weight", zeros),
            named(r"lm_head\.weight", spec("normal", std=0.005)),
            named(r"embed2?\.weight", spec("normal")),
            named("scalars", scalars),
        ]
    )
