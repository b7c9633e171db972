"""What changed between two reports."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from arrayinit.common.folding import folded
from arrayinit.common.listings import Listing
from arrayinit.common.messages import counted, shape_text
from arrayinit.common.tables import Column
from arrayinit.reports import rendering
from arrayinit.reports.casts import CASTS
from arrayinit.reports.results import Report, Row, number_range

__all__ = ["Change", "Diff", "difference"]

Kind = Literal["equal", "changed", "cast", "cast and changed", "reshaped", "removed", "added", "not compared"]


@dataclass(frozen=True)
class Change:
    """A parameter before and after.

    kind: "equal": all bits are. "changed": other values. "cast": the same values in another dtype, one being the other
        after rounding to nearest. "cast and changed": other values in another dtype. "reshaped": another shape.
        "removed", "added": it is there before or after alone. "not compared": one of both has no values here, or they
        differ in dtype, and the report of the wider one was made without `casts=True`, or one is not float64, float32,
        float16 or bfloat16.
    before, after: the rows of the reports; None where it isn't there.
    """

    path: str
    kind: Kind
    before: Row | None
    after: Row | None

    @property
    def std_ratio(self) -> float | None:
        """The std after, divided by the one before."""
        before, after = (None if row is None else row.std for row in (self.before, self.after))
        return after / before if before and after is not None else None

    @property
    def needs_casts(self) -> bool:
        """Whether a report with `casts=True` would compare the values, which are of two dtypes."""
        sides = (self.before, self.after), (self.after, self.before)
        return any(x and y and x.casts is None and x.fingerprint and _narrows(x.dtype, y.dtype) for x, y in sides)


@dataclass(frozen=True, repr=False)
class Diff(rendering.Rendered, Listing[Change]):
    """All parameters of two models, from :meth:`Report.diff`. `str`, rich and notebooks show those that differ."""

    changes: tuple[Change, ...]
    fold: bool = True

    @property
    def different(self) -> tuple[Change, ...]:
        """The parameters that are not equal."""
        return tuple(change for change in self.changes if change.kind != "equal")

    @property
    def _entries(self) -> tuple[Change, ...]:
        return self.changes

    def _table(self) -> rendering.Table:
        shown = self.different
        groups = [(change.path, [k]) for k, change in enumerate(shown)]
        if self.fold:
            groups = folded([change.path for change in shown], [_alike(change) for change in shown])
        cells = [_cells(label, [shown[k] for k in numbers]) for label, numbers in groups]
        counts = Counter(change.kind for change in self.changes)
        parts = ", ".join(f"{n} {kind}" for kind, n in counts.items() if kind != "equal")
        total = f"{counted(len(self.changes), 'array')}: {counts['equal']} equal{', ' if parts else ''}{parts}"
        if any(change.kind == "not compared" and change.needs_casts for change in self.changes):
            total += "; report(model, casts=True) compares values of other dtypes"
        return rendering.Table("arrayinit diff", COLUMNS, cells, total)


COLUMNS = [
    Column("parameter"),
    Column("change"),
    Column("shape", right=True, weight=8),
    Column("dtype", weight=7),
    Column("mean before", right=True, weight=3),
    Column("mean after", right=True, weight=3),
    Column("std before", right=True),
    Column("std after", right=True),
    Column("std ratio", right=True, weight=5),
]


def _alike(change: Change) -> Hashable:
    """Equal for changes that may be shown as one, if their paths are alike, too."""
    return change.kind, *(
        (row.shape, row.dtype, row.std is None) if row else None for row in (change.before, change.after)
    )


def _cells(label: str, changes: Sequence[Change]) -> list[str]:
    rows = [row for row in (changes[0].before, changes[0].after) if row is not None]
    shapes, dtypes = dict.fromkeys(shape_text(row.shape) for row in rows), dict.fromkeys(row.dtype for row in rows)
    cells = [label, changes[0].kind, " to ".join(shapes), " to ".join(dtypes) if len(dtypes) > 1 else ""]
    for name in ("mean", "std"):
        for side in ("before", "after"):
            there = [row for change in changes if (row := getattr(change, side)) is not None]
            cells.append(number_range([getattr(row, name) for row in there]) if there else "")
    ratios = [change.std_ratio for change in changes]
    return [*cells, "" if None in ratios else number_range(ratios)]


def difference(before: Report, after: Report, fold: bool) -> Diff:
    """The changes from one report to another, in the order of the first."""
    old, new = ({path: row for row in report for path in (row.path, *row.tied)} for report in (before, after))
    paths = dict.fromkeys([*(row.path for row in before), *(row.path for row in after)])
    return Diff(
        tuple(Change(path, _kind(old.get(path), new.get(path)), old.get(path), new.get(path)) for path in paths), fold
    )


def _narrows(dtype: str, other: str) -> bool:
    """Whether a row of dtype can have the fingerprint that its values would have in the other."""
    return any(cast.partition(" ")[0] == other for cast in CASTS.get(dtype, ()))


def _kind(before: Row | None, after: Row | None) -> Kind:
    if before is None or after is None:
        return "added" if before is None else "removed"
    if before.shape != after.shape:
        return "reshaped"
    if before.fingerprint is None or after.fingerprint is None:
        return "not compared"
    if before.dtype != after.dtype:
        sides = [(x.casts, y.fingerprint) for x, y in ((before, after), (after, before)) if _narrows(x.dtype, y.dtype)]
        if any(casts is not None and mark in casts for casts, mark in sides):
            return "cast"
        return "cast and changed" if sides and all(casts is not None for casts, _ in sides) else "not compared"
    return "equal" if before.fingerprint == after.fingerprint else "changed"
