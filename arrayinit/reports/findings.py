"""Judge a parameter: rules of thumb with their reasons, and statistical tests with their error rates."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from arrayinit.laws import Constant, Law, Packed, is_random
from arrayinit.models.norms import is_zero_centered
from arrayinit.models.parameters import Parameter
from arrayinit.reports.statistics import Statistics
from arrayinit.specs import Description
from arrayinit.stream.formats import is_complex, is_floating

__all__ = ["LARGEST_SCALE", "LEAST_SCALE", "expected_mean", "is_bias", "is_weight", "judge"]

# A layer multiplies the scale of uncorrelated inputs by sqrt(fan_in E|w|^2). Common values are 0.01 (last layers of
# policies, orthogonal with that gain), 0.05 (hidden layers of SIREN), 0.1 (residual projections of GPT-2), 0.6 (torch's
# default), 1 (xavier, lecun), 1.4 (kaiming) and 5 (kaiming with fan_out, if a layer is much narrower than its input).
# N(0, 1) with more than 100 inputs is above LARGEST_SCALE; N(0, 1e-4^2) with 6000 inputs is below LEAST_SCALE.
LEAST_SCALE, LARGEST_SCALE = 1 / 128, 10.0

SIGMAS = 6.0  # standard errors of a deviation that is reported; 2e-9 of correct parameters deviate so far
SLACK = 0.01  # share of the std that is always tolerated, for the rounding of low precision

# In these distributions, the mean of complex elements is in both the real and the imaginary part.
BY_PART = ("uniform", "normal", "truncated_normal", "quantile")

# Names of matrices. Other constants with several axes multiply element by element: r_k of RWKV-7, (heads, size).
_MATRIX = re.compile(r"(?i)(weight|kernel|embed\w*|(^|\.)\w*proj\w*|(^|\.)w\w*)$")


def judge(
    parameter: Parameter, fan_in: int | None, moments: Statistics | None, drawn: Statistics | None,
    expected: Description | None, law: Law | None, is_gain: bool,
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """(kind, text) of each finding. A buffer that no rule draws has none.

    Args:
        moments: of the array. drawn: of the values that the rule draws, from which a layer may compute the array.
        is_gain: whether the parameter is the gain of a norm.
    """
    if parameter.optional and expected is None:
        return
    if moments is not None and moments.nans + moments.infs:
        yield "not finite", f"{moments.nans} NaN and {moments.infs} infinite of {moments.size} elements"
        return
    # Rules for matrices that are not random may mean equal rows, as A_log of Mamba has. Constants seldom do.
    is_intended = law is not None and not is_random(law) and not isinstance(law, Constant)
    is_scale = moments is not None and moments.low == moments.high and not _MATRIX.search(parameter.path)
    alike = frozenset[str]() if moments is None or is_intended or is_scale else moments.alike
    if is_gain and is_floating(parameter.dtype):
        yield from _of_gain(is_zero_centered(parameter.kinds), moments, expected)
    else:
        yield from _of_weights(parameter, fan_in, moments, expected, alike)
    if drawn is not None and expected is not None:
        yield from _deviation(drawn, expected, expected_mean(parameter.dtype, expected), _copies(law))


def _of_weights(
    parameter: Parameter,
    fan_in: int | None,
    moments: Statistics | None,
    expected: Description | None,
    alike: frozenset[str],
) -> Iterator[tuple[str, str]]:
    """Findings about a weight: dead, symmetric, exploding, vanishing."""
    if not is_floating(parameter.dtype) or not is_weight(parameter) or parameter.marks:
        return  # a tensor from which a weight is computed has no scale by itself
    if moments is not None and moments.is_zero:
        if expected is None:
            yield "dead", "all elements are 0"
        return
    if "o" in alike:
        yield "symmetric", "every output has the same weights, so all outputs stay equal"
    elif "i" in alike:
        yield "symmetric", "every input has the same weights, so the layer sees only the sum of its inputs"
    rms = moments.rms if moments is not None else None
    if rms is None and expected is not None:
        rms = math.hypot(expected.mean, expected.std)
    if rms is None or rms == 0:
        return
    if _is_embedding(parameter):  # looked up, not summed over; small values are scaled up by later layers
        if rms > LARGEST_SCALE:
            yield "exploding", f"the root mean square of an embedding's elements is {rms:.3g}"
    elif parameter.readings:
        yield from _of_readings(parameter, rms)
    elif fan_in is not None:
        scale = rms * math.sqrt(fan_in)
        if not LEAST_SCALE <= scale <= LARGEST_SCALE:
            kind = "exploding" if scale > LARGEST_SCALE else "vanishing"
            yield (
                kind,
                f"multiplies the scale of its input by {scale:.3g}: root mean square {rms:.3g}, {fan_in} inputs",
            )


def _of_gain(is_centered: bool, moments: Statistics | None, expected: Description | None) -> Iterator[tuple[str, str]]:
    """Findings about the gain of a norm: drawn at random, or 1 where the norm adds 1 to it.

    Args:
        is_centered: whether the norm multiplies by 1 + weight.
    """
    start = 0 if is_centered else 1
    if expected is not None and expected.std > 0:
        text = f"the gain of a norm starts with {start}; its rule draws it with a std of {expected.std:.3g}"
        yield "random gain", text
        return
    if expected is not None:
        low, high, mean, std = expected.low, expected.high, expected.mean, expected.std
    elif moments is not None and isinstance(moments.mean, float):
        low, high, mean, std = moments.low, moments.high, moments.mean, moments.std
    else:
        return
    # Gains that were trained are spread around their mean; those that are drawn like weights, around 0.
    if std > abs(mean + 1 - start):
        yield "random gain", f"the gain of a norm starts with {start}; the mean is {mean:.3g} and the std {std:.3g}"
    elif is_centered and low == high == 1:
        yield "doubled", "the norm multiplies by 1 + weight, so a weight of 1 doubles its output; start with 0"


def _of_readings(parameter: Parameter, rms: float) -> Iterator[tuple[str, str]]:
    """The finding about a weight of which it is open what its axes mean: a scale that no reading explains."""
    scales = {each.words: rms * math.sqrt(each.fans(parameter.shape)[0]) for each in parameter.readings}
    if any(LEAST_SCALE <= scale <= LARGEST_SCALE for scale in scales.values()):
        return
    kind = "exploding" if min(scales.values()) > LARGEST_SCALE else "vanishing"
    texts = ", ".join(f"by {scale:.3g} as {words}" for words, scale in scales.items())
    yield kind, f"multiplies the scale of its input {texts}, whatever its axes mean: root mean square {rms:.3g}"


def is_weight(parameter: Parameter) -> bool:
    """Whether a parameter is a matrix or a kernel, rather than a bias or a scale with axes of size 1."""
    return sum(n > 1 for n in parameter.shape) >= 2 and not is_bias(parameter)


def is_bias(parameter: Parameter) -> bool:
    """Whether a parameter is a bias by its name, or a vector of stacked layers; these may have several axes."""
    name = parameter.path.rpartition(".")[2].lower()
    return "bias" in name or name in ("b", "beta") or set(parameter.axes) == {"batch_axis"}


def _is_embedding(parameter: Parameter) -> bool:
    words = parameter.path.split(".")
    return "wte" in words or "wpe" in words or any("embed" in name.lower() for name in (*words, *parameter.kinds))


def expected_mean(dtype: str, expected: Description) -> float | complex | None:
    """The mean that a rule gives to elements of this dtype; None if a description has only its real part."""
    if not is_complex(dtype):
        return expected.mean
    if expected.distribution in ("formula", "mixture"):
        return None
    return complex(expected.mean, expected.mean if expected.distribution in BY_PART else 0.0)


def _deviation(
    moments: Statistics, expected: Description, mean: float | complex | None, copies: int
) -> Iterator[tuple[str, str]]:
    """Findings about elements that differ from what their rule draws."""
    if expected.std == 0 and mean is not None:
        ends = (moments.low, moments.high) if isinstance(mean, float) else (moments.mean,)
        wrong = max(ends, key=lambda end: abs(end - mean))
        if wrong != mean or (isinstance(mean, complex) and moments.std > 0):
            yield "deviates", f"all elements should be {expected.mean:.3g}; there is {wrong:.3g}"
        return
    if moments.is_zero and mean == 0:
        yield "dead", f"all elements are 0; the std should be {expected.std:.3g}"
        return
    low, high = expected.low, expected.high
    if not isinstance(moments.mean, float) and expected.distribution not in BY_PART:
        low, high = min(low, 0.0), max(high, 0.0)  # imaginary parts are 0
    reach = SLACK * (high - low)
    if moments.low < low - reach or moments.high > high + reach:
        outside = moments.low if moments.low < low - reach else moments.high
        yield "deviates", f"{outside:.3g} is outside of [{low:.3g}, {high:.3g}], the range of the rule"
        return
    if expected.distribution == "quantile":  # with heavy tails the mean and std of a sample may be far off
        return
    # The standard error of a std is at most that of a normal sample, std / sqrt(2 n), with the widest std of a mixture.
    count = moments.size / copies
    widest = expected.std
    if expected.distribution in ("sparse", "mixture"):
        widest = (expected.high - expected.low) / 2
    far = SIGMAS * widest / math.sqrt(2 * count) + SLACK * expected.std
    if abs(moments.std - expected.std) > far:
        yield "deviates", f"the std is {moments.std:.4g}; it should be {expected.std:.4g}, within {far:.2g}"
    far = SIGMAS * widest / math.sqrt(count) + SLACK * expected.std
    if mean is not None and abs(moments.mean - mean) > far:
        yield "deviates", f"the mean is {moments.mean:.3g}; it should be {mean:.3g}, within {far:.2g}"


def _copies(law: Law | None) -> int:
    """How many times the same draw is repeated, as in icnr."""
    if not isinstance(law, Packed):
        return 1
    repeats = Counter(
        (piece.law, piece.geometry)
        for piece in law.pieces
        if piece.fold is None and not isinstance(piece.law, Constant)
    )
    return max(repeats.values(), default=1)
