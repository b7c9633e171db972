"""torch modules: their parameters and buffers, drawn by rules in place, from the meta device and sharded ones too."""

from typing import Any, Literal, overload

import torch
from torch import nn

from arrayinit.backends import Backend, backend_named, backend_of, is_compiling
from arrayinit.common.arguments import flag
from arrayinit.common.messages import shown
from arrayinit.common.progress import progress_bar
from arrayinit.key import Key
from arrayinit.models.derived import tensor_at
from arrayinit.models.plans import Frozen, Plan, PlanError, Planned, SeedNames, keyed, match, root_of
from arrayinit.models.torch_members import Member, is_statistic, members_of, parameters_of, shapeless
from arrayinit.seeds import resolve_for

__all__ = ["init_module_", "parameters_of"]


@overload
def init_module_(
    module: nn.Module, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, dry_run: Literal[False] = False, device: Any = None, progress: bool | None = None,
) -> nn.Module: ...  # fmt: skip


@overload
def init_module_(
    module: nn.Module, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, dry_run: Literal[True], device: Any = None, progress: bool | None = None,
) -> Plan: ...  # fmt: skip


def init_module_(
    module: nn.Module,
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    dry_run: bool = False,
    device: Any = None,
    progress: bool | None = None,
) -> nn.Module | Plan:
    """Draw all parameters of a torch module by rules, and the buffers that are asked for; returns the module.

        rules = {"*.bias": "zeros", "*.weight": ai.spec("kaiming_normal", nonlinearity="relu")}
        init_module_(model, rules, seed=0)

    Each is filled in place, tied ones once, under their first path. What is on the meta device is allocated first, on
    `device`, but for what a rule keeps; DTensors (FSDP2, tensor parallelism) are filled on each rank by itself, which
    gives the same model in every world.
    Convolutions bring their groups and whether they are transposed, transformers' Conv1D its (in, out) layout, so that
    fans are right; a spec's own `groups`, `transposed` and `layout` come first. The row of an embedding's `padding_idx`
    is 0 in what is drawn, as torch keeps it.

    Paths are those of the model's own `state_dict`: what torch.compile, checkpoint_wrapper, DataParallel, DDP, FSDP1,
    AveragedModel and DeepSpeed's engine put around a module adds nothing to them ("_orig_mod.", "module.", ...), at
    any depth. Tensors of exactly the same memory are tied. Others that share memory, as a matrix and its transpose,
    are refused if one of them is drawn; disjoint slices of one buffer are not.

    A weight that a layer makes of other tensors (torch.nn.utils.parametrize, and weight_norm, spectral_norm and prune
    in both of their forms) is drawn under the path that it has without that, "fc.weight", as a whole, and assigned by
    `right_inverse`: with weight_norm, magnitude and direction are those of the plain layer's draw. spectral_norm gets
    new vectors, by 15 steps of the power method from a start that the weight's key gives. A right_inverse that takes
    random numbers gets them from torch's generators, which start from that key and are then as they were. A mask stays.
    A rule is for the tensors behind a weight only if it names them: its pattern must have "original" or
    "parametrizations" in it ("_g", "_v", "_orig" for the older functions), and come before all that match the weight.
    Then these tensors are drawn, each under its own path, and the weight is what the layer makes of them.

    Buffers stay as they are, unless a rule with a `kind` matches them: that of their layer, or "buffer". On the meta
    device the running statistics of norms become those of a new layer. What else a layer computes into a buffer when it
    is made (rotary frequencies, position numbers) is lost there, and is asked for by an error: make that layer anew
    on a real device, `model.rotary_emb = RotaryEmbedding(config)`, or give the buffer a rule.

    Args:
        module: any torch.nn.Module.
        rules: an :class:`arrayinit.Rules`, or what makes one: a mapping from patterns to initializers.
        seed: as in every initializer; the key of each parameter is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        frozen: what to do with parameters that do not require a gradient, and with tensors that transformers has loaded
            (it sets `_is_hf_initialized` on them; its flags on modules, which new models have too, say nothing):
            "draw" them as their rules say, or "keep" them whatever the rules say. None asks for one of the two, by an
            error, where a rule would draw one. A rule of None keeps what it matches in any case.
        dry_run: return the plan, and draw and allocate nothing, nor take a key: the plan has the keys of the next draw.
        device: for what is on the meta device; by default torch's default device, or that of a DTensor's mesh.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.

    Raises:
        PlanError: parameters, and buffers on the meta device, that no rule matches; lazy ones that have no shape yet;
            what can't be drawn as its rule says, or can't be written to; what is frozen, or shares a part of its memory
            with another; what is not whole here (FSDP1's flat parameters, ZeRO-3's partitions, FSDP2's unsharded
            copies); weights that a parametrization has no right_inverse for, or makes NaN of (rows of zeros, with
            weight_norm). It lists all, and the module is as it was.
        ValueError: seed is None and a parameter is a DTensor, whose ranks would take different keys; a `device` that
            is none, or has no memory.

    Warns:
        UserWarning: rules that match nothing.
    """
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # here, for it needs the compiler, which is there by now

        said = {
            "seed_names": seed_names, "frozen": frozen, "dry_run": dry_run, "device": device, "progress": progress,
        }  # fmt: skip
        result: nn.Module | Plan = torch_compiled.unserved(init_module_, module, rules, seed=seed, **said)
        return result
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module; got {shown(module)}")
    flag(dry_run, "dry_run")
    if device is not None and backend_named("torch").check_device(device).type == "meta":
        raise ValueError(f"`device` must be one that holds values; got {device!r}")
    unknown = shapeless(module)
    if unknown:
        raise PlanError(unknown)
    parameters = parameters_of(module)
    members = {each.path: each for member in members_of(module) for each in (member, *member.parts)}
    # Asked for a key where None would be another one on each process, or baked into a graph.
    careful = next((x for member in members.values() for x in member.tensors if _needs_key(x)), None)

    def root(take: bool) -> Key:
        if careful is None:
            return root_of(seed, take)
        return resolve_for(backend_of(careful), careful, seed, None, take)

    matches = match(parameters, rules, seed_names, frozen)
    made = keyed(matches, root, dry_run=True)  # refuses what is no seed
    if dry_run:
        return made
    _check_assigned(made, members, device)
    total = sum(entry.parameter.size for entry in made if entry.initializer)
    with progress_bar("parameters", total, progress, "elements") as advance:
        if any(x.is_meta for member in members.values() for x in member.tensors):
            _materialize(module, made, members, device)
        draws_nothing = all(backend_of(x).is_abstract(x) for member in members.values() for x in member.tensors)
        made = keyed(matches, root, dry_run=draws_nothing)  # the key is taken when all else is done
        # Weights that are made of others come last, and those within others' parametrizations before them: what a
        # parametrization holds itself decides on what gives a weight.
        for entry in sorted(made, key=lambda entry: _turn(members[entry.path])):
            if entry.initializer is not None:
                _draw(entry, members[entry.path], device)
                advance(entry.parameter.size)
    _renew(made, members)
    return module


