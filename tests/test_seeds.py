"""Seeds in all their forms, and the sequence behind `seed=None`: restarted, scoped, shared by threads, forked."""

import asyncio
import contextlib
import contextvars
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import same, within

import arrayinit as ai
from arrayinit import Key, seeds
from arrayinit.seeds import resolve

SHAPE = (11,)


def key(seed=None, name=None):
    return int(resolve(seed, name))


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("kind", [int, np.uint64, Key, lambda n: np.asarray(n, np.uint64)[()]])
@pytest.mark.parametrize("seed", [0, 5, 2**32, 2**64 - 1])
def test_integers(kind, seed):
    assert key(kind(seed)) == seed
    assert (ai.bits(SHAPE, seed=kind(seed)) == ai.bits(SHAPE, seed=seed)).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_numpy_integers(dtype):
    assert key(dtype(7)) == 7


def test_numpy_generator_gives_up_64_bits():
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    wanted = np.random.default_rng(3).integers(0, 2**64, 2, dtype=np.uint64).tolist()
    assert [key(first), key(first)] == wanted
    assert key(second) == wanted[0]
    assert first.bit_generator.state != second.bit_generator.state
    assert wanted[0] != wanted[1]


def test_draws_with_a_numpy_generator_follow_its_state():
    rng = np.random.default_rng(3)
    a, b = ai.normal(SHAPE, seed=rng), ai.normal(SHAPE, seed=rng)
    rng = np.random.default_rng(3)
    assert (ai.normal(SHAPE, seed=rng) == a).all()
    assert (ai.normal(SHAPE, seed=rng) == b).all()
    assert (a != b).all()


def test_torch_generator_gives_up_64_bits(torch):
    generator = torch.Generator().manual_seed(3)
    first, second = key(generator), key(generator)
    assert first != second
    assert first >= 2**32 or second >= 2**32
    assert [key(generator.manual_seed(3)), key(generator)] == [first, second]
    state = generator.get_state()
    third = key(generator)
    generator.set_state(state)
    assert key(generator) == third
    drawn = ai.uniform(SHAPE, seed=generator.manual_seed(3))
    assert (drawn == ai.uniform(SHAPE, seed=first)).all()


def test_a_torch_generator_leaves_the_global_one_alone(torch):
    state = torch.get_rng_state()
    key(torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)


def test_64_bits_of_a_generator_are_all_used(torch):
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    for source in (generator, rng):
        keys = [key(source) for _ in range(200)]
        ones = np.array([[k >> bit & 1 for bit in range(64)] for k in keys]).sum(axis=0)
        # Binomial(200, 1/2): outside [58, 142] with probability 2e-9 a bit.
        assert ones.min() >= 58
        assert ones.max() <= 142


@pytest.mark.parametrize("seed", [0, 5, 2**31 - 1])
def test_jax_key_is_the_seed(jax, seed):
    assert key(jax.random.key(seed)) == key(jax.random.PRNGKey(seed)) == seed
    assert (ai.bits(SHAPE, seed=jax.random.key(seed)) == ai.bits(SHAPE, seed=seed)).all()


def test_jax_words_are_high_and_low(jax):
    raw = jax.numpy.asarray([0x01234567, 0x89ABCDEF], dtype=jax.numpy.uint32)
    assert key(raw) == key(jax.random.wrap_key_data(raw)) == 0x0123456789ABCDEF
    split = jax.random.split(jax.random.key(0), 3)
    words = np.asarray(jax.random.key_data(split)).astype(object)
    assert [key(k) for k in split] == [int(high) << 32 | int(low) for high, low in words]
    assert len({key(k) for k in split}) == 3


def test_a_raw_jax_key_on_the_host():
    assert key(np.array([0x01234567, 0x89ABCDEF], dtype=np.uint32)) == 0x0123456789ABCDEF


def test_a_long_jax_key_is_folded_down(jax):
    def down(words):
        reached = Key(words[0] << 32 | words[1])
        for high, low in zip(words[2::2], words[3::2], strict=True):
            reached = Key(int(reached.fold("long key")) ^ (high << 32 | low))
        return int(reached)

    seen = set()
    for seed in range(4):
        long = jax.random.key(seed, impl="rbg")
        data = np.asarray(jax.random.key_data(long)).tolist()
        assert len(data) == 4
        assert key(long) == key(jax.random.key_data(long)) == down(data)
        seen.add(key(long))
    words = np.arange(1, 5, dtype=np.uint32)
    for position in range(4):  # every word matters
        changed = words.copy()
        changed[position] ^= 1 << 31
        seen.add(key(jax.numpy.asarray(changed)))
    assert len(seen) == 8


