"""Scales through depth of JAX models: gradients with respect to zeros that are added to each layer's output."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from arrayinit.initializers import normal
from arrayinit.models.jax import init_tree, parameters_of_tree
from arrayinit.models.signals import Layers, arguments, is_chosen
from arrayinit.plot.measures import DepthScale, cotangent_key, is_rules, scale

__all__ = ["LinenModel", "NnxModel", "TappedModel"]

Tap: TypeAlias = Callable[[str, Any], Any]


class _Model:
    """A model whose `run(tap, variables)` passes each layer's output through `tap`."""

    def __init__(self, layers: Layers | None, loss: Any, seed: int) -> None:
        self.layers, self.loss, self.seed = layers, loss, seed
        self.names: tuple[str, ...] = ()
        self.gradients: Callable[[Any], Any]

    def run(self, tap: Tap, variables: Any) -> Any:
        raise NotImplementedError

    def variables(self, recipe: Any) -> Any:
        raise NotImplementedError

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
        return DepthScale(recipe, self.names, tuple(map(scale, forward)), tuple(map(scale, backward)))

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


class TappedModel(_Model):
    """A function f(tap, params, *inputs)."""

    def __init__(self, function: Any, params: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        super().__init__(layers, loss, seed)
        self.function, self.inputs = function, inputs
        self.params = params
        self.prepare(params)

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


class LinenModel(_Model):
    """A module of Flax linen, whose calls are intercepted."""

    def __init__(self, module: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        super().__init__(layers, loss, seed)
        self.module, self.inputs = module, inputs
        self.shapes = jax.eval_shape(self._init)
        parameters = parameters_of_tree(self.shapes.get("params", {}))
        self.owners = {each.path.rpartition(".")[0] for each in parameters if len(each.shape) >= 2}
        self.prepare(self.shapes)

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
            wanted = path in self.owners if self.layers is None else is_chosen(self.layers, path, context.module)
            return tap(path, output) if wanted else output

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


class NnxModel(_Model):
    """A module of Flax nnx, whose parameters are put into a copy for each pass."""

    def __init__(self, module: Any, inputs: Any, layers: Layers | None, loss: Any, seed: int) -> None:
        from flax import nnx

        super().__init__(layers, loss, seed)
        self.inputs = inputs
        self.graph, self.params, self.rest = nnx.split(module, nnx.Param, ...)
        self.owners = {p.path.rpartition(".")[0] for p in parameters_of_tree(self.params) if len(p.shape) >= 2}
        self.prepare(self.params)

    def run(self, tap: Tap, variables: Any) -> Any:
        from flax import nnx

        module = nnx.merge(self.graph, variables, self.rest, copy=True)
        wanted: dict[int, str] = {}
        types = set()
        for place, each in nnx.iter_modules(module):
            path = ".".join(map(str, place))
            if path in self.owners if self.layers is None else is_chosen(self.layers, path, each):
                wanted[id(each)] = path
                types.add(type(each))
        args, kwargs = arguments(self.inputs)
        with ExitStack() as stack:
            for kind in types:
                stack.enter_context(_tapping(kind, wanted, tap))
            return module(*args, **kwargs)

    def variables(self, recipe: Any) -> Any:
        if recipe is None:
            return self.params
        return (
            init_tree(self.params, recipe, seed=self.seed, progress=False) if is_rules(recipe) else recipe(self.params)
        )


@contextmanager
def _tapping(kind: Any, wanted: dict[int, str], tap: Tap) -> Iterator[None]:
    """Pass the outputs of these objects of a type through `tap`. Python looks for `__call__` in the type only."""
    is_defined_here, call = "__call__" in vars(kind), kind.__call__

    def tapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(self, *args, **kwargs)
        return tap(wanted[id(self)], output) if id(self) in wanted else output

    kind.__call__ = tapped
    try:
        yield
    finally:
        if is_defined_here:
            kind.__call__ = call
        else:
            del kind.__call__


def _first(output: Any) -> Any:
    """The first floating array in the output of a layer."""
    leaves = jax.tree.leaves(output)
    return next((x for x in leaves if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)), None)
