"""Keras models: their weights, drawn by rules in place."""

import re
from collections.abc import Iterator
from typing import Any, Literal, overload

import keras

from arrayinit.common.arguments import flag
from arrayinit.common.calls import hinting
from arrayinit.common.messages import shown
from arrayinit.models.axes import Leaf, Reading, described, readings_of
from arrayinit.models.fill import fill
from arrayinit.models.matching import Frozen, SeedNames, keyed, match, root_of
from arrayinit.models.parameters import Parameter, tied_paths
from arrayinit.models.plans import Plan, PlanError, Planned
from arrayinit.models.rules import BUFFER
from arrayinit.models.selection import Only

__all__ = ["init_model_", "layers_of", "parameters_of_model", "weights_of"]


@overload
def init_model_(
    model: Any, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, only: Only = None, dry_run: Literal[False] = False, progress: bool | None = None,
) -> Any: ...  # fmt: skip


@overload
def init_model_(
    model: Any, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, only: Only = None, dry_run: Literal[True], progress: bool | None = None,
) -> Plan: ...  # fmt: skip


@hinting
def init_model_(
    model: Any,
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    only: Only = None,
    dry_run: bool = False,
    progress: bool | None = None,
) -> Any:
    """Draw all weights of a built Keras model by rules; returns the model.

        rules = {"*.bias": "zeros", "*kernel": ai.spec("kaiming_normal", nonlinearity="relu"), "*.gamma": "ones"}
        init_model_(model, rules, seed=0)

    The path of a weight is the names of the layers that it is in and its own, joined by dots, without the model's:
    "dense.kernel", "lstm.lstm_cell.recurrent_kernel", "encoder.multi_head_attention.query.kernel". Names that Keras
    generates, such as "dense_7", are renumbered: Keras counts all layers of the process, a path counts those of the
    model, "dense", "dense_1", ..., in the order in which they were made.

    Weights that a layer doesn't train of its own accord (the moving mean and variance of BatchNormalization) are
    buffers: they stay as they are unless a rule with a `kind` matches them, that of their layer or "buffer". Random
    states are not among the weights. Shared layers are drawn once.

    Unless a spec says what the axes of a weight mean, its last two axes are in and out. Convolutions bring their groups
    and whether they are transposed; in depthwise ones each channel is a group; EinsumDense, and so MultiHeadAttention,
    tells which axes are in and which are out. For a weight of three or more axes in a custom layer, its bias
    decides (see :func:`arrayinit.jax.init_tree`), or the rule must have a `layout` or a `batch_axis`, beside which the
    others are (*spatial, in, out), if its law depends on fans. An Embedding is numbered as it lies, (tokens, features),
    and so are biases. So a Keras kernel, a torch weight and a Flax kernel with one seed and name are the same weight.

    Args:
        model: a keras.Model or a layer that has its weights: it was called once, or built.
        rules: an :class:`arrayinit.Rules`, or anything `Rules()` accepts: a mapping from patterns to initializers, ...
        seed: as in every initializer; the key of each weight is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        frozen: "draw" draws the weights of layers whose `trainable` is False, such as a loaded backbone's, as their
            rules say; "keep" leaves them as they are. None keeps with a warning what a rule with
            `keeps_frozen` matches, as those of recipes do, and raises an error where another rule would draw one.
        only: what is drawn, while all else stays as it is and needs no rule: a path or a pattern as in rules, or
            several of them. A shared layer is drawn where all of its paths are asked for.
        dry_run: return the plan; draw nothing and take no key. The plan has the keys of the next draw.
        progress: True shows a progress bar, False none; None shows one on terminals after a second, if rich is there.

    Raises:
        PlanError: weights that no rule matches, that share a path, that their rule can't draw, or that are frozen;
            layers that are not built. It lists all of them, and the model is as it was.
        TypeError: `model` is not a model of Keras.
        ValueError: a pattern of `only` that selects nothing.

    Warns:
        UserWarning: a rule applies to no parameter; `seed_names` has a path that the model lacks; `only` asks for some
            paths of a shared layer.
    """
    flag(dry_run, "dry_run")
    matches = match(parameters_of_model(model), rules, seed_names, frozen, only)
    root = root_of(seed)
    if dry_run:
        return keyed(matches, root, dry_run=True)
    variables = {path: variable for path, _, variable in weights_of(model)}

    def draw(entry: Planned) -> None:
        variable = variables[entry.path]
        if keras.backend.backend() == "torch":
            entry.fill_(variable.value)
        else:  # with JAX each device draws the shard that it has
            variable.assign(entry.new_like(variable.value))

    fill(matches, root, draw, progress=progress)
    return model


