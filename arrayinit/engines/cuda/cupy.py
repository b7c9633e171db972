"""CuPy arrays, filled by the kernel on the current stream of their device.

`cupy.RawModule` compiles it at first use and keeps what it compiled in its own cache on disk. A launch waits for
nothing, so that a CUDA graph can capture it; the first of its kind in a process, which loads code, comes before that.
"""

import functools
from typing import Any

import cupy
import numpy as np

from arrayinit.engines.cuda.launches import Grid, grid, remembered
from arrayinit.engines.cuda.source import options, source
from arrayinit.job import Job
from arrayinit.stream.quantile_tables import Quantiles

__all__ = ["fill"]


def fill(job: Job, x: Any) -> bool:
    """Fill an array. False, with nothing written, on ROCm and for layouts without a kernel.

    Errors of CuPy where the kernel can't be compiled, loaded or launched. RuntimeError where a CUDA graph captures the
    first draw of a law by a table on a device.
    """
    if cupy.cuda.runtime.is_hip:
        return False
    address = x.data.ptr
    calls = remembered(job, x.strides, address)
    if calls is None:
        return False
    key = job.key
    assert key is not None
    device = int(x.device)
    with cupy.cuda.Device(device):
        kernels = [_kernel(call.way, call.kind, call.form) for call in calls]  # all of them before anything is written
        for kernel, call in zip(kernels, calls, strict=True):
            shape = _grid(device, kernel, call.is_wide)
            tables = () if call.quantiles is None else [table.data.ptr for table in _tables(device, call.quantiles)]
            block = call.block(address, key, *tables)
            kernel((shape.blocks(call.items),), (shape.threads,), (block,), shared_mem=call.shared)
    return True


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


@functools.cache
def _grid(device: int, kernel: Any, is_wide: bool) -> Grid:
    about = cupy.cuda.Device(device).attributes
    return grid(
        about["MultiProcessorCount"],
        about["MaxThreadsPerMultiProcessor"],
        about["MaxRegistersPerMultiprocessor"],
        kernel.num_regs,
        is_wide,
    )
