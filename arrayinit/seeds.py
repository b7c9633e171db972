"""A key from any form of `seed`, and the process-wide sequence of keys behind `seed=None`."""

import contextvars
import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from arrayinit.backends import Backend, is_compiling, is_torch_generator, seed_words
from arrayinit.common.messages import shown
from arrayinit.key import Key, counter_of

__all__ = [
    "Deferred", "Name", "fold", "is_scoped", "is_seeded", "manual_seed", "peek", "resolve", "resolve_for", "seeded",
]  # fmt: skip


EAGER = 16  # keys a sequence folds one at a time before it folds several at once
AHEAD = 256  # keys folded at once


class _KeyBatch:
    """Consecutive keys of a sequence, and the batch after them."""

    __slots__ = ("_following", "_root", "_stop", "left")

    def __init__(self, root: Key, start: int) -> None:
        is_bulk = start >= EAGER and not root.is_traced
        self._root, self._stop = root, start + (AHEAD if is_bulk else EAGER)
        self._following: dict[str, _KeyBatch] = {}
        self.left: deque[int | Key] = deque(root.fold_range(start, self._stop) if is_bulk else range(start, self._stop))

    def following(self) -> "_KeyBatch":
        """The batch after this one, the same for every thread."""
        return self._following.get("batch") or self._following.setdefault("batch", _KeyBatch(self._root, self._stop))


class _Sequence:
    """Keys fold(root, 0), fold(root, 1), ... of one root, each handed out once.

    Each step is atomic, without a lock: a signal handler or a finalizer may draw in the middle of `take`, on the thread
    that would hold the lock.
    """

    def __init__(self, root: Key, manual: bool) -> None:
        self.root, self.manual = root, manual
        self._batch = _KeyBatch(root, 0)

    def take(self) -> Key:
        while True:
            batch = self._batch
            try:
                key = batch.left.popleft()
            except IndexError:
                self._batch = batch.following()  # a slow thread may set it back to a batch that is used up
            else:
                return key if isinstance(key, Key) else self.root.fold(key)

    def peek(self) -> Key:
        """The key that the next draw will take."""
        batch = self._batch
        while True:
            try:
                key = batch.left[0]
            except IndexError:
                batch = batch.following()
            else:
                return key if isinstance(key, Key) else self.root.fold(key)


def _entropy() -> Key:
    return Key(int.from_bytes(os.urandom(8), "little"))


def _after_fork() -> None:
    # Otherwise a child would draw the same as its parent. A sequence that manual_seed started goes on in both.
    global _process
    if not _process.manual:
        _process = _Sequence(_entropy(), manual=False)


_process = _Sequence(_entropy(), manual=False)
_scoped: contextvars.ContextVar[_Sequence | None] = contextvars.ContextVar("arrayinit.seeded", default=None)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def manual_seed(seed: Any) -> None:
    """Restart the sequence of keys that draws with `seed=None` take, for all threads of this process.

    Draw number n since then, counted from 0, takes the key fold(seed, n). Calls that raise, and draws of nothing
    random, are not counted. Without a call the sequence starts from the operating system's entropy, anew in every
    forked child.

        >>> ai.manual_seed(0)
        >>> first, second = ai.normal(3), ai.normal(3)
        >>> np.array_equal(second, ai.normal(3, seed=ai.fold(0, 1)))
        True

    Args:
        seed: in any form that initializers take, but None.

    Raises:
        TypeError, ValueError: as for `seed` of any initializer; TypeError for None and for a key that JAX traces.
    """
    global _process
    key = resolve(_given_seed(seed))
    if key.is_traced:
        raise TypeError(
            f"`seed` of manual_seed must not be traced by JAX, since it outlives the trace; got {shown(seed)}"
        )
    _process = _Sequence(key, manual=True)


@contextmanager
def seeded(seed: Any) -> Iterator[None]:
    """Within this context draws with `seed=None` take the keys fold(seed, 0), fold(seed, 1), ...

    Inside a JAX trace the seed must be a traced key, so that the program holds no constant key. Contexts nest; the
    scope is that of a `contextvars` context, so other threads and tasks are not affected.

        >>> with ai.seeded(0):
        ...     first = ai.normal(3)
        >>> np.array_equal(first, ai.normal(3, seed=ai.fold(0, 0)))
        True

    Args:
        seed: in any form that initializers take, but None.

    Raises:
        TypeError, ValueError: as for `seed` of any initializer; TypeError for None.
    """
    token = _scoped.set(_Sequence(resolve(_given_seed(seed)), manual=True))
    try:
        yield
    finally:
        _scoped.reset(token)


def fold(key: Any, name: str | int) -> Key:
    """The key of `name` within the domain of `key`: as independent of it, and of all other names, as two seeds.

    A string is hashed to a counter (blake2b, 128 bits, of its UTF-8 bytes, read as four little-endian words); an
    integer in [0, 2**64) is the counter (low, high, 0, 1), and may be traced by JAX. The first two words of that
    Philox block under `key` are the low and the high half of the new key.

        >>> ai.fold(0, "encoder")
        Key(0x8a7fdab75f33e78b)
        >>> ai.fold(ai.fold(0, "encoder"), "weight") == ai.Key(0).fold("encoder").fold("weight")
        True

    Args:
        key: a seed in any of its forms but None.
        name: a string or an integer, such as the path or the number of a parameter.

    Raises:
        TypeError: `name` is neither a string nor an integer, `key` is not a seed.
        ValueError: an integer outside [0, 2**64), a string that UTF-8 can't hold.

    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC'11; blake2b: RFC 7693.
    """
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # imported here: it needs torch's compiler, loaded by now

        return torch_compiled.fold(key, name)
    return resolve(_given_seed(key), (name,))


