"""Laws of whole matrices: sparse and orthogonal, against their definitions."""

import functools

import jax
import numpy as np
import pytest
import torch
from conftest import PLACES, same, to_host

import arrayinit as ai
from arrayinit.backends import backend_named
from arrayinit.conformance.cases import DTYPES
from arrayinit.conformance.check import tolerance
from arrayinit.engines.cpu import sparse
from arrayinit.engines.householder import orthonormal
from arrayinit.laws.patterns import keep


def naive_keep(words, zeros):
    """The first `zeros` of each column in the order of (word, row) go."""
    kept = np.ones(words.shape, bool)
    np.put_along_axis(kept, np.argsort(words.astype(np.int64), axis=0, kind="stable")[:zeros], False, axis=0)
    return kept


LANES = {
    "numpy": (lambda: backend_named("numpy").lanes(None), np.asarray),
    "torch": (
        lambda: backend_named("torch").lanes(torch.device("cpu")),
        lambda w: torch.from_numpy(w.astype(np.int64)),
    ),
    "array_api_strict": (lambda: _strict().lanes(None), lambda w: _strict().xp.asarray(w.astype(np.int64))),
}


@functools.cache
def _strict():
    pytest.importorskip("array_api_strict")
    return backend_named("array_api_strict")


@pytest.mark.parametrize("library", LANES)
@pytest.mark.parametrize("span", [1, 2, 7, 2**32])
@pytest.mark.parametrize("kind", [np.int64, np.uint32])
def test_sparse_columns_lose_the_smallest_words_and_ties_go_by_row(library, span, kind):
    words = np.random.default_rng(span).integers(0, span, (37, 71)).astype(kind)
    lanes, place = LANES[library]
    for zeros in (0, 1, 18, 36, 37):
        assert np.array_equal(np.asarray(keep(lanes(), place(words), zeros)), naive_keep(words, zeros)), zeros


def test_one_tie_in_one_column():
    words = np.random.default_rng(0).permutation(50 * 40).reshape(50, 40).astype(np.uint32)
    ranked = np.argsort(words[:, 7])
    words[ranked[19], 7] = words[ranked[20], 7]
    for lanes, place in LANES.values():
        for zeros in (19, 20, 21):
            assert np.array_equal(np.asarray(keep(lanes(), place(words), zeros)), naive_keep(words, zeros))


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (50, 40), (700, 17), (4097, 16)])
@pytest.mark.parametrize("bits", [1, 8, 20, 32])
def test_slabs_of_columns_lose_the_same(shape, bits):
    """The look around the quantile finds what sorting finds, or nothing; and it finds it where words hardly tie."""
    words = np.random.default_rng(bits).integers(0, 2**bits, shape, np.uint32) << np.uint32(32 - bits)
    memory = sparse._Memory(words.size)
    for zeros in sorted({1, shape[0] // 10, shape[0] // 2, shape[0] * 9 // 10, shape[0]} - {0}):
        lost = memory.lost(words, zeros)
        if lost is not None:
            assert np.array_equal(lost, ~naive_keep(words, zeros)), zeros
        assert (lost is not None) or bits < 32, zeros


@pytest.mark.parametrize("width", [1 << 4, 1 << 19])
@pytest.mark.parametrize("xp", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_parts_and_layouts(monkeypatch, xp, dtype, width):
    """Slab by slab, threads and parts as the specification has it, also where words tie."""
    monkeypatch.setattr(sparse, "SLAB", width)
    monkeypatch.setattr(sparse, "NARROWEST", 3)
    monkeypatch.setenv("ARRAYINIT_NUM_THREADS", "3")
    whole = functools.partial(ai.sparse, (30, 43), sparsity=0.4, seed=3)
    wanted = to_host(whole(dtype=dtype, xp="array_api_strict" if dtype not in ("float16", "bfloat16") else "jax"))
    assert same(whole(dtype=dtype, xp=xp), wanted)
    assert (wanted == 0).sum() == 43 * 12
    for index in np.s_[5:9], np.s_[:, 3:40], np.s_[::-1, ::-2], np.s_[4], np.s_[:, 5], np.s_[29, -1], np.s_[3:3]:
        assert same(whole(dtype=dtype, xp=xp, index=index), wanted[index]), index
    turned = ai.sparse((43, 30), sparsity=0.4, seed=3, layout="io", dtype=dtype, xp=xp)
    assert same(turned, wanted.T)


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (5, 5), (65, 64), (200, 129), (3, 70, 66)])
def test_reflectors_one_by_one(shape, dtype, fortran):
    """Q = H_1 ... H_n diag(-phase), multiplied out in double precision."""
    rng = np.random.default_rng(1)
    gaussian = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if "complex" in dtype else 0)
    gaussian = gaussian.astype(dtype)
    wanted = np.stack([naive_product(g) for g in gaussian.reshape(-1, *shape[-2:])]).reshape(shape)
    host = np.asfortranarray(gaussian.copy()) if fortran else gaussian.copy()
    for drawn in (
        orthonormal(LANES["torch"][0](), torch.from_numpy(gaussian.copy())).resolve_conj().numpy(),
        orthonormal(LANES["numpy"][0](), host),
    ):
        assert drawn.dtype == dtype
        assert np.abs(drawn - wanted).max() < tolerance(dtype)


