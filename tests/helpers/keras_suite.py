"""arrayinit.keras on the backend of Keras that KERAS_BACKEND names; tests/test_keras.py runs this file on each."""

import functools
import inspect
import json
import pickle

import keras
import numpy as np
import pytest
from keras.src.utils.rng_utils import get_random_seed
from wrong_calls import SOME, VALUES, Call, failures

import arrayinit as ai
import arrayinit.keras as init

BACKEND = keras.backend.backend()

# Keras's own __array__ and convert_to_numpy are written for NumPy 1.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SCHEMES = ("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal")
KERAS_NAMES = {
    "Zeros": [{}],
    "Ones": [{}],
    "Constant": [{}, {"value": 0.1}],
    "Identity": [{}, {"gain": -2.5}],
    "RandomNormal": [{}, {"mean": 1.5, "stddev": 2.0}],
    "RandomUniform": [{}, {"minval": -1.0, "maxval": 3.0}],
    "TruncatedNormal": [{}, {"mean": 1.5, "stddev": 2.0}],
    "VarianceScaling": [
        {"scale": scale, "mode": mode, "distribution": distribution}
        for scale, mode in ((1.0, "fan_in"), (0.3, "fan_out"), (2.0, "fan_avg"))
        for distribution in ("truncated_normal", "untruncated_normal", "uniform", "Normal")
    ],
    "Orthogonal": [{}, {"gain": 1.5}],
} | {name: [{}] for name in SCHEMES}
CASES = [(name, arguments) for name, several in KERAS_NAMES.items() for arguments in several]


def takes_seed(name):
    return "seed" in inspect.signature(getattr(init, name)).parameters


def make(kind, arguments, /, **seeds):
    return getattr(init, kind)(**arguments, **(seeds if takes_seed(kind) else {}))


def host(x):
    """A tensor of Keras, or a variable, as NumPy has it; bfloat16 as float32, which holds its values."""
    x = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(x))
    return x.astype(np.float32) if x.dtype.name == "bfloat16" else x


def same(a, b):
    a, b = host(a), host(b)
    return a.shape == b.shape and bool((a == b).all())


RANDOM = [(name, arguments) for name, arguments in CASES if takes_seed(name)]


# What is drawn


@pytest.mark.parametrize(("name", "arguments"), [case for case in RANDOM if case[0] != "Orthogonal"])
@pytest.mark.parametrize("shape", [(), (7,), (5, 9), (3, 4, 6), (3, 3, 16, 8), (2, 3, 4, 5, 6)])
def test_laws_are_those_of_keras(name, arguments, shape, monkeypatch):
    assert law_of_keras(monkeypatch, getattr(keras.initializers, name)(**arguments), shape) == pytest.approx(
        law_of_ours(make(name, arguments), shape), rel=1e-15
    )


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize(
    ("shape", "inputs", "outputs"),
    [
        ((6, 2, 5), [0], [1, 2]),
        ((2, 5, 6), [0, 1], [2]),
        ((4, 3, 2, 5), (1,), (-1,)),
        ((6,), [0], []),
        ((6, 2, 5), [0], None),
        ((6, 2, 5), None, [1]),
    ],
)
def test_axes_mean_what_they_mean_in_keras(name, shape, inputs, outputs, monkeypatch):
    axes = {"input_axes": inputs, "output_axes": outputs}
    assert law_of_keras(monkeypatch, getattr(keras.initializers, name)(**axes), shape) == pytest.approx(
        law_of_ours(make(name, axes), shape), rel=1e-15
    )


def law_of_keras(monkeypatch, initializer, shape):
    """(center, half width of a uniform or standard deviation of a normal) that an initializer of Keras asks for."""
    from keras.src.initializers import random_initializers

    asked = []

    def uniform(shape, minval, maxval, **_):
        asked.append(("uniform", (minval + maxval) / 2, (maxval - minval) / 2))

    def normal(shape, mean, stddev, **_):
        asked.append(("normal", mean, stddev))

    def truncated_normal(shape, mean, stddev, **_):
        asked.append(("truncated_normal", mean, stddev))

    for function in (uniform, normal, truncated_normal):
        monkeypatch.setattr(random_initializers.random, function.__name__, function)
    initializer(shape)
    ((kind, center, width),) = asked
    return {kind: 1.0, "center": center, "width": width}


def law_of_ours(initializer, shape):
    told = ai.describe(initializer.spec_for(shape), shape)
    width = {"uniform": (told.high - told.low) / 2, "normal": told.std, "truncated_normal": (told.high - told.low) / 4}
    return {told.distribution: 1.0, "center": told.mean, "width": width[told.distribution]}


