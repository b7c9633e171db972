"""A torch module -> its parameters and buffers, under the names that they have in the model within all wrappers.

These are the names of the model's own `state_dict`. torch.compile, checkpoint_wrapper, DDP, DataParallel, FSDP1 and
AveragedModel put a module around another one; none of them adds a name. A weight that a layer makes of other tensors is
listed as that weight, which has its originals.
"""

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX

from arrayinit.backends import backend_of
from arrayinit.backends.base import Extent
from arrayinit.common.messages import shown
from arrayinit.models.axes import Leaf, Reading, described, readings_of
from arrayinit.models.derived import Derived, Slot, derived_of, tensor_at
from arrayinit.models.megatron import Context, context_of, is_of_megatron, ranks_of, refusal_behind
from arrayinit.models.memory import shared_in_part
from arrayinit.models.own_shards import Shards, given_shard, said_of
from arrayinit.models.parameters import Parameter, overlapping, tied_paths
from arrayinit.models.plans import PlanError
from arrayinit.models.rules import BUFFER
from arrayinit.models.shards import Shard
from arrayinit.models.torch_shards import (
    OTHERWISE,
    FlatWeight,
    copied_by_engines,
    flat_weights,
    shard_of,
    undone,
    without_elements,
)
from arrayinit.stream.formats import is_complex, is_floating

__all__ = [
    "Cut",
    "ModuleTensor",
    "Shards",
    "axes_of",
    "check_shards",
    "cut_tensors",
    "has_replicas",
    "is_layer",
    "is_statistic",
    "known_readings",
    "may_be_cut",
    "modules_by_path",
    "padding_of",
    "parameters_of",
    "registered",
    "registered_tensors",
    "shapeless",
    "tensors_of",
    "walk",
]

# Modules that are put around another one: where the class is defined, its name, and what it calls the one within.
WRAPPERS = (
    ("torch._dynamo.eval_frame", "OptimizedModule", "_orig_mod"),
    ("torch.distributed.algorithms._checkpoint.checkpoint_wrapper", "ActivationWrapper", "_checkpoint_wrapped_module"),
    ("torch.distributed.fsdp.fully_sharded_data_parallel", "FullyShardedDataParallel", "_fsdp_wrapped_module"),
    ("torch.nn.parallel.data_parallel", "DataParallel", "module"),
    ("torch.nn.parallel.distributed", "DistributedDataParallel", "module"),
    ("torch.optim.swa_utils", "AveragedModel", "module"),
    ("deepspeed.runtime.engine", "DeepSpeedEngine", "module"),
    ("megatron.core.distributed.data_parallel_base", "_BaseDataParallel", "module"),
    ("megatron.core.transformer.module", "Float16Module", "module"),
)


# Fields for the number of outputs and inputs of one layer.
SIZES = (
    ("out_features", "in_features"),
    ("output_size", "input_size"),
    ("out_channels", "in_channels"),
    ("output_dim", "input_dim"),
    ("out_dim", "in_dim"),
)


