"""torch.ops.arrayinit.draw: a draw that torch's compiler, tracers, transforms and modes see as one operator.

    draw(Tensor like, str call, SymInt seed, Tensor? key=None, *, SymInt[] batch=[], ScalarType? dtype=None,
         Device? device=None) -> Tensor

The result is a new tensor with the shape and strides of `like`, of which nothing else is read. It is drawn by `call` (a
text, see `calls`) under `key` (of torch.func._random) or, where that is None, under `seed` (a key as a signed number of
64 bits). A batch adds its axes in front, and the draw at [i, j, ...] has the key fold(fold(key, i), j), ...

A draw in place copies that result into the tensor, so that torch takes care of gradients, views and functional graphs.
Draws without a compiler, tracer, transform or mode don't use the operator: they write to memory at once.

Under torch.vmap a draw follows `randomness`: "different" gives member i the key fold(key, i) (with nested maps the
outer one is folded first), "same" gives all members one draw, and "error" raises. A `seed` that is mapped over is the
key of each member. Laws that draw nothing, such as constants, are the same for all. Without a seed one key is taken,
and those of the members are folded from it.
"""

import functools
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import numpy as np
import torch

from arrayinit import engines
from arrayinit.backends import Backend, backend_named
from arrayinit.backends.base import check_elements
from arrayinit.backends.torch import check_key, is_foreign
from arrayinit.common.float_environment import in_default_environment
from arrayinit.common.messages import shown
from arrayinit.draw import Scheme, job_of, needs_key, review, shape_of
from arrayinit.job import Job, Target
from arrayinit.key import SEED_BITS, Key
from arrayinit.laws.regions import box
from arrayinit.seeds import resolve, resolve_for
from arrayinit.tracing.calls import Where, call, is_fixed, text

__all__ = ["draw", "record", "signed"]

_functorch = torch._C._functorch
_MODE = torch._C.DispatchKeySet(torch._C.DispatchKey.FuncTorchVmapMode)


@in_default_environment
def record(x: Any, scheme: Scheme, target: Target, dtype: str, seed: Any, where: Where) -> Any:
    """Draw by the operator into the tensor x, or into a new one like it or of the shape x."""
    if target.array is not None and is_foreign(target.array):
        raise TypeError(
            "`x` must be a fake tensor where torch's FakeTensorMode and another mode or transform are active; got a "
            "real one, which they refuse"
        )
    like, where = (x, where) if target.array is not None else _like(x, target.device, where)
    call_text = text(scheme, where)
    job = _sized_job(target.backend, like, call_text, target.backend.dtype(dtype))
    if job is not None:
        review(job, scheme, target)
        if not target.in_place:
            check_elements(job.shape)
    number, key = 0, None
    if _needs_key(job, scheme, target.backend, target.array):
        resolve(Key(0), where[0])  # refuses a `name` that is none
        number, key = _seed(target, seed, _is_abstract(target.backend, like, target.device))
    with torch._C.DisableTorchFunctionSubclass():
        drawn = draw(like.detach(), call_text, number, key, dtype=target.backend.dtype(dtype), device=target.device)
        if not target.in_place:
            return drawn
        with torch.no_grad():
            x.copy_(drawn)
    return x


def signed(number: Any) -> Any:
    """A key of 64 bits as the operator takes it."""
    return number if number < 1 << (SEED_BITS - 1) else number - (1 << SEED_BITS)


def _like(x: Any, device: Any, where: Where) -> tuple[torch.Tensor, Where]:
    """A tensor without memory of the shape of the new array, and the place of that in the global tensor."""
    name, shape, index, axes = where
    if shape is not None:
        raise TypeError(
            f"`shape` is the global shape of an array `x` that holds a part of it, but `x` is the shape {shown(x)}; "
            f"got {shown(shape)}"
        )
    sizes = x  # kept as they are where a tracer has symbols for some, so that one graph serves all sizes
    if index is not None or not isinstance(x, list | tuple) or all(isinstance(n, int) for n in x):
        shape = shape_of(x)
        sizes = box(shape, index).shape
    return torch.zeros((), device=device).expand(sizes), (name, None if index is None else shape, index, axes)


