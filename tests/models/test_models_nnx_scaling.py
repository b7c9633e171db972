"""Modules of Flax nnx scaled by the outputs of a batch: equal to linen and torch, what stays, and bad input."""

import itertools

import numpy as np
import pytest

jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")

import jax.numpy as jnp  # noqa: E402
from conftest import same  # noqa: E402
from flax import linen  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit.jax import lsuv, unit_output  # noqa: E402

SIZES = (8, 16, 16, 4)
RULES = {"*.bias": ai.spec("uniform", a=-1.0, b=1.0), "*": "orthogonal"}


def normal(*shape, dtype="float32"):
    return ai.normal(shape, seed=1, xp="jax", dtype=dtype)


def mlp(sizes=SIZES, **kwargs):
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nnx.Linear(a, b, rngs=nnx.Rngs(0), **kwargs), nnx.relu]
    return nnx.Sequential(*layers[:-1])


def arrays(module):
    return {jax.tree_util.keystr(p): np.asarray(x) for p, x in jax.tree_util.tree_leaves_with_path(
        nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngState))))}  # fmt: skip


class Model(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(11, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, dropout_rate=0.5, decode=False, rngs=rngs)
        self.shared = nnx.Linear(8, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.behind_jit = nnx.Linear(8, 8, rngs=rngs)
        self.conv = nnx.Conv(8, 6, (3,), rngs=rngs)
        self.unused = nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.attention(x)
        x = self.norm(self.shared(nnx.relu(self.shared(x))))
        return self.conv(nnx.jit(lambda layer, x: layer(x))(self.behind_jit, x))


@pytest.mark.parametrize("how", ["lsuv", "layer", "channel"])
def test_weights_are_those_of_linen_and_torch(how):
    torch = pytest.importorskip("torch")
    from arrayinit import torch as ours

    options = {"tolerance": 1e-6} if how == "lsuv" else {"per": how, "center": True}
    x = ai.normal((64, SIZES[0]), seed=1, dtype="float64")
    modules = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(SIZES)]
    peer = torch.nn.Sequential(modules[0], torch.nn.ReLU(), modules[1], torch.nn.ReLU(), modules[2]).double()
    function = ours.lsuv_ if how == "lsuv" else ours.unit_output_
    expected = function(peer, torch.as_tensor(x), RULES, seed=3, **options)
    function, words = lsuv if how == "lsuv" else unit_output, (("kernel", "weight"), ("bias", "bias"))
    with jax.enable_x64(True):
        names = {f"layers.{k}.{name}": f"{k}.{ours}" for k in (0, 2, 4) for name, ours in words}
        module, report = function(
            mlp(param_dtype="float64"), None, jnp.asarray(x), RULES, seed=3, seed_names=names, **options
        )
        dense = [linen.Dense(n, param_dtype="float64") for n in SIZES[1:]]
        flax = linen.Sequential([dense[0], linen.relu, dense[1], linen.relu, dense[2]])
        names = {path.replace("layers.", "layers_"): name for path, name in names.items()}
        variables, other = function(
            flax, flax.init(jax.random.key(0), x), jnp.asarray(x), RULES, seed=3, seed_names=names, **options
        )
        for k in (0, 2, 4):
            layer, linens = module.layers[k], variables["params"][f"layers_{k}"]
            np.testing.assert_allclose(layer.kernel[...].T, peer[k].weight.detach(), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(layer.bias[...], peer[k].bias.detach(), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(layer.kernel[...], linens["kernel"], rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(layer.bias[...], linens["bias"], rtol=1e-12, atol=1e-14)
    assert [row.path for row in report] == [f"layers.{row.path}" for row in expected]
    for row, one, two in zip(report, expected, other, strict=True):
        np.testing.assert_allclose(row.factor, one.factor, rtol=1e-12)
        assert (row.iterations, row.calls, row.note) == (one.iterations, one.calls, one.note)
        assert (row.iterations, row.calls, row.note) == (two.iterations, two.calls, two.note)


def test_the_module_stays_and_a_clone_comes_back():
    module, x = mlp(), normal(64, 8)
    before = arrays(module)
    scaled, report = lsuv(module, None, x, seed=0, tolerance=1e-3)
    assert all(same(a, before[path]) for path, a in arrays(module).items())
    assert {type(each) for _, each in nnx.iter_modules(scaled)} == {type(each) for _, each in nnx.iter_modules(module)}
    y = x
    for layer in scaled.layers:
        y = layer(y)
        if isinstance(layer, nnx.Linear):
            assert abs(float(y.std()) - 1) < 1e-3
    assert [row.path for row in report] == ["layers.0", "layers.2", "layers.4"]
    assert same(lsuv(module, None, x, seed=0, tolerance=1e-3)[0](x), y)
    # An orthogonal start: the kernel is the draw, divided.
    drawn = ai.orthogonal((8, 16), seed=0, name="layers.0.kernel", layout="io")
    np.testing.assert_allclose(scaled.layers[0].kernel[...], drawn * report["layers.0"].factor, rtol=1e-5, atol=1e-6)


def test_which_layers_are_scaled_and_why_others_stay():
    module = Model()
    module.eval()
    before = arrays(module)
    tokens = jnp.arange(40).reshape(4, 10) % 11
    scaled, report = unit_output(module, None, tokens)
    assert [row.path for row in report.scaled] == [
        "attention.query", "attention.key", "attention.value", "attention.out", "shared", "conv",
    ]  # fmt: skip
    assert {row.path for row in report} - {row.path for row in report.scaled} == {"embed", "behind_jit", "unused"}
    assert "Embed is no linear layer" in report["embed"].note
    assert report["unused"].note == "unchanged: it never runs by `__call__` in the forward pass"
    assert report["shared"].note == "runs 2 times, of which the first counts"
    assert report["shared"].calls == 2
    after = arrays(scaled)
    changed = {path for path in after if not same(after[path], before[path])}
    assert {path.split("'")[1] for path in changed} == {"attention", "shared", "conv"}  # no statistics either
    assert abs(float(scaled(tokens).std()) - 1) < 1e-4


def test_chosen_layers_and_a_model_that_is_a_layer():
    layer, report = lsuv(nnx.Linear(8, 4, rngs=nnx.Rngs(0)), None, normal(64, 8), seed=0, tolerance=1e-3)
    assert [row.path for row in report] == [""]
    assert abs(float(layer(normal(64, 8)).std()) - 1) < 1e-3
    _, report = unit_output(mlp(), None, normal(64, 8), layers="layers.2")
    assert [row.path for row in report.scaled] == ["layers.2"]
    _, report = unit_output(mlp(use_bias=False), None, (normal(64, 8),), layers=lambda path, m: path == "layers.4")
    assert [row.path for row in report.scaled] == ["layers.4"]


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (TypeError, "`module` must be a flax.linen.Module or a flax.nnx.Module; got 3", lambda x: lsuv(3, None, x)),
        (TypeError, "`variables` must be None for a module of nnx", lambda x: lsuv(mlp(), {"params": {}}, x, seed=0)),
        (TypeError, "`batch` must be an array", lambda x: lsuv(mlp(), None, "x", seed=0)),
        (TypeError, "`module` and `batch` must hold values", lambda x: lsuv(nnx.eval_shape(mlp), None, x, seed=0)),
        (TypeError, "inside of jit", lambda x: jax.jit(lambda x: lsuv(mlp(), None, x, seed=0)[1].rows[0].factor)(x)),
        (ValueError, "`layers` must have a layer .*got 'fc'", lambda x: lsuv(mlp(), None, x, seed=0, layers="fc")),
        (ValueError, "`module` must have a layer", lambda x: lsuv(nnx.Sequential(nnx.relu), None, x, seed=0)),
        (ValueError, "layer 'layers.0' must be finite", lambda x: lsuv(mlp(), None, x * np.inf, seed=0)),
        (ai.PlanError, "no rule matches", lambda x: lsuv(mlp(), None, x, {"*.bias": "zeros"}, seed=0)),
    ],
)
def test_bad_input(error, text, call):
    with pytest.raises(error, match=text):
        call(normal(64, 8))


def test_an_error_in_the_model_leaves_no_trace():
    module = mlp()
    with pytest.raises(TypeError, match="dot_general"):
        lsuv(module, None, normal(64, 7), seed=0)
    from arrayinit.models import nnx_scaling

    assert not nnx_scaling._taps
