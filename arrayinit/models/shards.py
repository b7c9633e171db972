"""What a process holds of a parameter that is cut: its global shape, and which elements are where."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from arrayinit.common.messages import shown
from arrayinit.laws.geometry import check_shape
from arrayinit.laws.regions import flat_index, part_of

__all__ = ["Part", "Shard", "flat_part", "rows_of"]


@dataclass(frozen=True)
class Part:
    """Elements of a parameter in the memory of this process: `x` holds `whole[index]` or `whole.reshape(-1)[flat]`.

    Args:
        x: the tensor that holds them, to which a draw is written.
        index: a slice for each axis; those that are left out are whole.
        flat: in place of `index`, a slice of the elements in row-major order; x has one axis.

    Raises:
        TypeError: x is no torch tensor.

    Example:
        >>> import torch
        >>> from arrayinit.torch import Part
        >>> Part(torch.zeros(2, 6), index=slice(2, 4)).index
        slice(2, 4, None)
    """

    x: torch.Tensor
    index: tuple[slice, ...] | slice | None = None
    flat: slice | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.x, torch.Tensor):
            raise TypeError(f"`x` of a part must be a torch tensor; got {shown(self.x)}")

    def __repr__(self) -> str:
        where = f"index={self.index}" if self.flat is None else f"flat={self.flat}"
        return f"Part({tuple(self.x.shape)} {self.x.dtype}, {where})"

    def of(self, whole: torch.Tensor) -> torch.Tensor:
        """The same elements of the whole parameter.

        >>> import torch
        >>> from arrayinit.torch import Part
        >>> Part(torch.zeros(3), flat=slice(2, 5)).of(torch.arange(6).reshape(2, 3))
        tensor([2, 3, 4])
        """
        return whole[self.index] if self.flat is None else whole.reshape(-1)[self.flat]


@dataclass(frozen=True)
class Shard:
    """What this process holds of a parameter: the shape of the whole, and the parts of it that are here.

    :func:`arrayinit.torch.shards_of` finds those of the libraries that it knows. To cut models in another way, pass one
    for each parameter as `shards=` of :func:`arrayinit.torch.init_module_`.

    Args:
        shape: the global shape.
        parts: any number of :class:`Part`; none where no element is here.
        how: what cut it, for plans and errors.

    Raises:
        TypeError: `parts` are not all :class:`Part`, or one has neither or both of index and flat.
        ValueError: an index or a range that reaches outside of the shape, is reversed, has steps, or selects another
            shape than that of its tensor.

    Example:
        >>> import torch
        >>> from arrayinit.torch import Part, Shard, init_module_
        >>> layer = torch.nn.Linear(6, 2, bias=False)  # holds rows 2 and 3 of a matrix 4 x 6
        >>> rows = Shard((4, 6), [Part(layer.weight, index=slice(2, 4))])
        >>> layer = init_module_(layer, {"weight": "kaiming_normal"}, seed=0, shards={"weight": rows})
        >>> whole = ai.kaiming_normal((4, 6), seed=0, name="weight", xp=torch)
        >>> torch.equal(layer.weight, whole[2:4])
        True
    """

    shape: tuple[int, ...]
    parts: Sequence[Part]
    how: str = "cut by `shards`"

    @property
    def is_repeated(self) -> bool:
        """Whether the first part has elements that others have, too: a partition that is gathered besides."""
        return len(self.parts) > 1 and self.parts[0].flat is not None and self.parts[1].index is not None

    def __post_init__(self) -> None:
        shape = check_shape(self.shape, "shape")
        object.__setattr__(self, "shape", shape)
        if not isinstance(self.parts, Sequence):
            raise TypeError(f"`parts` must be a list of parts, as [Part(x, index=...)]; got {shown(self.parts)}")
        object.__setattr__(self, "parts", tuple(_checked(part, shape) for part in self.parts))


def _checked(part: Any, shape: tuple[int, ...]) -> Part:
    """A part with a slice for each axis, or with both ends of its range."""
    if not isinstance(part, Part):
        raise TypeError(f"`parts` must be parts, as Part(x, index=...); got {shown(part)}")
    if (part.index is None) == (part.flat is None):
        raise TypeError(
            f"a part must have either an `index` or a range `flat`; got index={part.index!r} and flat={part.flat!r}"
        )
    word = "index" if part.flat is None else "flat"
    where: Any = part.index if part.flat is None else part.flat
    slices: tuple[Any, ...] = where if isinstance(where, tuple) else (where,)
    for each in slices:
        if not isinstance(each, slice) or each.step not in (None, 1):
            raise ValueError(f"`{word}` must have slices with steps of 1; got {where!r}")
        if each.start is not None and each.stop is not None and 0 <= each.stop < each.start:
            raise ValueError(f"`{word}` must have slices that end no earlier than they start; got {where!r}")
    selected = part_of(shape, slices if part.flat is None else flat_index(part.flat))
    if selected.shape != tuple(part.x.shape):
        raise ValueError(
            f"`{word}` must select what the tensor of the part holds; got {where!r}, which selects {selected.shape} of "
            f"{shape}, and a tensor of shape {tuple(part.x.shape)}"
        )
    if part.flat is not None:
        return Part(part.x, flat=slice(*part.flat.indices(math.prod(shape))[:2]))
    slices += (slice(None),) * (len(shape) - len(slices))
    return Part(part.x, tuple(slice(*each.indices(n)[:2]) for each, n in zip(slices, shape, strict=True)))


def rows_of(part: Part, shape: tuple[int, ...], rows: range) -> Iterator[Part]:
    """What a part of a shard has of some rows of the whole: a part again, or nothing."""
    length = 1 if part.flat is None else math.prod(shape[1:])
    here: slice = part.flat or part.index[0]  # type: ignore[index] # a slice for each axis
    first, end = max(here.start, rows.start * length), min(here.stop, rows.stop * length)
    if first < end:
        x, found = part.x[first - here.start : end - here.start], slice(first, end)
        yield Part(x, flat=found) if part.flat else Part(x, (found, *part.index[1:]))  # type: ignore[index]


def flat_part(x: torch.Tensor, shape: tuple[int, ...], start: int) -> Part:
    """The elements of the whole from `start` on that x holds, without what x has beyond their end."""
    size = math.prod(shape)
    first, end = min(start, size), min(start + x.numel(), size)
    return Part(x[: end - first], flat=slice(first, end))
