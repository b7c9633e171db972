"""Lattice integers of words that no draw would meet, by the Triton kernels' own functions."""

import numpy as np
import torch
import triton
import triton.language as tl

from arrayinit.backends import backend_of
from arrayinit.engines.cuda import triton_code, triton_kernel
from arrayinit.engines.cuda.triton_calls import call_of

_lattice = triton_code._lattice
NAMES = ("base", "p_low", "range_high", "range_low", "lower", "large")


@triton.jit
def probe(
    words,
    out,
    table,
    scale: tl.uint32,
    offset: tl.int32,
    base: tl.int32,
    p_low: tl.int64,
    range_high: tl.uint32,
    range_low: tl.uint32,
    lower: tl.int32,
    large: tl.int32,
    kind: tl.constexpr,
    shift: tl.constexpr,
    folds: tl.constexpr,
    n: tl.constexpr,
):
    i = tl.arange(0, n)
    w = tl.load(words + i).to(tl.uint32, bitcast=True)
    k = _lattice(w, table, scale, offset, base, p_low, range_high, range_low, lower, large, kind, shift, folds)
    tl.store(out + i, k)


def edges():
    """Words at the ends of octaves and segments, and with ones where rounding could carry."""
    found = {0, 1, 2, 3, 0xFFFFFFFF, 0xFFFFFFFE}
    for k in range(32):
        for pattern in (1, 3, 0x7F, 0xFF, 0x1FF, 0x3FF, 0xFFFFFF, 0x1FFFFFF, 0x2000001, 0xFFFFFFFF, 0x101, 0x155):
            found |= {(pattern << k) + d & 0xFFFFFFFF for d in (-1, 0, 1)} | {pattern >> k}
    words = np.array(sorted(found), np.uint32)
    return np.resize(words, 1 << (len(words) - 1).bit_length())


def agrees(job, device):
    """Whether kernels and reference place them alike."""
    words = edges()
    call = call_of(job, job.shape, triton_kernel.entries()[1])
    w = torch.from_numpy(words.view(np.int32)).to(device)
    out = torch.empty_like(w)
    numbers = {name: call.numbers[name] for name in ("scale", "offset", *NAMES)}
    constants = {name: call.constants[name] for name in ("kind", "shift", "folds")}
    table = triton_kernel._table(out.device) if call.looks_up else out
    probe[(1,)](w, out, table, n=len(words), enable_fp_fusion=False, **numbers, **constants)
    lanes = backend_of(words).lanes("cpu")
    expected = job.plan.lattice.place(job.plan.deviate(lanes, words.astype(np.int64)))
    return bool((out.cpu().numpy() == expected).all())