def _needs_key(job: Job | None, scheme: Scheme, backend: Backend, x: Any) -> bool:
    """Whether a draw needs a key. In a graph, which may run with other sizes, that depends on the scheme alone."""
    return not is_fixed(scheme) if job is None or backend.is_tracing(x) else needs_key(job)


def _is_abstract(backend: Backend, like: torch.Tensor, device: torch.device | None) -> bool:
    """Whether the result has no values: a draw into or like an abstract tensor, or on an abstract device."""
    if device is not None and "meta" in (device.type, like.device.type):
        return bool(device.type == "meta")
    while _functorch.is_functorch_wrapped_tensor(like):
        like = _functorch.get_unwrapped(like)
    return backend.is_abstract(like)


def _seed(target: Target, seed: Any, is_abstract: bool) -> tuple[Any, torch.Tensor | None]:
    """`seed` as the operator's two arguments. Errors come before a key is taken."""
    if isinstance(seed, torch.Tensor):
        check_key(seed)
        return 0, seed
    is_taken = seed is None or isinstance(seed, torch.Generator | np.random.Generator)
    if is_taken and target.backend.is_tracing(target.array):
        raise ValueError(
            "`seed` must be an integer, an arrayinit.Key or a key of torch.func._random where torch records a graph; "
            f"got {shown(seed)}, which would be baked in"
        )
    _check_maps(target, is_taken)
    if is_taken and is_abstract:
        return 0, None
    if isinstance(seed, torch.SymInt):
        if seed < 0:
            raise ValueError(f"`seed` must be in [0, 2**64); got {seed}")
        return signed(seed), None
    return signed(int(resolve_for(target.backend, target.array, seed, None))), None


def _check_maps(target: Target, is_taken: bool) -> None:
    """Refuse draws that a map of torch.vmap will refuse, or would draw wrongly."""
    x = target.array
    for layer in reversed(_functorch.get_interpreter_stack() or ()):
        is_wrapped = x is not None and _is_of(x, layer.level())
        if layer.key() == _functorch.TransformType.Vmap:
            is_batched = is_wrapped and _functorch.is_batchedtensor(x)
            _check_map(_functorch.CVmapInterpreterPtr(layer), target.in_place and not is_batched, not is_taken)
        if is_wrapped:
            x = _functorch.get_unwrapped(x)


def _check_map(layer: Any, overwrites: bool, is_given: bool) -> None:
    """Refuse a random draw under a map.

    `overwrites`: into a tensor that all members share. `is_given`: from a seed that all members share.
    """
    if layer.randomness() == _functorch.RandomnessType.Error:
        raise RuntimeError(
            "a random draw under torch.vmap needs randomness='different' or 'same', or a `seed` that is mapped over (a "
            "key of torch.func._random for each member); got randomness='error'"
        )
    if layer.randomness() != _functorch.RandomnessType.Different:
        return
    if overwrites:
        raise RuntimeError(
            "`x` must be mapped over by torch.vmap where it is filled with randomness='different', since members that "
            "share one tensor can't differ; got a tensor that is not"
        )
    if is_given and _is_chunked():
        raise RuntimeError(
            "`seed` must be mapped over by torch.vmap where it runs in chunks with randomness='different', since the "
            "members of each chunk are counted from 0 and would repeat those of the first; got one seed for all"
        )


