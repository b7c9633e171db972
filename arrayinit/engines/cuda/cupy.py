"""CuPy arrays, filled by the kernel on the current stream of their device.

`cupy.RawModule` compiles it at first use and keeps the code in a cache on disk. A launch waits for nothing, so that a
CUDA graph can capture it. The first launch of a kind in a process loads code, so it must come before the capture.
"""

import functools
from typing import Any

import cupy
import numpy as np

from arrayinit.engines.cuda.launches import Grid, grid, kept_launches
from arrayinit.engines.cuda.source import options, source
from arrayinit.job import Job
from arrayinit.stream.quantile_tables import Quantiles

__all__ = ["fill"]


def fill(job: Job, x: Any) -> bool:
    """Fill an array. False, with nothing written, on ROCm and for layouts without a kernel.

    CuPy's errors where the kernel can't be compiled, loaded or launched. RuntimeError where a CUDA graph captures the
    first draw of a law by a table on a device.
    """
    if cupy.cuda.runtime.is_hip:
        return False
    address = x.data.ptr
    launches = kept_launches(job, x.strides, address)
    if launches is None:
        return False
    key = job.key
    assert key is not None
    device = int(x.device)
    with cupy.cuda.Device(device):
        kernels = [_kernel(each.way, each.kind, each.form) for each in launches]  # all, before anything is written
        for kernel, launch in zip(kernels, launches, strict=True):
            shape = _grid(device, kernel, launch.is_wide)
            tables = () if launch.quantiles is None else [table.data.ptr for table in _tables(device, launch.quantiles)]
            block = launch.block(address, key, *tables)
            kernel((shape.blocks(launch.items),), (shape.threads,), (block,), shared_mem=launch.shared)
    return True


@functools.cache
def _module(kind: str, form: str) -> Any:
    return cupy.RawModule(code=source(), options=options(kind, form))


@functools.cache
def _kernel(way: str, kind: str, form: str) -> Any:
    """The kernel, which CuPy compiles and loads for each device at first use."""
    return _module(kind, form).get_function(f"{way}_{kind}_{form}")


@functools.cache
def _tables(device: int, quantiles: Quantiles) -> tuple[Any, Any]:
    """Columns and units of a law by a table on the current device.

    They are kept, because graphs and streams may still read them when a draw has returned.
    """
    stream = cupy.cuda.get_current_stream()
    if stream.is_capturing():
        raise RuntimeError(
            f"the first draw of a law by a table on a device must come before the capture of a CUDA graph; got it on "
            f"device {device} within one"
        )
    tables = cupy.asarray(np.concatenate(quantiles.columns)), cupy.asarray(quantiles.units)
    stream.synchronize()  # once a table, because other streams will read it, too
    return tables


@functools.cache
def _grid(device: int, kernel: Any, is_wide: bool) -> Grid:
    attributes = cupy.cuda.Device(device).attributes
    return grid(
        attributes["MultiProcessorCount"],
        attributes["MaxThreadsPerMultiProcessor"],
        attributes["MaxRegistersPerMultiprocessor"],
        kernel.num_regs,
        is_wide,
    )
