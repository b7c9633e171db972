"""Models with linear recurrences: LRU, Mamba, Mamba-2 and Gated DeltaNet."""

import math
import re

from arrayinit.common.arguments import flag, integer, nonnegative, one_of, positive
from arrayinit.models.rules import Rules
from arrayinit.recipes.layers import gains_and_biases, named
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import law_of, spec

__all__ = ["gated_deltanet", "lru", "mamba", "mamba2"]


def lru(r_min: float = 0.0, r_max: float = 1.0, max_phase: float = 6.28) -> Rules:
    """LRU: eigenvalues uniform on a ring, gamma_log that belongs to them, normal B, C and D. All else stays. By paths.

    ============  ==============================================================================
    nu_log        log(-log r), r^2 uniform on [r_min^2, r_max^2]: :func:`arrayinit.lru_nu_log`
    theta_log     log of a phase that is uniform on [0, max_phase]
    gamma_log     log sqrt(1 - r^2) of the r of nu_log: :func:`arrayinit.lru_gamma_log`
    B_re, B_im    (states, width), N(0, 1 / (2 width)) each
    C_re, C_im    (width, states), N(0, 1 / states) each
    D             N(0, 1)
    ============  ==============================================================================

    These are all the names that it knows, as the last word of a path: nu_log, theta_log, gamma_log, B_re, B_im, C_re,
    C_im, B, C and D. B and C without _re and _im are complex, with these parts. gamma_log has the seed name of nu_log
    beside it, so that both come from one draw, and the square of r is uniform. Norms and dense layers have recipes of
    their own, which go before the last of these rules.

        >>> from arrayinit.recipes import lru
        >>> lru(r_min=0.9, r_max=0.999).find("layers_0.seq.gamma_log", (64,)).words
        'lru_gamma_log, r_max=0.999, r_min=0.9, seed of nu_log'

    Args:
        r_min, r_max: the ring, 0 <= r_min < r_max <= 1.
        max_phase: the largest phase, > 0, in radians.

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Orvieto et al., Resurrecting Recurrent Neural Networks for Long Sequences, ICML 2023, appendix A;
    NicolasZucchet/minimal-LRU, lru/model.py.
    """
    ring = {"r_min": nonnegative(r_min, "r_min"), "r_max": positive(r_max, "r_max")}
    decays = spec("lru_nu_log", **ring)
    law_of(decays, (1,))  # refuses an empty ring
    normal = {"distribution": "normal", "in_axis": -1, "out_axis": -2}
    return Rules(
        [
            named("nu_log", decays),
            named("theta_log", spec("mamba2_a_log", a_min=0.0, a_max=positive(max_phase, "max_phase"))),
            rule(re.compile(r"(^|\.)gamma_log$"), spec("lru_gamma_log", **ring), seed_of="nu_log"),
            named("B_re|B_im", spec("variance_scaling", scale=0.5, **normal)),
            named("C_re|C_im|B", spec("variance_scaling", **normal)),
            named("C", spec("variance_scaling", scale=2.0, **normal)),
            named("D", spec("normal")),
            rule("*", None),
        ]
    )


