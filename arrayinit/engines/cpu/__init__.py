"""Host memory: compiled loops where llvmlite is installed and they pay off, else NumPy, on all processors.

When the loops are used. NumPy draws the first 2**22 elements of a process, where each draw counts as 2**15 at least.
That takes as long as loading loops that an earlier process compiled, some hundredths of a second, so they are loaded
for the draw that would pass this number. Where none are stored for this processor, NumPy goes on to 2**24 elements.
Then llvmlite compiles the loops, for this process and later ones, in some tenths of a second. From there on all draws
use them, small ones too. `ARRAYINIT_COMPILE=1` loads or compiles the loops at the first draw, `ARRAYINIT_COMPILE=0`
never. The bits are the same either way.

Four variables change the speed of draws: ARRAYINIT_COMPILE, ARRAYINIT_NUM_THREADS (see `pool`), ARRAYINIT_CACHE_DIR
(`cache`) and ARRAYINIT_CPU_NAME (`machine_code`). A wrong value is ignored with one RuntimeWarning. If the loops can't
be compiled, there is one RuntimeWarning as well, and NumPy draws. If they can't be stored, each process compiles them.

The folder of compiled loops is trusted, because the code in it is run. A file is used only if it and its folder belong
to this user or to root and nobody else can write to them.

A draw may be interrupted at any point: none of its threads writes to the array after it has ended, and later draws are
right. Signal handlers and finalizers may draw while another draw is in progress. Draws also work while the interpreter
shuts down, if the modules that they need have been imported before. One case is not supported: a signal handler that
forks in the middle of a draw and returns in the child, which has none of the threads that draw for it.
"""

import ctypes
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from arrayinit.backends import Backend, Lanes, backend_of
from arrayinit.engines import matrices, reference
from arrayinit.engines.cpu import pool, vectors
from arrayinit.engines.cpu.compile_policy import compiled
from arrayinit.engines.cpu.new_memory import is_untouched, populate
from arrayinit.engines.cpu.parameters import (
    ENTRIES,
    KEY,
    REST,
    SCRATCH,
    STRIP_CHUNK,
    STRIP_ROWS,
    Place,
    can_draw,
    conversion_of,
)
from arrayinit.engines.cpu.rectangles import Rectangle, Repeats, rectangle_of
from arrayinit.engines.cpu.sparse import clear
from arrayinit.engines.cpu.vectors import RUN
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Bits, Dirac, Eye, Normal, Orthogonal, Sparse
from arrayinit.laws.regions import Region
from arrayinit.stream.philox import VALUES

__all__ = ["draw"]

GRAIN = 1 << 17  # words that are worth waking a thread for
SHORT = 1 << 10  # elements of a rectangle; for shorter ones, drawing contiguous chunks and moving them is faster
TINY = 1 << 8  # elements of a rectangle of a contiguous chunk; for smaller ones NumPy is faster
THIN = 32  # elements of a row, apart in memory; many shorter rows are drawn as contiguous chunks
LONG = 1 << 14  # bytes of a row; longer rows of large arrays are written past the caches
UNCACHED = 1 << 24  # bytes of a large array, which the caches don't hold until it is used
SPAN = 1 << 19  # bytes of a run for which it pays off to ask for the memory's pages
REMEMBERED = 64  # calls of a draw that are kept for the next draw of the kind
BATCH = 1 << 10  # chunks of an array that are listed at a time


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    out = target.array_for(job)
    _fill(job, target.backend, out)
    return out


def _fill(job: Job, backend: Backend, out: Any) -> None:
    memory = backend.memory(out) if job.size else None
    if memory is None:
        reference.fill(job, backend, out)
    elif job.sampling is not None or isinstance(job.law, Bits):
        loops = compiled(job.size) if can_draw(job.sampling) else None
        if loops is None:
            _uncompiled(job, backend, out)
        else:
            _compiled(loops, job, backend, out, *memory)
    elif isinstance(job.law, Sparse) and (host := backend.host(out)) is not None:
        _sparse(job, job.law, backend, out, host)
    elif isinstance(job.law, Orthogonal):
        reference.fill(job, backend, out, _orthogonal)
    elif isinstance(job.law, Eye | Dirac) and (host := backend.host(out)) is not None:
        backend.fill(out, 0, job.dtype)
        value: Any = job.law.value if isinstance(job.law, Dirac) else 1
        if job.dtype == "bfloat16":
            value = vectors.bfloat16(np.array([value], np.float32))[0]
        for where in reference.where_one(job, job.law):
            host[tuple(where)] = value
    else:
        reference.fill(job, backend, out)


