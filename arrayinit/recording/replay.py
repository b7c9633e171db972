"""Notes of a tape -> values: the operations that a tensor depends on, run for real in their order."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from arrayinit.recording.tape import Note, RecordError, Tape, View, given, is_draw

__all__ = ["Draw", "notes_behind", "replay", "values_of"]

Draw = Callable[[int, Note, Mapping[str, Any], tuple[int, ...], torch.dtype], torch.Tensor]

# Operations that write all of their target and read nothing of it.
_OVERWRITES = {"fill_", "zero_", "copy_", "uniform_", "normal_", "random_", "exponential_", "bernoulli_", "log_normal_",
               "cauchy_", "geometric_", "eye"}  # fmt: skip


def overwrites(tape: Tape, note: Note, storage: int) -> bool:
    """Whether a note gives a storage all of its values, whatever they were."""
    if any(view is not None and view.storage == storage for view in note.outputs):
        return True
    if note.op and note.name not in _OVERWRITES:
        return False
    size = tape.storages[storage].size
    return any(
        view.storage == storage and view.is_dense and view.count * view.dtype.itemsize == size for view in note.written
    )


def notes_behind(tape: Tape, storage: int) -> list[int]:
    """The numbers of the notes that the values of a storage come from, in order."""
    needed: set[int] = set()
    visited: set[tuple[int, int]] = set()  # a storage, and how many of its writers come before
    todo = [(storage, len(tape.notes))]
    while todo:
        place, end = todo.pop()
        writers = tape.writers.get(place, [])
        count = bisect_left(writers, end)
        if (place, count) in visited:
            continue
        visited.add((place, count))
        for number in reversed(writers[:count]):
            note = tape.notes[number]
            if number not in needed:
                needed.add(number)
                todo += [(view.storage, number) for view in note.read if not _is_only_target(tape, note, view, place)]
            if overwrites(tape, note, place):
                break
    return sorted(needed)


def _is_only_target(tape: Tape, note: Note, view: View, place: int) -> bool:
    """Whether a note reads a storage only in name, since it writes over all of it."""
    return view.storage == place and overwrites(tape, note, place)


def replay(tape: Tape, storages: Iterable[int], draw: Draw) -> dict[int, torch.Tensor]:
    """Storage -> its bytes as a tensor on the CPU, by running all notes behind them.

    Args:
        draw: gives the values of a draw: its number, the note, the note's arguments by name with their values, and the
            shape and dtype of what it draws.
    """
    device = torch.device("cpu")
    wanted = list(storages)
    numbers = sorted({number for storage in wanted for number in notes_behind(tape, storage)})
    memory: dict[int, torch.Tensor] = {}

    def bytes_of(storage: int) -> torch.Tensor:
        if storage not in memory:
            held = tape.storages[storage]
            if held.values is not None:
                memory[storage] = held.values.to(device, copy=True)
            else:
                memory[storage] = torch.empty(held.size, dtype=torch.uint8, device=device)
        return memory[storage]

    def real(x: Any) -> Any:
        if isinstance(x, View):
            return view_into(bytes_of(x.storage), x)
        return x.to(device) if isinstance(x, torch.Tensor) else x

    with (
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        _disable_current_modes(),
        torch._C.DisableTorchFunction(),
    ):
        for number in numbers:
            note = tape.notes[number]
            if is_draw(note):
                target = note.written[0] if note.written else next(filter(None, note.outputs))
                values = draw(number, note, tree_map(real, given(note)), target.size, target.dtype)
                view_into(bytes_of(target.storage), target).copy_(values)
                continue
            if not note.op:  # an initializer that draws nothing, such as dirac
                assert note.initializer is not None
                target = note.written[0]
                name = str(target.dtype).removeprefix("torch.")
                values = note.initializer(target.size, xp="torch", dtype=name)
                view_into(bytes_of(target.storage), target).copy_(values)
                continue
            args, kwargs = tree_map(real, (note.args, note.kwargs))
            if "device" in kwargs:
                kwargs["device"] = device
            result = note.overload(*args, **kwargs)
            for view, x in zip(note.outputs, tree_leaves(result), strict=True):
                if view is not None:
                    view_into(bytes_of(view.storage), view).copy_(x)
        return {storage: bytes_of(storage) for storage in wanted}


def view_into(memory: torch.Tensor, view: View) -> torch.Tensor:
    """The tensor that a view is, in the bytes of its storage."""
    return torch.empty(0, dtype=view.dtype, device=memory.device).set_(
        memory.untyped_storage(), view.offset, view.size, view.stride
    )


def values_of(tape: Tape, x: torch.Tensor) -> torch.Tensor:
    """The values of a tensor by what was noted so far; RecordError where they depend on a draw."""
    view = tape.view(x)
    if view is None:
        return x
    tape.take_back()

    def refuse(
        number: int, note: Note, arguments: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype
    ) -> torch.Tensor:
        what = note.op or f"torch.nn.init, {note.initializer}"
        raise RecordError(
            f"a constructor asks for values that depend on a draw: {what} at {note.where} (make such a model without "
            f"`record`, and draw it by rules)"
        )

    memory = replay(tape, [view.storage], refuse)[view.storage]
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        return view_into(memory, view)
