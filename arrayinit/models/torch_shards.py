"""Tensors of torch modules that are cut, by DTensor, ZeRO-3, FSDP1 or Megatron: what this process holds of them.

Each scheme is known by the attributes that it sets, so that no library is imported.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from arrayinit.backends import backend_of
from arrayinit.models.megatron import Context, is_of_megatron, part_of_megatron
from arrayinit.models.shards import Part, Shard, flat_part

__all__ = ["OTHERWISE", "FlatWeight", "copied_by_engines", "flat_weights", "shard_of", "undone", "without_elements"]


# What optimizers that keep copies in float32 set on parameters, and before what to draw.
OPTIMIZERS = {
    "_z3_optimizer": "deepspeed.initialize",
    "_hp_mapping": "deepspeed.initialize",  # only on ranks that have a part of the copy
    "load_hp_checkpoint_state": "deepspeed.initialize",  # on all ranks, by stages 1 and 2
    "main_param": "the optimizer is made (Megatron)",
    "main_param_sharded": "the optimizer is made (Megatron)",  # also on ranks that have no part of the copy
}


def shard_of(owner: nn.Module, name: str, x: torch.Tensor, context: Context) -> Shard | None:
    """What is here of a parameter; None where x is all of it. ValueError where it can't be drawn."""
    if backend_of(x).is_distributed:
        return None  # they are drawn as whole tensors
    if getattr(x, "ds_shape", None) is not None:
        return _of_zero_3(x)
    if is_of_megatron(owner) or getattr(x, "tensor_model_parallel", False) or (id(owner), name) in context.cuts:
        return part_of_megatron(owner, name, x, context)
    return None


# The lists of parameters that an optimizer of DeepSpeed has copied, without a mark on them where the stage is 0.
GROUPS = ("fp16_groups", "bf16_groups", "bit16_groups")


def undone(x: torch.Tensor, copied: Collection[int] = ()) -> str:
    """Why a draw into a parameter would not last; "" where it would. Its values can be read all the same.

    Args:
        copied: ids of parameters, as :func:`copied_by_engines` finds them.
    """
    marks = (before for mark, before in OPTIMIZERS.items() if getattr(x, mark, None) is not None)
    before = next(marks, "deepspeed.initialize" if id(x) in copied else "")
    if not before:
        return ""
    return f"an optimizer has copied its values, so that its next step would undo a draw: draw before {before}"


def copied_by_engines(modules: Iterable[nn.Module]) -> frozenset[int]:
    """The ids of the parameters of which the optimizer of a DeepSpeedEngine has copies.

    The engine is among the modules, or a hook that it has set on one of them refers to it.
    """
    found = set[int]()
    for module in modules:
        hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        cells = [cell for hook in hooks for cell in getattr(hook, "__closure__", None) or ()]
        for each in (module, *map(_content, cells)):
            optimizer = getattr(each, "optimizer", None) if _is_engine(each) else None
            lists = [getattr(optimizer, name, None) for name in GROUPS]
            found |= {id(x) for groups in lists if isinstance(groups, list) for group in groups for x in group}
    return frozenset(found)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _is_engine(x: Any) -> bool:
    return any(
        kind.__name__ == "DeepSpeedEngine" and kind.__module__.startswith("deepspeed.") for kind in type(x).__mro__
    )


# ZeRO-3


