"""Draws in threads that have another rounding mode, or flush subnormal numbers to zero."""

import ctypes
import threading
from contextlib import contextmanager
from functools import partial

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.fx.experimental import proxy_tensor as fx
from torch.utils._python_dispatch import TorchDispatchMode

import arrayinit as ai
import arrayinit.draw as draw_module
from arrayinit import initializers
from arrayinit.backends import backend_of
from arrayinit.common import float_environment
from arrayinit.common.float_environment import default_environment, is_default
from arrayinit.conformance.cases import CASES, golden
from arrayinit.conformance.vector_digest import vector_digest
from arrayinit.engines import cpu
from arrayinit.engines.cpu import machine_code
from arrayinit.laws import lattice
from arrayinit.stream import quantile_tables, truncation
from arrayinit.tracing import calls

try:
    C = ctypes.CDLL("libm.so.6")
except OSError:
    pytest.skip("fesetround is called in glibc", allow_module_level=True)

NEAREST = C.fegetround()
ROUNDING = {"upward": 0x800, "downward": 0x400, "toward zero": 0xC00}  # of x86-64
# A case for each way in which floats are computed: bounds, deviates, constants, tables and formulas.
NAMES = ("uniform", "trunc_normal", "kaiming_uniform", "prior_bias", "mamba_dt_bias", "hippo_legs", "mamba_a_log")
PICKED = [case for case in CASES if case.name in NAMES]


@contextmanager
def environment(name):
    """Set a thread's environment: a direction of rounding, or "flush"."""
    if name == "flush":
        assert torch.set_flush_denormal(True)
    elif C.fesetround(ROUNDING[name]):
        pytest.skip("a processor that has other numbers for directions")
    try:
        yield
    finally:
        C.fesetround(NEAREST)
        torch.set_flush_denormal(False)


@pytest.fixture(params=[*ROUNDING, "flush"])
def odd(request):
    """Clear all caches, so that everything is computed in the test's environment."""
    draw_module._jobs.clear()
    for remembered in (calls.call, lattice._sampling, truncation.interval, quantile_tables._plain):
        remembered.cache_clear()
    with environment(request.param):
        assert not is_default()
        yield request.param
        assert not is_default()  # the draw restored it
    assert is_default()


def marks(dtype, **where):
    return {case.name: vector_digest(case.draw(dtype, **where)) for case in PICKED}


def wanted(dtype):
    return {case.name: golden()[case.name][dtype]["fingerprint"] for case in PICKED}


@pytest.mark.parametrize("engine", ["loops", "NumPy"])
def test_numpy_draws_are_the_same(odd, engine, monkeypatch):
    loops = None
    if engine == "loops":
        pytest.importorskip("llvmlite")
        loops = machine_code.load(may_compile=True)
    monkeypatch.setattr(cpu, "compiled", lambda elements: loops)
    for dtype in ("float32", "float16", "complex128"):
        assert marks(dtype) == wanted(dtype), dtype


@pytest.mark.parametrize("library", ["torch", "jax", "dask", "array_api_strict"])
def test_other_libraries_draw_the_same(odd, library):
    assert marks("float32", xp=library) == wanted("float32")


def test_the_operator_of_torch_draws_the_same(odd):
    like = torch.empty(300, 200)
    drawn = fx.make_fx(lambda x: ai.kaiming_uniform(x, seed=3))(like)
    with default_environment():
        wanted = ai.kaiming_uniform(like, seed=3)
    assert (drawn(like) == wanted).all()


VALUES = (0.1, 1 / 3, 2 / 3, 1e-300, 5e-324, 3e22)


def test_calls_are_written_and_read_the_same(odd):
    nowhere = (None, None, None, (None, None, None, (), 1, False))
    for value in VALUES:
        scheme = partial(initializers.scheme_of("constant"), val=value)
        said = calls.text(scheme, nowhere)
        with default_environment():
            assert said == calls.text(scheme, nowhere)
        read = calls.call(said).scheme.keywords["val"]
        assert read.hex() == value.hex()


