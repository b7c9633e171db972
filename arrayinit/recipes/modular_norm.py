"""The start of models that are trained in the modular norm: orthogonal matrices of a scale that no width changes."""

from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import gains_of_kinds, rule
from arrayinit.specs import spec

__all__ = ["modular_norm"]


def modular_norm() -> Rules:
    """Modular norm: linear layers orthogonal, times sqrt(out / in), embeddings of root mean square 1, as modula has it.

    Each row of an embedding is a uniform direction of length sqrt(features): the orthogonal matrix (features, 1) that a
    token selects. Biases and norms, which modula has none of, are 0 and 1. Other layers have no rule: a convolution
    needs its own, spec("spectral_orthogonal", layout="oibb", gain=1 / 9) for a kernel of 3 x 3, as in modula.

    By kinds for torch, Linear and Embedding; by paths for Flax, `kernel` and `embedding`.

        >>> from arrayinit.recipes import modular_norm
        >>> modular_norm().find("blocks.0.fc.weight", (256, 64), ["Linear"]).initializer
        spec('spectral_orthogonal')

    Source: Large et al., Scalable optimization in the modular norm, NeurIPS 2024, section 3; modula-systems/modula,
    modula/atom.py, Linear and Embed; the convolution is that of modula 0.0.0.0.0.2.
    """
    row = spec("spectral_orthogonal", out_axis=1, in_axis=(), batch_axis=0)
    return Rules(
        [
            *gains_of_kinds(),
            *(rule("*weight", row, kind=kind) for kind in ("Embedding", "EmbeddingBag")),
            rule("*weight", spec("spectral_orthogonal"), kind="Linear"),
            rule("*kernel", spec("spectral_orthogonal")),
            rule("*embedding", row),
            rule("*scale", spec("ones")),
            rule("*bias", spec("zeros")),
        ]
    )
