"""Pairs of matrices from one draw: the factors of mimetic attention, and LoRA's adapters at right angles."""

import numpy as np
import pytest
from conftest import param_places, same, to_host

import arrayinit as ai

D, HEADS = 48, 3


def pair(parts, seed=0, **keywords):
    return [ai.mimetic((D, D), part, seed=seed, dtype="float64", **keywords) for part in parts]


@pytest.mark.parametrize(("parts", "beta"), [(("query", "key"), 0.7), (("value", "out"), -0.4)])
def test_the_whole_product_is_alpha_z_plus_beta(parts, beta):
    first, second = pair(parts)
    product = first.T @ second if parts[1] == "key" else (second @ first).T  # W_Q W_K^T, or W_V W_O
    z = (product - beta * np.eye(D)) * np.sqrt(D) / abs(beta)
    assert abs(z.mean()) < 4 / D
    assert z.std() == pytest.approx(1, abs=4 / np.sqrt(2) / D)
    # The factors share the singular values evenly, and their columns are at right angles.
    values = np.linalg.svd(product, compute_uv=False)
    assert np.allclose(first @ first.T, np.diag(values), atol=1e-12)
    assert np.allclose(second @ second.T if parts[1] == "key" else second.T @ second, np.diag(values), atol=1e-12)


def test_each_head_has_the_largest_singular_values_of_a_draw_of_its_own():
    size = D // HEADS
    query, key = pair(("query", "key"), heads=HEADS)
    products = [query[k : k + size].T @ key[k : k + size] for k in range(0, D, size)]
    for k, product in enumerate(products):
        values = np.linalg.svd(product, compute_uv=False)
        rows = query[k * size : (k + 1) * size]
        assert np.allclose(np.linalg.norm(rows, axis=1) ** 2, values[:size], atol=1e-12)
        assert np.allclose(values[size:], 0, atol=1e-12)
    # Head k of a wider weight is a cut of the same product: the best approximation of a smaller rank.
    whole = ai.mimetic((D, D), "query", seed=0, dtype="float64")
    assert np.allclose(whole[:size], query[:size], atol=1e-12)
    assert not np.allclose(products[0], products[1], atol=0.1)


def test_signs_of_vectors_are_even():
    first = np.stack([ai.mimetic((4, 8), "query", seed=seed) for seed in range(200)])
    positive = (first > 0).mean(axis=0)
    assert np.abs(positive - 0.5).max() < 4.5 * 0.5 / np.sqrt(200)
    assert abs((np.sign(first[:, 0, 0]) * np.sign(first[:, 1, 0])).mean()) < 4 / np.sqrt(200)


@pytest.mark.places
@pytest.mark.parametrize("place", [*param_places()])
def test_all_libraries_have_the_same_bits(place):
    for draw, shape in (
        (ai.spec("mimetic", part="out", heads=2), (8, 6)),
        (ai.spec("lora_orthogonal", part="B"), (9, 4)),
    ):
        wanted = draw(shape, seed=1)
        assert same(to_host(draw(shape, seed=1, **place.where)), wanted)
        index = np.s_[::-3, 1:4]
        assert same(to_host(draw(shape, seed=1, index=index, **place.where)), wanted[index])


@pytest.mark.parametrize(
    "draw", [ai.spec("mimetic", part="key", heads=2), ai.spec("lora_orthogonal", part="A")], ids=str
)
def test_layouts_batches_and_dtypes(draw):
    stack = draw((3, 4, 6), seed=1, layout="boi", dtype="float64")
    assert same(draw((6, 3, 4), seed=1, layout="ibo", dtype="float64"), stack.transpose(2, 0, 1))
    assert not np.allclose(stack[0], stack[1])
    assert same(draw((3, 4, 6), seed=1, layout="boi"), stack.astype(np.float32))
    assert same(draw((3, 4, 6), seed=1, layout="boi", dtype="complex128"), stack.astype(complex))
    if draw.name == "mimetic":
        assert same(draw((4, 6), seed=1, dtype="float64"), stack[0])
        assert same(draw((6, 2, 2), seed=1, layout="ioo", dtype="float64"), stack[0].T.reshape(6, 2, 2))


