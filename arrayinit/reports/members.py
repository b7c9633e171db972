"""A model of any framework -> its parameters, each with its array."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from arrayinit.backends import find_backend
from arrayinit.models.plans import Parameter

__all__ = ["members"]


def members(model: Any) -> list[tuple[Parameter, Any]]:
    """The parameters of a model as rules see them, each with its array; those that are tied once.

    Raises:
        TypeError: no model. ValueError: parameters of torch that have no shape yet.
    """
    if find_backend(model) is None:
        for framework, find in (("keras", _of_keras), ("torch", _of_torch), ("jax", _of_jax)):
            if framework in sys.modules:  # else no model can be one of its own
                found = find(model)
                if found is not None:
                    return found
        if isinstance(model, Mapping):
            return _of_mapping(model)
    raise TypeError(
        f"`model` must be a torch.nn.Module, a model of Keras, a pytree of JAX's arrays or a mapping of arrays; "
        f"got {type(model).__name__}"
    )


def _of_keras(model: Any) -> list[tuple[Parameter, Any]] | None:
    layers = getattr(sys.modules["keras"], "layers", None)
    if layers is None or not isinstance(model, layers.Layer):
        return None
    from arrayinit.models.keras import parameters_of_model, weights_of

    arrays = {path: variable.value for path, _, variable in weights_of(model)}
    return [(parameter, arrays[parameter.path]) for parameter in parameters_of_model(model)]


def _of_torch(model: Any) -> list[tuple[Parameter, Any]] | None:
    nn = getattr(sys.modules["torch"], "nn", None)
    if nn is None or not isinstance(model, nn.Module):
        return None
    from arrayinit.models.torch import parameters_of

    named = (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    arrays = {path: x for each in named for path, x in each}
    lazy = [path for path, x in arrays.items() if nn.parameter.is_lazy(x)]
    if lazy:
        raise ValueError(f"`model` must have shapes: call it once on a batch first; got lazy {', '.join(lazy)}")
    return [(parameter, arrays[parameter.path]) for parameter in parameters_of(model)]


def _of_jax(model: Any) -> list[tuple[Parameter, Any]] | None:
    jax = sys.modules["jax"]
    if not hasattr(jax, "tree") or (isinstance(model, Mapping) and not _has_arrays_of_jax(model)):
        return None
    if not any(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in jax.tree.leaves(model)):
        return None
    from arrayinit.models.jax import members_of_tree

    return members_of_tree(model)


def _has_arrays_of_jax(model: Any) -> bool:
    """Whether there are JAX's in a nested mapping; also where there are boxes, which only JAX takes apart."""
    names = {None if backend is None else backend.name for backend in (find_backend(x) for _, x in _arrays(model))}
    return None in names or ("jax" in names and names <= {"jax", "numpy"})


def _of_mapping(model: Any) -> list[tuple[Parameter, Any]]:
    first: dict[int, str] = {}
    tied: dict[str, list[str]] = {}
    arrays = dict(_arrays(model))
    for path, x in arrays.items():
        if id(x) in first:
            tied[first[id(x)]].append(path)
        else:
            first[id(x)], tied[path] = path, []
    result = []
    for path, others in tied.items():
        x = arrays[path]
        backend = find_backend(x)
        if backend is None:
            raise TypeError(f"`model` must hold arrays, and mappings and lists of them; got {x!r} at {path!r}")
        shape, dtype = tuple(map(int, x.shape)), backend.dtype_name(x.dtype)
        result.append((Parameter(path, shape, dtype, tied=tuple(others)), x))
    return result


def _arrays(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in model.items() if isinstance(model, Mapping) else enumerate(model):
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping | list):
            yield from _arrays(value, path)
        else:
            yield path, value
