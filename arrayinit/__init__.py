"""arrayinit: weight initializers for the array API. One seed, one tensor: the same bits on every array library.

    >>> import arrayinit as ai
    >>> ai.xavier_uniform((2, 3), seed=0)
    array([[-0.2211781 ,  0.833678  ,  0.51642084],
           [ 0.23109916,  1.0346286 , -0.30214322]], dtype=float32)

An initializer `f` returns a new array, and `f_` fills an array in place. `x`, its first argument, is an array, whose
shape, dtype, device and library the result takes, or the shape of a new array: a tuple such as (256, 128), or an
integer. All initializers share keywords (seed, name, shape, index, layout, ..., xp, dtype, device), which
:class:`arrayinit.Keywords` explains one by one, and the rules of :mod:`arrayinit.initializers`.

Modules: `recipes` for well-known models, `storage` for tensors larger than memory, `plot` for figures, `laws` for
schemes of your own, and `torch`, `jax` and `keras` in place of the initializer modules of these libraries. They are
imported when they are first used, as `ai.recipes` or by an import.
"""

import sys as _sys
import types as _types
import typing as _typing

from arrayinit.draw import Keywords as Keywords
from arrayinit.draws import Draw as Draw
from arrayinit.initializers import (
    bilinear as bilinear,
    bilinear_ as bilinear_,
    chrono as chrono,
    chrono_ as chrono_,
    constant as constant,
    constant_ as constant_,
    delta_orthogonal as delta_orthogonal,
    delta_orthogonal_ as delta_orthogonal_,
    dirac as dirac,
    dirac_ as dirac_,
    distribution as distribution,
    distribution_ as distribution_,
    eye as eye,
    eye_ as eye_,
    glorot_normal as glorot_normal,
    glorot_normal_ as glorot_normal_,
    glorot_uniform as glorot_uniform,
    glorot_uniform_ as glorot_uniform_,
    he_normal as he_normal,
    he_normal_ as he_normal_,
    he_uniform as he_uniform,
    he_uniform_ as he_uniform_,
    hippo_legs as hippo_legs,
    hippo_legs_ as hippo_legs_,
    icnr as icnr,
    icnr_ as icnr_,
    identity as identity,
    identity_ as identity_,
    kaiming_normal as kaiming_normal,
    kaiming_normal_ as kaiming_normal_,
    kaiming_uniform as kaiming_uniform,
    kaiming_uniform_ as kaiming_uniform_,
    lecun_normal as lecun_normal,
    lecun_normal_ as lecun_normal_,
    lecun_uniform as lecun_uniform,
    lecun_uniform_ as lecun_uniform_,
    linspace as linspace,
    linspace_ as linspace_,
    lora_orthogonal as lora_orthogonal,
    lora_orthogonal_ as lora_orthogonal_,
    lru_gamma_log as lru_gamma_log,
    lru_gamma_log_ as lru_gamma_log_,
    lru_nu_log as lru_nu_log,
    lru_nu_log_ as lru_nu_log_,
    lstm_bias as lstm_bias,
    lstm_bias_ as lstm_bias_,
    mamba2_a_log as mamba2_a_log,
    mamba2_a_log_ as mamba2_a_log_,
    mamba_a_log as mamba_a_log,
    mamba_a_log_ as mamba_a_log_,
    mamba_dt_bias as mamba_dt_bias,
    mamba_dt_bias_ as mamba_dt_bias_,
    mimetic as mimetic,
    mimetic_ as mimetic_,
    normal as normal,
    normal_ as normal_,
    ones as ones,
    ones_ as ones_,
    orthogonal as orthogonal,
    orthogonal_ as orthogonal_,
    packed as packed,
    packed_ as packed_,
    prior_bias as prior_bias,
    prior_bias_ as prior_bias_,
    s4d as s4d,
    s4d_ as s4d_,
    scaled_truncated_normal as scaled_truncated_normal,
    scaled_truncated_normal_ as scaled_truncated_normal_,
    sinusoidal as sinusoidal,
    sinusoidal_ as sinusoidal_,
    siren as siren,
    siren_ as siren_,
    small_normal as small_normal,
    small_normal_ as small_normal_,
    sparse as sparse,
    sparse_ as sparse_,
    spectral_orthogonal as spectral_orthogonal,
    spectral_orthogonal_ as spectral_orthogonal_,
    trunc_normal as trunc_normal,
    trunc_normal_ as trunc_normal_,
    truncated_normal as truncated_normal,
    truncated_normal_ as truncated_normal_,
    uniform as uniform,
    uniform_ as uniform_,
    variance_scaling as variance_scaling,
    variance_scaling_ as variance_scaling_,
    wang_normal as wang_normal,
    wang_normal_ as wang_normal_,
    xavier_normal as xavier_normal,
    xavier_normal_ as xavier_normal_,
    xavier_uniform as xavier_uniform,
    xavier_uniform_ as xavier_uniform_,
    zero_hadamard as zero_hadamard,
    zero_hadamard_ as zero_hadamard_,
    zeros as zeros,
    zeros_ as zeros_,
)
from arrayinit.initializers.bits import bits as bits
from arrayinit.initializers.custom import scheme as scheme
from arrayinit.key import Key as Key
from arrayinit.laws.gains import calculate_gain as calculate_gain, gain as gain
from arrayinit.laws.geometry import calculate_fans as calculate_fans
from arrayinit.reports import report as report
from arrayinit.seeds import fold as fold, manual_seed as manual_seed, seeded as seeded
from arrayinit.specs import Description as Description, Spec as Spec, describe as describe, spec as spec

