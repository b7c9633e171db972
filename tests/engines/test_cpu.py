"""The engine for host memory: the bits of the reference at every boundary, from any thread, after a fork."""

import functools
import gc
import os
import platform
import re
import subprocess
import sys
import threading
import tracemalloc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import same, to_host, within
from randomgen_peer import other

import arrayinit as ai
from arrayinit.backends.numpy import NumpyBackend
from arrayinit.conformance.cases import CASES, DTYPES, golden
from arrayinit.conformance.vector_digest import vector_digest
from arrayinit.engines import cpu, reference
from arrayinit.engines.cpu import compile_policy, machine_code, parameters, vectors, warnings_once
from arrayinit.engines.cpu.rectangles import rectangle_of
from arrayinit.laws.regions import Region

LAWS = [
    ai.spec("uniform", a=-0.25, b=3.0),
    ai.spec("normal", mean=0.1, std=2.0),
    ai.spec("trunc_normal", std=0.7),
    ai.spec("trunc_normal", a=3.0, b=float("inf")),
    ai.spec("trunc_normal", a=-9.0, b=-5.0),
]
by_law = pytest.mark.parametrize("law", LAWS, ids=str)


@functools.cache
def loops_of(lanes):
    """The loops with vectors of so many 64-bit lanes, whatever this processor would choose."""
    binding = pytest.importorskip("llvmlite.binding")
    machine_code.load(may_compile=True)  # which starts LLVM
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_code, "_lanes", lambda processor: lanes)
        processor = machine_code._processor(binding)
        return machine_code._link(binding, processor, machine_code._compile(binding, processor))


@pytest.fixture(params=["4 lanes", "8 lanes", "NumPy"])
def engine(request, monkeypatch):
    """Both halves of the engine, whatever the policy would decide; three threads."""
    loops = None if request.param == "NumPy" else loops_of(int(request.param[0]))
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
            assert vector_digest(case.draw(dtype, xp=xp)) == golden()[case.name][dtype]["fingerprint"], case.name


# Blocks have 4 words, vectors 8 or 16, of which 2 or 3 are drawn at once, chunks 960 (384 in strips of 64 rows), tasks
# 131072.
SIZES = [
    *(1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 95, 96, 97, 255, 257),
    *(383, 385, 957, 959, 960, 961, 964, 1919, 1921, 2049, 65535, 65536, 65537, 131071, 131072, 131073, 131077),
]


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
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64"])
def test_nothing_else_is_written(engine, law, dtype):
    x = np.full(3000, 7, dtype)
    for n in SIZES[:-5]:
        law.fill_(x[5 : 5 + n], seed=7)
        assert (x[:5] == 7).all()
        assert (x[5 + n :] == 7).all()
        x[5 : 5 + n] = 7


@by_law
def test_where_block_numbers_get_a_33rd_bit(engine, law):
    for start in (2**34 - 7, 2**34 - 4099):
        part = np.s_[start : start + 9001]
        assert same(law((2**35,), seed=7, index=part), by_reference(law, (2**35,), seed=7, index=part))


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


@by_law
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "complex64", "complex128"])
def test_transposed_memory_around_every_square_and_strip(engine, law, dtype):
    whole = by_reference(law, (150, 600), seed=3, dtype=dtype)
    assert same(law((600, 150), seed=3, dtype=dtype, layout="io"), to_host(whole).T)
    for rows, columns in ((64, 384), (65, 385), (63, 383), (7, 9), (72, 8), (8, 392)):
        index = np.s_[:rows, :columns]
        x = np.zeros((columns, rows + 3), whole.dtype)
        law.fill_(x.T[2:-1], seed=3, shape=(150, 600), index=index)
        assert same(x.T[2:-1], to_host(whole)[index])
        assert not to_host(x.T[:2]).any()
        assert not to_host(x.T[-1:]).any()


class Row(tuple):
    """A vector of the compiled loops, as far as a transposition needs one."""

    def pick(self, other, lanes):
        both = (*self, *other)
        return Row(both[lane] for lane in lanes)


