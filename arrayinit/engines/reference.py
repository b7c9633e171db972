"""The stream, written once over any namespace: the specification, and the engine that runs everywhere."""

from collections.abc import Sequence
from typing import Any

from arrayinit.backends import Lanes
from arrayinit.formats import COMPLEX, FORMATS
from arrayinit.householder import orthonormal
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.lattice import Plan, plan
from arrayinit.laws import Constant, Dirac, Eye, Normal, Orthogonal, Sparse, Words
from arrayinit.patterns import dirac, eye, keep
from arrayinit.philox import ORDER, VALUES, Lane, block_of
from arrayinit.regions import Region

__all__ = ["draw", "elements", "sample", "words"]


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    backend = target.backend
    if target.in_place:
        out = target.array
    elif target.array is not None:
        out = backend.empty_like(target.array, job.dtype, target.device)
    else:
        out = backend.empty(job.shape, job.dtype, target.device)
    region, axes = job.placed
    if backend.is_abstract(out) or region.size == 0:
        return out
    device = backend.device(out)
    lanes = backend.lanes(device)
    with backend.drawing(device):
        view = backend.view(out)
        if isinstance(job.law, Orthogonal | Sparse):
            with backend.multiplying(device):
                part = matrix(lanes, job)
            backend.write(view, (), part)
        else:
            canonical = backend.transpose(view, axes)
            for position, piece in region.pieces(backend.chunk(device)):
                backend.write(canonical, position, lanes.xp.reshape(elements(lanes, job, piece), piece.counts))
    return out


def elements(lanes: Lanes, job: Job, region: Region) -> Any:
    """The values of a region, for laws whose elements don't depend on each other; flattened unless lanes are fused."""
    law, canonical = job.law, job.geometry.canonical
    if isinstance(law, Constant):
        return lanes.full((region.size,), law.value, job.dtype)
    if isinstance(law, Eye):
        return lanes.astype(eye(lanes.index(region), canonical), lanes.backend.dtype(job.dtype))
    if isinstance(law, Dirac):
        return lanes.astype(dirac(lanes.index(region), canonical, law.groups), lanes.backend.dtype(job.dtype))
    assert job.key is not None
    if isinstance(law, Words):
        return lanes.astype(words(lanes, job.key, region, 1, VALUES)[0], lanes.backend.dtype(job.dtype))
    assert job.plan is not None
    return sample(lanes, job.plan, job.key, region)


def matrix(lanes: Lanes, job: Job) -> Any:
    """The part of an orthogonal or sparse matrix that a job asks for, by way of the whole of it."""
    canonical = job.geometry.canonical
    full = _sparse(lanes, job, job.law) if isinstance(job.law, Sparse) else _orthogonal(lanes, job)
    back = sorted(range(len(canonical)), key=job.geometry.order.__getitem__)
    index, flipped = job.box.ascending
    part = lanes.xp.permute_dims(lanes.xp.reshape(full, canonical), tuple(back))[index]
    return lanes.xp.flip(part, axis=flipped) if flipped else part


def _sparse(lanes: Lanes, job: Job, law: Sparse) -> Any:
    assert job.key is not None
    canonical, whole = job.geometry.canonical, Region.whole(job.geometry.canonical)
    values = lanes.xp.reshape(sample(lanes, plan(Normal(0.0, law.std), job.dtype), job.key, whole), canonical)
    order = lanes.xp.reshape(words(lanes, job.key, whole, 1, ORDER)[0], canonical)
    return lanes.xp.where(keep(lanes, order, law.zeros), values, lanes.xp.zeros_like(values))


def _orthogonal(lanes: Lanes, job: Job) -> Any:
    assert job.key is not None
    assert isinstance(job.law, Orthogonal)
    xp, canonical = lanes.xp, job.geometry.canonical
    dtype = job.dtype if job.dtype in COMPLEX else FORMATS[job.dtype].wide
    normal = sample(lanes, plan(Normal(0.0, 1.0), dtype), job.key, Region.whole(canonical))
    out, in_, spatial = job.geometry.sizes
    rows, columns = out, in_ * spatial
    stack = xp.reshape(normal, (-1, rows, columns))
    tall = rows >= columns
    matrices = []
    for k in range(stack.shape[0]):
        gaussian = stack[k, :, :] if tall else xp.matrix_transpose(stack[k, :, :])
        q = orthonormal(xp, gaussian, lanes.device, lanes.widest) * job.law.gain
        matrices.append(q if tall else xp.matrix_transpose(q))
    return lanes.astype(xp.stack(matrices, axis=0), lanes.backend.dtype(job.dtype))


def sample(lanes: Lanes, plan: Plan, key: Key, region: Region) -> Any:
    """Words -> deviates -> lattice -> values, for the elements of a region."""
    parts = [
        lanes.values(plan.lattice.place(plan.deviate(lanes, w)), plan)
        for w in words(lanes, key, region, plan.parts, VALUES)
    ]
    return parts[0] if len(parts) == 1 else lanes.complex(parts[0], parts[1], plan.dtype)


def words(lanes: Lanes, key: Key, region: Region, parts: int, purpose: int) -> Sequence[Lane]:
    """Word parts * i + p of the stream for each element i of the region, as one lane for each p < parts."""
    pair = lanes.key(key.low, key.high)
    if region.is_run and not lanes.fused:
        start, stop = region.offset * parts, (region.offset + region.size) * parts
        blocks = lanes.arange(start // 4, -(-stop // 4))
        stream = lanes.xp.reshape(lanes.xp.stack(block_of(blocks, purpose, pair), axis=-1), (-1,))
        return [stream[start % 4 + p : start % 4 + stop - start : parts] for p in range(parts)]
    index = lanes.index(region) * parts
    return [_word(lanes, index + p, purpose, pair) for p in range(parts)]


def _word(lanes: Lanes, i: Lane, purpose: int, key: tuple[Lane, Lane]) -> Lane:
    """Word i of the stream: word i % 4 of block i // 4."""
    where = lanes.xp.where
    w0, w1, w2, w3 = block_of(i >> 2, purpose, key)
    odd = (i & 1) == 1
    return where((i & 2) == 2, where(odd, w3, w2), where(odd, w1, w0))
