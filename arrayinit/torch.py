"""torch.nn.init, name for name: `import arrayinit.torch as init`.

    >>> import torch
    >>> import arrayinit.torch as init
    >>> init.kaiming_uniform_(torch.empty(2, 3), nonlinearity="relu", seed=0, name="fc.weight")
    tensor([[-1.3768,  0.2897,  0.5652],
            [ 1.1073, -1.2400,  1.2457]])

The names, parameters, defaults, return values, warnings and errors are those of torch.nn.init. The random functions
also take seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups and transposed, the keywords of
:class:`arrayinit.Keywords`.

The randomness comes from `generator` if one is given (it gives up 64 bits, however large the tensor), else from `seed`
(both at once are a ValueError), else from the sequence of an active `arrayinit.seeded`, else from torch's default CPU
generator, whatever the tensor's device, so that `torch.manual_seed` makes a script reproducible.
`arrayinit.manual_seed` has no effect here. Meta and fake tensors, empty ones and constant laws take nothing from a
generator.

The default generators of two ranks may differ, so DTensors are never drawn from them. Without `seed` and `generator`
they need `arrayinit.seeded`, or `arrayinit.manual_seed`, with one seed on all ranks; otherwise a ValueError says so.

Intended differences from torch.nn.init:

- The numbers for a given seed are those of arrayinit: the same on every device, in every dtype and memory layout and,
  with `seed` and `name`, independent of what was drawn before.
- Complex xavier_uniform_ and kaiming_uniform_ give E|w|^2 = std^2, as their normal counterparts do; torch gives twice
  that.
- `generator` also chooses the zeros of sparse_. A column has exactly ceil(sparsity * rows) of them, computed with the
  decimal number as written (0.07 of 100 rows are 7, in torch 8); a sparsity outside [0, 1] is refused.
- orthogonal_ works in float16 and bfloat16 and for any strides, trunc_normal_ for complex tensors.
- Refused: infinite and NaN parameters (but for infinite bounds of trunc_normal_), a negative std of trunc_normal_,
  scales that the dtype can't hold without overflow or subnormal steps, intervals that hold no value of the dtype, and
  in trunc_normal_ those more than 9 to 11 std away from the mean or far narrower than std.
- `nonlinearity` also takes gelu, silu, mish and the other names of :func:`arrayinit.calculate_gain`, and functions.
- A kaiming slope may be a real number of any type, and must be finite. trunc_normal_ with std 0 is a constant.
- Arguments are checked for meta tensors, too. Shapes with a zero raise no ZeroDivisionError or IndexError.
- Values are float64, float32, float16, bfloat16, complex64 or complex128; no complex32.
- A tensor that transformers has loaded (it sets `_is_hf_initialized` on it) is returned as it is, as by transformers'
  own guard of torch.nn.init; nothing is taken from a generator.

Errors: an argument out of range raises an :class:`ArgumentError`, which is both a ValueError (as in arrayinit) and a
RuntimeError (as in torch, whose kernels raise it). A tensor that can't hold random values raises a NotImplementedError,
an argument of the wrong kind a TypeError, an unknown nonlinearity, slope or mode a ValueError.

:func:`init_module_`, :func:`record`, :func:`lsuv_` and :func:`unit_output_` have no counterpart in torch.nn.init: they
draw a whole module by rules, record what a model's own constructor draws, and scale layers by their outputs on a batch.

Inside torch.compile, torch.export, make_fx and torch.jit.trace a draw is one operator, torch.ops.arrayinit.draw, with
the same bits as outside. A saved program needs `import arrayinit.torch` before it is loaded. `seed` must be given
there, since a graph would repeat the one key that was taken while it was traced; where torch.compile may break the
graph, a draw without a seed happens outside of it, each time with a new key. DTensors and whole modules are also drawn
outside of graphs.

Under torch.vmap a draw follows `randomness`: with "different" member i has the key fold(key, i), as by
`name=(name, i)`; with "same" all have one draw; "error" raises. Maps in chunks (`chunk_size`) count the members of each
chunk from 0, so they need no seed, or one that is mapped over. A draw is a constant to forward and reverse derivatives.

`seed` may be a key of torch.func._random, a uint64 tensor (seed, offset). With offset 0, as of `key(5)`, it is the seed
itself, so seed=5 is the same key, and both libraries read the same words of Philox4x32-10 (:func:`arrayinit.bits`).
The values differ: torch's uniform takes the low 24 bits of a word (in float64 53 bits of two words), and its normal is
Box-Muller. Another offset, from `split` or `fold_in`, is folded into the seed, whereas torch skips that many blocks of
the stream, so the words then differ. `split` and `fold_in` are not :func:`arrayinit.fold`. Where torch.vmap maps over a
key, each member has its own.

As in torch, a subclass that overrides `__torch_function__` receives uniform_, normal_, constant_ and kaiming_uniform_:
these functions, not torch's of the same name.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from arrayinit.common.extras import missing_library

try:
    import torch
except ModuleNotFoundError as error:
    raise missing_library("arrayinit.torch", "torch", "torch", error) from error
from torch import Generator, Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from arrayinit import initializers, seeds
from arrayinit.backends import backend_of, is_compiling
from arrayinit.common.arguments import real
from arrayinit.common.messages import module_hint, no_attribute, shown, warn
from arrayinit.draw import IN_PLACE, Keywords, draw
from arrayinit.initializers.forms import signature
from arrayinit.laws.gains import calculate_gain
from arrayinit.laws.geometry import calculate_fans
from arrayinit.models.hooks import init_method, param_init_
from arrayinit.models.records import Record, record
from arrayinit.models.shards import Part, Shard
from arrayinit.models.torch import init_module_, shards_of
from arrayinit.models.torch_scaling import lsuv_, unit_output_
from arrayinit.recording.tape import RecordError
from arrayinit.tracing import torch_operator  # noqa: F401 # registers the operator that saved graphs call

__all__ = [
    "Part",
    "Record",
    "RecordError",
    "Shard",
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "init_method",
    "init_module_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lsuv_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "param_init_",
    "record",
    "shards_of",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "unit_output_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]


def __dir__() -> list[str]:
    return sorted({*__all__, "ArgumentError", *(name for name in globals() if name.startswith("__"))})


if not TYPE_CHECKING:  # checkers would take it for any name

    def __getattr__(name: str) -> Any:
        raise no_attribute("arrayinit.torch", name, __all__)


P = ParamSpec("P")
R = TypeVar("R")

MODES = ("fan_in", "fan_out")
DRAWN = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)


class ArgumentError(ValueError, RuntimeError):
    """An argument out of range, or a tensor whose memory can't be filled."""


