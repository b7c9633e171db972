"""The tensors in a file, mapped into memory or read block by block."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from arrayinit.backends import backend_named
from arrayinit.common.escapes import printable
from arrayinit.common.messages import shown
from arrayinit.storage.documents import parse_json, read_text
from arrayinit.storage.files import open_regular
from arrayinit.storage.shapes import NAMES, header_of, shapes_of

__all__ = ["tensors_in"]

FLOAT8 = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}  # dtypes of files that no initializer draws
INDEX = ".safetensors.index.json"


def tensors_in(path: str | os.PathLike[str]) -> Iterator[tuple[str, Any]]:
    """(name, array) of all tensors in a file, one after the other; the name of the one in an npy file is "".

    Args:
        path: a safetensors file, or the index of several that lie beside it (`*.safetensors.index.json`); an npy or npz
            file; a directory that zarr has written.

    Raises:
        ValueError: no such file, or one of another kind. ImportError: a zarr directory without zarr.
    """
    file = Path(path)
    label = printable(str(file))
    if file.is_dir():
        yield from _in_zarr(file, label)
        return
    with open_regular(file, f"`{label}`"):  # checks it; NumPy opens it by its name
        pass
    if file.suffix in (".npy", ".npz"):
        yield from _of_numpy(file, label)
    elif file.name.endswith(INDEX):
        places = parse_json(read_text(file, f"`{label}`")).get("weight_map")
        if not isinstance(places, dict):
            raise ValueError(f"`{label}` must have names of files under 'weight_map'; got {shown(places)}")
        shapes_of(file)  # checks the index and all headers
        for part in sorted(set(places.values())):
            yield from _in_safetensors(file.parent / part, label)
    else:
        try:
            header_of(file)
        except ValueError as error:
            if file.suffix == ".safetensors":
                raise
            raise ValueError(f"{error} (npy and npz files, an index of safetensors, and zarr are read, too)") from None
        yield from _in_safetensors(file, label)


def _of_numpy(file: Path, label: str) -> Iterator[tuple[str, Any]]:
    try:
        if file.suffix == ".npy":
            yield "", np.load(file, mmap_mode="r")
        else:
            with open(file, "rb") as opened, np.load(opened) as arrays:
                yield from arrays.items()
    except Exception as error:  # of zipfile, zlib and the tokenizer, where a file is broken
        raise ValueError(f"`{label}` must be a {file.suffix} file of NumPy ({error})") from None


def _in_safetensors(file: Path, label: str) -> Iterator[tuple[str, Any]]:
    size = file.stat().st_size
    for name, entry in header_of(file).items():
        if entry["dtype"] not in {**NAMES, **FLOAT8}:
            words = ", ".join((*NAMES, *FLOAT8))
            raise ValueError(f"`dtype` of {shown(name)} in `{label}` must be one of {words}; got {entry['dtype']!r}")
        start, end = entry["data_offsets"]
        if end > size:
            raise ValueError(f"`{label}` must hold the whole of {shown(name)}; it ends at byte {size:,}")
        shape, dtype = tuple(entry["shape"]), _dtype(entry["dtype"])
        if 0 in shape:
            yield name, np.empty(shape, dtype)
        else:
            yield name, np.memmap(file, dtype, "r", start, shape or (1,)).reshape(shape)


def _in_zarr(path: Path, label: str) -> Iterator[tuple[str, Any]]:
    try:
        import zarr
    except ImportError as error:
        raise ImportError(
            f"`{label}` is a directory, which zarr reads; it can't be imported ({error}): pip install zarr"
        ) from error
    try:
        node = zarr.open(path, mode="r")
    except Exception as error:  # which differ between versions of zarr
        raise ValueError(f"`{label}` must be a file, or a directory that zarr has written ({error})") from None
    yield from _in_group(node, "")


def _in_group(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The arrays in a group, or in an array that stands alone."""
    if hasattr(node, "dtype"):
        yield name, node
        return
    for key in sorted(node.keys()):
        yield from _in_group(node[key], f"{name}.{key}" if name else key)


def _dtype(name: str) -> np.dtype[Any]:
    """The dtype of a tensor of a safetensors file, whose name is one of the format's."""
    if name in FLOAT8:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, FLOAT8[name]))
    else:
        dtype = backend_named("numpy").dtype(NAMES[name])
    return dtype
