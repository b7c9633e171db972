"""Philox as another library has it."""

import numpy as np
import pytest


def other(seed, block, count, purpose=0):
    """`count` words from block number `block` on, by randomgen, which increments its counter before it draws."""
    randomgen = pytest.importorskip("randomgen")
    counter = (block | purpose << 64) - 1
    raw = randomgen.Philox(key=seed, counter=counter % 2**128, number=4, width=32).random_raw(count)
    return raw.astype(np.uint32)
