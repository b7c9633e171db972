"""Findings about weights that are copies of each other, and about models that are loaded in part."""

import numpy as np
import pytest

import arrayinit as ai

NORMAL = {"*": ai.spec("normal", std=0.1)}


def found(model, rules=None, kind=None, **options):
    findings = ai.report(model, rules, **options).findings
    return {finding.path: finding.text for finding in findings if finding.kind == kind}


def drawn(*paths, shape=(8, 5), seed=0):
    return {path: ai.normal(shape, std=0.1, seed=seed, name=path) for path in paths}


# Copies

COPIED = ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight")


def test_ties_by_transposition():
    torch = pytest.importorskip("torch")
    x = drawn("x")["x"]
    for model in ({"x": x, "y": x.T}, {"x": torch.from_numpy(x), "y": torch.from_numpy(x).t()}):
        texts = found(model, kind="transposed tie")
        assert texts == {"y": "is x transposed, in the same memory: a draw of one changes the other"}
        assert found(model, kind="same values") == {}
        assert "transposed tie" in [each.kind for each in ai.report(model, NORMAL).findings]
    square = np.ascontiguousarray(drawn("x", shape=(6, 6))["x"])
    assert list(found({"x": square, "y": square.T}, kind="transposed tie")) == ["y"]
    assert found({"x": square, "y": square.copy()}, kind="transposed tie") == {}


def test_equal_values_in_two_memories():
    x = drawn("x")["x"]
    others = {f"h.{k}.w": x.copy() for k in range(5)}
    texts = found({"x": x, "y": drawn("y")["y"], **others}, kind="same values")
    assert list(texts) == ["x"]
    assert texts["x"].startswith("h.{0..4}.w have the same values in memory of their own")
    assert found({"x": x, "c": x.T.copy()}, kind="same values") == {
        "c": "has the values of x, transposed, in memory of its own: a tie that came apart?"
    }
    assert found({"x": x, "y": x.copy()}, NORMAL, "same values")["x"].startswith("y has the same values")
    assert found({"x": x, "y": -x}, kind="same values") == {}
    assert found({"x": x, "y": np.sort(x.ravel()).reshape(5, 8)}, kind="same values") == {}  # no transpose


def test_what_is_equal_for_a_reason():
    x = drawn("x")["x"]
    matrix = np.log(np.arange(1, 9, dtype=np.float32))[None].repeat(6, axis=0)  # as A_log of Mamba
    for model in (
        {"x": ai.zeros((4, 4)), "y": ai.zeros((4, 4))},
        {"x": ai.eye((6, 6)), "y": ai.eye((6, 6))},
        {"x": matrix, "y": matrix.copy()},
        {"x": x[0], "y": x[0].copy()},
        {"x": x, "y": x},  # tied
        {"x": x[:1, :2], "y": x[:1, :2].copy()},
    ):
        assert found(model, kind="same values") == {}
    torch = pytest.importorskip("torch")
    from arrayinit.torch import init_module_, record

    with record() as start:  # copies that the constructor means
        model = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    init_module_(model, start, seed=0)
    assert found(model, start, "same values") == {}
    assert list(found(model, kind="same values")) == [f"layers.0.{name}" for name in COPIED]
    hippo = {"x": ai.hippo_legs((6, 6)), "y": ai.hippo_legs((6, 6))}
    assert found(hippo, {"*": ai.spec("hippo_legs")}, "same values") == {}  # no draw


# Loading