def walk(module: nn.Module, context: Context | None = None) -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of all modules, shared ones under each path; one that holds a module above it ends there."""
    wrappers = [(kind, within) for where, name, within in WRAPPERS if (kind := _class(where, name)) is not None]
    return _walk(module, "", (), wrappers, context_of(module) if context is None else context)


def _walk(
    module: nn.Module, prefix: str, above: tuple[nn.Module, ...], wrappers: list[tuple[type, str]], context: Context
) -> Iterator[tuple[str, nn.Module]]:
    yield prefix, module
    above = (*above, module)
    within = next((name for kind, name in wrappers if isinstance(module, kind)), None)
    for name, child in module._modules.items():
        if child is not None and not any(child is one for one in above):
            inner = prefix if name == within else _join(prefix, context.name(module, name))
            yield from _walk(child, inner, above, wrappers, context)


def _paths(modules: Sequence[tuple[str, nn.Module]], context: Context) -> Callable[[str, nn.Module, str], str]:
    """The path of a parameter or buffer: a function of the path of its module, the module, and the name there."""
    prefixes: dict[int, str] = {}
    for prefix, each in modules:
        prefixes.setdefault(id(each), prefix)

    def path_of(prefix: str, owner: nn.Module, name: str) -> str:
        above, below = context.moved.get((id(owner), name), (None, ""))
        return _join(prefix, context.name(owner, name)) if above is None else _join(prefixes[above], below)

    return path_of


def modules_by_path(module: nn.Module) -> dict[str, nn.Module]:
    """Path -> module, without wrappers and parametrizations; a shared one once, under its first path."""
    modules: dict[str, nn.Module] = {}
    seen = set[nn.Module]()
    for path, each in walk(module):
        if each not in seen and "parametrizations" not in path.split("."):
            modules[path] = each  # replaces the wrapper of the same path
        seen.add(each)
    return modules


def is_layer(module: nn.Module) -> bool:
    """Whether a module makes a weight of other tensors, or has a parameter of two axes or more itself."""
    return bool(derived_of(module)) or any(x.ndim >= 2 for x in module.parameters(recurse=False))


@dataclass(frozen=True)
class ModuleTensor:
    """A parameter or a buffer of `owner`, or a weight that `owner` makes of other tensors: what a rule may draw."""

    path: str
    owner: nn.Module
    name: str
    is_buffer: bool
    derived: Derived | None = None
    flat: FlatWeight | None = None
    context: Context = field(default_factory=Context)
    shards: Shards = None
    aliases: tuple[str, ...] = ()  # all paths of the same tensor, where `shards` may name any of them
    copied: frozenset[int] = frozenset()  # the ids of parameters of which an optimizer has copies
    refused: str = ""  # why what is here of it is unknown, unless `shards` says it

    @property
    def places(self) -> tuple[Slot, ...]:
        """The places of the tensors that a draw writes to."""
        return ((self.owner, self.name),) if self.derived is None else tuple(self.derived.originals.values())

    def shard(self) -> Shard | None:
        """What is here of a tensor that is cut; None where it is whole, or a DTensor.

        Raises:
            ValueError: why what is here can't be drawn.
        """
        if self.derived is not None:
            return None
        given = self.given_shard()
        if given is not None:
            return given
        if self.refused:
            raise ValueError(self.refused)
        if self.flat is not None:
            if self.flat.problem:
                raise ValueError(self.flat.problem)
            return self.flat.shard
        return shard_of(self.owner, self.name, self.tensors[0], self.context)

    def given_shard(self) -> Shard | None:
        """What `shards` says of it, under its own path or another one of the same tensor."""
        return given_shard(self.shards, self.aliases or (self.path,), self.tensors[0])

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors that a draw writes to."""
        if self.derived is None and self.flat is None:
            registry = self.owner._buffers if self.is_buffer else self.owner._parameters
            x = registry[self.name] if self.name in registry else None  # noqa: SIM401 # torch.jit's has no get
            return [] if x is None else [x]
        if self.flat is not None and tensor_at(self.places[0]) is None:
            return [self.flat.flat]
        return [x for x in map(tensor_at, self.places) if x is not None]

    @cached_property
    def likeness(self) -> torch.Tensor:
        """A tensor of the member's shape and dtype."""
        return self.tensors[0] if self.derived is None else self.derived.likeness()

    @cached_property
    def _found(self) -> tuple[Shard | None, str]:
        """(What is here of it, why that can't be drawn), before anything is allocated."""
        try:
            return self.shard(), ""
        except ValueError as error:
            return None, str(error)

    @cached_property
    def _cut(self) -> tuple[tuple[int, ...], str, str]:
        """(global shape, how it is cut, why it can't be drawn)."""
        problem = next(filter(None, (undone(x, self.copied) for x in self.tensors)), "")
        if self.derived is None:
            shard, reason = self._found
            if reason:
                return tuple(map(int, self.likeness.shape)), "", problem or reason
            if shard is not None:
                return shard.shape, shard.how, problem
            if not self.is_buffer:
                problem = problem or without_elements(self.owner, self.likeness)
        return tuple(map(int, self.likeness.shape)), "", problem

    @property
    def shape(self) -> tuple[int, ...]:
        """The global shape."""
        return self._cut[0]

    @property
    def cut(self) -> str:
        """How it is cut into parts; "" for a tensor that is whole or a DTensor."""
        return self._cut[1]

    @property
    def problem(self) -> str:
        """Why what is here of it can't be drawn; "" where it can."""
        return self._cut[2]

    @cached_property
    def extents(self) -> tuple[Extent, ...]:
        """The memory that a draw changes."""
        if self.derived is None:
            shard, reason = self._found
            if reason:  # it can't be drawn, and so is its own problem
                return ()
            if shard is not None:
                return tuple(extent for part in shard.parts for extent in backend_of(part.x).extents(part.x))
        return tuple(extent for x in self.tensors for extent in backend_of(x).extents(x))

    @property
    def identity(self) -> Hashable:
        """Equal for tensors that are tied: the weight of one layer, one tensor, or the same memory."""
        if self.derived is not None:
            return self.owner, self.name
        if self.flat is not None:
            return self.flat.first
        if self.is_copy:
            owner, name = self.context.copies[id(self.owner), self.name]
            return replace(self, owner=owner, name=name).identity
        return self.extents or id(self.likeness)

    @property
    def is_copy(self) -> bool:
        """Whether it is tied to another tensor in memory of its own, which both are to be drawn."""
        return (id(self.owner), self.name) in self.context.copies

    def read(self) -> torch.Tensor:
        """Its values; without any where it is on the meta device, or made of DTensors."""
        return self.tensors[0] if self.derived is None else self.derived.value()

    @property
    def originals(self) -> "list[ModuleTensor]":
        """The originals of a weight that is made of them; none where they are made of others themselves.

        A buffer that a parametrization factors out of the weight is among them.
        """
        if self.derived is None or len(self.tensors) < len(self.places):
            return []
        above = self.path.removesuffix(self.name)
        slots = {**self.derived.originals, **self.derived.beside}
        refused = refusal_behind(self.owner, self.name, self.likeness, self.context)
        return [
            ModuleTensor(
                above + path, owner, name, name in owner._buffers, context=self.context, shards=self.shards,
                copied=self.copied, refused=refused,
            )
            for path, (owner, name) in slots.items()
        ]  # fmt: skip

    @cached_property
    def refusal(self) -> str:
        """Why a weight that is made of others can't be assigned because it is cut; "" where it can."""
        if self.derived is None:
            return ""
        names = " and ".join(original.path for original in self.originals)
        if said_of(self.shards, self.path, self.likeness) is not None:
            return f"is made of others, so that `shards` can't say what is here of it: pass those of {names}"
        reason = refusal_behind(self.owner, self.name, self.likeness, self.context)
        if reason:
            return reason
        for original in self.originals:
            try:
                given = original.given_shard()
            except ValueError as error:
                return str(error)
            if given is not None:
                return f"is made of {original.path}, of which a part is here: have rules that name {names}"
        return ""


