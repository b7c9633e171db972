"""JAX arrays: immutable, traced inside `jit` and `vmap`, concrete outside."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from arrayinit.backends.base import LAUNCH, Backend, Lanes, check_elements, coefficients, no_device, no_dtype
from arrayinit.common.messages import shown
from arrayinit.laws.regions import Region
from arrayinit.stream.philox import MASK, philox4x32

__all__ = [
    "Fill",
    "JaxBackend",
    "JaxLanes",
    "check_place",
    "columns32",
    "fold_words",
    "is_tracing",
    "key_words",
    "make",
    "x64",
]


# A function (corner, out) that draws the part that starts at a corner into an array of its shape.
Fill: TypeAlias = Callable[[tuple[int, ...], npt.NDArray[Any]], None]

WIDE = ("float64", "complex128", "int64", "uint64")  # dtypes that JAX has only with jax_enable_x64
ALIGNED = 64  # bytes: XLA's buffers in host memory start at multiples of it, and arrays that do are not copied


def x64() -> AbstractContextManager[Any]:
    """64-bit lanes, whatever the process has set."""
    context: AbstractContextManager[Any] = jax.enable_x64(True)
    return context


def is_tracing(*values: Any) -> bool:
    """Whether a value is traced, or anything that is computed at this point would be."""
    if any(isinstance(value, jax.core.Tracer) for value in values):
        return True
    state = _trace_state()
    if state is not None and state in _eager:  # by equality; asking with an array takes a hundred times as long
        return False
    with jax.transfer_guard("allow"):
        tracing = isinstance(jax.device_put(np.zeros((), np.float32)), jax.core.Tracer)  # compiles nothing
    if not tracing:
        _eager[:] = [state]
    return tracing


_trace_state: Callable[[], Any] = getattr(jax.extend.core, "get_opaque_trace_state", lambda: None)
_eager: list[Any] = []  # the last state in which nothing was traced


def key_words(key: Any) -> tuple[Any, ...]:
    """The words of one JAX key, typed or raw: integers, or uint32 arrays where it is traced."""
    data = jax.random.key_data(key) if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if data.dtype != jnp.uint32 or data.ndim != 1 or data.shape[0] % 2 or not data.shape[0]:
        raise TypeError(
            f"`seed` must be one JAX key (typed, or uint32[2]); got an array of {key.dtype} with shape {key.shape}"
            f"{': map over keys with jax.vmap' if key.ndim else ''}"
        )
    if isinstance(data, jax.core.Tracer):
        with x64():
            words: tuple[Any, ...] = _traced_words(data)
            return words
    return tuple(int(word) for word in np.asarray(data))


@jax.jit  # type: ignore[untyped-decorator] # traced once for all keys of a model
def _traced_words(data: Any) -> tuple[Any, ...]:
    """The words of a traced key, by way of one sum (high << 32) + low for each two of them.

    Most keys are cut from an array of keys. XLA would compile a cut for each word of each key. With the sum it is one
    cut a key, and the program that splits the sum is the same for all keys.
    """
    count = data.shape[0] // 2
    wide = lax.shift_left(lax.convert_element_type(data, np.uint64), np.array([32, 0] * count, np.uint64))
    sums = lax.reduce(lax.reshape(wide, (count, 2)) if count > 1 else wide, np.uint64(0), lax.add, (int(count > 1),))
    pairs = [lax.index_in_dim(sums, k, keepdims=False) for k in range(count)] if count > 1 else [sums]
    return tuple(
        lax.convert_element_type(half, np.uint32)
        for pair in pairs
        for half in (lax.shift_right_logical(pair, np.uint64(32)), pair)
    )


def fold_words(high: Any, low: Any, counter: tuple[Any, ...]) -> tuple[Any, Any]:
    """The two words (high, low) of a key folded inside a trace. A traced number, the first, fills two lanes."""
    number = counter[0]
    with x64():
        if isinstance(number, jax.core.Tracer):
            if number.ndim or not jnp.issubdtype(number.dtype, jnp.integer):
                raise TypeError(
                    f"`name` must be a string or an integer; got a traced {number.dtype}{list(number.shape)}"
                )
            wide = number.astype(jnp.int64)
            counter = (wide, wide >> 32, *counter[2:])
        lanes = [jnp.asarray(word).astype(jnp.int64) & MASK for word in (*counter, low, high)]
        new_low, new_high, _, _ = philox4x32((lanes[0], lanes[1], lanes[2], lanes[3]), (lanes[4], lanes[5]))
        return new_high.astype(jnp.uint32), new_low.astype(jnp.uint32)


def check_place(place: Any, name: str) -> Any:
    """A device or a sharding. One without a mesh goes on the mesh that is set; errors call the argument `name`.

    In a trace that mesh is abstract. Under `with mesh:`, which only JAX can see, a PartitionSpec stays what it is.
    """
    if isinstance(place, PartitionSpec):
        spec, memory = place, None
    elif isinstance(place, NamedSharding) and isinstance(place.mesh, jax.sharding.AbstractMesh):
        spec, memory = place.spec, place.memory_kind
    elif place is None or isinstance(place, jax.Device | jax.sharding.Sharding):
        return place
    else:
        raise TypeError(f"`{name}` must be a jax.Device, a sharding, a PartitionSpec or a name; got {shown(place)}")
    traced = is_tracing()
    mesh = _abstract_mesh() if traced else _mesh()
    if mesh is None and traced:
        return place
    wanted = mesh if mesh is None or isinstance(place, PartitionSpec) else place.mesh
    if mesh is None or (wanted.axis_names, wanted.axis_sizes) != (mesh.axis_names, mesh.axis_sizes):
        raise ValueError(
            f"`{name}` must be of the mesh that is set, `with jax.set_mesh(mesh):`, or a sharding over devices, "
            f"jax.NamedSharding(mesh, spec); got {shown(place)}, and {'no mesh' if mesh is None else mesh} is set"
        )
    try:
        return NamedSharding(mesh, spec, memory_kind=memory)
    except ValueError as error:
        raise ValueError(f"`{name}` must be of the mesh that is set; got {shown(place)}: {error}") from None


def _abstract_mesh() -> Any:
    """The mesh that is set; None outside of one."""
    mesh = jax.sharding.get_abstract_mesh()
    return None if mesh.empty else mesh


def _mesh() -> Any:
    """The mesh of devices that is set; None outside of one."""
    if _abstract_mesh() is None:
        return None
    try:
        mesh = _get_mesh()
    except ValueError:  # within vmap or grad, though nothing that is computed here is traced
        mesh = _mesh_of_placed_array()
    return None if mesh is None or mesh.empty else mesh


def _mesh_of_placed_array() -> Any:
    try:
        return jax.device_put(np.zeros((), np.float32), PartitionSpec()).sharding.mesh
    except ValueError:
        return None


_get_mesh: Callable[[], Any] = getattr(jax.sharding, "get_mesh", _mesh_of_placed_array)  # JAX 0.8 has none


def _on_devices(place: Any, rank: int) -> Any:
    """The place of an array of this rank outside of a trace: by default all of the mesh that is set, as JAX has it."""
    mesh = _mesh() if place is None else None
    if mesh is None:
        return check_place(place, "device")
    is_typed = jax.sharding.AxisType.Explicit in mesh.axis_types  # a sharding must then name each axis of an array
    return NamedSharding(mesh, PartitionSpec(*(None,) * rank if is_typed else ()))


@functools.cache
def columns32() -> tuple[npt.NDArray[np.int32], ...]:
    """The columns c0, c1, c2 of the inverse-CDF table in int32, which holds all of them."""
    return tuple(coefficients().astype(np.int32))


class JaxLanes(Lanes):
    """One elementwise function of a broadcast index: XLA fuses it and partitions it under any sharding."""

    fused = True

    def __init__(self, backend: Backend, device: Any, columns: Any = None):
        super().__init__(backend, device)
        self.columns = columns if columns is not None else columns32()

    def key(self, low: Any, high: Any) -> tuple[Any, Any]:
        return jnp.asarray(low).astype(jnp.int64), jnp.asarray(high).astype(jnp.int64)

    def arange(self, start: int, stop: int) -> Any:
        return jnp.arange(start, stop, dtype=jnp.int64)

    def index(self, region: Region) -> Any:
        total = jnp.asarray(region.offset, dtype=jnp.int64)
        for axis, stride in enumerate(region.strides):
            total = total + jax.lax.broadcasted_iota(jnp.int64, region.counts, axis) * stride
        return total

    def normalize(self, x: Any, bits: int) -> tuple[Any, Any]:
        zeros = jax.lax.clz(x) - (64 - bits)
        return zeros, x << zeros

    def parabola(self, segment: Any) -> tuple[Any, Any, Any]:
        c0, c1, c2 = (column.astype(jnp.int64) for column in self.look_up(self.columns, segment))
        return c0, c1, c2

    def look_up(self, columns: Any, at: Any) -> list[Any]:
        where = at.astype(jnp.int32)
        return [
            jnp.asarray(column).at[where].get(mode="promise_in_bounds", wrap_negative_indices=False)
            for column in columns
        ]

    def complex(self, real: Any, imag: Any, dtype: str) -> Any:
        return jax.lax.complex(real, imag)

    def put(self, x: Any, corner: tuple[int, int], values: Any) -> Any:
        # Starts have a fixed width: JAX clamps those of a batch when it lowers it, when 64 bits may be off again.
        starts = (*(0 for _ in x.shape[:-2]), *corner)
        return jax.lax.dynamic_update_slice(x, values, tuple(map(np.int32, starts)))

    def solve(self, upper: Any, b: Any) -> Any:
        return jax.lax.linalg.triangular_solve(upper, b, left_side=True, lower=False)

    def full(self, shape: Any, value: Any, dtype: str) -> Any:
        return jnp.full(tuple(shape), value, dtype=dtype)


class JaxBackend(Backend):
    """The backend of jax.Array, of tracers and of jax.ShapeDtypeStruct."""

    engine = "jax"
    fills_in_place = False
    takes_traced_keys = True

    @property
    def title(self) -> str:
        return "JAX"

    def dtype(self, name: str) -> Any:
        if name in WIDE and not jax.config.jax_enable_x64:
            raise TypeError(
                f"`dtype` must not be {name} in JAX, unless 64-bit types are enabled by "
                f"jax.config.update('jax_enable_x64', True)"
            )
        try:
            return jnp.dtype(name)
        except TypeError:
            raise no_dtype("JAX", name) from None

    def make_lanes(self, device: Any) -> Lanes:
        return JaxLanes(self, None)

    def check_new(self, shape: tuple[int, ...], dtype: str, like: Any, device: Any, chunks: Any = None) -> None:
        check_elements(shape)
        if isinstance(device, jax.sharding.Sharding):
            try:
                getattr(device, "check_compatible_aval", lambda shape: None)(shape)
                shape = device.shard_shape(shape)
            except ValueError as error:
                raise ValueError(
                    f"`device` must be a sharding that fits the shape {shape}; got {device!r} ({error})"
                ) from None
        if math.prod(shape) >= LAUNCH and not is_tracing(like):
            np.empty(shape, dtype)  # raises where the host, which draws it, has no room

    def check_readable(self, x: Any) -> None:
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            raise TypeError(
                f"`x` must be an array of numbers or a shape; got a JAX key, {x!r}: it goes with `seed`; "
                "initializers that are called with a key first are those of arrayinit.jax"
            )
        if isinstance(x, jax.ShapeDtypeStruct):
            check_place(x.sharding, "x.sharding")

    def check_writable(self, x: Any) -> None:
        raise TypeError(
            "`x` must be mutable; got a JAX array: use the function without the underscore, which returns a new one"
        )

    def is_tracing(self, x: Any) -> bool:
        return is_tracing(x)

    def place(self, shape: tuple[int, ...], dtype: str, fill: Fill, like: Any, device: Any) -> Any:
        """A JAX array on a device or sharding; by default that of `like`, else of the set mesh, else JAX's default.

        Each device's part is drawn by itself into host memory, which the array may keep. Equal parts are drawn once.
        """
        where = device
        if device is None and getattr(like, "committed", True):
            where = getattr(like, "sharding", None)
        where = _on_devices(where, len(shape))
        kind = jax.dtypes.canonicalize_dtype(dtype)
        if not isinstance(where, jax.sharding.Sharding) or len(where.device_set) == 1:
            return jax.device_put(_filled(shape, kind, (0,) * len(shape), fill), where)
        parts: dict[Any, Any] = {}

        def part(index: tuple[slice, ...]) -> Any:
            ends = tuple(axis.indices(n)[:2] for axis, n in zip(index, shape, strict=True))
            if ends not in parts:
                corner = tuple(start for start, _ in ends)
                parts[ends] = _filled(tuple(stop - start for start, stop in ends), kind, corner, fill)
            return parts[ends]

        return jax.make_array_from_callback(shape, where, part)

    def check_device(self, device: Any) -> Any:
        if isinstance(device, str):
            try:
                return jax.devices(device)[0]
            except RuntimeError as error:
                raise no_device("JAX", device, {each.platform for each in jax.devices()}, str(error)) from None
        return check_place(device, "device")

    def is_abstract(self, x: Any) -> bool:
        return not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer) or x.is_deleted()

    def multiplying(self, device: Any) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = jax.default_matmul_precision("float32")
        return context

    def drawing(self, device: Any) -> AbstractContextManager[Any]:
        return x64()

    def to_numpy(self, x: Any) -> npt.NDArray[Any]:
        host = np.asarray(x)
        return host.view(np.uint16) if host.dtype.name == "bfloat16" else host

    def blocks(self, x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
        if x.is_fully_addressable:
            yield (0,) * x.ndim, np.asarray(x)  # in host memory no copy, while each slice of x would be compiled
            return
        for shard in x.addressable_shards:
            if shard.replica_id == 0:
                yield tuple(axis.start or 0 for axis in shard.index), np.asarray(shard.data)

    def is_shared(self, x: Any) -> bool:
        return not isinstance(x, jax.core.Tracer) and not getattr(x, "is_fully_addressable", True)  # abstract: lack it

    def rank(self) -> int:
        return int(jax.process_index())

    def added(self, x: Any, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """One gather of all rows over all processes."""
        from jax.experimental.multihost_utils import process_allgather

        words = [[n >> shift & 0xFFFFFFFF for n in row for shift in (0, 32)] for row in rows]
        gathered = np.asarray(process_allgather(np.array(words, np.uint32))).astype(np.uint64)
        sums = (gathered[..., ::2] | gathered[..., 1::2] << np.uint64(32)).reshape(-1, len(rows), len(rows[0])).sum(0)
        return [[int(n) for n in row] for row in sums]

    def told(self, x: Any, text: str) -> dict[int, str]:
        """Two gathers: of the lengths, and of the texts."""
        from jax.experimental.multihost_utils import process_allgather

        data = np.frombuffer(text.encode(), np.uint8)
        lengths = np.asarray(process_allgather(np.array([len(data)], np.int32))).reshape(-1)
        padded = np.zeros(lengths.max(), np.uint8)
        padded[: len(data)] = data
        texts = np.asarray(process_allgather(padded)).reshape(len(lengths), -1)
        return {k: row[:n].tobytes().decode() for k, (row, n) in enumerate(zip(texts, lengths, strict=True))}


def _filled(shape: tuple[int, ...], dtype: Any, corner: tuple[int, ...], fill: Fill) -> npt.NDArray[Any]:
    """The part of this shape from this corner on, in aligned memory, which a device on the host can keep."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    skip = -memory.ctypes.data % ALIGNED if size else 0
    host: npt.NDArray[Any] = memory[skip : skip + size].view(dtype).reshape(shape)
    fill(corner, host)
    return host


def make() -> Backend:
    """The one backend for JAX."""
    return JaxBackend("jax", jnp)
