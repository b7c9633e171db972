"""A report: one row for each parameter, and the findings."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrayinit.common.folding import folded, template
from arrayinit.common.listings import Listing
from arrayinit.common.messages import counted, shape_text
from arrayinit.common.tables import Column
from arrayinit.reports import rendering

if TYPE_CHECKING:
    from arrayinit.reports.differences import Diff

__all__ = ["Finding", "Report", "Row", "number_range"]


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    path: the parameter's path, or the pattern of an idle rule. text: the reason, with its numbers.
    kind: "unmatched": no rule matches the parameter. "undrawable": its rule can't draw it. "integer": no rule can draw
        its dtype. "idle rule": the rule matches nothing. "not finite": NaN or infinities. "dead": a weight that is 0
        everywhere. "symmetric": all outputs (or inputs) of a layer have the same weights. "exploding", "vanishing": a
        weight multiplies the scale of its input by more than 10 or less than 1/128, whatever its axes may mean.
        "random gain": the gain of a norm is drawn at random. "doubled": the weight of a norm that multiplies by
        1 + weight is 1. "deviates": the elements are not what the rule draws. "transposed tie": the parameter is
        another one transposed, in the same memory. "same values": other weights have the same values in memory of their
        own. "partly loaded": with a seed, a parameter, or some of its rows, equals its draw, where most others do not,
        or the other way round.
    """

    path: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.text}"


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
    is_buffer: bool = False
    fingerprint: str | None = None  # of what this process holds
    casts: frozenset[str] | None = None  # fingerprints of the same in other dtypes, see reports/casts.py, if asked for
    as_drawn: float | None = None  # the share of its rows that equal the draw of the seed that was given


@dataclass(frozen=True, repr=False)
class Report(rendering.Rendered, Listing[Row]):
    """A table of a model's parameters, from :func:`arrayinit.report`. `str`, rich and notebooks show it."""

    rows: tuple[Row, ...]
    idle: tuple[Finding, ...]  # rules that match nothing
    has_rules: bool
    fold: bool = True  # whether rows that repeat from layer to layer are shown as one
    seed: str | None = None  # the one that the arrays were compared with, as a text

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

    @property
    def _entries(self) -> tuple[Row, ...]:
        return self.rows

    def diff(self, other: Any) -> "Diff":
        """What changed from this report to another one, or to a model: of each parameter, its mean, std and bits.

            before = ai.report(model)           # a snapshot: a few numbers of each parameter
            train(model)
            print(before.diff(model))           # which parameters changed, and by how much
            print(ai.report(a).diff(b))         # two models

        Parameters are compared by their paths, under all of those that a tied one has. Bits are compared by
        fingerprints, so equal ones are equal in each element. Values of another dtype are
        compared after a cast ("cast" or "cast and changed") if the report of the wider dtype has `casts=True`; one that
        is made here has. `print` and notebooks show what is not equal.

            >>> w = ai.normal((4, 3), seed=0)
            >>> diff = ai.report({"a": w, "b": ai.zeros(3)}).diff({"a": 2 * w, "b": ai.zeros(3), "c": w})
            >>> [(change.path, change.kind) for change in diff]
            [('a', 'changed'), ('b', 'equal'), ('c', 'added')]
            >>> print(diff)
            parameter  change   shape  mean before  mean after  std before  std after  std ratio
            ------------------------------------------------------------------------------------
            a          changed    4x3       -0.434      -0.868        1.08       2.16          2
            c          added      4x3                   -0.434                   1.08
            ------------------------------------------------------------------------------------
            3 arrays: 1 equal, 1 changed, 1 added

        Args:
            other: a Report, or a model as for :func:`arrayinit.report`, which is measured now.

        Raises:
            TypeError, ValueError: as :func:`arrayinit.report`.
        """
        from arrayinit.reports.build import build
        from arrayinit.reports.differences import difference

        return difference(self, other if isinstance(other, Report) else build(other, casts=True), self.fold)

    def _table(self) -> rendering.Table:
        columns = [column for column in COLUMNS if self.has_rules or column.title not in NEED_RULES]
        groups = self._groups()
        cells = [
            [_cell(label, [self.rows[k] for k in numbers], column.title) for column in columns]
            for label, numbers in groups
        ]
        findings = [(finding.path, finding.kind, finding.text) for finding in self.findings]
        marked = [any(self.rows[k].findings for k in numbers) for _, numbers in groups]
        return rendering.Table("arrayinit report", columns, cells, self._total(len(groups)), findings, marked)

    def _groups(self) -> list[tuple[str, list[int]]]:
        """(label, numbers of rows) of each line of the table."""
        if not self.fold:
            return [(row.path, [k]) for k, row in enumerate(self.rows)]
        groups = folded([row.path for row in self.rows], [_kind(row) for row in self.rows])
        buffers: dict[str, list[int]] = {}
        for _, numbers in groups:
            row = self.rows[numbers[0]]
            if row.is_buffer and row.rule is None and not row.findings:
                buffers.setdefault(row.path.rpartition(".")[2], []).extend(numbers)
        many = {name: numbers for name, numbers in buffers.items() if len(numbers) > BUFFERS}
        result = []
        for label, numbers in groups:
            name = self.rows[numbers[0]].path.rpartition(".")[2]
            if numbers[0] not in many.get(name, ()):
                result.append((label, numbers))
            elif numbers[0] == many[name][0]:
                result.append((f"*.{name}, {len(many[name])} buffers", many[name]))
        return result

    def _total(self, lines: int) -> str:
        arrays, findings = len(self.rows), len(self.findings)
        within = f" in {lines} row{'s' * (lines != 1)}" if lines < arrays else ""
        shares = [row.as_drawn for row in self.rows if row.as_drawn is not None]
        compared = ""
        if shares and self.seed is not None:
            verb = "is" if len(shares) == 1 else "are"
            compared = f"{shares.count(1.0)} of {counted(len(shares), 'random array')} {verb} the draw of {self.seed}; "
        return (
            f"{arrays} array{'s' * (arrays != 1)}{within}, {self.size:,} elements, {_memory(self.bytes)}; {compared}"
            f"{findings or 'no'} finding{'s' * (findings != 1)}"
        )