def _showing_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with the shared keywords in the signature that `help` shows."""
    function.__signature__ = signature(function, IN_PLACE)  # type: ignore[attr-defined] # inspect reads it
    return function


@_showing_keywords
def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: Generator | None = None,
    **keywords: Unpack[Keywords],
) -> Tensor:
    """Fill with U[a, b), or with a where a == b; returns tensor. See :func:`arrayinit.uniform`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.uniform_(torch.empty(3), -1.0, 1.0, seed=0)
        tensor([-0.2019,  0.7610,  0.4714])

    Args:
        tensor: filled in place.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Raises:
        ArgumentError: a > b, bounds that are not finite or beyond the dtype.
    """
    if has_torch_function_variadic(tensor):
        return handle_torch_function(uniform_, (tensor,), tensor=tensor, a=a, b=b, generator=generator, **keywords)
    a, b = _real(a, "a"), _real(b, "b")
    if a == b:
        return _fill_point(tensor, generator, keywords, a)
    return _fill(initializers.uniform_, tensor, generator, keywords, a=a, b=b)


@_showing_keywords
def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: Generator | None = None,
    **keywords: Unpack[Keywords],
) -> Tensor:
    """Fill with N(mean, std^2); returns tensor. See :func:`arrayinit.normal`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.normal_(torch.empty(3), std=0.02, seed=0)
        tensor([-0.0169, -0.0030,  0.0068])

    Args:
        tensor: filled in place.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Raises:
        ArgumentError: a negative std, a parameter that is not finite or beyond the dtype.
    """
    if has_torch_function_variadic(tensor):
        return handle_torch_function(
            normal_, (tensor,), tensor=tensor, mean=mean, std=std, generator=generator, **keywords
        )
    return _fill(initializers.normal_, tensor, generator, keywords, mean=mean, std=std)


@_showing_keywords
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
    **keywords: Unpack[Keywords],
) -> Tensor:
    """Fill with N(mean, std^2) given that it falls into [a, b] (absolute bounds, both reached); returns tensor.

    As in torch a == b gives that constant, and a mean more than 2 std outside of [a, b] warns, though here the
    distribution is right there, too. See :func:`arrayinit.trunc_normal`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.trunc_normal_(torch.empty(3), std=0.02, a=-0.04, b=0.04, seed=0)
        tensor([-0.0049,  0.0219,  0.0120])

    Args:
        tensor: filled in place.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Raises:
        ArgumentError: a > b, a negative std, an interval that is too far from the mean or too narrow.
    """
    mean, std, a, b = _real(mean, "mean"), _real(std, "std"), _real(a, "a"), _real(b, "b")
    _check_tensor(tensor)
    if not tensor.is_meta and (mean < a - 2 * std or mean > b + 2 * std):
        warn(
            f"mean is more than 2 std from [a, b]: samples crowd at one of the bounds; "
            f"got mean={mean!r}, std={std!r}, a={a!r} and b={b!r}"
        )
    if a == b and std >= 0:
        return _fill_point(tensor, generator, keywords, a)
    return _fill(_trunc_normal_, tensor, generator, keywords, mean=mean, std=std, a=a, b=b)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with val, cast to the dtype by torch; returns tensor.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.constant_(torch.empty(3), 0.5)
        tensor([0.5000, 0.5000, 0.5000])

    Raises:
        RuntimeError: a val beyond the dtype.
    """
    if has_torch_function_variadic(tensor):
        return handle_torch_function(constant_, (tensor,), tensor=tensor, val=val)
    if torch.jit.is_scripting():  # TorchScript has no `try`
        with torch.no_grad():
            return tensor.fill_(val)
    else:
        return _constant_(tensor, val)


