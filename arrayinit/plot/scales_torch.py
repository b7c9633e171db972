"""Scales through depth of torch modules, by hooks."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from arrayinit.initializers import normal
from arrayinit.models.signals import Layers, arguments, is_chosen
from arrayinit.models.torch import init_module_
from arrayinit.models.torch_members import is_layer, modules_by_path, parameters_of
from arrayinit.plot.measures import DepthScale, cotangent_key, initializer_text, is_rules, scale
from arrayinit.plot.tapping import Tap

__all__ = ["TorchModel", "TorchPass"]


class TorchPass:
    """Passes of a model whose outputs are torch tensors."""

    def __init__(self, loss: Any, seed: int) -> None:
        self.loss, self.seed = loss, seed

    def measure_pass(
        self,
        recipe: str,
        initializer: str,
        call: Callable[[], Any],
        watch: Callable[[Tap], AbstractContextManager[None]],
    ) -> DepthScale:
        """One forward and one backward pass.

        Args:
            call: runs the model. watch: passes the outputs of its layers to a function meanwhile.
        """
        layers: list[str] = []
        forward: list[float] = []
        backward: list[float] = []

        def record(name: str, output: Any) -> Any:
            x = _first(output)
            if x is None:
                return output
            k, calls = len(layers), sum(known.partition("#")[0] == name for known in layers)
            layers.append(f"{name}#{calls + 1}" if calls else name)
            forward.append(_scale(x))
            backward.append(math.nan)
            if x.requires_grad:

                def keep(gradient: torch.Tensor) -> None:
                    backward[k] = _scale(gradient)

                x.register_hook(keep)
            return output

        with watch(record):
            loss = self._loss(call())
            if loss.requires_grad:
                loss.backward()
        return DepthScale(recipe, tuple(layers), tuple(forward), tuple(backward), initializer)

    def _loss(self, output: Any) -> Any:
        if self.loss is not None:
            return self.loss(output)
        x = _first(output)
        if x is None:
            raise TypeError(f"the output of the model must hold a floating tensor, or `loss` be given; got {output!r}")
        return (x * normal(x.detach(), seed=cotangent_key(self.seed))).sum().real


class TorchModel(TorchPass):
    """A module, or a function that returns one, and its inputs."""

    def __init__(
        self, module: nn.Module, make: Callable[[], nn.Module] | None, inputs: Any, layers: Layers | None, loss: Any,
        seed: int,
    ) -> None:  # fmt: skip
        self.make = make or (lambda: copy.deepcopy(module))
        super().__init__(loss, seed)
        self.inputs = inputs
        self.names = [
            name
            for name, each in modules_by_path(module).items()
            if (is_layer(each) if layers is None else is_chosen(layers, name, each))
        ]
        if not self.names:
            there = ", ".join(filter(None, modules_by_path(module)))
            raise ValueError(f"`layers` must choose some of the layers of the model, {there or 'none'}; got {layers!r}")

    def measure(self, recipe: str, rules: Any) -> DepthScale:
        """One forward and one backward pass with freshly drawn parameters."""
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.enable_grad():
            torch.manual_seed(self.seed)
            module = self.make()
            if rules is not None and is_rules(rules):
                init_module_(module, rules, seed=self.seed, progress=False)
            elif rules is not None:
                rules(module)
            initializer = initializer_text(rules, parameters_of(module))
            modules = modules_by_path(module)
            layers = {name: modules[name] for name in self.names}
            args, kwargs = arguments(self.inputs)
            return self.measure_pass(recipe, initializer, lambda: module(*args, **kwargs), partial(_hooks, layers))


@contextmanager
def _hooks(layers: Mapping[str, nn.Module], record: Tap) -> Iterator[None]:
    """Pass the outputs of layers to `record` by hooks of torch's."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def pass_on(owner: nn.Module, inputs: Any, output: Any) -> None:
            record(name, output)

        return pass_on

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any) -> torch.Tensor | None:
    """The first floating tensor in the output of a module."""
    if isinstance(output, torch.Tensor):
        return output if output.is_floating_point() or output.is_complex() else None
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        return next((x for x in map(_first, output) if x is not None), None)
    return None


def _scale(x: torch.Tensor) -> float:
    host = x.detach().cpu()
    return scale(host.to(torch.complex128 if host.is_complex() else torch.float64).numpy())
