"""Benchmarks on CUDA devices, timed between two events on the device.

The time includes the device's waiting for launches. A sample has as many calls as take 20 ms. JAX has no events: its
calls are timed by the clock, each until its array is complete.
"""

import importlib.util
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import arrayinit
from arrayinit.bench.benchmarks import Benchmark, Goals
from arrayinit.bench.peers import FILL, OURS, Calls, jit_calls, peer_names, torch_calls
from arrayinit.bench.timing import Contender, TimedCall, no_garbage_collection

__all__ = ["LIBRARIES", "DeviceCall", "benchmarks", "devices"]

Timer: TypeAlias = Callable[[Callable[[], None]], float]  # runs a function and returns the seconds that the device took

LIBRARIES = ("torch", "cupy", "jax")
INITIALIZERS = ("uniform", "xavier_uniform", "normal", "kaiming_normal", "trunc_normal", "orthogonal")
SMALL, LARGE, HUGE = 1024, 4096, 16384
SIZES = (64, SMALL, LARGE, HUGE)  # the largest is a GiB of float32, beside which a launch costs nothing
ORTHOGONAL_SIZES = (512, SMALL, LARGE)

DTYPES = {"torch": ("float16", "bfloat16", "float64"), "cupy": ("float16", "float64"), "jax": ()}  # beside float32
SHARES = {"uniform": 0.8, "normal": 0.6}  # the goals, as shares of the speed of a fill
HELD_TO_SHARES = (("torch", HUGE, "float32"), ("cupy", HUGE, "float32"))

_IN_CUPY = {
    **dict.fromkeys(("uniform", "xavier_uniform", "normal", "kaiming_normal"), "cupy.random"),
    "orthogonal": "cupy.linalg.qr",
}


