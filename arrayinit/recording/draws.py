"""The draws of a tape, made by this package: laws by their initializers, the rest of raw words."""

from typing import Any

import torch

from arrayinit.initializers.bits import bits
from arrayinit.initializers.distributions import distribution
from arrayinit.initializers.elementwise import uniform
from arrayinit.key import Key
from arrayinit.recording.recognition import draw_of, given
from arrayinit.recording.tape import Note, RecordError

__all__ = ["can_draw", "drawn"]

_OTHERS = ("bernoulli", "bernoulli_", "exponential_", "randint", "random_", "randperm")


def can_draw(note: Note) -> bool:
    """Whether this package has the draw of a note."""
    return draw_of(note) is not None or note.name in _OTHERS


def drawn(note: Note, shape: tuple[int, ...], dtype: torch.dtype, key: Key) -> torch.Tensor:
    """The values that a note draws, with this key. RecordError where :func:`can_draw` is False."""
    initializer = draw_of(note)
    if initializer is not None:
        name = str(dtype).removeprefix("torch.")
        values: torch.Tensor = initializer(shape, seed=key, xp="torch", dtype=name)
        return values
    arguments = given(note)
    match note.name:
        case "randperm":
            return torch.argsort(_integers((arguments["n"],), key), stable=True)
        case "randint" | "random_":
            low, high = _ends(arguments, dtype)
            return low + _integers(shape, key) % (high - low)
        case "bernoulli_" | "bernoulli":
            p = arguments.get("p", 0.5)
            if not isinstance(p, float | int):
                raise RecordError(f"{note.op} at {note.where} has a probability for each element, which can't be drawn")
            chances: torch.Tensor = uniform(shape, seed=key, xp="torch")
            return chances < p
        case "exponential_":
            scale = 1.0 / arguments.get("lambd", 1.0)
            exponential: torch.Tensor = distribution(shape, "expon", (0.0, scale), seed=key, xp="torch")
            return exponential
    raise RecordError(f"{note.op} at {note.where} can't be drawn")


def _integers(shape: tuple[int, ...], key: Key) -> torch.Tensor:
    """Integers of 62 random bits."""
    words: torch.Tensor = bits((*shape, 2), seed=key, xp="torch").to(torch.int64)
    return ((words[..., 0] & (1 << 30) - 1) << 32) | words[..., 1]


def _ends(arguments: dict[str, Any], dtype: torch.dtype) -> tuple[int, int]:
    """The smallest integer, and the one behind the largest."""
    low = arguments.get("low", arguments.get("from", 0)) or 0
    high = arguments.get("high", arguments.get("to"))
    if high is None:  # as torch does: all integers that the dtype holds exactly
        high = 1 << 24 if dtype == torch.float32 else 1 << 53 if dtype == torch.float64 else torch.iinfo(dtype).max
    return int(low), int(high)