def _is_chunked() -> bool:
    """Whether a map runs in chunks of its members, which only the call stack shows."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_chunked_vmap":
        frame = frame.f_back
    return frame is not None


def _is_of(x: torch.Tensor, level: int) -> bool:
    """Whether a transform of this level wrapped a tensor."""
    return bool(_functorch.is_functorch_wrapped_tensor(x)) and _functorch.maybe_get_level(x) == level


@in_default_environment
def _drawn(
    like: torch.Tensor,
    call_text: str,
    seed: int,
    key: torch.Tensor | None = None,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """The operator on tensors that hold values."""
    backend = backend_named("torch")
    job = _job(backend, like, call_text, dtype)
    name = call(call_text).where[0]
    root = resolve(Key(seed % (1 << SEED_BITS)) if key is None else key, name) if needs_key(job) else None
    result: torch.Tensor
    if not batch:
        result = engines.run(job.keyed(root), Target(backend, like, in_place=False, device=device))
        return result
    result = torch.empty((*batch, *like.shape), dtype=dtype or like.dtype, device=device or like.device)
    for member in np.ndindex(*batch):
        member_key = None if root is None else functools.reduce(Key.fold, member, root)
        engines.run(job.keyed(member_key), Target(backend, result[member], in_place=True, device=None))
    return result


@in_default_environment
def _fake(
    like: torch.Tensor,
    call_text: str,
    seed: int,
    key: torch.Tensor | None = None,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """The operator where only shapes are known; arguments are checked unless sizes are symbols."""
    _sized_job(backend_named("torch"), like, call_text, dtype)
    if key is not None:
        check_key(key)
    if not batch:
        return torch.empty_like(like, dtype=dtype, device=device)
    return like.new_empty((*batch, *like.shape), dtype=dtype, device=device)


def _job(backend: Backend, like: torch.Tensor, call_text: str, dtype: torch.dtype | None) -> Job:
    """The job of a call, still without its key."""
    scheme, (_, shape, index, axes) = call(call_text)
    target = Target(backend, like, in_place=False, device=None)
    return job_of(like, scheme, target, backend.dtype_name(dtype or like.dtype), shape, index, axes)


def _sized_job(backend: Backend, like: torch.Tensor, call_text: str, dtype: torch.dtype | None) -> Job | None:
    """The job of a call, still without its key; None where sizes are symbols."""
    return _job(backend, like, call_text, dtype) if all(isinstance(n, int) for n in like.shape) else None


@in_default_environment
def _mapped(
    like: torch.Tensor,
    call_text: str,
    seed: int,
    key: torch.Tensor | None = None,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """The operator under torch.vmap: one call for the innermost map, which the transforms around it see."""
    innermost = _functorch.peek_interpreter_stack()  # kept alive, since the next object only points to it
    layer = _functorch.CVmapInterpreterPtr(innermost)
    level, size = layer.level(), layer.batchSize()
    with torch._C._ExcludeDispatchKeyGuard(_MODE):
        like = _member(like, level, 0)
        if key is not None and _is_of(key, level):
            members = [
                draw(like, call_text, seed, _member(key, level, i), batch=batch, dtype=dtype, device=device)
                for i in range(size)
            ]
            empty = (0, *batch, *like.shape)
            drawn = torch.stack(members) if members else like.new_empty(empty, dtype=dtype, device=device)
        else:
            backend = backend_named("torch")
            job = _sized_job(backend, like, call_text, dtype)
            is_random = _needs_key(job, call(call_text).scheme, backend, None)
            if is_random:
                _check_map(layer, overwrites=False, is_given=False)
            if not is_random or layer.randomness() == _functorch.RandomnessType.Same:
                return draw(like, call_text, seed, key, batch=batch, dtype=dtype, device=device)
            drawn = draw(like, call_text, seed, key, batch=[size, *batch], dtype=dtype, device=device)
        result: torch.Tensor = _functorch._add_batch_dim(drawn, 0, level)
        return result


def _member(x: torch.Tensor, level: int, i: int) -> torch.Tensor:
    """Member i of a tensor that the map of this level maps over, zeros where it has none; any other x itself."""
    if not _is_of(x, level):
        return x
    members, axis = _functorch.get_unwrapped(x), _functorch.maybe_get_bdim(x)
    if members.shape[axis] == 0:
        return members.new_zeros(()).expand([n for j, n in enumerate(members.shape) if j != axis])
    return members.select(axis, i)


_library = torch.library.Library("arrayinit", "FRAGMENT")
_library.define(
    "draw(Tensor like, str call, SymInt seed, Tensor? key=None, *, SymInt[] batch=[], ScalarType? dtype=None, "
    "Device? device=None) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_library.impl("draw", _drawn, "CompositeExplicitAutograd")
_library.impl("draw", _mapped, "FuncTorchVmapMode")
torch.library.register_fake("arrayinit::draw", _fake, lib=_library)
draw = torch.ops.arrayinit.draw
