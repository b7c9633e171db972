"""Fans, gains and what axes mean."""

import array
import collections
import inspect
import itertools
import math

import jax
import numpy as np
import pytest
import torch
from conftest import same

import arrayinit as ai
import arrayinit.jax
from arrayinit.laws.gains import OF_TORCH
from arrayinit.storage import Tensor, save_safetensors


@pytest.mark.parametrize(
    ("shape", "keywords", "fans"),
    [
        ((8, 6), {}, (6, 8)),
        ((8, 6, 3, 5), {}, (90, 120)),
        ((6, 8), {"layout": "io"}, (6, 8)),
        ((3, 5, 6, 8), {"layout": "hwio"}, (90, 120)),
        ((6, 2, 4), {"layout": "ioo"}, (6, 8)),
        ((2, 3, 8), {"layout": "iio"}, (6, 8)),
        ((10, 8, 6), {"layout": "boi"}, (6, 8)),
        ((3, 5, 6, 8), {"in_axis": -2, "out_axis": -1}, (90, 120)),
        ((6, 2, 4), {"in_axis": 0, "out_axis": (1, 2)}, (6, 8)),
        ((10, 6, 8), {"in_axis": 1, "out_axis": 2, "batch_axis": 0}, (6, 8)),
        ((32, 1, 3, 3), {"groups": 32}, (9, 9)),  # depthwise
        ((64, 8, 3, 3), {"groups": 4}, (72, 144)),
        ((6, 8, 3), {"transposed": True}, (18, 24)),  # ConvTranspose1d(6, 8, 3)
        ((6, 4, 3), {"transposed": True, "groups": 2}, (9, 12)),  # ConvTranspose1d(6, 8, 3, groups=2)
        ((0, 0), {}, (0, 0)),
    ],
)
def test_fans(shape, keywords, fans):
    assert ai.calculate_fans(shape, **keywords) == fans


