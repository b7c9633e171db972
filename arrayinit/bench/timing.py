"""Time contenders in turn, each once a round, so that noise of the machine hits all of them alike."""

import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

__all__ = ["Clock", "Contender", "Process", "Samples", "TimedCall", "interleaved", "no_garbage_collection"]

Clock: TypeAlias = Callable[[], float]

LEAST = 2e-2  # seconds of a sample, so that the clock, the loop and the waking of threads don't show in it
FEWEST = 3  # rounds, however long they take
PAUSE = 2e-2  # seconds before a sample, for the threads of the previous one to go to sleep: OpenMP's spin for 5 ms
PATIENCE = 600  # seconds until a process is given up

FRESH = Path(__file__).with_name("fresh.py")


class Contender(Protocol):
    """Something that can be measured repeatedly and compared with others."""

    def warm(self) -> None:
        """Get ready. This is not measured."""

    def sample(self) -> float:
        """One measurement: seconds a call, or bytes."""


@dataclass
class TimedCall:
    """A function in this process, called as often as needed for a sample to last 20 ms."""

    call: Callable[[], Any]
    clock: Clock = time.perf_counter
    least: float = LEAST
    inner: int = 1

    def warm(self) -> None:
        """Call once, then find out how many calls a sample needs."""
        self.call()
        while (taken := self.sample() * self.inner) < self.least:
            wanted = math.ceil(1.1 * self.inner * self.least / taken) if taken > 0 else 0
            self.inner = max(2 * self.inner, min(wanted, 1000 * self.inner))

    def sample(self) -> float:
        """Seconds a call."""
        call, clock = self.call, self.clock
        count = range(self.inner)
        with no_garbage_collection():
            start = clock()
            for _ in count:
                call()
            return (clock() - start) / self.inner


@dataclass
class Process:
    """A program of fresh.py, started again for each sample."""

    program: str
    arguments: tuple[str, ...] = ()

    def warm(self) -> None:
        """Do nothing, because a fresh process is cold."""

    def sample(self) -> float:
        """The number that the program prints."""
        root = str(FRESH.parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-P", str(FRESH), self.program, *self.arguments]
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users' Pythons don't compile the package each time either
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"took more than {PATIENCE} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise RuntimeError(f"failed in its process: {last}")
        return float(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Samples:
    """raw: contender -> one sample a round. notes: contender -> the reason why it has none."""

    raw: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def interleaved(
    contenders: Mapping[str, Contender], rounds: int, budget: float = math.inf, clock: Clock = time.perf_counter
) -> Samples:
    """Warm up all contenders, then sample each of them once a round. Each round begins with the next contender.

    A contender that raises drops out and leaves a note. After `budget` seconds, rounds end at the third.
    """
    samples = Samples({name: [] for name in contenders}, {})

    def attempt(name: str, step: Callable[[], float | None]) -> None:
        try:
            if (sample := step()) is not None:
                samples.raw[name].append(sample)
        except Exception as error:
            samples.raw.pop(name)
            text = str(error).strip().splitlines()
            samples.notes[name] = f"{type(error).__name__}: {text[0] if text else ''}"[:200]

    for name, contender in contenders.items():
        attempt(name, contender.warm)
    start = clock()
    for done in range(rounds):
        if done >= FEWEST and clock() - start > budget:
            break
        names = list(samples.raw)
        turn = done % max(len(names), 1)
        for name in names[turn:] + names[:turn]:
            time.sleep(PAUSE)
            attempt(name, contenders[name].sample)
    return samples


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off, because a collection would be measured with the sample."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
