"""A safetensors file of drawn tensors, written as a stream: larger than memory, and resumed where it was cut off.

The format is 8 bytes that hold the length of the header, the header, and the tensors one after another without gaps
(huggingface.co/docs/safetensors).

The content of an unfinished file is never trusted: its length may be on the disk before its bytes, which then read as
zeros, and other programs may have changed it. A tile counts as written only if the header is that of this draw and
drawing the tile again gives its bytes. Reading and drawing take less time than writing, and need no record that could
itself be wrong.
"""

import errno
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arrayinit.backends import backend_named
from arrayinit.common.arguments import flag
from arrayinit.common.disks import room
from arrayinit.common.escapes import printable
from arrayinit.common.integers import as_integer
from arrayinit.common.messages import shown
from arrayinit.common.progress import check_progress, progress_bar
from arrayinit.key import Key
from arrayinit.laws import is_random
from arrayinit.laws.geometry import check_shape
from arrayinit.seeds import Name, peek, resolve
from arrayinit.specs import Spec, law_of, spec_hint
from arrayinit.storage.documents import DOCUMENT_BYTES
from arrayinit.storage.files import absolute, check_replaceable, has_bytes, locked_file, publish, sync, write
from arrayinit.storage.tiling import TILE_BYTES, check_part, tiling

__all__ = ["DTYPES", "Tensor", "itemsize", "save_safetensors"]

# The format's name of each dtype that initializers draw.
DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "complex64": "C64", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
    "bool": "BOOL",
}  # fmt: skip

UNFINISHED = ".unfinished"  # suffix of the name until the file is whole
MAX_BYTES = (1 << 63) - 1  # the largest offset of a file


class Tensor(NamedTuple):
    """A tensor of a file: an initializer, a global shape, a dtype and the name folded into its key.

    >>> from arrayinit.storage import Tensor
    >>> Tensor(ai.spec("xavier_uniform"), (128, 64))
    Tensor(initializer=spec('xavier_uniform'), shape=(128, 64), dtype='float32', name=None)
    """

    initializer: Spec
    shape: tuple[int, ...]
    dtype: str = "float32"
    name: Name | None = None  # None is its name in the file


