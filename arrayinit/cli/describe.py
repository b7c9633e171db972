"""`arrayinit describe`: the numbers of an initializer for a shape."""

import dataclasses
import json
import math
from typing import Any

import click

import arrayinit
from arrayinit.cli.arguments import Shape, value_of
from arrayinit.cli.output import say

__all__ = ["describe"]


@click.command(
    context_settings={"ignore_unknown_options": True}, short_help="The numbers of an initializer for a shape."
)
@click.argument("initializer")
@click.argument("shape", type=Shape())
@click.argument("parameters", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]...")
@click.option("--dtype", default="float32", show_default=True, help="Of the elements, real or complex.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; null for what has no value, or no bound.")
def describe(initializer: str, shape: tuple[int, ...], parameters: tuple[str, ...], dtype: str, as_json: bool) -> None:
    """Fans, gain, mean, standard deviation and range of an initializer.

    Nothing is drawn. The initializer's own parameters, and layout, in-axis, out-axis, batch-axis, groups and
    transposed, are given as options:

    \b
        arrayinit describe kaiming_normal 512x256x3x3 --nonlinearity relu --mode fan_out
        arrayinit describe xavier_uniform 3x3x64x128 --layout hwio
        arrayinit describe trunc_normal 512x512 --std 0.02 --a -0.04 --b 0.04
    """  # noqa: D301 # click reads the backspace
    try:
        found = arrayinit.describe(arrayinit.spec(initializer, **_pairs(parameters)), shape, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    numbers = dataclasses.asdict(found)
    if as_json:
        finite = {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in numbers.items()}
        say(json.dumps(finite))
        return
    for name, value in numbers.items():
        say(f"{name:<13} {_shown(value)}")


def _pairs(words: tuple[str, ...]) -> dict[str, Any]:
    """`--name value` and `--name=value` as a dictionary."""
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise click.UsageError(f"parameters are given as --name value; got {word!r}")
        if not equals:
            if not rest:
                raise click.UsageError(f"{word} needs a value")
            text = rest.pop(0)
        found[name.replace("-", "_")] = value_of(text)
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "scalar"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
