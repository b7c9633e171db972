"""What a notebook shows of each object: a table with its content, escaped."""

import html.parser

import pytest

import arrayinit as ai
from arrayinit.models.output_scales import LayerScale, OutputScales


class Cells(html.parser.HTMLParser):
    """The rows of tables as lists of texts; fails where a tag is not closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in {"style", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "ul", "li", "code", "b"}
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def rows(thing):
    return Cells(thing._repr_html_()).rows


HOSTILE = "<script>&'\""


def test_rules_and_a_rule():
    rules = ai.Rules(
        [(HOSTILE, "zeros"), ai.Rule("*.weight", ai.spec("normal", std=0.02), kind="Linear", lr_scale=0.5)]
    )
    assert rows(rules) == [
        ["parameters", "initializer"], [HOSTILE, "zeros"], ["*.weight of Linear", "normal, std=0.02, lr x 0.5"],
    ]  # fmt: skip
    assert rows(rules[1]) == [
        ["*.weight", ""], ["initializer", "normal, std=0.02"], ["kind", "Linear"], ["lr_scale", "0.5"],
    ]  # fmt: skip
    for rule in (*rules, ai.Rule("*", None, like="weight", min_ndim=2)):
        assert eval(repr(rule), {"Rule": ai.Rule, "spec": ai.spec}) == rule
    assert repr(rules[1]) == "Rule('*.weight', spec('normal', std=0.02), kind='Linear', lr_scale=0.5)"


def test_a_plan():
    plan = ai.init_params_({HOSTILE: ai.zeros((2, 3))}, {"*": "normal"}, seed=0, dry_run=True)
    assert rows(plan) == [
        ["parameter", "shape", "initializer", "rule"], [HOSTILE, "2x3", "normal", "*"],
        ["1 parameter, 6 elements to be drawn"],
    ]  # fmt: skip


def test_specs_draws_and_descriptions():
    assert rows(ai.spec("normal", std=0.02, layout="io")) == [
        ["normal", "value", ""], ["mean", "0.0", "default"], ["std", "0.02", ""], ["layout", "'io'", ""],
    ]  # fmt: skip
    assert rows(ai.Draw("normal", (2, 3), seed=4, name=HOSTILE)) == [
        ["draw", ""], ["initializer", "spec('normal')"], ["shape", "2x3"], ["seed", "4"], ["name", HOSTILE],
        ["dtype", "float32"],
    ]  # fmt: skip
    described = rows(ai.describe("xavier_uniform", (3, 5)))
    assert described[0] == ["xavier_uniform", ""]
    assert ["fan_in", "5"] in described
    assert ["std", "0.5"] in described
    assert not any(name == "gain" for name, _ in rows(ai.describe("normal", (3, 5))))


def test_output_scales():
    scales = OutputScales(
        (LayerScale("fc", 2.0, 1.0, 0.0, 0.5, 1, 1, ""), LayerScale("<x>", None, None, None, 1.0, 0, 0, "never runs"))
    )
    found = rows(scales)
    assert found[0][:3] == ["layer", "std before", "std after"]
    assert found[1] == ["fc", "2", "1", "0", "0.5", "1", "1"]
    assert found[-1] == ["2 layers, 1 scaled<x>: never runs"]
    assert str(scales).splitlines()[-1] == "! <x>: never runs"


def test_records():
    torch = pytest.importorskip("torch")
    from arrayinit.torch import record

    with record() as start:
        model = torch.nn.Linear(4, 3)
    assert model.weight.is_meta
    found = rows(start)
    assert found[0] == ["tensor", "shape", "initializer"]
    assert found[2] == ["bias", "3", "uniform, a=-0.5, b=0.5"]
    assert found[-1] == ["2 tensors"]
