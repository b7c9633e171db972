"""Checks of arguments: what passes, in which form, and which errors the rest raises."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from arrayinit.common import arguments


@pytest.mark.parametrize("value", [1, 1.5, Fraction(1, 2), np.float32(2), np.int8(3), math.nan])
def test_real_numbers(value):
    result = arguments.real(value, "x")
    assert type(result) is float
    assert result == value or math.isnan(value)
    assert arguments.is_real(value)


@pytest.mark.parametrize("value", [True, np.bool_(True), "1", None, 1j, Decimal(1), np.timedelta64(1, "s"), np.ones(1)])
def test_values_that_are_no_real_numbers(value):
    assert not arguments.is_real(value)
    with pytest.raises(TypeError, match="`x` must be a real number; got"):
        arguments.real(value, "x")


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (arguments.real, 10**400, "within the range of float64"),
        (arguments.number, math.nan, "must not be NaN"),
        (arguments.finite, math.inf, "must be finite"),
        (arguments.nonnegative, -1, "must not be negative"),
        (arguments.positive, 0, "must be positive"),
        (arguments.integer, 0, "must be at least 1"),
        (arguments.integer, 1 << 63, "less than 2\\*\\*63"),
    ],
)
def test_numbers_outside_of_a_range(check, value, message):
    with pytest.raises(ValueError, match=f"`x` .*{message}"):
        check(value, "x")


def test_integers_flags_and_words():
    assert arguments.integer(np.int8(3), "x") == 3
    assert arguments.flag(True, "x") is True
    assert arguments.one_of("a", "x", ("a", "b")) == "a"
    for check, value in ((arguments.integer, 1.0), (arguments.integer, True), (arguments.flag, 1)):
        with pytest.raises(TypeError, match="`x` must be"):
            check(value, "x")
    with pytest.raises(ValueError, match="`x` must be one of 'a', 'b'; got 'c'"):
        arguments.one_of("c", "x", ("a", "b"))


def test_scalars_of_arrays():
    class WithoutValue:
        ndim = 0

        def item(self):
            raise RuntimeError("meta")

    assert arguments.scalar(np.array(2.5)) == 2.5
    assert arguments.scalar(WithoutValue()) is None
    for value in (3, "text", None):
        assert arguments.scalar(value) is value
    vector = np.ones(2)
    assert arguments.scalar(vector) is vector
