"""`seed=` in all its forms -> a key, and the process-wide sequence of keys behind `seed=None`."""

import contextvars
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from arrayinit.backends import Backend, seed_words
from arrayinit.key import Key

__all__ = ["Name", "fold", "is_scoped", "is_seeded", "manual_seed", "resolve", "resolve_for", "seeded"]


EAGER = 16  # keys a sequence folds one at a time before it folds several at once
AHEAD = 256  # keys folded at once


class _Sequence:
    """Keys fold(root, 0), fold(root, 1), ... of one root, handed out under a lock."""

    def __init__(self, root: Key, manual: bool) -> None:
        self._lock = threading.Lock()
        self.restart(root, manual)

    def restart(self, root: Key, manual: bool) -> None:
        with self._lock:
            self.root, self.manual, self.count, self._ahead = root, manual, 0, list[Key]()

    def take(self) -> Key:
        with self._lock:
            count = self.count
            self.count += 1
            if self._ahead:
                return self._ahead.pop()
            if count >= EAGER and not self.root.is_traced:
                self._ahead = self.root.fold_range(count, count + AHEAD)[::-1]
                return self._ahead.pop()
            root = self.root
        return root.fold(count)

    def after_fork(self) -> None:
        # A child would otherwise draw what its parent draws; one that was seeded by hand keeps its seed.
        self._lock = threading.Lock()
        if not self.manual:
            self.root, self.count, self._ahead = _entropy(), 0, []


def _entropy() -> Key:
    return Key(int.from_bytes(os.urandom(8), "little"))


_process = _Sequence(_entropy(), manual=False)
_scoped: contextvars.ContextVar[_Sequence | None] = contextvars.ContextVar("arrayinit.seeded", default=None)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)


def manual_seed(seed: Any) -> None:
    """Restart the sequence of keys that draws with `seed=None` take, for all threads of this process.

    The n-th draw since then takes the key fold(seed, n). Without a call the sequence starts from the operating
    system's entropy, anew in every forked child.

    Raises:
        TypeError, ValueError: as for `seed` of any initializer; None is refused.
    """
    key = resolve(_given(seed))
    if key.is_traced:
        raise TypeError(f"`seed` of manual_seed must not be traced by JAX, since it outlives the trace; got {seed!r}")
    _process.restart(key, manual=True)


@contextmanager
def seeded(seed: Any) -> Iterator[None]:
    """Within this context draws with `seed=None` take keys of its own, fold(seed, 0), fold(seed, 1), ...

    Inside a JAX trace the seed must be a traced key, so that nothing is baked into the program. Contexts nest; the
    scope is that of a `contextvars` context, so other threads and tasks are not affected.

    Raises:
        TypeError, ValueError: as for `seed` of any initializer; None is refused.
    """
    token = _scoped.set(_Sequence(resolve(_given(seed)), manual=True))
    try:
        yield
    finally:
        _scoped.reset(token)


def fold(key: Any, name: str | int) -> Key:
    """The key of `name` within the domain of `key`: as independent of it, and of all other names, as two seeds.

    A string is hashed to a counter (blake2b, 128 bits, of its UTF-8 bytes, read as four little-endian words); an
    integer in [0, 2**64) is the counter (low, high, 0, 1), and may be traced by JAX. The first two words of that
    Philox block under `key` are the low and the high half of the new key.

    Args:
        key: a seed in any of its forms but None.
        name: what the new key is for.

    Raises:
        TypeError: `name` is neither a string nor an integer, `key` is no seed.
        ValueError: an integer outside [0, 2**64).
    """
    return resolve(_given(key)).fold(name)


def is_scoped() -> bool:
    """Whether draws with `seed=None` take their keys from an active :func:`seeded`."""
    return _scoped.get() is not None


def is_seeded() -> bool:
    """Whether draws with `seed=None` take keys that the program chose, by :func:`seeded` or :func:`manual_seed`."""
    return is_scoped() or _process.manual


Name: TypeAlias = str | int | tuple[str | int, ...]


def resolve(seed: Any, name: Name | None = None) -> Key:
    """The key for a draw: an int, a Key, a JAX key, 64 bits of a generator, the sequence's next; `name` folded in."""
    key = _key(seed)
    if name is None:
        return key
    for word in name if isinstance(name, tuple) else (name,):
        key = key.fold(word)
    return key


def resolve_for(backend: Backend, x: Any, seed: Any, name: Name | None) -> Key:
    """The key for a draw by a backend into x (None for a new array); refuses keys that a trace would get wrong."""
    scoped = _scoped.get()
    if seed is None and not (scoped and scoped.root.is_traced) and backend.is_tracing(x):
        raise ValueError(
            "`seed` must be given inside a JAX trace (a key or an integer); got None, which would be baked in"
        )
    if seed is None and backend.is_distributed and not (scoped or _process).manual:
        raise ValueError(
            "`seed` must be given for a distributed tensor, or manual_seed or seeded called alike by all processes; "
            "got None, which would be another key on each"
        )
    key = resolve(seed, name)
    if key.is_traced and backend.name != "jax":
        raise TypeError(f"`seed` must not be a traced JAX key for an array of {backend.name}; got {seed!r}")
    return key


def _key(seed: Any) -> Key:
    if seed is None:
        return (_scoped.get() or _process).take()
    if isinstance(seed, Key):
        return seed
    if isinstance(seed, (int, np.integer)):
        return _numbered(seed)
    if isinstance(seed, np.random.Generator):
        return Key(int(seed.integers(0, 1 << 64, dtype=np.uint64)))
    if isinstance(seed, np.ndarray) and seed.dtype == np.uint32 and seed.ndim == 1 and seed.size and seed.size % 2 == 0:
        words: tuple[Any, ...] | None = tuple(seed.tolist())  # a raw JAX key that was brought to the host
    else:
        words = seed_words(seed)
    if words is None:
        raise TypeError(
            "`seed` must be an integer, arrayinit.Key, JAX key, numpy.random.Generator, torch.Generator or None; "
            f"got {seed!r}"
        )
    # A key of two words is (high, low); a longer one is folded down, pair by pair.
    key = Key.of_words(words[0], words[1])
    for high, low in zip(words[2::2], words[3::2], strict=True):
        folded = key.fold("long key")
        key = Key.of_words(folded.high ^ high, folded.low ^ low)
    return key


@functools.lru_cache(maxsize=1024, typed=True)  # True == 1, but is no seed
def _numbered(seed: Any) -> Key:
    return Key(seed)


def _given(seed: Any) -> Any:
    if seed is None:
        raise TypeError("`seed` must be given here; got None")
    return seed
