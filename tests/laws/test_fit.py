"""Laws as dtypes can hold them."""

import math

import pytest

from arrayinit.laws import Bits, Constant, Dirac, Eye, Normal, Orthogonal, Point
from arrayinit.laws.fit import fit
from arrayinit.laws.lattice import sampling


@pytest.mark.parametrize(
    ("value", "dtype", "wanted"),
    [
        (0.1, "float16", 0.0999755859375),
        (0.1, "complex64", 0.10000000149011612),
        (-128, "int8", -128),
        (255, "uint8", 255),
        (1, "bool", 1),
        (2.0, "int64", 2.0),
        (math.inf, "float32", math.inf),
    ],
)
def test_constants_are_values_of_the_dtype(value, dtype, wanted):
    assert fit(Constant(value), dtype) == (Constant(wanted), None)


@pytest.mark.parametrize(
    ("value", "dtype", "error", "message"),
    [
        (128, "int8", ValueError, "`val` must be a value of the dtype int8; got 128"),
        (-1, "uint16", ValueError, "uint16"),
        (2, "bool", ValueError, "bool"),
        (0.5, "int32", ValueError, "int32"),
        (math.nan, "int32", ValueError, "int32"),
        (1e39, "float32", ValueError, "ends at 3.4"),
        (1, "float8_e4m3fn", TypeError, "`dtype`"),
        (1, "datetime64", TypeError, "`dtype`"),
    ],
)
def test_constants_that_a_dtype_lacks(value, dtype, error, message):
    with pytest.raises(error, match=message):
        fit(Constant(value), dtype)


def test_other_laws():
    assert fit(Point(5.0, -1.0, 1.0), "float32") == (Constant(1.0, of_parts=True), None)
    assert fit(Normal(0.0, 1.0), "float32") == (Normal(0.0, 1.0), sampling(Normal(0.0, 1.0), "float32"))
    assert fit(Dirac(2, 0.1), "float16")[0] == Dirac(2, 0.0999755859375)
    assert fit(Eye(), "bool") == (Eye(), None)
    assert fit(Bits(), "uint32") == (Bits(), None)
    with pytest.raises(TypeError, match="random values; got int32"):
        fit(Orthogonal(1.0), "int32")
