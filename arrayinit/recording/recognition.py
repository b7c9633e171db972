"""Notes of a tape -> the law of a tensor's elements, where all of them follow one that an initializer draws.

The notes are read as a symbolic computation: a draw, and what is done to its values afterwards. Scaled and shifted laws
are laws again. A normal that is drawn by inversion (uniform_, erfinv_, mul_, add_, clamp_) is a truncated normal.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from arrayinit.recording.replay import overwrites
from arrayinit.recording.tape import Note, Tape, View, given
from arrayinit.specs import Spec, spec

__all__ = ["Recognized", "draw_of", "is_unset", "recognize"]


@dataclass(frozen=True)
class Recognized:
    """An initializer that draws what the notes do, and the number of the note that draws; None for a constant."""

    initializer: Spec
    draw: int | None
    zero_row: int | None = None  # a row of a matrix that is set to 0 after the draw


@dataclass(frozen=True)
class _Constant:
    value: float


@dataclass(frozen=True)
class _Uniform:
    low: float
    high: float
    initializer: Spec | None = None


@dataclass(frozen=True)
class _Normal:
    mean: float
    std: float
    initializer: Spec | None = None


@dataclass(frozen=True)
class _Truncated:
    """shift + scale * z, where z is a standard normal between `low` and `high`; clamped at these ends, or not yet."""

    low: float
    high: float
    shift: float = 0.0
    scale: float = 1.0
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Named:
    """A law that only its initializer tells."""

    initializer: Spec


_Symbol: TypeAlias = _Constant | _Uniform | _Normal | _Truncated | _Named
_Value: TypeAlias = tuple[_Symbol, int | None, int | None]  # symbol, the note that draws, a zeroed row

_UNSET = object()
_ALLOCATIONS = ("empty", "empty_strided", "new_empty", "empty_like", "new_empty_strided")
_ELEMENTWISE = ("mul", "div", "add", "sub", "neg", "clamp")
CLOSE = 1e-5  # relative, of bounds that went through float32
FAR = 6.0  # standard deviations beyond which a normal has less mass than float32 can draw by inversion


def recognize(tape: Tape, view: View) -> Recognized | None:
    """The initializer of all elements of a view; None where no single law tells them."""
    if view.count == 0:
        return Recognized(spec("zeros"), None)
    value = _value(tape, view, len(tape.notes))
    if value is None:
        return None
    symbol, draw, row = value
    initializer = _initializer(symbol, view)
    return None if initializer is None else Recognized(initializer, draw, row)


def is_unset(tape: Tape, view: View) -> bool:
    """Whether a constructor allocates a tensor and writes nothing into it."""
    return (
        all(
            tape.notes[number].name in _ALLOCATIONS and not tape.notes[number].written
            for number in tape.writers.get(view.storage, ())
        )
        and tape.storages[view.storage].values is None
    )


def draw_of(note: Note) -> Spec | None:
    """The initializer that draws what a single note draws; None where none does."""
    symbol = _drawn(note)
    return None if symbol is None else _spec(symbol)


def _initializer(symbol: _Symbol, view: View) -> Spec | None:
    result = _spec(symbol)
    if result is not None and not view.dtype.is_floating_point and not isinstance(symbol, _Constant):
        return None
    return result


def _spec(symbol: _Symbol) -> Spec | None:
    match symbol:
        case _Constant(value):
            return spec("zeros") if value == 0 else spec("ones") if value == 1 else spec("constant", val=value)
        case _Named(initializer):
            return initializer
        case _Uniform(_, _, initializer) | _Normal(_, _, initializer) if initializer is not None:
            return initializer
        case _Uniform(low, high):
            return spec("uniform", a=low, b=high)
        case _Normal(mean, std):
            return spec("normal", mean=mean, std=std) if mean else spec("normal", std=std)
        case _Truncated(low, high, shift, scale, ends):
            a, b = ends or (shift + scale * low, shift + scale * high)
            return spec("trunc_normal", mean=shift, std=scale, a=a, b=b)
    return None


def _value(tape: Tape, view: View, before: int) -> _Value | None:
    """The symbol of a view as it is before a note."""
    size = tape.storages[view.storage].size
    if not view.is_dense or view.count * view.dtype.itemsize != size or tape.storages[view.storage].values is not None:
        return None
    numbers: list[int] = []
    for number in reversed(tape.writers.get(view.storage, ())):
        if number < before:
            numbers.append(number)
            if overwrites(tape, tape.notes[number], view.storage):
                break
    value: Any = _UNSET
    for number in reversed(numbers):
        value = _after(tape, number, view, value)
        if value is None:
            return None
    if value is None or value is _UNSET:
        return None
    # Of a law, integers keep the whole numbers alone.
    return value if view.dtype.is_floating_point or isinstance(value[0], _Constant) else None


def _after(tape: Tape, number: int, view: View, value: Any) -> Any:
    """The value of a storage after a note that writes to it; _UNSET for memory without values; None where unknown."""
    note = tape.notes[number]
    target = next(
        (each for each in (*note.written, *note.outputs) if each is not None and each.storage == view.storage), None
    )
    if target is None or target.dtype != view.dtype:
        return None
    if not (target.is_dense and target.count == view.count):
        return _with_zero_row(note, view, target, value)
    if note.name in _ALLOCATIONS:
        return _UNSET
    drawn = _drawn(note)
    if drawn is not None:
        if (target.size, target.stride) != (view.size, view.stride) and not _is_flat(drawn, target, view):
            return None
        return drawn, number, None
    constant = _constant(note)
    if constant is not None:
        return _Constant(_converted(constant, target.dtype, target.dtype)), None, None
    if note.name in ("copy_", "_to_copy", "clone", "detach_copy"):
        source = note.args[1] if note.name == "copy_" else note.args[0]
        value = _moved(tape, number, source, target, view)
        if value is not None and isinstance(value[0], _Constant):
            return _Constant(_converted(value[0].value, source.dtype, target.dtype)), None, value[2]
        return value
    if note.outputs and note.outputs[0] is not None:  # a new tensor, computed from another one
        value = _moved(tape, number, note.args[0] if note.args else None, target, view)
    if value is None or value is _UNSET:
        return None
    symbol, draw, row = value
    changed = _computed(note, symbol, target) if isinstance(symbol, _Constant) else _changed(note, symbol)
    keeps_zero = row is None or note.name.rstrip("_") in ("mul", "div", "neg")
    return (changed, draw, row) if changed is not None and keeps_zero else None


def _moved(tape: Tape, number: int, source: Any, target: View, view: View) -> _Value | None:
    """The value of a storage that gets the elements of `source` in their order, seen as `target` and as `view`."""
    if not isinstance(source, View) or not _is_like(source, target):
        return None
    value = _value(tape, source, number)
    if value is None or (target.size, target.stride) == (view.size, view.stride):
        return value
    symbol, _, row = value  # fans and rows are those of `target`
    return value if row is None and _is_flat(symbol, target, view) else None


def _is_flat(symbol: _Symbol, target: View, view: View) -> bool:
    """Whether a draw into another view of the memory says all: not of a law with fans, nor of a transposed view."""
    has_fans = isinstance(symbol, _Named) or (isinstance(symbol, _Uniform | _Normal) and symbol.initializer is not None)
    return not has_fans and _is_row_major(target) and _is_row_major(view)


def _is_like(source: View, target: View) -> bool:
    """Whether a copy of `source` into `target` keeps the order of the elements."""
    return source.size == target.size and _is_row_major(source) and _is_row_major(target)


def _is_row_major(view: View) -> bool:
    return list(view.stride) == sorted(view.stride, reverse=True)


def _with_zero_row(note: Note, view: View, target: View, value: Any) -> Any:
    """A matrix after one of its rows is set to 0."""
    if value is None or value is _UNSET or len(view.size) != 2 or _constant(note) != 0:
        return None
    columns = view.size[1]
    is_row = target.count == columns and target.is_dense and view.stride == (columns, 1)
    symbol, draw, row = value
    if not is_row or target.offset % columns or row not in (None, target.offset // columns):
        return None
    return symbol, draw, target.offset // columns


def _constant(note: Note) -> float | None:
    """The number that a note sets all elements to."""
    arguments = given(note)
    match note.name:
        case "zero_" | "zeros" | "zeros_like" | "new_zeros":
            return 0.0
        case "ones" | "ones_like" | "new_ones":
            return 1.0
        case "fill_" | "full" | "full_like" | "new_full" | "fill":
            value = arguments.get("value", arguments.get("fill_value"))
            if isinstance(value, torch.Tensor) and value.numel() == 1:
                value = value.item()
            return value if isinstance(value, bool | int | float) else None
    return None


def _converted(value: float, before: torch.dtype, after: torch.dtype) -> float:
    """A number in a tensor of one dtype, as a tensor of another one gets it: unrounded where only the latter rounds."""
    number = torch.full((1,), value, dtype=before, device="cpu").to(after)
    if (after.is_floating_point or after.is_complex) and torch.equal(number, torch.full_like(number, value)):
        return float(value)
    rounded: float = number.item()
    return rounded


def _drawn(note: Note) -> _Symbol | None:
    """The symbol of the values that a note draws."""
    if not note.op:
        return None if note.initializer is None else _named(note.initializer)
    arguments = given(note)
    match note.name:
        case "uniform_":
            return _Uniform(float(arguments.get("from", 0.0)), float(arguments.get("to", 1.0)), note.initializer)
        case "normal_":
            return _Normal(float(arguments.get("mean", 0.0)), float(arguments.get("std", 1.0)), note.initializer)
        case "normal" if isinstance(arguments.get("mean", 0.0), float) and isinstance(arguments.get("std", 1.0), float):
            return _Normal(float(arguments.get("mean", 0.0)), float(arguments.get("std", 1.0)))
        case "rand" | "rand_like":
            return _Uniform(0.0, 1.0)
        case "randn" | "randn_like":
            return _Normal(0.0, 1.0)
    return None


def _named(initializer: Spec) -> _Symbol:
    """The symbol of an initializer that was noted as a whole: a truncated normal can be scaled afterwards."""
    if initializer.name == "trunc_normal" and initializer.parameters["std"] > 0:
        mean, std, low, high = (float(initializer.parameters[name]) for name in ("mean", "std", "a", "b"))
        return _Truncated((low - mean) / std, (high - mean) / std, mean, std, ends=(low, high))
    return _Named(initializer)


def _computed(note: Note, symbol: _Constant, target: View) -> _Constant | None:
    """A constant after an operation with numbers, rounded as torch rounds it."""
    source = note.args[0] if note.args else None
    if _numbers(note) is None or note.name.rstrip("_") not in _ELEMENTWISE or not isinstance(source, View):
        return None
    element = torch.full((1,), symbol.value, dtype=source.dtype, device="cpu")
    others = [x.cpu() if isinstance(x, torch.Tensor) else x for x in note.args[1:]]
    return _Constant(note.overload(element, *others, **note.kwargs).to(target.dtype).item())


def _numbers(note: Note) -> list[Any] | None:
    """The arguments behind the tensor; None where one is no number."""
    numbers = [x.item() if isinstance(x, torch.Tensor) and x.numel() == 1 else x for x in note.args[1:]]
    is_plain = all(isinstance(x, int | float) or x is None for x in (*numbers, *note.kwargs.values()))
    return numbers if is_plain else None


def _changed(note: Note, symbol: _Symbol) -> _Symbol | None:
    """A symbol after an operation with numbers on all elements."""
    name = note.name.rstrip("_")
    numbers = _numbers(note)
    if numbers is None:
        return None
    alpha = note.kwargs.get("alpha", 1)
    first = numbers[0] if numbers else None
    match name:
        case "mul" if first is not None:
            return _affine(symbol, first, 0.0)
        case "div" if first and "rounding_mode" not in note.kwargs:
            return _affine(symbol, 1 / first, 0.0)
        case "add" if first is not None:
            return _affine(symbol, 1.0, first * alpha)
        case "sub" if first is not None:
            return _affine(symbol, 1.0, -first * alpha)
        case "neg":
            return _affine(symbol, -1.0, 0.0)
        case "erfinv" if isinstance(symbol, _Uniform) and -1 <= symbol.low < symbol.high <= 1:
            low, high = torch.erfinv(
                torch.tensor([symbol.low, symbol.high], dtype=torch.float64, device="cpu")
            ).tolist()
            if low == -math.inf and high == math.inf:
                return _Normal(0.0, 1 / math.sqrt(2))
            return _Truncated(math.sqrt(2) * low, math.sqrt(2) * high, scale=1 / math.sqrt(2))
        case "clamp":
            bounds = [*numbers, None, None][:2]
            low = note.kwargs.get("min", bounds[0])
            high = note.kwargs.get("max", bounds[1])
            return _clamped(symbol, -math.inf if low is None else low, math.inf if high is None else high)
    return None


def _affine(symbol: _Symbol, scale: float, shift: float) -> _Symbol | None:
    """A symbol times `scale` plus `shift`."""
    if isinstance(symbol, _Named):
        return None
    match symbol:
        case _Uniform(low, high):
            low, high = sorted((low * scale + shift, high * scale + shift))
            return _Uniform(low, high) if low < high else _Constant(low)
        case _Normal(mean, std):
            return _Normal(mean * scale + shift, std * abs(scale))
        case _Truncated(low, high, middle, spread, ends) if scale > 0:
            moved = None if ends is None else (ends[0] * scale + shift, ends[1] * scale + shift)
            return _Truncated(low, high, middle * scale + shift, spread * scale, moved)
    return None


def _clamped(symbol: _Symbol, low: float, high: float) -> _Symbol | None:
    """A symbol clamped where that changes no value beyond rounding, or only such as are hardly ever drawn."""
    if isinstance(symbol, _Normal) and symbol.std > 0:
        symbol = _Truncated(-math.inf, math.inf, symbol.mean, symbol.std)
    if isinstance(symbol, _Truncated):
        below = _cuts(symbol.low, (low - symbol.shift) / symbol.scale)
        above = _cuts(-symbol.high, (symbol.shift - high) / symbol.scale)
        if below is None or above is None:
            return None
        return replace(symbol, ends=(low, high)) if below and above else symbol
    if isinstance(symbol, _Uniform) and low <= symbol.low and high >= symbol.high:
        return symbol
    return None


def _cuts(end: float, bound: float) -> bool | None:
    """Whether a lower bound is the lower end of a truncated normal, both in standard deviations; None if above it."""
    if max(end, bound) <= -FAR:
        return True
    room = CLOSE * FAR
    return None if bound > end + room else bound >= end - room
