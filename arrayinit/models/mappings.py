"""Models that are plain mappings of arrays."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Literal, overload

from arrayinit.backends import find_backend, is_compiling
from arrayinit.backends.base import Backend
from arrayinit.common.arguments import flag
from arrayinit.common.calls import hinting
from arrayinit.common.messages import shown
from arrayinit.models.axes import Leaf, described, readings_of
from arrayinit.models.fill import fill
from arrayinit.models.matching import Frozen, SeedNames, keyed, match, root_of
from arrayinit.models.memory import shared_in_part
from arrayinit.models.parameters import Parameter, overlapping, tied_paths
from arrayinit.models.plans import Plan, PlanError, Planned
from arrayinit.models.selection import Only
from arrayinit.stream.formats import is_floating

__all__ = ["arrays_of", "check_depth", "init_params_", "parameters_of_mapping"]

NESTED = 100  # mappings within mappings; one that holds itself has no end


@overload
def init_params_(
    params: MutableMapping[str, Any], rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, only: Only = None, dry_run: Literal[False] = False, progress: bool | None = None,
) -> MutableMapping[str, Any]: ...  # fmt: skip


@overload
def init_params_(
    params: MutableMapping[str, Any], rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, only: Only = None, dry_run: Literal[True], progress: bool | None = None,
) -> Plan: ...  # fmt: skip


@hinting
def init_params_(
    params: MutableMapping[str, Any],
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    only: Only = None,
    dry_run: bool = False,
    progress: bool | None = None,
) -> MutableMapping[str, Any] | Plan:
    """Draw all arrays of a mapping, nested ones too, by rules; returns the mapping.

    Arrays are filled in place where their library allows it; those of JAX and Dask are replaced in the mapping. The
    path of an array is its keys, and its places in lists, joined by dots. Axis 0 is out and axis 1 is in, unless an
    initializer has a layout.

    An array of three or more axes may be the kernel of a convolution, (out, in, *spatial), or a stack of matrices, as
    (experts, out, in) or (experts, in, out). The bias beside it, names with "conv" or "experts" in them and square
    kernels of 1, 3, 5 or 7 decide; where they don't, a rule whose law depends on that must have a `layout`, or the
    `batch_axis` of the stack. `batch_axis=0` alone is a stack of (out, in, *spatial), as in a call of the initializer,
    unless the bias or the sizes beside it show (in, out).

    One array under several paths, or several arrays of exactly the same memory, are tied: they are drawn once, under
    the first path. Arrays that share a part of their memory, such as a matrix and its transpose, are refused; disjoint
    slices of one array are not.

    Args:
        params: names -> arrays of any library, or further mappings and lists of them.
        rules: an :class:`arrayinit.Rules`, or anything `Rules()` accepts: a mapping from patterns to initializers, ...
        seed: as in every initializer; the key of each array is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        frozen: "draw" draws torch Parameters that do not require a gradient, and tensors that transformers has loaded,
            as their rules say; "keep" leaves them as they are. None leaves alone what is loaded, keeps with a
            warning what a rule with `keeps_frozen` matches, and raises an error where another rule would draw one.
        only: what is drawn, while all else stays as it is and needs no rule: a path or a pattern as in rules, or
            several of them. A tied array is drawn where all of its paths are asked for.
        dry_run: return the plan; draw nothing and take no key. The plan has the keys of the next draw.
        progress: True shows a progress bar, False none; None shows one on terminals after a second, if rich is there.

    Raises:
        PlanError: arrays that no rule matches, that share a path or a part of their memory, that their rule can't draw,
            or could draw by several meanings of the axes, that are frozen, or that can't be written to. It lists all of
            them; nothing is drawn.
        TypeError: something in the mapping is not an array.
        ValueError: seed is None and an array is a DTensor, or traced by JAX; a pattern of `only` that selects nothing.

    Warns:
        UserWarning: a rule applies to no parameter; `seed_names` has a path that the model lacks; all that would be
            drawn is loaded; `only` asks for some paths of a tied array.

    Example:
        >>> params = {"fc": {"weight": np.empty((3, 4), np.float32), "bias": np.empty(3, np.float32)}}
        >>> _ = ai.init_params_(params, {"*.bias": "zeros", "*.weight": "xavier_uniform"}, seed=0)
        >>> params["fc"]["bias"]
        array([0., 0., 0.], dtype=float32)
        >>> bool((params["fc"]["weight"] == ai.xavier_uniform((3, 4), seed=0, name="fc.weight")).all())
        True
    """
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # imported here: the compiler has been loaded by now

        options = {"seed_names": seed_names, "frozen": frozen, "only": only, "dry_run": dry_run, "progress": progress}
        result: MutableMapping[str, Any] | Plan = torch_compiled.unserved(
            init_params_, params, rules, seed=seed, **options
        )
        return result
    if not isinstance(params, Mapping | list):
        hint = " (for a torch module: arrayinit.torch.init_module_)" if hasattr(params, "named_parameters") else ""
        raise TypeError(f"`params` must be a mapping of names to arrays, or a list of such; got {shown(params)}{hint}")
    flag(dry_run, "dry_run")
    listed = list(arrays_of(params, "params"))
    places = dict(listed)
    if len(places) < len(listed):
        count = Counter(path for path, _ in listed)
        raise PlanError({path: f"{n} of the arrays have this path" for path, n in count.items() if n > 1})
    arrays = {path: (_backend_at(path, x), x) for path, (_, _, x) in places.items()}
    parameters = [
        each if each.problem
        else replace(each, problem=_problem(*arrays[each.path], (places[path][0] for path in (each.path, *each.tied))))
        for each in parameters_of_mapping(arrays)
    ]  # fmt: skip
    matches = match(parameters, rules, seed_names, frozen, only)
    # The seed is checked for an array for which None would be another key on each process, or baked into a trace.
    root = root_of(
        seed,
        next(((backend, x) for backend, x in arrays.values() if backend.is_distributed or backend.is_tracing(x)), None),
    )
    if dry_run:
        return keyed(matches, root, dry_run=True)

    def draw(entry: Planned) -> None:
        backend, x = arrays[entry.path]
        if backend.fills_in_place:
            entry.fill_(x)
            return
        new = entry.new_like(x)
        for path in (entry.path, *entry.parameter.tied):
            holder, key, _ = places[path]
            holder[key] = new

    fill(matches, root, draw, progress=progress)
    return params


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
    floating = {path: x for path, (backend, x) in arrays.items() if is_floating(backend.dtype_name(x.dtype))}
    readings = readings_of(Leaf(path, tuple(map(int, x.shape)), "oi") for path, x in floating.items())
    result = []
    for path, others in tied.items():
        backend, x = arrays[path]
        frozen = (backend.frozen(x) for backend, x in (arrays[each] for each in (path, *others)))
        result.append(
            Parameter(
                path, tuple(map(int, x.shape)), backend.dtype_name(x.dtype), **described(readings.get(path, ())),
                tied=tuple(others),
                frozen=next(filter(None, frozen), ""),
                is_loaded=any(backend.is_loaded(x) for backend, x in (arrays[each] for each in (path, *others))),
                problem=overlapping(shared[path]) if path in shared else backend.missing(x),
            )
        )  # fmt: skip
    return result


def _problem(backend: Backend, x: Any, holders: Iterable[Any]) -> str:
    """Why an array can't be filled, or replaced in the mappings that hold it; "" where it can."""
    try:
        backend.check_readable(x)
        if backend.fills_in_place:
            if backend.is_abstract(x):
                raise ValueError("has a shape, and no memory to be filled: allocate it first")
            backend.check_writable(x)
            return ""
        backend.dtype(backend.dtype_name(x.dtype))  # of a new array
        if not all(isinstance(holder, MutableMapping | list) for holder in holders):
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
