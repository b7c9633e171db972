"""Arrays that are held in several parts, as shards are: each part is drawn into memory of its own."""

from collections.abc import Callable
from typing import Any

from arrayinit.backends import Backend
from arrayinit.engines import run
from arrayinit.job import Job, Target
from arrayinit.laws import is_joint

__all__ = ["part_filler"]


def part_filler(job: Job, backend: Backend, several: bool = True) -> Callable[[tuple[int, ...], Any], None]:
    """A function (corner, out) that fills `out` with the part of a job that starts at this corner.

    Each element of a joint law depends on all others. Where there are several parts it is drawn once as a whole, which
    is kept as long as the function, and the parts are cut from that.
    """
    whole: list[Any] = []

    def fill(corner: tuple[int, ...], out: Any) -> None:
        shape = tuple(out.shape)
        is_all = shape == job.shape
        if is_all or not (several and is_joint(job.law)):
            run(job if is_all else job.part(corner, shape), Target(backend, out, in_place=True, device=None))
            return
        if not whole:
            whole.append(run(job, Target(backend, None, in_place=False, device=backend.device(out))))
        cut = tuple(slice(start, start + length) for start, length in zip(corner, shape, strict=True))
        backend.write(backend.view(out), (), whole[0][cut])

    return fill