@pytest.mark.parametrize("near", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("side", [1, 2, 4, 8, 16])
def test_squares_are_transposed(side, near):
    pytest.importorskip("llvmlite")
    from arrayinit.engines.cpu.kernels import _transposed

    square = [Row((row, column) for column in range(side)) for row in range(side)]
    assert _transposed(square, near) == [tuple((row, column) for row in range(side)) for column in range(side)]


def test_streams(engine, monkeypatch):
    """Arrays that are written past the caches, from wherever they begin."""
    monkeypatch.setattr(cpu, "UNCACHED", 1 << 12)
    for dtype in ("float64", "float32", "float16", "complex64"):
        memory = np.zeros(30_100, dtype)
        for start in (0, 1, 2, 3, 7, 8, 17, 32):
            memory[...] = 0
            law = ai.spec("normal", mean=0.1, std=2.0 + start)  # not one whose calls are remembered
            law.fill_(memory[start : start + 30_000], seed=3)
            wanted = by_reference(law, (30_000,), seed=3, dtype=dtype)
            assert same(memory[start : start + 30_000], wanted)
            assert not memory[:start].any()
            assert not memory[start + 30_000 :].any()
    halves = np.zeros(60_020)
    for start in range(1, 9, 2):  # complex elements whose halves may lie on either side of a cache line
        x = halves[start:][:60_000].view("complex128")
        law = ai.spec("normal", std=3.0 + start)
        assert same(law.fill_(x, seed=3), by_reference(law, (30_000,), seed=3, dtype="complex128"))
        halves[start:][:60_000] = 0
        assert not halves.any()


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


def test_the_end_of_a_hundred_billion_elements(engine):
    """Parts of U[0, 1) beyond 2**32 and 2**36 elements, made from the words of another Philox."""
    shape = (100_000, 1_000_000)
    for row, start in ((4_294, 967_290), (68_719, 476_730), (99_999, 900_000)):
        first = row * shape[1] + start
        words = other(9, first // 4, 32_504)[first % 4 :][:32_500]
        wanted = (words >> 2).astype(np.float32) * np.float32(2.0**-30)  # 31 bits span (-1, 1)
        wanted = np.minimum(wanted, np.float32(1 - 2.0**-24))
        part = ai.uniform(shape, seed=9, index=np.s_[row, start : start + 32_500])
        assert (part == wanted[: len(part)]).all()


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


@pytest.fixture
def new_policy(monkeypatch):
    """The policy of a process that has drawn nothing."""
    for name, value in (
        ("_loaded", None),
        ("_missing", False),
        ("_drawn", 0),
        ("_worth", compile_policy.WORTH_LOADING),
    ):
        monkeypatch.setattr(compile_policy, name, value)
    monkeypatch.setattr(warnings_once, "_warned", set())
    monkeypatch.delenv(compile_policy.VARIABLE, raising=False)
    return compile_policy


def test_many_small_draws_are_worth_loading(new_policy, monkeypatch):
    monkeypatch.setattr(machine_code, "load", lambda may_compile: len)
    monkeypatch.setattr(machine_code, "is_stored", lambda: True)
    calls = 0
    while compile_policy.compiled(16) is None:
        calls += 1
    assert calls == compile_policy.WORTH_LOADING // compile_policy.CALL - 1 == 127


def test_switch(new_policy, monkeypatch):
    """NumPy until stored loops are worth loading, or others compiling; a variable that decides."""
    stored, loads = [True], []

    def load(may_compile):
        loads.append(may_compile)
        return len if stored[0] or may_compile else None

    monkeypatch.setattr(machine_code, "load", load)
    monkeypatch.setattr(machine_code, "is_stored", lambda: stored[0])
    assert compile_policy.compiled(compile_policy.WORTH_LOADING - compile_policy.CALL - 1) is None
    assert compile_policy.compiled(compile_policy.CALL) is None
    assert not loads
    assert compile_policy.compiled(1) is len
    assert loads == [False]

    stored[0] = False
    for name, value in (("_loaded", None), ("_drawn", 0), ("_worth", compile_policy.WORTH_LOADING)):
        monkeypatch.setattr(compile_policy, name, value)
    assert compile_policy.compiled(compile_policy.WORTH_LOADING) is None
    assert (
        compile_policy.compiled(compile_policy.WORTH_COMPILING - compile_policy.WORTH_LOADING - compile_policy.CALL)
        is None
    )
    assert loads == [False]  # to ask whether they are stored costs less
    assert compile_policy.compiled(1) is len
    assert loads == [False, True]

    monkeypatch.setattr(compile_policy, "_loaded", None)
    monkeypatch.setenv(compile_policy.VARIABLE, "0")
    assert compile_policy.compiled(2 * compile_policy.WORTH_COMPILING) is None
    monkeypatch.setenv(compile_policy.VARIABLE, "1")
    monkeypatch.setattr(compile_policy, "_drawn", 0)
    assert compile_policy.compiled(1) is len
    assert loads == [False, True, True]


def test_a_wrong_choice_is_ignored_with_one_warning(new_policy, monkeypatch):
    monkeypatch.setenv(compile_policy.VARIABLE, "yes")
    monkeypatch.setattr(machine_code, "load", lambda may_compile: len)
    with pytest.warns(RuntimeWarning, match="`ARRAYINIT_COMPILE` must be 0 or 1; got 'yes'"):
        assert compile_policy.compiled(1) is None
    assert compile_policy.compiled(1) is None
    assert compile_policy.compiled(compile_policy.WORTH_COMPILING) is len


def test_a_process_without_llvmlite_asks_once(new_policy, monkeypatch):
    loads = []

    def load(may_compile):
        loads.append(may_compile)
        raise ModuleNotFoundError("no llvmlite", name="llvmlite")

    monkeypatch.setattr(machine_code, "load", load)
    assert compile_policy.compiled(compile_policy.WORTH_COMPILING) is None
    assert compile_policy.compiled(compile_policy.WORTH_COMPILING) is None
    assert loads == [True]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("no such processor"),
        OSError("libllvmlite.so is not there"),
        ImportError("libllvmlite.so is older"),
        ModuleNotFoundError("a part of llvmlite is missing", name="llvmlite.binding.ffi"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("part", ["load", "is_stored"])
def test_loops_that_fail_are_named_once_and_done_without(new_policy, monkeypatch, error, part):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(machine_code, part, fail)
    enough = {"load": compile_policy.WORTH_COMPILING, "is_stored": compile_policy.WORTH_LOADING}[part]
    with pytest.warns(
        RuntimeWarning, match=f"could not compile its fast loops .{re.escape(repr(error))}.; using NumPy"
    ):
        assert compile_policy.compiled(enough) is None
    assert compile_policy.compiled(compile_policy.WORTH_COMPILING) is None


def test_an_interrupted_load_is_tried_again(new_policy, monkeypatch):
    def interrupt(may_compile):
        raise KeyboardInterrupt

    monkeypatch.setattr(machine_code, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compile_policy.compiled(compile_policy.WORTH_COMPILING)
    monkeypatch.setattr(machine_code, "load", lambda may_compile: len)
    assert compile_policy.compiled(1) is len
    assert gc.isenabled()


def test_a_draw_in_the_middle_of_loading(new_policy, monkeypatch):
    """By a signal handler: on the thread that loads, so that it must not wait for it."""
    within_load = []

    def load(may_compile):
        within_load.append(compile_policy.compiled(compile_policy.WORTH_COMPILING))
        return len

    monkeypatch.setattr(machine_code, "load", load)
    assert within(60, lambda: compile_policy.compiled(compile_policy.WORTH_COMPILING)) is len
    assert within_load == [None]


def test_nothing_is_loaded_while_the_interpreter_shuts_down(new_policy, monkeypatch):
    monkeypatch.setattr(machine_code, "load", lambda may_compile: len)
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    assert compile_policy.compiled(compile_policy.WORTH_COMPILING) is None


def test_a_user_without_a_home(new_policy, monkeypatch):
    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "ARRAYINIT_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(machine_code, "load", lambda may_compile: None)
    assert compile_policy.compiled(compile_policy.WORTH_LOADING) is None


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_a_draw_in_the_middle_of_a_draw(monkeypatch, kind):
    """By a signal handler: on the same thread, whose memory it must not use."""
    monkeypatch.setattr(cpu, "compiled", lambda elements: None)
    monkeypatch.setenv("ARRAYINIT_NUM_THREADS", "1")
    law = ai.spec(kind)
    wanted = by_reference(law, (300,), seed=1), by_reference(law, (200,), seed=2)
    step, inner = getattr(vectors, f"_{kind}"), []

    def broken_into(*arguments):
        if not inner:
            inner.append(None)
            inner[0] = law((200,), seed=2)
        return step(*arguments)

    monkeypatch.setattr(vectors, f"_{kind}", broken_into)
    assert same(law((300,), seed=1), wanted[0])
    assert same(inner[0], wanted[1])


def test_a_call_keeps_what_it_works_in(monkeypatch):
    """That of a daemon thread may run on while Python clears modules and threads."""
    monkeypatch.setattr(cpu, "_of_thread", cpu._PerThread())
    scratch = weakref.ref(cpu._of_thread.scratch)
    kept = []

    def loops(*arguments):
        del cpu._of_thread.scratch
        gc.collect()
        kept.append(scratch() is not None and scratch().table is parameters.ENTRIES)

    monkeypatch.setattr(cpu, "compiled", lambda elements: loops)
    ai.normal((3, 4), seed=0)
    assert kept == [True]


class Binding:
    """The answers of llvmlite about a processor."""

    def __init__(self, triple="x86_64-unknown-linux-gnu", name="nehalem", features="+64bit,-avx"):
        self.get_default_triple = lambda: triple
        self.get_host_cpu_name = lambda: name
        features += "".join(f",+{feature}" for feature in machine_code.V2.split())
        self.get_host_cpu_features = lambda: SimpleNamespace(flatten=lambda: features)


@pytest.mark.parametrize("name", ["generic", "x86-64", "x86-64-v2"])
def test_levels_of_processors(monkeypatch, name):
    monkeypatch.setenv(machine_code.VARIABLE, name)
    assert machine_code._processor(Binding()) == (name, "")


@pytest.mark.parametrize(
    ("name", "triple", "rule"),
    [
        ("nonsense", "x86_64-unknown-linux-gnu", "one of generic, x86-64, .* or nehalem"),
        ("pentium", "x86_64-unknown-linux-gnu", "one of "),  # which has no 64 bits
        ("help", "x86_64-unknown-linux-gnu", "one of "),
        ("x86-64-v3", "x86_64-unknown-linux-gnu", "a level .* nehalem lacks avx, avx2, "),
        ("x86-64", "aarch64-unknown-linux-gnu", "one of generic, or nehalem"),
    ],
)
def test_a_wrong_processor_is_ignored_with_one_warning(monkeypatch, new_policy, name, triple, rule):
    binding = Binding(triple)
    monkeypatch.delenv(machine_code.VARIABLE, raising=False)
    own = machine_code._processor(binding)
    monkeypatch.setenv(machine_code.VARIABLE, name)
    with pytest.warns(RuntimeWarning, match=f"`ARRAYINIT_CPU_NAME` must be {rule}.*; got '{name}'"):
        assert machine_code._processor(binding) == own
    assert machine_code._processor(binding) == own


def run(code, **variables):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


DRAW = """
import sys
import arrayinit as ai
print(ai.fingerprint(ai.normal((2100, 2100), seed=1)), "llvmlite" in sys.modules)
from arrayinit.engines.cpu import compile_policy
print(compile_policy._loaded is not None)
"""


def test_small_work_imports_nothing():
    code = "import sys, arrayinit as ai; ai.normal((512, 512), seed=0); print('llvmlite' in sys.modules)"
    assert run(code) == ["False"]


@pytest.mark.slow
def test_loops_are_compiled_once_a_machine(tmp_path):
    """The second process reads what the first one wrote; what is broken is made anew."""
    pytest.importorskip("llvmlite")
    wanted = ai.fingerprint(by_reference(ai.normal, (2100, 2100), seed=1))
    directory = tmp_path / "kept" / "here"
    variables = {"ARRAYINIT_CACHE_DIR": str(directory)}
    assert run(DRAW, **variables) == [wanted, "False", "False"]  # too few draws to compile for
    assert run(DRAW, **variables, ARRAYINIT_COMPILE="1") == [wanted, "True", "True"]
    (path,) = directory.iterdir()
    code = path.read_bytes()
    assert run(DRAW, **variables) == [wanted, "True", "True"]
    for broken in (code[:-1], code[:20], b"", code[:100] + bytes([code[100] ^ 1]) + code[101:]):
        path.write_bytes(broken)
        assert run(DRAW, **variables) == [wanted, "True", "False"]  # seen to be broken
        assert path.read_bytes() == broken
    assert run(DRAW, **variables, ARRAYINIT_COMPILE="1") == [wanted, "True", "True"]
    assert run(DRAW, **variables) == [wanted, "True", "True"]
    assert [found.name for found in directory.iterdir()] == [path.name]


@pytest.mark.slow
def test_another_processor_has_another_file(tmp_path):
    pytest.importorskip("llvmlite")
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the processor of this test is of another kind")
    wanted = ai.fingerprint(by_reference(ai.normal, (2100, 2100), seed=1))
    variables = {"ARRAYINIT_CACHE_DIR": str(tmp_path), "ARRAYINIT_COMPILE": "1"}
    for k, name in enumerate(("x86-64-v2", "x86-64", "nonsense"), 1):
        assert run(DRAW, **variables, ARRAYINIT_CPU_NAME=name) == [wanted, "True", "True"]
        assert len(list(tmp_path.iterdir())) == k
    assert run(DRAW, **variables) == [wanted, "True", "True"]  # the file of this processor, for no other was known
    assert len(list(tmp_path.iterdir())) == k


@pytest.mark.slow
def test_a_directory_that_cannot_be_written(tmp_path):
    pytest.importorskip("llvmlite")
    wanted = ai.fingerprint(by_reference(ai.normal, (2100, 2100), seed=1))
    (tmp_path / "file").write_text("not a directory")
    variables = {"ARRAYINIT_CACHE_DIR": str(tmp_path / "file"), "ARRAYINIT_COMPILE": "1"}
    assert run(DRAW, **variables) == [wanted, "True", "True"]


def test_scales_of_33_bits_are_left_to_numpy(engine):
    """Bounds that round up to a power of two in steps of 2**-31 of it."""
    bound = 1 - 2**-40
    assert same(ai.uniform((3000,), -bound, bound, seed=1), by_reference(ai.uniform, (3000,), -bound, bound, seed=1))


def test_a_draw_within_a_draw(engine, monkeypatch):
    """As by a signal handler or a finalizer, which may run between any two steps: the outer one's words stay."""
    law, shape = ai.spec("normal"), (300, 301)
    wanted = [by_reference(law, shape, seed=seed) for seed in (1, 2)]
    found = {}

    def interrupted(write):
        def step(self, view, position, values):
            if threading.get_ident() not in found:
                found[threading.get_ident()] = None
                found[threading.get_ident()] = law(shape, seed=2)
            write(self, view, position, values)

        return step

    monkeypatch.setattr(NumpyBackend, "write", interrupted(NumpyBackend.write))
    assert same(law(shape, seed=1), wanted[0])
    assert all(same(x, wanted[1]) for x in found.values())
    assert found or engine != "NumPy"


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["0", "1"])
def test_after_a_fork(choice):
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
    assert run(code, ARRAYINIT_COMPILE=choice, ARRAYINIT_NUM_THREADS="3") == ["0"]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 150_000, 2), (1, 0, 2)),  # many short rows
        ((7, 8, 9, 10, 11), (4, 3, 2, 1, 0)),
        ((3, 50, 2, 700), (1, 2, 0, 3)),  # many rows that are long enough for the loops
        ((2, 140_000), (1, 0)),  # thin: long columns of rows of two
    ],
)
def test_what_is_planned_does_not_grow_with_the_array(engine, shape, axes):
    memory = np.empty(shape, np.float32)
    x = memory.transpose(axes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "REMEMBERED", 0)
        patch.setattr(cpu, "BATCH", 4, raising=False)
        tracemalloc.start()
        try:
            ai.normal_(x, seed=5)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert same(x, by_reference(ai.spec("normal"), x.shape, seed=5))
    pieces = 4 * cpu.GRAIN * 4  # one for each of three threads, with some room
    assert peak < (pieces if engine != "NumPy" else 16 * pieces)


