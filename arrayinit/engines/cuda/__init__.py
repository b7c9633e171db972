"""CUDA memory: one kernel launch an array, the same CUDA C++ for CuPy and torch.

The reference, on the same device, draws laws without a kernel, memory of more than seven axes that don't continue one
another, and everything on ROCm. It also draws where the kernel can't be compiled or launched, after one warning. A lack
of memory is an error instead, and so is each failure while a CUDA graph is captured, since the graph would then hold
the reference's hundreds of launches.
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

_LAUNCHERS = {"cupy": "arrayinit.engines.cuda.cupy", "torch": "arrayinit.engines.cuda.torch"}  # by backend
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
    """Whether a kernel has filled the array; where one should but can't, there is one warning for the device."""
    if _warned and _place(backend, out) in _warned:
        return False
    if not backend.has_memory(out):
        return False
    try:
        return _launcher(backend.name)(job, out)
    except Exception as error:
        # The reference would take more memory still, and a capture would hold its hundreds of launches.
        if backend.is_out_of_memory(error) or backend.is_capturing(out):
            raise
        place, reason = _place(backend, out), f"{type(error).__name__}: {error}"
    _warned.add(place)
    warn(
        f"draws of {backend.name} on device {place[1]} will be slow: arrayinit could not use its CUDA kernel "
        f"({reason})",
        RuntimeWarning,
    )
    return False


@functools.cache
def _launcher(library: str) -> Callable[[Job, Any], bool]:
    fill: Callable[[Job, Any], bool] = importlib.import_module(_LAUNCHERS[library]).fill
    return fill


def _place(backend: Backend, out: Any) -> tuple[str, str]:
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
