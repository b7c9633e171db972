"""Recipes by name, and as texts."""

import inspect

import pytest

from arrayinit import Rules, recipes


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe(name):
    function = recipes.RECIPES[name]
    rules = function()
    assert isinstance(rules, Rules)
    assert recipes.recipe(name) == rules
    assert Rules.from_json(rules.to_json()) == rules
    assert Rules.from_toml(rules.to_toml()) == rules
    assert len(str(rules).splitlines()) == len(rules)
    assert getattr(recipes, name) is function
    assert name in recipes.__all__
    text = inspect.getdoc(function)
    assert "Source: " in text
    assert all(f"{parameter}" in text for parameter in inspect.signature(function).parameters)


def test_by_name_with_parameters():
    assert recipes.recipe("gpt2", layers=24) == recipes.gpt2(layers=24) != recipes.gpt2()
    with pytest.raises(ValueError, match=r"`name` must be a recipe: torch_defaults, .*, xlstm; got 'nothing'"):
        recipes.recipe("nothing")
    with pytest.raises(ValueError, match=r"`name` must be a recipe; got 'gpt3', did you mean 'gpt2'\?"):
        recipes.recipe("gpt3")
    with pytest.raises(TypeError, match="depth"):
        recipes.recipe("gpt2", depth=3)


def test_all_is_what_it_says():
    assert set(recipes.RECIPES) <= set(recipes.__all__)
    assert all(hasattr(recipes, name) for name in recipes.__all__)
