"""torch modules: their parameters and buffers, drawn by rules in place, from the meta device and sharded ones too."""

from typing import Any, Literal, overload

import torch
from torch import nn

from arrayinit.backends import backend_named, backend_of, is_compiling
from arrayinit.common.arguments import flag
from arrayinit.common.calls import hinting
from arrayinit.key import Key
from arrayinit.models.derived import held, tensor_at, write
from arrayinit.models.fill import fill
from arrayinit.models.matching import Frozen, SeedNames, keyed, match, root_of
from arrayinit.models.plans import Plan, PlanError, Planned
from arrayinit.models.recorded import RecordedRule
from arrayinit.models.selection import Only
from arrayinit.models.shards import Part, Shard, rows_of
from arrayinit.models.torch_members import (
    ModuleTensor,
    Shards,
    check_shards,
    has_replicas,
    is_statistic,
    parameters_of,
    registered,
    shapeless,
    tensors_of,
)

LOADED = "_is_hf_initialized"  # what transformers sets on parameters that it has loaded

__all__ = ["init_module_", "parameters_of", "shards_of"]


@overload
def init_module_(
    module: nn.Module, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, only: Only = None, shards: Shards = None, dry_run: Literal[False] = False,
    device: Any = None, progress: bool | None = None,
) -> nn.Module: ...  # fmt: skip


@overload
def init_module_(
    module: nn.Module, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, only: Only = None, shards: Shards = None, dry_run: Literal[True], device: Any = None,
    progress: bool | None = None,
) -> Plan: ...  # fmt: skip


