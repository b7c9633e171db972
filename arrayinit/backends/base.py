"""The facts about an array library that the package asks for, answered for any namespace of the array API standard."""

import functools
import io
import math
import pkgutil
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from arrayinit.common.messages import REPR_CHARACTERS, did_you_mean, shown
from arrayinit.laws.lattice import Sampling
from arrayinit.laws.regions import Region
from arrayinit.stream.deviates import normalize
from arrayinit.stream.formats import COMPLEX, FORMATS, is_floating
from arrayinit.stream.philox import Lane

__all__ = ["CACHE", "LAUNCH", "Backend", "Extent", "Lanes", "check_elements", "coefficients", "no_device", "no_dtype"]


CACHE = 1 << 16  # elements whose lanes stay in the cache of a core
MAX_ELEMENTS = 1 << 59  # elements of 16 bytes each take 2**63 bytes, more than any library can address
_DTYPES = (*FORMATS, *COMPLEX, "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
LAUNCH = 1 << 23  # elements that take an accelerator much longer than its launches


@functools.cache
def coefficients() -> npt.NDArray[np.int64]:
    """The inverse-CDF table, three rows c0, c1, c2 of 96 octaves x 64 segments (see `stream/make_table.py`)."""
    data = pkgutil.get_data("arrayinit.stream", "inverse_normal.npy")
    assert data is not None
    return np.ascontiguousarray(np.load(io.BytesIO(data)).T.astype(np.int64))


class Lanes:
    """int64 lanes on one device: a backend's integer operations, and the step from a lattice integer to a value."""

    fused = False  # whether each element computes its block (a compiler fuses that); else a block serves all its words

    def __init__(self, backend: "Backend", device: Any):
        self.backend = backend
        self.xp = backend.xp
        self.device = device

    @property
    def widest(self) -> Any:
        """The real dtype with the most digits on this device."""
        return self.xp.float64

    def key(self, low: Lane, high: Lane) -> tuple[Lane, Lane]:
        """The two words of a key as lanes."""
        return low, high

    def arange(self, start: int, stop: int) -> Lane:
        """start, start + 1, ..., stop - 1."""
        return self.xp.arange(start, stop, dtype=self.xp.int64, device=self.device)

    def index(self, region: Region) -> Lane:
        """The linear indices of a region, flattened."""
        if region.is_run:
            return self.arange(region.offset, region.offset + region.size)
        total: Any = None
        for axis, (count, stride) in enumerate(zip(region.counts, region.strides, strict=True)):
            shape = [1] * len(region.counts)
            shape[axis] = count
            term = self.xp.reshape(self.arange(0, count) * stride, tuple(shape))
            total = term if total is None else total + term
        return self.xp.reshape(total + region.offset, (-1,))

    @functools.cached_property
    def _columns(self) -> tuple[Any, ...]:
        return tuple(self.xp.asarray(column, device=self.device) for column in coefficients())

    def normalize(self, x: Lane, bits: int) -> tuple[Lane, Lane]:
        """(c, x << c) with c the number of leading zeros of 0 < x < 2**bits."""
        return normalize(x, bits)

    def parabola(self, segment: Lane) -> tuple[Lane, Lane, Lane]:
        """(c0, c1, c2) of each segment number."""
        c0, c1, c2 = self._columns
        take = self.xp.take
        return take(c0, segment), take(c1, segment), take(c2, segment)

    def look_up(self, columns: Sequence[Any], at: Lane) -> list[Any]:
        """Rows of columns in host memory."""
        return [self.xp.take(self.xp.asarray(column, device=self.device), at) for column in columns]

    def values(self, k: Lane, sampling: Sampling, unit: Any = None) -> Any:
        """k * unit (by default 2**exponent), rounded to nearest even in the sampling's real dtype, then clipped."""
        xp, form = self.xp, sampling.format
        v = self.astype(self.astype(k, xp.int32), getattr(xp, form.wide))
        v = v * (math.ldexp(1.0, sampling.lattice.exponent) if unit is None else unit)
        if sampling.low is not None:
            v = xp.clip(v, sampling.low, sampling.high)
        return v if form.name == form.wide else self.astype(v, self.backend.dtype(form.name))

    def astype(self, x: Any, dtype: Any) -> Any:
        """x cast to a dtype object of the library."""
        return self.xp.astype(x, dtype)

    def complex(self, real: Any, imag: Any, dtype: str) -> Any:
        """real + i imag, exactly."""
        kind = self.backend.dtype(dtype)
        return self.xp.astype(real, kind) + self.xp.astype(imag, kind) * 1j

    def full(self, shape: Sequence[int], value: Any, dtype: str) -> Any:
        """An array filled with one value."""
        return self.xp.full(tuple(shape), value, dtype=self.backend.dtype(dtype), device=self.device)

    def kth(self, x: Any, k: int) -> Any:
        """The k-th smallest element of each column, counted from 0, as a matrix of one row."""
        return self.xp.sort(x, axis=0)[k : k + 1, :]

    def put(self, x: Any, corner: tuple[int, int], values: Any) -> Any:
        """x with values in its matrices from this row and column on: x itself where arrays are mutable."""
        x[_from(corner, *values.shape[-2:])] = values
        return x

    def subtract_product(self, x: Any, corner: tuple[int, int], a: Any, b: Any) -> Any:
        """x with a @ b subtracted from its matrices from this row and column on: x itself where arrays are mutable."""
        return self.put(x, corner, x[_from(corner, a.shape[-2], b.shape[-1])] - a @ b)

    def solve(self, upper: Any, b: Any) -> Any:
        """The inverse of an upper triangular matrix, times b."""
        return self.xp.linalg.inv(upper) @ b


def no_dtype(library: str, name: str) -> TypeError:
    """The error of a dtype that a library does not have."""
    return TypeError(f"`dtype` must be one that {library} has; got {name!r}{did_you_mean(name, _DTYPES)}")


def no_device(library: str, device: Any, known: Iterable[str], reason: str = "") -> ValueError:
    """The error of a device that a library does not have here. known: those that may be meant."""
    because = f" ({reason})" if reason else ""
    hint = "" if isinstance(device, str) and device in {*known} else did_you_mean(device, known)
    return ValueError(f"`device` must be one that {library} has here; got {shown(device)}{because}{hint}")


def check_elements(shape: tuple[int, ...]) -> None:
    """Refuse an array that no memory could hold. Where memory merely runs out, the library raises its own error."""
    count = math.prod(shape) or math.prod(n or 1 for n in shape)  # sizes beside a 0 count as well
    if count >= MAX_ELEMENTS:
        raise ValueError(f"`x` must have fewer than 2**59 elements to be an array in memory; got {shape}")


def _from(corner: tuple[int, int], rows: int, columns: int) -> Any:
    """The index of this many rows and columns of each matrix of a stack."""
    i, j = corner
    return (..., slice(i, i + rows), slice(j, j + columns))


class Extent(NamedTuple):
    """The place of an array's elements in memory, in bytes."""

    space: Hashable  # that `start` is an address in: host memory, a device, a storage without values
    start: int  # of the first element
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    size: int  # of an element
    reading: Hashable  # how the bytes are read: arrays of one extent, and read alike, are the same array

    @classmethod
    def of(
        cls, space: Hashable, start: int, shape: Sequence[int], strides: Sequence[int], size: int, reading: Hashable
    ) -> "Extent":
        """An extent in which the strides of axes with one element are 0."""
        steps = tuple(step if n > 1 else 0 for n, step in zip(shape, strides, strict=True))
        return cls(space, start, tuple(shape), steps, size, reading)


class Backend:
    """One array library. Arrays of this base class are created with `empty` and written with `x[...] = values`."""

    engine = "reference"
    indexes = False  # whether arrays support integer-array assignment and writable views
    # Whether a draw fills an array that exists. Otherwise the engine makes a new array as it draws, by which the holder
    # of an old one must replace it.
    fills_in_place = True
    is_chunked = False  # whether arrays are made of blocks that a user may choose
    is_distributed = False  # whether other processes fill other parts of the same array
    takes_traced_keys = False  # whether a draw may have a key that a JAX trace will supply

    def __init__(self, name: str, xp: Any):
        self.name = name
        self.xp = xp
        self._lanes: dict[Any, Lanes] = {}
        self._names: dict[Any, str] = {}

    @property
    def title(self) -> str:
        """The library's name as its users spell it."""
        return self.name

    def engine_for(self, x: Any, device: Any) -> str:
        """The engine that draws into x or, where there is a device, into a new array on it."""
        return self.engine

    def dtype(self, name: str) -> Any:
        """The dtype object of a name. TypeError where the library has none."""
        try:
            return getattr(self.xp, name)
        except AttributeError:
            raise no_dtype(self.name, name) from None

    def dtype_name(self, dtype: Any) -> str:
        """The plain name of a dtype object: "float32"."""
        if type(dtype) is str and is_floating(dtype):
            return dtype
        kind = type(dtype)
        if not isinstance(dtype, np.dtype) and (kind.__module__, kind.__name__) != ("torch", "dtype"):
            return _dtype_name(dtype)  # a user's object, which must not be kept alive
        name = self._names.get(dtype)
        if name is None:
            name = _dtype_name(dtype)
            if is_floating(name):
                self._names[dtype] = name
        return name

    def device(self, x: Any) -> Any:
        """The device of an array, as its library describes it."""
        return x.device

    def lanes(self, device: Any) -> Lanes:
        """Integer lanes on a device; the tables that they look up are copied there once."""
        if device not in self._lanes:
            self._lanes[device] = self.make_lanes(device)
        return self._lanes[device]

    def make_lanes(self, device: Any) -> Lanes:
        """New lanes on a device."""
        return Lanes(self, device)

    def empty(self, shape: tuple[int, ...], dtype: str, device: Any) -> Any:
        """A new array."""
        return self.xp.empty(shape, dtype=self.dtype(dtype), device=device)

    def empty_like(self, x: Any, dtype: str, device: Any) -> Any:
        """A new array with the shape (and, where the library knows them, the strides) of x."""
        return self.empty(tuple(x.shape), dtype, self.device(x) if device is None else device)

    def check_new(self, shape: tuple[int, ...], dtype: str, like: Any, device: Any, chunks: Any = None) -> None:
        """Refuse a new array that can't be had, as far as that shows before it is allocated.

        Raises:
            ValueError: the shape, `device` or `chunks` can't be had. MemoryError: there is too little memory.
        """
        check_elements(shape)

    def allocate(self, shape: tuple[int, ...], dtype: str, like: Any, device: Any) -> Any:
        """A new array like another one, or of a shape. The library's error where there is too little memory."""
        return self.empty(shape, dtype, device) if like is None else self.empty_like(like, dtype, device)

    def check_readable(self, x: Any) -> None:
        """Refuse arrays that no initializer can make another one like."""

    def check_writable(self, x: Any) -> None:
        """Refuse arrays that can't be filled in place, before anything is written."""

    def is_abstract(self, x: Any) -> bool:
        """Whether x has a shape and a dtype but no elements."""
        return False

    def has_memory(self, x: Any) -> bool:
        """Whether the elements of x, which is not abstract, have an address."""
        return True

    def is_capturing(self, x: Any) -> bool:
        """Whether a CUDA graph captures the work for the current stream of the device of x."""
        return False

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether an error of the library says that there is too little memory."""
        return isinstance(error, MemoryError)

    def extents(self, x: Any) -> tuple[Extent, ...]:
        """The memory that a write to x changes; empty where there is none, or where arrays are never written to."""
        return ()

    def is_loaded(self, x: Any) -> bool:
        """Whether a library has marked x as loaded from a checkpoint."""
        return False

    def frozen(self, x: Any) -> str:
        """Why the values of x should perhaps stay, in a few words; "" without a reason."""
        return ""

    def shapeless(self, x: Any) -> str:
        """Why x has no shape; "" where it has."""
        return ""

    def missing(self, x: Any) -> str:
        """Why x holds only a part of the array that it stands for, or nothing; "" where it holds all of it."""
        return ""

    def is_tracing(self, x: Any) -> bool:
        """Whether a compiler records operations on x, so that a key taken now would be a constant of its program."""
        return False

    def is_recorded(self, x: Any) -> bool:
        """Whether a tracer, a transform or a mode must see a draw into x (None: into a new array)."""
        return False

    def view(self, x: Any) -> Any:
        """The array that writes go to."""
        return x

    def memory(self, x: Any) -> tuple[int, tuple[int, ...]] | None:
        """(address, strides in elements) where x, about to be written to, has elements in host memory; else None."""
        return None

    def host(self, x: Any) -> npt.NDArray[Any] | None:
        """A NumPy array that shares the memory of x, where `memory` has one; bfloat16 as its bit patterns in uint16."""
        return None

    def transpose(self, x: Any, axes: tuple[int, ...]) -> Any:
        """x with its axes permuted, without a copy."""
        return x if axes == tuple(range(len(axes))) else self.xp.permute_dims(x, axes)

    def write(self, view: Any, position: tuple[Any, ...], values: Any) -> None:
        """Store values at a position."""
        view[(*position, ...)] = values

    def fill(self, x: Any, value: Any, dtype: str) -> None:
        """Store one value, which the dtype of x has, everywhere."""
        device = self.device(x)
        with self.drawing(device):
            self.write(self.view(x), (), self.lanes(device).full((), value, dtype))

    def write_at(self, view: Any, where: Sequence[int | npt.NDArray[np.int64]], value: Any) -> None:
        """Store one value at the positions that integers and arrays of them name, broadcast against each other."""
        device = self.device(view)
        view[tuple(self.xp.asarray(j, device=device) if isinstance(j, np.ndarray) else j for j in where)] = value

    def chunk(self, device: Any) -> int:
        """How many elements to draw at a time on a device."""
        return CACHE

    def drawing(self, device: Any) -> AbstractContextManager[Any]:
        """The context in which draws and writes take place."""
        return nullcontext()

    def multiplying(self, device: Any) -> AbstractContextManager[Any]:
        """The context in which matrix products have the full precision of their dtype."""
        return nullcontext()

    def check_device(self, device: Any) -> Any:
        """`device` as the library takes it; ValueError or TypeError where it is none."""
        if device is not None:
            try:
                self.xp.empty((0,), device=device)
            except Exception as error:
                raise no_device(self.name, device, ("cpu",), str(error)) from None
        return device

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        """The values of x in host memory; bfloat16 as its bit patterns in uint16."""
        return np.asarray(x)

    def numbers(self, x: Any) -> npt.NDArray[Any]:
        """The values of x in host memory, in a dtype that NumPy has: bfloat16 as float32, whose upper half it is."""
        host = self.to_numpy(x)
        is_bfloat16 = host.dtype == np.uint16 and self.dtype_name(x.dtype) == "bfloat16"
        return (host.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else host

    def blocks(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        """The arrays in which this process holds x or its part of it, each with the position of its first element."""
        yield (0,) * len(x.shape), x

    def pieces(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        """As `blocks`, for fingerprints: what this process holds of a shared array, copies included (see `copies`)."""
        yield from self.blocks(x)

    def copies(self, x: Any) -> tuple[int, bool]:
        """How many processes hold each element that `pieces` has, and whether this one is the first of them."""
        return 1, True

    def is_shared(self, x: Any) -> bool:
        """Whether other processes may hold other elements of x."""
        return self.is_distributed

    def groups(self, xs: Sequence[Any]) -> list[list[int]]:
        """The numbers of the shared arrays that the same processes share, for each set of processes with this one."""
        return [list(range(len(xs)))]

    def rank(self) -> int:
        """The number of this process among all that may share arrays."""
        raise NotImplementedError

    def added(self, x: Any, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Rows of integers from 0 to 2^64 - 1, added over the processes that share x, modulo 2^64."""
        raise NotImplementedError

    def told(self, x: Any, text: str) -> dict[int, str]:
        """Rank -> text of each process that shares x."""
        raise NotImplementedError

    def bits(self, x: Any) -> npt.NDArray[Any]:
        """The values of x in host memory, in a dtype of NumPy's that has the same bits."""
        return self.to_numpy(x)


def _dtype_name(dtype: Any) -> str:
    if dtype is None or hasattr(type(dtype), "__array__"):  # NumPy would take float64, and the dtype of an array
        raise TypeError(f"`dtype` must be a dtype or its name; got {shown(dtype)}")
    name = dtype if isinstance(dtype, str) else shown(dtype).rpartition(".")[-1]
    if is_floating(name):
        return str(name)
    try:
        return str(np.dtype(dtype).name)
    except Exception:  # a TypeError for most, a SyntaxError for some names
        return str(name[:REPR_CHARACTERS])
