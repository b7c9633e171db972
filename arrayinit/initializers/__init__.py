"""The catalogue: each initializer `f` returns a new array, and `f_`, with an underscore, fills x.

All initializers share the following.

`x` is an array of any library or, for a new array, a shape. The keywords seed, name, shape, index, flat, layout,
in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device and chunks are those of
:class:`arrayinit.Keywords`.
`f(x)` returns a new array of x's library, shape, dtype, device and sharding; `f_(x)` fills x in place and returns it.
The value of an element depends on the seed, the name, its index in the global shape and the distribution alone: the
draw is the same in each library, device, dtype and layout, and in each part of a tensor.

Ranges are those of the dtype: a draw is rounded to nearest even, for float16 and bfloat16 first to float32 and then to
the dtype, and then moved to the nearest value within the bounds. Samples lie on a lattice of 31 bits and a sign over
max(|a|, |b|) of a uniform law and |mean| + 8 std of a normal one (16 std for truncated intervals beyond 8 std; the
lattice of `distribution` differs from octave to octave), and normal samples within 6.34 standard deviations. The real
and the imaginary part of a complex element are drawn alike, each with half the variance, so that E|w - E w|^2 = std^2.
Bounds hold for each part, and so does a mean, even where std is 0: normal(mean=5) of a complex dtype has the
expectation 5 + 5i for any std. Only the value of `constant` is that of the whole element.

A draw takes place in the default floating-point environment, rounding to nearest and with subnormal numbers, whatever
fesetround, torch.set_flush_denormal or a library has set for the thread; the setting is restored afterwards. Numbers
that you compute beforehand, such as a std or a bound, are computed in your environment.

Errors are raised before anything is written: TypeError for an argument or a dtype of the wrong kind (random values need
a floating or complex dtype; constants, eye, dirac and identity also take integers and booleans); ValueError for one out
of range, for a law that the dtype can't hold, for arrays that are read-only or overlap themselves, for shapes of more
than 2**62 elements, and for new arrays of 2**59, which no address space can hold. A new array that does not fit the
memory of this machine is a MemoryError, or the error that its library raises instead. A call that raises, or that draws
nothing at random, takes no key of the sequence and no bits of a generator.

An integer is one of Python or of any library, but not a boolean; a sequence of integers is a tuple, a list, a range,
another sequence or an array with one axis, but not an iterator, a set or text.
"""

from collections.abc import Callable
from typing import Any

from arrayinit.initializers import distributions, elementwise, matrices, packs, pairs, sequences
from arrayinit.initializers.custom import CustomInitializer as CustomInitializer, custom, custom_names
from arrayinit.initializers.distributions import (
    distribution as distribution,
    distribution_ as distribution_,
    lru_gamma_log as lru_gamma_log,
    lru_gamma_log_ as lru_gamma_log_,
    lru_nu_log as lru_nu_log,
    lru_nu_log_ as lru_nu_log_,
    mamba2_a_log as mamba2_a_log,
    mamba2_a_log_ as mamba2_a_log_,
    mamba_dt_bias as mamba_dt_bias,
    mamba_dt_bias_ as mamba_dt_bias_,
)
from arrayinit.initializers.elementwise import (
    constant as constant,
    constant_ as constant_,
    kaiming_normal as kaiming_normal,
    kaiming_normal_ as kaiming_normal_,
    kaiming_uniform as kaiming_uniform,
    kaiming_uniform_ as kaiming_uniform_,
    lecun_normal as lecun_normal,
    lecun_normal_ as lecun_normal_,
    lecun_uniform as lecun_uniform,
    lecun_uniform_ as lecun_uniform_,
    normal as normal,
    normal_ as normal_,
    ones as ones,
    ones_ as ones_,
    prior_bias as prior_bias,
    prior_bias_ as prior_bias_,
    scaled_truncated_normal as scaled_truncated_normal,
    scaled_truncated_normal_ as scaled_truncated_normal_,
    siren as siren,
    siren_ as siren_,
    small_normal as small_normal,
    small_normal_ as small_normal_,
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
    zeros as zeros,
    zeros_ as zeros_,
)
from arrayinit.initializers.matrices import (
    bilinear as bilinear,
    bilinear_ as bilinear_,
    delta_orthogonal as delta_orthogonal,
    delta_orthogonal_ as delta_orthogonal_,
    dirac as dirac,
    dirac_ as dirac_,
    eye as eye,
    eye_ as eye_,
    identity as identity,
    identity_ as identity_,
    orthogonal as orthogonal,
    orthogonal_ as orthogonal_,
    sparse as sparse,
    sparse_ as sparse_,
    spectral_orthogonal as spectral_orthogonal,
    spectral_orthogonal_ as spectral_orthogonal_,
    zero_hadamard as zero_hadamard,
    zero_hadamard_ as zero_hadamard_,
)
from arrayinit.initializers.packs import (
    chrono as chrono,
    chrono_ as chrono_,
    icnr as icnr,
    icnr_ as icnr_,
    lstm_bias as lstm_bias,
    lstm_bias_ as lstm_bias_,
    packed as packed,
    packed_ as packed_,
)
from arrayinit.initializers.pairs import (
    lora_orthogonal as lora_orthogonal,
    lora_orthogonal_ as lora_orthogonal_,
    mimetic as mimetic,
    mimetic_ as mimetic_,
)
from arrayinit.initializers.sequences import (
    hippo_legs as hippo_legs,
    hippo_legs_ as hippo_legs_,
    linspace as linspace,
    linspace_ as linspace_,
    mamba_a_log as mamba_a_log,
    mamba_a_log_ as mamba_a_log_,
    s4d as s4d,
    s4d_ as s4d_,
    sinusoidal as sinusoidal,
    sinusoidal_ as sinusoidal_,
)
from arrayinit.laws import Law