@hinting
def init_module_(
    module: nn.Module,
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    only: Only = None,
    shards: Shards = None,
    dry_run: bool = False,
    device: Any = None,
    progress: bool | None = None,
) -> nn.Module | Plan:
    """Draw all parameters of a torch module by rules, and the buffers that rules ask for; returns the module.

    Parameters are filled in place. Tied ones are drawn once, under their first path. Tensors on the meta device are
    allocated first, on `device`, except those that a rule keeps. Groups, transposition and the
    (in, out) layout of transformers' Conv1D are taken from the layer, so that fans are right; a spec's own `groups`,
    `transposed` and `layout` come first. The row of an embedding's `padding_idx` is 0, as in torch.

    A parameter of three or more axes in a custom layer may be a kernel (out, in, *spatial), or a stack, as of
    experts, (experts, out, in) or (experts, in, out). The bias beside it, a gate_up_proj beside a down_proj, and fields
    such as in_features and out_features or transformers' is_transposed decide. Where they don't, a rule whose law
    depends on it is refused, and must have a `layout` or the `batch_axis` of the stack, whose other axes are (out, in,
    *spatial) then.

    **Models that are cut** get the same values for any number of ranks: each rank fills what it holds, with the fans of
    the global shape and without communication. That goes for DTensors (FSDP2, tensor parallelism); FSDP1's flat
    parameters, with use_orig_params and without; ZeRO-3's partitions, before deepspeed.initialize, padding left alone;
    Megatron's tensor parallelism, where layers and experts have the numbers of the whole model in their paths, under
    pipeline and expert parallelism, too. :func:`shards_of` tells the parts, and `shards` is for schemes of your own.

    **Paths** are those of the model's own `state_dict`. Wrappers add nothing to them at any depth: torch.compile,
    checkpoint_wrapper, DataParallel, DDP, FSDP1, AveragedModel, DeepSpeed's engine. Tensors of exactly the same memory
    are tied. Tensors that share a part of their memory, such as a matrix and its transpose, are refused if one of them
    is drawn; disjoint slices of one buffer are not.

    **A weight that a layer makes of other tensors** (torch.nn.utils.parametrize, and both forms of weight_norm,
    spectral_norm and prune) is drawn as a whole under its plain path, "fc.weight", and assigned by `right_inverse`.
    With weight_norm, magnitude and direction are those of the plain layer's draw. spectral_norm gets new vectors, by
    15 steps of the power method from a start drawn with the weight's key. A random right_inverse draws from torch's
    generators, which start from that key and are restored afterwards. A mask stays. A rule draws the tensors behind a
    weight only if it names them: its pattern contains "original" or "parametrizations" ("_g", "_v", "_orig" for the
    older functions) and comes before all that match the weight. Then each of them is drawn under its own path, and the
    weight is what the layer makes of them.

    **Buffers** stay as they are, unless a rule with a `kind` matches them: that of their layer, or "buffer". On the
    meta device the running statistics of norms become those of a new layer. Other buffers that a layer computes when it
    is made (rotary frequencies, position ids) have lost their values there and raise an error: recreate that layer on
    a real device, `model.rotary_emb = RotaryEmbedding(config)`, or give the buffer a rule. A :func:`record` has a rule
    for every buffer, and gives all of them the values that the constructor does, on any device.

    Args:
        module: any torch.nn.Module.
        rules: an :class:`arrayinit.Rules`, or anything `Rules()` accepts: a mapping from patterns to initializers, ...
            :func:`record` makes them of the model's constructor.
        seed: as in every initializer; the key of each parameter is fold(seed, its path). All ranks must pass the same
            one. Nothing is sent between them, so another seed goes unnoticed here: :func:`arrayinit.fingerprint` shows
            it.
        seed_names: path -> name to be folded instead, as a mapping or a function.
        frozen: "draw" draws parameters that do not require a gradient, and tensors that transformers has loaded (it
            sets `_is_hf_initialized` on them), as their rules say; "keep" leaves them as they are. None leaves alone
            what is loaded, keeps with a warning what a rule with `keeps_frozen` matches, as those of recipes do, and
            raises an error where another rule would draw a frozen one. A rule of None keeps what it matches in any
            case.
        only: what is drawn, while all else stays as it is and needs no rule: a path or a pattern as in rules, several
            of them, such as what `load_state_dict(..., strict=False)` returns, or a mapping from such to slices of rows
            ({"embed.weight": slice(50257, None)} for rows that were added). A tied parameter is drawn where all of its
            paths are asked for. Buffers that no state dict holds also get their values, if they are on the meta device.
        shards: what this process holds of parameters that are cut in a way of your own: path -> :class:`Shard`, or a
            function of a path and its tensor that returns one, or None for others. The function may be called several
            times; on the meta device only a function works, and it sees meta tensors first. What :func:`shards_of`
            finds needs none. A tied tensor may have it under any of its paths. Where a layer makes a weight of others,
            such as with weight_norm, those are given under their own paths, and rules must name them.
        dry_run: return the plan; draw and allocate nothing, and take no key. The plan has the keys of the next draw.
        device: for tensors on the meta device; by default that of a DTensor's mesh, the one that a recorded constructor
            asked for, or torch's default device.
        progress: True shows a progress bar, False none; None shows one on terminals after a second, if rich is there.

    Raises:
        PlanError: parameters, and buffers on the meta device, that no rule matches; lazy parameters without a shape;
            tensors that their rule can't draw, that can't be written to, that are frozen, that share a part of their
            memory, or of which a part is here that can't be drawn (partitions on disks, gathered copies of FSDP1 and
            FSDP2, parameters without elements that no library explains); weights whose parametrization has no
            right_inverse, or turns the draw into NaN (rows of zeros with weight_norm). It lists all of them, and the
            module is as it was.
        TypeError: `module` is not a torch.nn.Module; `shards` has no Shard.
        ValueError: seed is None where ranks would take different keys (parameters that are cut, DDP); a `device` that
            is unknown or holds no values; a pattern of `only` that selects nothing, or rows that are not there.

    Warns:
        UserWarning: a rule applies to no parameter; `seed_names` has a path that the model lacks; all that would be
            drawn is loaded; rules keep frozen parameters; `only` asks for some paths of a tied parameter, or leaves
            tensors without values.

    Example:
        >>> import torch
        >>> from arrayinit.torch import init_module_
        >>> with torch.device("meta"):
        ...     model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> rules = {"*.bias": "zeros", "*.weight": ai.spec("kaiming_normal", nonlinearity="relu")}
        >>> print(init_module_(model, rules, seed=0, dry_run=True))
        parameter  shape  initializer                          rule
        ---------------------------------------------------------------
        0.weight     3x4  kaiming_normal, nonlinearity='relu'  *.weight
        0.bias         3  zeros                                *.bias
        2.weight     2x3  kaiming_normal, nonlinearity='relu'  *.weight
        2.bias         2  zeros                                *.bias
        >>> init_module_(model, rules, seed=0)[2].bias.tolist()
        [0.0, 0.0]
    """
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # imported here: the compiler has been loaded by now

        options = {
            "seed_names": seed_names, "frozen": frozen, "only": only, "shards": shards, "dry_run": dry_run,
            "device": device, "progress": progress,
        }  # fmt: skip
        result: nn.Module | Plan = torch_compiled.unserved(init_module_, module, rules, seed=seed, **options)
        return result
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"`module` must be a torch.nn.Module; got {type(module).__name__} (for a mapping of arrays: "
            f"arrayinit.init_params_)"
        )
    flag(dry_run, "dry_run")
    if device is not None and backend_named("torch").check_device(device).type == "meta":
        raise ValueError(f"`device` must be one that holds values; got {device!r}")
    unknown = shapeless(module)
    if unknown:
        raise PlanError(unknown)
    check_shards(module, shards)
    parameters = parameters_of(module, shards)
    members = {each.path: each for member in tensors_of(module, shards) for each in (member, *member.originals)}
    tensors = [x for member in members.values() for x in member.tensors]
    # The seed is checked for a tensor for which None would be another key on each process, or baked into a graph.
    root = root_of(seed, next(((backend_of(x), x) for x in tensors if _needs_seed(x)), None))
    if seed is None:
        if has_replicas(module):
            raise ValueError(
                "`seed` must be given where DistributedDataParallel has copies of the module, since each process would "
                "take another key; got None"
            )
        cut = next((each for each in parameters if each.cut), None)
        if cut is not None:
            raise ValueError(
                f"`seed` must be given where parameters are cut, since each rank would take another key; got None, and "
                f"{cut.path} is {cut.cut}"
            )
    matches = match(parameters, rules, seed_names, frozen, only, registered(module), runs_programs=True)
    plan = keyed(matches, root, dry_run=True)  # refuses a wrong seed
    if dry_run:
        return plan
    _check_assigned(plan, members, device)
    # Weights that are made of others come last, and those within others' parametrizations before them: what a
    # parametrization holds itself decides on what gives a weight.
    matches.sort(key=lambda each: _turn(members[each.path]))

    def allocate() -> None:
        if any(x.is_meta for x in tensors):
            _materialize(module, plan, members, device)

    def root_key(take: bool) -> Key:
        """The root; none is taken where nothing has values, as with fake tensors."""
        return root(take and any(not backend_of(x).is_abstract(x) for each in members.values() for x in each.tensors))

    def draw(entry: Planned) -> None:
        for member in (members[entry.path], *_copies(entry, members)):
            _draw(entry, member, device)

    plan = fill(matches, root_key, draw, progress=progress, allocate=allocate)
    _renew(plan, members)
    return module


