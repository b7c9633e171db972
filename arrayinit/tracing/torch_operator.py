"""torch.ops.arrayinit.draw: a draw that torch's compiler, tracers, transforms and modes see as one operator.

    draw(Tensor like, str call, SymInt seed, Tensor? key=None, *, SymInt[] batch=[], ScalarType? dtype=None,
         Device? device=None) -> Tensor

A new tensor with the shape and the strides of `like`, of which nothing else is read, drawn as `call` says (see
`calls`) from `seed` (a key as a signed number of 64 bits) or, where there is one, from `key` (of torch.func._random).
With a batch it has these axes in front, and what lies at [i, j, ...] has the key fold(fold(key, i), j), ...

In place a draw is a copy of that into the tensor, so that gradients, views and functional graphs are torch's business.
Draws that nothing watches never come here: they are written to memory at once.

Under torch.vmap a draw follows `randomness`: "different" gives member i the key fold(key, i) (of nested maps the outer
one is folded first), "same" gives all members one draw, and "error" raises. A `seed` that is mapped over is each
member's own key. Constants and other laws that draw nothing are the same for all. Without a seed one key is taken, and
the members' are folded from it.
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
    """Draw by the operator: into a tensor, or a new one like it or of the shape x."""
    if target.array is not None and is_foreign(target.array):
        raise TypeError(
            "`x` must be a fake tensor where torch's FakeTensorMode and another mode or transform are active; got a "
            "real one, which they refuse"
        )
    like, where = (x, where) if target.array is not None else _like(x, target.device, where)
    said = text(scheme, where)
    job = _sized_job(target.backend, like, said, target.backend.dtype(dtype))
    if job is not None:
        review(job, scheme, target)
        if not target.in_place:
            check_elements(job.shape)
    number, key = 0, None
    if _needs_key(job, scheme, target.backend, target.array):
        resolve(Key(0), where[0])  # which refuses what is no name
        number, key = _seed(target, seed, _is_abstract(target.backend, like, target.device))
    with torch._C.DisableTorchFunctionSubclass():
        drawn = draw(like.detach(), said, number, key, dtype=target.backend.dtype(dtype), device=target.device)
        if not target.in_place:
            return drawn
        with torch.no_grad():
            x.copy_(drawn)
    return x


def signed(number: Any) -> Any:
    """A key of 64 bits as the operator takes it."""
    return number if number < 1 << (SEED_BITS - 1) else number - (1 << SEED_BITS)


def _like(x: Any, device: Any, where: Where) -> tuple[torch.Tensor, Where]:
    """A tensor of the shape of a new array that takes no memory, and where in the global tensor it is."""
    name, shape, index, axes = where
    if shape is not None:
        raise TypeError(
            f"`shape` goes with an array that holds a part of it; got {shown(shape)} and the shape {shown(x)}"
        )
    sizes = x  # as they are where a tracer has symbols for some, so that the graph is one for all sizes
    if index is not None or not isinstance(x, list | tuple) or all(isinstance(n, int) for n in x):
        shape = shape_of(x)
        sizes = box(shape, index).shape
    return torch.zeros((), device=device).expand(sizes), (name, None if index is None else shape, index, axes)


def _needs_key(job: Job | None, scheme: Scheme, backend: Backend, x: Any) -> bool:
    """Whether a draw needs a key. In a graph, which may run with other sizes, that is a matter of the scheme alone."""
    return not is_fixed(scheme) if job is None or backend.is_tracing(x) else needs_key(job)


def _is_abstract(backend: Backend, like: torch.Tensor, device: torch.device | None) -> bool:
    """Whether a result has no elements: one into or like a tensor, or like it on another device."""
    if device is not None and "meta" in (device.type, like.device.type):
        return bool(device.type == "meta")
    while _functorch.is_functorch_wrapped_tensor(like):
        like = _functorch.get_unwrapped(like)
    return backend.is_abstract(like)


def _seed(target: Target, seed: Any, is_abstract: bool) -> tuple[Any, torch.Tensor | None]:
    """`seed` as the operator's two arguments. All that is refused is refused before a key is taken."""
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
    """Refuse what a map of torch.vmap will refuse, or could not get right."""
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
    """Whether a map is called for one chunk of its members after another, which only the call stack tells."""
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
    said: str,
    seed: int,
    key: torch.Tensor | None = None,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """The operator on tensors that hold values."""
    backend = backend_named("torch")
    job = _job(backend, like, said, dtype)
    name = call(said).where[0]
    root = resolve(Key(seed % (1 << SEED_BITS)) if key is None else key, name) if needs_key(job) else None
    result: torch.Tensor
    if not batch:
        result = engines.run(job.keyed(root), Target(backend, like, in_place=False, device=device))
        return result
    result = torch.empty((*batch, *like.shape), dtype=dtype or like.dtype, device=device or like.device)
    for member in np.ndindex(*batch):
        own = None if root is None else functools.reduce(Key.fold, member, root)
        engines.run(job.keyed(own), Target(backend, result[member], in_place=True, device=None))
    return result


