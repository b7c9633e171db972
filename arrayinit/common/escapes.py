"""Make text from files and users safe to print: without control characters, and not too long."""

__all__ = ["cut", "printable"]

TEXT_CHARACTERS = 300  # characters of a text in a message


def printable(text: str) -> str:
    r"""The text with escapes for unprintable characters (\n, \x1b, \u202e), some of which control terminals."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut(text: str, longest: int = TEXT_CHARACTERS) -> str:
    """The text, or its beginning if it is long."""
    return text if len(text) <= longest else f"{text[:longest]}..."
