"""Engines: a job and a target -> an array. `reference` is the specification; all others equal it bit for bit."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from arrayinit.job import Job, Target

__all__ = ["run"]


def run(job: Job, target: Target) -> Any:
    """Draw with the engine that the target's backend names."""
    return _draw(target.backend.engine)(job, target)


@functools.cache
def _draw(engine: str) -> Callable[[Job, Target], Any]:
    draw: Callable[[Job, Target], Any] = importlib.import_module(f"arrayinit.engines.{engine}").draw
    return draw
