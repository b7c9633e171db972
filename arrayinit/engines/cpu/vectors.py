"""The stream for NumPy alone: the reference's integers on unsigned lanes, in buffers that are used again.

This draws runs of uniform and normal words only; the reference draws all else.
"""

import functools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends.base import coefficients
from arrayinit.key import Key
from arrayinit.laws.lattice import Sampling
from arrayinit.stream.deviates import SEGMENT_BITS
from arrayinit.stream.philox import MASK, MULTIPLIERS, ROUNDS, WEYL

__all__ = ["RUN", "Buffers", "bfloat16", "borrowed", "values"]

# Words drawn at a time. Fewer would fit the caches better, but threads hand over the interpreter's lock at each step,
# which takes longer than the memory does.
RUN = 1 << 17


class Buffers:
    """Memory for one run."""

    def __init__(self) -> None:
        blocks = RUN // 4 + 1
        self.steps = np.arange(blocks, dtype=np.uint64)
        self.words = np.empty((blocks, 4), np.uint32)
        self.spare = np.empty(4 * blocks, np.uint32)
        self.wide = np.empty((4, 4 * blocks), np.uint64)
        self.lanes = self.wide.reshape(-1)[: 6 * blocks].reshape(6, blocks)


class _Spare(threading.local):
    """Buffers that no draw of this thread is using, so that a draw by a signal handler takes others."""

    def __init__(self) -> None:
        self.buffers: list[Buffers] = []


_spare = _Spare()
U = np.uint64
LANE, HALF, ONE = U(MASK), U(32), np.uint32(1)


@contextmanager
def borrowed() -> Iterator[Buffers]:
    """Buffers that nothing else uses, kept for the next draw of this thread."""
    buffers = _spare.buffers.pop() if _spare.buffers else Buffers()
    try:
        yield buffers
    finally:
        _spare.buffers.append(buffers)


