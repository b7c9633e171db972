"""Recipes: how known models and libraries start, as rules to print, to change, to write as JSON or TOML, and to draw.

    print(recipes.gpt2(layers=12))
    arrayinit.torch.init_module_(model, recipes.gpt2(layers=12), seed=0)
    Rules([Rule("head.*", spec("zeros")), *recipes.resnet()])      # your rules first

Each recipe follows a paper or reference code, which its docstring names; tests compare it with the draws of the library
that defines it. Optional rules may match nothing without a warning.

Rules of recipes keep frozen parameters, which most often are tables that a constructor computes, such as the sines of
Whisper's positions. `frozen="draw"` draws them.

"By paths" means that a recipe looks at the paths of parameters alone, "by kinds" that it looks at types of layers, too.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from arrayinit.common.calls import hinting
from arrayinit.common.messages import did_you_mean, no_attribute, shown
from arrayinit.models.rules import Rules
from arrayinit.recipes.completep import completep, depth_mup
from arrayinit.recipes.depth import deepnorm, deepnorm_constants, t_fixup
from arrayinit.recipes.flax import flax_defaults
from arrayinit.recipes.keras import keras_defaults
from arrayinit.recipes.linear_recurrences import gated_deltanet, lru, mamba, mamba2
from arrayinit.recipes.lora import lora
from arrayinit.recipes.megatron import megatron
from arrayinit.recipes.mimetic import mimetic
from arrayinit.recipes.modded_nanogpt import modded_nanogpt
from arrayinit.recipes.modular_norm import modular_norm
from arrayinit.recipes.moe import moe
from arrayinit.recipes.mup import mup
from arrayinit.recipes.nanochat import nanochat
from arrayinit.recipes.olmo import olmo
from arrayinit.recipes.recurrent import irnn, recurrent
from arrayinit.recipes.resnet import fixup, resnet
from arrayinit.recipes.rwkv import rwkv7
from arrayinit.recipes.timm import beit, cait, convnext, timm_vit
from arrayinit.recipes.torch import torch_defaults, torch_transformer
from arrayinit.recipes.torchtitan import torchtitan, torchtitan_gpt_oss
from arrayinit.recipes.transformers import bert, gpt2, llama
from arrayinit.recipes.u_mup import u_mup
from arrayinit.recipes.vit import vit, vit_jax
from arrayinit.recipes.xlstm import xlstm

__all__ = [
    "RECIPES",
    "beit",
    "bert",
    "cait",
    "completep",
    "convnext",
    "deepnorm",
    "deepnorm_constants",
    "depth_mup",
    "fixup",
    "flax_defaults",
    "gated_deltanet",
    "gpt2",
    "irnn",
    "keras_defaults",
    "llama",
    "lora",
    "lru",
    "mamba",
    "mamba2",
    "megatron",
    "mimetic",
    "modded_nanogpt",
    "modular_norm",
    "moe",
    "mup",
    "nanochat",
    "olmo",
    "recipe",
    "recurrent",
    "resnet",
    "rwkv7",
    "t_fixup",
    "timm_vit",
    "torch_defaults",
    "torch_transformer",
    "torchtitan",
    "torchtitan_gpt_oss",
    "u_mup",
    "vit",
    "vit_jax",
    "xlstm",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


_FUNCTIONS = (
    torch_defaults, torch_transformer, flax_defaults, keras_defaults, gpt2, llama, bert, vit, vit_jax, resnet, fixup,
    deepnorm, t_fixup, mup, torchtitan, torchtitan_gpt_oss, olmo, nanochat, modded_nanogpt, megatron, moe, lru, mamba,
    mamba2, gated_deltanet, xlstm, rwkv7, timm_vit, beit, cait, convnext, completep, depth_mup, u_mup, modular_norm,
    lora, recurrent, irnn, mimetic,
)  # fmt: skip
RECIPES: Mapping[str, Callable[..., Rules]] = MappingProxyType({each.__name__: hinting(each) for each in _FUNCTIONS})
"""Name -> function. Each can be called without arguments."""

for _name, _function in RECIPES.items():
    _function.__module__ = __name__  # where pickle finds it
    globals()[_name] = _function


def __getattr__(name: str) -> Any:
    raise no_attribute("arrayinit.recipes", name, RECIPES)


def recipe(name: str, /, **parameters: Any) -> Rules:
    """The rules of a recipe, by its name: `recipe("gpt2", layers=24)` for `gpt2(layers=24)`.

        >>> from arrayinit.recipes import gpt2, recipe
        >>> recipe("gpt2", layers=24) == gpt2(layers=24)
        True

    Raises:
        ValueError: an unknown name, a parameter that the recipe refuses. TypeError: a parameter that it does not have.
    """
    if not isinstance(name, str) or name not in RECIPES:
        hint = did_you_mean(name, RECIPES)
        known = "" if hint else f": {', '.join(RECIPES)}"
        raise ValueError(f"`name` must be a recipe{known}; got {shown(name)}{hint}")
    return RECIPES[name](**parameters)
