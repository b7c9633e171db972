"""torch tensors on a CUDA device, filled by the kernel on the device's current stream.

Nothing waits for the device, so that a CUDA graph can capture a draw. The first draw of a kind in a process compiles
and loads code, so it must come before the capture.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from arrayinit.engines.cuda import driver
from arrayinit.engines.cuda.launches import Launch, kept_launches
from arrayinit.job import Job
from arrayinit.stream.quantile_tables import Quantiles

__all__ = ["fill"]


def fill(job: Job, x: Any) -> bool:
    """Fill a tensor on a CUDA device. False, with nothing written, where only the reference can draw.

    That is on other devices and on ROCm, into tensors that are read conjugated or negated, and for layouts without a
    kernel. RuntimeError where the kernel can't be compiled, loaded or launched, or where a CUDA graph captures the
    first draw of a kind.
    """
    if not x.is_cuda or torch.version.hip is not None or x.is_conj() or x.is_neg():
        return False
    device = x.device.index
    return fill_on(device, _stream(device), job, x)


def fill_on(device: int, stream: int, job: Job, x: Any) -> bool:
    """Fill a tensor in the memory of a device, on a stream of it."""
    size, address, key = x.element_size(), x.data_ptr(), job.key
    launches = kept_launches(job, tuple([size * stride for stride in x.stride()]), address)
    if launches is None:
        return False
    assert key is not None
    entered = driver.enter(device)
    try:
        kernels = [_kernel(device, stream, launch) for launch in launches]  # all, before anything is written
        for kernel, launch in zip(kernels, launches, strict=True):
            tables = () if launch.quantiles is None else _tables(device, stream, launch.quantiles, x.device)
            data = launch.data(address, key, *[table.data_ptr() for table in tables])
            driver.launch(kernel, kernel.grid.blocks(launch.items), launch.shared, stream, data)
    finally:
        if entered:
            driver.leave()
    torch.autograd.graph.increment_version(x)  # so that a backward pass that saved x raises an error
    return True


def _current_stream(device: int) -> int:
    stream: int = torch.cuda.current_stream(device).cuda_stream
    return stream


# The same as a number: an object for the stream takes longer to make than a launch.
_stream: Callable[[int], int] = getattr(torch._C, "_cuda_getCurrentRawStream", _current_stream)

_kernels: dict[tuple[int, str, bool], driver.Kernel] = {}
_on_devices: dict[tuple[int, Quantiles], tuple[torch.Tensor, torch.Tensor]] = {}


def _kernel(device: int, stream: int, launch: Launch) -> driver.Kernel:
    key = (device, launch.name, launch.is_wide)
    kernel = _kernels.get(key)
    if kernel is None:
        _check_no_capture(device, stream)
        kernel = _kernels[key] = driver.kernel(device, launch.way, launch.kind, launch.form, launch.is_wide)
    return kernel


def _tables(device: int, stream: int, quantiles: Quantiles, place: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and units of a law by a table on a device.

    They are kept, because graphs and streams may still read them when a draw has returned.
    """
    tables = _on_devices.get((device, quantiles))
    if tables is None:
        _check_no_capture(device, stream)
        with torch.no_grad():
            columns = torch.from_numpy(np.concatenate(quantiles.columns)).to(place)
            tables = columns, torch.from_numpy(quantiles.units).to(place)
        driver.synchronize(stream)  # once a table, because other streams will read it, too
        _on_devices[device, quantiles] = tables
    return tables


def _check_no_capture(device: int, stream: int) -> None:
    if driver.is_capturing(stream):
        raise RuntimeError(
            "the first draw of a law and a dtype on a device must come before the capture of a CUDA graph; got it on "
            f"device {device} within one (draw it once outside)"
        )
