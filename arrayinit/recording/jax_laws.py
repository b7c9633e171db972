"""Steps of a jaxpr -> the law of a value's elements, where all of them follow one that an initializer draws.

The steps are read as a symbolic computation that starts from random words. It knows the arithmetic of jax.random (words
to fractions, inversion, cutting), and not the names of its functions, which vmap and other versions may change.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import jax
import numpy as np

from arrayinit.recording.jaxprs import PLACEMENTS, Step, Tape
from arrayinit.specs import Spec, spec

__all__ = ["Recognized", "recognize"]

SMALL = 1 << 16  # elements of a constant that is computed to see whether they are all equal
ROOT_2 = math.sqrt(2)

# Operations that only move or drop elements, which leaves them independent and of one law.
_MOVES = ("broadcast_in_dim", "copy", "copy_p", "reshape", "rev", "slice", "split", "squeeze", "transpose")


@dataclass(frozen=True)
class Recognized:
    """An initializer that draws what the steps do, and the number of the draw; None for a constant.

    moves: how the elements of the draw have moved, and whether they changed sign: two values with one law, one draw and
        the same moves are equal.
    """

    initializer: Spec
    draw: int | None
    moves: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Words:
    """Random words of a draw, of which the highest `bits` are left, under the bits `mark` of a float."""

    draw: int
    bits: int
    mark: int = 0
    moves: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Law:
    """shift + scale * d, where d is "uniform" on [0, 1), "normal", "truncated" on [low, high], or "orthogonal".

    dtype: that of the draw, in which JAX rounds the numbers.
    """

    kind: str
    draw: int
    moves: tuple[Any, ...]
    dtype: Any
    scale: float = 1.0
    shift: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        low, high = (0.0, 1.0) if self.kind == "uniform" else (self.low, self.high)
        first, second = sorted((self.shift + self.scale * low, self.shift + self.scale * high))
        return first, second


_Symbol = _Words | _Law


def recognize(tape: Tape, value: int) -> Recognized | None:
    """The initializer of all elements of a value; None where no single law tells them."""
    aval = tape.avals[value]
    if tape.problems[value] or not jax.numpy.issubdtype(aval.dtype, np.floating):
        return None
    if value not in tape.random:
        return _constant(tape, value)
    symbol = _symbol(tape, value)
    if not isinstance(symbol, _Law):
        return None
    initializer = _spec(symbol, aval.shape)
    moves = (*symbol.moves, ("neg",)) if symbol.scale < 0 else symbol.moves
    return None if initializer is None else Recognized(initializer, symbol.draw, moves)


def _constant(tape: Tape, value: int) -> Recognized | None:
    """The one number that all elements of a value are; None where they differ, or may differ."""
    number = _number(tape, value)
    if number is None and 0 < tape.avals[value].size <= SMALL:
        elements = np.asarray(tape.known(value)).ravel()
        is_one = (elements == elements[0]).all() and len(set(np.signbit(elements))) == 1
        number = elements[0] if is_one else None
    if number is None or not np.isfinite(number) or (not number and np.signbit(number)):
        return None
    plain = float(str(number))
    return Recognized(spec("zeros") if not plain else spec("ones") if plain == 1 else spec("constant", val=plain), None)


def _spec(law: _Law, shape: tuple[int, ...]) -> Spec | None:
    def plain(x: float) -> float:
        """The shortest number that is the same in this dtype: 0.02, not 0.019999999552965164."""
        return float(str(np.asarray(x, law.dtype)[()])) if math.isfinite(x) else x

    match law.kind:
        case "uniform" if law.scale:
            a, b = map(plain, law.ends)
            return spec("uniform", a=a, b=b) if a < b else None
        case "normal" if law.scale:
            mean = {"mean": plain(law.shift)} if law.shift else {}
            return spec("normal", **mean, std=plain(abs(law.scale)))
        case "truncated" if law.scale:
            a, b = map(plain, law.ends)
            mean = {"mean": plain(law.shift)} if law.shift else {}
            return spec("trunc_normal", **mean, std=plain(abs(law.scale)), a=a, b=b)
        case "orthogonal" if not law.shift and len(shape) > 1 and _keeps_columns(law.moves, shape):
            return spec("orthogonal", gain=plain(law.scale), in_axis=-2, out_axis=-1)
    return None


def _keeps_columns(moves: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    """Whether a matrix was at most transposed, and its rows were then spread over all axes of a shape but the last."""
    names = [move[0] for move in moves]
    columns = moves[-1][1][-1:] if names[-1:] == ["reshape"] else shape[-1:]
    return names in ([], ["transpose"], ["reshape"], ["transpose", "reshape"]) and columns == shape[-1:]


def _symbol(tape: Tape, value: int) -> _Symbol | None:
    """What a value is made of; None where that is unknown."""
    path = [value]  # from the value to the draw: a law has one
    while value not in tape.orthogonal:
        step = tape.maker(value)
        assert step is not None
        if step.name == "random_bits":
            break
        sources = [x for x in step.inputs if x in tape.random]
        if len(sources) != 1:
            return None
        value = sources[0]
        path.append(value)
    if value in tape.orthogonal:
        symbol: _Symbol | None = _Law("orthogonal", tape.draws_behind(value)[0], (), tape.avals[value].dtype)
    else:
        symbol = _Words(tape.makers[value], tape.avals[value].dtype.itemsize * 8)
    for source, result in zip(path[:0:-1], path[-2::-1], strict=True):
        if symbol is None:
            return None
        step = tape.maker(result)
        assert step is not None
        symbol = _after(tape, step, source, result, symbol)
    return symbol


def _after(tape: Tape, step: Step, source: int, result: int, symbol: _Symbol) -> _Symbol | None:
    """A symbol after the step that makes `result` of `source`."""
    before, after = tape.avals[source], tape.avals[result]
    if step.name in _MOVES:
        if step.inputs[0] != source or after.size > before.size or (after.size < before.size and _is_matrix(symbol)):
            return None
        others = step.inputs[1:]
        place = (after.shape, step.outputs.index(result), repr(sorted(step.equation.params.items(), key=str)))
        return None if others else replace(symbol, moves=(*symbol.moves, (step.name, before.shape, *place)))
    if step.name in ("stop_gradient", *PLACEMENTS):
        return symbol
    if isinstance(symbol, _Words):
        return _fraction(tape, step, source, result, symbol)
    if step.name == "convert_element_type":
        narrows = jax.numpy.finfo(after.dtype).nmant <= jax.numpy.finfo(before.dtype).nmant if _float(after) else False
        return symbol if narrows else None
    if step.name == "erf_inv":
        return _inverted(symbol, before.dtype)
    if step.name == "neg":
        return _affine(symbol, -1.0, 0.0)
    if step.name not in ("mul", "div", "add", "sub", "max", "min") or len(step.inputs) != 2:
        return None
    is_first = step.inputs[0] == source
    number = _number(tape, step.inputs[1 if is_first else 0])
    if number is None or not (math.isfinite(number) or step.name in ("max", "min")):
        return None
    match step.name:
        case "mul":
            return _affine(symbol, _factor(number, before.dtype), 0.0)
        case "div" if is_first and number:
            return _affine(symbol, 1 / _factor(number, before.dtype), 0.0)
        case "add":
            return _affine(symbol, 1.0, float(number))
        case "sub" if is_first:
            return _affine(symbol, 1.0, -float(number))
        case "sub":
            return _affine(symbol, -1.0, float(number))
        case "max" | "min":
            return _cut(symbol, number, step.name == "max", before.dtype)
    return None


def _fraction(tape: Tape, step: Step, source: int, result: int, words: _Words) -> _Symbol | None:
    """Words after a step on the way to fractions: shifted, put under the exponent of 1, and read as floats."""
    after = tape.avals[result]
    if step.name == "convert_element_type" and jax.numpy.issubdtype(after.dtype, np.unsignedinteger):
        return words if after.dtype.itemsize >= tape.avals[source].dtype.itemsize else None
    if step.name == "bitcast_convert_type" and _float(after) and after.shape == tape.avals[source].shape:
        one = np.ones((), after.dtype).view(f"u{after.dtype.itemsize}")
        is_fraction = words.mark == one and words.bits == jax.numpy.finfo(after.dtype).nmant
        return _Law("uniform", words.draw, words.moves, after.dtype, shift=1.0) if is_fraction else None
    number = _number(tape, step.inputs[1]) if len(step.inputs) == 2 and step.inputs[0] == source else None
    if number is None or words.mark:
        return None
    match step.name:
        case "shift_right_logical" if 0 <= number < words.bits:
            return replace(words, bits=words.bits - int(number))
        case "or":
            return replace(words, mark=int(number))
    return None


def _inverted(law: _Law, dtype: Any) -> _Law | None:
    """A uniform law after erf_inv: a normal that is cut, at the ends of the dtype in jax.random.normal."""
    eps = float(jax.numpy.finfo(dtype).eps)
    low, high = law.ends
    if law.kind != "uniform" or not -1 <= low < high <= 1 + eps:  # the range of the law is rounded, too
        return None
    ends = {"low": _quantile(-1.0 if low <= -1 + eps else low), "high": _quantile(1.0 if high >= 1 - eps else high)}
    kind = "normal" if all(map(math.isinf, ends.values())) else "truncated"
    return _Law(kind, law.draw, law.moves, law.dtype, 1 / ROOT_2, **ends)


def _quantile(x: float) -> float:
    """sqrt(2) erf_inv(x)."""
    return math.copysign(math.inf, x) if abs(x) == 1 else NormalDist().inv_cdf((1 + x) / 2)


def _affine(law: _Law, scale: float, shift: float) -> _Law | None:
    """A law times `scale` plus `shift`."""
    if _is_matrix(law) and shift:
        return None
    return replace(law, scale=law.scale * scale, shift=law.shift * scale + shift)


def _cut(law: _Law, number: Any, is_lower: bool, dtype: Any) -> _Law | None:
    """A law after max or min with a number, where that changes no value beyond rounding.

    jax.random.truncated_normal cuts at the numbers beside its ends, since these are not reached; the law has the ends.
    """
    end = law.ends[0 if is_lower else 1]
    if law.kind == "truncated" and law.scale > 0:
        old, new = ((x - law.shift) / law.scale for x in (end, float(number)))
        if abs(math.erf(old / ROOT_2) - math.erf(new / ROOT_2)) <= 2 * float(jax.numpy.finfo(dtype).eps):
            with np.errstate(over="ignore"):  # beside the largest number there is infinity
                beside = np.nextafter(np.asarray(number, dtype), np.asarray(-math.inf if is_lower else math.inf, dtype))
            texts = sorted((str(beside[()]), str(np.asarray(number, dtype)[()])), key=len)
            cut = (float(texts[0]) - law.shift) / law.scale
            return replace(law, low=cut) if is_lower else replace(law, high=cut)
    return law if (number <= end if is_lower else number >= end) and not _is_matrix(law) else None


def _factor(number: Any, dtype: Any) -> float:
    """A factor; the root of 2 as it is, and not as the dtype rounds it."""
    return ROOT_2 if number == np.asarray(ROOT_2, dtype) else float(number)


def _number(tape: Tape, value: int) -> Any:
    """The one number that a value repeats, of its dtype; None where it has several, or depends on a draw."""
    if value in tape.random or tape.problems[value]:
        return None
    if tape.avals[value].size == 1:
        return np.asarray(tape.known(value)).ravel()[0]
    step = tape.maker(value)
    if step is not None and step.name in ("broadcast_in_dim", "reshape", "convert_element_type"):
        number = _number(tape, step.inputs[0])
        return None if number is None else np.asarray(number).astype(tape.avals[value].dtype)[()]
    return None


def _float(aval: Any) -> bool:
    return bool(jax.numpy.issubdtype(aval.dtype, np.floating))


def _is_matrix(symbol: _Symbol) -> bool:
    """Whether the elements depend on each other."""
    return isinstance(symbol, _Law) and symbol.kind == "orthogonal"
