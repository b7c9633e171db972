"""Deviates: words -> integers that follow a law, compared with exact quantiles word by word."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from arrayinit.backends import backend_named
from arrayinit.stream import deviates
from arrayinit.stream.deviates import NORMAL_REACH, Z_BITS
from arrayinit.stream.truncation import interval

LANES = backend_named("numpy").lanes(None)
UNIT = 2.0**Z_BITS
INF = math.inf
LIMIT = 2.95e-8  # the largest error of z; over all 2**31 magnitudes of a normal draw it is 2.91e-8


def samples(bits, count):
    """Integers below 2**bits, sorted: all sums and differences of two powers of two, and random ones."""
    powers = 2 ** np.arange(bits + 1, dtype=np.int64)
    pairs = np.concatenate([(powers[:, None] + powers).ravel(), (powers[:, None] - powers).ravel(), powers - 1])
    chosen = np.random.default_rng(0).integers(0, 2**bits, count)
    everything = np.concatenate([pairs, pairs + 1, pairs - 1, 2**bits - 1 - powers, chosen])
    return np.unique(everything[(everything >= 0) & (everything < 2**bits)])


def test_uniform_is_the_word_without_its_lowest_bit():
    words = samples(32, 10**5)
    u = deviates.uniform(words)
    assert (u == words // 2).all()
    assert u.min() == 0
    assert u.max() == 2**31 - 1


class TestNormal:
    words = samples(32, 10**6)
    z = deviates.normal(LANES, words)

    def test_is_the_quantile_of_its_word(self):
        exact = -ndtri((self.words | 1) / 2**33)
        signed = np.where(self.words & 1, -exact, exact)
        assert np.abs(self.z / UNIT - signed).max() < LIMIT

    def test_reach(self):
        assert np.abs(self.z).max() == deviates.normal(LANES, np.array([0]))[0]
        assert 6.337 < np.abs(self.z).max() / UNIT <= NORMAL_REACH

    def test_sign_is_the_lowest_bit(self):
        assert (np.where(self.words & 1, self.z <= 0, self.z >= 0)).all()
        pairs = self.words & ~1
        assert (deviates.normal(LANES, pairs) == -deviates.normal(LANES, pairs | 1)).all()

    def test_falls_as_the_word_rises(self):
        magnitude = deviates.normal(LANES, self.words & ~1)
        assert np.diff(magnitude).max() <= 5  # two errors of the table, where segments meet

    def test_lanes_do_not_depend_on_their_neighbours(self):
        some = self.words[:: len(self.words) // 300]
        alone = [int(deviates.normal(LANES, np.array([w]))[0]) for w in some]
        assert alone == deviates.normal(LANES, some).tolist()

    @pytest.mark.slow
    def test_every_word_of_the_ends_and_a_stride_of_all(self):
        for words in (
            np.arange(2**24, dtype=np.int64),
            np.arange(2**32 - 2**22, 2**32, dtype=np.int64),
            np.arange(1, 2**32, 997, dtype=np.int64),
        ):
            z = deviates.normal(LANES, words) / UNIT
            exact = ndtri((words | 1) / 2**33)
            assert np.abs(z - np.where(words & 1, exact, -exact)).max() < LIMIT

    def test_the_worst_words(self):
        """The end of segment 4 of the first octave, where the parabola and its roundings are off the same way."""
        words = np.arange(2**31 + 5 * 2**25 - 2**16, 2**31 + 5 * 2**25 + 2**16, dtype=np.int64)
        error = np.abs(deviates.normal(LANES, words & ~1) / UNIT + ndtri((words | 1) / 2**33))
        assert 2.9e-8 < error.max() < LIMIT


# Bounds of a standard normal, in its middle, in a tail, over both, half-infinite, all of it.
BOUNDED = [
    (-2, 2),
    (-0.1, 0.1),
    (-1, 3),
    (-3, 1),
    (0, 1),
    (-0.01, 4),
    (-12, 0.5),
    (5, 9),
    (6.5, 7),
    (7.9, 8),
    (-9, -8.5),
    (8, 9),
    (10, 11),
    (1, 1.001),
]
INFINITE = [(3, INF), (-INF, -3), (-INF, INF), (0, INF), (-INF, 0), (9, INF), (-INF, 2.5), (-0.5, INF), (-INF, -8)]

U = samples(31, 300_000)


def quantile(a, b, u):
    """The exact z at the middle of step u of 2**31, float64 from probabilities good to their last bit."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        below, above = mpmath.ncdf(a), mpmath.ncdf(-b)
        mass = mpmath.ncdf(b) - below if b <= 0 else mpmath.ncdf(-a) - above
        below, above, mass = float(below), float(above), float(mass)
    step = 2.0 * u + 1
    lower, upper = below + step / 2**32 * mass, above + (2**32 - step) / 2**32 * mass
    return np.where(lower <= upper, ndtri(np.minimum(lower, upper)), -ndtri(np.minimum(lower, upper)))