if _typing.TYPE_CHECKING:
    from arrayinit import (
        jax as jax,
        keras as keras,
        laws as laws,
        plot as plot,
        recipes as recipes,
        storage as storage,
        torch as torch,
    )
    from arrayinit.digests import (
        FingerprintPart as FingerprintPart,
        fingerprint as fingerprint,
        fingerprint_part as fingerprint_part,
        fingerprints as fingerprints,
    )
    from arrayinit.models.mappings import init_params_ as init_params_
    from arrayinit.models.plans import Plan as Plan, PlanError as PlanError
    from arrayinit.models.rules import Rule as Rule, Rules as Rules

__version__ = "0.1.0"

STREAM_VERSION = 1
"""The version of the map from (seed, name, index, distribution) to bits. It changes whenever a single bit does."""

# Names for whole models and digests are imported at first use: most programs that draw arrays need none.
_LATER = {
    "FingerprintPart": "digests",
    "Plan": "models.plans",
    "PlanError": "models.plans",
    "Rule": "models.rules",
    "Rules": "models.rules",
    "fingerprint": "digests",
    "fingerprint_part": "digests",
    "fingerprints": "digests",
    "init_params_": "models.mappings",
}

_MODULES = ("laws", "plot", "recipes", "storage")  # imported at first use, too
_FRAMEWORKS = ("jax", "keras", "torch")  # likewise; each needs the library that it is called after


def __getattr__(name: str) -> _typing.Any:
    import importlib

    if name in _LATER:
        value = globals()[name] = getattr(importlib.import_module(f"arrayinit.{_LATER[name]}"), name)
        return value
    if name in (*_MODULES, *_FRAMEWORKS):
        try:
            return importlib.import_module(f"arrayinit.{name}")
        except ImportError as error:  # hasattr and help expect this class
            raise AttributeError(f"arrayinit.{name} can't be imported: {error}") from error
    from arrayinit.common.messages import no_attribute

    raise no_attribute("arrayinit", name, (*__all__, *_MODULES, *_FRAMEWORKS))


def __dir__() -> list[str]:
    # `help` and tab completion read all of these, and must not import a framework that the program doesn't use.
    frameworks = (name for name in _FRAMEWORKS if name in _sys.modules)
    special = (name for name in globals() if name.startswith("__"))
    return sorted({*__all__, *_MODULES, *frameworks, *special})


__all__ = sorted(  # the names imported above, and those of _LATER
    {name for name, value in globals().items() if name[0] != "_" and not isinstance(value, _types.ModuleType)}
    | {*_LATER}
)
