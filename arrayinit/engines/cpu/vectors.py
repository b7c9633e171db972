"""The stream for NumPy alone: the reference's integers on unsigned lanes, in place in buffers that stay in the cache.

Only runs of uniform and normal words; whatever else there is, the reference draws.
"""

import functools
import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends.base import coefficients
from arrayinit.deviates import SEGMENT_BITS
from arrayinit.key import Key
from arrayinit.lattice import Plan
from arrayinit.philox import MASK, MULTIPLIERS, ROUNDS, WEYL

__all__ = ["RUN", "bfloat16", "values"]

RUN = 1 << 15  # words drawn at a time


class _Buffers(threading.local):
    """Memory for the lanes of one run, a thread's own."""

    def __init__(self) -> None:
        blocks = RUN // 4 + 1
        self.lanes = np.empty((4, blocks), np.uint64)
        self.spare = np.empty((2, blocks), np.uint64)
        self.words = np.empty((blocks, 4), np.uint64)
        self.wide = np.empty((4, 4 * blocks), np.uint64)
        self.steps = np.arange(blocks, dtype=np.uint64)


_buffers = _Buffers()
U = np.uint64
LANE, HALF = U(MASK), U(32)


def values(plan: Plan, key: Key, first: int, count: int) -> npt.NDArray[Any]:
    """The real numbers of words first to first + count - 1, in the wide format of the plan; count <= RUN."""
    skipped = first % 4
    words = _words(key, first // 4, (skipped + count + 3) // 4).reshape(-1)[skipped : skipped + count]
    k = _uniform(plan, words) if plan.kind == "uniform" else _normal(plan, words)
    k >>= plan.lattice.shift
    k += plan.lattice.offset
    wide = np.float64 if plan.format.wide == "float64" else np.float32
    result: npt.NDArray[Any] = k.astype(wide)
    result *= wide(math.ldexp(1.0, plan.lattice.exponent))
    if plan.low is not None and plan.high is not None:
        np.clip(result, wide(plan.low), wide(plan.high), out=result)
    return result


def bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper halves of finite float32 values, rounded to nearest even."""
    bits = values.view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= np.uint32(16)
    return rounded.astype(np.uint16)


def _words(key: Key, block: int, count: int) -> npt.NDArray[np.uint64]:
    """The words of blocks block to block + count - 1, one row a block."""
    memory = _buffers
    c0, c1, c2, c3 = memory.lanes[:, :count]
    p0, p1 = memory.spare[:, :count]
    np.add(memory.steps[:count], U(block), out=c0)
    np.right_shift(c0, HALF, out=c1)
    c2.fill(0)
    c3.fill(0)
    k0, k1 = key.low, key.high
    for _ in range(ROUNDS):
        np.bitwise_and(c0, LANE, out=c0)
        np.bitwise_and(c2, LANE, out=c2)
        np.multiply(c0, U(MULTIPLIERS[0]), out=p0)
        np.multiply(c2, U(MULTIPLIERS[1]), out=p1)
        np.right_shift(p1, HALF, out=c0)
        np.bitwise_xor(c0, c1, out=c0)
        np.bitwise_xor(c0, U(k0), out=c0)
        np.right_shift(p0, HALF, out=c2)
        np.bitwise_xor(c2, c3, out=c2)
        np.bitwise_xor(c2, U(k1), out=c2)
        # What is above the low halves is never looked at.
        c1, p1 = p1, c1
        c3, p0 = p0, c3
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    words = memory.words[:count]
    for j, lane in enumerate((c0, c1, c2, c3)):
        np.bitwise_and(lane, LANE, out=words[:, j])
    return words


def _uniform(plan: Plan, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """deviate * scale."""
    u = _buffers.wide[0, : len(words)]
    np.right_shift(words, U(1), out=u)
    u *= U(plan.lattice.scale)
    return u.view(np.int64)


@functools.cache
def _parabolas() -> tuple[npt.NDArray[np.uint64], ...]:
    """c0, c1 and c2 by (exponent, segment) of a word as a float64: the octaves of the table in reverse."""
    octaves = coefficients()[:, : 32 << SEGMENT_BITS].reshape(3, 32, -1)[:, ::-1]
    return tuple(np.ascontiguousarray(c).reshape(-1).astype(np.uint64) for c in octaves)


def _normal(plan: Plan, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """deviate * scale. A float64 holds the leading zeros of w | 1 as its exponent, and the rest as its digits."""
    segment, t, z, slope = _buffers.wide[:, : len(words)]
    np.bitwise_or(words, U(1), out=t)
    np.copyto(z.view(np.float64), t.view(np.int64))
    digits = z
    np.right_shift(digits, U(52 - SEGMENT_BITS), out=segment)
    segment -= U(1023 << SEGMENT_BITS)
    np.right_shift(digits, U(52 - SEGMENT_BITS - 32), out=t)
    t &= LANE
    index = segment.view(np.int64)
    c0, c1, c2 = _parabolas()
    np.take(c2, index, out=slope, mode="clip")
    slope *= t
    slope >>= HALF
    np.take(c1, index, out=z, mode="clip")
    z -= slope
    z *= t
    z >>= HALF
    np.take(c0, index, out=slope, mode="clip")
    slope -= z
    # The sign: x ^ -1 + 1 is -x; times the scale in two's complement.
    np.bitwise_and(words, U(1), out=t)
    np.negative(t, out=t)
    slope ^= t
    slope -= t
    k: npt.NDArray[np.int64] = slope.view(np.int64)
    k *= plan.lattice.scale
    return k
