"""What was measured of a row, and the arithmetic on it: medians, ratios, shares, goals."""

import importlib.util
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from arrayinit.bench.measure import Measured, interleaved
from arrayinit.bench.peers import FILL, OURS
from arrayinit.bench.rows import Row

__all__ = ["Result", "measure"]


@dataclass(frozen=True)
class Result:
    """A row with its samples."""

    row: Row
    measured: Measured = field(default_factory=Measured)

    @property
    def medians(self) -> dict[str, float]:
        """Contender -> median of its samples."""
        return {name: statistics.median(samples) for name, samples in self.measured.raw.items() if samples}

    @property
    def ratios(self) -> dict[str, float]:
        """Peer -> its time over ours; empty for rows of memory, where ours may be nothing at all."""
        medians = self.medians
        if self.row.unit != "s" or not medians.get(OURS):
            return {}
        return {peer: medians[peer] / medians[OURS] for peer in self.row.peers if peer in medians}

    @property
    def share(self) -> float | None:
        """The time of a plain fill over ours."""
        medians = self.medians
        return medians[FILL] / medians[OURS] if FILL in medians and medians.get(OURS) else None

    @property
    def reached(self) -> list[bool]:
        """Of each goal that could be measured, whether it is reached."""
        return list(self._goals())

    def _goals(self) -> Iterator[bool]:
        goals = self.row.goals
        for peer, ratio in self.ratios.items():
            if peer in goals.ratios:
                yield ratio >= goals.ratios[peer]
        if goals.share is not None and self.share is not None:
            yield self.share >= goals.share
        if goals.most is not None and OURS in self.medians:
            yield self.medians[OURS] <= goals.most

    @property
    def is_broken(self) -> bool:
        """Whether our own call failed, and not because a library is missing."""
        return OURS in self.measured.notes

    def as_data(self) -> dict[str, Any]:
        """Everything, for JSON."""
        goals = self.row.goals
        return {
            "name": self.row.name,
            "unit": self.row.unit,
            "median": self.medians,
            "ratio": self.ratios,
            "fill_share": self.share,
            "goals": {"ratio": dict(goals.ratios), "fill_share": goals.share, "most": goals.most},
            "raw": self.measured.raw,
            "notes": self.measured.notes,
        }


def measure(row: Row, rounds: int, budget: float = math.inf) -> Result:
    """Measure a row; what is missing is a note."""
    for library in row.needs:
        if importlib.util.find_spec(library) is None:
            return Result(row, Measured(notes={library: "not installed"}))
    try:
        contenders = row.contenders()
    except Exception as error:
        return Result(row, Measured(notes={OURS: f"{type(error).__name__}: {error}"}))
    return Result(row, interleaved(contenders, min(rounds, row.rounds or rounds), budget))