def is_scoped() -> bool:
    """Whether draws with `seed=None` take their keys from an active :func:`seeded`."""
    return _scoped.get() is not None


def is_seeded() -> bool:
    """Whether draws with `seed=None` take keys that the program chose, by :func:`seeded` or :func:`manual_seed`."""
    return is_scoped() or _process.manual


Name: TypeAlias = str | int | tuple[str | int, ...]


class Deferred(NamedTuple):
    """A seed that `take` gives when the draw takes its key: not called where the draw raises or needs no key."""

    take: Callable[[], Any]


def resolve(seed: Any, name: Name | None = None) -> Key:
    """The key of a draw, `name` folded in. Takes 64 bits of a generator, or for None the next key of the sequence."""
    if name is None:
        return _key(seed)
    counters = [
        counter_of(word) for word in (name if isinstance(name, tuple) else (name,))
    ]  # raises before anything is taken
    key = _key(seed)
    for counter in counters:
        key = key.folded(counter)
    return key


def peek(seed: Any, name: Name | None = None) -> Key:
    """The key that :func:`resolve` would give, without taking anything."""
    if seed is None:
        return resolve((_scoped.get() or _process).peek(), name)
    if isinstance(seed, np.random.Generator):
        state = seed.bit_generator.state
        try:
            return resolve(seed, name)
        finally:
            seed.bit_generator.state = state
    if is_torch_generator(seed):
        state = seed.get_state()
        try:
            return resolve(seed, name)
        finally:
            seed.set_state(state)
    return resolve(seed, name)


def resolve_for(backend: Backend, x: Any, seed: Any, name: Name | None, take: bool = True) -> Key:
    """The key for a draw by a backend into x (None for a new array); refuses keys that a trace would get wrong.

    take: False only looks at the key that the next draw will take.
    """
    scoped = _scoped.get()
    is_bound = seed is None and scoped is not None and scoped.root.is_traced
    if ((seed is None and not is_bound) or _is_generator(seed)) and backend.is_tracing(x):
        raise ValueError(
            f"`seed` must be given inside a {backend.title} trace, as a key or an integer: the next key of a sequence "
            f"or a generator would be a constant of the program; got {shown(seed)}"
        )
    if seed is None and backend.is_distributed and not (scoped or _process).manual:
        raise ValueError(
            "`seed` must be given for a distributed tensor, or all processes must call manual_seed or seeded with one "
            "seed; got None, which gives each process another key"
        )
    if is_bound and not backend.takes_traced_keys:
        raise TypeError(f"`seed` must be given for an array of {backend.name} within a traced `seeded`; got None")
    key = resolve(seed, name) if take else peek(seed, name)
    if key.is_traced and not backend.takes_traced_keys:
        raise TypeError(f"`seed` must not be a traced JAX key for an array of {backend.name}; got {shown(seed)}")
    return key


def _is_generator(seed: Any) -> bool:
    """Whether a seed changes when a key is taken."""
    return type(seed) not in (int, Key) and (isinstance(seed, np.random.Generator) or is_torch_generator(seed))


def _key(seed: Any) -> Key:
    if seed is None:
        return (_scoped.get() or _process).take()
    if type(seed) is int:
        return _numbered(seed)
    if isinstance(seed, Key):
        return seed
    if isinstance(seed, (int, np.integer)):
        is_number = not isinstance(seed, bool | np.timedelta64)  # a timedelta64 is an np.integer
        return _numbered(int(seed)) if is_number else Key(seed)  # type: ignore[arg-type] # Key raises a TypeError
    if isinstance(seed, Deferred):
        return _key(seed.take())
    if isinstance(seed, np.random.Generator):
        return Key(int(seed.integers(0, 1 << 64, dtype=np.uint64)))
    if isinstance(seed, np.ndarray) and seed.dtype == np.uint32 and seed.ndim == 1 and seed.size and seed.size % 2 == 0:
        words: tuple[Any, ...] | None = tuple(seed.tolist())  # a raw JAX key as a NumPy array
    else:
        words = seed_words(seed)
    if words is None:
        raise TypeError(
            "`seed` must be an integer, an arrayinit.Key, a key of JAX or of torch.func._random, a "
            f"numpy.random.Generator, a torch.Generator or None; got {shown(seed)}"
        )
    # A key of two words is (high, low). A longer one is folded to two words, pair by pair.
    key = Key.of_words(words[0], words[1])
    for high, low in zip(words[2::2], words[3::2], strict=True):
        folded = key.fold("long key")
        key = Key.of_words(folded.high ^ high, folded.low ^ low)
    return key


@functools.lru_cache(maxsize=1024)
def _numbered(seed: int) -> Key:
    return Key(seed)


def _given_seed(seed: Any) -> Any:
    if seed is None:
        raise TypeError("`seed` must be given here; got None")
    return seed