def _sparse(job: Job, law: Sparse, backend: Backend, out: Any, host: Any) -> None:
    _fill(Job.of(Normal(0.0, law.std), job.key, job.geometry, job.box, job.dtype), backend, out)
    numpy = backend_of(host)
    with numpy.drawing(None):
        clear(job, host, numpy.lanes("cpu"), lambda words, array: _fill(words, numpy, array))


def _orthogonal(lanes: Lanes, job: Job) -> Any:
    """The part of an orthogonal matrix, from normals that this engine draws."""

    def draw_normals(law: Normal, key: Key, dtype: str) -> Any:
        whole = job.whole_line(law, key, dtype)
        normals = lanes.backend.empty(whole.shape, dtype, lanes.device)
        _fill(whole, lanes.backend, normals)
        return normals

    return matrices.orthogonal(lanes, job, draw_normals)


def _compiled(
    loops: Callable[..., None], job: Job, backend: Backend, out: Any, address: int, strides: tuple[int, ...]
) -> None:
    calls: list[_Call] | _LazyCalls | None = job.memo.get(strides)
    if calls is None:
        lazy = _calls(job, strides)
        calls = [lazy[i] for i in range(len(lazy))] if len(lazy) <= REMEMBERED else lazy
        if len(lazy) <= REMEMBERED:
            job.memo[strides] = calls
    if not len(calls):
        _scattered(loops, job, backend, out)
        return
    middle = calls[len(calls) // 2]
    is_new = middle.span > 0 and is_untouched(address + middle.offset + middle.span // 2)
    if len(calls) == 1:
        _call(loops, job, calls[0], address, is_new)
    else:

        def call(i: int, memory: Any = out) -> None:  # `memory` keeps the array alive while a thread writes to it
            _call(loops, job, calls[i], address, is_new)

        pool.each(call, len(calls))


@dataclass(frozen=True)
class _Call:
    """A call of the loops, without the key and the address."""

    rest: bytes  # of the block of parameters, behind the key
    ends: tuple[float, float, float]  # the unit and the two bounds
    offset: int  # bytes from the address of the array
    span: int  # bytes of the rectangle, where it is one long run in memory; else 0


class _LazyCalls:
    """The calls that fill an array, one for each rectangle and each of its repetitions; each is made when asked for."""

    def __init__(self, job: Job, rectangles: list[Rectangle], repeats: Repeats) -> None:
        self.job, self.rectangles, self.repeats = job, rectangles, repeats

    def __len__(self) -> int:
        return len(self.rectangles) * self.repeats.count

    def __getitem__(self, i: int) -> _Call:
        repeat, rectangle = divmod(i, len(self.rectangles))
        return _call_of(self.job, self.rectangles[rectangle].moved(*self.repeats[repeat]))


def _calls(job: Job, strides: tuple[int, ...]) -> _LazyCalls:
    """The calls that fill an array; none where its rows are many and short, which `_scattered` draws."""
    region, axes = job.placed
    rectangle, repeats = rectangle_of(region, tuple(strides[axis] for axis in axes))
    is_thin = rectangle.jump != 1 and rectangle.length < THIN and rectangle.rows > GRAIN
    if is_thin or (repeats.count > 1 and rectangle.rows * rectangle.length < SHORT):
        return _LazyCalls(job, [], repeats)
    words_per_element = 1 if job.sampling is None else job.sampling.words_per_element
    grain = max(GRAIN, job.size * words_per_element // (pool.threads() * 16) & ~4095) // words_per_element
    return _LazyCalls(job, list(rectangle.split(grain, (STRIP_ROWS, STRIP_CHUNK))), repeats)


def _call_of(job: Job, rectangle: Rectangle) -> _Call:
    conversion, ends, words_per_element = conversion_of(job.sampling)
    size = words_per_element * conversion.size  # bytes of an element
    place = Place(
        purpose=job.law.purpose if isinstance(job.law, Bits) else VALUES,
        first=rectangle.first * words_per_element,
        rows=rectangle.rows,
        row_words=rectangle.row_step * words_per_element,
        words=rectangle.length * words_per_element,
        words_per_element=words_per_element,
        step=rectangle.step,
        row_jump=rectangle.row_jump * words_per_element,
        jump=rectangle.jump * words_per_element,
        streams=int(rectangle.length * size >= LONG and job.size * size >= UNCACHED),
    )
    is_run = rectangle.jump == 1 and (rectangle.rows == 1 or rectangle.row_jump == rectangle.length)
    span = rectangle.rows * rectangle.length * size if is_run else 0
    return _Call(REST.pack(*place, *conversion), ends, rectangle.at * size, span if span >= SPAN else 0)


def _call(loops: Callable[..., None], job: Job, call: _Call, address: int, is_new: bool = False) -> None:
    """Call the loops. is_new: whether the array's memory has no pages yet."""
    key = job.key
    assert key is not None
    scratch = _of_thread.scratch
    if is_new and call.span:
        populate(address + call.offset, call.span)
    loops(address + call.offset, scratch.address, KEY.pack(key.low, key.high) + call.rest, *call.ends)


def _scattered(loops: Callable[..., None], job: Job, backend: Backend, out: Any) -> None:
    """Draw contiguous chunks, which the array's library then copies to their places."""
    region, axes = job.placed
    rectangle, repeats = rectangle_of(region, Region.whole(region.counts).strides)
    if repeats.count > 1 and rectangle.rows * rectangle.length < TINY:
        _uncompiled(job, backend, out)
        return
    device = backend.device(out)
    with backend.drawing(device):
        canonical = backend.transpose(backend.view(out), axes)

    def draw(position: tuple[Any, ...], chunk: Region) -> None:
        with backend.drawing(device):
            values = backend.empty(chunk.counts, job.dtype, device)
            memory = backend.memory(values)
            assert memory is not None
            address, strides = memory
            rectangle, repeats = rectangle_of(chunk, strides)
            for k in range(repeats.count):
                _call(loops, job, _call_of(job, rectangle.moved(*repeats[k])), address)
            backend.write(canonical, position, values)

    _each_chunk(draw, region.chunks(GRAIN))


def _each_chunk(draw: Callable[[Any, Region], None], chunks: Iterator[tuple[Any, Region]]) -> None:
    """Draw chunks on several threads, in batches, since a list of all chunks would grow with the array."""

    def draw_some(some: list[tuple[Any, Region]]) -> None:
        pool.each(lambda i: draw(*some[i]), len(some))

    while some := list(itertools.islice(chunks, BATCH)):
        draw_some(some)


def _uncompiled(job: Job, backend: Backend, out: Any) -> None:
    """Draw without the loops, on the same threads, in chunks that fit into the cache of a core.

    `vectors` draws uniform and normal runs into memory that NumPy can see, the reference all else. Of bfloat16 NumPy
    sees bit patterns: values are drawn in float32, and rounded to them.
    """
    host = backend.host(out)
    if host is not None:
        backend, out = backend_of(host), host
    is_bfloat16 = host is not None and job.dtype == "bfloat16" and job.sampling is not None
    if is_bfloat16 and job.sampling is not None:
        job = replace(job, sampling=replace(job.sampling, dtype="float32"), dtype="float32")
    region, axes = job.placed
    device = backend.device(out)
    lanes = backend.lanes(device)
    sampling, key = job.sampling, job.key
    assert key is not None
    in_place = host is not None and sampling is not None and sampling.kind in ("uniform", "normal")
    with backend.drawing(device):
        canonical = backend.transpose(backend.view(out), axes)

    def draw(position: tuple[Any, ...], chunk: Region) -> None:
        with backend.drawing(device), vectors.borrowed() if in_place else nullcontext() as buffers:
            if buffers is not None and sampling is not None and chunk.is_run:
                real = vectors.values(
                    buffers,
                    sampling,
                    key,
                    chunk.offset * sampling.words_per_element,
                    chunk.size * sampling.words_per_element,
                )
                drawn = real if sampling.words_per_element == 1 else real.view(sampling.dtype)
            else:
                drawn = reference.elements(lanes, job, chunk)
            if is_bfloat16:
                drawn = vectors.bfloat16(drawn)
            backend.write(canonical, position, lanes.xp.reshape(drawn, chunk.counts))

    _each_chunk(
        draw, region.chunks(RUN // sampling.words_per_element if in_place and sampling else backend.chunk(device))
    )


class _Scratch:
    """Memory that the loops work in, and the table that they read.

    Each call keeps its scratch alive, because a daemon thread may run on while Python clears modules and threads.
    """

    def __init__(self) -> None:
        self.memory = ctypes.create_string_buffer(SCRATCH + 64)
        self.address = (ctypes.addressof(self.memory) + 63) & ~63
        self.table = ENTRIES


class _PerThread(threading.local):
    """The scratch of this thread."""

    def __init__(self) -> None:
        self.scratch = _Scratch()


_of_thread = _PerThread()
