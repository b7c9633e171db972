"""A safetensors file of drawn tensors, written as a stream: larger than memory, and resumed where it was cut off.

The format is 8 bytes that hold the length of the header, the header, and the tensors one after another without gaps
(huggingface.co/docs/safetensors). Since it is written from front to back, the length of an unfinished file says what
of it is finished.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from arrayinit.backends import backend_named
from arrayinit.fans import check_shape
from arrayinit.key import Key
from arrayinit.progress import progress_bar
from arrayinit.seeds import Name, resolve
from arrayinit.specs import Spec, law_of
from arrayinit.storage.parts import PART, check_part, parts

__all__ = ["DTYPES", "Tensor", "itemsize", "save_safetensors"]

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
        FileExistsError: the file is there, or an unfinished one of another draw, and force is False; another process
            is writing it. IsADirectoryError: it is a directory.
        TypeError, ValueError: a dtype that the format lacks, metadata that are no strings, and all that initializers
            raise; before anything is written.
    """
    goal = Path(path)
    unfinished = goal.with_name(goal.name + UNFINISHED)
    if seed is None:
        raise TypeError("`seed` must be given; got None")
    check_part(part)
    if not isinstance(tensors, Mapping):
        raise TypeError(f"`tensors` must be a mapping of names to arrayinit.storage.Tensor; got {tensors!r}")
    key = resolve(seed)
    planned = {name: _checked(name, tensor) for name, tensor in tensors.items()}
    keys = {name: resolve(key, name if tensor.name is None else tensor.name) for name, tensor in planned.items()}
    header = _header(planned, int(key), {"format": "pt"} if metadata is None else _strings(metadata))
    _check_new(goal, force)
    with _locked(unfinished):
        _check_new(goal, force)
        done = _finished(unfinished, header, force)
        total = sum(math.prod(tensor.shape) * itemsize(tensor.dtype) for tensor in planned.values())
        with open(unfinished, "r+b" if done else "wb") as file, progress_bar(goal.name, total, progress) as advance:
            if not done:
                file.write(header)
            _write(file, planned, keys, len(header), max(done, len(header)), part, advance)
        os.replace(unfinished, goal)


def _write(
    file: BinaryIO,
    tensors: Mapping[str, Tensor],
    keys: Mapping[str, Key],
    at: int,
    done: int,
    part: int,
    advance: Callable[[int], None],
) -> None:
    """Draw tensors into a file from the position `at` on, but for the parts that end before `done`."""
    buffer = np.empty(0, np.uint8)
    pending = 0
    for name, tensor in _ordered(tensors):
        size = itemsize(tensor.dtype)
        law, _ = law_of(tensor.initializer, tensor.shape, tensor.dtype)
        for where in parts(law, tensor.shape, size, part):
            counts = tuple(s.stop - s.start for s in where)
            length = math.prod(counts) * size
            at += length
            if at > done:
                file.seek(at - length)
                if buffer.size < length:
                    buffer = np.empty(length, np.uint8)
                values = buffer[:length].view(backend_named("numpy").dtype(tensor.dtype)).reshape(counts)
                tensor.initializer.fill_(values, shape=tensor.shape, index=where, seed=keys[name])
                file.write(buffer[:length].data)
                pending += length
                if pending >= part:  # not for each of many small tensors: a disk takes longer than their draws
                    _sync(file)
                    pending = 0
            advance(length)
    file.truncate(at)
    _sync(file)


def _sync(file: BinaryIO) -> None:
    """Let what was written be on the disk, so that the length of the file says what is finished."""
    file.flush()
    os.fsync(file.fileno())


def _check_new(goal: Path, force: bool) -> None:
    if goal.is_dir():
        raise IsADirectoryError(f"`path` must be a file; got the directory {goal}")
    if goal.exists() and not force:
        raise FileExistsError(f"`path` must be a new file, or `force` given; got {goal}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing to a file, which is made where it is not there; on systems with flock."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(f"`path` must not be written by another process; one writes {path}") from None
            except OSError:
                pass  # a file system without locks
            if path.exists() and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                yield
                return
        finally:
            os.close(descriptor)
        # It was finished and took its name between the two calls.


def _strings(metadata: Any) -> Mapping[str, str]:
    """Metadata as the format has them."""
    if not isinstance(metadata, Mapping) or not all(
        isinstance(word, str) for pair in metadata.items() for word in pair
    ):
        raise TypeError(f"`metadata` must be a mapping of strings to strings; got {metadata!r}")
    return metadata


def _checked(name: str, tensor: Tensor) -> Tensor:
    """A tensor whose shape and dtype are plain, and which its initializer can draw."""
    if not isinstance(name, str) or name == "__metadata__":
        raise ValueError(f"`tensors` must have names that are strings other than '__metadata__'; got {name!r}")
    if not isinstance(tensor, Tensor) or not isinstance(tensor.initializer, Spec):
        raise TypeError(
            f"`tensors` must hold Tensors, whose initializer is an arrayinit.Spec; got {tensor!r} as {name!r}"
        )
    kind = backend_named("numpy").dtype_name(tensor.dtype)
    if kind not in DTYPES:
        raise TypeError(f"`dtype` of {name!r} must be one of {', '.join(DTYPES)}; got {tensor.dtype!r}")
    shape = check_shape(tensor.shape, f"shape of {name}")
    law_of(tensor.initializer, shape, kind)
    itemsize(kind)
    return tensor._replace(shape=shape, dtype=kind)


def itemsize(dtype: str) -> int:
    """Bytes of an element of a dtype."""
    return int(backend_named("numpy").dtype(dtype).itemsize)


def _ordered(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Large elements first, so that each tensor lies at a multiple of the size of its own."""
    return sorted(tensors.items(), key=lambda item: -itemsize(item[1].dtype))


def _header(tensors: Mapping[str, Tensor], key: int, metadata: Mapping[str, str]) -> bytes:
    """The length of the header, and the header, padded so that the tensors begin at a multiple of 8 bytes."""
    from arrayinit import STREAM_VERSION

    drawn = {name: tensor.initializer.as_dict() for name, tensor in tensors.items()}
    names = {name: tensor.name for name, tensor in tensors.items() if tensor.name not in (None, name)}
    made = {"stream": STREAM_VERSION, "key": key, "initializers": drawn, "names": names}
    entries: dict[str, Any] = {"__metadata__": {**metadata, "arrayinit": json.dumps(made)}}
    at = 0
    for name, tensor in _ordered(tensors):
        end = at + math.prod(tensor.shape) * itemsize(tensor.dtype)
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
