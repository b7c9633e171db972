"""Arrays of a model that share a part of their memory."""

import functools
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np

from arrayinit.backends.base import Extent

__all__ = ["shared_in_part"]

WORK = 100_000  # candidates that are tried before two arrays count as sharing memory


def shared_in_part(arrays: Iterable[tuple[str, tuple[Extent, ...]]]) -> dict[str, list[str]]:
    """The path of each array that overlaps others -> the paths of those, which a write to it would change.

    Args:
        arrays: path and memory of each; one array under several paths only once.
    """
    spaces: dict[Hashable, list[_Span]] = {}
    for path, extents in arrays:
        for extent in extents:
            spaces.setdefault(extent.space, []).append(_Span(*_ends(extent), path, extent))
    shared: dict[str, list[str]] = {}
    array = functools.cache(_array)
    for spans in spaces.values():
        open_: list[_Span] = []
        for span in sorted(spans, key=lambda span: (span.low, span.high)):
            open_ = [other for other in open_ if other.high > span.low]
            for other in open_:
                known = other.path == span.path or other.path in shared.get(span.path, ())
                if not known and _meet(array(other.extent), array(span.extent)):
                    shared.setdefault(span.path, []).append(other.path)
                    shared.setdefault(other.path, []).append(span.path)
            open_.append(span)
    return shared


class _Span(NamedTuple):
    """The bytes from the first of an array, `low`, to the one behind its last, `high`."""

    low: int
    high: int
    path: str
    extent: Extent


def _ends(extent: Extent) -> tuple[int, int]:
    reach = [step * (n - 1) for step, n in zip(extent.strides, extent.shape, strict=True)]
    low = extent.start + sum(step for step in reach if step < 0)
    return low, extent.start + sum(step for step in reach if step > 0) + extent.size


class _Interface:
    """NumPy's array interface for memory that is compared by address and never read."""

    def __init__(self, extent: Extent) -> None:
        self.__array_interface__ = {
            "data": (extent.start + BASE, True), "shape": extent.shape, "strides": extent.strides,
            "typestr": f"|V{extent.size}", "version": 3,
        }  # fmt: skip


BASE = 1 << 40  # added to addresses, which start at 0 within a storage: NumPy takes 0 for no memory


def _array(extent: Extent) -> Any:
    return np.asarray(_Interface(extent))


def _meet(a: Any, b: Any) -> bool:
    """Whether two arrays have a byte in common. True where the search would take too long."""
    try:
        return bool(np.shares_memory(a, b, max_work=WORK))  # type: ignore[arg-type] # NumPy documents any number
    except np.exceptions.TooHardError:
        return True
