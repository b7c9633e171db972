"""`arrayinit recipes`: the rules of well-known models, to be read, changed and kept in a file."""

import inspect

import click

from arrayinit.cli.arguments import rules_of
from arrayinit.cli.output import say

__all__ = ["recipes"]


@click.command()
@click.argument("name", required=False)
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter of the recipe (repeatable).")
@click.option(
    "--format", "form", type=click.Choice(["text", "toml", "json"]), default="text", show_default=True,
    help="As a table, or as a file that `init --rules` reads.",
)  # fmt: skip
def recipes(name: str | None, pairs: tuple[str, ...], form: str) -> None:
    """List the recipes, or print the rules of one.

    \b
        arrayinit recipes
        arrayinit recipes gpt2 --set layers=12
        arrayinit recipes gpt2 --set layers=12 --format toml > rules.toml
    """  # noqa: D301 # click reads the backspace
    from arrayinit.recipes import RECIPES

    if name is None:
        if pairs:
            raise click.UsageError("--set goes with the name of a recipe")
        width = max(map(len, RECIPES))
        for key, function in RECIPES.items():
            say(f"{key:<{width}}  {_summary(function)}".rstrip())
            parameters = ", ".join(str(parameter) for parameter in _parameters(function))
            if parameters:
                say(f"{'':<{width}}  {parameters}")
        return
    rules = rules_of(None, name, pairs, "'NAME'")
    say(str(rules) if form == "text" else rules.to_toml() if form == "toml" else rules.to_json())


def _summary(function: object) -> str:
    """The first line of what is said of a recipe, which `python -OO` leaves out."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _parameters(function: object) -> list[str]:
    """The parameters of a recipe, with their defaults."""
    found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in found]