def mamba(layers: int = 64, std: float | None = None, rescale: bool | None = None, library: str = "mamba_ssm") -> Rules:
    """Mamba: A_log = log 1, ..., log N, dt_proj.bias the inverse softplus of log-uniform steps, D 1. By paths.

    ===========================  =====================================  ====================================
    library                      "mamba_ssm"                            "transformers"
    ===========================  =====================================  ====================================
    A_log, (channels, N); D      log(n + 1) in each row; 1              the same
    dt_proj; its bias            U(-b, b); mamba_dt_bias                the same
    in_proj, x_proj, lm_head     U(-b, b)                               N(0, std^2)
    out_proj                     U(-b, b) / sqrt(layers)                U(-b, b)
    conv1d; its bias             U(-b, b); U(-b, b)                     U(-b, b); 0
    embeddings                   N(0, std^2)                            N(0, std^2)
    ===========================  =====================================  ====================================

    Here b is 1 / sqrt(fan_in), which for dt_proj is 1 / sqrt(dt_rank), with dt_scale 1. Norms are 1, biases of norms,
    in_proj and out_proj 0. `rescale` divides out_proj by sqrt(layers). Known names are those of the table, embedding or
    embeddings, lm_head, and norms by class or by their single axis; a parameter with another name is refused.

        >>> from arrayinit.recipes import mamba
        >>> mamba().find("backbone.layers.0.mixer.dt_proj.bias", (1536,)).initializer
        spec('mamba_dt_bias')

    Args:
        layers: the number of layers, >= 1.
        std: `initializer_range`, >= 0; None for the library's own, 0.02 or 0.1.
        rescale: `rescale_prenorm_residual`; None for the library's own, True or False.
        library: "mamba_ssm" or "transformers".

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: Gu and Dao, Mamba, 2023, section 3.6; state-spaces/mamba (July 2026), mamba_ssm/modules/mamba_simple.py,
    models/mixer_seq_simple.py, `_init_weights`; transformers.MambaPreTrainedModel._init_weights (5.23).
    """
    ours = one_of(library, "library", ("mamba_ssm", "transformers")) == "mamba_ssm"
    scale = nonnegative((0.02 if ours else 0.1) if std is None else std, "std")
    divided = flag(ours if rescale is None else rescale, "rescale")
    normal, default = spec("normal", std=scale), spec("kaiming_uniform", a=math.sqrt(5))
    count = integer(layers, "layers")
    last = spec("variance_scaling", scale=1 / (3 * count), distribution="uniform") if divided else default
    return Rules(
        [
            *gains_and_biases(),
            named("A_log", spec("mamba_a_log")),
            named(r"dt_proj\.bias", spec("mamba_dt_bias")),
            named("D", spec("ones")),
            named(r"(conv1d|dt_proj)\.weight", default),
            rule("*conv1d.bias", default, like="weight") if ours else rule("*conv1d.bias", spec("zeros")),
            named(r"out_proj\.weight", last),
            named(r"(embedding|embeddings)\.weight", normal),
            named(r"(in_proj|x_proj|lm_head)\.weight", default if ours else normal),
            named(r"(in_proj|out_proj)\.bias", spec("zeros")),
        ]
    )


def mamba2(
    layers: int = 64,
    std: float | None = None,
    mlp: bool = False,
    rescale: bool | None = None,
    library: str = "mamba_ssm",
) -> Rules:
    """Mamba-2: A_log = log U(1, 16), dt_bias the inverse softplus of log-uniform steps, D 1, conv1d as torch has it.

    ===========================  =====================================  =============================
    library                      "mamba_ssm"                            "transformers"
    ===========================  =====================================  =============================
    A_log                        log U(1, 16)                           log(1), ..., log(heads)
    dt_bias; D                   :func:`arrayinit.mamba_dt_bias`; 1     the same
    in_proj and other matrices   U(-b, b), b = 1 / sqrt(fan_in)         N(0, std^2)
    out_proj, fc2                the same / sqrt(layers)                U(-b, b), fc2 has no rule
    conv1d; its bias             U(-b, b); U(-b, b)                     U(-b, b); 0
    embeddings                   N(0, std^2)                            N(0, std^2)
    ===========================  =====================================  =============================

    Norms are 1, biases of norms, in_proj, out_proj, fc1 and fc2 0. `rescale` divides out_proj by sqrt(layers). Known
    names are A_log, dt_bias, D, conv1d, in_proj, out_proj, fc1, fc2, lm_head, embedding or embeddings, and norms by
    class or by their single axis; a parameter with another name is refused. By paths.

        >>> from arrayinit.recipes import mamba2
        >>> mamba2().find("backbone.layers.0.mixer.A_log", (80,)).initializer
        spec('mamba2_a_log')

    Args:
        layers: the number of layers, >= 1.
        std: `initializer_range`, >= 0; None for the library's own, 0.02 or 0.1.
        mlp: whether each layer has a feed-forward branch, too: out_proj and fc2 / sqrt(2 layers). In mamba_ssm.
        rescale: `rescale_prenorm_residual`; None for the library's own, True or False.
        library: "mamba_ssm" or "transformers".

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: state-spaces/mamba (July 2026), mamba_ssm/modules/mamba2.py, models/mixer_seq_simple.py, `_init_weights`;
    transformers.Mamba2PreTrainedModel._init_weights (5.23).
    """
    ours = one_of(library, "library", ("mamba_ssm", "transformers")) == "mamba_ssm"
    scale = nonnegative((0.02 if ours else 0.1) if std is None else std, "std")
    branches = integer(layers, "layers") * (2 if flag(mlp, "mlp") else 1)
    divided = flag(ours if rescale is None else rescale, "rescale")
    if mlp and not ours:
        raise ValueError("`mlp` is of the library 'mamba_ssm' alone; got True with 'transformers'")
    normal, default = spec("normal", std=scale), spec("kaiming_uniform", a=math.sqrt(5))
    # kaiming_uniform with a = sqrt(5) is U(-b, b) with b^2 = 1 / fan_in, a variance of 1 / (3 fan_in).
    last = spec("variance_scaling", scale=1 / (3 * branches), distribution="uniform") if divided else default
    return Rules(
        [
            *gains_and_biases(),
            named("A_log", spec("mamba2_a_log" if ours else "mamba_a_log")),
            named("dt_bias", spec("mamba_dt_bias")),
            named("D", spec("ones")),
            named(r"conv1d\.weight", default),
            rule("*conv1d.bias", default, like="weight") if ours else rule("*conv1d.bias", spec("zeros")),
            named(r"(out_proj|fc2)\.weight" if ours else r"out_proj\.weight", last),
            named(r"(embedding|embeddings)\.weight", normal),
            named(r"(in_proj|fc1|lm_head)\.weight", default if ours else normal),
            named(r"(in_proj|out_proj|fc1|fc2)\.bias", spec("zeros")),
        ]
    )


