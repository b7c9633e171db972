"""arrayinit.jax: the surface and laws of jax.nn.initializers, arrayinit's bits, and the libraries it is made for."""

import inspect
import json
import math
import os
import pickle
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

import arrayinit as ai

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402  (after the skip)
from jax.nn import initializers as theirs  # noqa: E402

import arrayinit.jax as ours  # noqa: E402
from arrayinit.backends.jax import is_tracing  # noqa: E402
from arrayinit.engines import jax as xla  # noqa: E402
from arrayinit.models.plans import PlanError  # noqa: E402

ALIASES = {
    "xavier_uniform": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
}
SCALED = ["glorot_uniform", "glorot_normal", "lecun_uniform", "lecun_normal", "he_uniform", "he_normal"]
FACTORIES = [*SCALED, *ALIASES, "constant", "uniform", "normal", "truncated_normal", "variance_scaling", "orthogonal"]

# One of each, made the same way here and in JAX.
EXAMPLES = {
    "uniform": lambda m: m.uniform(0.3),
    "normal": lambda m: m.normal(0.3),
    "truncated_normal": lambda m: m.truncated_normal(0.3),
    "truncated_normal, one-sided": lambda m: m.truncated_normal(0.3, lower=0.5, upper=4.0),
    "fan_out, normal": lambda m: m.variance_scaling(0.7, "fan_out", "normal"),
    "fan_geo_avg, truncated": lambda m: m.variance_scaling(2.0, "fan_geo_avg", "truncated_normal"),
    "fan_avg, io": lambda m: m.variance_scaling(1.5, "fan_avg", "uniform", in_axis=0, out_axis=(1, 2)),
    "batched": lambda m: m.lecun_normal(batch_axis=0),
    "Flax's Embed": lambda m: m.variance_scaling(1.0, "fan_in", "normal", out_axis=0),
    **{name: partial(lambda name, m: getattr(m, name)(), name) for name in SCALED},
}
EXACT = {
    "zeros": ours.zeros,
    "constant": ours.constant(0.1),
    "uniform": ours.uniform(2.5),
    "normal": ours.normal(),
    "truncated_normal": ours.truncated_normal(lower=-0.5, upper=3.0),
    "glorot_uniform": ours.glorot_uniform(),
    "he_normal": ours.he_normal(),
    "kaiming_normal for tanh": ours.initializer(ai.spec("kaiming_normal", nonlinearity="tanh")),
    "sparse": ours.initializer(ai.spec("sparse", sparsity=0.3)),
}


def equal(a, b) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool((np.asarray(a) == np.asarray(b)).all())


def ks(a, b) -> float:
    return ks_2samp(np.asarray(a, "float64").ravel(), np.asarray(b, "float64").ravel()).pvalue


# --- the surface ---------------------------------------------------------------------------------------------------


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", FACTORIES)
def test_parameters_and_defaults_are_those_of_jax(name):
    assert parameters(getattr(ours, name)) == parameters(getattr(theirs, name))


@pytest.mark.parametrize("name", ["zeros", "ones"])
def test_zeros_and_ones_are_themselves_initializers(name):
    mine, other = getattr(ours, name), getattr(theirs, name)
    assert parameters(mine) == parameters(other)
    assert equal(mine(None, (2, 3), jnp.bfloat16), other(None, (2, 3), jnp.bfloat16))


@pytest.mark.parametrize("shape", [(3, 4, 6), (4, 3, 5, 5), (2, 1, 3, 2, 7)])
def test_delta_orthogonal_is_as_jax_has_it(shape):
    theirs = jax.nn.initializers.delta_orthogonal(scale=2.0)(jax.random.key(0), shape)
    for column_axis in (-1, 0):
        for draw in (lambda f: f, jax.jit):
            x = draw(lambda key, axis=column_axis: ours.delta_orthogonal(2.0, axis)(key, shape))(jax.random.key(0))
            centre = tuple((k - 1) // 2 for k in shape[:-2])
            assert np.abs(x[centre] @ x[centre].T - 4 * np.eye(shape[-2])).max() < 1e-5
            assert np.count_nonzero(x) == np.count_nonzero(theirs) == np.count_nonzero(x[centre])
            assert x.dtype == theirs.dtype
    with pytest.raises(ValueError, match="`column_axis`"):
        ours.delta_orthogonal(1.0, 2)
    with pytest.raises(ValueError, match="output channels"):
        ours.delta_orthogonal()(0, (3, 6, 4))


def test_every_name_of_jax_is_here():
    names = {name for name in dir(theirs) if not name.startswith("_")}
    assert names <= set(ours.__all__)
    assert set(ours.__all__) - names == {"JaxRecord", "init_tree", "initializer", "lsuv", "record", "unit_output"}
    assert all(hasattr(ours, name) for name in ours.__all__)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases(alias, name):
    assert getattr(ours, alias) is getattr(ours, name)


@pytest.mark.parametrize("name", FACTORIES)
def test_made_initializers_are_called_as_those_of_jax(name):
    arguments = {"constant": (2.0,), "variance_scaling": (1.0, "fan_in", "normal")}.get(name, ())
    mine, other = getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments)
    assert parameters(mine) == parameters(other)
    assert isinstance(mine, theirs.Initializer)
    a, b = mine(jax.random.key(0), (3, 5)), other(jax.random.key(0), (3, 5))
    assert isinstance(a, jax.Array)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)


@pytest.mark.parametrize("name", EXACT)
def test_an_initializer_is_a_frozen_value(name):
    init = EXACT[name]
    copy = pickle.loads(pickle.dumps(init))
    assert copy == init
    assert hash(copy) == hash(init)
    assert copy is not init
    with pytest.raises(AttributeError, match="cannot assign"):
        init.dtype = None


def test_initializers_are_equal_where_their_parameters_are():
    assert ours.he_normal() == ours.variance_scaling(2, "fan_in", "truncated_normal")
    assert ours.he_normal() != ours.he_normal(dtype=jnp.bfloat16)
    assert ours.normal(dtype="float16") == ours.normal(dtype=jnp.float16)
    assert ours.glorot_normal(in_axis=[0, 1], out_axis=2) == ours.glorot_normal(in_axis=(0, 1), out_axis=2)


# --- the laws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", EXAMPLES)
def test_same_law_as_jax(made):
    # Two-sample Kolmogorov-Smirnov at 1e-4: with 24576 samples each it sees a difference of 0.02 between the laws.
    shape = (512, 48) if made == "Flax's Embed" else (8, 64, 48)
    mine = np.asarray(EXAMPLES[made](ours)(jax.random.key(1), shape))
    other = np.asarray(EXAMPLES[made](theirs)(jax.random.key(2), shape))
    assert ks(mine, other) > 1e-4
    assert mine.std() == pytest.approx(other.std(), rel=0.03)
    assert abs(mine.mean() - other.mean()) < 5 * other.std() * math.sqrt(2 / other.size)


