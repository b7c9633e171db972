"""The stream as compiled loops: words -> deviates -> lattice -> values, for memory given by its address.

Compiled by numba into one function without a reference to Python, so that a call takes a microsecond and runs without
the interpreter's lock; `machine_code` keeps and calls it. The arithmetic is that of `philox`, `deviates` and `lattice`
on unsigned lanes: what wraps there is masked here, and every loop has a form that LLVM turns into vector instructions.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import float32, float64, int32, int64, types, uint16, uint32, uint64
from numba.extending import intrinsic

from arrayinit.backends.base import coefficients
from arrayinit.deviates import SEGMENT_BITS
from arrayinit.engines.cpu.parameters import (
    BFLOAT16,
    CHUNK,
    FIRST,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    FORM,
    JUMP,
    KEY_HIGH,
    KEY_LOW,
    KIND,
    LOW,
    LOWER,
    NORMAL,
    OCTAVE,
    OFFSET,
    PARTS,
    PURPOSE,
    RANGE_HIGH,
    RANGE_LOW,
    ROW_JUMP,
    ROW_WORDS,
    ROWS,
    SCALE,
    SHIFT,
    SIZE,
    STEP,
    STRIP_CHUNK,
    STRIP_ROWS,
    TRUNCATED,
    UNIFORM,
    WORDS,
    WORDS_BYTES,
)
from arrayinit.philox import MULTIPLIERS, ROUNDS, WEYL
from arrayinit.tails import TAIL_BITS

__all__ = ["intermediate_code"]

LANE = uint64(0xFFFFFFFF)
HALF = uint64(32)
M0, M1 = uint64(MULTIPLIERS[0]), uint64(MULTIPLIERS[1])
W0, W1 = uint64(WEYL[0]), uint64(WEYL[1])
SEGMENTS = uint32(2**SEGMENT_BITS - 1)
SEGMENT_SHIFT = uint32(SEGMENT_BITS)
TAIL_ONE = uint64(1 << TAIL_BITS)
TAIL_LAST = uint64((1 << (TAIL_BITS - 1)) - 1)

_C0, _C1, _C2 = coefficients().astype(np.uint64)
# A parabola of the normal's 32 octaves as one word of 30 + 21 + 13 bits. Global constants, so that LLVM knows that
# writing values does not change them.
PARABOLAS = (_C0 | (_C1 << np.uint64(30)) | (_C2 << np.uint64(51)))[: 32 << SEGMENT_BITS]
BITS_C0, BITS_C1 = uint64((1 << 30) - 1), uint64((1 << 21) - 1)
AT_C1, AT_C2 = uint64(30), uint64(51)
# All 96 octaves take a bit more.
TAIL_C01 = _C0 | (_C1 << np.uint64(32))
TAIL_C2 = _C2.astype(np.uint32)

compiled = numba.njit(nogil=True)
inlined = numba.njit(inline="always")

SIGNATURE = types.void(types.uint64, types.uint64, types.uint64, types.float64, types.float64, types.float64)


@intrinsic
def leading_zeros(_context: Any, x: Any) -> Any:
    """The number of leading zeros of x > 0, in the type of x."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return x(x), codegen


def _bitcast(source: Any, result: Any, kind: Any) -> Any:
    """A number as another of the same bits."""

    @intrinsic
    def cast(_context: Any, x: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], kind)

        return result(source), codegen

    return cast


