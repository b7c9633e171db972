"""Scales through depth of Keras models on JAX and torch. Their weights are drawn for a pass, and put back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from arrayinit.models.keras import init_model_, layers_of, parameters_of_model
from arrayinit.models.parameters import Parameter
from arrayinit.models.signals import Layers, arguments, is_chosen
from arrayinit.plot.measures import DepthScale, initializer_text, is_rules
from arrayinit.plot.tapping import Tap, tapping

__all__ = ["keras_model"]


def keras_model(model: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> Any:
    """The object whose `measure(name, recipe)` returns scales. ValueError for a backend without gradients here."""
    chosen = _chosen(model, layers)
    match keras.backend.backend():
        case "jax":
            return _on_jax(model, chosen, inputs, loss, seed)
        case "torch":
            return _on_torch(model, chosen, inputs, loss, seed)
        case other:
            raise ValueError(f"`model` must be of Keras on JAX or torch to be measured; got one on {other}")


def _chosen(model: Any, layers: Layers | None) -> dict[str, Any]:
    """Path -> layer of those to be measured. A recurrent layer stands for its cell, which runs in a loop."""
    there = dict(layers_of(model))
    loops = [path for path, layer in there.items() if isinstance(layer, keras.layers.RNN)]
    if layers is None:
        chosen = {
            path: layer
            for path, layer in there.items()
            if (path in loops or _has_matrix(layer)) and not any(path.startswith(f"{loop}.") for loop in loops)
        }
    else:
        chosen = {path: layer for path, layer in there.items() if path and is_chosen(layers, path, layer)}
    if not chosen:
        names = ", ".join(filter(None, there)) or "none"
        raise ValueError(f"`layers` must choose some of the layers of the model, {names}; got {layers!r}")
    return chosen


def _has_matrix(layer: Any) -> bool:
    return any(len(v.shape) >= 2 for v in (*layer._trainable_variables, *layer._non_trainable_variables))


@contextmanager
def _drawn(model: Any, recipe: Any, seed: int) -> Iterator[None]:
    """The model with the weights of a recipe; afterwards it has its own."""
    held = [(variable, keras.ops.convert_to_numpy(variable.value).copy()) for variable in model.variables]
    try:
        if recipe is not None and is_rules(recipe):
            init_model_(model, recipe, seed=seed, progress=False)
        elif recipe is not None:
            recipe(model)
        yield
    finally:
        for variable, value in held:
            variable.assign(value)


def _on_jax(model: Any, chosen: Mapping[str, Any], inputs: Any, loss: Any, seed: int) -> Any:
    from arrayinit.plot.scales_jax import JaxModel  # imports JAX

    class KerasModel(JaxModel):
        def __init__(self) -> None:
            super().__init__(None, loss, seed)
            self.prepare(self._held())

        def parameters(self) -> list[Parameter]:
            return parameters_of_model(model)

        def run(self, tap: Tap, variables: Any) -> Any:
            args, kwargs = arguments(inputs)
            with tapping(chosen, tap):
                return model.stateless_call(*variables, *args, **kwargs)[0]

        def variables(self, recipe: Any) -> Any:
            with _drawn(model, recipe, seed):
                return self._held()

        def _held(self) -> Any:
            groups = (model.trainable_variables, model.non_trainable_variables)
            return tuple([variable.value for variable in group] for group in groups)

    return KerasModel()


def _on_torch(model: Any, chosen: Mapping[str, Any], inputs: Any, loss: Any, seed: int) -> Any:
    import torch

    from arrayinit.plot.scales_torch import TorchPass

    class KerasModel(TorchPass):
        def measure(self, recipe: str, rules: Any) -> DepthScale:
            """One forward and one backward pass with freshly drawn parameters."""
            initializer = initializer_text(rules, parameters_of_model(model))
            args, kwargs = arguments(inputs)
            held = [(x, x.grad) for x in (variable.value for variable in model.variables)]
            try:
                with _drawn(model, rules, seed), torch.enable_grad():
                    return self.measure_pass(
                        recipe, initializer, lambda: model(*args, **kwargs), partial(tapping, chosen)
                    )
            finally:
                for x, gradient in held:
                    x.grad = gradient

    return KerasModel(loss, seed)
