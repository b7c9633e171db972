"""Modules of Flax, linen and nnx: layers scaled to unit output on one batch, LSUV and in one pass."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from arrayinit.backends.jax import is_tracing
from arrayinit.common.calls import hinting
from arrayinit.common.messages import shown
from arrayinit.models.jax import init_tree, parameters_of_tree
from arrayinit.models.jax_layers import LayerRun, ScaledModel, Tap
from arrayinit.models.matching import SeedNames
from arrayinit.models.nnx_scaling import NnxModel
from arrayinit.models.output_scales import Method, OutputScales, Per, check_layers, lsuv_method, start_of, unit_method
from arrayinit.models.rules import Rules
from arrayinit.models.signals import Layers, arguments

__all__ = ["lsuv", "unit_output"]

CLASSES = ("Conv", "ConvLocal", "ConvTranspose", "Dense", "DenseGeneral", "Einsum")  # of linen; linear in `kernel`


@hinting
def lsuv(
    module: Any,
    variables: Any,
    batch: Any,
    rules: Any = "orthogonal",
    *,
    seed: Any = None,
    seed_names: SeedNames | None = None,
    layers: Layers | None = None,
    tolerance: float = 0.1,
    iterations: int = 10,
) -> tuple[Any, OutputScales]:
    """LSUV for Flax: draw the parameters, then scale layer after layer; returns new variables, or module, and a report.

    The formula, the source and the report are those of :func:`arrayinit.torch.lsuv_`: W and b of each layer are divided
    by sqrt(Var(y)) of its output y, in the order of first calls, until |Var(y) - 1| < tolerance. With the same seeds
    and names a model starts from the same bits as in torch, and ends in the same weights up to the rounding of sums.

    Layers are Dense, DenseGeneral (and so the projections of attention), Einsum, Conv, ConvLocal and ConvTranspose of
    linen; Linear, LinearGeneral, Einsum, Conv and ConvTranspose of nnx. All others that have an array of two axes or
    more are listed and stay, and so do layers within scan, remat, jit or vmap, whose values can't be taken out. Nothing
    is compiled. Linen has no training mode: say `deterministic=True` or `use_running_average=True` in the batch, as the
    model calls it; for nnx, `module.eval()`. Statistics are returned as they are. Random streams of linen start from a
    fixed key, those of nnx at each pass from where they are.

    A module of nnx is not changed: the one that is returned is a clone of it, as from :func:`init_tree`.

    Args:
        module: a flax.linen.Module, or a flax.nnx.Module that holds its arrays.
        variables: what `module.init` of linen returns: a mapping with "params", and other collections. None for nnx.
        batch: inputs of the model: an array, a tuple of arguments, or a dictionary of keywords.
        rules: what draws the parameters before they are scaled. "orthogonal" gives the layers that are scaled
            orthogonal weights and biases 0; all else stays. Rules, or what `Rules()` accepts, as in :func:`init_tree`.
            None starts from the arrays that are there.
        seed, seed_names: as in :func:`init_tree`; the key of each array is fold(seed, its path).
        layers: a glob on paths, or a predicate of path and module, of the layers to be scaled, of whatever class. Each
            needs a `kernel` that its output is proportional to, apart from a `bias`.
        tolerance: of the variance, in (0, 1).
        iterations: the most divisions of a weight.

    Raises:
        TypeError: a module, variables, batch or layers of another kind; inside of `jit`.
        ValueError: outputs that are not finite (the text names the layer); no layer to scale; a tolerance or iterations
            out of range; a seed with rules=None.
        PlanError: as :func:`init_tree`.

    Warns:
        UserWarning: outputs that are not within the tolerance in the end.

    Example:
        >>> import jax
        >>> from flax import linen as nn
        >>> from arrayinit.jax import lsuv
        >>> model = nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(4)])
        >>> x = ai.uniform((64, 8), seed=1, xp="jax")
        >>> variables, report = lsuv(model, model.init(jax.random.key(0), x), x, seed=0)
        >>> [row.path for row in report], round(float(model.apply(variables, x).std()), 4)
        (['layers_0', 'layers_2'], 1.0)

        >>> from flax import nnx
        >>> make = nnx.Rngs(0)
        >>> model = nnx.Sequential(nnx.Linear(8, 16, rngs=make), nnx.relu, nnx.Linear(16, 4, rngs=make))
        >>> model, report = lsuv(model, None, x, seed=0)
        >>> round(float(model(x).std()), 4)
        1.0
    """
    return _scale(module, variables, batch, rules, seed, seed_names, layers, lsuv_method(tolerance, iterations))


@hinting
def unit_output(
    module: Any,
    variables: Any,
    batch: Any,
    rules: Any = None,
    *,
    seed: Any = None,
    seed_names: SeedNames | None = None,
    layers: Layers | None = None,
    per: Per = "layer",
    center: bool = False,
) -> tuple[Any, OutputScales]:
    """Scale each layer of a module of Flax once to unit output; returns new variables, or module, and a report.

    Formula and sources are those of :func:`arrayinit.torch.unit_output_`: W / s, and b / s, or (b - m) / s with
    `center`. Layers and passes are as in :func:`lsuv`.

    Args:
        module, variables, batch, seed, seed_names, layers: as in :func:`lsuv`.
        rules: None starts from the arrays that are there. Otherwise what draws them, as in :func:`lsuv`.
        per: "layer": m and s are numbers, of all elements of y. "channel": they are those of each feature of Dense and
            Conv; other layers stay.
        center: whether the mean becomes 0. A layer without a bias stays.

    Raises:
        TypeError, ValueError, PlanError: as :func:`lsuv`; a `per` or `center` of another kind.

    Example:
        >>> import jax
        >>> from flax import linen as nn
        >>> from arrayinit.jax import unit_output
        >>> model, x = nn.Dense(2), ai.uniform((64, 3), seed=1, xp="jax")
        >>> variables = model.init(jax.random.key(0), x)
        >>> variables, report = unit_output(model, variables, x, per="channel", center=True)
        >>> [round(std, 4) for std in model.apply(variables, x).std(axis=0).tolist()]
        [1.0, 1.0]
    """
    return _scale(module, variables, batch, rules, seed, seed_names, layers, unit_method(per, center))


def _scale(
    module: Any, variables: Any, batch: Any, rules: Any, seed: Any, seed_names: Any, layers: Layers | None,
    method: Method,
) -> tuple[Any, OutputScales]:  # fmt: skip
    from flax import core, linen, nnx

    if not isinstance(module, linen.Module | nnx.Module):
        raise TypeError(f"`module` must be a flax.linen.Module or a flax.nnx.Module; got {shown(module)}")
    check_layers(layers)
    rules = start_of(rules, seed)
    inputs = _inputs(batch)
    if isinstance(module, nnx.Module):
        if variables is not None:
            raise TypeError(f"`variables` must be None for a module of nnx, which holds them; got {shown(variables)}")
        _check_values((nnx.to_pure_dict(nnx.state(module)), inputs), "`module`")
        made = NnxModel(module, inputs, layers, method)
        report = _scaled(made, rules, seed, seed_names)
        return made.module, report
    if not isinstance(variables, Mapping) or not isinstance(variables.get("params"), Mapping):
        raise TypeError(
            f'`variables` must be a mapping with "params", as module.init returns it; got {type(variables).__name__}'
            f"{' of ' + ', '.join(map(repr, variables)) if isinstance(variables, Mapping) else ''}"
        )
    plain = core.unfreeze(variables)
    _check_values((plain, inputs), "`variables`")
    model = _Linen(module, plain, inputs, layers, method)
    report = _scaled(model, rules, seed, seed_names)
    result = {**plain, "params": model.params}
    return core.freeze(result) if isinstance(variables, core.FrozenDict) else result, report


def _scaled(model: ScaledModel, rules: Any, seed: Any, seed_names: SeedNames | None) -> OutputScales:
    model.watch()
    if rules is not None:
        model.draw(rules if isinstance(rules, Rules) else model.orthogonal(), seed, seed_names)
    return model.scale()


def _check_values(trees: Any, name: str) -> None:
    for x in jax.tree.leaves(trees):
        if is_tracing(x):
            raise TypeError("a model can't be scaled inside of jit, vmap or grad, where arrays have no values")
        if isinstance(x, jax.ShapeDtypeStruct):
            raise TypeError(f"{name} and `batch` must hold values; got a ShapeDtypeStruct")


def _inputs(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keywords. TypeError where a batch holds no array."""
    is_batch = isinstance(batch, jax.Array | np.ndarray | tuple | Mapping)
    args, kwargs = arguments(batch) if is_batch else ((), {})
    if not any(isinstance(x, jax.Array | np.ndarray) for x in (*args, *kwargs.values())):
        raise TypeError(
            f"`batch` must be an array, a tuple of arguments or a dictionary of keywords with an array among them; got "
            f"{shown(batch)}"
        )
    return args, kwargs