def test_every_form_takes_a_name(jax, torch):
    assert key(5, "a") == int(ai.fold(5, "a")) == key(Key(5), "a") == key(jax.random.key(5), "a")
    assert int(ai.fold(jax.random.key(5), "a")) == key(5, "a")
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    assert int(ai.fold(np.random.default_rng(1), "a")) == key(key(rng), "a")
    assert int(ai.fold(torch.Generator().manual_seed(1), "a")) == key(key(generator), "a")


@pytest.mark.parametrize(
    "seed",
    [
        True,
        np.True_,
        1.0,
        np.float64(1),
        "0",
        b"0",
        (0, 5),
        [5],
        np.arange(2),
        np.arange(3, dtype=np.uint32),
        np.random.RandomState(0),
        np.random.PCG64(0),
        np.random.SeedSequence(0),
        object(),
        1 + 0j,
    ],
    ids=lambda seed: type(seed).__name__,
)
def test_wrong_types(seed):
    with pytest.raises(TypeError, match="`seed`"):
        ai.uniform(SHAPE, seed=seed)
    with pytest.raises(TypeError, match="`seed`"):
        ai.manual_seed(seed)


@pytest.mark.parametrize("seed", [-1, 2**64, np.int64(-1)])
def test_integers_out_of_range(seed):
    for take in (key, ai.manual_seed, lambda s: ai.fold(s, "a"), lambda s: ai.bits(SHAPE, seed=s)):
        with pytest.raises(ValueError, match=r"`seed` must be in \[0, 2\*\*64\)"):
            take(seed)


def test_jax_arrays_that_are_no_key(jax):
    jnp = jax.numpy
    for seed in (jnp.float32(1), jnp.arange(2), jnp.zeros((2, 2), jnp.uint32), jnp.zeros(3, jnp.uint32)):
        with pytest.raises(TypeError, match="`seed`"):
            key(seed)
    with pytest.raises(TypeError, match=r"jax\.vmap"):
        key(jax.random.split(jax.random.key(0), 3))


def test_a_torch_tensor_is_no_seed(torch):
    with pytest.raises(TypeError, match="`seed`"):
        key(torch.tensor(3))


@pytest.mark.parametrize("start", [ai.manual_seed, lambda seed: ai.seeded(seed).__enter__(), lambda s: ai.fold(s, "a")])
def test_none_is_refused_where_a_seed_is_set(start):
    with pytest.raises(TypeError, match="`seed`"):
        start(None)


def test_manual_seed_restarts():
    ai.manual_seed(7)
    first = [key() for _ in range(5)]
    assert first == [int(ai.fold(7, n)) for n in range(5)]
    ai.manual_seed(Key(7))
    assert [key() for _ in range(5)] == first
    ai.manual_seed(8)
    assert not {key() for _ in range(5)} & set(first)


def test_a_name_is_folded_into_the_next_key():
    ai.manual_seed(7)
    assert key(name="a") == int(ai.fold(ai.fold(7, 0), "a"))
    assert key(name="a") == int(ai.fold(ai.fold(7, 1), "a"))


def test_every_initializer_call_takes_one_key():
    with ai.seeded(7):
        drawn = [ai.normal(SHAPE), ai.uniform(SHAPE), ai.bits(SHAPE)]
    assert (drawn[0] == ai.normal(SHAPE, seed=ai.fold(7, 0))).all()
    assert (drawn[1] == ai.uniform(SHAPE, seed=ai.fold(7, 1))).all()
    assert (drawn[2] == ai.bits(SHAPE, seed=ai.fold(7, 2))).all()


def test_constants_and_refused_draws_take_no_key():
    with ai.seeded(7):
        ai.zeros(SHAPE)
        ai.eye((3, 3))
        with pytest.raises(ValueError, match="`a`"):
            ai.uniform(SHAPE, 1.0, 0.0)
        with pytest.raises(TypeError, match="`dtype`"):
            ai.uniform(SHAPE, dtype="int32")
        assert key() == int(ai.fold(7, 0))


