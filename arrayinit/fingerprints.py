"""A digest of the values of an array, the same on every library and device."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from arrayinit.backends import backend_of
from arrayinit.common.memory_maps import release
from arrayinit.common.messages import shown
from arrayinit.laws.geometry import Axes, geometry

__all__ = ["fingerprint"]

SLAB = 1 << 26  # bytes that are taken at a time


def fingerprint(
    x: Any,
    *,
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
) -> str:
    """32 hexadecimal digits that two arrays share if and only if dtype, shape and bits are equal.

    blake2b, 128 bits, of the text "dtype shape" and the row-major little-endian bytes of the elements. With a layout
    the elements are taken in canonical order (batch, out, in, spatial), so that a torch weight and a Flax kernel that
    are transposes of each other share a fingerprint.

    Raises:
        TypeError: x is no array. ValueError: an impossible layout.
    """
    import hashlib  # here, for it takes as long to import as a sixth of the package

    backend = backend_of(x)
    backend.check_readable(x)
    if backend.is_abstract(x):
        raise TypeError(f"`x` must hold values; got an array that is abstract, traced or deleted, {shown(x)}")
    dtype = backend.dtype_name(x.dtype)
    try:
        host = backend.to_numpy(x)
    except (TypeError, RuntimeError) as error:  # of a library whose type NumPy lacks: of 8 bits, or quantized
        raise TypeError(f"`x` must be of a dtype that NumPy has; got {dtype} ({error})") from None
    if host.dtype.hasobject:
        raise TypeError(f"`x` must be an array of numbers; got dtype {host.dtype}")
    order = geometry(x.shape, layout, in_axis, out_axis, batch_axis).order
    host = host.transpose(order)
    digest = hashlib.blake2b(f"{dtype} {tuple(host.shape)}".encode(), digest_size=16)
    little = host.dtype.newbyteorder("<")
    for slab in _slabs(host):
        digest.update(np.ascontiguousarray(slab, little).reshape(-1).view(np.uint8).data)
        if slab.size < host.size:
            release(host)
    return digest.hexdigest()


def _slabs(x: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """An array in parts that follow each other in row-major order, so that what is larger than memory is not copied."""
    if x.nbytes <= SLAB or not x.ndim:
        yield x
        return
    rows = SLAB * len(x) // x.nbytes
    if rows:
        yield from (x[k : k + rows] for k in range(0, len(x), rows))
    else:
        for row in x:
            yield from _slabs(row)
