"""Modules of Flax nnx whose layers are scaled by the outputs of a batch.

A forward pass runs on a clone, whose layers have subclasses of their classes with another `__call__`: so nothing is
patched, and the user's module, its random streams and its statistics stay as they are.
"""

from collections.abc import Callable, Iterable
from typing import Any

from arrayinit.models.jax import init_tree, parameters_of_tree
from arrayinit.models.jax_layers import LayerRun, ScaledModel, Tap
from arrayinit.models.matching import SeedNames
from arrayinit.models.output_scales import Method
from arrayinit.models.rules import Rules
from arrayinit.models.signals import Layers

__all__ = ["NnxModel"]

CLASSES = ("Conv", "ConvTranspose", "Einsum", "Linear", "LinearGeneral")  # linear in `kernel`

_classes: dict[type, type] = {}  # a class with the tap in front of its `__call__`, by class
_taps: dict[int, Callable[..., Any]] = {}  # (arguments, keywords, run) -> output, by the id of a layer that runs now


class NnxModel(ScaledModel):
    """A clone of a module; `module` is what is returned in the end."""

    transformations = "nnx.scan, nnx.remat, nnx.jit, nnx.vmap"

    def __init__(self, module: Any, inputs: Any, layers: Layers | None, method: Method) -> None:
        from flax import nnx

        self.classes = tuple(getattr(nnx, name) for name in CLASSES)
        self.by_channel = (nnx.Conv, nnx.Linear)
        self.module = nnx.clone(module)
        super().__init__(inputs, layers, method)

    def owners(self) -> Iterable[str]:
        from flax import nnx

        parameters = parameters_of_tree(nnx.state(self.module, nnx.Param))
        return {each.path.rpartition(".")[0] for each in parameters if len(each.shape) >= 2}

    def own(self, path: str) -> dict[str, Any]:
        return _own(self._layers(self.module).get(path))

    def replace(self, path: str, layer: Any, run: LayerRun) -> None:
        for each in (layer, self._layers(self.module)[path]):
            _put(each, run.own)

    def run_of(self, layer: Any, args: Any, kwargs: Any, own: dict[str, Any]) -> LayerRun:
        return _NnxRun(layer, args, kwargs, own, self.method)

    def uses(self, layer: Any, own: dict[str, Any]) -> bool:
        held = _own(layer)
        return [*held] == [*own] and all(held[name] is own[name] for name in own)

    def forward(self, tap: Tap) -> None:
        from flax import nnx

        clone = nnx.clone(self.module)
        layers = self._layers(clone)
        names = {id(layer): path for path, layer in layers.items()}

        def tapped(path: str, layer: Any) -> Callable[..., Any]:
            return lambda args, kwargs, run: tap(path, layer, args, kwargs, run)

        try:
            for path, layer in layers.items():
                layer.__class__ = _tapped_class(type(layer))
                _taps[id(layer)] = tapped(path, layer)
            args, kwargs = self.inputs
            clone(*args, **kwargs)
        finally:
            for number in names:
                _taps.pop(number, None)

    def draw(self, rules: Rules, seed: Any, seed_names: SeedNames | None) -> None:
        from flax import nnx

        state = init_tree(nnx.state(self.module, nnx.Param), rules, seed=seed, seed_names=seed_names, progress=False)
        nnx.update(self.module, state)

    @staticmethod
    def _layers(module: Any) -> dict[str, Any]:
        """Modules by their paths, each once, those that can be called."""
        from flax import nnx

        return {".".join(map(str, path)): each for path, each in nnx.iter_modules(module) if callable(each)}


class _NnxRun(LayerRun):
    def __init__(self, layer: Any, args: Any, kwargs: Any, own: dict[str, Any], method: Method) -> None:
        super().__init__(own, method, NnxModel.transformations)
        self.layer, self.args, self.kwargs = layer, args, kwargs

    def call(self) -> Any:
        _put(self.layer, self.own)
        return self.layer(*self.args, **self.kwargs)


def _own(layer: Any) -> dict[str, Any]:
    """The arrays of a layer's parameters."""
    from flax import nnx

    fields = {} if layer is None else vars(layer)
    return {name: each[...] for name, each in fields.items() if isinstance(each, nnx.Param)}


def _put(layer: Any, own: dict[str, Any]) -> None:
    for name, value in own.items():
        getattr(layer, name)[...] = value


def _tapped_class(cls: type) -> type:
    if cls not in _classes:

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            def run() -> Any:
                return cls.__call__(self, *args, **kwargs)

            tap = _taps.get(id(self))
            return run() if tap is None else tap(args, kwargs, run)

        names = {"__call__": call, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
        _classes[cls] = type(cls)(cls.__name__, (cls,), names)
    return _classes[cls]
