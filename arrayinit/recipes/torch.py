"""torch's defaults: the draws of each layer of torch.nn when it is created."""

import math

from arrayinit.models.norms import ZERO_CENTERED_NORMS
from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import spec

__all__ = ["torch_defaults", "torch_transformer"]

ZEROS, ONES = spec("zeros"), spec("ones")


def torch_defaults() -> Rules:
    """torch's defaults: the `reset_parameters` of every layer of torch.nn. By kinds, for torch modules.

    Linear, convolutions: U(-b, b), b = 1 / sqrt(fan_in), weight and bias. fan_in is torch's own: weight.size(1) times
    the kernel, for transposed convolutions too, where that is the number of output channels of a group.
    Bilinear: b = 1 / sqrt(in1_features). LSTM, GRU, RNN and their cells: b = 1 / sqrt(hidden_size), biases too.
    Embedding, EmbeddingBag: N(0, 1); the row of padding_idx is 0. MultiheadAttention: xavier_uniform of the packed
    (3 E, E) weight as a whole, or of the separate ones; bias_k and bias_v xavier_normal; its biases 0; out_proj.weight
    as Linear. Norms: 1 and 0, running statistics as new; norms that are known to multiply by 1 + weight: 0 and 0.
    PReLU: 0.25, the default of its `init`.

    Layers that hold others (TransformerEncoderLayer, AdaptiveLogSoftmaxWithLoss) follow the rules of their parts; for
    nn.Transformer use :func:`torch_transformer`. Parameters outside of torch's layers need rules before these.

        >>> from arrayinit.recipes import torch_defaults
        >>> torch_defaults().find("fc.weight", (128, 64), ["Linear"]).initializer
        spec('kaiming_uniform', a=2.23606797749979)

    Source: torch.nn.modules (torch 2.13), `reset_parameters`.
    """
    fan_in = spec("kaiming_uniform", a=math.sqrt(5))
    convolution = spec("kaiming_uniform", a=math.sqrt(5), transposed=False)
    bilinear = spec("kaiming_uniform", a=math.sqrt(5), layout="oib")
    rules = [
        rule("*bias", ZEROS, "NonDynamicallyQuantizableLinear"),  # out_proj of MultiheadAttention
        rule("*weight", fan_in, "Linear"),
        rule("*bias", fan_in, "Linear", like="weight"),
        rule("*weight", convolution, "_ConvNd"),
        rule("*bias", convolution, "_ConvNd", like="weight"),
        rule("*weight", bilinear, "Bilinear"),
        rule("*bias", bilinear, "Bilinear", like="weight"),
        rule("*weight", spec("normal"), "Embedding"),
        rule("*weight", spec("normal"), "EmbeddingBag"),
        rule("*in_proj_bias", ZEROS, "MultiheadAttention"),
        rule("*bias_[kv]", spec("xavier_normal"), "MultiheadAttention"),
        rule("*proj_weight", spec("xavier_uniform"), "MultiheadAttention"),
        rule("*weight", spec("constant", val=0.25), "PReLU"),
    ]
    # fan_out of weight_ih is gates * hidden_size in each layer and direction.
    for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        hidden = spec("variance_scaling", scale=gates / 3, mode="fan_out", distribution="uniform")
        rules += [rule("*", hidden, kind, like="weight_ih_l0"), rule("*", hidden, f"{kind}Cell", like="weight_ih")]
    rules += [rule("*running_var", ONES, "_NormBase")]
    rules += [rule(f"*{name}", ZEROS, "_NormBase") for name in ("running_mean", "num_batches_tracked")]
    rules.append(rule("*weight", ZEROS, ZERO_CENTERED_NORMS))
    for kind in ("LayerNorm", "GroupNorm", "RMSNorm", "_NormBase"):
        rules += [rule("*weight", ONES, kind), rule("*bias", ZEROS, kind)]
    return Rules(rules)


def torch_transformer() -> Rules:
    """nn.Transformer: xavier_uniform for each matrix, the packed (3 E, E) ones as a whole; the rest as torch_defaults.

    For nn.TransformerEncoder or nn.TransformerDecoder alone, :func:`torch_defaults` is what torch does. By kinds.

        >>> from arrayinit.recipes import torch_transformer
        >>> torch_transformer().find("encoder.layers.0.linear1.weight", (2048, 512), ["Linear"]).initializer
        spec('xavier_uniform')

    Source: torch.nn.Transformer._reset_parameters (torch 2.13).
    """
    return Rules([rule("*weight", spec("xavier_uniform"), "Linear"), *torch_defaults()])
