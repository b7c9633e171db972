"""Modules of Flax linen: layers scaled to unit output on one batch, LSUV and in one pass."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from arrayinit.backends.jax import is_tracing
from arrayinit.common.messages import shown
from arrayinit.models.jax import init_tree, parameters_of_tree
from arrayinit.models.matching import SeedNames
from arrayinit.models.output_scales import (
    LayerScale,
    Method,
    Moments,
    OutputScales,
    Per,
    check_layers,
    finished,
    lsuv_method,
    settle,
    start_of,
    unit_method,
)
from arrayinit.models.rules import Rule, Rules
from arrayinit.models.signals import Layers, arguments, is_chosen

__all__ = ["lsuv", "unit_output"]

NEVER_CALLED = "unchanged: it never runs by `__call__` in the forward pass"
TRANSFORMED = "unchanged: it runs within a transformation (nn.scan, nn.remat, nn.jit, nn.WeightNorm)"
CLASSES = ("Conv", "ConvLocal", "ConvTranspose", "Dense", "DenseGeneral", "Einsum")  # of linen; linear in `kernel`
BY_CHANNEL = ("Conv", "Dense")  # those whose kernel and output end in the axis of channels


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
    """LSUV for Flax linen: draw the parameters, then scale layer after layer; returns new variables and a report.

    The formula, the source and the report are those of :func:`arrayinit.torch.lsuv_`: W and b of each layer are divided
    by sqrt(Var(y)) of its output y, in the order of first calls, until |Var(y) - 1| < tolerance. With the same seeds
    and names a model starts from the same bits as in torch, and ends in the same weights up to the rounding of sums.

    Layers are Dense, DenseGeneral (and so the projections of attention), Einsum, Conv, ConvLocal and ConvTranspose. All
    others that have an array of two axes or more are listed and stay, and so do layers within nn.scan, nn.remat,
    nn.jit or nn.vmap, whose values can't be taken out. Nothing is compiled. Flax has no training mode: say
    `deterministic=True` or `use_running_average=True` in the batch, as the model calls it. Statistics in `variables`
    are returned as they are; random streams start from a fixed key.

    Args:
        module: a flax.linen.Module.
        variables: what `module.init` returns: a mapping with "params", and other collections.
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
    """
    return _scale(module, variables, batch, rules, seed, seed_names, layers, lsuv_method(tolerance, iterations))


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
    """Scale each layer of a module of Flax linen once to unit output; returns new variables and a report.

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
    from flax import core, linen

    if not isinstance(module, linen.Module):
        raise TypeError(f"`module` must be a flax.linen.Module; got {shown(module)}")
    check_layers(layers)
    rules = start_of(rules, seed)
    inputs = _inputs(batch)
    if not isinstance(variables, Mapping) or not isinstance(variables.get("params"), Mapping):
        raise TypeError(
            f'`variables` must be a mapping with "params", as module.init returns it; got {type(variables).__name__}'
            f"{' of ' + ', '.join(map(repr, variables)) if isinstance(variables, Mapping) else ''}"
        )
    plain = core.unfreeze(variables)
    for x in jax.tree.leaves((plain, inputs)):
        if is_tracing(x):
            raise TypeError("a model can't be scaled inside of jit, vmap or grad, where arrays have no values")
        if isinstance(x, jax.ShapeDtypeStruct):
            raise TypeError("`variables` and `batch` must hold values; got a ShapeDtypeStruct")
    model = _Model(module, plain, inputs, layers, method)
    model.watch()
    if rules is not None:
        start = rules if isinstance(rules, Rules) else model.orthogonal()
        model.params = init_tree(model.params, start, seed=seed, seed_names=seed_names, progress=False)
    report = model.scale()
    result = {**plain, "params": model.params}
    return core.freeze(result) if isinstance(variables, core.FrozenDict) else result, report


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