def save_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    seed: Any,
    metadata: Mapping[str, str] | None = None,
    force: bool = False,
    progress: bool | None = None,
    part: int = TILE_BYTES,
) -> None:
    """Draw tensors into a new safetensors file, which may be larger than memory.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from arrayinit.storage import Tensor, save_safetensors
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "model.safetensors")
        ...     save_safetensors(path, {"fc.weight": Tensor(ai.spec("xavier_uniform"), (128, 64))}, seed=0)
        ...     path.stat().st_size > 128 * 64 * 4
        True

    Each tensor equals `initializer(shape, dtype=dtype, seed=seed, name=name)`. They are written to a file beside it,
    `path` + ".unfinished", which is renamed to `path` when it is whole and on the disk. Call again with the same
    arguments after an interruption (a killed process, a loss of power, a full disk), and the draw goes on: the existing
    bytes are read, compared with a new draw, and written only where they differ. The header's metadata records the
    draw under "arrayinit": the stream's version, the key, and the initializer of each tensor.

    One process at a time writes a file; a second one raises. On Windows, and on file systems without flock, nothing
    keeps two apart.

    Args:
        path: of the new file.
        tensors: name -> :class:`Tensor`, in any order; the file has them by the size of their elements, largest first.
        seed: as in every initializer, but not None. A generator gives up its bits when the file is whole, so that an
            interrupted call goes on with the same key.
        metadata: more strings for the header, under other names than "arrayinit"; {"format": "pt"} by default, which
            readers for torch ask for.
        force: replace the file, and an unfinished one of another draw.
        progress: True for a progress bar, False for none; None for one on terminals after a second, if rich is
            installed.
        part: the bytes to draw at a time. About twice that much memory is used, except for orthogonal and sparse
            tensors, which must fit in memory.

    Raises:
        FileExistsError: the file exists, or an unfinished one of another draw, and force is False; another process
            is writing it; one of them is a link, a FIFO, a device or a socket, whether force is given or not.
        IsADirectoryError: path is a directory.
        OSError: the disk is full, the folder can't be written to, and so on; the written bytes stay, and the next call
            goes on with them.
        TypeError, ValueError: a dtype that the format lacks, names or metadata that readers refuse, a header or
            a file too large for the format; and as the initializers. These come before anything is written.

    Source: huggingface.co/docs/safetensors, the format.
    """
    goal = absolute(path, "`path`")
    unfinished = goal.with_name(goal.name + UNFINISHED)
    if seed is None:
        raise TypeError("`seed` must be given; got None")
    check_part(part)
    flag(force, "force")
    check_progress(progress)
    if not isinstance(tensors, Mapping):
        raise TypeError(f"`tensors` must be a mapping of names to arrayinit.storage.Tensor; got {shown(tensors)}")
    planned = {name: _plain_tensor(name, tensor) for name, tensor in tensors.items()}
    extra = {"format": "pt"} if metadata is None else _strings(metadata)
    check_replaceable(goal, "`path`", force)
    key = peek(seed)
    keys = {name: resolve(key, _seed_name(name, tensor)) for name, tensor in planned.items()}
    header = _header(planned, int(key), extra)
    total = sum(math.prod(tensor.shape) * itemsize(tensor.dtype) for tensor in planned.values())
    if len(header) + total > MAX_BYTES:
        raise ValueError(f"`tensors` must fit a file, of {MAX_BYTES:,} bytes at most; got {total:,}")
    laws = [law_of(t.initializer, t.shape, t.dtype)[0] for t in planned.values() if 0 not in t.shape]
    disk = room(goal.parent)
    if disk is not None and total > disk.total:  # otherwise the error would come when the disk is full
        raise OSError(errno.ENOSPC, f"`tensors` must fit the disk, of {disk.total:,} bytes; got {total:,}", str(goal))
    with progress_bar(goal.name, total, progress) as advance, locked_file(unfinished, "`path`") as file:
        check_replaceable(goal, "`path`", force)
        size = _size(file, unfinished, header, force)
        if not size:
            write(file, 0, header)
            sync(file)  # before the tensors, so that a loss of power leaves the header of this draw or nothing
        _write(file, planned, keys, len(header), size, part, advance)
        check_replaceable(goal, "`path`", force)  # another program may have made it meanwhile
        publish(file, unfinished, goal)
    if any(map(is_random, laws)):
        resolve(seed)  # at the end: an interrupted call goes on with the key of the same generator


def _write(
    file: io.FileIO,
    tensors: Mapping[str, Tensor],
    keys: Mapping[str, Key],
    at: int,
    size: int,
    part: int,
    advance: Callable[[int], None],
) -> None:
    """Draw tensors into a file from the position `at` on; tiles within its first `size` bytes are compared first."""
    buffer = np.empty(0, np.uint8)
    pending = 0
    for name, tensor in _ordered(tensors):
        width = itemsize(tensor.dtype)
        law, _ = law_of(tensor.initializer, tensor.shape, tensor.dtype)
        for tile in tiling(law, tensor.shape, width, part):
            counts = tuple(s.stop - s.start for s in tile)
            length = math.prod(counts) * width
            if buffer.size < length:
                buffer = np.empty(length, np.uint8)
            data = buffer[:length]
            values = data.view(backend_named("numpy").dtype(tensor.dtype)).reshape(counts)
            tensor.initializer.fill_(values, shape=tensor.shape, index=tile, seed=keys[name])
            if at + length > size or not has_bytes(file, at, data):
                write(file, at, data)
                pending += length
            if pending >= part:  # not for each small tensor: a sync takes longer than its draw
                sync(file)
                pending = 0
            at += length
            advance(length)
    file.truncate(at)


def _size(file: io.FileIO, path: Path, header: bytes, force: bool) -> int:
    """The size of an unfinished file with this header; otherwise the file is emptied and the size is 0.

    FileExistsError for the file of another draw, unless `force`.
    """
    size = os.fstat(file.fileno()).st_size
    if size >= len(header) and has_bytes(file, 0, np.frombuffer(header, np.uint8)):
        return size
    file.seek(0)
    start = file.read(min(size, len(header))) if size <= len(header) else b""
    is_torn = size <= len(header) and header.startswith(start.rstrip(b"\0"))  # power was lost while it was written
    if not (force or is_torn):
        raise FileExistsError(
            f"`path` has an unfinished file of another draw beside it: {printable(str(path))}. "
            f"Pass force=True (--force) to replace it."
        )
    file.truncate(0)
    return 0


