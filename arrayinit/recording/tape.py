"""A tape: the operations that a constructor applies to tensors, which have shapes and no values yet.

A tensor is known by its storage and by its place in it (:class:`View`), so that views, parameters made of tensors and
`.data` need no notes of their own.
"""

import functools
import math
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from arrayinit.specs import Spec

__all__ = ["META", "Note", "RecordError", "Storage", "Tape", "View", "given", "is_draw"]

META = torch.device("meta")


class RecordError(RuntimeError):
    """Something in a constructor that can't be recorded.

    Example:
        >>> import torch
        >>> from arrayinit.torch import RecordError, record
        >>> try:
        ...     with record():
        ...         bool(torch.randn(3).sum() > 0)
        ... except RecordError as error:
        ...     print(str(error).partition(" at ")[0])
        a constructor asks for values that depend on a draw: aten.randn.default
    """


@dataclass(frozen=True)
class View:
    """Where a tensor lies: the number of its storage on the tape, and its place there."""

    storage: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.size)

    @property
    def is_dense(self) -> bool:
        """Whether the elements are neighbours in memory, in any order of the axes, so that `count` says all."""
        expected = 1
        for stride, n in sorted((stride, n) for stride, n in zip(self.stride, self.size, strict=True) if n != 1):
            if stride != expected:
                return False
            expected *= n
        return True


@dataclass
class Storage:
    """The memory behind tensors. It is kept alive while the tape is written, so that its address stays its own."""

    memory: torch.UntypedStorage | None
    size: int  # bytes
    device: torch.device  # where the constructor believes that it is
    values: torch.Tensor | None = None  # its bytes before the first note, if it has values
    twin: torch.UntypedStorage | None = None  # on the meta device, where `memory` has values


@dataclass
class Note:
    """One operation: tensors among the arguments are views; those of constants are tensors with values."""

    op: str  # as torch prints it, "aten.mul.Tensor"; "" for an initializer of torch.nn.init that was noted as a whole
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[View | None, ...]
    written: tuple[View, ...]
    read: tuple[View, ...]
    initializer: Spec | None = None  # the initializer of this package that draws the same law, where it is known
    where: str = ""  # file and line of the constructor

    @property
    def overload(self) -> Any:
        """torch's operation."""
        return _overload(self.op)

    @property
    def name(self) -> str:
        """The name of the operation without its namespace and overload: "mul"."""
        return self.op.split(".")[1] if self.op else ""


@dataclass
class _Lent:
    """The values of a view that NumPy was given as an array, into which it may write."""

    view: View
    memory: torch.Tensor
    before: torch.Tensor
    array: weakref.ref[Any]


@functools.cache
def _overload(op: str) -> Any:
    return functools.reduce(getattr, op.split("."), torch.ops)


def is_draw(note: Note) -> bool:
    """Whether a note takes random numbers."""
    if not note.op:
        return note.initializer is not None and note.initializer.name != "dirac"
    return torch.Tag.nondeterministic_seeded in note.overload.tags


def given(note: Note) -> dict[str, Any]:
    """The arguments of a note by name."""
    if not note.op:
        return {}
    names = (argument.name for argument in note.overload._schema.arguments)
    return dict(zip(names, note.args, strict=False)) | note.kwargs


@dataclass
class Tape:
    """Notes in order, and the storages that they are about."""

    notes: list[Note] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)  # address of a storage -> its number
    writers: dict[int, list[int]] = field(default_factory=dict)  # number of a storage -> notes that write to it
    has_copies: bool = False  # whether parameters were deep-copied, which no hook of modules tells
    lent: list[_Lent] = field(default_factory=list)  # what NumPy has of tensors

    def view(self, x: torch.Tensor) -> View | None:
        """The view that a tensor is; None for one that the tape knows nothing about."""
        number = None if is_lazy(x) or x.layout != torch.strided else self.numbers.get(x.untyped_storage()._cdata)
        if number is None:
            return None
        return View(number, x.dtype, tuple(x.size()), tuple(x.stride()), x.storage_offset())

    def add(self, x: torch.Tensor, device: torch.device, values: torch.Tensor | None = None) -> View:
        """The view of a tensor, whose storage is new to the tape."""
        memory = x.untyped_storage()
        self.numbers[memory._cdata] = len(self.storages)
        self.storages.append(Storage(memory, memory.nbytes(), device, values))
        view = self.view(x)
        assert view is not None
        return view

    def adopt(self, x: torch.Tensor) -> None:
        """Note a tensor that has values and gets others: from now on its values are those of the tape."""
        memory = x.untyped_storage()
        whole = torch.empty(0, dtype=torch.uint8, device=x.device).set_(memory)
        self.add(x, x.device, whole.clone())
        number = self.numbers[memory._cdata]
        twin = torch.empty(memory.nbytes(), dtype=torch.uint8, device=META).untyped_storage()
        self.storages[number].twin = twin
        self.numbers[twin._cdata] = number

    def without_values(self, x: torch.Tensor) -> torch.Tensor:
        """A tensor on the meta device in place of x; where x is on the tape, one that shares its storage's aliases."""
        if x.device.type == "meta":
            return x
        number = self.numbers.get(x.untyped_storage()._cdata)
        if number is None:
            return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device=META)
        twin = self.storages[number].twin
        assert twin is not None
        return torch.empty(0, dtype=x.dtype, device=META).set_(twin, x.storage_offset(), x.size(), x.stride())

    def append(self, note: Note) -> None:
        """Note an operation."""
        for storage in dict.fromkeys(view.storage for view in (*note.written, *filter(None, note.outputs))):
            self.writers.setdefault(storage, []).append(len(self.notes))
        self.notes.append(note)

    def lend(self, view: View, memory: torch.Tensor, array: Any) -> None:
        """Note that an array shares the memory that holds the values of a view."""
        lent = _Lent(view, memory, memory.clone(), weakref.ref(array))
        self.lent.append(lent)

    def take_back(self) -> None:
        """Note what was written into arrays of tensors' values since the last time."""
        lent, self.lent = self.lent, []
        for each in lent:
            is_alive = each.array() is not None
            changed = each.memory.ne(each.before) & ~(each.memory.isnan() & each.before.isnan())
            if changed.any():
                each.before = each.memory.clone()
                args = (each.view, [changed], each.before[changed])
                self.append(Note("aten.index_put_.default", args, {}, (None,), (each.view,), (each.view,)))
            if is_alive:
                self.lent.append(each)

    def constant(self, x: torch.Tensor) -> View:
        """The view of a tensor with values, of which the tape keeps a copy."""
        memory = x.detach().cpu().contiguous().clone()
        values = torch.empty(0, dtype=torch.uint8, device="cpu").set_(memory.untyped_storage())
        self.storages.append(Storage(None, values.nbytes, x.device, values))
        return View(len(self.storages) - 1, x.dtype, tuple(x.size()), tuple(memory.stride()), 0)

    def seal(self) -> None:
        """Let go of the memory of the constructor's tensors; the tape is plain data from now on."""
        for storage in self.storages:
            if storage.memory is not None:
                storage.size = storage.memory.nbytes()
            storage.memory = storage.twin = None
        self.numbers = {}
        self.lent = []
