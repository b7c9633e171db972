"""Launches: a job and the strides of its target -> kernels, each with its block of parameters."""

import functools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from arrayinit.backends.base import coefficients
from arrayinit.engines.cuda.parameters import MAX_DIGITS, PARAMETERS
from arrayinit.job import Job
from arrayinit.key import Key
from arrayinit.laws import Bits
from arrayinit.laws.lattice import Sampling
from arrayinit.laws.regions import Axis, merged
from arrayinit.stream.deviates import SEGMENT_BITS, Z_BITS
from arrayinit.stream.formats import real_name
from arrayinit.stream.philox import MASK, ROUNDS, VALUES, WEYL
from arrayinit.stream.quantile_tables import Quantiles
from arrayinit.stream.truncation import P_BITS, Interval

__all__ = ["Grid", "Launch", "grid", "kept_launches", "launches"]

LIMIT = 1 << 31  # words of a launch; a larger draw takes several
SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "uint32": 4}
OCTAVES = 32  # that the words of a normal law reach
REMEMBERED = 64  # launches of a draw that are kept for the next draw of the kind
THREADS = 256  # of a block that copies no table
WIDE_THREADS = (1024, 512)  # of a block that copies one: the first number of which a multiple fills a processor

_WHOLE = np.dtype([("parameters", f"V{PARAMETERS.itemsize}")])
_HEAD = struct.Struct(f"=Q{2 * ROUNDS}I2Q")  # the fields from `address` to `units`


@dataclass(frozen=True)
class Launch:
    """A launch of a kernel, without the key and the address of the array."""

    way: str  # "dense" or "strided"
    kind: str
    form: str
    items: int
    shared: int  # bytes of shared memory
    offset: int  # bytes from the address of the array
    quantiles: Quantiles | None  # the table of a law by a table
    rest: bytes  # of the block of parameters, behind the key and the addresses

    @property
    def name(self) -> str:
        """Kernel symbol, e.g. `dense_normal_float32`."""
        return f"{self.way}_{self.kind}_{self.form}"

    @property
    def is_wide(self) -> bool:
        """Whether each block of threads copies a table, so that there should be few of them."""
        return self.shared > 0

    def data(self, address: int, key: Key, columns: int = 0, units: int = 0) -> bytearray:
        """The whole block of parameters; `columns` and `units` are addresses for a law by a table."""
        head = _HEAD.pack(address + self.offset, *_round_keys(key.low, key.high), columns, units)
        return bytearray(head + self.rest)

    def block(
        self, address: int, key: Key, columns: int = 0, units: int = 0
    ) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
        """The same as an array of one structure, which CuPy passes by value.

        The structure has a single field, because NumPy describes all fields anew for each launch. With the fields of
        `PARAMETERS` that took longer than the rest of a launch.
        """
        return np.frombuffer(self.data(address, key, columns, units), _WHOLE)


_ROUND_STEPS = tuple((turn * WEYL[0], turn * WEYL[1]) for turn in range(ROUNDS))


def _round_keys(low: int, high: int) -> list[int]:
    return [key & MASK for step, other in _ROUND_STEPS for key in (low + step, high + other)]


