"""A model of JAX whose layers are scaled by the outputs of a batch: what linen and nnx have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import jax
import numpy as np
from numpy.typing import NDArray

from arrayinit.backends.jax import is_tracing
from arrayinit.common.messages import shown
from arrayinit.models.matching import SeedNames
from arrayinit.models.output_scales import LayerScale, Method, Moments, OutputScales, finished, settle
from arrayinit.models.rules import Rule, Rules
from arrayinit.models.signals import Layers, is_chosen

__all__ = ["LayerRun", "ScaledModel", "Tap"]

NEVER_CALLED = "unchanged: it never runs by `__call__` in the forward pass"
TRANSFORMED = "unchanged: it runs within a transformation ({})"

# (path, layer, arguments, keywords, run) -> the output of a call, which `run` computes.
Tap: TypeAlias = Callable[[str, Any, Any, Any, Callable[[], Any]], Any]


class ScaledModel(ABC):
    """A model, the layers that are chosen of it, and what its forward pass shows of them."""

    module: Any
    transformations: str  # that hide layers, for a note
    classes: tuple[type, ...]  # layers that are linear in `kernel`
    by_channel: tuple[type, ...]  # those whose kernel and output end in the axis of channels

    def __init__(self, inputs: Any, layers: Layers | None, method: Method) -> None:
        self.inputs, self.layers, self.method = inputs, layers, method
        # None for layers that have not run yet, and so are known by their path only.
        self.notes: dict[str, str | None] = dict.fromkeys(self.owners()) if layers is None else {}
        self.calls: dict[str, int] = {}
        self.is_busy = False  # whether a layer runs again by itself, and what it calls is not to be looked at

    @abstractmethod
    def owners(self) -> Iterable[str]:
        """The paths of layers with a parameter of two axes or more."""

    @abstractmethod
    def own(self, path: str) -> dict[str, Any]:
        """The parameters of a layer."""

    @abstractmethod
    def replace(self, path: str, layer: Any, run: "LayerRun") -> None:
        """Take the scaled parameters of a layer, and let it use them at once."""

    @abstractmethod
    def run_of(self, layer: Any, args: Any, kwargs: Any, own: dict[str, Any]) -> "LayerRun":
        """A layer with the inputs of a call."""

    @abstractmethod
    def uses(self, layer: Any, own: dict[str, Any]) -> bool:
        """Whether a layer computes with its own parameters, not with those that a transformation gives it."""

    @abstractmethod
    def forward(self, tap: Tap) -> None:
        """Run the model; the function makes the output of each call of `__call__` of a layer."""

    @abstractmethod
    def draw(self, rules: Rules, seed: Any, seed_names: SeedNames | None) -> None:
        """Draw the parameters by rules."""

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
        if self.layers is None and not isinstance(layer, self.classes):
            return f"unchanged: {kind} is no linear layer or convolution"
        if "kernel" not in own:
            return f"unchanged: {kind} has no parameter `kernel` of its own"
        # Within a transformation inputs are traced, or parameters are not those of the model.
        if not self.uses(layer, own) or any(map(is_tracing, jax.tree.leaves((args, kwargs)))):
            return TRANSFORMED.format(self.transformations)
        if self.method.center and "bias" not in own:
            return "unchanged: it has no bias to center its output with"
        if self.method.per == "channel" and not isinstance(layer, self.by_channel):
            return f"unchanged: {kind} has no axis of channels that is known"
        return ""

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
                moments = self._moments(output, by_channel=False)
                before = moments.spread if isinstance(moments, Moments) else None
                rows[path] = replace(row, before=before, after=before)
                return output
            if row.calls > 1:
                row = replace(row, note=f"runs {row.calls} times, of which the first counts")
            self.is_busy = True
            one = self.run_of(layer, args, kwargs, self.own(path))
            rows[path] = settle(row, one, self.method)
            self.is_busy = False
            self.replace(path, layer, one)
            return one.output if rows[path].iterations else output

        self._tapped(settled)
        final: dict[str, Moments | str] = {}

        def measured(path: str, layer: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
            output = run()
            final[path] = self._moments(output, self.method.per == "channel" and not self.notes[path])
            return output

        self._tapped(measured)
        return finished([rows[path] for path in order], final, self.method)

    def _tapped(self, function: Tap, *, is_counting: bool = False) -> None:
        """Run the model; the function makes the output of the first call of each layer."""
        seen = set[str]()

        def tap(path: str, layer: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
            if self.is_busy:
                return run()
            known = path in self.notes
            if not known and is_counting and self.layers is not None:
                known = is_chosen(self.layers, path, layer)
            if not known:
                return run()
            if is_counting:
                self.calls[path] = self.calls.get(path, 0) + 1
            if path in seen:
                return run()
            seen.add(path)
            return function(path, layer, args, kwargs, run)

        self.forward(tap)

    def _moments(self, output: Any, by_channel: bool) -> Moments | str:
        return _moments(output, by_channel, self.transformations)


class LayerRun(ABC):
    """A layer and the inputs of its first call."""

    def __init__(self, own: dict[str, Any], method: Method, transformations: str) -> None:
        self.own, self.method, self.transformations = own, method, transformations
        self.scaled = [name for name in ("kernel", "bias") if name in own]
        self.output: Any = None

    @abstractmethod
    def call(self) -> Any:
        """The output of the layer with `own` as its parameters."""

    def measure(self) -> Moments | str:
        self.output = self.call()
        return _moments(self.output, self.method.per == "channel", self.transformations)

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


def _moments(output: Any, by_channel: bool, transformations: str) -> Moments | str:
    """Moments of all elements, or of each channel; a text where an output is no floating array."""
    if not isinstance(output, jax.Array):
        return f"unchanged: it returns {type(output).__name__}, not an array"
    if not jax.numpy.issubdtype(output.dtype, jax.numpy.inexact):
        return f"unchanged: it returns {output.dtype}"
    if is_tracing(output):
        return TRANSFORMED.format(transformations)
    eps = float(jax.numpy.finfo(output.dtype).eps)
    x = np.asarray(output).astype(np.complex128 if np.iscomplexobj(output) else np.float64)
    if not x.size:
        return Moments(np.zeros(()), np.zeros(()), eps, True, 0)
    axes = tuple(range(x.ndim - 1 if by_channel else x.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x.mean(axis=axes, keepdims=True)
        std = np.asarray(np.sqrt((np.abs(x - mean) ** 2).mean(axis=axes)))
    return Moments(mean.reshape(std.shape), std, eps, bool(np.isfinite(std).all()), x.size)
