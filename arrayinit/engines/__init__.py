"""Engines: a job and a target -> an array. `reference` is the specification; all others equal it bit for bit."""

import importlib
from typing import Any

from arrayinit.job import Job, Target

__all__ = ["run"]


def run(job: Job, target: Target) -> Any:
    """Draw with the engine that the target's backend names."""
    return importlib.import_module(f"arrayinit.engines.{target.backend.engine}").draw(job, target)
