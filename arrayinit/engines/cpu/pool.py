"""Threads for draws: one pool per process, with as many threads as the process may use, the caller among them.

Interruptions. Whether `each` returns or raises, it ends only when no helper draws for it any more: otherwise a helper
could write to memory that the caller has freed. A signal handler can raise an exception in the calling thread wherever
the interpreter looks for signals: at the start of a Python function, at the end of a turn of a loop, after a call, and
during the wait for a lock. Hence four rules.

1. The caller takes no lock that it would have to release.
2. It hands work to a helper by a single call into C, `SimpleQueue.put`. Before that the helper does not run.
3. A helper is begun by a thread, or cancelled by the caller, by `dict.setdefault` on one key, which is atomic: the
   first of the two decides.
4. Cancelling all helpers and waiting for those that have begun is one call into C, too, on locks of C whose wait no
   signal ends. It stands in two nested `finally` blocks, so that an exception that keeps the first from being called
   meets the second.

`test_an_exception_at_any_instruction_leaves_the_pool_whole` raises an exception at each instruction in turn.

Helpers wait for work until the process ends, and keep no array alive while they wait. They are daemons started through
`_thread`, because starting a `threading.Thread` takes locks that an exception could leave held.
"""

import contextlib
import ctypes
import functools
import os
import sys
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Iterator
from itertools import compress, repeat
from queue import SimpleQueue

from arrayinit.engines.cpu.warnings_once import warn_once

__all__ = ["each", "threads"]

VARIABLE = "ARRAYINIT_NUM_THREADS"
MAX_THREADS = 4096
BY_HELPER = "by helper"


def threads() -> int:
    """The number of threads of a draw: ARRAYINIT_NUM_THREADS, else the processors that this process may run on."""
    return _threads(os.environ.get(VARIABLE, ""))


@functools.lru_cache(maxsize=16)
def _threads(given: str) -> int:
    if given.isdecimal() and len(given) <= len(str(MAX_THREADS)) and 1 <= int(given) <= MAX_THREADS:
        return int(given)
    processors = _processors()
    if given:
        warn_once(
            f"`{VARIABLE}` must be an integer from 1 to {MAX_THREADS}; got {given!r}, so draws use {processors} threads"
        )
    return processors


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        try:
            return len(os.sched_getaffinity(0))
        except OSError:  # in a sandbox that forbids to ask
            pass
    return os.cpu_count() or 1


def each(function: Callable[[int], None], count: int) -> None:
    """Call function(0), ..., function(count - 1), each once, on several threads. An exception in one stops the rest.

    No call is running any more when this returns or raises. The caller draws, too, and waits only for helpers that have
    begun, so that draws from several threads, or from within the pool, never wait for each other. The caller draws
    alone where no thread can be started, and while the interpreter shuts down.
    """
    helper_count = min(threads(), count) - 1
    pool = _pool
    size = pool.grow(helper_count) if helper_count > 0 else 0
    if not size:
        for i in range(count):
            function(i)
        return
    left = deque(range(count))
    helpers = [_Helper(function, left) for _ in range(size)]
    ends = _ends(helpers)
    try:
        try:
            try:
                for helper in helpers:
                    pool.waiting.put(helper)
                _work(function, left)
            except BaseException:
                left.clear()  # the helpers then end soon
                raise
        finally:
            _exhaust(ends)
    finally:
        _exhaust(ends)  # for an exception, as a tracer may raise at any instruction, before the first call
    for helper in helpers:
        helper.close()


def _ends(helpers: "list[_Helper]") -> Iterator[int]:
    """An iterator that cancels each helper that has not begun, and waits for the end of each that has.

    It consists of iterators in C, so that exhausting it is one call, within which Python does not look for signals.
    """
    is_begun = map(dict.setdefault, [helper.begun for helper in helpers], repeat(BY_HELPER), repeat(False))
    return map(_acquire, compress([helper.ended for helper in helpers], is_begun), repeat(True))


_exhaust = deque[int](maxlen=0).extend


def _work(function: Callable[[int], None], left: deque[int]) -> None:
    while True:
        try:
            i = left.popleft()
        except IndexError:
            return
        function(i)


class _Helper:
    """One helper's share of a draw: begun by a thread of the pool or cancelled by the caller, whichever is first."""

    __slots__ = ("_error", "_function", "_left", "begun", "ended")

    def __init__(self, function: Callable[[int], None], left: deque[int]) -> None:
        self._function: Callable[[int], None] | None = function
        self._left = left
        self._error: BaseException | None = None
        self.begun: dict[str, bool] = {}  # `setdefault` is atomic, with or without a GIL
        self.ended = _held_lock()

    def run(self) -> None:
        """Draw, on a thread of the pool, unless the caller has cancelled it."""
        if not self.begun.setdefault(BY_HELPER, True):
            return
        try:
            assert self._function is not None
            _work(self._function, self._left)
        except BaseException as error:
            self._error = error
            self._left.clear()
        finally:
            # The caller goes on after the release, so drop all references to its array first.
            self._function = None
            _release(self.ended)

    def close(self) -> None:
        """Raise the helper's exception, if it ended by one."""
        self._function = None
        _spare.append(self.ended)
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # the error and this frame would keep each other alive, and the array with them


# Python's locks in C, by address: signals don't end the wait for one, unlike that for a `threading.Lock`. Locks are
# used again and never freed, because the thread that releases one may still read it when the other thread goes on.
_allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThread_allocate_lock", ctypes.pythonapi))
_acquire = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(("PyThread_acquire_lock", ctypes.pythonapi))
_release = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyThread_release_lock", ctypes.pythonapi))
_spare: list[int] = []


def _held_lock() -> int:
    try:
        return _spare.pop()
    except IndexError:
        lock: int | None = _allocate()
        if lock is None:
            raise MemoryError from None
        _acquire(lock, True)
        return lock


class _Pool:
    """The helpers' threads, and the queue that they take their work from."""

    def __init__(self) -> None:
        self.waiting: SimpleQueue[_Helper] = SimpleQueue()
        self._threads: list[int] = []

    def grow(self, size: int) -> int:
        """Start threads up to this number, or as many as can be had; returns how many can help now."""
        if sys.is_finalizing():  # no other thread runs any more
            return 0
        missing = size - len(self._threads)
        if missing > 0:
            # One call into C for all threads, so that each thread that was started is counted.
            started = map(start_new_thread, repeat(_serve, missing), repeat((self.waiting,)))
            with contextlib.suppress(RuntimeError, MemoryError):  # a limit is reached, or Python shuts down
                self._threads.extend(started)
        return min(size, len(self._threads))


def _serve(waiting: "SimpleQueue[_Helper]") -> None:
    while True:
        waiting.get().run()


def _after_fork() -> None:
    # A child inherits the pool without its threads, and locks that they may have been releasing.
    global _pool
    _pool = _Pool()
    _spare.clear()


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
