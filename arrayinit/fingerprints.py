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

SLAB = 1 << 26  # bytes hashed at a time


def fingerprint(
    x: Any,
    *,
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
) -> str:
    """32 hexadecimal digits that two arrays share if and only if their dtypes, shapes and bits are equal.

    blake2b, 128 bits, of the text "dtype shape" and the row-major little-endian bytes of the elements. With a layout
    the elements are taken in canonical order (batch, out, in, spatial), so that a torch weight and a Flax kernel that
    are transposes of each other share a fingerprint.

        >>> w = ai.xavier_uniform((2, 3), seed=0)
        >>> ai.fingerprint(w)
        'c22640beffe399aedd0968048b58821f'
        >>> ai.fingerprint(w.T, layout="io") == ai.fingerprint(w, layout="oi")
        True

    Args:
        x: an array of any library, in the memory of this process or one of its devices.
        layout, in_axis, out_axis, batch_axis: as in every initializer, see :class:`arrayinit.draw.Keywords`.

    Raises:
        TypeError: x is not an array, has no values (abstract, traced, deleted), or has a dtype that NumPy lacks.
        ValueError: an impossible layout.

    Source: blake2b: RFC 7693.
    """
    import hashlib  # imported here: it takes a sixth of the import time of the whole package

    backend = backend_of(x)
    backend.check_readable(x)
    if backend.is_abstract(x):
        raise TypeError(f"`x` must hold values; got {shown(x)}, which is abstract, traced or deleted")
    dtype = backend.dtype_name(x.dtype)
    try:
        host = backend.to_numpy(x)
    except (TypeError, RuntimeError) as error:  # for a dtype that NumPy lacks: 8-bit floats, quantized types
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
    """The consecutive slabs of an array in row-major order, so that one larger than memory is not copied at once."""
    if x.nbytes <= SLAB or not x.ndim:
        yield x
        return
    rows = SLAB * len(x) // x.nbytes
    if rows:
        yield from (x[k : k + rows] for k in range(0, len(x), rows))
    else:
        for row in x:
            yield from _slabs(row)
