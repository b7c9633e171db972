"""Recipes: the initialization of known models and libraries as rules, each from its source."""

from arrayinit.recipes.resnet import fixup, resnet
from arrayinit.recipes.torch import torch_defaults, torch_transformer
from arrayinit.recipes.transformers import bert, gpt2, llama
from arrayinit.recipes.vit import vit, vit_jax

__all__ = ["bert", "fixup", "gpt2", "llama", "resnet", "torch_defaults", "torch_transformer", "vit", "vit_jax"]
