"""init_model_ on the backend of Keras that KERAS_BACKEND names; tests/test_keras.py runs this file on each."""

import keras
import numpy as np
import pytest
from keras import layers

import arrayinit as ai
from arrayinit.keras import init_model_
from arrayinit.models.plans import PlanError

BACKEND = keras.backend.backend()

# Keras's own __array__ and convert_to_numpy are written for NumPy 1.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def host(x):
    return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(x))


def same(a, b):
    a, b = host(a), host(b)
    return a.shape == b.shape and bool((a == b).all())


def weight(model, path):
    """A weight by the path that Keras gives it, without the counts of the process."""
    (found,) = [v for v in model.weights if v.path.endswith(path)]
    return found


def convolutional():
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(8, 3, groups=2)(image)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.Conv2DTranspose(6, 2)(x)
    x = layers.SeparableConv2D(5, 2)(x)
    x = layers.Dropout(0.5)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(3, name="head")(x))


def sequential():
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(11, 8)(tokens)
    x = layers.MultiHeadAttention(2, 5)(x, x)
    x = layers.LayerNormalization()(x)
    x = layers.Bidirectional(layers.LSTM(3))(x)
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(3)])
    return keras.Model(tokens, layers.Dense(2)(inner(x)))


RULES = {
    "*.bias": "zeros",
    "*.gamma": "ones",
    "*.beta": "zeros",
    "*kernel": ai.spec("kaiming_uniform", nonlinearity="relu"),
    "*embeddings": ai.spec("normal", std=0.02),
}
CONVOLUTIONAL = {pattern: initializer for pattern, initializer in RULES.items() if pattern != "*embeddings"}
DENSE = {"*.bias": "zeros", "*.kernel": "xavier_normal"}


def test_paths():
    for _ in range(2):  # the second model's layers have other names: Keras counts those of the process
        plan = init_model_(sequential(), RULES, seed=0, dry_run=True)
        assert [entry.path for entry in plan] == [
            "embedding.embeddings",
            *(
                f"multi_head_attention.{name}.{part}"
                for name in ("query", "key", "value", "attention_output")
                for part in ("kernel", "bias")
            ),
            "layer_normalization.gamma",
            "layer_normalization.beta",
            *(
                f"bidirectional.{way}_lstm.lstm_cell.{part}"
                for way in ("forward", "backward")
                for part in ("kernel", "recurrent_kernel", "bias")
            ),
            "sequential.dense.kernel",
            "sequential.dense.bias",
            "sequential.dense_1.kernel",
            "sequential.dense_1.bias",
            "dense_2.kernel",
            "dense_2.bias",
        ]


def test_names_of_weights_that_have_none():
    class Twice(layers.Layer):
        def build(self, shape):
            self.first, self.second = self.add_weight(shape=(3, 4)), self.add_weight(shape=(3,))
            self.third = self.add_weight(shape=(3, 4), name="w")

        def call(self, x):
            return x

    for _ in range(2):
        layer = Twice()
        layer.build((None, 3))
        plan = init_model_(layer, {"*": ai.spec("normal")}, seed=0, dry_run=True)
        assert [entry.path for entry in plan] == ["variable", "variable_1", "w"]


def test_every_weight_depends_on_its_path_alone():
    a, b = sequential(), sequential()
    assert init_model_(a, RULES, seed=5) is a
    init_model_(b, RULES, seed=5)
    assert all(same(x, y) for x, y in zip(a.weights, b.weights, strict=True))
    kernel = host(weight(a, "query/kernel"))
    expected = ai.kaiming_uniform((10, 8), nonlinearity="relu", seed=5, name="multi_head_attention.query.kernel")
    assert same(kernel.reshape(8, 10).T, expected)
    init_model_(b, RULES, seed=6)
    assert not same(weight(a, "query/kernel"), weight(b, "query/kernel"))
    assert same(weight(b, "embeddings"), ai.normal((11, 8), std=0.02, seed=6, name="embedding.embeddings"))


