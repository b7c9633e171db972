"""Fingerprints of parts of a tensor, which are added where the tensor is whole nowhere."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends import Backend, backend_of, find_backend
from arrayinit.common.integers import as_integer, as_integers
from arrayinit.common.messages import shown
from arrayinit.digests.stored import is_stored, stored_blocks
from arrayinit.digests.sums import SLAB, Sums, added, sums
from arrayinit.laws.geometry import Axes, Geometry, check_shape, geometry
from arrayinit.laws.regions import Box, Flat, Index, box, flat_index, part_of, region

__all__ = ["FingerprintPart", "fingerprint_part", "part_held", "shape_of"]

# Names of the dtypes of numbers.
DTYPES = r"bool|bfloat16|u?int\d+|float\d+(_[a-z0-9]+)?|complex\d+|(datetime|timedelta)64(\[\w+\])?"
ABSTRACT = "which is abstract, traced or deleted"


@dataclass(frozen=True)
class FingerprintPart:
    """What :func:`arrayinit.fingerprint_part` returns. Parts of one tensor are added, and `digest()` ends it.

        >>> x = ai.normal((4, 6), seed=0)
        >>> parts = [ai.fingerprint_part(x[rows], shape=x.shape, index=rows) for rows in (slice(0, 1), slice(1, 4))]
        >>> sum(parts).digest() == ai.fingerprint(x)
        True

    dtype, shape: those of the whole tensor, with its axes in canonical order.
    count: how many elements the part has. total: two sums of hashes, modulo 2^64 each.
    """

    dtype: str
    shape: tuple[int, ...]
    count: int
    total: Sums

    def __add__(self, other: Any) -> "FingerprintPart":
        if not isinstance(other, FingerprintPart):
            return NotImplemented
        if (self.dtype, self.shape) != (other.dtype, other.shape):
            raise ValueError(
                f"parts must be of one tensor; got {self.dtype} {self.shape} and {other.dtype} {other.shape}"
            )
        return replace(self, count=self.count + other.count, total=added(self.total, other.total))

    def __radd__(self, other: Any) -> "FingerprintPart":
        return self if type(other) is int and other == 0 else NotImplemented  # the start of `sum`

    def digest(self) -> str:
        """The fingerprint of the tensor. ValueError unless the parts have as many elements as it has.

        >>> ai.fingerprint_part(ai.zeros(3), shape=3).digest() == ai.fingerprint(ai.zeros(3))
        True
        """
        import hashlib  # imported here: it takes a sixth of the import time of the whole package

        size = math.prod(self.shape)
        if self.count != size:
            problem = "some are missing" if self.count < size else "some were added twice"
            raise ValueError(
                f"parts must have each of the {size:,} elements of {self.shape} once; got {self.count:,}, so {problem}"
            )
        text = f"{self.dtype} {self.shape} {self.total[0]:016x}{self.total[1]:016x}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The part as plain data, for JSON; the sum in hexadecimal digits.

        >>> part = ai.fingerprint_part(ai.zeros(2), shape=(4, 2), index=0)
        >>> part.as_dict()
        {'dtype': 'float32', 'shape': [4, 2], 'count': 2, 'sum': 'e220a8397b1dcdafb6f88c816bb3a4a1'}
        """
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "count": self.count,
            "sum": f"{self.total[0]:016x}{self.total[1]:016x}",
        }

    @classmethod
    def from_dict(cls, data: Any) -> "FingerprintPart":
        """The part that `as_dict` wrote. ValueError for anything else.

        >>> part = ai.fingerprint_part(ai.zeros(2), shape=(4, 2), index=0)
        >>> ai.FingerprintPart.from_dict(part.as_dict()) == part
        True
        """
        if isinstance(data, Mapping) and set(data) == {"dtype", "shape", "count", "sum"}:
            shape, count, text = as_integers(data["shape"]), as_integer(data["count"]), data["sum"]
            dtype = data["dtype"]
            is_dtype = isinstance(dtype, str) and re.fullmatch(DTYPES, dtype) is not None
            is_sum = isinstance(text, str) and len(text) == 32 and set(text) <= set("0123456789abcdef")
            if (
                is_dtype and is_sum and shape is not None and min(shape, default=0) >= 0
                and count is not None and 0 <= count <= math.prod(shape)
            ):  # fmt: skip
                return cls(dtype, shape, count, (int(text[:16], 16), int(text[16:], 16)))
        raise ValueError(f"`data` must be what `FingerprintPart.as_dict` returned; got {shown(data)}")


