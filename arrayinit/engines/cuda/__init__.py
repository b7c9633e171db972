"""CUDA memory: one kernel launch an array, the same CUDA C++ for CuPy and torch.

What has no kernel is left to the reference, on the same device: memory of more than seven axes that don't continue one
another, and all of ROCm. So is everything where the kernel can't be compiled or launched, with one warning. Errors are
raised for lack of memory, and while a CUDA graph is captured: there, what the reference does has no place.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from arrayinit.backends import Backend, Lanes
from arrayinit.common.messages import warn
from arrayinit.engines import matrices, reference
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Bits, Normal, Orthogonal, Sparse

__all__ = ["draw"]

_LAUNCHERS = {"cupy": "arrayinit.engines.cuda.cupy", "torch": "arrayinit.engines.cuda.torch"}
_warned: set[tuple[str, str]] = set()  # (library, device) whose kernels failed


def draw(job: Job, target: Target) -> Any:
    """Fill the target's array, or a new one."""
    out = target.array_for(job)
    _fill(job, target.backend, out)
    return out


def _fill(job: Job, backend: Backend, out: Any) -> None:
    if isinstance(job.law, Orthogonal | Sparse):
        reference.fill(job, backend, out, _matrix)
    else:
        is_sampled = job.sampling is not None or isinstance(job.law, Bits)
        if not (is_sampled and job.size and not backend.is_abstract(out) and _launched(job, backend, out)):
            reference.fill(job, backend, out)


def _launched(job: Job, backend: Backend, out: Any) -> bool:
    """Whether a kernel fills the array; where one should but can't, a warning says so once for a device."""
    if _warned and _where(backend, out) in _warned:
        return False
    if not backend.has_memory(out):
        return False
    try:
        return _launcher(backend.name)(job, out)
    except Exception as error:
        # The reference takes more memory, and a capture that it takes part in would hold hundreds of launches.
        if backend.is_out_of_memory(error) or backend.is_capturing(out):
            raise
        where, why = _where(backend, out), f"{type(error).__name__}: {error}"
    _warned.add(where)
    warn(
        f"draws of {backend.name} on device {where[1]} will be slow, for its kernel could not be used ({why})",
        RuntimeWarning,
    )
    return False


@functools.cache
def _launcher(library: str) -> Callable[[Job, Any], bool]:
    fill: Callable[[Job, Any], bool] = importlib.import_module(_LAUNCHERS[library]).fill
    return fill


def _where(backend: Backend, out: Any) -> tuple[str, str]:
    return backend.name, str(backend.device(out))


def _matrix(lanes: Lanes, job: Job) -> Any:
    """The part of an orthogonal or sparse matrix; its normals and words are drawn by this engine."""

    def line(law: Normal | Bits, key: Key, dtype: str) -> Any:
        whole = job.whole_line(law, key, dtype)
        drawn = lanes.backend.empty(whole.shape, dtype, lanes.device)
        _fill(whole, lanes.backend, drawn)
        return drawn

    def draw_words(law: Bits, key: Key) -> Any:
        return lanes.astype(line(law, key, "uint32"), lanes.xp.int64)

    if isinstance(job.law, Orthogonal):
        return matrices.orthogonal(lanes, job, line)
    return matrices.sparse(lanes, job, line, draw_words)
