"""Keras's defaults."""

from arrayinit.models.rules import Rules
from arrayinit.recipes.shorthand import rule
from arrayinit.specs import spec

__all__ = ["keras_defaults"]


def keras_defaults() -> Rules:
    """Keras's defaults: glorot_uniform kernels, orthogonal recurrent ones, embeddings U(-0.05, 0.05). For Keras 3.

    Kernels: U(-b, b), b = sqrt(6 / (fan_in + fan_out)), with Keras's own fans: those of a plain convolution for
    depthwise and grouped ones too, those of the equation for EinsumDense and attention. Recurrent kernels are
    orthogonal as one (in, gates * units) matrix. Biases 0, but 1 for the forget gate of LSTM and ConvLSTM. Norms 1 and
    0, their statistics as new; PReLU 0; LayerScale of ConvNeXt in keras.applications 1e-6; the scale of
    AdditiveAttention U(-sqrt(3 / dim), sqrt(3 / dim)), of Attention 1; SpectralNormalization's u a normal of std 0.02
    truncated at two sigma; LoRA he_uniform and 0.

    For :func:`arrayinit.keras.init_model_`. By paths and, for a few layers, by kinds.

        >>> from arrayinit.recipes import keras_defaults
        >>> keras_defaults().find("dense.kernel", (64, 128), ["Dense"]).initializer
        spec('xavier_uniform', groups=1, in_axis=-2, out_axis=-1)

    Source: keras.layers (3.15), the defaults of their initializers.
    """
    plain = {"in_axis": -2, "out_axis": -1, "groups": 1}
    return Rules(
        [
            rule("*recurrent_kernel", spec("orthogonal")),
            rule("*bias", spec("lstm_bias", forget=1.0), kind="LSTMCell"),
            rule("*bias", spec("lstm_bias", forget=1.0), kind="ConvLSTMCell"),
            rule("*kernel", spec("xavier_uniform"), kind="EinsumDense"),
            rule("*kernel", spec("xavier_uniform", **plain)),
            rule("*embeddings", spec("uniform", a=-0.05, b=0.05)),
            rule("*bias", spec("zeros")),
            rule(
                "*scale",
                spec("variance_scaling", distribution="uniform", in_axis=0, out_axis=()),
                kind="AdditiveAttention",
            ),
            rule("*scale", spec("ones")),
            rule("*concat_score_weight", spec("ones")),
            rule("*", spec("constant", val=1e-6), kind="LayerScale"),  # of ConvNeXt in keras.applications
            rule("*gamma", spec("ones")),
            rule("*beta", spec("zeros")),
            rule("*alpha", spec("zeros")),
            rule("*lora_*_a", spec("kaiming_uniform", in_axis=-2, out_axis=-1)),
            rule("*lora_*_b", spec("zeros")),
            rule("*_mean", spec("zeros"), kind="BatchNormalization"),
            rule("*_variance", spec("ones"), kind="BatchNormalization"),
            rule("*_stddev", spec("ones"), kind="BatchNormalization"),
            rule("*vector_u", spec("truncated_normal", std=0.02), kind="SpectralNormalization"),
        ]
    )
