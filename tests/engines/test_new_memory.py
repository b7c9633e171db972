"""Memory without pages: it is recognized, gets them at once, and is drawn into like any other."""

import itertools
import mmap
import sys

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.engines import cpu
from arrayinit.engines.cpu import new_memory
from arrayinit.engines.cpu.new_memory import is_untouched, populate

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


@on_linux
def test_pages_come_with_a_write_or_when_they_are_asked_for():
    x = np.frombuffer(mmap.mmap(-1, 64 * mmap.PAGESIZE), np.uint8)
    start = x.ctypes.data
    assert is_untouched(start + 10 * mmap.PAGESIZE + 7)
    x[10 * mmap.PAGESIZE] = 3
    assert not is_untouched(start + 10 * mmap.PAGESIZE + 7)
    assert is_untouched(start + 20 * mmap.PAGESIZE)
    populate(start + 100, 30 * mmap.PAGESIZE)
    if is_untouched(start + 20 * mmap.PAGESIZE):
        pytest.skip("a kernel before Linux 5.14")
    assert is_untouched(start + 40 * mmap.PAGESIZE)
    assert x[10 * mmap.PAGESIZE] == 3
    assert np.count_nonzero(x) == 1


def test_systems_that_can_not_be_asked(monkeypatch):
    monkeypatch.setattr(new_memory, "_calls", lambda: None)
    assert not is_untouched(0)
    populate(0, 1 << 20)


def test_draws_ask_for_the_pages_of_what_they_write_and_no_others(monkeypatch):
    pytest.importorskip("llvmlite")
    asked = []
    monkeypatch.setattr(cpu, "is_untouched", lambda address: True)
    monkeypatch.setattr(cpu, "populate", lambda address, size: asked.append((address, size)))
    monkeypatch.setenv("ARRAYINIT_COMPILE", "1")
    x = np.zeros(1 << 20, np.float32)
    ai.normal_(x[16:-16], std=0.375, seed=0)
    pages = sorted(asked)
    assert pages
    assert pages[0][0] >= x[16:].ctypes.data
    assert pages[-1][0] + pages[-1][1] <= x.ctypes.data + x.nbytes - 64
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(pages))
    asked.clear()
    ai.normal_(x.reshape(1024, 1024)[:, :512], std=0.375, seed=0)  # no run of memory
    ai.normal_(np.zeros(1 << 10, np.float32), std=0.375, seed=0)  # a short one
    assert not asked


@on_linux
@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
def test_new_and_old_memory_hold_the_same(dtype):
    n = 3_000_001
    new = np.frombuffer(mmap.mmap(-1, n * np.dtype(dtype).itemsize), dtype)
    old = np.ones(n, dtype)
    assert np.array_equal(ai.normal_(new, seed=5), ai.normal_(old, seed=5))
