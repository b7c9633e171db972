"""Bounds of a truncated normal as fixed-point probabilities, and the intervals that are refused."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import arrayinit as ai
from arrayinit.laws import Truncated
from arrayinit.laws.lattice import sampling
from arrayinit.stream.truncation import OCTAVES, P_BITS, RESOLUTION_BITS, interval

INF = math.inf
INTERVALS = [
    (-2, 2),
    (-0.1, 0.1),
    (3, INF),
    (5, 9),
    (6.5, 7),
    (-INF, -3),
    (-INF, INF),
    (0, INF),
    (-INF, 0),
    (-9, -8.5),
    (9, INF),
    (10, 11),
]


def span(found):
    return found.range_high * 2**31 + found.range_low


def check(found, mean, std, low, high):
    """The integers of a tail against probabilities that mpmath computes, for the tail they say they are in."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(120):
        a, b = ((mpmath.mpf(x) - mean) / std for x in (low, high))
        if not found.lower:
            a, b = -b, -a
        unit = mpmath.mpf(2) ** (P_BITS + found.octave)
        assert abs(mpmath.ncdf(a) * unit - found.low) < mpmath.mpf("0.5000001")
        assert abs(mpmath.ncdf(b) * unit - (found.low + span(found))) < mpmath.mpf("0.5000001")
    assert 0 <= found.low < found.low + span(found) <= 2**P_BITS
    assert 0 <= found.range_low < 2**31
    assert 0 <= found.range_high <= 2**31
    assert span(found) >= 2**RESOLUTION_BITS
    if not found.folds:
        # All of it below 1/2, and its upper end within the largest octave of the unit.
        assert 2 ** (P_BITS - 2) - 1 <= found.low + span(found) <= 2 ** (P_BITS - 1)


@pytest.mark.parametrize(("a", "b"), INTERVALS)
def test_probabilities_are_mpmaths(a, b):
    check(interval(0.0, 1.0, float(a), float(b)), 0.0, 1.0, a, b)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"), [(1.0, 0.5, 0.0, 3.0), (-7.5, 2.0, -INF, -15.0), (1e-3, 1e-5, 0.00105, 0.0011)]
)
def test_mean_and_std(mean, std, a, b):
    check(interval(mean, std, a, b), mean, std, a, b)


finite = st.floats(-12, 12)
ends = st.one_of(finite, st.sampled_from([-INF, INF]))


@given(a=ends, b=ends, mean=st.floats(-3, 3), std=st.floats(0.25, 4))
@settings(deadline=None, max_examples=300)
def test_any_interval_is_resolved_or_refused(a, b, mean, std):
    assume(a < b)
    low, high = mean + std * a, mean + std * b
    assume(low < high)
    try:
        found = interval(mean, std, low, high)
    except ValueError:
        thin = high - low <= std * 1e-6
        far = not (a < 9 and b > -9) or (math.isfinite(a) and math.isfinite(b) and min(abs(a), abs(b)) > 11)
        assert thin or far
    else:
        check(found, mean, std, low, high)


@given(a=ends, b=ends)
@settings(deadline=None, max_examples=200)
def test_mirrored_intervals_have_mirrored_tails(a, b):
    assume(a < b)
    try:
        one = interval(0.0, 1.0, a, b)
    except ValueError:
        with pytest.raises(ValueError, match="probability"):
            interval(0.0, 1.0, -b, -a)
        return
    other = interval(0.0, 1.0, -b, -a)
    assert (one.low, span(one), one.octave) == (other.low, span(other), other.octave)
    assert one.lower != other.lower or -a == b


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (12.0, 13.0),
        (-13.0, -12.0),
        (9.5, INF),
        (-INF, -9.5),
        (1.0, 1.0 + 1e-12),
        (0.0, 5e-324),
        (50.0, INF),
        (-1e300, -1e299),
        (1e299, INF),
    ],
)
def test_too_thin_intervals_are_refused(a, b):
    with pytest.raises(ValueError, match=r"must hold a probability that can be resolved") as caught:
        interval(0.0, 1.0, a, b)
    assert repr(a) in str(caught.value)
    assert repr(b) in str(caught.value)
    with pytest.raises(ValueError, match=r"interval \[a, b\]"):
        ai.trunc_normal((3,), a=a, b=b, seed=0, dtype="float64")


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize(("a", "b"), [(9.0, INF), (-INF, -9.0), (10.9, 11.0), (9.0, 12.0), (-40.0, 40.0), (-60.0, 0.0)])
def test_intervals_just_inside_are_drawn(a, b):
    x = ai.trunc_normal((1000,), a=a, b=b, seed=0, dtype="float64")
    assert x.min() >= a
    assert x.max() <= b
    assert len(np.unique(x)) > 990


def test_the_last_octave_of_the_table_is_within_reach():
    found = interval(0.0, 1.0, 9.0, INF)
    smallest = Fraction(span(found), 2**32) / 2 ** (P_BITS + found.octave)
    assert smallest > Fraction(1, 2 ** (OCTAVES + 1))


def test_the_callers_decimal_context_does_not_matter():
    wanted = interval(0.25, 1.5, -1.0, 2.0)
    interval.cache_clear()
    with localcontext() as context:
        context.prec = 4
        assert interval(0.25, 1.5, -1.0, 2.0) == wanted
        assert str(Decimal(1) / 3) == "0.3333"


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize(("a", "b"), [(-1.0, 3.0), (2.0, INF), (4.5, 5.0), (-0.5, 0.75)])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.25), (-3.0, 0.1)])
def test_mirrored_draws(mean, std, a, b):
    low, high = mean + std * a, mean + std * b

    def both(dtype):
        one = ai.trunc_normal((20_000,), mean, std, low, high, seed=1, dtype=dtype)
        other = ai.trunc_normal((20_000,), -mean, std, -high, -low, seed=1, dtype=dtype)
        return one, other

    # Lattice integers are rounded down, so that a value and its mirror image may be one step apart, never more.
    one, other = both("float64")
    step = 2.0 ** sampling(Truncated(mean, std, low, high), "float64").lattice.exponent
    assert set(np.unique((one + other) / step)) <= {0.0, -1.0}
    one, other = both("float32")
    assert (np.abs(one + other) <= np.spacing(np.abs(one))).all()
