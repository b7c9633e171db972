"""A file beside a long draw that says how much of it was written, so that an interrupted draw can go on.

A journal proves nothing: after a loss of power it may say more than the disk holds. It says which tiles to compare.
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
from arrayinit.storage.files import absolute, is_at, locked_file, sync, write

__all__ = ["Journal", "open_journal"]

JOURNAL_BYTES = 1 << 20  # bytes of a journal; that of a packed tensor may have thousands


class Journal:
    """The draw that is under way and the number of its tiles that were written: JSON whose end is overwritten."""

    def __init__(self, draw: dict[str, Any], done: int = 0, file: io.FileIO | None = None) -> None:
        self.done = done
        self._file = file
        self._start = json.dumps({"draw": draw})[:-1].encode() + b', "done": '
        self._width = len(str(draw["parts"]))
        if file is not None:
            write(file, 0, self._start + self._end())
            sync(file)

    def advance(self, done: int) -> None:
        """Record the number of tiles that were written."""
        self.done = done
        if self._file is not None:
            write(self._file, len(self._start), self._end())

    def _end(self) -> bytes:
        # Padded to one length, so that an update is one short write.
        return f"{self.done:<{self._width}}}}\n".encode()


@contextmanager
def open_journal(path: str | os.PathLike[str] | None, draw: dict[str, Any]) -> Iterator[Journal]:
    """The journal of a draw: the existing one, or a new one; removed when the context ends well. No file for None.

    Raises:
        ValueError: the file is the journal of another draw, or no journal. OSError: it can't be made, or another
            process has it.
    """
    if path is None:
        yield Journal(draw)
        return
    where = absolute(path, "`journal`")
    with locked_file(where, "`journal`") as file:
        content = file.read(JOURNAL_BYTES)
        yield Journal(draw, _done(content, draw, where) if content else 0, file)
        if is_at(file, where):
            if os.name == "nt":  # where an open file can't be removed
                file.close()
            where.unlink()


def _done(content: bytes, draw: dict[str, Any], path: Path) -> int:
    """The number of tiles that were written, from the content of a journal; ValueError for one of another draw."""
    text = printable(str(path))
    try:
        data = parse_json(decode(content))
        before, done = dict(data["draw"]), data["done"]
        if isinstance(done, bool) or not isinstance(done, int) or not 0 <= done <= before["parts"]:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"`journal` must be a new file or one that an interrupted draw left; got {text} (remove it to start again)"
        ) from None
    if before != draw:
        differing = ", ".join(key for key in draw if before.get(key) != draw[key])
        raise ValueError(
            f"`journal` must belong to this draw; {text} is of one with another {differing} (remove it to start again)"
        )
    return int(done)
