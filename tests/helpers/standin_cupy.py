"""A stand-in for CuPy on a machine without a GPU: its rules on top of NumPy's arithmetic.

What a mistake in the CuPy backend would trip over on a real device trips it here too: arrays never turn into NumPy
arrays by themselves, NumPy arrays are refused by every function but `asarray`, devices have no hash and must be
entered, and only names that CuPy has are there. `install()` puts it in `sys.modules`; do that in a process of its own.
Raw kernels are compiled for this machine and run on the memory of its arrays.
"""

import operator
import sys
import time
import types

import cuda_host
import numpy as np

from arrayinit.engines.cuda.parameters import PARAMETERS

CURRENT = [0]  # the device whose context was entered last
STREAMS = []  # the streams entered and not left
LAUNCHES = []  # names of the functions called, in order
KERNELS = []  # (name, grid, block, bytes of shared memory, device, stream) of raw kernels, in order
COMPILED = []  # (options, device) of raw modules
MEMORY = {}  # (first address, end, device) of each array that there is, by its id
ABSENT = {"take_along_dims", "bfloat16"}


class Device:
    __hash__ = None

    def __init__(self, device=None):
        self.id = CURRENT[-1] if device is None else int(device)

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __enter__(self):
        CURRENT.append(self.id)
        return self

    def __exit__(self, *error):
        CURRENT.pop()

    def synchronize(self):
        LAUNCHES.append("synchronize")

    @property
    def attributes(self):
        threads = 1536 if self.id else 2048
        return {
            "MultiProcessorCount": 2,
            "MaxThreadsPerMultiProcessor": threads,
            "MaxRegistersPerMultiprocessor": 65536,
        }


class Stream:
    def __init__(self, non_blocking=False):
        self.captures = False

    def is_capturing(self):
        return self.captures

    def __enter__(self):
        STREAMS.append(self)
        return self

    def __exit__(self, *error):
        STREAMS.pop()

    def synchronize(self):
        LAUNCHES.append("synchronize")


NULL = Stream()


def get_current_stream():
    return STREAMS[-1] if STREAMS else NULL


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.time = None

    def record(self, stream=None):
        self.time = time.perf_counter()

    def synchronize(self):
        assert self.time is not None


def get_elapsed_time(start, stop):
    return (stop.time - start.time) * 1e3  # milliseconds


class Generator:
    """A generator of float32 and float64, as CuPy's is; without a size `random` draws one number, for all elements."""

    def __init__(self, seed):
        self.host = np.random.default_rng(seed)

    def random(self, size=None, dtype=np.float64, out=None):
        assert dtype in (np.float32, np.float64)
        return _stored(np.asarray(self.host.random(() if size is None else size, dtype)), out)

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        assert dtype in (np.float32, np.float64)
        drawn = self.host.standard_normal(out.shape if size is None else size, dtype)
        return _stored(drawn, out)


def _stored(drawn, out):
    if out is None:
        return wrap(drawn, CURRENT[-1])
    assert out.host.flags.c_contiguous
    out.host[...] = drawn
    return out


class RawModule:
    """Takes what CuPy's own takes, and one structure as the only argument of a kernel."""

    def __init__(self, *, code=None, path=None, options=(), backend="nvrtc", name_expressions=None, jitify=False):
        assert isinstance(code, str)
        assert isinstance(options, tuple)
        assert all(isinstance(option, str) for option in options)
        self.code, self.options = code, options

    def get_function(self, name):
        return RawKernel(self, name)


class RawKernel:
    def __init__(self, module, name):
        self.module, self.name = module, name
        self._load()

    @property
    def num_regs(self):
        return 54 if CURRENT[-1] else 32

    def _load(self):
        made = (self.module.options, CURRENT[-1])
        library = cuda_host.compiled(self.module.code, self.module.options)
        assert hasattr(library, self.name), "CUDA_ERROR_NOT_FOUND: named symbol not found"
        if made not in COMPILED:
            COMPILED.append(made)
        return library

    def __call__(self, grid, block, args, *, shared_mem=0):
        assert all(type(n) is int and n > 0 for n in (*grid, *block))
        (parameters,) = args
        assert type(parameters) is np.ndarray
        assert parameters.shape == (1,)
        library = self._load()
        assert parameters.itemsize == library.size_of_parameters()
        parameters = parameters.view(PARAMETERS)
        is_wide = shared_mem > 0
        assert block[0] <= (1024 if is_wide else 256), "the launch bounds of kernel.cu"
        needed = 3 * 4 * 64 * 64 if "quantile" in self.name else int(parameters["rows"][0]) * 64 * 8
        assert shared_mem == needed <= 48 * 1024
        assert len(grid) == len(block) == 1
        address = int(parameters["address"][0])
        devices = {device for low, high, device in list(MEMORY.values()) if low <= address < high}
        assert devices == {CURRENT[-1]}, "a kernel on one device writes to the memory of another"
        KERNELS.append((self.name, grid[0], block[0], shared_mem, CURRENT[-1], get_current_stream()))
        cuda_host.launch(library, self.name, parameters, (grid[0], block[0]))


