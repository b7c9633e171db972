"""Megatron's layers: which part of a parameter a tensor-parallel or expert-parallel rank has, and its global name.

A layer knows its group, `tp_group`, or Megatron's parallel_state does. The parameter says by its attributes
tensor_model_parallel, partition_dim and partition_stride how it is cut, or the layer by its sizes, since Megatron sets
those attributes only where it draws the parameter itself. Some parameters have neither, or are cut block by block: what
Megatron's `sharded_state_dict` methods say of them is in `_cuts`.
"""

import functools
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from arrayinit.models.shards import Part, Shard

__all__ = ["Context", "context_of", "is_of_megatron", "part_of_megatron", "ranks_of", "refusal_behind"]

HOW = "tensor parallel in Megatron"
WEIGHTS = ("weight", "bias")  # of grouped layers: weight0, weight1, ... for their experts
TIED = "embedding.word_embeddings.weight"  # of which the last stage of a pipeline has a copy

Place: TypeAlias = tuple[int, str]  # the id of a module, and the name of a parameter of its own


@dataclass(frozen=True)
class Cut:
    """How a parameter is cut along its first axis, as its layer knows.

    holder: the module that has the group.
    blocks: the global sizes of the blocks that are cut one by one; None where they are unknown.
    """

    holder: nn.Module
    blocks: tuple[int, ...] | None


@dataclass(frozen=True)
class Context:
    """What a layer of Megatron doesn't know of itself, by the id of modules.

    names: local name -> global name of layers, experts and their weights, which each stage and rank numbers from 0.
    gated: the layers that have a gate and the values that it multiplies in one weight.
    cuts: the parameters that are cut though nothing on them or their own layer says how.
    moved: the parameters that have a path of another place: that of a module (by its id), and a path below it.
    copies: the parameters that are to be equal to another one, which is here, too: the module and name of that.
    """

    names: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    gated: frozenset[int] = frozenset()
    cuts: Mapping[Place, Cut] = field(default_factory=dict)
    moved: Mapping[Place, tuple[int, str]] = field(default_factory=dict)
    copies: Mapping[Place, tuple[nn.Module, str]] = field(default_factory=dict)

    def name(self, module: nn.Module, local: str) -> str:
        """The global name of a child or a parameter of a module."""
        return self.names.get(id(module), {}).get(local, local)


NOTHING = Context()


def context_of(module: nn.Module) -> Context:
    """The context of all modules within one."""
    names: dict[int, Mapping[str, str]] = {}
    gated = set[int]()
    cuts: dict[Place, Cut] = {}
    moved: dict[Place, tuple[int, str]] = {}
    copies: dict[Place, tuple[nn.Module, str]] = {}
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
            for place, cut in _cuts(each):
                cuts.setdefault(place, cut)  # that of a layer above comes first
            head = _tied_head(each)
            if head is not None:
                words = _below(each, "embedding", "word_embeddings")
                if words is None or words._parameters.get("weight") is None:
                    moved[id(head), "weight"] = id(each), TIED
                elif words.weight is not head.weight:  # beside multi-token prediction
                    copies[id(head), "weight"] = words, "weight"
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
    if not (names or gated or cuts or moved or copies):
        return NOTHING
    return Context(names, frozenset(gated), cuts, moved, copies)


def _tied_head(model: nn.Module) -> Any:
    """The output layer of a model that is tied to the embedding and yet has a weight of its own; None without one."""
    if not getattr(model, "share_embeddings_and_output_weights", False):
        return None
    heads = [_below(model, "output_layer"), _below(model, "lm_head", "output_layer")]  # the second is T5's
    return next((head for head in heads if head is not None and head._parameters.get("weight") is not None), None)


def _below(module: nn.Module, *names: str) -> nn.Module | None:
    found: nn.Module | None = module
    for name in names:
        found = None if found is None else found._modules.get(name)
    return found


def _cuts(layer: Any) -> Iterator[tuple[Place, Cut]]:
    """The cuts that Megatron's `sharded_state_dict` methods name, of what a layer and its children have."""
    kinds = {kind.__name__ for kind in type(layer).__mro__}
    if layer._parameters.get("softmax_offset") is not None:  # of DotProductAttention and TEDotProductAttention
        yield (id(layer), "softmax_offset"), Cut(layer, _blocks(getattr(layer, "config", None), "num_attention_heads"))
    if "ExtendedRMSNorm" in kinds:
        yield (id(layer), "weight"), Cut(layer, None)
    if "GatedDeltaNet" in kinds:
        heads, keys, values = ("num_value_heads",), ("qk_dim", "qk_dim"), ("v_dim",)
        yield from _of_mixer(layer, ("A_log", "dt_bias"), heads)
        yield from _of_mixer(_below(layer, "in_proj"), WEIGHTS, (*keys, *values * 2, *heads * 2), layer)
        yield from _of_mixer(_below(layer, "conv1d"), WEIGHTS, (*keys, *values), layer)
    if "MambaMixer" in kinds:
        inner, states = ("d_inner",), (("ngroups", "d_state"),) * 2
        yield from _of_mixer(layer, ("A_log", "dt_bias"), ("nheads",))
        yield from _of_mixer(layer, ("D",), inner if getattr(layer, "D_has_hdim", False) else ("nheads",))
        yield from _of_mixer(_below(layer, "in_proj"), WEIGHTS, (*inner * 2, *states, "nheads"), layer)
        yield from _of_mixer(_below(layer, "conv1d"), WEIGHTS, (*inner, *states), layer)
        yield from _of_mixer(_below(layer, "norm"), ("weight",), inner, layer)


