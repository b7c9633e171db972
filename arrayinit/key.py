"""The key of a stream, and the keys that names give within it."""

import functools
from typing import Any, TypeAlias

import numpy as np

from arrayinit.backends import fold_words, is_traced
from arrayinit.common.integers import as_integer
from arrayinit.common.messages import shown
from arrayinit.stream.philox import MASK, Lane, philox4x32

__all__ = ["Counter", "Key", "counter_of"]

Counter: TypeAlias = tuple[Lane, Lane, Lane, Lane]

SEED_BITS = 64
NUMBERED = 1  # fourth counter word of a folded integer; it is 0 in a draw, and all four words of a name are hashed


class Key:
    """The key of a stream: 64 bits, from a seed in [0, 2**64). As a seed it is the same as that integer.

    Immutable and hashable.

        >>> key = ai.Key(0).fold("encoder").fold("weight")
        >>> key
        Key(0xf72a2a15fc777240)

    Args:
        seed: an integer in [0, 2**64).

    Raises:
        ValueError: a seed outside [0, 2**64).
        TypeError: a seed that is not an integer.
    """

    __slots__ = ("high", "low")

    low: Lane  # k0; inside a JAX trace a uint32 array
    high: Lane  # k1

    def __init__(self, seed: int) -> None:
        value = _integer(seed, "seed")
        object.__setattr__(self, "low", value & MASK)
        object.__setattr__(self, "high", value >> 32)

    @classmethod
    def of_words(cls, high: Lane, low: Lane) -> "Key":
        """The key of these two 32-bit words, which JAX may trace.

        >>> ai.Key.of_words(1, 2)
        Key(0x100000002)
        """
        key = object.__new__(cls)
        object.__setattr__(key, "low", low)
        object.__setattr__(key, "high", high)
        return key

    @property
    def is_traced(self) -> bool:
        """Whether the words are arrays that a JAX trace will supply."""
        return not isinstance(self.low, int)

    def fold(self, name: str | int) -> "Key":
        """The key of a name, a string or an integer, within this key's domain; see :func:`arrayinit.fold`.

            >>> ai.Key(0).fold("weight") == ai.fold(0, "weight")
            True

        Raises:
            TypeError, ValueError: as :func:`arrayinit.fold`.
        """
        return self.folded(counter_of(name))

    def folded(self, counter: Counter) -> "Key":
        """The key that a counter, four 32-bit words, gives within this key's domain; see :func:`counter_of`.

        >>> ai.Key(0).folded((7, 0, 0, 1)) == ai.Key(0).fold(7)
        True
        """
        if self.is_traced or is_traced(counter[0]):
            return Key.of_words(*fold_words(self.high, self.low, counter))
        low, high, _, _ = philox4x32(counter, (self.low, self.high))
        return Key.of_words(high, low)

    def fold_range(self, start: int, stop: int) -> "list[Key]":
        """fold(start), ..., fold(stop - 1), all at once.

        >>> ai.Key(0).fold_range(3, 5) == [ai.Key(0).fold(3), ai.Key(0).fold(4)]
        True
        """
        numbers = np.arange(start, stop, dtype=np.int64)
        low, high, _, _ = philox4x32((numbers & MASK, numbers >> 32, 0, NUMBERED), (self.low, self.high))
        return [Key.of_words(*words) for words in zip(high.tolist(), low.tolist(), strict=True)]

    def __int__(self) -> int:
        if self.is_traced:
            raise TypeError("a key inside a JAX trace has no value yet")
        return int(self.high << 32 | self.low)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Key is immutable; got {name}={value!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Key is immutable; got del {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and not self.is_traced and not other.is_traced and int(self) == int(other)

    def __hash__(self) -> int:
        return hash((Key, int(self)))

    def __repr__(self) -> str:
        return "Key(traced)" if self.is_traced else f"Key({int(self):#x})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Key, (int(self),))


@functools.cache
def _blake2b() -> Any:
    """hashlib.blake2b, imported at first use: hashlib takes a sixth of the import time of the whole package.

    Cached, since a draw while Python shuts down can't import it any more.
    """
    import hashlib

    return hashlib.blake2b


def counter_of(name: Any) -> Counter:
    """The counter of a name: a string, or an integer, also one that JAX traces. TypeError or ValueError otherwise."""
    if isinstance(name, str):
        try:
            digest = _blake2b()(name.encode(), digest_size=16).digest()
        except UnicodeEncodeError:
            raise ValueError(f"`name` must be text that can be encoded as UTF-8; got {shown(name)}") from None
        c0, c1, c2, c3 = (int.from_bytes(digest[k : k + 4], "little") for k in range(0, 16, 4))
        return c0, c1, c2, c3
    if is_traced(name):
        return name, 0, 0, NUMBERED
    number = _integer(name, "name")
    return number & MASK, number >> 32, 0, NUMBERED


def _integer(value: Any, name: str) -> int:
    number = as_integer(value)
    if number is None:
        kinds = "a string, an integer or a tuple of them" if name == "name" else "an integer"
        raise TypeError(f"`{name}` must be {kinds}; got {shown(value)}")
    if not 0 <= number < 1 << SEED_BITS:
        raise ValueError(f"`{name}` must be in [0, 2**64); got {shown(number)}")
    return number
