"""Norms: the classes of their layers, and which parameters are their gains."""

import re
from collections.abc import Iterable, Sequence

from arrayinit.models.parameters import Parameter
from arrayinit.models.rules import BUFFER, is_of

__all__ = [
    "GAINS",
    "NORMS",
    "RESIDUAL_NORMS",
    "ZERO_CENTERED_NORMS",
    "gains_of",
    "is_zero_centered",
    "look_zero_centered",
]

# Globs of class names: LayerNorm, T5LayerNorm, LlamaRMSNorm, BatchNorm2d, NemotronLayerNorm1P, Qwen3NextRMSNormGated,
# LayerNormalization of Keras. Not NormedEmbedding, LayerNormLinear and the like, which hold matrices, nor a LinearNorm
# that is a Linear.
NORMS = (
    "*Norm", "*Norm[0-9]*", "*NormGated", "_NormBase", "*Normalization",
    "!Linear", "!_ConvNd", "!Embedding", "!Dense", "!Conv",
)  # fmt: skip

# Norms that multiply by 1 + weight, so that a weight of 0 leaves the scale alone. In transformers 5.23 these are all
# classes whose `forward` adds 1 to the weight; Gemma3nRMSNorm, Gemma4RMSNorm and all gated norms don't. LayerNorm1P is
# NeMo's, the names with For are Liger-Kernel's.
ZERO_CENTERED_NORMS = (
    "GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm", "VaultGemmaRMSNorm", "RecurrentGemmaRMSNorm", "T5GemmaRMSNorm",
    "T5Gemma2RMSNorm", "Qwen3NextRMSNorm", "Qwen3_5RMSNorm", "Qwen3_5MoeRMSNorm", "Qwen4ExpTextRMSNorm",
    "MiniMaxM3VLRMSNorm", "Step3p7RMSNorm", "MuseGlimmerTextCenteredRMSNorm", "MuseSparkTextCenteredRMSNorm",
    "MuseSparkTextInputScaledRMSNorm", "NemotronLayerNorm1P", "VideoPrismLayerNorm", "LayerNorm1P",
    "LigerRMSNormForGemma", "LigerRMSNormForGemma2", "LigerRMSNormForGemma3",
)  # fmt: skip

# Global response normalization, x + weight * norm(x) + bias, whose weight starts with 0 as its bias does.
RESIDUAL_NORMS = ("*GRN", "*GlobalResponseNorm")

# Names that tell such models in files, which have no classes: Gemma 2 and 3, Qwen3-Next, Qwen3.5; not Gemma 3n and 4.
_OF_ZERO_CENTERED = re.compile(r"(^|\.)(pre_feedforward_layernorm|linear_attn\.in_proj_qkvz?)\.weight$")
_OF_OTHERS = re.compile(r"(^|\.)(layer_scalar|altup|laurel|per_layer_\w+)(\.|$)")

GAINS = ("weight", "scale", "gamma", "g")  # the last word of the path of a norm's gain

# Names of norms in trees, whose gains may be stacked, (layers, d): input_layernorm, LayerNorm_0, norm2, ln_f, bn1.
_NAMED = re.compile(r"(?i)(\w*norm(_?\d+|_\w)?|(\w*_)?[lb]n(_\w+|\d+)?)")


def gains_of(parameters: Iterable[Parameter]) -> set[str]:
    """The paths of the gains of norms.

    By the class of the layer where there is one. Elsewhere a gain is an array of a name that gains have, in a layer
    with the name of a norm, whatever its axes, or with one axis and beside no array with more axes.
    """
    parameters = list(parameters)
    matrices = {_parent(each.path) for each in parameters if len(each.shape) > 1}
    return {
        each.path
        for each in parameters
        if BUFFER not in each.kinds
        and each.path.rpartition(".")[2] in GAINS
        and (
            is_of(each.kinds, NORMS)
            if each.kinds
            else bool(_NAMED.fullmatch(_parent(each.path).rpartition(".")[2]))
            or (len(each.shape) == 1 and "." in each.path and _parent(each.path) not in matrices)
        )
    }


def is_zero_centered(kinds: Sequence[str]) -> bool:
    """Whether a layer multiplies by 1 + weight, by the names of its class and of those that it inherits from."""
    return is_of(kinds, ZERO_CENTERED_NORMS)


def look_zero_centered(paths: Iterable[str]) -> bool:
    """Whether the names in a file are those of a model whose norms multiply by 1 + weight. Gemma 1 looks like Llama."""
    paths = list(paths)
    return any(map(_OF_ZERO_CENTERED.search, paths)) and not any(map(_OF_OTHERS.search, paths))


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
