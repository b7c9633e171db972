"""Scales through depth, and helpers for measuring models of all libraries."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from arrayinit.key import Key
from arrayinit.models.matching import ruled
from arrayinit.models.parameters import Parameter
from arrayinit.models.rules import Rules
from arrayinit.seeds import fold

__all__ = ["DepthScale", "cotangent_key", "initializer_text", "is_rules", "scale"]

SHOWN = 2  # initializers that are named


@dataclass(frozen=True)
class DepthScale:
    """The scales of a model under one recipe; :func:`arrayinit.plot.depth_scales` returns them.

        >>> from arrayinit.plot import DepthScale
        >>> DepthScale("xavier", layers=("fc1", "fc2"), forward=(0.9, 0.7), backward=(0.8, 1.0))
        DepthScale(recipe='xavier', layers=('fc1', 'fc2'), forward=(0.9, 0.7), backward=(0.8, 1.0), initializer='')

    recipe: the name of the recipe.
    layers: the paths of the layers in the order in which they ran; "path#2" is a second call of the same layer.
    forward: the standard deviation of the output of each layer.
    backward: that of the gradient of the loss with respect to it; nan where there is none.
    initializer: what draws the weights of the model, "xavier_normal"; "" where no rules do.
    Outputs or gradients that are not finite have the scale inf.
    """

    recipe: str
    layers: tuple[str, ...]
    forward: tuple[float, ...]
    backward: tuple[float, ...]
    initializer: str = ""


def is_rules(recipe: Any) -> bool:
    """Whether a recipe is rules, not a function."""
    return isinstance(recipe, Rules) or not callable(recipe)


def initializer_text(recipe: Any, parameters: Iterable[Parameter]) -> str:
    """The names of the initializers that rules give the weights of a model, or their number; "" without rules."""
    if recipe is None or not is_rules(recipe):
        return ""
    rules = recipe if isinstance(recipe, Rules) else Rules(recipe)
    names = dict.fromkeys(
        rule.initializer.name
        for parameter, rule in ruled(parameters, rules)
        if rule is not None and rule.initializer is not None and len(parameter.shape) >= 2
    )
    return ", ".join(names) if len(names) <= SHOWN else f"{len(names)} initializers"


def cotangent_key(seed: int) -> Key:
    """The key of the normal values that the default loss multiplies the output by."""
    return fold(seed, "arrayinit.plot.cotangent")


def scale(x: Any) -> float:
    """The standard deviation of all elements of an array in host memory; inf where one is not finite."""
    wide = np.asarray(x).astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    return float(wide.std()) if wide.size and np.isfinite(wide).all() else math.inf if wide.size else math.nan
