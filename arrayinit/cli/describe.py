"""`arrayinit describe`: fans, gain, std and range of an initializer."""

import dataclasses
from typing import Any

import click

import arrayinit
from arrayinit.cli.arguments import Shape, importing, value_of, with_options
from arrayinit.cli.completion import GEOMETRY, Describing, dtypes, initializers, values
from arrayinit.cli.output import as_json as json_option, say, say_json, status
from arrayinit.initializers import full_name
from arrayinit.specs import complete

__all__ = ["describe"]


@click.command(
    cls=Describing,
    context_settings={"ignore_unknown_options": True},
    short_help="Print fans, gain, std and range of an initializer.",
    epilog=status("it is printed", "stdout can't be written to"),
)
@click.argument("initializer", shell_complete=initializers)
@click.argument("shape", type=Shape())
@click.argument("parameters", nargs=-1, type=click.UNPROCESSED, metavar="[--PARAMETER VALUE]...", shell_complete=values)
@importing
@click.option("--dtype", default="float32", show_default=True, shell_complete=dtypes,
              help="The dtype of the elements, real or complex.")  # fmt: skip
@json_option
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
        arrayinit describe orthogonal 512x512 --json
    """  # noqa: D301 # click reads the backspace
    given = _pairs(parameters)
    if "parameters" in given and not isinstance(given["parameters"], list):  # of distribution: a single number
        given["parameters"] = [given["parameters"]]
    try:
        description = arrayinit.describe(arrayinit.spec(initializer, **given), shape, dtype=dtype)
    except (TypeError, ValueError) as error:
        text = str(error)
        if full_name(initializer) is None:
            raise click.BadParameter(text.removeprefix("`name` "), param_hint="'INITIALIZER'") from None
        text = text.replace("`dtype`, or that of `x`,", "--dtype")
        options = {key: f"--{key.replace('_', '-')}" for key in (*complete(initializer, {}), *GEOMETRY, "dtype")}
        raise click.UsageError(with_options(text, options | {"x": "SHAPE", "shape": "SHAPE"})) from None
    if as_json:
        say_json(dataclasses.asdict(description))
        return
    say(str(description))


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