def test_maps_and_modes_of_torch_draw_the_same(odd):
    x = torch.zeros(2, 3, dtype=torch.float64)
    for value in VALUES:
        for drawn in (torch.vmap(lambda t, v=value: ai.constant(t, v))(x), _watched(ai.constant, x, value)):
            assert drawn.numpy().tobytes() == np.full((2, 3), value).tobytes(), value
    for draw in (ai.kaiming_uniform, ai.trunc_normal, ai.mamba_a_log):
        drawn = _watched(draw, x, seed=3)
        mapped = torch.vmap(lambda t, draw=draw: draw(t, seed=3), randomness="same")(x[None])[0]
        with default_environment():
            wanted = draw(x, seed=3)
        assert equal_bits(drawn, wanted), draw
        assert equal_bits(mapped, wanted), draw


def equal_bits(a, b):
    return a.numpy().tobytes() == b.numpy().tobytes()


class _Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _watched(draw, *args, **kwargs):
    with _Watching():
        return draw(*args, **kwargs)


def test_blocks_are_computed_in_threads_of_their_own():
    x = ai.normal((300, 200), seed=0, xp="dask", chunks=64)
    with environment("downward"):
        drawn = x.compute(scheduler="synchronous")
    assert (drawn == ai.normal((300, 200), seed=0)).all()


def test_a_program_that_is_traced_in_it_draws_the_same(odd):
    for name in ("mamba_a_log", "mamba_dt_bias"):
        case = next(case for case in CASES if case.name == name)
        drawn = jax.jit(lambda _, case=case: case.draw("float32", xp="jax"))(0)
        assert vector_digest(drawn) == golden()[name]["float32"]["fingerprint"]


def test_numbers_are_the_same(odd):
    def numbers():
        kaiming = ai.describe(ai.spec("kaiming_uniform", a=0.3), (7, 11))
        return kaiming, ai.describe(ai.spec("trunc_normal", std=0.3, a=-0.1, b=1 / 3), (7, 11)), ai.gain(np.tanh)

    here = numbers()
    with default_environment():
        assert here == numbers()


def test_subnormal_constants_are_stored(odd):
    for dtype, value in (("float32", 1e-40), ("bfloat16", 1e-40), ("float64", 5e-324), ("float64", 3e-310)):
        with default_environment():
            bits = ai.constant((2,), value, dtype=dtype).tobytes()
            assert any(bits)
        for library in ("numpy", "torch", "dask", array_api_strict):
            if library is array_api_strict and dtype == "bfloat16":
                continue
            drawn = ai.constant((2,), value, dtype=dtype, xp=library)
            assert backend_of(drawn).to_numpy(drawn).tobytes() == bits, (library, dtype)
        with jax.enable_x64(True):
            for drawn in (
                ai.constant((2,), value, dtype=dtype, xp="jax"),
                jax.jit(lambda x, value=value: ai.constant(x, value))(jnp.zeros(2, dtype)),
            ):
                assert np.asarray(drawn).tobytes() == bits, dtype
        large = ai.constant((100_000,), value, dtype=dtype, xp="torch")  # torch fills it on several threads
        assert set(backend_of(large).to_numpy(large).tobytes()) == set(bits)


def test_bounds_that_are_subnormal_are_no_error(odd):
    x = ai.uniform((5,), -5e-324, 1.0, seed=0, dtype="float64")
    assert (x >= 0).all()


def test_threads_of_a_draw_round_to_nearest(odd, monkeypatch):
    """Threads started by a draw inherit the environment of their parent at that time."""
    from arrayinit.engines.cpu import pool

    monkeypatch.setenv("ARRAYINIT_NUM_THREADS", "3")
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    ai.bits((1 << 20,), seed=0)
    x = ai.normal((1 << 20,), seed=0)
    with default_environment():
        assert (x == ai.normal((1 << 20,), seed=0)).all()


def test_it_is_set_back_after_an_error():
    with environment("upward"):
        with pytest.raises(ValueError, match="`std`"):
            ai.normal((2,), std=-1.0, seed=0)
        assert not is_default()


def test_other_threads_keep_theirs():
    seen = []
    with environment("upward"), default_environment():
        thread = threading.Thread(target=lambda: seen.append(is_default()))
        thread.start()
        thread.join()
        assert is_default()
    assert seen == [True]


def test_a_platform_that_cannot_set_it_refuses(monkeypatch):
    def nothing(*_):
        return 0

    monkeypatch.setattr(float_environment, "_functions", lambda: (nothing, nothing, None))
    with environment("upward"), pytest.raises(RuntimeError, match="rounds to nearest"):
        ai.normal((2,), seed=0)
    assert ai.normal((2,), seed=0).shape == (2,)
