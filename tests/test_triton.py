"""The Triton kernels: in Triton's interpreter, through its compiler without a device, and on one."""

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from triton_jobs import DTYPES, FAR, LAWS, empty, expected, job_of, same  # noqa: E402

from arrayinit.backends.base import coefficients  # noqa: E402
from arrayinit.engines.cuda import triton_kernel  # noqa: E402
from arrayinit.engines.cuda.triton_calls import PACKING, Axis, axes_of, call_of, can_draw  # noqa: E402
from arrayinit.key import Key  # noqa: E402
from arrayinit.laws import Constant, Normal, Truncated, Uniform, Words  # noqa: E402
from arrayinit.regions import Region  # noqa: E402
from arrayinit.tails import OCTAVES  # noqa: E402

HERE = Path(__file__).parent
S = np.s_
NORMAL, UNIFORM, TRUNCATED = Normal(-3.25, 0.7), Uniform(-0.3, 17.0), Truncated(0.0, 1.0, -2.0, 2.0)
FORMS = ("float32", "float64", "float16", "bfloat16")

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
compiles = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1",
    reason="triton is not installed, or its interpreter stands for its compiler",
)


# ---- what a launch is told ----


def test_entries_hold_the_table():
    packed, large = triton_kernel.entries()
    words = packed.view(np.uint64)
    c0, c1, c2 = (words >> s & (1 << bits) - 1 for s, bits in zip((0, 30, 51), PACKING, strict=True))
    c0 = c0 + (np.arange(len(words)) < large).astype(np.uint64) * (1 << 30)
    found = np.stack([c0, c1, c2]).astype(np.int64).reshape(3, OCTAVES, 64)[:, ::-1]
    assert (found.reshape(3, -1) == coefficients()).all()
    assert (c1 >= c2).all()  # so that no difference is negative


def test_axes_are_as_few_as_there_can_be():
    region = Region(100, (3, 4, 5, 1), (20, 5, 1, 7))
    assert axes_of(region, (20, 5, 1, 9)) == (100, 0, [Axis(60, 1, 1)])
    assert axes_of(region, (1, 3, 12, 9)) == (100, 0, [Axis(3, 20, 1), Axis(4, 5, 3), Axis(5, 1, 12)])
    assert axes_of(region, (40, 10, 2, 9)) == (100, 0, [Axis(60, 1, 2)])


def test_axes_go_forwards():
    assert axes_of(Region(9, (10,), (-1,)), (1,)) == (0, 9, [Axis(10, 1, -1)])
    assert axes_of(Region(29, (3, 10), (10, -1)), (10, 1)) == (20, 9, [Axis(3, 10, 10), Axis(10, 1, -1)])


@pytest.mark.parametrize(
    ("index", "strides", "runs", "height", "width"),
    [
        (S[:, 100:900], (800, 1), True, 1, 256),  # 201 blocks in a row
        (S[:, 100:110], (10, 1), True, 64, 4),
        (S[:, :], (1, 1000), True, 32, 8),  # memory runs along the columns
        (S[:, ::2], (600, 1), False, 1, 256),
        (S[:, ::300], (4, 1), False, 64, 4),
    ],
    ids=str,
)
def test_tiles_follow_memory(index, strides, runs, height, width):
    call = call_of(job_of(NORMAL, "float32", (1000, 1000), index), strides, 0)
    constants = {"runs": runs, "height": height, "width": width, "axes": 0, "parts": 1}
    assert constants.items() <= call.constants.items()
    assert call.programs == call.numbers["tiles"] * call.numbers["row_tiles"]
    assert call.numbers["row_tiles"] == -(-1000 // height)


def test_a_whole_tensor_is_a_run_of_whole_programs():
    call = call_of(job_of(NORMAL, "complex64", (4096, 4096)), (4096, 1), 0)
    assert call.is_run
    assert call.programs == 2 * 4096**2 // 2048
    assert call.numbers["skip"] == call.numbers["block"] == 0


def test_launches_that_a_device_has_not_are_refused():
    assert call_of(job_of(NORMAL, "float32", (2,) * 7), (1, 2, 4, 8, 16, 32, 64), 0) is None
    assert call_of(job_of(NORMAL, "float32", (2**34, 2, 2)), (8, 4, 1), 0) is not None
    assert call_of(job_of(NORMAL, "float32", (2**45, 2, 2)), (8, 4, 1), 0) is None


def test_what_is_drawn():
    job = job_of(NORMAL, "float32", (3,))
    assert can_draw(job)
    assert can_draw(job_of(Words(), "uint32", (3,)))
    constant = job.__class__(Constant(1.0), None, None, job.geometry, job.box, "float32")
    assert not can_draw(constant)


def test_host_memory_is_not_filled():
    job = job_of(NORMAL, "float32", (3,))
    x = torch.full((3,), 7.0)
    assert triton_kernel.fill(job, x) is False
    assert (x == 7.0).all()


def test_what_is_missing_is_named(monkeypatch):
    missing, device = triton_kernel.missing.__wrapped__, torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert missing(device) == "Triton needs a device of compute capability 8.0; got cuda:1 of 7.5"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert missing(device) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert missing(device) == "Triton is not installed"


def test_the_first_draw_on_a_device_is_not_captured(monkeypatch):
    monkeypatch.setattr(triton_kernel, "_tables", {})
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="before the capture of a CUDA graph; got it on cuda:3"):
        triton_kernel._table(torch.device("cuda", 3))


