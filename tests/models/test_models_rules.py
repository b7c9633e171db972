"""Rules as data: what matches, what wins, and that a text gives back what was written."""

import itertools
import json
import pickle
import re

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import Rule, Rules

NORMAL = ai.spec("normal", std=0.02)


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("*.bias", "layers.0.bias", True),
        ("*.bias", "bias", False),
        ("*bias", "bias", True),
        ("layers.*.weight", "layers.0.mlp.weight", True),
        ("layers.?.weight", "layers.10.weight", False),
        ("layers.[01].weight", "layers.1.weight", True),
        ("*.Bias", "layers.0.bias", False),
        (re.compile(r"\.(q|k)\."), "att.q.weight", True),
        (re.compile(r"^q"), "att.q.weight", False),
        (lambda path, shape: len(shape) == 1, "norm.weight", True),
        (lambda path, shape: len(shape) == 2, "norm.weight", False),
    ],
)
def test_patterns(pattern, path, found):
    assert Rule(pattern, NORMAL).matches(path, (3,)) is found


def test_kinds_are_those_of_the_layer_and_its_parents():
    rule = Rule("*.weight", NORMAL, kind="Conv*")
    assert rule.matches("c.weight", (3, 4, 5), ("Mine", "Conv1d", "_ConvNd"))
    assert not rule.matches("c.weight", (3, 4, 5), ("Linear",))
    assert not rule.matches("c.weight", (3, 4, 5))
    assert not rule.matches("c.bias", (3,), ("Conv1d",))


def test_one_of_several_kinds_is_enough():
    rule = Rule("*.weight", NORMAL, kind=["*Norm", "Conv?d"])
    assert rule == Rule("*.weight", NORMAL, kind=("*Norm", "Conv?d")) != Rule("*.weight", NORMAL, kind="*Norm")
    assert Rule("*.weight", NORMAL, kind=("*Norm",)) == Rule("*.weight", NORMAL, kind="*Norm")
    assert rule.matches("c.weight", (3,), ("LlamaRMSNorm", "Module"))
    assert rule.matches("c.weight", (3,), ("Mine", "Conv2d"))
    assert not rule.matches("c.weight", (3,), ("Linear",))
    assert not rule.matches("c.weight", (3,))
    assert rule.text == "*.weight of *Norm, Conv?d"
    no_buffer = Rule("*.weight", NORMAL, kind=("*Norm", "!buffer"))
    assert no_buffer.matches("c.weight", (3,), ("LayerNorm", "Module"))
    assert not no_buffer.matches("c.weight", (3,), ("LayerNorm", "Module", "buffer"))
    assert not no_buffer.matches("c.weight", (3,), ("Linear",))
    other = Rule("*.weight", NORMAL, kind="!Linear")
    assert [other.matches("c.weight", (3,), kinds) for kinds in (("Conv1d",), ("Mine", "Linear"), ())] == [
        True,
        False,
        False,
    ]
    assert Rule("*", NORMAL, kind=list("abcde")).text == "* of a, b, c and 2 more"


@pytest.mark.parametrize(
    ("least", "most", "text", "matching"),
    [
        (None, None, "*", [0, 1, 2, 3]),
        (2, None, "*, ndim >= 2", [2, 3]),
        (None, 1, "*, ndim <= 1", [0, 1]),
        (1, 2, "*, ndim >= 1, ndim <= 2", [1, 2]),
        (0, 0, "*, ndim = 0", [0]),
    ],
)
def test_numbers_of_axes(least, most, text, matching):
    rule = Rule("*", NORMAL, min_ndim=least, max_ndim=most)
    assert [n for n in range(4) if rule.matches("a", (2,) * n)] == matching
    assert rule.text == text


def test_the_first_match_wins():
    rules = Rules({"*.norm.weight": "ones", "*.weight": NORMAL, "*": "zeros"})
    assert [rules.find(path, ()).initializer.name for path in ("a.norm.weight", "a.weight", "a.bias")] == [
        "ones", "normal", "zeros",
    ]  # fmt: skip
    assert Rules({"*.weight": "ones"}).find("bias", ()) is None


