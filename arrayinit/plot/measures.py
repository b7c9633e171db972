"""Scales through depth, and helpers for measuring models of all libraries."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from arrayinit.key import Key
from arrayinit.models.rules import Rules
from arrayinit.seeds import fold

__all__ = ["DepthScale", "cotangent_key", "is_rules", "scale"]


@dataclass(frozen=True)
class DepthScale:
    """The scales of a model under one recipe; :func:`arrayinit.plot.depth_scales` returns them.

        >>> from arrayinit.plot import DepthScale
        >>> DepthScale("xavier", layers=("fc1", "fc2"), forward=(0.9, 0.7), backward=(0.8, 1.0))
        DepthScale(recipe='xavier', layers=('fc1', 'fc2'), forward=(0.9, 0.7), backward=(0.8, 1.0))

    recipe: the name of the recipe.
    layers: the paths of the layers in the order in which they ran; "path#2" is a second call of the same layer.
    forward: the standard deviation of the output of each layer.
    backward: that of the gradient of the loss with respect to it; nan where there is none.
    Outputs or gradients that are not finite have the scale inf.
    """

    recipe: str
    layers: tuple[str, ...]
    forward: tuple[float, ...]
    backward: tuple[float, ...]


def is_rules(recipe: Any) -> bool:
    """Whether a recipe is rules, not a function."""
    return isinstance(recipe, Rules) or not callable(recipe)


def cotangent_key(seed: int) -> Key:
    """The key of the normal values that the default loss multiplies the output by."""
    return fold(seed, "arrayinit.plot.cotangent")


def scale(x: Any) -> float:
    """The standard deviation of all elements of an array in host memory; inf where one is not finite."""
    wide = np.asarray(x).astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    return float(wide.std()) if wide.size and np.isfinite(wide).all() else math.inf if wide.size else math.nan
