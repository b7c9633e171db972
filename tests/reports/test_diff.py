"""What changed between two models, and before and after."""

import numpy as np
import pytest

import arrayinit as ai


def params(**others):
    w = ai.normal((4, 6), seed=0)
    return {"a": w, "b": ai.zeros(4), "c": w[:2]} | others


def kinds(diff):
    return {change.path: change.kind for change in diff}


def test_kinds_and_numbers():
    before = ai.report(params(gone=ai.ones(3), shape=ai.ones(3), dtype=ai.ones(3)), casts=True)
    diff = before.diff(params(a=3 * params()["a"], new=ai.ones(2), shape=ai.ones(4), dtype=ai.ones(3).astype("f2")))
    assert kinds(diff) == {
        "a": "changed", "b": "equal", "c": "equal", "gone": "removed", "shape": "reshaped", "dtype": "cast",
        "new": "added",
    }  # fmt: skip
    change = diff["a"]
    assert change.std_ratio == pytest.approx(3)
    assert change.after.mean == pytest.approx(3 * change.before.mean)
    assert (diff["new"].before, diff["gone"].after, diff["b"].std_ratio) == (None, None, None)
    assert [each.path for each in diff.different] == ["a", "gone", "shape", "dtype", "new"]
    assert diff[1] is diff["b"]
    assert len(diff[:2]) == 2
    lines = diff.to_text(200).splitlines()
    assert lines[0].split() == ["parameter", "change", "shape", "dtype", "mean", "before", "mean", "after", "std",
                                "before", "std", "after", "std", "ratio"]  # fmt: skip
    assert [line.split()[0] for line in lines[2:7]] == ["a", "gone", "shape", "dtype", "new"]
    assert lines[-1] == "7 arrays: 2 equal, 1 changed, 1 removed, 1 reshaped, 1 cast, 1 added"
    assert "3 to 4" in lines[4]
    assert "float32 to float16" in lines[5]
    assert '<td class="n">3 to 4</td>' in diff._repr_html_()
    assert diff.to_html().startswith("<!doctype html>")
    assert "| a | changed |" in diff.to_markdown()
    assert repr(diff) == str(diff)
    with pytest.raises(KeyError, match="nothing"):
        diff["nothing"]


def test_one_bit_is_a_change_and_no_change_is_none():
    other = params()
    other["a"] = other["a"].copy()
    other["a"].view(np.uint32)[3, 5] ^= 1
    assert kinds(ai.report(params()).diff(other)) == {"a": "changed", "b": "equal", "c": "equal"}
    same = ai.report(params()).diff(ai.report(params()))
    assert str(same) == "3 arrays: 3 equal"  # and no empty table
    assert same.to_markdown() == "3 arrays: 3 equal\n"
    assert "<th" not in same.to_html()
    assert same.different == ()


def test_a_cast_is_told_from_a_change():
    torch = pytest.importorskip("torch")
    dtypes = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    x = ai.normal((300, 40), seed=0, xp="torch", dtype="float64") * 100
    x[0, 0], x[0, 1], x[0, 2], x[0, 3] = 0.0, -0.0, torch.inf, 1e-7
    for a, b in ((a, b) for a in dtypes for b in dtypes if a != b):
        before, after = x.to(dtypes[a]), x.to(dtypes[a]).to(dtypes[b])
        assert kinds(ai.report({"w": before}, casts=True).diff({"w": after})) == {"w": "cast"}, (a, b)
        after[7, 8] *= 2
        assert kinds(ai.report({"w": before}, casts=True).diff({"w": after})) == {"w": "cast and changed"}, (a, b)
    host = x.numpy()
    assert kinds(ai.report({"w": host}, casts=True).diff({"w": host.astype(np.float16)})) == {"w": "cast"}
    assert kinds(ai.report({"w": host}, casts=True).diff({"w": host.astype(np.complex128)})) == {"w": "not compared"}


def test_what_needs_casts_is_not_guessed():
    w = ai.normal((4, 6), seed=0)
    half = w.astype(np.float16)
    diff = ai.report({"w": w}).diff({"w": half})
    assert kinds(diff) == {"w": "not compared"}
    assert diff.to_text(200).endswith("1 not compared; report(model, casts=True) compares values of other dtypes")
    assert kinds(ai.report({"w": half}).diff({"w": w})) == {"w": "cast"}  # the wider one is measured here
    assert kinds(ai.report({"w": half}).diff(ai.report({"w": w}))) == {"w": "not compared"}
    assert kinds(ai.report({"w": half}).diff({"w": 2 * w})) == {"w": "cast and changed"}


def test_both_means_are_shown_or_none():
    w = ai.normal((4, 6), seed=0)
    diff = ai.report({"layer.weight": w}).diff({"layer.weight": 2 * w.astype(np.float16)})
    for width in range(60, 160, 10):
        lines = diff.to_text(width).splitlines()
        assert ("mean before" in lines[0]) == ("mean after" in lines[0])


def test_before_and_after_in_place():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(6)))
    before = ai.report(model)
    with torch.no_grad():
        for layer in list(model)[1:5]:
            layer.weight *= 2
    diff = before.diff(model)
    lines = diff.to_text(200).splitlines()
    assert lines[2].split()[:3] == ["{1..4}.weight", "changed", "4x4"]
    assert lines[2].endswith("  2")
    assert lines[-1] == "12 arrays: 8 equal, 4 changed"
    assert len(ai.report(model, fold=False).diff(before).to_text(200).splitlines()) == 2 + 4 + 2


def test_tied_weights_are_compared_under_each_path():
    w = ai.normal((4, 6), seed=0)
    tied, parted = {"wte": w, "head": w}, {"wte": w, "head": 2 * w}
    assert kinds(ai.report(tied).diff(parted)) == {"wte": "equal", "head": "changed"}
    assert kinds(ai.report(parted).diff(tied)) == {"wte": "equal", "head": "changed"}


def test_models_without_values_are_not_compared():
    torch = pytest.importorskip("torch")
    meta = torch.nn.Linear(3, 2, device="meta")
    diff = ai.report(torch.nn.Linear(3, 2)).diff(meta)
    assert kinds(diff) == {"weight": "not compared", "bias": "not compared"}
    assert str(diff).splitlines()[-1] == "2 arrays: 0 equal, 2 not compared"
    with pytest.raises(TypeError, match="`model` must be"):
        ai.report(meta).diff(3)