def test_rules_are_a_sequence():
    first, second = Rule("a", ai.spec("zeros")), Rule("b", None)
    rules = Rules([first, ("b", None)])
    assert list(rules) == [first, second] == [rules[0], rules[1]]
    assert len(rules) == 2
    assert rules[1:] == Rules([second])
    assert rules[1:] + rules == Rules([second, first, second])
    assert Rules([Rule("c", NORMAL), *rules])[0].pattern == "c"
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert hash(rules) == hash(Rules([first, second]))


SAMPLE_RULES = Rules(
    [
        Rule("head.*", None),
        Rule(re.compile(r"\.(q|k)\.weight$", re.IGNORECASE), ai.spec("xavier_uniform", gain=0.5, layout="io")),
        Rule("*.bias", ai.spec("variance_scaling", scale=0.25, distribution="uniform"), like="weight", kind="Linear"),
        Rule("*.out.weight", NORMAL, lr_scale=0.25, eps_scale=0.5, optional=True),
        Rule("*.weight", ai.spec("trunc_normal", a=-float("inf"), b=1.0)),
        Rule("*.scale", "ones", kind=("*Norm", "*GRN"), max_ndim=1, keeps_frozen=True),
        Rule("*.kernel", NORMAL, min_ndim=2, max_ndim=5),
        Rule("*.gamma_log", "lru_gamma_log", seed_of="nu_log"),
        Rule("*.experts", ai.spec("kaiming_normal", in_axis=(1, 2), out_axis=0)),
        Rule("*", ai.spec("zeros")),
    ]
)


@pytest.mark.parametrize("form", ["json", "toml"])
def test_texts_give_back_what_was_written(form):
    text = getattr(SAMPLE_RULES, f"to_{form}")()
    read = getattr(Rules, f"from_{form}")(text)
    assert [rule.initializer for rule in read] == [rule.initializer for rule in SAMPLE_RULES]
    assert [rule.matches("x.Q.weight", (2, 3)) for rule in read] == [
        r.matches("x.Q.weight", (2, 3)) for r in SAMPLE_RULES
    ]
    assert read.as_dict() == SAMPLE_RULES.as_dict()
    names = ("like", "kind", "lr_scale", "eps_scale", "optional", "min_ndim", "max_ndim", "keeps_frozen", "seed_of")
    for name in names:
        assert [getattr(rule, name) for rule in read] == [getattr(rule, name) for rule in SAMPLE_RULES]


def test_toml_as_one_would_write_it():
    rules = Rules.from_toml(
        """
        [[rules]]
        pattern = "*.bias"
        initializer = "zeros"

        [[rules]]
        regex = "weight$"
        initializer = {name = "normal", std = 0.02}

        [[rules]]
        pattern = "*.scale"
        keep = true
        """
    )
    assert rules[0] == Rule("*.bias", ai.spec("zeros"))
    assert rules[1].initializer == NORMAL
    assert rules[2] == Rule("*.scale", None)


