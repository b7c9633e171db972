"""Whether elements of a strided array share memory, by its shape and strides alone.

Two elements share memory where some steps d along the axes, not all 0, lead less than an element's size away. Nested
axes, each stepping over all that the shorter ones cover, have no such steps. Arrays with more bytes than they reach
over always have some. In arrays of interleaved axes `_Search` looks for such steps. It visits few of them, except where
many axes interleave, which does not occur in practice and is refused.
"""

import math
from collections.abc import Sequence

__all__ = ["check_distinct"]

SEARCHED = 1 << 16  # steps to visit at most, each in about a microsecond


class _TooLongError(Exception):
    """The search would take more steps than are allowed."""


def check_distinct(shape: Sequence[int], strides: Sequence[int], size: int) -> None:
    """Refuse a strided array whose elements share memory; `strides` and the size of an element are in one unit.

    ValueError where elements share memory, or where it would take too long to find out.
    """
    shape, strides = tuple(shape), tuple(strides)
    axes = sorted((abs(stride), n - 1) for stride, n in zip(strides, shape, strict=True) if n > 1)
    if 0 in shape or _nests(axes, size):
        return
    reach = size + sum(stride * steps for stride, steps in axes)
    try:
        overlaps = not axes[0][0] or math.prod(shape) * size > reach or _Search(axes, size).finds()
    except _TooLongError:
        raise ValueError(
            f"`x` must have elements that clearly don't share memory; got shape {shape} with strides {strides}, whose "
            "axes interleave in too many ways to tell: fill a new array, and copy it"
        ) from None
    if overlaps:
        raise ValueError(f"`x` must not have elements that share memory; got shape {shape} with strides {strides}")


def _nests(axes: Sequence[tuple[int, int]], size: int) -> bool:
    """Whether each axis steps over all that the axes with shorter strides cover."""
    covered = size
    for stride, steps in axes:
        if stride < covered:
            return False
        covered += stride * steps
    return True


class _Search:
    """For steps d along the axes, not all 0, that lead back to where they began.

    The bytes of an element are an axis of stride 1, so that "less than an element away" becomes "exactly 0 away". Axes
    are taken from the longest stride to the shortest. With d fixed for the first k of them, the others must lead to
    `target`. Two bounds leave few choices for the next d: |target - d * stride| is at most the reach of the shorter
    axes together, and it is a multiple of the greatest common divisor of their strides, because all sums of their steps
    are. The second makes d known modulo divisor / gcd(stride, divisor). `tests/backends/test_overlap.py` compares with
    a count of the bytes of each array.
    """

    def __init__(self, axes: Sequence[tuple[int, int]], size: int) -> None:
        self.axes = sorted([*axes, *([(1, size - 1)] if size > 1 else [])], reverse=True)
        after = [self.axes[k + 1 :] for k in range(len(self.axes))]
        self.reaches = [sum(stride * steps for stride, steps in axes) for axes in after]  # of the shorter axes
        self.divisors = [math.gcd(*(stride for stride, _ in axes)) for axes in after]  # of all sums of their steps
        self.left = SEARCHED

    def finds(self) -> bool:
        """Whether there are such steps. The first that is not 0 may be taken as positive, since -d leads back, too."""
        return any(
            self._is_reached(k + 1, -d * stride)
            for k, (stride, _) in enumerate(self.axes)
            for d in self._choices(k, 0, least=1)
        )

    def _is_reached(self, k: int, target: int) -> bool:
        """Whether steps along axis k and those after it lead to the target."""
        if k == len(self.axes):
            return target == 0
        return any(self._is_reached(k + 1, target - d * self.axes[k][0]) for d in self._choices(k, target))

    def _choices(self, k: int, target: int, least: int | None = None) -> range:
        """The steps along axis k from which the shorter axes may lead to the target."""
        (stride, steps), reach, divisor = self.axes[k], self.reaches[k], self.divisors[k] or 1
        low = max(-steps if least is None else least, -((reach - target) // stride))
        high = min(steps, (reach + target) // stride)
        shared = math.gcd(stride, divisor)
        if target % shared:
            return range(0)
        turn = divisor // shared  # d is known modulo this
        first = target // shared * pow(stride // shared, -1, turn) % turn
        choices = range(low + (first - low) % turn, high + 1, turn)
        self.left -= len(choices)
        if self.left < 0:
            raise _TooLongError
        return choices