def parameters_of_model(model: Any) -> list[Parameter]:
    """The weights of a Keras model as rules see them; those of shared layers once, under their first path.

    Raises:
        TypeError, PlanError: as :func:`init_model_`.
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a keras.Model or a layer of Keras; got {shown(model)}")
    if not model.built:
        raise PlanError({model.name: "not built: call it once, or its `build` with the shape of its input"})
    weights: dict[str, tuple[Any, Any]] = {}
    problems = {}
    for path, owner, variable in weights_of(model):
        if path in weights and weights[path][1] is not variable:
            problems[path] = "the path of several weights: give their layers names of their own"
        weights[path] = owner, variable
    if problems:
        raise PlanError(problems)
    readings = _readings(weights)
    result = []
    for path, others in tied_paths((path, id(variable)) for path, (_, variable) in weights.items()).items():
        owner, variable = weights[path]
        shape = tuple(map(int, variable.shape))
        optional = any(variable is fixed for fixed in owner._non_trainable_variables)
        result.append(
            Parameter(
                path,
                shape,
                variable.dtype,
                kinds=_kinds(owner) + ((BUFFER,) if optional else ()),
                **described(readings[path]),
                order="io",
                tied=tuple(others),
                optional=optional,
                frozen="" if optional or variable.trainable else "trainable=False",
            )
        )
    return result


def _readings(weights: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Reading, ...]]:
    """Path -> the readings of a weight: what its layer says, else those that its neighbours leave."""
    shapes = {path: tuple(map(int, variable.shape)) for path, (_, variable) in weights.items()}
    known = {path: _known(owner, variable.name, shapes[path]) for path, (owner, variable) in weights.items()}
    readings = readings_of(
        Leaf(path, shape, "io", known[path] or (), type(weights[path][0]).__name__) for path, shape in shapes.items()
    )
    return {path: readings[path] if (each := known[path]) is None else each for path in weights}


def weights_of(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """(path, owner, variable) of all weights, those of shared layers under each path that they have."""
    return _weights_within(model, "", _layer_names(model))


def _weights_within(layer: Any, prefix: str, names: dict[str, str]) -> Iterator[tuple[str, Any, Any]]:
    unnamed = 0
    for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
        name = variable.name
        if re.fullmatch(r"([a-z]+_)?variable(_\d+)?", name):  # made up: by the backend's class, counted in the process
            name, unnamed = f"variable_{unnamed}" if unnamed else "variable", unnamed + 1
        yield prefix + name, layer, variable
    for inner in _sublayers(layer):
        yield from _weights_within(inner, f"{prefix}{names[inner.name]}.", names)


def layers_of(model: Any) -> Iterator[tuple[str, Any]]:
    """(path, layer) of a model, whose path is "", and of all layers within it, shared ones under each path."""
    return _layers_within(model, "", _layer_names(model))


def _layers_within(layer: Any, path: str, names: dict[str, str]) -> Iterator[tuple[str, Any]]:
    yield path, layer
    for inner in _sublayers(layer):
        name = names[inner.name]
        yield from _layers_within(inner, f"{path}.{name}" if path else name, names)


def _sublayers(layer: Any) -> list[Any]:
    layers: list[Any] = layer._flatten_layers(include_self=False, recursive=False)
    return layers


def _layer_names(model: Any) -> dict[str, str]:
    """The names of layers -> those names with the numbers that Keras made up counted within the model."""
    numbers: dict[str, set[int]] = {}
    parsed = {}
    for layer in model._flatten_layers(include_self=False):
        kind = _snake_case(type(layer).__name__)
        # Bidirectional puts a word before the name of its layer.
        match = re.fullmatch(rf"((?:forward_|backward_)?{kind})(?:_(\d+))?", layer.name)
        if match:
            base, number = match[1], int(match[2] or 0)
            numbers.setdefault(base, set()).add(number)
            parsed[layer.name] = base, number
        else:
            parsed.setdefault(layer.name, (layer.name, 0))
    result = {}
    for name, (base, number) in parsed.items():
        rank = sorted(numbers.get(base, {0})).index(number)
        result[name] = f"{base}_{rank}" if rank else base
    return result


def _snake_case(name: str) -> str:
    """The name of a class as Keras names its instances: MultiHeadAttention -> multi_head_attention."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _kinds(owner: Any) -> tuple[str, ...]:
    """The names of the type of a layer and of those that it inherits from."""
    return tuple(kind.__name__ for kind in _classes(owner))


def _classes(owner: Any) -> tuple[type, ...]:
    """The type of a layer and those that it inherits from, without Layer and its bases."""
    types = type(owner).__mro__
    return types[: types.index(keras.layers.Layer)]


def _known(owner: Any, name: str, shape: tuple[int, ...]) -> tuple[Reading, ...] | None:
    """The reading of a weight's axes, by its layer; () where they have no roles, None where the layer is a user's."""
    layers, rank = keras.layers, len(shape)
    if rank < 2 or isinstance(owner, layers.Embedding) or name in ("bias", "beta", "gamma", "alpha"):
        return ()
    if isinstance(owner, layers.EinsumDense) and name == "kernel":
        given, weight, out = re.split(r",|->", owner.equation)
        if len(weight) != rank:  # packed by a quantization
            return ()
        return (Reading("".join("i" if x not in out else "b" if x in given else "o" for x in weight)),)
    depthwise = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
    if isinstance(owner, depthwise) or name == "depthwise_kernel":  # (spatial, channels, multiplier)
        return (Reading("s" * (rank - 2) + "oo", shape[-2]),)
    roles = "s" * (rank - 2) + "io"
    if isinstance(owner, (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)):
        return (Reading(roles, transposed=True),)  # (spatial, out, in), which is torch's (in, out, spatial)
    if isinstance(owner, (layers.Conv1D, layers.Conv2D, layers.Conv3D)):
        return (Reading(roles, owner.groups),)
    is_of_keras = any(kind.__module__.partition(".")[0] == "keras" for kind in _classes(owner))
    return (Reading(roles),) if is_of_keras or rank == 2 else None
