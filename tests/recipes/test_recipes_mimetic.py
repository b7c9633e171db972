"""The recipe of mimetic attention, on the modules of torch, transformers' names, timm's and Flax."""

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import recipes
from arrayinit.models.matching import plan
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import PlanError

HEADS, D = 2, 8


def drawn(shapes, rules=None, **kinds):
    parameters = [
        Parameter(path, shape, "float64", kinds=kinds.get(path.split(".")[0], ())) for path, shape in shapes.items()
    ]
    return {
        each.path: each.initializer(each.shape, seed=each.key, dtype="float64")
        for each in plan(parameters, rules or recipes.mimetic(HEADS), seed=0)
        if each.is_drawn
    }


def attention(query, key, value, out):
    """The products (W_Q W_K^T of each head, W_V W_O) of weights (out, in)."""
    heads = [q.T @ k for q, k in zip(np.split(query, HEADS), np.split(key, HEADS), strict=True)]
    return np.stack([*heads, (out @ value).T])


def wanted(query_name, value_name):
    """By the paper's formula, of the same draws: heads cut to their rank, values whole."""
    key, found = ai.fold(ai.fold(0, query_name), "query key"), []
    for head in range(HEADS):
        z = ai.normal((HEADS, D, D), seed=key, dtype="float64")[head] / np.sqrt(D)
        left, values, right = np.linalg.svd(0.7 * z + 0.7 * np.eye(D))
        values[D // HEADS :] = 0
        found.append(left * values @ right)
    z = ai.normal((D, D), seed=ai.fold(ai.fold(0, value_name), "value out"), dtype="float64") / np.sqrt(D)
    return np.stack([*found, 0.4 * z - 0.4 * np.eye(D)])


@pytest.mark.parametrize(
    ("query", "key", "value", "out"),
    [
        ("l.q_proj.weight", "l.k_proj.weight", "l.v_proj.weight", "l.o_proj.weight"),
        ("l.q_proj.weight", "l.k_proj.weight", "l.v_proj.weight", "l.out_proj.weight"),
        ("l.query.kernel", "l.key.kernel", "l.value.kernel", "l.out.kernel"),
        ("attention.self.query.weight", "attention.self.key.weight", "attention.self.value.weight",
         "attention.output.dense.weight"),
    ],
)  # fmt: skip
def test_separate_projections(query, key, value, out):
    parts = drawn(dict.fromkeys((query, key, value, out), (D, D)))
    assert np.allclose(attention(parts[query], parts[key], parts[value], parts[out]), wanted(query, value), atol=1e-12)


@pytest.mark.parametrize(
    ("fused", "out", "kinds"),
    [
        ("blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight", ()),
        ("h.0.attn.c_attn.weight", "h.0.attn.c_proj.weight", ()),
        ("m.in_proj_weight", "m.out_proj.weight", ("NonDynamicallyQuantizableLinear",)),
    ],
)
def test_fused_projections(fused, out, kinds):
    parts = drawn({fused: (3 * D, D), out: (D, D)}, **{out.split(".")[0]: kinds})
    assert np.allclose(attention(*np.split(parts[fused], 3), parts[out]), wanted(fused, fused), atol=1e-12)


def test_torch_and_flax_modules_alike():
    torch, nnx = pytest.importorskip("torch"), pytest.importorskip("flax.nnx")
    from arrayinit.jax import init_tree
    from arrayinit.torch import init_module_

    layer = torch.nn.MultiheadAttention(D, HEADS)
    init_module_(layer, recipes.mimetic(HEADS), seed=0)
    fused = layer.in_proj_weight.detach().numpy().astype(np.float64)
    products = attention(*np.split(fused, 3), layer.out_proj.weight.detach().numpy().astype(np.float64))
    assert np.allclose(products, wanted("in_proj_weight", "in_proj_weight"), atol=1e-6)
    assert not layer.in_proj_bias.any()

    flax = init_tree(nnx.MultiHeadAttention(HEADS, D, rngs=nnx.Rngs(0), decode=False), recipes.mimetic(HEADS), seed=0)
    query, key, value = (
        np.asarray(part.kernel[...], np.float64).reshape(D, D).T for part in (flax.query, flax.key, flax.value)
    )
    out = np.asarray(flax.out.kernel[...], np.float64).reshape(D, D).T
    assert np.allclose(attention(query, key, value, out), wanted("query.kernel", "value.kernel"), atol=1e-6)


def test_grouped_attention_and_lone_parts_are_refused():
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    shapes = {f"l.{name}.weight": (D // 2 if name in "k_proj v_proj" else D, D) for name in names}
    with pytest.raises(PlanError, match=r"the other matrix of the pair .*; got '\.q_proj\.weight', which has"):
        drawn(shapes)
    with pytest.raises(PlanError, match=r"there is no l\.q_proj\.weight"):
        drawn({"l.k_proj.weight": (D, D)})
    other = ai.Rules([ai.Rule("*q_proj.weight", "normal"), *recipes.mimetic(HEADS)])
    with pytest.raises(PlanError, match=r"got '\.q_proj\.weight', which has none"):
        drawn(dict.fromkeys(shapes, (D, D)), other)


def test_all_else_stays_and_numbers_are_free():
    others = ("mlp.fc1.weight", "norm.weight", "mlp.c_proj.weight")
    assert [*drawn(dict.fromkeys(("v_proj.weight", *others), (D, D)))] == ["v_proj.weight"]
    rules = recipes.mimetic(HEADS, vo=(0.1, 0.5))
    parts = drawn(dict.fromkeys(("v_proj.weight", "o_proj.weight"), (D, D)), rules)
    product = parts["o_proj.weight"] @ parts["v_proj.weight"]
    assert np.allclose(product, 0.5 * np.eye(D), atol=0.2)
    for wrong, error in (((0.0, 1.0), ValueError), ((0.7,), TypeError), (0.7, TypeError), ((0.7, "a"), TypeError)):
        with pytest.raises(error):
            recipes.mimetic(HEADS, qk=wrong)
    with pytest.raises(ValueError, match="`heads`"):
        recipes.mimetic(0)