def test_an_explicit_seed_takes_nothing_from_the_sequence():
    with ai.seeded(7):
        ai.normal(SHAPE, seed=3)
        assert key() == int(ai.fold(7, 0))


def test_seeded_nests_and_resumes():
    ai.manual_seed(1)
    outside = [key()]
    with ai.seeded(2):
        outer = [key()]
        with ai.seeded(2):
            inner = [key(), key()]
        outer.append(key())
        with contextlib.suppress(ZeroDivisionError), ai.seeded(3):
            assert key() / 0
        outer.append(key())
    outside.append(key())
    assert inner == outer[:2]
    assert outer == [int(ai.fold(2, n)) for n in range(3)]
    assert outside == [int(ai.fold(1, n)) for n in range(2)]


def test_manual_seed_within_seeded_restarts_the_process_only():
    with ai.seeded(2):
        ai.manual_seed(1)
        assert key() == int(ai.fold(2, 0))
    assert key() == int(ai.fold(1, 0))


def test_seeded_as_a_decorator_starts_over_each_call():
    @ai.seeded(4)
    def build():
        return [key(), key()]

    assert build() == build() == [int(ai.fold(4, 0)), int(ai.fold(4, 1))]


def test_seeded_stays_in_its_thread():
    ai.manual_seed(1)
    inside, elsewhere = threading.Event(), []

    def other():
        inside.wait()
        elsewhere.append(key())

    thread = threading.Thread(target=other)
    thread.start()
    with ai.seeded(2):
        inside.set()
        thread.join()
        assert key() == int(ai.fold(2, 0))
    assert elsewhere == [int(ai.fold(1, 0))]


def test_threads_with_seeds_of_their_own():
    def build(seed):
        with ai.seeded(seed):
            barrier.wait()
            return [key() for _ in range(300)]

    barrier = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(build, range(8)))
    assert drawn == [[int(ai.fold(seed, n)) for n in range(300)] for seed in range(8)]


def test_a_copied_context_carries_the_scope():
    with ai.seeded(2):
        context = contextvars.copy_context()
    assert context.run(key) == int(ai.fold(2, 0))
    assert context.run(key) == int(ai.fold(2, 1))


def test_tasks_are_scoped():
    async def build(seed):
        with ai.seeded(seed):
            drawn = []
            for _ in range(3):
                await asyncio.sleep(0)
                drawn.append(key())
            return drawn

    async def both():
        return await asyncio.gather(build(1), build(2))

    assert asyncio.run(both()) == [[int(ai.fold(seed, n)) for n in range(3)] for seed in (1, 2)]


