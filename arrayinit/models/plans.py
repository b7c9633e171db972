"""A plan: how each parameter of a model is drawn, and from which key."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from arrayinit.backends import backend_of
from arrayinit.common.escapes import printable
from arrayinit.common.folding import folded
from arrayinit.common.messages import counted, shape_text
from arrayinit.common.tables import Column, aligned, filled, html_table, titled
from arrayinit.draw import array_target, perform, shape_target
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import is_random
from arrayinit.models.parameters import Parameter
from arrayinit.models.recorded import Program, RecordedRule
from arrayinit.models.rules import Rule, in_words
from arrayinit.seeds import Name
from arrayinit.specs import Spec

__all__ = ["IDLE", "NO_RULE", "NO_VALUES", "Match", "Plan", "PlanError", "Planned", "some"]

NO_RULE = "no rule matches"  # the reason of an unmatched parameter
NO_VALUES = "a buffer without values, and no rule with a kind matches"  # that of a buffer on the meta device
SHOWN = 3  # patterns in a message
IDLE = "these rules apply to no parameter (nothing matches, or an earlier rule comes first)"


class PlanError(ValueError):
    """Parameters that can't be drawn as the rules say. The text lists them all; `problems` maps paths to reasons.

    Example:
        >>> try:
        ...     ai.init_params_({"w": np.ones(3), "b": np.ones(3)}, {"w": "kaiming_normal"}, seed=0)
        ... except ai.PlanError as error:
        ...     sorted(error.problems)
        ['b', 'w']
    """

    def __init__(self, problems: Mapping[str, str], idle: Sequence[str] = (), hint: str = "") -> None:
        self.problems = dict(problems)
        lines = [f"nothing was drawn, because {counted(len(self.problems), 'parameter')} can't be drawn:"]
        lines += [f"  {row}" for row in aligned(_folded_problems(self.problems))]
        if any(NO_VALUES in why for why in self.problems.values()):
            lines.append(
                "buffers without values: build the model within `with arrayinit.torch.record() as recorded:` in place "
                'of `with torch.device("meta"):`, and draw it by [*rules, *recorded], which has a rule for each buffer'
            )
        if any(NO_RULE in why for why in self.problems.values()):
            lines.append("parameters without a rule: add one, or (path, None) to leave them as they are")
        lines += [f"{IDLE}: {some(idle)}"] if idle else []
        lines += [hint] if hint else []
        super().__init__("\n".join(lines))


def _folded_problems(problems: Mapping[str, str]) -> list[tuple[str, str]]:
    """Paths with their reasons; those that differ in the numbers of layers alone, and share a reason, as one."""
    paths, reasons = [*problems], [*problems.values()]
    return [(printable(label), reasons[rows[0]]) for label, rows in folded(paths, reasons)]


def some(patterns: Sequence[str]) -> str:
    """The first of several patterns of rules, and how many more there are."""
    rest = f" and {len(patterns) - SHOWN} more" if len(patterns) > SHOWN else ""
    return f"{printable(', '.join(patterns[:SHOWN]))}{rest}"


@dataclass(frozen=True, kw_only=True)
class Match:
    """A parameter with the rule that matches it: all of its draw but the key.

    rule: None where no rule matches an optional parameter.
    program: what gives the values of a recorded parameter that follows no single law; then there is no initializer.
    rows: the rows that are drawn, where others stay; None for all.
    is_selected: whether `only` asks for the parameter; if not, it stays as it is, whatever its rule says.
    initializer: the rule's, completed by the layout of the parameter or the numbers that a neighbour's fans give; None
        where the parameter stays as it is.
    job: what that initializer draws here, worked out once for the plan and the draw; None likewise.
    """

    parameter: Parameter
    rule: Rule | None
    initializer: Spec | None
    job: Job | None
    seed_name: Name
    program: Program | None = None
    rows: range | None = None
    is_selected: bool = True

    @property
    def is_drawn(self) -> bool:
        """Whether the parameter gets new values."""
        return self.job is not None or self.program is not None

    @property
    def path(self) -> str:
        """The dotted path."""
        return self.parameter.path

    @property
    def shape(self) -> tuple[int, ...]:
        """The global shape."""
        return self.parameter.shape

    @property
    def is_random(self) -> bool:
        """Whether its draw takes something from its key, as do the vectors of a weight behind spectral_norm."""
        if self.program is not None:
            return self.program.is_random
        is_made = bool(self.parameter.through or self.parameter.marks)
        return self.job is not None and self.parameter.size > 0 and (is_random(self.job.law) or is_made)


@dataclass(frozen=True, kw_only=True)
class Planned(Match):
    """How a parameter is drawn: the initializer with all that it needs, the name that is folded, and the key."""

    key: Key
    key_of: Callable[[str], Key] | None = None  # the key of any path of the model, for a program

    def values(self) -> Any:
        """The values of a program as a new tensor, computed on the CPU: other devices round log and exp differently."""
        assert self.program is not None
        assert self.key_of is not None
        return self.program.values(self.key_of)

    def fill_(self, x: Any) -> None:
        """Draw into an array of the parameter's shape and dtype."""
        self._draw(x, True)

    def fill_part_(self, part: Any, index: Any, flat: slice | None = None) -> None:
        """Draw into an array that holds `whole[index]`, or `whole.reshape(-1)[flat]`, a part of the parameter."""
        assert self.initializer is not None
        self.initializer.fill_(part, seed=self.key, shape=self.shape, index=index, flat=flat)

    def new_like(self, x: Any) -> Any:
        """Draw a new array like one of the parameter's shape and dtype."""
        return self._draw(x, False)

    def new(self, xp: str, device: Any) -> Any:
        """Draw a new array of a library on a device."""
        target, dtype = shape_target(xp, self.parameter.dtype, device, None)
        if target.backend.is_recorded(None):
            return self._call(self.shape, xp=xp, dtype=dtype, device=device)
        return self._perform(target, self.shape)

    def _draw(self, x: Any, in_place: bool) -> Any:
        assert self.job is not None
        backend = backend_of(x)
        target, dtype = array_target(backend, x, in_place)
        # A Keras variable may hold an array of another dtype than it says, as of float64 without x64.
        if backend.is_recorded(x) or dtype != self.job.dtype:
            return self._call(x, in_place)
        return self._perform(target, tuple(map(int, x.shape)))

    def _call(self, x: Any, in_place: bool = False, **keywords: Any) -> Any:
        """Draw by the initializer: torch's tracers note it, and it decides anew for an array of another dtype."""
        assert self.initializer is not None
        return (self.initializer.fill_ if in_place else self.initializer)(x, seed=self.key, **keywords)

    def _perform(self, target: Target, shape: tuple[int, ...]) -> Any:
        job = self.job
        assert job is not None
        if shape != job.shape:
            raise ValueError(f"{self.path} must have the shape that was planned, {job.shape}; got {shape}")
        return perform(job, target, self.key)


