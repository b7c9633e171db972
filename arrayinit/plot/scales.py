"""The scales of activations and gradients at each layer of a model, under several recipes."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from arrayinit.common.arguments import integer
from arrayinit.common.messages import shown
from arrayinit.models.signals import Layers
from arrayinit.plot.measures import DepthScale

__all__ = ["depth_scales"]

Measure: TypeAlias = Callable[[str, Any], DepthScale]  # (name, recipe) -> scales


def depth_scales(
    model: Any,
    recipes: Mapping[str, Any],
    inputs: Any,
    *,
    params: Any = None,
    layers: Layers | None = None,
    loss: Callable[[Any], Any] | None = None,
    seed: int = 0,
) -> tuple[DepthScale, ...]:
    """The scale of the output of each layer, and of the gradient there, for each recipe; `depth` draws it.

    There is one forward and one backward pass for each recipe, in the mode (training or not) of the model. A model of
    torch is copied before it is drawn, and stays as it is.

        >>> import torch
        >>> from arrayinit.plot import depth_scales
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
        >>> rules = {"*weight": ai.spec("xavier_normal"), "*bias": ai.spec("zeros")}
        >>> (scales,) = depth_scales(model, {"xavier": rules}, ai.normal((32, 8), seed=1, xp="torch"))
        >>> scales.layers, [round(std, 3) for std in scales.forward]
        (('0', '2'), [1.005, 0.566])

    With a module of Flax, beside its own initialization:

        depth_scales(FlaxMLP(), {"lecun": lecun_rules, "default": None}, jnp.ones((8, 128)))

    Args:
        model: a torch.nn.Module, a built model of Keras on JAX or torch, or a function without arguments that returns
            one of these; a module of Flax linen or nnx; what hk.transform of Haiku returns; a module of Equinox, which
            is mapped over the first axis of all inputs; or, with `params`, a JAX function `f(tap, params, *inputs)`
            that calls `h = tap("name", h)` at each layer, for plain JAX and for models that the others don't fit.
        recipes: a name for the legend -> one of four kinds: an :class:`arrayinit.Rules` or its argument; None, for the
            initialization of the model itself; a function that fills the module of torch, or the model of Keras, that
            it is given; or a function that returns JAX parameters for their shapes, or a module of Equinox for one.
        inputs: of the model: an array, a tuple of arguments, or a dictionary of keywords.
        params: a pytree of arrays or ShapeDtypeStructs, with a function.
        layers: a glob on paths ("blocks.*.mlp"), or a predicate of path and module (and None with a function). By
            default all layers that have a parameter of two axes or more themselves: Linear, Conv, Dense, Embedding; in
            Keras a recurrent layer, too, in place of its cell.
        loss: a function of the model's output that returns a scalar. By default the sum of the first floating array
            in it times N(0, 1), so that the gradient there has a std of 1.
        seed: of the recipes, of the default loss and of dropout.

    Raises:
        TypeError: a model, recipes or inputs of another kind.
        ValueError: no recipes, no layers, or layers whose values can't be taken out: of Flax and Haiku inside of scan,
            remat or jit, of Equinox inside of a loop (inside of eqx.filter_jit and the like they are not seen); a model
            of Keras on another backend.
        PlanError: as :func:`arrayinit.torch.init_module_`.
    """
    if not isinstance(recipes, Mapping):
        raise TypeError(f"`recipes` must be a mapping from names to rules; got {shown(recipes)}")
    if not recipes:
        raise ValueError("`recipes` must have at least one entry; got none")
    if layers is not None and not isinstance(layers, str) and not callable(layers):
        raise TypeError(f"`layers` must be a glob, or a predicate of path and module; got {shown(layers)}")
    measure = _measurer(model, inputs, params, layers, loss, integer(seed, "seed", least=0))
    return tuple(measure(str(name), recipe) for name, recipe in recipes.items())


def _measurer(model: Any, inputs: Any, params: Any, layers: Layers | None, loss: Any, seed: int) -> Measure:
    """The function (name, recipe) -> scales for a model of any kind."""
    if params is not None:
        if not callable(model) or _is_module(model):
            raise TypeError(f"`model` must be a function f(tap, params, *inputs) with `params`; got {shown(model)}")
        from arrayinit.plot.scales_jax import TappedModel

        return TappedModel(model, params, inputs, layers, loss, seed).measure
    make = None
    if not _is_module(model) and callable(model):
        make, model = model, model()
    if _is_keras(model):  # on torch a module, too
        from arrayinit.plot.scales_keras import keras_model

        return cast(Measure, keras_model(model, inputs, layers, loss, seed).measure)
    if _is_torch(model):
        from arrayinit.plot.scales_torch import TorchModel

        return TorchModel(model, make, inputs, layers, loss, seed).measure
    for is_of, name in _OF_JAX.items():
        if is_of(model):
            from arrayinit.plot import scales_jax

            kind: Any = getattr(scales_jax, name)
            return cast(Measure, kind(model, inputs, layers, loss, seed).measure)
    raise TypeError(
        f"`model` must be a torch.nn.Module, a model of Keras, a function that makes one, a module of Flax or Equinox, "
        f"what hk.transform returns, or a function of JAX with `params`; got "
        f"{'a function that makes ' if make else ''}{shown(model)}"
    )


def _is_module(model: Any) -> bool:
    return _is_torch(model) or _is_keras(model) or any(is_of(model) for is_of in _OF_JAX)


def _is_keras(model: Any) -> bool:
    kind = getattr(getattr(sys.modules.get("keras"), "layers", None), "Layer", None)
    return isinstance(kind, type) and isinstance(model, kind)


def _is_equinox(model: Any) -> bool:
    return _is_module_of(model, "equinox")


def _is_haiku(model: Any) -> bool:
    haiku: Any = sys.modules.get("haiku")
    kinds = (getattr(haiku, name, None) for name in ("Transformed", "TransformedWithState"))
    return isinstance(model, tuple(kind for kind in kinds if isinstance(kind, type)))


def _is_nnx(model: Any) -> bool:
    return _is_module_of(model, "flax.nnx")


def _is_torch(model: Any) -> bool:
    return _is_module_of(model, "torch.nn")


def _is_linen(model: Any) -> bool:
    return _is_module_of(model, "flax.linen")


def _is_module_of(model: Any, library: str) -> bool:
    """Whether a model is a Module of a library that is imported, even if the import is not complete."""
    kind = getattr(sys.modules.get(library), "Module", None)
    return isinstance(kind, type) and isinstance(model, kind)


_OF_JAX = {_is_linen: "LinenModel", _is_nnx: "NnxModel", _is_haiku: "HaikuModel", _is_equinox: "EquinoxModel"}
