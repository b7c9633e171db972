"""Engines: a job and a target -> an array. `reference` is the specification; all others equal it bit for bit."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from arrayinit.job import Job, Target
from arrayinit.laws import Packed

__all__ = ["run"]

# Which module draws for the name that a backend gives (`engine`, `engine_for`). Imported at the first draw.
_ENGINES = {
    "reference": "arrayinit.engines.reference",  # any namespace of the array API; the specification
    "cpu": "arrayinit.engines.cpu",  # NumPy, and torch in host memory
    "cuda": "arrayinit.engines.cuda",  # CuPy, and torch on CUDA
    "jax": "arrayinit.engines.jax",
    "dask": "arrayinit.engines.dask",
    "dtensor": "arrayinit.engines.dtensor",
    "negated": "arrayinit.engines.negated",  # torch tensors that are read negated or conjugated
    "packed": "arrayinit.engines.packed",  # the pieces of a packed tensor, one by one
}
_WHOLE = ("dask", "dtensor", "jax", "negated")  # engines that cut packed tensors themselves, or have them cut


def run(job: Job, target: Target) -> Any:
    """Draw with the engine that the target's backend names; pieces of packed tensors one by one in its memory."""
    engine = target.backend.engine_for(target.array, target.device)
    if isinstance(job.law, Packed) and engine not in _WHOLE:
        engine = "packed"
    return _draw(engine)(job, target)


@functools.cache
def _draw(engine: str) -> Callable[[Job, Target], Any]:
    draw: Callable[[Job, Target], Any] = importlib.import_module(_ENGINES[engine]).draw
    return draw
