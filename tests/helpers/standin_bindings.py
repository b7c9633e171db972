"""A stand-in for NVIDIA's bindings on a machine without a GPU: kernels are compiled for this machine and run at once.

It takes what the bindings take, has two devices, and trips over what a device trips over: launches without a context,
kernels of another device, grids and shared memory beyond the bounds of the kernel, parameters that are not those of
`kernel.cu`. `install(monkeypatch)` puts it in `sys.modules` and says what was asked of it.
"""

import ctypes
import functools
import sys
import types
from dataclasses import dataclass, field

import cuda_host
import numpy as np
from cuda.bindings import driver as real_driver, nvrtc as real_nvrtc

from arrayinit.engines.cuda import driver as ours
from arrayinit.engines.cuda.parameters import PARAMETERS

SUCCESS = real_driver.CUresult.CUDA_SUCCESS
BAD = real_driver.CUresult.CUDA_ERROR_INVALID_VALUE
NO_CONTEXT = real_driver.CUresult.CUDA_ERROR_INVALID_CONTEXT
ABOUT = real_driver.CUdevice_attribute
CAPTURES = real_driver.CUstreamCaptureStatus


@dataclass
class Asked:
    """The calls to the devices, in order."""

    compiled: list = field(default_factory=list)  # options
    kernels: list = field(default_factory=list)  # (name, grid, block, shared memory, device, stream)
    contexts: list = field(default_factory=list)  # that are current, innermost last
    waits: list = field(default_factory=list)  # streams
    capturing: set = field(default_factory=set)  # streams
    fails: dict = field(default_factory=dict)  # function -> status


def install(monkeypatch):
    """Make `cuda.bindings` the stand-in for a test."""
    asked = Asked()
    driver, nvrtc = types.ModuleType("cuda.bindings.driver"), types.ModuleType("cuda.bindings.nvrtc")
    for module, real, functions in ((driver, real_driver, _driver(asked)), (nvrtc, real_nvrtc, _nvrtc(asked))):
        for function in functions:
            assert hasattr(real, function.__name__)
            setattr(module, function.__name__, _failing(asked, function))
        for name in ("CUdevice_attribute", "CUfunction_attribute", "CUstreamCaptureStatus"):
            if hasattr(real, name):
                setattr(module, name, getattr(real, name))
    bindings = types.ModuleType("cuda.bindings")
    bindings.driver, bindings.nvrtc = driver, nvrtc
    for module in (bindings, driver, nvrtc):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    caches = [value for value in vars(ours).values() if hasattr(value, "cache_clear")]
    for cache in caches:
        cache.cache_clear()
    asked.forget = lambda: [cache.cache_clear() for cache in caches]
    return asked


def _failing(asked, function):
    @functools.wraps(function)
    def call(*arguments):
        status = asked.fails.get(function.__name__)
        return function(*arguments) if status is None else (status,)

    return call


def _driver(asked):
    def cuInit(flags):
        return (SUCCESS,)

    def cuDeviceGet(ordinal):
        return (SUCCESS, ("device", ordinal)) if ordinal in (0, 1) else (BAD, None)

    def cuDevicePrimaryCtxRetain(device):
        return SUCCESS, device[1] + 1

    def cuDeviceGetAttribute(attribute, device):
        numbers = {
            ABOUT.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: 2,
            ABOUT.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: 1536 if device[1] else 2048,
            ABOUT.CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: 65536,
            ABOUT.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: 9,
            ABOUT.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: 0,
        }
        return SUCCESS, numbers[attribute]

    def cuCtxGetCurrent():
        return SUCCESS, asked.contexts[-1] if asked.contexts else 0

    def cuCtxPushCurrent(context):
        asked.contexts.append(context)
        return (SUCCESS,)

    def cuCtxPopCurrent():
        return SUCCESS, asked.contexts.pop()

    def cuModuleLoadData(code):
        if not asked.contexts:
            return NO_CONTEXT, None
        return SUCCESS, (cuda_host.compiled(*eval(code.decode())), asked.contexts[-1])

    def cuModuleGetFunction(module, name):
        assert hasattr(module[0], name.decode())
        return SUCCESS, (*module, name.decode())

    def cuFuncGetAttribute(attribute, function):
        return SUCCESS, 54 if asked.contexts[-1] == 2 else 32

    def cuStreamIsCapturing(stream):
        is_capturing = stream in asked.capturing
        name = "ACTIVE" if is_capturing else "NONE"
        return SUCCESS, getattr(CAPTURES, f"CU_STREAM_CAPTURE_STATUS_{name}")

    def cuStreamSynchronize(stream):
        asked.waits.append(stream)
        return (SUCCESS,)

    def cuLaunchKernel(function, x, y, z, threads, threads_y, threads_z, shared, stream, pointers, extra):
        library, context, name = function
        if not asked.contexts or asked.contexts[-1] != context:
            return (NO_CONTEXT,)
        assert (y, z, threads_y, threads_z, extra) == (1, 1, 1, 1, 0)
        assert type(stream) is int
        address = ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))[0]
        memory = (ctypes.c_char * PARAMETERS.itemsize).from_address(address)
        (parameters,) = np.frombuffer(bytearray(memory), PARAMETERS)
        assert library.size_of_parameters() == PARAMETERS.itemsize
        assert 0 < threads <= (1024 if shared else 256), "the launch bounds of kernel.cu"
        assert shared == (3 * 4 * 64 * 64 if "quantile" in name else int(parameters["rows"]) * 64 * 8) <= 48 * 1024
        asked.kernels.append((name, x, threads, shared, context - 1, stream))
        cuda_host.launch(library, name, np.array([parameters]), (x, threads))
        return (SUCCESS,)

    return [value for name, value in locals().items() if name != "asked"]


def _nvrtc(asked):
    programs = {}

    def nvrtcCreateProgram(source, name, headers, contents, names):
        assert (headers, contents, names) == (0, [], [])
        programs[len(programs)] = source.decode(), []
        return real_nvrtc.nvrtcResult.NVRTC_SUCCESS, len(programs) - 1

    def nvrtcCompileProgram(program, count, options):
        assert count == len(options)
        *options, architecture = (option.decode() for option in options)
        assert architecture == "-arch=sm_90"
        programs[program][1].extend(options)
        asked.compiled.append(tuple(options))
        return (real_nvrtc.nvrtcResult.NVRTC_SUCCESS,)

    def nvrtcGetProgramLogSize(program):
        return real_nvrtc.nvrtcResult.NVRTC_SUCCESS, 7

    def nvrtcGetProgramLog(program, log):
        log[:] = b"line 1\0"
        return (real_nvrtc.nvrtcResult.NVRTC_SUCCESS,)

    def code_of(program):
        source, options = programs[program]
        return repr((source, tuple(options))).encode()

    def nvrtcGetCUBINSize(program):
        return real_nvrtc.nvrtcResult.NVRTC_SUCCESS, len(code_of(program))

    def nvrtcGetCUBIN(program, code):
        code[:] = code_of(program)
        return (real_nvrtc.nvrtcResult.NVRTC_SUCCESS,)

    def nvrtcDestroyProgram(program):
        return (real_nvrtc.nvrtcResult.NVRTC_SUCCESS,)

    return [value for name, value in locals().items() if name.startswith("nvrtc")]
