"""LoRA: low-rank adapters beside the weights of a model that stays as it is."""

import math
import re

from arrayinit.common.arguments import integer, one_of
from arrayinit.common.messages import shown
from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import spec

__all__ = ["lora"]

INITS = ("kaiming", "gaussian")


def lora(init: str = "kaiming", rank: int | None = None) -> Rules:
    """LoRA: A random and B 0, so that an adapter changes nothing at the start; all other parameters stay. By paths.

    "kaiming": A is U(-b, b), b = 1 / sqrt(fan_in), as a layer of torch. "gaussian": A is N(0, 1 / rank^2). Adapters of
    embeddings are the other way round, A 0 and B N(0, 1), with either. Biases of B are 0.

    For the names of peft (lora_A, lora_B, lora_embedding_A, lora_embedding_B, each with the name of an adapter behind
    it) and of loralib. The base model keeps its values, frozen or not, and so does DoRA's magnitude, which is computed
    from them. Not here are peft's "orthogonal", whose A and B are made with rows of one random rotation and so are no
    draws of one tensor each, and what depends on weights or data: PiSSA, OLoRA, MiCA, LoftQ, CorDA, EVA and LoRA-GA.

        >>> from arrayinit.recipes import lora
        >>> lora().find("model.q_proj.lora_A.default.weight", (8, 4096)).initializer
        spec('kaiming_uniform', a=2.23606797749979)
        >>> lora("gaussian", rank=8).find("model.q_proj.lora_A.default.weight", (8, 4096)).initializer
        spec('normal', std=0.125)

    Args:
        init: "kaiming" or "gaussian".
        rank: r, for "gaussian" alone. For adapters of several ranks, put the rules of each before these.

    Raises:
        ValueError, TypeError: another init, a rank below 1, "gaussian" without a rank, or "kaiming" with one.

    Source: Hu et al., LoRA, 2021, section 4.1; peft.tuners.lora.layer, reset_lora_parameters (0.21); loralib.layers
    (0.1).
    """
    if one_of(init, "init", INITS) == "gaussian":
        if rank is None:
            raise ValueError(
                "`rank` must be the rank of the adapters for init='gaussian', whose std is 1 / rank; got None"
            )
        first = spec("normal", std=1 / integer(rank, "rank"))
    else:
        if rank is not None:
            raise ValueError(
                f"`rank` goes with init='gaussian', and 'kaiming' does not depend on it; got {shown(rank)}"
            )
        first = spec("kaiming_uniform", a=math.sqrt(5))
    return Rules(
        [
            rule(re.compile(r"(^|\.)lora_embedding_A\b"), spec("zeros")),
            rule(re.compile(r"(^|\.)lora_embedding_B\b"), spec("normal")),
            rule("*lora_A", spec("zeros"), kind="Embedding"),  # loralib's, which is torch's as well
            rule("*lora_B", spec("normal"), kind="Embedding"),
            rule(re.compile(r"(^|\.)lora_A\b"), first),
            rule(re.compile(r"(^|\.)lora_B\b"), spec("zeros")),
            rule("*", None),
        ]
    )
