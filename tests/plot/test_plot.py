"""Plots: the numbers behind them against computations of their own, what is on them, and that no display is needed."""

import importlib.util
import itertools
import json
import math
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import plot
from arrayinit.key import Key
from arrayinit.plot.measures import cotangent_key

pytest.importorskip("matplotlib")

RULES = {"*bias": "zeros", "*": ai.spec("xavier_normal")}
WIDTHS = (12, 20, 20, 6)
BATCH = 16


# Numbers


def weights_of(seed=0):
    """The (out, in) weights of an MLP and their biases."""
    shapes = [(n, m) for m, n in itertools.pairwise(WIDTHS)]
    return [ai.xavier_normal(shape, seed=seed, name=f"{k}.weight") for k, shape in enumerate(shapes)]


def inputs():
    return ai.normal((BATCH, WIDTHS[0]), seed=9)


def by_hand(loss="cotangent"):
    """Scales of a tanh MLP, forward and backward, in float64."""
    weights = [w.astype(np.float64) for w in weights_of()]
    x, outputs = inputs().astype(np.float64), []
    for k, w in enumerate(weights):
        x = (np.tanh(x) if k else x) @ w.T
        outputs.append(x)
    gradient = np.full_like(x, 2.0) if loss == "sum" else ai.normal(x.shape, seed=cotangent_key(0)).astype(np.float64)
    gradients = [gradient]
    for w, before in zip(weights[:0:-1], outputs[-2::-1], strict=True):
        gradients.append((gradients[-1] @ w) * (1 - np.tanh(before) ** 2))
    return [x.std() for x in outputs], [g.std() for g in gradients[::-1]]


def in_torch():
    torch = pytest.importorskip("torch")
    from arrayinit.torch import init_module_

    layers = []
    for m, n in itertools.pairwise(WIDTHS):
        layers += [torch.nn.Linear(m, n), torch.nn.Tanh()]
    names = {f"{2 * k}.weight": f"{k}.weight" for k in range(3)}
    model = torch.nn.Sequential(*layers[:-1])
    return model, lambda module: init_module_(module, RULES, seed=0, seed_names=names), torch.from_numpy(inputs()), {}


def in_linen():
    jax = pytest.importorskip("jax")
    linen = pytest.importorskip("flax.linen")
    from arrayinit.jax import init_tree

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            for k, n in enumerate(WIDTHS[1:]):
                x = linen.Dense(n)(jax.numpy.tanh(x) if k else x)
            return x

    names = {f"Dense_{k}.kernel": f"{k}.weight" for k in range(3)}
    return Model(), lambda shapes: init_tree(shapes, RULES, seed=0, seed_names=names), inputs(), {}


def in_nnx():
    jax = pytest.importorskip("jax")
    nnx = pytest.importorskip("flax.nnx")
    from arrayinit.jax import init_tree

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(m, n, rngs=rngs) for m, n in itertools.pairwise(WIDTHS)])

        def __call__(self, x):
            for k, layer in enumerate(self.layers):
                x = layer(jax.numpy.tanh(x) if k else x)
            return x

    names = {f"layers.{k}.kernel": f"{k}.weight" for k in range(3)}
    model = Model(nnx.Rngs(0))
    return model, lambda shapes: init_tree(shapes, RULES, seed=0, seed_names=names), inputs(), {}


def as_function():
    jax = pytest.importorskip("jax")

    def apply(tap, params, x):
        for k, w in enumerate(params):
            x = tap(f"layer {k}", (jax.numpy.tanh(x) if k else x) @ w.T)
        return x

    params = [jax.ShapeDtypeStruct(w.shape, w.dtype) for w in weights_of()]
    return apply, lambda shapes: [jax.numpy.asarray(w) for w in weights_of()], inputs(), {"params": params}


def in_equinox():
    jax = pytest.importorskip("jax")
    eqx = pytest.importorskip("equinox")
    from arrayinit.jax import init_tree

    class Model(eqx.Module):
        layers: list

        def __call__(self, x):
            for k, layer in enumerate(self.layers):
                x = layer(jax.numpy.tanh(x) if k else x)
            return x

    keys = jax.random.split(jax.random.key(0), 3)
    model = Model([eqx.nn.Linear(m, n, key=key) for (m, n), key in zip(itertools.pairwise(WIDTHS), keys, strict=True)])
    names = {f"layers.{k}.weight": f"{k}.weight" for k in range(3)}
    return model, lambda module: init_tree(module, RULES, seed=0, seed_names=names), inputs(), {}