def test_a_reader_can_print_them():
    assert str(SAMPLE_RULES).splitlines() == [
        "head.*                                   kept as it is",
        r"/\.(q|k)\.weight$/                       xavier_uniform, gain=0.5, layout='io'",
        "*.bias of Linear                         variance_scaling, distribution='uniform', scale=0.25, fans of weight",
        "*.out.weight                             normal, std=0.02, lr x 0.25, eps x 0.5",
        "*.weight                                 trunc_normal, a=-inf, b=1.0",
        "*.scale of *Norm, *GRN, ndim <= 1        ones",
        "*.kernel, ndim >= 2, ndim <= 5           normal, std=0.02",
        "*.gamma_log                              lru_gamma_log, seed of nu_log",
        "*.experts                                kaiming_normal, in_axis=(1, 2), out_axis=0",
        "*                                        zeros",
    ]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Rule(3, NORMAL), TypeError, "`pattern` must be a glob.*got 3"),
        (lambda: Rule("", NORMAL), TypeError, "`pattern` must be a glob"),
        (lambda: Rule("*", NORMAL, like=3), TypeError, "`like` must be a string"),
        (lambda: Rule("*", NORMAL, kind=3), TypeError, "`kind` must be a glob, a sequence of globs or None; got 3"),
        (lambda: Rule("*", NORMAL, kind=()), TypeError, "`kind` must be a glob, a sequence of globs or None"),
        (lambda: Rule("*", NORMAL, kind=["a", 1]), TypeError, "`kind` must be a glob, a sequence of globs or None"),
        (lambda: Rule("*", NORMAL, min_ndim=-1), ValueError, "`min_ndim` must be at least 0; got -1"),
        (lambda: Rule("*", NORMAL, max_ndim=1.0), TypeError, "`max_ndim` must be an integer; got 1.0"),
        (
            lambda: Rule("*", NORMAL, min_ndim=2, max_ndim=1),
            ValueError,
            "`min_ndim` must not be above `max_ndim`; got min_ndim=2 and max_ndim=1",
        ),
        (lambda: Rule("*", NORMAL, seed_of=1), TypeError, "`seed_of` must be a string or None; got 1"),
        (lambda: Rule("*", NORMAL, keeps_frozen=1), TypeError, "`keeps_frozen` must be True or False; got 1"),
        (lambda: Rule("*", NORMAL, lr_scale="1"), TypeError, "`lr_scale` must be a real number"),
        (lambda: Rule("*", NORMAL, lr_scale=float("nan")), ValueError, "`lr_scale` must be finite"),
        (lambda: Rule("*", NORMAL, eps_scale=-1.0), ValueError, "`eps_scale` must not be negative; got -1.0"),
        (lambda: Rule("*", NORMAL, optional="no"), TypeError, "`optional` must be True or False; got 'no'"),
        (lambda: Rule(re.compile(b"w"), NORMAL), TypeError, "compiled regular expression .of text."),
        (lambda: Rules(None), TypeError, "`rules` must be a mapping.*got None"),
        (lambda: Rules(NORMAL), TypeError, "`rules` must be a mapping.*got spec"),
        (lambda: Rules("zeros"), TypeError, "`rules` must be a mapping.*got 'zeros'"),
        (
            lambda: Rules({"*": ai.spec("packed", initializer=(ai.spec("kaiming_normal", a=None),))}).to_toml(),
            ValueError,
            "`initializer` must be something that TOML has",
        ),
        (lambda: Rules({"*": "zeroes"}), ValueError, "`initializer` must name an initializer"),
        (lambda: Rules({"*": 3}), TypeError, "`initializer` must be an arrayinit.Spec, its name"),
        (lambda: Rules(["*"]), TypeError, "`rules` must hold Rules, or pairs"),
        (
            lambda: Rules.from_json("{}"),
            ValueError,
            r'rules must be patterns .*, {"\*.bias": "zeros", .* {"rules": \[{',
        ),
        (lambda: Rules.from_dict({"w": [3, 4]}), ValueError, "rules must be patterns .* got {'w': "),
        (lambda: Rules.from_dict({"rules": [], "*": "ones"}), ValueError, "rules must be patterns"),
        (lambda: Rules.from_dict({"pattern": "*", "initializer": "ones"}), ValueError, "rules must be patterns"),
        (lambda: Rules.from_dict({"*": "zeross"}), ValueError, "did you mean 'zeros'"),
        (lambda: Rules.from_json("nothing"), ValueError, "Expecting value"),
        (lambda: Rules.from_toml("rules = 3"), ValueError, "rules must be patterns"),
        (lambda: Rule.from_dict({"initializer": "zeros"}), ValueError, "one of 'pattern' and 'regex'"),
        (lambda: Rule.from_dict({"pattern": "*"}), ValueError, "must have an 'initializer', or 'keep' = true"),
        (
            lambda: Rule.from_dict({"pattern": "*", "initializer": "ones", "keep": True}),
            ValueError,
            "must have an 'init",
        ),
        (lambda: Rule.from_dict({"pattern": "*", "keep": True, "std": 3}), ValueError, "no other entries; got std"),
        (lambda: Rule.from_dict({"regex": "(", "keep": True}), ValueError, "'regex' must be a regular expression"),
        (
            lambda: Rules([(lambda path, shape: True, "zeros")]).to_json(),
            TypeError,
            "`pattern` must be a glob or a reg",
        ),
        (
            lambda: Rules({"*": ai.spec("kaiming_normal", a=None)}).to_toml(),
            ValueError,
            "`initializer` must be something that TOML has",
        ),
    ],
)
def test_wrong_rules(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_json_is_plain():
    assert json.loads(Rules({"*.bias": "zeros", "x": NORMAL}).to_json()) == {
        "rules": [
            {"pattern": "*.bias", "initializer": "zeros"},
            {"pattern": "x", "initializer": {"name": "normal", "std": 0.02}},
        ]
    }


@pytest.mark.parametrize("read", [Rules.from_json, Rules.from_toml])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, TypeError),
        (3, TypeError),
        ({}, TypeError),
        ("", ValueError),
        ("\0", ValueError),
        ("[" * 10**5, ValueError),
        ("rules = " + "[" * 10**5, ValueError),
        ('{"rules": ' * 10**5, ValueError),
        ('{"rules": [' + "9" * 5000 + "]}", ValueError),
        ("rules = [" + "9" * 5000 + "]", ValueError),
        ("[]", ValueError),
        ("x = 1", ValueError),
    ],
    ids=lambda value: str(value)[:12],
)
def test_texts_that_are_no_rules(read, text, error):
    with pytest.raises(error, match=r"^`text` "):
        read(text)