def tensors_of(module: nn.Module, shards: Shards = None) -> list[ModuleTensor]:
    """All parameters, then all buffers, under each path that they have; a derived weight comes first in its layer."""
    context = context_of(module)
    modules = list(walk(module, context))
    path_of, copied = _paths(modules, context), copied_by_engines(each for _, each in modules)
    wrapper = _class("torch.distributed.fsdp", "FullyShardedDataParallel")
    wrapped = [each for _, each in modules if wrapper is not None and isinstance(each, wrapper)]
    flats = {(id(flat.owner), flat.name): flat for each in wrapped for flat in flat_weights(each)}
    flattened = {id(flat.flat) for flat in flats.values()}
    derived = {owner: derived_of(owner) for _, owner in modules}
    behind = {
        (id(holder), name)
        for weights in derived.values()
        for weight in weights
        for holder, name in (*weight.originals.values(), *weight.made_anew)
    }
    result = []
    for is_buffer in (False, True):
        for prefix, owner in modules:
            for weight in derived[owner]:
                if any(
                    (id(at), name) in flats and tensor_at((at, name)) is None for at, name in weight.originals.values()
                ):
                    continue  # FSDP1 holds them
                if all(name in holder._buffers for holder, name in weight.originals.values()) == is_buffer:
                    path = _join(prefix, weight.name)
                    result.append(
                        ModuleTensor(path, owner, weight.name, is_buffer, weight, None, context, shards, copied=copied)
                    )
            tensors: dict[str, torch.Tensor | None] = owner._buffers if is_buffer else owner._parameters
            names = [
                name
                for name, x in tensors.items()
                if x is not None and (id(owner), name) not in behind and id(x) not in flattened
            ]
            names += [name for at, name in flats if at == id(owner) and not is_buffer and name not in tensors]
            for name in names:
                path, flat = path_of(prefix, owner, name), flats.get((id(owner), name))
                if flat is not None and (id(owner), name) in behind:
                    flat = replace(flat, shard=None, problem=f"makes a weight, and is flattened by FSDP1{OTHERWISE}")
                result.append(ModuleTensor(path, owner, name, is_buffer, None, flat, context, shards, copied=copied))
    return result if shards is None else _with_aliases(result)