@pytest.mark.parametrize(("name", "arguments"), [case for case in RANDOM if case[0] != "Orthogonal"])
def test_draws_spread_as_those_of_keras(name, arguments):
    shape = (3, 3, 64, 128)  # a standard deviation from 73728 samples is right to 0.3% (one sigma) at worst
    ours = host(make(name, arguments, seed=5)(shape)).astype(np.float64)
    theirs = host(getattr(keras.initializers, name)(**arguments, seed=5)(shape)).astype(np.float64)
    told = ai.describe(make(name, arguments).spec_for(shape), shape)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=6 * told.std / 271 * 2**0.5)
    assert told.low * (1 + 1e-7) <= ours.min() + 1e-7
    assert ours.max() <= told.high * (1 + 1e-7) + 1e-7
    if told.distribution == "truncated_normal":
        assert theirs.max() == pytest.approx(told.high, rel=0.01)
        assert ours.max() == pytest.approx(told.high, rel=0.01)


@pytest.mark.parametrize(("name", "arguments"), [case for case in CASES if not takes_seed(case[0])])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
def test_constants_are_those_of_keras(name, arguments, dtype):
    if dtype == "int32" and any(value != int(value) for value in arguments.values()):
        with pytest.raises(ValueError, match="must be a value of the dtype int32"):
            make(name, arguments)((3, 4), dtype)
        return
    ours, theirs = make(name, arguments)((3, 4), dtype), getattr(keras.initializers, name)(**arguments)((3, 4), dtype)
    assert keras.backend.standardize_dtype(ours.dtype) == dtype
    assert same(ours, theirs)


def test_orthogonal_agrees_with_keras():
    for shape in ((24, 6), (6, 24), (3, 3, 4, 8), (3, 3, 4, 80)):
        matrix = host(init.Orthogonal(gain=2.0, seed=0)(shape)).reshape(-1, shape[-1])
        theirs = host(keras.initializers.Orthogonal(gain=2.0, seed=0)(shape)).reshape(-1, shape[-1])
        for w in (matrix, theirs):
            square = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
            np.testing.assert_allclose(square, 4 * np.eye(len(square)), atol=2e-5)
    torch_weight = ai.orthogonal((8, 36), gain=2.0, seed=0)
    kernel = host(init.Orthogonal(gain=2.0, seed=0)((3, 3, 4, 8)))
    np.testing.assert_allclose(kernel.transpose(3, 2, 0, 1).reshape(8, 36), torch_weight, atol=4e-6)


# Equality: with arrayinit's NumPy draws, and so from backend to backend


def dtypes():
    yield from ("float32", "float16", "bfloat16", "complex64")
    if BACKEND != "jax":
        yield from ("float64", "complex128")


@pytest.mark.parametrize(("name", "arguments"), [case for case in RANDOM if case[0] != "Orthogonal"])
def test_draws_are_the_same_on_every_backend(name, arguments):
    initializer = make(name, arguments, seed=3, name="w")
    for shape in ((), (5,), (6, 4), (3, 2, 4, 5)):
        expected = initializer.spec_for(shape)(shape, seed=3, name="w")
        got = initializer(shape)
        assert keras.ops.is_tensor(got)
        assert same(got, expected)
        assert same(initializer(list(shape), "float32"), expected)


@pytest.mark.parametrize("dtype", list(dtypes()))
@pytest.mark.parametrize("chosen", ["xavier_uniform", "kaiming_normal", "trunc_normal"])
def test_dtypes(chosen, dtype):
    got = init.initializer(chosen, seed=3)((6, 4), dtype)
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    assert same(got, getattr(ai, chosen)((6, 4), seed=3, dtype=dtype, layout="io"))


def test_dtypes_in_other_words():
    expected = ai.normal((3, 4), seed=0, dtype="float16", layout="io")
    given = [np.float16, np.dtype("float16")]
    if BACKEND == "torch":
        import torch

        given.append(torch.float16)
    if BACKEND == "jax":
        import jax.numpy as jnp

        given.append(jnp.float16)
    for dtype in given:
        got = init.initializer("normal", seed=0)((3, 4), dtype)
        assert keras.backend.standardize_dtype(got.dtype) == "float16"
        assert same(got, expected)
    before = keras.config.floatx()
    try:
        keras.config.set_floatx("float16")
        assert same(init.initializer("normal", seed=0)((3, 4)), expected)
    finally:
        keras.config.set_floatx(before)


def test_dtype_policies():
    for policy, stored in (("mixed_float16", "float32"), ("float16", "float16"), ("bfloat16", "bfloat16")):
        layer = keras.layers.Dense(4, kernel_initializer=init.GlorotUniform(seed=0), dtype=policy)
        layer.build((None, 6))
        assert layer.kernel.dtype == stored
        assert same(layer.kernel, ai.xavier_uniform((6, 4), seed=0, dtype=stored, layout="io"))


# Layout: kernels are transposes of torch's weights