def test_adding_a_layer_leaves_the_others_alone():
    def mlp(*sizes):
        return keras.Sequential([keras.Input((4,)), *(layers.Dense(4, name=f"fc{size}") for size in sizes)])

    few, many = mlp(1, 3), mlp(3, 2, 1)
    for model in (few, many):
        init_model_(model, DENSE, seed=1)
    for name in ("fc1/kernel", "fc3/kernel"):
        assert same(weight(few, name), weight(many, name))


def test_axes_are_those_of_the_layers():
    plan = init_model_(convolutional(), CONVOLUTIONAL, seed=0, dry_run=True)
    fans = {}
    for entry in plan:
        if entry.path.endswith("kernel"):
            told = ai.describe(entry.initializer, entry.shape)
            fans[entry.path] = told.fan_in, told.fan_out
    # What one output sums over, what one input reaches.
    assert fans == {
        "conv2d.kernel": (2 * 9, 4 * 9),
        "depthwise_conv2d.kernel": (9, 2 * 9),
        "conv2d_transpose.kernel": (16 * 4, 6 * 4),
        "separable_conv2d.depthwise_kernel": (4, 4),
        "separable_conv2d.pointwise_kernel": (6, 5),
        "head.kernel": (5, 3),
    }
    plan = init_model_(sequential(), RULES, seed=0, dry_run=True)
    fans = {e.path: ai.describe(e.initializer, e.shape).fan_in for e in plan if e.path.endswith("kernel")}
    assert fans["multi_head_attention.query.kernel"] == 8
    assert fans["multi_head_attention.attention_output.kernel"] == 10
    assert fans["bidirectional.forward_lstm.lstm_cell.recurrent_kernel"] == 3


def test_weights_are_those_of_torch():
    torch = pytest.importorskip("torch")
    from torch import nn

    from arrayinit.torch import init_module_

    theirs = nn.ModuleDict(
        {
            "conv2d": nn.Conv2d(4, 8, 3, groups=2),
            "depthwise_conv2d": nn.Conv2d(8, 16, 3, groups=8),
            "conv2d_transpose": nn.ConvTranspose2d(16, 6, 2),
            "head": nn.Linear(5, 3),
        }
    )
    init_module_(theirs, {"*.bias": "zeros", "*.weight": CONVOLUTIONAL["*kernel"]}, seed=7)
    ours = convolutional()
    init_model_(ours, CONVOLUTIONAL, seed=7, seed_names=lambda path: path.replace("kernel", "weight"))
    with torch.no_grad():
        assert same(host(weight(ours, "head/kernel")).T, theirs["head"].weight.numpy())
        convs = [v for v in ours.weights if v.path.startswith(("conv2d", "depthwise")) and "kernel" in v.path]
        by_rank = {v.path.split("/")[0].rstrip("_0123456789"): host(v) for v in convs}
        assert same(by_rank["conv2d"].transpose(3, 2, 0, 1), theirs["conv2d"].weight.numpy())
        assert same(by_rank["conv2d_transpose"].transpose(3, 2, 0, 1), theirs["conv2d_transpose"].weight.numpy())
        depthwise = by_rank["depthwise_conv2d"].transpose(2, 3, 0, 1).reshape(16, 1, 3, 3)
        assert same(depthwise, theirs["depthwise_conv2d"].weight.numpy())


def test_state_stays_as_it_is():
    model = convolutional()
    moving = weight(model, "moving_variance")
    moving.assign(moving + 2.0)
    plan = init_model_(model, CONVOLUTIONAL, seed=0, dry_run=True)
    assert [e.path for e in plan if e.initializer is None] == [
        "batch_normalization.moving_mean",
        "batch_normalization.moving_variance",
    ]
    states = [host(v) for v in model.variables if "seed" in v.path]
    init_model_(model, CONVOLUTIONAL, seed=0)
    assert same(moving, np.full(8, 3, "float32"))
    assert states
    assert all(same(v, b) for v, b in zip([v for v in model.variables if "seed" in v.path], states, strict=True))
    init_model_(model, [*ai.Rules(CONVOLUTIONAL), ai.Rule("*", ai.spec("zeros"), optional=True)], seed=0)
    assert same(moving, np.full(8, 3, "float32"))
    ones = ai.Rule("*moving_variance", ai.spec("ones"), kind="BatchNormalization")
    init_model_(model, [ones, *ai.Rules(CONVOLUTIONAL)], seed=0)
    assert same(moving, np.ones(8, "float32"))


