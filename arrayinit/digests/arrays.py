"""A digest of the values of an array or of a model, the same on every library and device, whole and sharded."""

import os
from typing import Any

import numpy as np

from arrayinit.backends import find_backend
from arrayinit.common.messages import shown
from arrayinit.digests.models import combined, fingerprints, parts_held
from arrayinit.digests.parts import shape_of
from arrayinit.digests.ranks import added_up
from arrayinit.digests.stored import is_stored
from arrayinit.laws.geometry import Axes, geometry

__all__ = ["fingerprint"]


def fingerprint(
    x: Any,
    *,
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
    shards: Any = None,
) -> str:
    """32 hexadecimal digits that two arrays share if and only if their dtypes, shapes and bits are equal.

        blake2b, 128 bits, of the text "dtype shape sum",    sum = sum_i hash(i, bits of element i)  modulo 2^128

    The sum needs no order, so parts of an array are hashed where they are, and added. With a layout the elements are
    numbered in canonical order (batch, out, in, spatial), so that a torch weight and a Flax kernel that are transposes
    of each other share a fingerprint.

        >>> w = ai.xavier_uniform((2, 3), seed=0)
        >>> ai.fingerprint(w)
        '83e754273ef89afd5b04a2ed7959409a'
        >>> ai.fingerprint(w.T, layout="io") == ai.fingerprint(w, layout="oi")
        True

    Of a model it is one digest of the lines "path fingerprint" for each of its arrays, sorted by path; the arrays and
    their fingerprints are those of :func:`arrayinit.fingerprints`.

        >>> params = {"fc": {"weight": w, "bias": ai.zeros(2)}}
        >>> ai.fingerprint(params) == ai.fingerprint({"fc.bias": ai.zeros(2), "fc.weight": w})
        True

    Bits are compared: 0.0 and -0.0 differ, and so do NaNs of different bits. An array with one other element of at most
    32 bits never has the same sum; for other changes this is as unlikely as for 128 random bits, 2^-128. That holds for
    accidents. The sum is not cryptographic: anyone who wants to can make two arrays of one fingerprint.

    A DTensor or a JAX array of several processes is hashed by each process where it holds the array, and the sums are
    added by small collectives (for a DTensor all-reduces of 48 and 80 bytes over its mesh); all of them must call this.
    Copies of a DTensor that differ are refused on every process, and so is what one of them refuses. Without a
    collective, see :func:`arrayinit.fingerprint_part`.

    Memory maps, zarr and h5py arrays may be larger than memory, and are read once, block by block; so are Dask arrays.
    Memory on a device is copied to the host in slabs. All processors hash. One of an AMD EPYC took in 0.95 GB/s of
    float32 or float64, 0.5 of 16-bit and 0.25 of 8-bit elements (BLAKE2b of the same bytes: 0.95, 0.95 and 0.75), and
    0.75 of a transposed float32 matrix (BLAKE2b: 0.2).

    Args:
        x: an array of any library, or in a file (zarr, h5py), or a model, or the path of a file: see
            :func:`arrayinit.fingerprints`. Of an npy file it is the fingerprint of its array.
        layout, in_axis, out_axis, batch_axis: as in every initializer, see :class:`arrayinit.Keywords`; not for
            models.
        shards: of a torch module, as in :func:`arrayinit.fingerprints`.

    Raises:
        TypeError: x is no array, no model and no path, has no values (on the meta device, abstract, traced, deleted),
            or has a dtype whose elements are not numbers of 1, 2, 4 or 8 bytes, or complex ones of 8 or 16; a layout
            for a model.
        ValueError: an impossible layout; copies of x that differ between processes; a tensor of ZeRO-3 or FSDP1 alone,
            which doesn't say which part of the whole it holds; their module does.

    Sources: the hash is in arrayinit/digests/sums.py; blake2b: RFC 7693.
    """
    axes = (layout, in_axis, out_axis, batch_axis)
    is_array = find_backend(x) is not None or is_stored(x) or isinstance(x, np.generic)
    if is_array or hasattr(x, "__array_namespace__"):
        if shards is not None:
            raise TypeError(f"`shards` goes with a torch.nn.Module; got {type(x).__name__}")
        geometry(shape_of(x), *axes)  # refuses an impossible layout
        (whole,) = added_up(*parts_held({"`x`": x}, axes))
        return whole.digest()
    if axes != (None, None, None, ()):
        raise TypeError(f"`x` must be an array where `layout` or an axis is given; got {shown(x)}")
    try:
        digests = fingerprints(x, shards=shards)
        return digests[""] if isinstance(x, str | os.PathLike) and list(digests) == [""] else combined(digests)
    except TypeError as error:
        text = str(error)
        if not text.startswith("`model` must be a torch.nn.Module"):
            raise
        raise TypeError(text.replace("`model` must be", "`x` must be an array,", 1)) from None