def built(layer, shape):
    layer.build(shape)
    return layer


def test_kernels_are_transposes_of_torch_weights():
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        linear, conv = torch.nn.Linear(6, 4), torch.nn.Conv2d(3, 8, (2, 5))
        back = torch.nn.ConvTranspose2d(3, 8, (2, 5))
        for module in (linear, conv, back):
            ai.normal_(module.weight, seed=1, name="w")
        ours = init.initializer("normal", seed=1, name="w")
        dense = built(keras.layers.Dense(4, kernel_initializer=ours), (None, 6)).kernel
        hwio = built(keras.layers.Conv2D(8, (2, 5), kernel_initializer=ours), (None, 9, 9, 3)).kernel
        hwoi = built(keras.layers.Conv2DTranspose(8, (2, 5), kernel_initializer=ours), (None, 9, 9, 3)).kernel
        assert ai.fingerprint(dense.value, layout="io") == ai.fingerprint(linear.weight)
        assert ai.fingerprint(hwio.value, layout="hwio") == ai.fingerprint(conv.weight)
        assert hwoi.shape == (2, 5, 8, 3)
        assert same(host(hwoi).transpose(3, 2, 0, 1), back.weight.numpy())


def test_glorot_uniform_has_the_bits_of_torch():
    for shape in ((6, 4), (784, 300), (3, 3, 7, 11)):
        assert same(init.GlorotUniform(seed=2)(shape), ai.xavier_uniform(shape, seed=2, in_axis=-2, out_axis=-1))


def test_depthwise_kernels_and_embeddings():
    chosen = ai.spec("kaiming_uniform", in_axis=(), out_axis=(-2, -1), groups=6)
    layer = keras.layers.DepthwiseConv2D(
        (3, 5), depth_multiplier=2, depthwise_initializer=init.initializer(chosen, seed=4)
    )
    kernel = host(built(layer, (None, 9, 9, 6)).kernel)
    weight = ai.kaiming_uniform((12, 1, 3, 5), seed=4, groups=6)
    assert same(kernel.transpose(2, 3, 0, 1).reshape(12, 1, 3, 5), weight)
    table = keras.layers.Embedding(
        10, 4, embeddings_initializer=init.initializer(ai.spec("normal", layout="oi"), seed=4)
    )
    assert same(built(table, (None, 3)).embeddings, ai.normal((10, 4), seed=4))


def test_attention_kernels():
    layer = keras.layers.MultiHeadAttention(4, 3, kernel_initializer=init.GlorotUniform(seed=3))
    layer.build((None, 5, 10), (None, 5, 10))
    # Keras's fans are those of the matrices: (10, 4 * 3) and (4 * 3, 10).
    query, out = host(layer.query_dense.kernel), host(layer.output_dense.kernel)
    assert query.shape == (10, 4, 3)
    assert out.shape == (4, 3, 10)
    assert same(query.reshape(10, 12).T, ai.xavier_uniform((12, 10), seed=3))
    assert same(out.reshape(12, 10).T, ai.xavier_uniform((10, 12), seed=3))


def test_a_spec_s_own_layout_comes_first():
    chosen = ai.spec("kaiming_normal", mode="fan_out", layout="oi")
    assert same(init.initializer(chosen, seed=0)((6, 4)), ai.kaiming_normal((6, 4), mode="fan_out", seed=0))
    assert same(init.initializer(ai.spec("normal", in_axis=0, out_axis=1, batch_axis=2), seed=0)((2, 3, 4)),
                ai.normal((2, 3, 4), seed=0, in_axis=0, out_axis=1, batch_axis=2))  # fmt: skip
    assert same(init.initializer("dirac", seed=0)((3, 3, 4, 5)), ai.dirac((3, 3, 4, 5), layout="hwio"))


# Seeds


def test_an_integer_gives_the_same_values_at_each_call():
    initializer = init.GlorotUniform(seed=3)
    assert same(initializer((6, 4)), initializer((6, 4)))
    assert same(initializer((6, 4)), init.GlorotUniform(seed=np.int64(3))((6, 4)))
    assert same(initializer((6, 4)), init.GlorotUniform(seed=ai.Key(3))((6, 4)))
    assert not same(initializer((6, 4)), init.GlorotUniform(seed=3, name="fc")((6, 4)))
    key = ai.fold(3, "fc")
    assert same(init.GlorotUniform(seed=key)((6, 4)), init.GlorotUniform(seed=3, name="fc")((6, 4)))


def test_no_seed_takes_the_next_key():
    initializer = init.RandomNormal(stddev=1.0)
    with ai.seeded(8):
        first, second = initializer((6,)), initializer((6,))
    with ai.seeded(8):
        assert same(first, ai.normal((6,)))
        assert same(second, ai.normal((6,)))
    assert not same(first, second)


