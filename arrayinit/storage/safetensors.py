"""A safetensors file of drawn tensors, written as a stream: larger than memory, and resumed where it was cut off.

The format is 8 bytes that hold the length of the header, the header, and the tensors one after another without gaps
(huggingface.co/docs/safetensors). Since it is written from front to back, the length of an unfinished file says what
of it is finished.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arrayinit.backends import backend_named
from arrayinit.fans import check_shape
from arrayinit.progress import progress_bar
from arrayinit.seeds import Name, resolve
from arrayinit.specs import Spec, law_of
from arrayinit.storage.parts import PART, parts

__all__ = ["DTYPES", "Tensor", "save_safetensors"]

# The format's name of each dtype that initializers draw.
DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "complex64": "C64", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
    "bool": "BOOL",
}  # fmt: skip

UNFINISHED = ".unfinished"  # what is added to the name until the file is whole


class Tensor(NamedTuple):
    """What a tensor of a file is: an initializer, a global shape, a dtype and the name folded into its key."""

    initializer: Spec
    shape: tuple[int, ...]
    dtype: str = "float32"
    name: Name | None = None  # its name in the file, where None


def save_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    seed: Any,
    metadata: Mapping[str, str] | None = None,
    force: bool = False,
    progress: bool | None = None,
    part: int = PART,
) -> None:
    """Draw tensors into a new safetensors file, which may be larger than memory.

        save_safetensors("model.safetensors", {"fc.weight": Tensor(ai.spec("xavier_uniform"), (128, 64))}, seed=0)

    The tensor of a name equals `initializer(shape, dtype=dtype, seed=seed, name=name)`. All is written to a file
    beside it, `path` + ".unfinished", that takes its name when it is whole. Called again after an interruption,
    with the same arguments, it goes on where that ends. The header's metadata says what was drawn, under "arrayinit":
    the stream's version, the key, and the initializer of each tensor.

    Args:
        tensors: name -> :class:`Tensor`, in any order; the file has them by the size of their elements, largest first.
        seed: as in every initializer, but None.
        metadata: more strings for the header; {"format": "pt"} by default, which readers for torch ask for.
        force: replace the file, and an unfinished one of another draw.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.
        part: bytes to draw at a time; about twice that much memory is used, more where a tensor is orthogonal or
            sparse, which is drawn in one.

    Raises:
        FileExistsError: the file is there, or an unfinished one of another draw, and force is False.
        TypeError, ValueError: a dtype that the format lacks, and all that initializers raise; before anything is
            written.
    """
    goal = Path(path)
    unfinished = goal.with_name(goal.name + UNFINISHED)
    if seed is None:
        raise TypeError("`seed` must be given; got None")
    key = resolve(seed)
    planned = {name: _checked(name, tensor) for name, tensor in tensors.items()}
    header = _header(planned, int(key), {"format": "pt"} if metadata is None else metadata)
    if goal.exists() and not force:
        raise FileExistsError(f"`path` must be a new file, or `force` given; got {goal}")
    done = _finished(unfinished, header, force)
    sizes = {name: _itemsize(tensor.dtype) for name, tensor in planned.items()}
    buffer = np.empty(0, np.uint8)
    total = sum(math.prod(tensor.shape) * sizes[name] for name, tensor in planned.items())
    with open(unfinished, "r+b" if done else "wb") as file, progress_bar(goal.name, total, progress) as advance:
        if not done:
            file.write(header)
            done = len(header)
        file.seek(done)
        at = len(header)
        for name, tensor in _ordered(planned):
            folded = resolve(key, name if tensor.name is None else tensor.name)
            law, _ = law_of(tensor.initializer, tensor.shape, tensor.dtype)
            for where in parts(law, tensor.shape, sizes[name], part):
                counts = tuple(s.stop - s.start for s in where)
                length = math.prod(counts) * sizes[name]
                at += length
                if at > done:
                    file.seek(at - length)
                    if buffer.size < length:
                        buffer = np.empty(length, np.uint8)
                    values = buffer[:length].view(backend_named("numpy").dtype(tensor.dtype)).reshape(counts)
                    tensor.initializer.fill_(values, shape=tensor.shape, index=where, seed=folded)
                    file.write(buffer[:length].data)
                    os.fsync(file.fileno())
                advance(length)
        file.truncate()
        os.fsync(file.fileno())
    os.replace(unfinished, goal)


def _checked(name: str, tensor: Tensor) -> Tensor:
    """A tensor whose shape and dtype are plain, and which its initializer can draw."""
    if not isinstance(name, str) or name == "__metadata__":
        raise ValueError(f"`tensors` must have names that are strings other than '__metadata__'; got {name!r}")
    kind = backend_named("numpy").dtype_name(tensor.dtype)
    if kind not in DTYPES:
        raise TypeError(f"`dtype` of {name!r} must be one of {', '.join(DTYPES)}; got {tensor.dtype!r}")
    shape = check_shape(tensor.shape, f"shape of {name}")
    law_of(tensor.initializer, shape, kind)
    _itemsize(kind)
    return tensor._replace(shape=shape, dtype=kind)


def _itemsize(dtype: str) -> int:
    return int(backend_named("numpy").dtype(dtype).itemsize)


def _ordered(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Large elements first, so that each tensor lies at a multiple of the size of its own."""
    return sorted(tensors.items(), key=lambda item: -_itemsize(item[1].dtype))


def _header(tensors: Mapping[str, Tensor], key: int, metadata: Mapping[str, str]) -> bytes:
    """The length of the header, and the header, padded so that the tensors begin at a multiple of 8 bytes."""
    from arrayinit import STREAM_VERSION

    drawn = {name: tensor.initializer.as_dict() for name, tensor in tensors.items()}
    names = {name: tensor.name for name, tensor in tensors.items() if tensor.name not in (None, name)}
    made = {"stream": STREAM_VERSION, "key": key, "initializers": drawn, "names": names}
    entries: dict[str, Any] = {"__metadata__": {**metadata, "arrayinit": json.dumps(made)}}
    at = 0
    for name, tensor in _ordered(tensors):
        end = at + math.prod(tensor.shape) * _itemsize(tensor.dtype)
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _finished(unfinished: Path, header: bytes, force: bool) -> int:
    """How many bytes of an unfinished file of this draw are there; 0 where there is none."""
    try:
        with open(unfinished, "rb") as file:
            same = file.read(len(header)) == header
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return 0
    if same:
        return size
    if size < len(header) or force:  # not even the header, or one that may go
        return 0
    raise FileExistsError(
        f"`path` must have no unfinished file of another draw beside it, or `force` given; got {unfinished}"
    )