class ndarray:
    __array_priority__ = 100
    __array_ufunc__ = None

    def __init__(self, host, device=None):
        self.host = host
        self.device = Device(device)
        low, high = np.lib.array_utils.byte_bounds(host)
        MEMORY[id(self)] = (low, high, self.device.id)

    def __del__(self):
        MEMORY.pop(id(self), None)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.host.ctypes.data)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __getattr__(self, name):
        value = getattr(object.__getattribute__(self, "host"), name)
        return wrapped(value, self.device) if callable(value) else wrap(value, self.device)

    def __getitem__(self, index):
        return wrap(self.host[unwrap(index)], self.device)

    def __setitem__(self, index, value):
        assert not isinstance(value, np.ndarray), "a NumPy array is assigned to a CuPy array"
        assert CURRENT[-1] == self.device.id, "written from the context of another device"
        self.host[unwrap(index)] = unwrap(value)

    def __len__(self):
        return len(self.host)

    def __bool__(self):
        LAUNCHES.append("get")
        return bool(self.host)

    def __neg__(self):
        return wrap(-self.host, self.device)

    def get(self):
        LAUNCHES.append("get")
        return self.host.copy()


def _operator(name):
    def method(self, other):
        if isinstance(other, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if isinstance(other, ndarray):
            assert other.device == self.device, "operands on two devices"
        assert CURRENT[-1] == self.device.id, "computed in the context of another device"
        return wrap(getattr(operator, name)(self.host, unwrap(other)), self.device)

    return method


def _reflected(name):
    def method(self, other):
        return wrap(getattr(operator, name)(unwrap(other), self.host), self.device)

    return method


BINARY = "add sub mul truediv floordiv mod pow and_ or_ xor lshift rshift matmul lt le gt ge eq ne"
for _name in BINARY.split():
    _method = _name.rstrip("_")
    setattr(ndarray, f"__{_method}__", _operator(_name))
    if _method not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(ndarray, f"__r{_method}__", _reflected(_name))


def wrap(x, device=None):
    if isinstance(x, (np.ndarray, np.generic)):
        return ndarray(np.asarray(x), None if device is None else int(device))
    if isinstance(x, (tuple, list)) and any(isinstance(y, np.ndarray) for y in x):
        parts = [wrap(y, device) for y in x]
        return tuple(parts) if isinstance(x, tuple) else parts  # NumPy's are named at times, CuPy's are not
    return x


def unwrap(x, host_allowed=False):
    if isinstance(x, ndarray):
        return x.host
    if isinstance(x, np.ndarray) and not host_allowed:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(x, (tuple, list)):
        return type(x)(unwrap(y, host_allowed) for y in x)
    return x


def wrapped(function, device=None, host_allowed=False):
    def call(*args, **kwargs):
        LAUNCHES.append(getattr(function, "__name__", "?"))
        args = unwrap(args, host_allowed)
        kwargs = {key: unwrap(value, host_allowed) for key, value in kwargs.items()}
        return wrap(function(*args, **kwargs), CURRENT[-1] if device is None else device)

    call.__name__ = getattr(function, "__name__", "?")
    return call


def _mirror(name, source):
    module = types.ModuleType(name)
    names = [n for n in dir(source) if not n.startswith("_") and n not in ABSENT]
    for n in names:
        value = getattr(source, n)
        is_function = callable(value) and not isinstance(value, type)
        setattr(module, n, wrapped(value, host_allowed=n in ("asarray", "array")) if is_function else value)
    module.__all__ = [n for n in names if not isinstance(getattr(module, n), types.ModuleType)]
    return module


def install():
    """Make `import cupy` give the stand-in."""
    cupy = _mirror("cupy", np)
    cupy.ndarray = ndarray
    cupy.linalg = _mirror("cupy.linalg", np.linalg)
    cupy.fft = _mirror("cupy.fft", np.fft)
    cupy.cuda = types.ModuleType("cupy.cuda")
    cupy.cuda.Device = Device
    cupy.cuda.Stream = Stream
    cupy.cuda.get_current_stream = get_current_stream
    cupy.cuda.Event = Event
    cupy.cuda.get_elapsed_time = get_elapsed_time
    cupy.random = types.SimpleNamespace(default_rng=Generator)
    cupy.RawModule = RawModule
    cupy.cuda.device = types.ModuleType("cupy.cuda.device")
    cupy.cuda.device.Device = Device
    cupy.cuda.runtime = types.SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        getDevice=lambda: CURRENT[-1],
        getDeviceCount=lambda: 2,
        getDeviceProperties=lambda device: {"name": b"Stand-in"},
        runtimeGetVersion=lambda: 12080,
        driverGetVersion=lambda: 13000,
        is_hip=False,
    )
    cupy.__all__ += ["cuda", "linalg", "fft"]
    cupy.__version__ = "0-standin"
    cupy.__path__ = []
    for module in (cupy, cupy.linalg, cupy.fft, cupy.cuda, cupy.cuda.device):
        sys.modules[module.__name__] = module
    return cupy
