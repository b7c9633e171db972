"""torch modules: their parameters and buffers, drawn by rules in place, from the meta device and sharded ones too."""

from collections.abc import Iterator
from typing import Any, Literal, overload

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from arrayinit.backends import Backend, backend_of
from arrayinit.plans import Parameter, Plan, PlanError, SeedNames, plan
from arrayinit.progress import progress_bar
from arrayinit.rules import BUFFER
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

    Each is filled in place, tied ones once. What is on the meta device is allocated first, on `device`; DTensors
    (FSDP2, tensor parallelism) are filled on each rank by itself, which gives the same model in every world.
    Convolutions bring their groups and whether they are transposed, transformers' Conv1D its (in, out) layout, so that
    fans are right; a spec's own `groups`, `transposed` and `layout` come first. The row of an embedding's `padding_idx`
    is 0 in what is drawn, as torch keeps it.

    Buffers stay as they are, unless a rule with a `kind` matches them: that of their layer, or "buffer". On the meta
    device the running statistics of norms become those of a new layer. What else a layer computes into a buffer when it
    is made (rotary frequencies, position numbers) is lost there, and is asked for by an error: make that layer anew
    on a real device, `model.rotary_emb = RotaryEmbedding(config)`, or give the buffer a rule.

    Args:
        module: any torch.nn.Module. Paths are those of `named_parameters` and `named_buffers`.
        rules: an :class:`arrayinit.Rules`, or what makes one: a mapping from patterns to initializers.
        seed: as in every initializer; the key of each parameter is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        dry_run: return the plan, and draw and allocate nothing.
        device: for what is on the meta device; by default torch's default device, or that of a DTensor's mesh.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.

    Raises:
        PlanError: parameters, and buffers on the meta device, that no rule matches; lazy ones that have no shape yet;
            what can't be drawn as its rule says, or can't be written to. It lists all, and the module is as it was.
        ValueError: seed is None and a parameter is a DTensor, whose ranks would take different keys.

    Warns:
        UserWarning: rules that match nothing.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module; got {module!r}")
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
    with progress_bar("parameters", sum(e.parameter.size for e in made if e.initializer), progress) as advance:
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
    first: dict[int, str] = {}
    tied: dict[str, list[str]] = {}
    found = dict(_tensors(module))
    for path, (_, _, x) in found.items():
        if id(x) in first:
            tied[first[id(x)]].append(path)
        else:
            first[id(x)], tied[path] = path, []
    result = []
    for path, others in tied.items():
        owner, name, x = found[path]
        is_buffer = not isinstance(x, nn.Parameter)
        optional = is_buffer and (not x.is_meta or _is_statistic(owner, name))
        kinds = tuple(kind.__name__ for kind in type(owner).__mro__[:-1] if kind is not nn.Module)
        kinds += (BUFFER,) if is_buffer else ()
        dtype = backend_of(x).dtype_name(x.dtype)
        axes = _axes(owner, name, x)
        row = next((r for r in (_padding(*found[p][:2]) for p in (path, *others)) if r is not None), None)
        result.append(Parameter(path, tuple(map(int, x.shape)), dtype, kinds, axes, tuple(others), optional, row))
    return result


def _tensors(module: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, str, torch.Tensor]]]:
    """(path, (owner, name, tensor)) of all parameters, then all buffers, under each path that they have."""
    for named in ("named_parameters", "named_buffers"):
        for prefix, owner in module.named_modules(remove_duplicate=False):
            for name, x in getattr(owner, named)(recurse=False, remove_duplicate=False):
                yield f"{prefix}.{name}" if prefix else name, (owner, name, x)


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
    """Allocate what is on the meta device, by the call with which `to_empty` does so, and leave the rest."""

    def allocate(x: torch.Tensor) -> torch.Tensor:
        if not x.is_meta:
            return x
        place = device
        if place is None:
            mesh = getattr(x, "device_mesh", None)
            place = torch.get_default_device() if mesh is None else mesh.device_type
            if torch.device(place).type == "meta":
                place = "cpu"
        return torch.empty_like(x, device=place)

    statistics = {
        owner for owner, name, x in dict(_tensors(module)).values() if x.is_meta and _is_statistic(owner, name)
    }
    module._apply(allocate)
    for owner in statistics:
        owner.reset_running_stats()
    # Each path was given a tensor of its own.
    here = dict(_tensors(module))
    for entry in made:
        for path in entry.parameter.tied:
            owner, name, _ = here[path]
            x = here[entry.path][2]
            kept = owner._parameters if isinstance(x, nn.Parameter) else owner._buffers
            kept[name] = x