def _of_mixer(
    owner: nn.Module | None, names: tuple[str, ...], sizes: tuple[Any, ...], holder: nn.Module | None = None
) -> Iterator[tuple[Place, Cut]]:
    if owner is None:
        return
    holder = owner if holder is None else holder
    for name in names:  # also of a weight that is made of others, and so no parameter
        yield (id(owner), name), Cut(holder, _blocks(holder, *sizes))


def _blocks(holder: Any, *sizes: Any) -> tuple[int, ...] | None:
    """The sizes of blocks, each a field or the product of several; None where a field is missing."""
    fields = [size if isinstance(size, tuple) else (size,) for size in sizes]
    values = [[getattr(holder, name, None) for name in each] for each in fields]
    return tuple(map(math.prod, values)) if all(type(n) is int for each in values for n in each) else None  # type: ignore[arg-type]


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
    if (id(owner), name) in context.cuts:
        return _in_blocks(name, x, context.cuts[id(owner), name])
    return _tensor_parallel(owner, name, x, id(owner) in context.gated)


def _tensor_parallel(owner: nn.Module, name: str, x: torch.Tensor, is_gated: bool) -> Shard | None:
    sizes = _sizes(owner, name)
    if hasattr(owner, "parallel_mode"):
        axis, stride = _axis_of_transformer_engine(owner, name, x.ndim), 1
        if axis is None:
            return None
    elif getattr(x, "tensor_model_parallel", False):
        axis, stride = int(getattr(x, "partition_dim", -1)), int(getattr(x, "partition_stride", 1))
        if axis == -1:  # marked, and no more
            if _place(owner)[1] == 1:
                return None
            raise ValueError(f"is {HOW}, as it is marked, and nothing tells along which axis: pass its `shards`")
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


def refusal_behind(owner: nn.Module, name: str, x: torch.Tensor, context: Context = NOTHING) -> str:
    """Why a weight that a layer of Megatron makes of others can't be drawn; "" where it is whole.

    The tensors behind it have lost the attributes of the weight, so that nothing tells how they are cut.
    """
    cut = context.cuts.get((id(owner), name))
    if cut is None and (not is_of_megatron(owner) or _sizes(owner, name) == tuple(x.shape)):
        return ""
    try:
        _, ranks = _place(owner if cut is None else cut.holder)
    except ValueError:  # not in a parallel world
        return ""
    if ranks == 1:
        return ""
    return (
        f"is made of others, in a layer that is {HOW} on {ranks} ranks: nothing tells how those are cut; draw it "
        "before that, or pass the `shards` of those and have rules that name them"
    )


def _in_blocks(name: str, x: torch.Tensor, cut: Cut) -> Shard | None:
    """A parameter of which each block is cut along the first axis on its own."""
    rank, ranks = _place(cut.holder)
    if ranks == 1:
        return None
    rows = int(x.shape[0]) if x.ndim else 0
    blocks = (rows * ranks,) if name == "weight" and cut.blocks is None and x.ndim == 1 else cut.blocks
    if blocks is None or any(size % ranks for size in blocks) or sum(blocks) != rows * ranks:
        known = "unknown sizes" if blocks is None else f"the sizes {blocks}"
        raise ValueError(f"is {HOW}, in blocks of {known}, which {ranks} ranks of {tuple(x.shape)} don't make")
    parts, here, there = [], 0, 0
    others = tuple(slice(0, int(n)) for n in x.shape[1:])
    for size in blocks:
        length = size // ranks
        start = there + rank * length
        parts.append(Part(x.detach()[here : here + length], (slice(start, start + length), *others)))
        here, there = here + length, there + size
    return Shard((there, *map(int, x.shape[1:])), parts, HOW)


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
    if not x.is_contiguous():
        raise ValueError(f"holds the experts of a rank, {tuple(x.shape)}, and must be contiguous: strides {x.stride()}")
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
    group = getattr(getattr(owner, "pg_collection", None), "tp", None)
    if group is not None:
        return int(group.rank()), int(group.size())
    state: Any = sys.modules.get("megatron.core.parallel_state")
    if state is not None and state.model_parallel_is_initialized():
        if getattr(owner, "is_expert", False):
            return state.get_expert_tensor_parallel_rank(), state.get_expert_tensor_parallel_world_size()
        return state.get_tensor_model_parallel_rank(), state.get_tensor_model_parallel_world_size()
    raise ValueError(f"is {HOW}, and nothing tells the rank: the layer has no tp_group; pass its `shards`")
