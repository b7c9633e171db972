"""What the compiled loops are told: a block of int64 numbers, by position."""

import ctypes
import functools
import math

from arrayinit.formats import real_name
from arrayinit.lattice import Plan

__all__ = ["SCRATCH", "SIZES", "STRIP_ROWS", "Block", "common"]

# The fields of the block of int64 parameters that a kernel is given.
PARAMETERS = (
    *("key_low", "key_high", "purpose"),
    # Word first + row * row_words + (j // parts) * step * parts + j % parts for word j of a row, from 0 to `words`.
    *("first", "rows", "row_words", "words", "parts", "step"),
    # Offsets from the address, in real elements: of a row, and of an element of a row.
    *("row_jump", "jump"),
    # k = offset + ((deviate * scale) >> shift)
    *("offset", "scale", "shift"),
    # The interval of a truncated draw; see `tails.Tail`.
    *("low", "range_high", "range_low", "octave", "lower"),
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
    OFFSET,
    SCALE,
    SHIFT,
    LOW,
    RANGE_HIGH,
    RANGE_LOW,
    OCTAVE,
    LOWER,
    KIND,
    FORM,
    SIZE,
) = range(len(PARAMETERS))

KINDS = ("uniform", "normal", "truncated", "words")
UNIFORM, NORMAL, TRUNCATED, RAW = range(len(KINDS))
FORMS = ("float32", "float64", "bfloat16", "float16", "uint32")
FLOAT32, FLOAT64, BFLOAT16, FLOAT16, WORD = range(len(FORMS))

CHUNK = 1024  # words drawn at a time: they stay in the innermost cache
MARGIN = 8  # words of the first block that a chunk does not use, rounded up
# Elements that lie apart in memory are drawn in strips of rows, so that a cache line of a transposed array is written
# once.
STRIP_ROWS, STRIP_CHUNK = 16, 256
WORDS_BYTES = 4 * (CHUNK + MARGIN)
SCRATCH = 2 * WORDS_BYTES + 8 * STRIP_ROWS * STRIP_CHUNK  # bytes: words, lattice integers, a strip of values

Block = ctypes.c_int64 * len(PARAMETERS)
SIZES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2, "uint32": 4}


@functools.lru_cache(maxsize=4096)
def common(plan: Plan | None) -> tuple[tuple[int, ...], tuple[float, float, float], int]:
    """The fields from `offset` on for a plan (raw words where there is none), (unit, low, high), and the parts."""
    if plan is None:
        kind, form, lattice, parts = "words", "uint32", (0, 0, 0), 1
        ends = (1.0, 0.0, 0.0)
    else:
        kind, form, parts = plan.kind, real_name(plan.dtype), plan.parts
        lattice = (plan.lattice.offset, plan.lattice.scale, plan.lattice.shift)
        low = -math.inf if plan.low is None else plan.low
        high = math.inf if plan.high is None else plan.high
        ends = (math.ldexp(1.0, plan.lattice.exponent), low, high)
    tail = None if plan is None else plan.tail
    interval = (0,) * 5 if tail is None else (tail.low, tail.range_high, tail.range_low, tail.octave, int(tail.lower))
    return (*lattice, *interval, KINDS.index(kind), FORMS.index(form), SIZES[form]), ends, parts
