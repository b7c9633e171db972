"""Text from files as data, strictly: UTF-8, no name twice, no end of size, digits or depth."""

import json
import os
import re
from typing import Any

from arrayinit.storage.files import open_regular

__all__ = ["LARGEST", "decode", "parse_json", "parse_toml", "read_text"]

LARGEST = 100_000_000  # bytes of a document; what the format of safetensors allows a header
DIGITS = 100  # of an integer; a size or a seed has 20 at most
DOTTED = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]++\s*+\.\s*+){40}")  # a TOML key of more parts than any reader needs


def read_text(path: str | os.PathLike[str], argument: str, largest: int = LARGEST) -> str:
    """The text of a regular file or a pipe. ValueError for what is none, is not UTF-8 or is too large."""
    with open_regular(path, argument, pipes=True) as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"{argument} must be at most {largest:,} bytes long; got more")
    return decode(data)


def decode(data: bytes) -> str:
    """Bytes as text; a byte-order mark of UTF-8 is left out. ValueError where they are no UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it must be UTF-8; its first bytes say UTF-16")
    return data.decode("utf-8-sig")


def parse_json(text: str) -> Any:
    """JSON text as data. ValueError where it is none, has a name twice in an object, or is nested too deeply."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """TOML text as data. ValueError where it is none, or is nested too deeply."""
    import tomllib

    if DOTTED.search(text):  # tomllib's time grows with the square of their number
        raise ValueError("it has a key of too many parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"it has the name {name!r} twice in one object")
            seen.add(name)
    return found


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"it has an integer of {len(text):,} digits")
    return int(text)
