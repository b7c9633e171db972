"""Programs: what no single law tells of a tensor, as draws and operations that are run again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._pytree import tree_map

from arrayinit.common.messages import counted
from arrayinit.key import Key
from arrayinit.recording.draws import can_draw, drawn
from arrayinit.recording.replay import notes_behind, replay, view_into
from arrayinit.recording.tape import Note, Tape, View, is_draw

__all__ = ["Program"]

Owner = tuple[str, int | None]  # the path of the parameter whose key a draw has, and which of its draws it is


@dataclass(frozen=True, eq=False)
class Program:
    """The notes behind a tensor, run for real with draws of this package.

    owners: note -> the parameter that it counts to, and its number there; None for the draw of a parameter that is a
    law, so that copies of one weight stay copies. Each draw of a program has a key of its own, fold(key, number).
    """

    tape: Tape
    view: View
    owners: dict[int, Owner]

    def __eq__(self, other: object) -> bool:
        """Whether the other one runs the same operations on the same values, with the same keys."""
        return isinstance(other, Program) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(tuple(self.tape.notes[number].op for number in self.numbers))

    def _facts(self) -> list[Any]:
        """All that its values depend on, with storages by the order in which they come."""
        order: dict[int, int] = {}

        def plain(x: Any) -> Any:
            if isinstance(x, View):
                is_new = x.storage not in order
                place = order.setdefault(x.storage, len(order))
                held = self.tape.storages[x.storage].values if is_new else None
                return place, plain(held), replace(x, storage=0)
            if isinstance(x, torch.Tensor):
                values = x.cpu().contiguous()
                return values.dtype, tuple(values.shape), values.reshape(-1).view(torch.uint8).numpy().tobytes()
            return x

        facts = [
            (note.op, tree_map(plain, note.args), tree_map(plain, note.kwargs), tree_map(plain, note.outputs),
             tree_map(plain, note.written), note.initializer, self.owners.get(number))
            for number, note in ((number, self.tape.notes[number]) for number in self.numbers)
        ]  # fmt: skip
        return [*facts, plain(self.view)]

    @property
    def is_random(self) -> bool:
        """Whether there is a draw among the notes."""
        return bool(self.owners)

    def values(self, key_of: Callable[[str], Key]) -> torch.Tensor:
        """The tensor on the CPU, drawn with the keys of the paths."""

        def draw(
            number: int, note: Note, arguments: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype
        ) -> torch.Tensor:
            path, place = self.owners[number]
            key = key_of(path) if place is None else key_of(path).fold(place)
            return drawn(note, arguments, shape, dtype, key)

        memory = replay(self.tape, [self.view.storage], draw)[self.view.storage]
        return view_into(memory, self.view)

    @property
    def problem(self) -> str:
        """Why it can't be run; "" where it can."""
        notes = [self.tape.notes[number] for number in self.numbers]
        lost = next((note for note in notes if is_draw(note) and not can_draw(note)), None)
        return "" if lost is None else f"{lost.op} at {lost.where} can't be drawn"

    def __str__(self) -> str:
        if not self.numbers:
            return "the values that the constructor gave"
        names = [self.tape.notes[number].name or str(self.tape.notes[number].initializer) for number in self.numbers]
        first = ", ".join(names[:6]) + ", ..." * (len(names) > 6)
        return f"a program of {counted(len(names), 'operation')} ({first})"

    @property
    def numbers(self) -> list[int]:
        """The notes that are run."""
        return notes_behind(self.tape, self.view.storage)
