"""What messages show of text and values from outside."""

import pytest

from arrayinit.escapes import LONGEST, printable, shown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("decoder.wé中😀 [x]", "decoder.wé中😀 [x]"),
        ("\x1b[2J\x9b1m\x07", r"\x1b[2J\x9b1m\x07"),
        ("a\nb\rc\td\0", r"a\nb\rc\td\x00"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("\ud800\udcff", r"\ud800\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, escaped):
    assert printable(text) == escaped
    assert printable(text).isprintable()


def test_values_are_shown_as_they_are_but_for_their_end():
    assert shown({"a": "\x1b"}) == r"{'a': '\x1b'}"
    assert shown("x" * LONGEST) == "'" + "x" * (LONGEST - 1) + "..."
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "a value of type list that is nested too deeply"
    assert shown(10**5000) == "a value of type int of too many digits"
