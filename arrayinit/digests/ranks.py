"""What the processes that hold a model tell each other: parts of digests, and why one of them has none.

An error on one process is raised on all that it shares arrays with, instead of leaving them to wait for it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from arrayinit.backends import backend_of
from arrayinit.backends.base import Backend
from arrayinit.digests.parts import FingerprintPart
from arrayinit.digests.stored import is_stored
from arrayinit.digests.sums import MASK

__all__ = ["Problem", "added_up", "gathered", "raised"]

SHOWN = 5  # names in an error
ERRORS = {kind.__name__: kind for kind in (TypeError, ValueError, OSError, MemoryError, NotImplementedError)}


@dataclass(frozen=True)
class Problem:
    """Why the arrays of a process have no digest. `rank`: of the process that told it; None for this one."""

    text: str
    kind: str = "ValueError"
    rank: int | None = None
    cause: Exception | None = None

    @classmethod
    def of(cls, error: Exception, name: str) -> "Problem":
        """That of an array with this name."""
        kind = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERRORS), "RuntimeError")
        text = str(error)
        return cls(text if text.startswith(name) else f"{name}: {text}", kind, cause=error)

    def as_list(self, rank: int) -> list[Any]:
        """The problem as plain data that names the process which has it."""
        return [rank if self.rank is None else self.rank, self.kind, self.text]

    @classmethod
    def first(cls, told: Sequence[list[Any] | None], own: "Problem | None") -> "Problem | None":
        """That of the lowest rank among what all of them told."""
        rank, kind, text = min((each for each in told if each is not None), default=(None, "", ""))
        if rank is None:
            return None
        return cls(text, kind, rank, own.cause if own is not None and own.text == text else None)


def raised(problem: Problem | None) -> None:
    """Raise the error that a problem stands for."""
    if problem is not None:
        if problem.rank is None and problem.kind not in ERRORS and problem.cause is not None:
            raise problem.cause
        where = "" if problem.rank is None else f" (on rank {problem.rank})"
        raise ERRORS.get(problem.kind, RuntimeError)(f"{problem.text}{where}") from problem.cause


def gathered(own: Any, problem: Problem | None) -> list[Any]:
    """What each process of torch's world has, if there is a world; all of them must call this.

    Raises:
        ValueError, TypeError, ...: the problem of any process, on all of them.
    """
    distributed: Any = sys.modules["torch"].distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        raised(problem)
        return [own]
    everyone: list[Any] = [None] * distributed.get_world_size()
    told = None if problem is None else problem.as_list(distributed.get_rank())
    try:
        distributed.all_gather_object(everyone, (told, own))
    except RuntimeError as error:
        raise RuntimeError(
            "the parts of a model that is cut are gathered from all ranks, and some did not take part: each must call "
            f"this, and one that holds no part must pass `shards={{}}` ({error})"
        ) from error
    raised(Problem.first([each for each, _ in everyone], problem))
    return [each for _, each in everyone]


def added_up(
    parts: Mapping[str, tuple[FingerprintPart | None, Any]], problem: Problem | None = None
) -> list[FingerprintPart]:
    """The arrays as wholes, of each of which this process has a part: that beside it.

    The sums over all processes of what each holds, and of what the first holder of each copy holds, go through one
    collective for each group of processes that share arrays, after one of a fixed size, by which they agree on the
    arrays. Copies are equal if the one sum is as many times the other as there are copies.

    Args:
        parts: what errors call the array -> its part, or None where there is a problem; and the array.
        problem: why this process has no digests.

    Raises:
        ValueError: copies of an array differ between processes, or their arrays do. The error of `problem`, on all
            processes that share an array with this one.
    """
    whole = {name: part for name, (part, _) in parts.items()}
    by_backend: dict[Any, list[str]] = {}
    for name, (_, x) in parts.items():
        backend = None if is_stored(x) else backend_of(x)
        if backend is not None and backend.is_shared(x):
            by_backend.setdefault(backend, []).append(name)
    groups = [
        (backend, [names[k] for k in numbers])
        for backend, names in by_backend.items()
        for numbers in backend.groups([parts[name][1] for name in names])
    ]
    for backend, names in groups:  # a process of two groups tells the second what it was told by the first
        problem = _agreed(backend, {name: parts[name][1] for name in names}, problem)
    raised(problem)
    differing = []
    for backend, names in groups:
        copies = {name: backend.copies(parts[name][1]) for name in names}
        rows = []
        for name in names:
            part: Any = whole[name]
            rows.append((*((part.count, *part.total) if copies[name][1] else (0, 0, 0)), *part.total))
        for name, (count, a, b, *held) in zip(names, backend.added(parts[names[0]][1], rows), strict=True):
            part = whole[name]
            whole[name] = replace(part, count=count, total=(a, b))
            if held != [n * copies[name][0] & MASK for n in (a, b)]:
                differing.append(name)
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise ValueError(f"{', '.join(differing[:SHOWN])}{more}: copies differ between processes")
    return [part for part in whole.values() if part is not None]


def _agreed(backend: Backend, arrays: Mapping[str, Any], problem: Problem | None) -> Problem | None:
    """The problem of any process that shares these arrays, or that they have others; None for neither."""
    import hashlib  # imported here, as where digests are made

    first = next(iter(arrays.values()))
    listed = [f"{name} {backend.dtype_name(x.dtype)} {tuple(map(int, x.shape))}" for name, x in arrays.items()]
    mark = int.from_bytes(hashlib.blake2b("\n".join(listed).encode("utf-8", "surrogatepass"), digest_size=8).digest())
    ((count, marks, wrong),) = backend.added(first, [(1, mark, int(problem is not None))])
    if not wrong and marks == count * mark & MASK:
        return problem
    own = [None if problem is None else problem.as_list(backend.rank()), listed]
    told = {rank: json.loads(text) for rank, text in backend.told(first, json.dumps(own)).items()}
    found = Problem.first([each for each, _ in told.values()], problem)
    if found is not None:
        return found
    one = min(told)
    here = told[one][1]
    other, there = next((rank, names) for rank, (_, names) in sorted(told.items()) if names != here)
    alone = sorted(set(here) ^ set(there))[:SHOWN]
    return Problem(f"processes must share the same arrays; those of ranks {one} and {other} differ: {', '.join(alone)}")
