"""Compiled loops on disk: in ARRAYINIT_CACHE_DIR if that is set, else beside this file, else in the user's cache.

The folder is trusted, because processes run the code that they find in it. A file is used only if it and its folder
belong to this user or to root and nobody else can write to them; otherwise it is ignored and the loops are compiled
again. Windows has no such modes: there the folder's access list is the only protection.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from arrayinit.engines.cpu.warnings_once import warn_once

__all__ = ["holds", "read", "write"]

VARIABLE = "ARRAYINIT_CACHE_DIR"
FILE_BYTES = 1 << 24  # bytes of a file; the loops take a hundredth of it
DIGEST = 32
# Follow no link, and don't wait for the other end of a pipe.
FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def holds(prefix: str) -> bool:
    """Whether a directory has a file whose name starts with `prefix`, trusted or not."""
    for directory in _directories():
        try:
            if any(name.startswith(prefix) for name in os.listdir(directory)):
                return True
        except OSError:
            continue
    return False


def read(name: str) -> bytes | None:
    """The code in a file that is complete and trusted; None without one."""
    for directory in _directories():
        try:
            _check(os.stat(directory), stat.S_IWOTH)
            data = _content(directory / name)
        except OSError:
            continue
        digest, code = data[:DIGEST], data[DIGEST:]
        if _digest(name, code) == digest:
            return code
    return None


def write(name: str, code: bytes) -> None:
    """Store the code in the first directory where that works. Readers see the whole file or none."""
    why = []
    for directory in _directories():
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            _check(os.stat(directory), stat.S_IWOTH)
            _replace(directory / name, _digest(name, code) + code)
        except OSError as error:
            why.append(f"{directory}: {error.strerror or error}")
            continue
        return
    warn_once(
        f"arrayinit could not store its compiled loops ({'; '.join(why)}), so each process that draws much compiles "
        f"them again; set {VARIABLE} to a folder that you own"
    )


def _directories() -> list[Path]:
    given = os.environ.get(VARIABLE, "")
    directory = os.path.expanduser(given)
    if directory and not directory.startswith("~"):
        return [Path(directory)]
    if directory:
        warn_once(f"`{VARIABLE}` must be a folder below a home that is known; got {given!r}, so it is ignored")
    homes = (os.environ.get("XDG_CACHE_HOME"), os.environ.get("LOCALAPPDATA"), os.path.expanduser("~/.cache"))
    # Relative paths are invalid, such as the ~ of a user without a home.
    caches = [Path(home, "arrayinit") for home in homes if home and os.path.isabs(home)]
    return [Path(__file__).parent / "__pycache__", *caches[:1]]


def _digest(name: str, code: bytes) -> bytes:
    """A digest of name and code, since a renamed file has loops for something else."""
    return hashlib.sha256(name.encode() + b"\0" + code).digest()


def _content(path: Path) -> bytes:
    """The bytes of a file; OSError if it is not trusted."""
    handle = os.open(path, FLAGS)
    try:
        status = os.fstat(handle)  # of the file that was opened, not of one that has its name by now
        if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_BYTES:
            raise PermissionError("not a file of compiled loops")
        _check(status, stat.S_IWGRP | stat.S_IWOTH)
        with open(handle, "rb", closefd=False) as file:
            return file.read(FILE_BYTES)
    finally:
        os.close(handle)


def _check(status: os.stat_result, others: int) -> None:
    """PermissionError for a file or folder of a user other than this one or root, or with a mode bit of `others`."""
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"it belongs to user {status.st_uid}")
    if status.st_mode & others:
        raise PermissionError(f"others can write to it (mode {stat.S_IMODE(status.st_mode):o})")


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # an installation may be shared
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