def shards_of(module: nn.Module) -> dict[str, Shard]:
    """Path -> what this process holds of it, for each parameter and buffer of a module that is cut.

    It knows DTensors (FSDP2, tensor parallelism), DeepSpeed's ZeRO-3, FSDP1, and Megatron's tensor and expert
    parallelism, by the attributes and groups that these libraries set. Nothing is sent. What is whole here is not
    listed.
    `init_module_` draws by the same shards; for another scheme, pass your own as its `shards`.

    Args:
        module: any torch.nn.Module.

    Raises:
        TypeError: `module` is not a torch.nn.Module.
        PlanError: parameters that are cut and can't be drawn now, such as a partition on a disk.

    Example:
        >>> import torch
        >>> from arrayinit.torch import shards_of
        >>> layer = torch.nn.Linear(8, 2)
        >>> layer.weight.ds_shape, layer.weight.ds_numel = (2, 8), 16  # as DeepSpeed's second of two ranks has it
        >>> layer.weight.ds_tensor = torch.zeros(8)
        >>> layer.weight.ds_zero_partition_rank, layer.weight.ds_zero_partition_world_size = 1, 2
        >>> layer.weight.data = torch.empty(0)
        >>> shard = shards_of(layer)["weight"]
        >>> shard.shape, shard.parts[0].flat
        ((2, 8), slice(8, 16, None))
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module; got {type(module).__name__}")
    shards, problems = {}, {}
    for member in (each for one in tensors_of(module) for each in (one.originals if one.derived else (one,))):
        x = member.read()
        backend = backend_of(x)
        if backend.is_distributed:
            shards[member.path] = _of_dtensor(x)
            continue
        try:
            shard = member.shard()
        except ValueError as error:
            problems[member.path] = str(error)
            continue
        if shard is not None:
            shards[member.path] = shard
    if problems:
        raise PlanError(problems)
    return shards


def _of_dtensor(x: Any) -> Shard:
    parts = []
    for corner, part in held(x):
        index = tuple(slice(a, a + n) for a, n in zip(corner, part.shape, strict=True))
        parts.append(Part(part, index))
    return Shard(tuple(map(int, x.shape)), parts, f"placed {tuple(x.placements)}")


def _copies(entry: Planned, members: dict[str, ModuleTensor]) -> list[ModuleTensor]:
    """The tensors that are tied to that of an entry, in memory of their own."""
    return [members[path] for path in entry.parameter.tied if members[path].is_copy]


def _needs_seed(x: torch.Tensor) -> bool:
    backend = backend_of(x)
    return backend.is_distributed or backend.is_tracing(x)


def _draw(entry: Planned, member: ModuleTensor, device: Any) -> None:
    if member.derived is not None:
        if not any(backend_of(x).is_abstract(x) for x in member.tensors):
            member.derived.assign(_weight(entry, member, device), entry.key)
        return
    x = member.read()
    shard = member.shard()
    if shard is not None:
        _draw_shard(entry, shard)
        return
    if entry.rows is not None:
        _draw_rows(entry, x, entry.rows)
    elif entry.program is None:
        entry.fill_(x)
    elif not backend_of(x).is_abstract(x):
        write(x, entry.values())
    row = entry.parameter.zero_row
    if row is not None and (entry.rows is None or row in entry.rows):
        _zero_row(x, row)


def _draw_shard(entry: Planned, shard: Shard) -> None:
    """Draw what is here of a tensor that is cut."""
    if all(backend_of(part.x).is_abstract(part.x) for part in shard.parts):
        return
    whole = None if entry.program is None else entry.values()
    row = entry.parameter.zero_row
    for part in shard.parts:
        for each in (part,) if entry.rows is None else rows_of(part, shard.shape, entry.rows):
            if whole is None:
                entry.fill_part_(each.x, each.index, each.flat)
            else:
                with torch.no_grad():
                    each.x.copy_(each.of(whole))
            if row is not None:
                for padding in rows_of(each, shard.shape, range(row, row + 1)):
                    with torch.no_grad():
                        padding.x.zero_()


def _draw_rows(entry: Planned, x: torch.Tensor, rows: range) -> None:
    """Draw some rows of a tensor; of a DTensor those that this rank holds."""
    if backend_of(x).is_abstract(x):
        return
    whole = None if entry.program is None else entry.values()
    with torch.no_grad():
        for corner, part in held(x):
            first, end = max(rows.start, corner[0]), min(rows.stop, corner[0] + len(part))
            if first >= end:
                continue
            target = part[first - corner[0] : end - corner[0]]
            others = (slice(a, a + n) for a, n in zip(corner[1:], target.shape[1:], strict=True))
            index = (slice(first, end), *others)
            if whole is None:
                entry.fill_part_(target, index)
            else:
                target.copy_(whole[index])


def _weight(entry: Planned, member: ModuleTensor, device: Any) -> torch.Tensor:
    """The draw of a weight that is to be assigned."""
    weight: torch.Tensor = entry.new("torch", _device(member.tensors[0], device))
    if entry.parameter.zero_row is not None:
        weight[entry.parameter.zero_row] = 0
    return weight


def _turn(member: ModuleTensor) -> tuple[bool, int]:
    """Sort key: tensors filled in place first, then assigned weights, deepest path first."""
    return (False, 0) if member.derived is None else (True, -member.path.count("."))


def _check_assigned(plan: Plan, members: dict[str, ModuleTensor], device: Any) -> None:
    """Draw and solve for what is to be assigned, and keep nothing of it: a PlanError where that fails."""
    entries = {path: entry for entry in plan for path in (entry.path, *entry.parameter.tied)}
    problems = {}
    for entry in plan:
        member = members[entry.path]
        if not entry.is_drawn or member.derived is None or _is_fake(member):
            continue
        above = f"{member.path.removesuffix(member.name)}parametrizations.{member.name}."

        def fill_copy(copied: nn.Module, above: str = above) -> None:
            for name, x in (*copied.named_parameters(), *copied.named_buffers()):
                inner = entries.get(above + name)
                if inner is not None and inner.job is not None:
                    inner.fill_(x)

        try:
            member.derived.check(_weight(entry, member, device), entry.key, fill_copy)
        except Exception as error:  # the code of a parametrization may raise anything
            name = "" if entry.initializer is None else entry.initializer.name
            problems[entry.path] = f"{name} can't be assigned: {error}{_instead(member)}"
    if problems:
        raise PlanError(problems)


def _is_fake(member: ModuleTensor) -> bool:
    return any(backend_of(x).is_abstract(x) and not x.is_meta for x in member.tensors)


def _instead(member: ModuleTensor) -> str:
    return f"; rules may name {' and '.join(original.path for original in member.originals)} instead"


def _renew(plan: Plan, members: dict[str, ModuleTensor]) -> None:
    """Make new what goes with a weight whose originals were drawn by rules of their own."""
    drawn = {entry.path: entry for entry in plan if entry.is_drawn}
    for member in members.values():
        first = next((drawn[original.path] for original in member.originals if original.path in drawn), None)
        if member.derived is not None and first is not None and not _is_fake(member):
            member.derived.renew(first.key)


def _zero_row(x: torch.Tensor, row: int) -> None:
    """Set a row to 0; of a DTensor where this rank holds it."""
    with torch.no_grad():
        for corner, part in held(x):
            if corner[0] <= row < corner[0] + len(part):
                part[row - corner[0]] = 0


def _device(x: torch.Tensor, device: Any) -> Any:
    """Where the values of a tensor are, or will be: its device, that which is asked for, or torch's default."""
    if not x.is_meta:
        return x.device
    if device is not None:
        return torch.device(device)
    mesh = getattr(x, "device_mesh", None)
    place = torch.device(torch.get_default_device() if mesh is None else mesh.device_type)
    return torch.device("cpu") if place.type == "meta" else place


