"""The raw words of a stream, so that anyone can check it against another Philox."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from arrayinit import engines
from arrayinit.backends import backend_named
from arrayinit.draw import check_size
from arrayinit.fans import check_shape, geometry
from arrayinit.float_environment import in_default_environment
from arrayinit.job import Job, Target
from arrayinit.laws import Words
from arrayinit.regions import Index, box
from arrayinit.seeds import resolve_for

__all__ = ["bits"]


@in_default_environment  # words need none, but later draws use the threads that start here
def bits(
    shape: Sequence[int] | int,
    *,
    seed: Any = None,
    name: str | int | None = None,
    index: Index | None = None,
    xp: str | ModuleType | Any = None,
    device: Any = None,
) -> Any:
    """The uint32 words behind a draw: element i of the shape (row-major) holds word i, uniform on [0, 2**32).

    Word i is output i % 4 of Philox4x32-10 with the seed as its 64-bit key and the counter (i // 4, 0), 64 bits each:
    the device stream of cuRAND with this seed, subsequence 0 and offset 0.

    Args:
        shape: of the result or, with `index`, the global shape that it selects from.
        seed, name, xp, device: as in every initializer (`arrayinit.draw.Keywords`).

    Raises:
        TypeError, ValueError: as every initializer.

    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC'11.
    """
    whole = check_shape(shape, "shape")
    where = geometry(whole)
    backend = backend_named("numpy" if xp is None else xp)
    check_size(whole)
    part = box(whole, index)
    device = backend.check_device(device)
    key = None if 0 in part.shape else resolve_for(backend, None, seed, name)
    return engines.run(Job(Words(), None, key, where, part, "uint32"), Target(backend, None, False, device))
