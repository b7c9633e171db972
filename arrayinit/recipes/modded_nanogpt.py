"""The GPTs of modded-nanogpt."""

import math
import re
from collections.abc import Sequence

from arrayinit.common.arguments import integer, one_of
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import named
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import Spec, spec

__all__ = ["modded_nanogpt"]

TRACKS = ("medium", "short")
HEADS = 6  # of the short track, whose code asserts it
ZEROS = spec("zeros")
ROOT = math.sqrt(1.1)
# Columns (count, first row, second row) of mudd_b2 and mudd_gate_b2, in units of their factor, 0.1.
MUDD = (
    (1, 0.0, 0.0), (1, 0.0, -0.5), (4, 0.0, 0.0), (2, 2.0, 0.0), (1, ROOT, 0.0), (1, 1.0, 0.0), (1, 0.0, 0.0),
    (1, 0.05, 0.0), (1, ROOT, 0.0), (1, 1.0, 0.0),
)  # fmt: skip
MUDD_GATE = (
    (12, 0.0, 0.0), (6, 0.25, 0.25), *((1, 0.0, 0.0), (1, 0.05, 0.05)) * 4, (1, 0.0, 0.0), (1, 0.0, 0.05),
    (1, 0.0, 0.5), (6, 0.0, 1.0), (6, 0.0, 0.0),
)  # fmt: skip


def modded_nanogpt(layers: int | None = None, world_size: int = 8, track: str = "medium") -> Rules:
    """modded-nanogpt, medium and short track: uniform matrices, zeros where a branch or a gate ends. By paths.

    =====================================  =============================================================
    medium
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

    =====================================  =============================================================
    short
    =====================================  =============================================================
    qk_bank, vo_bank, mlp_bank[:, 0]       U(-s / 2, s / 2); banks are 0 beyond their matrices, which are
                                           6 (layers - 1) and 2 (layers - 1)
    mlp_bank[:, 1]                         0
    lm_head, stored (in, out)              N(0, 0.005^2)
    embed                                  the numbers of lm_head
    value_embeds                           N(0, 0.01^2)
    mudd_w1, mudd_gate_w1                  U(-b, b), b = 1 / sqrt(width); mudd_w2, mudd_gate_w2 0
    mudd_b2, mudd_gate_b2                  numbers for each coefficient, (2, 14) and (2, 41)
    _mudd_gate_scale                       0.1
    bigram_embed, smear_gate               0
    ve_gate_bank                           0
    post_lambdas; resid_lambdas            1; sqrt(1.1)
    scalars                                (0.5, 1) a layer, 0, -1.5, and 1 up to a multiple of world_size
    =====================================  =============================================================

    Norms have no parameters. Buffers stay as the constructor makes them, among them the random signs of the short
    track, bigram_sign_table.

        >>> from arrayinit.recipes import modded_nanogpt
        >>> modded_nanogpt().find("blocks.0.mlp.c_fc", (4096, 1024)).words
        "variance_scaling, distribution='uniform', scale=0.25"
        >>> modded_nanogpt(track="short").find("embed.weight", (50304, 768)).words
        'normal, std=0.005, seed of .lm_head.weight'

    Args:
        layers: the number of layers, for the lengths in `scalars` and the banks; None for 16, or 11 of the short track.
        world_size: the number of processes that train, by which these lengths divide.
        track: "medium", train_gpt_medium.py, or "short", train_gpt.py.

    Raises:
        ValueError, TypeError: a number below 1, a short track of 1 layer, or what is not an integer; another track.

    Source: KellerJordan/modded-nanogpt (August 2026), train_gpt_medium.py and train_gpt.py.
    """
    is_short = one_of(track, "track", TRACKS) == "short"
    count = integer((11 if is_short else 16) if layers is None else layers, "layers")
    processes = integer(world_size, "world_size")
    return _short(count, processes) if is_short else _medium(count, processes)


def _medium(layers: int, world_size: int) -> Rules:
    uniform = spec("variance_scaling", distribution="uniform")
    runs = [(1.05, layers), *[(0.5, 1), (1.0, 1)] * layers, (0.0, 1), (0.5, 1), (-1.5, 3)]
    return Rules(
        [
            named("qkvo_w", spec("packed", initializer=[uniform, uniform, uniform, ZEROS], blocks=4)),
            named("c_fc", spec("variance_scaling", scale=0.25, distribution="uniform")),
            named(r"c_proj|x0_lambdas|(attn_gate|value_embed_gate|smear_gate|skip_gates\.\d+)\.weight", ZEROS),
            named(r"value_embeds\.\d+\.weight", ZEROS),
            named(r"lm_head\.weight", spec("normal", std=0.005)),
            named(r"embed2?\.weight", spec("normal")),
            named("scalars", _scalars(runs, world_size)),
        ]
    )


def _short(layers: int, world_size: int) -> Rules:
    if layers < 2:
        raise ValueError(f"`layers` must be at least 2 in the short track, where one has no attention; got {layers}")
    half = spec("variance_scaling", scale=0.25, distribution="uniform")
    head = spec("normal", std=0.005)
    default = spec("kaiming_uniform", a=math.sqrt(5), layout="boi")
    runs = [*[(0.5, 1), (1.0, 1)] * layers, (0.0, 1), (-1.5, 1)]

    def bank(matrices: int) -> Spec:
        rest = -matrices % world_size
        return spec("packed", initializer=[half, ZEROS], blocks=[matrices, rest], layout="ooi")

    return Rules(
        [
            named("qk_bank", bank((layers - 1) * HEADS)),
            named("vo_bank", bank((layers - 1) * 2)),
            named("mlp_bank", spec("packed", initializer=[half, ZEROS], blocks=2, layout="booi")),
            named(r"lm_head\.weight", spec("normal", std=0.005, layout="io")),
            rule(re.compile(r"(^|\.)embed\.weight$"), head, seed_of=".lm_head.weight"),
            named("value_embeds", spec("normal", std=0.01)),
            named(r"mudd_(gate_)?w1", default),
            named("mudd_b2", _columns(MUDD)),
            named("mudd_gate_b2", _columns(MUDD_GATE)),
            named("_mudd_gate_scale", spec("constant", val=0.1)),
            named(r"mudd_(gate_)?w2|(bigram_embed|smear_gate)\.weight|ve_gate_bank", ZEROS),
            named("post_lambdas", spec("ones")),
            named("resid_lambdas", spec("constant", val=ROOT)),
            named("scalars", _scalars(runs, world_size)),
        ]
    )


def _scalars(runs: list[tuple[float, int]], world_size: int) -> Spec:
    """Constants, each so many times, then 1 up to a multiple of world_size."""
    pad = -sum(length for _, length in runs) % world_size
    runs = [*runs, (1.0, pad)] if pad else runs
    constants = [spec("constant", val=value) for value, _ in runs]
    return spec("packed", initializer=constants, blocks=[length for _, length in runs])


def _columns(columns: Sequence[tuple[int, float, float]]) -> Spec:
    """Tensors of two rows: columns of equal numbers, which are 10 times those given."""
    pairs = [spec("linspace", start=first / 0.1, end=second / 0.1) for _, first, second in columns]
    return spec("packed", initializer=pairs, blocks=[count for count, _, _ in columns], layout="io")
