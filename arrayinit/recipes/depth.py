"""Deep transformers whose weights are scaled by depth: DeepNorm and T-Fixup."""

import math
import re

from arrayinit.common.arguments import integer
from arrayinit.models.rules import Rule, Rules
from arrayinit.recipes.shorthand import biases, norms, rule
from arrayinit.specs import Spec, spec

__all__ = ["deepnorm", "deepnorm_constants", "t_fixup"]


def deepnorm(encoder_layers: int = 0, decoder_layers: int = 12) -> Rules:
    """DeepNorm: Xavier-normal, with gain beta for values, attention outputs and feed-forward layers, 1 for q and k.

    beta is (8 N)^(-1/4) for an encoder or a decoder of N layers alone; with both, of N and M layers,
    0.87 (N^4 M)^(-1/16) in the encoder and (12 M)^(-1/4) in the decoder. The model itself must add its residuals as
    LayerNorm(alpha x + f(x)): :func:`deepnorm_constants` has alpha.

    By paths: q_proj, k_proj, v_proj, out_proj (or o_proj), fc1 and fc2, as in fairseq and torchscale, or linear1,
    linear2 and in_proj_weight, as in torch, whose packed weight is drawn as three; with both an encoder and a decoder,
    below `encoder` and `decoder`. The paper leaves the rest open: embeddings and heads are N(0, 1 / features), as in
    fairseq, biases 0, norms 1.

        >>> from arrayinit.recipes import deepnorm
        >>> deepnorm(decoder_layers=2).find("layers.0.fc1.weight", (2048, 512)).initializer
        spec('xavier_normal', gain=0.5)

    Args:
        encoder_layers, decoder_layers: N and M; 0 for a model without that side.

    Raises:
        ValueError, TypeError: as :func:`deepnorm_constants`.

    Source: Wang et al., DeepNet: scaling transformers to 1,000 layers, 2022, figure 2.
    """
    constants = deepnorm_constants(encoder_layers, decoder_layers)
    rules = []
    for side, (_, beta) in constants.items():
        rules += _layers("xavier_normal", beta, side if len(constants) == 2 else None)
    return Rules([*rules, *_rest(1.0)])


def deepnorm_constants(encoder_layers: int = 0, decoder_layers: int = 12) -> dict[str, tuple[float, float]]:
    """{"encoder": (alpha, beta), "decoder": (alpha, beta)} of :func:`deepnorm`, for the sides that have layers.

    alpha is (2 N)^(1/4) for one side alone; with both, 0.81 (N^4 M)^(1/16) in the encoder, (3 M)^(1/4) in the decoder.

        >>> from arrayinit.recipes import deepnorm_constants
        >>> deepnorm_constants(decoder_layers=2)
        {'decoder': (1.4142135623730951, 0.5)}

    Raises:
        ValueError, TypeError: numbers of layers that are negative or not integers, or both 0.

    Source: Wang et al., DeepNet: scaling transformers to 1,000 layers, 2022, figure 2.
    """
    n, m = integer(encoder_layers, "encoder_layers", least=0), integer(decoder_layers, "decoder_layers", least=0)
    if not n and not m:
        raise ValueError("`encoder_layers` and `decoder_layers` must not both be 0; got 0 and 0")
    if n and m:
        both = _fourth_root(_fourth_root(n**4 * m))
        return {
            "encoder": (0.81 * both, 0.87 / both),
            "decoder": (_fourth_root(3 * m), 1 / _fourth_root(12 * m)),
        }
    return {"encoder" if n else "decoder": (_fourth_root(2 * (n + m)), 1 / _fourth_root(8 * (n + m)))}


def t_fixup(encoder_layers: int = 6, decoder_layers: int = 6) -> Rules:
    """T-Fixup: transformers without layer norm and warm-up. Xavier-uniform, scaled by depth; embeddings scaled too.

    The gain of values, attention outputs and feed-forward layers is 0.67 N^(-1/4) in the encoder and (9 M)^(-1/4) in
    the decoder, of queries and keys 1, as in the paper (the authors' code has fairseq's 1 / sqrt(2) there). Embeddings
    are N(0, 1 / features) times (9 M)^(-1/4), with N for those of the encoder, as in that code; biases 0.

    By paths, as in :func:`deepnorm`, below `encoder` and `decoder`.

        >>> from arrayinit.recipes import t_fixup
        >>> t_fixup(encoder_layers=16).find("encoder.layers.0.fc1.weight", (2048, 512)).initializer
        spec('xavier_uniform', gain=0.335)

    Args:
        encoder_layers, decoder_layers: N and M, >= 1.

    Raises:
        ValueError, TypeError: numbers of layers below 1, or not integers.

    Source: Huang et al., Improving transformer optimization through better initialization, 2020, section 3.2;
    layer6ai-labs/T-Fixup, fairseq/modules/transformer_layer.py.
    """
    n, m = integer(encoder_layers, "encoder_layers"), integer(decoder_layers, "decoder_layers")
    return Rules(
        [
            *_layers("xavier_uniform", 0.67 / _fourth_root(n), "encoder"),
            *_layers("xavier_uniform", 1 / _fourth_root(9 * m), "decoder"),
            rule(re.compile(r"(^|\.)encoder\..*embed[^.]*\.weight$"), _embedding(1 / math.sqrt(9 * n)), min_ndim=2),
            *_rest(1 / math.sqrt(9 * m)),
        ]
    )


def _fourth_root(n: float) -> float:
    """Computed by square roots, which are rounded alike on every machine."""
    return math.sqrt(math.sqrt(n))


def _layers(name: str, gain: float, side: str | None) -> list[Rule]:
    """The rules of the layers of a transformer, or of its encoder or decoder."""
    below = rf"(^|\.){side}\..*" if side else ""
    plain, scaled = spec(name), spec(name, gain=gain)
    return [
        rule(re.compile(rf"{below}\b(v_proj|out_proj|o_proj|fc1|fc2|linear1|linear2)[._]weight$"), scaled),
        rule(re.compile(rf"{below}\b(q_proj|k_proj)[._]weight$"), plain),
        rule(re.compile(rf"{below}\bin_proj_weight$"), spec("packed", initializer=[plain, plain, scaled], blocks=3)),
    ]


def _embedding(scale: float) -> Spec:
    """N(0, scale / features)."""
    return spec("variance_scaling", scale=scale, distribution="normal")


def _rest(scale: float) -> list[Rule]:
    """The rules of norms, embeddings, heads and biases; embeddings are N(0, scale / features)."""
    return [
        *norms(),
        rule(re.compile(r"embed[^.]*\.weight$"), _embedding(scale), min_ndim=2),
        rule(re.compile(r"\b(lm_head|head|generator|output_projection)\.weight$"), _embedding(1.0)),
        *biases(),
    ]