# ---- in the interpreter ----


@pytest.mark.slow
@needs_triton
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command.append(str(HERE / "triton_suite.py"))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


# ---- through the compiler ----

POINTERS = {"float32": "*fp32", "float64": "*fp64", "float16": "*fp16", "bfloat16": "*bf16", "uint32": "*u32"}


def compiled(job, strides, capability, aligned=True):
    """The kernel of a draw, compiled for a device that need not be there."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from arrayinit.engines.cuda import triton_code

    call = call_of(job, strides, triton_kernel.entries()[1])
    kernel = triton_code.fill_run if call.is_run else triton_code.fill_rows
    constants = call.constants | {"by_hand": False}
    signature = {p.name: p.annotation_type for p in kernel.params}
    pointer = POINTERS[constants["form"]]
    signature |= {"x": pointer, "table": "*i64" if call.looks_up else pointer} | dict.fromkeys(constants, "constexpr")
    whole = ("x", "skip", "table") if aligned else ("table",)
    names = [p.name for p in kernel.params]
    attributes = {(names.index(n),): [["tt.divisibility", 16]] for n in whole if n in names and n not in constants}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    options = {"num_warps": triton_kernel.WARPS, "enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def check(kernel, form, capability, folder):
    """No operation on floats that could round twice or flush, no call, no memory of a thread's own."""
    from triton.backends.nvidia.compiler import get_ptxas

    text = kernel.asm["ptx"]
    floats = Counter(re.findall(r"\b((?:fma|add|sub|mul|mad|div|rcp)\.(?:\w+\.)*(?:f16|bf16|f32|f64)\w*)", text))
    assert set(floats) <= {"mul.f32", "mul.rn.f32", "mul.f64", "mul.rn.f64"}, floats
    assert ".ftz" not in text
    assert not re.search(r"\bcall\b", text)
    assert bool(re.search(r"cvt\.rn\.f16", text)) == (form == "float16")
    assert bool(re.search(r"cvt\.rn\.(relu\.)?bf16", text)) == (form == "bfloat16")
    (folder / "kernel.ptx").write_text(text)
    target = re.search(r"\.target (\w+)", text).group(1)
    assert target.startswith(f"sm_{capability}")
    command = [get_ptxas(capability).path, "-v", "--gpu-name", target, "kernel.ptx", "-o", "kernel.cubin"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True).stderr
    used = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", told)
    registers = int(re.search(r"Used (\d+) registers", told).group(1))
    print(
        f"{kernel.metadata.name} sm_{capability} {form}: {registers} registers, {kernel.metadata.shared} bytes shared"
    )
    assert used.groups() == ("0", "0", "0"), told
    assert registers <= 80  # so that 6 programs of 128 threads and more are on a processor
    return text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return tmp_path


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("law", [UNIFORM, NORMAL, TRUNCATED], ids=lambda law: type(law).__name__)
def test_runs_compile(law, form, capability, folder):
    text = check(compiled(job_of(law, form, (64, 64)), (64, 1), capability), form, capability, folder)
    # Vectors of 16 bytes, and no masks but those of the first and the last program.
    assert re.search(r"st\.global\.v2\.b64|st\.global\.v4\.b32", text)
    assert ("ld.global" in text) == (law is not UNIFORM)


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_words_compile(capability, folder):
    job = job_of(Words(), "uint32", (64, 64))
    text = check(compiled(job, (64, 1), capability), "uint32", capability, folder)
    assert "st.global.v4.b32" in text
    assert "cvt.rn" not in text


