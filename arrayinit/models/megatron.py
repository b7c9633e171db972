"""Megatron's layers: which part of a parameter a tensor-parallel or expert-parallel rank has, and its global name.

A layer knows its group, `tp_group`, or Megatron's parallel_state does. The parameter says by its attributes
tensor_model_parallel, partition_dim and partition_stride how it is cut, or the layer by its sizes, since Megatron sets
those attributes only where it draws the parameter itself.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from arrayinit.models.shards import Part, Shard

__all__ = ["Context", "context_of", "is_of_megatron", "part_of_megatron", "ranks_of"]

HOW = "tensor parallel in Megatron"
WEIGHTS = ("weight", "bias")  # of grouped layers: weight0, weight1, ... for their experts


@dataclass(frozen=True)
class Context:
    """What a layer of Megatron doesn't know of itself, by the id of modules.

    names: local name -> global name of layers, experts and their weights, which each stage and rank numbers from 0.
    gated: the layers that have a gate and the values that it multiplies in one weight.
    """

    names: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    gated: frozenset[int] = frozenset()

    def name(self, module: nn.Module, local: str) -> str:
        """The global name of a child or a parameter of a module."""
        return self.names.get(id(module), {}).get(local, local)


NOTHING = Context()


def context_of(module: nn.Module) -> Context:
    """The context of all modules within one."""
    names: dict[int, Mapping[str, str]] = {}
    gated = set[int]()
    for each in module.modules():
        children = each._modules
        if isinstance(each, nn.ModuleList) and children:
            numbers: list[Any] = [
                getattr(child, "layer_number", None) if child is not None and is_of_megatron(child) else None
                for child in children.values()
            ]
            if all(type(number) is int for number in numbers):  # they start at 1
                names[id(each)] = {name: str(number - 1) for name, number in zip(children, numbers, strict=True)}
        elif is_of_megatron(each):
            is_tied = getattr(each, "share_embeddings_and_output_weights", False)
            if is_tied and "output_layer" in children and "embedding" not in children:  # the last stage has a copy
                names[id(each)] = {"output_layer": "embedding.word_embeddings"}
            if getattr(getattr(each, "config", None), "gated_linear_unit", False) and "linear_fc1" in children:
                gated.add(id(children["linear_fc1"]))
            group, count = getattr(each, "ep_group", None), getattr(each, "num_local_experts", None)
            if group is not None and type(count) is int:
                first = int(group.rank()) * count
                experts = children.get("local_experts")
                if experts is not None:
                    names[id(experts)] = {str(k): str(first + k) for k in range(count)}
                for child in children.values():
                    if child is not None and f"{WEIGHTS[0]}{count - 1}" in child._parameters:
                        names[id(child)] = {f"{w}{k}": f"{w}{first + k}" for w in WEIGHTS for k in range(count)}
    return Context(names, frozenset(gated)) if names or gated else NOTHING


def is_of_megatron(module: nn.Module) -> bool:
    """Whether a layer's class, or one that it inherits from, is of the package megatron."""
    kind: Any = type(module)
    return _is_of_megatron(kind)


@functools.cache
def _is_of_megatron(kind: Any) -> bool:
    return any(each.__module__.partition(".")[0] == "megatron" for each in kind.__mro__)


def part_of_megatron(owner: nn.Module, name: str, x: torch.Tensor, context: Context = NOTHING) -> Shard | None:
    """The part of a parameter that this rank has; None where it has all of it.

    Raises:
        ValueError: attributes that disagree with the layer or the memory, or no group.
    """
    if type(owner).__name__ == "GroupedMLP" and name in ("weight1", "weight2"):
        return _grouped_experts(owner, name, x)
    return _tensor_parallel(owner, name, x, id(owner) in context.gated)


def _tensor_parallel(owner: nn.Module, name: str, x: torch.Tensor, is_gated: bool) -> Shard | None:
    sizes = _sizes(owner, name)
    if hasattr(owner, "parallel_mode"):
        axis, stride = _axis_of_transformer_engine(owner, name, x.ndim), 1
        if axis is None:
            return None
    elif getattr(x, "tensor_model_parallel", False):
        axis, stride = int(getattr(x, "partition_dim", -1)), int(getattr(x, "partition_stride", 1))
        if not 0 <= axis < x.ndim or stride < 1 or x.shape[axis] % stride:
            raise ValueError(
                f"is {HOW}, whose attributes disagree with its shape {tuple(x.shape)}: partition_dim "
                f"{getattr(x, 'partition_dim', None)}, partition_stride {stride}"
            )
    else:
        differing = [k for k, (n, m) in enumerate(zip(x.shape, sizes, strict=False)) if n != m] if sizes else []
        if not differing:
            return None
        if len(differing) > 1:
            raise ValueError(f"is {HOW}, and {tuple(x.shape)} differs from {sizes} in more than one axis")
        axis, stride = differing[0], 1
    rank, ranks = _place(owner)
    if is_gated and axis == 0 and stride == 1:
        stride = 2  # gate and up are cut one by one, as Megatron's own checkpoints have them
        if x.shape[axis] % 2:
            raise ValueError(f"is {HOW}, and a gated layer can't have {x.shape[axis]} outputs on a rank")
    shape = tuple(n * ranks if k == axis else n for k, n in enumerate(map(int, x.shape)))
    if sizes is not None and shape != sizes:
        raise ValueError(f"is {HOW}, and {ranks} ranks have {shape}, where the layer is {sizes}")
    pieces = _slices(x.detach(), axis, rank, ranks, stride)
    return Shard(shape, [Part(view, index) for view, index in pieces], HOW)


