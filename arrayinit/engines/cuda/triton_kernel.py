"""torch tensors on a CUDA device, filled by one launch of a Triton kernel on the device's current stream.

Nothing waits for the device, so that a CUDA graph can capture a draw. What a capture can't hold comes before it: the
first draw of a process on a device copies its table there, and the first of its kind compiles a kernel, which Triton
keeps on disk, or loads it.
"""

import functools
import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from arrayinit.backends.base import coefficients
from arrayinit.engines.cuda.triton_calls import PACKING, Call, call_of, can_draw
from arrayinit.job import Job
from arrayinit.tails import OCTAVES

__all__ = ["entries", "fill", "launch", "missing"]

WARPS = 4  # of a program: small ones, many of which keep a processor busy while others wait for the table
OLDEST = (8, 0)  # the first compute capability that Triton supports
REMEMBERED = 64  # launches of a draw that are kept for its next one


def fill(job: Job, x: Any) -> bool:
    """Fill a tensor on a CUDA device. False, with nothing written, for what only the reference draws.

    That is what is on other devices, laws by tables of their own, tensors whose conjugation or negation is still to be
    done, and memory of more than six axes that don't continue one another.

    RuntimeError where Triton can't be used, or a CUDA graph captures the first draw of a process on a device.
    """
    if x.device.type != "cuda" or torch.version.hip is not None or x.is_conj() or x.is_neg() or not can_draw(job):
        return False
    why = missing(x.device)
    if why is not None:
        raise RuntimeError(why)
    with torch.cuda.device(x.device):
        return launch(job, x)


@functools.cache
def missing(device: torch.device) -> str | None:
    """Why Triton can't be used on a CUDA device; None where it can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        needed, found = (".".join(map(str, c)) for c in (OLDEST, capability))
        return f"Triton needs a device of compute capability {needed}; got {device} of {found}"
    return None


def launch(job: Job, x: Any) -> bool:
    """Fill x on the current stream of the current device, or in Triton's interpreter where that stands for it."""
    call = _call(job, x.stride())
    if call is None:
        return False
    key = job.key
    assert key is not None
    import triton

    from arrayinit.engines.cuda import triton_code

    plain = x.detach()
    real = torch.view_as_real(plain) if plain.is_complex() else plain
    table = _table(x.device) if call.looks_up else real  # not None, which Triton before 3.4 hands to no function
    kernel = triton_code.fill_run if call.is_run else triton_code.fill_rows
    kernel[(call.programs,)](
        real,
        table=table,
        key_low=key.low,
        key_high=key.high,
        by_hand=not isinstance(kernel, triton.JITFunction),  # TRITON_INTERPRET=1 is set
        num_warps=WARPS,
        enable_fp_fusion=False,  # there is nothing to fuse, and Triton 3.9 warns where nobody says so
        **call.numbers,
        **call.constants,
    )
    torch.autograd.graph.increment_version(x)  # so that a backward pass that saved x notices
    return True


def _call(job: Job, strides: tuple[int, ...]) -> Call | None:
    """The launch, remembered for the next draw of the same kind."""
    key = ("triton", strides)
    if key not in job.memo:
        call = call_of(job, strides, entries()[1])
        if len(job.memo) >= REMEMBERED:
            return call
        job.memo[key] = call
    found: Call | None = job.memo[key]
    return found


@functools.cache
def entries() -> tuple[npt.NDArray[np.int64], int]:
    """The table by (octave, segment), octaves in reverse, c0 without its 31st bit; how many of its entries have one.

    Those are the first ones, for c0 falls from row to row.
    """
    c0, c1, c2 = coefficients().astype(np.uint64).reshape(3, OCTAVES, -1)[:, ::-1].reshape(3, -1)
    low, middle = np.uint64(PACKING[0]), np.uint64(PACKING[0] + PACKING[1])
    bit = np.uint64(1) << low
    packed = (c0 & (bit - np.uint64(1))) | (c1 << low) | (c2 << middle)
    return packed.view(np.int64), int((c0 & bit != 0).sum())


_tables: dict[torch.device, torch.Tensor] = {}


def _table(device: torch.device) -> torch.Tensor:
    """The table on a device, where it stays."""
    table = _tables.get(device)
    if table is None:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                f"the first draw of a process on a device must come before the capture of a CUDA graph; got it on "
                f"{device} within one (draw any normal tensor there first)"
            )
        table = _tables[device] = torch.from_numpy(entries()[0]).to(device)
    return table
