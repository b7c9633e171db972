"""Layers that are scaled by the outputs of one batch: how far, and a table of what was changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from arrayinit.common.arguments import flag, integer, one_of, positive
from arrayinit.common.listings import Listing
from arrayinit.common.messages import counted, shown, warn
from arrayinit.common.tables import Column, fitted, heading, html_table, line
from arrayinit.models.rules import Rules
from arrayinit.models.signals import Layers

__all__ = [
    "LayerScale",
    "Method",
    "Moments",
    "OutputScales",
    "Per",
    "Scalable",
    "check_layers",
    "finished",
    "lsuv_method",
    "settle",
    "start_of",
    "unit_method",
]

Per: TypeAlias = Literal["layer", "channel"]

CHANGED = 0.01  # relative difference of two standard deviations that rounding does not make
MOVED = "its output changes once later layers are scaled: its input is random, or is made with their weights"


@dataclass(frozen=True)
class LayerScale:
    """One layer, and what was done to it.

    path: of the layer; a shared one has its first path.
    before, after: the standard deviation of the output of its first call, before and after all layers were scaled; None
        where it has none. Per channel, the mean over channels.
    mean: the mean of that output afterwards; per channel, the one that is farthest from 0.
    factor: what the weight was multiplied by, a tuple with one number a channel where it is scaled by channel; 1 for
        one that stays.
    iterations: how often the weight was divided.
    calls: how often the layer runs in one forward pass.
    note: why it stays as it is, or what is unusual about it; "" where nothing is.
    """

    path: str
    before: float | None
    after: float | None
    mean: float | complex | None
    factor: float | tuple[float, ...]
    iterations: int
    calls: int
    note: str


@dataclass(frozen=True, repr=False)
class OutputScales(Listing[LayerScale]):
    """A table of layers in the order in which they first run; those that never run come last.

    `print` and notebooks show it.
    """

    rows: tuple[LayerScale, ...]

    @property
    def scaled(self) -> tuple[LayerScale, ...]:
        """The layers whose weights were changed."""
        return tuple(row for row in self.rows if row.iterations)

    @property
    def _entries(self) -> tuple[LayerScale, ...]:
        return self.rows

    def to_text(self, width: int | None = None) -> str:
        """A plain table, and the notes below it.

        Args:
            width: the most characters of a line of the table. To fit, paths lose their middle and less important
                columns are left out.
        """
        columns, cells = fitted(COLUMNS, self._cells, width)
        titles, dashes = heading(columns)
        notes = [f"! {path}: {text}" for path, _, text in self._notes]
        return "\n".join([titles, dashes, *(line(row, columns) for row in cells), dashes, self._total, *notes])

    def _repr_html_(self) -> str:
        marked = [bool(row.note) for row in self.rows]
        return html_table(COLUMNS, self._cells, self._total, self._notes, marked)

    @property
    def _cells(self) -> list[list[str]]:
        return [
            [row.path, _number(row.before), _number(row.after), _number(row.mean), _factor(row.factor),
             str(row.iterations), str(row.calls)]
            for row in self.rows
        ]  # fmt: skip

    @property
    def _notes(self) -> list[tuple[str, str, str]]:
        return [(row.path or "the model itself", "", row.note) for row in self.rows if row.note]

    @property
    def _total(self) -> str:
        return f"{counted(len(self.rows), 'layer')}, {len(self.scaled)} scaled"


COLUMNS = [
    Column("layer"),
    Column("std before", right=True),
    Column("std after", right=True),
    Column("mean after", right=True, weight=3),
    Column("factor", right=True),
    Column("iterations", right=True, weight=2),
    Column("calls", right=True, weight=1),
]


def _number(value: complex | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _factor(factor: float | tuple[float, ...]) -> str:
    if not isinstance(factor, tuple):
        return _number(factor)
    return f"{min(factor):.4g} to {max(factor):.4g}"


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of an output: one number each, or one a channel.

    eps: of the output's dtype. is_finite: whether all elements are. size: the number of elements.
    """

    mean: NDArray[Any]
    std: NDArray[np.float64]
    eps: float
    is_finite: bool
    size: int

    @property
    def is_constant(self) -> NDArray[np.bool_]:
        """Where the output is the same number everywhere, up to rounding."""
        constant: NDArray[np.bool_] = self.std <= self.eps * np.abs(self.mean)
        return constant

    @property
    def spread(self) -> float | None:
        """The standard deviation that a table shows."""
        return float(self.std.mean()) if self.size and self.is_finite else None

    @property
    def center(self) -> float | complex | None:
        """The mean that a table shows."""
        if not (self.size and self.is_finite):
            return None
        number: float | complex = self.mean.ravel()[np.abs(self.mean).argmax()].item()
        return number


class Scalable(Protocol):
    """A layer and its inputs, which can be run again."""

    def measure(self) -> Moments | str:
        """Run the layer; a text that says why its output can't be measured."""

    def divide(self, std: NDArray[np.float64], mean: NDArray[Any] | None) -> str:
        """Make the output (y - mean) / std, or y / std; a text that says why that can't be done, "" where it is."""


