"""The draw that torch's compiler reads in place of :func:`arrayinit.draw.draw`: a call of the operator.

Draws of torch tensors under a given key become a part of the graph. All others break the graph, and are done outside of
it: those whose key is the next of a sequence or comes from a generator (in a graph it would be the same in each run),
arrays of other libraries, DTensors, and laws that text can't hold. With fullgraph=True they are errors.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from arrayinit import draw as junction, seeds, specs
from arrayinit.backends import backend_named
from arrayinit.draw import Scheme
from arrayinit.key import SEED_BITS, Key
from arrayinit.laws.regions import part_of
from arrayinit.specs import Spec
from arrayinit.tracing import calls
from arrayinit.tracing.calls import Where
from arrayinit.tracing.torch_operator import draw as operator, signed

__all__ = ["draw", "fold", "spec", "unseeded", "unserved"]


def _outside(reason: str) -> Callable[..., Any]:
    """A function that calls another one outside of the graph; the compiler's error has `reason` where it may not."""

    def outside(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if function is not _draw:  # its `x` may be an array without axes
            args = _with_scalars(args)
        return function(*args, **{name: _with_scalars(value) for name, value in kwargs.items()})

    has_reason = "reason" in inspect.signature(torch.compiler.disable).parameters
    disabled: Callable[..., Any] = torch.compiler.disable(outside, **({"reason": reason} if has_reason else {}))
    return disabled


unseeded = _outside(
    "`seed` of arrayinit must be an integer, an arrayinit.Key or a key of torch.func._random inside a graph: "
    "the next key of a sequence or a generator would be baked in"
)
unserved = _outside(
    "arrayinit draws inside a graph only into torch tensors that are no DTensors, by initializers of plain data"
)


# Functions that the compiler runs instead of reading them, on arguments that it takes for constants of the graph. It
# puts their results among the globals of the module that it compiles, under the functions' names, hence these names,
# which no module uses. They return None instead of raising an error: the same call outside of the graph raises it.


def arrayinit_text_of_call(scheme: Scheme, where: Where, names: Sequence[str] = (), *values: Any) -> str | None:
    if names:
        scheme = partial(scheme, **dict(zip(names, map(_whole, values), strict=True)))
    try:
        return calls.text(scheme, where)
    except TypeError:
        return None


def arrayinit_sizes_of_part(x: Any, index: Any) -> tuple[int, ...] | None:
    try:
        return part_of(junction.shape_of(x), index).shape
    except (TypeError, ValueError):
        return None


def arrayinit_is_fixed(scheme: Scheme) -> bool:
    return calls.is_fixed(scheme)


def arrayinit_dtype(dtype: Any) -> torch.dtype | None:
    backend = backend_named("torch")
    try:
        torch_dtype: torch.dtype = backend.dtype(backend.dtype_name(dtype))
    except TypeError:
        return None
    return torch_dtype


def arrayinit_spec_in_parts(name: str, parameters: dict[str, Any]) -> Any:
    try:
        return _exact(specs.spec(name, **{key: _whole(value) for key, value in parameters.items()}))
    except (TypeError, ValueError):
        return None


def arrayinit_fold(key: Any, name: Any) -> Key | None:
    try:
        return seeds.fold(key, name)
    except (TypeError, ValueError):
        return None


_text = torch.compiler.assume_constant_result(arrayinit_text_of_call)
_sizes = torch.compiler.assume_constant_result(arrayinit_sizes_of_part)
_is_fixed = torch.compiler.assume_constant_result(arrayinit_is_fixed)
_dtype = torch.compiler.assume_constant_result(arrayinit_dtype)
_spec = torch.compiler.assume_constant_result(arrayinit_spec_in_parts)
_fold = torch.compiler.assume_constant_result(arrayinit_fold)
del arrayinit_text_of_call, arrayinit_sizes_of_part, arrayinit_is_fixed
del arrayinit_dtype, arrayinit_spec_in_parts, arrayinit_fold


def spec(name: str, parameters: dict[str, Any]) -> Spec:
    """`arrayinit.spec` of constants."""
    if not torch.compiler.is_dynamo_compiling() or _has_arrays([*parameters.values()]):
        return cast(Spec, unserved(specs.spec, name, **parameters))
    constant = _spec(name, {key: _exact(value) for key, value in parameters.items()})
    return cast(Spec, unserved(specs.spec, name, **parameters) if constant is None else _whole(constant))


def fold(key: Any, name: Any) -> Key:
    """`arrayinit.fold` of a key that is a constant."""
    folded = None
    if torch.compiler.is_dynamo_compiling() and isinstance(key, (int, Key)) and not _has_arrays(name):
        folded = _fold(_exact(key), _exact(name))
    return cast(Key, unseeded(seeds.fold, key, name) if folded is None else folded)


def draw(x: Any, scheme: Scheme, in_place: bool, seed: Any, where: Where, new: tuple[Any, Any, Any, Any]) -> Any:
    """Draw by the operator, or outside of the graph; `new` are xp, dtype, device and chunks."""
    if not torch.compiler.is_dynamo_compiling():
        return unserved(_draw, x, scheme, in_place, **_keywords(seed, where, new))
    _, dtype, device, _ = new
    function: Any = scheme
    given: dict[str, Any] = {}
    if _READS_PARTIALS and isinstance(scheme, partial):
        function, given = scheme.func, scheme.keywords
    values = [*given.values()]
    if _has_arrays([*values, where]) or (isinstance(x, (tuple, list)) and _has_arrays(x)):
        return unserved(_draw, x, scheme, in_place, **_keywords(seed, where, new))
    call_text, kind, number, key = None, None, 0, None
    sizes, place = _placed(x, where)
    if _is_served(x, in_place, where, new) and sizes is not None:
        # One by one: the compiler takes an object for a constant as an argument, but not within an argument.
        call_text = _text(function, _exact(place), [*given], *map(_exact, values))
        kind = _dtype(dtype) if dtype is not None else x.dtype if isinstance(x, torch.Tensor) else torch.float32
    if call_text is None or kind is None:
        return unserved(_draw, x, scheme, in_place, **_keywords(seed, where, new))
    if isinstance(seed, torch.Tensor):
        key = seed
    elif isinstance(seed, Key):
        number = signed(seed.low + seed.high * (1 << 32))
    elif isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 1 << SEED_BITS:
        number = signed(seed)
    elif seed is not None or not _is_fixed(function):
        return unseeded(_draw, x, scheme, in_place, **_keywords(seed, where, new))
    like = x.detach() if isinstance(x, torch.Tensor) else torch.zeros((), device=device).expand(sizes)
    drawn = operator(like, call_text, number, key, dtype=kind, device=device)
    if not in_place:
        return drawn
    with torch.no_grad():
        x.copy_(drawn)
    return x


def _draw(x: Any, scheme: Scheme, in_place: bool, **keywords: Any) -> Any:
    """The ordinary draw, outside of the graph."""
    if isinstance(scheme, partial):
        scheme = partial(scheme.func, **{name: _with_scalars(value) for name, value in scheme.keywords.items()})
    return junction.draw(_with_scalars(x) if isinstance(x, (tuple, list)) else x, scheme, in_place, **keywords)


def _has_arrays(value: Any) -> bool:
    """Whether a value contains arrays or numbers of NumPy, which the compiler does not take for constants."""
    if isinstance(value, (tuple, list)):
        return any(map(_has_arrays, value))
    if isinstance(value, slice):
        return _has_arrays([value.start, value.stop, value.step])
    return isinstance(value, (np.ndarray, np.generic, torch.Tensor))


def _with_scalars(value: Any) -> Any:
    """A value with NumPy's numbers where the compiler made arrays without axes of them; not within dictionaries."""
    if isinstance(value, np.ndarray) and not value.ndim:
        return value[()]
    if isinstance(value, slice):
        return slice(_with_scalars(value.start), _with_scalars(value.stop), _with_scalars(value.step))
    return type(value)(map(_with_scalars, value)) if type(value) in (tuple, list) else value


def _placed(x: Any, where: Where) -> tuple[Any, Where]:
    """The sizes of the result (None for a wrong index), and its place in the global tensor."""
    name, _, index, axes = where
    if isinstance(x, torch.Tensor) or index is None:
        return x, where
    return _sizes(_exact(x), _exact(index)), (name, x, index, axes)


def _is_served(x: Any, in_place: bool, where: Where, new: tuple[Any, Any, Any, Any]) -> bool:
    """Whether a graph can hold the draw. A wrong call is not served either: it is refused outside of the graph."""
    xp, dtype, device, chunks = new
    if chunks is not None:
        return False
    if isinstance(x, torch.Tensor):
        is_new = dtype is not None or device is not None
        return xp is None and not (in_place and is_new) and x.layout == torch.strided and type(x).__name__ != "DTensor"
    return (xp is torch or xp == "torch") and not in_place and where[1] is None


def _keywords(seed: Any, where: Where, new: tuple[Any, Any, Any, Any]) -> dict[str, Any]:
    name, shape, index, (layout, in_axis, out_axis, batch_axis, groups, transposed) = where
    xp, dtype, device, chunks = new
    return {
        "seed": seed, "name": name, "shape": shape, "index": index, "layout": layout, "in_axis": in_axis,
        "out_axis": out_axis, "batch_axis": batch_axis, "groups": groups, "transposed": transposed,
        "xp": xp, "dtype": dtype, "device": device, "chunks": chunks,
    }  # fmt: skip


_READS_PARTIALS = torch.__version__ >= (2, 7)  # whether the compiler knows what a functools.partial holds


def _exact(value: Any) -> Any:
    """A value as a constant of the graph: symbolic numbers get their values, and specs become tuples."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        for number in {value: None}:  # a key of a dictionary is hashed, so the compiler must know its value
            return number
    if isinstance(value, (tuple, list)):
        return tuple([_exact(one) for one in value])
    if isinstance(value, slice):
        return slice(_exact(value.start), _exact(value.stop), _exact(value.step))
    if isinstance(value, Spec):  # the compiler can't pass on a spec that the compiled code made
        return (_SPEC, value.name, _exact(value.items))
    return value


_SPEC = "a spec in its parts"


def _whole(value: Any) -> Any:
    """A value with specs again, where `_exact` made tuples of them."""
    if isinstance(value, (tuple, list)):
        items = tuple(map(_whole, value))
        return Spec(items[1], items[2]) if items[:1] == (_SPEC,) else items
    return value
