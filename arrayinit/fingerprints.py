"""A digest of the values of an array, the same on every library and device."""

from typing import Any

import numpy as np

from arrayinit.backends import backend_of
from arrayinit.fans import Axes, geometry

__all__ = ["fingerprint"]


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
        raise TypeError(f"`x` must hold values; got an array that is abstract or traced, {x!r}")
    dtype = backend.dtype_name(x.dtype)
    host = backend.to_numpy(x)
    order = geometry(x.shape, layout, in_axis, out_axis, batch_axis).order
    host = np.asarray(host.transpose(order), order="C")
    host = host.astype(host.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.blake2b(f"{dtype} {tuple(host.shape)}".encode(), digest_size=16)
    digest.update(host.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
