"""The normal distribution function in `decimal`, against mpmath at 60 digits."""

from decimal import Context, Decimal, getcontext, localcontext

import pytest

from arrayinit.stream.normal_cdf import DIGITS, cdf, quantile

mpmath = pytest.importorskip("mpmath")

TOLERANCE = mpmath.mpf("1e-49")  # relative; the contract of the package is 45 digits
WORK = 80  # digits of the comparison

X = [k / 16 for k in range(-13 * 16, 13 * 16 + 1)] + [
    sign * x for sign in (-1, 1) for x in (1e-300, 1e-30, 1e-10, 1e-3, 0.1, 0.674489750196, 2.7182818, 3.3, 9.99, 12.71)
]


def to_mp(x):
    return mpmath.mpf(str(x))


def exact(x):
    """Phi(x) by mpmath's erfc, from the side where nothing cancels."""
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def relative(found, wanted):
    return abs(to_mp(found) - wanted) / abs(wanted)


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(WORK):
        yield


def test_cdf_is_mpmaths():
    assert max(relative(cdf(Decimal(x)), exact(mpmath.mpf(x))) for x in X) < TOLERANCE


@pytest.mark.parametrize("x", ["-39.5", "-25", "-20.000000000000000000000000001", "-16.25"])
def test_cdf_far_out(x):
    assert relative(cdf(Decimal(x)), exact(mpmath.mpf(x))) < TOLERANCE


@pytest.mark.parametrize("x", [x for x in X if x > 0])
def test_both_tails_add_up_to_one(x):
    with localcontext(Context(prec=WORK)):
        assert abs(cdf(Decimal(x)) + cdf(Decimal(-x)) - 1) < Decimal("1e-49")


@pytest.mark.parametrize("x", ["inf", "40.1", "1e300"])
def test_ends(x):
    assert cdf(Decimal(x)) == 1
    assert cdf(-Decimal(x)) == 0


def test_middle_is_exactly_one_half():
    assert cdf(Decimal(0)) == Decimal(1) / 2
    assert cdf(Decimal("-0")) == Decimal(1) / 2


def test_the_callers_context_does_not_matter():
    wanted = cdf(Decimal("-1.1")), quantile(Decimal("0.1"))
    cdf.cache_clear()
    with localcontext(Context(prec=5)):
        found = cdf(Decimal("-1.1")), quantile(Decimal("0.1"))
        assert getcontext().prec == 5
    assert found[0] == wanted[0]
    with localcontext(Context(prec=WORK)):
        assert abs(found[1] - wanted[1]) < Decimal("1e-55")
    assert len(found[0].as_tuple().digits) >= DIGITS


P = [Decimal(k) / 64 for k in range(1, 33)] + [
    Decimal(factor) * Decimal(2) ** -power for power in range(2, 98, 5) for factor in ("0.5", "0.75", "0.9999999", "1")
]


def test_quantile_inverts_cdf():
    assert max(relative(exact(to_mp(quantile(p))), to_mp(p)) for p in P) < mpmath.mpf("1e-39")
    with localcontext(Context(prec=WORK)):
        assert max(abs(cdf(quantile(p)) - p) / p for p in P) < Decimal("1e-39")


@pytest.mark.parametrize("x", [-12.5, -8.0, -3.25, -1.0, -0.5, -1e-3, -1e-9])
def test_cdf_inverts_quantile(x):
    with localcontext(Context(prec=WORK)):
        assert abs(quantile(cdf(Decimal(x))) - Decimal(x)) < Decimal("1e-39") * max(1, abs(Decimal(x)))


def test_quantile_of_one_half_is_zero():
    assert abs(quantile(Decimal("0.5"))) < Decimal("1e-40")
