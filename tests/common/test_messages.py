"""Errors show any value on one line, and warnings name the line that called the package."""

import functools
import warnings

import numpy as np
import pytest
from wrong_calls import Broken

import arrayinit as ai
import arrayinit.jax
import arrayinit.torch
from arrayinit.common.messages import REPR_CHARACTERS, shown, warn
from arrayinit.models.matching import plan
from arrayinit.models.parameters import Parameter

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

EMPTY = (0, 3)
IDLE = {"*": "normal", "nothing": "ones"}


def line_of(call):
    """(file, line) of the one warning of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert len(caught) == 1
    return caught[0].filename, caught[0].lineno


# Each call is on its own line, which its warning names.
CALLS = [
    lambda: ai.kaiming_normal(EMPTY),
    lambda: ai.kaiming_uniform_(np.zeros(EMPTY)),
    lambda: ai.he_normal_(torch.zeros(EMPTY)),
    lambda: ai.kaiming_normal(EMPTY, xp="jax"),
    lambda: ai.kaiming_normal(EMPTY, xp="dask"),
    lambda: ai.spec("kaiming_normal")(EMPTY),
    lambda: ai.spec("kaiming_normal").fill_(np.zeros(EMPTY)),
    lambda: functools.partial(ai.kaiming_normal, EMPTY)(),
    lambda: ai.packed(EMPTY, ai.spec("kaiming_normal"), 1),
    lambda: ai.packed((4, 3), ai.spec("kaiming_normal"), [0, 4], seed=0),
    lambda: arrayinit.torch.kaiming_normal_(torch.zeros(EMPTY)),
    lambda: arrayinit.torch.kaiming_uniform_(torch.zeros(EMPTY)),
    lambda: arrayinit.torch.kaiming_uniform_(torch.zeros(EMPTY), seed=0, nonlinearity="relu"),
    lambda: arrayinit.torch.trunc_normal_(torch.zeros(3), mean=5.0),
    lambda: arrayinit.torch.normal(torch.zeros(3)),
    lambda: arrayinit.torch.init_module_(torch.nn.Linear(3, 2), IDLE, seed=0),
    lambda: arrayinit.torch.init_module_(torch.nn.Linear(3, 2), IDLE, seed=0, dry_run=True),
    lambda: arrayinit.torch.init_module_(torch.nn.Linear(3, 2), {"*": "ones"}, seed=0, seed_names={"x": "y"}),
    lambda: ai.init_params_({"a": np.zeros(3)}, IDLE, seed=0),
    lambda: ai.init_params_({"a": np.zeros(EMPTY)}, {"*": "kaiming_normal"}, seed=0),
    lambda: arrayinit.jax.init_tree({"a": np.zeros(3, "float32")}, IDLE, seed=0),
    lambda: arrayinit.jax.initializer("kaiming_normal")(0, EMPTY),
    lambda: arrayinit.jax.initializer("kaiming_normal")(None, EMPTY),
    lambda: plan([Parameter("a", (3,), "float32")], IDLE, seed=0),
    lambda: warn("of no function of the package"),
]


@pytest.mark.parametrize("k", range(len(CALLS)))
def test_a_warning_names_the_line_of_its_caller(k):
    assert line_of(CALLS[k]) == (__file__, CALLS[k].__code__.co_firstlineno)


def test_a_warning_names_the_line_of_a_subclass_that_calls_on():
    class Overriding(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            plain = [x.as_subclass(torch.Tensor) if isinstance(x, cls) else x for x in args]
            kwargs = {k: v.as_subclass(torch.Tensor) if isinstance(v, cls) else v for k, v in (kwargs or {}).items()}
            return function(*plain, **kwargs)

    call = Overriding.__torch_function__.__func__
    x = torch.zeros(EMPTY).as_subclass(Overriding)
    file, line = line_of(lambda: arrayinit.torch.kaiming_uniform_(x))
    assert file == __file__
    assert call.__code__.co_firstlineno < line < call.__code__.co_firstlineno + 6


def test_each_line_is_warned_of_once_by_default():
    def first():
        ai.kaiming_normal(EMPTY)

    def second():
        ai.kaiming_normal(EMPTY)

    globals().pop("__warningregistry__", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for call in (first, second, first, second):
            call()
    assert [w.lineno for w in caught] == [f.__code__.co_firstlineno + 1 for f in (first, second)]


def test_warnings_that_are_errors_are_raised():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="zero-element"):
            ai.kaiming_normal(EMPTY)


def test_looking_does_not_warn_of_what_it_does_not_draw():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ai.describe("kaiming_normal", EMPTY)
        ai.report({"a": np.zeros(EMPTY)}, {"*": "kaiming_normal", "b": "ones"})
        ai.init_params_({"a": np.zeros(EMPTY)}, {"*": "kaiming_normal"}, seed=0, dry_run=True)


def test_plans_leave_the_filters_of_warnings_alone():
    before = list(warnings.filters)
    ai.init_params_({"a": np.zeros((2, 3))}, {"*": "kaiming_normal"}, seed=0)
    ai.report({"a": np.zeros((2, 3))}, {"*": "kaiming_normal"})
    assert warnings.filters == before


def test_any_value_can_be_shown():
    assert shown(1.5) == "1.5"
    assert shown(10**5000) == "<int of 16610 bits>"
    assert shown(Broken()) == "<Broken>"
    assert shown("x" * 5000) == "'" + "x" * (REPR_CHARACTERS - 1) + "..."


def test_what_is_nested_without_end_can_be_shown():
    deep = []
    for _ in range(10**5):
        deep = [deep]
    assert shown(deep) == "<list>"
    while deep:  # piece by piece, for the end of it all at once takes as many calls
        deep = deep[0]