class _Linen(ScaledModel):
    """A module of linen and its variables."""

    transformations = "nn.scan, nn.remat, nn.jit, nn.WeightNorm"

    def __init__(self, module: Any, variables: Any, inputs: Any, layers: Layers | None, method: Method) -> None:
        from flax import linen

        self.classes = tuple(getattr(linen, name) for name in CLASSES)
        self.by_channel = (linen.Conv, linen.Dense)
        self.module, self.params = module, variables["params"]
        self.rest = {name: part for name, part in variables.items() if name != "params"}
        super().__init__(inputs, layers, method)

    def owners(self) -> Iterable[str]:
        return {each.path.rpartition(".")[0] for each in parameters_of_tree(self.params) if len(each.shape) >= 2}

    def own(self, path: str) -> dict[str, Any]:
        part = self.params
        for word in path.split(".") if path else ():
            part = part.get(word, {}) if isinstance(part, Mapping) else {}
        return dict(part) if isinstance(part, Mapping) else {}

    def replace(self, path: str, layer: Any, run: LayerRun) -> None:
        def replaced(part: Any, words: list[str]) -> Any:
            return run.own if not words else {**part, words[0]: replaced(part[words[0]], words[1:])}

        for name in run.scaled:
            layer.put_variable("params", name, run.own[name])
        self.params = replaced(self.params, path.split(".") if path else [])

    def run_of(self, layer: Any, args: Any, kwargs: Any, own: dict[str, Any]) -> LayerRun:
        return _LinenRun(layer, args, kwargs, own, self.method)

    def uses(self, layer: Any, own: dict[str, Any]) -> bool:
        held, known = (jax.tree.leaves(part) for part in (dict(layer.variables.get("params", {})), own))
        return len(held) == len(known) and all(x is y for x, y in zip(held, known, strict=True))

    def forward(self, tap: Tap) -> None:
        from flax import linen

        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if context.method_name != "__call__":
                return call(*args, **kwargs)
            path = ".".join(context.module.path)
            return tap(path, context.module, args, kwargs, lambda: call(*args, **kwargs))

        args, kwargs = self.inputs
        with linen.intercept_methods(intercept):
            self.module.apply(
                {**self.rest, "params": self.params}, *args, rngs=_streams(), mutable=["params", *self.rest], **kwargs
            )

    def draw(self, rules: Rules, seed: Any, seed_names: SeedNames | None) -> None:
        self.params = init_tree(self.params, rules, seed=seed, seed_names=seed_names, progress=False)


class _LinenRun(LayerRun):
    def __init__(self, layer: Any, args: Any, kwargs: Any, own: dict[str, Any], method: Method) -> None:
        super().__init__(own, method, _Linen.transformations)
        self.layer, variables = layer.unbind()
        self.rest = {name: part for name, part in variables.items() if name != "params"}
        self.args, self.kwargs = args, kwargs

    def call(self) -> Any:
        variables = {**self.rest, "params": self.own}
        output, _ = self.layer.apply(variables, *self.args, rngs=_streams(), mutable=list(self.rest), **self.kwargs)
        return output


def _streams() -> dict[str, Any]:
    return dict.fromkeys(("params", "dropout"), jax.random.key(0))
