"""A report: one row for each parameter, and the findings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from arrayinit.common.messages import shape_text
from arrayinit.common.tables import Column
from arrayinit.reports import rendering

__all__ = ["Finding", "Report", "Row"]


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    path: the parameter's path, or the pattern of an idle rule. text: the reason, with its numbers.
    kind: "unmatched": no rule matches the parameter. "undrawable": its rule can't draw it. "integer": no rule can draw
        its dtype. "idle rule": the rule matches nothing. "not finite": NaN or infinities. "dead": a weight that is 0
        everywhere. "symmetric": all outputs (or inputs) of a layer have the same weights. "exploding", "vanishing": a
        weight multiplies the scale of its input by more than 10 or less than 1/128, whatever its axes may mean.
        "random gain": the gain of a norm is drawn at random. "doubled": the weight of a norm that multiplies by
        1 + weight is 1. "deviates": the elements are not what the rule draws.
    """

    path: str
    kind: str
    text: str


@dataclass(frozen=True)
class Row:
    """One parameter. A field is None where it is unknown or has no meaning for the parameter."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    tied: tuple[str, ...]  # other paths of the same array
    bytes: int
    rule: str | None  # the pattern that matches
    initializer: str | None
    fan_in: int | None
    fan_out: int | None
    expected_mean: float | complex | None
    expected_std: float | None
    mean: float | complex | None  # of finite elements, as std
    std: float | None
    low: float | None
    high: float | None
    size: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, repr=False)
class Report(Sequence[Row]):
    """A table of a model's parameters, from :func:`arrayinit.report`. `str`, rich and notebooks show it."""

    rows: tuple[Row, ...]
    idle: tuple[Finding, ...]  # rules that match nothing
    has_rules: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the rows, idle rules last."""
        return (*(finding for row in self.rows for finding in row.findings), *self.idle)

    @property
    def size(self) -> int:
        """The number of elements, tied ones counted once."""
        return sum(row.size for row in self.rows)

    @property
    def bytes(self) -> int:
        """The memory of the elements, tied ones counted once."""
        return sum(row.bytes for row in self.rows)

    @overload
    def __getitem__(self, k: int | str) -> Row: ...

    @overload
    def __getitem__(self, k: slice) -> tuple[Row, ...]: ...

    def __getitem__(self, k: int | str | slice) -> Row | tuple[Row, ...]:
        """A row by its number or its path. KeyError, IndexError."""
        if not isinstance(k, str):
            return self.rows[k]
        for row in self.rows:
            if k == row.path or k in row.tied:
                return row
        raise KeyError(k)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def to_text(self, width: int | None = None) -> str:
        """A plain table, and the findings below it.

        Args:
            width: the most characters of a line of the table. To fit, paths lose their middle and less important
                columns are left out; paths, stds and findings stay.
        """
        return rendering.text(self._table(), width)

    def to_markdown(self) -> str:
        """A table in GitHub's Markdown with all columns, and a list of the findings."""
        return rendering.markdown(self._table())

    def to_html(self) -> str:
        """A whole HTML document that needs no other file."""
        return rendering.document(self._table())

    def _repr_html_(self) -> str:
        return rendering.fragment(self._table())

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        return rendering.rich_parts(self._table(), options.max_width)

    def _table(self) -> rendering.Table:
        columns = [column for column in COLUMNS if self.has_rules or column.title not in NEED_RULES]
        cells = [[_cell(row, column.title) for column in columns] for row in self.rows]
        findings = [(finding.path, finding.kind, finding.text) for finding in self.findings]
        return rendering.Table(columns, cells, findings, self._total())

    def _total(self) -> str:
        arrays, findings = len(self.rows), len(self.findings)
        return (
            f"{arrays} array{'s' * (arrays != 1)}, {self.size:,} elements, {_memory(self.bytes)}; "
            f"{findings or 'no'} finding{'s' * (findings != 1)}"
        )


COLUMNS = [
    Column("parameter"),
    Column("shape", right=True, weight=8),
    Column("dtype", weight=2),
    Column("rule", weight=4),
    Column("initializer", weight=1),
    Column("fan in", right=True, weight=3),
    Column("fan out", right=True, weight=2),
    Column("mean", right=True, weight=6),
    Column("expected mean", right=True, weight=2),
    Column("std", right=True),
    Column("expected std", right=True, weight=7),
    Column("findings"),
]
NEED_RULES = ("rule", "initializer", "expected mean", "expected std")


def _cell(row: Row, title: str) -> str:
    match title:
        case "parameter":
            return row.path + "".join(f" = {path}" for path in row.tied)
        case "shape":
            return shape_text(row.shape)
        case "dtype":
            return row.dtype
        case "rule":
            return row.rule or "-"
        case "initializer":
            return row.initializer or "-"
        case "findings":
            return ", ".join(finding.kind for finding in row.findings)
    return _number(getattr(row, title.replace(" ", "_")))


def _number(value: complex | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, complex):
        return f"{value.real:.3g}{value.imag:+.3g}j"
    return f"{value:d}" if isinstance(value, int) else f"{value:.3g}"


def _memory(count: int) -> str:
    """Bytes in a unit of the right size."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