@pytest.mark.parametrize(
    ("made", "gain"), [("glorot_normal", 1 / 48), ("lecun_normal", 1 / 32), ("he_normal", 2 / 32)], ids=lambda x: x
)
def test_named_normals_are_truncated_and_corrected(made, gain):
    # gain is 1 / fan without the receptive field, 512.
    w = np.asarray(getattr(ours, made)()(7, (512, 32, 64), jnp.float32)) / math.sqrt(gain / 512)
    assert w.std() == pytest.approx(1, rel=5e-3)
    assert 2.25 < np.abs(w).max() <= 2 / 0.87962566103423978 * (1 + 1e-6)
    # torch's namesake has the same standard deviation and longer tails, which is what `initializer` gives.
    whole = np.asarray(ours.initializer(made)(7, (512, 32, 64)))
    assert np.abs(whole).max() / whole.std() > 4
    assert ks(w, whole / whole.std()) < 1e-6


def test_uniform_fills_the_half_open_interval():
    w = np.asarray(ours.uniform(0.5)(0, (1 << 16,)))
    assert 0 <= w.min() < 1e-4
    assert 0.4999 < w.max() < 0.5


def test_truncated_normal_is_in_units_of_stddev_and_not_corrected():
    w = np.asarray(ours.truncated_normal(0.01)(0, (1 << 16,)))
    assert 0.0199 < np.abs(w).max() <= 0.02 * (1 + 1e-6)
    assert w.std() == pytest.approx(0.0087962566, rel=0.02)
    assert np.asarray(ours.truncated_normal(2.0, lower=3.0, upper=math.inf)(0, (1 << 10,))).min() >= 6.0


@pytest.mark.parametrize("distribution", ["uniform", "normal", "truncated_normal"])
def test_complex_values_have_the_variance_of_jax_half_in_each_part(distribution):
    make = [m.variance_scaling(2.0, "fan_in", distribution) for m in (ours, theirs)]
    mine, other = (np.asarray(init(jax.random.key(4), (256, 256), jnp.complex64)) for init in make)
    assert mine.dtype == other.dtype == np.complex64
    assert mine.real.std() == pytest.approx(math.sqrt(1 / 256), rel=0.02)
    assert mine.imag.std() == pytest.approx(math.sqrt(1 / 256), rel=0.02)
    # The complex truncated normal of JAX has 0.98 of the standard deviation that it states.
    assert mine.std() == pytest.approx(other.std(), rel=0.03)
    assert abs(np.mean(mine.real * mine.imag)) < 5 / 256 / 256


@pytest.mark.parametrize(
    ("shape", "column_axis"), [((6, 4), -1), ((4, 6), -1), ((6, 4), 0), ((3, 4, 5), 1), ((2, 3, 4, 5), -2), ((5, 5), 1)]
)
def test_orthogonal_has_orthonormal_rows_or_columns_as_in_jax(shape, column_axis):
    for module in (ours, theirs):
        w = np.asarray(module.orthogonal(3.0, column_axis)(jax.random.key(0), shape), "float64")
        matrix = np.moveaxis(w, column_axis, -1).reshape(-1, shape[column_axis])
        rows, columns = matrix.shape
        product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
        assert np.abs(product - 9 * np.eye(min(rows, columns))).max() < 2e-5


# --- the bits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
@pytest.mark.parametrize("name", EXACT)
def test_eager_jit_vmap_and_numpy_agree(name, dtype):
    init, shape, keys = EXACT[name], (6, 5), jax.random.split(jax.random.key(9), 3)
    draw = partial(init, shape=shape, dtype=dtype)
    eager = [draw(key) for key in keys]
    for key, mapped, traced in zip(keys, jax.vmap(draw)(keys), map(jax.jit(draw), keys), strict=True):
        spec = init.spec
        layout = {} if "in_axis" in spec.parameters else {"in_axis": -2, "out_axis": -1}
        wanted = spec(shape, seed=key, xp="numpy", dtype=dtype, **layout)
        assert equal(draw(key), wanted)
        assert equal(traced, wanted)
        assert equal(mapped, wanted)
    if name not in ("zeros", "constant"):
        assert not equal(eager[0], eager[1])


@pytest.mark.parametrize("name", EXACT)
def test_dense_kernel_is_the_transpose_of_a_torch_weight(name):
    spec = ai.spec(EXACT[name].spec.name, **{k: v for k, v in EXACT[name].spec.items if "axis" not in k})
    weight = spec((5, 6), seed=3)
    assert equal(EXACT[name](jax.random.key(3), (6, 5)), weight.T)
    assert equal(jax.jit(lambda: ours.initializer(spec)(3, (6, 5)))(), weight.T)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "sparse"])
def test_conv_kernel_is_the_transpose_of_a_torch_weight(name):
    spec = ai.spec(EXACT[name].spec.name, **{k: v for k, v in EXACT[name].spec.items if "axis" not in k})
    weight = spec((5, 4, 3, 2), seed=3)
    assert equal(EXACT[name](jax.random.key(3), (3, 2, 4, 5)), weight.transpose(2, 3, 1, 0))


def test_glorot_uniform_has_the_bits_of_torchs_xavier_uniform():
    assert equal(ours.glorot_uniform()(3, (6, 5)), ai.xavier_uniform((5, 6), seed=3).T)


@pytest.mark.parametrize(("shape", "back"), [((6, 5), (1, 0)), ((3, 2, 4, 5), (3, 2, 0, 1))])
def test_orthogonal_is_the_transpose_of_a_torch_weight(shape, back):
    wanted = ai.orthogonal(tuple(shape[axis] for axis in back), seed=3).transpose(np.argsort(back))
    init = ours.orthogonal()
    for drawn in (init(3, shape), jax.jit(partial(init, shape=shape))(jax.random.key(3))):
        assert np.abs(np.asarray(drawn) - wanted).max() <= 2e-6


def test_a_layout_of_the_spec_comes_first():
    assert equal(ours.initializer(ai.spec("normal", layout="oi"))(3, (5, 6)), ai.normal((5, 6), seed=3))
    by_axes = ours.initializer(ai.spec("kaiming_uniform", in_axis=0, out_axis=2, batch_axis=1))(3, (5, 6, 7))
    assert equal(by_axes, ai.kaiming_uniform((6, 7, 5), seed=3, layout="boi").transpose(2, 0, 1))
    only_batch = ours.initializer(ai.spec("kaiming_uniform", batch_axis=0))(3, (5, 6, 7))
    assert equal(only_batch, ai.kaiming_uniform((5, 7, 6), seed=3, layout="boi").transpose(0, 2, 1))
    only_out = ours.initializer(ai.spec("kaiming_uniform", out_axis=0))(3, (5, 6))
    assert equal(only_out, ai.kaiming_uniform((5, 6), seed=3))
    only_in = ours.initializer(ai.spec("kaiming_uniform", in_axis=1))(3, (5, 6))
    assert equal(only_in, ai.kaiming_uniform((5, 6), seed=3))


def test_flax_embed_default_counts_as_in_jax():
    table = ours.variance_scaling(1.0, "fan_in", "normal", out_axis=0)(3, (500, 16))
    assert equal(table, ai.variance_scaling((500, 16), 1.0, "fan_in", "normal", seed=3))
    with pytest.raises(ValueError, match="must name an axis only once"):
        ours.variance_scaling(1.0, "fan_avg", "normal", out_axis=0)(3, (500, 16))


