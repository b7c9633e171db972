"""The stream, written once over any namespace: the specification, and the engine that runs everywhere."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from arrayinit.backends import Backend, Lanes
from arrayinit.engines import factors, matrices
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Bits, Constant, Dirac, Eye, Factor, Formula, Normal, Orthogonal, Sparse, formulas
from arrayinit.laws.lattice import Sampling, sampling
from arrayinit.laws.patterns import dirac, eye, ones
from arrayinit.laws.regions import Region
from arrayinit.stream.deviates import tabulated
from arrayinit.stream.philox import VALUES, Lane, block_of

__all__ = ["draw", "elements", "fill", "matrix", "sample", "where_one", "words"]

REMEMBERED = 1 << 11  # rows of an array whose positions of ones are kept for the next array of the kind


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    out = target.array_for(job)
    fill(job, target.backend, out)
    return out


def fill(job: Job, backend: Backend, out: Any, matrix: Callable[[Lanes, Job], Any] | None = None) -> None:
    """Draw into an array. `matrix` stands in for the function of this name where an engine draws the normals itself."""
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
        elif isinstance(job.law, Factor):
            values = lanes.xp.asarray(factors.values(job), device=lanes.device)
            backend.write(view, (), lanes.astype(values, backend.dtype(job.dtype)))
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
            for position, chunk in region.chunks(backend.chunk(device)):
                backend.write(canonical, position, lanes.xp.reshape(elements(lanes, job, chunk), chunk.counts))


def where_one(job: Job, law: Eye | Dirac) -> Iterable[Any]:
    """The positions where an array of eye or dirac is 1, for some rows each; kept where they are few."""
    where: Iterable[Any] | None = job.memo.get(law)
    if where is None:
        where = ones(job.geometry, job.box, law.groups if isinstance(law, Dirac) else 1)
        if (job.box.counts[job.geometry.order[0]] or 1) <= REMEMBERED:
            where = job.memo[law] = list(where)
    return where


def elements(lanes: Lanes, job: Job, region: Region) -> Any:
    """The values of a region, for laws with independent elements; flattened unless lanes are fused."""
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

    def draw_normals(law: Normal, key: Key, dtype: str) -> Any:
        return sample(lanes, sampling(law, dtype), key, whole)

    def draw_words(law: Bits, key: Key) -> Lane:
        return words(lanes, key, whole, 1, law.purpose)[0]

    if isinstance(job.law, Orthogonal):
        return matrices.orthogonal(lanes, job, draw_normals)
    return matrices.sparse(lanes, job, draw_normals, draw_words)


_matrix = matrix


def sample(lanes: Lanes, how: Sampling, key: Key, region: Region) -> Any:
    """Words -> deviates -> lattice -> values, for the elements of a region."""
    components = [_real(lanes, how, w) for w in words(lanes, key, region, how.words_per_element, VALUES)]
    return components[0] if len(components) == 1 else lanes.complex(components[0], components[1], how.dtype)


def _real(lanes: Lanes, how: Sampling, words: Lane) -> Any:
    if how.quantiles is not None:
        k, unit = tabulated(lanes, words, how.quantiles)
        return lanes.values(k, how, unit)
    return lanes.values(how.lattice.place(how.deviate(lanes, words)), how)


def words(lanes: Lanes, key: Key, region: Region, words_per_element: int, purpose: int) -> Sequence[Lane]:
    """The words of each element of the region: n lanes, the c-th of words n * i + c of the stream for element i."""
    pair = lanes.key(key.low, key.high)
    if region.is_run and not lanes.fused:
        start, stop = region.offset * words_per_element, (region.offset + region.size) * words_per_element
        blocks = lanes.arange(start // 4, -(-stop // 4))
        stream = lanes.xp.reshape(lanes.xp.stack(block_of(blocks, purpose, pair), axis=-1), (-1,))
        return [stream[start % 4 + c : start % 4 + stop - start : words_per_element] for c in range(words_per_element)]
    index = lanes.index(region) * words_per_element
    return [_word(lanes, index + c, purpose, pair) for c in range(words_per_element)]


def _word(lanes: Lanes, i: Lane, purpose: int, key: tuple[Lane, Lane]) -> Lane:
    """Word i of the stream: word i % 4 of block i // 4."""
    where = lanes.xp.where
    w0, w1, w2, w3 = block_of(i >> 2, purpose, key)
    odd = (i & 1) == 1
    return where((i & 2) == 2, where(odd, w3, w2), where(odd, w1, w0))
