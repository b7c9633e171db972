"""Modules of Flax linen scaled by the outputs of a batch: equal to torch, what stays, and bad input."""

import itertools
import math

import numpy as np
import pytest

jax = pytest.importorskip("jax")
linen = pytest.importorskip("flax.linen")

import jax.numpy as jnp  # noqa: E402
from conftest import same  # noqa: E402
from flax import core, nnx  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit.jax import lsuv, unit_output  # noqa: E402

KEY = jax.random.key(0)
TOKENS = jnp.arange(10)[None]


def normal(*shape, dtype="float32"):
    return ai.normal(shape, seed=1, xp="jax", dtype=dtype)


def mlp(width=16, depth=4, **kwargs):
    layers = []
    for _ in range(depth):
        layers += [linen.Dense(width, **kwargs), linen.relu]
    return linen.Sequential(layers[:-1])


class Model(linen.Module):
    @linen.compact
    def __call__(self, tokens, train=False):
        self.param("offset", linen.initializers.ones, (3, 3))
        x = linen.Embed(11, 8)(tokens)
        x = x + linen.MultiHeadDotProductAttention(2, deterministic=not train, dropout_rate=0.5, name="attention")(x)
        shared = linen.Dense(8)
        x = shared(linen.relu(shared(x)))
        x = linen.BatchNorm(use_running_average=not train)(x)
        x = linen.WeightNorm(linen.Dense(8))(x)
        x = linen.remat(linen.Dense)(8)(x)
        x = linen.Conv(8, (3,))(x)
        return linen.RNN(linen.GRUCell(4))(x)


