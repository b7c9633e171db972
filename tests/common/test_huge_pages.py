"""Huge pages are asked for where memory is new and large, and change no value."""

import sys
from pathlib import Path

import pytest

import arrayinit as ai
from arrayinit.common import huge_pages
from arrayinit.common.huge_pages import LEAST, MADV_HUGEPAGE, request_huge_pages


def test_whole_pages_within_the_memory(monkeypatch):
    calls = []
    monkeypatch.setattr(huge_pages, "_madvise", lambda: lambda *arguments: calls.append(arguments))
    request_huge_pages(5 * 4096 + 64, LEAST - 1)
    assert not calls
    request_huge_pages(5 * 4096 + 64, LEAST)
    request_huge_pages(5 * 4096, LEAST)
    (start, size, advice), whole = calls
    assert start % 4096 == 0
    assert start >= 5 * 4096 + 64
    assert start + size <= 5 * 4096 + 64 + LEAST
    assert size >= LEAST - 2 * 4096
    assert advice == MADV_HUGEPAGE
    assert whole == (5 * 4096, LEAST, MADV_HUGEPAGE)


def test_systems_without_them(monkeypatch):
    monkeypatch.setattr(huge_pages, "_madvise", lambda: None)
    request_huge_pages(4096, 2 * LEAST)


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="needs Linux's huge pages")
def test_large_tensors_have_them():
    torch = pytest.importorskip("torch")
    assert sys.platform == "linux"
    x = ai.normal((4096, 4096), seed=0, xp="torch")
    assert "hg" in flags_at(x.data_ptr() + x.nbytes // 2)
    with torch.device("meta"):
        model = torch.nn.Linear(4096, 4096)
    from arrayinit.torch import init_module_

    init_module_(model, {"*": ai.spec("normal", std=1.0)}, seed=0)
    assert "hg" in flags_at(model.weight.data_ptr() + model.weight.nbytes // 2)
    assert torch.equal(model.weight, ai.normal((4096, 4096), seed=ai.fold(0, "weight"), xp="torch"))


def flags_at(address):
    """The flags of the part of this process's memory that holds an address."""
    holds = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            low, high = (int(word, 16) for word in words[0].split("-"))
            holds = low <= address < high
        elif holds and words[0] == "VmFlags:":
            return words[1:]
    raise AssertionError("no such memory")
