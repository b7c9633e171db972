"""Calls of initializers as text."""

import inspect
import json
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import initializers, spec
from arrayinit.draw import KEYWORDS
from arrayinit.initializers import bits
from arrayinit.laws import is_random
from arrayinit.laws.fit import fit
from arrayinit.laws.geometry import geometry
from arrayinit.tracing import calls

AXES = (None, None, None, (), 1, False)
NOWHERE = (None, None, None, AXES)

# A scheme with arguments that make a law that is not degenerate, and a shape for it.
EXAMPLES = {
    "bilinear": ({}, (4, 4, 3)),
    "chrono": ({"t_max": 50.0}, (8,)),
    "constant": ({"val": 3}, (4, 4)),
    "delta_orthogonal": ({}, (4, 3, 3)),
    "dirac": ({}, (4, 4, 3)),
    "distribution": ({"distribution": "gamma", "parameters": (2.0,)}, (4, 4)),
    "icnr": ({"initializer": spec("normal"), "scale": 2}, (8, 2, 3, 3)),
    "lstm_bias": ({"gates": "ifog"}, (8,)),
    "packed": ({"initializer": (spec("normal", std=0.5), spec("zeros")), "blocks": (1, 3)}, (4, 4)),
    "lora_orthogonal": ({"part": "B", "gain": 0.5}, (4, 4)),
    "mimetic": ({"part": "out", "heads": 2}, (4, 4)),
    "sparse": ({"sparsity": 0.07}, (4, 4)),
    "s4d": ({"variant": "real"}, (4,)),
    "wang_normal": ({"layers": 3}, (4, 4)),
}


def example(name):
    arguments, shape = EXAMPLES.get(name, ({}, (4, 4)))
    parameters = inspect.signature(getattr(initializers, name)).parameters.values()
    own = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in KEYWORDS} | arguments
    return partial(initializers.scheme_of(name), **own) if own else initializers.scheme_of(name), shape


def law(scheme, shape):
    return fit(scheme(geometry(shape)), "float32")[0]


@pytest.mark.parametrize("name", initializers.NAMES)
def test_a_scheme_comes_back_as_it_was(name):
    scheme, shape = example(name)
    said = calls.call(calls.text(scheme, NOWHERE))
    assert law(said.scheme, shape) == law(scheme, shape)
    assert said.where == NOWHERE


@pytest.mark.parametrize("name", initializers.NAMES)
def test_which_schemes_take_a_key(name):
    scheme, shape = example(name)
    assert calls.is_fixed(scheme) is not is_random(law(scheme, shape))


@pytest.mark.parametrize(
    "where",
    [
        ("encoder.weight", None, None, AXES),
        (("encoder", 3), (8, 4), (slice(2, 6), 1, ...), AXES),
        (7, (8, 4), slice(None, None, -2), ("io", None, None, (), 2, True)),
        (None, (2, 3, 4), -1, (None, 1, (0, 2), (), 1, False)),
    ],
)
def test_where_comes_back_as_it_was(where):
    assert calls.call(calls.text(initializers.scheme_of("normal"), where)).where == where


@pytest.mark.parametrize("number", [np.float32(0.1), Fraction(1, 3), np.int64(2), 1e-300, 5])
def test_numbers_keep_their_law(number):
    scheme = partial(example("kaiming_normal")[0], a=number)
    assert law(calls.call(calls.text(scheme, NOWHERE)).scheme, (4, 4)) == law(scheme, (4, 4))


def test_infinite_bounds_come_back():
    scheme = partial(example("trunc_normal")[0], a=3.0, b=float("inf"))
    assert law(calls.call(calls.text(scheme, NOWHERE)).scheme, (4,)) == law(scheme, (4,))


def test_a_frozen_distribution_is_its_name_and_parameters():
    stats = pytest.importorskip("scipy.stats")
    said = json.loads(
        calls.text(partial(initializers.scheme_of("distribution"), distribution=stats.gamma(2.0)), NOWHERE)
    )
    assert said["with"] == {"distribution": "gamma", "parameters": [2.0, 0.0, 1.0]}


def test_the_raw_words_are_a_call_too():
    assert calls.call(calls.text(bits.words, NOWHERE)).scheme is bits.words
    assert not calls.is_fixed(bits.words)


def test_what_text_can_not_hold_is_refused_by_its_name():
    with pytest.raises(TypeError, match="`std` must be plain data"):
        calls.text(partial(initializers.scheme_of("normal"), std=np.ones(2)), NOWHERE)
    with pytest.raises(TypeError, match="`name` must be plain data"):
        calls.text(initializers.scheme_of("normal"), (b"x", None, None, AXES))
    with pytest.raises(TypeError, match="must be of an initializer of arrayinit"):
        calls.text(lambda geometry: None, NOWHERE)


INTEGERS = {"NumPy": np.array, "torch": lambda value: pytest.importorskip("torch").tensor(value)}


@pytest.mark.parametrize("library", INTEGERS)
def test_integers_of_libraries_are_those_of_python(library):
    array = INTEGERS[library]
    axes = (None, array(1), array([0]), array([2]), array(2), False)
    said = calls.text(
        example("normal")[0], (array(3), array([10, 4, 5]), (slice(array(2), array(6)), array(1), ...), axes)
    )
    plain = (None, 1, (0,), (2,), 2, False)
    assert said == calls.text(example("normal")[0], (3, (10, 4, 5), (slice(2, 6), 1, ...), plain))
    said = calls.text(example("normal")[0], (("w", array(3)), array(8), array(1), AXES))
    assert said == calls.text(example("normal")[0], (("w", 3), 8, 1, AXES))
    for wrong in (array(1.5), array([[1]]), array(True)):
        with pytest.raises(TypeError, match="`shape` must be plain data"):
            calls.text(example("normal")[0], (None, wrong, None, AXES))


def test_a_text_of_another_stream_is_refused():
    said = json.dumps(json.loads(calls.text(initializers.scheme_of("normal"), NOWHERE)) | {"stream": 99})
    with pytest.raises(ValueError, match="this stream version"):
        calls.call(said)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"draw": "normal", "with": {"std": 0.5, "scale": 2.0}}, TypeError, "normal takes 'std', not 'scale'"),
        (
            {"draw": "normal", "with": {"std": 0.5, "layout": "io"}},
            TypeError,
            "`with` must .* of normal, mean, std; got layout",
        ),
        ({"draw": "sparse", "with": {}}, TypeError, "sparse must be given sparsity"),
        ({"draw": "nope", "with": {}}, ValueError, "`name` must be an initializer"),
    ],
)
def test_text_that_no_call_is_of_is_refused(said, error, words):
    with pytest.raises(error, match=words):
        calls.call(json.dumps({"stream": ai.STREAM_VERSION} | said))


def test_parameters_that_are_not_said_are_the_defaults():
    said = json.dumps({"stream": ai.STREAM_VERSION, "draw": "normal", "with": {"std": 0.5}})
    assert calls.call(said).scheme.keywords == {"mean": 0.0, "std": 0.5}
