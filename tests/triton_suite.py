"""The Triton kernels in Triton's interpreter, on tensors of the host; tests/test_triton.py runs this file with it."""

import os

import numpy as np
import pytest
import torch
import triton_probe
from triton_jobs import DTYPES, FAR, LAWS, empty, expected, job_of, same

from arrayinit import engines
from arrayinit.cases import CASES, golden
from arrayinit.engines import reference
from arrayinit.engines.cuda import triton_calls, triton_kernel
from arrayinit.fingerprints import fingerprint
from arrayinit.laws import Normal, Uniform, Words

assert os.environ["TRITON_INTERPRET"] == "1"  # before the kernels are imported, which is when they are called

S = np.s_
SHIFTED = Normal(-3.25, 0.7)


def drawn(job, x):
    x.fill_(7)
    assert triton_kernel.launch(job, x)
    return x


def agrees(*which, x=None, **more):
    job = job_of(*which, **more)
    return same(drawn(job, empty(job) if x is None else x), expected(job))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_laws_and_dtypes(law, dtype):
    assert agrees(law, dtype, (2, 1555))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("law", FAR, ids=str)
def test_far_tails(law, dtype):
    assert agrees(law, dtype, (2000,))


@pytest.mark.parametrize("law", [*LAWS, *FAR, Uniform(-1.0, 1.0 - 2.0**-40)], ids=str)
def test_words_at_the_ends_of_octaves(law):
    assert triton_probe.agrees(job_of(law, "float64", (1,)), "cpu")


@pytest.mark.parametrize(
    ("law", "dtype"),
    [
        (Uniform(-1.0, 1.0 - 2.0**-40), "float64"),  # a scale of 2**32
        (Uniform(0.0, 3e-29), "float32"),  # the smallest there are,
        (Normal(0.0, 1e-24), "bfloat16"),
        (Normal(0.0, 1e-7), "float16"),  # which end as subnormal numbers,
        (Uniform(-6e4, 6e4), "float16"),  # and the largest
        (Uniform(1e38, 3e38), "bfloat16"),
        (Normal(0.0, 1e300), "float64"),
    ],
    ids=str,
)
def test_ends_of_formats(law, dtype):
    assert agrees(law, dtype, (3000,))


def test_words_are_there_for_each_purpose():
    for purpose in (0, 1):
        assert agrees(Words(purpose), "uint32", (2, 1555))
    assert agrees(Words(), "uint32", (40, 53), S[3:37, 5:50])


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16"])
def test_runs_begin_at_any_word_and_have_any_length(dtype):
    for start in range(6):
        for count in (1, 2, 3, 5, 2046, 2051):
            assert agrees(SHIFTED, dtype, (5000,), S[start : start + count])
    assert agrees(SHIFTED, dtype, ())


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize(
    ("shape", "index"),
    [
        ((40, 53), S[3:37, 5:50]),
        ((40, 64), S[3:37, 4:12]),  # rows that all begin with a block
        ((40, 53), S[::-1, ::-1]),
        ((40, 53), S[::3, ::-2]),
        ((40, 53), S[:, 4]),
        ((40, 53), S[7, :]),
        ((40, 53), S[7, 9]),
        ((9, 5000), S[2:4, 1:2999]),  # more than a tile in a row
        ((2000, 9), S[:, 1:8]),  # and in a column
        ((300, 700), S[1::97, 3:690:2]),
        ((2, 3, 5, 7, 11), S[:, 1:, ::2, 5:1:-1, ::3]),  # five axes that are all apart
        ((3, 3, 3, 3, 3, 3), S[::2, ::2, ::2, ::2, ::2, ::2]),  # six
    ],
    ids=str,
)
def test_regions(shape, index, dtype):
    assert agrees(SHIFTED, dtype, shape, index)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "bfloat16"])
