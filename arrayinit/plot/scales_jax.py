"""Scales through depth of JAX models: gradients with respect to zeros that are added to each layer's output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from arrayinit.initializers import normal
from arrayinit.models.jax import init_tree, parameters_of_tree
from arrayinit.models.jax_modules import modules_within
from arrayinit.models.parameters import Parameter
from arrayinit.models.signals import Layers, arguments, is_chosen
from arrayinit.plot.marks_jax import mark, run_marked
from arrayinit.plot.measures import DepthScale, cotangent_key, initializer_text, is_rules, scale
from arrayinit.plot.tapping import Tap, tapping

__all__ = ["EquinoxModel", "HaikuModel", "JaxModel", "LinenModel", "NnxModel", "TappedModel"]


class JaxModel:
    """A model whose `run(tap, variables)` passes each layer's output through `tap`."""

    def __init__(self, layers: Layers | None, loss: Any, seed: int) -> None:
        self.layers, self.loss, self.seed = layers, loss, seed
        self.names: tuple[str, ...] = ()
        self.owners: set[str] = set()  # the paths of layers that have an array of two axes or more themselves
        self.gradients: Callable[[Any], Any]

    def run(self, tap: Tap, variables: Any) -> Any:
        raise NotImplementedError

    def variables(self, recipe: Any) -> Any:
        raise NotImplementedError

    def parameters(self) -> list[Parameter]:
        """Its parameters, as rules see them."""
        raise NotImplementedError

    def is_tapped(self, path: str, layer: Any) -> bool:
        """Whether the output of a layer is measured."""
        return path in self.owners if self.layers is None else is_chosen(self.layers, path, layer)

    def prepare(self, variables: Any) -> None:
        """Find the layers, and compile the function that measures them. `variables` may be shapes."""
        with self._explain_leaks():
            outputs, output = jax.eval_shape(lambda v: self._tapped(v, None), variables)
        if not outputs:
            raise ValueError(f"`layers` must choose some of the layers of the model; got {self.layers!r}")
        taps = [jnp.zeros(x.shape, x.dtype) for x in outputs]
        first = _first(output)
        if self.loss is None and first is None:
            raise TypeError(f"the output of the model must hold a floating array, or `loss` be given; got {output!r}")
        weight = None
        if self.loss is None:
            weight = normal(first.shape, seed=cotangent_key(self.seed), xp="jax", dtype=str(first.dtype))

        def loss_of(taps: list[Any], variables: Any) -> tuple[Any, list[Any]]:
            outputs, output = self._tapped(variables, taps)
            loss = self.loss(output) if self.loss is not None else jnp.real((_first(output) * weight).sum())
            return loss, outputs

        self.gradients = partial(jax.jit(jax.grad(loss_of, has_aux=True)), taps)

    def measure(self, recipe: str, rules: Any) -> DepthScale:
        """One forward and one backward pass with freshly drawn parameters."""
        variables = self.variables(rules)
        with self._explain_leaks():
            backward, forward = self.gradients(variables)
        initializer = initializer_text(rules, self.parameters())
        return DepthScale(recipe, self.names, tuple(map(scale, forward)), tuple(map(scale, backward)), initializer)

    @contextmanager
    def _explain_leaks(self) -> Iterator[None]:
        """Raise a ValueError about `layers` where a value leaks out of a transformation."""
        try:
            yield
        except jax.errors.UnexpectedTracerError as error:
            raise ValueError(
                f"`layers` must choose layers outside of transformations (nn.scan, nn.remat, nn.jit, jax.vmap), whose "
                f"values can't be taken out; got {self.layers!r}"
            ) from error

    def _tapped(self, variables: Any, taps: list[Any] | None) -> tuple[list[Any], Any]:
        names: list[str] = []
        outputs: list[Any] = []
        calls: dict[str, int] = {}

        def tap(name: str, output: Any) -> Any:
            x = _first(output)
            if x is None:
                return output
            calls[name] = calls.get(name, 0) + 1
            names.append(f"{name}#{calls[name]}" if calls[name] > 1 else name)
            moved = x if taps is None else x + taps[len(outputs)]
            outputs.append(moved)
            return jax.tree.map(lambda leaf: moved if leaf is x else leaf, output)

        output = self.run(tap, variables)
        self.names = tuple(names)
        return outputs, output


