"""CuPy arrays on the device that holds them."""

from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy.typing as npt

from arrayinit.backends.base import LAUNCH, Backend, may_overlap

__all__ = ["make"]


class CupyBackend(Backend):
    """The backend of cupy.ndarray."""

    engine = "cuda"
    indexes = True

    def dtype(self, name: str) -> Any:
        try:
            return cupy.dtype(name)
        except TypeError:
            raise TypeError(f"`dtype` must be one that CuPy has; got {name!r}") from None

    def device(self, x: Any) -> int:
        return int(x.device)  # a cupy.cuda.Device has no hash

    def empty(self, shape: tuple[int, ...], dtype: str, device: Any) -> Any:
        with self.drawing(device):
            return cupy.empty(shape, dtype=self.dtype(dtype))

    def empty_like(self, x: Any, dtype: str, device: Any) -> Any:
        with self.drawing(self.device(x) if device is None else device):
            return cupy.empty_like(x, dtype=self.dtype(dtype))

    def check_writable(self, x: Any) -> None:
        if may_overlap(x.shape, x.strides, x.itemsize):
            raise ValueError(
                f"`x` must not have elements that share memory; got shape {x.shape} with strides {x.strides}"
            )

    def chunk(self, device: Any) -> int:
        return LAUNCH

    def drawing(self, device: Any) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = cupy.cuda.Device(device)
        return context

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        host: npt.NDArray[Any] = x.get()
        return host


def make() -> Backend:
    """The one backend for CuPy."""
    return CupyBackend("cupy", xp)
