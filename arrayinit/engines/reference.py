"""The stream, written once over any namespace: the specification, and the engine that runs everywhere."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from arrayinit.backends import Backend, Lanes
from arrayinit.engines import matrices
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Bits, Constant, Dirac, Eye, Formula, Orthogonal, Sparse, formulas
from arrayinit.laws.lattice import Sampling
from arrayinit.laws.patterns import dirac, eye, ones
from arrayinit.laws.regions import Region
from arrayinit.stream.deviates import tabulated
from arrayinit.stream.philox import VALUES, Lane, block_of

__all__ = ["allocate", "draw", "elements", "fill", "matrix", "sample", "where_one", "words"]

REMEMBERED = 1 << 11  # rows of an array whose positions of ones are kept for the next one of its kind


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    out = allocate(job, target)
    fill(job, target.backend, out)
    return out


def allocate(job: Job, target: Target) -> Any:
    """The array to be filled: the target's own, one like it, or a new one."""
    if target.in_place:
        return target.array
    if target.array is not None:
        return target.backend.empty_like(target.array, job.dtype, target.device)
    return target.backend.empty(job.shape, job.dtype, target.device)


def fill(job: Job, backend: Backend, out: Any, matrix: Callable[[Lanes, Job], Any] | None = None) -> None:
    """Draw into an array; `matrix` as below, where an engine draws what it is made of itself."""
    if backend.is_abstract(out) or job.size == 0:
        return
    if isinstance(job.law, Constant):
        backend.fill(out, job.law.element(job.dtype), job.dtype)
        return
    region, axes = job.placed
    device = backend.device(out)
    lanes = backend.lanes(device)
    with backend.drawing(device):
        view = backend.view(out)
        if isinstance(job.law, Orthogonal | Sparse):
            with backend.multiplying(device):
                part = (matrix or _matrix)(lanes, job)
            backend.write(view, (), part)
        elif isinstance(job.law, Formula):
            for position, values in formulas.blocks(job.law, job.geometry, job.box, job.dtype):
                rounded = lanes.astype(lanes.xp.asarray(values, device=lanes.device), backend.dtype(job.dtype))
                backend.write(view, position, rounded)
        elif isinstance(job.law, Eye | Dirac) and backend.indexes:
            backend.fill(out, 0, job.dtype)
            value = lanes.full((), job.law.value if isinstance(job.law, Dirac) else 1, job.dtype)
            for where in where_one(job, job.law):
                backend.write_at(view, where, value)
        else:
            canonical = backend.transpose(view, axes)
            for position, piece in region.pieces(backend.chunk(device)):
                backend.write(canonical, position, lanes.xp.reshape(elements(lanes, job, piece), piece.counts))


def where_one(job: Job, law: Eye | Dirac) -> Iterable[Any]:
    """Where an array of eye or dirac is 1, for some rows each; remembered where that is little."""
    where: Iterable[Any] | None = job.memo.get(law)
    if where is None:
        where = ones(job.geometry, job.box, law.groups if isinstance(law, Dirac) else 1)
        if (job.box.counts[job.geometry.order[0]] or 1) <= REMEMBERED:
            where = job.memo[law] = list(where)
    return where


def elements(lanes: Lanes, job: Job, region: Region) -> Any:
    """The values of a region, for laws whose elements don't depend on each other; flattened unless lanes are fused."""
    law, canonical = job.law, job.geometry.canonical
    if isinstance(law, Constant):
        return lanes.full((region.size,), law.element(job.dtype), job.dtype)
    if isinstance(law, Eye):
        return lanes.astype(eye(lanes.index(region), canonical), lanes.backend.dtype(job.dtype))
    if isinstance(law, Dirac):
        passes = dirac(lanes.index(region), canonical, law.groups)
        return lanes.xp.where(passes, lanes.full((), law.value, job.dtype), lanes.full((), 0, job.dtype))
    assert job.key is not None
    if isinstance(law, Bits):
        return lanes.astype(words(lanes, job.key, region, 1, law.purpose)[0], lanes.backend.dtype(job.dtype))
    assert job.sampling is not None
    return sample(lanes, job.sampling, job.key, region)


def matrix(lanes: Lanes, job: Job) -> Any:
    """The part of an orthogonal or sparse matrix that a job asks for."""
    whole = Region.whole(job.geometry.canonical)

    def normals(sampling: Sampling, key: Key) -> Any:
        return sample(lanes, sampling, key, whole)

    if isinstance(job.law, Orthogonal):
        return matrices.orthogonal(lanes, job, normals)
    return matrices.sparse(lanes, job, normals, lambda key, purpose: words(lanes, key, whole, 1, purpose)[0])


_matrix = matrix


def sample(lanes: Lanes, sampling: Sampling, key: Key, region: Region) -> Any:
    """Words -> deviates -> lattice -> values, for the elements of a region."""
    parts = [_real(lanes, sampling, w) for w in words(lanes, key, region, sampling.words_per_element, VALUES)]
    return parts[0] if len(parts) == 1 else lanes.complex(parts[0], parts[1], sampling.dtype)


def _real(lanes: Lanes, sampling: Sampling, words: Lane) -> Any:
    if sampling.quantiles is not None:
        k, unit = tabulated(lanes, words, sampling.quantiles)
        return lanes.values(k, sampling, unit)
    return lanes.values(sampling.lattice.place(sampling.deviate(lanes, words)), sampling)


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
