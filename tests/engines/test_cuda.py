"""The CUDA kernel, its source compiled for this machine, and by nvcc where it is; on a device by `pytest -m gpu`."""

import math
import re
import shutil
import subprocess
from contextlib import contextmanager

import cuda_host
import numpy as np
import pytest
from conftest import same, to_host
from hypothesis import HealthCheck, assume, given, settings, strategies as st

import arrayinit as ai
from arrayinit import engines
from arrayinit.conformance.cases import CASES, DTYPES, golden
from arrayinit.conformance.vector_digest import vector_digest
from arrayinit.engines import reference
from arrayinit.engines.cuda import launches as cuda_launches
from arrayinit.engines.cuda.launches import launches
from arrayinit.engines.cuda.parameters import PARAMETERS
from arrayinit.engines.cuda.source import OPTIONS, source
from arrayinit.laws import Bits

needs_compiler = pytest.mark.skipif(
    cuda_host.COMPILER is None, reason="no g++ or clang++ to compile the CUDA kernel for this machine"
)

INFINITE = float("inf")
LAWS = [
    ai.spec("uniform", a=-0.25, b=3.0),
    ai.spec("uniform", a=0.0, b=1.0),
    ai.spec("uniform", a=-(1 - 2**-40), b=1 - 2**-40),  # a scale of 2**32
    ai.spec("normal", mean=0.1, std=2.0),
    ai.spec("trunc_normal", std=0.7),
    ai.spec("trunc_normal", a=3.0, b=INFINITE),
    ai.spec("trunc_normal", a=-INFINITE, b=INFINITE),
    ai.spec("trunc_normal", a=-9.0, b=-5.0),
    ai.spec("trunc_normal", a=6.5, b=7.0),
    ai.spec("trunc_normal", mean=0.3, a=0.25, b=9.5),
    ai.spec("distribution", distribution="triang", parameters=(0.3, -1.0, 4.0)),
    ai.spec("distribution", distribution="t", parameters=(3.0, -1.5, 0.25)),
]
by_law = pytest.mark.parametrize("law", LAWS, ids=str)
drawn = []  # the names of the kernels that ran


def on_host(job, target, grid=cuda_host.GRID, flags=cuda_host.FLAGS):
    """The engine, with this machine for a device."""
    out = target.array_for(job)
    calls = None
    if job.size and (job.sampling is not None or isinstance(job.law, Bits)):
        x = target.backend.host(out)
        calls = launches(job, x.strides)
    if calls is None:
        reference.fill(job, target.backend, out)
        return out
    for call in calls:
        drawn.append(call.name)
        with tables_of(call) as tables:
            cuda_host.launch(cuda_host.library(flags), call.name, call.block(x.ctypes.data, job.key, *tables), grid)
    return out


@contextmanager
def tables_of(call):
    """The addresses of the quantile table of a call, if it has one."""
    if call.quantiles is None:
        yield ()
    else:
        columns = np.concatenate(call.quantiles.columns)
        yield columns.ctypes.data, call.quantiles.units.ctypes.data


def drawn_by(engine, law, *arguments, **keywords):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "_draw", lambda name: engine)
        return law(*arguments, **keywords)


def by_kernel(law, *arguments, **keywords):
    before = len(drawn)
    result = drawn_by(on_host, law, *arguments, **keywords)
    assert len(drawn) > before or not result.size, "no kernel ran"
    return result


def by_reference(law, *arguments, **keywords):
    return drawn_by(reference.draw, law, *arguments, **keywords)


def identical(a, b) -> bool:
    """Equal bits, the signs of zeros too."""
    return same(a, b) and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@needs_compiler
def test_parameters_have_the_layout_of_the_structure():
    assert cuda_host.library().size_of_parameters() == PARAMETERS.itemsize


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
def test_golden_bits(dtype):
    with pytest.MonkeyPatch.context() as patch:
        run = engines._draw
        patch.setattr(engines, "_draw", lambda name: run(name) if name in ("flat", "mixed") else on_host)
        for case in CASES:
            if case.is_exact:
                assert vector_digest(case.draw(dtype)) == golden()[case.name][dtype]["fingerprint"], case.name


