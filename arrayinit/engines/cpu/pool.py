"""Threads for draws: one pool a process, as many as the process may use, with the caller among them."""

import functools
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["each", "threads"]

VARIABLE = "ARRAYINIT_NUM_THREADS"

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def threads() -> int:
    """The number of threads of a draw: ARRAYINIT_NUM_THREADS, else the processors that this process may run on.

    Raises:
        ValueError: the variable is set to something else than a positive integer.
    """
    return _threads(os.environ.get(VARIABLE, ""))


@functools.lru_cache(maxsize=16)
def _threads(given: str) -> int:
    if not given:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not given.isdecimal() or not int(given):
        raise ValueError(f"`{VARIABLE}` must be a positive integer; got {given!r}")
    return int(given)


def each(function: Callable[[int], None], count: int) -> None:
    """Call function(0), ..., function(count - 1), each once, on several threads; an exception ends it and is raised.

    The caller draws too and waits only for threads that have begun, so that draws from several threads at once, or from
    within the pool, never wait for each other.
    """
    helpers = min(threads(), count) - 1
    if helpers < 1:
        for i in range(count):
            function(i)
        return
    numbers = itertools.count()  # next() of a count is atomic
    failed = threading.Event()

    def work() -> None:
        while not failed.is_set():
            i = next(numbers)
            if i >= count:
                return
            try:
                function(i)
            except BaseException:
                failed.set()
                raise

    pool = _shared(helpers)
    begun = [pool.submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        # Nothing may write to the array after this returns, whatever happened.
        waiting = [future for future in begun if not future.cancel()]
        errors = [error for future in waiting if (error := future.exception()) is not None]
    if errors:
        raise errors[0]


def _shared(size: int) -> ThreadPoolExecutor:
    """The pool of this process, made at first use and again where it is too small."""
    global _pool
    with _lock:
        if _pool is None or _pool._max_workers < size:
            _pool = ThreadPoolExecutor(size, thread_name_prefix="arrayinit")
        return _pool


def _after_fork() -> None:
    # A child inherits the pool without its threads.
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
