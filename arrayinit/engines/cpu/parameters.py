"""The block of parameters of the compiled loops: int64 numbers, each at an offset of its own.

A block is the key, a `Place` and a `Conversion`, one after another; `FIELDS` has the names in that order. Python packs
the key by `KEY` and the rest by `REST`, and the loops load a field from the `offset_of` its name, so that both follow
from the two records below. The key comes first because it alone changes between draws of one kind: the packed rest is
kept with the job. A conversion depends on the law and the dtype alone, and is computed once for both. Three numbers are
float64, and so are arguments beside the block: the unit of the lattice, 2**exponent, and the bounds to clip values to.
"""

import functools
import math
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from arrayinit.backends.base import coefficients
from arrayinit.laws.lattice import LATTICE_BITS, Sampling
from arrayinit.stream.deviates import SEGMENT_BITS
from arrayinit.stream.formats import real_name
from arrayinit.stream.philox import MASK
from arrayinit.stream.truncation import OCTAVES, P_BITS

__all__ = [
    "KEY",
    "REST",
    "SCRATCH",
    "STRIP_CHUNK",
    "STRIP_ROWS",
    "Conversion",
    "Place",
    "can_draw",
    "conversion_of",
    "offset_of",
]


class Place(NamedTuple):
    """Which words a call draws, and where their values go.

    Let n be `words_per_element`. Word j of a row, 0 <= j < words, is number first + row * row_words + (j // n) * step *
    n + j % n of the stream. Its value lies row * row_jump + (j // n) * jump + j % n real numbers behind the address. A
    complex element has two words and two real numbers.
    """

    purpose: int  # the third word of Philox's counter
    first: int
    rows: int
    row_words: int  # words of the stream from one row to the next
    words: int  # of a row
    words_per_element: int  # words of an element: 1, or 2 of a complex one
    step: int  # elements of the stream from one element of a row to the next
    row_jump: int
    jump: int
    streams: int  # whether values are written past the caches


class Conversion(NamedTuple):
    """How a word becomes a value: k = offset + ((deviate * scale) >> shift), and the value is k times the unit."""

    kind: int  # of `KINDS`
    form: int  # of `FORMS`, of a real number
    size: int  # bytes of a real number
    offset: int = 0
    scale: int = 0
    shift: int = 0
    # The interval of a truncated draw, see `truncation.Interval`.
    low: int = 0
    range_high: int = 0
    range_low: int = 0
    is_lower: int = 0
    last: int = 0  # the largest p that is not folded to the other tail
    table: int = 0  # where the table would begin if it had rows for all exponents of a float64, see `_table_address`


FIELDS = ("key_low", "key_high", *Place._fields, *Conversion._fields)
KEY = struct.Struct("=2q")
REST = struct.Struct(f"={len(FIELDS) - 2}q")
_OFFSETS = {name: 8 * position for position, name in enumerate(FIELDS)}


def offset_of(field: str) -> int:
    """Bytes from the beginning of a block to a field."""
    return _OFFSETS[field]


KINDS = ("uniform", "normal", "truncated", "words")
UNIFORM, NORMAL, TRUNCATED, RAW = range(len(KINDS))
FORMS = ("float32", "float64", "bfloat16", "float16", "uint32")
FLOAT32, FLOAT64, BFLOAT16, FLOAT16, WORD = range(len(FORMS))

CHUNK = 960  # words drawn at a time, 20 or 10 turns of the loop that draws them: they stay in the innermost cache
MARGIN = 128  # words beside a chunk: of its first block before it, and of its last vectors behind it
# Elements that lie apart in memory are drawn in strips of rows, so that each cache line of a transposed array is
# written once.
STRIP_ROWS, STRIP_CHUNK = 64, 384
WORDS_BYTES = 4 * (CHUNK + MARGIN)
SCRATCH = 3 * WORDS_BYTES + 8 * STRIP_ROWS * STRIP_CHUNK  # bytes: words, a float64 for each, a strip of values
LINE = 64  # bytes of a line of the caches
ROW_BYTES = 4  # log2 of the bytes of a row of the table

SIZES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2, "uint32": 4}


def _rows() -> npt.NDArray[np.uint64]:
    """Rows c0, c1 + 2**32 c2 by (octave, segment), the octaves in reverse: by the exponent of p."""
    c0, c1, c2 = coefficients().astype(np.uint64).reshape(3, OCTAVES, -1)[:, ::-1].reshape(3, -1)
    return np.ascontiguousarray(np.stack([c0, c1 | (c2 << np.uint64(32))], axis=1))


# Computed at import, by one thread: the loops keep its address, so there must never be another table.
ENTRIES = _rows()


def _table_address(bits: int, octave: int) -> int:
    """The address that gives that of p's row when the loops add 16 * (exponent and first digits of p as a float64).

    p is an integer of at most `bits` bits in units of 2**-(bits + 1 + octave). The address lies before the table.
    """
    largest = 1023 + bits - 1  # the biased exponent of p in the first octave, whose rows are the last of the table
    row = (OCTAVES - 1 - octave - largest) << SEGMENT_BITS
    return int(ENTRIES.ctypes.data) + (row << ROW_BYTES)


def can_draw(sampling: Sampling | None) -> bool:
    """Whether the loops can draw it: no quantile table, and no scale of 33 bits.

    A uniform scale is 2**32 where an end of the interval rounds up to a power of 2.
    """
    return sampling is None or (sampling.quantiles is None and sampling.lattice.scale <= MASK)


@functools.lru_cache(maxsize=4096)
def conversion_of(sampling: Sampling | None) -> tuple[Conversion, tuple[float, float, float], int]:
    """The conversion of a sampling (of raw words where there is none), (unit, low, high), and words of an element."""
    if sampling is None:
        return Conversion(kind=RAW, form=WORD, size=SIZES["uint32"]), (1.0, 0.0, 0.0), 1
    form, lattice, interval = real_name(sampling.dtype), sampling.lattice, sampling.interval
    assert sampling.kind != "uniform" or lattice.shift == LATTICE_BITS
    conversion = Conversion(
        kind=KINDS.index(sampling.kind),
        form=FORMS.index(form),
        size=SIZES[form],
        offset=lattice.offset,
        scale=lattice.scale,
        shift=lattice.shift,
        table=_table_address(32, 0),
    )
    if interval is not None:
        conversion = conversion._replace(
            low=interval.low,
            range_high=interval.range_high,
            range_low=interval.range_low,
            is_lower=int(interval.lower),
            last=(1 << (P_BITS - 1)) - 1 if interval.folds else (1 << 63) - 1,
            table=_table_address(P_BITS - 1, interval.octave),
        )
    low = -math.inf if sampling.low is None else sampling.low
    high = math.inf if sampling.high is None else sampling.high
    return conversion, (math.ldexp(1.0, lattice.exponent), low, high), sampling.words_per_element