def in_haiku():
    jax = pytest.importorskip("jax")
    haiku = pytest.importorskip("haiku")
    from arrayinit.jax import init_tree

    def call(x):
        return haiku.nets.MLP(WIDTHS[1:], activation=jax.numpy.tanh)(x)

    names = {f"mlp.linear_{k}.w": f"{k}.weight" for k in range(3)}
    rules = {"*.b": "zeros", "*": ai.spec("xavier_normal")}
    return haiku.transform(call), lambda shapes: init_tree(shapes, rules, seed=0, seed_names=names), inputs(), {}


MODELS = {
    "torch": (in_torch, ("0", "2", "4")),
    "linen": (in_linen, ("Dense_0", "Dense_1", "Dense_2")),
    "nnx": (in_nnx, ("layers.0", "layers.1", "layers.2")),
    "equinox": (in_equinox, ("layers.0", "layers.1", "layers.2")),
    "haiku": (in_haiku, ("mlp.linear_0", "mlp.linear_1", "mlp.linear_2")),
    "function": (as_function, ("layer 0", "layer 1", "layer 2")),
}


@pytest.mark.parametrize("kind", MODELS)
def test_scales_are_those_of_a_computation_by_hand(kind):
    make, layers = MODELS[kind]
    model, recipe, x, options = make()
    (found,) = plot.depth_scales(model, {"a recipe": recipe}, x, **options)
    forward, backward = by_hand()
    assert found.recipe == "a recipe"
    assert found.layers == layers
    assert found.forward == pytest.approx(forward, rel=1e-4)
    assert found.backward == pytest.approx(backward, rel=1e-4)


@pytest.mark.parametrize("kind", MODELS)
def test_a_loss_of_ones_own(kind):
    model, recipe, x, options = MODELS[kind][0]()
    (found,) = plot.depth_scales(model, {"": recipe}, x, loss=lambda output: 2 * output.sum(), **options)
    assert found.backward[:2] == pytest.approx(by_hand("sum")[1][:2], rel=1e-4)
    assert found.backward[2] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("kind", MODELS)
def test_layers_are_chosen_by_a_glob_or_a_predicate(kind):
    model, recipe, x, options = MODELS[kind][0]()
    layers = MODELS[kind][1]
    (glob,) = plot.depth_scales(model, {"": recipe}, x, layers=f"*{layers[1][-1]}", **options)
    (chosen,) = plot.depth_scales(model, {"": recipe}, x, layers=lambda path, module: path in layers[1:], **options)
    (every,) = plot.depth_scales(model, {"": recipe}, x, **options)
    assert glob.layers == layers[1:2]
    assert chosen.layers == layers[1:]
    assert chosen.forward == pytest.approx(every.forward[1:])
    assert chosen.backward == pytest.approx(every.backward[1:], rel=1e-5)


@pytest.mark.parametrize("kind", ["torch", "linen", "nnx", "equinox", "haiku"])
def test_rules_and_the_models_own_initialization(kind):
    model, _, x, _ = MODELS[kind][0]()
    rules = {"*bias": "zeros", "*.b": "zeros", "*": ai.spec("normal", std=0.5)}
    warnings.filterwarnings("ignore", message="these rules apply to no parameter", category=UserWarning)
    own, ruled, zero = plot.depth_scales(model, {"own": None, "ruled": rules, "zero": {"*": "zeros"}}, x)
    assert [own.recipe, ruled.recipe, zero.recipe] == ["own", "ruled", "zero"]
    assert [own.initializer, ruled.initializer, zero.initializer] == ["", "normal", "zeros"]
    assert ruled.forward[0] == pytest.approx(0.5 * math.sqrt(12), rel=0.15)
    assert 0.2 < own.forward[0] < 1.3  # of the variance of torch's default, or of lecun_normal
    assert zero.forward == (0, 0, 0)
    assert zero.backward[:2] == (0, 0)
    assert plot.depth_scales(model, {"ruled": rules}, x)[0] == ruled  # whatever came before it


def test_layers_whose_weights_are_made_of_others_within_wrappers():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    norm = nn.utils.parametrizations.weight_norm

    def make(change):
        return nn.DataParallel(nn.Sequential(change(nn.Linear(6, 5)), nn.Tanh(), change(nn.Linear(5, 4))))

    rules = {"*.bias": "zeros", "0.weight": "xavier_normal", "*": "xavier_uniform"}
    x = torch.from_numpy(ai.normal((8, 6), seed=0))
    plain, normed = (plot.depth_scales(make(change), {"": rules}, x)[0] for change in (lambda layer: layer, norm))
    assert plain.layers == normed.layers == ("0", "2")
    assert normed.forward == pytest.approx(plain.forward, rel=1e-5)


