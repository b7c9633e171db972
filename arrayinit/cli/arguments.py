"""Arguments of several commands: shapes, `name=value` pairs, rules, and modules to import."""

import importlib
import re
import sys
from typing import Any

import click

from arrayinit.cli.completion import recipe_parameters
from arrayinit.common.escapes import cut, printable
from arrayinit.common.messages import did_you_mean, shown
from arrayinit.models.rules import Rules
from arrayinit.storage.documents import decode, parse_json, parse_toml, read_text
from arrayinit.storage.safetensors import MAX_BYTES

__all__ = ["Seed", "Shape", "Word", "importing", "rules_of", "setting", "value_of", "values_of", "with_options"]

LARGEST_RULES = 1 << 20  # bytes; the rules of the largest recipe take a few thousand


class Shape(click.ParamType):  # type: ignore[type-arg] # generic in new versions only
    """Sizes separated by x, such as 512x256x3x3, or "scalar"."""

    name = "SHAPE"

    def convert(self, value: Any, parameter: Any, context: Any) -> tuple[int, ...]:
        """The sizes as a tuple."""
        if isinstance(value, tuple):
            return value
        if value == "scalar":
            return ()
        try:
            sizes = tuple(int(size) for size in value.replace("*", "x").split("x"))
        except ValueError:
            sizes = (-1,)
        if any(size < 0 for size in sizes):
            self.fail(f"must be sizes separated by x, such as 512x256x3x3; got {shown(value)}", parameter, context)
        if any(size > MAX_BYTES for size in sizes):
            self.fail(f"must be sizes below 2**63; got {shown(value)}", parameter, context)
        return sizes


class Word(click.Choice):  # type: ignore[type-arg] # generic in new versions only
    """One of some words; an error names the nearest."""

    def convert(self, value: Any, parameter: Any, context: Any) -> Any:
        """The word."""
        if isinstance(value, str) and value not in self.choices:
            words = ", ".join(self.choices)
            self.fail(
                f"must be one of {words}; got {shown(value)}{did_you_mean(value, self.choices)}", parameter, context
            )
        return super().convert(value, parameter, context)


class Seed(click.IntRange):
    """A seed."""

    def __init__(self) -> None:
        super().__init__(0, 2**64 - 1)

    def convert(self, value: Any, parameter: Any, context: Any) -> Any:
        """The seed as an integer."""
        try:
            return super().convert(value, parameter, context)
        except click.BadParameter:
            self.fail(f"must be an integer from 0 to 2**64 - 1; got {shown(value)}", parameter, context)


def _import(_context: click.Context, _parameter: click.Parameter, modules: tuple[str, ...]) -> None:
    """Import modules, also those in the working directory, as `python -m` does."""
    for name in modules:
        sys.path.insert(0, "")
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the module raises
            raise click.BadParameter(
                f"must be a module that can be imported; got {shown(name)}: {type(error).__name__}: {error}"
            ) from None
        finally:
            sys.path.remove("")


importing = click.option(
    "--import",
    "modules",
    metavar="MODULE",
    multiple=True,
    is_eager=True,  # before the arguments that name what the module registers
    expose_value=False,
    callback=_import,
    help="A module to import first, whose schemes arrayinit.scheme registers (repeatable).",
)


setting = click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", shell_complete=recipe_parameters,
    help="A parameter of the recipe (repeatable).",
)  # fmt: skip


def with_options(text: str, options: dict[str, str]) -> str:
    """The text of an error with options, such as --std, in place of the arguments of functions, such as `std`."""
    return re.sub(r"`(\w+)`", lambda word: options.get(word[1], word[0]), text)


def value_of(text: str) -> Any:
    """A word of the command line as a number, a boolean, None, a list (with commas) or else a string."""
    if "," in text:
        return [value_of(part) for part in text.split(",")]
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            if text.lstrip("+-").isdigit():  # more digits than int reads; float would return infinity
                raise click.BadParameter(f"must be a number with fewer digits; got {shown(text)}") from None
    return text


def values_of(pairs: tuple[str, ...], option: str) -> dict[str, Any]:
    """`name=value` pairs as a dictionary."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"must be NAME=VALUE; got {shown(pair)}", param_hint=f"'{option}'")
        values[name.replace("-", "_")] = value_of(text)
    return values


def rules_of(file: str | None, recipe: str | None, pairs: tuple[str, ...], hint: str = "'--recipe'") -> Rules:
    """The rules of a file or of a recipe. `pairs`: the recipe's parameters. `hint`: its name in errors."""
    if (file is None) == (recipe is None):
        raise click.UsageError(f"either --rules or --recipe must be given{', not both' if recipe else ''}")
    if recipe is not None:
        from arrayinit import recipes

        values = values_of(pairs, "--set")
        try:
            rules: Rules = recipes.recipe(recipe, **values)
            return rules
        except (TypeError, ValueError) as error:
            text = str(error)
        if recipe not in recipes.RECIPES:
            raise click.BadParameter(text.removeprefix("`name` "), param_hint=hint)
        given = [pair.partition("=")[0] for pair in pairs]  # as on the command line, perhaps with dashes
        wrong = next((word for word in given if re.search(f"[`']{re.escape(word.replace('-', '_'))}[`']", text)), "")
        text = text.removeprefix(f"`{wrong.replace('-', '_')}` ")
        raise click.BadParameter(text, param_hint=f"'{f'--set {wrong}'.rstrip()}'")
    if pairs:
        raise click.UsageError("--set goes with --recipe")
    assert file is not None
    try:
        text = _piped() if file == "-" else read_text(file, "it", LARGEST_RULES)
        is_json = file.endswith(".json") or text.lstrip().startswith("{")  # no TOML begins so
        return Rules.from_dict(parse_json(text) if is_json else parse_toml(text))
    except RecursionError:
        reason = "it is nested too deeply"
    except (TypeError, ValueError, OSError) as error:
        reason = cut(str(error))
    raise click.BadParameter(f"{printable(file)}: {reason}", param_hint="'--rules'")


def _piped() -> str:
    """The text on stdin."""
    data = sys.stdin.buffer.read(LARGEST_RULES + 1)
    if len(data) > LARGEST_RULES:
        raise ValueError(f"it must be at most {LARGEST_RULES:,} bytes long; got more")
    return decode(data)
