"""`seed=` in all its forms -> a key, and the process-wide sequence of keys behind `seed=None`."""

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


class _Run:
    """Consecutive keys of a sequence, and the run after them."""

    __slots__ = ("_following", "_root", "_stop", "left")

    def __init__(self, root: Key, start: int) -> None:
        several = start >= EAGER and not root.is_traced
        self._root, self._stop = root, start + (AHEAD if several else EAGER)
        self._following: dict[str, _Run] = {}
        self.left: deque[int | Key] = deque(root.fold_range(start, self._stop) if several else range(start, self._stop))

    def following(self) -> "_Run":
        """The run after this one, the same for every thread."""
        return self._following.get("run") or self._following.setdefault("run", _Run(self._root, self._stop))


class _Sequence:
    """Keys fold(root, 0), fold(root, 1), ... of one root, each handed out once.

    Each step is atomic, and there is no lock: a signal handler or a finalizer may draw in the middle of `take`, on the
    very thread that would hold it.
    """

    def __init__(self, root: Key, manual: bool) -> None:
        self.root, self.manual = root, manual
        self._run = _Run(root, 0)

    def take(self) -> Key:
        while True:
            run = self._run
            try:
                key = run.left.popleft()
            except IndexError:
                self._run = run.following()  # a slow thread may set it back, to a run that is used up
            else:
                return key if isinstance(key, Key) else self.root.fold(key)

    def peek(self) -> Key:
        """The key that the next draw will take."""
        run = self._run
        while True:
            try:
                key = run.left[0]
            except IndexError:
                run = run.following()
            else:
                return key if isinstance(key, Key) else self.root.fold(key)


def _entropy() -> Key:
    return Key(int.from_bytes(os.urandom(8), "little"))


def _after_fork() -> None:
    # A child would otherwise draw what its parent draws; one that was seeded by hand keeps its seed.
    global _process
    if not _process.manual:
        _process = _Sequence(_entropy(), manual=False)


_process = _Sequence(_entropy(), manual=False)
_scoped: contextvars.ContextVar[_Sequence | None] = contextvars.ContextVar("arrayinit.seeded", default=None)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def manual_seed(seed: Any) -> None:
    """Restart the sequence of keys that draws with `seed=None` take, for all threads of this process.

    Draw number n since then, counted from 0, takes the key fold(seed, n); calls that are refused, and draws of nothing
    random, are not counted. Without a call the sequence starts from the operating
    system's entropy, anew in every forked child.

    Raises:
        TypeError, ValueError: as for `seed` of any initializer; None is refused.
    """
    global _process
    key = resolve(_given(seed))
    if key.is_traced:
        raise TypeError(
            f"`seed` of manual_seed must not be traced by JAX, since it outlives the trace; got {shown(seed)}"
        )
    _process = _Sequence(key, manual=True)


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
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # here, for it needs the compiler, which is there by now

        return torch_compiled.fold(key, name)
    return resolve(_given(key), (name,))


def is_scoped() -> bool:
    """Whether draws with `seed=None` take their keys from an active :func:`seeded`."""
    return _scoped.get() is not None


def is_seeded() -> bool:
    """Whether draws with `seed=None` take keys that the program chose, by :func:`seeded` or :func:`manual_seed`."""
    return is_scoped() or _process.manual


Name: TypeAlias = str | int | tuple[str | int, ...]


class Deferred(NamedTuple):
    """A seed that is asked for when a draw takes its key: not where the draw is refused, or takes none."""

    take: Callable[[], Any]


def resolve(seed: Any, name: Name | None = None) -> Key:
    """The key for a draw: an int, a Key, a JAX key, 64 bits of a generator, the sequence's next; `name` folded in."""
    if name is None:
        return _key(seed)
    counters = [counter_of(word) for word in (name if isinstance(name, tuple) else (name,))]  # before anything is taken
    key = _key(seed)
    for counter in counters:
        key = key.folded(counter)
    return key


def peek(seed: Any, name: Name | None = None) -> Key:
    """The key that :func:`resolve` would give, which nothing is taken for."""
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

    take: whether it is taken from what gives it; else it is the one that the next draw will take.
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
            "`seed` must be given for a distributed tensor, or manual_seed or seeded called alike by all processes; "
            "got None, which would be another key on each"
        )
    if is_bound and not backend.takes_traced_keys:
        raise TypeError(f"`seed` must not be that of a traced `seeded` for an array of {backend.name}; got None")
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
        is_number = not isinstance(seed, bool | np.timedelta64)  # which NumPy has among its integers
        return _numbered(int(seed)) if is_number else Key(seed)  # type: ignore[arg-type] # which refuses it
    if isinstance(seed, Deferred):
        return _key(seed.take())
    if isinstance(seed, np.random.Generator):
        return Key(int(seed.integers(0, 1 << 64, dtype=np.uint64)))
    if isinstance(seed, np.ndarray) and seed.dtype == np.uint32 and seed.ndim == 1 and seed.size and seed.size % 2 == 0:
        words: tuple[Any, ...] | None = tuple(seed.tolist())  # a raw JAX key that was brought to the host
    else:
        words = seed_words(seed)
    if words is None:
        raise TypeError(
            "`seed` must be an integer, arrayinit.Key, key of JAX or of torch.func._random, numpy.random.Generator, "
            f"torch.Generator or None; got {shown(seed)}"
        )
    # A key of two words is (high, low); a longer one is folded down, pair by pair.
    key = Key.of_words(words[0], words[1])
    for high, low in zip(words[2::2], words[3::2], strict=True):
        folded = key.fold("long key")
        key = Key.of_words(folded.high ^ high, folded.low ^ low)
    return key


@functools.lru_cache(maxsize=1024)
def _numbered(seed: int) -> Key:
    return Key(seed)


def _given(seed: Any) -> Any:
    if seed is None:
        raise TypeError("`seed` must be given here; got None")
    return seed
