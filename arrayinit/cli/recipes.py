"""`arrayinit recipes`: print the rules of well-known models, as a table or as a file to edit."""

import inspect

import click

from arrayinit.cli.arguments import rules_of, setting
from arrayinit.cli.completion import recipes as recipe_names
from arrayinit.cli.output import as_json as json_option, say, say_json, status
from arrayinit.common.tables import aligned

__all__ = ["recipes"]


@click.command(epilog=status("it is printed", "stdout can't be written to"))
@click.argument("name", required=False, shell_complete=recipe_names)
@setting
@click.option(
    "--format", "form", type=click.Choice(["text", "toml", "json"]),
    help="A table (text, the default), or a file that `init --rules` reads.",
)  # fmt: skip
@json_option
def recipes(name: str | None, pairs: tuple[str, ...], form: str | None, as_json: bool) -> None:
    """List the recipes, or print the rules of one.

    \b
        arrayinit recipes
        arrayinit recipes gpt2 --set layers=12
        arrayinit recipes gpt2 --set layers=12 --format toml > rules.toml
        arrayinit recipes --json

    With the name of a recipe, --json is --format json.
    """  # noqa: D301 # click reads the backspace
    from arrayinit.recipes import RECIPES

    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json excludes --format {form}")
    if name is None:
        if pairs:
            raise click.UsageError("--set goes with the name of a recipe")
        if form not in (None, "text", "json"):
            raise click.UsageError(f"--format {form} goes with the name of a recipe")
        if as_json or form == "json":
            say_json([{"name": key, "summary": _summary(f), "parameters": _defaults(f)} for key, f in RECIPES.items()])
            return
        lines = []
        for key, function in RECIPES.items():
            lines.append((key, _summary(function)))
            if parameters := _parameters(function):
                lines.append(("", ", ".join(parameters)))
        say("\n".join(aligned(lines)))
        return
    rules = rules_of(None, name, pairs, "'NAME'")
    if as_json or form == "json":
        say(rules.to_json())
    else:
        say(rules.to_toml() if form == "toml" else str(rules))


def _summary(function: object) -> str:
    """The first line of a recipe's docstring; under `python -OO` there is none."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _parameters(function: object) -> list[str]:
    """A recipe's parameters with their defaults."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]


def _defaults(function: object) -> dict[str, object]:
    """A recipe's parameters with their defaults; None for one that has none, or none that JSON has."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {p.name: p.default if isinstance(p.default, str | int | float) else None for p in parameters}