def mlp(width=512, depth=30, activation="ReLU"):
    nn = pytest.importorskip("torch.nn")
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, bias=False), getattr(nn, activation)()]
    return nn.Sequential(*layers[:-1])


def test_kaiming_keeps_the_scale_that_xavier_loses():
    torch = pytest.importorskip("torch")
    recipes = {
        "kaiming": {"*": ai.spec("kaiming_normal", nonlinearity="relu")},
        "xavier": {"*": ai.spec("xavier_normal")},
        "small": {"*": ai.spec("normal", std=0.01)},
    }
    kaiming, xavier, small = plot.depth_scales(mlp, recipes, torch.from_numpy(ai.normal((128, 512), seed=0)))
    assert len(kaiming.layers) == 30
    for scales in (kaiming.forward, kaiming.backward):
        assert max(scales) < 2 * min(scales)
    # The same draws, smaller by sqrt(2) a layer.
    for k in range(30):
        assert xavier.forward[k] == pytest.approx(kaiming.forward[k] * 2 ** (-(k + 1) / 2), rel=1e-3)
        assert xavier.backward[k] == pytest.approx(kaiming.backward[k] * 2 ** (-(29 - k) / 2), rel=1e-3)
    # By a factor of 0.01 sqrt(512 / 2) a layer.
    assert math.log(small.forward[29] / small.forward[0]) / 29 == pytest.approx(math.log(0.16), abs=0.05)


def test_what_is_given_is_left_alone():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5), torch.nn.ReLU(inplace=True))
    before = ai.fingerprint(model[0].weight)
    state = torch.random.get_rng_state()
    recipes = {"a": {"*.bias": "zeros", "*": "xavier_normal"}, "own": None}
    first = plot.depth_scales(model, recipes, torch.ones(4, 8))
    assert ai.fingerprint(model[0].weight) == before
    assert model[0].weight.grad is None
    assert not model[0]._forward_hooks
    assert (torch.random.get_rng_state() == state).all()
    assert plot.depth_scales(model, {"own": None}, torch.ones(4, 8))[0] == first[1]  # dropout too
    assert first[1].forward[0] == pytest.approx(model[0](torch.ones(4, 8)).detach().double().std(correction=0).item())


def test_layers_called_twice_and_outputs_of_several_parts():
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(8, 8)
            self.rnn = torch.nn.LSTM(8, 8)
            self.frozen = torch.nn.Linear(8, 8).requires_grad_(False)

        def forward(self, x, scale=1.0):
            frozen = self.frozen(x)
            return {"n": 3, "parts": [self.rnn(self.fc(self.fc(frozen)) * scale)[0]]}

    x = torch.ones(2, 3, 8)
    (found,) = plot.depth_scales(Model(), {"own": None}, {"x": x, "scale": 2.0})
    assert found.layers == ("frozen", "fc", "fc#2", "rnn")
    assert math.isnan(found.backward[0])  # nothing before it takes a gradient
    assert all(0 < scale < 10 for scale in (*found.forward, *found.backward[1:]))
    plain = plot.depth_scales(Model, {"own": None}, (x, 2.0))[0]
    assert plain.layers == found.layers


def test_overflow_is_inf_and_underflow_0():
    torch = pytest.importorskip("torch")
    recipes = {"large": {"*": ai.spec("normal", std=1e15)}, "small": {"*": ai.spec("normal", std=1e-20)}}
    large, small = plot.depth_scales(lambda: mlp(16, 4), recipes, torch.ones(3, 16) + torch.eye(3, 16))
    assert large.forward[-1] == math.inf
    assert large.forward[0] > 1e14
    assert small.forward[-1] == 0
    assert small.forward[0] > 0