def is_mirrored(a, b):
    """An interval that lies rather in the upper tail is drawn as the mirror image of one in the lower tail."""
    return a + b > 0 if math.isfinite(a) or math.isfinite(b) else False


@pytest.mark.parametrize(("a", "b"), [*BOUNDED, *INFINITE])
class TestTruncated:
    def test_is_the_quantile_of_its_word(self, a, b):
        z = deviates.truncated(LANES, U << 1, interval(0.0, 1.0, a, b)) / UNIT
        exact = -quantile(-b, -a, U) if is_mirrored(a, b) else quantile(a, b, U)
        assert np.abs(z - exact).max() < LIMIT

    def test_lies_within_its_bounds_up_to_the_table(self, a, b):
        z = deviates.truncated(LANES, U << 1, interval(0.0, 1.0, a, b)) / UNIT
        assert a - z.min() < LIMIT
        assert z.max() - b < LIMIT

    def test_rises_with_u_or_falls_where_mirrored(self, a, b):
        z = deviates.truncated(LANES, U << 1, interval(0.0, 1.0, a, b))
        steps = -np.diff(z) if is_mirrored(a, b) else np.diff(z)
        assert steps.min() >= -5

    def test_ignores_the_lowest_bit(self, a, b):
        found = interval(0.0, 1.0, a, b)
        assert (deviates.truncated(LANES, U << 1, found) == deviates.truncated(LANES, U << 1 | 1, found)).all()

    def test_mirrors(self, a, b):
        one = deviates.truncated(LANES, U << 1, interval(0.0, 1.0, a, b))
        other = deviates.truncated(LANES, U << 1, interval(0.0, 1.0, -b, -a))
        if a == -b:
            # Its own mirror image: the draw of the mirrored word, up to the last step's rounding of p.
            assert np.abs(one + deviates.truncated(LANES, (2**31 - 1 - U) << 1, interval(0.0, 1.0, a, b))).max() <= 1
        else:
            assert (one == -other).all()


@pytest.mark.parametrize(("a", "b"), [(-2, 2), (3, INF), (-INF, INF), (-9, -8.5)])
def test_lanes_of_a_truncated_draw_fit_63_bits(a, b):
    """Python integers, which can't wrap, give what int64 lanes give."""
    table = np.stack(LANES.parabola(np.arange(96 * 64)), axis=1).tolist()

    class Exact:
        normalize = staticmethod(deviates.normalize)

        @staticmethod
        def parabola(segment):
            return table[segment]

    found = interval(0.0, 1.0, a, b)
    some = [*U[:: len(U) // 2000].tolist(), 0, 1, 2**30 - 1, 2**30, 2**31 - 1]
    wanted = [deviates.truncated(Exact, u << 1, found) for u in some]
    assert deviates.truncated(LANES, np.array(some) << 1, found).tolist() == wanted
    words = [2 * u for u in some] + [2 * u + 1 for u in some]
    assert deviates.normal(LANES, np.array(words)).tolist() == [deviates.normal(Exact, w) for w in words]
