"""The draws of a tape, made by this package: laws by their initializers, the rest of raw words."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from arrayinit.initializers.bits import bits
from arrayinit.initializers.distributions import distribution
from arrayinit.initializers.elementwise import normal, uniform
from arrayinit.key import Key
from arrayinit.recording.recognition import draw_of
from arrayinit.recording.tape import Note, RecordError

__all__ = ["can_draw", "drawn"]

_OTHERS = (
    "bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal", "randint", "random_",
    "randperm",
)  # fmt: skip


def can_draw(note: Note) -> bool:
    """Whether this package has the draw of a note."""
    return draw_of(note) is not None or note.name in _OTHERS


def drawn(
    note: Note, arguments: Mapping[str, Any], shape: tuple[int, ...], dtype: torch.dtype, key: Key
) -> torch.Tensor:
    """The values that a note draws, with this key. RecordError where :func:`can_draw` is False.

    Args:
        arguments: those of the note by name, with values.
    """
    initializer = draw_of(note)
    if initializer is not None:
        values: torch.Tensor = initializer(shape, seed=key, xp="torch", dtype=_name(dtype))
        return values
    match note.name:
        case "randperm":
            return torch.argsort(_integers((arguments["n"],), key), stable=True)
        case "randint" | "random_":
            low, high = _ends(arguments, dtype)
            return low + _integers(shape, key) % (high - low)
        case "bernoulli_" | "bernoulli":
            p = arguments.get("p", 0.5 if note.name == "bernoulli_" else arguments["self"])
            return _chances(shape, key) < p
        case "geometric_":  # the number of trials up to the first success
            return 1 + torch.floor(torch.log1p(-_chances(shape, key)) / math.log1p(-arguments["p"]))
        case "exponential_":
            return _distributed(shape, "expon", (0.0, 1.0 / arguments.get("lambd", 1.0)), key)
        case "cauchy_":
            return _distributed(shape, "cauchy", (arguments.get("median", 0.0), arguments.get("sigma", 1.0)), key)
        case "log_normal_":
            mean, std = float(arguments.get("mean", 1.0)), float(arguments.get("std", 2.0))
            return torch.exp(normal(shape, mean, std, seed=key, xp="torch", dtype=_name(dtype)))
        case "normal":  # whose mean or standard deviation is a tensor
            deviates = normal(shape, seed=key, xp="torch", dtype=_name(dtype))
            scaled: torch.Tensor = arguments.get("mean", 0.0) + arguments.get("std", 1.0) * deviates
            return scaled
    raise RecordError(f"{note.op} at {note.where} can't be drawn")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _chances(shape: tuple[int, ...], key: Key) -> torch.Tensor:
    """U[0, 1)."""
    chances: torch.Tensor = uniform(shape, seed=key, xp="torch")
    return chances


def _distributed(shape: tuple[int, ...], name: str, parameters: tuple[float, ...], key: Key) -> torch.Tensor:
    values: torch.Tensor = distribution(shape, name, parameters, seed=key, xp="torch")
    return values


def _integers(shape: tuple[int, ...], key: Key) -> torch.Tensor:
    """Integers of 62 random bits."""
    words: torch.Tensor = bits((*shape, 2), seed=key, xp="torch").to(torch.int64)
    return ((words[..., 0] & (1 << 30) - 1) << 32) | words[..., 1]


def _ends(arguments: Mapping[str, Any], dtype: torch.dtype) -> tuple[int, int]:
    """The smallest integer, and the one behind the largest."""
    low = arguments.get("low", arguments.get("from", 0)) or 0
    high = arguments.get("high", arguments.get("to"))
    if high is None:  # as torch does: all integers that the dtype holds exactly
        high = 1 << 24 if dtype == torch.float32 else 1 << 53 if dtype == torch.float64 else torch.iinfo(dtype).max
    return int(low), int(high)