def layer_outputs(module, variables, *args):
    """The output of each layer's first call, by an interceptor of the test's own."""
    result = {}

    def keep(call, args, kwargs, context):
        output = call(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(output, jax.Array):
            result.setdefault(".".join(context.module.path), output)
        return output

    with linen.intercept_methods(keep):
        module.apply(variables, *args)
    return result


def std(x):
    return float(np.asarray(x, "float64").std())


def leaves(tree):
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize("how", ["lsuv", "layer", "channel"])
def test_weights_are_those_of_torch(how):
    torch = pytest.importorskip("torch")
    from arrayinit import torch as ours

    rules = {"*.bias": ai.spec("uniform", a=-1.0, b=1.0), "*": "orthogonal"}
    options = {"tolerance": 1e-6} if how == "lsuv" else {"per": how, "center": True}
    x = ai.normal((64, 8), seed=1, xp="numpy", dtype="float64")
    sizes = [8, 16, 16, 4]
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    peer = torch.nn.Sequential(*layers[:-1]).double()
    function = ours.lsuv_ if how == "lsuv" else ours.unit_output_
    expected = function(peer, torch.as_tensor(x), rules, seed=3, **options)
    with jax.enable_x64(True):
        dense = [linen.Dense(n, param_dtype="float64") for n in sizes[1:]]
        module = linen.Sequential([dense[0], linen.relu, dense[1], linen.relu, dense[2]])
        function = lsuv if how == "lsuv" else unit_output
        names = {f"layers_{k}.{name}": f"{k}.{ours}" for k in (0, 2, 4)
                 for name, ours in (("kernel", "weight"), ("bias", "bias"))}  # fmt: skip
        variables, report = function(
            module, module.init(KEY, x), jnp.asarray(x), rules, seed=3, seed_names=names, **options
        )
        for k in (0, 2, 4):
            layer = variables["params"][f"layers_{k}"]
            assert layer["kernel"].dtype == "float64"
            np.testing.assert_allclose(layer["kernel"].T, peer[k].weight.detach(), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(layer["bias"], peer[k].bias.detach(), rtol=1e-12, atol=1e-14)
    assert [row.path for row in report] == [f"layers_{row.path}" for row in expected]
    for row, other in zip(report, expected, strict=True):
        np.testing.assert_allclose(row.factor, other.factor, rtol=1e-12)
        assert math.isclose(row.before, other.before, rel_tol=1e-12)
        assert (row.iterations, row.calls, row.note) == (other.iterations, other.calls, other.note)


def test_each_output_has_unit_variance():
    module, x = mlp(depth=20), normal(64, 8)
    variables, report = lsuv(module, module.init(KEY, x), x, seed=0, tolerance=1e-3)
    outputs = layer_outputs(module, variables, x)
    assert len(report.scaled) == 20
    for row in report:
        assert abs(std(outputs[row.path]) ** 2 - 1) < 1e-3
        assert math.isclose(row.after, std(outputs[row.path]), rel_tol=1e-6)


def test_what_stays_is_listed():
    module = Model()
    before = module.init(KEY, TOKENS)
    copy = jax.tree.map(jnp.copy, before)
    variables, report = lsuv(module, before, TOKENS, seed=0, tolerance=0.001)
    transformed = "unchanged: it runs within a transformation (nn.scan, nn.remat, nn.jit, nn.WeightNorm)"
    assert {row.path: row.note for row in report if row.note} == {
        "": "unchanged: Model is no linear layer or convolution",
        "Embed_0": "unchanged: Embed is no linear layer or convolution",
        "Dense_0": "runs 2 times, of which the first counts",
        "Dense_1": transformed,
        "CheckpointDense_0": transformed,
        **{f"GRUCell_0.{name}": transformed for name in ("ir", "hr", "iz", "hz", "in", "hn")},
    }
    scaled = {f"attention.{name}" for name in ("query", "key", "value", "out")} | {"Dense_0", "Conv_0"}
    assert {row.path for row in report.scaled} == scaled
    outputs = layer_outputs(module, variables, TOKENS)
    assert all(abs(std(outputs[path]) ** 2 - 1) < 1e-3 for path in scaled)
    held, known = leaves(variables), leaves(before)
    changed = {path for path in held if not same(held[path], known[path])}
    assert changed == {
        path for path in held
        if any(f"['{each}']".replace(".", "']['") in path for each in scaled) and path.endswith("['kernel']")
    }  # fmt: skip
    assert jax.tree.structure(variables) == jax.tree.structure(before)
    assert all(same(x, leaves(copy)[path]) for path, x in known.items())  # the argument is as it was


def test_statistics_stay_whatever_the_mode():
    class Norm(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.BatchNorm(use_running_average=False)(linen.Dense(8)(x))

    module, x = Norm(), normal(64, 8)
    before = module.init(KEY, x)
    variables, _ = lsuv(module, before, x, seed=0)
    assert same(variables["batch_stats"]["BatchNorm_0"]["mean"], before["batch_stats"]["BatchNorm_0"]["mean"])


def test_dropout_has_a_fixed_key():
    module = Model()
    before = module.init(KEY, TOKENS)
    first = lsuv(module, before, {"tokens": TOKENS, "train": True}, seed=0)
    assert first[1] == lsuv(module, before, (TOKENS, True), seed=0)[1]


def test_axes_in_boxes_frozen_dicts_and_a_single_layer():
    dense = linen.Dense(4, kernel_init=linen.with_partitioning(linen.initializers.ones, (None, None)))
    x = normal(64, 8)
    variables, report = lsuv(dense, core.freeze(dense.init(KEY, x)), x, seed=0, tolerance=0.001)
    assert isinstance(variables, core.FrozenDict)
    assert isinstance(variables["params"]["kernel"], linen.Partitioned)
    assert report[0].path == ""
    assert math.isclose(std(dense.apply(variables, x)), 1, rel_tol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dtypes(dtype):
    module, x = mlp(width=200, param_dtype=dtype, dtype=dtype), normal(64, 8, dtype=dtype)
    variables, report = lsuv(module, module.init(KEY, x), x, seed=0)
    assert {str(x.dtype) for x in jax.tree.leaves(variables)} == {dtype}
    assert all(abs(row.after**2 - 1) < 0.05 for row in report)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("per", ["layer", "channel"])
@pytest.mark.parametrize("name", ["Dense", "Conv"])
def test_unit_output_is_its_formula(name, per, center):
    module = linen.Dense(5) if name == "Dense" else linen.Conv(6, (3, 3), feature_group_count=2)
    x = normal(64, 8) if name == "Dense" else normal(4, 7, 7, 4)
    before = module.init(KEY, x)
    before["params"]["bias"] = normal(*before["params"]["bias"].shape)
    y = np.asarray(module.apply(before, x), "float64")
    variables, (row,) = unit_output(module, before, x, per=per, center=center)
    axes = tuple(range(y.ndim - (per == "channel")))
    expected = (y - y.mean(axes, keepdims=True) * center) / y.std(axes, keepdims=True)
    np.testing.assert_allclose(module.apply(variables, x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(row.factor, 1 / y.std(axes))


def test_layers_chooses():
    module, before = Model(), Model().init(KEY, TOKENS)
    _, report = lsuv(module, before, TOKENS, None, layers="Dense_*", tolerance=0.001)
    assert [row.path for row in report] == ["Dense_0", "Dense_1"]
    _, report = lsuv(module, before, TOKENS, None, layers=lambda path, layer: isinstance(layer, linen.Conv))
    assert [row.path for row in report] == ["Conv_0"]


def test_a_layer_within_a_layer():
    class Outer(linen.Module):
        @linen.compact
        def __call__(self, x):
            kernel = self.param("kernel", linen.initializers.normal(0.1), (8, 8))
            return linen.Dense(8)(x) @ kernel

    module, x = Outer(), normal(64, 8)
    variables, report = lsuv(module, module.init(KEY, x), x, None, layers="*", tolerance=0.001)
    outputs = layer_outputs(module, variables, x)
    assert [(row.path, row.note) for row in report] == [("", ""), ("Dense_0", "")]
    assert all(math.isclose(std(outputs[row.path]), 1, rel_tol=1e-3) for row in report)


def test_zeros_stay():
    module, x = linen.Sequential([linen.Dense(4), linen.Dense(3, kernel_init=linen.initializers.zeros)]), normal(64, 8)
    variables, report = lsuv(module, module.init(KEY, x), x, None)
    assert report["layers_1"].note == "unchanged: its output is 0 and can't be scaled to variance 1"
    assert not variables["params"]["layers_1"]["kernel"].any()


def test_an_output_that_is_not_proportional_to_the_kernel():
    class Square(linen.Module):
        @linen.compact
        def __call__(self, x):
            return x @ self.param("kernel", linen.initializers.normal(0.1), (8, 8)) ** 2

    module, x = Square(), normal(64, 8)
    with pytest.warns(UserWarning, match="not 1 within `tolerance`"):
        _, (row,) = lsuv(module, module.init(KEY, x), x, None, layers="*", iterations=3)
    assert row.iterations == 3


def test_what_fails_takes_off_the_interceptor():
    module, x = mlp(), normal(64, 8)
    before = module.init(KEY, x)
    before["params"]["layers_2"]["kernel"] = before["params"]["layers_2"]["kernel"].at[0, 0].set(jnp.nan)
    with pytest.raises(ValueError, match="output of layer 'layers_2' must be finite"):
        lsuv(module, before, x, None)
    assert not list(linen.module._global_interceptor_stack)


def variables_of(x):
    return mlp().init(KEY, x)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (TypeError, "`module` must be a flax.linen.Module", lambda x, v: lsuv(v, v, x, seed=0)),
        (TypeError, "`variables` must be None", lambda x, v: lsuv(nnx.Linear(8, 4, rngs=nnx.Rngs(0)), v, x, seed=0)),
        (TypeError, '`variables` must be a mapping with "params"', lambda x, v: lsuv(mlp(), v["params"], x, seed=0)),
        (TypeError, '`variables` must be a mapping with "params"', lambda x, v: lsuv(mlp(), x, x, seed=0)),
        (TypeError, "`batch` must be an array, a tuple", lambda x, v: lsuv(mlp(), v, [x], seed=0)),
        (TypeError, "`batch` must be an array, a tuple", lambda x, v: lsuv(mlp(), v, {"x": 3}, seed=0)),
        (ValueError, "`tolerance` must be less than 1", lambda x, v: lsuv(mlp(), v, x, seed=0, tolerance=2)),
        (ValueError, "`iterations` must be at least 1", lambda x, v: lsuv(mlp(), v, x, seed=0, iterations=0)),
        (ValueError, "`seed` may only be given with rules", lambda x, v: lsuv(mlp(), v, x, None, seed=0)),
        (ValueError, "'orthogonal' or None; got 'normal'", lambda x, v: lsuv(mlp(), v, x, "normal", seed=0)),
        (ai.PlanError, "no rule matches", lambda x, v: lsuv(mlp(), v, x, {"*.bias": "zeros"}, seed=0)),
        (TypeError, "`layers` must be a glob", lambda x, v: lsuv(mlp(), v, x, seed=0, layers=3)),
        (ValueError, "`layers` must have a layer .*got 'fc'", lambda x, v: lsuv(mlp(), v, x, seed=0, layers="fc")),
        (ValueError, "`per` must be one of", lambda x, v: unit_output(mlp(), v, x, per="row")),
        (TypeError, "inside of jit", lambda x, v: jax.jit(lambda v: lsuv(mlp(), v, x, seed=0)[0])(v)),
        (
            TypeError,
            "must hold values; got a ShapeDtypeStruct",
            lambda x, v: lsuv(mlp(), jax.eval_shape(variables_of, x), x, seed=0),
        ),
        (
            ValueError,
            "`module` must have a layer.*Embed is no linear",
            lambda x, v: lsuv(linen.Embed(3, 4), linen.Embed(3, 4).init(KEY, TOKENS), TOKENS, seed=0),
        ),
    ],
)
def test_bad_input(error, text, call):
    x = normal(64, 8)
    with pytest.raises(error, match=text):
        call(x, variables_of(x))