@in_default_environment
def _fake(
    like: torch.Tensor,
    said: str,
    seed: int,
    key: torch.Tensor | None = None,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """The operator where only shapes are known; arguments are checked unless sizes are symbols."""
    _sized_job(backend_named("torch"), like, said, dtype)
    if key is not None:
        check_key(key)
    if not batch:
        return torch.empty_like(like, dtype=dtype, device=device)
    return like.new_empty((*batch, *like.shape), dtype=dtype, device=device)


def _job(backend: Backend, like: torch.Tensor, said: str, dtype: torch.dtype | None) -> Job:
    """What is to be drawn, still without its key."""
    scheme, (_, shape, index, axes) = call(said)
    target = Target(backend, like, in_place=False, device=None)
    return job_of(like, scheme, target, backend.dtype_name(dtype or like.dtype), shape, index, axes)


def _sized_job(backend: Backend, like: torch.Tensor, said: str, dtype: torch.dtype | None) -> Job | None:
    """What is to be drawn; None where sizes are symbols."""
    return _job(backend, like, said, dtype) if all(isinstance(n, int) for n in like.shape) else None


@in_default_environment
def _mapped(
    like: torch.Tensor,
    said: str,
    seed: int,
    key: torch.Tensor | None = None,
    *,
    batch: Sequence[int] = (),
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """The operator under torch.vmap: what the innermost map makes of it, for the transforms around it."""
    innermost = _functorch.peek_interpreter_stack()  # kept, since what follows only points to it
    layer = _functorch.CVmapInterpreterPtr(innermost)
    level, size = layer.level(), layer.batchSize()
    with torch._C._ExcludeDispatchKeyGuard(_MODE):
        like = _member(like, level, 0)
        if key is not None and _is_of(key, level):
            each = [
                draw(like, said, seed, _member(key, level, i), batch=batch, dtype=dtype, device=device)
                for i in range(size)
            ]
            none = (0, *batch, *like.shape)
            drawn = torch.stack(each) if each else like.new_empty(none, dtype=dtype, device=device)
        else:
            backend = backend_named("torch")
            job = _sized_job(backend, like, said, dtype)
            is_random = _needs_key(job, call(said).scheme, backend, None)
            if is_random:
                _check_map(layer, overwrites=False, is_given=False)
            if not is_random or layer.randomness() == _functorch.RandomnessType.Same:
                return draw(like, said, seed, key, batch=batch, dtype=dtype, device=device)
            drawn = draw(like, said, seed, key, batch=[size, *batch], dtype=dtype, device=device)
        result: torch.Tensor = _functorch._add_batch_dim(drawn, 0, level)
        return result


def _member(x: torch.Tensor, level: int, i: int) -> torch.Tensor:
    """Member i of what the map of this level maps over, or of none one of that shape; x itself where it doesn't."""
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
