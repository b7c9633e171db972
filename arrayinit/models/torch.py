"""torch modules: their parameters and buffers, drawn by rules in place, from the meta device and sharded ones too."""

from collections.abc import Hashable, Iterator
from typing import Any, Literal, overload

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from arrayinit.backends import Backend, backend_named, backend_of, is_compiling
from arrayinit.models.plans import Parameter, Plan, PlanError, SeedNames, plan, tied_paths
from arrayinit.models.rules import BUFFER
from arrayinit.progress import progress_bar
from arrayinit.seeds import resolve, resolve_for

__all__ = ["init_module_", "parameters_of"]


@overload
def init_module_(
    module: nn.Module, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    dry_run: Literal[False] = False, device: Any = None, progress: bool | None = None,
) -> nn.Module: ...  # fmt: skip


@overload
def init_module_(
    module: nn.Module, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    dry_run: Literal[True], device: Any = None, progress: bool | None = None,
) -> Plan: ...  # fmt: skip


def init_module_(
    module: nn.Module,
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
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

    Buffers stay as they are, unless a rule with a `kind` matches them: that of their layer, or "buffer". On the meta
    device the running statistics of norms become those of a new layer. What else a layer computes into a buffer when it
    is made (rotary frequencies, position numbers) is lost there, and is asked for by an error: make that layer anew
    on a real device, `model.rotary_emb = RotaryEmbedding(config)`, or give the buffer a rule.

    Args:
        module: any torch.nn.Module. Paths are those of `named_parameters` and `named_buffers`: what DDP and
            torch.compile put before them ("module.", "_orig_mod.") is part of them, so fill a model before it is
            wrapped, or the one within.
        rules: an :class:`arrayinit.Rules`, or what makes one: a mapping from patterns to initializers.
        seed: as in every initializer; the key of each parameter is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        dry_run: return the plan, and draw and allocate nothing.
        device: for what is on the meta device; by default torch's default device, or that of a DTensor's mesh.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.

    Raises:
        PlanError: parameters, and buffers on the meta device, that no rule matches; lazy ones that have no shape yet;
            what can't be drawn as its rule says, or can't be written to. It lists all, and the module is as it was.
        ValueError: seed is None and a parameter is a DTensor, whose ranks would take different keys; a `device` that
            is none, or has no memory.

    Warns:
        UserWarning: rules that match nothing.
    """
    if is_compiling():
        from arrayinit import torch_compiled  # here, for it needs the compiler, which is there by now

        said = {"seed_names": seed_names, "dry_run": dry_run, "device": device, "progress": progress}
        result: nn.Module | Plan = torch_compiled.unserved(init_module_, module, rules, seed=seed, **said)
        return result
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module; got {module!r}")
    if device is not None and backend_named("torch").check_device(device).type == "meta":
        raise ValueError(f"`device` must be one that holds values; got {device!r}")
    found = dict(_tensors(module))
    lazy = {path: "lazy, without a shape until the first batch" for path, (_, _, x) in found.items() if is_lazy(x)}
    if lazy:
        raise PlanError(lazy)
    backends = {path: backend_of(x) for path, (_, _, x) in found.items()}
    distributed = next((path for path, backend in backends.items() if backend.is_distributed), None)
    root = (
        resolve(seed) if distributed is None else resolve_for(backends[distributed], found[distributed][2], seed, None)
    )
    made = plan(parameters_of(module), rules, seed=root, seed_names=seed_names)
    problems = {}
    for entry in made:
        if entry.initializer is not None:
            try:
                _check(backends[entry.path], found[entry.path][2])
            except (TypeError, ValueError) as error:
                problems[entry.path] = str(error)
    if problems:
        raise PlanError(problems)
    if dry_run:
        return made
    if any(x.is_meta for _, _, x in found.values()):
        _materialize(module, made, device)
        found = dict(_tensors(module))
    total = sum(entry.parameter.size for entry in made if entry.initializer)
    with progress_bar("parameters", total, progress, "elements") as advance:
        for entry in made:
            if entry.initializer is not None:
                x = found[entry.path][2]
                entry.initializer.fill_(x, seed=entry.key)
                if entry.parameter.zero_row is not None:
                    _zero_row(backend_of(x), x, entry.parameter.zero_row)
                advance(entry.parameter.size)
    return module


def parameters_of(module: nn.Module) -> list[Parameter]:
    """The parameters and buffers of a module as rules see them; those that are tied once, under their first path."""
    found = dict(_tensors(module))
    tied = tied_paths((path, _identity(x)) for path, (_, _, x) in found.items())
    result = []
    for path, others in tied.items():
        owner, name, x = found[path]
        is_buffer = not isinstance(x, nn.Parameter)
        optional = is_buffer and (not x.is_meta or _is_statistic(owner, name))
        layer, own = _layer(module, path, owner, name)
        kinds = tuple(kind.__name__ for kind in type(layer).__mro__[:-1] if kind is not nn.Module)
        kinds += (BUFFER,) if is_buffer else ()
        dtype = backend_of(x).dtype_name(x.dtype)
        axes = _axes(layer, own, x)
        row = next((r for r in (_padding(*found[p][:2]) for p in (path, *others)) if r is not None), None)
        result.append(Parameter(path, tuple(map(int, x.shape)), dtype, kinds, axes, tuple(others), optional, row))
    return result


def _tensors(module: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, str, torch.Tensor]]]:
    """(path, (owner, name, tensor)) of all parameters, then all buffers, under each path that they have."""
    for named in ("named_parameters", "named_buffers"):
        for prefix, owner in _modules(module):
            for name, x in getattr(owner, named)(recurse=False, remove_duplicate=False):
                yield f"{prefix}.{name}" if prefix else name, (owner, name, x)


def _modules(module: nn.Module, prefix: str = "", above: tuple[nn.Module, ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of all modules, shared ones under each path; one that holds a module above it ends there."""
    yield prefix, module
    above = (*above, module)
    for name, child in module._modules.items():
        if child is not None and not any(child is one for one in above):
            yield from _modules(child, f"{prefix}.{name}" if prefix else name, above)


def _identity(x: torch.Tensor) -> Hashable:
    """What tied tensors share: they are one object, or several Parameters that were made of the same memory."""
    if type(x) not in (torch.Tensor, nn.Parameter) or x.is_meta or x.layout != torch.strided or not x.numel():
        return id(x)
    address = x.data_ptr()
    return (address, x.shape, x.stride(), x.dtype, x.device) if address else id(x)


def _layer(module: nn.Module, path: str, owner: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The layer that a tensor belongs to, and its name there; that of what is parametrized where it is behind it."""
    if not isinstance(owner, ParametrizationList):
        return owner, name
    *above, _, own, _ = path.split(".")  # layer.parametrizations.weight.original
    return module.get_submodule(".".join(above)), own


def _is_statistic(owner: nn.Module, name: str) -> bool:
    """Whether a buffer is one that `reset_running_stats` sets."""
    return isinstance(owner, _NormBase) and name in ("running_mean", "running_var", "num_batches_tracked")


def _axes(owner: nn.Module, name: str, x: torch.Tensor) -> dict[str, Any]:
    """What a layer says of the axes of its weight."""
    if name != "weight" or x.ndim < 2:
        return {}
    if isinstance(owner, _ConvNd):
        axes: dict[str, Any] = {"groups": owner.groups} if owner.groups != 1 else {}
        return axes | {"transposed": True} if isinstance(owner, _ConvTransposeNd) else axes
    return {"layout": "io"} if type(owner).__name__ == "Conv1D" and x.ndim == 2 else {}


def _padding(owner: nn.Module, name: str) -> int | None:
    """The row of an embedding that is its padding."""
    if name != "weight" or not isinstance(owner, (nn.Embedding, nn.EmbeddingBag)):
        return None
    row: int | None = owner.padding_idx
    return row


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


def _check(backend: Backend, x: torch.Tensor) -> None:
    backend.check_readable(x)
    if not backend.is_abstract(x):
        backend.check_writable(x)


def _materialize(module: nn.Module, made: Plan, device: Any) -> None:
    """Allocate what is on the meta device and is not kept, by the call with which `to_empty` does so."""
    before = dict(_tensors(module))
    kept = {id(before[entry.path][2]) for entry in made if entry.rule is not None and entry.initializer is None}

    def allocate(x: torch.Tensor) -> torch.Tensor:
        if not x.is_meta or id(x) in kept:
            return x
        place = device
        if place is None:
            mesh = getattr(x, "device_mesh", None)
            place = torch.get_default_device() if mesh is None else mesh.device_type
            if torch.device(place).type == "meta":
                place = "cpu"
        return torch.empty_like(x, device=place)

    statistics = {owner for owner, name, x in before.values() if x.is_meta and _is_statistic(owner, name)}
    module._apply(allocate)
    for owner in statistics:
        owner.reset_running_stats()
    # Each path was given a tensor of its own.
    here = dict(_tensors(module))
    for entry in made:
        for path in entry.parameter.tied if before[entry.path][2].is_meta else ():
            owner, name, _ = here[path]
            x = here[entry.path][2]
            held = owner._parameters if isinstance(x, nn.Parameter) else owner._buffers
            held[name] = x
