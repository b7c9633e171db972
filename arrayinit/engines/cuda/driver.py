"""Kernels compiled by NVRTC and launched by the CUDA driver, through NVIDIA's own bindings (cuda-bindings).

torch installs the bindings from 2.10 on; the extras `cuda12` and `cuda13` add them to an older one. A kernel is
compiled for a device at the first draw of its law and format in a process, in about a quarter of a second.
"""

import ctypes
import functools
import threading
from dataclasses import dataclass
from typing import Any

from arrayinit.common.extras import how_to_install
from arrayinit.engines.cuda.launches import Grid, grid
from arrayinit.engines.cuda.source import options, source

__all__ = ["Kernel", "compiled", "enter", "is_capturing", "kernel", "launch", "leave", "synchronize"]

_compiling = threading.Lock()


@dataclass(frozen=True)
class Kernel:
    """A kernel that is loaded on a device."""

    function: Any
    grid: Grid


def kernel(device: int, way: str, kind: str, form: str, is_wide: bool) -> Kernel:
    """The kernel of a law and a format, for a device whose context is current. RuntimeError if that is impossible."""
    with _compiling:  # so that several threads with a first draw compile once
        return _kernel(device, way, kind, form, is_wide)


@functools.cache
def _kernel(device: int, way: str, kind: str, form: str, is_wide: bool) -> Kernel:
    cuda = _bindings()
    function = _checked(cuda.cuModuleGetFunction(_module(device, kind, form), f"{way}_{kind}_{form}".encode()))
    attributes = cuda.CUdevice_attribute
    registers = _checked(cuda.cuFuncGetAttribute(cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS, function))
    processors, threads, room = (
        _checked(cuda.cuDeviceGetAttribute(attribute, _device(device)))
        for attribute in (
            attributes.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
            attributes.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
            attributes.CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
        )
    )
    return Kernel(function, grid(processors, threads, room, registers, is_wide))


@functools.cache
def _module(device: int, kind: str, form: str) -> Any:
    cuda = _bindings()
    major, minor = (
        _checked(cuda.cuDeviceGetAttribute(attribute, _device(device)))
        for attribute in (
            cuda.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            cuda.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    return _checked(cuda.cuModuleLoadData(compiled(f"sm_{major}{minor}", options(kind, form))))


def compiled(architecture: str, choice: tuple[str, ...]) -> bytes:
    """The machine code of the kernels that the options choose, for an architecture such as "sm_90"."""
    from cuda.bindings import nvrtc

    program = _checked(nvrtc.nvrtcCreateProgram(source().encode(), b"arrayinit.cu", 0, [], []))
    try:
        given = [option.encode() for option in (*choice, f"-arch={architecture}")]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(given), given)
        if status:
            log = bytearray(_checked(nvrtc.nvrtcGetProgramLogSize(program)))
            nvrtc.nvrtcGetProgramLog(program, log)
            raise RuntimeError(f"{status.name}: {log.decode(errors='replace').strip(chr(0)).strip()}")
        code = bytearray(_checked(nvrtc.nvrtcGetCUBINSize(program)))
        _checked(nvrtc.nvrtcGetCUBIN(program, code))
        return bytes(code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def enter(device: int) -> bool:
    """Make the device's primary context, which libraries use, the current one of this thread.

    False where it is already; otherwise `leave` restores the thread's context.
    """
    cuda, wanted = _bindings(), _context(device)
    if int(_checked(cuda.cuCtxGetCurrent())) == int(wanted):
        return False
    _checked(cuda.cuCtxPushCurrent(wanted))
    return True


def leave() -> None:
    """Restore the context that the thread had before `enter`."""
    _bindings().cuCtxPopCurrent()


def launch(kernel: Kernel, blocks: int, shared: int, stream: int, parameters: bytearray) -> None:
    """Launch in the current context. Returns at once, when the parameters have been copied."""
    block = (ctypes.c_char * len(parameters)).from_buffer(parameters)
    pointer = ctypes.c_void_p(ctypes.addressof(block))
    (status,) = _bindings().cuLaunchKernel(
        kernel.function, blocks, 1, 1, kernel.grid.threads, 1, 1, shared, stream, ctypes.addressof(pointer), 0
    )
    if status:
        _checked((status,))


def is_capturing(stream: int) -> bool:
    """Whether a CUDA graph captures the work that a stream of the current context is given."""
    cuda = _bindings()
    idle = cuda.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE
    return bool(_checked(cuda.cuStreamIsCapturing(stream)) != idle)


def synchronize(stream: int) -> None:
    """Wait until the device has finished the work of a stream."""
    _checked(_bindings().cuStreamSynchronize(stream))


@functools.cache
def _bindings() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise RuntimeError(
            f"cuda-bindings is missing ({error}): {how_to_install('cuda12')}; or cuda13, if torch's CUDA is 13"
        ) from None
    _checked(driver.cuInit(0))
    return driver


@functools.cache
def _device(device: int) -> Any:
    return _checked(_bindings().cuDeviceGet(device))


@functools.cache
def _context(device: int) -> Any:
    return _checked(_bindings().cuDevicePrimaryCtxRetain(_device(device)))


def _checked(result: tuple[Any, ...]) -> Any:
    """The result of a function of the bindings, which follows its status. RuntimeError for another status than 0."""
    status, *values = result
    if status:
        raise RuntimeError(status.name)
    return values[0] if values else None
