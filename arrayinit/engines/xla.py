"""JAX: inside a trace one fused elementwise function, outside of it a draw in host memory that is then placed."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from arrayinit.backends import backend_named
from arrayinit.backends.jax import JaxBackend, is_tracing, x64
from arrayinit.engines import reference
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Constant, Orthogonal, Sparse

__all__ = ["draw"]


def draw(job: Job, target: Target) -> Any:
    """A new array; nothing is compiled for a concrete key outside of a trace."""
    backend = target.backend
    assert isinstance(backend, JaxBackend)
    if not is_tracing(target.array, *((job.key.low, job.key.high) if job.key else ())):
        host = reference.draw(job, Target(backend_named("numpy"), None, in_place=False, device=None))
        return backend.place(host, target.array, target.device)
    key = job.key if job.key is not None else Key(0)

    def values() -> Any:
        if isinstance(job.law, Constant):  # laws that are equal share a compiled function, and 0.0 == -0.0
            return jnp.full(job.shape, job.law.value, job.dtype)
        return _compiled(replace(job, key=None))(_word(key.low), _word(key.high))

    where = target.device
    if where is None:
        return values()
    if isinstance(where, jax.Device):
        return jax.device_put(values(), where)
    if _is_explicit(where):
        # Drawn as if the axes were of type Auto: otherwise each device would draw the whole and keep its part.
        return jax.sharding.auto_axes(values, out_sharding=where)()
    return jax.lax.with_sharding_constraint(values(), where)


def _is_explicit(sharding: Any) -> bool:
    """Whether a sharding is over a mesh whose axes are part of types (jax.sharding.AxisType.Explicit)."""
    by_spec = isinstance(sharding, jax.sharding.PartitionSpec)
    mesh = jax.sharding.get_abstract_mesh() if by_spec else getattr(sharding, "mesh", None)
    return mesh is not None and jax.sharding.AxisType.Explicit in mesh.axis_types


def _word(word: Any) -> Any:
    return jnp.asarray(word, dtype=jnp.uint32)


@functools.lru_cache(maxsize=1024)
def _compiled(job: Job) -> Any:
    """The function (low, high) -> values of a job, traced once however often it is used."""

    def values(low: Any, high: Any) -> Any:
        with x64():
            if 0 in job.shape:
                return jnp.zeros(job.shape, job.dtype)
            keyed = replace(job, key=Key.of_words(high, low))
            lanes = backend_named("jax").lanes(None)
            if isinstance(job.law, Orthogonal | Sparse):
                with lanes.backend.multiplying(lanes.device):
                    return reference.matrix(lanes, keyed)
            region, axes = job.placed
            back = sorted(range(len(axes)), key=axes.__getitem__)
            return jnp.transpose(jnp.reshape(reference.elements(lanes, keyed, region), region.counts), back)

    return jax.jit(values)
