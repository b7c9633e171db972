"""A draw into memory with these strides -> what a Triton kernel is told: numbers, and what it is compiled for."""

import math
import struct
from dataclasses import dataclass
from typing import Any

from arrayinit.deviates import SEGMENT_BITS
from arrayinit.formats import real_name
from arrayinit.job import Job
from arrayinit.lattice import LATTICE_BITS, Plan
from arrayinit.laws import Words
from arrayinit.philox import MASK, VALUES
from arrayinit.regions import Region
from arrayinit.tails import OCTAVES, TAIL_BITS

__all__ = ["AXES", "BIAS", "BLOCKS", "PACKING", "TILE", "Axis", "Call", "axes_of", "call_of", "can_draw"]

BIAS = 127  # of the exponents of float32, by which entries of the table are ordered
PACKING = (30, 21, 13)  # bits of an entry that c0, c1 and c2 take, from the lowest on; far out c0 has one bit more
BLOCKS = 512  # of a program that draws a run, four for each of its threads: one's products while others wait
TILE = 256  # of one that draws rows, whose places take registers too
WIDTH = 8  # of a tile that memory runs across: 32 words, and as many rows, so that whole lines are written
AXES = 4  # that rows may be repeated along
PROGRAMS = (1 << 31) - 1  # of a launch


@dataclass(frozen=True)
class Axis:
    """Elements that are `step` apart in the stream and `jump` apart in memory."""

    count: int
    step: int
    jump: int


@dataclass(frozen=True)
class Call:
    """A launch, without the tensor and the key."""

    is_run: bool
    programs: int
    numbers: dict[str, int]  # by the kernel's own names, as are its constants
    constants: dict[str, Any]

    @property
    def looks_up(self) -> bool:
        """Whether it takes the table."""
        return self.constants["kind"] in ("normal", "truncated")


def can_draw(job: Job) -> bool:
    """Whether the kernels know the law."""
    return isinstance(job.law, Words) or (job.plan is not None and job.plan.kind in ("uniform", "normal", "truncated"))


