"""`arrayinit init`: draw a safetensors file of weights, which may be larger than memory."""

import inspect
import warnings
from pathlib import Path
from typing import Any

import click

from arrayinit.cli.arguments import Seed, Word, importing, rules_of, setting, with_options
from arrayinit.cli.completion import recipes
from arrayinit.cli.output import as_json as json_option, say, say_json, status
from arrayinit.common.escapes import printable
from arrayinit.common.messages import counted, shown
from arrayinit.models.axes import Leaf, described, readings_of
from arrayinit.models.norms import look_zero_centered
from arrayinit.models.parameters import Parameter
from arrayinit.storage.documents import parse_json, read_text
from arrayinit.storage.safetensors import DTYPES, Tensor, save_safetensors
from arrayinit.storage.shapes import shapes_of
from arrayinit.stream.formats import is_floating

__all__ = ["init"]

ZERO_CENTERED = (
    "these are names of a model whose norms multiply by 1 + weight (Gemma 2 and 3, Qwen3-Next, Qwen3.5), and the "
    "recipe starts them with 1: say --set zero_centered_norms=true, or =false where they don't"
)


ARGUMENTS = {"path": "-o", "seed_names": "--seed-names", "only": "--only"}  # of functions -> options, for errors

ENDINGS = {
    "npz": "load the safetensors file with safetensors.numpy.load_file and save that with numpy.savez",
    "npy": "load the safetensors file with safetensors.numpy.load_file and save its arrays with numpy.save",
    "h5": "load the safetensors file with safetensors.numpy.load_file and write its arrays with h5py",
} | dict.fromkeys(
    ("pt", "pth", "bin", "ckpt"), "load the safetensors file with safetensors.torch.load_file and torch.save that"
)


def _ending(_context: click.Context, _parameter: click.Parameter, file: str | None) -> str | None:
    """The name of the new file, if it ends as one of the format does, or has no ending."""
    ending = Path(file or "").suffix.removeprefix(".")
    if ending in ("", "safetensors"):
        return file
    way = ENDINGS.get(ending.lower())
    raise click.BadParameter(
        f"the new file is a safetensors file, so its name must end with .safetensors; got {shown(file)}"
        + (f". For .{ending}, {way}" if way else "")
    )


@click.command(epilog=status("the file is whole, or the plan is printed", "a tensor can't be drawn or a file used"))
@click.option("--like", required=True, metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="A safetensors file or index, or JSON: name -> shape, or name -> {shape, dtype}.")  # fmt: skip
@click.option("--rules", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True),
              help='Rules in TOML or JSON, e.g. {"*.bias": "zeros", "*.weight": "xavier_uniform"}; - reads them from '
                   "stdin.")  # fmt: skip
@importing
@click.option("--recipe", metavar="NAME", shell_complete=recipes,
              help="A recipe; `arrayinit recipes` lists them.")  # fmt: skip
@setting
@click.option(
    "--seed",
    required=True,
    type=Seed(),
    help="One seed for all tensors; the name of each is folded into its key.",
)
@click.option("--seed-names", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="JSON: name -> name to fold instead.")  # fmt: skip
@click.option("--only", multiple=True, metavar="PATTERN",
              help="Only tensors of this name, or whose names match, e.g. 'layers.0.*' (repeatable). The new file has "
                   "no others.")  # fmt: skip
@click.option("--dtype", type=Word([name for name in DTYPES if is_floating(name)]),
              help="The dtype of all floating-point tensors; by default that in --like, or float32.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), callback=_ending,
              help="The new safetensors file.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--dry-run", is_flag=True, help="Print which initializer draws each tensor; write nothing.")