def test_no_seed_under_set_random_seed():
    initializer = init.RandomNormal(stddev=1.0)

    def drawn(seed):
        keras.utils.set_random_seed(seed)
        return initializer((6,)), init.GlorotUniform()((2, 3))

    try:
        first, second, other = drawn(5), drawn(5), drawn(6)
        assert all(map(same, first, second))
        assert not same(first[0], other[0])
        assert not same(initializer((6,)), initializer((6,)))
        with ai.seeded(8):
            assert same(drawn(5)[0], ai.normal((6,), seed=ai.fold(8, 0)))
    finally:
        keras.utils.clear_session()
    assert get_random_seed() is None


def test_a_seed_generator_counts_as_a_sequence_does():
    initializer = init.RandomNormal(stddev=1.0, seed=keras.random.SeedGenerator(8), name="w")
    got = [initializer((6,)) for _ in range(3)]
    with ai.seeded(8):
        assert all(same(x, ai.normal((6,), name="w")) for x in got)
    assert host(initializer.seed.state.value).tolist() == [8, 3]


def test_large_states_of_seed_generators():
    start = 2**31 - 1  # 32 bits, signed with torch
    x = init.RandomNormal(stddev=1.0, seed=keras.random.SeedGenerator(start))((6,))
    assert same(x, ai.normal((6,), seed=ai.fold(start, 0)))


# Clones and files


def instances():
    for name, arguments in CASES:
        yield make(name, arguments, seed=11, name="fc")
        yield make(name, arguments)
    yield init.GlorotUniform(seed=ai.fold(0, "x"))
    yield init.HeNormal(seed=1, input_axes=[0], output_axes=[1])
    yield init.initializer("kaiming_normal", seed=2, name=7)
    yield init.initializer(ai.spec("trunc_normal", std=0.02, a=-0.04, b=float("inf")), seed=ai.Key(2**64 - 1))
    yield init.initializer(ai.spec("normal", in_axis=(0,), out_axis=(1,)))
    yield init.RandomNormal(seed=keras.random.SeedGenerator(5))


@pytest.mark.parametrize("initializer", list(instances()), ids=repr)
def test_round_trips(initializer):
    text = json.dumps(keras.saving.serialize_keras_object(initializer))
    copies = [
        keras.saving.deserialize_keras_object(json.loads(text)),
        keras.initializers.get(json.loads(text)),
        keras.initializers.deserialize(keras.initializers.serialize(initializer)),
        type(initializer).from_config(initializer.get_config()),
        initializer.clone(),
    ]
    for copy in copies:
        assert type(copy) is type(initializer)
        assert copy.spec == initializer.spec
        assert copy.spec_for((4, 4)) == initializer.spec_for((4, 4))
        assert copy.get_config() == initializer.get_config()
        if initializer.spec.name == "orthogonal":
            continue
        with ai.seeded(0):
            expected = type(initializer).from_config(initializer.get_config())((4, 4))
        with ai.seeded(0):
            assert same(copy((4, 4)), expected)


def test_pickles():
    initializer = init.initializer("kaiming_normal", seed=2, name="w")
    assert same(pickle.loads(pickle.dumps(initializer))((6, 4)), initializer((6, 4)))


def test_configs_are_those_of_keras():
    for name, arguments in CASES:
        ours, theirs = make(name, arguments, seed=1), getattr(keras.initializers, name)
        plain = theirs(**arguments, **({"seed": 1} if takes_seed(name) else {}))
        requires = {"requires": "import arrayinit.keras"} if takes_seed(name) else {}  # so that none loads as Keras's
        assert ours.get_config() == plain.get_config() | requires or name == "Identity"  # Keras's forgets the gain
        assert type(ours).from_config(plain.get_config()).get_config().keys() == ours.get_config().keys()
        signatures = [list(inspect.signature(kind).parameters.values()) for kind in (type(ours), theirs)]
        names, plain_names = ([(p.name, p.default) for p in signature] for signature in signatures)
        assert [pair for pair in names if pair != ("name", None)] == plain_names


def test_names():
    assert isinstance(keras.initializers.get("arrayinit>HeNormal"), init.HeNormal)
    assert isinstance(keras.initializers.get(init.HeNormal), init.HeNormal)
    assert isinstance(keras.layers.Dense(3, kernel_initializer="arrayinit>HeNormal").kernel_initializer, init.HeNormal)
    for name in KERAS_NAMES:
        assert isinstance(getattr(init, name)(), keras.initializers.Initializer)
    assert issubclass(init.GlorotUniform, keras.initializers.VarianceScaling)


