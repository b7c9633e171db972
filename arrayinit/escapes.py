"""Text and values from outside as a message may show them: without control characters, and not without end."""

from typing import Any

__all__ = ["cut", "printable", "shown"]

LONGEST = 300  # characters of a value in a message


def printable(text: str) -> str:
    r"""The text, with what is not printable as an escape (\n, \x1b, \u202e): terminals obey some of it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shown(value: Any) -> str:
    """The repr of a value, cut off where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a value of type {type(value).__name__} that is nested too deeply"
    except ValueError:  # an integer of more digits than Python turns into text
        return f"a value of type {type(value).__name__} of too many digits"
    return cut(text)


def cut(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= longest else f"{text[:longest]}..."
