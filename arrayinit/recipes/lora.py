"""LoRA: low-rank adapters beside the weights of a model that stays as it is."""

import math
import re

from arrayinit.common.arguments import integer, one_of
from arrayinit.common.messages import shown
from arrayinit.models.rules import Rule, Rules
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import Spec, spec

__all__ = ["lora"]

INITS = ("kaiming", "gaussian", "xavier", "orthogonal")


def lora(init: str = "kaiming", rank: int | None = None, adapter: str | None = None) -> Rules:
    """LoRA: A random and B 0, so that an adapter changes nothing at the start; all other parameters stay. By paths.

    "orthogonal": neither is 0, and B A is, :func:`arrayinit.lora_orthogonal`; for matrices, and even ranks.

    "kaiming": A is U(-b, b), b = 1 / sqrt(fan_in), as a layer of torch. "gaussian": A is N(0, 1 / rank^2). "xavier": A
    is N(0, 2 / (fan_in + rank)). Adapters of embeddings are the other way round, A 0 and B N(0, 1), with any of these.
    The block-diagonal A of peft's BD-LoRA is U(-b, b), b = sqrt(6 / fan_in) of one block, as peft draws it. Biases of B
    are 0. Fans are those of the whole matrix, however it is sharded.

    Known names: peft's lora_A, lora_B, lora_embedding_A and lora_embedding_B, each with the name of an adapter behind
    it; loralib's lora_A and lora_B; lora_a and lora_b of torchtune and torchtitan; adapter.linear_in and
    adapter.linear_out of Megatron-Bridge and NeMo, whose default is "xavier". The base model keeps its values, frozen
    or not, and so does DoRA's magnitude, which is computed from them.

    peft freezes adapters that are not active, because they may be trained ones. They stay as they are, with a warning:
    activate them first, or pass `frozen="draw"` to `init_module_`. For adapters with different starts, call it once for
    each with `adapter`; the order of the calls makes no difference.

    Not here is what depends on weights or data: PiSSA, OLoRA, MiCA, LoftQ, CorDA, EVA and LoRA-GA.

        >>> from arrayinit.recipes import lora
        >>> lora().find("model.q_proj.lora_A.default.weight", (8, 4096)).initializer
        spec('kaiming_uniform', a=2.23606797749979)
        >>> second = lora("gaussian", rank=8, adapter="second")
        >>> second.find("model.q_proj.lora_A.second.weight", (8, 4096)).initializer
        spec('normal', std=0.125)
        >>> print(second.find("model.q_proj.lora_A.default.weight", (8, 4096)).initializer)
        None

    Args:
        init: "kaiming", "gaussian", "xavier" or "orthogonal".
        rank: r, for "gaussian" alone.
        adapter: the name of the only adapter to draw, in models of peft; None for all adapters.

    Raises:
        ValueError, TypeError: another init, a rank below 1, "gaussian" without a rank, another init with one, or an
            adapter's name that is empty, has a dot, or is no string.

    Source: Hu et al., LoRA, 2021, section 4.1; peft.tuners.lora.layer, reset_lora_parameters, and lora.variants (0.21);
    loralib.layers (0.1); torchtune.modules.peft.lora; torchtitan.components.lora (0.3); megatron.bridge.peft.utils.
    """
    if one_of(init, "init", INITS) == "gaussian":
        if rank is None:
            raise ValueError(
                "`rank` must be the rank of the adapters for init='gaussian', whose std is 1 / rank; got None"
            )
        first = spec("normal", std=1 / integer(rank, "rank"))
    else:
        if rank is not None:
            raise ValueError(f"`rank` may only be given with init='gaussian', and init is {init!r}; got {shown(rank)}")
        first = {
            "kaiming": spec("kaiming_uniform", a=math.sqrt(5)),
            "xavier": spec("xavier_normal"),
            "orthogonal": spec("lora_orthogonal", part="A"),
        }[init]
    second = spec("lora_orthogonal", part="B") if init == "orthogonal" else spec("zeros")
    if adapter is None:
        end, others = r"\b", _rules_of_one_adapter(first, second)
    else:
        if not isinstance(adapter, str):
            raise TypeError(f"`adapter` must be the name of an adapter or None; got {shown(adapter)}")
        if not adapter or "." in adapter:
            raise ValueError(f"`adapter` must be a name without dots; got {shown(adapter)}")
        end, others = rf"\.{re.escape(adapter)}(\.|$)", []
    a, b = re.compile(rf"(^|\.)lora_A{end}"), re.compile(rf"(^|\.)lora_B{end}")
    return Rules(
        [
            rule(re.compile(rf"(^|\.)lora_embedding_A{end}"), spec("zeros")),
            rule(re.compile(rf"(^|\.)lora_embedding_B{end}"), spec("normal")),
            *others,
            rule(a, spec("kaiming_uniform"), kind="BlockDiagonalLinear"),
            rule(a, first),
            *_second(b, second, "..lora_A.*.weight"),
            rule("*", None),
        ]
    )


def _second(pattern: re.Pattern[str], initializer: Spec, neighbour: str) -> list[Rule]:
    """The rules of B, and of its bias, which is 0."""
    zeros = spec("zeros")
    if initializer == zeros:
        return [rule(pattern, zeros)]
    return [rule(re.compile(rf"{pattern.pattern}.*bias$"), zeros), rule(pattern, initializer, seed_of=neighbour)]


def _rules_of_one_adapter(first: Spec, second: Spec) -> list[Rule]:
    """The rules of libraries whose layers have one adapter each, which has no name."""
    return [
        rule("*lora_A", spec("zeros"), kind="Embedding"),  # loralib's, which is torch's as well
        rule("*lora_B", spec("normal"), kind="Embedding"),
        rule(re.compile(r"(^|\.)(lora_a|adapter\.linear_in)\b"), first),
        *_second(re.compile(r"(^|\.)lora_b\b"), second, ".lora_a.weight"),
        *_second(re.compile(r"(^|\.)adapter\.linear_out\b"), second, ".linear_in.weight"),
        *_second(re.compile(r"(^|\.)lora_B$"), second, "lora_A"),
    ]