def test_packed_under_one_key():
    specs = [ai.spec("mimetic", part=part, heads=1 if part == "value" else 2) for part in ("query", "key", "value")]
    fused = ai.packed((3 * 8, 8), specs, blocks=3, shared=True, seed=2)
    parts = [draw((8, 8), seed=2) for draw in specs]
    assert same(fused, np.concatenate(parts))
    plain = ai.packed((6, 4), ai.spec("normal"), blocks=2, shared=True, seed=0)
    assert same(plain[:3], plain[3:])


def test_a_traced_key_of_jax():
    jax = pytest.importorskip("jax")

    def drawn(key):
        return ai.mimetic((4, 6), "query", seed=key, xp="jax", index=np.s_[::-1])

    keys = jax.random.split(jax.random.key(0), 3)
    eager = [np.asarray(drawn(key)) for key in keys]
    assert all(same(np.asarray(jax.jit(drawn)(key)), wanted) for key, wanted in zip(keys, eager, strict=True))
    assert same(np.asarray(jax.jit(jax.vmap(drawn))(keys)), np.stack(eager))


@pytest.mark.parametrize("part", ["A", "B"])
def test_lora_at_right_angles(part):
    rank, n = 6, 2000
    a = ai.lora_orthogonal((rank, n), "A", seed=0, dtype="float64")
    b = ai.lora_orthogonal((n, rank), "B", seed=0, dtype="float64")
    assert np.abs(b @ a).max() < 1e-15
    w = a if part == "A" else b.T
    assert np.linalg.matrix_rank(w) == rank // 2
    values = np.linalg.svd(w, compute_uv=False)[: rank // 2]
    assert values == pytest.approx(np.full(rank // 2, 0.1 * np.sqrt(n)), rel=0.1)
    spread = np.std([ai.lora_orthogonal((4, 50) if part == "A" else (50, 4), part, seed=s) for s in range(200)])
    assert spread == pytest.approx(ai.describe(ai.spec("lora_orthogonal", part=part), (4, 4)).std, rel=0.05)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ai.mimetic((8, 8), "keys"), ValueError, "`part` must be one of 'query', .*; got 'keys'"),
        (lambda: ai.mimetic((8, 8), "key", heads=3), ValueError, "`heads` must divide .* 8; got 3"),
        (lambda: ai.mimetic((8, 8), "key", heads=0), ValueError, "`heads` must be"),
        (lambda: ai.mimetic((8, 4), "key"), ValueError, "at most the width of the model, 4; got 8"),
        (lambda: ai.mimetic((8, 8), "key", alpha=0), ValueError, "`alpha` must be positive"),
        (lambda: ai.mimetic((8, 8), "key", beta=np.inf), ValueError, "`beta` must be finite"),
        (lambda: ai.mimetic((8, 8, 3), "key"), ValueError, r"mimetic needs matrices.*\(8, 8, 3\)"),
        (lambda: ai.mimetic((8, 8), "key", groups=2), ValueError, "`groups` must be 1 for mimetic; got 2"),
        (lambda: ai.mimetic((8,), "key"), ValueError, "2 dimensions"),
        (lambda: ai.mimetic((8, 8), "key", dtype="int32"), TypeError, "random values"),
        (lambda: ai.lora_orthogonal((3, 8), "A"), ValueError, r"an even rank; got 3 for part 'A' of shape \(3, 8\)"),
        (lambda: ai.lora_orthogonal((8, 8), "a"), ValueError, "`part` must be one of 'A', 'B'; got 'a'"),
        (lambda: ai.packed((4, 4), ai.spec("normal"), blocks=2, order=(1, 0), shared=True), ValueError, "`order`"),
        (lambda: ai.packed((4, 4), ai.spec("normal"), blocks=2, shared=1), TypeError, "`shared`"),
    ],
)  # fmt: skip
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