@compiles
@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "form", "index", "strides"),
    [
        ("float32", "float32", S[:, 3:900], (900, 1)),
        ("bfloat16", "bfloat16", S[:, :], (1, 1000)),
        ("complex64", "float32", S[:, :], (1, 1000)),
        ("float64", "float64", S[:, ::2], (600, 1)),
        ("complex64", "float32", S[:, ::2], (600, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("law", [UNIFORM, NORMAL, TRUNCATED], ids=lambda law: type(law).__name__)
def test_rows_compile(law, dtype, form, index, strides, folder):
    check(compiled(job_of(law, dtype, (1000, 1000), index), strides, 90), form, 90, folder)


# What triton.language has in Triton 3.0, which torch 2.4 comes with.
OLD_NAMES = "arange bfloat16 constexpr float16 float32 float64 int32 int64 join load maximum minimum program_id reshape"
OLD_NAMES += " static_range store uint16 uint32 uint64 umulhi where"


def test_kernels_use_what_the_first_triton_has():
    text = (Path(triton_kernel.__file__).with_name("triton_code.py")).read_text()
    assert set(re.findall(r"\btl\.(\w+)", text)) <= set(OLD_NAMES.split())


@compiles
def test_no_argument_is_one_that_old_versions_refuse(monkeypatch):
    """Not None, for one, which Triton before 3.4 hands to none of the functions of a kernel."""
    from triton.runtime.jit import JITFunction

    told = []
    monkeypatch.setattr(JITFunction, "run", lambda self, *arguments, **more: told.append((arguments, more)))
    for law in (UNIFORM, NORMAL, TRUNCATED):
        for where in ({}, {"index": S[::2, ::3]}):
            job = job_of(law, "float32", (512, 16), **where)
            assert triton_kernel.launch(job, empty(job))
    for arguments, more in told:
        more.pop("grid")
        assert all(isinstance(value, (int, str, torch.Tensor)) for value in (*arguments, *more.values()))
    assert len(told) == 6


@compiles
def test_a_run_at_any_address_compiles(folder):
    text = check(compiled(job_of(NORMAL, "float32", (64, 64)), (64, 1), 90, aligned=False), "float32", 90, folder)
    assert not re.search(r"st\.global\.v", text)


class Driver:
    """Stands for that of an H100, as far as compiling takes one."""

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


@compiles
@pytest.mark.slow
def test_seeds_and_scales_share_a_kernel(folder, monkeypatch):
    import triton
    from triton.runtime.jit import JITFunction

    launched = []
    run = JITFunction.run

    def compile_only(self, *arguments, grid, warmup, **more):
        launched.append(run(self, *arguments, grid=grid, warmup=True, **more))

    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr(triton.runtime.driver, "_active", Driver())
    for where in ({}, {"index": S[::2, ::3]}):
        launched.clear()
        for seed in (0, 1, 16, 2**31, 2**32 - 1, 2**64 - 1):
            for law in (Normal(0.0, 1.0), Normal(-3e5, 0.7), Normal(1e-20, 1e-20), Normal(1.0, 1e20)):
                job = job_of(law, "float32", (512, 16), key=Key(seed), **where)
                assert triton_kernel.launch(job, empty(job))
        assert len(launched) == 24
        assert len(set(map(id, launched))) == 1


# ---- on a device ----


def devices():
    return [torch.device("cuda", k) for k in range(torch.cuda.device_count())]


@pytest.fixture
def device():
    if not devices():
        pytest.skip("no CUDA device")
    if (reason := triton_kernel.missing(devices()[0])) is not None:
        pytest.skip(reason)
    return devices()[0]


def agrees(job, x):
    assert triton_kernel.fill(job, x.fill_(7))
    return same(x, expected(job))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_laws_and_dtypes(law, dtype, device):
    for shape, index in [
        ((2, 1555), None),
        ((3001, 1000), None),
        ((9000,), S[5:7003]),
        ((300, 900), S[7::3, 800:5:-1]),
    ]:
        job = job_of(law, dtype, shape, index)
        assert agrees(job, empty(job, device)), (shape, index)


@pytest.mark.gpu
@pytest.mark.parametrize("law", [*LAWS, *FAR], ids=str)
def test_words_at_the_ends_of_octaves(law, device):
    from triton_probe import agrees

    with torch.cuda.device(device):
        assert agrees(job_of(law, "float64", (1,)), device)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("law", FAR, ids=str)
def test_far_tails(law, dtype, device):
    job = job_of(law, dtype, (1 << 18,))
    assert agrees(job, empty(job, device))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16"])
def test_memory_with_strides(dtype, device):
    def zeros(*shape):
        return torch.zeros(shape, dtype=getattr(torch, dtype), device=device)

    targets = [zeros(1000, 777).T, zeros(333, 1000)[:, 3:800:2], zeros(64, 32, 9, 9).permute(0, 1, 3, 2)]
    targets += [zeros(64, 32, 9, 9).to(memory_format=torch.channels_last), zeros(70001)[1:]]
    for x in targets:
        assert agrees(job_of(NORMAL, dtype, tuple(x.shape)), x), (x.shape, x.stride())


@pytest.mark.gpu
def test_words_and_far_indices(device):
    assert agrees(job := job_of(Words(), "uint32", (100003,)), empty(job, device))
    assert agrees(job := job_of(NORMAL, "float32", (2**38 + 5,), S[2**34 - 4000 : 2**34 + 4000]), empty(job, device))
    assert agrees(job := job_of(NORMAL, "float32", (2**40, 9), S[2**39 : 2**39 + 900 : 2, ::-1]), empty(job, device))


@pytest.mark.gpu
def test_more_than_4_gib(device):
    if torch.cuda.mem_get_info(device)[0] < 6 << 30:
        pytest.skip("needs 6 GiB of free memory")
    n = (1 << 32) + 4099
    whole = job_of(NORMAL, "bfloat16", (n // 2,)), job_of(UNIFORM, "bfloat16", (n // 2,))
    x = empty(whole[0], device)
    for job in whole:
        assert triton_kernel.fill(job, x)
        for part in (S[:1000], S[(1 << 31) - 1000 : (1 << 31) + 1000], S[-1000:]):
            assert same(x[part], expected(job_of(job.law, "bfloat16", job.shape, part)))


@pytest.mark.gpu
def test_the_current_stream_is_used(device):
    job = job_of(NORMAL, "float32", (1 << 20,))
    x = empty(job, device)
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(1 << 26)
        x.fill_(7)  # after the wait; a draw on another stream would be overwritten
        assert triton_kernel.fill(job, x)
        after = x.clone()
    stream.synchronize()
    assert same(after, expected(job))


@pytest.mark.gpu
@pytest.mark.parametrize("law", [UNIFORM, NORMAL, TRUNCATED], ids=lambda law: type(law).__name__)
def test_a_graph_captures_draws(law, device):
    job = job_of(law, "float32", (1000, 333))
    x, across = empty(job, device), torch.empty(333, 1000, device=device).T
    with torch.cuda.device(device):
        for target in (x, across):
            assert triton_kernel.fill(job, target)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for target in (x, across):
                assert triton_kernel.fill(job, target.fill_(7))
        for target in (x, across):
            target.fill_(0)
        graph.replay()
        torch.cuda.synchronize()
    assert same(x, expected(job))
    assert same(across, expected(job))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_nothing_waits_for_the_device(device):
    job = job_of(NORMAL, "float32", (1 << 20,))
    x = empty(job, device)
    assert triton_kernel.fill(job, x)
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert triton_kernel.fill(job, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_another_device_than_the_current_one():
    if len(devices()) < 2:
        pytest.skip("one CUDA device or none")
    job = job_of(NORMAL, "float32", (12345,))
    with torch.cuda.device(0):
        assert agrees(job, empty(job, devices()[1]))
        assert torch.cuda.current_device() == 0
