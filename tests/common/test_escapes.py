"""Text from files and users in messages: escaped and cut."""

import pytest

from arrayinit.common.escapes import TEXT_CHARACTERS, cut, printable


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


def test_long_texts_are_cut():
    assert cut("x" * TEXT_CHARACTERS) == "x" * TEXT_CHARACTERS
    assert cut("x" * (TEXT_CHARACTERS + 1)) == "x" * TEXT_CHARACTERS + "..."
