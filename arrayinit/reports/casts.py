"""Fingerprints of an array's values in other dtypes, by which a cast without other changes is known later."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrayinit.backends import backend_of
from arrayinit.digests.models import combined
from arrayinit.digests.parts import FingerprintPart
from arrayinit.digests.sums import added, sums
from arrayinit.reports.statistics import values_of

__all__ = ["CASTS", "fingerprints_of_casts"]

# To formats of at most as many bits. A cast to a wider one is known by the cast back. float64 becomes float16 at once
# in NumPy, and by way of float32 in torch, which may round another way.
CASTS = {
    "float64": ("float32", "bfloat16", "float16", "float16 by float32"),
    "float32": ("bfloat16", "float16"),
    "bfloat16": ("float16",),
    "float16": ("bfloat16",),
}


def fingerprints_of_casts(x: Any, dtype: str) -> frozenset[str]:
    """The fingerprints that an array would have after a cast to each dtype of CASTS; none for other dtypes.

    Of an array that several processes share, they are those of what this process holds.
    """
    backend = backend_of(x)
    casts = CASTS.get(dtype, ())
    if not casts or backend.is_abstract(x):
        return frozenset()
    if not backend.is_shared(x):
        return frozenset(_digests(x, dtype, casts))
    found = {str(place): _digests(block, dtype, casts) for place, block in backend.blocks(x)}
    return frozenset(combined({place: digests[k] for place, digests in found.items()}) for k in range(len(casts)))


def _digests(x: Any, dtype: str, casts: tuple[str, ...]) -> list[str]:
    shape = tuple(map(int, x.shape))
    steps = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    totals, count = [(0, 0)] * len(casts), 0
    for start, values in values_of(x, dtype):
        first = sum(a * b for a, b in zip(start, steps, strict=True))
        totals = [
            added(total, sums(bits, steps, first)) for total, bits in zip(totals, _bits(values, casts), strict=True)
        ]
        count += values.size
    names = [cast.partition(" ")[0] for cast in casts]
    return [FingerprintPart(name, shape, count, total).digest() for name, total in zip(names, totals, strict=True)]


def _bits(values: NDArray[Any], casts: tuple[str, ...]) -> Iterator[NDArray[Any]]:
    with np.errstate(all="ignore"):  # what overflows becomes infinite, as in the cast of each library
        single = values.astype(np.float32)
        for cast in casts:
            match cast:
                case "float32":
                    yield single
                case "float16":
                    yield values.astype(np.float16)
                case "float16 by float32":
                    yield single.astype(np.float16)
                case "bfloat16":  # the upper half of a float32, rounded to even
                    word = single.view(np.uint32)
                    rounded = word >> np.uint32(16) & np.uint32(1)
                    rounded += np.uint32(0x7FFF)
                    rounded += word
                    rounded >>= np.uint32(16)
                    is_nan = np.isnan(single)
                    if is_nan.any():
                        rounded[is_nan] = 0x7FC0
                    yield rounded.astype(np.uint16)
