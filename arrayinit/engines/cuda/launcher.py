"""CuPy arrays, filled by the kernel on the current stream of their device.

`cupy.RawModule` compiles it at first use and keeps what it compiled in its own cache on disk. A launch waits for
nothing, so that a CUDA graph can capture it; the first of its kind in a process, which loads code, comes before that.
"""

import functools
from typing import Any, NamedTuple

import cupy
import numpy as np

from arrayinit.engines.cuda.parameters import SIZES, Launch, launches
from arrayinit.engines.cuda.source import options, source
from arrayinit.job import Job
from arrayinit.quantiles import Quantiles

__all__ = ["fill"]

REMEMBERED = 64  # launches of a draw that are kept for its next one
THREADS = 256  # of a block that copies no table
WIDE_THREADS = (1024, 512)  # of one that does: the first of which a multiple fills a processor


def fill(job: Job, x: Any) -> bool:
    """Fill an array of the current device. False, with nothing written, on ROCm and for layouts without a kernel.

    Errors of CuPy where the kernel can't be compiled, loaded or launched. RuntimeError where a CUDA graph captures the
    first draw of a law by a table on a device.
    """
    if cupy.cuda.runtime.is_hip:
        return False
    calls = _calls(job, x.strides)
    address = x.data.ptr
    if calls is None or not all(_is_aligned(call, address, x.strides) for call in calls):
        return False
    key = job.key
    assert key is not None
    device = int(x.device)
    kernels = [_kernel(call.way, call.kind, call.form) for call in calls]  # all of them before anything is written
    for kernel, call in zip(kernels, calls, strict=True):
        threads, most = _shape(device, kernel, call.shared > 0)
        blocks = min(-(-call.items // threads), most)
        tables = () if call.quantiles is None else [table.data.ptr for table in _tables(device, call.quantiles)]
        kernel((blocks,), (threads,), (call.block(address, key, *tables),), shared_mem=call.shared)
    return True


def _calls(job: Job, strides: tuple[int, ...]) -> list[Launch] | None:
    key = ("cuda", strides)
    if key not in job.memo:
        calls = launches(job, strides)
        if calls is None or len(calls) > REMEMBERED:
            return calls
        job.memo[key] = calls
    found: list[Launch] | None = job.memo[key]
    return found


def _is_aligned(call: Launch, address: int, strides: tuple[int, ...]) -> bool:
    """Whether each number is at a multiple of its size, as devices demand."""
    return not any(place % SIZES[call.form] for place in (address, *strides))


@functools.cache
def _module(kind: str, form: str) -> Any:
    return cupy.RawModule(code=source(), options=options(kind, form))


@functools.cache
def _kernel(way: str, kind: str, form: str) -> Any:
    """The kernel, which CuPy compiles and loads for each device where it is asked for."""
    return _module(kind, form).get_function(f"{way}_{kind}_{form}")


@functools.cache
def _tables(device: int, quantiles: Quantiles) -> tuple[Any, Any]:
    """Columns and units of a law by a table on a device, which is current. They stay: graphs and streams still read
    them when a draw has returned.
    """
    stream = cupy.cuda.get_current_stream()
    if stream.is_capturing():
        raise RuntimeError(
            f"the first draw of a law by a table on a device must come before the capture of a CUDA graph; got it on "
            f"device {device} within one"
        )
    found = cupy.asarray(np.concatenate(quantiles.columns)), cupy.asarray(quantiles.units)
    stream.synchronize()  # once a table, for other streams will read it too
    return found


class _Shape(NamedTuple):
    """Threads of a block, and as many blocks as a device runs at once."""

    threads: int
    blocks: int


@functools.cache
def _shape(device: int, kernel: Any, is_wide: bool) -> _Shape:
    attributes = cupy.cuda.Device(device).attributes
    room = attributes["MaxThreadsPerMultiProcessor"]
    threads = THREADS
    if is_wide:
        threads = next((n for n in WIDE_THREADS if room % n == 0), WIDE_THREADS[-1])
    registers = -(-kernel.num_regs // 8) * 8 * threads
    at_once = min(room // threads, attributes["MaxRegistersPerMultiprocessor"] // registers)
    return _Shape(threads, attributes["MultiProcessorCount"] * max(at_once, 1))
