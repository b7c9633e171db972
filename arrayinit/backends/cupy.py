"""CuPy arrays on the device that holds them."""

import functools
import operator
from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy as np
import numpy.typing as npt

from arrayinit.backends.base import LAUNCH, Backend, Extent, Lanes, no_dtype
from arrayinit.backends.overlap import check_distinct
from arrayinit.common.messages import shown

__all__ = ["make"]


class CupyLanes(Lanes):
    """Lanes whose table all streams can read."""

    @functools.cached_property
    def _columns(self) -> tuple[Any, ...]:
        columns: tuple[Any, ...] = super()._columns
        cupy.cuda.get_current_stream().synchronize()  # once a device; a copy is ordered in one stream only
        return columns


class CupyBackend(Backend):
    """The backend of cupy.ndarray."""

    engine = "cuda"
    indexes = True

    def dtype(self, name: str) -> Any:
        try:
            return cupy.dtype(name)
        except TypeError:
            raise no_dtype("CuPy", name) from None

    def device(self, x: Any) -> int:
        return int(x.device)  # a cupy.cuda.Device has no hash

    def empty(self, shape: tuple[int, ...], dtype: str, device: Any) -> Any:
        with self.drawing(device):
            return cupy.empty(shape, dtype=self.dtype(dtype))

    def empty_like(self, x: Any, dtype: str, device: Any) -> Any:
        with self.drawing(self.device(x) if device is None else device):
            return cupy.empty_like(x, dtype=self.dtype(dtype))

    def check_writable(self, x: Any) -> None:
        check_distinct(x.shape, x.strides, x.itemsize)

    def extents(self, x: Any) -> tuple[Extent, ...]:
        if not x.size:
            return ()
        return (Extent.of(f"cuda:{self.device(x)}", x.data.ptr, x.shape, x.strides, x.itemsize, str(x.dtype)),)

    def make_lanes(self, device: Any) -> Lanes:
        return CupyLanes(self, device)

    def chunk(self, device: Any) -> int:
        return LAUNCH

    def drawing(self, device: Any) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = cupy.cuda.Device(device)
        return context

    def is_capturing(self, x: Any) -> bool:
        with self.drawing(self.device(x)):
            return bool(cupy.cuda.get_current_stream().is_capturing())

    def check_device(self, device: Any) -> Any:
        if device is None:
            return None
        count = cupy.cuda.runtime.getDeviceCount()
        try:
            number = int(device) if isinstance(device, cupy.cuda.Device) else operator.index(device)
        except TypeError:
            number = -1
        if not 0 <= number < count:
            raise ValueError(
                f"`device` must be the number of a CUDA device, of which there are {count}, or a cupy.cuda.Device; "
                f"got {shown(device)}"
            )
        return number

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        host: npt.NDArray[Any] = x.get()
        return host.view(np.uint16) if x.dtype.name == "bfloat16" else host  # a dtype that CuPy has from 14 on


def make() -> Backend:
    """The one backend for CuPy."""
    return CupyBackend("cupy", xp)
