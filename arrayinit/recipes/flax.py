"""Flax's defaults, of linen and of nnx."""

import re

from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import spec

__all__ = ["flax_defaults"]


def flax_defaults() -> Rules:
    """Flax's defaults, linen and nnx: lecun_normal kernels, orthogonal recurrent ones, biases 0. By paths.

    Kernels: N(0, 1 / fan_in) truncated at two sigma, with its variance restored; the fans of Dense, Conv, ConvTranspose
    and attention are Flax's own. Recurrent kernels (hi, hf, hg, ho, hr, hz, hn, h, dense_h) are orthogonal, each as one
    matrix; ConvLSTMCell's hh is not. Embeddings: N(0, 1 / features). Biases 0, but 1 for the forget gate
    of MGUCell (if). Norms 1 and 0, their statistics as new; PReLU 0.01; LoRA kaiming_uniform and 0; the u of
    nnx.SpectralNorm N(0, 0.01^2).

    Trees of arrays have no types of layers, so names decide: a Dense that a model names `hi` or `h` counts as a
    recurrent one. Stacks of nn.scan and nn.vmap have the fans of one layer, and a DenseGeneral those of its axes, as
    :func:`arrayinit.jax.init_tree` finds them; where that is open, it asks for a rule before these, such as
    Rule("*proj.kernel", spec("variance_scaling", layout="ioo")). Flax counts the batch axes of a DenseGeneral or a
    LinearGeneral among its inputs; these rules don't. Kernels within linen's WeightNorm and SpectralNorm are stored
    normalized, and these rules do not apply to them.

        >>> from arrayinit.recipes import flax_defaults
        >>> flax_defaults().find("Dense_0.kernel", (64, 128)).initializer
        spec('variance_scaling', transposed=False)

    Source: flax.linen, flax.nnx (0.12): default_kernel_init, default_embed_init, and the cells.
    """
    recurrent = re.compile(r"(^|\.)(h[ifgornz]?|dense_h)\.kernel$")
    return Rules(
        [
            rule(recurrent, spec("orthogonal")),
            rule(re.compile(r"(^|\.)if\.bias$"), spec("ones")),
            rule("*kernel", spec("variance_scaling", transposed=False)),  # whatever transpose_kernel is
            rule("*embedding", spec("variance_scaling", distribution="normal")),
            rule(re.compile(r"(^|\.)bias$"), spec("zeros")),
            rule("*scale", spec("ones")),
            rule(re.compile(r"(^|\.)mean$"), spec("zeros")),
            rule(re.compile(r"(^|\.)var$"), spec("ones")),
            rule("*negative_slope", spec("constant", val=0.01)),
            rule("*lora_a", spec("kaiming_uniform")),
            rule("*lora_b", spec("zeros")),
            rule(re.compile(r"\bscales\.\("), spec("ones")),  # WeightNorm of nnx
            rule(re.compile(r", 'u'\)$"), spec("normal", std=0.01)),  # SpectralNorm of nnx
            rule(re.compile(r", 'sigma'\)$"), spec("ones")),
        ]
    )
