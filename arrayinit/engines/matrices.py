"""Joint laws, whose elements depend on each other: the whole matrix is drawn, and a job takes its part of it."""

from collections.abc import Callable
from typing import Any, TypeAlias

from arrayinit.backends import Lanes
from arrayinit.engines.householder import orthonormal
from arrayinit.job import Job
from arrayinit.key import Key
from arrayinit.laws import Bits, Normal, Orthogonal, Sparse
from arrayinit.laws.patterns import keep
from arrayinit.stream.formats import wide_name
from arrayinit.stream.philox import ORDER, Lane

__all__ = ["DrawNormals", "DrawWords", "orthogonal", "sparse"]

# Functions of an engine that draw all elements of the global tensor, flattened in canonical order, into new memory.
DrawNormals: TypeAlias = Callable[[Normal, Key, str], Any]  # by a law and under a key, in a dtype
DrawWords: TypeAlias = Callable[[Bits, Key], Lane]  # one word an element, in integers of any width that holds it


def orthogonal(lanes: Lanes, job: Job, draw_normals: DrawNormals) -> Any:
    """The part of an orthogonal matrix that a job asks for."""
    law, key = job.law, job.key
    assert isinstance(law, Orthogonal)
    assert key is not None
    dtype = wide_name(job.dtype)
    out, in_, spatial = job.geometry.sizes
    normal = lanes.xp.reshape(draw_normals(Normal(0.0, 1.0), key, dtype), (-1, out, in_ * spatial))
    return _part(lanes, job, lanes.astype(_orthogonal(lanes, normal, law.gain), lanes.backend.dtype(job.dtype)))


def sparse(lanes: Lanes, job: Job, draw_normals: DrawNormals, draw_words: DrawWords) -> Any:
    """The part of a sparse matrix that a job asks for."""
    law, key, canonical, xp = job.law, job.key, job.geometry.canonical, lanes.xp
    assert isinstance(law, Sparse)
    assert key is not None
    values = xp.reshape(draw_normals(Normal(0.0, law.std), key, job.dtype), canonical)
    kept = keep(lanes, xp.reshape(draw_words(Bits(ORDER), key), canonical), law.zeros)
    return _part(lanes, job, xp.where(kept, values, xp.zeros((1, 1), dtype=values.dtype, device=lanes.device)))


def _part(lanes: Lanes, job: Job, full: Any) -> Any:
    """The job's part of the whole tensor, which is given in canonical order and any shape."""
    canonical = job.geometry.canonical
    back = sorted(range(len(canonical)), key=job.geometry.order.__getitem__)
    index, flipped = job.box.ascending
    part = lanes.xp.permute_dims(lanes.xp.reshape(full, canonical), tuple(back))[index]
    return lanes.xp.flip(part, axis=flipped) if flipped else part


def _orthogonal(lanes: Lanes, stack: Any, gain: float) -> Any:
    """Orthogonal matrices from a stack of Gaussian ones: several at once while they fit into the cache of a core."""
    count, rows, columns = stack.shape
    at_once = count if lanes.fused else max(1, lanes.backend.chunk(lanes.device) // (rows * columns))
    if at_once == 1:
        groups = [stack[k, ...] for k in range(count)]
    else:
        groups = [stack[k : min(k + at_once, count), ...] for k in range(0, count, at_once)]
    drawn = [lanes.xp.reshape(_scaled(lanes, group, gain), (-1, rows, columns)) for group in groups]
    return drawn[0] if len(drawn) == 1 else lanes.xp.concat(drawn, axis=0)


def _scaled(lanes: Lanes, normal: Any, gain: float) -> Any:
    """gain times matrices with orthonormal rows or columns, whichever are fewer."""
    turned = normal.shape[-2] < normal.shape[-1]
    q = orthonormal(lanes, lanes.xp.matrix_transpose(normal) if turned else normal)
    if gain != 1:
        q *= gain
    return lanes.xp.matrix_transpose(q) if turned else q
