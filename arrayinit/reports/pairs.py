"""Weights that are copies of each other: the same memory transposed, or the same values in memory of their own."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from arrayinit.backends import backend_of
from arrayinit.common.folding import folded
from arrayinit.digests import fingerprint
from arrayinit.laws import is_random
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import Planned
from arrayinit.reports.findings import is_weight
from arrayinit.reports.statistics import Statistics
from arrayinit.stream.formats import is_floating

__all__ = ["Measured", "pair_findings"]

SHOWN = 3  # paths in a text
FEWEST = 16  # elements of weights that are compared: a few numbers may be equal by chance, in 8 or 16 bits
LIKE = 1e-9  # relative difference of sums of the same numbers in another order


class Measured(NamedTuple):
    """A parameter with its array, and what is known of the values that this process holds.

    x: the array; None for a weight that a layer makes of others, which would take memory.
    """

    parameter: Parameter
    x: Any
    moments: Statistics | None
    fingerprint: str | None


def pair_findings(
    measured: Iterable[Measured], planned: Mapping[str, Planned]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """(path, (kind, text)) of each finding.

    Args:
        planned: the plan of the rules, in which two weights may be meant to have one draw, or values that are no draw.
    """
    weights = [each for each in measured if _is_compared(each)]
    views = _transposed_views(weights)
    for path, first in views.items():
        yield path, ("transposed tie", f"is {first} transposed, in the same memory: a draw of one changes the other")
    groups: dict[str | None, list[Measured]] = {}
    for each in weights:
        if each.parameter.path not in views and _may_be_a_copy(each, planned):
            groups.setdefault(each.fingerprint, []).append(each)
    yield from _same_values([group for mark, group in groups.items() if mark is not None], planned)


def _is_compared(each: Measured) -> bool:
    parameter = each.parameter
    is_whole = not parameter.cut and not parameter.optional and not parameter.marks and not parameter.through
    if each.moments is None or not is_whole or not is_floating(parameter.dtype) or not is_weight(parameter):
        return False
    return not backend_of(each.x).is_shared(each.x)  # of others the processes hold parts


def _transposed_views(weights: list[Measured]) -> dict[str, str]:
    """Path of a weight -> the path of an earlier one that it is the transpose of, in the same memory."""
    known: dict[Any, str] = {}
    result = {}
    for path, x in ((each.parameter.path, each.x) for each in weights):
        extents = backend_of(x).extents(x)
        if len(extents) != 1:
            continue
        (extent,) = extents
        place = extent.space, extent.start, extent.size
        other = known.get((*place, extent.shape[::-1], extent.strides[::-1]))
        if other is not None:
            result[path] = other
        known.setdefault((*place, extent.shape, extent.strides), path)
    return result


def _may_be_a_copy(each: Measured, planned: Mapping[str, Planned]) -> bool:
    """Whether a weight has random values, as far as can be seen, of which two are equal by no chance."""
    moments, entry = each.moments, planned.get(each.parameter.path)
    if moments is None or each.parameter.size < FEWEST or not moments.std > 0 or moments.nans + moments.infs:
        return False
    is_drawn = entry is None or entry.job is None or is_random(entry.job.law)
    return is_drawn and not moments.alike and not {moments.low, moments.high} <= {0.0, 1.0}


def _same_values(groups: list[list[Measured]], planned: Mapping[str, Planned]) -> Iterator[tuple[str, tuple[str, str]]]:
    transposed: dict[
        int, str
    ] = {}  # number of a group -> the path of an earlier weight that its first is a transpose of
    by_numbers: dict[Any, list[list[Measured]]] = {}
    for number, group in enumerate(groups):
        first = group[0]
        assert first.moments is not None
        shape, range_ = first.parameter.shape, (first.parameter.dtype, first.moments.low, first.moments.high)
        for other in by_numbers.get((shape[::-1], *range_), []) if len(shape) == 2 else ():
            if shape != (1, 1) and _is_transpose(other[0], first):
                transposed[number] = other[0].parameter.path
        by_numbers.setdefault((shape, *range_), []).append(group)
    for number, group in enumerate(groups):
        path, *others = [each.parameter.path for each in group]
        names = {planned[each].seed_name for each in (path, *others) if each in planned}
        if number in transposed:
            text = f"has the values of {transposed[number]}, transposed, in memory of its own: a tie that came apart?"
            yield path, ("same values", text)
        if others and (len(names) != 1 or path not in planned):
            labels = [label for label, _ in folded(others, [None] * len(others))]
            more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
            verb, owner = ("has", "its") if len(others) == 1 else ("have", "their")
            text = (
                f"{', '.join(labels[:SHOWN])}{more} {verb} the same values in memory of {owner} own: drawn from one "
                f"key, copied, or a tie that came apart?"
            )
            yield path, ("same values", text)


def _is_transpose(a: Measured, b: Measured) -> bool:
    assert a.moments is not None
    assert b.moments is not None
    if not math.isclose(a.moments.std, b.moments.std, rel_tol=LIKE):
        return False
    return fingerprint(b.x, layout="io") == a.fingerprint