BUFFERS = 3  # buffers of one name that are shown one by one


def _kind(row: Row) -> Hashable:
    """Equal for rows that may become one, if their paths are alike, too. A tied row stays alone."""
    return (
        row.shape, row.dtype, template(row.rule or ""), row.initializer, row.fan_in, row.fan_out, row.tied,
        tuple(finding.kind for finding in row.findings), row.is_buffer, row.std is None,
    )  # fmt: skip


COLUMNS = [
    Column("parameter", early=True),
    Column("shape", right=True, weight=8, early=True),
    Column("dtype", weight=2),
    Column("rule", weight=5),
    Column("initializer", weight=1),
    Column("fan in", right=True, weight=4),
    Column("fan out", right=True, weight=4),
    Column("mean", right=True, weight=6),
    Column("expected mean", right=True, weight=3),
    Column("std", right=True, early=True),
    Column("expected std", right=True, weight=7, early=True),
    Column("findings", early=True),
]
NEED_RULES = ("rule", "initializer", "expected mean", "expected std")


def _cell(label: str, rows: Sequence[Row], title: str) -> str:
    """A cell of the line for some rows: what they have in common, or a range."""
    first = rows[0]
    match title:
        case "parameter":
            return label + "".join(f" = {path}" for path in first.tied)
        case "findings":
            return ", ".join(finding.kind for finding in first.findings)
        case "shape":
            return _common([shape_text(row.shape) for row in rows])
        case "rule":
            rules = {row.rule or "-" for row in rows}
            return label if rules == {row.path for row in rows} else _common(rules)
        case "dtype" | "initializer":
            return _common([getattr(row, title) or "-" for row in rows])
    return number_range([getattr(row, title.replace(" ", "_")) for row in rows])


def _common(texts: Iterable[str]) -> str:
    different = set(texts)
    return different.pop() if len(different) == 1 else "several"


def number_range(values: Sequence[complex | None]) -> str:
    """A number with the digits that a table shows, or the smallest and the largest of several; "-" for none."""
    texts = set(map(_number, values))
    if len(texts) == 1:
        return texts.pop()
    real: list[Any] = [value for value in values if isinstance(value, int | float)]
    return f"{_number(min(real))}..{_number(max(real))}" if len(real) == len(values) else "several"


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
