"""arrayinit: weight initializers for the array API. One seed, one tensor: the same bits on every array library."""

import typing as _typing

from arrayinit.fingerprints import fingerprint
from arrayinit.initializers import (
    chrono,
    chrono_,
    constant,
    constant_,
    delta_orthogonal,
    delta_orthogonal_,
    dirac,
    dirac_,
    distribution,
    distribution_,
    eye,
    eye_,
    glorot_normal,
    glorot_normal_,
    glorot_uniform,
    glorot_uniform_,
    he_normal,
    he_normal_,
    he_uniform,
    he_uniform_,
    hippo_legs,
    hippo_legs_,
    icnr,
    icnr_,
    identity,
    identity_,
    kaiming_normal,
    kaiming_normal_,
    kaiming_uniform,
    kaiming_uniform_,
    lecun_normal,
    lecun_normal_,
    lecun_uniform,
    lecun_uniform_,
    lstm_bias,
    lstm_bias_,
    mamba_a_log,
    mamba_a_log_,
    mamba_dt_bias,
    mamba_dt_bias_,
    normal,
    normal_,
    ones,
    ones_,
    orthogonal,
    orthogonal_,
    packed,
    packed_,
    prior_bias,
    prior_bias_,
    s4d,
    s4d_,
    sinusoidal,
    sinusoidal_,
    siren,
    siren_,
    small_normal,
    small_normal_,
    sparse,
    sparse_,
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
    zero_hadamard,
    zero_hadamard_,
    zeros,
    zeros_,
)
from arrayinit.initializers.bits import bits
from arrayinit.key import Key
from arrayinit.laws.gains import calculate_gain, gain
from arrayinit.laws.geometry import calculate_fans
from arrayinit.reports import report
from arrayinit.seeds import fold, manual_seed, seeded
from arrayinit.specs import Description, Spec, describe, spec

if _typing.TYPE_CHECKING:
    from arrayinit.models.mappings import init_params_
    from arrayinit.models.plans import Plan, PlanError
    from arrayinit.models.rules import Rule, Rules

__version__ = "0.1.0"

STREAM_VERSION = 1
"""The version of the map from (seed, name, index, distribution) to bits. It changes whenever a single bit does."""

__all__ = [
    "STREAM_VERSION",
    "Description",
    "Key",
    "Plan",
    "PlanError",
    "Rule",
    "Rules",
    "Spec",
    "bits",
    "calculate_fans",
    "calculate_gain",
    "chrono",
    "chrono_",
    "constant",
    "constant_",
    "delta_orthogonal",
    "delta_orthogonal_",
    "describe",
    "dirac",
    "dirac_",
    "distribution",
    "distribution_",
    "eye",
    "eye_",
    "fingerprint",
    "fold",
    "gain",
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
    "init_params_",
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
    "manual_seed",
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
    "report",
    "s4d",
    "s4d_",
    "seeded",
    "sinusoidal",
    "sinusoidal_",
    "siren",
    "siren_",
    "small_normal",
    "small_normal_",
    "sparse",
    "sparse_",
    "spec",
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

# What whole models need is imported when it is asked for: most programs that draw arrays never do.
_LATER = {"Plan": "plans", "PlanError": "plans", "Rule": "rules", "Rules": "rules", "init_params_": "mappings"}


def __getattr__(name: str) -> _typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module 'arrayinit' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(f"arrayinit.models.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
