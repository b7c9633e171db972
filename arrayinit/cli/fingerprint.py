"""`arrayinit fingerprint`: digests of the tensors in a file."""

from collections.abc import Iterator

import click

import arrayinit
from arrayinit.cli.output import as_json as json_option, say, say_json, status
from arrayinit.common.escapes import printable
from arrayinit.common.messages import counted, shape_text
from arrayinit.common.tables import Column, line

__all__ = ["fingerprint"]

COLUMNS = (Column("digest", width=32), Column("dtype", width=9), Column("shape", width=15), Column("name"))


@click.command(epilog=status("all tensors were read", "FILE can't be read"))
@click.argument("file", type=click.Path(exists=True))
@click.option(
    "--layout",
    metavar="LETTERS",
    help="One letter for each axis, such as io or hwio. Transposed weights then have equal digests.",
)
@json_option
def fingerprint(file: str, layout: str | None, as_json: bool) -> int:
    """Print a digest of each tensor in FILE, and one of all.

    FILE is a safetensors file or index, an npy or npz file, or a directory of zarr, and may be larger than memory. The
    digest of a tensor is that of `arrayinit.fingerprint`, which is the same on every library. The last line is a digest
    of all names and digests, `arrayinit.fingerprint` of a model with these tensors, whatever their order.

    \b
        arrayinit fingerprint model.safetensors
        arrayinit fingerprint kernel.npy --layout io
        arrayinit fingerprint model.safetensors --json
    """  # noqa: D301 # click reads the backspace
    from arrayinit.digests.models import combined  # here, so that help and completion don't wait for it

    marks, tensors = {}, {}
    for name, mark, dtype, shape in _marks(file, layout):
        marks[name] = mark
        if as_json:
            tensors[name] = {"fingerprint": mark, "dtype": dtype, "shape": list(shape)}
        else:
            say(line((mark, dtype, shape_text(shape), printable(name)), COLUMNS))
    if as_json:
        say_json({"fingerprint": combined(marks), "tensors": tensors})
    else:
        say(f"{combined(marks)}  {counted(len(marks), 'tensor')}")
    return 0


def _marks(file: str, layout: str | None) -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    """(name, digest, dtype, shape) of each tensor."""
    from arrayinit.storage.reading import tensors_in

    try:
        for name, x in tensors_in(file):
            mark = arrayinit.fingerprint(x, layout=layout if x.ndim == len(layout or "") else None)
            yield name, mark, x.dtype.name, x.shape
    except Exception as error:  # zarr lets errors of its codecs through
        text, label = str(error), printable(file)
        raise click.ClickException(text if label in text else f"{label}: {text}") from None
