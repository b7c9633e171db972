"""Memory maps: pages are released, values stay."""

import os
import subprocess
import sys

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.common.memory_maps import release


@pytest.mark.parametrize("mode", ["w+", "r+", "c"])
def test_what_was_written_stays(tmp_path, mode):
    (tmp_path / "w").write_bytes(bytes(1 << 16))
    x = np.memmap(tmp_path / "w", "float32", mode, shape=(1 << 14,))
    x[:] = 3
    release(x.reshape(128, -1).T)
    assert (x == 3).all()


def test_what_is_no_map_is_left_alone():
    x = np.ones(3)
    release(x)
    release(None)
    assert (x == 1).all()


PEAK = """
import resource, sys, numpy as np, arrayinit as ai
x = np.memmap(sys.argv[1], dtype="float32", mode="r", shape=(8192, 16384))
print(ai.fingerprint(x[:8]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ai.fingerprint(x)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_fingerprints_of_files_take_bounded_memory(tmp_path):
    with open(tmp_path / "w", "wb") as file:
        os.truncate(file.fileno(), 1 << 29)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "w"], capture_output=True, text=True, check=True, timeout=120
    )
    mark, peak = done.stdout.split()
    assert mark == ai.fingerprint(np.zeros((8, 16384), "float32"))
    assert int(peak) < 256  # MiB, for a file of 512 MiB that is read in parts of 64 MiB
