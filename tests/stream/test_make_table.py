"""The committed inverse-CDF table: its shape, its accuracy in every octave, and that the script makes it again."""

import functools

import numpy as np
import pytest
from scipy.special import ndtri_exp

from arrayinit.backends.base import coefficients
from arrayinit.stream import make_table
from arrayinit.stream.make_table import OCTAVES, PATH, SEGMENTS, UNIT

LIMIT = 2.95e-8  # the largest error of |z|


@functools.cache
def table():
    return np.load(PATH)


def evaluate(row, t):
    """The parabola as `make_table` states it, in Python integers."""
    c0, c1, c2 = map(int, row)
    return c0 - (((c1 - ((c2 * t) >> 32)) * t) >> 32)


def test_shape_dtype_and_size():
    assert table().shape == (OCTAVES * SEGMENTS, 3) == (96 * 64, 3)
    assert table().dtype == np.int32
    assert table().min() >= 0


def test_coefficients_fit_the_bits_that_engines_rely_on():
    c0, c1, c2 = table().astype(np.int64).T
    assert [int(c.max()).bit_length() for c in (c0, c1, c2)] == [31, 21, 13]
    # A 32-bit draw uses 32 octaves; there c0 fits 30 bits, so that a segment packs into one 64-bit word.
    assert [int(c[: 32 * SEGMENTS].max()).bit_length() for c in (c0, c1, c2)] == [30, 21, 13]


def test_the_slope_never_turns_within_a_segment():
    _, c1, c2 = table().astype(np.int64).T
    # (c1 - (c2 t >> 32)) t falls off only beyond t = c1 / (2 c2); there the parabola would rise again.
    assert (c1 >= 2 * c2 - 1).all()


def test_engines_read_the_same_numbers():
    assert coefficients().dtype == np.int64
    assert (table() == coefficients().T).all()


RUN = np.arange(0, 2**24, 54_321)  # errors are largest near the ends of a segment
T = np.unique(np.concatenate([np.linspace(0, 2**32 - 1, 257).astype(np.int64), RUN, 2**32 - 1 - RUN]))


@pytest.mark.parametrize("octave", range(OCTAVES))
def test_error_of_every_octave(octave):
    rows = table()[octave * SEGMENTS : (octave + 1) * SEGMENTS].astype(np.int64)
    c0, c1, c2 = (column[:, None] for column in rows.T)
    z = c0 - (((c1 - ((c2 * T) >> 32)) * T) >> 32)
    # p = 2**-(octave + 2) * (1 + (segment + t / 2**32) / 64); log p keeps its digits where p has none to spare.
    part = (np.arange(SEGMENTS)[:, None] + T / 2**32) / SEGMENTS
    log_p = np.log1p(part) - (octave + 2) * np.log(2)
    error = np.abs(z / UNIT + ndtri_exp(log_p))
    assert error.max() < LIMIT
    assert z.min() >= 0
    assert (np.diff(z, axis=1) <= 1).all()  # falling, but for the roundings of two shifts
    assert np.abs(z[1:, 0] - z[:-1, -1]).max() < 2 * LIMIT * UNIT + 1  # and continuous up to the errors of both sides


@pytest.mark.parametrize("octave", [0, 1, 5, 31, 32, 60, 95])
def test_error_against_mpmath(octave):
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(octave)
    with mpmath.workdps(50):
        for segment in rng.integers(0, SEGMENTS, 4).tolist():
            row = table()[octave * SEGMENTS + segment]
            for t in [0, 2**32 - 1, *rng.integers(0, 2**32, 6).tolist()]:
                p = mpmath.ldexp(1 + (segment + mpmath.mpf(t) / 2**32) / SEGMENTS, -(octave + 2))
                z = mpmath.mpf(evaluate(row, t)) / UNIT
                # Phi(-z) - p over the density is the error of z, to first order; it is far below 1.
                error = (mpmath.ncdf(-z) - p) / mpmath.npdf(z)
                assert abs(error) < LIMIT


@pytest.mark.parametrize("octave", [0, 31, 95])
def test_regenerated_octaves_are_the_committed_ones(octave):
    made = make_table.make(range(octave, octave + 1))
    assert made.dtype == table().dtype
    assert (made == table()[octave * SEGMENTS : (octave + 1) * SEGMENTS]).all()


@pytest.mark.slow
def test_regenerated_table_is_the_committed_one():
    assert (make_table.make() == table()).all()
