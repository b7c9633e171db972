"""The free space on the disk of a folder."""

import os
from typing import NamedTuple

__all__ = ["Room", "room"]


class Room(NamedTuple):
    """Bytes of a file system. free: those that this user may still write. total: all."""

    free: int
    total: int


def room(folder: str | os.PathLike[str]) -> Room | None:
    """The space there; None if it is unknown, as on Windows, on some network file systems and in a missing folder."""
    try:
        disk = os.statvfs(folder)
    except (AttributeError, OSError):
        return None
    return Room(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize) if disk.f_blocks else None
