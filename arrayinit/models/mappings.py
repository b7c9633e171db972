"""Models that are plain mappings of arrays."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Literal, overload

from arrayinit.backends import find_backend, is_compiling
from arrayinit.backends.base import Backend
from arrayinit.common.arguments import flag
from arrayinit.common.messages import shown
from arrayinit.common.progress import progress_bar
from arrayinit.key import Key
from arrayinit.models.memory import shared_in_part
from arrayinit.models.plans import (
    Frozen,
    Parameter,
    Plan,
    PlanError,
    SeedNames,
    keyed,
    match,
    overlapping,
    root_of,
    tied_paths,
)
from arrayinit.seeds import resolve_for

__all__ = ["arrays_of", "check_depth", "init_params_", "parameters_of_mapping"]

NESTED = 100  # mappings within mappings; one that holds itself has no end


@overload
def init_params_(
    params: MutableMapping[str, Any], rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, dry_run: Literal[False] = False, progress: bool | None = None,
) -> MutableMapping[str, Any]: ...  # fmt: skip


@overload
def init_params_(
    params: MutableMapping[str, Any], rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, dry_run: Literal[True], progress: bool | None = None,
) -> Plan: ...  # fmt: skip


def init_params_(
    params: MutableMapping[str, Any],
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    dry_run: bool = False,
    progress: bool | None = None,
) -> MutableMapping[str, Any] | Plan:
    """Draw all arrays of a mapping, nested ones too, by rules; returns the mapping.

        ai.init_params_(params, {"*.bias": "zeros", "*.weight": ai.spec("xavier_uniform", layout="io")}, seed=0)

    Arrays that can be are filled in place; Dask's and JAX's are replaced in the mapping. The path of an array is its
    keys and places in lists, joined by dots. Axis 0 is out and axis 1 in, unless an initializer has a layout.

    One array under several paths, or several arrays of exactly the same memory, are tied: drawn once, by the first
    path. Others that share memory, as a matrix and its transpose, are refused; slices that are disjoint are not.

    Args:
        params: names -> arrays of any library, or further such mappings, or lists of either.
        rules: a :class:`arrayinit.Rules`, or what makes one: a mapping from patterns to initializers.
        seed: as in every initializer; each array's key is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        frozen: what to do with torch Parameters that do not require a gradient, and with tensors that transformers
            has loaded: "draw" them as their rules say, or "keep" them whatever the rules say. None asks for one of
            the two, by an error, where a rule would draw one.
        dry_run: return the plan, draw nothing and take no key: the plan has the keys of the next draw.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.

    Raises:
        PlanError: arrays that no rule matches, that share a path or a part of their memory, that can't be drawn as
            their rule says, that are frozen, or can't be written to: all of them, and nothing is drawn.
        TypeError: something in the mapping is no array.
        ValueError: seed is None and an array is a DTensor, or traced by JAX.

    Warns:
        UserWarning: rules that match nothing.
    """
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # here, for it needs the compiler, which is there by now

        said = {"seed_names": seed_names, "frozen": frozen, "dry_run": dry_run, "progress": progress}
        result: MutableMapping[str, Any] | Plan = torch_compiled.unserved(
            init_params_, params, rules, seed=seed, **said
        )
        return result
    if not isinstance(params, Mapping | list):
        raise TypeError(f"`params` must be a mapping of names to arrays, or a list of such; got {shown(params)}")
    flag(dry_run, "dry_run")
    every = list(arrays_of(params, "params"))
    found = dict(every)
    shared = Counter(path for path, _ in every)
    if len(found) < len(every):
        raise PlanError({path: f"{n} of the arrays have this path" for path, n in shared.items() if n > 1})
    arrays = {path: (_backend_at(path, x), x) for path, (_, _, x) in found.items()}
    # Asked for a key where None would be another one on each process, or baked into a compiled function.
    careful = next(((own, x) for own, x in arrays.values() if own.is_distributed or own.is_tracing(x)), None)
    parameters = [
        each if each.problem
        else replace(each, problem=_problem(*arrays[each.path], (found[path][0] for path in (each.path, *each.tied))))
        for each in parameters_of_mapping(arrays)
    ]  # fmt: skip
    matches = match(parameters, rules, seed_names, frozen)

    def root(take: bool) -> Key:
        return root_of(seed, take) if careful is None else resolve_for(*careful, seed, None, take)

    if dry_run:
        return keyed(matches, root, dry_run=True)
    total = sum(each.parameter.size for each in matches if each.initializer)
    with progress_bar("parameters", total, progress, "elements") as advance:
        for entry in keyed(matches, root):
            if entry.initializer is None:
                continue
            owner, name, x = found[entry.path]
            if arrays[entry.path][0].name in REPLACED:
                new = owner[name] = entry.initializer(x, seed=entry.key)
                for path in entry.parameter.tied:
                    owner, name, _ = found[path]
                    owner[name] = new
            else:
                entry.initializer.fill_(x, seed=entry.key)
            advance(math.prod(entry.shape))
    return params


REPLACED = ("jax", "dask")  # libraries whose arrays are never written to


def parameters_of_mapping(arrays: Mapping[str, tuple[Backend, Any]]) -> list[Parameter]:
    """Arrays as rules see them; those that are tied once, under their first path.

    Raises:
        PlanError: arrays that have no shape.
    """
    unknown = {path: reason for path, (backend, x) in arrays.items() if (reason := backend.shapeless(x))}
    if unknown:
        raise PlanError(unknown)
    extents = {path: backend.extents(x) for path, (backend, x) in arrays.items()}
    tied = tied_paths((path, extents[path] or id(x)) for path, (_, x) in arrays.items())
    shared = shared_in_part((path, extents[path]) for path in tied)
    result = []
    for path, others in tied.items():
        backend, x = arrays[path]
        frozen = (backend.frozen(x) for backend, x in (arrays[each] for each in (path, *others)))
        result.append(
            Parameter(
                path, tuple(map(int, x.shape)), backend.dtype_name(x.dtype), tied=tuple(others),
                frozen=next(filter(None, frozen), ""),
                problem=overlapping(shared[path]) if path in shared else backend.missing(x),
            )
        )  # fmt: skip
    return result


def _problem(backend: Backend, x: Any, owners: Iterable[Any]) -> str:
    """Why an array can't be filled, or replaced in the mappings that hold it; "" where it can."""
    try:
        backend.check_readable(x)
        if backend.name not in REPLACED:
            if backend.is_abstract(x):
                raise ValueError("has a shape, and no memory to be filled: allocate it first")
            backend.check_writable(x)
            return ""
        backend.dtype(backend.dtype_name(x.dtype))  # of a new array
        if not all(isinstance(owner, MutableMapping | list) for owner in owners):
            raise TypeError(f"an array of {backend.name} must be in a mapping that can be changed, to be replaced")
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _backend_at(path: str, x: Any) -> Backend:
    backend = find_backend(x)
    if backend is None:
        raise TypeError(f"`params` must hold arrays, and mappings and lists of them; got {shown(x)} at {path!r}")
    return backend


def check_depth(tree: Any, argument: str) -> None:
    """Refuse mappings, lists and tuples that are nested without end. ValueError."""
    deepest: dict[int, int] = {}
    todo = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > NESTED:
            raise ValueError(f"`{argument}` must be nested at most {NESTED} times; got more, as where it holds itself")
        if isinstance(node, Mapping | list | tuple) and deepest.get(id(node), -1) < depth:
            deepest[id(node)] = depth
            todo += [(inner, depth + 1) for inner in (node.values() if isinstance(node, Mapping) else node)]


def arrays_of(
    params: Any, argument: str, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, tuple[Any, Any, Any]]]:
    """(path, (mapping or list, key, array)) of everything in nested ones, which an `argument` holds.

    Raises:
        ValueError: they are nested without end.
    """
    if depth > NESTED:
        raise ValueError(f"`{argument}` must be nested at most {NESTED} times; got more, as where it holds itself")
    for name, value in params.items() if isinstance(params, Mapping) else enumerate(params):
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping | list):
            yield from arrays_of(value, argument, path, depth + 1)
        else:
            yield path, (params, name, value)
