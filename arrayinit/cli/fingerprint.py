"""`arrayinit fingerprint`: digests of the tensors of a file."""

import hashlib
from collections.abc import Iterator
from zipfile import BadZipFile

import click
import numpy as np
import numpy.typing as npt

import arrayinit
from arrayinit.backends import backend_named

__all__ = ["fingerprint"]


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--layout", metavar="LETTERS", help="What the axes mean, such as io or hwio: transposes share a digest.")
def fingerprint(file: str, layout: str | None) -> int:
    """Digest the values of each tensor of FILE, and all of them.

    FILE is a safetensors, npy or npz file, larger than memory if need be. The digest of a tensor is
    `arrayinit.fingerprint` of it, the same on every library; the last line is one of all names and digests, whatever
    their order in the file.
    """
    marks = {}
    try:
        for name, x in _tensors(file):
            marks[name] = arrayinit.fingerprint(x, layout=layout if x.ndim == len(layout or "") else None)
            size = "x".join(map(str, x.shape)) or "scalar"
            click.echo(f"{marks[name]}  {x.dtype.name:<10} {size:<16} {name}")
    except (TypeError, ValueError, ImportError, OSError, EOFError, BadZipFile) as error:
        raise click.ClickException(str(error) if file in str(error) else f"{file}: {error}") from None
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(marks):
        whole.update(f"{name} {marks[name]}\n".encode())
    click.echo(f"{whole.hexdigest()}  {len(marks)} tensors")
    return 0


def _tensors(file: str) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    """(name, array) of all tensors of a file, mapped into memory, not read."""
    if file.endswith(".npz"):
        with open(file, "rb") as opened, np.load(opened) as arrays:
            yield from arrays.items()
    elif file.endswith(".npy"):
        yield "", np.load(file, mmap_mode="r")
    else:
        from arrayinit.storage.shapes import NAMES, header_of

        for name, entry in header_of(file).items():
            if entry["dtype"] not in NAMES:
                raise ValueError(f"`dtype` of {name!r} must be one of {', '.join(NAMES)}; got {entry['dtype']}")
            dtype = backend_named("numpy").dtype(NAMES[entry["dtype"]])
            shape = tuple(entry["shape"])
            if 0 in shape:
                yield name, np.empty(shape, dtype)
            else:
                yield name, np.memmap(file, dtype, "r", entry["data_offsets"][0], shape or (1,)).reshape(shape)
