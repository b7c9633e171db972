"""Warnings about means that this engine must do without.

Environment variables, threads and stored loops change the speed of a draw, never its bits. So a wrong value or a
missing library is not an error: the engine works without it and warns once.
"""

from arrayinit.common.messages import warn

__all__ = ["warn_once"]

_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Issue a RuntimeWarning, only once a process for the same text."""
    if text not in _warned:
        _warned.add(text)
        warn(text, RuntimeWarning)
