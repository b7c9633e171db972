"""torch tensors on any device: parameters, views, channels_last, meta and fake tensors."""

import functools
import operator
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import numpy.typing as npt
import torch
from torch.autograd import forward_ad
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from arrayinit.backends.base import LAUNCH, Backend, Extent, Lanes, no_device, no_dtype
from arrayinit.backends.overlap import check_distinct
from arrayinit.common.messages import shown
from arrayinit.stream.philox import MASK

__all__ = ["check_key", "generator_words", "is_foreign", "key_words", "make"]


class TorchLanes(Lanes):
    """int64 lanes: torch has little arithmetic on unsigned words."""

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


# Unsigned types, which torch can't assign to by arrays of integers, and the signed types of the same size.
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
_COMMON = (torch.Tensor, torch.nn.Parameter)  # types that hold no other tensors and override no operators

# Functions that each draw calls, under names of this module: looking them up in torch would double the time.
_modes = torch._C._len_torch_dispatch_stack
_transform = torch._C._functorch.peek_interpreter_stack
_is_jit_tracing = torch._C._is_tracing
_includes = torch._C._dispatch_tls_is_dispatch_key_included
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch
_WATCHERS = functools.reduce(
    operator.or_,
    (
        torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))
        for key in (
            *("Python", "PythonTLSSnapshot", "PreDispatch"),
            *("FuncTorchDynamicLayerFrontMode", "FuncTorchDynamicLayerBackMode"),
        )
    ),
)


_available: set[torch.device] = set()  # devices that have held a tensor


