"""torch's views that are read negated or conjugated: drawn in the memory under them, which is then negated in place.

Writing through such a view would leave the sign of zeros to torch, which negates complex numbers by subtraction from 0.
"""

from typing import Any

from arrayinit.backends.torch import TorchBackend
from arrayinit.engines import run
from arrayinit.job import Job, Target

__all__ = ["draw"]


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    backend, out = target.backend, target.array_for(job)
    assert isinstance(backend, TorchBackend)
    if job.size and not backend.is_abstract(out):
        run(job, Target(backend, backend.below(out), in_place=True, device=None))
        backend.negate(out)
    return out