def test_a_model_that_is_loaded_in_part():
    paths = [f"h.{k}" for k in range(4)]
    model = drawn(*paths) | {"bias": ai.zeros(3)}
    rules = {"bias": "zeros", **NORMAL}
    assert found(model, rules, "partly loaded", seed=0) == {}
    assert [row.as_drawn for row in ai.report(model, rules, seed=0)] == [1, 1, 1, 1, None]
    assert [row.as_drawn for row in ai.report(model, rules)] == [None] * 5
    loaded = model | drawn("h.0", "h.1", "h.2", seed=9)
    texts = found(loaded, rules, "partly loaded", seed=0)
    assert texts == {"h.3": "is as the seed draws it, while 3 of 4 random parameters are not"}
    texts = found(model | drawn("h.1", seed=9), rules, "partly loaded", seed=0)
    assert texts == {"h.1": "is not as the seed draws it, while 3 of 4 random parameters are"}
    assert found(drawn(*paths, seed=9), NORMAL, "partly loaded", seed=0) == {}  # all of it
    total = "of 4 random arrays are the draw of seed 0; no findings"
    assert f"; 0 {total}" in str(ai.report(drawn(*paths, seed=9), NORMAL, seed=0))
    assert f"; 4 {total}" in str(ai.report(drawn(*paths, seed=0), NORMAL, seed=0))


def test_rows_that_are_loaded():
    model = drawn("a", "b", shape=(40, 8))
    model["a"][:30] = drawn("a", shape=(30, 8), seed=9)["a"]
    model["a"][33] = 0
    report = ai.report(model, NORMAL, seed=0)
    assert report["a"].as_drawn == 9 / 40
    assert {each.text for each in report.findings if each.kind == "partly loaded" and each.path == "a"} == {
        "rows 30 to 32, 34 to 39 of 40 are as the seed draws them, the others are not"
    }
    model["a"][::2] = 1
    texts = found(model, NORMAL, "partly loaded", seed=0)
    assert texts["a"] == "4 of 40 rows are as the seed draws them, the others are not"


def test_layers_of_torch_by_their_seed_names():
    torch = pytest.importorskip("torch")
    from arrayinit.torch import init_module_, record

    model = torch.nn.Sequential(
        torch.nn.Embedding(9, 6, padding_idx=2), torch.nn.Linear(6, 8),
        torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(8, 8)),
    )  # fmt: skip
    names = {"1.weight": "old"}
    rules = {"*.bias": "zeros", "1.weight": "orthogonal", **NORMAL}
    init_module_(model, rules, seed=3, seed_names=names)
    report = ai.report(model, rules, seed=3, seed_names=names)
    assert report.findings == ()
    assert [row.as_drawn for row in report if row.rule != "*.bias"] == [1, 1, 1]
    assert [f.path for f in ai.report(model, rules, seed=3).findings] == ["1.weight"]
    assert [row.as_drawn for row in ai.report(model, rules, seed=4) if row.rule != "*.bias"] == [0, 0, 0]
    with record() as start:
        recorded = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Linear(8, 8))
    init_module_(recorded, start, seed=1)
    assert [row.as_drawn for row in ai.report(recorded, start, seed=1)] == [1] * 4


def test_a_seed_takes_nothing_and_needs_rules():
    model = drawn("a")
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    ai.report(model, NORMAL, seed=generator)
    assert generator.bit_generator.state == before
    for options in ({"seed": 0}, {"rules": NORMAL, "seed": 0, "values": False}, {"rules": NORMAL, "seed_names": {}}):
        with pytest.raises(ValueError, match=r"goes with rules, a seed and values=True|needs rules"):
            ai.report(model, **options)


def test_shards_of_ones_own():
    torch = pytest.importorskip("torch")
    from arrayinit.torch import Part, Shard, init_module_

    layer = torch.nn.Linear(6, 2, bias=False)  # holds rows 2 and 3 of a matrix 4 x 6
    shards = {"weight": Shard((4, 6), [Part(layer.weight, index=slice(2, 4))])}
    rules = {"weight": ai.spec("kaiming_normal")}
    init_module_(layer, rules, seed=0, shards=shards)
    row = ai.report(layer, rules, shards=shards)["weight"]
    assert (row.shape, row.fan_out) == ((4, 6), 4)
    assert row.std == pytest.approx(layer.weight.std(correction=0).item(), rel=1e-6)
    assert ai.report(layer, rules)["weight"].shape == (2, 6)
    with pytest.raises(ValueError, match="`shards` must have paths of the model; got other"):
        ai.report(layer, shards={"other": shards["weight"]})
    with pytest.raises(TypeError, match=r"`shards` goes with a torch\.nn\.Module"):
        ai.report({"a": ai.zeros(3)}, shards={})
