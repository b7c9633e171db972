"""Strict readers of text, JSON and TOML: UTF-8, no name twice, limits on size, digits and depth."""

import json
import os
import re
from typing import Any

from arrayinit.storage.files import open_regular

__all__ = ["DOCUMENT_BYTES", "decode", "parse_json", "parse_toml", "read_text"]

DOCUMENT_BYTES = 100_000_000  # bytes of a document; the safetensors format's limit for a header
DIGITS = 100  # of an integer; a size or a seed has 20 at most
DOTTED = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]++\s*+\.\s*+){40}")  # a TOML key of 40 parts or more


def read_text(path: str | os.PathLike[str], argument: str, largest: int = DOCUMENT_BYTES) -> str:
    """The text of a regular file or a pipe. ValueError for other files, text that is not UTF-8, and large ones."""
    with open_regular(path, argument, pipes=True) as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"{argument} must be at most {largest:,} bytes long; got more")
    return decode(data)


def decode(data: bytes) -> str:
    """Text from UTF-8 bytes; a byte-order mark is left out. ValueError for other bytes."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it must be UTF-8; its first bytes mark UTF-16")
    return data.decode("utf-8-sig")


def parse_json(text: str) -> Any:
    """Data from JSON. ValueError for other text, a name that is twice in an object, and too deep a nesting."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Data from TOML. ValueError for other text, too deep a nesting, and keys of too many parts."""
    import tomllib

    if DOTTED.search(text):  # tomllib's time grows with the square of their number
        raise ValueError("it has a key of too many parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"it has the name {name!r} twice in one object")
            seen.add(name)
    return data


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"it has an integer of {len(text):,} digits")
    return int(text)
