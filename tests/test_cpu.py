"""The engine for host memory: the bits of the reference at every boundary, from any thread, after a fork."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import same, to_host

import arrayinit as ai
from arrayinit.cases import CASES, DTYPES, golden
from arrayinit.engines import cpu, reference
from arrayinit.engines.cpu import pool, switch
from arrayinit.engines.cpu.rows import rows_of
from arrayinit.regions import Region

LAWS = [
    ai.spec("uniform", a=-0.25, b=3.0),
    ai.spec("normal", mean=0.1, std=2.0),
    ai.spec("trunc_normal", std=0.7),
    ai.spec("trunc_normal", a=3.0, b=float("inf")),
    ai.spec("trunc_normal", a=-9.0, b=-5.0),
]
by_law = pytest.mark.parametrize("law", LAWS, ids=str)


@pytest.fixture(params=["compiled", "reference"])
def engine(request, monkeypatch):
    """Both halves of the engine, whatever the switch would decide; three threads."""
    loops = None
    if request.param == "compiled":
        pytest.importorskip("numba")
        loops = pytest.importorskip("arrayinit.engines.cpu.kernels").kernel()
    monkeypatch.setattr(cpu, "compiled", lambda elements: loops)
    monkeypatch.setenv("ARRAYINIT_NUM_THREADS", "3")
    return request.param


def by_reference(law, *arguments, **keywords):
    """The same draw by the specification."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "draw", reference.draw)
        patch.setattr("arrayinit.engines._draw", lambda name: reference.draw)
        return law(*arguments, **keywords)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("xp", ["numpy", "torch"])
def test_golden_bits(engine, xp, dtype):
    pytest.importorskip(xp)
    for case in CASES:
        if case.is_exact:
            assert ai.fingerprint(case.draw(dtype, xp=xp)) == golden()[case.name][dtype]["fingerprint"], case.name


# Blocks have 4 words, chunks 1024 (256 in strips of 16 rows), tasks 65536.
SIZES = [1, 2, 3, 4, 5, 7, 255, 257, 1021, 1023, 1024, 1025, 1028, 2047, 2049, 65535, 65536, 65537, 131071, 131077]


@by_law
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_around_every_boundary(engine, law, dtype):
    whole = to_host(by_reference(law, (131080,), seed=7, dtype=dtype))
    for n in SIZES:
        assert same(law((n,), seed=7, dtype=dtype), whole[:n]), n
        for start in (1, 2, 3):
            part = law((131080,), seed=7, dtype=dtype, index=slice(start, start + n))
            assert same(part, whole[start : start + n]), (start, n)


@by_law
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_parts_and_layouts(engine, law, dtype):
    shape = (37, 530)
    whole = to_host(by_reference(law, shape, seed=1, dtype=dtype))
    for index in (
        np.s_[5:9],
        np.s_[:, 3:300],
        np.s_[:, ::3],
        np.s_[::-1],
        np.s_[:, ::-1],
        np.s_[::2, 1::5],
        np.s_[4],
        np.s_[:, 5],
        np.s_[36, -1],
    ):
        assert same(law(shape, seed=1, dtype=dtype, index=index), whole[index]), index
    assert same(law(shape[::-1], seed=1, dtype=dtype, layout="io"), whole.T)
    for order, layout in (("oihw", "hwio"), ("oihw", "iohw"), ("oihw", "ohwi")):
        sizes = {"o": 33, "i": 19, "h": 5, "w": 3}
        straight = by_reference(law, tuple(sizes[c] for c in order), seed=1, layout=order, dtype=dtype)
        turned = law(tuple(sizes[c] for c in layout), seed=1, layout=layout, dtype=dtype)
        assert same(turned, to_host(straight).transpose([order.index(c) for c in layout])), layout


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64"])
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::2, 1:],
        lambda x: x.T,
        lambda x: x[::-1, ::-1],
        lambda x: x[:, 7],
        lambda x: x[5:6, 3:4],
        lambda x: np.asfortranarray(x),
    ],
)
def test_strided_memory(engine, dtype, view):
    law = LAWS[1]
    x = np.zeros((600, 301), dtype)
    target = view(x)
    assert law.fill_(target, seed=2) is target
    assert same(target, by_reference(law, target.shape, seed=2, dtype=dtype))
    if target.base is x:  # nothing else was written
        view(x)[...] = 0
        assert not x.any()


def test_memory_that_the_loops_leave_to_the_reference(engine):
    wanted = LAWS[0]((50, 3), seed=1)
    swapped = np.empty((50, 3), np.dtype(np.float32).newbyteorder())
    odd = np.empty(601, np.uint8)[1:].view(np.float32).reshape(50, 3)
    packed = np.empty((50, 3), np.dtype([("tag", "u1"), ("x", "f4")]))["x"]
    for x in (swapped, odd, packed):
        assert same(LAWS[0].fill_(x, seed=1).astype(np.float32), wanted)