@needs_compiler
@by_law
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_and_beginnings(law, dtype):
    whole = by_reference(law, (1100,), seed=7, dtype=dtype)
    for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 383, 384, 385, 1024):
        for start in (0, 1, 2, 3, 4):
            part = by_kernel(law, (1100,), seed=7, dtype=dtype, index=slice(start, start + n))
            assert identical(part, whole[start : start + n]), (start, n)


@needs_compiler
@by_law
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64", "complex128"])
def test_nothing_else_is_written(law, dtype):
    x = np.full(300, 7, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "_draw", lambda name: on_host)
        for n in (1, 2, 3, 4, 5, 63, 64, 65, 255):
            for start in (4, 5, 6, 7):  # memory that is aligned for vectors, or not
                law.fill_(x[start : start + n], seed=7)
                assert (x[:start] == 7).all()
                assert (x[start + n :] == 7).all()
                assert identical(x[start : start + n], by_reference(law, (n,), seed=7, dtype=dtype))
                x[start : start + n] = 7


@needs_compiler
@by_law
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_parts_and_layouts(law, dtype):
    shape = (37, 130)
    whole = by_reference(law, shape, seed=1, dtype=dtype)
    for index in (
        np.s_[5:9],
        np.s_[:, 3:100],
        np.s_[:, 3:4],
        np.s_[:, ::3],
        np.s_[::-1],
        np.s_[:, ::-1],
        np.s_[::-2, ::-3],
        np.s_[::2, 1::5],
        np.s_[4],
        np.s_[:, 5],
        np.s_[36, -1],
        np.s_[3:3],
    ):
        assert identical(by_kernel(law, shape, seed=1, dtype=dtype, index=index), whole[index]), index
    assert identical(by_kernel(law, shape[::-1], seed=1, dtype=dtype, layout="io"), whole.T)
    sizes = {"o": 13, "i": 9, "h": 5, "w": 3}
    straight = by_reference(law, tuple(sizes.values()), seed=1, layout="oihw", dtype=dtype)
    for layout in ("hwio", "iohw", "ohwi"):
        turned = by_kernel(law, tuple(sizes[c] for c in layout), seed=1, layout=layout, dtype=dtype)
        assert identical(turned, straight.transpose(["oihw".index(c) for c in layout])), layout


VIEWS = [
    lambda x: x[::2, 1:],
    lambda x: x.T,
    lambda x: x[::-1],
    lambda x: x[:, ::-1],
    lambda x: x[::-3, 4::5],
    lambda x: x[3:4, :5],
    lambda x: x[:, 7],
    lambda x: x[:, 4:36],
    lambda x: x[2:3, 5:6],
    lambda x: x.reshape(5, 6, 7, 11)[::2, :, ::-2, 1:].transpose(2, 0, 3, 1),
]


@needs_compiler
@by_law
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64", "complex128"])
def test_targets_with_strides(law, dtype):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "_draw", lambda name: on_host)
        for view in VIEWS:
            x = np.full((30, 77), 7, dtype)
            part = view(x)
            law.fill_(part, seed=2)
            assert identical(part, by_reference(law, part.shape, seed=2, dtype=dtype))
            part[...] = 7
            assert (x == 7).all()


@needs_compiler
@by_law
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_indices_of_more_than_32_bits(law, dtype):
    for bits in (31, 32, 34, 36, 59):
        for start in (2**bits - 7, 2**bits - 2, 2**bits + 1):
            index = slice(start, start + 41)
            wanted = by_reference(law, (2**60,), seed=7, dtype=dtype, index=index)
            assert identical(by_kernel(law, (2**60,), seed=7, dtype=dtype, index=index), wanted)
        index = np.s_[2 ** (bits - 1) - 1 : 2 ** (bits - 1) + 9, ::-1]
        wanted = by_reference(law, (2**59, 2), seed=7, dtype=dtype, index=index)
        assert identical(by_kernel(law, (2**59, 2), seed=7, dtype=dtype, index=index), wanted)


@needs_compiler
def test_raw_words():
    shape = (2**40, 7)
    for index in (np.s_[:50], np.s_[3:9], np.s_[8::-1, ::2], np.s_[-9:, 1]):
        wanted = drawn_by(reference.draw, ai.bits, shape, seed=3, index=index)
        assert identical(drawn_by(on_host, ai.bits, shape, seed=3, index=index), wanted)
        assert drawn[-1].endswith("words_uint32")