@dataclass(frozen=True)
class Method:
    """How layers are scaled. tolerance: of the variance; 0 for one division whatever it is."""

    tolerance: float
    iterations: int
    per: Per = "layer"
    center: bool = False

    def is_settled(self, std: NDArray[np.float64]) -> bool:
        """Whether these need no further division."""
        return bool((np.abs(std**2 - 1) < self.tolerance).all())


def lsuv_method(tolerance: Any, iterations: Any) -> Method:
    """The method of LSUV. TypeError or ValueError for arguments out of range."""
    if positive(tolerance, "tolerance") >= 1:
        raise ValueError(
            f"`tolerance` must be less than 1, for a variance of 0 is not within 1 of the variance 1; got "
            f"{shown(tolerance)}"
        )
    return Method(float(tolerance), integer(iterations, "iterations"))


def unit_method(per: Any, center: Any) -> Method:
    """The method of one division. TypeError or ValueError for arguments that are none of those allowed."""
    word: Any = one_of(per, "per", ("layer", "channel"))
    return Method(0.0, 1, word, flag(center, "center"))


def settle(row: LayerScale, layer: Scalable, method: Method) -> LayerScale:
    """Scale a layer until its output has unit variance; returns its row.

    Raises:
        ValueError: the output is not finite. It names the layer.
    """
    notes = [row.note] if row.note else []
    moments = _measured(row.path, layer)
    if isinstance(moments, str):
        return replace(row, note="; ".join([*notes, moments]))
    before, iterations = moments.spread, 0
    factor: NDArray[np.float64] = np.ones(moments.std.shape)
    while iterations < method.iterations and not moments.is_constant.all():
        std = np.where(moments.is_constant, 1, moments.std)
        if method.is_settled(std):
            break
        problem = layer.divide(std, np.where(moments.is_constant, 0, moments.mean) if method.center else None)
        if problem:
            notes.append(problem)
            break
        factor, iterations = factor / std, iterations + 1
        result = _measured(row.path, layer)
        if isinstance(result, str):
            raise ValueError(f"the output of layer {row.path!r} changed its kind when it ran again: it {result}")
        moments = result
    if moments.is_constant.any():
        notes.append(_constant(moments))
    return replace(
        row,
        before=before,
        after=moments.spread,
        factor=tuple(map(float, factor)) if factor.ndim and iterations else float(factor.ravel()[0]),
        iterations=iterations,
        note="; ".join(notes),
    )


def _constant(moments: Moments) -> str:
    """What is said of an output without variance."""
    count, zeros = int(moments.is_constant.sum()), bool((np.abs(moments.mean[moments.is_constant]) == 0).all())
    what = "0" if zeros else "constant"
    if not moments.std.ndim:
        return f"unchanged: its output is {what} and can't be scaled to variance 1"
    return f"{count} of {moments.std.size} channels stay, for their output is {what}"


def _measured(path: str, layer: Scalable) -> Moments | str:
    moments = layer.measure()
    if isinstance(moments, Moments):
        if not moments.size:
            return "unchanged: its output is empty"
        if not moments.is_finite:
            raise ValueError(f"the output of layer {path!r} must be finite; got NaN, infinities or an overflow")
    return moments


def finished(rows: Sequence[LayerScale], final: Mapping[str, Moments | str], method: Method) -> OutputScales:
    """The report, with what a last forward pass has measured; a warning of layers that LSUV has not settled."""
    result = []
    unsettled = []
    for row in rows:
        last = final.get(row.path)
        if isinstance(last, Moments):
            has_moved = row.after is None or not math.isclose(last.spread or 0.0, row.after, rel_tol=CHANGED)
            notes = [row.note, MOVED] if row.iterations and has_moved else [row.note]
            row = replace(row, after=last.spread, mean=last.center, note="; ".join(filter(None, notes)))
            if row.iterations and method.tolerance and not method.is_settled(last.std):
                unsettled.append(f"{row.path} ({row.after or 0.0:.3g})")
        result.append(row)
    if unsettled:
        warn(f"the std of some outputs is not 1 within `tolerance`: {', '.join(unsettled)}")
    return OutputScales(tuple(result))


def check_layers(layers: Layers | None) -> None:
    """Refuse what chooses no layers. TypeError."""
    if layers is not None and not isinstance(layers, str) and not callable(layers):
        raise TypeError(f"`layers` must be a glob, or a predicate of path and module; got {shown(layers)}")


def start_of(rules: Any, seed: Any) -> Rules | Literal["orthogonal"] | None:
    """What draws the weights before they are scaled. TypeError or ValueError for what does not."""
    if rules is None:
        if seed is not None:
            raise ValueError(
                f"`seed` may only be given with rules; got {shown(seed)} and rules=None, which draws nothing"
            )
        return None
    if isinstance(rules, str):
        if rules != "orthogonal":
            raise ValueError(
                f"`rules` must be rules, 'orthogonal' or None; got {shown(rules)} (for all weights: "
                f"{{'*.bias': 'zeros', '*': {rules!r}}})"
            )
        return "orthogonal"
    return rules if isinstance(rules, Rules) else Rules(rules)
