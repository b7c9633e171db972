"""Scale, offset and values: exact integers, bounds that no draw leaves, one draw in every precision, refusals."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st

import arrayinit as ai
from arrayinit.backends import backend_named
from arrayinit.laws import Normal, Truncated, Uniform
from arrayinit.laws.lattice import sampling
from arrayinit.stream import deviates

LANES = backend_named("numpy").lanes(None)
INF = math.inf
DTYPES = ["float64", "float32", "float16", "bfloat16"]
LARGEST = {"float64": 2.0**1023, "float32": 2.0**128 - 2.0**104, "float16": 65504.0, "bfloat16": 2.0**128 - 2.0**120}
LOWEST_SCALE = {"float64": 2.0**-992, "float32": 2.0**-96, "float16": 2.0**-96, "bfloat16": 2.0**-96}
# Words that reach the ends of a law and its middle, then others.
WORDS = np.concatenate(
    [
        [0, 1, 2, 3, 2**31 - 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 4, 2**32 - 3, 2**32 - 2, 2**32 - 1],
        np.random.default_rng(0).integers(0, 2**32, 3000),
    ]
)


def dtype(name):
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def values(law, name):
    """The values of WORDS under a law, as float64."""
    found = sampling(law, name)
    k = found.lattice.place(found.deviate(LANES, WORDS))
    assert k.min() >= -(2**31)
    assert k.max() < 2**31
    with np.errstate(over="ignore"):  # a bound at the end of the range: rounded to infinity, then clipped
        return LANES.values(k, found).astype(np.float64)


def nearest(x, direction, name, strict=False):
    """The value of a dtype nearest to x that is >= x (direction 1) or <= x (-1), none of them subnormal in float32."""
    kind = dtype(name)
    with np.errstate(all="ignore"):
        value = np.float64(x).astype(np.float32 if kind.itemsize < 8 else np.float64).astype(kind)
    bits = {8: np.int64, 4: np.int32, 2: np.int16}[kind.itemsize]

    def key(v):  # an integer that orders the values of a format
        pattern = int(v.view(bits))
        return pattern if pattern >= 0 else -(pattern + (1 << (8 * kind.itemsize - 1)))

    def back(n):
        pattern = n if n >= 0 else -n - (1 << (8 * kind.itemsize - 1))
        return np.array(pattern, bits).view(kind)[()]

    n = key(value)
    while float(back(n)) * direction < x * direction or (strict and float(back(n)) == x):
        n += direction
    while float(back(n - direction)) * direction > x * direction or (not strict and float(back(n - direction)) == x):
        n -= direction
    result, least = float(back(n)), 2.0 ** (-1022 if name == "float64" else -126)
    if 0 < abs(result) < least:
        result = direction * least if result * direction > 0 else 0.0
    if result == 0 == x and strict:
        result = direction * least
    return result


def clipped(x, low, high):
    return np.minimum(np.maximum(x, low), high)


def through(x, name):
    """float64 values rounded to a dtype as samples are, as float64."""
    with np.errstate(over="ignore"):
        wide = x.astype(np.float32) if name != "float64" else x
        return wide.astype(dtype(name)).astype(np.float64)


def test_nearest_of_this_file():
    assert nearest(0.1, 1, "float32") == float(np.float32(0.1))
    assert nearest(0.1, -1, "float32") == float(np.nextafter(np.float32(0.1), np.float32(0)))
    assert nearest(1.0, -1, "float16", strict=True) == 1 - 2.0**-11
    assert nearest(-1.0, -1, "bfloat16", strict=True) == -1 - 2.0**-7
    assert nearest(0.0, -1, "float32", strict=True) == -(2.0**-126)
    assert nearest(0.0, 1, "float32") == nearest(-1e-300, 1, "float32") == 0
    assert nearest(1e-300, 1, "float32") == 2.0**-126


class TestLattice:
    """k against exact rational arithmetic."""

    @given(a=st.floats(-1e3, 1e3), width=st.floats(3e-3, 1e6))
    @settings(deadline=None)
    def test_uniform(self, a, width):
        b = a + width
        assume(a < b)
        found = sampling(Uniform(a, b), "float64").lattice
        unit = Fraction(2) ** found.exponent
        assert 2**30 <= max(abs(a), abs(b)) / unit < 2**31
        first, last = round(Fraction(a) / unit), round(Fraction(b) / unit)
        for u in (0, 1, 2**30, 2**31 - 1, 123456789):
            assert found.place(u) == first + math.floor(Fraction(u, 2**31) * (last - first))
            assert first <= found.place(u) < last
            # Off the exact a + (b - a) u / 2**31 by two roundings to nearest and one down.
            assert abs(found.place(u) - (Fraction(a) + (Fraction(b) - Fraction(a)) * Fraction(u, 2**31)) / unit) < 2

    @given(mean=st.floats(-1e3, 1e3), std=st.floats(1e-3, 1e6))
    @settings(deadline=None)
    def test_normal(self, mean, std):
        found = sampling(Normal(mean, std), "float64").lattice
        unit = Fraction(2) ** found.exponent
        reach = int(deviates.NORMAL_REACH * 2**27)
        for z in (0, 1, -1, reach, -reach, 2**27, -(2**27)):
            exact = (Fraction(mean) + Fraction(std) * Fraction(z, 2**27)) / unit
            assert abs(found.place(z) - exact) <= Fraction(5, 2)
            assert -(2**31) <= found.place(z) < 2**31

    def test_one_lattice_for_every_dtype(self):
        for law in (Uniform(-0.3, 0.7), Normal(0.1, 0.02), Truncated(0.0, 1.0, -2.0, 2.0)):
            assert len({sampling(law, name).lattice for name in DTYPES}) == 1

    def test_complex_parts_have_half_the_variance(self):
        assert sampling(Normal(0.5, 2.0), "complex64").lattice == sampling(Normal(0.5, math.sqrt(2)), "float32").lattice
        half = 1 / math.sqrt(2)
        assert (
            sampling(Uniform(-1.0, 1.0, True), "complex64").lattice == sampling(Uniform(-half, half), "float32").lattice
        )
        assert sampling(Uniform(-1.0, 1.0), "complex64").lattice == sampling(Uniform(-1.0, 1.0), "float32").lattice
        assert sampling(Normal(0.0, 1.0), "complex128").words_per_element == 2
        assert sampling(Normal(0.0, 1.0), "float64").words_per_element == 1


@st.composite
def bounds(draw, name):
    """Intervals of every size and place that a dtype has, most of them lopsided."""
    low_exponent = {"float64": -980, "float32": -90, "float16": -30, "bfloat16": -90}[name]
    high_exponent = {"float64": 1020, "float32": 125, "float16": 14, "bfloat16": 125}[name]
    size = st.builds(math.ldexp, st.floats(1, 2), st.integers(low_exponent, high_exponent))
    kind = draw(st.sampled_from(["around zero", "one side", "narrow", "from zero", "to zero", "simple"]))
    x, y = draw(size), draw(size)
    if kind == "around zero":
        return -x, y
    if kind == "from zero":
        return 0.0, x
    if kind == "to zero":
        return -x, 0.0
    if kind == "one side":
        a, b = min(x, y), max(x, y)
    elif kind == "narrow":
        a = x
        b = x * (1 + draw(st.floats(1e-9, 0.5)))
    else:
        a, b = draw(st.floats(0, 2)), draw(st.floats(2, 4))
    return draw(st.sampled_from([(a, b), (-b, -a)]))


@pytest.mark.parametrize("name", DTYPES)
class TestUniform:
    def test_bounds_closer_than_the_lattice_hold_one_value(self, name):
        close = Uniform(2.0, 2.0000000000000004)
        if name == "float64":  # which has values between them that the lattice has not
            with pytest.raises(ValueError, match="too close together beside their distance from zero"):
                sampling(close, name)
            return
        assert set(values(close, name).tolist()) == {2.0}
        with pytest.raises(ValueError, match="must hold a value"):
            sampling(Uniform(2.0000000000000004, 2.000000000000001), name)

    @given(data=st.data())
    @settings(deadline=None, max_examples=200)
    def test_no_draw_leaves_the_bounds(self, name, data):
        a, b = data.draw(bounds(name))
        assume(a < b <= LARGEST[name])
        assume(-a <= LARGEST[name])
        low, high = nearest(a, 1, name), nearest(b, -1, name, strict=True)
        if low > high:
            with pytest.raises(ValueError, match=f"must hold a value of {name}"):
                sampling(Uniform(a, b), name)
            return
        try:
            x = values(Uniform(a, b), name)
        except ValueError:
            # float64 alone is finer than the lattice; an interval of few steps would be drawn with few values.
            assert name == "float64"
            assert b - a < 4097 * 2.0 ** (math.frexp(max(-a, b))[1] - 31)
            return
        assert (sampling(Uniform(a, b), name).low, sampling(Uniform(a, b), name).high) == (low, high)
        assert x.min() >= low >= a
        assert x.max() <= high < b

    @given(data=st.data())
    @settings(deadline=None, max_examples=100)
    def test_is_the_rounded_and_clipped_lattice(self, name, data):
        a, b = data.draw(bounds(name))
        assume(a < b <= LARGEST[name])
        assume(-a <= LARGEST[name])
        try:
            found = sampling(Uniform(a, b), name).lattice
        except ValueError:
            assume(False)
        k = found.place(WORDS >> 1).astype(np.float64) * 2.0**found.exponent
        low, high = nearest(a, 1, name), nearest(b, -1, name, strict=True)
        assert (values(Uniform(a, b), name) == clipped(through(k, name), low, high)).all()

    def test_both_ends_are_reached(self, name):
        x = values(Uniform(-1.0, 1.0), name)
        assert x.min() == -1.0
        assert x.max() == nearest(1.0, -1, name, strict=True) if name != "float64" else 1 - 2.0**-30

    def test_the_whole_range(self, name):
        top = LARGEST[name] if name != "float64" else float(np.finfo(np.float64).max)
        x = values(Uniform(-top, top), name)
        assert x.min() == -top
        assert top / 2 < x.max() < top
        assert np.isfinite(x).all()


TRUNCATED = [(-2, 2), (-0.1, 0.1), (3, INF), (5, 9), (-INF, -3), (-INF, INF), (0, INF), (-9, -8.5), (-0.01, 4), (7, 8)]


@pytest.mark.parametrize("name", DTYPES)
class TestTruncated:
    @pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.3, 0.25), (-2.0, 0.125), (0.0, 1e-20), (1e-4, 3.0)])
    @pytest.mark.parametrize(("alpha", "beta"), TRUNCATED)
    def test_no_draw_leaves_the_bounds(self, name, alpha, beta, mean, std):
        a, b = mean + std * alpha, mean + std * beta
        if b < INF and nearest(a, 1, name) > nearest(b, -1, name):
            with pytest.raises(ValueError, match=f"must hold a value of {name}"):
                sampling(Truncated(mean, std, a, b), name)
            return
        x = values(Truncated(mean, std, a, b), name)
        assert x.min() >= a
        assert x.max() <= b
        assert np.isfinite(x).all()

    @given(data=st.data())
    @settings(deadline=None, max_examples=100)
    def test_no_draw_leaves_any_bounds(self, name, data):
        mean, std = data.draw(st.floats(-3, 3)), data.draw(st.floats(0.01, 4))
        alpha = data.draw(st.floats(-9, 9))
        beta = data.draw(st.one_of(st.just(INF), st.floats(alpha, 10)))
        a, b = mean + std * alpha, mean + std * beta
        try:
            x = values(Truncated(mean, std, a, b), name)
        except ValueError:
            narrow = b - a < 2.0 ** (math.frexp(abs(mean) + 16 * std)[1] - 10)
            assert narrow or alpha >= 8.9 or nearest(a, 1, name) > nearest(b, -1, name)
            return
        assert x.min() >= nearest(a, 1, name)
        assert x.max() <= (nearest(b, -1, name) if b < INF else b)

    def test_ends_are_reached_where_they_are_likely(self, name):
        x = values(Truncated(0.0, 1.0, -0.5, 0.5), name)
        assert x.min() == -0.5
        assert x.max() == 0.5


@example(std=1.0, alpha=7.9)
@example(std=1 - 2.0**-53, alpha=7.98)
@example(std=1 - 1e-11, alpha=7.98)
@given(std=st.floats(0.5, 1), alpha=st.floats(7.5, 7.98))
@settings(deadline=None)
def test_bounds_at_eight_sigma_stay_on_the_lattice(std, alpha):
    """If 8 std is rounded up to 2**31 steps, z = 8 must not be step 2**31, which an int32 does not have."""
    for a, b in ((alpha * std, 8 * std), (-8 * std, -alpha * std)):
        law = Truncated(0.0, std, a, b)
        x = values(law, "float64")
        ends = np.sort(np.abs([x[0], x[11]]))  # the smallest and the largest word
        assert ends[0] - alpha * std < 1e-6
        assert 8 * std - ends[1] < 1e-6


LAWS = [
    Uniform(-1.0, 1.0),
    Uniform(0.0, 1.0),
    Uniform(-1e-3, 0.7),
    Uniform(0.1, 0.30000001),
    Uniform(1.0, 1.001),
    Normal(0.0, 1.0),
    Normal(0.0, 0.02),
    Normal(-3.0, 0.5),
    Normal(100.0, 1.0),
    Truncated(0.0, 1.0, -2.0, 2.0),
    Truncated(0.0, 1.0, -1e-2, 3.0),
    Truncated(0.5, 0.1, 0.7, INF),
    Truncated(0.0, 1.0, 5.0, 9.0),
]


@pytest.mark.parametrize("law", LAWS, ids=str)
class TestOneDrawEveryPrecision:
    """init(dtype) == clip(round(init(float64))): rounding may only leave [a, b), and is then brought back."""

    @staticmethod
    def ends(law, name):
        if isinstance(law, Normal):
            return -INF, INF
        low = nearest(law.low, 1, name)
        if law.high == INF:
            return low, INF
        return low, nearest(law.high, -1, name, strict=isinstance(law, Uniform))

    @pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
    def test_of_words(self, law, name):
        low, high = self.ends(law, name)
        assert (values(law, name) == clipped(through(values(law, "float64"), name), low, high)).all()

    @pytest.mark.parametrize("name", ["float16", "bfloat16"])
    def test_16_bits_are_the_clipped_float32_rounded(self, law, name):
        low, high = self.ends(law, name)
        assert (values(law, name) == clipped(through(values(law, "float32"), name), low, high)).all()

    @pytest.mark.filterwarnings("ignore:mean is more than 2 std")
    def test_of_public_draws(self, law):
        def draw(name):
            keywords = {"seed": 3, "dtype": dtype(name)}
            if isinstance(law, Uniform):
                return ai.uniform((4096,), law.low, law.high, **keywords)
            if isinstance(law, Normal):
                return ai.normal((4096,), law.mean, law.std, **keywords)
            return ai.trunc_normal((4096,), law.mean, law.std, law.low, law.high, **keywords)

        double = draw("float64")
        for name in ("float32", "float16", "bfloat16"):
            low, high = self.ends(law, name)
            drawn = draw(name)
            assert drawn.dtype == dtype(name)
            assert (drawn.astype(np.float64) == clipped(through(double, name), low, high)).all()


def test_float32_is_float64_rounded_where_nothing_is_clipped():
    for draw in (ai.normal, ai.trunc_normal):
        assert (draw((10**5,), seed=0, dtype="float64").astype(np.float32) == draw((10**5,), seed=0)).all()
    double, single = ai.uniform((10**6,), seed=0, dtype="float64"), ai.uniform((10**6,), seed=0)
    rounded = double.astype(np.float32)
    assert (rounded <= 1).all()
    assert (np.where(rounded == 1, np.float32(1 - 2.0**-24), rounded) == single).all()


@pytest.mark.parametrize("name", DTYPES)
def test_smallest_scale(name):
    least = LOWEST_SCALE[name]
    assert (np.abs(values(Uniform(-least, least), name)) <= least).all()
    assert np.isfinite(values(Normal(0.0, least / 8), name)).all()
    small = math.nextafter(least, 0)
    for law in (Uniform(-small, small), Normal(0.0, small / 8), Truncated(0.0, small / 8, -least / 8, least / 8)):
        with pytest.raises(ValueError, match=rf"scale of at least 2\*\*{math.frexp(least)[1] - 1} in {name}"):
            sampling(law, name)


@pytest.mark.parametrize("name", DTYPES)
def test_overflow(name):
    top = float(pytest.importorskip("ml_dtypes").finfo(dtype(name)).max)
    assert np.isfinite(values(Normal(0.0, top / 8), name)).all()
    beyond = [] if name == "float64" else [Uniform(0.0, math.nextafter(top, INF))]
    for law in (Normal(0.0, top / 7.9), Normal(top, top / 1e6), *beyond):
        with pytest.raises(ValueError, match=f"{name}'s largest"):
            sampling(law, name)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: ai.normal((3,), std=1e5, seed=0, dtype="float16"), "float16's largest, 65504.0"),
        (lambda: ai.normal((3,), std=1e38, seed=0, dtype="float32"), "float32's largest"),
        (lambda: ai.normal((3,), mean=65504.0, seed=0, dtype="float16"), "float16's largest"),
        (lambda: ai.uniform((3,), -1e5, 0.0, seed=0, dtype="float16"), "float16's largest"),
        (lambda: ai.uniform((3,), 1.00001, 1.00002, seed=0, dtype="float16"), "must hold a value of float16"),
        (lambda: ai.uniform((3,), 1.001, 1.002, seed=0, dtype="bfloat16"), "must hold a value of bfloat16"),
        (lambda: ai.uniform((3,), 1.0, 1.0 + 1e-12, seed=0, dtype="float64"), "4096 are needed"),
        (lambda: ai.uniform((3,), 1.0, 1.0 + 1e-6, seed=0, dtype="float64"), "4096 are needed"),
        (lambda: ai.normal((3,), 1e6, 1e-4, seed=0, dtype="float64"), "4096 are needed"),
        (lambda: ai.uniform((3,), 0.0, 1e-40, seed=0, dtype="float32"), "scale of at least"),
        (lambda: ai.trunc_normal((3,), a=1.001, b=1.006, seed=0, dtype="bfloat16"), "must hold a value of bfloat16"),
        (lambda: ai.trunc_normal((3,), a=1.0, b=1.0001, seed=0), "at least 2\\*\\*20 steps"),
        (lambda: ai.trunc_normal((3,), std=1e5, seed=0, dtype="float16"), "float16's largest"),
        (lambda: ai.trunc_normal((3,), std=1e-36, a=-1e-36, b=1e-36, seed=0), "scale of at least"),
    ],
)
def test_laws_that_a_dtype_cannot_hold(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
