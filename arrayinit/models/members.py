"""A model of any framework -> its parameters, each with its array."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from arrayinit.backends import find_backend
from arrayinit.common.messages import shown
from arrayinit.models.mappings import arrays_of, check_depth, parameters_of_mapping
from arrayinit.models.parameters import Parameter

__all__ = ["Member", "members_of"]


class Member(NamedTuple):
    """A parameter and its array.

    read: returns the array; a weight that a layer makes of others is made now.
    drawn: returns what a draw gave, where the layer makes something else of it.
    originals: the members for the originals of `parameter`.
    """

    parameter: Parameter
    read: Callable[[], Any]
    drawn: Callable[[], Any] | None = None
    originals: "tuple[Member, ...]" = ()


def members_of(model: Any, shards: Any = None) -> list[Member]:
    """The parameters of a model as rules see them, each with its array; those that are tied once.

    These are the parameters that `init_module_`, `init_tree`, `init_model_` and `init_params_` draw: each framework's
    module lists them for both.

    Args:
        shards: as in `init_module_`, for torch alone.

    Raises:
        TypeError: no model, or `shards` for one of another library. ValueError: parameters of torch that have no shape
            yet.
    """
    if find_backend(model) is None:
        for framework, find in (("keras", _of_keras), ("torch", _of_torch), ("jax", _of_jax)):
            if sys.modules.get(framework) is not None:  # otherwise no model can be one of its own
                members = _of_torch(model, shards) if framework == "torch" else find(model)
                if members is not None:
                    _check_shards(framework, shards)
                    return members
        _check_shards(type(model).__name__, shards)
        if isinstance(model, Mapping):
            return _of_mapping(model)
    raise TypeError(
        f"`model` must be a torch.nn.Module, a model of Keras, a pytree of JAX's arrays or a mapping of arrays; "
        f"got {type(model).__name__}"
    )


def _of_keras(model: Any) -> list[Member] | None:
    layers = getattr(sys.modules["keras"], "layers", None)
    if layers is None or not isinstance(model, layers.Layer):
        return None
    from arrayinit.models.keras import parameters_of_model, weights_of

    arrays = {path: variable.value for path, _, variable in weights_of(model)}
    return [_member(parameter, arrays[parameter.path]) for parameter in parameters_of_model(model)]


def _check_shards(kind: str, shards: Any) -> None:
    if shards is not None and kind != "torch":
        raise TypeError(f"`shards` goes with a torch.nn.Module; got a model of {kind}")


def _of_torch(model: Any, shards: Any = None) -> list[Member] | None:
    nn = getattr(sys.modules["torch"], "nn", None)
    if nn is None or not isinstance(model, nn.Module):
        return None
    from arrayinit.models.torch_members import check_shards, parameters_of, shapeless, tensors_of

    check_shards(model, shards)
    unknown = shapeless(model)
    if unknown:
        reasons = "; ".join(dict.fromkeys(unknown.values()))
        raise ValueError(
            f"`model` must have shapes, and a lazy one be called once on a batch; got {', '.join(unknown)}: {reasons}"
        )
    tensors = {each.path: each for each in tensors_of(model, shards)}
    result = []
    for parameter in parameters_of(model, shards):
        tensor = tensors[parameter.path]
        originals = tuple(
            Member(original, each.read) for original, each in zip(parameter.originals, tensor.originals, strict=True)
        )
        drawn = None if tensor.derived is None else tensor.derived.drawn
        read = partial(_held, tensor) if parameter.cut else tensor.read
        result.append(Member(parameter, read, drawn, originals))
    return result


def _held(tensor: Any) -> Any:
    """All elements that are here of a tensor that is cut, along one axis."""
    parts = [part.x.detach().reshape(-1) for part in tensor.shard().parts]
    return sys.modules["torch"].cat(parts) if parts else tensor.likeness.detach().reshape(-1)[:0]


def _of_jax(model: Any) -> list[Member] | None:
    jax = sys.modules["jax"]
    if not hasattr(jax, "tree") or (isinstance(model, Mapping) and not _has_arrays_of_jax(model)):
        return None
    check_depth(model, "model")
    if not any(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in jax.tree.leaves(model)):
        return None
    from arrayinit.models.jax import members_of_tree

    return [_member(parameter, x) for parameter, x in members_of_tree(model)]


def _has_arrays_of_jax(model: Any) -> bool:
    """Whether there are JAX's in a nested mapping; also where there are boxes, which only JAX takes apart."""
    names = {
        None if backend is None else backend.name
        for backend in (find_backend(x) for _, (_, _, x) in arrays_of(model, "model"))
    }
    return None in names or ("jax" in names and names <= {"jax", "numpy"})


def _of_mapping(model: Any) -> list[Member]:
    arrays = {}
    for path, (_, _, x) in arrays_of(model, "model"):
        backend = find_backend(x)
        if backend is None:
            raise TypeError(f"`model` must hold arrays, and mappings and lists of them; got {shown(x)} at {path!r}")
        arrays[path] = backend, x
    return [_member(parameter, arrays[parameter.path][1]) for parameter in parameters_of_mapping(arrays)]


def _member(parameter: Parameter, x: Any) -> Member:
    return Member(parameter, lambda: x)
