"""The digests of all arrays of a model, by path, and one digest of these."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from arrayinit.backends import backend_named, find_backend
from arrayinit.common.messages import shown
from arrayinit.digests.parts import FingerprintPart, fingerprint_part, part_held, shape_of
from arrayinit.digests.ranks import Problem, added_up, gathered
from arrayinit.digests.stored import arrays_of_group, is_stored
from arrayinit.laws.geometry import geometry

__all__ = ["combined", "fingerprints", "parts_held"]

EXTRA = "_extra_state"  # what torch appends to the path of a module for data that are no tensor


def fingerprints(model: Any, *, shards: Any = None) -> dict[str, str]:
    """Path -> fingerprint of each array of a model, sorted by path. :func:`arrayinit.fingerprint` is one digest of all.

        >>> params = {"fc": {"weight": ai.normal((4, 6), seed=0), "bias": ai.zeros(4)}}
        >>> ai.fingerprints(params)["fc.weight"] == ai.fingerprint(params["fc"]["weight"])
        True

    Paths are those of `state_dict` for torch (within DDP, torch.compile and the like), those of `init_tree`,
    `init_model_` and `init_params_` elsewhere. Of a torch module these are its parameters and persistent buffers; a
    tensor under several paths counts under each, as in a state dict. So a module, its state dict and a file of that
    have equal fingerprints.

    DTensors and JAX arrays of several processes are read where they lie: each process hashes what it holds, and a few
    numbers for each array are added, by two collectives for each device mesh (torch), or for the model (JAX). All
    processes must call this, with the same arrays. Each process hashes the copies of a DTensor that it holds, at the
    same time as the others; copies that differ are refused, on every process. What ZeRO-3, FSDP1 and Megatron cut is
    hashed where it lies, too, and gathered as a few numbers for each part, by one collective of all processes; there
    copies that differ are refused as well. A stage of a pipeline has the parameters that it holds. A rank of such a
    model that holds no part of anything passes `shards={}`; without, it would not know that the others wait for it.

    An error on one process is raised on all that share arrays with it, and names its rank.

    All ranks of a cut model get one fingerprint, whatever they hold. That the model is right shows only beside the
    fingerprint of the whole, or of another run.

    Numbers, text and objects in the place of an array are refused, so that nothing is left out; None and the extra
    states of torch are none. In modules of Equinox what is no array doesn't count, nor do keys of JAX in a tree.

    Args:
        model: a torch.nn.Module; a state dict, or mappings and lists of arrays of any library or in files (zarr, h5py);
            a pytree of JAX's arrays, among them modules of nnx and Equinox; a built model of Keras; the path of a
            safetensors, npy or npz file, of a `*.safetensors.index.json`, or of a directory of zarr's, which may be
            larger than memory. The one array of an npy file has the path "".
        shards: of a torch module, what is here of parameters that are cut in a way of your own, as in
            :func:`arrayinit.torch.init_module_`.

    Raises:
        TypeError: no model, something else among its arrays, or an array without values (on the meta device, abstract,
            traced, deleted), with a mask, or of a dtype that :func:`arrayinit.fingerprint` refuses; `shards` beside
            something else than a torch.nn.Module.
        ValueError: two arrays have one path; a parameter is cut, and can't be read now (see
            :func:`arrayinit.torch.shards_of`), or copies or arrays differ between processes. For other ways of
            cutting see :func:`arrayinit.fingerprint_part`; `shards` has a path that the model lacks; a file of another
            kind. OSError: a file that can't be read.
    """
    if shards is not None and not _is_module(model):
        raise TypeError(f"`shards` goes with a torch.nn.Module; got {type(model).__name__}")
    if isinstance(model, str | os.PathLike):
        return dict(sorted(_digests_of_file(model)))
    cut = _cut(model, shards) if _is_module(model) else None
    arrays = dict(sorted(_arrays(model, frozenset() if cut is None else cut.holders)))
    shared: dict[int, str] = {}  # the first path of each array
    first = {path: shared.setdefault(id(x), path) for path, x in arrays.items()}
    parts, problem = parts_held({repr(path): arrays[path] for path in shared.values()})
    found = {} if cut is None else _digests_of_cut(model, shards, cut, problem)
    digests = dict(zip(shared.values(), added_up(parts, problem), strict=True))
    found |= {path: digests[first[path]].digest() for path in arrays}
    return dict(sorted(found.items()))


def parts_held(
    arrays: Mapping[str, Any], axes: tuple[Any, ...] = ()
) -> tuple[dict[str, tuple[FingerprintPart | None, Any]], Problem | None]:
    """What errors call an array -> what this process holds of it, and the array; and why some have no part."""
    parts: dict[str, tuple[FingerprintPart | None, Any]] = {}
    problem = None
    for name, x in arrays.items():
        parts[name] = None, x
        try:
            if problem is None:
                parts[name] = part_held(x, geometry(shape_of(x), *axes)), x
        except Exception as error:  # whatever it is, other processes wait
            problem = Problem.of(error, name)
    return parts, problem


def combined(digests: Mapping[str, str]) -> str:
    """One digest of paths and their digests, whatever their order."""
    import hashlib

    text = "".join(f"{path} {digests[path]}\n" for path in sorted(digests))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _is_module(model: Any) -> bool:
    """Whether a model is a module of torch, and none of Keras's, which are modules, too, on torch."""
    torch: Any = sys.modules.get("torch")
    return not _is_of_keras(model) and isinstance(model, getattr(getattr(torch, "nn", None), "Module", ()))


