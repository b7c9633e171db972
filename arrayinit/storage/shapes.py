"""The shapes of a model, from a file: a safetensors file or index, or plain JSON."""

import json
import math
import os
from pathlib import Path
from typing import Any

from arrayinit.common.escapes import printable
from arrayinit.common.integers import MAX_AXES
from arrayinit.common.messages import shown
from arrayinit.storage.documents import DOCUMENT_BYTES, decode, parse_json, read_text
from arrayinit.storage.files import open_regular
from arrayinit.storage.safetensors import DTYPES, MAX_BYTES, itemsize

__all__ = ["NAMES", "header_of", "shapes_of"]

NAMES = {name: dtype for dtype, name in DTYPES.items()}  # the format's name of a dtype -> ours

# What to do with files of other formats, whose endings these are.
WAYS = dict.fromkeys(
    (".pt", ".pth", ".bin", ".ckpt"), "; load it with torch.load and save it with safetensors.torch.save_file"
) | dict.fromkeys((".keras", ".h5"), "; load the model and save its arrays with safetensors.numpy.save_file")

Shapes = dict[str, tuple[tuple[int, ...], str | None]]


def shapes_of(path: str | os.PathLike[str]) -> Shapes:
    """Name -> (shape, dtype), in the file's order.

    The dtype is one of ours, the file's word where we have none for it (F8_E4M3), or None where the file has none.

    Args:
        path: a safetensors file; an index of several (`*.safetensors.index.json`, whose files lie beside it); or JSON,
            {"name": [out, in]} or {"name": {"shape": [out, in], "dtype": "bfloat16"}}.

    Raises:
        ValueError: another kind of file, or an entry that is not a shape.
    """
    file = Path(path)
    label = printable(str(file))
    if file.suffix != ".json":
        return _shapes_of_header(file)
    try:
        data = parse_json(read_text(file, f"`{label}`"))
    except ValueError as error:
        raise ValueError(f"`{label}` must be JSON; {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"`{label}` must be a JSON object of names and shapes; got {type(data).__name__}")
    if isinstance(data.get("weight_map"), dict):
        return _shapes_of_index(file, data["weight_map"])
    return {name: _entry(name, entry) for name, entry in data.items()}


def header_of(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Name -> {"dtype", "shape", "data_offsets"} of a safetensors file, offsets counted from its first byte."""
    label = printable(str(path))
    with open_regular(path, f"`{label}`") as file:
        length = int.from_bytes(file.read(8), "little")
        # Only a length that the format and the size of the file allow is read.
        text = file.read(length) if length <= min(DOCUMENT_BYTES, os.fstat(file.fileno()).st_size) else b""
    try:
        if len(text) != length or not length:
            raise ValueError("its header is cut off or longer than the format allows")
        header = parse_json(decode(text))
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
    except ValueError as error:
        reason = "its header is not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else error
        way = WAYS.get(Path(path).suffix.lower(), "")
        raise ValueError(f"`{label}` must be a safetensors file; its header can't be read: {reason}{way}") from None
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not _is_entry(entry):
            raise ValueError(f"`{label}` must be a safetensors file; its header has {shown(entry)} for {shown(name)}")
        entry["data_offsets"] = [at + 8 + length for at in entry["data_offsets"]]
    return header


def _shapes_of_header(file: Path) -> Shapes:
    return {
        name: (tuple(entry["shape"]), NAMES.get(entry["dtype"], entry["dtype"]))
        for name, entry in header_of(file).items()
    }


def _shapes_of_index(file: Path, names: dict[str, Any]) -> Shapes:
    """The shapes in all files of an index. Each name must be in the file that the index gives, and in no other."""
    label = printable(str(file))
    shapes: Shapes = {}
    holder: dict[str, str] = {}
    for part in names.values():
        if not isinstance(part, str):
            raise ValueError(f"`{label}` must have names of files under 'weight_map'; got {shown(part)}")
    for part in dict.fromkeys(names.values()):
        if Path(part).name != part or part in ("", "..") or "\0" in part or part.endswith(".json"):
            raise ValueError(
                f"`{label}` must have names of safetensors files beside it under 'weight_map'; got {shown(part)}"
            )
        part_shapes = _shapes_of_header(file.parent / part)
        for name in part_shapes:
            if name in holder or names.get(name, part) != part:
                other = holder.get(name, names.get(name))
                raise ValueError(
                    f"`{label}` must have each tensor in one file; {shown(name)} is in {shown(part)}, and is in or "
                    f"listed for {shown(other)}, too"
                )
            holder[name] = part
        shapes |= part_shapes
    lost = [name for name in names if name not in shapes]
    if lost:
        raise ValueError(f"`{label}` must name the file of each tensor; {shown(lost[0])} is in none of them")
    return shapes


def _is_entry(entry: Any) -> bool:
    """Whether this is the entry of a tensor in a header: a dtype, a shape, and where its bytes begin and end."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return False
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets)) or not isinstance(entry["dtype"], str) or len(offsets) != 2:
        return False
    name = NAMES.get(entry["dtype"])
    length = offsets[1] - offsets[0]
    return length >= 0 and (name is None or length == math.prod(shape) * itemsize(name))


def _are_sizes(numbers: Any) -> bool:
    """Whether this is a list of sizes or offsets: as many as NumPy has axes, each within a file's limit."""
    return (
        isinstance(numbers, list)
        and len(numbers) <= MAX_AXES
        and all(type(n) is int and 0 <= n <= MAX_BYTES for n in numbers)
    )


def _entry(name: str, entry: Any) -> tuple[tuple[int, ...], str | None]:
    dtype = None
    if isinstance(entry, dict):
        if not set(entry) <= {"shape", "dtype"} or "shape" not in entry:
            raise ValueError(f"{shown(name)} must have a shape, a dtype and nothing else; got {shown(entry)}")
        entry, dtype = entry["shape"], entry.get("dtype")
        if not isinstance(dtype, str | None):
            raise ValueError(f"`dtype` of {shown(name)} must be a string; got {shown(dtype)}")
    if not _are_sizes(entry):
        raise ValueError(
            f"{shown(name)} must have a shape, a list of sizes, {MAX_AXES} at most and none beyond 2**63; "
            f"got {shown(entry)}"
        )
    return tuple(entry), dtype
