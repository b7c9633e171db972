"""Packed tensors: each piece drawn by itself, in place in the memory of the whole, by the engine of that memory."""

from typing import Any, TypeAlias

from arrayinit.engines import run
from arrayinit.engines.reference import allocate
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.lattice import plan
from arrayinit.laws import SAMPLED, Packed, Piece

__all__ = ["draw", "parts"]

Part: TypeAlias = tuple[tuple[int | slice, ...], Job]


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    backend, out = target.backend, allocate(job, target)
    if backend.is_abstract(out) or not job.size:
        return out
    found = parts(job)
    if sum(part.size for _, part in found) < job.size:
        backend.fill(out, 0, job.dtype)
    for index, part in found:
        if backend.indexes:
            with backend.drawing(backend.device(out)):
                view = backend.view(out)[(*index, ...)]
            run(part, Target(backend, view, in_place=True, device=None))
        else:
            backend.write(out, index, run(part, Target(backend, None, in_place=False, device=backend.device(out))))
    return out


def parts(job: Job) -> list[Part]:
    """What a job takes of each piece: where that lies in its result, and the draw that it is."""
    assert isinstance(job.law, Packed)
    found: list[tuple[tuple[int | slice, ...], Piece, Job]] | None = job.memo.get("parts")
    if found is None:
        found = []
        for piece in job.law.pieces:
            common = job.box.within(piece.box)
            if common is not None:
                drawn = plan(piece.law, job.dtype) if isinstance(piece.law, SAMPLED) else None
                found.append((common[0], piece, Job(piece.law, drawn, None, piece.geometry, common[1], job.dtype)))
        job.memo["parts"] = found
    return [(index, part.keyed(_key(job.key, piece))) for index, piece, part in found]


def _key(key: Key | None, piece: Piece) -> Key | None:
    return key if key is None or piece.fold is None else key.fold(piece.fold)