def _needs_key(x: torch.Tensor) -> bool:
    backend = backend_of(x)
    return backend.is_distributed or backend.is_tracing(x)


def _draw(entry: Planned, member: Member, device: Any) -> None:
    assert entry.initializer is not None
    if member.derived is not None:
        if not any(backend_of(x).is_abstract(x) for x in member.tensors):
            member.derived.assign(_weight(entry, member, device), entry.key)
        return
    x = member.read()
    entry.initializer.fill_(x, seed=entry.key)
    if entry.parameter.zero_row is not None:
        _zero_row(backend_of(x), x, entry.parameter.zero_row)


def _weight(entry: Planned, member: Member, device: Any) -> torch.Tensor:
    """The draw of a weight that is to be assigned."""
    assert entry.initializer is not None
    place = _device(member.tensors[0], device)
    found: torch.Tensor = entry.initializer(
        entry.shape, seed=entry.key, xp="torch", dtype=entry.parameter.dtype, device=place
    )
    if entry.parameter.zero_row is not None:
        found[entry.parameter.zero_row] = 0
    return found


def _turn(member: Member) -> tuple[bool, int]:
    """Sorts what is drawn where it is first, then assigned weights, those with longer paths before others."""
    return (False, 0) if member.derived is None else (True, -member.path.count("."))