def values(buffers: Buffers, sampling: Sampling, key: Key, first: int, count: int) -> npt.NDArray[Any]:
    """The real numbers of words first to first + count - 1, in the wide format of the sampling; count <= RUN.

    They lie in the buffers, whose next use overwrites them.
    """
    skipped = first % 4
    words = _words(buffers, key, first // 4, (skipped + count + 3) // 4).reshape(-1)[skipped : skipped + count]
    k = _uniform(buffers, sampling, words) if sampling.kind == "uniform" else _normal(buffers, sampling, words)
    k >>= sampling.lattice.shift
    if sampling.lattice.offset:
        k += sampling.lattice.offset
    wide = np.float64 if sampling.format.wide == "float64" else np.float32
    result: npt.NDArray[Any] = buffers.wide[1].view(wide)[:count]
    np.copyto(result, k, casting="same_kind")
    result *= wide(math.ldexp(1.0, sampling.lattice.exponent))
    if sampling.low is not None and sampling.high is not None:
        np.clip(result, wide(sampling.low), wide(sampling.high), out=result)
    return result


def bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper halves of finite float32 values, rounded to nearest even."""
    bits = values.view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= ONE
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= np.uint32(16)
    return rounded.astype(np.uint16)


def _words(buffers: Buffers, key: Key, block: int, count: int) -> npt.NDArray[np.uint32]:
    """The words of blocks block to block + count - 1, one row a block."""
    words = buffers.words[:count]
    same = min(count, 2**32 - block % 2**32)  # block numbers that share their upper half
    _blocks(buffers, key, block, words[:same])
    if same < count:
        _blocks(buffers, key, block + same, words[same:])
    return words


def _blocks(buffers: Buffers, key: Key, block: int, words: npt.NDArray[np.uint32]) -> None:
    """`philox4x32` of (block, block >> 32, 0, 0), for block numbers that share their upper half."""
    (m0, m1), (k0, k1) = MULTIPLIERS, (key.low, key.high)
    c0, c1, c2, c3, p0, p1 = buffers.lanes[:, : len(words)]
    # The first round. Before it c1, c2 and c3 are the same for all blocks, so after it c0 and c1 are.
    np.add(buffers.steps[: len(words)], U(block & MASK), out=c0)
    np.multiply(c0, U(m0), out=c3)
    np.right_shift(c3, HALF, out=c2)
    np.bitwise_xor(c2, U(k1), out=c2)
    n0 = (block >> 32) ^ k0
    k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    # The second round. After it c3 is the same for all blocks.
    np.multiply(c2, U(m1), out=c1)
    np.right_shift(c1, HALF, out=c0)
    np.bitwise_xor(c0, U(k0), out=c0)
    product = n0 * m0
    np.bitwise_xor(c3, U((product >> 32) ^ k1), out=c2)
    np.bitwise_and(c2, LANE, out=c2)
    c3.fill(product & MASK)
    for _ in range(ROUNDS - 2):
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
        np.multiply(c0, U(m0), out=p0)
        np.multiply(c2, U(m1), out=p1)
        np.right_shift(p1, HALF, out=c0)
        np.bitwise_xor(c0, c1, out=c0)
        np.bitwise_xor(c0, U(k0), out=c0)
        np.bitwise_and(c0, LANE, out=c0)
        np.right_shift(p0, HALF, out=c2)
        np.bitwise_xor(c2, c3, out=c2)
        np.bitwise_xor(c2, U(k1), out=c2)
        np.bitwise_and(c2, LANE, out=c2)
        c1, p1 = p1, c1  # nothing reads the high halves of c1 and c3
        c3, p0 = p0, c3
    for j, lane in enumerate((c0, c1, c2, c3)):
        np.copyto(words[:, j], lane, casting="same_kind")


def _uniform(buffers: Buffers, sampling: Sampling, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """deviate * scale."""
    u = buffers.wide[0, : len(words)]
    words >>= ONE
    np.copyto(u, words)
    u *= U(sampling.lattice.scale)
    return u.view(np.int64)


@functools.cache
def _parabolas() -> npt.NDArray[np.uint64]:
    """c0 + 2**30 c1 + 2**51 c2 by (exponent, segment) of a word as a float64: the table's octaves in reverse order."""
    octaves = coefficients()[:, : 32 << SEGMENT_BITS].reshape(3, 32, -1)[:, ::-1]
    c0, c1, c2 = (c.reshape(-1).astype(np.uint64) for c in octaves)
    packed: npt.NDArray[np.uint64] = c0 | (c1 << U(30)) | (c2 << U(51))
    return packed


def _normal(buffers: Buffers, sampling: Sampling, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """deviate * scale. A float64 holds the leading zeros of w | 1 as its exponent, and the rest as its digits."""
    z, slope, t, index = buffers.wide[:, : len(words)]
    small = buffers.spare[: len(words)]
    np.bitwise_or(words, ONE, out=small)
    np.copyto(z.view(np.float64), small)
    np.right_shift(z, U(52 - SEGMENT_BITS), out=index)
    index -= U(1023 << SEGMENT_BITS)
    np.right_shift(z, U(52 - SEGMENT_BITS - 32), out=t)
    t &= LANE
    np.take(_parabolas(), index.view(np.int64), out=z, mode="clip")
    # z = c0 - (((c1 - ((c2 * t) >> 32)) * t) >> 32)
    c2 = index
    np.right_shift(z, U(51), out=c2)
    c2 *= t
    c2 >>= HALF
    np.right_shift(z, U(30), out=slope)
    slope &= U((1 << 21) - 1)
    slope -= c2
    slope *= t
    slope >>= HALF
    z &= U((1 << 30) - 1)
    z -= slope
    # The sign: x ^ -1 + 1 is -x.
    np.bitwise_and(words, ONE, out=small)
    sign = small.view(np.int32)
    np.negative(sign, out=sign)
    k: npt.NDArray[np.int64] = z.view(np.int64)
    np.bitwise_xor(k, sign, out=k)
    k -= sign
    k *= sampling.lattice.scale
    return k
