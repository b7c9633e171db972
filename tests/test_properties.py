"""hypothesis over shapes, dtypes, layouts, slices, strides and arguments."""

import decimal
import math

import numpy as np
import pytest
import torch
from conftest import same, to_host
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

import arrayinit as ai
from arrayinit import draw
from arrayinit.conformance.cases import CASES, golden
from arrayinit.conformance.vector_digest import vector_digest
from arrayinit.laws import formulas, lattice
from arrayinit.stream import normal_cdf, quantile_tables, truncation

settings.register_profile("arrayinit", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("arrayinit")

SEEDS = st.integers(0, 2**64 - 1)
DTYPES = st.sampled_from(["float64", "float32", "float16", "bfloat16", "complex64", "complex128"])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)
STDS = st.floats(0, 100).filter(lambda std: std == 0 or std > 1e-4)
LAWS = st.one_of(
    st.builds(lambda mean, std: ai.spec("normal", mean=mean, std=std), st.floats(-100, 100), STDS),
    st.builds(lambda a, width: ai.spec("uniform", a=a, b=a + width), st.floats(-10, 10), st.floats(0.25, 50)),
    st.builds(
        lambda mean, a, width: ai.spec("trunc_normal", mean=mean, a=mean + a, b=mean + a + width),
        st.floats(-2, 2),
        st.floats(-5, 4),
        st.floats(0.5, 9),
    ),
)


@given(law=LAWS, shape=SHAPES, dtype=DTYPES, seed=SEEDS)
def test_torch_is_numpy(law, shape, dtype, seed):
    assert same(law(shape, seed=seed, dtype=dtype, xp="torch"), law(shape, seed=seed, dtype=dtype))


@st.composite
def indexed(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9))
    index = draw(hnp.basic_indices(shape, allow_newaxis=False, allow_ellipsis=True))
    return shape, index


@given(law=LAWS, shape_index=indexed(), seed=SEEDS, library=st.sampled_from(["numpy", "torch", "dask"]))
def test_a_part_is_that_part(law, shape_index, seed, library):
    shape, index = shape_index
    whole = law(shape, seed=seed)
    assert same(law(shape, seed=seed, index=index, xp=library), np.asarray(whole[index]))


@given(data=st.data(), law=LAWS, seed=SEEDS)
def test_any_layout_is_a_permutation(data, law, seed):
    layout = "".join(data.draw(st.permutations(data.draw(st.sampled_from(["oi", "oih", "oihw", "boi", "ooi"])))))
    shape = data.draw(hnp.array_shapes(min_dims=len(layout), max_dims=len(layout), min_side=1, max_side=6))
    x = law(shape, seed=seed, layout=layout)
    order = sorted(range(len(layout)), key=lambda axis: ("boi".find(layout[axis]) % 4, axis))
    assert same(np.transpose(x, order), law(tuple(shape[axis] for axis in order), seed=seed))


@given(law=LAWS, seed=SEEDS, data=st.data())
def test_any_strides_take_the_same_values(law, seed, data):
    base = np.zeros((9, 8, 7), np.float32)
    view = base[data.draw(hnp.basic_indices(base.shape, allow_newaxis=False, allow_ellipsis=False))]
    view = np.asarray(view).transpose(data.draw(st.permutations(range(np.ndim(view)))))
    if not view.flags.writeable or not np.shares_memory(view, base):
        return
    law.fill_(view, seed=seed)
    assert same(view, law(view.shape, seed=seed))
    view[...] = 0
    assert not base.any()  # nothing was written outside of the view


@given(law=LAWS, seed=SEEDS, shape=hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6), data=st.data())
def test_torch_views_take_the_same_values(law, seed, shape, data):
    axes = data.draw(st.permutations(range(len(shape))))
    x = torch.zeros(shape).permute(*axes)[:: data.draw(st.integers(1, 3))]
    assert law.fill_(x, seed=seed) is x
    assert same(x, law(tuple(x.shape), seed=seed))


