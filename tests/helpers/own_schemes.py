"""Schemes as users would write them, registered by importing this module; the examples in docstrings have others."""

import re

import arrayinit as ai
from arrayinit.laws import Constant, Formula, Normal, Rows, Truncated, Uniform


@ai.scheme(name="lab.laplace_he")
def laplace_he(geometry, gain=2**0.5):
    """A Laplace distribution with the variance gain^2 / fan_in."""
    return ai.spec("distribution", distribution="laplace", parameters=(0.0, gain / (2 * geometry.fan_in) ** 0.5))


@ai.scheme(name="lab.block_orthogonal")
def block_orthogonal(geometry, gains=(1.0, 2.0)):
    """An orthogonal block for each gain."""
    return ai.spec("packed", initializer=[ai.spec("orthogonal", gain=g) for g in gains], blocks=len(gains))


@ai.scheme(name="lab.by_frequency")
def by_frequency(geometry, offset=1.0):
    """N(0, 1 / (k + offset)) in row k, and a row of zeros for padding."""
    rows = geometry.shape[geometry.axis("out")]
    return Rows([Constant(0.0), *(Normal(0.0, 1 / (k + offset) ** 0.5) for k in range(1, rows))])


@ai.scheme(name="lab.by_input")
def by_input(geometry):
    """A law of another kind for each input."""
    laws = [Uniform(-1.0, 2.0), Normal(0.5, 2.0), Truncated(0.0, 1.0, -1.0, 0.5), ai.spec("distribution",
            distribution="logistic")]  # fmt: skip
    return Rows([laws[k % 4] for k in range(geometry.shape[geometry.axis("in")])], axis="in")


@ai.scheme(name="lab.by_depth")
def by_depth(geometry, path="layers.0", std=0.02):
    """N(0, std^2 / (2 (layer + 1))), the layer from the path."""
    layer = int(re.search(r"layers[.](\d+)", path)[1])
    return Normal(0.0, std / (2 * (layer + 1)) ** 0.5)


def ramp(coordinates, step):
    return sum(coordinates) * step


@ai.scheme(name="lab.ramped")
def ramped(geometry, step=0.125):
    """The sum of the indices of an element, times a step."""
    return Formula(ramp, (step,), reach=step * sum(geometry.shape))


@ai.scheme(name="lab.grouped")
def grouped(geometry, scale=1.0):
    """Bounds from all numbers of a geometry."""
    bound = scale / (geometry.fan_out * geometry.receptive_field * geometry.groups) ** 0.5
    return Uniform(-bound, bound, bounds_follow_std=True)
