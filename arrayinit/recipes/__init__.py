"""Recipes: the initialization of known models and libraries as rules, each from its source."""

from arrayinit.recipes.torch import torch_defaults, torch_transformer

__all__ = ["torch_defaults", "torch_transformer"]