def drawn(law, dtype, seed):
    """500 elements (both parts of complex ones) in float64; None where the law is refused, as it may be."""
    try:
        x = to_host(law((500,), seed=seed, dtype=dtype))
    except ValueError as error:
        message = str(error)
    else:
        return (x.view(x.real.dtype) if np.iscomplexobj(x) else x).astype(np.float64)
    # The dtype has no value there, ends before it, or the interval is too thin to be resolved.
    assert "[a, b" in message or "largest" in message or "at least 4096" in message
    return None


@given(a=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), dtype=DTYPES, seed=SEEDS)
def test_uniform_keeps_its_bounds(a, width, dtype, seed):
    x = drawn(ai.spec("uniform", a=a, b=a + width), dtype, seed)
    assert x is None or ((x >= a).all() and (x < a + width).all())


@given(
    mean=st.floats(-3, 3),
    std=st.one_of(st.just(0.0), st.floats(0.01, 10)),
    a=st.floats(-20, 20),
    width=st.floats(0.01, 40),
    dtype=DTYPES,
    seed=SEEDS,
)
def test_truncated_keeps_its_bounds(mean, std, a, width, dtype, seed):
    x = drawn(ai.spec("trunc_normal", mean=mean, std=std, a=a, b=a + width), dtype, seed)
    assert x is None or ((x >= a).all() and (x <= a + width).all())


@given(
    shape=hnp.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=9),
    groups=st.integers(1, 4),
    transposed=st.booleans(),
)
def test_fans(shape, groups, transposed):
    shape = (shape[0] * groups, *shape[1:])
    receptive = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * receptive, shape[0] // groups * receptive
    assert ai.calculate_fans(shape, groups=groups, transposed=transposed) == (
        (fan_out, fan_in) if transposed else (fan_in, fan_out)
    )
    if groups == 1 and not transposed:
        assert ai.calculate_fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@given(seed=SEEDS, name=st.text(max_size=20), n=st.integers(0, 2**64 - 1))
def test_folding_is_by_value(seed, name, n):
    assert ai.fold(ai.fold(seed, name), n) == ai.Key(seed).fold(name).fold(n)
    assert same(ai.normal((5,), seed=seed, name=name), ai.normal((5,), seed=ai.fold(seed, name)))


@given(law=LAWS, shape=SHAPES)
def test_specs_round_trip(law, shape):
    again = ai.Spec.from_dict(law.as_dict())
    assert again == law
    assert hash(again) == hash(law)
    assert same(again(shape, seed=1), law(shape, seed=1))


SETTINGS = {"prec": 3, "rounding": decimal.ROUND_UP, "Emin": -5, "Emax": 5, "clamp": 1}


@pytest.fixture
def hostile():
    """NumPy raises whatever it can, and decimals are of three digits, rounded up, with every trap set."""
    contexts = [decimal.getcontext(), decimal.DefaultContext]
    before = [(context.copy(), context) for context in contexts]
    of_numbers = [normal_cdf.pi, normal_cdf.cdf, truncation.interval, formulas._turns, formulas._log]
    caches = [*of_numbers, lattice._sampling, quantile_tables._plain]
    try:
        for context in contexts:
            for name, value in SETTINGS.items():
                setattr(context, name, value)
            for trap in context.traps:
                context.traps[trap] = True
        for cache in caches:
            cache.cache_clear()
        draw._jobs.clear()
        with np.errstate(all="raise"):
            yield
    finally:
        for copy, context in before:
            for name in SETTINGS:
                setattr(context, name, getattr(copy, name))
            context.traps.update(copy.traps)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_settings_of_the_process_change_no_bit(hostile, dtype):
    for case in CASES:
        drawn = case.draw(dtype)
        assert not case.is_exact or vector_digest(drawn) == golden()[case.name][dtype]["fingerprint"], case.name
        if case.name != "sinusoidal slice":
            ai.describe(case.spec, case.shape, dtype=dtype)
