"""Facts about dtypes by name, and exact rounding of a Python float to a floating-point format."""

import math
from dataclasses import dataclass

__all__ = [
    "COMPLEX",
    "FORMATS",
    "Format",
    "integer_range",
    "is_complex",
    "is_floating",
    "is_number",
    "real_name",
    "wide_name",
]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format (IEEE 754-2019, 3.3): digits, smallest normal exponent, largest value."""

    name: str
    precision: int
    emin: int  # the smallest normal number is 2**emin
    largest: float
    wide: str  # the format that a sample is rounded to first: float64 for itself, float32 for all others

    def quantum(self, x: float) -> float:
        """The distance between neighbouring values of the format around x (a power of two)."""
        _, exponent = math.frexp(x)
        return math.ldexp(1.0, max(exponent - self.precision, self.emin - self.precision + 1))

    def round(self, x: float) -> float:
        """x rounded to nearest, ties to even, through the wide format as samples are; ValueError beyond `largest`."""
        if not math.isfinite(x) or x == 0:
            return x
        if self.wide != self.name:
            x = FORMATS[self.wide].round(x)
        q = self.quantum(x)
        value = round(x / q) * q
        if abs(value) > self.largest:
            raise ValueError(f"{self.name} ends at {self.largest!r}; got {x!r}")
        return value

    def at_least(self, x: float) -> float:
        """The smallest value >= x, without subnormal numbers of the wide format, which hardware may flush to zero."""
        q = self.quantum(x)
        value = math.ceil(x / q) * q
        return self._normal(value, x) if abs(value) <= self.largest else math.copysign(self.largest, value)

    def at_most(self, x: float) -> float:
        """The largest value <= x, likewise."""
        return 0.0 - self.at_least(-x)  # never -0.0: libraries differ in how they clip to it

    def below(self, x: float) -> float:
        """The largest value < x, likewise."""
        value = self.at_most(x)
        if value < x:
            return value
        if value == 0:
            return -self.smallest
        q = self.quantum(value)
        if value > 0 and math.frexp(value)[0] == 0.5:  # below a power of two the values are twice as dense
            q = max(q / 2, math.ldexp(1.0, self.emin - self.precision + 1))
        return self.at_most(value - q)

    def within(self, low: float, high: float, interval: str) -> tuple[float, float]:
        """The smallest and the largest value in [low, high], which may be infinite; ValueError where there is none."""
        least = self.at_least(low) if math.isfinite(low) else -self.largest
        most = self.at_most(high) if math.isfinite(high) else self.largest
        if least > most:
            raise ValueError(f"the {interval} must hold a value of {self.name}; got [{low!r}, {high!r}]")
        return least, most

    @property
    def smallest(self) -> float:
        """The smallest positive value that no hardware flushes to zero."""
        return math.ldexp(1.0, max(self.emin - self.precision + 1, FORMATS[self.wide].emin))

    def _normal(self, value: float, x: float) -> float:
        if 0 < abs(value) < self.smallest:
            return self.smallest if x > 0 else 0.0
        return value


FORMATS = {
    form.name: form
    for form in (
        Format("float64", 53, -1022, math.ldexp(2 - 2**-52, 1023), "float64"),
        Format("float32", 24, -126, math.ldexp(2 - 2**-23, 127), "float32"),
        Format("float16", 11, -14, 65504.0, "float32"),
        Format("bfloat16", 8, -126, math.ldexp(2 - 2**-7, 127), "float32"),
    )
}
COMPLEX = {"complex64": "float32", "complex128": "float64"}


def is_floating(name: str) -> bool:
    """Whether samples can be drawn in a dtype of this name."""
    return name in FORMATS or name in COMPLEX


def is_complex(name: str) -> bool:
    """Whether an element of this dtype has two parts, each drawn from a word of its own."""
    return name in COMPLEX


def is_number(name: str) -> bool:
    """Whether elements of this dtype are numbers or booleans; also true of types that are too short to be drawn."""
    return name == "bool" or name.startswith(("int", "uint", "float", "bfloat16", "complex"))


def real_name(name: str) -> str:
    """The dtype of the parts of a complex dtype; a real dtype is its own."""
    return COMPLEX.get(name, name)


def wide_name(name: str) -> str:
    """The dtype that values of this floating-point dtype are rounded from: the wide format, or the complex dtype."""
    return name if name in COMPLEX else FORMATS[name].wide


def integer_range(name: str) -> tuple[int, int] | None:
    """The smallest and the largest value of an integer dtype; (0, 1) for bool, None for other dtypes."""
    if name == "bool":
        return 0, 1
    kind, bits = ("uint", name[4:]) if name.startswith("uint") else ("int", name[3:])
    if not name.startswith(kind) or not bits.isdigit():
        return None
    return (0, 2 ** int(bits) - 1) if kind == "uint" else (-(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1) - 1)