def test_specs_within_specs_end():
    data = {"name": "normal"}
    for _ in range(2000):
        data = {"name": "packed", "initializer": data}
    with pytest.raises(ValueError, match="nested at most"):
        ai.Spec.from_dict(data)
    with pytest.raises(ValueError, match="nested at most"):
        Rules.from_dict({"rules": [{"pattern": "*", "initializer": data}]})
    nested = ai.spec("normal")
    with pytest.raises(TypeError, match="nested at most"):  # noqa: PT012 -- how many it takes is not the point
        for _ in range(2000):
            nested = ai.spec("packed", initializer=nested)
    blocks = []
    blocks.append(blocks)
    with pytest.raises(TypeError, match="`blocks`"):
        ai.spec("packed", initializer=ai.spec("normal"), blocks=blocks)


def test_a_set_has_no_first_match():
    rules = {Rule("*.bias", ai.spec("zeros")), Rule("*", NORMAL)}
    for unordered in (rules, frozenset(rules)):
        with pytest.raises(TypeError, match="`rules`"):
            Rules(unordered)


@pytest.mark.parametrize(
    "given",
    [{"path": None}, {"path": b"a"}, {"shape": "x"}, {"kinds": "Linear"}, {"kinds": itertools.count()}],
    ids=str,
)
def test_what_rules_look_for(given):
    with pytest.raises(TypeError, match=rf"`{next(iter(given))}`"):
        Rules({"*": "zeros"}).find(**({"path": "a", "shape": (2,)} | given))


@pytest.mark.parametrize("kind", ["!", "!!Norm", ("Linear", "!")])
def test_kinds_that_exclude_nothing(kind):
    with pytest.raises(ValueError, match="`kind` must have a glob behind each '!'"):
        ai.Rule("*", "zeros", kind=kind)


def test_factors_of_any_library_are_numbers_that_json_holds():
    rules = ai.Rules([ai.Rule("*", "zeros", lr_scale=np.float32(0.5), eps_scale=np.float64(2))])
    assert ai.Rules.from_json(rules.to_json()) == rules


def test_tables_show_six_digits_and_data_all_of_them():
    std = 0.0070710678118654745
    blocks = ai.spec("packed", initializer=(ai.spec("normal", std=std), ai.spec("normal", std=0.125)))
    rules = Rules({"a": ai.spec("normal", std=std), "b": blocks})
    assert str(rules).splitlines()[0].endswith("normal, std=0.00707107")
    assert "initializer=(spec('normal', std=0.00707107), spec('normal', std=0.125))" in str(rules)
    assert "std=0.00707107" in rules._repr_html_()
    assert repr(std) not in str(rules)
    assert all(repr(std) in text for text in (repr(rules[0]), rules.to_json(), rules.to_toml()))


def test_plain_mappings_as_text():
    expected = Rules({"*.bias": "zeros", "rules": None, "*": ai.spec("normal", std=0.02)})
    text = '{"*.bias": "zeros", "rules": null, "*": {"name": "normal", "std": 0.02}}'
    assert Rules.from_json(text) == expected
    text = '"*.bias" = "zeros"\n"*" = {name = "normal", std = 0.02}\n'
    assert Rules.from_toml(text) == Rules([expected[0], expected[2]])
