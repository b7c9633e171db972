"""The sum behind a fingerprint: a hash of each element and its number, added up in any order.

Elements are numbered in canonical order, and consist of k words of at most 32 bits: k = 1 up to 4 bytes, 2 for float64,
int64 and complex64 (real, imaginary), 4 for complex128; the lower half of 64 bits comes first. Word j of element i has
the number n = k * i + j and the value w, its bits as an integer. With all arithmetic modulo 2^64,

    x = mix(n * PHI + w),    mix(z) = (z ^ z >> 30) * M0
    first  = f ^ f >> 31,    f = (x ^ x >> 27) * M1
    second = s ^ s >> 29,    s = (x ^ x >> 33) * M2

and the sum is that of `first` and that of `second` over all words, 128 bits together.

Every step from w to `first`, and to `second`, is a bijection of 64 bits for a given n. So another value of one word
always changes both sums. If several words change, or change places, n * PHI + w takes other values: multiples of PHI,
2^64 over the golden ratio, keep more than 2^32 apart for the first 1.9e9 words, so that no two (n, w) of these share
one. The sums then stay equal only if differences of outputs of two different hashes cancel in both, as independent
random 128 bits would with probability 2^-128. That is a heuristic, not a proof, and anyone who sets out to can
construct arrays with equal sums: this is a check against mistakes, not against an adversary.

Sources: n * PHI, `mix` and `first` are SplitMix64 with Stafford's variant 13 (Steele, Lea and Flood, Fast Splittable
Pseudorandom Number Generators, OOPSLA 2014, section 5); M2 is the second multiplier of MurmurHash3's 64-bit finalizer
(Appleby).
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from arrayinit.common.memory_maps import release
from arrayinit.engines.cpu.pool import each

__all__ = ["MASK", "Sums", "added", "sums"]

Sums: TypeAlias = tuple[int, int]
Piece: TypeAlias = tuple[npt.NDArray[Any], int]  # elements, and the number of the first of them

MASK = (1 << 64) - 1
PHI = 0x9E3779B97F4A7C15
M0, M1, M2 = (np.uint64(m) for m in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xC4CEB9FE1A85EC53))
S27, S29, S30, S31, S33, S32 = (np.uint64(s) for s in (27, 29, 30, 31, 33, 32))
LOW = np.uint64(0xFFFFFFFF)

CHUNK = 1 << 14  # words whose hashes stay in the cache of a core
SHARE = 1 << 19  # elements that a thread takes at a time
SLAB = 1 << 26  # bytes after which the pages of a memory map are released


def added(*parts: Sums) -> Sums:
    """The sums of disjoint parts together."""
    return sum(a for a, _ in parts) & MASK, sum(b for _, b in parts) & MASK


def sums(x: npt.NDArray[Any], steps: Sequence[int], first: int) -> Sums:
    """The two sums over an array whose element (j, ...) has the number first + sum_k j_k * steps[k].

    Raises:
        TypeError: a dtype without numbers, or of another size than 1, 2, 4 or 8 bytes, 8 or 16 where it is complex.
    """
    words = max(1, x.itemsize // 4)
    size = x.itemsize // 2 if x.dtype.kind == "c" else x.itemsize
    is_plain = x.dtype.kind in "?biufcmM" or (x.dtype.kind == "V" and x.dtype.type is not np.void)
    if not is_plain or size not in (1, 2, 4, 8):
        raise TypeError(f"`x` must be an array of numbers of 1, 2, 4 or 8 bytes; got dtype {x.dtype}")
    axes = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))  # as they lie in memory
    x = x.transpose(axes)
    steps = tuple(words * steps[axis] for axis in axes)
    total = (0, 0)
    for slab, start in _cut(x, steps, words * first, max(1, SLAB // x.itemsize)):
        total = added(total, _threaded(slab, steps, start))
        if slab.size < x.size:
            release(x)
    return total


def _threaded(x: npt.NDArray[Any], steps: tuple[int, ...], first: int) -> Sums:
    shares = list(_cut(x, steps, first, SHARE))
    results = [(0, 0)] * len(shares)

    def work(i: int) -> None:
        results[i] = _alone(shares[i], steps)

    each(work, len(shares))
    return added(*results)


def _alone(share: Piece, steps: tuple[int, ...]) -> Sums:
    buffers = np.empty((3, min(CHUNK, share[0].size)), np.uint64)
    return added(
        *(
            _hashed(words, own, start + offset, buffers)
            for x, start in _cut(share[0], steps, share[1], CHUNK)
            for own in (steps[len(steps) - x.ndim :],)
            for offset, words in _words(x)
        )
    )


def _words(x: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """(number in an element, values) of the words of all elements."""
    parts = (x.real, x.imag) if x.dtype.kind == "c" else (x,)
    number = 0
    for part in parts:
        bits = part.view(np.dtype(f"u{part.itemsize}").newbyteorder(part.dtype.byteorder))
        if part.itemsize < 8:
            yield number, bits
            number += 1
        else:
            yield number, bits & LOW
            yield number + 1, bits >> S32
            number += 2


def _hashed(words: npt.NDArray[Any], steps: tuple[int, ...], first: int, buffers: npt.NDArray[np.uint64]) -> Sums:
    x, f, s = (buffer[: words.size].reshape(words.shape) for buffer in buffers)
    np.add(_offsets(words.shape, steps), np.uint64(first * PHI & MASK), out=x)
    np.add(x, words, out=x)
    np.right_shift(x, S30, out=f)
    np.bitwise_xor(x, f, out=x)
    np.multiply(x, M0, out=x)
    return _lane(x, S27, M1, S31, f, s), _lane(x, S33, M2, S29, f, s)


def _lane(
    x: npt.NDArray[Any], shift: np.uint64, multiplier: np.uint64, last: np.uint64,
    f: npt.NDArray[Any], s: npt.NDArray[Any],
) -> int:  # fmt: skip
    np.right_shift(x, shift, out=f)
    np.bitwise_xor(f, x, out=f)
    np.multiply(f, multiplier, out=f)
    np.right_shift(f, last, out=s)
    np.bitwise_xor(f, s, out=f)
    return int(f.sum())  # modulo 2^64


@functools.lru_cache(maxsize=16)
def _offsets(counts: tuple[int, ...], steps: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """PHI times the numbers of words, counted from the first one. At most CHUNK of them are kept at a time."""
    result = np.zeros(counts, np.uint64)
    for axis, (count, step) in enumerate(zip(counts, steps, strict=True)):
        along = np.arange(count, dtype=np.uint64) * np.uint64(step * PHI & MASK)
        result += along.reshape((count,) + (1,) * (len(counts) - axis - 1))
    return result


def _cut(x: npt.NDArray[Any], steps: tuple[int, ...], first: int, limit: int) -> Iterator[Piece]:
    """Pieces of at most `limit` elements; axes are cut, or dropped, from the first one on."""
    if x.size <= limit:
        if x.size:
            yield x, first
        return
    steps = steps[len(steps) - x.ndim :]
    rows = limit * len(x) // x.size
    if rows:
        for k in range(0, len(x), rows):
            yield x[k : k + rows], first + k * steps[0]
    else:
        for k in range(len(x)):
            yield from _cut(x[k], steps[1:], first + k * steps[0], limit)
