"""Larger than memory: memory maps, zarr arrays and safetensors files, drawn part by part and resumable."""

from arrayinit.storage.fill import fill_
from arrayinit.storage.safetensors import Tensor, save_safetensors

__all__ = ["Tensor", "fill_", "save_safetensors"]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
