"""eye, dirac and constants: every box, layout, dtype and library, against a naive definition."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from conftest import PLACES, same, to_host

import arrayinit as ai
from arrayinit.engines import reference
from arrayinit.laws import patterns
from arrayinit.laws.regions import box

DTYPES = ("float32", "float16", "bfloat16", "float64", "complex64", "int8", "int64", "uint8", "bool")


def naive_dirac(shape, groups, layout):
    """In the order of `layout`."""
    where = [layout.index(c) for c in "oi"] + [k for k, c in enumerate(layout) if c not in "oi"]
    canonical = np.zeros([shape[k] for k in where])
    each = canonical.shape[0] // groups
    for g in range(groups):
        for d in range(min(each, canonical.shape[1])):
            canonical[(g * each + d, d, *(n // 2 for n in canonical.shape[2:]))] = 1
    return canonical.transpose(np.argsort(where))


EYES = [(1, 1), (5, 7), (7, 5), (300, 299), (0, 3)]
CUTS = [
    np.s_[...],
    np.s_[1:, ::2],
    np.s_[::-2, 1::3],
    np.s_[::3, ::-2],
    np.s_[0],
    np.s_[..., -1],
    np.s_[4:, :2],
    np.s_[2:2],
    np.s_[3, 3],
    np.s_[-4:-1, -3],
]


FLOATS = {d for p in PLACES for d in p.dtypes}


def places(dtype):
    """The places that have a dtype; integers of 64 bits are not among JAX's by default."""
    return [p for p in PLACES if dtype in p.dtypes or (dtype not in FLOATS and (p.backend, dtype) != ("jax", "int64"))]


@pytest.mark.places
@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("layout", [None, "oi", "io"])
def test_eye_is_a_slice_of_eye(cut, layout):
    for shape in EYES:
        try:
            box(shape, cut)
        except ValueError:  # it reaches outside of this shape
            continue
        wanted = np.eye(*shape)[cut]
        for dtype in DTYPES:
            for place in places(dtype):
                keywords = {"dtype": dtype, "layout": layout, **place.where}
                with place.precision(dtype):
                    x = ai.eye(shape, index=cut, **keywords)
                    assert str(x.dtype).endswith(dtype), (place, dtype)
                    assert np.array_equal(to_float(x), wanted), (place, shape)


DIRACS = [
    ((6, 5, 3), "ois", 1),
    ((6, 5, 3, 4), "oihw", 2),
    ((3, 4, 5, 6), "hwio", 3),
    ((4, 9, 2, 1, 3), "oidhw", 4),
    ((3, 2, 4, 8), "hiwo", 2),
]


@pytest.mark.places
@pytest.mark.parametrize(("shape", "layout", "groups"), DIRACS)
@pytest.mark.parametrize(
    "cut",
    [
        np.s_[...],
        np.s_[::-1, 1:],
        np.s_[1],
        np.s_[..., 1:2],
        np.s_[..., ::-2],
        np.s_[:, 1, ::2],
        np.s_[1:3, 1],
        np.s_[:, :, 2:],
    ],
    ids=str,
)
def test_dirac_is_a_slice_of_dirac(shape, layout, groups, cut):
    for dtype in ("float32", "bfloat16", "complex64", "int64"):
        wanted = naive_dirac(shape, groups, layout)[cut]
        for place in places(dtype):
            x = ai.dirac(shape, groups=groups, layout=layout, index=cut, dtype=dtype, **place.where)
            assert np.array_equal(to_float(x), wanted), (place, dtype)


def to_float(x):
    if isinstance(x, torch.Tensor):
        return (x.to(torch.complex128) if x.is_complex() else x.double()).cpu().numpy()
    host = to_host(x) if not isinstance(x, np.ndarray) else x
    return host.astype(np.complex128 if host.dtype.kind == "c" else np.float64)


@pytest.mark.parametrize("draw", [ai.eye_, lambda x, **k: ai.constant_(x, 1, **k)])
def test_strided_targets(draw):
    wanted = draw(np.empty((9, 6)))
    memory = np.full((18, 20), 7.0)
    draw(memory[::-2, 1:13:2])
    assert same(memory[::-2, 1:13:2], wanted)
    assert (memory[:, ::2] == 7).all()
    assert same(draw(np.empty((6, 9)).T), wanted)
    tensor = torch.full((20, 18), 7.0, dtype=torch.float64)
    draw(tensor.T[::2, 1:13:2])
    assert same(tensor.T[::2, 1:13:2], wanted)
    assert (tensor[::2] == 7).all()
    channels = torch.empty(4, 3, 5, 5).to(memory_format=torch.channels_last)
    assert np.array_equal(ai.dirac_(channels).numpy(), naive_dirac((4, 3, 5, 5), 1, "oihw"))
    parameter = torch.nn.Parameter(torch.empty(9, 6, dtype=torch.float64))
    assert same(draw(parameter).detach(), wanted)


@pytest.mark.parametrize(
    "draw",
    [
        ai.eye_,
        lambda x: ai.identity_(x, 2.0, groups=len(x)),
        lambda x: ai.eye_(x, shape=(3 * len(x), 3), index=np.s_[::-3, :2]),
    ],
)
def test_memory_does_not_grow_with_the_rows(draw):
    x = np.empty((500_000, 2), np.int8)
    tracemalloc.start()
    try:
        draw(x)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_rows_by_the_run(library, monkeypatch):
    """Remembered or not, in one run or in many."""
    for run, remembered in ((3, 1 << 11), (3, 0), (1, 0)):
        monkeypatch.setattr(patterns, "RUN", run)
        monkeypatch.setattr(reference, "REMEMBERED", remembered)
        for shape, cut in (((29, 7), np.s_[...]), ((7, 29), np.s_[::-2]), ((29, 7), np.s_[3]), ((29, 7), np.s_[:, 4])):
            for _ in range(2):
                x = ai.identity(shape, groups=1, name=run * remembered, index=cut, xp=library)
                assert np.array_equal(to_float(x), np.eye(*shape)[cut])


def test_traced_patterns_are_the_same():
    for index in (None, np.s_[::-2, 1:]):
        traced = jax.jit(lambda index=index: ai.eye((7, 5), xp=jnp, index=index))()
        assert same(traced, ai.eye((7, 5), index=index))