class Grid(NamedTuple):
    """Threads of a block, and as many blocks as a device runs at once."""

    threads: int
    most: int

    def blocks(self, items: int) -> int:
        """Blocks of a launch: as many as there is work for, and no more than run at once."""
        return min(-(-items // self.threads), self.most)


def grid(processors: int, room: int, register_room: int, registers: int, is_wide: bool) -> Grid:
    """The grid of a kernel on a device with so many processors, each with room for so many threads and registers.

    Registers are given out in eights for each thread.
    """
    threads = THREADS
    if is_wide:
        threads = next((n for n in WIDE_THREADS if room % n == 0), WIDE_THREADS[-1])
    at_once = min(room // threads, register_room // (-(-registers // 8) * 8 * threads))
    return Grid(threads, processors * max(at_once, 1))


def kept_launches(job: Job, strides: tuple[int, ...], address: int) -> list[Launch] | None:
    """The launches that fill the array at this address, kept for the next draw of the kind.

    None where there are too many axes, and where a number is not at a multiple of its size, as devices demand.
    """
    key = ("cuda", strides)
    cached: list[Launch] | None = job.memo.get(key)
    if cached is None and key not in job.memo:
        cached = launches(job, strides)
        if cached is not None and any(stride % SIZES[launch.form] for launch in cached for stride in strides):
            cached = None
        if cached is None or len(cached) <= REMEMBERED:
            job.memo[key] = cached
    return None if cached is None or address % SIZES[cached[0].form] else cached


def launches(job: Job, strides: tuple[int, ...]) -> list[Launch] | None:
    """The launches that fill an array with these strides in bytes; None where it has too many axes.

    One launch draws fewer than 2**31 words; larger arrays take several.
    """
    region, axes = job.placed
    words_per_element = 1 if job.sampling is None else job.sampling.words_per_element
    first, offset = region.offset * words_per_element, 0
    forwards: list[Axis] = []
    for count, step, axis in zip(region.counts, region.strides, axes, strict=True):
        step, jump = step * words_per_element, strides[axis]
        if step < 0:  # from the other end of the axis
            first, offset = first + (count - 1) * step, offset + (count - 1) * jump
            step, jump = -step, -jump
        forwards.append((count, step, jump))
    few = merged(forwards)
    return list(_launches(job, words_per_element, few, first, offset)) if len(few) < MAX_DIGITS else None


def _launches(job: Job, words_per_element: int, axes: list[Axis], first: int, offset: int) -> Iterator[Launch]:
    if math.prod(count for count, _, _ in axes) * words_per_element >= LIMIT:
        longest = max(range(len(axes)), key=lambda k: axes[k][0])
        count, step, jump = axes[longest]
        half = count // 2 & -4 if count > 8 else count // 2
        for start, length in ((0, half), (half, count - half)):
            half_axes = [*axes[:longest], (length, step, jump), *axes[longest + 1 :]]
            yield from _launches(job, words_per_element, half_axes, first + start * step, offset + start * jump)
        return
    kind, form, rows, law_fields = _law_fields(job.sampling)
    size = SIZES[form] * words_per_element
    fields = np.zeros((), PARAMETERS)
    for name, value in law_fields.items():
        fields[name] = value
    run, others = (1, words_per_element, size), axes
    if axes and axes[-1][1] == words_per_element:
        run, others = axes[-1], axes[:-1]
    words = run[0] * words_per_element
    fields["purpose"] = job.law.purpose if isinstance(job.law, Bits) else VALUES
    fields["first"], fields["words"], fields["jump"], fields["pair"] = first, words, run[2], words_per_element - 1
    # A run begins at word `first % 4` of a block, plus multiples of the steps of the other axes. So it is known up to
    # multiples of the common divisor of 4 and all steps, and the latest place that is possible counts for all runs.
    common = math.gcd(4, *(step for _, step, _ in others))
    blocks = -(-(first % common + 4 - common + words) // 4)
    is_dense = not others and run[2] == size
    items = blocks * math.prod(count for count, _, _ in others)
    fields["items"] = items
    if not is_dense:
        _set_digits(fields, others, (blocks, 0, 0), run[2])
    way = "dense" if is_dense else "strided"
    quantiles = None if job.sampling is None else job.sampling.quantiles
    shared = 8 * rows << SEGMENT_BITS if quantiles is None else sum(column.nbytes for column in quantiles.columns)
    yield Launch(
        way=way,
        kind=kind,
        form=form,
        items=items,
        shared=shared,
        offset=offset,
        quantiles=quantiles,
        rest=fields.tobytes()[_HEAD.size :],
    )


def _set_digits(fields: "np.ndarray[tuple[()], np.dtype[np.void]]", axes: list[Axis], run: Axis, jump: int) -> None:
    """Set the digits of an item's number: those with the shortest steps in memory first, since neighbours write there.

    The kernel divides by a multiplication. With 2**bits the power of two at or above count, magic is
    2**(31 + bits) / count rounded up, too much by less than 1. So i * magic / 2**(31 + bits) exceeds i / count by less
    than i / 2**(31 + bits) <= 1 / count for i < 2**31, and its integer part is that of i / count.
    """
    order = sorted([(abs(axis[2]), axis) for axis in axes] + [(abs(jump), run)], key=lambda pair: pair[0])
    for place, (_, (count, step, reach)) in enumerate(order):
        bits = (count - 1).bit_length()
        fields["counts"][place] = count
        fields["magic"][place] = -(-(1 << (31 + bits)) // count)
        fields["magic_shifts"][place] = 31 + bits
        fields["word_steps"][place] = step
        fields["place_steps"][place] = reach
    fields["digits"] = len(order)
    fields["run_digit"] = next(place for place, (_, axis) in enumerate(order) if axis is run)


@functools.lru_cache(maxsize=4096)
def _law_fields(sampling: Sampling | None) -> tuple[str, str, int, dict[str, int | float]]:
    """Kind, format, octaves of the table, and the fields for how a word becomes a value."""
    if sampling is None:
        return "words", "uint32", 0, {}
    lattice, form = sampling.lattice, real_name(sampling.dtype)
    unit = math.ldexp(1.0, lattice.exponent)
    low, high = (0.0, 0.0) if sampling.low is None or sampling.high is None else (sampling.low, sampling.high)
    fields: dict[str, int | float] = {"unit": unit, "lowest": low, "highest": high}
    if form != "float64":
        fields |= {"unit32": unit, "lowest32": low, "highest32": high}
    if sampling.kind == "uniform":
        spans = lattice.scale > MASK  # 2**32
        fields |= {"addend": lattice.offset, "scale": lattice.scale - spans, "lowest_bit": int(spans)}
        return sampling.kind, form, 0, fields
    if sampling.quantiles is not None:
        return sampling.kind, form, 0, fields
    rows, octave = OCTAVES, 0
    fields |= {"addend": lattice.offset << lattice.shift, "scale": lattice.scale, "shift": lattice.shift}
    if sampling.interval is not None:
        # p is never 0, which the kernel relies on: an interval from p = 0 on goes up to a quarter of the whole.
        assert sampling.interval.low or sampling.interval.range_high > 1
        rows, octave = _octaves(sampling.interval), sampling.interval.octave
        fields |= {
            "low": sampling.interval.low,
            "range": (sampling.interval.range_high << 31) + sampling.interval.range_low,
            "last": (1 << (P_BITS - 1)) - 1 if sampling.interval.folds else (1 << 63) - 1,
            "is_lower": int(sampling.interval.lower),
        }
    else:
        assert lattice.shift == Z_BITS + 3
    return sampling.kind, form, rows, fields | {"octave": octave, "rows": rows, "c0_bits": _c0_bits(octave, rows)}


def _octaves(interval: Interval) -> int:
    """How many octaves of the table the words of a truncated law reach."""
    half = 1 << (P_BITS - 1)
    span = (interval.range_high << 31) + interval.range_low
    smallest = half
    for word in (1, MASK):  # p grows with the word, so that p, folded or not, is smallest at one of the ends
        p = interval.low + (word * span >> 32)
        if interval.folds and p > half - 1:
            p = 2 * half - p
        smallest = min(smallest, max(p, 1))
    return P_BITS - 1 - min(smallest, half - 1).bit_length() + 1


def _c0_bits(octave: int, rows: int) -> int:
    """Where c0 begins in a packed row of 64 bits, above 13 bits of c2 and 20 or 21 of c1.

    It takes 31 bits beyond octave 48, and c1 takes 21 in octaves 0 to 2. No law reaches both: the largest p that it
    draws is at most its smallest one and 2**32 times that.
    """
    c0, c1, c2 = (column[octave << SEGMENT_BITS : (octave + rows) << SEGMENT_BITS] for column in coefficients())
    bits = 33 if int(c0.max()) >= 1 << 30 else 34
    assert int(c0.max()) < 1 << (64 - bits)
    assert int(c1.max()) < 1 << (bits - 13)
    assert int(c2.max()) < 1 << 13
    return bits