def _constant_(tensor: Tensor, val: float) -> Tensor:
    if _is_loaded(tensor):
        return tensor
    if isinstance(val, Tensor) and val.is_meta and not tensor.is_meta:
        raise TypeError(f"`val` must be a number; got {shown(val)}, which has no value")
    try:
        with torch.no_grad():
            return tensor.fill_(val)
    except TypeError:
        raise TypeError(f"`val` must be a number; got {shown(val)}") from None
    except (RuntimeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"`val` must be a number that `tensor` can hold; got {shown(val)} ({error})") from None


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1; returns tensor.

    >>> import torch
    >>> import arrayinit.torch as init
    >>> init.ones_(torch.empty(3))
    tensor([1., 1., 1.])
    """
    if not torch.jit.is_scripting():  # noqa: SIM102 # TorchScript would compile both sides of an `and`
        if _is_loaded(tensor):
            return tensor
    with torch.no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0; returns tensor.

    >>> import torch
    >>> import arrayinit.torch as init
    >>> init.zeros_(torch.empty(3))
    tensor([0., 0., 0.])
    """
    if not torch.jit.is_scripting():  # noqa: SIM102 # TorchScript would compile both sides of an `and`
        if _is_loaded(tensor):
            return tensor
    with torch.no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Fill with the identity matrix; returns tensor. See :func:`arrayinit.eye`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])

    Raises:
        ValueError: a tensor that is not two-dimensional.
    """
    return _write(initializers.eye_, tensor)


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill with the identity of a convolution, (out, in, *kernel), for each group; returns tensor.

    See :func:`arrayinit.dirac`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.dirac_(torch.empty(2, 2, 3))[:, :, 1]
        tensor([[1., 0.],
                [0., 1.]])

    Raises:
        ValueError: a tensor that is not of 3 to 5 dimensions, groups that don't divide its first.
    """
    return _write(initializers.dirac_, tensor, groups=groups)


