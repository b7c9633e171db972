"""A benchmark's samples, and the numbers derived from them: medians, ratios, shares, goals reached."""

import importlib.util
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from arrayinit.bench.benchmarks import Benchmark
from arrayinit.bench.peers import FILL, OURS
from arrayinit.bench.timing import Samples, interleaved

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """A benchmark with its samples."""

    benchmark: Benchmark
    samples: Samples = field(default_factory=Samples)

    @property
    def medians(self) -> dict[str, float]:
        """Contender -> median of its samples."""
        return {name: statistics.median(values) for name, values in self.samples.raw.items() if values}

    @property
    def ratios(self) -> dict[str, float]:
        """Peer -> its time over ours. Empty for memory, where ours may be zero."""
        medians = self.medians
        if self.benchmark.unit != "s" or not medians.get(OURS):
            return {}
        return {peer: medians[peer] / medians[OURS] for peer in self.benchmark.peers if peer in medians}

    @property
    def share(self) -> float | None:
        """The time of a plain fill over ours."""
        medians = self.medians
        return medians[FILL] / medians[OURS] if FILL in medians and medians.get(OURS) else None

    @property
    def reached(self) -> list[bool]:
        """For each goal that could be measured, whether it is reached."""
        return list(self._goals())

    def _goals(self) -> Iterator[bool]:
        goals = self.benchmark.goals
        for peer, ratio in self.ratios.items():
            if peer in goals.ratios:
                yield ratio >= goals.ratios[peer]
        if goals.share is not None and self.share is not None:
            yield self.share >= goals.share
        if goals.most is not None and OURS in self.medians:
            yield self.medians[OURS] <= goals.most

    @property
    def is_broken(self) -> bool:
        """Whether our call failed. A missing library does not count."""
        return OURS in self.samples.notes

    def as_data(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        goals = self.benchmark.goals
        return {
            "name": self.benchmark.name,
            "unit": self.benchmark.unit,
            "median": self.medians,
            "ratio": self.ratios,
            "fill_share": self.share,
            "goals": {"ratio": dict(goals.ratios), "fill_share": goals.share, "most": goals.most},
            "raw": self.samples.raw,
            "notes": self.samples.notes,
        }


def measure(benchmark: Benchmark, rounds: int, budget: float = math.inf) -> Measurement:
    """Run a benchmark. A missing library and a failed start become notes."""
    for library in benchmark.needs:
        if importlib.util.find_spec(library) is None:
            return Measurement(benchmark, Samples(notes={library: "not installed"}))
    try:
        contenders = benchmark.contenders()
    except Exception as error:
        return Measurement(benchmark, Samples(notes={OURS: f"{type(error).__name__}: {error}"}))
    return Measurement(benchmark, interleaved(contenders, min(rounds, benchmark.rounds or rounds), budget))
