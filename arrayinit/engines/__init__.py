"""Engines: a job and a target -> an array. `reference` is the specification; all others equal it bit for bit."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from arrayinit.job import Job, Target
from arrayinit.laws import Packed

__all__ = ["run"]

_WHOLE = ("dask", "dtensor", "jax", "negated")  # engines that cut packed tensors themselves, or have them cut


def run(job: Job, target: Target) -> Any:
    """Draw with the engine that the target's backend names; pieces of packed tensors one by one in its memory."""
    engine = target.backend.engine_for(target.array, target.device)
    if isinstance(job.law, Packed) and engine not in _WHOLE:
        engine = "packed"
    return _draw(engine)(job, target)


@functools.cache
def _draw(engine: str) -> Callable[[Job, Target], Any]:
    draw: Callable[[Job, Target], Any] = importlib.import_module(f"arrayinit.engines.{engine}").draw
    return draw