@json_option
@click.option(
    "--progress/--no-progress", default=None, help="Show a progress bar; by default on terminals, after a second."
)
def init(
    like: str,
    rules: str | None,
    recipe: str | None,
    pairs: tuple[str, ...],
    seed: int,
    seed_names: str | None,
    only: tuple[str, ...],
    dtype: str | None,
    output: str | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    progress: bool | None,
) -> int:
    """Draw the weights of a model into a new safetensors file.

    \b
        arrayinit init --like model.safetensors --rules rules.toml --seed 0 -o new.safetensors
        arrayinit init --like shapes.json --recipe gpt2 --set layers=12 --seed 0 --dry-run
        arrayinit init --like shapes.json --recipe gpt2 --seed 0 --only '*.bias' -o biases.safetensors
        arrayinit recipes gpt2 --json | arrayinit init --like shapes.json --rules - --seed 0 --dry-run --json

    A file has names and no classes. Norms that multiply by 1 + weight, as those of Gemma 1, 2 and 3, Qwen3-Next and
    Qwen3.5, start with 0, and with --recipe need --set zero_centered_norms=true.

    The values of a tensor depend on the seed and on its own name, so a file drawn with --only has the values that the
    whole model has.

    About 128 MiB of memory are needed, whatever the size of the file, except that each orthogonal or sparse tensor must
    fit in memory as a whole. Until the file is complete it is named FILE.unfinished; after an interruption, the same
    command continues it.
    """  # noqa: D301 # click reads the backspace
    chosen = rules_of(rules, recipe, pairs)
    if (output is None) != dry_run:
        raise click.UsageError(f"either -o FILE or --dry-run must be given{', not both' if dry_run else ''}")
    from arrayinit.models.matching import plan

    try:
        shapes = shapes_of(like)
        names = None if seed_names is None else _names(seed_names)
        readings = readings_of(Leaf(path, shape, "oi") for path, (shape, _) in shapes.items())  # a state dict's
        parameters = [
            Parameter(path, shape, _dtype(path, kind, dtype), **described(readings[path]))
            for path, (shape, kind) in shapes.items()
        ]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            whole = plan(parameters, chosen, seed=seed, seed_names=names, only=only or None)
        entries = type(whole)(tuple(entry for entry in whole if entry.is_selected))
        if recipe is not None and _needs_zero_centered(recipe, pairs) and look_zero_centered(shapes):
            say(f"Warning: {ZERO_CENTERED}", err=True)
        for warning in caught:
            say(f"Warning: {with_options(str(warning.message), ARGUMENTS)}", err=True)
        kept = [entry.path for entry in entries if entry.initializer is None]
        if kept:
            raise ValueError(f"a new file has no values to keep; rules keep {printable(', '.join(kept))}")
        tensors = {
            e.path: Tensor(e.initializer, e.shape, e.parameter.dtype, e.seed_name) for e in entries if e.initializer
        }
        if output is not None:
            save_safetensors(output, tensors, seed=seed, force=force, progress=False if as_json else progress)
            size = Path(output).stat().st_size
    except MemoryError as error:
        raise click.ClickException(f"there is not enough memory: {error}") from None
    except (TypeError, ValueError, ImportError, OSError) as error:
        text = str(error).replace("Pass force=True (--force)", "Give --force")
        raise click.ClickException(with_options(text, ARGUMENTS)) from None
    if as_json:
        written = {} if output is None else {"file": output, "bytes": size}
        say_json({"seed": seed, **written, "tensors": {path: _data(tensor) for path, tensor in tensors.items()}})
    elif output is None:
        say(str(entries))
    else:
        say(f"{printable(output)}: {counted(len(tensors), 'tensor')}, {size:,} bytes")
    return 0


def _data(tensor: Tensor) -> dict[str, Any]:
    """A tensor of the plan for JSON."""
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "initializer": tensor.initializer.as_dict(),
        "seed_name": tensor.name,
    }


def _needs_zero_centered(recipe: str, pairs: tuple[str, ...]) -> bool:
    """Whether a recipe has a parameter for norms that multiply by 1 + weight, which was not given."""
    from arrayinit.recipes import RECIPES

    name = "zero_centered_norms"
    is_given = any(pair.partition("=")[0].replace("-", "_") == name for pair in pairs)
    return not is_given and name in inspect.signature(RECIPES[recipe]).parameters


def _names(file: str) -> dict[str, Any]:
    """Paths -> the names to fold."""
    label = printable(file)
    try:
        names = parse_json(read_text(file, "it"))
    except ValueError as error:
        raise ValueError(f"--seed-names must be a JSON object of names; got {label} ({error})") from None
    if not isinstance(names, dict):
        raise ValueError(f"--seed-names must be a JSON object of names; got {label}")
    for path, name in names.items():
        if not all(isinstance(word, str | int) for word in (name if isinstance(name, list) else [name])):
            raise ValueError(
                "--seed-names must be a JSON object of names, or of lists of them; "
                f"got {shown(name)} for {shown(path)} in {label}"
            )
    return {path: tuple(name) if isinstance(name, list) else name for path, name in names.items()}


def _dtype(name: str, stored: str | None, given: str | None) -> str:
    """The dtype of a tensor: that of `--dtype`, unless `--like` says that the tensor has integers."""
    if stored is None or stored not in DTYPES:
        if stored is None or given:
            return given or "float32"
        raise ValueError(
            f"`dtype` of {shown(name)} must be one of {', '.join(DTYPES)}, or --dtype given; got {shown(stored)}"
        )
    return given if given and is_floating(stored) else stored
