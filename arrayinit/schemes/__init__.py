"""Schemes: the geometry of a weight and the parameters of an initializer -> the law of its elements.

Pure functions of Python floats (binary64; + - * / sqrt only, or correctly rounded decimals), so that a bound is the
same number everywhere. What each scheme is, and where it comes from, is said in the docstring of its namesake in
`initializers`.
"""

from arrayinit.schemes.distributions import distribution, mamba_dt_bias
from arrayinit.schemes.matrices import delta_orthogonal, dirac, eye, identity, orthogonal, sparse, zero_hadamard
from arrayinit.schemes.packs import chrono, icnr, lstm_bias, packed
from arrayinit.schemes.scaled import (
    constant,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    prior_bias,
    siren,
    small_normal,
    trunc_normal,
    truncated_normal,
    uniform,
    variance_scaling,
    wang_normal,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from arrayinit.schemes.sequences import hippo_legs, mamba_a_log, s4d, sinusoidal

__all__ = [
    "chrono",
    "constant",
    "delta_orthogonal",
    "dirac",
    "distribution",
    "eye",
    "hippo_legs",
    "icnr",
    "identity",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "lstm_bias",
    "mamba_a_log",
    "mamba_dt_bias",
    "normal",
    "ones",
    "orthogonal",
    "packed",
    "prior_bias",
    "s4d",
    "sinusoidal",
    "siren",
    "small_normal",
    "sparse",
    "trunc_normal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "wang_normal",
    "xavier_normal",
    "xavier_uniform",
    "zero_hadamard",
    "zeros",
]
