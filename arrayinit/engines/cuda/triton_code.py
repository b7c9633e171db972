"""The stream as two Triton kernels: words -> deviates -> lattice -> values, stored where they belong.

The arithmetic is that of `philox`, `deviates` and `lattice`, on the narrowest integers that hold it: words and lattice
integers in 32 bits, products of two words in 64. It is written so that a compiler and Triton's interpreter, which is
NumPy, agree: words are unsigned, no shift is as wide as its type, what is taken from a constant is negated and added to
it (of constant - x the interpreter makes another constant), and floats are multiplied but never added, so that there is
nothing to contract. It uses only what every Triton from 3.0 on has.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# Triton reads annotations as its own types, so that there is none for what is a tensor.

import triton
import triton.language as tl

from arrayinit.deviates import SEGMENT_BITS
from arrayinit.engines.cuda.triton_calls import BIAS, PACKING
from arrayinit.philox import MULTIPLIERS, ROUNDS, WEYL
from arrayinit.tails import OCTAVES, TAIL_BITS

__all__ = ["fill_rows", "fill_run"]

_TURNS = tl.constexpr(ROUNDS)
_M0, _M1 = tl.constexpr(MULTIPLIERS[0]), tl.constexpr(MULTIPLIERS[1])
_W0, _W1 = tl.constexpr(WEYL[0]), tl.constexpr(WEYL[1])
_C0, _C1, _C2 = tl.constexpr(PACKING[0]), tl.constexpr(PACKING[1]), tl.constexpr(PACKING[0] + PACKING[1])
_C0_BIT, _C0_MASK = tl.constexpr(1 << PACKING[0]), tl.constexpr((1 << PACKING[0]) - 1)
_C1_MASK = tl.constexpr((1 << PACKING[1]) - 1)
_BIAS = tl.constexpr(BIAS)
_SEGMENT = tl.constexpr(SEGMENT_BITS)
_CUT = tl.constexpr(23 - SEGMENT_BITS)  # digits of a float32 below those that choose the segment
_NORMAL = tl.constexpr((OCTAVES - 32 - BIAS) << SEGMENT_BITS)  # where entries of words would begin, at exponent 0
_HALF = tl.constexpr((1 << (TAIL_BITS - 1)) - 1)  # the largest p that is not folded to the other tail
_WHOLE = tl.constexpr(1 << TAIL_BITS)
_TOP = tl.constexpr(TAIL_BITS - 2)  # the exponent of p in the first octave
_BELOW = tl.constexpr(TAIL_BITS - 2 - SEGMENT_BITS - 32)  # bits of a normalized p that are below t


@triton.jit
def _words(block, purpose, key_low, key_high):
    """The four words of each block."""
    k0, k1 = key_low.to(tl.uint32), key_high.to(tl.uint32)
    c0, c1, c2 = block.to(tl.uint32), (block >> 32).to(tl.uint32), purpose.to(tl.uint32)
    c3 = c2 & 0
    for _ in tl.static_range(_TURNS):
        # A product in 64 bits is one instruction; its halves would be two.
        p0, p1 = c0.to(tl.uint64) * _M0, c2.to(tl.uint64) * _M1
        c0, c2 = (p1 >> 32).to(tl.uint32) ^ c1 ^ k0, (p0 >> 32).to(tl.uint32) ^ c3 ^ k1
        c1, c3 = p1.to(tl.uint32), p0.to(tl.uint32)
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3


@triton.jit
def _in_order(w0, w1, w2, w3, rows: tl.constexpr, columns: tl.constexpr):
    """The words of rows of blocks one after another: the outer join is of word 2 p + r with r, the inner one with p."""
    return tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (rows, columns))


@triton.jit
def _octave_and_segment(x):
    """The exponent of an integer x > 0 as float32 has it, then the six bits behind its first one.

    A bit is cleared where the one eight places above it is set. So the first eight bits stay and the ninth is 0, and
    rounding to float32 carries nothing into them.
    """
    return (x ^ (x & (x >> 8))).to(tl.float32).to(tl.uint32, bitcast=True) >> _CUT


@triton.jit
def _up_to(top: tl.constexpr, place):
    """top less the exponent that `place` begins with: as far as digits are shifted, which is never below 0."""
    return (-(place >> _SEGMENT).to(tl.int32) + top).to(tl.uint32)


@triton.jit
def _parabola(entry, c0, t):
    """c0 - (((c1 - ((c2 * t) >> 32)) * t) >> 32)."""
    c1 = (entry >> _C0).to(tl.uint32) & _C1_MASK
    c2 = (entry >> _C2).to(tl.uint32)
    return c0 - tl.umulhi(c1 - tl.umulhi(c2, t), t)


@triton.jit
def _normal(w, table):
    """|z|, and whether z is negative."""
    q = w | 1
    place = _octave_and_segment(q)
    entry = tl.load(table + (place.to(tl.int32) + _NORMAL)).to(tl.uint64, bitcast=True)
    t = (q << 7) << _up_to(_BIAS + 31, place)  # in two steps, for together they can be more than 31
    return _parabola(entry, entry.to(tl.uint32) & _C0_MASK, t), (w & 1) != 0


@triton.jit
def _truncated(w, table, base, p_low, range_high, range_low, lower, large, folds: tl.constexpr):
    """|z|, and whether z is negative."""
    u = w | 1
    steps = u.to(tl.uint64) * range_high.to(tl.uint32) + tl.umulhi(u, range_low.to(tl.uint32))
    p = p_low.to(tl.int64) + steps.to(tl.int64)
    negative = lower != 0
    if folds:
        folded = p > _HALF
        p = tl.where(folded, -p + _WHOLE, p)
        negative = negative ^ folded
    p = tl.minimum(tl.maximum(p, 1), _HALF).to(tl.uint64)  # moves roundings at the very end and the exact middle only
    place = _octave_and_segment(p)
    t = ((p << _up_to(_BIAS + _TOP, place).to(tl.uint64)) >> _BELOW).to(tl.uint32)
    place = place.to(tl.int32) + base
    entry = tl.load(table + place).to(tl.uint64, bitcast=True)
    c0 = entry.to(tl.uint32) & _C0_MASK
    return _parabola(entry, tl.where(place < large, c0 | _C0_BIT, c0), t), negative


@triton.jit
def _lattice(
    w,
    table,
    scale,
    offset,
    base,
    p_low,
    range_high,
    range_low,
    lower,
    large,
    kind: tl.constexpr,
    shift: tl.constexpr,
    folds: tl.constexpr,
):
    """k = offset + ((deviate * scale) >> shift) of each word."""
    if kind == "uniform":
        k = w & 0xFFFFFFFE  # (u * scale) >> 31 with u = w >> 1, for a scale of 2**32 and below
        if shift != 0:
            k = tl.umulhi(k, scale.to(tl.uint32))
    else:
        if kind == "normal":
            z, negative = _normal(w, table)
        else:
            z, negative = _truncated(w, table, base, p_low, range_high, range_low, lower, large, folds)
        step = tl.where(negative, -scale.to(tl.int32), scale.to(tl.int32))
        k = ((z.to(tl.int32).to(tl.int64) * step) >> shift).to(tl.uint32)
    return (k + offset.to(tl.uint32)).to(tl.int32)


@triton.jit
def _real(bits, form: tl.constexpr):
    """A float64 or a float32 by its bits: Triton takes floats as parameters in float32 alone."""
    if form == "float64":
        value = bits.to(tl.int64).to(tl.float64, bitcast=True)
    else:
        value = bits.to(tl.int32).to(tl.float32, bitcast=True)
    return value


@triton.jit
def _values(
    w,
    table,
    scale,
    offset,
    unit,
    lowest,
    highest,
    base,
    p_low,
    range_high,
    range_low,
    lower,
    large,
    kind: tl.constexpr,
    form: tl.constexpr,
    shift: tl.constexpr,
    folds: tl.constexpr,
    by_hand: tl.constexpr,
):
    """What is stored for words."""
    if kind == "words":
        value = w
    else:
        k = _lattice(w, table, scale, offset, base, p_low, range_high, range_low, lower, large, kind, shift, folds)
        if form == "float64":
            value = k.to(tl.float64) * _real(unit, form)
        else:
            value = k.to(tl.float32) * _real(unit, form)
        if kind != "normal":
            value = tl.minimum(tl.maximum(value, _real(lowest, form)), _real(highest, form))
        if form == "float16":
            value = value.to(tl.float16)
        if form == "bfloat16":
            if by_hand:  # for the interpreter, whose own cast cuts digits off
                bits = value.to(tl.uint32, bitcast=True)
                value = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)
            else:
                value = value.to(tl.bfloat16)
    return value


_UNSPECIALIZED = (
    *("block", "count", "key_low", "key_high", "purpose", "scale", "offset", "unit", "lowest", "highest"),
    *("base", "p_low", "range_high", "range_low", "lower", "large"),
    *("first", "start", "rows", "row_step", "row_jump", "step", "jump", "row_tiles", "tiles"),
    *(f"{field}{axis}" for axis in range(4) for field in ("count", "step", "jump")),
)


@triton.jit(do_not_specialize=_UNSPECIALIZED)
def fill_run(
    x,
    skip: tl.int32,
    block: tl.int64,
    count: tl.int64,
    key_low: tl.uint32,
    key_high: tl.uint32,
    purpose: tl.uint32,
    table,
    scale: tl.uint32,
    offset: tl.int32,
    unit: tl.int64,
    lowest: tl.int64,
    highest: tl.int64,
    base: tl.int32,
    p_low: tl.int64,
    range_high: tl.uint32,
    range_low: tl.uint32,
    lower: tl.int32,
    large: tl.int32,
    kind: tl.constexpr,
    form: tl.constexpr,
    shift: tl.constexpr,
    folds: tl.constexpr,
    by_hand: tl.constexpr,
    blocks: tl.constexpr,
):
    """`count` neighbouring words, from word `skip` of a block on, to neighbouring places; blocks blocks a program."""
    start = tl.program_id(0).to(tl.int64) * blocks
    w0, w1, w2, w3 = _words((start + block + tl.arange(0, blocks))[None, :], purpose, key_low, key_high)
    words = tl.reshape(_in_order(w0, w1, w2, w3, 1, 4 * blocks), (4 * blocks,))
    values = _values(
        words,
        table,
        scale,
        offset,
        unit,
        lowest,
        highest,
        base,
        p_low,
        range_high,
        range_low,
        lower,
        large,
        kind,
        form,
        shift,
        folds,
        by_hand,
    )
    first = start * 4 - skip
    places = first + tl.arange(0, 4 * blocks)
    if (first >= 0) & (first + 4 * blocks <= count):  # all but the first and last programs: vectors, without masks
        tl.store(x + places, values)
    else:
        tl.store(x + places, values, mask=(places >= 0) & (places < count))


@triton.jit(do_not_specialize=_UNSPECIALIZED)
def fill_rows(
    x,
    first: tl.int64,
    start: tl.int64,
    rows: tl.int64,
    row_step: tl.int64,
    row_jump: tl.int64,
    count: tl.int64,
    step: tl.int64,
    jump: tl.int64,
    tiles: tl.int32,
    row_tiles: tl.int32,
    count0: tl.int32,
    step0: tl.int64,
    jump0: tl.int64,
    count1: tl.int32,
    step1: tl.int64,
    jump1: tl.int64,
    count2: tl.int32,
    step2: tl.int64,
    jump2: tl.int64,
    count3: tl.int32,
    step3: tl.int64,
    jump3: tl.int64,
    key_low: tl.uint32,
    key_high: tl.uint32,
    purpose: tl.uint32,
    table,
    scale: tl.uint32,
    offset: tl.int32,
    unit: tl.int64,
    lowest: tl.int64,
    highest: tl.int64,
    base: tl.int32,
    p_low: tl.int64,
    range_high: tl.uint32,
    range_low: tl.uint32,
    lower: tl.int32,
    large: tl.int32,
    kind: tl.constexpr,
    form: tl.constexpr,
    shift: tl.constexpr,
    folds: tl.constexpr,
    by_hand: tl.constexpr,
    axes: tl.constexpr,
    parts: tl.constexpr,
    runs: tl.constexpr,
    height: tl.constexpr,
    width: tl.constexpr,
):
    """Rows of elements: word first + row * row_step + j * step to place start + row * row_jump + j * jump.

    Steps are in words, jumps in real numbers, of which an element has parts. axes more axes repeat the rows. A program
    draws height rows of a tile: of width blocks where elements follow each other in the stream (runs), else of width
    elements, each of which takes a block.
    """
    rest = tl.program_id(0)
    column = (rest % tiles).to(tl.int64) * width + tl.arange(0, width)[None, :]
    rest = rest // tiles
    row = (rest % row_tiles).to(tl.int64) * height + tl.arange(0, height)[:, None]
    word, place = first + row * row_step, start + row * row_jump
    if axes > 0:
        rest = rest // row_tiles
        here = (rest % count0).to(tl.int64)
        word, place = word + here * step0, place + here * jump0
    if axes > 1:
        rest = rest // count0
        here = (rest % count1).to(tl.int64)
        word, place = word + here * step1, place + here * jump1
    if axes > 2:
        rest = rest // count1
        here = (rest % count2).to(tl.int64)
        word, place = word + here * step2, place + here * jump2
    if axes > 3:
        here = (rest // count2).to(tl.int64)
        word, place = word + here * step3, place + here * jump3
    if runs:
        w0, w1, w2, w3 = _words((word >> 2) + column, purpose, key_low, key_high)
        words = _in_order(w0, w1, w2, w3, height, 4 * width)
        before = (tl.program_id(0) % tiles).to(tl.int64) * (4 * width) - (word & 3)
        word = before + tl.arange(0, 4 * width)[None, :]
        values = _values(
            words,
            table,
            scale,
            offset,
            unit,
            lowest,
            highest,
            base,
            p_low,
            range_high,
            range_low,
            lower,
            large,
            kind,
            form,
            shift,
            folds,
            by_hand,
        )
        there = (word >= 0) & (word < count * parts) & (row < rows)
        if parts == 2:
            place += (word >> 1) * jump + (word & 1)
        else:
            place += word * jump
        tl.store(x + place, values, mask=there)
    else:
        word = word + column * step
        w0, w1, w2, w3 = _words(word >> 2, purpose, key_low, key_high)
        upper = (word & 2) != 0
        even, odd = tl.where(upper, w2, w0), tl.where(upper, w3, w1)
        there = (column < count) & (row < rows)
        place += column * jump
        if parts == 2:  # words of an element begin at an even one
            tl.store(
                x + place,
                _values(
                    even,
                    table,
                    scale,
                    offset,
                    unit,
                    lowest,
                    highest,
                    base,
                    p_low,
                    range_high,
                    range_low,
                    lower,
                    large,
                    kind,
                    form,
                    shift,
                    folds,
                    by_hand,
                ),
                mask=there,
            )
            tl.store(
                x + place + 1,
                _values(
                    odd,
                    table,
                    scale,
                    offset,
                    unit,
                    lowest,
                    highest,
                    base,
                    p_low,
                    range_high,
                    range_low,
                    lower,
                    large,
                    kind,
                    form,
                    shift,
                    folds,
                    by_hand,
                ),
                mask=there,
            )
        else:
            words = tl.where((word & 1) != 0, odd, even)
            tl.store(
                x + place,
                _values(
                    words,
                    table,
                    scale,
                    offset,
                    unit,
                    lowest,
                    highest,
                    base,
                    p_low,
                    range_high,
                    range_low,
                    lower,
                    large,
                    kind,
                    form,
                    shift,
                    folds,
                    by_hand,
                ),
                mask=there,
            )
