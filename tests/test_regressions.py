"""Fixed bugs, each with the smallest input that showed it."""

import pickle
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from conftest import same

import arrayinit as ai
import arrayinit.draw as draw_module
from arrayinit.laws import Normal, Truncated
from arrayinit.laws.lattice import sampling

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")


def test_torch_draws_leave_precision_settings_alone():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    wanted = ai.orthogonal((40, 30), seed=0, xp="torch")
    try:
        matmul.fp32_precision = "tf32"
        assert same(ai.normal(5, seed=0, xp="torch"), ai.normal(5, seed=0))
        assert same(ai.orthogonal((40, 30), seed=0, xp="torch"), wanted)
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_orthogonal_multiplies_in_full_precision_in_torch(monkeypatch):
    """On a CPU the setting changes nothing, so the test reads the setting during the product."""
    from arrayinit.engines import matrices

    matmul, seen, real = torch.backends.cuda.matmul, [], matrices.orthonormal
    monkeypatch.setattr(matrices, "orthonormal", lambda *a: (seen.append(matmul.fp32_precision), real(*a))[1])
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        ai.orthogonal((6, 5), seed=0, xp="torch")
    finally:
        matmul.fp32_precision = before
    assert seen == ["ieee"]


def test_orthogonal_multiplies_in_full_precision_under_jit():
    """On a CPU the setting changes nothing, so the test reads the program."""
    with jax.default_matmul_precision("bfloat16"):
        program = jax.jit(lambda k: ai.orthogonal((41, 31), seed=k, xp="jax")).lower(jax.random.key(0)).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


@pytest.mark.parametrize(
    ("law", "dtype"),
    [
        (Normal(0.9999999999, 1e-9), "float32"),
        (Normal(-0.9999999999, 1e-9), "float32"),
        (Normal(0.0, float(np.nextafter(2.0, 0.0))), "float64"),
        (Truncated(0.0, float(np.nextafter(2.0, 0.0)), 13.9, 16.0), "float64"),
    ],
)
def test_lattice_integers_stay_within_32_bits(law, dtype):
    lattice = sampling(law, dtype).lattice
    largest = abs(lattice.offset) + lattice.scale  # at |z| = 8 or 16; no deviate reaches it
    assert largest < 2**31


def test_means_just_below_a_power_of_two_keep_their_sign():
    x = ai.normal(1000, mean=0.9999999999, std=1e-9, seed=0)
    assert (x == 1).all()


def test_bounds_are_never_negative_zero():
    keywords = {"mean": -1.0, "std": 1.0, "a": -(2.0**-7), "b": 0.0}
    planned = sampling(Truncated(-1.0, 1.0, -(2.0**-7), 0.0), "float32")
    assert not np.signbit(planned.high)
    index = slice(1547500, 1547600)
    part = ai.trunc_normal(4_000_000, seed=0, index=index, **keywords)
    traced = jax.jit(lambda k: ai.trunc_normal(4_000_000, seed=k, xp="jax", index=index, **keywords))(jax.random.key(0))
    assert ai.fingerprint(part) == ai.fingerprint(traced)


def test_constants_under_jit_keep_the_sign_of_zero():
    for value in (0.0, -0.0):
        assert np.signbit(jax.jit(lambda v=value: ai.constant((2,), v, xp="jax"))()).all() == np.signbit(value)


def test_fake_mode_does_not_reach_real_tensors():
    fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
    from arrayinit.backends import backend_named

    backend_named("torch")._lanes.clear()
    x = torch.zeros(5)
    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True):
        ai.normal_(x, seed=0)
    assert same(x, ai.normal(5, seed=0))
    assert same(ai.normal(5, seed=0, xp="torch"), ai.normal(5, seed=0))


def test_folding_traced_numbers():
    with jax.enable_x64(True):
        for n in (0, 1, 2**31, 2**32 + 1, 2**63 - 1):
            folded = jax.jit(lambda i: ai.bits(4, seed=ai.fold(3, i), xp="jax"))(np.int64(n))
            assert same(folded, ai.bits(4, seed=ai.fold(3, n)))
    for wrong in (1.7, True, jnp.arange(2)):
        with pytest.raises(TypeError, match="`name`"):
            jax.jit(lambda i: ai.bits(4, seed=ai.fold(3, i), xp="jax"))(wrong)