@pytest.mark.parametrize("init", [ours.uniform(), ours.normal(), ours.truncated_normal(), ours.constant(2.0)])
def test_biases_and_scalars(init):
    for shape in [(7,), ()]:
        wanted = init.spec(shape, seed=3)
        assert equal(init(3, shape), wanted)
        assert equal(jax.jit(partial(init, shape=shape))(jax.random.key(3)), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
@pytest.mark.parametrize("name", ["uniform", "normal", "truncated_normal"])
def test_traced_draws_of_all_small_sizes(name, dtype):
    shapes = [*((n,) for n in range(1, 10)), (5, 7), (3, 2, 4, 5)]
    draws = jax.jit(lambda key: [EXACT[name](key, shape, dtype) for shape in shapes])(jax.random.key(3))
    assert all(map(equal, draws, [EXACT[name](3, shape, dtype) for shape in shapes]))


@pytest.mark.parametrize("bounds", [(0.5, 4.0), (3.0, math.inf), (-9.0, -5.0), (-math.inf, math.inf)])
def test_traced_tails(bounds):
    init = ours.truncated_normal(0.3, None, *bounds)
    assert equal(jax.jit(lambda key: init(key, (64, 65)))(jax.random.key(3)), init(3, (64, 65)))


@pytest.mark.parametrize("index", [np.s_[2**20 : 2**20 + 3, 5:9], np.s_[:: -(2**18), :: -(2**17)]], ids=str)
def test_traced_words_beyond_34_bits(index):
    draw = partial(ai.normal, (2**21, 2**20), seed=3, index=index)
    assert equal(jax.jit(lambda: draw(xp="jax"))(), draw())


def fold_in_scan(draw):
    return lambda keys: jax.lax.scan(lambda count, key: (count + 1, draw(ai.fold(key, count))), 0, keys)[1]


def gradient(draw):
    """The values by way of the derivative of what they are multiplied with."""

    def one(key):
        shape = jax.eval_shape(draw, key)
        return jax.jvp(lambda x: draw(key) * x, (jnp.zeros(shape.shape, shape.dtype),), (jnp.ones_like(shape),))[1]

    return jax.vmap(one)


# Functions of keys, made of one of a key.
MAPS = {
    "vmap": jax.vmap,
    "vmap of jit": lambda draw: jax.vmap(jax.jit(draw)),
    "vmap of vmap of jit": lambda draw: lambda keys: jax.vmap(jax.vmap(jax.jit(draw)))(keys[None])[0],
    "lax.map": lambda draw: lambda keys: jax.lax.map(draw, keys),
    "lax.map in batches": lambda draw: lambda keys: jax.lax.map(draw, keys, batch_size=2),
    "vmap of cond": lambda draw: jax.vmap(
        lambda key: jax.lax.cond(jax.random.key_data(key)[0] >= 0, draw, lambda key: draw(key) * 2, key)
    ),
    "vmap of scan": lambda draw: (
        lambda keys: jax.vmap(lambda keys: jax.lax.scan(lambda carry, key: (carry, draw(key)), 0.0, keys)[1])(
            keys[:, None]
        )[:, 0]
    ),
    "vmap of remat": lambda draw: jax.vmap(jax.checkpoint(draw)),
    "jvp": gradient,
}
MAPPED = {
    "orthogonal": (ai.spec("orthogonal"), (6, 5)),
    "orthogonal, of blocks": (ai.spec("orthogonal", gain=2.0, layout="boi"), (2, 5, 70)),
    "delta_orthogonal": (ai.spec("delta_orthogonal"), (6, 5, 3)),
    "packed": (ai.spec("packed", initializer=(ai.spec("orthogonal"), ai.spec("zeros")), blocks=(4, 2)), (6, 5)),
    "sparse": (ai.spec("sparse", sparsity=0.3), (6, 5)),
    "truncated": (ai.spec("trunc_normal"), (6, 5)),
    "distribution": (ai.spec("distribution", distribution="gamma", parameters=(2.0,)), (6, 5)),
    "dirac": (ai.spec("dirac"), (6, 5, 3)),
}


@pytest.mark.parametrize("name", MAPPED)
def test_every_map_of_every_law_can_be_compiled(name):
    # JAX's rules for batches and for XLA run when the 64 bits, with which the lanes were made, may be off again.
    spec, shape = MAPPED[name]
    keys = jax.random.split(jax.random.key(9), 2)

    def draw(key):
        return spec(shape, seed=key, xp="jax")

    for change in MAPS.values():
        found = jax.jit(change(draw)).lower(keys).out_info
        assert (found.shape, found.dtype) == ((2, *shape), np.float32)
    with jax.enable_x64(True):
        assert jax.jit(jax.vmap(jax.jit(draw))).lower(keys).out_info.dtype == np.float32


def test_mapped_orthogonal_matrices_are_those_of_each_key():
    keys = jax.random.split(jax.random.key(9), 4)
    spec, shape = MAPPED["orthogonal"]
    drawn = jax.vmap(jax.jit(lambda key: spec(shape, seed=key, xp="jax")))(keys)
    for key, one in zip(keys, np.asarray(drawn), strict=True):
        assert np.abs(one - spec(shape, seed=key)).max() <= 2e-6


def test_names_that_a_scan_counts():
    keys = jax.random.split(jax.random.key(9), 3)
    drawn = jax.vmap(fold_in_scan(lambda key: ai.normal((5,), seed=key, xp="jax")))(keys[None])[0]
    assert equal(drawn, np.stack([ai.normal((5,), seed=key, name=k) for k, key in enumerate(keys)]))


def test_draws_that_differ_in_numbers_alone_are_traced_once():
    shape = (11, 13)
    stds = [0.25, 0.5, 0.75, 3e-5]
    before = xla._sampled.cache_info().misses
    draws = jax.jit(lambda key: [ours.normal(std)(key, shape) for std in stds])(jax.random.key(3))
    assert xla._sampled.cache_info().misses == before + 1
    assert all(map(equal, draws, [ours.normal(std)(3, shape) for std in stds]))


def test_nothing_is_compiled_for_a_concrete_key():
    key, compiled = jax.random.key(3), []
    ours.normal()(key, (2, 3))
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    jax.jit(lambda x: x + 17)(1.0)
    assert len(compiled) == 1
    for name, init in EXACT.items():
        init(key, (17, 19))
        init(key, (17, 19), jnp.bfloat16, jax.sharding.SingleDeviceSharding(jax.devices()[0]))
        assert len(compiled) == 1, name


def test_whether_something_is_traced():
    assert not is_tracing()
    assert not is_tracing()
    assert jax.jit(lambda: int(is_tracing()))() == 1
    assert jax.jit(lambda x: int(is_tracing(x)))(1.0) == 1
    assert not is_tracing()
    assert jax.eval_shape(lambda: jnp.ones(2 if is_tracing() else 3)).shape == (2,)
    seen = []
    jax.vmap(lambda x: (seen.append(is_tracing()), x)[1])(jnp.ones(2))
    jax.jit(jax.vmap(lambda x: (seen.append(is_tracing()), x)[1]))(jnp.ones(2))
    assert seen == [False, True]


@pytest.mark.parametrize("name", EXACT)
def test_eval_shape_draws_nothing(name):
    result = jax.eval_shape(lambda key: EXACT[name](key, (1 << 20, 1 << 20), jnp.bfloat16), jax.random.key(0))
    assert (result.shape, result.dtype) == ((1 << 20, 1 << 20), jnp.bfloat16)


# --- keys, dtypes, numbers -----------------------------------------------------------------------------------------


def test_keys_typed_raw_and_integer_are_one_key():
    init, seed = ours.normal(), 0xDEADBEEF
    wanted = ai.normal((3, 2), std=1e-2, seed=seed).T
    raw = jax.random.PRNGKey(seed)
    for key in (seed, np.uint32(seed), ai.Key(seed), jax.random.key(seed), raw, np.asarray(raw)):
        assert equal(init(key, (2, 3)), wanted)
    for key in (jax.random.key(seed), raw):
        assert equal(jax.jit(lambda key: init(key, (2, 3)))(key), wanted)
        assert equal(jax.jit(lambda key=key: init(key, (2, 3)))(), wanted)
    rbg = jax.random.key(seed, impl="rbg")
    assert equal(jax.jit(lambda key: init(key, (2, 3)))(rbg), init(rbg, (2, 3)))


@pytest.mark.parametrize(
    "init",
    [
        ours.zeros,
        ours.ones,
        ours.constant(3),
        ours.initializer("eye"),
        ours.uniform(0.0),
        ours.truncated_normal(0.0, upper=math.inf),
    ],
    ids=repr,
)
def test_key_none_is_for_constants(init):
    assert equal(init(None, (2, 2)), init(jax.random.key(1), (2, 2)))


@pytest.mark.parametrize("key", [None, "seed", -1, 1.5])
def test_a_random_initializer_needs_a_key(key):
    with pytest.raises((TypeError, ValueError), match=r"`(key|seed)` must be"):
        ours.normal()(key, (2, 2))


def test_many_keys_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"jax\.vmap"):
        ours.normal()(jax.random.split(jax.random.key(0), 3), (2, 2))


