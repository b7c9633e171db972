"""Text from outside as a message may show it: without control characters, and not without end."""

__all__ = ["cut", "printable"]

LONGEST = 300  # characters of a text in a message


def printable(text: str) -> str:
    r"""The text, with what is not printable as an escape (\n, \x1b, \u202e): terminals obey some of it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= longest else f"{text[:longest]}..."