# JAX's and Keras's names for these formulas. Their normal ones are truncated: see `arrayinit.jax`.
glorot_uniform, glorot_uniform_ = xavier_uniform, xavier_uniform_
glorot_normal, glorot_normal_ = xavier_normal, xavier_normal_
he_uniform, he_uniform_ = kaiming_uniform, kaiming_uniform_
he_normal, he_normal_ = kaiming_normal, kaiming_normal_
ALIASES = {
    "glorot_uniform": "xavier_uniform",
    "glorot_normal": "xavier_normal",
    "he_uniform": "kaiming_uniform",
    "he_normal": "kaiming_normal",
}

# The scheme of an initializer f is `_f`, above it; `f_` is below.
_SCHEMES: dict[str, Callable[..., Law]] = {
    name: getattr(module, "_" + name)
    for module in (distributions, elementwise, matrices, packs, pairs, sequences)
    for name in vars(module)
    if f"_{name}" in vars(module) and f"{name}_" in vars(module)
}
NAMES = tuple(sorted(_SCHEMES))
"""The names of all initializers, without aliases."""


_FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {  # `f` and `f_`
    name: (globals()[name], globals()[f"{name}_"]) for name in (*NAMES, *ALIASES)
}


def full_name(name: object) -> str | None:
    """The name under which an initializer is known, given that, or the path of one of the user's; None for others."""
    if isinstance(name, str) and ALIASES.get(name, name) in _SCHEMES:
        return name
    own = custom(name)
    return own.name if own else None


def function_of(name: str, in_place: bool = False) -> Callable[..., Any]:
    """The initializer `f` of a name, or `f_`. KeyError for unknown ones."""
    if name in _FUNCTIONS:
        return _FUNCTIONS[name][in_place]
    own = custom(name)
    if own is None:
        raise KeyError(name)
    return own.fill_ if in_place else own


def scheme_of(name: str) -> Callable[..., Law]:
    """The scheme of an initializer, or of an alias: geometry and all parameters -> law. KeyError for other names."""
    if ALIASES.get(name, name) in _SCHEMES:
        return _SCHEMES[ALIASES.get(name, name)]
    own = custom(name)
    if own is None:
        raise KeyError(name)
    return own.scheme


def path_of(name: str) -> str | None:
    """Module and function of one of the user's own initializers, "module:function"; None for arrayinit's."""
    own = custom(name)
    return own.path if own else None


def known_names() -> tuple[str, ...]:
    """All names, also aliases and those of the user's own initializers."""
    return (*NAMES, *ALIASES, *custom_names())
