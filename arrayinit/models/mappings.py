"""Models that are plain mappings of arrays."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Literal, overload

from arrayinit.backends import backend_of, find_backend
from arrayinit.models.plans import Parameter, Plan, PlanError, SeedNames, plan, tied_paths
from arrayinit.progress import progress_bar
from arrayinit.seeds import resolve, resolve_for

__all__ = ["init_params_"]


@overload
def init_params_(
    params: MutableMapping[str, Any], rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    dry_run: Literal[False] = False, progress: bool | None = None,
) -> MutableMapping[str, Any]: ...  # fmt: skip


@overload
def init_params_(
    params: MutableMapping[str, Any], rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    dry_run: Literal[True], progress: bool | None = None,
) -> Plan: ...  # fmt: skip


def init_params_(
    params: MutableMapping[str, Any],
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    dry_run: bool = False,
    progress: bool | None = None,
) -> MutableMapping[str, Any] | Plan:
    """Draw all arrays of a mapping, nested ones too, by rules; returns the mapping.

        ai.init_params_(params, {"*.bias": "zeros", "*.weight": ai.spec("xavier_uniform", layout="io")}, seed=0)

    Arrays that can be are filled in place; Dask's and JAX's are replaced in the mapping. The path of an array is its
    keys and places in lists, joined by dots. Axis 0 is out and axis 1 in, unless an initializer has a layout.

    Args:
        params: names -> arrays of any library, or further such mappings, or lists of either.
        rules: a :class:`arrayinit.Rules`, or what makes one: a mapping from patterns to initializers.
        seed: as in every initializer; each array's key is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        dry_run: return the plan and draw nothing.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.

    Raises:
        PlanError: arrays that no rule matches, that share a path, that can't be drawn as their rule says, or can't be
            written to: all of them, and nothing is drawn. TypeError: something in the mapping is no array.
        ValueError: seed is None and an array is a DTensor, or traced by JAX.

    Warns:
        UserWarning: rules that match nothing.
    """
    if not isinstance(params, Mapping | list):
        raise TypeError(f"`params` must be a mapping of names to arrays, or a list of such; got {params!r}")
    every = list(_arrays(params))
    found = dict(every)
    shared = Counter(path for path, _ in every)
    if len(found) < len(every):
        raise PlanError({path: f"{n} of the arrays have this path" for path, n in shared.items() if n > 1})
    parameters = []
    tied = tied_paths((path, id(x)) for path, (_, _, x) in found.items())
    problems = {}
    backends = []
    for path in tied:
        x = found[path][2]
        backend = find_backend(x)
        if backend is None:
            raise TypeError(f"`params` must hold arrays, and mappings and lists of them; got {x!r} at {path!r}")
        backends.append((x, backend))
        parameters.append(
            Parameter(path, tuple(map(int, x.shape)), backend.dtype_name(x.dtype), tied=tuple(tied[path]))
        )
        try:
            backend.check_readable(x)
            if backend.name not in REPLACED:
                backend.check_writable(x)
                continue
            backend.dtype(backend.dtype_name(x.dtype))  # of a new array
            if not all(isinstance(found[p][0], MutableMapping | list) for p in (path, *tied[path])):
                raise TypeError(f"an array of {backend.name} must be in a mapping that can be changed, to be replaced")
        except (TypeError, ValueError) as error:
            problems[path] = str(error)
    # Asked for a key where None would be another one on each process, or baked into a compiled function.
    careful = next((x for x, backend in backends if backend.is_distributed or backend.is_tracing(x)), None)
    root = resolve(seed) if careful is None else resolve_for(backend_of(careful), careful, seed, None)
    made = plan(parameters, rules, seed=root, seed_names=seed_names)
    problems = {entry.path: problems[entry.path] for entry in made if entry.initializer and entry.path in problems}
    if problems:
        raise PlanError(problems)
    if dry_run:
        return made
    total = sum(entry.parameter.size for entry in made if entry.initializer)
    with progress_bar("parameters", total, progress, "elements") as advance:
        for entry in made:
            if entry.initializer is None:
                continue
            owner, name, x = found[entry.path]
            backend = find_backend(x)
            if backend is not None and backend.name in REPLACED:
                new = owner[name] = entry.initializer(x, seed=entry.key)
                for path in entry.parameter.tied:
                    owner, name, _ = found[path]
                    owner[name] = new
            else:
                entry.initializer.fill_(x, seed=entry.key)
            advance(math.prod(entry.shape))
    return params


REPLACED = ("jax", "dask")  # libraries whose arrays are never written to


def _arrays(params: Any, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any, Any]]]:
    """(path, (mapping or list, key, array)) of everything in nested ones."""
    for name, value in params.items() if isinstance(params, Mapping) else enumerate(params):
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping | list):
            yield from _arrays(value, path)
        else:
            yield path, (params, name, value)
