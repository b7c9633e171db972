"""Pairs of matrices from one draw: the host computes the whole in float64, and a job takes its part of it.

All libraries of a machine get the same numbers. NumPy's singular value decomposition is LAPACK's, and rounds otherwise
on another machine: by some 1e-15 over the distance of neighbouring singular values.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from arrayinit.backends import backend_named
from arrayinit.engines import run
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Factor, Law, Normal, Orthogonal
from arrayinit.laws.geometry import Geometry, geometry
from arrayinit.laws.regions import Box, box
from arrayinit.stream.formats import wide_name

__all__ = ["values"]


def values(job: Job) -> Any:
    """The part of a matrix that a job asks for, in the dtype that its dtype is rounded from."""
    assert isinstance(job.law, Factor)
    assert job.key is not None
    out, in_, spatial = job.geometry.sizes
    batch = math.prod(job.geometry.shape) // (out * in_ * spatial)
    whole = job.law.formula(_Source(job.key), (batch, out, in_ * spatial), *job.law.arguments)
    canonical = job.geometry.canonical
    back = sorted(range(len(canonical)), key=job.geometry.order.__getitem__)
    index, flipped = job.box.ascending
    part = np.reshape(whole, canonical).transpose(back)[index]
    return np.ascontiguousarray(np.flip(part, axis=flipped) if flipped else part, wide_name(job.dtype))


@dataclass(frozen=True)
class _Source:
    """The random numbers of a key, as :class:`arrayinit.laws.factors.Source` describes them."""

    key: Key

    def normals(self, name: str, start: int, shape: tuple[int, ...]) -> Any:
        stop = start + math.prod(shape)
        line = _drawn(Normal(0.0, 1.0), self.key.fold(name), geometry(stop), Box((start,), (1,), (stop - start,)))
        return line.reshape(shape)

    def rotations(self, name: str, count: int, size: int) -> Any:
        stack = geometry((count, size, size), "boi")
        return _drawn(Orthogonal(1.0), self.key.fold(name), stack, box(stack.shape, None))


def _drawn(law: Law, key: Key, where: Geometry, selected: Box) -> Any:
    numpy = backend_named("numpy")
    job = Job.of(law, key, where, selected, "float64")
    return run(job, Target(numpy, None, in_place=False, device=None))
