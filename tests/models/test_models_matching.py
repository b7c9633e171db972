"""Rules matched with parameters: each one's initializer and key, and one error for everything that is wrong."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.models.matching import plan, ruled
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import PlanError

NORMAL = ai.spec("normal", std=0.02)
MODEL = [
    Parameter("embed.weight", (50, 8), "float32"),
    Parameter("fc.weight", (6, 8), "float32", kinds=("Linear",)),
    Parameter("fc.bias", (6,), "float32", kinds=("Linear",)),
    Parameter("conv.weight", (8, 2, 3), "float32", kinds=("Conv1d",), axes={"groups": 4, "transposed": True}),
    Parameter("conv.bias", (8,), "float32", kinds=("Conv1d",)),
]
RULES = {"*.bias": "zeros", "*": NORMAL}


def test_keys_are_those_of_the_names():
    made = plan(MODEL, RULES, seed=7)
    assert [entry.path for entry in made] == [parameter.path for parameter in MODEL]
    assert all(entry.key == ai.fold(7, entry.path) for entry in made)
    named = plan(MODEL, RULES, seed=7, seed_names={"fc.weight": "old.weight", "fc.bias": ("old", 3)})
    assert named[1].key == ai.fold(7, "old.weight")
    assert named[2].key == ai.fold(ai.fold(7, "old"), 3)
    assert named[0].key == made[0].key
    called = plan(MODEL, RULES, seed=7, seed_names=lambda path: path.upper() if path.startswith("fc") else None)
    assert [entry.seed_name for entry in called][:3] == ["embed.weight", "FC.WEIGHT", "FC.BIAS"]


def test_no_parameter_depends_on_the_others():
    whole = {entry.path: entry.key for entry in plan(MODEL, RULES, seed=7)}
    assert {entry.path: entry.key for entry in plan(MODEL[::-1], RULES, seed=7)} == whole
    few = {entry.path: entry.key for entry in plan(MODEL[1:3], RULES, seed=7)}
    assert few.items() <= whole.items()


def test_axes_of_the_framework_and_of_the_spec():
    kaiming = ai.spec("kaiming_normal")
    made = plan(MODEL, [("conv.weight", kaiming), ("*", "zeros")], seed=0)
    assert made[3].initializer == ai.spec("kaiming_normal", groups=4, transposed=True)
    made = plan([MODEL[3]], {"*": ai.spec("kaiming_normal", groups=2)}, seed=0)
    assert made[0].initializer == ai.spec("kaiming_normal", groups=2, transposed=True)
    with pytest.raises(PlanError, match=r"conv.weight.*`groups` must divide"):
        plan([MODEL[3]], {"*": ai.spec("kaiming_normal", groups=5)}, seed=0)


def test_a_spec_says_first_what_axes_mean():
    parameter = Parameter("w", (3, 4, 8), "float32", axes={"in_axis": -2, "out_axis": -1, "groups": 3})
    made = plan([parameter], {"*": ai.spec("xavier_normal", layout="oii")}, seed=0)
    assert made[0].initializer == ai.spec("xavier_normal", layout="oii", groups=3)


def test_the_fans_of_a_neighbour():
    rules = [
        ai.Rule("*.bias", ai.spec("variance_scaling", scale=1 / 3, distribution="uniform"), like="weight"),
        ("*", NORMAL),
    ]
    made = plan([*MODEL[1:3]], rules, seed=0)
    assert made[1].initializer.name == "uniform"
    assert (
        made[1].initializer.parameters["b"] == -made[1].initializer.parameters["a"] == pytest.approx(8**-0.5, abs=1e-15)
    )
    top = plan([Parameter("weight", (6, 8), "float32"), Parameter("bias", (6,), "float32")],
               [ai.Rule("bias", ai.spec("kaiming_normal"), like="weight"), ("*", NORMAL)], seed=0)  # fmt: skip
    assert top[1].initializer == ai.spec("normal", mean=0.0, std=ai.describe("kaiming_normal", (6, 8)).std)
    with pytest.raises(PlanError, match=r"`like` must name a neighbour; got 'weight', but there is no fc.weight"):
        plan([MODEL[2]], rules[:1], seed=0)
    with pytest.raises(PlanError, match="`like` needs a uniform, normal"):
        plan(MODEL[1:3], [ai.Rule("*.bias", ai.spec("orthogonal"), like="weight"), ("*", NORMAL)], seed=0)


def test_a_neighbour_that_is_tied_is_found_by_each_of_its_paths():
    parameters = [
        Parameter("embed.weight", (50, 8), "float32", tied=("head.weight",)),
        Parameter("head.bias", (50,), "float32"),
    ]
    rules = [ai.Rule("*.bias", ai.spec("kaiming_normal"), like="weight"), ("*", NORMAL)]
    made = plan(parameters, rules, seed=0)
    assert made[1].initializer == ai.spec("normal", mean=0.0, std=ai.describe("kaiming_normal", (50, 8)).std)


def test_kept_ones_and_optional_ones():
    parameters = [*MODEL[:2], Parameter("count", (), "int64", optional=True)]
    made = plan(parameters, [("embed.*", None), ("fc.*", NORMAL)], seed=0)
    assert [entry.initializer for entry in made] == [None, NORMAL, None]
    assert [entry.rule is None for entry in made] == [False, False, True]


def test_one_error_lists_all_that_is_wrong():
    parameters = [
        *MODEL[:3],
        Parameter("step", (), "int64"),
        Parameter("half.weight", (3, 4), "float16"),
        Parameter("twin.weight", (3, 4), "float32"),
        Parameter("other", (3,), "float32"),
    ]
    rules = {
        "*.bias": "kaiming_normal", "half.*": ai.spec("normal", std=1e9), "embed.*": NORMAL, "fc.*": NORMAL,
        "twin.*": NORMAL, "step": NORMAL,
    }  # fmt: skip
    with pytest.raises(PlanError) as caught:
        plan(parameters, rules, seed=0, seed_names={"twin.weight": "fc.weight"})
    assert set(caught.value.problems) == {"fc.bias", "step", "half.weight", "twin.weight", "other"}
    lines = str(caught.value).splitlines()
    assert lines[0] == "nothing was drawn, because 5 parameters can't be drawn:"
    assert len(lines) == 7
    text = str(caught.value)
    for words in ("fc.bias", "fans need a shape", "(scalar, int64, not floating): `dtype`, or that of `x`, must be",
                  "values must stay", "same random numbers as fc.weight", "(3, float32): no rule matches"):  # fmt: skip
        assert words in text


def test_an_error_folds_layers():
    parameters = [Parameter(f"h.{k}.{word}", (3,), "float32") for k in range(12) for word in ("w", "b")]
    with pytest.raises(PlanError) as caught:
        plan(parameters, {"h.0.w": "zeros"}, seed=0)
    assert len(caught.value.problems) == 23
    assert str(caught.value).splitlines()[1:3] == [
        "  h.{0..11}.b  (3, float32): no rule matches",
        "  h.{1..11}.w  (3, float32): no rule matches",
    ]


def test_parameters_that_share_a_path():
    parameters = [*MODEL, Parameter("fc.bias", (3,), "float32")]
    with pytest.raises(PlanError) as caught:
        plan(parameters, {"*": "zeros"}, seed=0)
    assert caught.value.problems == {"fc.bias": "(3, float32): 2 of the parameters have this path"}


def test_a_tuple_of_one_word_is_that_word():
    with pytest.raises(PlanError, match=r"as embed.weight: both have the seed name \('a',\)"):
        plan(MODEL[:2], {"*": NORMAL}, seed=0, seed_names={"embed.weight": "a", "fc.weight": ("a",)})


@pytest.mark.parametrize("names", [["a"], "a", 3])
def test_seed_names_that_are_none(names):
    with pytest.raises(TypeError, match="`seed_names` must be a mapping of paths to names or a function"):
        plan(MODEL, RULES, seed=0, seed_names=names)


def test_constants_may_share_a_name():
    plan(MODEL[2:3] + MODEL[4:], {"*": "zeros"}, seed=0, seed_names=lambda path: "bias")


def test_errors_name_the_rule_and_rules_that_match_nothing():
    with pytest.raises(PlanError) as caught:
        plan(MODEL[1:3], [("*.wieght", NORMAL), ("*.bias", "kaiming_normal")], seed=0)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  fc.weight  (6x8, float32): no rule matches"
    assert lines[2].endswith("(rule *.bias)")
    assert lines[3] == "parameters without a rule: add one, or (path, None) to leave them as they are"
    assert lines[4].endswith("(nothing matches, or an earlier rule comes first): *.wieght")


def test_warnings():
    with pytest.warns(UserWarning, match=r"^these rules apply to no parameter \(nothing .*\): \*\.scale, nor"):
        plan(MODEL, [("*.scale", "ones"), ("*", "zeros"), ("nor*", "zeros")], seed=0)
    with pytest.warns(UserWarning, match="`seed_names` has paths that the model lacks: fc.wieght"):
        plan(MODEL, RULES, seed=0, seed_names={"fc.wieght": "x"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan(MODEL, [ai.Rule("*.scale", ai.spec("ones"), optional=True), *ai.Rules(RULES)], seed=0)


def test_long_lists_of_idle_rules_are_cut():
    rules = [(f"nothing.{k}", "ones") for k in range(30)]
    said = r"an earlier rule comes first\): nothing\.0, nothing\.1, nothing\.2 and 27 more$"
    with pytest.warns(UserWarning, match=said):
        plan(MODEL, [*rules, ("*", "zeros")], seed=0)
    with pytest.raises(PlanError, match=said):
        plan(MODEL, rules, seed=0)
    with pytest.warns(UserWarning, match=r"nothing\.0, nothing\.1, nothing\.2$"):
        plan(MODEL, [*rules[:3], ("*", "zeros")], seed=0)


def test_rules_with_kinds_match_nothing_in_trees():
    tree = {"norm.weight": np.ones(3, np.float32), "fc.weight": np.ones((3, 3), np.float32)}
    norms, matrices = ai.Rule("*.weight", "ones", kind="*Norm"), ai.Rule("*.weight", "normal", min_ndim=2)
    said = "arrays without layers have no kinds: 1 rule with a kind can't match"
    with pytest.raises(PlanError, match=f"no rule matches\n(.*\n)*{said}$"):
        ai.init_params_(dict(tree), [norms, matrices], seed=0)
    with pytest.raises(PlanError, match=f"{said}$"):  # of a recipe, whose rules may match nothing
        ai.init_params_(dict(tree), [replace(norms, optional=True), matrices], seed=0)
    with pytest.warns(UserWarning, match=rf"comes first\): \*\.weight of \*Norm; {said}$"):
        ai.init_params_(dict(tree), [norms, ("*", "normal")], seed=0)
    with pytest.warns(UserWarning, match="comes first\\): nothing$"):  # which has no kind
        ai.init_params_(dict(tree), [replace(norms, optional=True), ("nothing", "ones"), ("*", "normal")], seed=0)
    others = ai.Rule("*", "ones", kind="!buffer", optional=True)  # matches nothing here, but excludes only
    with pytest.raises(PlanError) as caught:
        ai.init_params_(dict(tree), [others, matrices], seed=0)
    assert "kinds" not in str(caught.value)
    with pytest.raises(PlanError) as caught:
        plan([replace(MODEL[1], kinds=("Linear",))], [norms], seed=0)
    assert "kinds" not in str(caught.value)


FROZEN = [MODEL[0], Parameter("table", (4, 4), "float32", frozen="requires_grad=False")]


def test_frozen_parameters():
    with pytest.raises(PlanError) as caught:
        plan(FROZEN, {"*": NORMAL}, seed=0)
    assert caught.value.problems == {
        "table": "(4x4, float32): frozen (requires_grad=False), and the rule * would draw it: say frozen='draw' or "
        "frozen='keep', or put a rule of None before it, which keeps this one"
    }
    made = plan(FROZEN, {"*": NORMAL}, seed=0, frozen="draw")
    assert [entry.initializer for entry in made] == [NORMAL, NORMAL]
    assert str(made).splitlines()[3].startswith("table           4x4  normal, std=0.02, frozen (requires_grad=False)  ")
    made = plan(FROZEN, {"t*": "ones", "*": NORMAL}, seed=0, frozen="keep")  # and no rule counts as idle
    assert [entry.initializer for entry in made] == [NORMAL, None]
    assert str(made).splitlines()[3].startswith("table           4x4  kept as it is, frozen (requires_grad=False)  ")
    made = plan(FROZEN, {"table": None, "*": NORMAL}, seed=0)
    assert [entry.initializer for entry in made] == [NORMAL, None]
    made = plan(FROZEN, {"embed*": NORMAL}, seed=0, frozen="keep")
    assert [entry.initializer for entry in made] == [NORMAL, None]


def test_names_are_checked_whatever_else_is_wrong():
    step = Parameter("step", (3, 3), "int64")
    with pytest.raises(TypeError, match="name"):
        plan([step], {"*": NORMAL}, seed=0, seed_names={"step": 1.5})
    frozen = [Parameter(path, (4, 4), "float32", frozen="requires_grad=False") for path in "ab"]
    with pytest.raises(PlanError) as caught:
        plan(frozen, {"*": NORMAL}, seed=0, seed_names={"a": "same", "b": "same"})
    assert set(caught.value.problems) == {"a", "b"}
    assert "seed name" in caught.value.problems["b"]


def test_rules_that_keep_frozen_parameters():
    rules = ai.Rules([ai.Rule("t*", NORMAL, keeps_frozen=True), ai.Rule("*", NORMAL)])
    with pytest.warns(
        UserWarning, match="^1 frozen parameter not drawn: table; say frozen='keep' if that is meant, or"
    ):
        made = plan(FROZEN, rules, seed=0)
    assert [each.is_drawn for each in made] == [True, False]
    assert str(made).splitlines()[3].startswith("table           4x4  kept as it is, frozen (requires_grad=False)  ")
    assert [each.is_drawn for each in plan(FROZEN, rules, seed=0, frozen="keep")] == [True, False]
    assert [each.is_drawn for each in plan(FROZEN, rules, seed=0, frozen="draw")] == [True, True]
    with pytest.raises(PlanError, match="say frozen='draw' or frozen='keep'"):  # a rule before it that does not
        plan(FROZEN, ai.Rules([("table", "ones"), *rules]), seed=0)
    many = [Parameter(f"t{k}", (4, 4), "float32", frozen="requires_grad=False") for k in range(5)]
    with pytest.warns(UserWarning, match="^5 frozen parameters not drawn: t0, t1, t2 and so on; "):
        plan(many, rules[:1], seed=0)
    gone = Parameter("table", (4, 4), "float32", frozen="requires_grad=False", has_values=False)
    with pytest.raises(PlanError, match="without values to keep; a rule of None leaves it as it is, frozen='draw'"):
        plan([gone], rules[:1], seed=0)
    assert plan([gone], rules[:1], seed=0, frozen="draw")[0].is_drawn


def test_frozen_parameters_without_values_are_not_kept():
    parameter = Parameter("table", (4, 4), "float32", frozen="requires_grad=False", has_values=False)
    with pytest.raises(PlanError, match="without values to keep; a rule of None leaves it as it is"):
        plan([parameter], {"*": NORMAL}, seed=0, frozen="keep")
    assert plan([parameter], {"*": None}, seed=0, frozen="keep")[0].initializer is None


def test_what_can_not_be_drawn_can_be_kept():
    parameter = Parameter("w", (4, 4), "float32", problem="is not here")
    with pytest.raises(PlanError, match=r"w  \(4x4, float32\): is not here"):
        plan([parameter], {"*": NORMAL}, seed=0)
    assert plan([parameter], {"*": None}, seed=0)[0].initializer is None


ORIGINALS = tuple(
    Parameter(f"fc.weight_{end}", (6, 8 if end == "v" else 1), "float32", marks=(f"_{end}",)) for end in "vg"
)
NORMED = Parameter("fc.weight", (6, 8), "float32", through="WeightNorm", originals=ORIGINALS)


@pytest.mark.parametrize(
    ("rules", "paths"),
    [
        ({"*": NORMAL}, ["fc.weight"]),
        ({"*weight*": NORMAL}, ["fc.weight"]),
        ({"*": NORMAL, "*_g": "ones"}, ["fc.weight"]),
        ({"*g": "ones", "*": NORMAL}, ["fc.weight"]),
        ({lambda path, shape: 1 in shape: "ones", "*": NORMAL}, ["fc.weight"]),
        ({"*_g": "ones", "*_v": NORMAL}, ["fc.weight_v", "fc.weight_g"]),
        ({"*_v": NORMAL, "*weight_g": "ones", "*": "zeros"}, ["fc.weight_v", "fc.weight_g"]),
        ({re.compile(r"weight(_g|_v)$"): NORMAL, "*": "zeros"}, ["fc.weight_v", "fc.weight_g"]),
        ({}, ["fc.weight"]),
    ],
)
def test_originals_are_drawn_where_rules_name_them(rules, paths):
    assert [parameter.path for parameter, _ in ruled([NORMED], ai.Rules(rules))] == paths


def test_rules_that_do_not_name_an_original_are_not_for_it():
    with pytest.raises(PlanError) as caught:
        plan([NORMED], {"*_v": NORMAL, "*": "zeros"}, seed=0)
    assert caught.value.problems == {
        "fc.weight_g": "(6x1, float32): no rule names it; its pattern must have '_g' in it"
    }


def test_neighbours_whose_originals_are_drawn():
    rules = [("*_v", NORMAL), ("*_g", "ones"), ai.Rule("*.bias", ai.spec("kaiming_normal"), like="weight")]
    made = plan([NORMED, MODEL[2]], rules, seed=0)
    assert made[2].initializer == ai.spec("normal", mean=0.0, std=ai.describe("kaiming_normal", (6, 8)).std)


def test_numbers_of_a_neighbour_have_the_precision_of_the_parameter():
    shapes = {"weight": (4, 3), "bias": (4,)}

    def bias(initializer, dtype):
        parameters = [Parameter(path, shape, dtype) for path, shape in shapes.items()]
        rules = ai.Rules([ai.Rule("bias", initializer, like="weight"), ai.Rule("*", ai.spec("zeros"))])
        entry = next(entry for entry in plan(parameters, rules, seed=0) if entry.path == "bias")
        return entry.initializer((4,), seed=entry.key, dtype=dtype)

    assert (bias(ai.spec("constant", val=0.1), "float64") == 0.1).all()
    assert (bias(ai.spec("normal", mean=0.1, std=0.0), "float64") == 0.1).all()
    assert (bias(ai.spec("normal", mean=0.5, std=0.0), "complex64") == 0.5 + 0.5j).all()
    assert (bias(ai.spec("constant", val=0.5), "complex64") == 0.5).all()
    assert (bias(ai.spec("constant", val=1e300), "float64") == 1e300).all()
    assert (bias(ai.spec("normal", std=1e-200), "float64") != 0).all()