def _pointer(kind: Any) -> Any:
    """An address as a pointer to elements of a kind."""

    @intrinsic
    def cast(_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(address), codegen

    return cast


as_uint16, as_uint32, as_int32, as_int64 = _pointer(uint16), _pointer(uint32), _pointer(int32), _pointer(int64)
as_float32, as_float64 = _pointer(float32), _pointer(float64)
float_bits = _bitcast(float32, uint32, ir.IntType(32))


@inlined
def philox(block, purpose, k0, k1):
    """The four words of a block in the low halves of 64-bit lanes; what is above them is left over from products."""
    c0, c1, c2, c3 = block, block >> HALF, purpose, uint64(0)
    for _ in range(ROUNDS):
        p0, p1 = (c0 & LANE) * M0, (c2 & LANE) * M1
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1, (p0 >> HALF) ^ c3 ^ k1, p0
        k0, k1 = uint64(k0 + W0), uint64(k1 + W1)
    return c0, c1, c2, c3


@compiled
def run(words, first, count, purpose, k0, k1):
    """`words` = the blocks that hold words first to first + count - 1; returns where the first of them stands."""
    block = uint64(first) >> uint64(2)
    skipped = first & 3
    for j in range((skipped + count + 3) >> 2):
        w0, w1, w2, w3 = philox(block + uint64(j), purpose, k0, k1)
        words[4 * j] = uint32(w0)
        words[4 * j + 1] = uint32(w1)
        words[4 * j + 2] = uint32(w2)
        words[4 * j + 3] = uint32(w3)
    return skipped


@compiled
def spread(words, first, count, parts, step, purpose, k0, k1):
    """`words` = words first, first + step, ... of the stream, or pairs of them where parts is 2."""
    pair = parts - 1
    for j in range(count):
        i = uint64(first + (j >> pair) * step * parts + (j & pair))
        w0, w1, w2, w3 = philox(i >> uint64(2), purpose, k0, k1)
        low = w1 if i & uint64(1) else w0
        high = w3 if i & uint64(1) else w2
        words[j] = uint32(high if i & uint64(2) else low)
    return int64(0)


@compiled
def uniform_deviates(k, words, at, count, p):
    """The lattice integers of a uniform draw."""
    offset, scale, shift = p[OFFSET], uint64(p[SCALE]), uint64(p[SHIFT])
    for j in range(count):
        u = uint64(words[at + j] >> uint32(1))
        k[j] = int32(int64((u * scale) >> shift) + offset)


@compiled
def normal_deviates(k, words, at, count, p):
    """The lattice integers of a normal draw."""
    offset, scale, shift = p[OFFSET], p[SCALE], p[SHIFT]
    for j in range(count):
        w = words[at + j]
        q = uint32(w | uint32(1))
        zeros = leading_zeros(q)
        n = uint32(q << zeros)
        segment = uint32(uint32(zeros << SEGMENT_SHIFT) | uint32(uint32(n >> uint32(25)) & SEGMENTS))
        t = uint64(uint32(n << uint32(7)))
        entry = PARABOLAS[segment]
        c0, c1, c2 = entry & BITS_C0, (entry >> AT_C1) & BITS_C1, entry >> AT_C2
        z = c0 - (((c1 - ((c2 * t) >> HALF)) * t) >> HALF)
        sign = -int64(w & uint32(1))
        k[j] = int32((((int64(z) ^ sign) - sign) * scale >> shift) + offset)


@compiled
def truncated_deviates(k, words, at, count, p):
    """The lattice integers of a truncated draw."""
    offset, scale, shift = p[OFFSET], p[SCALE], p[SHIFT]
    low, range_high, range_low = uint64(p[LOW]), uint64(p[RANGE_HIGH]), uint64(p[RANGE_LOW])
    octave, lower = uint32(p[OCTAVE]), -p[LOWER]
    folds = octave == 0
    for j in range(count):
        u = uint64(words[at + j] | uint32(1))
        x = low + ((u * range_high + ((u * range_low) >> uint64(31))) >> uint64(1))
        upper = folds and x > TAIL_LAST
        x = TAIL_ONE - x if upper else x
        x = max(x, uint64(1))
        x = min(x, TAIL_LAST)
        zeros = leading_zeros(x)  # of 64 bits, where x has 61
        n = x << zeros
        above = uint32(zeros) - uint32(65 - TAIL_BITS)
        segment = uint32((uint32(above + octave) << SEGMENT_SHIFT) | (uint32(n >> uint64(57)) & SEGMENTS))
        t = (n >> uint64(25)) & LANE
        entry = TAIL_C01[segment]
        c0, c1, c2 = entry & LANE, entry >> HALF, uint64(TAIL_C2[segment])
        z = c0 - (((c1 - ((c2 * t) >> HALF)) * t) >> HALF)
        sign = lower ^ -int64(upper)  # -1 where the deviate is negative
        k[j] = int32((((int64(z) ^ sign) - sign) * scale >> shift) + offset)


@compiled
def no_deviates(k, words, at, count, p):
    """The words themselves."""
    for j in range(count):
        k[j] = int32(words[at + j])


@compiled
def to_float64(values, k, count, unit, low, high):
    """k * unit, exactly, then clipped."""
    for j in range(count):
        values[j] = min(max(float64(k[j]) * unit, low), high)


@compiled
def to_float32(values, k, count, unit, low, high):
    """k * unit rounded to nearest even, then clipped."""
    scale, least, most = float32(unit), float32(low), float32(high)
    for j in range(count):
        values[j] = min(max(float32(k[j]) * scale, least), most)


@compiled
def to_bfloat16(values, k, count, unit, low, high):
    """The upper half of the float32 value, rounded to nearest even."""
    scale, least, most = float32(unit), float32(low), float32(high)
    for j in range(count):
        bits = float_bits(min(max(float32(k[j]) * scale, least), most))
        values[j] = uint16(uint32(bits + uint32(0x7FFF) + (uint32(bits >> uint32(16)) & uint32(1))) >> uint32(16))


@compiled
def to_float16(values, k, count, unit, low, high):
    """The float32 value rounded to nearest even, in integers: no instruction that an old processor lacks."""
    scale, least, most = float32(unit), float32(low), float32(high)
    for j in range(count):
        value = min(max(float32(k[j]) * scale, least), most)
        bits = float_bits(value)
        size = uint32(bits & uint32(0x7FFFFFFF))
        # Normal numbers: the exponent moves from a bias of 127 to one of 15.
        normal = uint32(uint32(size + uint32(0xC8000FFF) + (uint32(size >> uint32(13)) & uint32(1))) >> uint32(13))
        # Subnormal ones: beside 1/2 a float32 has the spacing 2**-24 of theirs, so that the sum rounds to it.
        tiny = uint32(float_bits(float32(abs(value) + float32(0.5))) - uint32(0x3F000000))
        magnitude = normal if size >= uint32(0x38800000) else tiny
        values[j] = uint16(magnitude | (uint32(bits >> uint32(16)) & uint32(0x8000)))


@compiled
def to_words(values, k, count):
    """k itself."""
    for j in range(count):
        values[j] = k[j]


@compiled
def move(to, source, rows, count, parts, row_jump, jump):
    """Values from a strip in the scratch memory to elements that lie apart: neighbouring rows in the inner loop."""
    pair = parts - 1
    for j in range(count):
        at = (j >> pair) * jump + (j & pair)
        for row in range(rows):
            to[at + row * row_jump] = source[row * STRIP_CHUNK + j]


@compiled
def store(address, source, rows, count, parts, row_jump, jump, size):
    """`move` for elements of 2, 4 or 8 bytes."""
    if size == 2:
        move(as_uint16(address), as_uint16(source), rows, count, parts, row_jump, jump)
    elif size == 4:
        move(as_uint32(address), as_uint32(source), rows, count, parts, row_jump, jump)
    else:
        move(as_float64(address), as_float64(source), rows, count, parts, row_jump, jump)


@compiled
def values(address, k, count, form, unit, low, high):
    """The lattice integers as elements of a format."""
    if form == FLOAT32:
        to_float32(as_float32(address), k, count, unit, low, high)
    elif form == BFLOAT16:
        to_bfloat16(as_uint16(address), k, count, unit, low, high)
    elif form == FLOAT16:
        to_float16(as_uint16(address), k, count, unit, low, high)
    elif form == FLOAT64:
        to_float64(as_float64(address), k, count, unit, low, high)
    else:
        to_words(as_int32(address), k, count)


@compiled
def draw(words, k, address, first, count, p, unit, low, high):
    """`count` elements (or parts of complex ones) from word `first` on, at neighbouring addresses."""
    purpose, k0, k1 = uint64(p[PURPOSE]), uint64(p[KEY_LOW]), uint64(p[KEY_HIGH])
    if p[STEP] == 1:
        at = run(words, first, count, purpose, k0, k1)
    else:
        at = spread(words, first, count, p[PARTS], p[STEP], purpose, k0, k1)
    kind = p[KIND]
    if kind == UNIFORM:
        uniform_deviates(k, words, at, count, p)
    elif kind == NORMAL:
        normal_deviates(k, words, at, count, p)
    elif kind == TRUNCATED:
        truncated_deviates(k, words, at, count, p)
    else:
        no_deviates(k, words, at, count, p)
    values(address, k, count, p[FORM], unit, low, high)


def fill(address, scratch, parameters, unit, low, high):
    """Rows of elements, chunk by chunk."""
    p = as_int64(parameters)
    rows, total, parts, step, jump, row_jump, size = p[ROWS], p[WORDS], p[PARTS], p[STEP], p[JUMP], p[ROW_JUMP], p[SIZE]
    pair = parts - 1
    words, k = as_uint32(scratch), as_int32(scratch + uint64(WORDS_BYTES))
    strip = scratch + uint64(2 * WORDS_BYTES)
    dense = jump == parts
    limit = CHUNK if dense else STRIP_CHUNK
    height = int64(1) if dense else STRIP_ROWS
    done = int64(0)
    while done < total:
        # Chunks end where blocks do.
        count = min(limit - ((p[FIRST] + done) & 3), total - done)
        for top in range(0, rows, height):
            place = address + uint64((top * row_jump + (done >> pair) * jump) * size)
            some = min(height, rows - top)
            for row in range(some):
                first = p[FIRST] + (top + row) * p[ROW_WORDS] + (done >> pair) * step * parts
                to = place if dense else strip + uint64(row * STRIP_CHUNK * size)
                draw(words, k, to, first, count, p, unit, low, high)
            if not dense:
                store(place, strip, some, count, parts, row_jump, jump, size)
        done += count


def intermediate_code() -> str:
    """`fill` in LLVM's language, a function (result, exception, address, scratch, parameters, unit, low, high).

    Raises:
        ImportError: numba is told not to compile.
    """
    if numba.config.DISABLE_JIT:
        raise ImportError("numba doesn't compile where NUMBA_DISABLE_JIT is set")
    options = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    function = numba.njit(SIGNATURE, **options)(fill)
    code: str = function.inspect_llvm(function.signatures[0])
    return code
