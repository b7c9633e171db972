"""`arrayinit recipes`: print the rules of well-known models, as a table or as a file to edit."""

import inspect

import click

from arrayinit.cli.arguments import rules_of
from arrayinit.cli.output import say
from arrayinit.common.tables import aligned

__all__ = ["recipes"]


@click.command()
@click.argument("name", required=False)
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter of the recipe (repeatable).")
@click.option(
    "--format", "form", type=click.Choice(["text", "toml", "json"]), default="text", show_default=True,
    help="A table, or a file that `init --rules` reads.",
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
        lines = []
        for key, function in RECIPES.items():
            lines.append((key, _summary(function)))
            if parameters := _parameters(function):
                lines.append(("", ", ".join(parameters)))
        say("\n".join(aligned(lines)))
        return
    rules = rules_of(None, name, pairs, "'NAME'")
    say(str(rules) if form == "text" else rules.to_toml() if form == "toml" else rules.to_json())


def _summary(function: object) -> str:
    """The first line of a recipe's docstring; under `python -OO` there is none."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _parameters(function: object) -> list[str]:
    """A recipe's parameters with their defaults."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