@needs_compiler
@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 64), (400, 3)])
def test_any_grid_draws_the_same(grid):
    def engine(job, target):
        return on_host(job, target, grid)

    for law in LAWS[3:6]:
        for where in ({}, {"layout": "io"}):
            wanted = by_reference(law, (31, 45), seed=3, **where)
            assert identical(drawn_by(engine, law, (31, 45), seed=3, **where), wanted)


@needs_compiler
@pytest.mark.parametrize("limit", [8, 64, 1000])
def test_draws_that_take_more_than_one_launch(limit, monkeypatch):
    monkeypatch.setattr(cuda_launches, "LIMIT", limit)
    for law in (LAWS[0], LAWS[3]):
        for dtype in ("float32", "complex64"):
            for where in ({}, {"layout": "io"}, {"index": np.s_[1:, ::-3]}, {"index": np.s_[1:2, 3:]}):
                before = len(drawn)
                wanted = by_reference(law, (31, 45), seed=3, dtype=dtype, **where)
                assert identical(by_kernel(law, (31, 45), seed=3, dtype=dtype, **where), wanted)
                assert len(drawn) - before > 1 or wanted.size < limit


# The options of -ffast-math, without the code that makes a whole process flush subnormal numbers.
FAST = "-ffp-contract=fast -ffinite-math-only -fno-signed-zeros -fno-trapping-math -fassociative-math -freciprocal-math"


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    "flags", ["-O3 -march=native", f"-O3 -march=native {FAST}", "-O0"], ids=["optimized", "fast math", "plain"]
)
def test_no_option_of_a_compiler_changes_a_bit(flags):
    def engine(job, target):
        return on_host(job, target, flags=tuple(flags.split()))

    for law in LAWS:
        for dtype in DTYPES:
            for where in ({}, {"layout": "io"}):
                wanted = by_reference(law, (67, 41), seed=5, dtype=dtype, **where)
                assert identical(drawn_by(engine, law, (67, 41), seed=5, dtype=dtype, **where), wanted)


@needs_compiler
def test_halves_are_rounded_to_nearest_even():
    library = cuda_host.library()
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for function, dtype in ((library.float16_of, np.float16), (library.bfloat16_of, ml_dtypes.bfloat16)):
        function.argtypes = [cuda_host.ctypes.c_float]
        values = np.arange(0, 2**16, 7, dtype=np.uint16).view(dtype).astype(np.float32)
        values = np.sort(values[np.isfinite(values)])
        middles = ((values[1:].astype(np.float64) + values[:-1]) / 2).astype(np.float32)
        near = [np.nextafter(middles, np.float32(way * np.inf)) for way in (-1, 1)]
        with np.errstate(over="ignore"):
            for x in np.concatenate([values, middles, *near]):
                if np.isfinite(x):
                    wanted = int(np.asarray(x, np.float32).astype(dtype).view(np.uint16))
                    assert function(float(x)) == wanted, (x, dtype)


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_division_by_multiplication(count, i):
    fields = np.zeros((), PARAMETERS)
    cuda_launches._set_digits(fields, [(count, 0, 1)], (1, 0, 0), 2)
    magic, shift = int(fields["magic"][0]), int(fields["magic_shifts"][0])
    for n in (i, i // count * count, max(i // count * count - 1, 0), 2**31 - 1):
        assert n * magic >> shift == n // count
        assert n * magic < 2**64


finite = st.floats(-1e3, 1e3, allow_subnormal=False)


@st.composite
def laws(draw):
    kind = draw(st.sampled_from(["uniform", "normal", "trunc_normal"]))
    scale = 2.0 ** draw(st.integers(-8, 8))
    if kind == "uniform":
        a, b = sorted((draw(finite), draw(finite)))
        return ai.spec(kind, a=a * scale, b=b * scale)
    mean, std = draw(finite), draw(st.floats(0.01, 100))
    if kind == "normal":
        return ai.spec(kind, mean=mean * scale, std=std * scale)
    ends = st.one_of(st.floats(-10, 10), st.sampled_from([-INFINITE, INFINITE]))
    a, b = sorted((draw(ends), draw(ends)))
    return ai.spec(kind, mean=mean, std=std, a=mean + a * std, b=mean + b * std)


@st.composite
def selections(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    index = []
    for n in shape:
        start, stop = sorted((draw(st.integers(0, n)), draw(st.integers(0, n))))
        step = draw(st.sampled_from([1, 1, 1, 2, 3]))
        index.append(slice(start, stop, step) if draw(st.booleans()) else slice(None, None, -step))
    axes = draw(st.permutations(range(len(shape))))
    gaps = tuple(draw(st.sampled_from([1, 1, 2, -1, -2])) for _ in shape)
    return shape, tuple(index), axes, gaps


@needs_compiler
@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much], deadline=None)
@given(laws(), selections(), st.sampled_from(["float64", "float32", "float16", "complex64"]), st.integers(0, 2**64 - 1))
def test_any_law_anywhere(law, selection, dtype, seed):
    shape, index, axes, gaps = selection
    try:
        wanted = by_reference(law, shape, seed=seed, dtype=dtype, index=index)
    except ValueError:
        assume(False)
    # Memory whose axes are in any order, with gaps and in either direction.
    memory = np.zeros(tuple(wanted.shape[axis] * abs(gaps[axis]) for axis in axes), dtype)
    view = memory.transpose(np.argsort(axes))[tuple(slice(None, None, gap) for gap in gaps)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "_draw", lambda name: on_host)
        law.fill_(view, seed=seed, shape=shape, index=index)
    assert identical(view, wanted)
    view[...] = 0
    assert not memory.any()