@pytest.mark.parametrize(
    ("shape", "index", "layout"),
    [((33, 17), None, "io"), ((6, 5, 3, 4), None, "hwio"), ((12, 5, 7, 4), S[1:, ::2, ::-1, :], "hwio")],
)
def test_layouts(shape, index, layout, dtype):
    assert agrees(SHIFTED, dtype, shape, index, layout)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "bfloat16"])
def test_memory_with_strides(dtype):
    def zeros(*shape):
        return torch.zeros(shape, dtype=getattr(torch, dtype))

    targets = [
        zeros(33, 40)[:, 3:20],
        zeros(17, 33).T,
        zeros(2, 300).T,
        zeros(300, 2).T,
        zeros(33, 17, 2)[..., 1],
        zeros(40, 3, 70)[::2, 1, ::3],
        zeros(2, 5, 6, 7).to(memory_format=torch.channels_last),
        zeros(2, 3, 4, 5, 2, 3).permute(5, 3, 1, 0, 2, 4),
        zeros(4001)[1:],  # at an address that no vector has
        zeros(4001)[3::2],
    ]
    for x in targets:
        assert agrees(SHIFTED, dtype, tuple(x.shape), x=x), (x.shape, x.stride())


def test_nothing_else_is_written():
    around = torch.full((50, 60), 7.0)
    job = job_of(SHIFTED, "float32", (33, 17))
    assert triton_kernel.launch(job, around[5:38, 9:26])
    assert same(around[5:38, 9:26], expected(job))
    around[5:38, 9:26] = 7.0
    assert (around == 7.0).all()
    line = torch.full((3000,), 7.0)
    assert triton_kernel.launch(job_of(SHIFTED, "float32", (9000,), S[7:2707]), line[11:2711])
    assert (line[:11] == 7.0).all()
    assert (line[2711:] == 7.0).all()


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_far_indices(dtype):
    assert agrees(SHIFTED, dtype, (2**33, 9), S[2**32 - 2 : 2**32 + 3])
    assert agrees(SHIFTED, dtype, (2**38 + 5,), S[2**34 - 40 : 2**34 + 40])  # where block numbers pass 2**32
    assert agrees(SHIFTED, dtype, (2**40, 9), S[2**39 : 2**39 + 9 : 2, ::-1])
    assert agrees(SHIFTED, dtype, (2**36, 3), S[: 2**36 : 2**30, 1:])
    assert agrees(SHIFTED, dtype, (2**61,), S[-77:])


def test_keys_whose_halves_have_any_sign():
    from arrayinit.key import Key

    for seed in (0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 0x80000000_7FFFFFFF):
        assert agrees(SHIFTED, "float32", (50,), key=Key(seed))


def test_more_axes_than_a_launch_has_are_left_alone():
    shape = (2,) * 7
    x = torch.full(shape, 7.0).permute(*reversed(range(7)))
    assert not triton_kernel.launch(job_of(SHIFTED, "float32", shape), x)
    assert (x == 7.0).all()


def test_a_saved_tensor_is_known_to_be_overwritten():
    x = torch.ones(5)
    before = x._version
    drawn(job_of(SHIFTED, "float32", (5,)), x)
    assert x._version > before


@pytest.mark.parametrize("case", [case for case in CASES if case.is_exact], ids=lambda case: case.name)
def test_golden_vectors(case, monkeypatch):
    monkeypatch.setattr(triton_calls, "BLOCKS", 1 << 13)  # few programs, for each takes the interpreter long
    others = engines._draw

    def engine(name):
        return lambda job, target: draw(job, target) if triton_calls.can_draw(job) else others(name)(job, target)

    def draw(job, target):
        return drawn(job, reference.allocate(job, target)) if job.size else reference.allocate(job, target)

    monkeypatch.setattr(engines, "_draw", engine)
    for dtype, vector in golden().get(case.name, {}).items():
        assert fingerprint(case.draw(dtype, xp="torch")) == vector["fingerprint"], dtype
