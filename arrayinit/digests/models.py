"""The digests of all arrays of a model, by path, and one digest of these."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from arrayinit.backends import backend_of, find_backend
from arrayinit.common.messages import shown
from arrayinit.digests.parts import FingerprintPart, part_held
from arrayinit.digests.stored import is_stored
from arrayinit.laws.geometry import geometry

__all__ = ["combined", "digests_of", "fingerprints"]

EXTRA = "_extra_state"  # what torch appends to the path of a module for data that are no tensor


def fingerprints(model: Any) -> dict[str, str]:
    """Path -> fingerprint of each array of a model, sorted by path. :func:`arrayinit.fingerprint` is one digest of all.

        >>> params = {"fc": {"weight": ai.normal((4, 6), seed=0), "bias": ai.zeros(4)}}
        >>> ai.fingerprints(params)["fc.weight"] == ai.fingerprint(params["fc"]["weight"])
        True

    Paths are those of `state_dict` for torch (within DDP, torch.compile and the like), those of `init_tree`,
    `init_model_` and `init_params_` elsewhere. Of a torch module these are its parameters and persistent buffers; a
    tensor under several paths counts under each, as in a state dict. So a module, its state dict and a file of that
    have equal fingerprints.

    DTensors and JAX arrays of several processes are read where they lie: each process hashes what it holds, and a few
    numbers for each array are added, by one collective for each device mesh (torch), or by one for the model (JAX).
    All processes must call this, with the same arrays. Elements that several hold as copies are read on one of them.

    Args:
        model: a torch.nn.Module; a state dict, or mappings and lists of arrays of any library or in files (zarr, h5py);
            a pytree of JAX's arrays, among them modules of nnx and Equinox; a built model of Keras.

    Raises:
        TypeError: no model, or an array without values or of a dtype that :func:`arrayinit.fingerprint` refuses.
        ValueError: two arrays have one path; a parameter is partitioned in a way that leaves its place unknown (ZeRO-3,
            FSDP1): see :func:`arrayinit.fingerprint_part`.
    """
    arrays = dict(sorted(_arrays(model)))
    shared: dict[int, str] = {}  # the first path of each array
    first = {path: shared.setdefault(id(x), path) for path, x in arrays.items()}
    parts = {}
    for path in shared.values():
        x = arrays[path]
        try:
            parts[path] = part_held(x, geometry(tuple(x.shape))), x
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path!r}: {error}") from None
    digests = dict(zip(parts, digests_of(list(parts.values())), strict=True))
    return {path: digests[first[path]] for path in arrays}


def digests_of(parts: list[tuple[FingerprintPart, Any]]) -> list[str]:
    """The digests of arrays, of each of which this process has a part: that of the array beside it."""
    whole = [part for part, _ in parts]
    by_backend: dict[Any, list[int]] = {}
    for number, (_, x) in enumerate(parts):
        backend = None if is_stored(x) else backend_of(x)
        if backend is not None and backend.is_shared(x):
            by_backend.setdefault(backend, []).append(number)
    for backend, numbers in by_backend.items():
        rows = [(whole[k].count, *whole[k].total) for k in numbers]
        for k, (count, a, b) in zip(numbers, backend.added([parts[k][1] for k in numbers], rows), strict=True):
            whole[k] = replace(whole[k], count=count, total=(a, b))
    return [part.digest() for part in whole]


def combined(digests: Mapping[str, str]) -> str:
    """One digest of paths and their digests, whatever their order."""
    import hashlib

    text = "".join(f"{path} {digests[path]}\n" for path in sorted(digests))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _arrays(model: Any) -> list[tuple[str, Any]]:
    torch: Any = sys.modules.get("torch")
    keras: Any = sys.modules.get("keras")
    is_keras = isinstance(model, getattr(getattr(keras, "layers", None), "Layer", ()))  # on torch a module, too
    if not is_keras and isinstance(model, getattr(getattr(torch, "nn", None), "Module", ())):
        listed = list(_of_module(model))
    elif isinstance(model, Mapping | list) and (plain := _of_mapping(model)) is not None:
        listed = plain
    else:
        from arrayinit.models.members import members_of

        listed = [
            (path, member.read())
            for member in members_of(model)
            for path in (member.parameter.path, *member.parameter.tied)
        ]
    known: dict[str, Any] = {}
    for path, x in listed:
        if known.setdefault(path, x) is not x:
            raise ValueError(f"`model` must have one array for each path; got several for {shown(path)}")
    return list(known.items())


def _of_mapping(model: Any) -> list[tuple[str, Any]] | None:
    """The arrays in mappings and lists; None where there is something else among them, as in trees of JAX."""
    from arrayinit.models.mappings import arrays_of

    listed = [
        (path, x)
        for path, (_, _, x) in arrays_of(model, "model")
        if path.rpartition(".")[2] != EXTRA or find_backend(x) is not None
    ]
    is_plain = all(find_backend(x) is not None or is_stored(x) or isinstance(x, np.generic) for _, x in listed)
    return listed if is_plain else None


def _of_module(module: Any) -> Iterator[tuple[str, Any]]:
    """The parameters and persistent buffers of a torch module, under the paths of its state dict."""
    from arrayinit.models.torch_members import shapeless, walk

    unknown = shapeless(module)
    if unknown:
        raise ValueError(
            f"`model` must have shapes, and a lazy one be called once on a batch; got {', '.join(unknown)}"
        )
    for prefix, owner in walk(module):
        for name, x in (*owner._parameters.items(), *owner._buffers.items()):
            if x is not None and name not in owner._non_persistent_buffers_set:
                yield f"{prefix}.{name}" if prefix else name, x
