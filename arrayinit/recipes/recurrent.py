"""Recurrent layers of torch, Keras and Flax, started alike gate by gate."""

import re

from arrayinit.common.arguments import finite, nonnegative
from arrayinit.models.rules import Rule, Rules
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import spec

__all__ = ["irnn", "recurrent"]

ZEROS = spec("zeros")
INPUT, RECURRENT = spec("xavier_uniform"), spec("orthogonal")
GATES = {"LSTM": 4, "GRU": 3}
ORDERS = {"LSTM": None, "GRU": (1, 0, 2)}  # of Keras's gates; torch's GRU has r, z, n, Keras's z, r, h


def recurrent(forget: float = 1.0) -> Rules:
    """LSTM, GRU and plain RNN: for each gate, xavier_uniform of inputs and orthogonal of states; biases 0, f `forget`.

    The gates of a packed matrix are drawn one by one, each with its own fans, as torch, Keras and Flax pack them:

    =========  ==================================  ==========  ===========  =======================================
    library    matrices                            LSTM        GRU          biases
    =========  ==================================  ==========  ===========  =======================================
    torch      weight_ih, weight_hh: (gates, in)   i, f, g, o  r, z, n      bias_ih has `forget`, bias_hh is 0
    Keras      kernel, recurrent_kernel: (in,      i, f, c, o  z, r, h      bias has `forget`; that of GRU is (2, 3 H)
               gates)
    Flax       a Dense for each gate: ii, hi, ...  i, f, g, o  r, z, n      hf has `forget`
    =========  ==================================  ==========  ===========  =======================================

    cuDNN has the matrices and the order of torch, which hands it views of them. Gate k of torch's order is drawn under
    fold(key, k) in torch and in Keras, so layers with one seed name have the same gates; in Flax, where a gate is a
    tensor of its own, the seed name ("rnn.weight_ih_l0", k) gives it those of torch's `rnn.weight_ih_l0`.

    By kinds for torch and Keras, by paths for Flax: LSTMCell, OptimizedLSTMCell and GRUCell of linen, and LSTMCell of
    nnx. Cells of nnx that pack gates into `dense_i` and `dense_h` do not say how many, and have no rule. Rules are for
    recurrent layers alone: put those of the other layers behind.

        >>> from arrayinit.recipes import recurrent
        >>> recurrent().find("rnn.weight_hh_l0", (64, 16), ["LSTM"]).initializer
        spec('packed', blocks=4, initializer=spec('orthogonal'))
        >>> recurrent().find("gru.gru_cell.recurrent_kernel", (16, 48), ["GRUCell"]).initializer
        spec('packed', blocks=3, initializer=spec('orthogonal'), layout='io', order=(1, 0, 2))

    Args:
        forget: the bias of the LSTM's forget gate.

    Raises:
        ValueError, TypeError: a forget that is not finite, or that is not a number.

    Source: Glorot and Bengio, 2010; Saxe et al., 2014, section 3; Jozefowicz et al., 2015, section 2.1; torch.nn.LSTM
    and GRU (torch 2.13), keras.layers.LSTMCell and GRUCell (Keras 3.15), flax.linen.LSTMCell and GRUCell (0.12).
    """
    number = finite(forget, "forget")
    lstm = spec("lstm_bias", forget=number)
    rules = []
    for name, gates in GATES.items():
        order = {} if ORDERS[name] is None else {"order": ORDERS[name]}
        bias = lstm if name == "LSTM" else ZEROS
        for kind in (name, f"{name}Cell"):
            rules += [
                rule("*weight_ih*", spec("packed", initializer=INPUT, blocks=gates), kind=kind),
                rule("*weight_hh*", spec("packed", initializer=RECURRENT, blocks=gates), kind=kind),
                rule("*bias_ih*", bias, kind=kind),
            ]
        packed = {"blocks": gates, "layout": "io", **order}
        rules += [
            rule("*recurrent_kernel", spec("packed", initializer=RECURRENT, **packed), kind=f"{name}Cell"),
            rule("*kernel", spec("packed", initializer=INPUT, **packed), kind=f"{name}Cell"),
            rule("*bias", bias, kind=f"{name}Cell"),
        ]
    rules += [rule("*weight_hr*", INPUT, kind="LSTM")]  # the projections of proj_size
    for kind in ("RNN", "RNNCell"):
        rules += [rule("*weight_ih*", INPUT, kind=kind), rule("*weight_hh*", RECURRENT, kind=kind)]
    rules += [
        rule("*recurrent_kernel", spec("orthogonal", layout="io"), kind="SimpleRNNCell"),
        rule("*kernel", spec("xavier_uniform", layout="io"), kind="SimpleRNNCell"),
        rule("*bias", ZEROS, kind="SimpleRNNCell"),
        *_zero_biases(),
        rule(re.compile(r"(^|\.)i([igornz]|f_?)\.kernel$"), INPUT),
        rule(re.compile(r"(^|\.)h[ifgornz]\.kernel$"), RECURRENT),
        rule(re.compile(r"(^|\.)hf\.bias$"), spec("constant", val=number)),
        rule(re.compile(r"(^|\.)(i[rzn]|h[igon])\.bias$"), ZEROS),
    ]
    return Rules(rules)


def irnn(std: float = 0.001, scale: float = 1.0) -> Rules:
    """IRNN: the recurrent matrix of a plain RNN of relus is the identity, all others N(0, std^2); biases 0.

    By kinds, for RNN and RNNCell of torch (with nonlinearity="relu"), SimpleRNN of Keras and Linear layers. With
    `scale` below 1 the network forgets, as the paper's iRNN of 0.01 for speech.

        >>> from arrayinit.recipes import irnn
        >>> irnn().find("rnn.weight_hh_l0", (16, 16), ["RNN"]).initializer
        spec('eye')
        >>> irnn().find("rnn.weight_ih_l0", (16, 2), ["RNN"]).initializer
        spec('normal', std=0.001)

    Args:
        std: of matrices that are not recurrent, >= 0.
        scale: the recurrent matrix is this times the identity.

    Raises:
        ValueError, TypeError: a std that is negative, a number that is not finite.

    Source: Le, Jaitly and Hinton, A simple way to initialize recurrent networks of rectified linear units, 2015,
    sections 3 and 4.
    """
    others = spec("normal", std=nonnegative(std, "std"))
    factor = finite(scale, "scale")
    same = spec("eye") if factor == 1 else spec("identity", gain=factor)
    rules = []
    for kind in ("RNN", "RNNCell"):
        rules += [rule("*weight_hh*", same, kind=kind), rule("*weight_ih*", others, kind=kind)]
    return Rules(
        [
            *rules,
            *_zero_biases(),
            rule("*recurrent_kernel", same, kind="SimpleRNNCell"),
            *(rule("*kernel", others, kind=kind) for kind in ("SimpleRNNCell", "Dense")),
            rule("*weight", others, kind="Linear"),
            *(rule("*bias", ZEROS, kind=kind) for kind in ("SimpleRNNCell", "Dense", "Linear")),
        ]
    )


def _zero_biases() -> list[Rule]:
    """The biases of torch's recurrent layers that no rule before sets."""
    kinds = [f"{name}{cell}" for name in ("RNN", "LSTM", "GRU") for cell in ("", "Cell")]
    return [rule("*bias_[ih]h*", ZEROS, kind=kind) for kind in kinds]
