"""Keras's defaults against what its layers draw, on the backend that KERAS_BACKEND names; see test_recipes_keras.py."""

import keras
import pytest
from keras import layers
from recipe_checks import check_plan

import arrayinit as ai
from arrayinit import recipes
from arrayinit.keras import init_model_
from arrayinit.models.keras import parameters_of_model

# Keras's own __array__ and convert_to_numpy are written for NumPy 1.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def arrays(model):
    """Path -> array."""
    from arrayinit.models.keras import weights_of

    found = {path: variable for path, _, variable in weights_of(model)}
    return {p.path: keras.ops.convert_to_numpy(found[p.path].value) for p in parameters_of_model(model)}


def image(*middle, channels=16, axes=2):
    def make():
        x = keras.Input((*[8] * axes, channels))
        y = x
        for layer in middle:
            y = layer()(y)
        return keras.Model(x, y)

    return make


def attention():
    x = keras.Input((6, 24))
    y = layers.MultiHeadAttention(4, 10, value_dim=12)(x, x)
    y = layers.GroupQueryAttention(8, 4, 2)(y, y)
    y = layers.EinsumDense("abc,cde->abde", (None, 4, 12), bias_axes="de")(y)
    return keras.Model(x, layers.EinsumDense("abde,def->abf", (None, 30))(y))


def scores():
    x = keras.Input((6, 500))
    y = layers.AdditiveAttention()([x, x])
    return keras.Model(x, layers.Attention(use_scale=True, score_mode="concat")([y, y]))


def tokens():
    x = keras.Input((6,), dtype="int32")
    return keras.Model(x, layers.Dense(20)(layers.Embedding(60, 24)(x)))


def reversible():
    x = keras.Input((6,), dtype="int32")
    embedding = layers.ReversibleEmbedding(60, 24, tie_weights=False)
    return keras.Model(x, embedding(embedding(x), reverse=True))


def recurrent():
    x = keras.Input((6, 24))
    y = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(x)
    y = layers.GRU(12, return_sequences=True)(y)
    y = layers.GRU(12, return_sequences=True, reset_after=False)(y)
    return keras.Model(x, layers.SimpleRNN(32)(y))


def norms():
    x = keras.Input((6, 24))
    y = layers.LayerNormalization()(layers.GroupNormalization(4)(layers.RMSNormalization()(x)))
    y = layers.BatchNormalization(renorm=True)(layers.BatchNormalization()(y))
    return keras.Model(x, layers.PReLU()(y))


MODELS = {  # name -> (constructor, how many are made)
    "convolutions": (
        image(
            lambda: layers.Conv2D(24, 3, groups=4),
            lambda: layers.Conv2DTranspose(16, 2),
            lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
            lambda: layers.SeparableConv2D(24, 3, depth_multiplier=2),
            lambda: layers.Dense(20),
        ),
        10,
    ),
    "convolutions, 1 axis": (
        image(
            lambda: layers.Conv1D(24, 3),
            lambda: layers.Conv1DTranspose(16, 3),
            lambda: layers.DepthwiseConv1D(3, depth_multiplier=8),
            lambda: layers.SeparableConv1D(24, 3, depth_multiplier=2),
            axes=1,
        ),
        6,
    ),
    "convolutions, 3 axes": (image(lambda: layers.Conv3D(8, 3), lambda: layers.Conv3DTranspose(8, 2), axes=3), 10),
    "ConvLSTM": (lambda: image(lambda: layers.ConvLSTM1D(8, 3), axes=2)(), 5),
    "attention": (attention, 10),
    "scores": (scores, 5),
    "tokens": (tokens, 5),
    "reversible": (reversible, 5),
    "recurrent": (recurrent, 10),
    "norms": (norms, 1),
    "spectral": (image(lambda: layers.SpectralNormalization(layers.Conv2D(400, 1))), 6),
}


@pytest.mark.parametrize("name", MODELS)
def test_layers_of_keras(name):
    keras.utils.set_random_seed(0)
    make, times = MODELS[name]
    theirs = []
    for _ in range(times):
        keras.backend.clear_session()
        theirs.append(arrays(make()))
    model = make()
    rules = recipes.keras_defaults()
    plan = init_model_(model, rules, seed=0, dry_run=True)
    assert all(entry.rule is not None for entry in plan), "keras_defaults speaks of every weight"
    check_plan(plan, theirs)
    check_plan(plan, [arrays(init_model_(model, rules, seed=k)) for k in range(times)])


def test_a_layer_scale_is_no_norm():
    from keras.src.applications.convnext import LayerScale

    for layer, value, findings in (
        (LayerScale(1e-6, 24), 1e-6, []),  # as keras.applications.ConvNeXtTiny has it
        (layers.RMSNormalization(), 1, ["scale"]),
    ):
        layer.build((None, 6, 24))
        [theirs] = [x.copy() for x in arrays(layer).values()]
        assert theirs == pytest.approx(value)
        [ours] = arrays(init_model_(layer, recipes.keras_defaults(), seed=0)).values()
        assert (ours == theirs).all()
        report = ai.report(layer, {"*": ai.spec("normal")}, values=False)
        assert [finding.path for finding in report.findings if finding.kind == "random gain"] == findings


def test_other_layers_leave_all_bits_alone():
    def make(*names):
        return keras.Sequential([keras.Input((8,)), *[layers.Dense(8, name=name) for name in names]])

    rules = recipes.keras_defaults()
    first = arrays(init_model_(make("a", "b", "c"), rules, seed=2))
    second = arrays(init_model_(make("new", "c", "a"), rules, seed=2))
    assert first.keys() & second.keys() == {"a.kernel", "a.bias", "c.kernel", "c.bias"}
    assert all((first[path] == second[path]).all() for path in first.keys() & second.keys())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent_layers_compute_what_torchs_do(kind):
    """Keras packs the gates of a GRU in another order; with torch's seed names its layers are torch's."""
    import numpy as np
    import torch

    from arrayinit.torch import init_module_

    features, width = 5, 16
    theirs = getattr(torch.nn, kind.removeprefix("Simple"))(features, width, batch_first=True)
    module = torch.nn.ModuleDict({"rnn": theirs})
    init_module_(module, recipes.recurrent(forget=1.5), seed=3)
    model = keras.Sequential([keras.Input((7, features)), getattr(layers, kind)(width, return_sequences=True)])
    paths = [parameter.path for parameter in parameters_of_model(model)]
    ends = {"recurrent_kernel": "rnn.weight_hh_l0", "kernel": "rnn.weight_ih_l0", "bias": "rnn.bias_ih_l0"}
    names = {path: ends[path.rpartition(".")[2]] for path in paths}
    init_model_(model, recipes.recurrent(forget=1.5), seed=3, seed_names=names)
    x = np.random.default_rng(0).standard_normal((3, 7, features)).astype(np.float32)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x))[0].numpy()
    found = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(wanted).max() > 0.3
