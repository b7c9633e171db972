"""How time is taken: every contender once a round, in turn, so that a noisy machine hits all of them alike."""

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

__all__ = ["Call", "Clock", "Contender", "Measured", "Process", "interleaved", "no_garbage_collection"]

Clock: TypeAlias = Callable[[], float]

LEAST = 2e-2  # seconds that a sample takes, so that the clock, the loop and threads that wake up don't show in it
FEWEST = 3  # rounds, whatever the time they take
PAUSE = 2e-2  # seconds before a sample, in which threads of the one before go to sleep: those of OpenMP spin for 5 ms
PATIENCE = 600  # seconds for a process

FRESH = Path(__file__).with_name("fresh.py")


class Contender(Protocol):
    """Somebody whose samples can be compared with another's."""

    def warm(self) -> None:
        """Get ready: what this does is not measured."""

    def sample(self) -> float:
        """One measurement: seconds a call, or bytes."""


@dataclass
class Call:
    """A function of this process, called as often as a sample needs to last 20 ms."""

    call: Callable[[], Any]
    clock: Clock = time.perf_counter
    least: float = LEAST
    inner: int = 1

    def warm(self) -> None:
        """Call once, then find how many calls a sample takes."""
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
    """A program of `fresh`, started anew for each sample."""

    program: str
    arguments: tuple[str, ...] = ()

    def warm(self) -> None:
        """Nothing: a fresh process is cold."""

    def sample(self) -> float:
        """The number that the program prints."""
        root = str(FRESH.parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-P", str(FRESH), self.program, *self.arguments]
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python does not compile a package anew each time
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"took more than {PATIENCE} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise RuntimeError(f"failed in its process: {last}")
        return float(json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Measured:
    """What a row came to: contender -> one sample a round; contender -> why it has none."""

    raw: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def interleaved(
    contenders: Mapping[str, Contender], rounds: int, budget: float = math.inf, clock: Clock = time.perf_counter
) -> Measured:
    """Warm everybody up, then sample each of them once a round; who goes first changes from round to round.

    A contender that raises leaves with a note. `budget` is seconds: once spent, a row ends after its third round.
    """
    measured = Measured({name: [] for name in contenders}, {})

    def attempt(name: str, step: Callable[[], float | None]) -> None:
        try:
            if (sample := step()) is not None:
                measured.raw[name].append(sample)
        except Exception as error:
            measured.raw.pop(name)
            text = str(error).strip().splitlines()
            measured.notes[name] = f"{type(error).__name__}: {text[0] if text else ''}"[:200]

    for name, contender in contenders.items():
        attempt(name, contender.warm)
    start = clock()
    for done in range(rounds):
        if done >= FEWEST and clock() - start > budget:
            break
        names = list(measured.raw)
        turn = done % max(len(names), 1)
        for name in names[turn:] + names[:turn]:
            time.sleep(PAUSE)
            attempt(name, contenders[name].sample)
    return measured


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """A collection in the middle of a sample would be measured with it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