def test_parts_of_many_short_rows_equal_the_reference(engine):
    index = (np.s_[::2],) * 11
    part = ai.normal((6,) * 11, seed=5, index=index)
    assert same(part, by_reference(ai.spec("normal"), (6,) * 11, seed=5, index=index))


def test_slabs_of_a_sparse_matrix_have_memory_some_at_a_time(monkeypatch):
    from arrayinit.engines.cpu import sparse

    made, most, lock = [], [], threading.Lock()

    class Memory(sparse._Memory):
        def __init__(self, size):
            super().__init__(size)
            with lock:
                made.append(weakref.ref(self))
                most.append(sum(memory() is not None for memory in made))

    wanted = ai.sparse((500, 60), 0.3, seed=0)
    monkeypatch.setenv("ARRAYINIT_NUM_THREADS", "6")
    monkeypatch.setattr(sparse, "_Memory", Memory)
    monkeypatch.setattr(sparse, "SLAB", 500 * 4)
    monkeypatch.setattr(sparse, "NARROWEST", 4)
    for together in (1, 2, 4):
        made.clear()
        most.clear()
        monkeypatch.setattr(sparse, "ALL", 500 * 4 * together)
        assert same(ai.sparse((500, 60), 0.3, seed=0), wanted)
        assert 1 <= max(most) <= together


