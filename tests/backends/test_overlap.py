"""Whether strided elements share memory, against a set of all their bytes."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import arrayinit as ai
from arrayinit.backends.overlap import check_distinct

AXES = st.lists(st.tuples(st.integers(0, 6), st.integers(-60, 60)), max_size=5)


def share(shape, strides, size):
    places = [sum(map(int.__mul__, at, strides)) for at in itertools.product(*map(range, shape))]
    taken = [place + byte for place in places for byte in range(size)]
    return len(set(taken)) < len(taken)


@given(axes=AXES, size=st.sampled_from([1, 2, 3, 4, 8]))
def test_every_byte_once(axes, size):
    shape, strides = [n for n, _ in axes], [stride for _, stride in axes]
    if share(shape, strides, size):
        with pytest.raises(ValueError, match="must not have elements that share memory"):
            check_distinct(shape, strides, size)
    else:
        check_distinct(shape, strides, size)


@pytest.mark.parametrize(
    ("shape", "strides", "size"),
    [
        ((100_001, 100_000), (1, 1), 1),  # torch.zeros(200_000).unfold(0, 100_000, 1)
        ((10**9, 10**9), (0, 4), 4),
        ((10**6, 10**6), (4 * 10**6 - 4, 4), 4),
        ((10**4 + 2, 10**4 + 8), (10**4 + 7, 10**4 + 1), 1),  # as many steps as the other stride is long
    ],
)
def test_no_element_is_listed(shape, strides, size):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="share memory"):
            check_distinct(shape, strides, size)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_large_arrays_of_interleaved_axes_are_told_apart():
    check_distinct((10**4, 10**4), (10**4 + 7, 10**4 + 1), 1)
    check_distinct((3, 10**8), (2, 6), 2)
    check_distinct((10**5, 3), (12, 4 * 10**5 + 4), 4)


def test_what_would_take_too_long_is_refused():
    """Strides whose sums are all different, and that nest nowhere: the Conway-Guy sequence."""
    u = [0, 1]
    for k in range(1, 20):
        u.append(2 * u[k] - u[k - round((2 * k) ** 0.5)])
    strides = [u[20] - u[k] for k in range(20)]
    with pytest.raises(ValueError, match="too many ways"):
        check_distinct([2] * 20, strides, 1)
    check_distinct([2] * 7, [20, 31, 37, 40, 42, 43, 44], 1)


def test_windows_of_tensors_are_refused_and_left_alone():
    base = torch.zeros(200_000)
    with pytest.raises(ValueError, match="share memory"):
        ai.normal_(base.unfold(0, 100_000, 1), seed=0)
    windows = np.lib.stride_tricks.sliding_window_view(np.zeros((300, 300)), (7, 7), writeable=True)
    with pytest.raises(ValueError, match="share memory"):
        ai.normal_(windows, seed=0)
    assert not base.any()
    apart = torch.zeros(12).unfold(0, 3, 4)
    assert (ai.normal_(apart, seed=0) == ai.normal((3, 3), seed=0, xp="torch")).all()