@pytest.mark.parametrize(
    "draw",
    [
        lambda dtype: ai.normal(9, mean=1e9, std=1e-3, seed=0, dtype=dtype),
        lambda dtype: ai.uniform(9, 1e6, 1e6 + 1e-3, seed=0, dtype=dtype),
        lambda dtype: ai.trunc_normal(9, 1e6, 1e-3, 1e6, float("inf"), seed=0, dtype=dtype),
    ],
)
def test_nothing_is_drawn_coarsely_in_silence(draw):
    with pytest.raises(ValueError, match="steps of the lattice"):
        draw("float64")


def test_an_array_is_filled_whatever_numpy_raises():
    with np.errstate(all="raise"):
        for library in ("numpy", "jax", "dask"):
            assert same(
                ai.normal(200_000, seed=0, dtype="float16", xp=library), ai.normal(200_000, seed=0, dtype="float16")
            )


def test_manual_seed_refuses_what_a_trace_would_leak():
    with pytest.raises(TypeError, match="manual_seed must not be traced"):
        jax.jit(lambda k: (ai.manual_seed(k), k)[1])(jax.random.key(0))
    assert ai.normal(3).shape == (3,)


def test_seeded_takes_a_traced_key():
    def draw(key):
        with ai.seeded(key):
            return ai.normal((2, 3), xp="jax"), ai.normal((2, 3), xp="jax")

    first, second = jax.jit(draw)(jax.random.key(4))
    assert same(first, ai.normal((2, 3), seed=ai.fold(4, 0)))
    assert same(second, ai.normal((2, 3), seed=ai.fold(4, 1)))


def test_jax_settings():
    with jax.transfer_guard("disallow"):
        x = ai.normal((3, 4), seed=0, xp="jax")
    assert same(x, ai.normal((3, 4), seed=0))
    assert not ai.normal(jnp.ones(3), seed=0).committed
    with jax.numpy_dtype_promotion("strict"):
        for dtype in ("float32", "complex64"):
            for draw in (ai.normal, ai.orthogonal, ai.xavier_uniform, ai.eye):
                jax.jit(lambda k, f=draw, d=dtype: f((6, 5), seed=k, xp="jax", dtype=d))(jax.random.key(0))
    assert same(ai.normal(3, seed=0, xp="jax", device="cpu"), ai.normal(3, seed=0))
    for wrong, error in ((7, TypeError), ("abacus", ValueError)):
        with pytest.raises(error, match="`device`"):
            ai.normal(3, seed=0, xp="jax", device=wrong)


def test_descriptions_of_stacked_orthogonal_matrices():
    for layout, shape in (("boi", (7, 64, 32)), ("ooi", (8, 8, 4))):
        told = ai.describe(ai.spec("orthogonal", layout=layout), shape)
        assert told.std == pytest.approx(float(ai.orthogonal(shape, seed=0, layout=layout).std()), rel=0.02)


def test_describe_knows_dtypes_and_what_they_hold():
    bound = ai.describe("xavier_uniform", (4, 4), dtype="complex64").high
    assert bound == ai.describe("xavier_uniform", (4, 4)).high / np.sqrt(2)
    assert bound == ai.describe("xavier_uniform", (4, 4), dtype=np.complex64).high
    for dtype in ("int32", "nonsense"):
        with pytest.raises(TypeError, match="`dtype`"):
            ai.describe("normal", (4, 4), dtype=dtype)
    with pytest.raises(ValueError, match="float16"):
        ai.describe(ai.spec("normal", std=1e6), (4, 4), dtype="float16")


def test_numpy_scalars_in_specs_become_numbers():
    s = ai.spec("normal", std=np.float32(0.5))
    assert repr(s) == "spec('normal', std=0.5)"
    assert s == ai.spec("normal", std=0.5)


def test_integer_constants_are_exact():
    for value in (2**53 + 1, 2**63 - 1, -(2**63)):
        assert ai.constant((1,), value, dtype="int64")[0] == value


def test_parts_must_have_the_shape_of_what_holds_them():
    with pytest.raises(ValueError, match="`index` must select"):
        ai.normal(np.zeros((3, 3)), shape=(10, 10), index=np.s_[0:2], seed=0)


