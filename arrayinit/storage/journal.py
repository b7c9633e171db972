"""What of a long draw is finished, kept in a file beside it, so that an interrupted one can go on."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Journal"]


class Journal:
    """A file that says which draw is under way and how many of its parts are finished; gone when all are.

    Raises:
        ValueError: the file is of another draw, or none of this kind.
    """

    def __init__(self, path: str | os.PathLike[str] | None, draw: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.draw = draw
        self.done = 0
        if self.path is None or not self.path.exists():
            return
        try:
            kept = json.loads(self.path.read_text("utf-8"))
            before, self.done = dict(kept["draw"]), kept["done"]
            if isinstance(self.done, bool) or not isinstance(self.done, int) or not 0 <= self.done <= before["parts"]:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"`journal` must be a new file or one that an interrupted draw left; got {path}") from None
        if before != draw:
            differing = ", ".join(key for key in draw if before.get(key) != draw[key])
            raise ValueError(
                f"`journal` must be of the draw that goes on; {path} is of one with another {differing} (remove it to "
                "begin anew)"
            )

    def advance(self, done: int) -> None:
        """So many parts are finished and written."""
        self.done = done
        if self.path is not None:
            new = self.path.with_name(self.path.name + ".new")
            new.write_text(json.dumps({"draw": self.draw, "done": done}), "utf-8")
            os.replace(new, self.path)

    def finish(self) -> None:
        """All parts are."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