@pytest.mark.parametrize(("groups", "transposed"), [(1, False), (2, False), (6, False), (1, True), (2, True)])
def test_fans_are_the_sums_that_torch_takes(groups, transposed):
    """fan_in counts the inputs of an output in the middle, fan_out the outputs of an input: by differentiating."""
    layer = (torch.nn.ConvTranspose1d if transposed else torch.nn.Conv1d)(6, 12, 3, groups=groups, bias=False)
    torch.nn.init.ones_(layer.weight)
    x = torch.ones(1, 6, 20, requires_grad=True)
    y = layer(x)
    y[0, 0, y.shape[-1] // 2].backward(retain_graph=True)
    fan_in = int(x.grad.sum())
    x.grad = None
    y.sum().backward()
    fan_out = int(x.grad[0, 0, 10])
    assert ai.calculate_fans(tuple(layer.weight.shape), groups=groups, transposed=transposed) == (fan_in, fan_out)


SLOPES = [None, 0, 0.01, 0.2, 1, -3.5, 10, 10.0]


@pytest.mark.parametrize("name", OF_TORCH)
@pytest.mark.parametrize("slope", SLOPES)
def test_gains_are_those_of_torch_to_the_last_digit(name, slope):
    assert ai.calculate_gain(name, slope) == torch.nn.init.calculate_gain(name, slope)


def test_gains_in_numbers():
    assert ai.calculate_gain("leaky_relu") == 1.4141428569978354
    assert ai.calculate_gain("leaky_relu", 10) == 0.14071950894605836
    assert ai.calculate_gain("tanh") == 5 / 3
    assert ai.calculate_gain("selu") == 0.75
    assert ai.calculate_gain("leaky_relu", np.float32(0.5)) == math.sqrt(2 / 1.25)


@pytest.mark.parametrize("slope", [True, "0.1", [0.1], {}, float("nan"), float("inf"), 1j])
def test_slopes_that_are_no_numbers(slope):
    with pytest.raises(ValueError, match="`param`"):
        ai.calculate_gain("leaky_relu", slope)


@pytest.mark.parametrize("name", ["geul", "", None, 3])
def test_unknown_nonlinearities(name):
    with pytest.raises(ValueError, match="`nonlinearity`"):
        ai.calculate_gain(name)


@pytest.mark.parametrize("shape", [(), (3,), 3])
def test_shapes_without_fans(shape):
    whole = shape if isinstance(shape, tuple) else (shape,)
    for axes in ({}, {"in_axis": -2, "out_axis": -1}, {"in_axis": -2, "out_axis": 0}):
        with pytest.raises(
            ValueError, match=r"at least 2 dimensions.*got .*draw a bias with zeros, a gain with ones"
        ) as caught:
            ai.calculate_fans(shape, **axes)
        assert repr(whole) in str(caught.value)
        assert "axis`" not in str(caught.value)  # which nobody need have given


def test_an_axis_that_was_given_is_named():
    with pytest.raises(ValueError, match=r"`in_axis` must name an axis of the shape \(3,\); got 1"):
        ai.calculate_fans((3,), in_axis=1, out_axis=0)


def test_zero_sizes():
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        assert ai.kaiming_normal((0, 3), seed=0).shape == (0, 3)
    for draw in (ai.xavier_uniform, ai.lecun_normal, ai.orthogonal, ai.variance_scaling):
        for library in ("numpy", "torch", "jax", "dask"):
            for shape in ((0, 0), (0, 3), (3, 0, 2)):
                assert tuple(draw(shape, seed=0, xp=library).shape) == shape
    traced = jax.jit(lambda k: [ai.orthogonal((0, 3), seed=k, xp="jax"), ai.xavier_normal((0, 0), seed=k, xp="jax")])
    assert [x.shape for x in traced(jax.random.key(0))] == [(0, 3), (0, 0)]


class Endless:
    def __iter__(self):
        return itertools.count()


NO_SHAPES = [
    *("", "ab", b"", b"ab", bytearray(b"a"), memoryview(b"a"), {}, {2: 3}, set(), {2, 3}, frozenset(), None, True),
    *(1.0, 1j, object(), int, slice(2), ..., (1.0,), (True,), (None,), ("2",), ((2,),), [[2]], np.bool_(1)),
    *(np.ones(2), np.ones((2, 2), int), np.array([True]), torch.ones(2), torch.tensor(True), torch.tensor([True])),
    *(torch.ones(1, 1).long(), [torch.tensor(True)], [np.array([2])], Endless(), range(10**30), range(65), [1] * 65),
]
ITERATORS = [
    lambda: map(int, ["2", "3"]),
    lambda: iter([2, 3]),
    lambda: (n for n in (2, 3)),
    itertools.count,
    lambda: itertools.repeat(1),
    lambda: zip([2]),
    lambda: {2: 3}.keys(),
]
SHAPE_LIKE = [
    (2, [2, (2,), np.int64(2), np.array(2), torch.tensor(2), torch.tensor([2]), jax.numpy.array(2)]),
    (
        (2, 3),
        [[2, 3], range(2, 4), torch.Size([2, 3]), np.array([2, 3]), torch.tensor([2, 3]), jax.numpy.array([2, 3])],
    ),
    ((2, 3), [(np.int8(2), torch.tensor(3)), collections.deque([2, 3]), array.array("l", [2, 3])]),
    ((), [[], np.zeros(0, int), torch.Size([])]),
]


def taken():
    """(argument, call) of each place that takes a shape."""
    x = np.zeros((2, 3))
    yield "x", lambda shape: ai.normal(shape, seed=0)
    yield "x", lambda shape: ai.zeros(shape, xp="torch")
    yield "shape", lambda shape: ai.normal(x, shape=shape, seed=0)
    yield "shape", lambda shape: ai.normal_(x, shape=shape, index=(), seed=0)
    yield "shape", lambda shape: ai.bits(shape, seed=0)
    yield "shape", lambda shape: ai.calculate_fans(shape)
    yield "shape", lambda shape: ai.describe("normal", shape)
    yield "shape", lambda shape: arrayinit.jax.zeros(None, shape)
    yield "shape of w", lambda shape: save_safetensors("w", {"w": Tensor(ai.spec("zeros"), shape)}, seed=0)


@pytest.mark.parametrize("k", range(len(list(taken()))))
def test_what_is_no_shape_is_refused_by_the_name_of_its_argument(k):
    argument, call = list(taken())[k]
    for shape in (*NO_SHAPES, *(make() for make in ITERATORS)):
        if argument == "x" and hasattr(shape, "dtype") and not isinstance(shape, np.bool_):
            continue  # an array to be filled
        if argument == "shape" and shape is None and "x," in inspect.getsource(call):
            continue  # none given
        with pytest.raises(TypeError, match=rf"`{argument}` must be "):
            call(shape)


def test_what_is_a_shape():
    for wanted, shapes in SHAPE_LIKE:
        for shape in shapes:
            assert same(ai.bits(shape, seed=0), ai.bits(wanted, seed=0)), shape
            assert ai.describe("normal", shape).shape == (wanted if isinstance(wanted, tuple) else (wanted,))


@pytest.mark.parametrize("shape", [2**63, (2**70,), (2**31, 2**32), (2**70, 0), (10**400, 3), (10**5000, 3)])
def test_shapes_larger_than_an_index(shape):
    for call in (ai.zeros, ai.xavier_normal, ai.sparse, ai.calculate_fans, lambda s: ai.describe("xavier_normal", s)):
        with pytest.raises(ValueError, match=r"`(x|shape)` must have at most 2\*\*62 elements"):
            call(shape, **({"sparsity": 0.5} if call is ai.sparse else {}))
    with pytest.raises(ValueError, match=r"2\*\*59"):
        ai.zeros(2**60)
    assert ai.zeros((2**50, 2), index=slice(2)).shape == (2, 2)


@pytest.mark.parametrize(
    "axes", ["0", b"\0", {0}, (a for a in (0,)), True, 0.0, (0.0,), (True,), None, np.ones(1), [[0]]]
)
@pytest.mark.parametrize("name", ["in_axis", "out_axis", "batch_axis"])
def test_what_is_no_axis_is_refused(name, axes):
    given = {"in_axis": 0, "out_axis": 1} | {name: axes}
    for call in (ai.normal, ai.calculate_fans, lambda shape, **axes: ai.describe("normal", shape, **axes)):
        with pytest.raises((TypeError, ValueError), match=rf"`{name}`"):
            call((2, 3, 4), **given)
    assert ai.calculate_fans((2, 3, 4), in_axis=np.array([0, 2]), out_axis=torch.tensor(1)) == (8, 3)


@pytest.mark.parametrize("layout", ["oi1", "oI", "o\u0131", "oi\u00b2", "\u043ei", "o i", b"oi", ["o", "i"], 3])
def test_letters_of_a_layout(layout):
    with pytest.raises((TypeError, ValueError), match="`layout`"):
        ai.normal((2,) * (len(layout) if hasattr(layout, "__len__") else 2), layout=layout, seed=0)


def test_steps_of_any_length():
    for step in (5, 2**70, -(2**70)):
        for library in ("numpy", "torch", "jax"):
            part = ai.normal((4, 3), index=slice(None, None, step), seed=0, xp=library)
            assert same(part, ai.normal((4, 3), seed=0)[:: min(max(step, -5), 5)])