def test_frozen_layers_ask_for_a_word():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, trainable=False)])
    with pytest.raises(PlanError, match=r"dense\.kernel .*no rule matches"):
        init_model_(model, {"*.bias": "zeros"}, seed=0)
    before = host(model.weights[0])
    with pytest.raises(PlanError, match=r"dense\.kernel .*frozen \(trainable=False\)"):
        init_model_(model, DENSE, seed=0)
    init_model_(model, DENSE, seed=0, frozen="keep")
    assert same(model.weights[0], before)
    init_model_(model, DENSE, seed=0, frozen="draw")
    assert same(model.weights[0], ai.xavier_normal((4, 3), seed=0, name="dense.kernel", layout="io"))
    assert not model.trainable_weights


def test_only_some_weights():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(3, name="new")])
    before = host(model.weights[0])
    init_model_(model, DENSE, seed=0, only=["new.kernel"])
    assert same(model.weights[0], before)
    assert same(model.weights[2], ai.xavier_normal((4, 3), seed=0, name="new.kernel", layout="io"))
    with pytest.raises(ValueError, match=r"`only` must select parameters or buffers of the model; got nwe\.\*"):
        init_model_(model, DENSE, seed=0, only="nwe.*")


def test_shared_layers_are_drawn_once():
    shared = layers.Dense(4, name="shared")
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), shared], name="inner")
    model = keras.Model(x, shared(inner(layers.Dense(4, name="own")(x))))
    plan = init_model_(model, DENSE, seed=0, dry_run=True)
    assert {e.path: e.parameter.tied for e in plan} == {
        "own.kernel": (),
        "own.bias": (),
        "inner.shared.kernel": ("shared.kernel",),
        "inner.shared.bias": ("shared.bias",),
    } or {e.path: e.parameter.tied for e in plan} == {
        "own.kernel": (),
        "own.bias": (),
        "shared.kernel": ("inner.shared.kernel",),
        "shared.bias": ("inner.shared.bias",),
    }
    init_model_(model, DENSE, seed=0)
    path = next(e.path for e in plan if e.parameter.tied)
    assert same(shared.kernel, ai.xavier_normal((4, 4), seed=0, name=path, layout="io"))


def test_low_precision():
    for policy, dtype in (("mixed_bfloat16", "float32"), ("float16", "float16")):
        layer = layers.Dense(3, dtype=policy)
        layer.build((None, 4))
        init_model_(layer, {"bias": "zeros", "kernel": "xavier_normal"}, seed=2)
        assert layer.kernel.dtype == dtype
        assert same(layer.kernel, ai.xavier_normal((4, 3), seed=2, name="kernel", dtype=dtype, layout="io"))


@pytest.mark.skipif(BACKEND == "numpy", reason="Keras does not train with NumPy")
def test_models_train_on():
    model = sequential()
    generator = np.random.default_rng(0)
    inputs, targets = generator.integers(0, 11, (4, 6)), generator.normal(size=(4, 2))
    model.compile(keras.optimizers.SGD(1e-5), "mse")
    init_model_(model, RULES, seed=0)
    first = [float(model.train_on_batch(inputs, targets)) for _ in range(3)]
    assert first[2] < first[0]
    init_model_(model, RULES, seed=0)
    again = [float(model.train_on_batch(inputs, targets)) for _ in range(3)]
    np.testing.assert_allclose(again, first, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is for JAX")
def test_distributed_weights_stay_where_they_are():
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"])
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*first.*kernel"] = keras.distribution.TensorLayout((None, "model"), mesh)
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
    try:
        model = keras.Sequential([keras.Input((6,)), layers.Dense(8, name="first")])
        init_model_(model, DENSE, seed=3)
        kernel = model.layers[0].kernel.value
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(6, 4)}
        assert same(kernel, ai.xavier_normal((6, 8), seed=3, name="first.kernel", layout="io"))
    finally:
        keras.distribution.set_distribution(None)


# Bad input


