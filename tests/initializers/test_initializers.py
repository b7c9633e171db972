"""The catalogue: that an initializer which is added to it is not forgotten anywhere else."""

import inspect
import re
from pathlib import Path

import pytest

import arrayinit as ai
from arrayinit import initializers
from arrayinit.conformance.cases import CASES, golden

ROOT = Path(__file__).parents[2]
GALLERY = (ROOT / ".docs/gallery.py").read_text("utf-8")
EVERY = [*initializers.NAMES, *initializers.ALIASES]


@pytest.mark.parametrize("name", EVERY)
def test_each_initializer_is_public_in_both_forms(name):
    for form in (name, f"{name}_"):
        assert form in ai.__all__
        assert getattr(ai, form) is getattr(initializers, form)


@pytest.mark.parametrize("name", initializers.NAMES)
def test_the_form_that_fills_has_the_signature_of_the_other(name):
    new, fill = getattr(ai, name), getattr(ai, f"{name}_")
    assert inspect.signature(fill) == inspect.signature(new)
    assert (fill.__name__, fill.__module__) == (f"{name}_", new.__module__)
    assert fill.__doc__ == f"Fill x in place with :func:`{name}`; returns x."
    parameters = list(inspect.signature(initializers.scheme_of(name)).parameters.values())
    assert [p.name for p in parameters[1:]] == [*inspect.signature(new).parameters][1:-1]
    assert all(p.default is p.empty for p in parameters), "defaults are said once, in the public signature"


@pytest.mark.parametrize("name", initializers.NAMES)
def test_each_initializer_has_golden_vectors_and_is_named_in_the_texts(name):
    cases = [case.name for case in CASES if case.spec.name == name]
    assert cases, f"add a Case to conformance/cases.py for {name}"
    assert any(case in golden() for case in cases), "run python -m arrayinit.conformance.make_golden"
    assert f'"{name}"' in GALLERY, f"add {name} to .docs/gallery.py"
    for text in ("CHANGELOG.md", "arrayinit/stream/README.md"):
        assert re.search(rf"\b{name}\b", (ROOT / text).read_text("utf-8")), f"add {name} to {text}"


def test_names_of_other_libraries_are_the_same_functions():
    for alias, name in initializers.ALIASES.items():
        assert getattr(ai, alias) is getattr(ai, name)
