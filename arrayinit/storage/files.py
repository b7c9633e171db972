"""Files on disk: checked before they are read or written, locked by one process, and safe on the disk when published.

Only regular files are read; links are followed. Only regular files that no link leads to are written. A path is
checked before it is opened, since opening some devices has effects. It is opened without waiting and checked again,
since it may lead elsewhere by then.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from arrayinit.common.escapes import printable

__all__ = [
    "absolute",
    "check_replaceable",
    "has_bytes",
    "is_at",
    "locked_file",
    "open_regular",
    "publish",
    "sync",
    "write",
]

SLAB = 1 << 20  # bytes compared at a time

KINDS = {
    stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device", stat.S_IFBLK: "block device",
}  # fmt: skip

# Windows has none of these.
NONBLOCK, NOFOLLOW = getattr(os, "O_NONBLOCK", 0), getattr(os, "O_NOFOLLOW", 0)


def absolute(path: str | os.PathLike[str], argument: str) -> Path:
    """A path made absolute now, since another thread may change the working directory. TypeError, ValueError."""
    text = path if isinstance(path, str) else os.fspath(path) if isinstance(path, os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be a path, as a string or pathlib.Path; got {path!r}")
    if not text or "\0" in text or text.endswith(("/", os.sep)):
        raise ValueError(f"{argument} must name a file; got {text!r}")
    return Path(os.path.abspath(text))


@contextmanager
def open_regular(path: str | os.PathLike[str], argument: str, pipes: bool = False) -> Iterator[BinaryIO]:
    """A regular file, to be read. ValueError for anything else; opening never waits.

    pipes: whether it may be a pipe (/dev/stdin, a shell's <(command)); one without a writer is empty.
    """

    def check(mode: int) -> None:
        if not (stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode))):
            raise ValueError(f"{argument} must be a regular file; got a {_kind(mode)}")

    check(os.stat(path).st_mode)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NONBLOCK)) as file:
        mode = os.fstat(file.fileno()).st_mode
        check(mode)
        if stat.S_ISFIFO(mode):
            os.set_blocking(file.fileno(), True)  # opening did not wait for a writer; reading does
        yield file


def check_replaceable(path: Path, argument: str, force: bool) -> None:
    """FileExistsError or IsADirectoryError where a new file must not take this path."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    _check_writable(mode, path, argument)
    if not force:
        raise FileExistsError(
            f"{argument} must be a new file; {printable(str(path))} already exists. Pass force=True (--force) to "
            f"replace it."
        )


@contextmanager
def locked_file(path: Path, argument: str) -> Iterator[io.FileIO]:
    """A file that this process alone reads and writes; created where there is none, removed if it is left empty.

    It is locked with flock (on all systems but Windows, most file systems); the lock ends with the process. Without
    flock nothing keeps two processes apart.

    Raises:
        FileExistsError: another process has it; it is a link, a FIFO, a device or a socket, or has more than one name.
        IsADirectoryError: it is a directory.
    """
    while True:
        with _open_writable(path, argument) as file:
            _lock(file, path, argument)
            if not is_at(file, path):  # the process that had it finished between the two calls
                continue
            try:
                yield file
            finally:
                if not file.closed and os.fstat(file.fileno()).st_size == 0 and is_at(file, path):
                    path.unlink()
            return


def is_at(file: io.FileIO, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def write(file: io.FileIO, at: int, data: npt.NDArray[np.uint8] | bytes) -> None:
    """Write all of the data at a position; an OSError names the file."""
    rest = memoryview(data)  # type: ignore[arg-type] # mypy's NumPy has no __buffer__ before Python 3.12
    try:
        file.seek(at)
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file.name)) from None


def has_bytes(file: io.FileIO, at: int, data: npt.NDArray[np.uint8]) -> bool:
    """Whether a file has these bytes at a position; False where they can't be read."""
    slab = np.empty(min(SLAB, data.size), np.uint8)
    try:
        file.seek(at)
        for start in range(0, data.size, SLAB):
            wanted = data[start : start + SLAB]
            rest = slab.data[: wanted.size]
            while rest:
                count = file.readinto(rest)
                if not count:
                    return False
                rest = rest[count:]
            if not np.array_equal(slab[: wanted.size], wanted):
                return False
    except OSError:
        return False
    return True


def sync(file: io.FileIO) -> None:
    """Wait until the written bytes are on the disk; an OSError names the file."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file.name)) from None


def publish(file: io.FileIO, path: Path, goal: Path) -> None:
    """Rename a written file to `goal`: its bytes are on the disk before that, and the name is afterwards."""
    sync(file)
    if not is_at(file, path):
        raise FileNotFoundError(
            f"`path` must not change while it is written; {printable(str(path))} was removed or replaced"
        )
    if os.name == "nt":  # where an open file can't be renamed
        file.close()
    os.replace(path, goal)
    _sync_directory(goal.parent)


def _sync_directory(path: Path) -> None:
    """Wait until a new name is on the disk, on systems that can open directories."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a directory that may be written to but not read
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # a file system that can't sync directories; the file is whole under either name
    finally:
        os.close(descriptor)


def _kind(mode: int) -> str:
    return KINDS.get(stat.S_IFMT(mode), "special file")


def _check_writable(mode: int, path: Path, argument: str) -> None:
    if stat.S_ISREG(mode):
        return
    text = printable(str(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{argument} must be a file; got the directory {text}")
    if stat.S_ISLNK(mode):
        raise FileExistsError(
            f"{argument} must not be a symbolic link, since the link or its target could be meant: remove it, or give "
            f"the path of the target; got {text}"
        )
    raise FileExistsError(f"{argument} must be a regular file or a new one; got the {_kind(mode)} {text}")


def _open_writable(path: Path, argument: str) -> io.FileIO:
    with suppress(FileNotFoundError):
        _check_writable(os.lstat(path).st_mode, path, argument)

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CREAT | NONBLOCK | NOFOLLOW, 0o666)

    file = io.FileIO(str(path), "r+", opener=opener)
    try:
        status = os.fstat(file.fileno())
        _check_writable(status.st_mode, path, argument)
        if status.st_nlink > 1:
            raise FileExistsError(
                f"{argument} must have no other hard link, whose content would change, too; got "
                f"{printable(str(path))}, which has {status.st_nlink} links"
            )
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: io.FileIO, path: Path, argument: str) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            raise FileExistsError(
                f"{argument} must not be written by another process; one writes {printable(str(path))}"
            ) from None
        # A file system without locks.
