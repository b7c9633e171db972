"""`arrayinit describe`: fans, gain, std and range of an initializer."""

import dataclasses
import json
import math
from typing import Any

import click

import arrayinit
from arrayinit.cli.arguments import Shape, importing, value_of
from arrayinit.cli.output import say
from arrayinit.common.messages import shape_text
from arrayinit.common.tables import aligned

__all__ = ["describe"]


@click.command(
    context_settings={"ignore_unknown_options": True}, short_help="Print fans, gain, std and range of an initializer."
)
@click.argument("initializer")
@click.argument("shape", type=Shape())
@click.argument("parameters", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]...")
@importing
@click.option("--dtype", default="float32", show_default=True, help="The dtype of the elements, real or complex.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object; numbers that are unknown or infinite are null."
)
def describe(initializer: str, shape: tuple[int, ...], parameters: tuple[str, ...], dtype: str, as_json: bool) -> None:
    """Print fans, gain, mean, standard deviation and range of an initializer.

    Nothing is drawn. Give the initializer's parameters, and layout, in-axis, out-axis, batch-axis, groups and
    transposed, as options:

    \b
        arrayinit describe kaiming_normal 512x256x3x3 --nonlinearity relu --mode fan_out
        arrayinit describe xavier_uniform 3x3x64x128 --layout hwio
        arrayinit describe trunc_normal 512x512 --std 0.02 --a -0.04 --b 0.04
        arrayinit describe distribution 512x512 --distribution gamma --parameters 2
        arrayinit describe --import my_schemes laplace_he 512x512 --gain 2
    """  # noqa: D301 # click reads the backspace
    given = _pairs(parameters)
    if "parameters" in given and not isinstance(given["parameters"], list):  # of distribution: a single number
        given["parameters"] = [given["parameters"]]
    try:
        description = arrayinit.describe(arrayinit.spec(initializer, **given), shape, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    numbers = dataclasses.asdict(description)
    if as_json:
        finite = {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in numbers.items()}
        say(json.dumps(finite))
        return
    say("\n".join(aligned([(name, _shown(value)) for name, value in numbers.items()])))


def _pairs(words: tuple[str, ...]) -> dict[str, Any]:
    """`--name value` and `--name=value` as a dictionary."""
    parameters: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise click.UsageError(f"parameters must be given as --name value; got {word!r}")
        if not equals:
            if not rest:
                raise click.UsageError(f"{word} needs a value")
            text = rest.pop(0)
        parameters[name.replace("-", "_")] = value_of(text)
    return parameters


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return shape_text(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