def _strings(metadata: Any) -> Mapping[str, str]:
    """Metadata as the format has it: strings; 'arrayinit' is left to us."""
    if not isinstance(metadata, Mapping) or not all(
        isinstance(word, str) for pair in metadata.items() for word in pair
    ):
        raise TypeError(f"`metadata` must be a mapping of strings to strings; got {shown(metadata)}")
    _check_text("`metadata`", (word for pair in metadata.items() for word in pair))
    if "arrayinit" in metadata:
        raise ValueError(
            f"`metadata` must not have 'arrayinit', which records the draw; got {shown(metadata['arrayinit'])}"
        )
    return metadata


def _check_text(argument: str, words: Iterable[str]) -> None:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:  # a surrogate: JSON can hold it, but readers refuse it
            raise ValueError(f"{argument} must be text that UTF-8 can hold; got {shown(word)}") from None


def _plain_tensor(name: str, tensor: Tensor) -> Tensor:
    """The tensor with a plain shape, dtype and name; TypeError or ValueError where its initializer can't draw it."""
    if not isinstance(name, str) or name == "__metadata__":
        raise ValueError(f"`tensors` must have names that are strings other than '__metadata__'; got {shown(name)}")
    _check_text("names in `tensors`", [name])
    if not isinstance(tensor, Tensor) or not isinstance(tensor.initializer, Spec):
        raise TypeError(
            f"`tensors` must hold Tensors, whose initializer is an arrayinit.Spec; got {shown(tensor)} as "
            f"{shown(name)}{spec_hint(getattr(tensor, 'initializer', tensor))}"
        )
    dtype = backend_named("numpy").dtype_name(tensor.dtype)
    if dtype not in DTYPES:
        raise TypeError(f"`dtype` of {shown(name)} must be one of {', '.join(DTYPES)}; got {shown(tensor.dtype)}")
    shape = check_shape(tensor.shape, f"shape of {printable(name)}")
    law_of(tensor.initializer, shape, dtype)
    itemsize(dtype)
    resolve(0, _seed_name(name, tensor))
    return tensor._replace(shape=shape, dtype=dtype, name=_plain_name(tensor.name))


def _plain_name(name: Any) -> Any:
    """A name that JSON can hold: integers of any library become Python's."""
    if isinstance(name, tuple):
        return tuple(map(_plain_name, name))
    number = as_integer(name)
    return name if number is None else number


def _seed_name(name: str, tensor: Tensor) -> Name:
    """The name that is folded into the key of a tensor."""
    return name if tensor.name is None else tensor.name


def itemsize(dtype: str) -> int:
    """Bytes of an element of a dtype."""
    return int(backend_named("numpy").dtype(dtype).itemsize)


def _ordered(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Tensors with large elements first, so that each lies at a multiple of the size of its elements."""
    return sorted(tensors.items(), key=lambda item: -itemsize(item[1].dtype))


def _header(tensors: Mapping[str, Tensor], key: int, metadata: Mapping[str, str]) -> bytes:
    """The length of the header, and the header, padded so that the tensors begin at a multiple of 8 bytes."""
    from arrayinit import STREAM_VERSION

    initializers = {name: tensor.initializer.as_dict() for name, tensor in tensors.items()}
    names = {name: tensor.name for name, tensor in tensors.items() if tensor.name not in (None, name)}
    draw = {"stream": STREAM_VERSION, "key": key, "initializers": initializers, "names": names}
    entries: dict[str, Any] = {"__metadata__": {**metadata, "arrayinit": json.dumps(draw)}}
    at = 0
    for name, tensor in _ordered(tensors):
        end = at + math.prod(tensor.shape) * itemsize(tensor.dtype)
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > DOCUMENT_BYTES:
        raise ValueError(f"`tensors` must have names that fit a header of {DOCUMENT_BYTES:,} bytes; got {len(text):,}")
    return len(text).to_bytes(8, "little") + text
