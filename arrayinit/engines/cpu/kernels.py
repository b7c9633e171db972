"""The stream as loops over vectors: words -> deviates -> lattice -> values, for memory given by its address.

The loops are written in `assembly` for LLVM. They become one function that knows nothing of Python, so that a call
takes a microsecond and runs without the interpreter's lock; `machine_code` stores and calls it. The arithmetic is that
of `philox`, `deviates` and `lattice` in 64-bit lanes. Processors multiply the low halves of such lanes, so bits above
the low 32 are masked only where they would change a result.

A chunk passes from loop to loop, in memory that stays in the innermost cache: words; in their place lattice integers;
values at their destination. Short loops keep a processor busier than one long chain of operations for each element.

Streams. An ordinary store first reads the cache line that it changes, and takes the place of other data in the caches.
For an array larger than the caches both are wasted, so its values are streamed: stores with the "nontemporal" mark send
whole lines to memory without reading them. That takes two precautions. First, a row is streamed from its first line
boundary on: the elements before it are written by an ordinary chunk, and the values of CHUNK words are whole lines, so
that each chunk begins at a boundary again. `draw` checks this, and writes ordinarily otherwise. Second, streamed stores
may become visible late, so a row ends with a fence; without one, another thread could read old memory after the draw.
`test_streams` compares streamed arrays of several formats with the reference, at boundaries and beside them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from arrayinit.engines.cpu.assembly import F32, F64, I16, I32, I64, Code, Value
from arrayinit.engines.cpu.parameters import (
    BFLOAT16,
    CHUNK,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    LINE,
    NORMAL,
    ROW_BYTES,
    STRIP_CHUNK,
    STRIP_ROWS,
    TRUNCATED,
    UNIFORM,
    WORD,
    WORDS_BYTES,
    offset_of,
)
from arrayinit.stream.deviates import SEGMENT_BITS
from arrayinit.stream.philox import MASK, MULTIPLIERS, ROUNDS, WEYL
from arrayinit.stream.truncation import P_BITS

__all__ = ["intermediate_code"]

BlockWords: TypeAlias = list[Value]  # the four words of a block, or of as many blocks as there are lanes

TOGETHER = 3  # vectors of blocks that are computed side by side, since one alone would wait for its products
TURNS = 2  # vectors that the other loops take in one turn

# A float64 in [2**52, 2**53) holds an integer below 2**52 as its lowest bits. So an integer with the bits of AS_FLOAT
# above it, minus 2**52, is that integer as a float64. Its exponent counts leading zeros, and its digits begin after the
# highest 1.
AS_FLOAT = 0x433 << 52
DIGITS = 52


def intermediate_code(symbol: str, triple: str, lanes: int) -> str:
    """The text of a function that fills memory, for a target with vectors of so many 64-bit lanes.

    Its arguments are (address, scratch, parameters, unit, low, high): the last three are float64, the others uint64.
    """
    code = Code(triple)
    _run(code, lanes)
    _scattered_words(code, lanes)
    _uniform(code, lanes)
    _normal_digits(code, lanes)
    _truncated_digits(code, lanes)
    _parabolas(code, lanes)
    for form in _FORMS:
        for streams in (False, True):
            _values(code, form, streams, lanes)
    _draw(code)
    for size in (2, 4, 8):
        _move(code, size)
    _fill(code, symbol)
    return str(code.module)


def _parameter(code: Code, parameters: Value, field: str) -> Value:
    return code.load(parameters + offset_of(field), I64)


def _parameters(code: Code, parameters: Value, *fields: str) -> list[Value]:
    return [_parameter(code, parameters, field) for field in fields]


def _low(x: Value) -> Value:
    """The low half of each 64-bit lane.

    In vectors a shuffle replaces the high halves by 0. From that LLVM finds the instructions that multiply low halves;
    from `x & MASK` it does not once it has moved the mask out of a loop.
    """
    if not x.lanes:
        return x & MASK
    halves = x.bits(I32)
    return halves.pick(halves ^ halves, [half + half % 2 * halves.lanes for half in range(halves.lanes)]).bits(I64)


def _philox(counters: Sequence[Sequence[Any]], key: tuple[Value, Value]) -> list[BlockWords]:
    """The words of each counter, in the low halves of lanes; the high halves are left over from products."""
    for turn in range(ROUNDS):
        k0, k1 = (k + turn * step for k, step in zip(key, WEYL, strict=True))
        products = [(_low(c0) * MULTIPLIERS[0], _low(c2) * MULTIPLIERS[1]) for c0, _, c2, _ in counters]
        counters = [
            ((p1 >> 32) ^ (k0 ^ c1), p1, (p0 >> 32) ^ (k1 ^ c3), p0)
            for (p0, p1), (_, c1, _, c3) in zip(products, counters, strict=True)
        ]
    return [list(words) for words in counters]


def _joined(even: Value, odd: Value) -> Value:
    """The low halves of two lanes as the low and the high half of one."""
    return _low(even) | (odd << 32)


def _run(code: Code, lanes: int) -> None:
    """run(to, block, blocks, parameters): the words of neighbouring blocks, whose numbers share their upper half."""
    order = [k // 2 + (k % 2) * lanes // 2 for k in range(lanes)]  # that puts the words in order when they are stored
    with code.function("run", (I64, I64, I64, I64)) as (to, block, blocks, p):
        key_low, key_high = _parameters(code, p, "key_low", "key_high")
        purpose, upper = _parameter(code, p, "purpose"), block >> 32
        with code.loop(0, blocks, TOGETHER * lanes) as i:
            numbers = [code.value([n + k * lanes for n in order]) + (block + i) for k in range(TOGETHER)]
            for k, (w0, w1, w2, w3) in enumerate(
                _philox([(n, upper, purpose, 0) for n in numbers], (key_low, key_high))
            ):
                first, second = _joined(w0, w1), _joined(w2, w3)
                for half in range(2):
                    picked = [lane for j in range(half, lanes, 2) for lane in (j, lanes + j)]
                    code.store(to + (i << 4) + 8 * lanes * (2 * k + half), first.pick(second, picked))


def _scattered_words(code: Code, lanes: int) -> None:
    """scattered_words(to, first, count, parameters): words that are `step` elements apart; each draws its block."""
    with code.function("scattered_words", (I64, I64, I64, I64)) as (to, first, count, p):
        key_low, key_high = _parameters(code, p, "key_low", "key_high")
        purpose, step, words_per_element = _parameters(code, p, "purpose", "step", "words_per_element")
        pair = words_per_element - 1
        with code.loop(0, count, TOGETHER * lanes) as i:
            numbers = []
            for k in range(TOGETHER):
                j = code.value([k * lanes + lane for lane in range(lanes)]) + i
                numbers.append((j >> pair) * (step * words_per_element) + (j & pair) + first)
            drawn = _philox([(n >> 2, n >> 34, purpose, 0) for n in numbers], (key_low, key_high))
            for k, (n, (w0, w1, w2, w3)) in enumerate(zip(numbers, drawn, strict=True)):
                odd, upper = (n & 1).compare("==", 1), (n & 2).compare("==", 2)
                word = upper.choose(odd.choose(w3, w2), odd.choose(w1, w0))
                code.store(to + (i << 2) + 4 * k * lanes, word.to(I32))


def _pairs(code: Code, count: Value, lanes: int) -> Iterator[Value]:
    """Loop over `count` words: the number of the first word of each vector. The last vectors may pass the end."""
    with code.loop(0, count, TURNS * 2 * lanes) as i:
        for turn in range(TURNS):
            yield i + turn * 2 * lanes


def _uniform(code: Code, lanes: int) -> None:
    """uniform(words, count, parameters): words -> lattice integers of a uniform draw.

    (u * scale) >> 31 with u = w >> 1 is the upper half of (w & ~1) * scale; the scale is below 2**32.
    """
    with code.function("uniform", (I64, I64, I64)) as (words, count, p):
        offset, scale = _parameter(code, p, "offset").to(I32), _low(_parameter(code, p, "scale"))
        for i in _pairs(code, count, lanes):
            here = words + (i << 2)
            pairs = code.load(here, I64, lanes, align=4)
            even, odd = ((w & (MASK - 1)) * scale for w in (pairs, pairs >> 32))
            code.store(here, ((even >> 32) | (odd & (MASK << 32))).bits(I32) + offset)


def _normal_digits(code: Code, lanes: int) -> None:
    """normal_digits(words, floats, count, parameters): w | 1 of each word as a float64, by pairs of vectors."""
    with code.function("normal_digits", (I64, I64, I64, I64)) as (words, floats, count, _):
        for i in _pairs(code, count, lanes):
            pairs = code.load(words + (i << 2), I64, lanes, align=4)
            for k, w in enumerate((pairs, pairs >> 32)):
                code.store(floats + (i << 3) + 8 * lanes * k, _as_float(_low(w) | 1))


def _as_float(x: Value) -> Value:
    """The bits of an integer below 2**52 as a float64."""
    return ((x | AS_FLOAT).bits(F64) - float(1 << DIGITS)).bits(I64)


def _truncated_digits(code: Code, lanes: int) -> None:
    """truncated_digits(words, floats, count, parameters): p of each word as a float64; its sign is left in the word."""
    with code.function("truncated_digits", (I64, I64, I64, I64)) as (words, floats, count, p):
        low, high, rest, last, lower = _parameters(code, p, "low", "range_high", "range_low", "last", "is_lower")
        for i in _pairs(code, count, lanes):
            pairs = code.load(words + (i << 2), I64, lanes, align=4)
            signs = []
            for k, w in enumerate((pairs, pairs >> 32)):
                u = _low(w) | 1
                x = low + ((u * _low(high) + ((u * _low(rest)) >> 31)) >> 1)
                upper = x.compare(">", last)
                x = upper.choose(code.value(1 << P_BITS) - x, x)
                x = x.most(code.value(1)).least(code.value((1 << (P_BITS - 1)) - 1))
                # An integer with more digits than a float64 loses 9 of them, below those that are read.
                large = x.compare(">", (1 << DIGITS) - 1)
                bits = _as_float(large.choose(x >> 9, x))
                bits = bits + large.choose(code.value(9 << DIGITS), code.value(0))
                code.store(floats + (i << 3) + 8 * lanes * k, bits)
                signs.append(upper.choose(lower ^ 1, lower))
            code.store(words + (i << 2), _joined(*signs))


def _parabolas(code: Code, lanes: int) -> None:
    """parabolas(words, floats, count, parameters): floats and signs -> lattice integers, in place of the words.

    A row of the table is c0 and, in one word, c1 + 2**32 c2. Its address follows from the exponent and the first digits
    of a float. Each float is loaded by itself, since taking it out of a vector would take longer.
    """
    below = DIGITS - SEGMENT_BITS
    with code.function("parabolas", (I64, I64, I64, I64)) as (words, floats, count, p):
        table, shift = _parameter(code, p, "table"), _parameter(code, p, "shift")
        offset, scale = _parameter(code, p, "offset").to(I32), _parameter(code, p, "scale").signed()
        minus = (code.value(0) - scale).signed()
        for i in _pairs(code, count, lanes):
            pairs = code.load(words + (i << 2), I64, lanes, align=4)
            products = []
            for k, w in enumerate((pairs, pairs >> 32)):
                here = floats + (i << 3) + 8 * lanes * k
                rows = [
                    code.load(table + ((code.load(here + 8 * j, I64) >> below) << ROW_BYTES), I64, 2)
                    for j in range(lanes)
                ]
                first, second = _concatenated(rows[::2]), _concatenated(rows[1::2])
                c0, c12 = (
                    first.pick(second, [lane for j in range(k, lanes, 2) for lane in (j, lanes + j)]) for k in (0, 1)
                )
                t = _low(code.load(here, I64, lanes) >> (below - 32))
                slope = c12 - (((c12 >> 32) * t) >> 32)
                z = c0 - ((_low(slope) * t) >> 32)
                is_negative = (w << 63).compare("<", 0)
                products.append(z.signed() * is_negative.choose(minus.spread(lanes), scale.spread(lanes)))
            even, odd = products
            code.store(words + (i << 2), _joined(even >> shift, odd >> shift).bits(I32) + offset)


def _concatenated(vectors: Sequence[Value]) -> Value:
    if len(vectors) == 1:
        return vectors[0]
    half = len(vectors) // 2
    a, b = _concatenated(vectors[:half]), _concatenated(vectors[half:])
    return a.pick(b, range(2 * a.lanes))


def _to_float32(k: Value, unit: Value, low: Value, high: Value) -> Value:
    """k * unit rounded to nearest even, then clipped."""
    return (k.to(F32) * unit).most(low).least(high)


def _to_float64(k: Value, unit: Value, low: Value, high: Value) -> Value:
    """k * unit, exactly, then clipped."""
    return (k.to(F64) * unit).most(low).least(high)


def _to_bfloat16(k: Value, unit: Value, low: Value, high: Value) -> Value:
    """The upper half of the float32 value, rounded to nearest even."""
    bits = _to_float32(k, unit, low, high).bits(I32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(I16)


def _to_float16(k: Value, unit: Value, low: Value, high: Value) -> Value:
    """The float32 value rounded to nearest even, in integers: no instruction that an old processor lacks."""
    bits = _to_float32(k, unit, low, high).bits(I32)
    size = bits & 0x7FFFFFFF
    # Normal numbers: the exponent moves from a bias of 127 to one of 15.
    normal = (size + 0xC8000FFF + ((size >> 13) & 1)) >> 13
    # Subnormal ones: beside 1/2 a float32 has the spacing 2**-24 of theirs, so that the sum rounds to it.
    tiny = (size.bits(F32) + 0.5).bits(I32) - 0x3F000000
    magnitude = size.compare("<", 0x38800000).choose(tiny, normal)
    return (magnitude | ((bits >> 16) & 0x8000)).to(I16)


def _to_word(k: Value, _unit: Value, _low: Value, _high: Value) -> Value:
    """k itself."""
    return k


_FORMS = {
    FLOAT32: (_to_float32, F32, 4),
    FLOAT64: (_to_float64, F64, 8),
    BFLOAT16: (_to_bfloat16, F32, 2),
    FLOAT16: (_to_float16, F32, 2),
    WORD: (_to_word, F32, 4),
}


def _values(code: Code, form: int, streams: bool, lanes: int) -> None:
    """values<form>(to, integers, count, unit, low, high): lattice integers -> neighbouring elements of a format.

    streamed<form> writes them past the caches, from the beginning of a cache line on.
    """
    name = f"{'streamed' if streams else 'values'}{form}"
    convert, kind, size = _FORMS[form]
    with code.function(name, (I64, I64, I64, F64, F64, F64)) as (to, integers, count, *ends):
        ends = [end if kind is F64 else code.value(code.builder.fptrunc(end.ir, F32)) for end in ends]
        whole = count & -TURNS * 2 * lanes
        for i in _pairs(code, whole, lanes):
            code.store(to + i * size, convert(code.load(integers + (i << 2), I32, 2 * lanes), *ends), streams)
        with code.loop(whole, count, 1) as i:
            code.store(to + i * size, convert(code.load(integers + (i << 2), I32), *ends))


def _draw(code: Code) -> None:
    """draw(to, words, first, count, parameters, unit, low, high): count elements at neighbouring addresses.

    `count` is a number of words, at most CHUNK; `first` is the number of a word.
    """
    with code.function("draw", (I64, I64, I64, I64, I64, F64, F64, F64)) as (to, words, first, count, p, *ends):
        floats = words + WORDS_BYTES
        block, blocks = first >> 2, ((first & 3) + count + 3) >> 2
        is_run = _parameter(code, p, "step").compare("==", 1)
        # `run` takes blocks whose numbers share their upper half; other chunks are drawn as if their words lay apart.
        is_run = is_run & (block >> 32).compare("==", (block + blocks) >> 32)
        with code.when(is_run):
            code.call("run", words, block, blocks, p)
        with code.when(is_run ^ 1):
            code.call("scattered_words", words, first, count, p)
        skipped = is_run.choose(first & 3, code.value(0))
        drawn = skipped + count
        kind, form = _parameter(code, p, "kind"), _parameter(code, p, "form")
        with code.when(kind.compare("==", UNIFORM)):
            code.call("uniform", words, drawn, p)
        for number, digits in ((NORMAL, "normal_digits"), (TRUNCATED, "truncated_digits")):
            with code.when(kind.compare("==", number)):
                code.call(digits, words, floats, drawn, p)
                code.call("parabolas", words, floats, drawn, p)
        streams = _parameter(code, p, "streams").compare("!=", 0) & (to & (LINE - 1)).compare("==", 0)
        for number in _FORMS:
            is_form = form.compare("==", number)
            for name, how in (("values", streams ^ 1), ("streamed", streams)):
                with code.when(is_form & how):
                    code.call(f"{name}{number}", to, words + (skipped << 2), count, *ends)


def _move(code: Code, size: int) -> None:
    """move<size>(to, strip, rows, count, parameters): elements of a strip to where they lie apart in memory."""
    kind, side = {2: I16, 4: I32, 8: I64}[size], {2: 8, 4: 8, 8: 4}[size]
    with code.function(f"move{size}", (I64, I64, I64, I64, I64)) as (to, strip, rows, count, p):
        jump, row_jump, words_per_element = _parameters(code, p, "jump", "row_jump", "words_per_element")
        pair, zero = words_per_element - 1, code.value(0)

        def place(row: Value, j: Value) -> Value:
            return to + ((j >> pair) * jump + (j & pair) + row * row_jump) * size

        def source(row: Value, j: Value) -> Value:
            return strip + (row * STRIP_CHUNK + j) * size

        # Where rows are neighbours in memory, squares are transposed in registers; otherwise elements go one by one.
        is_transposed = row_jump.compare("==", 1) & words_per_element.compare("==", 1)
        squares = is_transposed.choose(rows & -side, zero), is_transposed.choose(count & -side, zero)
        with code.loop(0, squares[1], side) as j, code.loop(0, squares[0], side) as row:
            square = [code.load(source(row + k, j), kind, side, align=size) for k in range(side)]
            for k, column in enumerate(_transposed(square, 16 // size)):
                code.store(place(row, j + k), column)
        for first_row, first, last_row, last in ((squares[0], zero, rows, squares[1]), (zero, squares[1], rows, count)):
            with code.loop(first, last, 1) as j, code.loop(first_row, last_row, 1) as row:
                code.store(place(row, j), code.load(source(row, j), kind))


def _transposed(rows: Sequence[Value], near: int) -> list[Value]:
    """The columns of a square of as many rows as lanes, in registers; `near` lanes are 128 bits.

    Processors shuffle fastest within 128 bits, above all by the unpack instructions. These interleave the lower, or the
    upper, halves of two rows, so that is the step that is used while groups are smaller than 128 bits. Number rows and
    lanes in binary. Step s (1, 2, 4, ... below `near`) interleaves groups of s lanes from rows i and i + s, whose
    numbers differ in bit s alone: the lower halves become row i, the upper halves row i + s. So bit s of the row's
    number becomes bit s of the lane's, the lane bits from there on move up by one, and the highest of them, which chose
    the half, becomes bit s of the row's number. After all of these steps the lane bits are the row bits, in order, and
    the row bits are the lane bits, the highest first: hence `_reversed_below`. Bits at and above `near` cross 128-bit
    boundaries, and are exchanged directly, one a step. `test_squares_are_transposed` tries all sizes.
    """
    n, near = len(rows), min(near, len(rows))
    step = 1
    while step < n:
        block = near if step < near else 2 * step
        halves = [[b + h * block // 2 + k for b in range(0, n, block) for k in range(block // 2)] for h in (0, 1)]
        result = list(rows)
        for i in range(n):
            if not i & step:
                for h in (0, 1):
                    lanes = [
                        lane
                        for k in range(0, n // 2, step)
                        for row in (0, n)
                        for lane in (row + halves[h][k + s] for s in range(step))
                    ]
                    result[i + h * step] = rows[i].pick(rows[i + step], lanes)
        rows, step = result, 2 * step
    return [rows[_reversed_below(k, near)] for k in range(n)]


def _reversed_below(k: int, limit: int) -> int:
    """k with its bits below a power of two in reverse order."""
    bits = limit.bit_length() - 1
    return k - k % limit + int(f"{k % limit:0{bits}b}"[::-1], 2) if bits else k


def _fill(code: Code, symbol: str) -> None:
    """<symbol>(address, scratch, parameters, unit, low, high): rows of elements, chunk by chunk."""
    with code.function(symbol, (I64, I64, I64, F64, F64, F64), is_public=True) as (address, scratch, p, *ends):
        rows, total, words_per_element, step, jump, row_jump, size, first, row_words = _parameters(
            code, p, "rows", "words", "words_per_element", "step", "jump", "row_jump", "size", "first", "row_words"
        )
        pair, strip = words_per_element - 1, scratch + 3 * WORDS_BYTES
        is_dense = jump.compare("==", words_per_element)

        def place(row: Value, done: Value) -> Value:
            return address + (row * row_jump + (done >> pair) * jump) * size

        def draw(to: Value, row: Value, done: Value, count: Value) -> None:
            word = first + row * row_words + (done >> pair) * step * words_per_element
            code.call("draw", to, scratch, word, count, p, *ends)

        streams = _parameter(code, p, "streams").compare("!=", 0)
        with code.when(is_dense), code.loop(0, rows, 1) as row:
            # The whole elements before the first line boundary; the stream begins after them.
            before = ((code.value(0) - place(row, code.value(0))) & (LINE - 1)) // size
            lead = streams.choose((before & (code.value(0) - words_per_element)).least(total), code.value(0))
            with code.when(lead.compare(">", 0)):
                draw(place(row, code.value(0)), row, code.value(0), lead)
            with code.loop(lead, total, CHUNK) as done:
                draw(place(row, done), row, done, (total - done).least(code.value(CHUNK)))
            with code.when(streams):
                code.fence()
        with (
            code.when(is_dense ^ 1),
            code.loop(0, total, STRIP_CHUNK) as done,
            code.loop(0, rows, STRIP_ROWS) as top,
        ):
            count = (total - done).least(code.value(STRIP_CHUNK))
            some = (rows - top).least(code.value(STRIP_ROWS))
            with code.loop(0, some, 1) as row:
                draw(strip + row * STRIP_CHUNK * size, top + row, done, count)
            for number in (2, 4, 8):
                with code.when(size.compare("==", number)):
                    code.call(f"move{number}", place(top, done), strip, some, count, p)
