"""The catalogue: every initializer, in a form that returns a new array and in one, with an underscore, that fills x.

What all of them share. `x` is an array of any library or, for a new array, a shape. The keywords are those of
:class:`arrayinit.draw.Keywords`: seed, name, shape, index, layout, in_axis, out_axis, batch_axis, groups, transposed,
xp, dtype, device. `f(x)` returns a new array of x's library, shape, dtype, device and sharding; `f_(x)` fills x in
place and returns it. The value of an element depends on the seed, the name, its index in the global shape and the
distribution, and on nothing else: every library, device, dtype, layout and part of a tensor shows the same draw.

Ranges are those of the dtype: a draw is rounded to it (nearest even) and then moved to the nearest value that it has
within the bounds. Samples lie on a grid of 31 bits and a sign over the largest magnitude the law can reach (those of
`distribution` in each octave of its own), and normal samples within 6.34 standard deviations. The real and the
imaginary part of a complex element are drawn alike, each with half the variance, so that E|w - E w|^2 = std^2; bounds
that an argument states hold for each part. So does a mean, where std is 0 as well: normal(mean=5) of a complex dtype
has the expectation 5 + 5i for every std. Only the value of `constant` is that of the whole element.

A draw takes place in the default environment of floating-point arithmetic, rounding to nearest and with subnormal
numbers, whatever fesetround, torch.set_flush_denormal or a library has set for the thread, and leaves that as it was.
Numbers that you work out before, a std or a bound, are those that your environment gives.

Errors, before anything is written: TypeError for an argument or a dtype of the wrong kind (random values need a
floating or complex dtype; constants, eye, dirac and identity also take integers and booleans), ValueError for one out
of range, for a law that the dtype can't hold, and for arrays that are read-only or overlap themselves; also for
shapes of more than 2**62 elements, and for new arrays of 2**59, which no memory has the addresses for. A new array that
this machine has no memory for is a MemoryError, or what its library raises in the place of one. A call that raises, or
that draws nothing at random, takes no key of the sequence and no bits of a generator.

An integer is one of Python or of any library, but no boolean; a sequence of them is a tuple, a list, a range, another
sequence or an array with one axis, but no iterator, set or text.
"""

from arrayinit.initializers.distributions import (
    distribution,
    distribution_,
    mamba_dt_bias,
    mamba_dt_bias_,
)
from arrayinit.initializers.matrices import (
    delta_orthogonal,
    delta_orthogonal_,
    dirac,
    dirac_,
    eye,
    eye_,
    identity,
    identity_,
    orthogonal,
    orthogonal_,
    sparse,
    sparse_,
    zero_hadamard,
    zero_hadamard_,
)
from arrayinit.initializers.packs import (
    chrono,
    chrono_,
    icnr,
    icnr_,
    lstm_bias,
    lstm_bias_,
    packed,
    packed_,
)
from arrayinit.initializers.scaled import (
    constant,
    constant_,
    kaiming_normal,
    kaiming_normal_,
    kaiming_uniform,
    kaiming_uniform_,
    lecun_normal,
    lecun_normal_,
    lecun_uniform,
    lecun_uniform_,
    normal,
    normal_,
    ones,
    ones_,
    prior_bias,
    prior_bias_,
    siren,
    siren_,
    small_normal,
    small_normal_,
    trunc_normal,
    trunc_normal_,
    truncated_normal,
    truncated_normal_,
    uniform,
    uniform_,
    variance_scaling,
    variance_scaling_,
    wang_normal,
    wang_normal_,
    xavier_normal,
    xavier_normal_,
    xavier_uniform,
    xavier_uniform_,
    zeros,
    zeros_,
)
from arrayinit.initializers.sequences import (
    hippo_legs,
    hippo_legs_,
    mamba_a_log,
    mamba_a_log_,
    s4d,
    s4d_,
    sinusoidal,
    sinusoidal_,
)

__all__ = [
    "chrono",
    "chrono_",
    "constant",
    "constant_",
    "delta_orthogonal",
    "delta_orthogonal_",
    "dirac",
    "dirac_",
    "distribution",
    "distribution_",
    "eye",
    "eye_",
    "glorot_normal",
    "glorot_normal_",
    "glorot_uniform",
    "glorot_uniform_",
    "he_normal",
    "he_normal_",
    "he_uniform",
    "he_uniform_",
    "hippo_legs",
    "hippo_legs_",
    "icnr",
    "icnr_",
    "identity",
    "identity_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lecun_normal",
    "lecun_normal_",
    "lecun_uniform",
    "lecun_uniform_",
    "lstm_bias",
    "lstm_bias_",
    "mamba_a_log",
    "mamba_a_log_",
    "mamba_dt_bias",
    "mamba_dt_bias_",
    "normal",
    "normal_",
    "ones",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "packed",
    "packed_",
    "prior_bias",
    "prior_bias_",
    "s4d",
    "s4d_",
    "sinusoidal",
    "sinusoidal_",
    "siren",
    "siren_",
    "small_normal",
    "small_normal_",
    "sparse",
    "sparse_",
    "trunc_normal",
    "trunc_normal_",
    "truncated_normal",
    "truncated_normal_",
    "uniform",
    "uniform_",
    "variance_scaling",
    "variance_scaling_",
    "wang_normal",
    "wang_normal_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zero_hadamard",
    "zero_hadamard_",
    "zeros",
    "zeros_",
]

# The names of JAX and Keras for the same formulas. Theirs truncate the normal ones: see `arrayinit.jax`.
glorot_uniform, glorot_uniform_ = xavier_uniform, xavier_uniform_
glorot_normal, glorot_normal_ = xavier_normal, xavier_normal_
he_uniform, he_uniform_ = kaiming_uniform, kaiming_uniform_
he_normal, he_normal_ = kaiming_normal, kaiming_normal_