@dataclass(frozen=True, repr=False)
class Plan(Sequence[Planned]):
    """Each parameter of a model, in order, with its rule, initializer and key: what `dry_run=True` returns.

    A sequence of entries with `path`, `shape`, `parameter`, `rule`, `initializer`, `seed_name` and `key`. `print` and
    notebooks show a table, which has the seed names where they are not the paths.

    Example:
        >>> plan = ai.init_params_({"w": np.ones((2, 3))}, {"w": "xavier_normal"}, seed=0, dry_run=True)
        >>> print(plan)
        parameter  shape  initializer    rule
        -------------------------------------
        w            2x3  xavier_normal  w
        >>> plan[0].key == ai.fold(0, "w")
        True
    """

    entries: tuple[Planned, ...]

    @overload
    def __getitem__(self, k: int) -> Planned: ...

    @overload
    def __getitem__(self, k: slice) -> "Plan": ...

    def __getitem__(self, k: int | slice) -> "Planned | Plan":
        return Plan(self.entries[k]) if isinstance(k, slice) else self.entries[k]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Planned]:
        return iter(self.entries)

    def __str__(self) -> str:
        return "\n".join(titled(COLUMNS, [_cells(entry) for entry in self.entries]))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        drawn = sum(entry.parameter.size for entry in self.entries if entry.is_drawn)
        total = f"{counted(len(self.entries), 'parameter')}, {drawn:,} elements to be drawn"
        return html_table(*filled(COLUMNS, [_cells(entry) for entry in self.entries]), total)

    @property
    def lr_scales(self) -> dict[str, float]:
        """Path -> what the recipe multiplies the learning rate by, for each parameter that a rule matches.

        A weight that is made of other tensors is there under its own path and theirs, which an optimizer has.
        """
        return self._by_path(lambda rule: rule.lr_scale)

    @property
    def eps_scales(self) -> dict[str, float]:
        """Path -> what the recipe multiplies the epsilon of Adam by, for the parameters of :attr:`lr_scales`."""
        return self._by_path(lambda rule: rule.eps_scale)

    def _by_path(self, number: Callable[[Rule], float]) -> dict[str, float]:
        """A number of each rule, by the paths of the tensors that an optimizer has."""
        return {
            path: number(entry.rule)
            for entry in self.entries
            if entry.rule is not None
            for path in (entry.path, *(original.path for original in entry.parameter.originals))
        }


COLUMNS = (
    Column("parameter"),
    Column("shape", right=True),
    Column("initializer"),
    Column("rule"),
    Column("seed name"),
)


def _cells(entry: Planned) -> list[str]:
    """The cells of an entry in COLUMNS. The rule of a record is the entry itself."""
    rule = "" if entry.rule is None else "recorded" if isinstance(entry.rule, RecordedRule) else entry.rule.text
    name = "" if entry.seed_name == entry.path else str(entry.seed_name)
    return [printable(entry.path), shape_text(entry.shape), _in_words(entry), printable(rule), printable(name)]


def _in_words(entry: Planned) -> str:
    """The initializer of an entry, and what is unusual about its draw."""
    parameter = entry.parameter
    words = [in_words(entry.initializer) if entry.program is None else str(entry.program)]
    if parameter.frozen:
        words.append(f"frozen ({parameter.frozen})")
    if entry.initializer and parameter.through:
        words.append(f"through {parameter.through}")
    if entry.rows is not None:
        words.append(f"rows {entry.rows.start} to {entry.rows.stop - 1} only")
    if (
        entry.initializer
        and parameter.zero_row is not None
        and (entry.rows is None or parameter.zero_row in entry.rows)
    ):
        words.append(f"row {parameter.zero_row} is 0")
    if parameter.cut:
        words.append(parameter.cut)
    if parameter.tied:
        words.append(f"also {printable(', '.join(parameter.tied))}")
    return ", ".join(words)
