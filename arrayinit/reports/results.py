"""What a report holds: a row a parameter, and what was found to look wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from arrayinit.reports import tables

__all__ = ["Finding", "Report", "Row"]


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    path: of the parameter; the pattern of an idle rule. text: the reason, with its numbers.
    kind: "unmatched", "undrawable" or "integer": no rule, or not this one, can draw the parameter. "idle rule": it
        matches nothing. "not finite": NaN or infinities. "dead": a weight that is 0 everywhere. "symmetric": all
        outputs (or inputs) of a layer have the same weights. "exploding", "vanishing": a weight that multiplies the
        scale of its input by more than 10 or less than 1/128. "deviates": elements are not what the rule draws.
    """

    path: str
    kind: str
    text: str


@dataclass(frozen=True)
class Row:
    """One parameter. A field that is not known, or has no meaning for it, is None."""

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
    """A table of the parameters of a model, from :func:`arrayinit.report`. `str`, rich and notebooks show it."""

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
        """A plain table, and below it what was found.

        Args:
            width: the most characters of a line of the table: columns that matter less are left out and paths are
                shortened in the middle, until it fits or only paths, shapes, stds and findings are left.
        """
        return tables.text(self._table(), width)

    def to_markdown(self) -> str:
        """A table of GitHub's Markdown with all columns, and a list of what was found."""
        return tables.markdown(self._table())

    def to_html(self) -> str:
        """A whole HTML document that needs no other file."""
        return tables.document(self._table())

    def _repr_html_(self) -> str:
        return tables.fragment(self._table())

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        return tables.rich_parts(self._table(), options.max_width)

    def _table(self) -> tables.Table:
        columns = [column for column in COLUMNS if self.has_rules or not column.is_of_rules]
        cells = [[_cell(row, column.title) for column in columns] for row in self.rows]
        found = [(finding.path, finding.kind, finding.text) for finding in self.findings]
        return tables.Table(columns, cells, found, self._total())

    def _total(self) -> str:
        count, found = len(self.rows), len(self.findings)
        return (
            f"{count} array{'s' * (count != 1)}, {self.size:,} elements, {_memory(self.bytes)}; "
            f"{found or 'no'} finding{'s' * (found != 1)}"
        )


COLUMNS = [
    tables.Column("parameter", right=False, weight=9),
    tables.Column("shape", right=True, weight=8),
    tables.Column("dtype", right=False, weight=2),
    tables.Column("rule", right=False, weight=4, is_of_rules=True),
    tables.Column("initializer", right=False, weight=1, is_of_rules=True),
    tables.Column("fan in", right=True, weight=3),
    tables.Column("fan out", right=True, weight=2),
    tables.Column("mean", right=True, weight=6),
    tables.Column("expected mean", right=True, weight=2, is_of_rules=True),
    tables.Column("std", right=True, weight=9),
    tables.Column("expected std", right=True, weight=7, is_of_rules=True),
    tables.Column("findings", right=False, weight=9),
]


def _cell(row: Row, title: str) -> str:
    match title:
        case "parameter":
            return row.path + "".join(f" = {path}" for path in row.tied)
        case "shape":
            return "x".join(map(str, row.shape)) or "scalar"
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
