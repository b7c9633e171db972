"""Formats by their parameters: rounding and neighbours, against NumPy's and ml_dtypes' own."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st

from arrayinit.stream import formats
from arrayinit.stream.formats import COMPLEX, FORMATS, is_floating, real_name

NAMES = ["float64", "float32", "float16", "bfloat16"]


def dtype(name):
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def cast(x, name):
    """x as a sample becomes a value: through float32, unless it is float64."""
    with np.errstate(over="ignore", under="ignore"):
        wide = np.float64(x) if name == "float64" else np.float32(x)
        return float(wide.astype(dtype(name)))


def neighbour(x, direction, name):
    """The next value of the format after one of its own values x, towards +inf (direction 1) or -inf (-1)."""
    if x == 0:
        return direction * float(np.ldexp(1.0, FORMATS[name].emin - FORMATS[name].precision + 1))
    bits = {8: np.uint64, 4: np.uint32, 2: np.uint16}[dtype(name).itemsize]
    pattern = np.array(x).astype(dtype(name)).view(bits)
    away = (x > 0) == (direction > 0)
    return float((pattern + bits(1) if away else pattern - bits(1)).view(dtype(name)))


def usable(x, name):
    """Whether no hardware flushes the value x of a format to zero."""
    return x == 0 or abs(x) >= 2.0 ** FORMATS[FORMATS[name].wide].emin


def search(x, direction, name, strict=False):
    """The nearest usable value >= x (direction 1) or <= x (-1) of a format, step by step from the rounded x."""

    def beyond(value):
        return (value - x) * direction > 0 or (value == x and not strict)

    value = cast(x, name)
    while beyond(value):
        value = neighbour(value, -direction, name)
    while not beyond(value):
        value = neighbour(value, direction, name)
    if not usable(value, name):
        # Between 0 and the smallest number of full precision: whichever end lies in this direction.
        value = direction * 2.0 ** FORMATS[FORMATS[name].wide].emin if value * direction > 0 else 0.0
        if value == x and strict:
            value = direction * 2.0 ** FORMATS[FORMATS[name].wide].emin
    return value


def numbers(name):
    """float64 numbers around the range of a format: any, its own values, their midpoints and near neighbours."""
    largest = FORMATS[name].largest
    any_float = st.floats(-largest, largest, allow_nan=False)
    own = any_float.map(lambda x: cast(x, name)).filter(math.isfinite)

    @st.composite
    def near(draw):
        x = draw(own)
        middle = x + (neighbour(x, 1, name) - x) / 2 if abs(x) < largest else x
        chosen = draw(st.sampled_from([x, middle]))
        return draw(st.sampled_from([chosen, math.nextafter(chosen, -math.inf), math.nextafter(chosen, math.inf)]))

    moderate = st.floats(-4.0, 4.0)
    return st.one_of(any_float, own, near(), moderate, st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 0.1]))


def in_range(x, name):
    assume(math.isfinite(x))
    assume(abs(x) <= FORMATS[name].largest)


@pytest.mark.parametrize("name", NAMES)
class TestAgainstNumpy:
    @given(data=st.data())
    @settings(deadline=None, max_examples=400)
    def test_round(self, name, data):
        x = data.draw(numbers(name))
        in_range(x, name)
        assert FORMATS[name].round(x) == cast(x, name)
        assert math.copysign(1, FORMATS[name].round(x)) == math.copysign(1, cast(x, name)) or cast(x, name) == 0

    @given(data=st.data())
    @settings(deadline=None, max_examples=400)
    def test_at_least_at_most_below(self, name, data):
        x = data.draw(numbers(name))
        in_range(x, name)
        form = FORMATS[name]
        assert form.at_least(x) == search(x, 1, name)
        assert form.at_most(x) == search(x, -1, name)
        assume(x > -form.largest)
        assert form.below(x) == search(x, -1, name, strict=True)

    @given(data=st.data())
    @settings(deadline=None, max_examples=200)
    def test_neighbours_are_values_of_the_format(self, name, data):
        x = data.draw(numbers(name))
        in_range(x, name)
        form = FORMATS[name]
        assume(x > -form.largest)
        low, below, high = form.at_most(x), form.below(x), form.at_least(x)
        assert below < x
        assert below <= low <= x <= high
        for value in (low, below, high):
            assert form.round(value) == value == cast(value, name)
            assert usable(value, name)

    def test_parameters_are_the_formats_own(self, name):
        form, info = FORMATS[name], pytest.importorskip("ml_dtypes").finfo(dtype(name))
        assert form.largest == float(info.max)
        assert 2.0**form.emin == float(info.tiny)
        assert 2.0 ** (1 - form.precision) == float(info.eps)
        assert form.name == name

    def test_ends(self, name):
        form = FORMATS[name]
        for x in (form.largest, -form.largest):
            assert form.round(x) == form.at_least(x) == form.at_most(x) == x
        assert form.below(form.largest) == neighbour(form.largest, -1, name)
        for power in range(form.emin if name == "float16" else FORMATS[form.wide].emin, form.emin + 20):
            x = 2.0**power
            assert form.at_least(x) == form.at_most(x) == x
            assert form.below(x) == search(x, -1, name, strict=True)

    def test_infinity_nan_and_zero_are_rounded_to_themselves(self, name):
        form = FORMATS[name]
        assert form.round(math.inf) == math.inf
        assert form.round(-math.inf) == -math.inf
        assert math.isnan(form.round(math.nan))
        assert form.round(0.0) == 0.0
        assert math.copysign(1, form.round(-0.0)) == -1

    def test_subnormal_numbers_of_the_wide_format_are_left_out(self, name):
        form, least = FORMATS[name], FORMATS[name].smallest
        assert least == (2.0**-24 if name == "float16" else 2.0 ** FORMATS[name].emin)
        for x in (least / 2, least / 3, 2.0**-1030, 5e-324):
            assert form.at_least(x) == least
            assert form.at_most(x) == 0
            assert form.below(x) == 0
            assert form.at_least(-x) == 0
            assert form.at_most(-x) == -least
            assert form.below(-x) == -least
        assert form.below(0.0) == form.below(-0.0) == -least
        assert form.below(least) == 0


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("float16", 65520.0),
        ("float16", -65520.0),
        ("float16", 1e5),
        ("float16", 1e300),
        ("bfloat16", 3.3961775e38),
        ("float32", 3.4028235677973366e38),
        ("float32", -1e39),
    ],
)
def test_overflow_is_refused_where_numpy_makes_infinity(name, x):
    assert math.isinf(cast(x, name))
    with pytest.raises(ValueError, match=f"{name}|float32"):
        FORMATS[name].round(x)
    assert FORMATS[name].round(math.copysign(FORMATS[name].largest, x)) == math.copysign(FORMATS[name].largest, x)


def test_just_below_the_overflow_threshold():
    assert FORMATS["float16"].round(65519.99) == 65504.0
    assert FORMATS["float32"].round(3.4028235677973362e38) == FORMATS["float32"].largest
    assert FORMATS["bfloat16"].round(3.3961e38) == FORMATS["bfloat16"].largest


def test_rounding_twice_is_what_samples_do():
    # Just above the middle of two float16 values, but at the middle in float32: to even, that is down.
    x = 1 + 2.0**-11 + 2.0**-40
    assert float(np.float16(x)) == 1 + 2.0**-10
    assert FORMATS["float16"].round(x) == 1.0 == cast(x, "float16")


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_value_of_a_16_bit_format(name):
    patterns = np.arange(2**16, dtype=np.uint16).view(dtype(name))
    with np.errstate(invalid="ignore"):  # signalling NaNs
        values = np.unique(patterns[np.isfinite(patterns)].astype(np.float64))
    form = FORMATS[name]
    assert [form.round(x) for x in values.tolist()] == values.tolist()
    usable_ones = values[(values == 0) | (np.abs(values) >= 2.0**-126)]
    ascending = usable_ones.tolist()
    for low, high in pairwise(ascending):
        between = low + (high - low) / 3
        assert form.at_most(between) == low
        assert form.at_least(between) == high
        assert form.below(high) == form.below(between) == low


@example(x=5e-324, name="float32")
@example(x=2.0**-149, name="bfloat16")
@example(x=2.0**-133 * 1.5, name="bfloat16")
@example(x=2.0**-25, name="float16")
@given(x=st.floats(-1e-30, 1e-30), name=st.sampled_from(NAMES))
@settings(deadline=None)
def test_round_keeps_subnormal_numbers(x, name):
    assert FORMATS[name].round(x) == cast(x, name)


def test_quantum_is_the_distance_of_neighbours():
    for name in NAMES:
        for x in (1.0, 1.5, 3.0, 0.1, 1024.0, 2.0 ** FORMATS[name].emin):
            value = cast(x, name)
            assert FORMATS[name].quantum(value) == neighbour(value, 1, name) - value


def test_names():
    assert set(NAMES) == set(FORMATS)
    assert set(COMPLEX) == {"complex64", "complex128"}
    assert all(is_floating(name) for name in [*NAMES, *COMPLEX])
    assert not any(is_floating(name) for name in ("int32", "bool", "float8_e4m3fn", "float128", ""))
    assert [real_name(name) for name in ("complex64", "complex128", "float16")] == ["float32", "float64", "float16"]
    assert all(form.wide == ("float64" if form.name == "float64" else "float32") for form in FORMATS.values())


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("int8", (-128, 127)),
        ("uint64", (0, 2**64 - 1)),
        ("int4", (-8, 7)),
        ("bool", (0, 1)),
        ("float32", None),
        ("uint", None),
        ("intp", None),
        ("", None),
    ],
)
def test_ranges_of_integers(name, ends):
    assert formats.integer_range(name) == ends


def test_names_of_dtypes():
    assert [formats.is_complex(name) for name in ("complex64", "complex128", "float64", "int8")] == [1, 1, 0, 0]
    assert [formats.wide_name(name) for name in ("float16", "float64", "complex64")] == [
        "float32",
        "float64",
        "complex64",
    ]
    numbers = ("bool", "int4", "uint8", "float8_e4m3fn", "bfloat16", "complex64")
    assert all(map(formats.is_number, numbers))
    assert not any(map(formats.is_number, ("str", "object", "datetime64", "void")))