@_showing_keywords
def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, **keywords: Unpack[Keywords]
) -> Tensor:
    """Fill with U[-bound, bound), bound = gain * sqrt(6 / (fan_in + fan_out)); returns tensor.

    See :func:`arrayinit.xavier_uniform`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.xavier_uniform_(torch.empty(2, 3), seed=0)
        tensor([[-0.2212,  0.8337,  0.5164],
                [ 0.2311,  1.0346, -0.3021]])

    Args:
        tensor: filled in place.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Raises:
        ArgumentError: a negative or non-finite gain, a tensor of fewer than 2 dimensions.
    """
    return _fill(initializers.xavier_uniform_, tensor, generator, keywords, gain=gain)


@_showing_keywords
def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, **keywords: Unpack[Keywords]
) -> Tensor:
    """Fill with N(0, std^2), std = gain * sqrt(2 / (fan_in + fan_out)); returns tensor.

    See :func:`arrayinit.xavier_normal`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.xavier_normal_(torch.empty(2, 3), seed=0)
        tensor([[-0.5334, -0.0951,  0.2135],
                [ 0.3267,  0.0220, -0.5764]])

    Args:
        tensor: filled in place.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Raises:
        ArgumentError: a negative or non-finite gain, a tensor of fewer than 2 dimensions.
    """
    return _fill(initializers.xavier_normal_, tensor, generator, keywords, gain=gain)


@_showing_keywords
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str | Callable[[Any], Any] = "leaky_relu",
    generator: Generator | None = None,
    **keywords: Unpack[Keywords],
) -> Tensor:
    """Fill with U[-bound, bound), bound = gain * sqrt(3 / fan); returns tensor. See :func:`arrayinit.kaiming_uniform`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.kaiming_uniform_(torch.empty(2, 3), nonlinearity="relu", seed=0)
        tensor([[-0.2855,  1.0763,  0.6667],
                [ 0.2983,  1.3357, -0.3901]])

    Args:
        tensor: filled in place.
        a: the negative slope of leaky_relu (None is 0.01); unused by other nonlinearities.
        mode: "fan_in" or "fan_out", in any case.
        nonlinearity: a name that :func:`arrayinit.calculate_gain` knows, or an elementwise function.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Warns:
        UserWarning: a tensor with no elements, which is returned as it is.

    Raises:
        ValueError: an unknown mode or nonlinearity, a slope that is no finite number, fewer than 2 dimensions.
    """
    if has_torch_function_variadic(tensor):
        return handle_torch_function(
            kaiming_uniform_,
            (tensor,),
            tensor=tensor,
            a=a,
            mode=mode,
            nonlinearity=nonlinearity,
            generator=generator,
            **keywords,
        )
    return _kaiming(initializers.kaiming_uniform_, tensor, a, mode, nonlinearity, generator, keywords)


@_showing_keywords
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str | Callable[[Any], Any] = "leaky_relu",
    generator: Generator | None = None,
    **keywords: Unpack[Keywords],
) -> Tensor:
    """Fill with N(0, std^2), std = gain / sqrt(fan); returns tensor. See :func:`arrayinit.kaiming_normal`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.kaiming_normal_(torch.empty(2, 3), mode="fan_out", nonlinearity="relu", seed=0)
        tensor([[-0.8433, -0.1503,  0.3375],
                [ 0.5165,  0.0348, -0.9114]])

    Arguments, warning and errors are those of :func:`kaiming_uniform_`.
    """
    return _kaiming(initializers.kaiming_normal_, tensor, a, mode, nonlinearity, generator, keywords)


