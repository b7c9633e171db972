"""Packed tensors: each piece drawn by itself, in place in the memory of the whole, by the engine of that memory."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from arrayinit.engines import run
from arrayinit.engines.reference import allocate
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import SAMPLED, Packed, Piece
from arrayinit.laws.lattice import sampling

__all__ = ["draw", "parts"]

Index: TypeAlias = tuple[int | slice, ...]
Part: TypeAlias = tuple[Index, Job]

REMEMBERED = 256  # pieces whose parts are kept for the next draw of their kind


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    backend, out = target.backend, allocate(job, target)
    if backend.is_abstract(out) or not job.size:
        return out
    if not _is_covered(job):
        backend.fill(out, 0, job.dtype)
    for index, part in parts(job):
        if backend.indexes:
            with backend.drawing(backend.device(out)):
                view = backend.view(out)[(*index, ...)]
            run(part, Target(backend, view, in_place=True, device=None))
        else:
            backend.write(out, index, run(part, Target(backend, None, in_place=False, device=backend.device(out))))
    return out


def parts(job: Job) -> Iterator[Part]:
    """What a job takes of each piece: where that lies in its result, and the draw that it is."""
    for index, piece, part in _overlaps(job):
        yield index, part.keyed(_key(job.key, piece))


def _overlaps(job: Job) -> Iterable[tuple[Index, Piece, Job]]:
    """The same with the piece, and without a key; remembered where they are few."""
    assert isinstance(job.law, Packed)
    found: list[tuple[Index, Piece, Job]] | None = job.memo.get("parts")
    if found is not None:
        return found
    every = _found(job, job.law)
    if len(job.law.pieces) > REMEMBERED:
        return every
    found = job.memo["parts"] = list(every)
    return found


def _found(job: Job, law: Packed) -> Iterator[tuple[Index, Piece, Job]]:
    for piece in law.pieces:
        common = job.box.within(piece.box)
        if common is not None:
            drawn = sampling(piece.law, job.dtype) if isinstance(piece.law, SAMPLED) else None
            yield common[0], piece, Job(piece.law, drawn, None, piece.geometry, common[1], job.dtype)


def _is_covered(job: Job) -> bool:
    """Whether each element of a job is in a piece."""
    covered: bool | None = job.memo.get("covered")
    if covered is None:
        covered = job.memo["covered"] = sum(part.size for _, _, part in _overlaps(job)) == job.size
    return covered


def _key(key: Key | None, piece: Piece) -> Key | None:
    return key if key is None or piece.fold is None else key.fold(piece.fold)
