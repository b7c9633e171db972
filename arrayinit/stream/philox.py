"""Philox4x32-10, the counter-based generator of Salmon et al. (SC'11), written once for integers and arrays.

The functions take anything with `*`, `>>`, `&` and `^` of at least 64 bits: Python integers and int64 arrays of all
libraries. Words are values in [0, 2**32). A product of two words may wrap to a negative int64. A mask follows each
shift, so the bits are those of unsigned arithmetic.
"""

from typing import Any, TypeAlias

__all__ = ["MASK", "VALUES", "Lane", "Words4", "block_of", "philox4x32"]

Lane: TypeAlias = Any  # a Python int, or an int64 array of any namespace
Words4: TypeAlias = tuple[Lane, Lane, Lane, Lane]

MASK = 0xFFFFFFFF
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # Salmon et al., table 2: best avalanche among those tried
WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1, scaled to 32 bits

# Purposes of a stream, its third counter word ("subsequence" in cuRAND). The fourth is 0 in all draws.
VALUES = 0
ORDER = 1  # which elements of a sparse column are zero


def philox4x32(counter: Words4, key: tuple[Lane, Lane]) -> Words4:
    """Four words for one counter (c0, c1, c2, c3) and key (k0, k1); arrays broadcast against each other."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for turn in range(ROUNDS):
        if turn:
            k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & MASK) ^ c1 ^ k0,
            p1 & MASK,
            ((p0 >> 32) & MASK) ^ c3 ^ k1,
            p0 & MASK,
        )
    return c0, c1, c2, c3


def block_of(block: Lane, purpose: int, key: tuple[Lane, Lane]) -> Words4:
    """The four words of block number `block` in [0, 2**62) of a stream: its words 4 * block to 4 * block + 3."""
    return philox4x32((block & MASK, (block >> 32) & MASK, purpose, 0), key)