def devices() -> tuple[dict[str, str], dict[str, str]]:
    """Library -> its device 0 and versions; library -> the reason why it has none."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # otherwise JAX reserves most of the memory
    described, missing = {}, {}
    for library, describe in (("torch", _torch_device), ("cupy", _cupy_device), ("jax", _jax_device)):
        if importlib.util.find_spec(library) is None:
            missing[library] = "not installed"
            continue
        try:
            described[library] = describe()
        except Exception as error:
            missing[library] = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return described, missing


def _torch_device() -> str:
    import torch

    if torch.version.hip is not None:
        raise RuntimeError("built for ROCm")
    if not torch.cuda.is_available():
        raise RuntimeError(f"no CUDA device (torch {torch.__version__})")
    return f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, CUDA {torch.version.cuda}"


def _cupy_device() -> str:
    import cupy

    runtime = cupy.cuda.runtime
    if not runtime.getDeviceCount():
        raise RuntimeError("no CUDA device")
    name = runtime.getDeviceProperties(0)["name"].decode()
    versions = [f"{n // 1000}.{n % 1000 // 10}" for n in (runtime.runtimeGetVersion(), runtime.driverGetVersion())]
    return f"{name}, CuPy {cupy.__version__}, CUDA {versions[0]}, driver for CUDA {versions[1]}"


def _jax_device() -> str:
    import jax

    if jax.default_backend() != "gpu":
        raise RuntimeError(f"no CUDA device (JAX {jax.__version__} on {jax.default_backend()})")
    return f"{jax.devices()[0].device_kind}, JAX {jax.__version__}"


@dataclass
class DeviceCall(TimedCall):
    """A function whose work a device does while this process continues."""

    timer: Timer = field(kw_only=True)

    def sample(self) -> float:
        """Seconds a call."""

        def calls() -> None:
            for _ in range(self.inner):
                self.call()

        with no_garbage_collection():
            return self.timer(calls) / self.inner


def _torch_timer(run: Callable[[], None]) -> float:
    import torch

    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop)) / 1e3


def _cupy_timer(run: Callable[[], None]) -> float:
    import cupy

    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, stop)) / 1e3


def cupy_calls(initializer: str, shape: tuple[int, ...], dtype: str = "float32") -> Calls:
    """Fill one CuPy array. The peer is the fastest code that a user of cupy.random.Generator can write."""
    import cupy

    x = cupy.empty(shape, dtype=dtype)
    calls: Calls = {OURS: partial(getattr(arrayinit, f"{initializer}_"), x, seed=0)}
    if initializer in _IN_CUPY:
        calls[_IN_CUPY[initializer]] = _cupy_peer(initializer, x)
    return calls | {FILL: partial(x.fill, 1)}


def _cupy_peer(initializer: str, x: Any) -> Callable[[], Any]:
    import cupy

    rng = cupy.random.default_rng(0)
    rows, columns = x.shape
    bound, std = math.sqrt(6 / (rows + columns)), math.sqrt(2 / columns)

    def uniform() -> Any:
        return rng.random(x.shape, dtype=x.dtype)  # with `out` it would draw elsewhere and copy

    def xavier_uniform() -> Any:
        values = uniform()
        values *= 2 * bound
        values -= bound
        return values

    def kaiming_normal() -> None:
        rng.standard_normal(dtype=x.dtype, out=x)
        cupy.multiply(x, std, out=x)

    def orthogonal() -> None:
        q, r = cupy.linalg.qr(rng.standard_normal((max(x.shape), min(x.shape)), dtype=x.dtype))
        cupy.multiply(q, cupy.sign(cupy.diagonal(r)), out=x if rows >= columns else x.T)

    peers: Calls = {
        "uniform": uniform,
        "normal": partial(rng.standard_normal, dtype=x.dtype, out=x),
        "xavier_uniform": xavier_uniform,
        "kaiming_normal": kaiming_normal,
        "orthogonal": orthogonal,
    }
    return peers[initializer]


def _contenders(library: str, initializer: str, size: int, dtype: str) -> Mapping[str, Contender]:
    """The contenders on a library's current device."""
    shape = (size, size)
    if library == "jax":
        return {name: TimedCall(call) for name, call in jit_calls(initializer, shape, dtype).items()}
    if library == "torch":
        calls, timer = torch_calls(initializer, shape, dtype, device="cuda"), _torch_timer
    else:
        calls, timer = cupy_calls(initializer, shape, dtype), _cupy_timer
    return {name: DeviceCall(call, timer=timer) for name, call in calls.items()}


def _peers(library: str, initializer: str, dtype: str) -> tuple[str, ...]:
    if library != "cupy":
        return peer_names("torch" if library == "torch" else "jit", initializer)
    # CuPy's generator draws neither float16 nor truncated normals.
    return (_IN_CUPY[initializer],) if initializer in _IN_CUPY and dtype != "float16" else ()


def benchmarks(libraries: Iterable[str]) -> Iterator[Benchmark]:
    """Draws on the CUDA devices of these libraries."""
    for library in libraries:
        for initializer, size, dtype in _draws(library):
            peers = _peers(library, initializer, dtype)
            share = SHARES.get(initializer) if (library, size, dtype) in HELD_TO_SHARES else None
            goals = Goals(dict.fromkeys(peers, 1.0) if size >= LARGE and library != "jax" else {}, share)
            name = "/".join(("cuda", library, initializer, *([] if dtype == "float32" else [dtype]), str(size)))
            contenders = partial(_contenders, library, initializer, size, dtype)
            yield Benchmark(name=name, peers=peers, contenders=contenders, goals=goals, is_quick=size <= SMALL)


def _draws(library: str) -> Iterator[tuple[str, int, str]]:
    """The initializers, sizes and dtypes that are measured."""
    for initializer in INITIALIZERS:
        for size in ORTHOGONAL_SIZES if initializer == "orthogonal" else SIZES:
            yield initializer, size, "float32"
    for initializer in ("uniform", "normal"):
        for dtype in DTYPES[library]:
            yield initializer, LARGE, dtype