@pytest.mark.parametrize("name", ["normal", "zeros", "constant"])
def test_dtype_is_the_calls_then_the_initializers_then_jaxs(name):
    init = partial(getattr(ours, name), *((1.0,) if name == "constant" else ()))
    if name == "zeros":
        init = partial(ours.initializer, "zeros")
    assert init()(0, (2, 2)).dtype == jnp.float32
    assert init(dtype=jnp.bfloat16)(0, (2, 2)).dtype == jnp.bfloat16
    assert init(dtype="float16")(0, (2, 2), jnp.float32).dtype == jnp.float32
    assert init()(0, (2, 2), jnp.float64).dtype == init()(0, (2, 2), float).dtype == jnp.float32
    assert init()(0, (2, 2), complex).dtype == jnp.complex64
    with jax.enable_x64(True):
        assert init()(0, (2, 2)).dtype == jnp.float64
        assert init()(0, (2, 2), jnp.float32).dtype == jnp.float32
        assert init()(0, (2, 2), complex).dtype == jnp.complex128


def test_float64_rounds_to_float32():
    narrow = ours.he_normal()(5, (6, 7))
    with jax.enable_x64(True):
        wide = ours.he_normal()(5, (6, 7))
        traced = jax.jit(lambda key: ours.he_normal()(key, (6, 7)))(jax.random.key(5))
    assert equal(traced, wide)
    assert wide.dtype == np.float64
    assert equal(np.asarray(wide).astype("float32"), narrow)


def test_constant_takes_integer_dtypes():
    assert equal(ours.constant(-7)(None, (2, 3), jnp.int8), np.full((2, 3), -7, "int8"))


@pytest.mark.parametrize(
    "scalar", [np.float32, jnp.float32, np.asarray, jnp.asarray, lambda x: jnp.asarray(x)[None][0]]
)
def test_parameters_may_be_scalars_of_numpy_and_jax(scalar):
    assert ours.normal(scalar(0.25)) == ours.normal(0.25)
    assert ours.uniform(scalar(0.25)) == ours.uniform(0.25)
    assert ours.constant(scalar(0.25)) == ours.constant(0.25)
    assert ours.orthogonal(scalar(0.25)) == ours.orthogonal(0.25)
    assert ours.truncated_normal(0.5, lower=scalar(-1.0), upper=scalar(0.25)) == ours.truncated_normal(
        0.5, None, -1, 0.25
    )
    assert ours.variance_scaling(scalar(0.25), "fan_in", "normal") == ours.variance_scaling(0.25, "fan_in", "normal")


@pytest.mark.parametrize(
    "make",
    [
        ours.constant,
        ours.uniform,
        ours.normal,
        ours.truncated_normal,
        ours.orthogonal,
        lambda x: ours.truncated_normal(lower=x),
        lambda x: ours.truncated_normal(upper=x),
        lambda x: ours.variance_scaling(x, "fan_in", "normal"),
    ],
)
def test_parameters_are_no_tracers_arrays_or_other_things(make):
    with pytest.raises(TypeError, match="must be known when the function is traced"):
        jax.jit(lambda x: make(x)(0, (2, 2)))(0.5)
    for wrong in ("0.5", True, None, 1j, np.ones(2), jnp.ones((1,))):
        with pytest.raises(TypeError, match="must be a real number"):
            make(wrong)


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ours.uniform(-1.0), "`scale` must not be negative; got -1.0"),
        (lambda: ours.normal(-1.0), "`stddev` must not be negative; got -1.0"),
        (lambda: ours.normal(math.nan), "`stddev` must be finite; got nan"),
        (lambda: ours.truncated_normal(-1.0), "`stddev` must not be negative; got -1.0"),
        (lambda: ours.truncated_normal(lower=1.0, upper=1.0), "`lower` must be less than `upper`"),
        (lambda: ours.truncated_normal(lower=math.nan), "`lower` must be less than `upper`"),
        (lambda: ours.orthogonal(math.inf), "`scale` must be finite; got inf"),
        (lambda: ours.variance_scaling(-1.0, "fan_in", "normal"), "`scale` must not be negative; got -1.0"),
        (lambda: ours.variance_scaling(1.0, "fan", "normal"), "`mode` must be one of 'fan_in', .*; got 'fan'"),
        (lambda: ours.variance_scaling(1.0, "fan_in", "cauchy"), "`distribution` must be one of .*; got 'cauchy'"),
        (lambda: ours.initializer("nothing"), "`name` must be an initializer"),
        (lambda: ours.normal()(0, (2, -3)), "must have no negative size"),
        (lambda: ours.glorot_normal(in_axis=3)(0, (2, 3)), r"`in_axis` must name an axis of the shape \(2, 3\); got 3"),
        (lambda: ours.glorot_normal(in_axis=1)(0, (2, 3)), "must name an axis only once"),
        (lambda: ours.constant(0.5)(None, (2,), jnp.int32), "`val` must be a value of the dtype int32; got 0.5"),
    ],
)
def test_values_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", [*SCALED, "orthogonal"])
@pytest.mark.parametrize("shape", [(), (5,)])
def test_fans_of_fewer_than_two_axes_are_errors_as_in_jax(name, shape):
    for module in (ours, theirs):
        with pytest.raises(ValueError, match=r"axis|dimension|2D"):
            getattr(module, name)()(jax.random.key(0), shape)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        ours.initializer(name)(0, shape)


