"""NumPy arrays, with ml_dtypes' bfloat16 where that package is installed."""

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends.base import Backend, Extent, Lanes, no_dtype
from arrayinit.backends.overlap import check_distinct
from arrayinit.common.messages import shown

__all__ = ["make"]

STRIP = 32  # columns that are sorted together
PRODUCT = 1 << 19  # elements of a product that stay in a cache until they are added


class NumpyLanes(Lanes):
    """NumPy's own calls where they are leaner than the standard's."""

    def astype(self, x: Any, dtype: Any) -> Any:
        return x.astype(dtype, copy=False)

    def complex(self, real: Any, imag: Any, dtype: str) -> Any:
        result = np.empty(real.shape, dtype)
        result.real, result.imag = real, imag
        return result

    def kth(self, x: Any, k: int) -> Any:
        result = np.empty((1, x.shape[1]), x.dtype)
        for j in range(0, x.shape[1], STRIP):
            columns = np.array(x[:, j : j + STRIP].T, order="C")  # always a copy, since `partition` reorders it
            columns.partition(k, axis=1)
            result[0, j : j + STRIP] = columns[:, k]
        return result

    def subtract_product(self, x: Any, corner: tuple[int, int], a: Any, b: Any) -> Any:
        part = x[..., corner[0] : corner[0] + a.shape[-2], corner[1] : corner[1] + b.shape[-1]]
        if part.strides[-2] < part.strides[-1]:
            part, a, b = part.mT, b.mT, a.mT
        rows = max(64, PRODUCT // max(1, part.shape[-1]))
        for k in range(0, part.shape[-2], rows):
            part[..., k : k + rows, :] -= a[..., k : k + rows, :] @ b
        return x


class NumpyBackend(Backend):
    """The backend of numpy.ndarray and its subclasses, memory maps among them."""

    engine = "cpu"
    indexes = True

    def dtype(self, name: str) -> Any:
        if name == "bfloat16":
            try:
                import ml_dtypes
            except ImportError:
                raise TypeError(
                    "`dtype` must be one that NumPy has; got 'bfloat16', which needs ml_dtypes: pip install ml_dtypes"
                ) from None
            return np.dtype(ml_dtypes.bfloat16)
        try:
            return np.dtype(name)
        except Exception:  # a TypeError for most, a SyntaxError for some
            raise no_dtype("NumPy", name) from None

    def device(self, x: Any) -> Any:
        return "cpu"

    def make_lanes(self, device: Any) -> Lanes:
        return NumpyLanes(self, None)

    def empty(self, shape: tuple[int, ...], dtype: str, device: Any) -> Any:
        return np.empty(shape, self.dtype(dtype))

    def empty_like(self, x: Any, dtype: str, device: Any) -> Any:
        return np.empty_like(x, dtype=x.dtype if x.dtype.name == dtype else self.dtype(dtype), subok=False)

    def check_writable(self, x: Any) -> None:
        if not x.flags.writeable:
            raise ValueError(f"`x` must be writable; got a read-only array of shape {x.shape}")
        if not x.flags.contiguous:
            check_distinct(x.shape, x.strides, x.itemsize)

    def extents(self, x: Any) -> tuple[Extent, ...]:
        if not x.size:
            return ()
        start = int(x.__array_interface__["data"][0])
        return (Extent.of("cpu", start, x.shape, x.strides, x.itemsize, x.dtype.str),)

    def check_device(self, device: Any) -> Any:
        if device is not None and not (isinstance(device, str) and device == "cpu"):
            hint = (
                " (xp='torch', 'jax' and 'cupy' have GPUs)"
                if isinstance(device, str) and device[:4] in ("gpu", "cuda")
                else ""
            )
            raise ValueError(f"`device` must be 'cpu' for NumPy; got {shown(device)}{hint}")
        return device

    def drawing(self, device: Any) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")  # float16 underflows, and an error would leave an array half filled

    def view(self, x: Any) -> Any:
        return x.view(np.ndarray)

    def fill(self, x: Any, value: Any, dtype: str) -> None:
        self.view(x).fill(value)

    def memory(self, x: Any) -> tuple[int, tuple[int, ...]] | None:
        size = x.itemsize
        if not x.flags.aligned or not x.dtype.isnative or any(step % size for step in x.strides):
            return None
        return _address(x), tuple(step // size for step in x.strides)

    def host(self, x: Any) -> npt.NDArray[Any] | None:
        return _bits(x.view(np.ndarray))

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        return _bits(np.asarray(x))

    def blocks(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        yield from super().blocks(np.asarray(x))


def _address(x: npt.NDArray[Any]) -> int:
    """The address of the first element."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(x))  # type: ignore[arg-type] # thrice as fast as the other way
    except (TypeError, ValueError, BufferError):  # not contiguous, or a dtype without a buffer format
        address: int = x.__array_interface__["data"][0]
        return address


def _bits(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """x itself, or the bit patterns of bfloat16 as a uint16 view of x."""
    # The kind first: NumPy imports a module whenever a name is read, which fails while Python shuts down.
    return x.view(np.uint16) if x.dtype.kind == "V" and x.dtype.name == "bfloat16" else x


def make() -> Backend:
    """The one backend for NumPy."""
    if hasattr(np, "astype"):  # from 2.1 on NumPy is the standard's namespace; importing another costs a small draw
        return NumpyBackend("numpy", np)
    import array_api_compat.numpy as xp

    return NumpyBackend("numpy", xp)
