"""Jobs and targets, the input of engines: a draw, fully decided, and the array for its result."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from arrayinit.backends import Backend
from arrayinit.key import Key
from arrayinit.laws import SAMPLED, Law, Packed, Rows, parts
from arrayinit.laws.geometry import Geometry, geometry
from arrayinit.laws.lattice import Sampling, sampling
from arrayinit.laws.regions import Box, Flat, Region, box, region

__all__ = ["Job", "Target"]

PIECES_KEPT = 256  # parts of a mixed law whose jobs are kept for the next draw of the kind

_Place: TypeAlias = tuple[int | slice, ...]  # an index into the result of a job


@dataclass(frozen=True)
class Job:
    """The elements `selected` of the global tensor `geometry`, which follows `law` under `key`, in `dtype`."""

    law: Law
    sampling: Sampling | None  # of laws whose elements are drawn independently of each other
    key: Key | None  # None where the law draws nothing
    geometry: Geometry
    selected: Box | Flat
    dtype: str
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # results that engines keep

    @classmethod
    def of(cls, law: Law, key: Key | None, geometry: Geometry, selected: Box | Flat, dtype: str) -> "Job":
        """The job of a law that is known to suit the dtype."""
        chosen = sampling(law, dtype) if isinstance(law, SAMPLED) else None
        return cls(law=law, sampling=chosen, key=key, geometry=geometry, selected=selected, dtype=dtype)

    def __getstate__(self) -> dict[str, Any]:
        """All but the memo, which holds addresses of this process."""
        return {**self.__dict__, "memo": {}}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (self.law, self.sampling, self.key, self.geometry, self.selected, self.dtype)

    def keyed(self, key: Key | None) -> "Job":
        """The same draw under another key; it shares the memo of this one."""
        job = object.__new__(Job)
        job.__dict__.update(self.__dict__, key=key)
        return job

    def part(self, corner: tuple[int, ...], shape: tuple[int, ...]) -> "Job":
        """The draw of the part of this shape that starts at element `corner` of the result."""
        return replace(self, selected=self.selected.part(corner, shape), memo={})

    def whole_line(self, law: Law, key: Key, dtype: str) -> "Job":
        """A draw by another law of as many elements as the global tensor has, along one axis."""
        size = math.prod(self.geometry.shape)
        return Job.of(law, key, geometry(size), box((size,), None), dtype)

    def pieces(self) -> Iterator[tuple[_Place, "Job"]]:
        """For each part of a mixed law that the job overlaps: the place in the result, and the draw of that part."""
        for place, fold, job in self._overlaps():
            key = self.key if self.key is None or fold is None else self.key.fold(fold)
            yield place, job.keyed(key)

    @property
    def is_covered(self) -> bool:
        """Whether the parts of a mixed law cover all elements of the job; elements outside of them are 0."""
        if isinstance(self.law, Rows):
            return True
        covered: bool | None = self.memo.get("covered")
        if covered is None:
            covered = self.memo["covered"] = sum(job.size for _, _, job in self._overlaps()) == self.size
        return covered

    def _overlaps(self) -> Iterable[tuple[_Place, int | None, "Job"]]:
        """The parts that the job overlaps: place, number to fold, job without a key; kept where they are few."""
        kept: list[tuple[_Place, int | None, Job]] | None = self.memo.get("overlaps")
        if kept is not None:
            return kept
        overlaps = self._pieces_here(self.law) if isinstance(self.law, Packed) else self._rows_here(self.law)
        if parts(self.law) > PIECES_KEPT:
            return overlaps
        kept = self.memo["overlaps"] = list(overlaps)
        return kept

    def _pieces_here(self, law: Packed) -> Iterator[tuple[_Place, int | None, "Job"]]:
        for piece in law.pieces:
            common = self.box.within(piece.box)
            if common is not None:
                place, part = common
                yield place, piece.fold, Job.of(piece.law, None, piece.geometry, part, self.dtype)

    def _rows_here(self, law: Law) -> Iterator[tuple[_Place, int | None, "Job"]]:
        """Slices keep their place in the whole tensor, and so the words of their elements."""
        assert isinstance(law, Rows)
        assert isinstance(law.axis, int)
        shape, axis = self.geometry.shape, law.axis
        starts, steps, counts = [0] * len(shape), (1,) * len(shape), list(shape)
        for start, stop, each in law.runs:
            starts[axis], counts[axis] = start, stop - start
            common = self.box.within(Box(tuple(starts), steps, tuple(counts)))
            if common is not None:
                place, part = common
                here = (*part.starts[:axis], part.starts[axis] + start, *part.starts[axis + 1 :])
                yield place, None, Job.of(each, None, self.geometry, replace(part, starts=here), self.dtype)

    def boxes(self) -> Iterator[tuple[slice, "Job"]]:
        """The draws that make a flat part, each with its place in the result."""
        for place, each in self.flat.boxes():
            yield place, replace(self, selected=each, memo={})

    @property
    def box(self) -> Box:
        """The elements of a job whose result has the axes of the tensor."""
        assert isinstance(self.selected, Box)
        return self.selected

    @property
    def flat(self) -> Flat:
        """The elements of a job that are selected in row-major order."""
        assert isinstance(self.selected, Flat)
        return self.selected

    @property
    def whole(self) -> "Job":
        """The draw of the whole tensor."""
        return replace(self, selected=box(self.geometry.shape, None), memo={})

    @cached_property
    def placed(self) -> tuple[Region, tuple[int, ...]]:
        """The region of linear indices in canonical order, and the axes of the part in that order."""
        return region(self.geometry, self.box)

    @cached_property
    def size(self) -> int:
        """The number of elements of the result."""
        return math.prod(self.shape)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return self.selected.shape


class Target(NamedTuple):
    """Where the result goes: into `array` itself, or into a new array like it, or on `device`."""

    backend: Backend
    array: Any  # None where a shape was given
    in_place: bool
    device: Any
    chunks: Any = None  # of a new array of a library that cuts arrays into blocks

    def ready(self, job: Job) -> "Target":
        """The target with its array allocated, so that a draw that fails for lack of memory takes no key.

        Where the engine makes the array as it draws, the target itself, once it is clear that the array can be had.
        """
        if self.in_place:
            return self
        self.backend.check_new(job.shape, job.dtype, self.array, self.device, self.chunks)
        if not self.backend.fills_in_place:
            return self
        return Target(self.backend, self.array_for(job), in_place=True, device=None)

    def array_for(self, job: Job) -> Any:
        """The array that an engine fills: the target's, or a new one."""
        return self.array if self.in_place else self.backend.allocate(job.shape, job.dtype, self.array, self.device)