class TorchBackend(Backend):
    """The backend of torch.Tensor and its parameters."""

    engine = "cpu"  # it leaves memory of other devices to the reference
    indexes = True

    def engine_for(self, x: Any, device: Any) -> str:
        if self.engine != "cpu":
            return self.engine
        if x is not None and (x.is_neg() or x.is_conj()):
            return "negated"
        if device is None and x is not None:
            is_cuda = x.is_cuda
        else:
            is_cuda = (torch.get_default_device() if device is None else device).type == "cuda"
        return "cuda" if is_cuda else "cpu"

    def dtype(self, name: str) -> Any:
        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype):
            raise no_dtype("torch", name)
        return dtype

    def dtype_name(self, dtype: Any) -> str:
        if isinstance(dtype, str) and dtype in ("float", "complex"):
            raise TypeError(
                f"`dtype` must say how many bits: torch's {dtype} has half of NumPy's; got {shown(dtype)}, write "
                f"'{'float32' if dtype == 'float' else 'complex64'}' for torch's"
            )
        return super().dtype_name(dtype)

    def empty(self, shape: tuple[int, ...], dtype: str, device: Any) -> Any:
        try:
            return torch.empty(shape, dtype=self.dtype(dtype), device=device)
        except (AssertionError, NotImplementedError) as error:  # torch.set_default_device takes any device
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"`device` must be one that torch has here; got {device or 'its default one'} ({reason})"
            ) from None

    def empty_like(self, x: Any, dtype: str, device: Any) -> Any:
        if is_foreign(x):  # no fake tensor can be made like it
            with _real():
                like = torch.empty_like(x, device="meta")
            return torch.empty_strided(
                like.shape, like.stride(), dtype=self.dtype(dtype), device=x.device if device is None else device
            )
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
        return _is_abstract(x)

    def has_memory(self, x: Any) -> bool:
        try:
            return bool(x.data_ptr())
        except RuntimeError:  # a tensor without storage, as torch.func hands to functions
            return False

    def is_capturing(self, x: Any) -> bool:
        if not x.is_cuda:
            return False
        with torch.cuda.device(x.device):
            return bool(torch.cuda.is_current_stream_capturing())

    def is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)

    def extents(self, x: Any) -> tuple[Extent, ...]:
        return _extents(x)

    def is_loaded(self, x: Any) -> bool:
        return bool(getattr(x, "_is_hf_initialized", False))  # by transformers

    def frozen(self, x: Any) -> str:
        if self.is_loaded(x):
            return "loaded by transformers"
        return "requires_grad=False" if isinstance(x, torch.nn.Parameter) and not x.requires_grad else ""

    def shapeless(self, x: Any) -> str:
        if is_lazy(x):
            return "lazy, without a shape until the first batch"
        return "a nested tensor, whose rows differ in length" if x.is_nested else ""

    def missing(self, x: Any) -> str:
        whole = getattr(x, "ds_shape", None)  # of DeepSpeed's ZeRO-3
        if whole is not None and tuple(whole) != tuple(x.shape):
            return (
                f"is partitioned by ZeRO-3, and only {tuple(x.shape)} of {tuple(whole)} is here: draw within "
                "deepspeed.zero.GatheredParameters, or before the model is partitioned"
            )
        if getattr(x, "_fsdp_flattened", False) and x.ndim == 1:
            return (
                "is flattened and sharded by FullyShardedDataParallel: draw within its summon_full_params, before the "
                "model is wrapped, or with fully_shard instead"
            )
        is_plain = type(x) in _COMMON and x.layout == torch.strided and not x.is_meta and not x.is_nested
        if is_plain and x.numel() and not x.untyped_storage().size():
            return "has a shape, and no memory: its storage was freed"
        return ""

    def is_tracing(self, x: Any) -> bool:
        proxies = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None
        return proxies or _is_jit_tracing() or _includes(_PRE_DISPATCH)

    def is_recorded(self, x: Any) -> bool:
        is_quiet = _is_quiet()
        if is_quiet and (x is None or type(x) in _COMMON):
            return False
        return not (is_quiet or _only_fakes()) or (_is_wrapper(x) and not self.is_abstract(x))

    def view(self, x: Any) -> Any:
        return _plain(x.detach())  # shares memory and the version counter

    def fill(self, x: Any, value: Any, dtype: str) -> None:
        with _real():
            self.view(x).fill_(value)

    def write_at(self, view: Any, where: Any, value: Any) -> None:
        signed = _SIGNED.get(view.dtype)
        if signed is not None:
            view, value = view.view(signed), value.view(signed)
        super().write_at(view, where, value)

    def make_lanes(self, device: Any) -> Lanes:
        return TorchLanes(self, device)

    def chunk(self, device: Any) -> int:
        return super().chunk(device) if device.type == "cpu" else LAUNCH

    def drawing(self, device: Any) -> AbstractContextManager[Any]:
        return _real_and_without_gradients()

    def multiplying(self, device: Any) -> AbstractContextManager[Any]:
        return _full_precision(device)

    def check_device(self, device: Any) -> Any:
        if device is None:
            return None
        try:
            checked = torch.device(device)
            if checked.type not in ("cpu", "meta") and checked not in _available:
                new = torch.empty(0, device=checked)  # fails here, before the draw takes a key
                if type(new) is torch.Tensor:  # not a fake one, which any device has
                    _available.add(checked)
        except Exception as error:  # a RuntimeError, TypeError, AssertionError, NotImplementedError, ImportError, ...
            reason = str(error).partition("\n")[0]
            raise no_device("torch", device, ("cpu", "cuda", "mps", "xpu", "meta"), reason) from None
        return checked

    def memory(self, x: Any) -> tuple[int, tuple[int, ...]] | None:
        if not x.is_cpu or self.is_abstract(x):
            return None
        try:
            address = x.data_ptr()
        except RuntimeError:  # a tensor without storage, as torch.func hands to functions
            return None
        if not address:
            return None
        torch.autograd.graph.increment_version(x)  # so that a backward pass that saved x raises an error
        return address, x.stride()

    def host(self, x: Any) -> npt.NDArray[Any] | None:
        with _real_and_without_gradients():
            plain = _plain(x.detach())
            return _as_numpy(plain.view(torch.uint16) if x.dtype == torch.bfloat16 else plain)

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        is_bits = x.dtype == torch.bfloat16
        with _real_and_without_gradients():
            below = self.below(x).cpu()
            host = _as_numpy(below.view(torch.uint16) if is_bits else below)
        if x.is_conj():
            host = np.conjugate(host)
        if x.is_neg():
            host = host ^ np.uint16(1 << 15) if is_bits else np.negative(host)
        return host

    def bits(self, x: Any) -> npt.NDArray[Any]:
        is_float8 = x.dtype.is_floating_point and x.dtype.itemsize == 1  # which NumPy lacks
        return self.to_numpy(x.view(torch.uint8) if is_float8 else x)

    def blocks(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        yield from super().blocks(x.detach())

    def below(self, x: torch.Tensor) -> torch.Tensor:
        """The tensor under x, whose values are read negated or conjugated."""
        with _real_and_without_gradients():
            plain = _plain(x.detach())
            plain = plain.conj() if plain.is_conj() else plain
            return torch._neg_view(plain) if plain.is_neg() else plain

    def negate(self, x: torch.Tensor) -> None:
        """Negate or conjugate the memory of x, so that x reads as the values written there, signs of zeros included."""
        with _real_and_without_gradients():
            below = self.below(x)
            components = torch.view_as_real(below) if below.is_complex() else below
            if x.is_neg():
                components.neg_()
            if x.is_conj():
                components[..., 1].neg_()


def _as_numpy(x: torch.Tensor) -> npt.NDArray[Any]:
    """A NumPy array of the same memory. After Tensor.numpy() torch refuses to resize that, which FSDP1 does."""
    return np.from_dlpack(x)


def _is_abstract(x: torch.Tensor) -> bool:
    fake = None if type(x) in _COMMON else sys.modules.get("torch._subclasses.fake_tensor")
    return bool(x.is_meta) or (fake is not None and isinstance(x, fake.FakeTensor))


def _extents(x: Any) -> tuple[Extent, ...]:
    if is_traceable_wrapper_subclass(x):  # DTensors and others that hold tensors
        names, rest = x.__tensor_flatten__()
        held = [getattr(x, name) for name in names]
        inner = [extent for each in held if isinstance(each, torch.Tensor) for extent in _extents(each)]
        reading = (type(x), tuple(x.shape), x.dtype, repr(rest))
        return tuple(extent._replace(reading=(reading, extent.reading)) for extent in inner)
    if x.layout != torch.strided or x.is_nested or not x.numel():
        return ()
    place = _place(x)
    if place is None:
        return ()
    size = x.element_size()
    strides = tuple(step * size for step in x.stride())
    return (Extent.of(*place, x.shape, strides, size, (x.dtype, x.is_conj(), x.is_neg())),)


def _place(x: torch.Tensor) -> tuple[Any, int] | None:
    """The space of x, as `Extent` has it, and the address of its first element there; None without memory."""
    try:
        storage = x.untyped_storage()
        offset = int(x.storage_offset()) * x.element_size()
        if _is_abstract(x) or not storage.data_ptr():  # without addresses the storage itself is the space
            return ("storage", storage._cdata), offset
        if x.device.type in ("cpu", "cuda"):  # several storages may share memory
            return str(x.device), x.data_ptr()
        return (str(x.device), storage.data_ptr()), offset
    except (RuntimeError, NotImplementedError):  # a tensor without storage, as torch.func hands to functions
        return None


def _plain(x: torch.Tensor) -> torch.Tensor:
    """x without the overrides of a subclass (nn.Parameter, or one with __torch_function__); fake tensors stay fake."""
    return x if type(x) is torch.Tensor or _is_wrapper(x) else x.as_subclass(torch.Tensor)


def _is_quiet() -> bool:
    """Whether no mode, tracer or transform is active. Each draw asks, so it takes a fraction of a microsecond."""
    is_watched = _modes() or _is_jit_tracing() or _includes(_PRE_DISPATCH) or forward_ad._current_level >= 0
    return not is_watched and _transform() is None


def _only_fakes() -> bool:
    """Whether a FakeTensorMode alone is active: then fake tensors stay as they are, and real ones are drawn."""
    fakes = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None
    others = _is_jit_tracing() or _includes(_PRE_DISPATCH) or _transform() is not None
    return fakes and _modes() == 1 and not others


def is_foreign(x: torch.Tensor) -> bool:
    """Whether x is a real tensor that the active FakeTensorMode refuses to compute with."""
    mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    if mode is None or mode.allow_non_fake_inputs or type(x) not in _COMMON:
        return False
    is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor(x) or torch._is_functional_tensor(x)
    return not (is_wrapped or x.is_meta)


def _is_wrapper(x: Any) -> bool:
    """Whether x is of a subclass that implements torch's operators itself, by __torch_dispatch__."""
    return x is not None and type(x).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__


def _real() -> AbstractContextManager[Any]:
    """Tensors are real within, even where a FakeTensorMode is active."""
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    return nullcontext() if fake is None else fake.unset_fake_temporarily()


@contextmanager
def _real_and_without_gradients() -> Iterator[None]:
    with torch.no_grad(), _real():
        yield


@contextmanager
def _full_precision(device: Any) -> Iterator[None]:
    """Matrix products of float32 are computed in float32, whatever the process has set, and without autocast."""
    autocast = torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()
    with autocast:
        if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch before 2.9
            precision = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(precision)
            return
        settings = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]
        before = [setting.fp32_precision for setting in settings]
        try:
            for setting in settings:
                setting.fp32_precision = "ieee"
            yield
        finally:
            for setting, precision in zip(settings, before, strict=True):
                setting.fp32_precision = precision