@pytest.mark.parametrize("init", [ours.glorot_uniform(), ours.orthogonal(), ours.initializer("he_normal")], ids=repr)
def test_the_error_of_a_bias_names_its_shape_and_no_axis_that_nobody_gave(init):
    with pytest.raises(ValueError, match=r"at least 2 dimensions.*got \(5,\)") as caught:
        init(0, (5,))
    assert "axis`" not in str(caught.value)
    with pytest.raises(ValueError, match=r"`in_axis` must name an axis of the shape \(5,\); got 1"):
        ours.glorot_uniform(in_axis=1)(0, (5,))


def test_an_axis_of_its_own_makes_fans_of_one_axis():
    w = ours.variance_scaling(3.0, "fan_in", "uniform", in_axis=0, out_axis=())(0, (10000,))
    other = theirs.variance_scaling(3.0, "fan_in", "uniform", in_axis=0, out_axis=())(jax.random.key(0), (10000,))
    assert np.asarray(w).std() == pytest.approx(np.asarray(other).std(), rel=0.03)


@pytest.mark.parametrize("name", [*SCALED, "normal", "uniform", "orthogonal"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_shapes_without_elements(name, shape):
    init = getattr(ours, name)()
    assert init(0, shape).shape == jax.jit(partial(init, shape=shape))(jax.random.key(0)).shape == shape


@pytest.mark.parametrize("wrong", [None, 3, ours.normal()])
def test_initializer_takes_specs_and_names(wrong):
    with pytest.raises(TypeError, match=r"`spec` must be an arrayinit\.Spec or the name"):
        ours.initializer(wrong)


def test_random_values_need_a_floating_dtype():
    with pytest.raises(TypeError, match=r"or that of `x`, must be .* for random values; got int32"):
        ours.normal()(0, (2, 2), jnp.int32)


# --- the libraries -------------------------------------------------------------------------------------------------


def test_flax_linen_model():
    nn = pytest.importorskip("flax.linen")
    dense, conv, bias = ours.glorot_uniform(), ours.he_normal(), ours.normal(0.5)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(4, (3, 3), kernel_init=conv, bias_init=ours.zeros, name="conv")(x))
            x = x.reshape(x.shape[0], -1, 4)
            x = nn.MultiHeadDotProductAttention(num_heads=2, kernel_init=dense, name="attention")(x)
            x = nn.DenseGeneral((2, 3), axis=(1, 2), kernel_init=dense, bias_init=bias, name="general")(x)
            return nn.Dense(5, kernel_init=ours.initializer("kaiming_normal"), bias_init=bias, name="dense")(x)

    model, x, key = Model(), jnp.ones((2, 4, 4, 3)), jax.random.key(0)
    params = model.init(key, x)["params"]
    jitted = jax.jit(model.init)(key, x)["params"]
    shapes = jax.eval_shape(model.init, key, x)["params"]
    assert jax.tree.all(jax.tree.map(equal, params, jitted))
    assert jax.tree.all(jax.tree.map(lambda a, s: (a.shape, a.dtype) == (s.shape, s.dtype), params, shapes))
    assert model.apply({"params": params}, x).shape == (2, 2, 5)
    assert np.isfinite(np.asarray(model.apply({"params": params}, x))).all()

    assert params["conv"]["kernel"].shape == (3, 3, 3, 4)
    assert 0.1 < float(params["conv"]["kernel"].std()) / math.sqrt(2 / 27) < 1.5
    assert not params["conv"]["bias"].any()
    assert params["general"]["kernel"].shape == (16, 4, 2, 3)
    assert float(jnp.abs(params["general"]["kernel"]).max()) <= math.sqrt(6 / (64 + 6))
    assert params["attention"]["query"]["kernel"].shape == (4, 2, 2)
    assert not equal(params["attention"]["query"]["kernel"], params["attention"]["key"]["kernel"])


def test_flax_linen_kernel_is_the_torch_weight_of_the_key_flax_passes():
    nn = pytest.importorskip("flax.linen")
    keys = []

    def spy(key, shape, dtype):
        keys.append(key)
        return ours.initializer("kaiming_uniform")(key, shape, dtype)

    kernel = nn.Dense(5, kernel_init=spy).init(jax.random.key(0), jnp.ones((1, 6)))["params"]["kernel"]
    assert equal(kernel, ai.kaiming_uniform((5, 6), seed=keys[0]).T)


def test_flax_modules_with_initializers_are_hashable():
    nn = pytest.importorskip("flax.linen")
    a, b = (nn.Dense(3, kernel_init=ours.he_normal()) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)


def test_flax_linen_scanned_layers():
    nn = pytest.importorskip("flax.linen")

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.Dense(4, kernel_init=ours.lecun_normal())(x), None

    stack = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
    kernel = stack.init(jax.random.key(0), jnp.ones((1, 4)), None)["params"]["Dense_0"]["kernel"]
    assert kernel.shape == (3, 4, 4)
    assert not equal(kernel[0], kernel[1])


def test_flax_nnx_layers():
    nnx = pytest.importorskip("flax.nnx")

    def make(seed):
        rngs = nnx.Rngs(seed)
        linear = nnx.Linear(6, 5, kernel_init=ours.glorot_uniform(), bias_init=ours.normal(), rngs=rngs)
        conv = nnx.Conv(3, 4, (2, 2), kernel_init=ours.he_normal(), bias_init=ours.zeros, rngs=rngs)
        return linear, conv

    linear, conv = make(0)
    assert linear(jnp.ones((2, 6))).shape == (2, 5)
    assert conv(jnp.ones((1, 4, 4, 3))).shape == (1, 4, 4, 4)
    drawn = [linear.kernel[...], linear.bias[...], conv.kernel[...]]
    key = nnx.Rngs(0).params()
    assert equal(drawn[0], ai.xavier_uniform((5, 6), seed=key).T)
    traced = jax.jit(lambda: [(m := make(0))[0].kernel[...], m[0].bias[...], m[1].kernel[...]])()
    assert all(map(equal, drawn, traced))
    shape = jax.eval_shape(lambda: make(0)[1].kernel[...])
    assert (shape.shape, shape.dtype) == ((2, 2, 3, 4), jnp.float32)


def test_haiku_calls_with_shape_and_dtype():
    hk = pytest.importorskip("haiku")
    keys = []

    def keyed(init):
        """The same, as it was to be written for initializers that want their key in front."""

        def draw(shape, dtype):
            keys.append(hk.next_rng_key())
            return init(keys[-1], shape, dtype)

        return draw

    def net(wrap, weight, bias):
        return hk.transform(lambda x: hk.Linear(5, w_init=wrap(weight), b_init=wrap(bias))(x))

    x, key = jnp.ones((2, 6), jnp.bfloat16), jax.random.key(0)
    model = net(lambda init: init, ours.he_normal(), ours.normal(0.1))
    params = model.init(key, x)["linear"]
    wanted = net(keyed, ours.he_normal(), ours.normal(0.1)).init(key, x)["linear"]
    assert jax.tree.all(jax.tree.map(equal, params, wanted))
    assert jax.tree.all(jax.tree.map(equal, params, jax.jit(model.init)(key, x)["linear"]))
    assert equal(params["w"], ours.he_normal()(keys[0], (6, 5), jnp.bfloat16))
    assert equal(params["b"], ours.normal(0.1)(keys[1], (5,), jnp.bfloat16))
    assert model.apply({"linear": params}, None, x).shape == (2, 5)
    constant = net(lambda init: init, ours.ones, ours.zeros).init(None, x)["linear"]  # needs no key, and takes none
    assert equal(constant["w"], jnp.ones((6, 5), jnp.bfloat16))
    listed = hk.transform(lambda: hk.get_parameter("s", [3, 4], init=ours.lecun_normal()))
    assert listed.init(key)["~"]["s"].shape == (3, 4)


def test_shape_first_outside_of_haiku_is_refused():
    hk = pytest.importorskip("haiku")
    init = ours.he_normal()
    with pytest.raises(ValueError, match=r"`key` must be a JAX key or an integer; got the shape \(2, 3\), as Haiku"):
        init((2, 3), jnp.float32)
    with pytest.raises(ValueError, match=r"`key` must be .* Haiku has no key: You must pass a non-None PRNGKey"):
        hk.transform(lambda x: hk.Linear(5, w_init=init)(x)).init(None, jnp.ones((2, 6)))
    with pytest.raises(TypeError, match=r"must be an integer, an arrayinit\.Key, a key of JAX"):
        init((2, 3), (2, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "haiku")
        with pytest.raises(ValueError, match="Haiku is not imported"):
            init([2, 3], jnp.float32)


def test_functions_and_specs_are_refused_by_flax_and_haiku_with_what_to_write():
    nn, hk = pytest.importorskip("flax.linen"), pytest.importorskip("haiku")
    spec, x = ai.spec("xavier_uniform", gain=2.0), jnp.ones((2, 6))
    line = r"arrayinit\.jax\.initializer\(spec\('xavier_uniform', gain=2\.0\)\)"
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        with pytest.raises(TypeError, match=line):
            nn.Dense(4, kernel_init=spec).init(key, x)
    with pytest.raises(TypeError, match=line):
        hk.transform(lambda x: hk.Linear(5, w_init=spec)(x)).init(jax.random.key(0), x)
    with pytest.raises(TypeError, match=r"those of arrayinit\.jax"):
        nn.Dense(4, kernel_init=ai.normal).init(jax.random.key(0), x)


def test_equinox_linear():
    eqx = pytest.importorskip("equinox")

    # Equinox keeps torch's (out, in), which a spec with that layout says.
    init = ours.initializer(ai.spec("kaiming_normal", layout="oi"))

    def make(key):
        model = eqx.nn.Linear(6, 5, key=key)
        return eqx.tree_at(lambda m: m.weight, model, init(key, model.weight.shape, model.weight.dtype))

    model = make(jax.random.key(3))
    assert equal(model.weight, ai.kaiming_normal((5, 6), seed=3))
    assert equal(eqx.filter_jit(make)(jax.random.key(3)).weight, model.weight)
    assert jax.vmap(model)(jnp.ones((2, 6))).shape == (2, 5)


# --- sharding ------------------------------------------------------------------------------------------------------

KINDS = {
    "Auto": (jax.sharding.AxisType.Auto,) * 2,
    "Explicit": (jax.sharding.AxisType.Explicit,) * 2,
    "both": (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit),
}


@pytest.fixture(params=KINDS)
def mesh(request):
    """A mesh of one device, which is set."""
    made = jax.make_mesh((1, 1), ("a", "b"), axis_types=KINDS[request.param])
    with jax.set_mesh(made):
        yield made


def test_arrays_lie_where_jaxs_own_do_when_a_mesh_is_set(mesh):
    key = jax.random.key(0)
    for mine, other in ((ours.zeros, theirs.zeros), (ours.uniform(), theirs.uniform())):
        wanted = other(key, (4, 3)).sharding
        assert mine(key, (4, 3)).sharding == wanted
        seen = []
        jax.vmap(lambda x, draw=mine, to=seen: (to.append(draw(key, (4, 3))), x)[1])(jnp.ones(2))
        assert seen[0].sharding == wanted  # drawn here and now, though within vmap
    for change in (jax.jit, lambda draw: lambda key: jax.vmap(draw)(key[None])):
        drawn, wanted = (change(lambda key, m=m: m.uniform()(key, (4, 3)))(key) for m in (ours, theirs))
        assert drawn.sharding == wanted.sharding
        assert jax.typeof(drawn) == jax.typeof(wanted)


def test_out_sharding_of_the_mesh_that_is_set(mesh):
    key, spec, init = jax.random.key(0), jax.sharding.PartitionSpec("a", "b"), ours.glorot_normal()
    wanted = jax.NamedSharding(mesh, spec)
    for given in (spec, wanted, jax.NamedSharding(mesh.abstract_mesh, spec)):
        drawn = init(key, (4, 3), None, given)
        traced = jax.jit(lambda key, given=given: init(key, (4, 3), out_sharding=given))(key)
        assert drawn.sharding == wanted
        assert jax.typeof(traced) == jax.typeof(drawn)
        assert equal(drawn, traced)
        assert equal(drawn, init(key, (4, 3)))
    with pytest.raises(ValueError, match=r"`out_sharding` must be of the mesh that is set; .*'c'"):
        init(key, (4, 3), None, jax.sharding.PartitionSpec("c"))


def test_an_array_like_x_has_the_sharding_that_a_trace_knows(mesh):
    sharding = jax.NamedSharding(mesh, jax.sharding.PartitionSpec("a", "b"))
    x = jax.device_put(jnp.zeros((4, 3)), sharding)
    plain = ai.normal((4, 3), seed=3)
    for like in (x, jax.ShapeDtypeStruct((4, 3), "float32", sharding=sharding)):
        assert equal(ai.normal(like, seed=3), plain)
        assert ai.normal(like, seed=3).sharding == sharding
    traced = jax.jit(lambda x, key: ai.normal(x, seed=key))(x, jax.random.key(3))
    assert jax.typeof(traced) == jax.typeof(x)
    assert equal(traced, plain)
    abstract = jax.eval_shape(lambda x: x, x)
    assert ai.normal(abstract, seed=3).sharding.mesh == mesh
    assert equal(ai.normal(jax.device_put(np.zeros((4, 3), "float32")), seed=3), plain)


def test_the_error_of_a_place_outside_of_its_mesh_names_the_argument():
    mesh = jax.make_mesh((1, 1), ("a", "b"), axis_types=KINDS["Auto"])
    spec = jax.sharding.PartitionSpec("a")
    abstract = jax.NamedSharding(mesh.abstract_mesh, spec)
    with ai.seeded(3):
        for place in (spec, abstract):
            with pytest.raises(ValueError, match=r"`out_sharding` must be of the mesh that is set.*and no mesh is set"):
                ours.normal()(3, (4, 4), out_sharding=place)
            with pytest.raises(ValueError, match=r"`device` must be of the mesh that is set"):
                ai.normal((4, 4), xp="jax", device=place)
        with pytest.raises(ValueError, match=r"`x\.sharding` must be of the mesh that is set"):
            ai.normal(jax.ShapeDtypeStruct((4, 4), "float32", sharding=abstract))
        with pytest.raises(ValueError, match=r"`shardings` must be of the mesh that is set"):
            ours.init_tree({"w": jnp.ones((4, 4))}, {"w": "normal"}, seed=None, shardings=spec)
        assert equal(ai.normal((3,)), ai.normal((3,), seed=ai.fold(3, 0)))  # what was refused took no key
    with pytest.raises(ValueError, match="`device` must be of the mesh that is set"):
        jax.jit(lambda key: ai.normal((4, 4), seed=key, xp="jax", device=spec))(jax.random.key(0))


@pytest.mark.parametrize("mesh", ["Auto", "Explicit"], indirect=True)
def test_flax_nnx_under_a_mesh(mesh):
    nnx = pytest.importorskip("flax.nnx")

    def make(module):
        return nnx.Linear(
            4, 8, kernel_init=module.xavier_uniform(), kernel_metadata={"out_sharding": ("a", "b")}, rngs=nnx.Rngs(0)
        )

    mine, other = make(ours), make(theirs)
    assert mine.kernel[...].sharding == other.kernel[...].sharding
    assert equal(mine.kernel[...], ai.xavier_uniform((8, 4), seed=nnx.Rngs(0).params()).T)
    assert mine.bias[...].sharding == other.bias[...].sharding
    traced = nnx.jit(lambda: make(ours))()
    assert jax.typeof(traced.kernel[...]) == jax.typeof(other.kernel[...])
    assert equal(traced.kernel[...], mine.kernel[...])
    assert mine(jnp.ones((2, 4))).shape == (2, 8)


@pytest.mark.parametrize("mesh", ["Auto"], indirect=True)
def test_flax_linen_under_a_mesh(mesh):
    nn = pytest.importorskip("flax.linen")
    x = jnp.ones((2, 4))
    partitioned = nn.Dense(8, kernel_init=nn.with_partitioning(ours.lecun_normal(), ("a", "b")))
    logical = nn.Dense(8, kernel_init=nn.with_logical_partitioning(ours.lecun_normal(), ("in", "out")))
    with nn.logical_axis_rules([("in", "a"), ("out", "b")]):
        for model in (partitioned, logical):
            eager, traced = model.init(jax.random.key(0), x), jax.jit(model.init)(jax.random.key(0), x)
            assert equal(nn.unbox(eager)["params"]["kernel"], nn.unbox(traced)["params"]["kernel"])
            assert model.apply(eager, x).shape == (2, 8)


def test_init_tree_under_a_mesh(mesh):
    sharding = jax.NamedSharding(mesh, jax.sharding.PartitionSpec("a", "b"))
    tree = {"kernel": np.zeros((4, 3), "float32"), "other": jax.ShapeDtypeStruct((4, 3), "float32", sharding=sharding)}
    made = ours.init_tree(tree, {"*": "normal"}, seed=0)
    assert made["kernel"].sharding == theirs.normal()(jax.random.key(0), (4, 3)).sharding
    assert made["other"].sharding == sharding
    assert equal(made["kernel"], ai.normal((4, 3), seed=0, name="kernel", layout="io"))
    placed = ours.init_tree(tree, {"*": "normal"}, seed=0, shardings=jax.sharding.PartitionSpec("a"))
    assert placed["kernel"].sharding == jax.NamedSharding(mesh, jax.sharding.PartitionSpec("a"))


SHARDED = """
    import json, re, sys
    import jax, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    import arrayinit.jax as ours

    shape, key = (64, 48), jax.random.key(3)
    inits = {
        "normal": ours.normal(), "he_uniform": ours.he_uniform(), "truncated": ours.glorot_normal(),
        "constant": ours.constant(0.1), "orthogonal": ours.orthogonal(),
    }
    wanted = {name: np.asarray(init(key, shape)) for name, init in inits.items()}
    whole = re.compile(r"[a-z]+[0-9]+\\[(64,48|48,64|3072)\\]")
    result = []

    def check(kind, how, name, spec, value, text=""):
        value_spec = tuple(value.sharding.spec) + (None,) * (2 - len(value.sharding.spec))
        error = float(np.abs(np.asarray(value) - wanted[name]).max())
        shards = sorted({s.data.shape for s in value.addressable_shards})
        result.append(dict(
            kind=kind, how=how, name=name, error=error, spec=value_spec == tuple(spec), shards=shards,
            gathers="all-gather" in text or "all-reduce" in text, whole=bool(whole.search(text)),
        ))

    for kind in ("Auto", "Explicit"):
        mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(getattr(AxisType, kind),) * 2)
        for spec in (P("a", "b"), P("b", None), P(None, "a")):
            for name, init in inits.items():
                if name == "orthogonal" and spec != P("a", "b"):
                    continue
                sharding = NamedSharding(mesh, spec)
                check(kind, "eager", name, spec, init(key, shape, None, sharding))
                with jax.set_mesh(mesh):
                    for given in (sharding, spec):
                        draw = jax.jit(lambda key: init(key, shape, out_sharding=given)).lower(key).compile()
                        check(kind, "jit, " + type(given).__name__, name, spec, draw(key), draw.as_text())
                check(kind, "eager, integer key", name, spec, init(3, shape, out_sharding=sharding))
                with jax.set_mesh(mesh):
                    check(kind, "eager, spec", name, spec, init(key, shape, out_sharding=spec))
                if kind == "Auto":
                    draw = jax.jit(lambda key: init(key, shape, out_sharding=sharding)).lower(key).compile()
                    check(kind, "jit without a mesh", name, spec, draw(key), draw.as_text())
                    draw = jax.jit(lambda key: init(key, shape), out_shardings=sharding).lower(key).compile()
                    check(kind, "out_shardings of jit", name, spec, draw(key), draw.as_text())
    print(json.dumps(result))
"""


def run_on_eight_devices(code):
    root = Path(ai.__file__).parents[1]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    code = textwrap.dedent(code)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run


@pytest.mark.slow
def test_out_sharding_on_eight_devices():
    run = run_on_eight_devices(SHARDED)
    rows = json.loads(run.stdout)
    assert {(row["kind"], row["how"]) for row in rows} >= {
        (kind, how) for kind in ("Auto", "Explicit") for how in ("eager", "eager, spec", "jit, NamedSharding")
    }
    for row in rows:
        assert row["spec"], row
        assert len(row["shards"]) == 1, row
        assert math.prod(row["shards"][0]) < 64 * 48, row
        if row["name"] == "orthogonal":
            assert row["error"] <= 2e-6, row
        else:
            assert row["error"] == 0, row
            assert not row["gathers"], row
            assert not row["whole"], row


PLACED = """
    import jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec as P, SingleDeviceSharding
    import arrayinit as ai, arrayinit.jax as ours
    from arrayinit import engines

    drawn, run = [], engines.run

    def count(job, target):
        if target.backend.name == "numpy":
            drawn.append(job.size)
        return run(job, target)

    engines.run = count
    mesh = jax.make_mesh((4, 2), ("a", "b"))
    shape = (64, 48)
    matrices = {"orthogonal": ours.orthogonal(), "sparse": ours.initializer(ai.spec("sparse", sparsity=0.3))}
    inits = matrices | {"normal": ours.normal(), "truncated": ours.glorot_normal(), "eye": ours.initializer("eye")}
    # The number of different parts, and how many devices hold each.
    for spec, parts in ((P("a", "b"), 8), (P("b", None), 2), (P(None, "a"), 4), (P(("a", "b")), 8), (P(), 1)):
        sharding = NamedSharding(mesh, spec)
        for name, init in inits.items():
            wanted = np.asarray(init(3, shape))
            drawn.clear()
            value = init(3, shape, out_sharding=sharding)
            assert value.sharding == sharding and value.committed
            assert (np.asarray(value) == wanted).all(), (name, spec)
            assert all((np.asarray(s.data) == wanted[s.index]).all() for s in value.addressable_shards)
            assert drawn == ([64 * 48] if name in matrices else [64 * 48 // parts] * parts), (name, spec, drawn)
            like = ai.normal(value, seed=5)
            assert like.sharding == sharding and (np.asarray(like) == ai.normal(shape, seed=5)).all()
    index = np.s_[3:35, ::-2]
    part = ai.normal((64, 48), seed=3, index=index, xp="jax", device=NamedSharding(mesh, P("a", "b")))
    assert (np.asarray(part) == ai.normal((64, 48), seed=3)[index]).all()
    for where in (jax.devices()[3], SingleDeviceSharding(jax.devices()[3])):
        value = ours.normal()(3, shape, out_sharding=where)
        assert value.devices() == {jax.devices()[3]} and value.committed
    assert not ours.normal()(3, shape).committed
"""


@pytest.mark.slow
def test_each_part_is_drawn_once_and_by_itself_on_eight_devices():
    run_on_eight_devices(PLACED)


MESHES = """
    import jax, jax.numpy as jnp, numpy as np
    from jax.nn import initializers as theirs
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    import arrayinit as ai, arrayinit.jax as ours

    keys, mine, other = jax.random.split(jax.random.key(0), 8), ours.normal(), theirs.uniform()
    wanted = np.stack([mine(key, (8, 4)) for key in keys])
    for types in ((AxisType.Auto,) * 2, (AxisType.Explicit,) * 2, (AxisType.Auto, AxisType.Explicit)):
        mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=types)
        with jax.set_mesh(mesh):
            assert mine(keys[0], (8, 4)).sharding == other(keys[0], (8, 4)).sharding
            # Keys that are cut over the mesh, which vmap carries into the types of all that is computed.
            spread = jax.device_put(keys, NamedSharding(mesh, P("a")))
            drawn = jax.vmap(lambda key: mine(key, (8, 4)))(spread)
            assert jax.typeof(drawn) == jax.typeof(jax.vmap(lambda key: other(key, (8, 4)))(spread))
            assert (np.asarray(drawn) == wanted).all()
            drawn = jax.jit(jax.vmap(lambda key: mine(key, (8, 4), jnp.float32, P(None, "b"))))(keys)
            assert {s.data.shape for s in drawn.addressable_shards} == {(8, 8, 2)}
            assert (np.asarray(drawn) == wanted).all()
            for axes in ({"a", "b"}, {"a"}):  # all axes of the mesh Manual, or one
                draw = jax.vmap(lambda key: mine(key, (8, 4)))
                part = jax.shard_map(draw, in_specs=P("a"), out_specs=P("a"), axis_names=axes)
                assert (np.asarray(jax.jit(part)(spread)) == wanted).all()
            w = jax.device_put(np.ones((8, 4), np.float32), NamedSharding(mesh, P("a", "b")))
            assert ai.xavier_normal(w, seed=3).sharding == w.sharding
            # Parts of an array may share memory, which is not for a donation to write to.
            whole = mine(3, (8, 4))
            before = np.asarray(whole).copy()
            raised = jax.jit(lambda x: x + 1, donate_argnums=0)(whole)
            assert all((np.asarray(shard.data) == before + 1).all() for shard in raised.addressable_shards)
"""


@pytest.mark.slow
def test_meshes_of_eight_devices():
    run_on_eight_devices(MESHES)


def test_a_part_spec_without_a_mesh():
    with pytest.raises(ValueError, match="mesh"):
        ours.normal()(3, (4, 4), out_sharding=jax.sharding.PartitionSpec("a"))


WIDE_INTEGERS = {
    "constant": lambda dtype: ai.constant((2,), 2**40, xp="jax", dtype=dtype),
    "zeros": lambda dtype: ai.zeros((2,), xp="jax", dtype=dtype),
    "ones like": lambda dtype: ai.ones(jax.ShapeDtypeStruct((2,), dtype)),
    "eye": lambda dtype: ai.eye((2, 2), xp="jax", dtype=dtype),
    "dirac": lambda dtype: ai.dirac((2, 2, 3), xp="jax", dtype=dtype),
    "of this module": lambda dtype: ours.constant(2**40)(None, (2,), dtype),
    "made with a dtype": lambda dtype: ours.initializer("eye", dtype)(None, (2, 2)),
    "a leaf": lambda dtype: ours.init_tree({"a": jax.ShapeDtypeStruct((2,), dtype)}, {"*": "zeros"}, seed=0),
    "a leaf of NumPy": lambda dtype: ours.init_tree({"a": np.ones(2, dtype)}, {"*": "zeros"}, seed=0),
}


@pytest.mark.parametrize("dtype", ["int64", np.dtype("uint64")], ids=str)
@pytest.mark.parametrize("what", WIDE_INTEGERS)
def test_integers_of_64_bits_are_refused_where_jax_has_none(what, dtype):
    def draw():
        return WIDE_INTEGERS[what](dtype)

    for call in (draw, jax.jit(draw)):
        with pytest.raises((TypeError, PlanError), match=r"`dtype` must not be u?int64 in JAX"):
            call()
    with jax.enable_x64(True):
        for drawn in (draw(), jax.jit(draw)()):
            x = drawn["a"] if isinstance(drawn, dict) else drawn
            assert x.dtype == dtype
            if what in ("constant", "of this module"):
                assert (np.asarray(x) == 2**40).all()


def test_arrays_of_64_bits_that_are_left_over_from_x64():
    with jax.enable_x64(True):
        x = jnp.ones(2, "int64")
    with pytest.raises(TypeError, match="int64"):
        ai.zeros(x)
    held = np.ones(2)
    with pytest.raises(PlanError, match="int64"):
        ai.init_params_({"a": held, "b": x}, {"*": "zeros"}, seed=0)
    assert (held == 1).all()


def test_int_is_the_integer_that_jax_has():
    for make in (lambda: ours.zeros(None, (2,), int), lambda: ours.constant(3, int)(None, (2,))):
        assert make().dtype == jnp.int32
        with jax.enable_x64(True):
            assert make().dtype == jnp.int64


def test_leaves_of_another_precision_are_listed_before_anything_is_drawn():
    tree = {"a": jnp.ones(2), "b": jax.ShapeDtypeStruct((2,), "float64"), "c": np.ones(2)}
    with pytest.raises(PlanError) as caught:
        ours.init_tree(tree, {"*": "zeros"}, seed=0)
    assert set(caught.value.problems) == {"b", "c"}


def test_haiku_needs_no_key_for_arrays_without_elements():
    hk = pytest.importorskip("haiku")
    drawn = hk.transform(lambda: hk.get_parameter("w", (0, 3), init=ours.he_normal())).init(None)
    assert drawn["~"]["w"].shape == (0, 3)