def _check_assigned(made: Plan, members: dict[str, Member], device: Any) -> None:
    """Draw and solve for what is to be assigned, and keep nothing of it: a PlanError where that fails."""
    entries = {path: entry for entry in made for path in (entry.path, *entry.parameter.tied)}
    problems = {}
    for entry in made:
        member = members[entry.path]
        if entry.initializer is None or member.derived is None or _is_fake(member):
            continue
        above = f"{member.path.removesuffix(member.name)}parametrizations.{member.name}."

        def fill(copied: nn.Module, above: str = above) -> None:
            for name, x in (*copied.named_parameters(), *copied.named_buffers()):
                own = entries.get(above + name)
                if own is not None and own.initializer is not None:
                    own.initializer.fill_(x, seed=own.key)

        try:
            member.derived.check(_weight(entry, member, device), entry.key, fill)
        except Exception as error:  # the code of a parametrization may raise anything
            problems[entry.path] = f"{entry.initializer.name} can't be assigned: {error}{_instead(member)}"
    if problems:
        raise PlanError(problems)


def _is_fake(member: Member) -> bool:
    return any(backend_of(x).is_abstract(x) and not x.is_meta for x in member.tensors)


def _instead(member: Member) -> str:
    return f"; rules may name {' and '.join(part.path for part in member.parts)} instead"


def _renew(made: Plan, members: dict[str, Member]) -> None:
    """Make new what goes with a weight whose originals were drawn on their own."""
    drawn = {entry.path: entry for entry in made if entry.initializer is not None}
    for member in members.values():
        first = next((drawn[part.path] for part in member.parts if part.path in drawn), None)
        if member.derived is not None and first is not None and not _is_fake(member):
            member.derived.renew(first.key)


def _zero_row(backend: Backend, x: torch.Tensor, row: int) -> None:
    """Set a row to 0; of a DTensor where this rank holds it."""
    with torch.no_grad():
        if not backend.is_distributed:
            x[row] = 0
            return
        from arrayinit.backends.dtensor import DTensorBackend, local

        assert isinstance(backend, DTensorBackend)
        for start, where in backend.parts(x):
            part = local(x)[where]
            if start[0] <= row < start[0] + len(part):
                part[row - start[0]] = 0


def _device(x: torch.Tensor, device: Any) -> Any:
    """Where the values of a tensor are, or will be: its device, that which is asked for, or torch's default."""
    if not x.is_meta:
        return x.device
    if device is not None:
        return torch.device(device)
    mesh = getattr(x, "device_mesh", None)
    place = torch.device(torch.get_default_device() if mesh is None else mesh.device_type)
    return torch.device("cpu") if place.type == "meta" else place


def _materialize(module: nn.Module, made: Plan, members: dict[str, Member], device: Any) -> None:
    """Allocate what is on the meta device and is not kept, by the call with which `to_empty` does so."""
    drawn = {id(x) for entry in made if entry.initializer is not None for x in members[entry.path].tensors}
    kept = {
        id(x)
        for entry in made
        if entry.rule is not None and entry.initializer is None
        for x in members[entry.path].tensors
    }
    for member in members.values():
        if member.derived is not None and not any(id(x) in drawn for x in member.tensors):
            kept |= {id(tensor_at(place)) for place in member.derived.made_anew}
    before = {path: member.read() for path, member in members.items() if member.derived is None}

    def allocate(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x, device=_device(x, device)) if x.is_meta and id(x) not in kept else x

    statistics = {
        member.owner
        for member in members.values()
        if is_statistic(member.owner, member.name) and before[member.path].is_meta
    }
    module._apply(allocate)
    for owner in statistics:
        owner.reset_running_stats()
    # Each path was given a tensor of its own.
    for entry in made:
        if members[entry.path].derived is None and before[entry.path].is_meta:
            for path in entry.parameter.tied:
                _tie(members[path], members[entry.path], before[path] is before[entry.path])


def _tie(member: Member, first: Member, is_one: bool) -> None:
    """Give a path the tensor of another, or where there were two of one memory, another of the same memory."""
    x, here = first.read(), member.read()
    if not is_one:
        x = nn.Parameter(x.detach(), here.requires_grad) if isinstance(here, nn.Parameter) else x.detach()
    held: dict[str, Any] = member.owner._buffers if member.is_buffer else member.owner._parameters
    held[member.name] = x
