"""The block of parameters of a launch: one table of fields, from which both the writer and the kernel have its layout.

The writer, `launches`, fills a NumPy structure of the type `PARAMETERS`. The kernel reads `struct Parameters`, whose
text `declaration` writes and `source` puts above `kernel.cu`. Both have the fields in the order of the table, each at a
multiple of its size. The first four fields say where and under which key to draw. Only they change between two draws of
one kind, so the rest of a block is kept with the job (see `launches.Launch`).

A strided target is drawn in items, blocks of Philox. An item's number is a mixed-radix number: its digits say how far
to go along each axis of the target, except for digit `run_digit`, which says which block of the run it is.
"""

from typing import NamedTuple

import numpy as np

from arrayinit.stream.philox import ROUNDS

__all__ = ["MAX_DIGITS", "PARAMETERS", "declaration"]

MAX_DIGITS = 8  # digits of an item's number, and the number of axes that a strided target must be below


class _Field(NamedTuple):
    name: str
    kind: str  # as NumPy has it
    meaning: str
    length: int = 1  # more than 1 for an array


_FIELDS = (
    _Field("address", "u8", "of the first element"),
    _Field("keys", "u4", "two words for each round of Philox", 2 * ROUNDS),
    _Field("columns", "u8", "of a law by a table: the address of its columns, one after another,"),
    _Field("units", "u8", "and of the unit of each octave"),
    _Field("first", "u8", "the word of the first element"),
    _Field("words", "u8", "of a run, whose words are neighbours in the stream"),
    _Field("jump", "i8", "bytes from one element of a run to the next"),
    _Field("addend", "i8", "k = (deviate * scale + addend) >> shift; of a uniform law, ((u * scale) >> 31) + addend"),
    _Field("low", "u8", "p = low + (2 u + 1) * range / 2^32, in units of 2^-62 or of a power of two less"),
    _Field("range", "u8", "see low"),
    _Field("last", "u8", "the largest p that is not folded to the other tail"),
    _Field("unit", "f8", "value = k * unit, then clipped to [lowest, highest]"),
    _Field("lowest", "f8", "see unit"),
    _Field("highest", "f8", "see unit"),
    _Field("unit32", "f4", "the same three in float32"),
    _Field("lowest32", "f4", "see unit32"),
    _Field("highest32", "f4", "see unit32"),
    _Field("scale", "u4", "see addend"),
    _Field("lowest_bit", "u4", "of a uniform law, see uniform_lattice"),
    _Field("shift", "u4", "of a truncated law"),
    _Field("is_lower", "u4", "1 where deviates of small p are negative"),
    _Field("octave", "u4", "of a normal or truncated law: the first of the table that is copied"),
    _Field("rows", "u4", "octaves of the table that are copied"),
    _Field("c0_bits", "u4", "a packed row is c0 from bit c0_bits on, c1 from bit 13 on, c2"),
    _Field("purpose", "u4", "the third word of Philox's counter"),
    _Field("items", "u4", "blocks of Philox to be drawn, fewer than 2^31"),
    _Field("pair", "u4", "1 where an element takes two words, a complex one"),
    _Field("digits", "u4", "of an item's number; this and all that follows is of strided targets only"),
    _Field("run_digit", "u4", "the digit that counts the blocks of the run"),
    _Field("counts", "u4", "of each digit", MAX_DIGITS),
    _Field("magic", "u4", "i / count = (i * magic) >> magic_shift for i < 2^31", MAX_DIGITS),
    _Field("magic_shifts", "u4", "see magic", MAX_DIGITS),
    _Field("word_steps", "i8", "words of the stream from one value of the digit to the next", MAX_DIGITS),
    _Field("place_steps", "i8", "bytes of the target from one value of the digit to the next", MAX_DIGITS),
)
_IN_CUDA = {"u4": "unsigned int", "u8": "unsigned long long", "i8": "long long", "f4": "float", "f8": "double"}

PARAMETERS = np.dtype(
    [(field.name, field.kind, field.length) if field.length > 1 else (field.name, field.kind) for field in _FIELDS],
    align=True,
)


def declaration() -> str:
    """The structure as CUDA C++ has it."""
    lines = []
    for field in _FIELDS:
        name = f"{field.name}[{field.length}]" if field.length > 1 else field.name
        lines.append(f"    {_IN_CUDA[field.kind]} {name}; // {field.meaning}\n")
    return f"struct Parameters {{\n{''.join(lines)}}};\n"