def test_the_namespace_is_that_of_keras():
    theirs = {name for name in dir(keras.initializers) if not name.startswith("_")}
    assert theirs <= set(init.__all__)
    assert all(hasattr(init, name) for name in init.__all__)
    for name in theirs - {"get", "serialize", "deserialize", "Initializer", "STFT", "STFTInitializer", "stft"}:
        assert getattr(init, name).__name__ == getattr(keras.initializers, name).__name__
        assert getattr(init, name).__module__ == "arrayinit.keras"
    assert init.STFT is init.stft is keras.initializers.STFT


@pytest.mark.parametrize("name", ["glorot_uniform", "HeNormal", "normal", "one", "OrthogonalInitializer", "identity"])
def test_get_knows_what_keras_knows_and_gives_our_classes(name):
    found = init.get(name)
    assert type(found).__name__ == type(keras.initializers.get(name)).__name__
    assert isinstance(found, init.Initializer)


def test_get_and_deserialize():
    ours, theirs = init.HeNormal(seed=3, name="w"), keras.initializers.HeNormal(seed=3)
    assert same(init.get(init.serialize(ours))((4, 3)), ours((4, 3)))
    assert same(init.deserialize(json.loads(json.dumps(init.serialize(ours))))((4, 3)), ours((4, 3)))
    assert type(init.get(init.serialize(theirs))) is type(theirs)  # a config that says whose it is
    assert init.get({"class_name": "HeNormal", "config": {"seed": 4}}).seed == 4
    assert isinstance(init.get("arrayinit>HeNormal"), init.HeNormal)
    assert isinstance(init.get(init.HeNormal), init.HeNormal)
    assert init.get(ours) is ours
    assert init.get(None) is None
    assert init.get(ai.spec("normal", std=2.0)).spec == ai.spec("normal", std=2.0)
    mine = init.deserialize({"class_name": "HeNormal", "config": {}}, {"HeNormal": init.Ones})
    assert type(mine) is init.Ones
    for wrong in ("nonsense", 3):
        with pytest.raises(ValueError, match="Could not interpret initializer identifier"):
            init.get(wrong)


@pytest.mark.parametrize(
    "given",
    [ai.kaiming_normal, ai.spec("kaiming_normal"), functools.partial(ai.kaiming_normal, mode="fan_out", seed=0)],
    ids=["function", "spec", "partial"],
)
def test_what_draws_without_a_layout_is_refused_as_a_layers_initializer(given):
    layer = keras.layers.Dense(3, kernel_initializer=given)
    with pytest.raises(TypeError, match=r'arrayinit\.keras\.initializer\("kaiming_normal"\)'):
        layer.build((None, 4))


def test_what_has_a_layout_or_needs_none_is_drawn_by_a_layer():
    kernel = functools.partial(ai.kaiming_normal, layout="io", seed=0)
    layer = built(
        keras.layers.Dense(3, kernel_initializer=kernel, bias_initializer=functools.partial(ai.normal, seed=1)),
        (None, 4),
    )
    assert same(layer.kernel, ai.kaiming_normal((4, 3), layout="io", seed=0))
    assert same(layer.bias, ai.normal((3,), seed=1))
    assert same(built(keras.layers.Dense(3, kernel_initializer=ai.ones), (None, 4)).kernel, np.ones((4, 3), "float32"))
    own = keras.layers.Dense(3, kernel_initializer=lambda shape, dtype=None: ai.normal(shape, seed=0, dtype=dtype))
    assert same(built(own, (None, 4)).kernel, ai.normal((4, 3), seed=0))


def test_copies_that_layers_make():
    def projections(seed):
        layer = keras.layers.MultiHeadAttention(2, 5, kernel_initializer=init.GlorotUniform(seed=seed))
        layer.build((None, 5, 10), (None, 5, 10))
        return layer.query_dense.kernel, layer.key_dense.kernel, layer.value_dense.kernel

    q, k, v = projections(3)
    assert same(q, k)  # as in Keras
    assert same(k, v)
    with ai.seeded(3):
        q, k, v = projections(None)
        assert not same(q, k)
        assert not same(k, v)
    with ai.seeded(3):
        again = projections(None)
    assert all(same(a, b) for a, b in zip((q, k, v), again, strict=True))


