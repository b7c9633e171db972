"""The pool of threads: each call once, nothing after the end, whatever breaks in, fails to start or has ended."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import within

from arrayinit.engines.cpu import pool, warnings_once

needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals of POSIX")
needs_limits = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the limits of Linux")


class Break(Exception):
    pass


@pytest.fixture
def new_pool(monkeypatch):
    """A pool without threads."""
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    monkeypatch.setenv(pool.VARIABLE, "3")
    return pool._pool


def run(script, *arguments, **variables):
    """The words that a script prints in a process of its own, which must end well and say nothing else."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **variables},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_the_pool_calls_each_once_and_raises():
    called = []
    pool.each(called.append, 1000)
    assert sorted(called) == list(range(1000))

    def fails(i):
        if i == 3:
            raise KeyError("three")

    with pytest.raises(KeyError, match="three"):
        pool.each(fails, 100)

    nested = []
    pool.each(lambda i: pool.each(nested.append, 50), 20)  # from within the pool: no thread waits for another
    assert sorted(nested) == sorted(list(range(50)) * 20)


def test_an_exception_in_a_helper_is_raised_in_the_caller(new_pool):
    caller, begun = threading.get_ident(), threading.Event()

    def work(i):
        if threading.get_ident() == caller:
            assert begun.wait(60)
        else:
            begun.set()
            raise Break

    with pytest.raises(Break):
        pool.each(work, 2)


def test_what_was_drawn_is_not_kept_alive(new_pool):
    """A later `resize` of an array counts its references."""

    class Work:
        def __call__(self, i):
            time.sleep(0.0001)

    for _ in range(100):
        work = Work()
        before = sys.getrefcount(work)
        pool.each(work, 3)
        assert sys.getrefcount(work) == before


@needs_alarm
def test_an_interrupted_draw_waits_for_its_helpers(monkeypatch):
    monkeypatch.setenv(pool.VARIABLE, "2")
    caller, begun, written = threading.get_ident(), threading.Event(), []

    def work(i):
        if threading.get_ident() == caller:
            assert begun.wait(60)
        else:
            begun.set()
            time.sleep(0.05)  # the caller has nothing left to do, and waits
            signal.pthread_kill(caller, signal.SIGALRM)
            time.sleep(0.2)
            written.append(i)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.each(work, 2)
        assert len(written) == 1
    finally:
        signal.signal(signal.SIGALRM, before)


def raise_at(n):
    """A trace function that raises at the n-th instruction of the pool's own code, and the number of those it saw."""
    seen = [0]

    def local(frame, event, argument):
        if event == "opcode":
            seen[0] += 1
            if seen[0] == n:
                raise Break
        return local

    def trace(frame, event, argument):
        if frame.f_code.co_filename != pool.__file__:
            return None
        frame.f_trace_opcodes = True
        return local

    return trace, seen


def break_everywhere():
    """Draws that are broken off at one instruction after the other, each with a draw after it; how many there were."""
    caller = threading.get_ident()
    before = sys.gettrace()
    n, reached = 0, True
    while reached:
        n += 1
        drawn, late, begun, ended = [], [], threading.Event(), threading.Event()

        def work(i, drawn=drawn, late=late, begun=begun, ended=ended):
            if threading.get_ident() == caller:
                begun.wait(60)
            else:
                begun.set()
                time.sleep(0.0005)
            drawn.append(i)
            if ended.is_set():
                late.append(i)

        sys._getframe().f_trace_opcodes = True  # Python 3.12 then looks for instructions in other frames, too
        trace, seen = raise_at(n)
        sys.settrace(trace)
        try:
            pool.each(work, 6)
        except Break:
            pass
        else:
            assert sorted(drawn) == list(range(6))
        finally:
            sys.settrace(before)
            ended.set()
        again = []
        pool.each(again.append, 6)
        assert sorted(again) == list(range(6))
        assert not late, n
        reached = seen[0] >= n
    return n


def test_an_exception_at_any_instruction_leaves_the_pool_whole(new_pool):
    assert within(120, break_everywhere) > 40
    assert len(new_pool._threads) == 2


STORM = """
import random, signal, sys, time
import numpy as np
import arrayinit as ai
from arrayinit.engines.cpu import pool

class Stop(Exception):
    pass

def stop(*_):
    if armed:
        raise Stop

shape = (1024, 640)
armed = False
wanted = ai.normal(shape, seed=1)
signal.signal(signal.SIGALRM, stop)
random.seed(0)
late = wrong = broken = 0
end = time.monotonic() + 3
for n in range(400):
    x = np.zeros_like(wanted)
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 1e-3), float(sys.argv[1]))
        ai.normal_(x, seed=1)
        armed = False
    except Stop:
        armed = False
        broken += 1
    else:
        wrong += x.tobytes() != wanted.tobytes()
    left = x.tobytes()
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(1e-3)
    late += x.tobytes() != left
    if n % 8 == 0:
        wrong += ai.normal_(x, seed=1).tobytes() != wanted.tobytes()
    if time.monotonic() > end:
        break
print(broken > 0, late, wrong, len(pool._pool._threads) <= 15)
"""