def _is_of_keras(model: Any) -> bool:
    keras: Any = sys.modules.get("keras")
    return isinstance(model, getattr(getattr(keras, "layers", None), "Layer", ()))


def _digests_of_file(path: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """(name, digest) of each tensor in a file, one after the other."""
    from arrayinit.storage.reading import tensors_in  # storage lies above, and few programs read files

    for name, x in tensors_in(path):
        yield name, part_held(x, geometry(tuple(x.shape))).digest()


def _arrays(model: Any, holders: frozenset[int]) -> list[tuple[str, Any]]:
    group = arrays_of_group(model)
    if group is not None:
        listed = list(group.items())
    elif _is_module(model):
        listed = list(_of_module(model, holders))
    elif isinstance(model, Mapping | list) and (plain := _of_mapping(model)) is not None:
        listed = plain
    else:
        listed = _of_tree(model)
    known: dict[str, Any] = {}
    for path, x in listed:
        if known.setdefault(path, x) is not x:
            raise ValueError(f"`model` must have one array for each path; got several for {shown(path)}")
    return list(known.items())


def _of_mapping(model: Any) -> list[tuple[str, Any]] | None:
    """The arrays in mappings and lists; None where there is something else among them that JAX may know."""
    from arrayinit.models.mappings import arrays_of

    listed = [
        (path, x)
        for path, (_, _, x) in arrays_of(model, "model")
        if x is not None and (path.rpartition(".")[2] != EXTRA or find_backend(x) is not None)
    ]
    strays = [
        (path, x)
        for path, x in listed
        if find_backend(x) is None and not is_stored(x) and not isinstance(x, np.generic)
    ]
    if strays and sys.modules.get("jax") is None:
        _refuse(strays)
    return None if strays else listed


def _of_tree(model: Any) -> list[tuple[str, Any]]:
    """The arrays of a model of Keras, or in a tree of JAX, in which nothing else has values of its own."""
    from arrayinit.models.members import members_of

    is_nested = isinstance(model, Mapping | list)
    members = [] if is_nested else members_of(model)  # says what a model is, where this is none
    if sys.modules.get("jax") is not None and not _is_of_keras(model):
        from arrayinit.models.jax import strays_of_tree

        _refuse(strays_of_tree(model))
    members = members_of(model) if is_nested else members
    return [(path, member.read()) for member in members for path in (member.parameter.path, *member.parameter.tied)]


def _refuse(strays: Iterable[tuple[str, Any]]) -> None:
    """Refuse what is in the place of an array and is none: it would be in no digest."""
    for path, x in strays:
        place = f" at {path!r}" if path else ""
        raise TypeError(f"`model` must hold arrays, and mappings and lists of them; got {shown(x)}{place}")


def _of_module(module: Any, holders: frozenset[int]) -> Iterator[tuple[str, Any]]:
    """The parameters and persistent buffers of a torch module that are whole or DTensors, as a state dict has them."""
    from arrayinit.models.torch_members import registered_tensors

    for path, owner, name, x in registered_tensors(module):
        if name not in owner._non_persistent_buffers_set and id(x) not in holders:
            yield path, x


def _cut(module: Any, shards: Any) -> Any:
    """The parameters of a torch module that are cut in other ways than as DTensors."""
    from arrayinit.models.torch_members import check_shards, cut_tensors, shapeless

    check_shards(module, shards)
    unknown = shapeless(module)
    if unknown:
        raise ValueError(
            f"`model` must have shapes, and a lazy one be called once on a batch; got {', '.join(unknown)}"
        )
    return cut_tensors(module, shards)


def _digests_of_cut(model: Any, shards: Any, cut: Any, problem: Problem | None) -> dict[str, str]:
    """Path -> digest of what is cut here. All ranks gather what each has, if this rank can know that there are others.

    A rank of a model that is whole here joins no collective: the others may not call this at all.
    """
    from arrayinit.models.torch_members import may_be_cut

    own: dict[str, dict[str, FingerprintPart]] = {}
    for path, shard in cut.shards.items():
        nothing = FingerprintPart(backend_named("torch").dtype_name(cut.dtypes[path]), shard.shape, 0, (0, 0))
        own[path] = {} if shard.parts else {"": nothing}
        if problem is not None:
            continue
        try:
            for part in shard.parts[:1] if shard.is_repeated else shard.parts:
                place = repr(part.flat if part.index is None else part.index)
                own[path][place] = fingerprint_part(part.x, shape=shard.shape, index=part.index, flat=part.flat)
        except Exception as error:  # whatever it is, other processes wait
            problem = Problem.of(error, repr(path))
    for path, reason in cut.problems.items():
        problem = problem or Problem(f"{path!r} {reason}")
    if not own and not cut.problems and not may_be_cut(model, shards):
        return {}
    parts: dict[str, dict[str, FingerprintPart]] = {}
    for everything in gathered(own, problem):
        for path, held in everything.items():
            for place, part in held.items():
                if parts.setdefault(path, {}).setdefault(place, part) != part:
                    what = f"copies of the elements {place} differ" if place else "dtypes or shapes differ"
                    raise ValueError(f"{path!r}: {what} between processes")
    digests = {}
    for path, held in parts.items():
        here = [part for place, part in held.items() if place] or [*held.values()]
        try:
            digests[path] = sum(here).digest()  # type: ignore[union-attr]
        except ValueError as error:
            raise ValueError(f"{path!r}: {error}") from None
    return {path: digests[path] for path in own}
