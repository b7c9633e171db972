"""Philox4x32-10: Random123's known answers, and a second implementation (randomgen, in C) over long and far streams."""

import numpy as np
import pytest
from randomgen_peer import other

import arrayinit as ai
from arrayinit.stream.philox import MASK, ORDER, VALUES, block_of, philox4x32

# Random123 1.14, tests/kat_vectors, "philox4x32 10": counter, key -> output.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
SEEDS = [0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 0x0123456789ABCDEF, 0xDEADBEEFCAFEBABE]
BLOCKS = [0, 1, 2**31 - 3, 2**32 - 3, 2**32, 2**36 - 5, 2**36, 2**48 + 12345]


def words(text):
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_known_answers(counter, key, output):
    assert philox4x32(words(counter), words(key)) == words(output)


def test_known_answers_as_one_array():
    counters = np.array([words(counter) for counter, _, _ in KNOWN], dtype=np.int64)
    keys = np.array([words(key) for _, key, _ in KNOWN], dtype=np.int64)
    out = np.stack(philox4x32(tuple(counters.T), tuple(keys.T)), axis=-1)
    assert out.dtype == np.int64
    assert out.tolist() == [list(words(output)) for _, _, output in KNOWN]


def test_integers_and_wrapping_int64_lanes_agree():
    rng = np.random.default_rng(0)
    lanes = rng.integers(0, 2**32, (6, 500), dtype=np.int64)
    lanes[:, :2] = [[0, MASK]] * 6
    out = np.stack(philox4x32(tuple(lanes[:4]), tuple(lanes[4:])))
    assert out.min() >= 0
    assert out.max() <= MASK
    for k, column in enumerate(lanes.T.tolist()):
        assert philox4x32(tuple(column[:4]), tuple(column[4:])) == tuple(out[:, k].tolist())


@pytest.mark.parametrize("purpose", [VALUES, ORDER])
@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_of_every_purpose_are_those_of_randomgen(seed, purpose):
    key = (seed & MASK, seed >> 32)
    for block in [*BLOCKS, 2**62 - 1]:
        assert block_of(block, purpose, key) == tuple(other(seed, block, 4, purpose).tolist())


@pytest.mark.parametrize("seed", SEEDS)
def test_bits_are_the_words_of_randomgen(seed):
    assert (ai.bits((300_001,), seed=seed) == other(seed, 0, 300_001)).all()


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("seed", [0, 2**32, 2**64 - 1])
def test_bits_far_into_a_stream(seed, block):
    whole = (2**52,)
    for start, count in [(4 * block, 1001), (4 * block + 3, 998), (4 * block + 2, 1)]:
        part = ai.bits(whole, seed=seed, index=np.s_[start : start + count])
        assert part.dtype == np.uint32
        assert (part == other(seed, block, 1001)[start % 4 :][:count]).all()


@pytest.mark.parametrize("start", [0, 2**34 - 77, 2**38 - 1, 2**40 - 100_000])
def test_a_slice_of_a_terabit_stream(start):
    part = ai.bits((2**40,), seed=7, index=np.s_[start : start + 100_000])
    assert (part == other(7, start // 4, 100_004)[start % 4 :][:100_000]).all()


def test_strided_and_multidimensional_slices_address_single_words():
    stream = other(11, 0, 8 * 31 * 17).reshape(8, 31, 17)
    for index in [np.s_[::3, 5, ::-2], np.s_[..., 16], np.s_[-1, 3:29:5], np.s_[2:2], np.s_[7, 30, 16]]:
        assert (ai.bits((8, 31, 17), seed=11, index=index) == stream[index]).all()
        assert ai.bits((8, 31, 17), seed=11, index=index).shape == stream[index].shape
    far = ai.bits((2**20, 2**20), seed=11, index=np.s_[-1, -8::2])
    assert (far == other(11, 2**38 - 2, 8)[::2]).all()


@pytest.mark.slow
def test_ten_million_words():
    assert (ai.bits((10**7,), seed=2**64 - 1) == other(2**64 - 1, 0, 10**7)).all()
