"""Rules by which two parameters come from one draw."""

import pickle

import numpy as np
import pytest
from conftest import same

import arrayinit as ai
from arrayinit.models.matching import plan
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import PlanError

RULES = ai.Rules(
    [
        ai.Rule("*b", ai.spec("uniform", a=0.0, b=2.0), seed_of="a"),
        ai.Rule("*", ai.spec("uniform", a=0.0, b=1.0)),
    ]
)
PAIR = [Parameter(path, (5, 3), "float32") for path in ("layer.a", "layer.b")]


def keys(parameters, rules=RULES, **keywords):
    return {entry.path: entry.key for entry in plan(parameters, rules, seed=0, **keywords)}


def test_two_parameters_of_one_draw():
    made = plan(PAIR, RULES, seed=0)
    assert [entry.seed_name for entry in made] == ["layer.a", "layer.a"]
    a, b = (entry.initializer((5, 3), seed=entry.key) for entry in made)
    assert same(b, 2 * a)
    assert keys(PAIR[::-1]) == keys(PAIR)
    assert str(made).splitlines()[-1].endswith("  layer.a")
    alone = keys(PAIR, {"*": "normal"})
    assert keys(PAIR)["layer.a"] == alone["layer.a"] != alone["layer.b"]


def test_paths_of_one_word():
    assert len(set(keys([Parameter(path, (5,), "float32") for path in "ab"]).values())) == 1


@pytest.mark.parametrize(
    ("path", "seed_of", "name"),
    [
        ("m.k.weight", ".q.weight", "m.q.weight"),
        ("k.weight", ".q.weight", "q.weight"),
        ("m.out.weight", ".fused", "m.fused"),
        ("m.B.second.weight", "..A.*.weight", "m.A.second.weight"),
        ("m.out.dense.weight", "..self.v.weight", "m.self.v.weight"),
    ],
)
def test_neighbours_of_layers_further_up(path, seed_of, name):
    rules = ai.Rules([ai.Rule(f"*{path}", "normal", seed_of=seed_of), ("*", "normal")])
    made = keys([Parameter(each, (5, 3), "float32") for each in (path, name)], rules)
    assert made[path] == made[name] == ai.Key(0).fold(name)
    with pytest.raises(PlanError, match=f"there is no {name}"):
        plan([Parameter(path, (5, 3), "float32")], rules, seed=0)


@pytest.mark.parametrize("names", [{"layer.a": "old", "layer.b": "unused"}, lambda path: f"old {path}"])
def test_what_seed_names_say_of_the_neighbour_holds_for_both(names):
    made = keys(PAIR, seed_names=names)
    first = names["layer.a"] if isinstance(names, dict) else names("layer.a")
    assert made["layer.a"] == made["layer.b"] == ai.Key(0).fold(first)


@pytest.mark.parametrize("form", ["json", "toml", "pickle"])
def test_texts_keep_it(form):
    if form == "pickle":
        read = pickle.loads(pickle.dumps(RULES))
    else:
        read = getattr(ai.Rules, f"from_{form}")(getattr(RULES, f"to_{form}")())
    assert read == RULES
    assert keys(PAIR, read) == keys(PAIR)
    assert RULES[0].as_dict()["seed_of"] == "a"


def test_a_tied_neighbour_has_the_name_of_its_first_path():
    a = Parameter("other.a", (5, 3), "float32", tied=("layer.a",))
    made = keys([a, PAIR[1]])
    assert made["layer.b"] == made["other.a"] == ai.Key(0).fold("other.a")


def test_one_of_them_alone():
    made = plan(PAIR, RULES, seed=0, only=["layer.b"])
    assert [entry.is_drawn for entry in made] == [False, True]
    assert made[1].key == keys(PAIR)["layer.b"]


@pytest.mark.parametrize(
    ("parameters", "rules", "text"),
    [
        (PAIR[1:], RULES, "`seed_of` must name a neighbour; got 'a', but there is no layer.a"),
        (
            [Parameter("layer.a", (3, 5), "float32"), PAIR[1]], RULES,
            r"a neighbour of the same shape, \(5, 3\); got 'a', which has \(3, 5\)",
        ),
        (PAIR, [ai.Rule("*b", "normal", seed_of="b"), ("*", "normal")], "must name another parameter; got 'b'"),
        (
            PAIR, [ai.Rule("*b", "normal", seed_of="a"), ai.Rule("*a", "normal", seed_of="b")],
            "`seed_of` must name a neighbour with a seed name of its own; got 'a', whose rule has seed_of='b'",
        ),
        (
            [*PAIR, Parameter("c", (5, 3), "float32")], RULES,
            "would get the same random numbers as layer.a",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(parameters, rules, text):
    names = {"c": "layer.a"} if len(parameters) == 3 else None
    with pytest.raises(PlanError, match=text):
        plan(parameters, ai.Rules(rules), seed=0, seed_names=names)


def test_what_stays_needs_no_neighbour():
    kept = [ai.Rule("*b", None, seed_of="a")]
    assert plan(PAIR[1:], kept, seed=0)[0].initializer is None
    x = {"b": np.ones(3, np.float32)}
    ai.init_params_(x, ai.Rules(kept), seed=0)
    assert x["b"].tolist() == [1, 1, 1]
