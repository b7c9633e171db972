"""Keras models: their weights, drawn by rules in place."""

import re
from collections.abc import Iterator
from typing import Any, Literal, overload

import keras

from arrayinit.common.arguments import flag
from arrayinit.common.messages import shown
from arrayinit.common.progress import progress_bar
from arrayinit.models.plans import Frozen, Parameter, Plan, PlanError, SeedNames, keyed, match, root_of, tied_paths
from arrayinit.models.rules import BUFFER

__all__ = ["init_model_", "parameters_of_model", "weights_of"]


@overload
def init_model_(
    model: Any, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, dry_run: Literal[False] = False, progress: bool | None = None,
) -> Any: ...  # fmt: skip


@overload
def init_model_(
    model: Any, rules: Any, *, seed: Any, seed_names: SeedNames | None = None,
    frozen: Frozen = None, dry_run: Literal[True], progress: bool | None = None,
) -> Plan: ...  # fmt: skip


def init_model_(
    model: Any,
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    frozen: Frozen = None,
    dry_run: bool = False,
    progress: bool | None = None,
) -> Any:
    """Draw all weights of a built Keras model by rules; returns the model.

        rules = {"*.bias": "zeros", "*kernel": ai.spec("kaiming_normal", nonlinearity="relu"), "*.gamma": "ones", ...}
        init_model_(model, rules, seed=0)

    The path of a weight is the names of the layers that it is in and its own, dotted, without the model's:
    "dense.kernel", "lstm.lstm_cell.recurrent_kernel", "encoder.multi_head_attention.query.kernel". Names of the form
    that Keras makes up, "dense_7", are numbered within the model, where Keras counts all layers of the process:
    "dense", "dense_1", ... in the order in which the layers were made, as in a process that made nothing else.

    Weights that a layer doesn't train of its own accord (the moving mean and variance of BatchNormalization) are
    buffers: they stay as they are unless a rule with a `kind` matches them, that of their layer or "buffer". Random
    states are not among the weights. Shared layers are drawn once.

    What the axes of a weight of two or more mean, unless a spec says so: the last two are in and out. Convolutions
    bring their groups and whether they are transposed, depthwise ones that each channel is a group, EinsumDense and so
    MultiHeadAttention which axes are in and which are out. An Embedding is numbered as it lies, (tokens, features), and
    so are biases. So a Keras kernel, a torch weight and a Flax kernel with one seed and name are the same weight.

    Args:
        model: a keras.Model, or any layer, that has its weights: called once, or built.
        rules: an :class:`arrayinit.Rules`, or what makes one: a mapping from patterns to initializers.
        seed: as in every initializer; the key of each weight is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        frozen: what to do with the weights of layers whose `trainable` is False, as a loaded backbone's: "draw" them
            as their rules say, or "keep" them whatever the rules say. None asks for one of the two, by an error, where
            a rule would draw one.
        dry_run: return the :class:`arrayinit.models.plans.Plan`, draw nothing and take no key.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.

    Raises:
        PlanError: weights that no rule matches, that share a path, that can't be drawn as their rule says, or that
            are frozen; layers that are not built. It lists all, and the model is left as it was.
        TypeError: `model` is no model of Keras.

    Warns:
        UserWarning: rules that match nothing.
    """
    flag(dry_run, "dry_run")
    matches = match(parameters_of_model(model), rules, seed_names, frozen)
    if dry_run:
        return keyed(matches, lambda take: root_of(seed, take), dry_run=True)
    variables = {path: variable for path, _, variable in weights_of(model)}
    total = sum(each.parameter.size for each in matches if each.initializer)
    with progress_bar("parameters", total, progress, "elements") as advance:
        for entry in keyed(matches, lambda take: root_of(seed, take)):
            if entry.initializer is not None:
                variable = variables[entry.path]
                if keras.backend.backend() == "torch":
                    entry.initializer.fill_(variable.value, seed=entry.key)
                else:  # with JAX each device draws the part that it has
                    variable.assign(entry.initializer(variable.value, seed=entry.key))
                advance(entry.parameter.size)
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
    found: dict[str, tuple[Any, Any]] = {}
    problems = {}
    for path, owner, variable in weights_of(model):
        if path in found and found[path][1] is not variable:
            problems[path] = "the path of several weights: give their layers names of their own"
        found[path] = owner, variable
    if problems:
        raise PlanError(problems)
    result = []
    for path, others in tied_paths((path, id(variable)) for path, (_, variable) in found.items()).items():
        owner, variable = found[path]
        shape = tuple(map(int, variable.shape))
        optional = any(variable is own for own in owner._non_trainable_variables)
        axes = _axes(owner, variable.name, shape)
        kinds = _kinds(owner) + ((BUFFER,) if optional else ())
        frozen = "" if optional or variable.trainable else "trainable=False"
        result.append(Parameter(path, shape, variable.dtype, kinds, axes, tuple(others), optional, frozen=frozen))
    return result


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


def _sublayers(layer: Any) -> list[Any]:
    found: list[Any] = layer._flatten_layers(include_self=False, recursive=False)
    return found


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
    types = type(owner).__mro__
    stop = types.index(keras.layers.Layer)
    return tuple(kind.__name__ for kind in types[:stop])


def _axes(owner: Any, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What a layer says of the axes of its weight."""
    layers = keras.layers
    if len(shape) < 2 or isinstance(owner, layers.Embedding) or name in ("bias", "beta", "gamma", "alpha"):
        return {}
    if isinstance(owner, layers.EinsumDense) and name == "kernel":
        weight, out = owner.equation.split(",")[1].split("->")
        if len(weight) != len(shape):  # packed by a quantization
            return {}
        axes = {True: tuple[int, ...](), False: ()}
        for axis, letter in enumerate(weight):
            axes[letter in out] += (axis,)
        return {"in_axis": axes[False], "out_axis": axes[True]}
    depthwise = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
    if isinstance(owner, depthwise) or name == "depthwise_kernel":  # (spatial, channels, multiplier)
        return {"in_axis": (), "out_axis": (-2, -1), "groups": shape[-2]}
    matrix = {"in_axis": -2, "out_axis": -1}
    if isinstance(owner, (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)):
        return matrix | {"transposed": True}  # (spatial, out, in), which is torch's (in, out, spatial)
    groups = getattr(owner, "groups", 1) if isinstance(owner, (layers.Conv1D, layers.Conv2D, layers.Conv3D)) else 1
    return matrix | ({"groups": groups} if groups != 1 else {})
