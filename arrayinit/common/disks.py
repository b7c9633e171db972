"""How much room the disk of a folder has."""

import os
from typing import NamedTuple

__all__ = ["Room", "room"]


class Room(NamedTuple):
    """Bytes of a file system: those that are left for this user, and all."""

    free: int
    total: int


def room(folder: str | os.PathLike[str]) -> Room | None:
    """The room there; None where nobody says: on Windows, on some network file systems, in a folder that is lost."""
    try:
        disk = os.statvfs(folder)
    except (AttributeError, OSError):
        return None
    return Room(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize) if disk.f_blocks else None
