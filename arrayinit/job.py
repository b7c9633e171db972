"""A draw, fully decided: what engines are given."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from arrayinit.backends import Backend
from arrayinit.key import Key
from arrayinit.laws import Law
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.lattice import Sampling
from arrayinit.laws.regions import Box, Region, region

__all__ = ["Job", "Target"]


@dataclass(frozen=True)
class Job:
    """The elements `box` of the global tensor `geometry`, which follows `law` under `key`, in `dtype`."""

    law: Law
    sampling: Sampling | None  # of laws whose elements are drawn independently of each other
    key: Key | None  # None where the law draws nothing
    geometry: Geometry
    box: Box
    dtype: str
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # what an engine worked out about it

    def __getstate__(self) -> dict[str, Any]:
        """All but what was worked out, which holds addresses of this process."""
        return {**self.__dict__, "memo": {}}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (self.law, self.sampling, self.key, self.geometry, self.box, self.dtype)

    def keyed(self, key: Key | None) -> "Job":
        """The same draw under another key; it shares what was worked out about this one."""
        job = object.__new__(Job)
        job.__dict__.update(self.__dict__, key=key)
        return job

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
        return self.box.shape


class Target(NamedTuple):
    """Where the result goes: into `array` itself, or into a new array like it, or on `device`."""

    backend: Backend
    array: Any  # None where a shape was given
    in_place: bool
    device: Any
    chunks: Any = None  # of a new array of a library that cuts arrays into blocks

    def ready(self, job: Job) -> "Target":
        """The target with the array that is to be filled: made before a key is taken, for a failure takes none.

        Itself where an engine makes the array as it draws; then it is checked that it can.
        """
        if self.in_place:
            return self
        new = self.backend.allocate(job.shape, job.dtype, self.array, self.device, self.chunks)
        return self if new is None else Target(self.backend, new, in_place=True, device=None)