def _with_aliases(members: Sequence[ModuleTensor]) -> list[ModuleTensor]:
    """Members that know under which other paths their tensor is found."""
    keys: list[Hashable] = []
    paths: dict[Hashable, list[str]] = {}
    for each in members:
        keys.append(_memory(each))
        paths.setdefault(keys[-1], []).append(each.path)
    return [replace(each, aliases=tuple(dict.fromkeys(paths[key]))) for each, key in zip(members, keys, strict=True)]


def _memory(member: ModuleTensor) -> Hashable:
    """Equal for members of one tensor, or of the same memory, however it is cut."""
    if member.derived is not None:
        return member.owner, member.name
    if member.flat is not None:
        return member.flat.first
    x = member.tensors[0]
    return backend_of(x).extents(x) or id(x)


def check_shards(module: nn.Module, shards: Any) -> None:
    """Refuse `shards` of another kind, or for paths that the model lacks. TypeError, ValueError."""
    if shards is None or callable(shards):
        return
    if not isinstance(shards, Mapping) or not all(isinstance(each, Shard) for each in shards.values()):
        raise TypeError(
            f"`shards` must be a mapping of paths to arrayinit.torch.Shard, or a function of a path and its tensor "
            f"that returns one; got {shown(shards)}"
        )
    members = tensors_of(module)
    known = {each.path for member in members for each in (member, *member.originals)}
    unknown = sorted(set(shards) - known, key=str)
    if unknown:
        raise ValueError(f"`shards` must have paths of the model; got {', '.join(map(str, unknown))}")


@dataclass(frozen=True)
class Cut:
    """The tensors of a module that are cut, but for DTensors.

    shards: path -> what is here of it. dtypes: path -> its dtype. problems: path -> why a part can't be reached now.
    holders: the ids of the tensors that hold any of this.
    """

    shards: Mapping[str, Shard]
    dtypes: Mapping[str, torch.dtype]
    problems: Mapping[str, str]
    holders: frozenset[int]


def cut_tensors(module: nn.Module, shards: Shards = None) -> Cut:
    """What is cut of a module, in other ways than as DTensors."""
    found, dtypes, problems, holders = dict[str, Shard](), {}, {}, set[int]()
    for member in tensors_of(module, shards):
        for each in (member,) if member.derived is None else member.originals:
            try:
                shard = each.shard()
            except ValueError as error:
                problems[each.path] = str(error)
            else:
                if shard is None:
                    continue
                found[each.path], dtypes[each.path] = shard, each.tensors[0].dtype
            holders |= set(map(id, each.tensors))
    return Cut(found, dtypes, problems, frozenset(holders))


