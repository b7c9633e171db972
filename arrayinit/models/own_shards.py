"""The argument `shards`: what a caller says is here of parameters that are cut in a way of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from arrayinit.backends import backend_of
from arrayinit.common.messages import shown
from arrayinit.models.memory import shared_in_part
from arrayinit.models.shards import Shard

__all__ = ["Shards", "given_shard", "said_of"]

# What is here of parameters that are cut in a way of the caller's own, by path; None for others.
Shards: TypeAlias = Mapping[str, Shard] | Callable[[str, torch.Tensor], Shard | None] | None


def given_shard(shards: Shards, paths: Sequence[str], x: torch.Tensor) -> Shard | None:
    """What `shards` gives for a tensor under any of its paths; None where it gives nothing.

    Raises:
        TypeError: it gives something else.
        ValueError: two paths of one tensor differ, or the parts are not the elements of the tensor.
    """
    if shards is None:
        return None
    answers = {path: said_of(shards, path, x) for path in paths}
    found = {path: given for path, given in answers.items() if given is not None}
    if not found:
        return None
    (path, shard), *others = found.items()
    for other, another in others:
        if _content(another) != _content(shard):
            raise ValueError(
                f"`shards` must give one Shard for the paths of a tied tensor; got {_text(shard)} for {path!r}, and "
                f"{_text(another)} for {other!r}"
            )
    if not callable(shards) and any(part.x.is_meta for part in shard.parts):
        raise ValueError("`shards` must have parts with values; on the meta device, pass a function")
    _check_memory(shard, path, x)
    return shard


def said_of(shards: Shards, path: str, x: torch.Tensor) -> Shard | None:
    """What `shards` gives for one path, unchecked but for its type."""
    if shards is None:
        return None
    given: Any = shards(path, x) if callable(shards) else shards.get(path)
    if given is not None and not isinstance(given, Shard):
        raise TypeError(f"`shards` must give a Shard or None for {path!r}; got {shown(given)}")
    return given


def _content(shard: Shard) -> Any:
    return shard.shape, [(part.index, part.flat, backend_of(part.x).extents(part.x)) for part in shard.parts]


def _text(shard: Shard) -> str:
    return f"{shard.shape} with {list(shard.parts)}"


def _check_memory(shard: Shard, path: str, x: torch.Tensor) -> None:
    """Refuse parts that overlap in memory; and where the tensor has elements, parts that are not each of them once."""
    parts = [part.x for part in shard.parts if part.x.numel()]
    if any(part.is_meta != x.is_meta for part in parts) and x.numel():
        parts_of = "on another device"
    elif shared_in_part((str(k), backend_of(part).extents(part)) for k, part in enumerate(parts)):
        parts_of = "that overlap in memory"
    elif not x.numel():
        return  # a scheme that keeps its parts elsewhere
    elif any(not _is_same_storage(part, x) for part in parts):
        parts_of = "in other memory"
    elif any(part.dtype != x.dtype for part in parts):
        parts_of = f"of {' and '.join(sorted({str(part.dtype) for part in parts}))} in a tensor of {x.dtype}"
    elif sum(part.numel() for part in parts) != x.numel():
        parts_of = f"with {sum(part.numel() for part in parts)} elements"
    elif not _are_within(parts, x):
        parts_of = "with elements beside those of the tensor"
    else:
        return
    raise ValueError(
        f"`shards` must have parts that are the tensor itself, or views of it that have each of its {x.numel()} "
        f"elements once; got parts {parts_of} for {path!r}, of shape {tuple(x.shape)}"
    )


def _are_within(parts: Sequence[torch.Tensor], x: torch.Tensor) -> bool:
    """Whether views of one storage and dtype have no elements but those of x."""
    first, last = _ends(x)
    if any(_ends(part)[0] < first or _ends(part)[1] > last for part in parts):
        return False
    if last - first + 1 == x.numel():  # no gaps
        return True
    here = torch.zeros(last - first + 1, dtype=torch.bool)
    here.as_strided(x.shape, x.stride(), x.storage_offset() - first).fill_(True)
    return all(bool(here.as_strided(part.shape, part.stride(), part.storage_offset() - first).all()) for part in parts)


def _ends(x: torch.Tensor) -> tuple[int, int]:
    """The offsets of the first and the last element in the storage: no stride of a torch tensor is negative."""
    first = int(x.storage_offset())
    return first, first + sum(step * (n - 1) for step, n in zip(x.stride(), x.shape, strict=True))


def _is_same_storage(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)
