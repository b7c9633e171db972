"""Plans: what their entries draw, what they say, and what they refuse."""

import pickle

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import draw
from arrayinit.models.matching import plan
from arrayinit.models.parameters import Parameter

NORMAL = ai.spec("normal", std=0.02)
WEIGHT, BIAS = Parameter("fc.weight", (6, 8), "float32"), Parameter("fc.bias", (6,), "float32")
ORIGINALS = tuple(
    Parameter(f"fc.weight_{end}", (6, 8 if end == "v" else 1), "float32", marks=(f"_{end}",)) for end in "vg"
)
NORMED = Parameter("fc.weight", (6, 8), "float32", through="WeightNorm", originals=ORIGINALS)


@pytest.mark.parametrize("initializer", ["xavier_uniform", "orthogonal", "zeros", ai.spec("normal", layout="io")])
def test_entries_draw_what_their_initializers_draw(initializer):
    (entry,) = plan([WEIGHT], {"*": initializer}, seed=3)
    expected = entry.initializer((6, 8), seed=ai.fold(3, "fc.weight"))
    x = np.full((6, 8), 7, np.float32)
    assert (entry.new_like(x) == expected).all()
    assert (x == 7).all()
    entry.fill_(x)
    assert (x == expected).all()
    assert (entry.new("numpy", None) == expected).all()


def test_a_draw_finds_no_law_again(monkeypatch):
    (entry,) = plan([WEIGHT], {"*": "kaiming_normal"}, seed=3)
    expected = ai.kaiming_normal((6, 8), seed=entry.key)
    monkeypatch.setattr(draw, "_job_for", None)
    assert (entry.new_like(np.empty((6, 8), np.float32)) == expected).all()


def test_arrays_of_another_dtype_are_drawn_in_theirs():
    (entry,) = plan([WEIGHT], {"*": NORMAL}, seed=3)
    x = np.empty((6, 8), np.float64)
    entry.fill_(x)
    assert (x == NORMAL((6, 8), seed=entry.key, dtype="float64")).all()


def test_arrays_that_changed_since_they_were_planned():
    (entry,) = plan([WEIGHT], {"*": "ones"}, seed=3)
    x = np.empty((8, 6), np.float32)
    with pytest.raises(ValueError, match=r"fc.weight must have the shape that was planned, \(6, 8\); got \(8, 6\)"):
        entry.fill_(x)


def test_plans_can_be_pickled():
    made = plan([WEIGHT, BIAS], {"*.bias": "zeros", "*": NORMAL}, seed=0)
    assert pickle.loads(pickle.dumps(made)) == made


def test_factors_of_originals():
    made = plan([NORMED], [ai.Rule("*", NORMAL, lr_scale=0.5, eps_scale=2.0)], seed=0)
    assert made.eps_scales == {"fc.weight": 2.0, "fc.weight_v": 2.0, "fc.weight_g": 2.0}
    assert made.lr_scales == {"fc.weight": 0.5, "fc.weight_v": 0.5, "fc.weight_g": 0.5}


def test_a_plan_can_be_read():
    made = plan(
        [WEIGHT, BIAS, Parameter("head.weight", (50, 8), "float32", tied=("embed.weight",))],
        [("fc.bias", None), ai.Rule("head.*", NORMAL, lr_scale=0.5), ("*", "xavier_uniform")],
        seed=0, seed_names={"fc.weight": "old"},
    )  # fmt: skip
    assert repr(made) == str(made)
    assert str(made).splitlines() == [
        "parameter    shape  initializer                          rule     seed name",
        "---------------------------------------------------------------------------",
        "fc.weight      6x8  xavier_uniform                       *        old",
        "fc.bias          6  kept as it is                        fc.bias",
        "head.weight   50x8  normal, std=0.02, also embed.weight  head.*",
    ]
    shown = made._repr_html_()
    assert "<th>seed name</th>" in shown
    assert "<td>xavier_uniform</td><td>*</td><td>old</td>" in shown
    assert "3 parameters, 448 elements to be drawn" in shown
    assert "seed name" not in str(made[1:]) + made[1:]._repr_html_()  # where all are paths
    assert made.lr_scales == {"fc.weight": 1.0, "fc.bias": 1.0, "head.weight": 0.5}
    assert len(made[1:]) == 2