def may_be_cut(module: nn.Module, shards: Shards = None) -> bool:
    """Whether other ranks may hold parts where this one has none: known from `shards`, or from Megatron's groups."""
    return shards is not None or any(is_of_megatron(each) and ranks_of(each) > 1 for each in module.modules())


def registered_tensors(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, torch.Tensor]]:
    """(path, owner, name, tensor) of all that is registered, those behind derived weights too."""
    context = context_of(module)
    modules = list(walk(module, context))
    path_of = _paths(modules, context)
    summoned = {id(each.tensors[0]) for each in tensors_of(module) if each.flat is not None and each.shard() is None}
    for prefix, owner in modules:
        for name, x in (*owner._parameters.items(), *owner._buffers.items()):
            if x is not None:  # FSDP1 marks the parameter, also while all of it is here
                yield path_of(prefix, owner, name), owner, name, x.detach() if id(x) in summoned else x


def has_replicas(module: nn.Module) -> bool:
    """Whether DistributedDataParallel keeps copies of a module, or a part of it, in several processes."""
    kind = _class("torch.nn.parallel.distributed", "DistributedDataParallel")
    return kind is not None and any(isinstance(each, kind) for each in module.modules())


def registered(module: nn.Module) -> Iterator[str]:
    """The paths of everything that a state dict may have: tensors, those behind weights too, and extra states."""
    context = context_of(module)
    modules = list(walk(module, context))
    path_of = _paths(modules, context)
    for prefix, owner in modules:
        for name in (*owner._parameters, *owner._buffers, _EXTRA_STATE_KEY_SUFFIX):
            yield path_of(prefix, owner, name)


def shapeless(module: nn.Module) -> dict[str, str]:
    """Path -> why, of what has no shape."""
    reasons = {}
    for prefix, owner in walk(module):
        for name, x in (*owner._parameters.items(), *owner._buffers.items()):
            reason = "" if x is None else backend_of(x).shapeless(x)
            if reason:
                reasons[_join(prefix, name)] = reason
    return reasons


def parameters_of(module: nn.Module, shards: Shards = None) -> list[Parameter]:
    """The parameters and buffers of a module as rules see them; those that are tied once, under their first path.

    Raises:
        PlanError: two tensors that have one path, as where a wrapper has a parameter of its own.
    """
    members: dict[str, ModuleTensor] = {}
    twice = {}
    for member in tensors_of(module, shards):
        if members.setdefault(member.path, member).identity != member.identity:
            twice[member.path] = "the path of several tensors"
    if twice:
        raise PlanError(twice)
    tied = tied_paths((path, member.identity) for path, member in members.items())
    shared = shared_in_part((path, members[path].extents) for path in tied)
    lost = _lost(module)
    readings = _readings(members.values())
    result = []
    for path, others in tied.items():
        problem = overlapping(shared[path]) if path in shared else ""
        parameter = _parameter([members[each] for each in (path, *others)], lost, problem)
        # Originals have the axes of their weight, or none.
        result.append(replace(parameter, **described(readings[path])) if path in readings else parameter)
    return result


def _readings(members: Iterable[ModuleTensor]) -> dict[str, tuple[Reading, ...]]:
    """Path -> the readings of stacks of layers, and of weights of which it is open what their axes mean."""
    leaves = []
    for each in members:
        if not each.is_buffer and is_floating(backend_of(each.likeness).dtype_name(each.likeness.dtype)):
            shape = each.shape
            known = known_readings(each.owner, each.name, shape)
            leaves.append(Leaf(each.path, shape, "oi", known, type(each.owner).__name__, is_fused=True))
    return {
        path: each for path, each in readings_of(leaves).items() if len(each) > 1 or (each and "b" in each[0].roles)
    }