@_showing_keywords
def orthogonal_(
    tensor: Tensor, gain: float = 1, generator: Generator | None = None, **keywords: Unpack[Keywords]
) -> Tensor:
    """Fill with gain times a matrix, (out, everything else), of orthonormal rows or columns; returns tensor.

    Uniform over all such matrices; devices agree to 2e-6 absolute in float32. See :func:`arrayinit.orthogonal`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> w = init.orthogonal_(torch.empty(2, 3), seed=0)
        >>> torch.allclose(w @ w.T, torch.eye(2), atol=1e-5)
        True

    Args:
        tensor: filled in place.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Raises:
        ArgumentError: a gain that is not finite, a tensor of fewer than 2 dimensions.
    """
    return _fill(initializers.orthogonal_, tensor, generator, keywords, gain=gain)


@_showing_keywords
def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: Generator | None = None,
    **keywords: Unpack[Keywords],
) -> Tensor:
    """Fill with N(0, std^2) and exactly ceil(sparsity * rows) zeros in each column; returns tensor.

    See :func:`arrayinit.sparse`.

        >>> import torch
        >>> import arrayinit.torch as init
        >>> init.sparse_(torch.empty(4, 2), sparsity=0.5, seed=0)
        tensor([[-0.0084, -0.0015],
                [ 0.0000,  0.0000],
                [ 0.0003, -0.0091],
                [ 0.0000,  0.0000]])

    Args:
        tensor: filled in place.
        generator, seed, name, ...: see :mod:`arrayinit.torch`.

    Raises:
        ArgumentError: sparsity outside [0, 1], a negative or non-finite std, a tensor that is not two-dimensional.
    """
    return _fill(initializers.sparse_, tensor, generator, keywords, sparsity=sparsity, std=std)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel). ValueError below two dimensions."""
    return calculate_fans(tensor.shape)


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """fan_in or fan_out. ValueError for another mode, and below two dimensions."""
    return _calculate_fan_in_and_fan_out(tensor)[MODES.index(_mode(mode))]


def _trunc_normal_(x: Tensor, mean: float, std: float, a: float, b: float, **keywords: Unpack[Keywords]) -> Tensor:
    """arrayinit.trunc_normal_ without its warning, which the caller has given."""
    scheme = partial(initializers.scheme_of("trunc_normal"), mean=mean, std=std, a=a, b=b)
    filled: Tensor = draw(x, scheme, True, **keywords)
    return filled


def _kaiming(
    initializer: Callable[..., Any],
    tensor: Tensor,
    a: float | None,
    mode: str,
    nonlinearity: str | Callable[[Any], Any],
    generator: Generator | None,
    keywords: Keywords,
) -> Tensor:
    _check_tensor(tensor)
    if 0 in tensor.shape and keywords.get("shape") is None:
        warn("Initializing zero-element tensors is a no-op")
        return tensor
    mode = _mode(mode)
    if not callable(nonlinearity):
        calculate_gain(nonlinearity, a)  # refuses booleans and tensors, which other arguments may be
    return _fill(initializer, tensor, generator, keywords, a=a, mode=mode, nonlinearity=nonlinearity)


def _mode(mode: str) -> str:
    if not isinstance(mode, str) or mode.lower() not in MODES:
        raise ValueError(f"`mode` must be 'fan_in' or 'fan_out'; got {shown(mode)}")
    return mode.lower()


def _fill(
    initializer: Callable[..., Any],
    tensor: Tensor,
    generator: Generator | None,
    keywords: Keywords,
    **arguments: Any,
) -> Tensor:
    """Fill with random values."""
    if keywords.get("seed") is None and is_compiling():
        from arrayinit.tracing import torch_compiled  # imported here: it needs torch's compiler, loaded by now

        return torch_compiled.unseeded(_fill, initializer, tensor, generator, keywords, **arguments)
    if _is_loaded(tensor):
        return tensor
    if tensor.dtype not in DRAWN or tensor.layout != torch.strided:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DRAWN)
        raise NotImplementedError(
            f"`tensor` must be dense and of dtype {names} for random values; got {tensor.dtype} and {tensor.layout}"
        )
    arguments = {name: _number(value) for name, value in arguments.items()}
    return _write(
        initializer, tensor, **arguments, **{**keywords, "seed": _seed(tensor, generator, keywords.get("seed"))}
    )


def _fill_point(tensor: Tensor, generator: Generator | None, keywords: Keywords, value: float) -> Tensor:
    """Fill with one value, imaginary parts too: a law whose bounds are equal."""
    if tensor.is_complex():
        return _fill(initializers.normal_, tensor, generator, keywords, mean=value, std=0.0)
    return _fill(initializers.constant_, tensor, generator, keywords, val=value)


def _write(initializer: Callable[..., Any], tensor: Tensor, **arguments: Any) -> Tensor:
    if _is_loaded(tensor):
        return tensor
    try:
        return initializer(tensor, **arguments)
    except ValueError as error:
        raise ArgumentError(str(error).replace("`x`", "`tensor`")) from None
    except TypeError as error:
        raise TypeError(str(error).replace("`x`", "`tensor`")) from None


def _check_tensor(tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"`tensor` must be a torch.Tensor; got {shown(tensor)}{module_hint(tensor)}")


def _is_loaded(tensor: Any) -> bool:
    """Whether transformers has loaded a tensor, and wants it left alone. TypeError for anything but a tensor."""
    _check_tensor(tensor)
    return bool(getattr(tensor, "_is_hf_initialized", False))


def _seed(tensor: Tensor, generator: Generator | None, seed: Any) -> Any:
    """The seed of a draw; None where an active `arrayinit.seeded` gives the key."""
    if generator is None:
        if seed is None and backend_of(tensor).is_distributed:
            return None  # ranks may have other states of their default generators: draw refuses it, or has one key
        return torch.default_generator if seed is None and not seeds.is_scoped() else seed
    if seed is not None:
        raise ValueError(f"`generator` and `seed` must not be given together; got {shown(generator)} and {shown(seed)}")
    if not isinstance(generator, Generator):
        raise TypeError(f"`generator` must be a torch.Generator; got {shown(generator)} (give other kinds as `seed`)")
    return generator


def _number(value: Any) -> Any:
    """A Python number from a boolean or a tensor without dimensions, which torch takes as numbers; else the value."""
    if isinstance(value, Tensor) and value.ndim == 0 and not value.is_meta:
        value = value.item()
    return float(value) if isinstance(value, bool) else value


def _real(value: Any, name: str) -> float:
    """A real number, for arguments that are compared before the draw."""
    try:
        return real(_number(value), name)
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def _deprecated(function: Callable[P, R]) -> Callable[P, R]:
    """The old name of a function, without the underscore."""
    old = function.__name__.removesuffix("_")

    def alias(*args: P.args, **kwargs: P.kwargs) -> R:
        warn(f"`{old}` is deprecated, use `{old}_`", FutureWarning)
        return function(*args, **kwargs)

    alias.__name__ = alias.__qualname__ = old
    alias.__doc__ = f"Deprecated: :func:`{old}_`, after a FutureWarning."
    return alias


# They fill in place, though their names lack the underscore; those of `arrayinit` return new arrays.
uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)


# The message of torch.jit.script, instead of one about keywords. It compiles the three that only call torch.
for _name in set(__all__) - {"constant_", "ones_", "zeros_"}:
    globals()[_name].__script_unsupported = (
        f"arrayinit.torch.{_name} can't be compiled: call it before the module is scripted, in its __init__, or in a "
        "function that is marked with @torch.jit.ignore"
    )