class TappedModel(JaxModel):
    """A function f(tap, params, *inputs)."""

    def __init__(self, function: Any, params: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        super().__init__(layers, loss, seed)
        self.function, self.inputs = function, inputs
        self.params = params
        self.prepare(params)

    def parameters(self) -> list[Parameter]:
        return parameters_of_tree(self.params)

    def run(self, tap: Tap, variables: Any) -> Any:
        def chosen(name: str, x: Any) -> Any:
            return tap(name, x) if self.layers is None or is_chosen(self.layers, name, None) else x

        args, kwargs = arguments(self.inputs)
        return self.function(chosen, variables, *args, **kwargs)

    def variables(self, recipe: Any) -> Any:
        if recipe is None:
            return self.params
        return (
            init_tree(self.params, recipe, seed=self.seed, progress=False) if is_rules(recipe) else recipe(self.params)
        )


class LinenModel(JaxModel):
    """A module of Flax linen, whose calls are intercepted."""

    def __init__(self, module: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        super().__init__(layers, loss, seed)
        self.module, self.inputs = module, inputs
        self.shapes = jax.eval_shape(self._init)
        self.owners = _owners(self.parameters())
        self.prepare(self.shapes)

    def parameters(self) -> list[Parameter]:
        return parameters_of_tree(self.shapes.get("params", {}))

    def _init(self) -> Any:
        args, kwargs = arguments(self.inputs)
        return self.module.init(self._keys(), *args, **kwargs)

    def _keys(self) -> dict[str, Any]:
        params, dropout = jax.random.split(jax.random.key(self.seed))
        return {"params": params, "dropout": dropout}

    def run(self, tap: Tap, variables: Any) -> Any:
        from flax import linen

        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            output = call(*args, **kwargs)
            path = ".".join(context.module.path)
            if context.method_name != "__call__":
                return output
            return tap(path, output) if self.is_tapped(path, context.module) else output

        args, kwargs = arguments(self.inputs)
        mutable = [name for name in variables if name != "params"]
        with linen.intercept_methods(intercept):
            output, _ = self.module.apply(variables, *args, rngs=self._keys(), mutable=mutable, **kwargs)
        return output

    def variables(self, recipe: Any) -> Any:
        if recipe is None:
            return self._init()
        shapes = self.shapes.get("params", {})
        params = init_tree(shapes, recipe, seed=self.seed, progress=False) if is_rules(recipe) else recipe(shapes)
        rest = set(self.shapes) - {"params"}
        return {**({name: self._init()[name] for name in rest} if rest else {}), "params": params}


class NnxModel(JaxModel):
    """A module of Flax nnx, whose parameters are put into a copy for each pass."""

    def __init__(self, module: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        from flax import nnx

        super().__init__(layers, loss, seed)
        self.inputs = inputs
        self.graph, self.params, self.rest = nnx.split(module, nnx.Param, ...)
        self.owners = _owners(self.parameters())
        self.prepare(self.params)

    def parameters(self) -> list[Parameter]:
        return parameters_of_tree(self.params)

    def run(self, tap: Tap, variables: Any) -> Any:
        from flax import nnx

        module = nnx.merge(self.graph, variables, self.rest, copy=True)
        layers = {".".join(map(str, place)): each for place, each in nnx.iter_modules(module)}
        args, kwargs = arguments(self.inputs)
        with tapping({path: each for path, each in layers.items() if self.is_tapped(path, each)}, tap):
            return module(*args, **kwargs)

    def variables(self, recipe: Any) -> Any:
        if recipe is None:
            return self.params
        return (
            init_tree(self.params, recipe, seed=self.seed, progress=False) if is_rules(recipe) else recipe(self.params)
        )


class HaikuModel(JaxModel):
    """What hk.transform or hk.transform_with_state returns, whose modules' calls are intercepted."""

    def __init__(self, transformed: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        super().__init__(layers, loss, seed)
        self.transformed, self.inputs = transformed, inputs
        self.has_state = type(transformed).__name__ == "TransformedWithState"
        self.shapes = jax.eval_shape(self._init)
        weights = [each for each in self.parameters() if each.path.rpartition(".")[2] not in ("scale", "offset")]
        self.owners = _owners(weights)  # without norms, whose gains may have several axes
        self.prepare(self.shapes)

    def parameters(self) -> list[Parameter]:
        return parameters_of_tree(self.shapes[0])

    def _init(self) -> tuple[Any, Any]:
        args, kwargs = arguments(self.inputs)
        made = self.transformed.init(jax.random.key(self.seed), *args, **kwargs)
        return made if self.has_state else (made, None)

    def run(self, tap: Tap, variables: Any) -> Any:
        import haiku

        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            output = call(*args, **kwargs)
            path = ".".join(word for word in context.module.module_name.split("/") if word != "~")
            is_call = context.method_name == "__call__"
            return tap(path, output) if is_call and self.is_tapped(path, context.module) else output

        args, kwargs = arguments(self.inputs)
        params, state = variables
        given = (params, state) if self.has_state else (params,)
        with haiku.intercept_methods(intercept):
            output = self.transformed.apply(*given, jax.random.key(self.seed), *args, **kwargs)
        return output[0] if self.has_state else output

    def variables(self, recipe: Any) -> Any:
        if recipe is None:
            return self._init()
        params = self.shapes[0]
        params = init_tree(params, recipe, seed=self.seed, progress=False) if is_rules(recipe) else recipe(params)
        return params, self._init()[1] if self.has_state else None


class EquinoxModel(JaxModel):
    """A module of Equinox, which is mapped over the first axis of its inputs.

    Layers are known as objects, so those that eqx.filter_jit, filter_vmap and the like copy are not measured.
    """

    def __init__(self, module: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        import equinox

        super().__init__(layers, loss, seed)
        self.module, self.inputs = module, inputs
        self.arrays, self.rest = equinox.partition(module, _is_array)
        self.owners = _owners(self.parameters())
        self.prepare(self.arrays)

    def parameters(self) -> list[Parameter]:
        return parameters_of_tree(self.module)

    def run(self, tap: Tap, variables: Any) -> Any:
        import equinox

        def call(arrays: Any, args: Any, kwargs: Any) -> Any:
            module = equinox.combine(arrays, self.rest)
            layers = {path: each for path, each in modules_within(module) if self.is_tapped(path, each)}
            with tapping(layers, _marked):
                return jax.vmap(lambda args, kwargs: module(*args, **kwargs))(args, kwargs)

        return run_marked(call, (variables, *arguments(self.inputs)), tap)

    def variables(self, recipe: Any) -> Any:
        if recipe is None:
            return self.arrays
        import equinox

        module = self.module
        drawn = init_tree(module, recipe, seed=self.seed, progress=False) if is_rules(recipe) else recipe(module)
        return equinox.filter(drawn, _is_array)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _marked(name: str, output: Any) -> Any:
    """The output of a layer, with a mark on its first floating array."""
    x = _first(output)
    return output if x is None else jax.tree.map(lambda leaf: mark(name, x) if leaf is x else leaf, output)


def _owners(parameters: list[Parameter]) -> set[str]:
    """The paths of layers that have an array of two axes or more themselves."""
    return {each.path.rpartition(".")[0] for each in parameters if len(each.shape) >= 2}


def _first(output: Any) -> Any:
    """The first floating array in the output of a layer."""
    leaves = jax.tree.leaves(output)
    return next((x for x in leaves if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)), None)
