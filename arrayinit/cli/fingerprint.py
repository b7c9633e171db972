"""`arrayinit fingerprint`: digests of the tensors in a file."""

import os
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
import numpy.typing as npt

import arrayinit
from arrayinit.backends import backend_named
from arrayinit.cli.output import as_json as json_option, say, say_json, status
from arrayinit.common.escapes import printable
from arrayinit.common.messages import counted, shape_text, shown
from arrayinit.common.tables import Column, line
from arrayinit.storage.files import open_regular
from arrayinit.storage.shapes import NAMES

__all__ = ["fingerprint"]

FLOAT8 = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}  # dtypes of files that no initializer draws

COLUMNS = (Column("digest", width=32), Column("dtype", width=9), Column("shape", width=15), Column("name"))


@click.command(epilog=status("all tensors were read", "FILE can't be read"))
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--layout",
    metavar="LETTERS",
    help="One letter for each axis, such as io or hwio. Transposed weights then have equal digests.",
)
@json_option
def fingerprint(file: str, layout: str | None, as_json: bool) -> int:
    """Print a digest of each tensor in FILE, and one of all.

    FILE is a safetensors, npy or npz file and may be larger than memory. The digest of a tensor is that of
    `arrayinit.fingerprint`, which is the same on every library. The last line is a digest of all names and digests,
    `arrayinit.fingerprint` of a model with these tensors; it does not depend on their order in the file.

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
    try:
        with open_regular(file, "`FILE`"):  # checks it; NumPy opens it by its name
            for name, x in _tensors(file):
                mark = arrayinit.fingerprint(x, layout=layout if x.ndim == len(layout or "") else None)
                yield name, mark, x.dtype.name, x.shape
    except Exception as error:  # for broken files NumPy lets errors of zipfile, zlib and the tokenizer through
        text, label = str(error), printable(file)
        raise click.ClickException(text if label in text else f"{label}: {text}") from None


def _tensors(file: str) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    """(name, array) of all tensors in a file, mapped into memory rather than read."""
    if file.endswith(".npz"):
        with open(file, "rb") as opened, np.load(opened) as arrays:
            yield from arrays.items()
    elif file.endswith(".npy"):
        yield "", np.load(file, mmap_mode="r")
    else:
        from arrayinit.storage.shapes import header_of

        size = os.stat(file).st_size
        for name, entry in header_of(file).items():
            if entry["dtype"] not in {**NAMES, **FLOAT8}:
                words = ", ".join((*NAMES, *FLOAT8))
                raise ValueError(f"`dtype` of {shown(name)} must be one of {words}; got {shown(entry['dtype'])}")
            if entry["data_offsets"][1] > size:
                raise ValueError(f"{printable(file)} must hold the whole of {shown(name)}; it ends at byte {size:,}")
            dtype = _dtype(entry["dtype"])
            shape = tuple(entry["shape"])
            if 0 in shape:
                yield name, np.empty(shape, dtype)
            else:
                yield name, np.memmap(file, dtype, "r", entry["data_offsets"][0], shape or (1,)).reshape(shape)


def _dtype(name: str) -> np.dtype[Any]:
    """The dtype of a tensor of a safetensors file, whose name is one of the format's."""
    if name in FLOAT8:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, FLOAT8[name]))
    else:
        dtype = backend_named("numpy").dtype(NAMES[name])
    return dtype
