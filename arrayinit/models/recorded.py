"""Records: rules for single parameters and buffers, by path, as a constructor filled them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from arrayinit.common.escapes import printable
from arrayinit.common.messages import counted, shape_text
from arrayinit.common.tables import Column, html_table, line, sized
from arrayinit.key import Key
from arrayinit.models.parameters import Parameter
from arrayinit.models.rules import BUFFER, Rule, Rules, in_words

__all__ = ["Program", "RecordedRule", "RecordedRules"]


class Program(Protocol):
    """Operations that give a tensor its values where no single law does; `recording.programs` has them for torch."""

    @property
    def is_random(self) -> bool:
        """Whether it draws."""

    def values(self, key_of: Callable[[str], Key]) -> Any:
        """The tensor, drawn with the keys of the parameters that its draws count to."""


@dataclass(frozen=True)
class RecordedRule(Rule):
    """A rule for one parameter or buffer, as a constructor filled it.

    path: that of the tensor. `pattern` is a glob that matches it alone.
    shape: that of the tensor; a tensor of another shape is not the one that was recorded.
    is_buffer: whether it is a buffer, which plain rules match by their kind alone.
    program: what draws it where no initializer does; None where the initializer says all.
    zero_row: the row of a matrix that is 0 after the draw.
    padding: the row that the layer says is its padding, which `init_module_` sets to 0 by any other rule.
    tied: its other paths. Tensor parallelism unties them: then each is drawn as the one tensor that they were.
    shares: the path of another parameter whose draw this one is a copy of.
    device: the device that the constructor asked for; "" for the CPU, which is most often nobody's choice.
    is_frozen: whether the constructor froze the parameter, which then is drawn all the same.
    problem: why it can't be drawn; "" where it can.
    models: names of the models that have it, of those that one record is about.
    """

    path: str = ""
    shape: tuple[int, ...] = ()
    is_buffer: bool = False
    program: Program | None = None
    zero_row: int | None = None
    padding: int | None = None
    tied: tuple[str, ...] = ()
    shares: str | None = None
    device: str = ""
    is_frozen: bool = False
    problem: str = ""
    models: tuple[str, ...] = field(default=(), compare=False)

    @property
    def _paths(self) -> tuple[str, ...]:
        return self.path, *self.tied

    def matches(self, path: str, shape: tuple[int, ...], kinds: Sequence[str] = (), ndim: int | None = None) -> bool:
        """Whether this is the path; a record knows buffers, too."""
        return path in self._paths

    def drawn_as(self, path: str) -> str | None:
        """The path of another parameter, whose key the one at `path` has; None where it has its own."""
        return self.shares or (self.path if path in self.tied else None)

    def check(self, parameter: Parameter, has_new_rows: bool) -> None:
        """Refuse a parameter that is not the one that was recorded, or that can't be drawn. ValueError.

        Args:
            has_new_rows: whether only rows are drawn that were added since, so that the number of rows may differ.
        """
        is_resized = has_new_rows and self.program is None and parameter.shape[1:] == self.shape[1:]
        if self.problem:
            raise ValueError(self.problem)
        if parameter.shape != self.shape and not is_resized:
            raise ValueError(f"must have the shape that was recorded, {self.shape}; got {parameter.shape}")

    @property
    def is_law(self) -> bool:
        """Whether an initializer draws all of it."""
        return self.program is None and self.zero_row is None

    @property
    def is_plain(self) -> bool:
        """Whether its initializer alone says all."""
        return self.initializer is not None and self.zero_row == self.padding and not (self.shares or self.problem)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and TOML. ValueError where that would not say all."""
        if not self.is_plain:
            raise ValueError(
                f"a recorded rule must be a law alone to be written; got {self.words} for {printable(self.path)}, "
                f"which only the record itself draws (a record of torch can be pickled)"
            )
        return Rule(self.pattern, self.initializer, kind=BUFFER if self.is_buffer else None).as_dict()

    @property
    def words(self) -> str:
        """The law or program in one line, or why it can't be drawn."""
        if self.problem:
            return f"can't be drawn: {self.problem}"
        if self.program is not None:
            return str(self.program)
        words = [in_words(self.initializer)]
        words += [] if self.zero_row is None else [f"row {self.zero_row} is 0"]
        words += [] if self.shares is None else [f"a copy of {self.shares}"]
        return ", ".join(words)


COLUMNS = (Column("tensor"), Column("shape", right=True), Column("initializer"))


class RecordedRules(Rules):
    """What a record is in any framework: recorded rules alone."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {counted(len(self.rules), 'tensor')}>"

    def __str__(self) -> str:
        columns = sized([replace(column, title="") for column in COLUMNS], self._cells)
        return "\n".join(line(row, columns) for row in self._cells)

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self._cells, counted(len(self.rules), "tensor"))

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [(printable(rule.path), shape_text(rule.shape), rule.words) for rule in self._entries]

    @property
    def _entries(self) -> list[RecordedRule]:
        return [rule for rule in self.rules if isinstance(rule, RecordedRule)]

    def as_rules(self) -> Rules:
        """The record as rules that can be written as JSON or TOML.

        Raises:
            ValueError: parameters and buffers that follow no law alone: programs, computed values, copies of another
                draw, rows that are 0. The text lists them.

        >>> import torch
        >>> from arrayinit.torch import record
        >>> with record() as start:
        ...     model = torch.nn.LayerNorm(3)
        >>> start.as_rules().as_dict()["rules"]
        [{'pattern': 'weight', 'initializer': 'ones'}, {'pattern': 'bias', 'initializer': 'zeros'}]
        """
        others = [rule.path for rule in self._entries if not rule.is_plain]
        if others:
            raise ValueError(
                f"a record must have laws only to be plain rules; got programs, copies or rows of 0 for "
                f"{', '.join(others)}, which only the record itself draws"
            )
        return Rules([Rule.from_dict(rule.as_dict()) for rule in self._entries])