def generator_words(generator: torch.Generator) -> tuple[int, ...]:
    """64 bits of a generator, out of sight of modes, tracers and transforms."""
    if _is_quiet():
        return _random_words(generator)
    with torch._C._ExcludeDispatchKeyGuard(_WATCHERS):
        return _random_words(generator)


def _random_words(generator: torch.Generator) -> tuple[int, ...]:
    high, low = torch.randint(
        0, 1 << 32, (2,), dtype=torch.int64, device=generator.device, generator=generator
    ).tolist()
    return high, low


def key_words(key: torch.Tensor) -> tuple[int, ...]:
    """The words of one key of torch.func._random, (seed, offset); those of the seed alone where the offset is 0."""
    check_key(key)
    try:
        if _is_abstract(key):
            raise RuntimeError("it is abstract")
        with _real():
            seed, offset = key.tolist()
    except RuntimeError as error:
        raise TypeError(f"`seed` must be a key that has a value here; got {key!r} ({error})") from None
    words = (seed >> 32, seed & MASK, offset >> 32, offset & MASK)
    return words if offset else words[:2]


def check_key(key: torch.Tensor) -> None:
    """TypeError for a tensor that is not one key of torch.func._random."""
    if key.dtype != torch.uint64 or key.shape != (2,):
        raise TypeError(
            "`seed` must be one key of torch.func._random, a uint64 tensor of two numbers, seed and offset; got one "
            f"of {str(key.dtype).removeprefix('torch.')} with shape {tuple(key.shape)}"
            f"{': map over keys with torch.vmap' if key.dtype == torch.uint64 and key.ndim > 1 else ''}"
        )


def make() -> Backend:
    """The one backend for torch."""
    return TorchBackend("torch", xp)
