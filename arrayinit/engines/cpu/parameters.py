"""What the compiled loops are told: a block of int64 numbers, by position."""

import functools
import math
import struct

import numpy as np
import numpy.typing as npt

from arrayinit.backends.base import coefficients
from arrayinit.laws.lattice import LATTICE_BITS, Sampling
from arrayinit.stream.deviates import SEGMENT_BITS
from arrayinit.stream.formats import real_name
from arrayinit.stream.philox import MASK
from arrayinit.stream.truncation import OCTAVES, P_BITS

__all__ = ["KEY", "REST", "SCRATCH", "STRIP_CHUNK", "STRIP_ROWS", "can_draw", "common"]

# The fields of the block of int64 parameters that a kernel is given.
PARAMETERS = (
    *("key_low", "key_high", "purpose"),
    # Word first + row * row_words + (j // parts) * step * parts + j % parts for word j of a row, from 0 to `words`.
    *("first", "rows", "row_words", "words", "parts", "step"),
    # Offsets from the address, in real elements: of a row, and of an element of a row.
    *("row_jump", "jump"),
    # Whether elements are written past the caches.
    "streams",
    # k = offset + ((deviate * scale) >> shift)
    *("offset", "scale", "shift"),
    # The interval of a truncated draw, see `truncation.Interval`; the largest p that is not folded to the other tail.
    *("low", "range_high", "range_low", "lower", "last"),
    # Where the table would begin if it had rows for all exponents of a float64, see `_table_address`.
    "table",
    # The kind of draw; of a real element its format and its bytes.
    *("kind", "form", "size"),
)
(
    KEY_LOW,
    KEY_HIGH,
    PURPOSE,
    FIRST,
    ROWS,
    ROW_WORDS,
    WORDS,
    PARTS,
    STEP,
    ROW_JUMP,
    JUMP,
    STREAMS,
    OFFSET,
    SCALE,
    SHIFT,
    LOW,
    RANGE_HIGH,
    RANGE_LOW,
    LOWER,
    LAST,
    TABLE,
    KIND,
    FORM,
    SIZE,
) = range(len(PARAMETERS))

KINDS = ("uniform", "normal", "truncated", "words")
UNIFORM, NORMAL, TRUNCATED, RAW = range(len(KINDS))
FORMS = ("float32", "float64", "bfloat16", "float16", "uint32")
FLOAT32, FLOAT64, BFLOAT16, FLOAT16, WORD = range(len(FORMS))

CHUNK = 960  # words drawn at a time, 20 or 10 turns of the loop that draws them: they stay in the innermost cache
MARGIN = 128  # words that a chunk does not use: of its first block, and of its last vectors
# Elements that lie apart in memory are drawn in strips of rows, so that a cache line of a transposed array is written
# once.
STRIP_ROWS, STRIP_CHUNK = 64, 384
WORDS_BYTES = 4 * (CHUNK + MARGIN)
SCRATCH = 3 * WORDS_BYTES + 8 * STRIP_ROWS * STRIP_CHUNK  # bytes: words, a float64 for each, a strip of values
LINE = 64  # bytes of a line of the caches
ROW_BYTES = 4  # log2 of the bytes of a row of the table

# A block is the key, then what draws of the same law and place have in common.
KEY = struct.Struct("=2q")
REST = struct.Struct(f"={len(PARAMETERS) - 2}q")
SIZES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2, "uint32": 4}


def _rows() -> npt.NDArray[np.uint64]:
    """Rows c0, c1 + 2**32 c2 by (octave, segment), the octaves in reverse: by the exponent of p."""
    c0, c1, c2 = coefficients().astype(np.uint64).reshape(3, OCTAVES, -1)[:, ::-1].reshape(3, -1)
    return np.ascontiguousarray(np.stack([c0, c1 | (c2 << np.uint64(32))], axis=1))


# Made while the module is imported, by one thread: loops are told its address, so that there must never be another.
ENTRIES = _rows()


def _table_address(bits: int, octave: int) -> int:
    """What the loops add 16 * (exponent and first digits of p as a float64) to, for the address of p's row.

    p is an integer of at most `bits` bits in units of 2**-(bits + 1 + octave). It lies before the table.
    """
    largest = 1023 + bits - 1  # the biased exponent of p in the first octave, whose rows are the last of the table
    row = (OCTAVES - 1 - octave - largest) << SEGMENT_BITS
    return int(ENTRIES.ctypes.data) + (row << ROW_BYTES)


def can_draw(sampling: Sampling | None) -> bool:
    """Whether the loops can draw it. Uniform scales of 2**32, where an end rounds up to a power of 2, take 33 bits."""
    return sampling is None or (sampling.quantiles is None and sampling.lattice.scale <= MASK)


@functools.lru_cache(maxsize=4096)
def common(sampling: Sampling | None) -> tuple[tuple[int, ...], tuple[float, float, float], int]:
    """The fields from `offset` on for a sampling (raw words where there is none), (unit, low, high), and the parts."""
    if sampling is None:
        return (*(0,) * 9, KINDS.index("words"), WORD, SIZES["uint32"]), (1.0, 0.0, 0.0), 1
    form, lattice, tail = real_name(sampling.dtype), sampling.lattice, sampling.interval
    assert sampling.kind != "uniform" or lattice.shift == LATTICE_BITS
    interval: tuple[int, ...] = (0, 0, 0, 0, 0, _table_address(32, 0))
    if tail is not None:
        last = (1 << (P_BITS - 1)) - 1 if tail.folds else (1 << 63) - 1
        table = _table_address(P_BITS - 1, tail.octave)
        interval = (tail.low, tail.range_high, tail.range_low, int(tail.lower), last, table)
    low = -math.inf if sampling.low is None else sampling.low
    high = math.inf if sampling.high is None else sampling.high
    ends = (math.ldexp(1.0, lattice.exponent), low, high)
    numbers = (lattice.offset, lattice.scale, lattice.shift, *interval)
    return (*numbers, KINDS.index(sampling.kind), FORMS.index(form), SIZES[form]), ends, sampling.words_per_element
