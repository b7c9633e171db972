"""`arrayinit fingerprint`: digests of the tensors in a file."""

import hashlib
import os
from collections.abc import Iterator

import click
import numpy as np
import numpy.typing as npt

import arrayinit
from arrayinit.backends import backend_named
from arrayinit.cli.output import say
from arrayinit.common.escapes import printable
from arrayinit.common.messages import counted, shape_text, shown
from arrayinit.common.tables import Column, line
from arrayinit.storage.files import open_regular

__all__ = ["fingerprint"]

COLUMNS = (Column("digest", width=32), Column("dtype", width=9), Column("shape", width=15), Column("name"))


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--layout",
    metavar="LETTERS",
    help="One letter for each axis, such as io or hwio. Transposed weights then have equal digests.",
)
def fingerprint(file: str, layout: str | None) -> int:
    """Print a digest of each tensor in FILE, and one of all.

    FILE is a safetensors, npy or npz file and may be larger than memory. The digest of a tensor is that of
    `arrayinit.fingerprint`, which is the same on every library. The last line is a digest of all names and digests; it
    does not depend on their order in the file.
    """
    marks = {}
    for name, mark, dtype, size in _marks(file, layout):
        marks[name] = mark
        say(line((mark, dtype, size, printable(name)), COLUMNS))
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(marks):
        whole.update(f"{name} {marks[name]}\n".encode())
    say(f"{whole.hexdigest()}  {counted(len(marks), 'tensor')}")
    return 0


def _marks(file: str, layout: str | None) -> Iterator[tuple[str, str, str, str]]:
    """(name, digest, dtype, shape) of each tensor."""
    try:
        with open_regular(file, "`FILE`"):  # checks it; NumPy opens it by its name
            for name, x in _tensors(file):
                mark = arrayinit.fingerprint(x, layout=layout if x.ndim == len(layout or "") else None)
                yield name, mark, x.dtype.name, shape_text(x.shape)
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
        from arrayinit.storage.shapes import NAMES, header_of

        size = os.stat(file).st_size
        for name, entry in header_of(file).items():
            if entry["dtype"] not in NAMES:
                raise ValueError(
                    f"`dtype` of {shown(name)} must be one of {', '.join(NAMES)}; got {shown(entry['dtype'])}"
                )
            if entry["data_offsets"][1] > size:
                raise ValueError(f"{printable(file)} must hold the whole of {shown(name)}; it ends at byte {size:,}")
            dtype = backend_named("numpy").dtype(NAMES[entry["dtype"]])
            shape = tuple(entry["shape"])
            if 0 in shape:
                yield name, np.empty(shape, dtype)
            else:
                yield name, np.memmap(file, dtype, "r", entry["data_offsets"][0], shape or (1,)).reshape(shape)