@pytest.mark.parametrize("scoped", [False, True], ids=["process", "scope"])
def test_threads_never_take_the_same_key(scoped):
    threads, each = 8, 2500
    barrier = threading.Barrier(threads)

    def work():
        barrier.wait()
        return [key() for _ in range(each)]

    def draw_all():
        contexts = [contextvars.copy_context() for _ in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            return [k for keys in pool.map(lambda context: context.run(work), contexts) for k in keys]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        ai.manual_seed(9)
        if scoped:
            with ai.seeded(9):
                drawn = draw_all()
        else:
            drawn = draw_all()
    finally:
        sys.setswitchinterval(interval)
    assert len(set(drawn)) == threads * each
    assert set(drawn) == {int(ai.fold(9, n)) for n in range(threads * each)}


def test_without_a_seed_draws_differ():
    assert len({key() for _ in range(100)}) == 100
    assert (ai.bits((4,)) != ai.bits((4,))).any()


def take_at_every_instruction(draws):
    """Keys of draws into which another draw breaks at each of their instructions, as a signal handler's would."""
    keys, inner = [], []

    def local(frame, event, argument):
        if event == "opcode":
            inner.append(key())
        return local

    def trace(frame, event, argument):
        if frame.f_code.co_filename != seeds.__file__:
            return None
        frame.f_trace_opcodes = True
        return local

    sys._getframe().f_trace_opcodes = True  # Python 3.12 then looks for instructions in other frames, too
    before = sys.gettrace()
    with ai.seeded(9):
        sys.settrace(trace)
        try:
            keys += [key() for _ in range(draws)]
        finally:
            sys.settrace(before)
    return keys, inner


def test_draws_in_the_middle_of_draws_take_keys_of_their_own():
    keys, inner = within(60, lambda: take_at_every_instruction(20))
    assert len(inner) > 100
    assert sorted(keys + inner) == sorted(int(ai.fold(9, n)) for n in range(len(keys + inner)))


SIGNALS = """
import signal
from arrayinit.seeds import resolve

def draw(*_):
    keys.append(int(resolve(None)))
    signal.setitimer(signal.ITIMER_REAL, 1e-4)

keys = []
signal.signal(signal.SIGALRM, draw)
draw()
for _ in range(20_000):
    keys.append(int(resolve(None)))
signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a last handler may have set the timer again
print(len(keys) - len(set(keys)))
print(int(len(keys) > 20_001))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals of POSIX")
def test_signal_handlers_may_draw():
    assert run_script(SIGNALS) == [0, 1]


def run_script(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.mark.slow
def test_processes_start_from_entropy():
    script = "from arrayinit.seeds import resolve; print(int(resolve(None)))"
    assert len({run_script(script)[0] for _ in range(3)}) == 3


# Prints two keys of the parent, then two of each of three children forked in between.
FORK = """
import os, sys
import arrayinit as ai
from arrayinit.seeds import resolve

def take():
    return [int(resolve(None)) for _ in range(2)]

def child(read, write):
    os.write(write, " ".join(map(str, take())).encode())
    os._exit(0)

def main():
    pipes = [os.pipe() for _ in range(3)]
    for pipe in pipes:
        if os.fork() == 0:
            child(*pipe)
    print(*take())
    for read, write in pipes:
        os.wait()
    for read, write in pipes:
        print(os.read(read, 1000).decode())

"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_children_draw_keys_of_their_own():
    assert len(set(run_script(FORK + "resolve(None); main()"))) == 8


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize(
    ("start", "first"), [("ai.manual_seed(6); main()", 0), ("ai.manual_seed(6); resolve(None); main()", 1)]
)
def test_forked_children_of_a_seeded_parent_draw_its_keys(start, first):
    wanted = [int(ai.fold(6, first)), int(ai.fold(6, first + 1))]
    assert run_script(FORK + start) == wanted * 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_children_of_a_scope_draw_its_keys():
    wanted = [int(ai.fold(6, 0)), int(ai.fold(6, 1))]
    assert run_script(FORK + "with ai.seeded(6): main()") == wanted * 4


# A child forked while another thread takes a key must not be kept from taking its own.
LOCKED = """
import os, threading, warnings
import arrayinit as ai
from arrayinit.seeds import resolve
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns where a process of many threads forks
stop = threading.Event()

def draw():
    while not stop.is_set():
        resolve(None)

threads = [threading.Thread(target=draw) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(100):
    pid = os.fork()
    if pid == 0:
        resolve(None)
        os._exit(0)
    os.waitpid(pid, 0)
stop.set()
for thread in threads:
    thread.join()
print(1)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_between_threads_leaves_no_lock_behind():
    assert run_script(LOCKED) == [1]


def test_keys_folded_at_once_are_those_folded_one_by_one():
    root = ai.Key(0xFEDCBA9876543210)
    for start in (0, 5, 2**32 - 3):
        assert root.fold_range(start, start + 9) == [root.fold(n) for n in range(start, start + 9)]
    with ai.seeded(3):
        keys = [resolve(None) for _ in range(600)]
    assert keys == [ai.fold(3, n) for n in range(600)]


def test_a_tuple_is_a_name_within_a_name():
    folded = ai.fold(ai.fold(0, "qkv"), 2)
    assert same(ai.normal((3, 4), seed=0, name=("qkv", 2)), ai.normal((3, 4), seed=folded))
    assert same(ai.normal((3, 4), seed=0, name=("qkv",)), ai.normal((3, 4), seed=0, name="qkv"))
    assert not same(ai.normal((3, 4), seed=0, name=("qkv", 2)), ai.normal((3, 4), seed=0, name=("qkv", "2")))
    with pytest.raises(TypeError, match="`name` must be a string, an integer or a tuple"):
        ai.normal((3, 4), seed=0, name=("qkv", 2.0))