class _Model:
    """A model, the layers that are chosen of it, and what its forward pass shows of them."""

    def __init__(self, module: Any, variables: Any, inputs: Any, layers: Layers | None, method: Method) -> None:
        self.module, self.inputs, self.layers, self.method = module, inputs, layers, method
        self.params = variables["params"]
        self.rest = {name: part for name, part in variables.items() if name != "params"}
        owners = {each.path.rpartition(".")[0] for each in parameters_of_tree(self.params) if len(each.shape) >= 2}
        # None for layers that have not run yet, and so are known by their path only.
        self.notes: dict[str, str | None] = dict.fromkeys(owners) if layers is None else {}
        self.calls: dict[str, int] = {}
        self.is_busy = False  # whether a layer runs again by itself, and what it calls is not to be looked at

    def watch(self) -> None:
        """Run the model once: the order of layers, how often each runs, and why some stay."""

        def watched(path: str, layer: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
            self.notes[path] = self._problem(path, layer, args, kwargs)
            return run()

        self._tapped(watched, is_counting=True)
        self.notes = {path: NEVER_CALLED if note is None else note for path, note in self.notes.items()}
        if all(self.notes.values()):
            reasons = "; ".join(f"{path or 'the model itself'} {why}" for path, why in self.notes.items())
            raise ValueError(
                f"`{'module' if self.layers is None else 'layers'}` must have a layer that can be scaled; got "
                f"{reasons or shown(self.module if self.layers is None else self.layers)}"
            )

    def _problem(self, path: str, layer: Any, args: Any, kwargs: Any) -> str:
        """Why a layer stays, whatever the batch; "" where it is scaled."""
        own = self.own(path)
        kind = type(layer).__name__
        if self.layers is None and not _is_of(layer, CLASSES):
            return f"unchanged: {kind} is no linear layer or convolution"
        if "kernel" not in own:
            return f"unchanged: {kind} has no parameter `kernel` of its own"
        # Within a transformation inputs are traced, or parameters are not those of the tree.
        held, known = (jax.tree.leaves(part) for part in (dict(layer.variables.get("params", {})), own))
        is_other = len(held) != len(known) or any(x is not y for x, y in zip(held, known, strict=True))
        if is_other or any(map(is_tracing, jax.tree.leaves((args, kwargs)))):
            return TRANSFORMED
        if self.method.center and "bias" not in own:
            return "unchanged: it has no bias to center its output with"
        if self.method.per == "channel" and not _is_of(layer, BY_CHANNEL):
            return f"unchanged: {kind} has no axis of channels that is known"
        return ""

    def own(self, path: str) -> dict[str, Any]:
        """The parameters of a layer."""
        part = self.params
        for word in path.split(".") if path else ():
            part = part.get(word, {}) if isinstance(part, Mapping) else {}
        return dict(part) if isinstance(part, Mapping) else {}

    def replace(self, path: str, own: dict[str, Any]) -> None:
        """Take other parameters for a layer."""

        def replaced(part: Any, words: list[str]) -> Any:
            return own if not words else {**part, words[0]: replaced(part[words[0]], words[1:])}

        self.params = replaced(self.params, path.split(".") if path else [])

    def orthogonal(self) -> Rules:
        """Rules that draw the layers to be scaled as LSUV starts, and keep all else."""
        chosen = {path for path, note in self.notes.items() if not note}

        def is_kernel(path: str, shape: tuple[int, ...]) -> bool:
            owner, _, name = path.rpartition(".")
            return owner in chosen and name == "kernel" and len(shape) >= 2

        def is_bias(path: str, shape: tuple[int, ...]) -> bool:
            owner, _, name = path.rpartition(".")
            return owner in chosen and name == "bias"

        start: list[Any] = [(is_kernel, "orthogonal"), Rule(is_bias, "zeros", optional=True)]  # type: ignore[arg-type]
        return Rules([*start, Rule("*", None, optional=True)])

    def scale(self) -> OutputScales:
        """Scale each layer while the model runs, then run it once more to measure."""
        order = [*self.calls, *(path for path in self.notes if path not in self.calls)]
        rows = {
            path: LayerScale(path, None, None, None, 1.0, 0, self.calls.get(path, 0), self.notes[path] or "")
            for path in order
        }

        def settled(path: str, layer: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
            output = run()  # before this layer is scaled, those within it are
            row = rows[path]
            if row.note:
                moments = _moments(output, by_channel=False)
                before = moments.spread if isinstance(moments, Moments) else None
                rows[path] = replace(row, before=before, after=before)
                return output
            if row.calls > 1:
                row = replace(row, note=f"runs {row.calls} times, of which the first counts")
            self.is_busy = True
            one = _Run(layer, args, kwargs, self.own(path), self.method)
            rows[path] = settle(row, one, self.method)
            self.is_busy = False
            for name in one.scaled:
                layer.put_variable("params", name, one.own[name])
            self.replace(path, one.own)
            return one.output if rows[path].iterations else output

        self._tapped(settled)
        final: dict[str, Moments | str] = {}

        def measured(path: str, layer: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
            output = run()
            final[path] = _moments(output, self.method.per == "channel" and not self.notes[path])
            return output

        self._tapped(measured)
        return finished([rows[path] for path in order], final, self.method)

    def _tapped(self, function: Callable[..., Any], *, is_counting: bool = False) -> None:
        """Run the model; the function makes the output of the first call of each layer."""
        from flax import linen

        seen = set[str]()

        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            path = ".".join(context.module.path)
            if self.is_busy or context.method_name != "__call__":
                return call(*args, **kwargs)
            known = path in self.notes
            if not known and is_counting and self.layers is not None:
                known = is_chosen(self.layers, path, context.module)
            if not known:
                return call(*args, **kwargs)
            if is_counting:
                self.calls[path] = self.calls.get(path, 0) + 1
            if path in seen:
                return call(*args, **kwargs)
            seen.add(path)
            return function(path, context.module, args, kwargs, lambda: call(*args, **kwargs))

        args, kwargs = self.inputs
        streams = dict.fromkeys(("params", "dropout"), jax.random.key(0))
        with linen.intercept_methods(intercept):
            self.module.apply(
                {**self.rest, "params": self.params}, *args, rngs=streams, mutable=["params", *self.rest], **kwargs
            )


class _Run:
    """A layer and the inputs of its first call."""

    def __init__(self, layer: Any, args: Any, kwargs: Any, own: dict[str, Any], method: Method) -> None:
        self.layer, variables = layer.unbind()
        self.rest = {name: part for name, part in variables.items() if name != "params"}
        self.args, self.kwargs, self.own = args, kwargs, own
        self.by_channel = method.per == "channel"
        self.scaled = [name for name in ("kernel", "bias") if name in own]
        self.output: Any = None

    def measure(self) -> Moments | str:
        streams = dict.fromkeys(("params", "dropout"), jax.random.key(0))
        self.output, _ = self.layer.apply(
            {**self.rest, "params": self.own}, *self.args, rngs=streams, mutable=list(self.rest), **self.kwargs
        )
        return _moments(self.output, self.by_channel)

    def divide(self, std: NDArray[np.float64], mean: NDArray[Any] | None) -> str:
        for name in self.scaled:
            shift = mean if name == "bias" else None
            self.own[name] = jax.tree.map(lambda x, shift=shift: _divided(x, std, shift), self.own[name])
        return ""


def _divided(x: Any, std: NDArray[np.float64], mean: NDArray[Any] | None) -> Any:
    """(x - mean) / std in the dtype of x, along its last axis where these are several."""
    wide = x.astype(np.promote_types(x.dtype, np.float32)) if x.dtype.itemsize < 4 else x

    def number(value: NDArray[Any]) -> Any:
        return value.item() if not value.ndim else value.astype(wide.dtype)

    moved = wide if mean is None else wide - number(mean)
    return (moved / number(std)).astype(x.dtype)


def _moments(output: Any, by_channel: bool) -> Moments | str:
    """Moments of all elements, or of each channel; a text where an output is no floating array."""
    if not isinstance(output, jax.Array):
        return f"unchanged: it returns {type(output).__name__}, not an array"
    if not jax.numpy.issubdtype(output.dtype, jax.numpy.inexact):
        return f"unchanged: it returns {output.dtype}"
    if is_tracing(output):
        return TRANSFORMED
    eps = float(jax.numpy.finfo(output.dtype).eps)
    x = np.asarray(output).astype(np.complex128 if np.iscomplexobj(output) else np.float64)
    if not x.size:
        return Moments(np.zeros(()), np.zeros(()), eps, True, 0)
    axes = tuple(range(x.ndim - 1 if by_channel else x.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x.mean(axis=axes, keepdims=True)
        std = np.asarray(np.sqrt((np.abs(x - mean) ** 2).mean(axis=axes)))
    return Moments(mean.reshape(std.shape), std, eps, bool(np.isfinite(std).all()), x.size)


def _is_of(layer: Any, names: tuple[str, ...]) -> bool:
    """Whether a layer is of these classes of linen."""
    from flax import linen

    return isinstance(layer, tuple(getattr(linen, name) for name in names))