def known_readings(owner: nn.Module, name: str, shape: tuple[int, ...]) -> tuple[Reading, ...]:
    """The readings that the class of a layer and its fields leave for a weight; none where they say nothing.

    Classes of torch.nn have weights (out, in, *spatial). Other classes may say how many inputs and outputs a layer
    has, or, as the fused experts of transformers, whether it is transposed.
    """
    rank = len(shape)
    if rank < 2:
        return ()
    if any(_is_layer_of_torch(kind) for kind in type(owner).__mro__) and name in ("weight", "bias_k", "bias_v"):
        return (Reading("oi" + "s" * (rank - 2)),)
    if rank == 3 and type(owner).__name__ == "GroupedMLP":  # Megatron's, as its shards are
        return (Reading("bio"),)
    if rank < 3 or hasattr(owner, "kernel_size"):
        return (Reading("oi" + "s" * (rank - 2)),) if hasattr(owner, "kernel_size") and name == "weight" else ()
    stack = "b" * (rank - 2)
    for first, second in SIZES:
        out, in_ = getattr(owner, first, None), getattr(owner, second, None)
        if isinstance(out, int) and isinstance(in_, int):
            fitting = [roles for roles, sizes in (("oi", (out, in_)), ("io", (in_, out))) if shape[-2:] == sizes]
            return tuple(Reading(stack + roles) for roles in fitting)
    is_transposed = getattr(owner, "is_transposed", None)
    if isinstance(is_transposed, bool) and hasattr(owner, "num_experts"):
        return (Reading(stack + ("io" if is_transposed else "oi")),)
    return ()


def _is_layer_of_torch(kind: type) -> bool:
    """Whether a class is a layer of torch.nn, rather than its base or a container."""
    where = kind.__module__
    return where.startswith("torch.nn.modules.") and where.rpartition(".")[2] not in ("module", "container")


def _parameter(tied: Sequence[ModuleTensor], lost: dict[int, str], problem: str) -> Parameter:
    """One weight under all of its paths."""
    member = tied[0]
    cut = member.cut
    owner, name, x = member.owner, member.name, member.likeness
    tensors = [y for each in tied for y in each.tensors]
    is_known = bool(cut) or member.flat is not None
    for each in (member, *(one for one in tied[1:] if one.is_copy)):
        if (each.shape, each.likeness.dtype) != (member.shape, x.dtype):
            problem = problem or (
                f"has {member.shape} of {x.dtype}, and {each.path}, which is tied to it, {each.shape} of "
                f"{each.likeness.dtype}"
            )
        problem = problem or each.problem
        shard = None if problem or not each.cut else each.shard()
        written = each.tensors if shard is None else [part.x for part in shard.parts]
        problem = problem or next(
            (reason for y in written if (reason := _problem(y, lost, is_known) or _unlike(y, each.likeness))), ""
        )
    kinds = tuple(kind.__name__ for kind in type(owner).__mro__[:-1] if kind is not nn.Module)
    parameter = Parameter(
        member.path,
        member.shape,
        backend_of(x).dtype_name(x.dtype),
        kinds=kinds + ((BUFFER,) if member.is_buffer else ()),
        axes=_axes(member),
        tied=tuple(each.path for each in tied[1:]),
        optional=member.is_buffer and (not x.is_meta or is_statistic(owner, name)),
        zero_row=next((row for each in tied if (row := padding_of(each.owner, each.name)) is not None), None),
        frozen=next((reason for y in tensors if (reason := backend_of(y).frozen(y))), ""),
        is_loaded=any(backend_of(y).is_loaded(y) for y in tensors),
        has_values=not any(y.is_meta for y in tensors),
        persistent=not (member.is_buffer and name in owner._non_persistent_buffers_set),
        problem=problem,
        cut=cut,
    )
    if member.derived is None:
        return parameter
    originals = []
    for each, marks in zip(member.originals, member.derived.marks.values(), strict=False):  # no originals, or all
        original = _parameter([each], lost, problem)
        axes = parameter.axes if each.likeness.shape == x.shape else {}
        optional = parameter.optional or original.optional
        originals.append(replace(original, kinds=parameter.kinds, axes=axes, optional=optional, marks=marks))
    return replace(
        parameter,
        through=member.derived.through,
        originals=tuple(originals),
        problem=problem or member.refusal or member.derived.problem,
    )


