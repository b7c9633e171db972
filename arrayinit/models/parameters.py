"""A parameter of a model as rules see it, whatever the framework."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from arrayinit.common.messages import shape_text
from arrayinit.models.axes import Reading
from arrayinit.stream.formats import is_floating

__all__ = ["Parameter", "overlapping", "tied_paths"]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model, as its framework describes it.

    path: the dotted path.
    shape, dtype: the global shape, and the name of the dtype.
    kinds: the names of the class of the layer that owns it, and of the classes that it inherits from.
    axes: layout, groups, transposed and so on, as keywords of an initializer. A spec's own come first.
    readings: what the axes may mean, the likeliest first, where the framework doesn't say; `axes` has the first.
    order: how the axes of a matrix lie where nothing else is known: "oi", or "io" in JAX and Keras.
    tied: the other paths of the same array.
    optional: whether it may stay as it is where no rule matches: a buffer with values of its own.
    zero_row: the row that is 0 whatever is drawn: the padding of an embedding.
    frozen: why its values may be meant to stay; "" where nothing says so.
    is_loaded: whether a library says that it has put values there.
    has_values: whether it has values yet.
    persistent: whether state dicts hold it, as they do all but some buffers.
    problem: why it can't be drawn, whatever the rule; "" where it can.
    cut: how it is cut into parts of which this process has some; "" where it is whole, or a DTensor.
    through: what makes this weight of other tensors, such as WeightNorm; "" for a tensor of its own.
    originals: those other tensors (torch's word), which are drawn instead where rules name them.
    marks: of an original, the texts of which a pattern must contain one to mean it.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    _: KW_ONLY
    kinds: tuple[str, ...] = ()
    axes: Mapping[str, Any] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()
    order: str = "oi"
    tied: tuple[str, ...] = ()
    optional: bool = False
    zero_row: int | None = None
    frozen: str = ""
    is_loaded: bool = False
    has_values: bool = True
    persistent: bool = True
    problem: str = ""
    cut: str = ""
    through: str = ""
    originals: "tuple[Parameter, ...]" = ()
    marks: tuple[str, ...] = ()

    @property
    def layer_ndim(self) -> int:
        """The number of axes that it has in one layer, without those that number stacked layers."""
        batch = self.axes.get("batch_axis", ())
        stacked = len(batch) if isinstance(batch, tuple) else 1
        return len(self.shape) - max(stacked, str(self.axes.get("layout", "")).count("b"))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"({shape_text(self.shape)}, {self.dtype}{'' if is_floating(self.dtype) else ', not floating'})"


def tied_paths(arrays: Iterable[tuple[str, Hashable]]) -> dict[str, list[str]]:
    """The first path of each array -> its other paths.

    Args:
        arrays: pairs of a path and an identity, which is equal for all paths of one array.
    """
    first: dict[Hashable, str] = {}
    tied: dict[str, list[str]] = {}
    for path, identity in arrays:
        start = first.setdefault(identity, path)
        others = tied.setdefault(start, [])
        if path != start:
            others.append(path)
    return tied


def overlapping(others: Sequence[str]) -> str:
    """The problem of an array that shares a part of its memory with others."""
    return (
        f"shares a part of its memory with {', '.join(others)}, so that drawing one changes the other: give each "
        "memory of its own, or let both be the whole tensor"
    )