def test_nothing_is_taken_out_of_transformations_of_flax():
    jnp = pytest.importorskip("jax.numpy")
    linen = pytest.importorskip("flax.linen")

    class Inner(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(4)(x)

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(linen.remat(Inner)()(x))

    x = jnp.ones((2, 4))
    with pytest.raises(ValueError, match=r"`layers` must choose layers outside of transformations"):
        plot.depth_scales(Model(), {"own": None}, x)
    (found,) = plot.depth_scales(Model(), {"own": None}, x, layers="Dense_0")
    assert found.layers == ("Dense_0",)


def test_flax_models_with_state_and_dropout():
    jnp = pytest.importorskip("jax.numpy")
    linen = pytest.importorskip("flax.linen")

    class Model(linen.Module):
        @linen.compact
        def __call__(self, tokens):
            x = linen.Embed(10, 8)(tokens)
            x = linen.BatchNorm(use_running_average=False)(x)
            x = linen.Dropout(0.5, deterministic=False)(x)
            return linen.MultiHeadDotProductAttention(2, name="attention")(x), None

    tokens = jnp.arange(12).reshape(2, 6) % 10
    rules = {"*.scale": "ones", "*.bias": "zeros", "*": ai.spec("normal", std=0.1)}
    found, own = plot.depth_scales(Model(), {"rules": rules, "own": None}, tokens)
    assert found.layers == ("Embed_0", *(f"attention.{name}" for name in ("query", "key", "value", "out")))
    assert found.forward[0] == pytest.approx(0.1, rel=0.3)
    assert all(scale > 0 for scale in (*found.forward, *found.backward, *own.forward, *own.backward))
    assert plot.depth_scales(Model(), {"rules": rules}, tokens)[0] == found


def test_calls_of_nnx_are_put_back_as_they_were():
    nnx = pytest.importorskip("flax.nnx")
    own = nnx.Linear.__call__
    model, recipe, x, _ = in_nnx()
    before = [ai.fingerprint(layer.kernel[...]) for layer in model.layers]
    plot.depth_scales(model, {"a": recipe, "own": None}, x)
    with pytest.raises((TypeError, ValueError)):
        plot.depth_scales(model, {"a": recipe}, x[:, :3])
    assert nnx.Linear.__call__ is own
    assert [ai.fingerprint(layer.kernel[...]) for layer in model.layers] == before


def test_layers_of_equinox_within_transformations():
    jax, eqx = pytest.importorskip("jax"), pytest.importorskip("equinox")

    class Block(eqx.Module):
        attention: eqx.nn.MultiheadAttention
        norm: eqx.nn.LayerNorm
        up: eqx.nn.Linear

        def __call__(self, x):
            x = jax.vmap(self.norm)(x)
            x = x + self.attention(x, x, x)
            return x + jax.jit(lambda x: jax.vmap(self.up)(x))(x)

    class Model(eqx.Module):
        embed: eqx.nn.Embedding
        blocks: tuple
        head: eqx.nn.Linear

        def __call__(self, tokens):
            x = jax.vmap(self.embed)(tokens)
            x = jax.checkpoint(lambda x: self.blocks[0](x))(x)
            x = self.blocks[1](x)
            return jax.vmap(self.head)(x)

    keys = jax.random.split(jax.random.key(0), 6)
    blocks = [
        Block(eqx.nn.MultiheadAttention(2, 8, key=a), eqx.nn.LayerNorm(8), eqx.nn.Linear(8, 8, key=b))
        for a, b in (keys[:2], keys[2:4])
    ]
    model = Model(eqx.nn.Embedding(11, 8, key=keys[4]), tuple(blocks), eqx.nn.Linear(8, 3, key=keys[5]))
    tokens = jax.numpy.arange(20).reshape(4, 5) % 11
    rules = {"*norm.weight": "ones", "*bias": "zeros", "*": ai.spec("normal", std=0.3)}
    call, before = eqx.nn.Linear.__call__, ai.fingerprint(model)
    (found,) = plot.depth_scales(model, {"rules": rules}, tokens)
    names = [f"attention.{name}_proj" for name in ("query", "key", "value", "output")] + ["up"]
    assert found.layers == ("embed", *(f"blocks.{k}.{name}" for k in (0, 1) for name in names), "head")
    assert eqx.nn.Linear.__call__ is call
    assert ai.fingerprint(model) == before
    drawn = init_tree_of(model, rules)
    hidden = drawn.embed.weight[tokens]
    outputs = [hidden]
    for block in drawn.blocks:
        hidden = jax.vmap(block)(hidden)
    outputs.append(jax.vmap(jax.vmap(drawn.head))(hidden))
    assert found.forward[0] == pytest.approx(float(outputs[0].std()), rel=1e-4)
    assert found.forward[-1] == pytest.approx(float(outputs[1].std()), rel=1e-4)
    assert found.backward[-1] == pytest.approx(ai.normal((4, 5, 3), seed=cotangent_key(0)).std(), rel=1e-4)
    assert all(scale > 0 for scale in found.backward)


def init_tree_of(model, rules):
    from arrayinit.jax import init_tree

    return init_tree(model, rules, seed=0)


def test_layers_of_equinox_in_a_loop_are_refused():
    jax, eqx = pytest.importorskip("jax"), pytest.importorskip("equinox")

    class Model(eqx.Module):
        layer: eqx.nn.Linear

        def __call__(self, x):
            return jax.lax.fori_loop(0, 3, lambda k, x: self.layer(x), x)

    model = Model(eqx.nn.Linear(4, 4, key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"`layers` must choose layers outside of loops and branches \(here `scan`\)"):
        plot.depth_scales(model, {"own": None}, jax.numpy.ones((2, 4)))


def test_haiku_with_state():
    haiku = pytest.importorskip("haiku")

    def call(x):
        x = haiku.BatchNorm(True, True, 0.9)(haiku.Linear(6)(x), is_training=True)
        return haiku.Linear(3)(haiku.dropout(haiku.next_rng_key(), 0.5, x))

    rules = {"*.w": ai.spec("normal", std=0.5), "*.scale": "ones", "*": "zeros"}
    transformed = haiku.transform_with_state(call)
    found, own = plot.depth_scales(transformed, {"rules": rules, "own": None}, inputs())
    assert found.layers == own.layers == ("linear", "linear_1")
    assert found.forward[0] == pytest.approx(0.5 * math.sqrt(12), rel=0.25)
    assert all(scale > 0 for scale in (*found.forward, *found.backward, *own.forward, *own.backward))
    assert plot.depth_scales(transformed, {"rules": rules}, inputs())[0] == found


KERAS = """
import itertools, json, keras, numpy as np, arrayinit as ai
from arrayinit import plot
from arrayinit.keras import init_model_
widths = (12, 20, 20, 6)
rules = {"*bias": "zeros", "*": ai.spec("xavier_normal")}
class Tanh(keras.layers.Layer):  # as an activation it would be a part of Dense
    def call(self, x): return keras.ops.tanh(x)
parts = [keras.Input((12,))]
for k, n in enumerate(widths[1:]):
    parts += [*([Tanh()] if k else []), keras.layers.Dense(n, name=f"d{k}")]
model = keras.Sequential(parts)
names = {f"d{k}.kernel": f"{k}.weight" for k in range(3)}
x = ai.normal((16, 12), seed=9)
before = ai.fingerprints(model)
fill = lambda each: init_model_(each, rules, seed=0, seed_names=names)
every, ruled, own = plot.depth_scales(lambda: model, {"a": fill, "r": rules, "own": None}, x)
chosen = {"layers": lambda path, layer: path in ("d1", "d2"), "loss": lambda y: 2 * y.sum()}
runs = [every, *plot.depth_scales(model, {"a": fill}, x, **chosen)]
assert ai.fingerprints(model) == before
assert keras.layers.Dense.__dict__.get("__call__") is None
if keras.backend.backend() == "torch":
    assert all(v.value.grad is None for v in model.variables)
assert (ruled.initializer, own.initializer) == ("xavier_normal", "")
tokens = keras.Input((6,), dtype="int32")
h = keras.layers.Embedding(11, 8)(tokens)
h = keras.layers.MultiHeadAttention(2, 4)(h, h)
h = keras.layers.LSTM(5, return_sequences=True)(keras.layers.LayerNormalization()(h))
other = keras.Model(tokens, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(h)))
ids = np.arange(24).reshape(4, 6) % 11
rules = {"*.gamma": "ones", "*beta": "zeros", "*bias": "zeros", "*": ai.spec("normal", std=0.3)}
found, = plot.depth_scales(other, {"r": rules}, ids)
assert all(s > 0 for s in (*found.forward, *found.backward)), found
try:
    plot.depth_scales(model, {"a": None}, x, layers="nothing")
except ValueError as error:
    assert "`layers` must choose some of the layers of the model, input_layer, d0" in str(error), error
else:
    raise AssertionError
print(json.dumps([[run.layers, run.forward, run.backward] for run in runs] + [found.layers]))
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_models_of_keras(backend):
    pytest.importorskip(backend)
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    *runs, others = json.loads(done.stdout.splitlines()[-1])
    every, chosen = runs
    forward, backward = by_hand()
    assert every[0] == ["d0", "d1", "d2"]
    assert every[1] == pytest.approx(forward, rel=1e-4)
    assert every[2] == pytest.approx(backward, rel=1e-4)
    assert chosen[0] == ["d1", "d2"]
    assert chosen[1] == pytest.approx(forward[1:], rel=1e-4)
    assert chosen[2][0] == pytest.approx(by_hand("sum")[1][1], rel=1e-4)
    attention = [f"multi_head_attention.{name}" for name in ("query", "key", "value", "attention_output")]
    assert sorted(others) == sorted(["embedding", *attention, "lstm", "dense"])


# Figures

SCALES = (
    plot.DepthScale("one", ("a", "b", "c", "d"), (1.0, 0.5, 0.0, 0.0), (math.nan, 1.0, 2.0, 3.0)),
    plot.DepthScale("another", ("a", "b", "c", "d"), (1.0, 10.0, 100.0, math.inf), (1e-30, 1e-20, 1e-3, 1.0)),
)


def test_a_figure_of_depth():
    figure = plot.depth(SCALES, title="A title", xlabel="block")
    left, right = figure.axes
    for ax in (left, right):
        assert ax.get_yscale() == "log"
        assert ax.get_xlabel() == "block"
        assert [line.get_label() for line in ax.lines if not line.get_label().startswith("_")] == ["one", "another"]
    assert (left.get_ylabel(), right.get_ylabel()) == ("std of the output", "std of the gradient")
    assert left.get_title(loc="left") == "activations"
    assert figure.get_suptitle() == "A title"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "another"]
    lines = {line.get_label(): line for line in left.lines}
    assert list(lines["one"].get_xdata()) == [1, 2, 3, 4]
    np.testing.assert_array_equal(lines["one"].get_ydata(), [1, 0.5, np.nan, np.nan])
    np.testing.assert_array_equal(lines["another"].get_ydata(), [1, 10, 100, np.nan])
    assert lines["one"].get_color() != lines["another"].get_color()
    assert lines["one"].get_linestyle() != lines["another"].get_linestyle()
    ends = [
        (line.get_marker(), *line.get_xdata(), *line.get_ydata()) for line in left.lines if len(line.get_xdata()) == 1
    ]
    assert ends == [("v", 2, 0.5), ("^", 3, 100.0)]
    assert all(len(line.get_xdata()) == 4 for line in right.lines)  # no mark where there is no gradient


def ticks(figure):
    return [[label.get_text() for label in ax.get_xticklabels()] for ax in figure.axes]


def test_layers_and_initializers_are_named():
    scale = plot.DepthScale("he", ("fc1", "fc2"), (1.0, 2.0), (1.0, 1.0), "kaiming_normal")
    said = plot.DepthScale("xavier_normal, tuned", ("fc1", "fc2"), (1.0, 2.0), (1.0, 1.0), "xavier_normal")
    part = plot.DepthScale("xavier", ("fc1", "fc2"), (1.0, 2.0), (1.0, 1.0), "xavier_normal")
    figure = plot.depth([scale, said, part])
    assert ticks(figure) == [["fc1", "fc2"]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "he (kaiming_normal)",
        "xavier_normal, tuned",
        "xavier",
    ]
    paths = tuple(f"model.encoder.layers.{k}.mlp.up_projection" for k in range(40))
    figure = plot.depth(plot.DepthScale("", paths, (1.0,) * 40, (1.0,) * 40))
    figure.draw_without_rendering()
    assert len(ticks(figure)[0]) == 14
    assert all(name.endswith("mlp.up_projection") and len(name) == 22 for name in ticks(figure)[0])
    assert list(figure.axes[0].get_xticks()) == list(range(1, 41, 3))
    assert not figure.legends[0].get_window_extent().overlaps(figure.axes[0].get_tightbbox())
    other = plot.DepthScale("b", ("conv1", "fc"), (1.0, 2.0), (1.0, 1.0))  # another model: places alone are common
    assert not set(ticks(plot.depth([scale, other]))[0]) & {"fc1", "fc", "conv1"}


def test_limits_are_sensible():
    low, high = plot.depth(SCALES).axes[0].get_ylim()
    assert 0.1 < low < 0.5
    assert 100 < high < 300
    low, high = plot.depth(SCALES).axes[1].get_ylim()
    assert 1e-9 < low < 1e-7  # not down to 1e-30, which would leave the others flat
    assert 3 < high < 100
    empty = plot.DepthScale("none", ("a",), (0.0,), (math.nan,))
    assert plot.depth(empty).axes[0].get_ylim() == pytest.approx((0.1, 10), rel=1)


def test_the_legend_is_outside_of_the_data():
    figure = plot.depth(SCALES)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    for ax in figure.axes:
        assert not legend.overlaps(ax.get_tightbbox())
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    assert not boxes[0].overlaps(boxes[1])


def test_a_figure_of_a_model_is_that_of_its_scales(tmp_path):
    torch = pytest.importorskip("torch")
    recipes = {"kaiming": {"*": "kaiming_normal"}, "own": None}
    options = {"layers": "*", "seed": 3}
    x = torch.ones(4, 8) + torch.eye(4, 8)
    direct = plot.depth(lambda: mlp(8, 3), recipes, x, **options)
    scales = plot.depth_scales(lambda: mlp(8, 3), recipes, x, **options)
    for one, other in zip(direct.axes, plot.depth(scales).axes, strict=True):
        for a, b in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(a.get_ydata(), b.get_ydata())
    for suffix in ("png", "svg", "pdf"):
        direct.savefig(tmp_path / f"depth.{suffix}")
    assert (tmp_path / "depth.png").read_bytes().startswith(b"\x89PNG")


def test_a_notebook_shows_a_figure_once():
    figure = plot.depth(SCALES)
    png, size = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert size == {"width": 800, "height": 360}
    assert [int.from_bytes(png[k : k + 4], "big") for k in (16, 20)] == [1600, 720]  # sharp where pixels are small
    others = ("_repr_svg_", "_repr_jpeg_", "_repr_pdf_", "_repr_mimebundle_", "_ipython_display_")
    assert not any(hasattr(figure, name) for name in others)
    assert figure._repr_html_() is None  # matplotlib's own, for its WebAgg
    assert pickle.loads(pickle.dumps(figure))._repr_png_()[0] == png


NETWORK = {
    "uniform": ((64, 32), ai.spec("xavier_uniform")),
    "normal": ((64, 32), ai.spec("kaiming_normal")),
    "truncated": ((64, 32), ai.spec("trunc_normal", std=0.5, a=-0.4, b=1.0)),
    "sparse": ((60, 32), ai.spec("sparse", sparsity=0.75, std=0.1)),
    "orthogonal": ((64, 32), ai.spec("orthogonal", gain=2.0)),
    "packed": ((64, 32), ai.spec("packed", initializer=(ai.spec("zeros"), ai.spec("normal", std=0.1)), blocks=2)),
    "distribution": ((64, 32), ai.spec("distribution", distribution="laplace", parameters=(0.5, 0.2))),
}


def network():
    rules = {name: initializer for name, (_, initializer) in NETWORK.items()}
    return {name: rule(NETWORK[name][0], seed=2, name=name) for name, rule in rules.items()}, rules


def test_histograms_and_their_expected_densities():
    model, rules = network()
    figure = plot.weights(model, rules, bins=40, title="Weights")
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()] == list(model)
    assert figure.get_suptitle() == "Weights"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["drawn", "expected"]
    for ax, (name, x) in zip(figure.axes, model.items(), strict=False):
        (stairs,) = ax.patches
        values, edges, _ = stairs.get_data()
        counts, expected_edges = np.histogram(x.astype(np.float64), 40)
        np.testing.assert_allclose(edges, expected_edges, rtol=1e-6)
        np.testing.assert_allclose(values * np.diff(edges) * x.size, counts, atol=1e-6)
        curve = ax.lines[0]
        assert len(curve.get_xdata()) > 100
        assert any(f"{x.shape[0]}x{x.shape[1]}, std" in text.get_text() for text in ax.texts), name
        assert ax.get_ylim()[1] >= max(curve.get_ydata())
    assert "0.75 are 0" in [text.get_text() for text in figure.axes[3].texts]
    assert "0.5 are 0" in [text.get_text() for text in figure.axes[5].texts]


def test_weights_of_every_kind_of_model():
    nn = pytest.importorskip("torch.nn")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5))
    figure = plot.weights(model)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["0.weight", "2.weight"]
    assert figure.legends == []
    assert all(not ax.lines for ax in figure.axes)
    assert len(plot.weights(model, layers="*.bias").axes) == 3
    assert len(plot.weights(model, layers=lambda path, shape: len(shape) == 4).axes) == 1
    long = {"module." * 9 + "weight": ai.normal((4, 4), seed=0, dtype="complex64"), "c": np.full((2, 2), 7.0)}
    figure = plot.weights(long, {"*": ai.spec("constant", val=7.0)})
    assert figure.axes[0].get_title(loc="left").endswith("module.weight")
    assert len(figure.axes[0].get_title(loc="left")) == 30
    assert figure.axes[1].lines[0].get_xdata() == [7.0, 7.0]
    figure.draw_without_rendering()


def test_titles_do_not_run_into_each_other():
    model = {f"{'layers.' * 6}{k}.weight": ai.normal((64, 64), seed=k) for k in range(9)}
    figure = plot.weights(model)
    figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k])


def test_no_display_no_pyplot_and_no_global_state(tmp_path):
    pytest.importorskip("torch")
    code = f"""
import sys, matplotlib, torch, arrayinit as ai
from arrayinit import plot
def settings():  # matplotlib itself imports pyplot where it is asked for its backend
    return {{name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}}
before = settings()
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
rules = {{"*.bias": "zeros", "*": "xavier_normal"}}
plot.weights(model, rules).savefig({str(tmp_path / "w.png")!r})
plot.depth(model, {{"x": rules}}, torch.eye(4)).savefig({str(tmp_path / "d.png")!r})
assert "matplotlib.pyplot" not in sys.modules
assert settings() == before
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_import_brings_no_library():
    libraries = ("matplotlib", "torch", "jax", "flax", "rich")
    code = f"import sys, arrayinit.plot; print([name for name in {libraries} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_without_matplotlib_there_are_numbers_but_no_figures():
    code = """
import sys; sys.modules["matplotlib"] = None
import numpy, arrayinit.plot as plot
try:
    plot.weights({"w": numpy.eye(3)})
except ImportError as error:
    assert 'pip install "arrayinit[plot]"' in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# Bad input


def test_bad_input_of_depth():
    torch = pytest.importorskip("torch")
    model, x = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()), torch.ones(2, 4)
    with pytest.raises(TypeError, match="`recipes` must be a mapping"):
        plot.depth_scales(model, ["xavier"], x)
    with pytest.raises(ValueError, match="`recipes` must have at least one"):
        plot.depth_scales(model, {}, x)
    with pytest.raises(TypeError, match="`layers` must be a glob"):
        plot.depth_scales(model, {"a": None}, x, layers=3)
    with pytest.raises(ValueError, match=r"`layers` must choose some of the layers of the model, 0, 1; got 'block"):
        plot.depth_scales(model, {"a": None}, x, layers="block.*")
    with pytest.raises(ValueError, match="`layers` must choose some"):
        plot.depth_scales(torch.nn.Tanh(), {"a": None}, x)
    with pytest.raises(TypeError, match=r"`model` must be a torch\.nn\.Module"):
        plot.depth_scales(3, {"a": None}, x)
    with pytest.raises(TypeError, match=r"`model` must be .* got a function that makes 3"):
        plot.depth_scales(lambda: 3, {"a": None}, x)
    with pytest.raises(TypeError, match="`model` must be a function"):
        plot.depth_scales(3, {"a": None}, x, params={})
    with pytest.raises(TypeError, match="`recipes` and `inputs` must be given"):
        plot.depth(model)
    with pytest.raises(TypeError, match="go with a model"):
        plot.depth(SCALES, {"a": None})
    with pytest.raises(ai.PlanError, match="no rule matches"):
        plot.depth_scales(model, {"a": {"*.bias": "zeros"}}, x)
    with pytest.raises(TypeError, match="must hold a floating tensor"):
        plot.depth_scales(counting(), {"a": None}, x)


def counting():
    """A model whose output takes no gradient."""
    nn = pytest.importorskip("torch.nn")

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(x).argmax()

    return Counting()


@pytest.mark.parametrize("kind", ["linen", "nnx", "equinox", "haiku", "function"])
def test_no_layers_in_jax(kind):
    model, recipe, x, options = MODELS[kind][0]()
    with pytest.raises(ValueError, match="`layers` must choose some of the layers of the model; got 'nothing'"):
        plot.depth_scales(model, {"a": recipe}, x, layers="nothing", **options)


def test_bad_input_of_weights():
    model = {"w": ai.normal((4, 4), seed=0), "b": np.zeros(3), "nan": np.full((2, 2), np.nan)}
    for name, value in [("bins", 0), ("bins", 2.5), ("columns", True)]:
        with pytest.raises(ValueError, match=f"`{name}` must be an integer from 1"):
            plot.weights(model, **{name: value})
    for layers in ("c", "nan"):
        with pytest.raises(ValueError, match=f"`layers` must choose parameters .* got '{layers}'"):
            plot.weights(model, layers=layers)
    with pytest.raises(TypeError, match="`model` must be"):
        plot.weights(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot.weights(model, {"w": "xavier_normal"})  # what no rule matches has no expected density
    assert len(figure.axes) == 1


def test_the_key_of_the_default_loss_is_of_the_seed():
    assert isinstance(cotangent_key(0), Key)
    assert cotangent_key(0) != cotangent_key(1)
