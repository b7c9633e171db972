"""Rows that repeat: which become one, what that is called, and what it says of numbers that differ."""

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.common.folding import folded, template


def labels(paths, kinds=None):
    return [label for label, _ in folded(paths, kinds or [None] * len(paths))]


def test_numbers_of_layers():
    assert template("h.3.Dense_12.w2.conv1d.0") == "h.#.Dense_#.w2.conv1d.#"
    assert template("3") == "#"


def test_labels():
    assert labels([f"h.{k}.w" for k in range(12)]) == ["h.{0..11}.w"]
    assert labels([f"Dense_{k}.kernel" for k in (7, 0, 1, 2)]) == ["Dense_{0..2,7}.kernel"]
    assert labels(["h.0.w", "h.1.w"]) == ["h.0.w", "h.1.w"]  # two are read as easily
    assert labels(["a.w", "b.w", "c.w"]) == ["a.w", "b.w", "c.w"]
    grid = [f"h.{k}.experts.{j}.w" for k in range(2) for j in range(3)]
    assert labels(grid) == ["h.{0..1}.experts.{0..2}.w"]
    assert labels(grid[:-1]) == ["h.0.experts.{0..2}.w", "h.1.experts.0.w", "h.1.experts.1.w"]
    assert labels([f"0.{k}.w" for k in range(3)]) == ["0.{0..2}.w"]
    assert labels([]) == []


def test_groups_are_in_order_and_have_each_row_once():
    paths = [f"h.{k}.{name}" for k in range(5) for name in ("a", "b")] + ["head"]
    kinds = [path == "h.3.a" for path in paths]
    groups = folded(paths, kinds)
    assert [label for label, _ in groups] == ["h.{0..2,4}.a", "h.{0..4}.b", "h.3.a", "head"]
    assert sorted(k for _, rows in groups for k in rows) == list(range(len(paths)))
    for label, rows in groups:
        assert all(template(paths[k]) == template(label.replace("{0..2,4}", "0").replace("{0..4}", "0")) for k in rows)


RULES = {"*.b": "zeros", "*": ai.spec("normal", std=0.1)}


def model(layers=6):
    params = {"wte": ai.normal((8, 4), std=0.1, seed=0, name="wte")}
    params |= {f"h.{k}.w": ai.normal((4, 5), std=0.1, seed=0, name=f"h.{k}.w") for k in range(layers)}
    return params | {f"h.{k}.b": ai.zeros(5) for k in range(layers)}


def test_a_report_folds_and_keeps_all_rows():
    params = model()
    report = ai.report(params, RULES)
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["wte", "h.{0..5}.w", "h.{0..5}.b"]
    stds = [row.std for row in report if row.path.endswith("w")]
    assert f"{min(stds):.3g}..{max(stds):.3g}" in lines[3]
    assert lines[6] == "13 arrays in 3 rows, 182 elements, 728 B; no findings"
    assert len(report) == 13
    assert report["h.3.w"].shape == (4, 5)
    assert report._repr_html_().count("<tr>") == 1 + 3 + 1
    every = ai.report(params, RULES, fold=False)
    assert len(every.to_text(200).splitlines()) == 2 + 13 + 2
    assert "13 arrays, 182 elements" in str(every)
    assert every.to_markdown().count("h.3.w") == 1


def test_what_has_a_finding_is_not_hidden():
    params = model()
    params["h.2.w"] = 100 * params["h.2.w"]
    lines = str(ai.report(params)).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["wte", "h.{0..1,3..5}.w", "h.2.w", "h.{0..5}.b"]
    assert lines[4].endswith("exploding")


def test_buffers_of_one_name_are_one_row():
    nn = pytest.importorskip("torch.nn")
    modules = {f"bn{'abcd'[k]}": nn.BatchNorm1d(3 + k) for k in range(4)}
    report = ai.report(nn.ModuleDict(modules))
    shown = str(report).splitlines()
    assert [line.split(",")[0] for line in shown if line.startswith("*.")] == [
        "*.running_mean", "*.running_var", "*.num_batches_tracked",
    ]  # fmt: skip
    (mean,) = (line for line in shown if line.startswith("*.running_mean"))
    assert mean.startswith("*.running_mean, 4 buffers ")
    assert mean.split()[3] == "several"  # shapes
    assert "20 arrays in 11 rows" in str(report)
    few = str(ai.report(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(4))))
    assert "2.running_mean" in few
    ruled = ai.report(nn.ModuleDict(modules), [ai.Rule("*mean", "zeros", kind="buffer"), ("*", "ones")])
    assert "bna.running_mean" in str(ruled)  # a rule draws it


def test_a_text_is_as_wide_as_its_terminal(monkeypatch):
    import io
    import sys

    params = {f"{'long.' * 12}{k}.w": np.full((4, 4), 1e6, np.float32) for k in range(2)}
    report = ai.report(params, {"*": ai.spec("normal", std=0.1)})

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("COLUMNS", raising=False)
    assert str(report) == report.to_text(100)
    assert all(len(line) <= 100 for line in str(report).splitlines())
    note = "".join(str(report).partition("left out")[1:]).replace("\n ", "")
    titles, width = note.removeprefix("left out to fit 100 characters: ").removesuffix(") shows them").split("; ")
    shown = report.to_text(int(width.removeprefix("to_text(width="))).splitlines()
    assert set(titles.split(", ")) == {"dtype", "initializer", "fan in", "fan out", "expected mean"}
    assert all(title in shown[0] and title not in str(report).splitlines()[0] for title in titles.split(", "))
    assert not any("left out" in line for line in shown)
    assert "long." * 12 in shown[2]  # not cut either
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "140")
    assert str(report) == report.to_text(140) != report.to_text(100)
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # a pipe
    assert str(report) == report.to_text(140)
    monkeypatch.delenv("COLUMNS")
    assert str(report) == report.to_text(100)
    monkeypatch.setattr(sys, "stdout", None)  # as for a program without a console
    assert str(report) == report.to_text(100)