@pytest.mark.slow
@needs_alarm
@pytest.mark.parametrize("choice", ["0", "1"])
@pytest.mark.parametrize("interval", ["0", "3e-5"], ids=["one alarm", "many alarms"])
def test_draws_under_alarms(choice, interval):
    """More threads than processors; alarms while a draw begins, works and ends."""
    if choice == "1":
        pytest.importorskip("llvmlite")
    words = run(STORM, interval, ARRAYINIT_COMPILE=choice, ARRAYINIT_NUM_THREADS="16")
    assert words == ["True", "0", "0", "True"]


@pytest.mark.parametrize("allowed", [0, 1])
def test_threads_that_cannot_be_started(new_pool, monkeypatch, allowed):
    start, left = pool.start_new_thread, [None] * allowed

    def refuse(*arguments):
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        return start(*arguments)

    monkeypatch.setattr(pool, "start_new_thread", refuse)
    for _ in range(3):
        called = []
        pool.each(lambda i, called=called: called.append((i, threading.get_ident())), 50)
        assert sorted(i for i, _ in called) == list(range(50))
        assert len({thread for _, thread in called}) <= 1 + allowed
    assert len(new_pool._threads) == allowed


LIMITED = """
import os, resource, threading
import arrayinit as ai
wanted = ai.normal((900, 900), seed=1, index=slice(0, 100))
if os.geteuid() == 0:
    os.setuid(54321)  # root may start as many as it likes
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    print("refused", (ai.normal((900, 900), seed=1)[:100] == wanted).all())
"""


@pytest.mark.slow
@needs_limits
def test_a_limit_on_the_number_of_threads():
    words = run(LIMITED, ARRAYINIT_COMPILE="0", ARRAYINIT_NUM_THREADS="3")
    if not words:
        pytest.skip("this user may start threads beyond the limit")
    assert words == ["refused", "True"]


ENDING = """
import atexit, sys, threading
import arrayinit as ai

def draws():
    yield ai.normal((700, 700), seed=1)
    yield ai.uniform((700, 700), seed=1, name="weight")
    yield ai.trunc_normal((700, 700), seed=1, dtype="float16")
    yield ai.sparse((700, 700), 0.5, seed=1)
    yield ai.orthogonal((70, 70), seed=1)

def check(where):
    # NumPy's own reductions import modules, which a process that ends can't.
    print(where, [x.tobytes() for x in draws()] == wanted, ai.normal((2, 3)).shape == (2, 3))

class Last:
    def __del__(self):
        check("finalizer" if sys.is_finalizing() else "too early")

def late():
    threading.main_thread().join()
    check("thread")

wanted = [x.tobytes() for x in draws()]
if sys.argv[1] == "new":  # the first draw by several threads is yet to come
    from arrayinit.engines.cpu import pool
    pool._after_fork() if hasattr(pool, "_Pool") else setattr(pool, "_pool", None)
last = Last()
atexit.register(check, "atexit")
threading.Thread(target=late).start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["0", "1"])
@pytest.mark.parametrize("threads", ["new", "old"])
def test_draws_while_the_interpreter_shuts_down(choice, threads):
    if choice == "1":
        pytest.importorskip("llvmlite")
    words = run(ENDING, threads, ARRAYINIT_COMPILE=choice, ARRAYINIT_NUM_THREADS="3")
    assert words == ["thread", "True", "True", "atexit", "True", "True", "finalizer", "True", "True"]


def test_a_pool_without_threads_while_the_interpreter_shuts_down(new_pool, monkeypatch):
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    threads = set()
    pool.each(lambda i: threads.add(threading.get_ident()), 50)
    assert threads == {threading.get_ident()}
    assert not new_pool._threads


@pytest.fixture
def heard(monkeypatch):
    """A process that has warned of nothing yet."""
    monkeypatch.setattr(warnings_once, "_warned", set())
    pool._threads.cache_clear()
    yield
    pool._threads.cache_clear()


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " ", "4097", "9" * 5000, "\N{SUPERSCRIPT TWO}"])
def test_a_wrong_number_of_threads_is_ignored_with_one_warning(value, monkeypatch, heard):
    monkeypatch.setenv(pool.VARIABLE, value)
    with pytest.warns(RuntimeWarning, match="`ARRAYINIT_NUM_THREADS` must be an integer from 1 to 4096; got '"):
        assert pool.threads() == pool._processors()
    pool._threads.cache_clear()
    assert pool.threads() == pool._processors()  # a second warning would be an error


def test_a_sandbox_that_hides_the_processors(monkeypatch):
    def refuse(process):
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    assert pool._processors() == (os.cpu_count() or 1)