def test_all_problems_are_told_at_once():
    model = convolutional()
    before = [host(v).copy() for v in model.weights]
    with pytest.raises(PlanError) as caught:
        init_model_(model, {"*.gamma": "ones", "*.beta": "kaiming_normal", "*kernel": "xavier_normal"}, seed=0)
    assert set(caught.value.problems) == {
        "conv2d.bias",
        "batch_normalization.beta",
        "depthwise_conv2d.bias",
        "conv2d_transpose.bias",
        "separable_conv2d.bias",
        "head.bias",
    }
    assert all(same(v, b) for v, b in zip(model.weights, before, strict=True))


def test_models_without_weights_yet():
    with pytest.raises(PlanError, match="not built: call it once"):
        init_model_(keras.Sequential([layers.Dense(3)]), DENSE, seed=0)
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model or a layer of Keras; got 3"):
        init_model_(3, DENSE, seed=0)


def test_equal_names():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(3, name="fc"), layers.Dense(3, name="fc")

        def call(self, x):
            return self.b(self.a(x))

    model = Two()
    model(np.ones((2, 3), "float32"))
    with pytest.raises(PlanError, match="give their layers names of their own") as caught:
        init_model_(model, DENSE, seed=0)
    assert set(caught.value.problems) == {"fc.kernel", "fc.bias"}


def test_rules_that_match_nothing():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.warns(UserWarning, match=r"apply to no parameter.*\*\.gamma") as caught:
        init_model_(model, DENSE | {"*.gamma": "ones"}, seed=0)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # of JAX without x64
def test_variables_whose_arrays_have_another_dtype_than_they_say():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(5, dtype="float64")])
    kernel = model.layers[0].kernel
    init_model_(model, {"*.bias": "zeros", "*": "normal"}, seed=0)
    shape = tuple(kernel.shape)
    expected = ai.normal(shape, layout="io", seed=0, name="dense.kernel", dtype=str(host(kernel).dtype))
    assert same(kernel, expected)


class Mixture(layers.Layer):
    def __init__(self, use_bias):
        super().__init__(name="moe")
        self.kernel = self.add_weight(name="kernel", shape=(5, 3, 4))
        if use_bias:
            self.bias = self.add_weight(name="bias", shape=(5, 4))
        self.built = True


def test_stacks_in_layers_of_ones_own():
    rules = {"*": ai.spec("kaiming_normal", mode="fan_out")}
    layer = init_model_(Mixture(use_bias=True), {"*bias": "zeros"} | rules, seed=3, seed_names={"kernel": "w"})
    expected = ai.normal((5, 4, 3), std=0.5**0.5, seed=3, name="w")
    assert ai.fingerprint(host(layer.kernel), layout="bio") == ai.fingerprint(expected, layout="boi")
    with pytest.raises(PlanError, match=r"kernel .*may mean several things.*\(batch, in, out\), fans \(3, 4\)"):
        init_model_(Mixture(use_bias=False), rules, seed=3)
    said = {"*": ai.spec("kaiming_normal", mode="fan_out", batch_axis=0)}
    alone = init_model_(Mixture(use_bias=False), said, seed=3, seed_names={"kernel": "w"})
    assert same(alone.kernel, layer.kernel)


def test_einsum_layers_with_a_batch_axis():
    x = keras.Input((7, 5, 3))
    model = keras.Model(x, layers.EinsumDense("...tgi,gio->...tgo", (None, 5, 4), name="fc")(x))
    (entry,) = init_model_(model, {"*": "xavier_normal"}, seed=0, dry_run=True)
    assert ai.describe(entry.initializer, entry.shape).fan_out == 4


def test_fingerprints_of_models():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.BatchNormalization()])
    marks = ai.fingerprints(model)
    assert [*marks] == sorted([
        "dense.kernel", "dense.bias", *(f"batch_normalization.{name}" for name in
                                        ("gamma", "beta", "moving_mean", "moving_variance"))])  # fmt: skip
    assert marks["dense.kernel"] == ai.fingerprint(host(model.layers[0].kernel))
    named = zip(("dense", "batch_normalization"), model.layers, strict=True)
    weights = {f"{name}.{each.name}": host(each) for name, layer in named for each in layer.weights}
    assert ai.fingerprint(model) == ai.fingerprint(weights)