# torch tensors, on a stand-in for the bindings to the driver.


@pytest.fixture
def asked(monkeypatch):
    """Tensors of this machine as those of device 0 of a stand-in; what it is asked."""
    pytest.importorskip("cuda.bindings")
    torch = pytest.importorskip("torch")
    from standin_bindings import install

    from arrayinit.backends import backend_named
    from arrayinit.engines.cuda import torch as torch_launcher

    asked = install(monkeypatch)
    asked.device = 0

    def fill(job, x):
        return torch_launcher.fill_on(asked.device, 7, job, x)

    monkeypatch.setattr("arrayinit.engines.cuda._launcher", lambda library: fill)
    monkeypatch.setattr(type(backend_named("torch")), "engine_for", lambda self, x, device: "cuda")
    monkeypatch.setattr("arrayinit.engines.cuda._warned", set())
    monkeypatch.setattr(type(backend_named("torch")), "is_capturing", lambda self, x: 7 in asked.capturing)
    monkeypatch.setattr(torch_launcher, "_kernels", {})
    monkeypatch.setattr(torch_launcher, "_on_devices", {})
    asked.torch = torch
    return asked


def test_which_torch_tensors_are_for_kernels():
    torch = pytest.importorskip("torch")
    from arrayinit.backends import backend_named

    backend = backend_named("torch")
    engines_of = {kind: backend.engine_for(None, torch.device(kind)) for kind in ("cpu", "cuda", "mps", "xpu", "meta")}
    assert engines_of == {"cpu": "cpu", "cuda": "cuda", "mps": "cpu", "xpu": "cpu", "meta": "cpu"}
    assert backend.engine_for(torch.empty(3), None) == "cpu"
    assert backend.engine_for(torch.empty(3), torch.device("cuda", 1)) == "cuda"
    assert backend.engine_for(None, None) == "cpu"
    with torch.device("meta"):
        assert backend.engine_for(None, None) == "cpu"


@needs_compiler
def test_torch_draws_are_given_to_kernels(asked):
    torch = asked.torch
    names = lambda: [kernel[0] for kernel in asked.kernels]  # noqa: E731
    x = torch.empty(30, 40)
    assert ai.normal_(x, seed=1) is x
    assert same(x, ai.normal((30, 40), seed=1))
    assert same(ai.uniform(x.to(torch.float16), seed=1), ai.uniform((30, 40), seed=1, dtype="float16"))
    layer = torch.nn.Linear(5, 6)
    version = layer.weight._version
    ai.trunc_normal_(layer.weight, seed=2)
    assert same(layer.weight.detach(), ai.trunc_normal((6, 5), seed=2))
    assert layer.weight.requires_grad
    assert layer.weight._version > version
    assert names() == ["dense_normal_float32", "dense_uniform_float16", "dense_truncated_float32"]
    asked.kernels.clear()
    assert same(ai.sparse(x, 0.4, seed=3), ai.sparse((30, 40), 0.4, seed=3))
    assert np.abs(to_host(ai.orthogonal(x, seed=3)) - ai.orthogonal((30, 40), seed=3)).max() <= 2e-6
    assert names() == ["dense_normal_float32", "dense_words_uint32", "dense_normal_float32"]
    asked.kernels.clear()
    assert same(ai.eye_(x), ai.eye((30, 40)))
    assert same(ai.constant_(x, 3.0), ai.constant((30, 40), 3.0))
    assert asked.kernels == []
    packed = ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=3)
    assert same(packed.fill_(x, seed=4), packed((30, 40), seed=4))
    assert names() == ["dense_uniform_float32"] * 3
    assert asked.contexts == []