def _materialize(module: nn.Module, plan: Plan, members: dict[str, ModuleTensor], device: Any) -> None:
    """Allocate what is on the meta device and is not kept, by the call with which `to_empty` does so."""
    drawn = {id(x) for entry in plan if entry.is_drawn for x in members[entry.path].tensors}
    kept = {
        id(x)
        for entry in plan
        if not entry.is_drawn and (entry.rule is not None or not entry.is_selected)
        for member in (members[entry.path], *_copies(entry, members))
        for x in member.tensors
    }
    for member in members.values():
        if member.derived is not None and not any(id(x) in drawn for x in member.tensors):
            kept |= {id(tensor_at(slot)) for slot in member.derived.made_anew}
    before = {path: member.read() for path, member in members.items() if member.derived is None}
    attributes = {path: vars(x) for path, x in before.items() if x.is_meta and isinstance(x, nn.Parameter)}

    recorded = {
        id(x): entry.rule.device
        for entry in plan
        if device is None and isinstance(entry.rule, RecordedRule) and entry.rule.device
        for x in members[entry.path].tensors
        if not backend_of(x).is_distributed
    }

    def allocate(x: torch.Tensor) -> torch.Tensor:
        if not x.is_meta or id(x) in kept:
            return x
        return torch.empty_like(x, device=_device(x, recorded.get(id(x), device)))

    owners: dict[nn.Module, dict[str, bool]] = {}  # of running statistics, and whether each is to be made new
    for member in members.values():
        if is_statistic(member.owner, member.name):
            is_new = before[member.path].is_meta and id(before[member.path]) not in kept
            owners.setdefault(member.owner, {})[member.name] = is_new
    module._apply(allocate)
    for owner, is_new in owners.items():
        if any(is_new.values()):
            others = {name: getattr(owner, name).clone() for name, new in is_new.items() if not new}
            owner.reset_running_stats()
            for name, values in others.items():
                getattr(owner, name).copy_(values)
    for path, kept_attributes in attributes.items():  # such as Megatron's; `_apply` makes new parameters without them
        new = members[path].read()
        if vars(new) is not kept_attributes:
            vars(new).update({name: x for name, x in kept_attributes.items() if name != LOADED})
    # Each path was given a tensor of its own.
    for entry in plan:
        if members[entry.path].derived is None and before[entry.path].is_meta:
            for path in entry.parameter.tied:
                if members[path].is_copy:
                    continue
                _tie(members[path], members[entry.path], before[path] is before[entry.path])


def _tie(member: ModuleTensor, first: ModuleTensor, is_one: bool) -> None:
    """Give a path the tensor of another, or where there were two of one memory, another of the same memory."""
    x, old = first.read(), member.read()
    if not is_one:
        x = nn.Parameter(x.detach(), old.requires_grad) if isinstance(old, nn.Parameter) else x.detach()
    registry: dict[str, Any] = member.owner._buffers if member.is_buffer else member.owner._parameters
    registry[member.name] = x
