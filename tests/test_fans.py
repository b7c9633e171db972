"""Fans, gains and what axes mean."""

import math

import jax
import numpy as np
import pytest
import torch

import arrayinit as ai


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


@pytest.mark.parametrize("name", ai.gains.NONLINEARITIES)
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


@pytest.mark.parametrize("name", ["gelu", "", None, 3])
def test_unknown_nonlinearities(name):
    with pytest.raises(ValueError, match="`nonlinearity`"):
        ai.calculate_gain(name)


@pytest.mark.parametrize("shape", [(), (3,), 3])
def test_shapes_without_fans(shape):
    whole = shape if isinstance(shape, tuple) else (shape,)
    for axes in ({}, {"in_axis": -2, "out_axis": -1}, {"in_axis": -2, "out_axis": 0}):
        with pytest.raises(ValueError, match=r"at least 2 dimensions.*got .*draw it with zeros") as caught:
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