def fingerprint_part(
    x: Any,
    *,
    shape: Any,
    index: Index | None = None,
    flat: slice | None = None,
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
) -> FingerprintPart:
    """The share of a part in the fingerprint of a tensor, which no process has to hold as a whole.

        fingerprint = digest of the sum of the parts, in any order

        >>> x = ai.normal((4, 6), seed=0)
        >>> a = ai.fingerprint_part(x.reshape(-1)[:10], shape=(4, 6), flat=slice(0, 10))
        >>> b = ai.fingerprint_part(x.reshape(-1)[10:], shape=(4, 6), flat=slice(10, 24))
        >>> (b + a).digest() == ai.fingerprint(x)
        True
        >>> a.digest()
        Traceback (most recent call last):
            ...
        ValueError: parts must have each of the 24 elements of (4, 6) once; got 10, so some are missing

    Parts are a few bytes: `as_dict()` goes into a JSON file or through any collective, `from_dict` reads it again. No
    communication happens here. That each element is in one part is checked by their number only: a part that is
    missing and another one of its size that is there twice give another digest, and no error.

    Args:
        x: the elements that this process holds: an array as for :func:`arrayinit.fingerprint`; the local tensor of a
            DTensor.
        shape: the shape of the whole tensor.
        index: the part that x is, as integers and slices: `x` is `whole[index]`. None: x is the whole.
        flat: in place of `index`, a slice of the elements in row-major order of `shape`; x has one axis then.
        layout, in_axis, out_axis, batch_axis: as in :func:`arrayinit.fingerprint`, of the whole tensor.

    Raises:
        TypeError: as :func:`arrayinit.fingerprint`; `index` beside `flat`; x is shared by several processes.
        ValueError: an index outside the shape, a part of another shape than x, an impossible layout.

    Source: the sum is in arrayinit/digests/sums.py.
    """
    if flat is not None and index is not None:
        raise TypeError(f"`flat` and `index` must not be given together; got {shown(flat)} and {shown(index)}")
    backend = None if is_stored(x) else backend_of(x)
    if backend is not None and backend.is_shared(x):
        raise TypeError("`x` must be what this process holds; got an array of several processes: pass its local part")
    where = geometry(check_shape(shape, "shape"), layout, in_axis, out_axis, batch_axis)
    part = part_of(where.shape, index if flat is None else flat_index(flat))
    if shape_of(x) != part.shape:
        word = "index" if flat is None else "flat"
        raise ValueError(f"`x` must have the shape that `{word}` selects, {part.shape}; got {tuple(x.shape)}")
    return part_held(x, where, part)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array. TypeError for tensors that have none."""
    if getattr(x, "is_nested", False) is True:
        raise TypeError("`x` must have one shape; got a nested tensor: take its values(), or its tensors one by one")
    return tuple(x.shape)


def part_held(x: Any, where: Geometry, part: Box | Flat | None = None) -> FingerprintPart:
    """The part of what this process answers for. `part`: what x is of the whole tensor; None for all of it."""
    dtype, blocks = _read(x)
    part = box(where.shape, None) if part is None else part
    count, total = 0, (0, 0)
    for corner, host in blocks:
        count += host.size
        held = part.part(corner, host.shape)
        for place, each in held.boxes() if isinstance(held, Flat) else ((..., held),):
            chosen, axes = region(where, each)
            values = host[place].reshape(each.shape).transpose(axes)
            total = added(total, sums(values, chosen.strides, chosen.offset))
    return FingerprintPart(dtype, where.canonical, count, total)


def _read(x: Any) -> tuple[str, Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]]:
    """The name of the dtype, and (position, elements in host memory) of what this process answers for."""
    if is_stored(x):
        return backend_of(np.empty(0)).dtype_name(np.dtype(x.dtype)), stored_blocks(x)
    backend = backend_of(x)
    backend.check_readable(x)
    _refuse_masked(x)
    if backend.is_abstract(x):
        is_meta = getattr(getattr(x, "device", None), "type", "") == "meta"
        what = "on the meta device, where it has none: draw or load it first" if is_meta else ABSTRACT
        raise TypeError(f"`x` must hold values; got {type(x).__name__} of shape {tuple(x.shape)}, {what}")
    missing = backend.missing(x)
    if missing:
        reason = missing.partition(": ")[0]
        raise ValueError(f"`x` must be whole; it {reason}: add what `fingerprint_part` gives for the part on each rank")
    return backend.dtype_name(x.dtype), _host_blocks(backend, x)


def _host_blocks(backend: Backend, x: Any) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
    for corner, piece in backend.pieces(x):
        _refuse_masked(piece)  # a block of Dask's may be
        owner = backend_of(piece)
        dtype = owner.dtype_name(piece.dtype)
        for start, slab in _slabs(piece):
            try:
                host = owner.bits(slab)
            except (TypeError, RuntimeError, BufferError) as error:  # for a dtype that NumPy lacks: quantized types
                raise TypeError(f"`x` must be of a dtype that NumPy has; got {dtype} ({error})") from None
            if host.dtype.hasobject:
                raise TypeError(f"`x` must be an array of numbers; got dtype {host.dtype}")
            yield tuple(a + b for a, b in zip(corner, start, strict=True)), host


def _refuse_masked(x: Any) -> None:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("`x` must have a value for each element; got a masked array: pass x.filled(...) or x.data")


def _slabs(x: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Slabs of an array, each with the position of its first element, so that a copy of it takes little memory."""
    shape = tuple(map(int, x.shape))
    limit = max(1, SLAB // 8)  # elements
    is_small = isinstance(x, np.ndarray) or find_backend(x) is None
    size = int(np.prod(shape, dtype=object))
    if is_small or size <= limit:
        yield (0,) * len(shape), x
        return
    rows = limit * shape[0] // size
    for k in range(0, shape[0], max(1, rows)):
        if rows:
            yield (k, *(0,) * (len(shape) - 1)), x[k : k + rows]
        else:
            yield from (((k, *start), slab[None]) for start, slab in _slabs(x[k]))
