"""The shapes of a model, from a file: a safetensors file or index, or plain JSON."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arrayinit.fans import check_shape
from arrayinit.storage.safetensors import DTYPES, itemsize

__all__ = ["header_of", "shapes_of"]

NAMES = {theirs: ours for ours, theirs in DTYPES.items()}


def shapes_of(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[int, ...], str | None]]:
    """Name -> (shape, dtype, or None where the file has none), in the file's order.

    Args:
        path: a safetensors file; an index of several (`*.safetensors.index.json`, whose files lie beside it); or JSON,
            {"name": [out, in]} or {"name": {"shape": [out, in], "dtype": "bfloat16"}}.

    Raises:
        ValueError: it is none of these, or a shape or dtype is none.
    """
    file = Path(path)
    if file.suffix != ".json":
        header = header_of(file)
        return {name: (tuple(entry["shape"]), _named(name, entry["dtype"])) for name, entry in header.items()}
    try:
        data = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"`{file}` must be JSON; {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"`{file}` must be a JSON object of names and shapes; got {type(data).__name__}")
    if isinstance(data.get("weight_map"), dict):
        found: dict[str, tuple[tuple[int, ...], str | None]] = {}
        for part in dict.fromkeys(data["weight_map"].values()):
            if not isinstance(part, str):
                raise ValueError(f"`{file}` must have names of files under 'weight_map'; got {part!r}")
            found |= shapes_of(file.parent / part)
        return found
    return {name: _entry(name, entry) for name, entry in data.items()}


def header_of(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Name -> {"dtype", "shape", "data_offsets"} of a safetensors file, offsets counted from its first byte."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        text = file.read(length) if length <= size else b""
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ValueError(f"`{path}` must be a safetensors file; its header can't be read")
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not _is_entry(entry):
            raise ValueError(f"`{path}` must be a safetensors file; its header has {entry!r} for {name!r}")
        entry["data_offsets"] = [at + 8 + length for at in entry["data_offsets"]]
    return header


def _is_entry(entry: Any) -> bool:
    """Whether that is what a header says of a tensor: a dtype, a shape, and where its bytes begin and end."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return False
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not all(
        isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers) for numbers in (shape, offsets)
    ):
        return False
    if not isinstance(entry["dtype"], str) or len(offsets) != 2:
        return False
    name = NAMES.get(entry["dtype"])
    return name is None or offsets[1] - offsets[0] == math.prod(shape) * itemsize(name)


def _named(name: str, dtype: str) -> str:
    if dtype not in NAMES:
        raise ValueError(f"`dtype` of {name!r} must be one of {', '.join(NAMES)}; got {dtype}")
    return NAMES[dtype]


def _entry(name: str, entry: Any) -> tuple[tuple[int, ...], str | None]:
    dtype = None
    if isinstance(entry, Mapping):
        if not set(entry) <= {"shape", "dtype"} or "shape" not in entry:
            raise ValueError(f"{name!r} must have a shape, a dtype and nothing else; got {dict(entry)!r}")
        entry, dtype = entry["shape"], entry.get("dtype")
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f"`dtype` of {name!r} must be one of {', '.join(DTYPES)}; got {dtype!r}")
    if not isinstance(entry, list):
        raise ValueError(f"{name!r} must have a shape, a list of sizes; got {entry!r}")
    return check_shape(entry, f"shape of {name}"), dtype
