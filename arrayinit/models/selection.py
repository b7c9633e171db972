"""Which parameters `only` asks for: those that a checkpoint lacks, or rows that were added to a matrix."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from arrayinit.common.escapes import printable
from arrayinit.common.messages import did_you_mean, shown, warn
from arrayinit.models.parameters import Parameter
from arrayinit.models.rules import Pattern, is_path, is_pattern, matches, pattern_text

__all__ = ["Only", "Selection", "select"]

Only: TypeAlias = Pattern | Iterable[Pattern] | Mapping[Pattern, slice] | None

ALL = slice(None)


@dataclass
class Selection:
    """The parameters that are drawn; all others stay as they are.

    rows: path -> the rows to be drawn, as numbers along axis 0; None for all of them.
    problems: path -> why a weight can't be drawn as far as it is selected.
    """

    rows: dict[str, range | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def select(parameters: Sequence[Parameter], only: Only, known: Iterable[str] = ()) -> Selection | None:
    """What `only` selects among these parameters and the originals of those that are made of others; None for all.

    A tied parameter is selected by all of its paths, a weight by its own path or by those of all its originals, an
    original by its own path or by that of its weight. Buffers that no state dict holds are selected where they have no
    values, since no checkpoint has them.

    Args:
        only: a pattern as in rules, several of them, or a mapping from patterns to slices of axis 0.
        known: further paths that may be asked for, of tensors that go with these parameters.

    Raises:
        TypeError: `only` is something else.
        ValueError: a pattern that selects nothing; a slice that has a step, no rows, or no axis.

    Warns:
        UserWarning: one path of a tied parameter is asked for, and another one is not.
    """
    if only is None:
        return None
    request = _Request(only)
    for parameter in parameters:
        request.decide(parameter)
    for path in known:
        request.find(path, ())
    request.check([path for each in parameters for path in (each.path, *each.tied)])
    return request.selection


class _Request:
    """The patterns of `only`, and what they select so far."""

    def __init__(self, only: Any) -> None:
        self.slices = _slices(only)
        self.exact = set(filter(is_path, self.slices))
        self.others = [each for each in self.slices if each not in self.exact]
        self.used: set[Any] = set()
        self.selection = Selection()

    def find(self, path: str, shape: tuple[int, ...]) -> Any:
        """The first pattern that matches a path, a path itself before all others; None where none does."""
        matching = [path] if path in self.exact else []
        matching += [each for each in self.others if matches(each, path, shape)]
        self.used.update(matching)
        return matching[0] if matching else None

    def decide(self, parameter: Parameter) -> None:
        """Add what is selected of a parameter."""
        paths = (parameter.path, *parameter.tied)
        asked = {path: pattern for path in paths if (pattern := self.find(path, parameter.shape)) is not None}
        originals = [each.path for each in parameter.originals if self.find(each.path, each.shape) is not None]
        part = next((self.slices[pattern] for pattern in asked.values() if self.slices[pattern] != ALL), None)
        if part is not None:
            self.selection.rows[parameter.path] = _rows(part, parameter)
            if parameter.originals:
                self.selection.problems[parameter.path] = f"is made by {parameter.through}, which needs all rows"
            elif not parameter.has_values:
                self.selection.problems[parameter.path] = (
                    "has no values, so the rows that stay would have none: load or draw all of it first"
                )
        elif len(asked) == len(paths):
            self._add(parameter.path, *(each.path for each in parameter.originals))
        elif asked:
            others = [path for path in paths if path not in asked]
            warn(
                f"{printable(', '.join(asked))} stays as it is: it is also {printable(', '.join(others))}, which "
                f"`only` lacks"
            )
        elif originals:
            self._add(*originals)
            if len(originals) < len(parameter.originals):
                rest = [each.path for each in parameter.originals if each.path not in originals]
                self.selection.problems[parameter.path] = f"is also made of {', '.join(rest)}, which `only` lacks"
            self._add(parameter.path)
        elif not (parameter.persistent or parameter.has_values):
            self._add(parameter.path)

    def check(self, paths: Sequence[str]) -> None:
        """Refuse patterns that selected nothing."""
        idle = [pattern for pattern in self.slices if pattern not in self.used]
        if idle:
            texts = printable(", ".join(map(pattern_text, idle)))
            raise ValueError(
                f"`only` must select parameters or buffers of the model; got {texts}, which selects none"
                f"{_hint(idle[0], paths)}"
            )

    def _add(self, *paths: str) -> None:
        self.selection.rows.update(dict.fromkeys(paths))


def _hint(pattern: Any, paths: Sequence[str]) -> str:
    """What a pattern that selects nothing may mean: all that lies below a layer, or a path that is spelt like it."""
    below = isinstance(pattern, str) and any(path.startswith(f"{pattern}.") for path in paths)
    return f": write {pattern + '.*'!r} for all parameters below it" if below else did_you_mean(pattern, paths)


def _slices(only: Any) -> dict[Any, slice]:
    """Pattern -> the slice of axis 0 that is asked for."""
    if is_pattern(only):
        return {only: ALL}
    only = getattr(only, "missing_keys", only)  # of what torch's load_state_dict returns
    if not isinstance(only, Iterable) or isinstance(only, str | bytes):
        raise TypeError(
            f"`only` must be a path, a pattern or a function of path and shape, several of them, or a mapping from "
            f"such to slices of rows; got {shown(only)}"
        )
    pairs = list(only.items()) if isinstance(only, Mapping) else [(each, ALL) for each in only]
    for pattern, part in pairs:
        if not is_pattern(pattern):
            raise TypeError(f"`only` must hold paths, patterns or functions of path and shape; got {shown(pattern)}")
        if (
            not isinstance(part, slice)
            or part.step not in (None, 1)
            or not all(map(_is_place, (part.start, part.stop)))
        ):
            raise TypeError(
                f"`only` must map to slices of rows without a step, such as slice(90, None); got {shown(part)} for "
                f"{shown(pattern)}"
            )
    return dict(pairs)


def _is_place(value: Any) -> bool:
    """Whether a value can be an end of a slice of rows."""
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _rows(part: slice, parameter: Parameter) -> range:
    if not parameter.shape:
        raise ValueError(f"`only` must not select rows of a scalar; got {part} for {parameter.path}")
    count = parameter.shape[0]
    if any(end is not None and not -count <= end <= count for end in (part.start, part.stop)):
        raise ValueError(f"`only` must select rows that exist; got {part} for {parameter.path} of {count} rows")
    rows = range(*part.indices(count))
    if not rows:
        raise ValueError(f"`only` must select at least one row; got {part} for {parameter.path} of {count} rows")
    return rows