def test_elements_that_overlap_in_part():
    x = np.lib.stride_tricks.as_strided(np.zeros(20, np.float32), (4,), (2,))
    with pytest.raises(ValueError, match="share memory"):
        ai.normal_(x, seed=0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ai.calculate_fans((3, 4), in_axis=1.0, out_axis=0), TypeError, "`in_axis`"),
        (lambda: ai.calculate_fans((3, 4), in_axis="1", out_axis=0), TypeError, "`in_axis`"),
        (lambda: ai.calculate_fans((3, 4), in_axis=True, out_axis=False), TypeError, "`in_axis`"),
        (lambda: ai.normal((True, 3)), TypeError, "`x`"),
        (lambda: ai.normal((3, 4), index=slice(None, None, 0), seed=0), ValueError, "steps other than 0"),
        (lambda: ai.bits((2**70, 2), seed=0, index=(2**69, 0)), ValueError, "2\\*\\*62"),
        (lambda: ai.constant((1,), 1e39), ValueError, "`val`"),
        (lambda: ai.normal((1,), seed=0, name="\ud800"), ValueError, "`name`"),
        (lambda: ai.normal((1,), seed=0, xp=""), TypeError, "`xp`"),
        (lambda: ai.normal((1,), sed=0), TypeError, "sed"),
        (lambda: ai.normal(3, seed=0, xp="dask", device="cuda"), ValueError, "`device`"),
        (lambda: ai.normal(3, seed=0, xp="torch", device="abacus"), ValueError, "`device`"),
        (lambda: ai.normal(3, seed=0, xp="dask", chunks=(1, 1)), ValueError, r"`chunks`.*\(3,\)"),
        (lambda: ai.normal(3, seed=0, xp="torch", chunks=1), TypeError, "`chunks`.*torch"),
        (lambda: ai.normal_(np.zeros(3), seed=0, chunks=1), TypeError, "`chunks`.*numpy"),
        (lambda: ai.fingerprint(jax.ShapeDtypeStruct((2,), jnp.float32)), TypeError, "`x` must hold values"),
        (lambda: ai.he_normal(jax.random.key(0), (2, 3)), TypeError, "arrayinit.jax"),
        (lambda: ai.fingerprint(torch.empty(2, device="meta")), TypeError, "`x` must hold values"),
        (lambda: jax.jit(ai.fingerprint)(jnp.zeros(2)), TypeError, "`x` must hold values"),
    ],
)
def test_errors_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_numpy_integers_are_integers():
    assert ai.calculate_fans((3, 4), in_axis=np.int64(0), out_axis=np.int64(1)) == (3, 4)
    assert ai.calculate_fans((4, 3), groups=np.int64(2), batch_axis=[]) == (3, 2)
    assert same(ai.normal(np.int64(3), seed=0), ai.normal((3,), seed=0))
    assert same(ai.bits(np.int64(3), seed=0), ai.bits(3, seed=0))


def test_dask_names_are_stable():
    x = dask.array.zeros((9, 8), chunks=4)
    for draw in (ai.normal, ai.orthogonal):
        assert draw(x, seed=0).name == draw(x, seed=0).name


def test_what_a_process_worked_out_about_a_draw_stays_there():
    """Memory addresses above all are not pickled."""
    x = dask.array.zeros((90, 80), dtype="float32", chunks=40)
    before = ai.uniform(x, 0.25, 0.75, seed=0).name
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARRAYINIT_COMPILE", "1")
        ai.uniform((90, 80), 0.25, 0.75, seed=0)
    assert ai.uniform(x, 0.25, 0.75, seed=0).name == before
    job = next(job for job in draw_module._jobs.values() if job.memo)
    assert pickle.loads(pickle.dumps(job)).memo == {}


def test_raw_keys_on_the_host():
    assert same(ai.normal(3, seed=np.array([0, 5], np.uint32)), ai.normal(3, seed=5))


def test_threads_draw_what_one_thread_draws():
    wanted = [ai.normal((300, 301), seed=k) for k in range(8)]
    found = {}

    def work(k):
        library = ("numpy", "torch", "jax", "dask")[k % 4]
        found[k] = ai.normal((300, 301), seed=k, xp=library)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[k], wanted[k]) for k in range(8))