def naive_product(gaussian):
    m, n = gaussian.shape
    q = np.eye(m, n, dtype=complex)
    for j in reversed(range(n)):
        x = gaussian[j:, j].astype(complex)
        phase = x[0] / abs(x[0])
        v = x.copy()
        v[0] += phase * np.linalg.norm(x)
        q[j:] -= np.outer(v, v.conj() @ q[j:]) * 2 / np.linalg.norm(v) ** 2
        q[:, j] *= -phase
    return q


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_columns_of_zeros_are_reflected_too(library):
    lanes, place = LANES[library]
    zeros = place(np.zeros((4, 3)))
    q = np.asarray(orthonormal(lanes(), zeros.astype("f") if library == "numpy" else zeros.float()))
    assert np.array_equal(np.abs(q), np.eye(4, 3))


@pytest.mark.parametrize("shape", [(70, 16, 16), (300, 17, 40), (3, 40, 17), (2, 300, 290)])
@pytest.mark.parametrize("place", [p for p in PLACES if p.backend != "cupy"], ids=lambda p: p.label)
def test_stacks_are_the_matrices_alone(place, shape):
    """By their definition: matrix k is what its own normals give, whichever others are drawn with it."""
    drawn = to_host(ai.orthogonal(shape, seed=5, layout="boi", gain=2.0, **place.where)).astype(np.float64)
    normal = ai.normal(shape, seed=5, layout="boi")
    for k in {0, 1, shape[0] - 1}:
        g = normal[k].astype(np.float64)
        wide = g.shape[0] < g.shape[1]
        alone = naive_product(g.T if wide else g).real
        assert np.abs(drawn[k] / 2 - (alone.T if wide else alone)).max() < 2e-6


def test_parts_and_layouts_of_stacks():
    whole = ai.orthogonal((5, 12, 7), seed=1, layout="boi")
    for x in ("numpy", "torch", "dask"):
        part = to_host(ai.orthogonal((5, 12, 7), seed=1, layout="boi", index=np.s_[1:4, ::-2, 3], xp=x))
        assert np.abs(part - whole[1:4, ::-2, 3]).max() < 2e-6
        turned = to_host(ai.orthogonal((7, 5, 12), seed=1, layout="ibo", xp=x))
        assert np.abs(turned.transpose(1, 2, 0) - whole).max() < 2e-6


@pytest.mark.parametrize("shape", [(40, 64, 64), (300, 300)])
def test_programs_of_orthogonal_are_small(shape):
    text = jax.jit(
        lambda k: ai.orthogonal(shape, seed=k, xp="jax", in_axis=-1, out_axis=-2, batch_axis=range(len(shape) - 2))
    )
    program = text.lower(jax.random.key(0)).as_text().splitlines()
    assert sum("dot_general" in line for line in program) <= 5 * -(-shape[-1] // 64)
    assert not any("lu_pivot" in line or "getrf" in line for line in program)