def small_model(seed=0):
    tokens, image = keras.Input((6,), dtype="int32"), keras.Input((8, 8, 3))
    x = keras.layers.Embedding(11, 8, embeddings_initializer=init.RandomNormal(seed=seed, name="table"))(tokens)
    x = x + keras.layers.MultiHeadAttention(2, 4, kernel_initializer=init.GlorotUniform(seed=seed, name="mha"))(x, x)
    x = keras.layers.LSTM(
        4,
        kernel_initializer=init.GlorotUniform(seed=seed, name="lstm"),
        recurrent_initializer=init.Orthogonal(seed=seed, name="recurrent"),
        bias_initializer=init.Zeros(),
    )(x)
    y = keras.layers.Conv2D(4, 3, kernel_initializer=init.HeNormal(seed=seed, name="conv"))(image)
    y = keras.layers.BatchNormalization(gamma_initializer=init.Ones(), moving_variance_initializer=init.Ones())(y)
    y = keras.layers.DepthwiseConv2D(
        3, depthwise_initializer=init.initializer("kaiming_uniform", seed=seed, name="depthwise")
    )(y)
    y = keras.layers.Conv2DTranspose(4, 2, kernel_initializer=init.LecunNormal(seed=seed, name="back"))(y)
    y = keras.layers.GlobalAveragePooling2D()(y)
    z = keras.layers.Concatenate()([x, y])
    z = keras.layers.Dense(5, kernel_initializer=init.VarianceScaling(seed=seed), bias_initializer=init.Constant(0.1))(
        z
    )
    return keras.Model([tokens, image], z)


def batch():
    generator = np.random.default_rng(0)
    return (
        [generator.integers(0, 11, (4, 6)).astype("int32"), generator.normal(size=(4, 8, 8, 3)).astype("float32")],
        generator.normal(size=(4, 5)).astype("float32"),
    )


@pytest.mark.filterwarnings("ignore:.*:UserWarning:keras")  # Keras saves variables of layers that have no build config
def test_models_are_saved_and_loaded(tmp_path):
    model = small_model()
    twin = small_model()
    assert all(same(a, b) for a, b in zip(model.weights, twin.weights, strict=True))
    again = keras.Model.from_config(model.get_config())  # draws anew, from the same seeds
    copied = keras.models.clone_model(model)
    file = tmp_path / "model.keras"
    model.save(file)
    loaded = keras.saving.load_model(file)
    for other in (again, copied, loaded, keras.models.model_from_json(model.to_json())):
        assert len(other.weights) == len(model.weights)
        for a, b in zip(model.weights, other.weights, strict=True):
            assert same(a, b) or "recurrent" in a.path
    (inputs, _) = batch()
    np.testing.assert_allclose(host(loaded(inputs)), host(model(inputs)), atol=1e-6)


@pytest.mark.skipif(BACKEND == "numpy", reason="Keras does not train with NumPy")
def test_models_train():
    model = small_model()
    inputs, targets = batch()
    before = [host(v).copy() for v in model.weights]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    losses = [float(model.train_on_batch(inputs, targets)) for _ in range(5)]
    assert all(np.isfinite(losses))
    assert losses[-1] < losses[0]
    names = [v.path for v, b in zip(model.weights, before, strict=True) if not same(v, b)]
    assert len([name for name in names if "kernel" in name or "embeddings" in name]) == 11


# Scopes of Keras


class Late(keras.Model):
    """A model whose layers are built while Keras works out shapes."""

    def __init__(self, seed):
        super().__init__()
        self.first = keras.layers.Dense(8, kernel_initializer=init.GlorotUniform(seed=seed))
        self.second = keras.layers.Dense(4, kernel_initializer=init.GlorotUniform(seed=seed))

    def call(self, x):
        return self.second(self.first(x))


def test_shape_inference_takes_no_key():
    with ai.seeded(3):
        model = Late(None)
        model(keras.Input((5,)))
        after = ai.normal((3,))
    with ai.seeded(3):
        assert same(model.first.kernel, ai.xavier_uniform((5, 8), layout="io"))
        assert same(model.second.kernel, ai.xavier_uniform((8, 4), layout="io"))
        assert same(after, ai.normal((3,)))
    model = Late(9)
    model(keras.Input((5,)))
    assert same(model.first.kernel, ai.xavier_uniform((5, 8), seed=9, layout="io"))
    generator = keras.random.SeedGenerator(3)
    model = Late(generator)
    model(keras.Input((5,)))
    with ai.seeded(3):
        assert same(model.first.kernel, ai.xavier_uniform((5, 8), layout="io"))
        assert same(model.second.kernel, ai.xavier_uniform((8, 4), layout="io"))


@pytest.mark.skipif(BACKEND != "torch", reason="torch's devices")
def test_devices():
    with keras.device("meta"):
        for initializer in (init.GlorotUniform(), init.Identity(2.0), init.Constant(1.0)):
            x = initializer((3, 4))
            assert x.is_meta
            assert tuple(x.shape) == (3, 4)
    x = init.GlorotUniform(seed=0)((3, 4))
    assert x.device.type == keras.ops.ones(1).device.type
    assert not x.requires_grad


