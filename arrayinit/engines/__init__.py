"""Engines: a job and a target -> an array. `reference` is the specification; all others equal it bit for bit.

The one exception is `orthogonal`, whose matrix products each library rounds in its own way.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from arrayinit.job import Job, Target
from arrayinit.laws import MIXED
from arrayinit.laws.regions import Flat

__all__ = ["run"]

# The module of each engine, by the name that a backend gives (`engine`, `engine_for`); imported at the first draw.
_ENGINES = {
    "reference": "arrayinit.engines.reference",  # any namespace of the array API; the specification
    "cpu": "arrayinit.engines.cpu",  # NumPy, and torch in host memory
    "cuda": "arrayinit.engines.cuda",  # CuPy, and torch on CUDA
    "jax": "arrayinit.engines.jax",
    "dask": "arrayinit.engines.dask",
    "dtensor": "arrayinit.engines.dtensor",
    "flat": "arrayinit.engines.flat",  # elements in row-major order, box by box
    "negated": "arrayinit.engines.negated",  # torch tensors that are read negated or conjugated
    "mixed": "arrayinit.engines.mixed",  # the parts of a tensor of several laws, one by one
}
_CUTS = ("dask", "dtensor", "jax", "negated")  # engines that cut jobs of both kinds, or call `run` for their memory


def run(job: Job, target: Target) -> Any:
    """Draw by the engine that the target's backend names: flat parts and tensors of several laws in their parts."""
    engine = target.backend.engine_for(target.array, target.device)
    if engine not in _CUTS:
        engine = "flat" if isinstance(job.selected, Flat) else "mixed" if isinstance(job.law, MIXED) else engine
    return _draw(engine)(job, target)


@functools.cache
def _draw(engine: str) -> Callable[[Job, Target], Any]:
    draw: Callable[[Job, Target], Any] = importlib.import_module(_ENGINES[engine]).draw
    return draw