def call_of(job: Job, strides: tuple[int, ...], large: int) -> Call | None:
    """The launch that draws a job, or None where one is not enough: for more than six axes that are all apart.

    `strides` are those of memory, in elements; `large` entries of the table have a c0 of 31 bits.
    """
    region, order = job.placed
    first, start, axes = axes_of(region, tuple(strides[axis] for axis in order))
    numbers, constants = _law(job.plan, large)
    numbers["purpose"] = job.law.purpose if isinstance(job.law, Words) else VALUES
    parts = 1 if job.plan is None else job.plan.parts
    if not axes or axes == [Axis(job.size, 1, 1)]:
        words = job.size * parts
        skip = first * parts % 4
        numbers |= {"skip": skip, "block": first * parts // 4, "count": words}
        return Call(True, -(-(skip + words) // (4 * BLOCKS)), numbers, constants | {"blocks": BLOCKS})
    return _rows(first, start, axes, parts, numbers, constants)


def axes_of(region: Region, jumps: tuple[int, ...]) -> tuple[int, int, list[Axis]]:
    """The first element and its place, and as few axes as there can be, with steps forwards and the smallest one last.

    `jumps` are the strides in memory of the region's axes.
    """
    first, start = region.offset, 0
    axes: list[Axis] = []
    for count, step, jump in zip(region.counts, region.strides, jumps, strict=True):
        if count == 1:
            continue
        if step < 0:
            first, start = first + (count - 1) * step, start + (count - 1) * jump
            step, jump = -step, -jump
        if axes and axes[-1].step == step * count and axes[-1].jump == jump * count:
            axes[-1] = Axis(axes[-1].count * count, step, jump)
        else:
            axes.append(Axis(count, step, jump))
    return first, start, axes


def _rows(
    first: int, start: int, axes: list[Axis], parts: int, numbers: dict[str, int], constants: dict[str, Any]
) -> Call | None:
    runs = axes[-1].step == 1
    if runs and axes[-1].jump == 1 and parts == 2:  # then the two numbers of an element are elements themselves
        axes = [*(Axis(a.count, 2 * a.step, 2 * a.jump) for a in axes[:-1]), Axis(2 * axes[-1].count, 1, 1)]
        first, start, parts = 2 * first, 2 * start, 1
    elements = axes[-1] if runs else min(axes, key=_distance)
    others = [axis for axis in axes if axis is not elements]
    is_across = any(_distance(axis) < _distance(elements) for axis in others)
    rows = min(others, key=_distance) if is_across else max(others, key=_count, default=Axis(1, 0, 0))
    repeats = [axis for axis in others if axis is not rows]
    if len(repeats) > AXES:
        return None
    if runs:
        # A row may begin at any word of a block, unless all of them begin at the same one.
        alike = all(axis.step * parts % 4 == 0 for axis in others)
        columns = -(-((first * parts % 4 if alike else 3) + elements.count * parts) // 4)
    else:
        columns = elements.count
    width = min(_power(columns), WIDTH if is_across else TILE)
    height = min(_power(rows.count), TILE // width)
    width = min(_power(columns), TILE // height)
    tiles, row_tiles = -(-columns // width), -(-rows.count // height)
    programs = tiles * row_tiles * math.prod(axis.count for axis in repeats)
    if programs > PROGRAMS:
        return None
    numbers |= {
        "first": first * parts,
        "rows": rows.count,
        "row_step": rows.step * parts,
        "row_jump": rows.jump * parts,
    }
    numbers |= {"count": elements.count, "step": elements.step * parts, "jump": elements.jump * parts}
    numbers |= {"start": start * parts, "tiles": tiles, "row_tiles": row_tiles}
    for k, axis in enumerate([*repeats, *[Axis(1, 0, 0)] * (AXES - len(repeats))]):
        numbers |= {f"count{k}": axis.count, f"step{k}": axis.step * parts, f"jump{k}": axis.jump * parts}
    constants |= {"axes": len(repeats), "parts": parts, "runs": runs, "height": height, "width": width}
    return Call(False, programs, numbers, constants)


def _distance(axis: Axis) -> int:
    return abs(axis.jump)


def _count(axis: Axis) -> int:
    return axis.count


def _power(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def _law(plan: Plan | None, large: int) -> tuple[dict[str, int], dict[str, Any]]:
    """What words become: themselves, where there is no plan."""
    numbers = dict.fromkeys(("scale", "offset", "unit", "lowest", "highest"), 0)
    numbers |= dict.fromkeys(("base", "p_low", "range_high", "range_low", "lower", "large"), 0)
    constants: dict[str, Any] = {"kind": "words", "form": "uint32", "shift": 0, "folds": False}
    if plan is None:
        return numbers, constants
    lattice, form, tail = plan.lattice, real_name(plan.dtype), plan.tail
    constants |= {"kind": plan.kind, "form": form, "shift": lattice.shift}
    wide = "<d" if form == "float64" else "<f"
    numbers["unit"] = _bits(math.ldexp(1.0, lattice.exponent), wide)
    numbers["lowest"], numbers["highest"] = _bits(plan.low or 0.0, wide), _bits(plan.high or 0.0, wide)
    if plan.kind == "uniform":
        assert lattice.shift == LATTICE_BITS
        constants["shift"] = 0 if lattice.scale > MASK else LATTICE_BITS  # 0 stands for a scale of 2**32
    numbers["offset"], numbers["scale"] = lattice.offset, lattice.scale & MASK
    if tail is not None:
        span = (tail.range_high << 31) | tail.range_low
        numbers |= {"p_low": tail.low, "range_high": span >> 32, "range_low": span & MASK, "lower": int(tail.lower)}
        # Entries are found by p's exponent: this is where those of exponent -127 would begin. The first `large` ones of
        # the table have a c0 of 31 bits.
        numbers["base"] = (OCTAVES - 1 - (TAIL_BITS - 2) - tail.octave - BIAS) << SEGMENT_BITS
        numbers["large"] = large
        constants["folds"] = tail.folds
    return numbers, constants


def _bits(x: float, form: str) -> int:
    """The bits of a float as a signed integer."""
    (bits,) = struct.unpack("<q" if form == "<d" else "<i", struct.pack(form, x))
    return int(bits)