@pytest.mark.skipif(BACKEND != "jax", reason="traces are JAX's")
def test_traces():
    import jax

    initializer = init.GlorotNormal(seed=4, name="w")
    assert same(jax.jit(lambda: initializer((6, 4)))(), initializer((6, 4)))
    with pytest.raises(ValueError, match="`seed` must be given inside a JAX trace"):
        jax.jit(lambda: init.GlorotNormal()((6, 4)))()
    generator = keras.random.SeedGenerator(8)
    drawing = init.RandomNormal(stddev=1.0, seed=generator, name="w")

    @jax.jit
    def draw(state):
        with keras.StatelessScope([(generator.state, state)]) as scope:
            x = drawing((6,))
        return x, scope.get_current_value(generator.state)

    x, state = draw(generator.state.value)
    y, state = draw(state)
    assert state.tolist() == [8, 2]
    with ai.seeded(8):
        assert same(x, ai.normal((6,), name="w"))
        assert same(y, ai.normal((6,), name="w"))


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is for JAX")
def test_distributed_weights():
    import jax

    devices = jax.devices()
    assert len(devices) == 4
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"], devices=devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*first.*kernel"] = keras.distribution.TensorLayout((None, "model"), mesh)
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
    try:
        with ai.seeded(3):
            model = keras.Sequential(
                [
                    keras.Input((6,)),
                    keras.layers.Dense(8, kernel_initializer=init.GlorotUniform(), name="first"),
                    keras.layers.Dense(8, kernel_initializer=init.Identity(0.5), name="second"),
                    keras.layers.Dense(2, kernel_initializer=init.HeNormal(), name="third"),
                ]
            )
        kernel = model.layers[0].kernel.value
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(6, 4)}
        assert len(kernel.sharding.device_set) == 4
        with ai.seeded(3):
            assert same(kernel, ai.xavier_uniform((6, 8), layout="io"))
            assert same(model.layers[2].kernel, init.HeNormal()((8, 2)))
        assert same(model.layers[1].kernel, 0.5 * np.eye(8, dtype="float32"))
        model.compile("sgd", "mse")
        assert np.isfinite(model.train_on_batch(np.ones((8, 6)), np.ones((8, 2))))
        sharded = init.HeNormal(seed=1)((8, 4), layout=layout["model/first/kernel"])
        assert {shard.data.shape for shard in sharded.addressable_shards} == {(8, 2)}
        assert same(sharded, init.HeNormal(seed=1)((8, 4)))
    finally:
        keras.distribution.set_distribution(None)


# Bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: init.GlorotUniform(seed="a"), TypeError, "`seed` must be an integer, an arrayinit.Key"),
        (lambda: init.GlorotUniform(seed=True), TypeError, "`seed` must be an integer"),
        (lambda: init.GlorotUniform(seed=1.0), TypeError, "got 1.0"),
        (lambda: init.GlorotUniform(seed=-1), ValueError, r"`seed` must be in \[0, 2\*\*64\); got -1"),
        (lambda: init.GlorotUniform(name=1.5), TypeError, "`name` must be a string, an integer or a tuple"),
        (lambda: init.initializer("xavier"), ValueError, "`name` must be an initializer"),
        (lambda: init.initializer(3), TypeError, "`spec` must be an arrayinit.Spec; got 3"),
        (lambda: init.Initializer("normal"), TypeError, "`spec` must be an arrayinit.Spec; got 'normal'"),
        (lambda: init.Constant([1, 2]), TypeError, "`value` must be a real number"),
        (lambda: init.Identity("2"), TypeError, "`gain` must be a real number; got '2'"),
        (lambda: init.Orthogonal(float("nan")), ValueError, "`gain` must be finite; got nan"),
        (lambda: init.RandomNormal(stddev=-1), ValueError, "`stddev` must not be negative; got -1"),
        (lambda: init.RandomUniform(1, 0), ValueError, "`minval` must not be greater than `maxval`; got 1 and 0"),
        (lambda: init.RandomUniform(0, float("inf")), ValueError, "`maxval` must be finite"),
        (lambda: init.TruncatedNormal(mean=True), TypeError, "`mean` must be a real number; got True"),
        (lambda: init.VarianceScaling(0), ValueError, "`scale` must be positive; got 0"),
        (lambda: init.VarianceScaling(mode="fan"), ValueError, "`mode` must be one of 'fan_in'.*got 'fan'"),
        (lambda: init.VarianceScaling(distribution="x"), ValueError, "`distribution` must be one of .*got 'x'"),
        (lambda: init.VarianceScaling(distribution=3), ValueError, "`distribution` must be one of .*got 3"),
        (lambda: init.GlorotUniform()((3, None)), TypeError, "`shape` must be a sequence of integers"),
        (lambda: init.GlorotUniform()((3, -1)), ValueError, "`shape` must have no negative size"),
        (lambda: init.GlorotUniform()((3, 4), "int32"), TypeError, "or that of `x`, must be one of"),
        (lambda: init.GlorotUniform()((3, 4), "no"), ValueError, "dtype"),
        (lambda: init.Identity()((3, 4, 5)), ValueError, "`shape` must have two axes for Identity"),
        (lambda: init.Orthogonal()((3,)), ValueError, "at least 2 dimensions"),
        (lambda: init.HeNormal(input_axes=0), TypeError, "`input_axes` must be a list of axis numbers or None; got 0"),
        (lambda: init.HeNormal(output_axes=["a"]), TypeError, "`output_axes` must be a list of axis numbers"),
        (lambda: init.HeNormal(input_axes=[0], output_axes=[0])((3, 4)), ValueError, "only once"),
        (lambda: init.HeNormal(input_axes=[5], output_axes=[0])((3, 4)), ValueError, "must name an axis of the shape"),
        (lambda: init.Constant(1e6)((3,), "float16"), ValueError, "`val` must be within the range of float16"),
        (lambda: init.initializer("kaiming_normal")((3,)), ValueError, "at least 2 dimensions"),
        (lambda: init.Ones()((3,), layout="x"), TypeError, "`layout`"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_equal_bounds_are_a_constant():
    assert same(init.RandomUniform(0.5, 0.5)((3,)), np.full(3, 0.5, "float32"))
    assert same(init.TruncatedNormal(0.5, 0.0)((3,)), np.full(3, 0.5, "float32"))
    assert same(init.RandomNormal(0.5, 0.0)((3,)), np.full(3, 0.5, "float32"))
    assert same(init.RandomNormal(keras.ops.convert_to_tensor(0.5), np.float32(0))((3,)), np.full(3, 0.5, "float32"))


def test_empty_shapes():
    for name, arguments in CASES:
        assert tuple(make(name, arguments, seed=0)((0, 4)).shape) == (0, 4)


def test_laws_without_a_spread_are_the_mean_in_both_parts():
    for initializer in (init.RandomUniform(0.25, 0.25), init.TruncatedNormal(0.25, 0.0), init.RandomNormal(0.25, 0.0)):
        assert (host(initializer((2, 3))) == 0.25).all()
        assert ai.describe(initializer.spec_for((2, 3)), (2, 3)).mean == 0.25
        assert (initializer.spec_for((2, 3))((2, 3), seed=0, dtype="complex64") == 0.25 + 0.25j).all()


def wrong_calls():
    names = {
        "value": ("val",), "stddev": ("std",), "minval": ("maxval", "a", "b"), "maxval": ("minval", "a", "b"),
        "scale": ("std",), "input_axes": ("axis",), "output_axes": ("axis",), "spec": ("name",),
    }  # fmt: skip
    takes = {"input_axes": ("None", "list"), "output_axes": ("None", "list"), "name": ("None",), "seed": ("True",)}
    for name, several in KERAS_NAMES.items():
        given = {p.name: p.default for p in inspect.signature(getattr(init, name)).parameters.values()} | several[-1]
        if "seed" in given:
            given["seed"] = 0

        yield Call(name, drawn(getattr(init, name)), given, names, takes=takes)
    given = {"shape": (4, 6), "dtype": None, "layout": None}
    yield Call(
        "HeNormal.__call__", lambda **given: host(init.HeNormal(seed=0)(**given)), given, takes={"dtype": ("text",)}
    )
    yield Call("initializer", drawn(init.initializer), {"spec": "he_normal", "seed": 0, "name": 1}, names, takes=takes)


def drawn(make):
    return lambda **arguments: host(make(**arguments)((4, 6)))


WRONG = {call.label: call for call in wrong_calls()}


@pytest.mark.parametrize("label", WRONG)
def test_wrong_calls(label):
    assert failures(WRONG[label], VALUES, SOME) == []


def test_refused_calls_take_nothing_from_a_seed_generator():
    generator = keras.random.SeedGenerator(1)
    before = host(generator.state)
    for call in (
        lambda: init.HeNormal(seed=generator)((3,) * 70),
        lambda: init.HeNormal(seed=generator)((3, 4), "int32"),
        lambda: init.RandomNormal(stddev=1e38, seed=generator)((3, 4)),
        lambda: init.initializer("kaiming_normal", seed=generator)((3,)),
        lambda: init.HeNormal(seed=generator)((3, 4), layout="x"),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    init.RandomNormal(0.5, 0.0, seed=generator)((3,))
    init.HeNormal(seed=generator)((0, 4))
    assert same(generator.state, before)
    init.HeNormal(seed=generator)((3, 4))
    assert not same(generator.state, before)


def test_warnings_name_the_line_that_called():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    for call in (
        lambda: init.init_model_(layer, {"*": "ones", "nothing": "zeros"}, seed=0),
        lambda: init.initializer("kaiming_normal")((0, 3)),
    ):
        with pytest.warns(UserWarning, match="no parameter|no-op") as caught:
            call()
        assert [(w.filename, w.lineno) for w in caught] == [(__file__, call.__code__.co_firstlineno)]
