"""What of a long draw was written, kept in a file beside it, so that an interrupted one can go on.

A journal is no proof: after a loss of power it may say more than the disk holds. It says which parts are worth reading.
"""

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arrayinit.common.escapes import printable
from arrayinit.storage.documents import decode, parse_json
from arrayinit.storage.files import absolute, held, is_at, sync, write

__all__ = ["Journal", "opened"]

LARGEST = 1 << 20  # bytes of a journal; one of a packed tensor may have some thousand


class Journal:
    """Which draw is under way, and how many of its parts were written, as a JSON object whose end is overwritten."""

    def __init__(self, draw: dict[str, Any], done: int = 0, file: io.FileIO | None = None) -> None:
        self.done = done
        self._file = file
        self._start = json.dumps({"draw": draw})[:-1].encode() + b', "done": '
        self._width = len(str(draw["parts"]))
        if file is not None:
            write(file, 0, self._start + self._end())
            sync(file)

    def advance(self, done: int) -> None:
        """So many parts were written."""
        self.done = done
        if self._file is not None:
            write(self._file, len(self._start), self._end())

    def _end(self) -> bytes:
        # Always as long, so that one short write is all that changes.
        return f"{self.done:<{self._width}}}}\n".encode()


@contextmanager
def opened(path: str | os.PathLike[str] | None, draw: dict[str, Any]) -> Iterator[Journal]:
    """The journal of a draw: what is there, or a new one; gone when the context ends well. None keeps none.

    Raises:
        ValueError: the file is of another draw, or none of this kind. OSError: it can't be made, or another process
            goes on with it.
    """
    if path is None:
        yield Journal(draw)
        return
    where = absolute(path, "`journal`")
    with held(where, "`journal`") as file:
        kept = file.read(LARGEST)
        yield Journal(draw, _done(kept, draw, where) if kept else 0, file)
        if is_at(file, where):
            if os.name == "nt":  # where what is open can't be removed
                file.close()
            where.unlink()


def _done(kept: bytes, draw: dict[str, Any], path: Path) -> int:
    """How many parts a journal says were written."""
    text = printable(str(path))
    try:
        data = parse_json(decode(kept))
        before, done = dict(data["draw"]), data["done"]
        if isinstance(done, bool) or not isinstance(done, int) or not 0 <= done <= before["parts"]:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"`journal` must be a new file or one that an interrupted draw left; got {text} (remove it to begin anew)"
        ) from None
    if before != draw:
        differing = ", ".join(key for key in draw if before.get(key) != draw[key])
        raise ValueError(
            f"`journal` must be of the draw that goes on; {text} is of one with another {differing} (remove it to "
            "begin anew)"
        )
    return int(done)