def _of_zero_3(x: Any) -> Shard:
    """DeepSpeed gives each rank as many elements in row-major order, ds_tensor; the last ranks' may be padding."""
    shape = tuple(map(int, x.ds_shape))
    own, status = getattr(x, "ds_tensor", None), getattr(getattr(x, "ds_status", None), "name", "")
    is_here = tuple(x.shape) == shape
    how = "partitioned by ZeRO-3"
    if own is None:
        if is_here:
            return Shard(shape, [_whole(x, shape)], how)
        raise ValueError(f"is {how}, without a partition (ds_tensor): only {tuple(x.shape)} of {shape} is here")
    if status == "INFLIGHT":
        raise ValueError(f"is {how}, and on its way between ranks: draw before the first step, or between steps")
    if getattr(getattr(own, "final_location", None), "name", own.__dict__.get("final_location")) == "nvme" or (
        getattr(getattr(own, "status", None), "name", "") == "NOT_AVAILABLE"
    ):
        raise ValueError(f"is {how}, and its partition is on a disk (NVMe): draw within zero.GatheredParameters")
    if hasattr(own, "ds_quant_scale"):
        raise ValueError(f"is {how}, and its partition is quantized, {own.dtype}: draw before it is partitioned")
    if getattr(x, "ds_secondary_tensor", None) is not None:
        raise ValueError(
            f"is {how} twice (zero_hpz_partition_size), and the second partition would keep the old values: draw "
            "before the first step"
        )
    rank, ranks = _zero_rank(x)
    size, length = math.prod(shape), own.numel()
    if getattr(x, "ds_numel", size) != size or length != -(-size // ranks) or not 0 <= rank < ranks:
        raise ValueError(
            f"is {how}, whose attributes disagree: {length} elements here, where rank {rank} of {ranks} has "
            f"{-(-size // ranks)} of ds_shape {shape}, ds_numel {getattr(x, 'ds_numel', None)}"
        )
    if own.ndim != 1 and not own.is_contiguous():  # a line of it would be a copy
        raise ValueError(f"is {how}, and its partition of shape {tuple(own.shape)} must be contiguous: {own.stride()}")
    line = own.detach() if own.ndim == 1 else own.detach().view(-1)
    parts = [flat_part(line, shape, rank * length)]
    if is_here:  # gathered, or kept so because it is small: later partitions are made of either
        parts.append(_whole(x, shape))
    return Shard(shape, parts, how)


def _whole(x: torch.Tensor, shape: tuple[int, ...]) -> Part:
    return Part(x, tuple(slice(0, n) for n in shape))


def _zero_rank(x: Any) -> tuple[int, int]:
    """The number of this process among those that share a parameter, and how many they are."""
    rank, ranks = (getattr(x, f"ds_zero_partition_{word}", None) for word in ("rank", "world_size"))
    if rank is not None and ranks is not None:
        return int(rank), int(ranks)
    group: Any = getattr(x, "ds_process_group", None)
    if group is None and not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise ValueError("is partitioned by ZeRO-3, and nothing tells this rank's number: ds_process_group is missing")
    if hasattr(group, "rank") and hasattr(group, "size"):
        return int(group.rank()), int(group.size())
    return torch.distributed.get_rank(group), torch.distributed.get_world_size(group)


def without_elements(owner: nn.Module, x: torch.Tensor) -> str:
    """Why a parameter of shape (0,) is not drawn; "" where its layer has a size of 0."""
    if tuple(x.shape) != (0,) or any(value == 0 and type(value) is int for value in vars(owner).values()):
        return ""
    return (
        "has no elements, and nothing tells the shape of the whole: pass its `shards`, gather it first, or give it a "
        "rule of None"
    )


# FSDP1

OTHERWISE = ": draw within its summon_full_params, or before the model is wrapped"


@dataclass(frozen=True)
class FlatWeight:
    """A weight that FullyShardedDataParallel holds in a flat parameter, `flat`.

    owner, name: where the layer has it, or had it before it was flattened.
    first: owner and name of the weight with which it is tied, or its own.
    shard: what this rank has of it; None where all of it is here for now, within summon_full_params.
    problem: why that can't be drawn.
    """

    owner: nn.Module
    name: str
    first: tuple[nn.Module, str]
    flat: torch.Tensor
    shard: Shard | None
    problem: str = ""


def flat_weights(wrapper: nn.Module) -> Iterator[FlatWeight]:
    """The weights of one unit of FSDP1, which its flat parameter holds."""
    handle = getattr(wrapper, "_handle", None)
    flat: Any = getattr(handle, "flat_param", None)
    infos = getattr(flat, "_shard_param_infos", None)
    if handle is None or infos is None:
        return
    is_summoned = getattr(getattr(handle, "_training_state", None), "name", "") == "SUMMON_FULL_PARAMS"
    is_gathered = handle.uses_sharded_strategy and (not handle.is_sharded(flat) or _has_copy(flat))
    memory = flat._local_shard if hasattr(flat, "_local_shard") else flat.data
    found: dict[tuple[int, str], tuple[Shard | None, str]] = {}
    rows = zip(flat._param_infos, flat._shapes, infos, flat._contiguities, flat._param_extensions, strict=True)
    for (name, owner, _), size, info, is_contiguous, extension in rows:
        problem, shard = "", None
        if is_summoned and handle.uses_sharded_strategy and handle.is_sharded(flat):
            problem = (
                "is whole on another rank alone, within summon_full_params(rank0_only=True), which writes nothing "
                "back: draw outside of it, or with rank0_only=False"
            )
        elif is_summoned:  # whole, and written back afterwards
            pass
        elif is_gathered:
            problem = (
                "is gathered by FullyShardedDataParallel from its last forward pass, in a copy that would keep the old "
                f"values{OTHERWISE}"
            )
        elif extension is not None or not is_contiguous:
            was = "a DTensor" if extension is not None else "not contiguous"
            problem = f"is flattened by FullyShardedDataParallel, and was {was}{OTHERWISE}"
        else:
            shape, parts = tuple(map(int, size)), []
            if info.in_shard:
                at = info.offset_in_shard
                parts = [flat_part(memory[at : at + info.numel_in_shard], shape, info.intra_param_start_idx)]
            shard = Shard(shape, parts, "flattened by FSDP1")
        found[id(owner), name] = shard, problem
        yield FlatWeight(owner, name, (owner, name), flat, shard, problem)
    for name, owner, _, first_name, first_owner, _ in flat._shared_param_infos:
        yield FlatWeight(owner, name, (first_owner, first_name), flat, *found[id(first_owner), first_name])


def _has_copy(flat: Any) -> bool:
    """Whether the flat parameter as a whole is in memory, which the next forward pass would use."""
    copies = [getattr(flat, name, None) for name in ("_full_param_padded", "_full_prec_full_param_padded")]
    return any(copy is not None and copy.untyped_storage().size() for copy in copies)