def test_torch_views(engine):
    torch = pytest.importorskip("torch")
    wanted = by_reference(LAWS[1], (6, 10), seed=1, dtype="complex64")
    x = torch.zeros(6, 10, dtype=torch.complex64)
    LAWS[1].fill_(x.conj(), seed=1)  # the values of the view are the draw, those in memory their conjugates
    assert same(x.conj().resolve_conj(), wanted)
    y = torch.zeros(6, 10)
    LAWS[1].fill_(torch._neg_view(y), seed=1)
    assert same(-y, by_reference(LAWS[1], (6, 10), seed=1))


def test_autograd_notices_a_draw(engine):
    torch = pytest.importorskip("torch")
    x = torch.ones(3, 3, requires_grad=True)
    y = (x * x).sum()
    LAWS[0].fill_(x, seed=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_words(engine):
    whole = by_reference(ai.bits, (70_001,), seed=5)
    assert same(ai.bits((70_001,), seed=5), whole)
    assert same(ai.bits((70_001,), seed=5, index=slice(70_000, None, -7)), whole[::-7])


def test_indices_beyond_32_bits(engine):
    shape = (2**40, 64)
    for start in (2**26 - 1, 2**36 + 5, 2**40 - 3):
        index = np.s_[start : start + 3]
        for law in LAWS[:3]:
            assert same(law(shape, seed=4, index=index), by_reference(law, shape, seed=4, index=index))


@pytest.mark.parametrize("count", ["1", "2", "3", "7"])
def test_threads_do_not_matter(engine, count, monkeypatch):
    monkeypatch.setenv("ARRAYINIT_NUM_THREADS", count)
    assert same(LAWS[1]((700, 300), seed=3), by_reference(LAWS[1], (700, 300), seed=3))


def test_several_python_threads_at_once(engine):
    shapes = [(40_000 + 1000 * k,) for k in range(8)]
    wanted = [by_reference(LAWS[1], shape, seed=k) for k, shape in enumerate(shapes)]
    equal = []

    def draws(k):
        equal.extend(same(LAWS[1](shapes[k], seed=k), wanted[k]) for _ in range(10))

    threads = [threading.Thread(target=draws, args=(k,)) for k in range(len(shapes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert equal == [True] * 80


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


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " "])
def test_number_of_threads_must_be_positive(value, monkeypatch):
    monkeypatch.setenv("ARRAYINIT_NUM_THREADS", value)
    with pytest.raises(ValueError, match=r"`ARRAYINIT_NUM_THREADS` must be a positive integer; got '"):
        pool.threads()


def test_switch(monkeypatch):
    """The reference until numba is worth it; a variable that decides; None where numba is missing."""
    loops = []
    monkeypatch.setattr(switch, "_load", lambda: loops.append(1) or len)
    monkeypatch.setattr(switch, "_loaded", None)
    monkeypatch.setattr(switch, "_missing", False)
    monkeypatch.setattr(switch, "_drawn", 0)
    monkeypatch.delenv(switch.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "numba")
    assert switch.compiled(switch.WORTH - 1) is None
    assert switch.compiled(1) is len
    monkeypatch.setattr(switch, "_drawn", 0)
    monkeypatch.setenv(switch.VARIABLE, "0")
    assert switch.compiled(2 * switch.WORTH) is None
    monkeypatch.setenv(switch.VARIABLE, "1")
    assert switch.compiled(1) is len
    monkeypatch.setenv(switch.VARIABLE, "yes")
    with pytest.raises(ValueError, match="`ARRAYINIT_NUMBA` must be 0 or 1; got 'yes'"):
        switch.compiled(1)


def run(code, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_small_work_does_not_import_numba():
    code = "import sys, arrayinit as ai; ai.normal((512, 512), seed=0); print('numba' in sys.modules)"
    assert run(code) == ["False"]


@pytest.mark.slow
@pytest.mark.parametrize("numba", ["0", "1"])
def test_after_a_fork(numba):
    if not hasattr(os, "fork"):
        pytest.skip("no fork")
    code = """
import os, warnings
import arrayinit as ai
warnings.simplefilter("ignore")
wanted = ai.fingerprint(ai.normal((600, 600), seed=1))
child = os.fork()
if child == 0:
    os._exit(0 if ai.fingerprint(ai.normal((600, 600), seed=1)) == wanted else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code, ARRAYINIT_NUMBA=numba, ARRAYINIT_NUM_THREADS="3") == ["0"]


def test_rows_join_axes_that_continue_one_another():
    inner, moves = rows_of(Region.whole((3, 4, 5)), (20, 5, 1))
    assert (inner.rows, inner.count, inner.jump, moves) == (1, 60, 1, [(0, 0)])
    inner, moves = rows_of(Region.whole((3, 4)), (1, 3))
    assert (inner.rows, inner.count, inner.row_jump, inner.jump, len(moves)) == (3, 4, 1, 3, 1)
    parts = list(inner.split(5, 2))
    assert [(p.first, p.rows, p.at) for p in parts] == [(0, 2, 0), (8, 1, 2)]
