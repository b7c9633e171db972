"""Warnings about what this engine has to do without.

Environment variables, threads and stored loops change the speed of a draw, never its bits. So a wrong value or a
missing part is not an error: the engine works without it and warns once.
"""

from arrayinit.common.messages import warn

__all__ = ["warn_once"]

_said: set[str] = set()


def warn_once(text: str) -> None:
    """Issue a RuntimeWarning, the first time only that a process has this text."""
    if text not in _said:
        _said.add(text)
        warn(text, RuntimeWarning)