def _slices(
    x: torch.Tensor, axis: int, rank: int, ranks: int, stride: int = 1
) -> list[tuple[torch.Tensor, tuple[slice, ...]]]:
    """The parts of a tensor that was cut into ranks * stride pieces, of which a rank has every ranks-th: (view, index).

    Args:
        stride: how many pieces a rank has, such as 2 for a gate and its values.
    """
    length = int(x.shape[axis]) // stride
    result = []
    for k in range(stride):
        here = [slice(0, int(n)) for n in x.shape]
        index = list(here)
        here[axis] = slice(k * length, (k + 1) * length)
        start = (k * ranks + rank) * length
        index[axis] = slice(start, start + length)
        result.append((x[tuple(here)], tuple(index)))
    return result


def _grouped_experts(owner: Any, name: str, x: torch.Tensor) -> Shard:
    """GroupedMLP's weights are those of its experts, (experts, in, out), in memory of two axes."""
    experts, hidden = int(owner.num_local_experts), int(owner.config.hidden_size)
    group = owner.ep_group
    view = x.detach().view(experts, hidden, -1) if name == "weight1" else x.detach().view(experts, -1, hidden)
    axis = 2 if name == "weight1" else 1
    rank, ranks = _place(owner)
    stride = 2 if name == "weight1" and owner.config.gated_linear_unit else 1
    first = int(group.rank()) * experts
    shape = [experts * int(group.size()), *map(int, view.shape[1:])]
    shape[axis] *= ranks
    parts = []
    for part, index in _slices(view, axis, rank, ranks, stride):
        parts.append(Part(part, (slice(first, first + experts), *index[1:])))
    return Shard(tuple(shape), parts, "expert parallel in Megatron")


def _axis_of_transformer_engine(owner: Any, name: str, ndim: int) -> int | None:
    """The axis along which a weight or bias of Transformer Engine's layers is cut; None where it is whole.

    These layers mark all their weights as tensor parallel, duplicated ones too, so their parallel_mode counts. Experts
    have none, because Megatron cuts them itself, by the names of its classes.
    """
    if not name.startswith(WEIGHTS):
        return None
    kind = type(owner).__name__
    by_name = "column" if kind.startswith("TEColumn") else "row" if kind.startswith("TERow") else None
    mode = owner.parallel_mode or by_name
    if mode == "column":
        return 0
    return 1 if mode == "row" and ndim == 2 else None


def _sizes(owner: nn.Module, name: str) -> tuple[int, ...] | None:
    """The global shape of a layer's parameter, by its fields."""
    if not is_of_megatron(owner) or name not in ("weight", "bias"):
        return None
    fields = vars(owner)
    out, in_ = next(
        (
            (fields[first], fields[second])
            for first, second in (("output_size", "input_size"), ("num_embeddings", "embedding_dim"))
            if type(fields.get(first)) is int and type(fields.get(second)) is int
        ),
        (None, None),
    )
    if out is None or in_ is None:
        return None
    return (out, in_) if name == "weight" else (out,)


def ranks_of(owner: nn.Module) -> int:
    """How many ranks share the parameters of a layer; 1 where nothing tells."""
    try:
        return _place(owner)[1]
    except ValueError:
        return 1


def _place(owner: nn.Module) -> tuple[int, int]:
    """The rank in the tensor-parallel group of a layer, and how many there are."""
    for attribute in ("_tp_group", "tp_group"):  # the second may be Transformer Engine's, which has none for experts
        group = getattr(owner, attribute, None)
        if group is not None:
            return int(group.rank()), int(group.size())
    state: Any = sys.modules.get("megatron.core.parallel_state")
    if state is not None and state.model_parallel_is_initialized():
        if getattr(owner, "is_expert", False):
            return state.get_expert_tensor_parallel_rank(), state.get_expert_tensor_parallel_world_size()
        return state.get_tensor_model_parallel_rank(), state.get_tensor_model_parallel_world_size()
    raise ValueError(f"is {HOW}, and nothing tells the rank: the layer has no tp_group; pass its `shards`")