@needs_compiler
@by_law
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_draws_and_views(asked, law, dtype):
    torch = asked.torch
    for view in (lambda x: x, lambda x: x[::2, 1:], lambda x: x.T, lambda x: x[:, 7], lambda x: x[2:, 4:36]):
        x = torch.full((30, 77), 7, dtype=getattr(torch, dtype))
        part = view(x)
        law.fill_(part, seed=2)
        assert same(part, law(tuple(part.shape), seed=2, dtype=dtype))
        part.fill_(7)
        assert bool((x == 7).all())
    assert len(asked.kernels) == 5
    assert len(asked.compiled) == 1  # and none anew


@needs_compiler
def test_grids_streams_and_devices(asked):
    x = asked.torch.empty(512, 512)
    ai.normal_(x, seed=5)
    ai.uniform_(x, seed=5)
    asked.device = 1
    ai.normal_(x, seed=5)
    assert same(x, ai.normal((512, 512), seed=5))
    # 65536 blocks of Philox; two processors that hold 2048 threads each, on device 1 1536 and registers for two blocks.
    assert asked.kernels == [
        ("dense_normal_float32", 4, 1024, 16384, 0, 7),
        ("dense_uniform_float32", 16, 256, 0, 0, 7),
        ("dense_normal_float32", 4, 512, 16384, 1, 7),
    ]
    assert asked.waits == []
    asked.contexts.append(2)  # which is current already and stays
    ai.uniform_(x, seed=5)
    assert asked.contexts == [2]
    asked.device = 0
    ai.uniform_(x, seed=5)
    assert asked.contexts == [2]
    assert [kernel[4] for kernel in asked.kernels[3:]] == [1, 0]


@needs_compiler
def test_tables_are_put_on_a_device_once(asked):
    law = ai.spec("distribution", distribution="triang", parameters=(0.3, -1.0, 4.0))
    x = asked.torch.empty(30, 40)
    for seed in (1, 2):
        assert same(law.fill_(x, seed=seed), law((30, 40), seed=seed))
        assert asked.waits == [7]


@needs_compiler
def test_what_has_no_kernel_is_left_to_the_reference(asked):
    torch = asked.torch
    shape = (2, 1, 3) * 4 + (2, 2)
    x = torch.zeros(tuple(2 * n for n in shape))[(slice(None, None, 2),) * 14]  # ten axes that are apart
    assert same(ai.uniform_(x, seed=1), ai.uniform(shape, seed=1))
    odd = torch.zeros(401, dtype=torch.uint8)[1:].untyped_storage()
    memory = torch.tensor([], dtype=torch.uint8).set_(odd, 1, (400,)).numpy().view("float32")
    assert same(ai.uniform_(torch.from_numpy(memory), seed=1), ai.uniform((100,), seed=1))
    assert asked.kernels == []


def test_tensors_of_the_host_are_not_for_the_launcher():
    torch = pytest.importorskip("torch")
    from arrayinit.engines.cuda import torch as torch_launcher

    assert not torch_launcher.fill(None, torch.zeros(3))


def test_tensors_without_memory_are_left_to_the_reference(asked):
    torch = asked.torch
    drawn = torch.func.vmap(lambda x: ai.eye_(x))(torch.zeros(2, 3, 3))
    assert same(drawn[1], ai.eye((3, 3)))
    x = torch.zeros(3, device="meta")
    assert ai.normal_(x, seed=1) is x
    assert asked.kernels == []