def test_rectangles_join_axes_that_continue_one_another():
    rectangle, repeats = rectangle_of(Region.whole((3, 4, 5)), (20, 5, 1))
    assert (rectangle.rows, rectangle.length, rectangle.jump, repeats.count, repeats[0]) == (1, 60, 1, 1, (0, 0))
    rectangle, repeats = rectangle_of(Region.whole((3, 4)), (1, 3))
    assert (rectangle.rows, rectangle.length, rectangle.row_jump, rectangle.jump, repeats.count) == (3, 4, 1, 3, 1)


def test_repeats_are_the_repetitions_of_a_rectangle():
    _, repeats = rectangle_of(Region.whole((2, 3, 4, 5)), (1, 2, 6, 24))
    assert [repeats[k] for k in range(repeats.count)] == [
        (i * 60 + j * 20, i + j * 2) for i in range(2) for j in range(3)
    ]


@pytest.mark.parametrize("grain", [1, 5, 100, 1000, 10**6])
@pytest.mark.parametrize("counts", [(1, 1), (1, 700), (700, 1), (9, 4), (30, 70)])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_parts_hold_each_element_once(grain, counts, is_transposed):
    rows, count = counts
    jumps = (1, rows) if is_transposed else (count, 1)
    rectangle, _ = rectangle_of(Region.whole(counts), jumps)
    found = {}
    for part in rectangle.split(grain, (2, 4)):
        assert part.rows * part.length <= max(grain, 8)
        for row in range(part.rows):
            for j in range(part.length):
                element = part.first + row * part.row_step + j * part.step
                assert element not in found
                found[element] = part.at + row * part.row_jump + j * part.jump
    assert found == {r * count + j: r * jumps[0] + j * jumps[1] for r in range(rows) for j in range(count)}


ONE_TABLE = """
import threading, time
from arrayinit.backends import base

read = base.coefficients
base.coefficients = lambda: (time.sleep(0.1), read())[1]
addresses = []

def ask():
    from arrayinit.engines.cpu.parameters import _table_address

    addresses.append(_table_address(32, 0))

threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(addresses), len(set(addresses)))
"""


def test_threads_that_draw_first_are_told_the_one_table():
    """Another one would be freed while its address is in use."""
    done = subprocess.run([sys.executable, "-c", ONE_TABLE], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["4", "1"]
