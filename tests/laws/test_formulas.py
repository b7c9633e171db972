"""Formulas of indices, against naive definitions, and the same on every library and for every part."""

import hashlib
import math
import tracemalloc
from decimal import Context, Decimal, localcontext

import jax
import numpy as np
import pytest
import scipy.linalg
import torch
from conftest import PLACES, same, to_host

import arrayinit as ai
from arrayinit.laws import formulas
from arrayinit.laws.formulas import eigenvalues
from arrayinit.laws.regions import box

S = ai.spec


def naive_hippo(n):
    return np.array(
        [
            [-math.sqrt((2 * i + 1) * (2 * k + 1)) if i > k else -(i + 1) if i == k else 0 for k in range(n)]
            for i in range(n)
        ]
    )


def naive_sinusoids(positions, features, base=10000.0):
    angle = np.arange(positions)[:, None] / base ** (2 * np.arange(features // 2) / features)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(positions, features)


DRAWS = [
    (S("hippo_legs"), (9, 9)),
    (S("hippo_legs", batch_axis=1, in_axis=2, out_axis=0), (7, 3, 7)),
    (S("s4d", variant="real"), (3, 8)),
    (S("mamba_a_log"), (3, 16)),
    (S("linspace", start=3.0, end=6.0), (9, 8)),
    (S("linspace", start=5.0, end=-7.0, power=0.3), (9, 8)),
    (S("sinusoidal"), (40, 12)),
    (S("sinusoidal"), (40, 7)),
    (S("sinusoidal", interleaved=False, layout="io"), (12, 40)),
    (S("bilinear"), (7, 7, 3, 6)),
    (S("bilinear", groups=2, layout="hwio"), (5, 4, 3, 6)),
    (S("zero_hadamard"), (13, 6)),
    (S("zero_hadamard"), (13, 6, 4, 3)),
    (S("packed", initializer=[S("zero_hadamard"), S("normal"), S("sinusoidal")], blocks=[9, 3, 4]), (16, 6)),
]
CUTS = [np.s_[...], np.s_[2:7], np.s_[::-2, 1::3], np.s_[2], np.s_[..., 4], np.s_[2:2], np.s_[-4:-1, -3], np.s_[3, 2]]


@pytest.mark.places
@pytest.mark.parametrize(("draw", "shape"), DRAWS, ids=lambda x: getattr(x, "name", ""))
def test_parts_and_dtypes_on_every_library(draw, shape):
    for dtype in ("float64", "float32", "float16", "bfloat16", "complex64"):
        whole = draw(shape, seed=1, dtype=dtype)
        host = to_host(whole)
        for place in PLACES:
            if dtype not in place.dtypes:
                continue
            with place.precision(dtype):
                assert ai.fingerprint(draw(shape, seed=1, dtype=dtype, **place.where)) == ai.fingerprint(whole), place
                if dtype != "float32":
                    continue
                for cut in CUTS:
                    try:
                        box(shape, cut)
                    except ValueError:  # it reaches outside of this shape
                        continue
                    assert same(draw(shape, seed=1, index=cut, **place.where), host[cut]), (place, cut)
        traced = jax.jit(lambda key, dtype=dtype: draw(shape, seed=key, xp="jax", dtype=dtype, index=np.s_[::-2, 1]))
        if dtype != "float64":
            assert same(traced(jax.random.key(1)), host[::-2, 1])


@pytest.mark.parametrize(("draw", "shape"), DRAWS, ids=lambda x: getattr(x, "name", ""))
@pytest.mark.parametrize(("run", "widest"), [(50, 7), (12, 100)])
def test_blocks_of_any_size_make_the_same_table(draw, shape, run, widest, monkeypatch):
    wanted = draw(shape, seed=1)
    monkeypatch.setattr(formulas, "RUN", run)
    monkeypatch.setattr(formulas, "WIDEST", widest)
    assert same(draw(shape, seed=1), wanted)
    assert same(draw(shape, seed=1, index=np.s_[::-2, 1:]), wanted[::-2, 1:])
    if draw.name != "packed":
        assert same(jax.jit(lambda: draw(shape, xp="jax"))(), wanted)


@pytest.mark.parametrize("shape", [(2, 400_000), (400_000, 2), (3, 1, 300_000)])
def test_memory_does_not_grow_with_a_table(shape, monkeypatch):
    monkeypatch.setattr(formulas, "RUN", 1 << 13)
    x = np.empty(shape, np.float32)
    tracemalloc.start()
    try:
        ai.mamba_a_log_(x)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_one_table_every_precision():
    wide = ai.sinusoidal((50, 12), dtype="float64")
    assert same(ai.sinusoidal((50, 12)), wide.astype(np.float32))
    half = ai.sinusoidal((50, 12), dtype="bfloat16")
    assert same(half, wide.astype(np.float32).astype(half.dtype))
    assert same(ai.sinusoidal((50, 12), dtype="complex64").real, wide.astype(np.float32))


@pytest.mark.parametrize("n", [1, 2, 9, 64])
def test_hippo_is_that_of_s4(n):
    assert np.array_equal(ai.hippo_legs((n, n), dtype="float64"), naive_hippo(n))
    stacked = ai.hippo_legs((3, n, n), dtype="float64", batch_axis=0, out_axis=1, in_axis=2)
    assert np.array_equal(stacked, np.stack([naive_hippo(n)] * 3))
    assert np.array_equal(ai.hippo_legs((n, n), dtype="float64", layout="io"), naive_hippo(n).T)
    tensor = ai.hippo_legs_(torch.empty(n, n, dtype=torch.float64))
    assert np.array_equal(tensor.numpy(), naive_hippo(n))


@pytest.mark.parametrize("count", [1, 2, 8, 32])
def test_s4d_variants(count):
    n = np.arange(count)
    shape = (3, count)

    def drawn(variant):
        x = ai.s4d(shape, variant, dtype="complex128")
        assert (x == x[:1]).all()
        return x[0]

    assert np.allclose(drawn("lin"), -0.5 + 1j * np.pi * n, rtol=1e-15)
    size = 2 * count
    assert np.allclose(drawn("inv"), -0.5 + 1j * size / np.pi * (size / (2 * n + 1) - 1), rtol=1e-14)
    assert np.array_equal(ai.s4d(shape, "real", dtype="float64"), np.tile(-(n + 1.0), (3, 1)))
    # The normal part of HiPPO-LegS: A + P P^T with P[n] = sqrt(n + 1/2).
    low_rank = np.sqrt(np.arange(size) + 0.5)
    found = np.linalg.eigvals(naive_hippo(size) + np.outer(low_rank, low_rank))
    assert np.abs(found.real + 0.5).max() < 1e-12 * size**2
    wanted = np.sort(found.imag[found.imag > 0])
    assert np.abs(drawn("legs").imag - wanted).max() < 1e-13 * size**2
    assert (drawn("legs").real == -0.5).all()


def test_eigenvalues_are_right_to_the_last_digits():
    """Against the equation they solve, in decimals; and as bits, the same on every machine."""
    y = eigenvalues(16)
    with localcontext(Context(prec=40)):
        for j in (0, 7, 15):
            turned = math.fsum(math.atan(2 * y[j] / (2 * n + 1)) for n in range(32))
            assert turned == pytest.approx(math.pi / 2 + math.pi * j, rel=1e-14)
            assert Decimal(float(y[j])) > 0
    assert hashlib.blake2b(y.astype("<f8").tobytes(), digest_size=8).hexdigest() == DIGEST


DIGEST = "5f5e5eae98050362"


def test_mamba_a_log_is_the_log_of_minus_the_real_diagonal():
    x = ai.mamba_a_log((4, 16), dtype="float64")
    assert np.allclose(x, np.log(np.arange(1, 17)), rtol=4e-16)
    assert np.allclose(-np.exp(x), ai.s4d((4, 16), "real", dtype="float64"), rtol=1e-15)
    assert same(ai.mamba_a_log((16,), dtype="float64"), x[0])


@pytest.mark.parametrize(("start", "end", "n"), [(3.0, 6.0, 7), (1.15, 1.05, 12), (-1e-3, 0.0, 100), (2.0, 2.0, 5)])
def test_linspace(start, end, n):
    x = ai.linspace((2, n), start, end, dtype="float64")
    assert np.allclose(x, np.linspace(start, end, n), rtol=1e-15, atol=1e-18)
    assert (x[:, 0] == start).all()
    assert (x[:, -1] == end).all()
    open_ended = ai.linspace((n,), start, end, endpoint=False, dtype="float64")
    assert np.allclose(open_ended, np.linspace(start, end, n, endpoint=False), rtol=1e-15, atol=1e-18)
    for power in (0.3, 1.6, 7.0, 1e-6, 200.0):
        curve = ai.linspace((n,), start, end, power=power, dtype="float64")
        wanted = start + (end - start) * np.linspace(0, 1, n) ** power
        assert np.allclose(curve, wanted, rtol=1e-13, atol=1e-15)
        assert (curve[0], curve[-1]) == (start, end)
    assert same(ai.linspace((n, 2), start, end, layout="io", dtype="float64")[:, 1], x[0])


def test_linspace_with_a_zigzag():
    c, size = 24, 8
    s = (np.arange(c) % size - (size - 1) / 2) / ((size - 1) / 2)
    wanted = -5.5 + 6 * (np.arange(c) / (c - 1)) ** 1.7 + 2.5 * s * np.abs(s)
    x = ai.linspace((1, 1, c), -5.5, 0.5, power=1.7, zigzag=2.5, period=size, dtype="float64")
    assert np.allclose(x, wanted, rtol=1e-14, atol=1e-14)
    assert same(ai.linspace((c,), 1.0, 2.0, zigzag=0.0, period=size), ai.linspace((c,), 1.0, 2.0))
    assert ai.linspace((1,), 2.0, 5.0, zigzag=0.5, period=2).tolist() == [1.5]
    with pytest.raises(ValueError, match="`period` must be at least 2 for a zigzag; got 1"):
        ai.linspace((c,), zigzag=1.0, period=1)
    with pytest.raises(ValueError, match="`zigzag` must stay within float64"):
        ai.linspace((c,), 0.0, 1e308, zigzag=1.7e308)


def test_linspace_of_one():
    assert ai.linspace((3, 1), 2.0, 5.0).tolist() == [[2]] * 3
    assert ai.linspace(1, 2.0, 5.0, endpoint=False).tolist() == [2]


@pytest.mark.parametrize(("positions", "features"), [(1, 2), (100, 16), (5000, 64)])
def test_sinusoids(positions, features):
    wanted = naive_sinusoids(positions, features)
    x = ai.sinusoidal((positions, features), dtype="float64")
    assert np.abs(x - wanted).max() < 1e-12  # the naive angle itself is off by an ulp
    halves = ai.sinusoidal((positions, features), interleaved=False, dtype="float64")
    assert np.array_equal(halves, np.concatenate([x[:, ::2], x[:, 1::2]], axis=1))
    assert np.array_equal(ai.sinusoidal((features, positions), layout="io", dtype="float64"), x.T)
    odd = ai.sinusoidal((positions, features + 1), dtype="float64")
    assert (odd[:, -1] <= 1).all()


def test_sinusoids_far_out_are_right():
    at = (2**32 - 1, 2**31 + 12345, 1_000_003)
    for p in at:
        row = ai.sinusoidal((2**32, 8), base=100.0, index=p, dtype="float64")
        with localcontext(Context(prec=60)):
            for i in range(4):
                angle = Decimal(p) / (Decimal(100) ** (Decimal(2 * i) / 8))
                tau = 2 * Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
                reduced = float(angle % tau)
                assert row[2 * i] == pytest.approx(math.sin(reduced), abs=1e-15)
                assert row[2 * i + 1] == pytest.approx(math.cos(reduced), abs=1e-15)


@pytest.mark.parametrize(("out", "in_"), [(8, 5), (8, 8), (5, 8), (37, 21), (64, 1), (2, 1), (33, 32)])
def test_zero_hadamard_is_the_algorithm(out, in_):
    x = ai.zero_hadamard((out, in_), dtype="float64")
    if out <= in_:
        assert np.array_equal(x, np.eye(out, in_))
    else:
        size = 2 ** math.ceil(math.log2(out))
        partial = np.eye(out, size) @ scipy.linalg.hadamard(size) @ np.eye(size, in_)
        assert np.allclose(x, partial / math.sqrt(size), rtol=1e-15)
        if out == size:
            assert np.allclose(x.T @ x, np.eye(in_), atol=1e-14)
    kernel = ai.zero_hadamard((out, in_, 4, 3), dtype="float64")
    assert np.array_equal(kernel[:, :, 2, 1], x)
    assert np.count_nonzero(kernel) == np.count_nonzero(x)
    flax = ai.zero_hadamard((4, 3, in_, out), layout="hwio", dtype="float64")
    assert np.array_equal(flax.transpose(3, 2, 0, 1), kernel)


@pytest.mark.parametrize(
    ("name", "parameters", "shape", "keywords", "error", "words"),
    [
        ("hippo_legs", {}, (4, 5), {}, ValueError, ["square", "(4, 5)"]),
        ("hippo_legs", {}, (4,), {}, ValueError, ["hippo_legs", "(4,)"]),
        ("hippo_legs", {}, (3, 4, 4), {}, ValueError, ["hippo_legs", "(3, 4, 4)"]),
        ("hippo_legs", {}, (4, 4), {"dtype": "int32"}, TypeError, ["`dtype`", "int32"]),
        ("hippo_legs", {}, (40_000, 40_000), {"dtype": "float16", "index": 0}, ValueError, ["float16", "65504"]),
        ("s4d", {}, (3, 4), {}, TypeError, ["`dtype`", "complex", "float32"]),
        ("s4d", {"variant": "linear"}, (3, 4), {"dtype": "complex64"}, ValueError, ["`variant`", "'linear'"]),
        ("s4d", {}, (), {"dtype": "complex64"}, ValueError, ["s4d", "()"]),
        ("mamba_a_log", {}, (), {}, ValueError, ["mamba_a_log", "()"]),
        ("linspace", {}, (), {}, ValueError, ["linspace", "()"]),
        ("linspace", {"power": 0}, (3,), {}, ValueError, ["`power`", "0"]),
        ("linspace", {"start": math.inf}, (3,), {}, ValueError, ["`start`", "inf"]),
        ("linspace", {"start": -1e308, "end": 1.7e308}, (3,), {}, ValueError, ["`start`", "`end`", "1.7e+308"]),
        ("linspace", {"endpoint": 1}, (3,), {}, TypeError, ["`endpoint`", "1"]),
        ("linspace", {"end": 1e6}, (3,), {"dtype": "float16"}, ValueError, ["float16"]),
        ("sinusoidal", {}, (4, 5, 6), {}, ValueError, ["sinusoidal", "(4, 5, 6)"]),
        ("sinusoidal", {"base": 1.0}, (4, 6), {}, ValueError, ["`base`", "1.0"]),
        ("sinusoidal", {"interleaved": 1}, (4, 6), {}, TypeError, ["`interleaved`", "1"]),
        ("sinusoidal", {"interleaved": False}, (4, 5), {}, ValueError, ["even", "5"]),
        ("sinusoidal", {}, (2**33, 4), {"index": 0}, ValueError, ["2**32", str(2**33)]),
        ("zero_hadamard", {}, (4,), {}, ValueError, ["zero_hadamard", "(4,)"]),
        ("zero_hadamard", {}, (4, 6), {"groups": 2}, ValueError, ["`groups`", "2"]),
    ],
)
def test_wrong_arguments(name, parameters, shape, keywords, error, words):
    with pytest.raises(error) as caught:
        getattr(ai, name)(shape, **parameters, **keywords)
    assert all(word in str(caught.value) for word in words), caught.value


def test_shapes_without_elements():
    for name, shape in (
        ("hippo_legs", (0, 0)),
        ("mamba_a_log", (3, 0)),
        ("linspace", (3, 0)),
        ("sinusoidal", (0, 4)),
        ("zero_hadamard", (4, 0)),
    ):
        assert getattr(ai, name)(shape).shape == shape
        assert jax.jit(lambda name=name, shape=shape: getattr(ai, name)(shape, xp="jax"))().shape == shape
        assert ai.describe(name, shape).shape == shape
    assert ai.s4d((0, 4), dtype="complex64").shape == (0, 4)
    assert ai.s4d((4, 0), dtype="complex64").shape == (4, 0)
