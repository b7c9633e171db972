"""torch tensors on any device: parameters, views, channels_last, meta and fake tensors."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import numpy.typing as npt
import torch

from arrayinit.backends.base import LAUNCH, Backend, Lanes
from arrayinit.overlap import check_distinct

__all__ = ["make"]


class TorchLanes(Lanes):
    """int64 lanes in torch: it has little arithmetic on unsigned words."""

    @property
    def widest(self) -> Any:
        return torch.float32 if self.device.type == "mps" else torch.float64

    def parabola(self, segment: Any) -> tuple[Any, Any, Any]:
        c0, c1, c2 = self._columns
        return c0[segment], c1[segment], c2[segment]

    def look_up(self, columns: Any, at: Any) -> list[Any]:
        return [torch.asarray(column, device=self.device)[at] for column in columns]

    def astype(self, x: Any, dtype: Any) -> Any:
        return x.to(dtype)

    def complex(self, real: Any, imag: Any, dtype: str) -> Any:
        return torch.complex(real, imag)

    def kth(self, x: Any, k: int) -> Any:
        return torch.kthvalue(x.T.contiguous(), k + 1, dim=1).values[None, :]

    def subtract_product(self, x: Any, corner: tuple[int, int], a: Any, b: Any) -> Any:
        part = x[..., corner[0] : corner[0] + a.shape[-2], corner[1] : corner[1] + b.shape[-1]]
        (part.addmm_ if x.ndim == 2 else part.baddbmm_)(a, b, alpha=-1)
        return x

    def solve(self, upper: Any, b: Any) -> Any:
        return torch.linalg.solve_triangular(upper, b, upper=True)


_COMMON = (torch.Tensor, torch.nn.Parameter)  # types that need not be asked what else they are


class TorchBackend(Backend):
    """The backend of torch.Tensor and its parameters."""

    engine = "cpu"  # which leaves memory of other devices to the reference
    indexes = True

    def engine_for(self, x: Any, device: Any) -> str:
        if self.engine != "cpu":
            return self.engine
        if x is not None and (x.is_neg() or x.is_conj()):
            return "negated"
        if device is None:
            device = torch.get_default_device() if x is None else x.device
        return "cuda" if device.type == "cuda" else "cpu"

    def dtype(self, name: str) -> Any:
        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"`dtype` must be one that torch has; got {name!r}")
        return dtype

    def empty(self, shape: tuple[int, ...], dtype: str, device: Any) -> Any:
        return torch.empty(shape, dtype=self.dtype(dtype), device=device)

    def empty_like(self, x: Any, dtype: str, device: Any) -> Any:
        with torch.no_grad():
            return torch.empty_like(_plain(x.detach()), dtype=self.dtype(dtype), device=device)

    def check_readable(self, x: Any) -> None:
        if x.layout != torch.strided or x.is_nested:
            raise TypeError(f"`x` must be a dense tensor; got the layout {x.layout}{', nested' if x.is_nested else ''}")

    def check_writable(self, x: Any) -> None:
        if x.is_inference() and not torch.is_inference_mode_enabled():
            raise ValueError("`x` must be writable; got an inference tensor outside of torch.inference_mode()")
        if not x.is_contiguous() and not self.is_abstract(x):
            check_distinct(x.shape, x.stride(), 1)

    def is_abstract(self, x: Any) -> bool:
        fake = None if type(x) in _COMMON else sys.modules.get("torch._subclasses.fake_tensor")
        return bool(x.is_meta) or (fake is not None and isinstance(x, fake.FakeTensor))

    def view(self, x: Any) -> Any:
        return _plain(x.detach())  # shares memory and the version counter

    def fill(self, x: Any, value: Any, dtype: str) -> None:
        with _real():
            self.view(x).fill_(value)

    def make_lanes(self, device: Any) -> Lanes:
        return TorchLanes(self, device)

    def chunk(self, device: Any) -> int:
        return super().chunk(device) if device.type == "cpu" else LAUNCH

    def drawing(self, device: Any) -> AbstractContextManager[Any]:
        return _real_and_without_gradients()

    def multiplying(self, device: Any) -> AbstractContextManager[Any]:
        return _full_precision(device)

    def check_device(self, device: Any) -> Any:
        try:
            return None if device is None else torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"`device` must be one that torch knows; got {device!r} ({error})") from None

    def memory(self, x: Any) -> tuple[int, tuple[int, ...]] | None:
        if not x.is_cpu or self.is_abstract(x):
            return None
        try:
            address = x.data_ptr()
        except RuntimeError:  # a tensor without storage of its own, as those that torch.func hands to functions
            return None
        if not address:
            return None
        torch.autograd.graph.increment_version(x)  # so that a backward pass that saved x notices
        return address, x.stride()

    def host(self, x: Any) -> npt.NDArray[Any] | None:
        with _real_and_without_gradients():
            plain = _plain(x.detach())
            result: npt.NDArray[Any] = (plain.view(torch.uint16) if x.dtype == torch.bfloat16 else plain).numpy()
            return result

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        is_bits = x.dtype == torch.bfloat16
        with _real_and_without_gradients():
            below = self.below(x).cpu()
            host: npt.NDArray[Any] = (below.view(torch.uint16) if is_bits else below).numpy()
        if x.is_conj():
            host = np.conjugate(host)
        if x.is_neg():
            host = host ^ np.uint16(1 << 15) if is_bits else np.negative(host)
        return host

    def below(self, x: torch.Tensor) -> torch.Tensor:
        """The memory of x as it is, where x is read negated or conjugated."""
        with _real_and_without_gradients():
            plain = _plain(x.detach())
            plain = plain.conj() if plain.is_conj() else plain
            return torch._neg_view(plain) if plain.is_neg() else plain

    def negate(self, x: torch.Tensor) -> None:
        """Negate or conjugate the memory of x, so that x is read as what was written there. Signs of zeros too."""
        with _real_and_without_gradients():
            below = self.below(x)
            parts = torch.view_as_real(below) if below.is_complex() else below
            if x.is_neg():
                parts.neg_()
            if x.is_conj():
                parts[..., 1].neg_()


def _plain(x: torch.Tensor) -> torch.Tensor:
    """x without the overrides of a subclass (nn.Parameter, or one with __torch_function__)."""
    return x if type(x) is torch.Tensor else x.as_subclass(torch.Tensor)


def _real() -> AbstractContextManager[Any]:
    """Real tensors even where a FakeTensorMode is active: x is a real one, or nothing is drawn."""
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    return nullcontext() if fake is None else fake.unset_fake_temporarily()


@contextmanager
def _real_and_without_gradients() -> Iterator[None]:
    with torch.no_grad(), _real():
        yield


@contextmanager
def _full_precision(device: Any) -> Iterator[None]:
    """Matrix products of float32 in float32, whatever the process has set, and without autocast."""
    settings = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]
    autocast = torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
    with autocast:
        if not hasattr(settings[0], "fp32_precision"):  # torch before 2.9
            precision = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(precision)
            return
        before = [setting.fp32_precision for setting in settings]
        try:
            for setting in settings:
                setting.fp32_precision = "ieee"
            yield
        finally:
            for setting, precision in zip(settings, before, strict=True):
                setting.fp32_precision = precision


def make() -> Backend:
    """The one backend for torch."""
    return TorchBackend("torch", xp)