def _problem(x: torch.Tensor, lost: dict[int, str], is_known: bool) -> str:
    """Why a tensor, of which it may be known how it is cut, can't be written to; "" where it can."""
    backend = backend_of(x)
    reason = lost.get(id(x), "")
    if not reason:
        freed = "has a shape, and no memory: its storage was freed" if _is_freed(x) else ""
        reason = freed if is_known else backend.missing(x)
    if reason:
        return reason
    try:
        backend.check_readable(x)
        if not backend.is_abstract(x):
            backend.check_writable(x)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _is_freed(x: torch.Tensor) -> bool:
    """Whether a plain tensor has lost its memory, as FSDP1's have within some of its contexts."""
    is_plain = type(x) in (torch.Tensor, nn.Parameter) and x.layout == torch.strided and not x.is_nested
    return is_plain and not x.is_meta and bool(x.numel()) and not x.untyped_storage().size()


def _unlike(part: torch.Tensor, x: torch.Tensor) -> str:
    """Why a part of a tensor can't be drawn in its dtype; "" where it has that of the tensor, or another precision."""
    own, of_whole = (backend_of(y).dtype_name(y.dtype) for y in (part, x))
    if own == of_whole or (is_floating(own) and is_complex(own) == is_complex(of_whole)):
        return ""
    return f"is {of_whole}, and a part of it that is here {own}, which can't hold its values"


def _lost(module: nn.Module) -> dict[int, str]:
    """id of a tensor that fully_shard holds -> why a draw into it would be lost."""
    reasons: dict[int, str] = {}
    sharded = _class("torch.distributed.fsdp", "FSDPModule")
    for _, each in walk(module) if sharded else ():
        if isinstance(each, sharded):
            state = each._get_fsdp_state()
            groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
            for group in groups:
                if group is not None and not group.is_sharded:
                    lost = "is unsharded by fully_shard, and lost when it is sharded again: call its module's reshard()"
                    reasons |= {id(param.unsharded_param): lost for param in group.fsdp_params}
    return reasons


def is_statistic(owner: nn.Module, name: str) -> bool:
    """Whether a buffer is one that `reset_running_stats` sets."""
    return isinstance(owner, _NormBase) and name in ("running_mean", "running_var", "num_batches_tracked")


def axes_of(owner: nn.Module, name: str, ndim: int) -> dict[str, Any]:
    """The meaning of a weight's axes, by its layer."""
    if name != "weight" or ndim < 2:
        return {}
    if isinstance(owner, _ConvNd):
        axes: dict[str, Any] = {"groups": owner.groups} if owner.groups != 1 else {}
        return axes | {"transposed": True} if isinstance(owner, _ConvTransposeNd) else axes
    if isinstance(owner, nn.Bilinear):
        return {"layout": "oii"}
    # transformers' class, or one that fully_shard or a parametrization made of it.
    is_reversed = any(kind.__name__ == "Conv1D" for kind in type(owner).__mro__)
    return {"layout": "io"} if is_reversed and ndim == 2 else {}


def _axes(member: ModuleTensor) -> dict[str, Any]:
    """The axes of a weight by its layer; one group per output of the whole where a depthwise convolution is cut."""
    owner, shape = member.owner, member.shape
    axes = axes_of(owner, member.name, len(shape))
    is_depthwise = member.cut and isinstance(owner, _ConvNd) and 1 < owner.groups == owner.out_channels
    return axes | {"groups": shape[0]} if is_depthwise and "groups" in axes and shape[1] == 1 else axes


def padding_of(owner: nn.Module, name: str) -> int | None:
    """The row of an embedding that is its padding."""
    if name != "weight" or not isinstance(owner, (nn.Embedding, nn.EmbeddingBag)):
        return None
    row: int | None = owner.padding_idx
    return row


def _class(where: str, name: str) -> Any:
    """A class of a module that is imported where there are instances of it; None where it isn't."""
    kind = getattr(sys.modules.get(where), name, None)
    return kind if isinstance(kind, type) else None


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
