"""Shell completion: names of recipes, initializers, parameters and dtypes, looked up when a shell asks for them."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from arrayinit.stream.formats import COMPLEX, FORMATS

__all__ = ["GEOMETRY", "Describing", "dtypes", "initializers", "recipe_parameters", "recipes", "values"]

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
GEOMETRY = ("layout", "in_axis", "out_axis", "batch_axis", "groups", "transposed")  # keywords that a spec takes


def _items(names: Iterable[str] | Mapping[str, str], incomplete: str) -> list[CompletionItem]:
    """The names that begin so; a mapping has their explanations, which zsh and fish show."""
    helps = names if isinstance(names, Mapping) else {}
    return [CompletionItem(name, help=helps.get(name)) for name in names if name.startswith(incomplete)]


def recipes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The recipes."""
    from arrayinit.recipes import RECIPES

    return _items({name: (inspect.getdoc(f) or "").partition("\n")[0] for name, f in RECIPES.items()}, incomplete)


def recipe_parameters(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """NAME=DEFAULT of the parameters of the recipe on the line."""
    from arrayinit.recipes import RECIPES

    # A word before an unfinished option is still among the rest of the line.
    words = (context.params.get("recipe"), context.params.get("name"), *context.args)
    recipe = next((word for word in words if word in RECIPES), None)
    if recipe is None:
        return []
    parameters = inspect.signature(RECIPES[recipe]).parameters.values()
    return _items([f"{p.name}={_default(p)}" for p in parameters], incomplete)


def _default(parameter: inspect.Parameter) -> str:
    """The default as `--set` reads it; "" where it would not read it."""
    value = parameter.default
    return str(value) if isinstance(value, int | float | str) else ""


def initializers(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The initializers."""
    from arrayinit.initializers import known_names

    return _items(known_names(), incomplete)


def dtypes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The dtypes that initializers draw."""
    return _items((*FORMATS, *COMPLEX), incomplete)


def values(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The values of a parameter of an initializer, where they are names."""
    from arrayinit.laws.gains import NONLINEARITIES

    words: Any = context.params.get("parameters") or ("",)
    known = {"--nonlinearity": NONLINEARITIES, "--mode": MODES, "--initializer": None}
    if words[-1] not in known:
        return []
    names = known[words[-1]]
    return initializers(context, _parameter, incomplete) if names is None else _items(names, incomplete)


class Describing(click.Command):
    """A command whose options are also the parameters of the initializer on its line."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The options of the command, and those of the initializer."""
        from arrayinit.initializers import full_name
        from arrayinit.specs import complete

        found = super().shell_complete(ctx, incomplete)
        name = next((word for word in (ctx.params.get("initializer"), *ctx.args) if word), None)
        if name is not None and full_name(name) is not None:
            found += _items([f"--{key.replace('_', '-')}" for key in (*complete(name, {}), *GEOMETRY)], incomplete)
        return found
