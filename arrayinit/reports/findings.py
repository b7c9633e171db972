"""What looks wrong with a parameter: rules of thumb with their reasons, and tests with their error rates."""

import math
from collections import Counter
from collections.abc import Iterator

from arrayinit.laws import Constant, Law, Packed, is_random
from arrayinit.models.parameters import Parameter
from arrayinit.reports.moments import Moments
from arrayinit.specs import Description
from arrayinit.stream.formats import is_floating

__all__ = ["LEAST", "MOST", "expected_mean", "judge"]

# What a layer multiplies the scale of its input by: sqrt(fan_in E|w|^2), for inputs that are not correlated. Common
# ones are 0.01 (last layers of policies, orthogonal with that gain), 0.05 (hidden layers of SIREN), 0.1 (the residual
# projections of GPT-2), 0.6 (torch's default), 1 (xavier, lecun), 1.4 (kaiming) and 5 (kaiming of fan_out, where a
# layer is much narrower than its input). N(0, 1) of more than 100 inputs is above, N(0, 1e-4^2) of 6000 below.
LEAST, MOST = 1 / 128, 10.0

SIGMAS = 6.0  # of a deviation that is reported: 2e-9 of the parameters that are right would be
SLACK = 0.01  # by which a spread may be off anyway: the rounding of low precision, and what nobody would notice

BY_PART = ("uniform", "normal", "truncated_normal", "quantile")  # complex elements have the mean in both parts


def judge(
    parameter: Parameter, fan_in: int | None, moments: Moments | None, drawn: Moments | None,
    expected: Description | None, law: Law | None,
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """(kind, text) of each thing that looks wrong. A buffer that no rule draws may be anything.

    Args:
        moments: of the array. drawn: of what a rule draws, which the layer may make something else of.
    """
    if parameter.optional and expected is None:
        return
    if moments is not None and moments.nans + moments.infs:
        yield "not finite", f"{moments.nans} NaN and {moments.infs} infinite of {moments.size} elements"
        return
    # A rule for a matrix that is not random (A_log of Mamba, all rows alike) means what it says; constants seldom do.
    is_meant = law is not None and not is_random(law) and not isinstance(law, Constant)
    alike = frozenset[str]() if moments is None or is_meant else moments.alike
    yield from _of_weights(parameter, fan_in, moments, expected, alike)
    if drawn is not None and expected is not None:
        yield from _deviation(drawn, expected, expected_mean(parameter.dtype, expected), _copies(law))


def _of_weights(
    parameter: Parameter,
    fan_in: int | None,
    moments: Moments | None,
    expected: Description | None,
    alike: frozenset[str],
) -> Iterator[tuple[str, str]]:
    """What goes wrong in a product with a matrix."""
    if not is_floating(parameter.dtype) or not _is_weight(parameter) or parameter.marks:
        return  # a part of a weight has no scale of its own
    if moments is not None and moments.is_zero:
        if expected is None:
            yield "dead", "0 everywhere"
        return
    if "o" in alike:
        yield "symmetric", "every output has the same weights, so that they stay copies of one another"
    elif "i" in alike:
        yield "symmetric", "every input has the same weights, so that the layer sees their sum only"
    rms = moments.rms if moments is not None else None
    if rms is None and expected is not None:
        rms = math.hypot(expected.mean, expected.std)
    if rms is None or rms == 0:
        return
    if _is_embedding(parameter):  # looked up, not summed over: a small one is scaled up by what comes next
        if rms > MOST:
            yield "exploding", f"elements of {rms:.3g}, root mean square, in an embedding"
    elif fan_in is not None:
        scale = rms * math.sqrt(fan_in)
        if not LEAST <= scale <= MOST:
            kind = "exploding" if scale > MOST else "vanishing"
            yield kind, f"multiplies the scale of its input by {scale:.3g}: {rms:.3g} in each of {fan_in} inputs"


def _is_weight(parameter: Parameter) -> bool:
    """Whether a parameter is a matrix or a kernel, and not a bias or a scale with axes of size 1."""
    name = parameter.path.rpartition(".")[2].lower()
    is_bias = "bias" in name or name in ("b", "beta")
    return sum(n > 1 for n in parameter.shape) >= 2 and not is_bias


def _is_embedding(parameter: Parameter) -> bool:
    words = parameter.path.split(".")
    return "wte" in words or "wpe" in words or any("embed" in name.lower() for name in (*words, *parameter.kinds))


def expected_mean(dtype: str, expected: Description) -> float | complex | None:
    """The mean that a rule gives to elements of this dtype; None where a description has its real part only."""
    if not dtype.startswith("complex"):
        return expected.mean
    if expected.distribution in ("formula", "mixture"):
        return None
    return complex(expected.mean, expected.mean if expected.distribution in BY_PART else 0.0)


def _deviation(
    moments: Moments, expected: Description, mean: float | complex | None, copies: int
) -> Iterator[tuple[str, str]]:
    """How the elements differ from what a rule draws."""
    if expected.std == 0 and mean is not None:
        ends = (moments.low, moments.high) if isinstance(mean, float) else (moments.mean,)
        wrong = max(ends, key=lambda end: abs(end - mean))
        if wrong != mean or (isinstance(mean, complex) and moments.std > 0):
            yield "deviates", f"{expected.mean:.3g} everywhere is expected; there is {wrong:.3g}"
        return
    if moments.is_zero and mean == 0:
        yield "dead", f"0 everywhere, where a std of {expected.std:.3g} is expected"
        return
    low, high = expected.low, expected.high
    if not isinstance(moments.mean, float) and expected.distribution not in BY_PART:
        low, high = min(low, 0.0), max(high, 0.0)  # of the imaginary parts
    reach = SLACK * (high - low)
    if moments.low < low - reach or moments.high > high + reach:
        outside = moments.low if moments.low < low - reach else moments.high
        yield "deviates", f"{outside:.3g} is outside of [{low:.3g}, {high:.3g}], which is the range"
        return
    if expected.distribution == "quantile":  # of any tail: the mean and the spread of a sample may be far off
        return
    # The standard error of a std is at most that of a normal sample: std / sqrt(2 n). In a mixture the widest counts.
    count = moments.size / copies
    widest = expected.std
    if expected.distribution in ("sparse", "mixture"):
        widest = (expected.high - expected.low) / 2
    far = SIGMAS * widest / math.sqrt(2 * count) + SLACK * expected.std
    if abs(moments.std - expected.std) > far:
        yield "deviates", f"a std of {moments.std:.4g}, where {expected.std:.4g} is expected, {far:.2g} more or less"
    far = SIGMAS * widest / math.sqrt(count) + SLACK * expected.std
    if mean is not None and abs(moments.mean - mean) > far:
        yield "deviates", f"a mean of {moments.mean:.3g}, where {mean:.3g} is expected, {far:.2g} more or less"


def _copies(law: Law | None) -> int:
    """How many times the same draw is repeated: icnr's."""
    if not isinstance(law, Packed):
        return 1
    found = Counter(
        (piece.law, piece.geometry)
        for piece in law.pieces
        if piece.fold is None and not isinstance(piece.law, Constant)
    )
    return max(found.values(), default=1)