@needs_compiler
@pytest.mark.parametrize(
    "broken", ["nvrtcCompileProgram", "cuModuleLoadData", "cuLaunchKernel", "cuDevicePrimaryCtxRetain", "cuInit"]
)
def test_a_kernel_that_fails_is_replaced_with_one_warning(asked, broken):
    from standin_bindings import BAD, real_nvrtc

    status = real_nvrtc.nvrtcResult.NVRTC_ERROR_COMPILATION if broken.startswith("nvrtc") else BAD
    asked.fails[broken] = status
    x = asked.torch.empty(30, 40)
    why = f"{status.name}: line 1" if broken.startswith("nvrtc") else status.name
    text = rf"draws of torch on device cpu will be slow.*\(RuntimeError: {why}\)"
    with pytest.warns(RuntimeWarning, match=text):
        ai.normal_(x, seed=1)
    assert same(x, ai.normal((30, 40), seed=1))
    ai.normal_(x.zero_(), seed=1)  # and nothing more is said: warnings are errors here
    assert same(x, ai.normal((30, 40), seed=1))
    assert asked.kernels == asked.contexts == []


def test_missing_bindings_are_named(asked, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.warns(RuntimeWarning, match=r'cuda-bindings is missing.*pip install "arrayinit\[cuda12\]", or'):
        ai.normal_(asked.torch.empty(3), seed=1)


def test_lack_of_memory_and_captures_are_errors(asked, monkeypatch):
    torch = asked.torch
    x = torch.zeros(30, 40)
    asked.capturing.add(7)
    with pytest.raises(RuntimeError, match="before the capture"):
        ai.normal_(x, seed=1)
    assert not x.any()
    assert asked.contexts == []
    asked.capturing.clear()
    ai.normal_(x, seed=1)
    asked.capturing.add(7)
    ai.normal_(x, seed=2)  # a kernel that is there is captured
    assert len(asked.kernels) == 2

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 48 KiB")

    monkeypatch.setattr("arrayinit.engines.cuda.torch.fill_on", full)
    with pytest.raises(torch.OutOfMemoryError, match="48 KiB"):
        ai.normal_(x, seed=1)


def test_the_bindings_have_what_is_used():
    """The stand-in has the functions of the real bindings, with the same number of arguments."""
    bindings = pytest.importorskip("cuda.bindings")
    from standin_bindings import Asked, _driver, _nvrtc

    for functions, real in ((_driver(Asked()), bindings.driver), (_nvrtc(Asked()), bindings.nvrtc)):
        for function in functions:
            told = getattr(real, function.__name__).__doc__.split("(", 1)[1].split(")", 1)[0]
            assert len([name for name in told.split(",") if name]) == function.__code__.co_argcount, function.__name__


def test_the_source_needs_no_header():
    assert "#include" not in source()
    assert source() is source()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("flags", [(), ("--use_fast_math", "--fmad=true")], ids=["plain", "fast math"])
def test_compiled_for_devices(architecture, flags, tmp_path):
    """No kernel spills a register or has memory of its own, and all threads that a processor holds fit at once."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc to compile the CUDA kernel for devices")
    path = tmp_path / "kernel.cu"
    path.write_text(source())
    command = [nvcc, *OPTIONS, f"-arch={architecture}", "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings", *flags]
    done = subprocess.run(
        [*command, str(path), "-o", str(tmp_path / "kernel.cubin")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    told = re.findall(
        r"Compiling entry function '(\w+)' .*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        done.stderr,
        re.DOTALL,
    )
    print(*(f"{architecture} {name}: {registers} registers" for name, *_, registers in told), sep="\n")
    assert len(told) == 2 * (4 * 4 + 1)
    for name, *memory, registers in told:
        assert memory == ["0", "0", "0"], name
        # 65536 registers for 2048 threads; 1024 of these are one block where a table is copied.
        assert int(registers) <= (40 if "uniform" in name or "words" in name else 32), (name, registers)


# On a device. `pytest -m gpu` runs these, and the equality table of test_equality.


@pytest.fixture
def cupy():
    module = pytest.importorskip("cupy")
    try:
        module.cuda.runtime.getDeviceCount()
    except module.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    return module


@pytest.fixture
def torch():
    module = pytest.importorskip("torch")
    if not module.cuda.is_available():
        pytest.skip("torch has no CUDA device")
    return module


@pytest.fixture
def by_kernels_only(monkeypatch):
    """The reference is no way out."""

    def fail(job, backend, out, *rest):
        raise AssertionError("the reference drew what a kernel should")

    monkeypatch.setattr("arrayinit.engines.cuda.reference.fill", fail)


SHAPES = [(), (1,), (5,), (1000, 1001), (3, 0, 5)]


@pytest.mark.gpu
@by_law
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bfloat16"])
def test_cupy_draws_the_same(cupy, by_kernels_only, law, dtype):
    for shape in SHAPES[:4]:
        assert same(law(shape, seed=3, xp="cupy", dtype=dtype), law(shape, seed=3, dtype=dtype)), shape
    whole = law((37, 130), seed=3, dtype=dtype)
    for index in (np.s_[5:9], np.s_[:, 3:100], np.s_[:, ::3], np.s_[::-1], np.s_[1:, ::-2], np.s_[:, 5]):
        assert same(law((37, 130), seed=3, xp="cupy", dtype=dtype, index=index), whole[index]), index
    assert same(law((130, 37), seed=3, xp="cupy", dtype=dtype, layout="io"), whole.T)
    for view in VIEWS:
        x = cupy.full((30, 77), 7, dtype)
        part = view(x)
        law.fill_(part, seed=2)
        assert same(part, law(part.shape, seed=2, dtype=dtype))
        part[...] = 7
        assert bool((x == 7).all())


@pytest.mark.gpu
@by_law
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_draws_the_same(torch, law, dtype):
    pytest.importorskip("cuda.bindings")
    where = {"xp": "torch", "device": "cuda", "dtype": dtype}
    for shape in SHAPES:
        assert same(law(shape, seed=3, **where), law(shape, seed=3, dtype=dtype)), shape
    whole = to_host(law((37, 130), seed=3, dtype=dtype))
    for index in (np.s_[5:9], np.s_[:, 3:100], np.s_[:, ::3], np.s_[::-1], np.s_[1:, ::-2], np.s_[:, 5]):
        assert same(law((37, 130), seed=3, index=index, **where), whole[index]), index
    assert same(law((130, 37), seed=3, layout="io", **where), whole.T)
    for view in (lambda x: x[::2, 1:], lambda x: x.T, lambda x: x[:, 7], lambda x: x[2:, 4:36]):
        x = torch.full((30, 77), 7, dtype=getattr(torch, dtype), device="cuda")
        part = view(x)
        law.fill_(part, seed=2)
        assert same(part, law(tuple(part.shape), seed=2, dtype=dtype))
        part.fill_(7)
        assert bool((x == 7).all())


@pytest.mark.gpu
def test_streams_and_devices(cupy, by_kernels_only):
    wanted = ai.normal((1000, 1001), seed=4)
    count = cupy.cuda.runtime.getDeviceCount()
    for device in range(count):
        with cupy.cuda.Device(device), cupy.cuda.Stream(non_blocking=True) as stream:
            x = ai.normal((1000, 1001), seed=4, xp="cupy")
            stream.synchronize()
        assert same(x, wanted)
    with cupy.cuda.Device(count - 1):
        x = cupy.empty((1000, 1001), dtype="float32")
    with cupy.cuda.Device(0):  # another device than that of the array, where there is one
        ai.normal_(x, seed=4)
        assert cupy.cuda.runtime.getDevice() == 0
    assert same(x, wanted)


@pytest.mark.gpu
def test_torch_devices(torch):
    wanted = ai.normal((1000, 1001), seed=4)
    for device in range(torch.cuda.device_count()):
        x = ai.normal((1000, 1001), seed=4, xp="torch", device=f"cuda:{device}")
        assert x.device.index == device
        assert torch.cuda.current_device() == 0
        assert same(x, wanted)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x = ai.normal((1000, 1001), seed=4, xp="torch", device="cuda")
    stream.synchronize()
    assert same(x, wanted)


@pytest.mark.gpu
def test_cupy_captures_a_graph(cupy, by_kernels_only):
    wanted = ai.trunc_normal((300, 301), seed=4)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        x = cupy.empty((300, 301), dtype="float32")
        ai.trunc_normal_(x, seed=4)  # loads the kernel
        stream.begin_capture()
        ai.trunc_normal_(x, seed=4)
        graph = stream.end_capture()
        x[...] = 0
        graph.launch(stream)
        stream.synchronize()
    assert same(x, wanted)


@pytest.mark.gpu
def test_torch_captures_a_graph(torch):
    pytest.importorskip("cuda.bindings")
    wanted = ai.trunc_normal((300, 301), seed=4)
    x = torch.empty((300, 301), device="cuda")
    ai.trunc_normal_(x, seed=4)  # loads the kernel
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ai.trunc_normal_(x, seed=4)
    x.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert same(x, wanted)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*Profiler clears events")
def test_a_draw_is_one_launch(torch):
    pytest.importorskip("cuda.bindings")
    from torch.profiler import ProfilerActivity, profile

    x = torch.empty((512, 512), device="cuda")
    ai.normal_(x, seed=1)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as told:
        ai.normal_(x, seed=2)
        torch.cuda.synchronize()
    kernels = [event for event in told.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    assert len(kernels) == 1, [event.name for event in kernels]


@pytest.mark.gpu
def test_orthogonal_on_a_device(cupy):
    for shape in ((64, 64), (2048, 300), (70, 2049)):
        q = to_host(ai.orthogonal(shape, seed=1, xp="cupy", dtype="float32"))
        assert np.abs(q - ai.orthogonal(shape, seed=1, dtype="float64")).max() <= 2e-6
        small = q if shape[0] <= shape[1] else q.T
        assert np.abs(small @ small.T - np.eye(min(shape))).max() <= 1e-5 * math.sqrt(max(shape) / 64)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16"])
def test_torch_memory_with_strides(torch, dtype):
    def zeros(*shape):
        return torch.zeros(shape, dtype=getattr(torch, dtype), device="cuda")

    targets = [zeros(1000, 777).T, zeros(333, 1000)[:, 3:800:2], zeros(64, 32, 9, 9).permute(0, 1, 3, 2)]
    targets += [zeros(64, 32, 9, 9).to(memory_format=torch.channels_last), zeros(70001)[1:]]
    for x in targets:
        assert same(ai.normal_(x, seed=3), ai.normal(tuple(x.shape), seed=3, dtype=dtype)), (x.shape, x.stride())


@pytest.mark.gpu
def test_torch_far_indices(torch):
    where = {"xp": "torch", "device": "cuda"}
    for shape, index in (
        ((2**38 + 5,), np.s_[2**34 - 4000 : 2**34 + 4000]),
        ((2**40, 9), np.s_[2**39 : 2**39 + 900 : 2, ::-1]),
        ((2**61,), np.s_[-4003:]),
    ):
        drawn = ai.normal(shape, seed=3, index=index, **where)
        assert same(drawn, ai.normal(shape, seed=3, index=index)), (shape, index)


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_more_than_4_gib(request, library):
    module = request.getfixturevalue(library)
    free, _ = module.cuda.mem_get_info() if library == "torch" else module.cuda.runtime.memGetInfo()
    if free < 8 << 30:
        pytest.skip("needs 8 GiB of free memory")
    n = (1 << 31) + 4099  # of float16: 4 GiB
    for law in ("uniform", "normal"):
        x = getattr(ai, law)((n,), seed=1, xp=library, dtype="float16", device="cuda" if library == "torch" else None)
        for part in (np.s_[:1000], np.s_[(1 << 31) - 1000 : (1 << 31) + 1000], np.s_[-1000:]):
            assert same(x[part], getattr(ai, law)((n,), seed=1, dtype="float16", index=part)), (law, part)
        del x


@pytest.mark.gpu
def test_torch_draws_on_the_current_stream(torch):
    x = torch.empty(1 << 20, device="cuda")
    ai.normal_(x, seed=1)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(1 << 26)
        x.fill_(7)  # after the wait; a draw on another stream would be overwritten
        ai.normal_(x, seed=1)
        after = x.clone()
    stream.synchronize()
    assert same(after, ai.normal((1 << 20,), seed=1))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_torch_draws_wait_for_nothing(torch):
    x = torch.empty(1 << 20, device="cuda")
    ai.normal_(x, seed=1)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.cuda._sleep(1 << 30)
        done = torch.cuda.Event()
        ai.normal_(x, seed=2)
        done.record()
        assert not done.query()  # the device still sleeps
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert same(x, ai.normal((1 << 20,), seed=2))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")
def test_a_first_draw_within_a_capture_is_an_error(torch):
    from arrayinit.engines.cuda import torch as torch_launcher

    torch_launcher._kernels.clear()
    x = torch.zeros(300, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="before the capture"), torch.cuda.graph(graph):
        ai.normal_(x, seed=4)
    torch.cuda.synchronize()
    assert not x.any()
    assert same(ai.normal_(x, seed=4), ai.normal((300,), seed=4))
