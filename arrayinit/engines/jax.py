"""JAX: inside a trace one fused elementwise function, outside of it a draw in host memory that is then placed.

A model draws hundreds of parameters in one trace. Few have the same law, but most share their shape with others. So the
traced function depends on the shape and the kind of law alone, and takes the law's numbers as arguments, like the key.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from arrayinit.backends import backend_named
from arrayinit.backends.jax import JaxBackend, JaxLanes, columns32, is_tracing, x64
from arrayinit.engines import factors, reference
from arrayinit.engines.parts import part_filler
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import (
    MIXED,
    SAMPLED,
    Constant,
    Factor,
    Formula,
    Normal,
    Orthogonal,
    Rows,
    Sparse,
    Truncated,
    Uniform,
    formulas,
    is_joint,
)
from arrayinit.laws.lattice import Lattice, Sampling, sampling
from arrayinit.laws.regions import Flat, Region
from arrayinit.stream.deviates import tabulated
from arrayinit.stream.formats import wide_name
from arrayinit.stream.philox import MASK, MULTIPLIERS, ROUNDS, VALUES, WEYL, Lane
from arrayinit.stream.quantile_tables import Quantiles
from arrayinit.stream.truncation import Interval

__all__ = ["draw", "placed"]


def draw(job: Job, target: Target) -> Any:
    """A new array; nothing is compiled for a concrete key outside of a trace."""
    backend = target.backend
    assert isinstance(backend, JaxBackend)
    if not is_tracing(target.array, *((job.key.low, job.key.high) if job.key else ())):
        return backend.place(
            job.shape, job.dtype, part_filler(job, backend_named("numpy")), target.array, target.device
        )
    words = _words_of(job.key if job.key is not None else Key(0))

    def values(low: Any, high: Any) -> Any:
        return _values(job, low, high)

    where = _sharding_of(target.array) if target.device is None else target.device
    if isinstance(where, jax.Device):
        return jax.device_put(values(*words), where)
    return values(*words) if where is None else _sharded(values, words, where)


def _sharding_of(x: Any) -> Any:
    """The sharding of the array that the new one is like, as far as a trace knows it, else that of the set mesh."""
    if isinstance(x, jax.core.Tracer):
        x = jax.typeof(x)
    elif not getattr(x, "committed", True):
        x = None
    sharding = getattr(x, "sharding", None)
    if isinstance(sharding, NamedSharding) and not sharding.mesh.empty:
        return sharding
    mesh = jax.sharding.get_abstract_mesh()
    return NamedSharding(mesh, PartitionSpec()) if AxisType.Explicit in mesh.axis_types else None


def placed(values: Any, like: Any, place: Any) -> Any:
    """Traced values at a place, by default at that of the array that they are for, as :func:`draw` has it."""
    where = _sharding_of(like) if place is None else place
    if isinstance(where, jax.Device):
        return jax.device_put(values, where)
    return values if where is None else _sharded(lambda x: x, (values,), where)


def _sharded(function: Callable[..., Any], arguments: tuple[Any, ...], where: Any) -> Any:
    """The result of a function of words or values, partitioned over the devices of a sharding."""
    mesh = getattr(where, "mesh", None)
    if mesh is None or AxisType.Explicit not in mesh.axis_types:
        try:
            return jax.lax.with_sharding_constraint(function(*arguments), where)
        except RuntimeError as error:  # a PartitionSpec, and no mesh
            raise ValueError(f"`device` must be of the mesh that is set; got {where!r}: {error}") from None

    # Drawn as if the axes were of type Auto. Otherwise each device would draw the whole and keep its part, and under
    # vmap the types of sharded keys would not match those of the tables to look up.
    explicit = tuple(
        name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit
    )
    spec = PartitionSpec(*(_only(explicit, axes) for axes in where.spec))

    def constrained(*arguments: Any) -> Any:
        drawn = function(*arguments)
        return drawn if spec == where.spec else jax.lax.with_sharding_constraint(drawn, where.spec)

    return jax.sharding.auto_axes(constrained, axes=explicit, out_sharding=NamedSharding(mesh, spec))(*arguments)


def _only(explicit: tuple[str, ...], axes: Any) -> Any:
    """The explicit ones among the mesh axes that a PartitionSpec has for one axis of an array."""
    if isinstance(axes, tuple):
        return tuple(name for name in axes if name in explicit) or None
    return axes if axes in explicit else None


def _words_of(key: Key) -> tuple[Any, Any]:
    """The low and the high word of a key."""
    low, high = (word if isinstance(word, jax.Array) else np.uint32(word) for word in (key.low, key.high))
    return low, high


def _values(job: Job, low: Any, high: Any) -> Any:
    """The values of a job under the key of two words."""
    if isinstance(job.selected, Flat):
        if is_joint(job.law):
            return _values(job.whole, low, high).reshape(-1)[job.flat.start : job.flat.stop]
        parts = [_values(part, low, high).reshape(-1) for _, part in job.boxes()]
        return jnp.concatenate(parts) if parts else jnp.zeros(0, job.dtype)
    if isinstance(job.law, Constant):  # not compiled: equal laws share a compiled function, and 0.0 == -0.0
        return jnp.full(job.shape, job.law.element(job.dtype), job.dtype)
    if isinstance(job.law, Formula) and 0 not in job.shape:
        with x64():
            wide = np.empty(job.shape, wide_name(job.dtype))
            for position, values in formulas.blocks(job.law, job.geometry, job.box, job.dtype):
                wide[position] = values
            return jnp.asarray(wide).astype(job.dtype)
    if isinstance(job.law, Factor) and 0 not in job.shape:
        return _factor(job, low, high)
    if isinstance(job.law, Rows) and 0 not in job.shape:
        drawn = _rows(job, low, high)
        if drawn is not None:
            return drawn
    if isinstance(job.law, MIXED) and 0 not in job.shape:
        return _mixed(job.keyed(Key.of_words(*(int(w) if isinstance(w, np.uint32) else w for w in (high, low)))))
    if 0 in job.shape:
        return jnp.zeros(job.shape, job.dtype)
    if job.sampling is None:
        return _compiled(job.keyed(None), repr(job.law))(low, high)
    form, numbers = _form(job.sampling)
    with x64():
        return _sampled(form, _in_order_of_result(job))(low, high, numbers, _columns(job.sampling))


def _factor(job: Job, low: Any, high: Any) -> Any:
    """The values of a matrix that the host computes: at once, or by a callback where the key is traced."""
    dtype = jnp.dtype(job.dtype)

    def values(low: Any, high: Any) -> Any:
        return factors.values(job.keyed(Key.of_words(int(high), int(low)))).astype(dtype)

    def words(low: Any, high: Any) -> Any:
        return values(low, high)[..., None].view(np.uint32)

    with x64():
        if not isinstance(low, jax.core.Tracer):
            return jnp.asarray(values(low, high))
        call = functools.partial(jax.pure_callback, vmap_method="sequential")
        if dtype.name not in ("float64", "complex128"):
            return call(values, jax.ShapeDtypeStruct(job.shape, dtype), low, high)
        # A callback runs where 64 bits may be off, and would lose half of them.
        count = dtype.itemsize // 4
        drawn = call(words, jax.ShapeDtypeStruct((*job.shape, count), np.uint32), low, high)
        parts = jax.lax.bitcast_convert_type(drawn.reshape(*job.shape, count // 2, 2), jnp.float64)
        return parts[..., 0] if count == 2 else jax.lax.complex(parts[..., 0], parts[..., 1])


def _columns(sampling: Sampling) -> tuple[Any, ...]:
    """The columns of the table that a sampling looks up: c0, c1, c2 and, for a quantile table, the units."""
    if sampling.quantiles is not None:
        return (*sampling.quantiles.columns, sampling.quantiles.units)
    return () if sampling.kind == "uniform" else columns32()


def _rows(job: Job, low: Any, high: Any) -> Any | None:
    """The values of a tensor whose slices differ in the numbers of their law, in one program.

    None where the laws are of several kinds, which takes a program for each.
    """
    assert isinstance(job.law, Rows)
    assert isinstance(job.law.axis, int)
    axis, box = job.law.axis, job.box
    count = box.counts[axis]
    laws = [job.law.laws[box.starts[axis] + box.steps[axis] * k] for k in range(1 if count is None else count)]
    if not all(isinstance(law, (Uniform, Normal, Truncated, Constant)) for law in laws):
        return None
    samplings = [sampling(law, job.dtype) if isinstance(law, SAMPLED) else None for law in laws]
    forms = {_form(each)[0]: each for each in samplings if each is not None}
    if len(forms) != 1:
        return None
    ((form, some),) = forms.items()
    shape = [1] * len(job.shape)
    if count is not None:
        shape[sum(kept is not None for kept in box.counts[:axis])] = count
    numbers = zip(*(_form(each or some)[1] for each in samplings), strict=True)
    with x64():
        columns = tuple(np.reshape(column, shape) for column in numbers)
        drawn = _sampled(form, _in_order_of_result(job))(low, high, columns, _columns(some))
        if None not in samplings:
            return drawn
        constants = [law.element(job.dtype) if isinstance(law, Constant) else 0.0 for law in laws]
        fixed = jnp.asarray(np.reshape(np.array(constants, wide_name(job.dtype)), shape)).astype(job.dtype)
        return jnp.where(np.reshape([each is None for each in samplings], shape), fixed, drawn)


def _mixed(job: Job) -> Any:
    """The values of a tensor of several laws: its parts side by side where one axis cuts them, else set into zeros."""
    drawn = [(place, _values(piece, *_words_of(piece.key))) for place, piece in job.pieces() if piece.key is not None]
    cut = [axis for axis, n in enumerate(job.shape) if any(place[axis] != slice(0, n, 1) for place, _ in drawn)]
    if sum(values.size for _, values in drawn) == job.size and len(cut) <= 1:
        if not cut:
            return drawn[0][1]
        ends = [(place[cut[0]], values) for place, values in drawn]
        blocks = [(end.start, end.step, values) for end, values in ends if isinstance(end, slice)]
        if len(blocks) == len(drawn) and all(step == 1 for _, step, _ in blocks):
            return jnp.concatenate([values for _, _, values in sorted(blocks, key=lambda block: block[0])], cut[0])
    whole = jnp.zeros(job.shape, job.dtype)
    for place, values in drawn:
        whole = whole.at[place].set(values)
    return whole


@dataclass(frozen=True)
class _Form:
    """The part of a sampling that a program is compiled for; the rest is passed as numbers."""

    kind: Any
    dtype: str
    shift: int
    clips: bool
    octave: int | None  # of the interval, where there is one
    lower: bool  # whether deviates of small p are the lower tail

    def sampling(self, numbers: tuple[Any, ...]) -> Sampling:
        """The sampling with these numbers, which may be traced, but without its exponent and bounds."""
        offset, scale = numbers[:2]
        lattice = Lattice(offset, scale, self.shift, 0)
        interval = None
        if self.octave is not None:
            first, range_high, range_low = numbers[5:8]
            interval = Interval(first, range_high, range_low, self.octave, self.lower)
        return Sampling(self.kind, lattice, interval, self.dtype, None, None)


def _form(sampling: Sampling) -> tuple[_Form, tuple[Any, ...]]:
    """The form of a sampling, and its numbers: offset, scale, 2**exponent, low, high, and three of its interval."""
    lattice, interval, wide = sampling.lattice, sampling.interval, np.dtype(sampling.format.wide).type
    form = _Form(
        kind=sampling.kind,
        dtype=sampling.dtype,
        shift=lattice.shift,
        clips=sampling.low is not None,
        octave=interval.octave if interval else None,
        lower=interval.lower if interval else False,
    )
    integers = map(np.int64, (interval.low, interval.range_high, interval.range_low) if interval else ())
    ends = (wide(sampling.low or 0.0), wide(sampling.high or 0.0))
    unit = np.ldexp(wide(1), lattice.exponent)
    return form, (np.int64(lattice.offset), np.int64(lattice.scale), unit, *ends, *integers)


def _in_order_of_result(job: Job) -> Region:
    """The region of a job with its axes in the order of the result, since XLA would transpose in a second pass."""
    region, axes = job.placed
    order = sorted(range(len(axes)), key=axes.__getitem__)
    return Region(region.offset, tuple(region.counts[k] for k in order), tuple(region.strides[k] for k in order))


@functools.lru_cache(maxsize=1024)
def _sampled(form: _Form, region: Region) -> Any:
    """The function (low, high, numbers, columns) -> values of a law whose elements are independent."""

    def sampled(low: Any, high: Any, numbers: tuple[Any, ...], columns: Any) -> Any:
        with x64():
            backend = backend_named("jax")
            lanes, sampling = JaxLanes(backend, None, columns), form.sampling(numbers)
            _, _, unit, least, most, *_ = numbers

            def component(word: Lane) -> Any:
                if form.kind == "quantile":
                    k, scale = tabulated(lanes, word, Quantiles((), columns[:3], columns[3]))
                else:
                    k, scale = sampling.lattice.place(sampling.deviate(lanes, word)), unit
                v = k.astype(jnp.int32).astype(unit.dtype) * scale
                v = jnp.clip(v, least, most) if form.clips else v
                return v.astype(sampling.format.name)

            components = [component(word) for word in _words(lanes, low, high, region, sampling.words_per_element)]
            return components[0] if len(components) == 1 else jax.lax.complex(*components)

    return jax.jit(sampled)


def _words(lanes: JaxLanes, low: Any, high: Any, region: Region, words_per_element: int) -> list[Lane]:
    """The words of each element, one or two. Each element computes the block of four that they are in.

    This is :func:`arrayinit.stream.philox.block_of` in fewer operations, since compiling takes time for each.
    """
    index = lanes.index(region).astype(jnp.uint64)
    last = region.offset + sum(max(0, (n - 1) * step) for n, step in zip(region.counts, region.strides, strict=True))
    block = index >> (2 if words_per_element == 1 else 1)
    is_short = last * words_per_element >> 34 == 0  # then 32 bits hold the number of each block
    c0, c1, c2, c3 = (block, 0, VALUES, 0) if is_short else (block & MASK, block >> 32, VALUES, 0)
    for turn in range(ROUNDS):
        k0, k1 = (
            (word + np.uint32(turn * step & MASK)).astype(jnp.uint64)
            for word, step in zip((low, high), WEYL, strict=True)
        )
        if turn == ROUNDS - 1:
            break
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
    # The last round computes the first two words from one product and the others from another, so one is enough.
    second = (index & 2 // words_per_element) != 0
    product = jnp.where(second, c0, c2) * jnp.where(second, *(jnp.uint64(m) for m in MULTIPLIERS))
    words = ((product >> 32) ^ jnp.where(second, c3 ^ k1, c1 ^ k0), product & MASK)
    chosen = words if words_per_element == 2 else (jnp.where((index & 1) != 0, words[1], words[0]),)
    return [word.astype(jnp.int64) for word in chosen]


@functools.lru_cache(maxsize=1024)
def _compiled(job: Job, law: str) -> Any:
    """The function (low, high) -> values of a job, traced once however often it is used.

    law: its repr, the cache-key part that separates laws which `==` conflates (0.0/-0.0).
    """

    def values(low: Any, high: Any) -> Any:
        with x64():
            keyed = job.keyed(Key.of_words(high, low))
            lanes = backend_named("jax").lanes(None)
            if isinstance(job.law, Orthogonal | Sparse):
                with lanes.backend.multiplying(lanes.device):
                    return reference.matrix(lanes, keyed)
            region, axes = job.placed
            back = sorted(range(len(axes)), key=axes.__getitem__)
            return jnp.transpose(jnp.reshape(reference.elements(lanes, keyed, region), region.counts), back)

    return jax.jit(values)