def gated_deltanet(std: float = 0.02, library: str = "fla") -> Rules:
    """Gated DeltaNet: A_log = log U(0, 16), dt_bias as in Mamba, all else N(0, std^2), convolutions too. By paths.

    With the library "transformers" as Qwen3-Next and Qwen3.5 have it: A_log = log U(0.01, 16), dt_bias 1, and norms
    are 0, because they add 1 to their gain, apart from those behind a gate (linear_attn.norm); the attention, experts
    and routers beside it N(0, std^2).

        >>> from arrayinit.recipes import gated_deltanet
        >>> gated_deltanet().find("model.layers.0.attn.A_log", (6,)).initializer
        spec('mamba2_a_log', a_min=0.0)

    Args:
        std: `initializer_range`, >= 0.
        library: "fla" (flash-linear-attention) or "transformers".

    Raises:
        ValueError, TypeError: an argument out of range, or of another kind.

    Source: fla-org/flash-linear-attention (August 2026), fla/layers/gated_deltanet.py,
    fla/models/gated_deltanet/modeling_gated_deltanet.py; transformers (5.23), Qwen3NextPreTrainedModel._init_weights.
    """
    ours = one_of(library, "library", ("fla", "transformers")) == "fla"
    plain = spec("normal", std=nonnegative(std, "std"))
    matrices = (
        r"([qkvabgo]_proj|in_proj_\w+|out_proj|gate_proj|up_proj|down_proj|[qkv]_conv1d|conv1d|gate|shared_expert_gate|"
        r"embeddings|embed_tokens|lm_head)\.weight|experts\.(gate_up|down)_proj"
    )
    # Norms behind a gate and those of vision towers are ordinary ones.
    ordinary = [named(r"linear_attn\.norm\.weight", spec("ones")), rule("*weight", spec("ones"), kind="LayerNorm")]
    return Rules(
        [
            *(gains_and_biases() if ours else [*ordinary, *gains_and_biases(zero_centered_norms=True)]),
            named("A_log", spec("mamba2_a_log", a_min=0.0 if ours else 0.01)),
            named("dt_bias", spec("mamba_dt_bias") if ours else spec("ones")),
            named(matrices, plain),
            named(r"(\w+_proj|\w*conv1d)\.bias", spec("zeros")),
        ]
    )
