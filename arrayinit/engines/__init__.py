"""Engines: a job and a target -> an array. `reference` is the specification; all others equal it bit for bit.

The one exception is `orthogonal`, whose matrix products each library rounds in its own way.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from arrayinit.job import Job, Target
from arrayinit.laws import MIXED

__all__ = ["run"]

# The module of each engine, by the name that a backend gives (`engine`, `engine_for`); imported at the first draw.
_ENGINES = {
    "reference": "arrayinit.engines.reference",  # any namespace of the array API; the specification
    "cpu": "arrayinit.engines.cpu",  # NumPy, and torch in host memory
    "cuda": "arrayinit.engines.cuda",  # CuPy, and torch on CUDA
    "jax": "arrayinit.engines.jax",
    "dask": "arrayinit.engines.dask",
    "dtensor": "arrayinit.engines.dtensor",
    "negated": "arrayinit.engines.negated",  # torch tensors that are read negated or conjugated
    "mixed": "arrayinit.engines.mixed",  # the parts of a tensor of several laws, one by one
}
_TAKES_MIXED = ("dask", "dtensor", "jax", "negated")  # engines that cut such tensors, or call `run` for their memory


def run(job: Job, target: Target) -> Any:
    """Draw by the engine that the target's backend names, tensors of several laws part by part."""
    engine = target.backend.engine_for(target.array, target.device)
    if isinstance(job.law, MIXED) and engine not in _TAKES_MIXED:
        engine = "mixed"
    return _draw(engine)(job, target)


@functools.cache
def _draw(engine: str) -> Callable[[Job, Target], Any]:
    draw: Callable[[Job, Target], Any] = importlib.import_module(_ENGINES[engine]).draw
    return draw
