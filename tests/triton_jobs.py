"""Draws as jobs, for the tests of the Triton kernels under the interpreter and on a device."""

import math

import torch

from arrayinit.backends import backend_of
from arrayinit.engines import reference
from arrayinit.fans import geometry
from arrayinit.job import Job
from arrayinit.key import Key
from arrayinit.lattice import plan
from arrayinit.laws import Normal, Truncated, Uniform, Words
from arrayinit.regions import box

DTYPES = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128")
KEY = Key(0xFEDCBA9876543210)
LAWS = (
    Uniform(-1.0, 1.0),
    Uniform(-0.3, 17.0),  # clipped below the upper end
    Uniform(0.0, 1.0),
    Normal(0.0, 1.0),
    Normal(-3.25, 0.7),
    Truncated(0.0, 1.0, -2.0, 2.0),
    Truncated(1.0, 0.5, -0.1, 0.7),
    Truncated(0.0, 1.0, -0.1, 0.1),
    Truncated(0.0, 0.5, 1.5, math.inf),
    Truncated(0.0, 1.0, -math.inf, 0.0),
    Truncated(0.0, 1.0, -1.0, math.inf),
    Truncated(0.0, 1.0, -math.inf, math.inf),
    Truncated(1.0, 1.0, -6.0, -3.0),
)
# Octaves far out, where c0 has 31 bits; the parts of complex elements would lie further out still.
FAR = (Truncated(0.0, 1.0, 5.0, 9.0), Truncated(0.0, 1.0, -10.5, -9.0), Truncated(0.0, 1.0, 8.5, math.inf))


def job_of(law, dtype, shape, index=None, layout=None, key=KEY):
    decided = None if isinstance(law, Words) else plan(law, dtype)
    return Job(law, decided, key, geometry(shape, layout), box(shape, index), dtype)


def empty(job, device="cpu"):
    return torch.empty(job.shape, dtype=getattr(torch, job.dtype), device=device)


def expected(job):
    """By the reference, in memory of the host."""
    out = empty(job)
    reference.fill(job, backend_of(out), out)
    return out


def same(x, y):
    """Whether all bits are equal, but those of the sign of zeros."""
    x, y = (a.cpu().to(torch.int64) if a.dtype == torch.uint32 else a.cpu() for a in (x, y))
    return x.shape == y.shape and bool((x == y).all())
