"""Records of JAX: laws, programs and copies read from jaxprs; Flax linen and nnx, Haiku, Equinox; what is refused."""

import pickle

import numpy as np
import pytest
from scipy import stats

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from conftest import namespace, same  # noqa: E402
from jax.nn import initializers  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit.jax import init_tree, record  # noqa: E402

KEY = jax.random.key(0)


def recorded(draw, shape=(80, 120), dtype=jnp.float32):
    return record(lambda key: {"w": draw(key, shape, dtype)}, KEY)


def law(record, path="w"):
    return record.find(path, (1,)).initializer


def trunc(std, low, high):
    return pytest.approx({"std": std, "a": low, "b": high}, rel=1e-6)


# laws

LAWS = {
    "uniform": (initializers.uniform(0.3), ai.spec("uniform", a=0.0, b=0.3)),
    "normal": (initializers.normal(0.02), ai.spec("normal", std=0.02)),
    "bounds": (lambda k, s, d: jax.random.uniform(k, s, d, -0.7, 2.1), ai.spec("uniform", a=-0.7, b=2.1)),
    "affine": (lambda k, s, d: 3 - 2 * jax.random.normal(k, s, d) / 4, ai.spec("normal", mean=3.0, std=0.5)),
    "negative": (lambda k, s, d: -jax.random.uniform(k, s, d), ai.spec("uniform", a=-1.0, b=0.0)),
    "cut beyond": (lambda k, s, d: jax.random.uniform(k, s, d).clip(-1, 2), ai.spec("uniform", a=0.0, b=1.0)),
    "truncated": (initializers.truncated_normal(0.5), ai.spec("trunc_normal", std=0.5, a=-1.0, b=1.0)),
    "one side": (
        initializers.truncated_normal(0.5, lower=-1.0, upper=jnp.inf),
        ai.spec("trunc_normal", std=0.5, a=-0.5, b=np.inf),
    ),
    "tail": (initializers.truncated_normal(1.0, lower=2.0, upper=5.0), ai.spec("trunc_normal", std=1.0, a=2.0, b=5.0)),
    "orthogonal": (initializers.orthogonal(2.0), ai.spec("orthogonal", gain=2.0, in_axis=-2, out_axis=-1)),
    "rows": (
        initializers.orthogonal(column_axis=0),
        ai.spec("orthogonal", gain=1.0, in_axis=-2, out_axis=-1),
    ),
    "zeros": (initializers.zeros, ai.spec("zeros")),
    "ones": (initializers.ones, ai.spec("ones")),
    "constant": (initializers.constant(0.1), ai.spec("constant", val=0.1)),
    "computed": (lambda k, s, d: jnp.zeros(s, d) - 2 * jnp.ones(s, d), ai.spec("constant", val=-2.0)),
    "moved": (lambda k, s, d: jax.random.normal(k, s[::-1], d).T[::-1], ai.spec("normal", std=1.0)),
    "cut out": (lambda k, s, d: jax.random.normal(k, (2, *s), d)[0, :3], ai.spec("normal", std=1.0)),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_law_with_its_numbers(name):
    draw, expected = LAWS[name]
    start = recorded(draw, (8, 6))
    assert law(start) == expected
    layout = {"layout": "io"} if expected.name in ("uniform", "normal", "trunc_normal") else {}
    values = init_tree(start.shapes, start, seed=3)["w"]
    assert same(values, expected(start.shapes["w"].shape, seed=3, name="w", **layout))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
def test_variance_scaling_is_a_law_with_numbers(mode, distribution):
    start = recorded(initializers.variance_scaling(2.0, mode, distribution), (3, 5, 8))
    std = (2.0 / {"fan_in": 15, "fan_out": 24, "fan_avg": 19.5}[mode]) ** 0.5
    match distribution:
        case "uniform":
            assert dict(law(start).items) == pytest.approx({"a": -(3**0.5) * std, "b": 3**0.5 * std}, rel=1e-6)
        case "normal":
            assert dict(law(start).items) == pytest.approx({"std": std}, rel=1e-6)
        case _:
            std /= 0.87962566103423978
            assert dict(law(start).items) == trunc(std, -2 * std, 2 * std)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_laws_of_16_bits(dtype):
    assert dict(law(recorded(initializers.normal(0.5), dtype=dtype)).items) == {"std": 0.5}
    assert dict(law(recorded(initializers.truncated_normal(0.5), dtype=dtype)).items) == trunc(0.5, -1, 1)
    start = recorded(initializers.normal(0.5), dtype=dtype)
    assert init_tree(start.shapes, start, seed=0)["w"].dtype == dtype


def test_a_law_that_is_narrowed_keeps_its_numbers():
    start = recorded(lambda k, s, d: (0.3 * jax.random.normal(k, s)).astype(d), dtype=jnp.bfloat16)
    assert law(start) == ai.spec("normal", std=0.3)


def test_laws_of_64_bits():
    with jax.enable_x64(True):
        start = recorded(initializers.truncated_normal(0.02), dtype=jnp.float64)
        assert dict(law(start).items) == {"std": 0.02, "a": -0.04, "b": 0.04}
        start = recorded(lambda k, s, d: jnp.exp(jax.random.normal(k, s, d)), dtype=jnp.float64)
        values = np.asarray(init_tree(start.shapes, start, seed=0)["w"])
    assert values.dtype == np.float64
    assert stats.kstest(np.log(values).ravel(), "norm").pvalue > 1e-3


def test_the_weight_of_torch():
    start = record(lambda key: {"fc": {"kernel": initializers.normal(0.02)(key, (8, 6))}}, KEY)
    kernel = init_tree(start.shapes, start, seed=3)["fc"]["kernel"]
    assert same(kernel.T, ai.normal((6, 8), std=0.02, seed=3, name="fc.kernel"))


# programs

PROGRAMS = {
    "lognormal": lambda k, s, d: jnp.exp(jax.random.normal(k, s, d)),
    "exponential": jax.random.exponential,
    "laplace": jax.random.laplace,
    "rademacher": jax.random.rademacher,
    "cut": lambda k, s, d: jax.random.normal(k, s, d).clip(-1, 1),
    "cut uniform": lambda k, s, d: jnp.maximum(jax.random.uniform(k, s, d), 0.5),
    "sum": lambda k, s, d: jax.random.normal(k, s, d) + jax.random.uniform(jax.random.fold_in(k, 1), s, d),
    "half": lambda k, s, d: jax.random.normal(k, s, d).at[:20].set(0),
    "widened": lambda k, s, d: jax.random.normal(k, s, jnp.bfloat16).astype(d),
    "bits": lambda k, s, d: jax.random.bits(k, s, jnp.uint8),
}


@pytest.mark.parametrize("name", [*PROGRAMS, *LAWS])
def test_the_law_of_jax(name):
    draw = PROGRAMS[name] if name in PROGRAMS else LAWS[name][0]
    start = recorded(draw)
    assert (name in PROGRAMS) == (law(start) is None)
    values, expected = init_tree(start.shapes, start, seed=1)["w"], draw(KEY, (80, 120), jnp.float32)
    assert (values.dtype, values.shape) == (expected.dtype, expected.shape)
    assert stats.ks_2samp(np.ravel(values), np.ravel(expected)).pvalue > 1e-3


def test_a_repeated_draw():
    start = recorded(lambda k, s, d: jnp.broadcast_to(jax.random.normal(k, s[1:], d), s))
    values = np.asarray(init_tree(start.shapes, start, seed=0)["w"])
    assert (values == values[0]).all()
    assert stats.kstest(values[0], "norm").pvalue > 1e-3


def test_a_delta_orthogonal_kernel():
    start = recorded(initializers.delta_orthogonal(), (3, 4, 4))
    kernel = np.asarray(init_tree(start.shapes, start, seed=0)["w"])
    np.testing.assert_allclose(kernel[1] @ kernel[1].T, np.eye(4), atol=1e-5)
    assert not kernel[[0, 2]].any()


def test_values_that_depend_on_no_draw():
    tree = {"mask": jnp.tril(jnp.ones((3, 3), bool)), "freq": 10.0 ** -jnp.arange(4), "step": np.int32(7), "name": "x"}
    start = record(lambda: {**tree, "mask": jnp.tril(jnp.ones((3, 3), bool))})
    values = init_tree(start.shapes, start, seed=0)
    assert values["name"] == "x"
    assert all(same(values[name], tree[name]) for name in ("mask", "freq", "step"))
    assert init_tree(start.shapes, start, seed=0, dry_run=True)[0].program is not None


def test_values_that_depend_on_data():
    scale = lambda key, x: {"w": jax.random.normal(key, (64, 64)) * x.std()}  # noqa: E731
    assert law(record(scale, KEY, jnp.array([1.0, 3.0]))) == ai.spec("normal", std=1.0)
    start = record(scale, KEY, jax.ShapeDtypeStruct((2,), "float32"))
    with pytest.raises(ai.PlanError, match="shape alone"):
        init_tree(start.shapes, start, seed=0)


# draws that several arrays share


def test_copies_stay_copies():
    def init(key):
        w = jax.random.normal(key, (4, 3))
        return {"a": w, "v": w * 1, "c": jax.random.normal(key, (4, 3))}

    start = record(init, KEY)
    assert [rule.shares for rule in start] == [None, "a", "a"]
    values = init_tree(start.shapes, start, seed=5)
    assert same(values["a"], values["v"])
    assert same(values["a"], values["c"])
    assert same(values["a"], ai.normal((4, 3), seed=5, name="a", layout="io"))


def test_arrays_of_one_draw_stay_dependent():
    def init(key):
        w = jax.random.normal(key, (4, 6))
        return {
            "double": 2 * w,
            "left": w[:, :3],
            "t": w.T,
            "other": jax.random.normal(jax.random.fold_in(key, 1), (4,)),
        }

    start = record(init, KEY)
    assert [rule.path for rule in start if rule.program is None] == ["other"]
    values = init_tree(start.shapes, start, seed=5)
    assert same(values["double"], 2 * values["t"].T)
    assert same(values["left"], values["t"].T[:, :3])


def test_two_draws_of_one_array_with_one_key_are_one():
    start = record(lambda k: {"w": jax.random.normal(k, (9, 9)) - jax.random.normal(k, (9, 9))}, KEY)
    assert not init_tree(start.shapes, start, seed=5)["w"].any()


def test_arrays_numbered_otherwise_are_no_copies():
    def init(key):
        w = jax.random.normal(key, (3, 3))
        return {"fc": {"kernel": w, "embedding": w}}

    start = record(init, KEY)
    values = init_tree(start.shapes, start, seed=5)["fc"]
    assert same(values["kernel"], values["embedding"])


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        (lambda k: [jax.random.normal(k, (3,)), jax.random.normal(k, (4,))], "used for other draws"),
        (lambda k: jax.vmap(lambda k: jax.random.normal(k, (3,)))(jnp.stack([k, k])), "used for other draws"),
        (
            lambda k: [
                jax.vmap(lambda k: jax.random.normal(k, (3,)))(jax.random.split(k)),
                jax.random.normal(jax.random.split(k)[0], (3,)),
            ],
            "used for other draws",
        ),
        (lambda k: jax.random.gamma(k, 2.0, (3,)), "can't be recorded"),
        (lambda k: jax.random.poisson(k, 2.0, (3,)), "can't be recorded"),
        (lambda k: jax.random.key_data(k), "a key itself"),
        (lambda k: jax.random.normal(jax.random.key(jax.random.randint(k, (), 0, 9)), (3,)), "another draw"),
        (
            lambda k: jax.lax.scan(lambda k, _: (jax.random.split(k)[0], jax.random.normal(k, (3,))), k, length=4)[1],
            "`scan` draws",
        ),
        (lambda k: jax.lax.cond(True, lambda: jax.random.normal(k, (3,)), lambda: jnp.zeros(3)), "`cond` draws"),
    ],
)
def test_refusals(init, reason):
    start = record(lambda key: {"w": init(key), "b": jnp.ones(3)}, KEY)
    with pytest.raises(ai.PlanError, match=reason) as caught:
        init_tree(start.shapes, start, seed=0)
    assert "b" not in caught.value.problems
    rules = ai.Rules({"w*": "zeros"}) + start
    assert same(init_tree(start.shapes, rules, seed=0)["b"], np.ones(3, np.float32))


def test_keys_without_a_type():
    draw = lambda key: {"w": jax.random.normal(jax.random.split(key)[0], (3,)), "key": key}  # noqa: E731
    start = record(draw, jax.random.PRNGKey(0))
    assert law(start) == ai.spec("normal", std=1.0)
    with pytest.raises(ai.PlanError, match="a key itself"):
        init_tree(start.shapes, start, seed=0)


def test_arguments_that_are_refused():
    with pytest.raises(TypeError, match="`function` must be a function"):
        record(3)
    with pytest.raises(TypeError, match="must return arrays"):
        record(lambda: {"a": 1})
    with pytest.raises(TypeError, match="outside of `jit`"):
        jax.jit(lambda key: record(lambda key: jax.random.normal(key), key))(KEY)


# layers that are stacked


@pytest.mark.parametrize("stack", ["vmap", "scan", "map"])
def test_stacked_layers(stack):
    def layer(key):
        w, u = jax.random.split(key)
        kernel = jax.checkpoint(jax.jit(lambda key: initializers.lecun_normal()(key, (9, 4))))(w)
        return {"kernel": kernel, "bias": jnp.zeros(4), "scale": jnp.exp(jax.random.normal(u, (4,)))}

    def init(key):
        keys = jax.random.split(key, 5)
        if stack == "vmap":
            return jax.vmap(layer)(keys)
        if stack == "map":
            return jax.lax.map(layer, keys)
        return jax.lax.scan(lambda x, key: (x @ (w := layer(key))["kernel"] @ jnp.ones((4, 9)), w), jnp.ones(9), keys)[
            1
        ]

    start = record(init, KEY)
    std = 1 / 3 / 0.87962566103423978
    assert dict(law(start, "kernel").items) == trunc(std, -2 * std, 2 * std)
    assert law(start, "bias") == ai.spec("zeros")
    values = init_tree(start.shapes, start, seed=0)
    assert values["scale"].shape == (5, 4)
    assert len(np.unique(values["scale"])) == 20


# frameworks


def test_linen():
    nn = namespace("flax.linen")

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Embed(11, 8)(x)
            x = nn.MultiHeadDotProductAttention(2, qkv_features=12)(x)
            x = nn.BatchNorm(use_running_average=False)(
                nn.LayerNorm()(nn.Dense(6, bias_init=initializers.uniform(0.1))(x))
            )
            x = nn.RNN(nn.OptimizedLSTMCell(6))(x)
            return nn.Conv(5, (3,), param_dtype=jnp.bfloat16)(x)

    model, x = Model(), jnp.ones((2, 7), jnp.int32)
    start = record(model.init, KEY, x)
    assert all(rule.program is None for rule in start)
    variables = init_tree(start.shapes, start, seed=3)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, model.init(KEY, x))
    assert model.apply(variables, x, mutable=["batch_stats"])[0].shape == (2, 7, 5)
    name = "params.MultiHeadDotProductAttention_0.out.kernel"
    std = 12**-0.5 / 0.87962566103423978
    assert dict(law(start, name).items) == trunc(std, -2 * std, 2 * std)
    assert law(start, "params.Dense_0.bias") == ai.spec("uniform", a=0.0, b=0.1)
    assert law(start, "batch_stats.BatchNorm_0.var") == ai.spec("ones")
    recurrent = law(start, "params.OptimizedLSTMCell_0.hi.kernel")
    assert recurrent == ai.spec("orthogonal", gain=1.0, in_axis=-2, out_axis=-1)


def test_a_scan_of_linen():
    nn = namespace("flax.linen")

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.remat(nn.Dense)(4, kernel_init=nn.with_partitioning(initializers.he_normal(), (None, "x")))(
                x
            ), None

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            stacked = nn.scan(
                Block,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=5,
                metadata_params={nn.PARTITION_NAME: None},
            )
            return stacked()(x, None)[0]

    start = record(Model().init, KEY, jax.ShapeDtypeStruct((2, 4), "float32"))
    assert [rule.initializer.name for rule in start] == ["zeros", "trunc_normal"]
    values = init_tree(start.shapes, start, seed=0)
    assert isinstance(jax.tree.leaves(values, is_leaf=lambda x: isinstance(x, nn.Partitioned))[1], nn.Partitioned)


@pytest.mark.parametrize("as_argument", [False, True])
def test_nnx(as_argument):
    nnx = namespace("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 4, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs)])
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.drop(self.blocks[0](self.norm(self.first(x))))

    start = record(Model, nnx.Rngs(0)) if as_argument else record(lambda: Model(nnx.Rngs(0)))
    model = init_tree(start.shapes, start, seed=0)
    assert isinstance(model, Model)
    plain = Model(nnx.Rngs(0))
    assert same(model.drop.rngs.count[...], plain.drop.rngs.count[...])
    assert same(jax.random.key_data(model.drop.rngs.key[...]), jax.random.key_data(plain.drop.rngs.key[...]))
    assert model(jnp.ones((2, 3))).shape == (2, 4)
    kernel = model.blocks[0].kernel[...]
    assert same(kernel.T, law(start, "blocks.0.kernel")((4, 4), seed=0, name="blocks.0.kernel"))


def test_haiku():
    hk = namespace("haiku")
    model = hk.transform(lambda x: hk.LSTM(4)(hk.nets.MLP([3, 4])(x), hk.LSTM(4).initial_state(2))[0])
    start = record(model.init, KEY, jnp.ones((2, 5)))
    assert dict(law(start, "mlp.linear_0.w").items) == trunc(5**-0.5, -2 * 5**-0.5, 2 * 5**-0.5)
    params = init_tree(start.shapes, start, seed=0)
    assert model.apply(params, None, jnp.ones((2, 5))).shape == (2, 4)


def test_equinox():
    eqx = namespace("equinox")
    start = record(eqx.nn.MLP, 4, 2, 16, 2, key=KEY)
    assert law(start, "layers.0.weight") == ai.spec("uniform", a=-0.5, b=0.5)
    model = init_tree(start.shapes, start, seed=0)
    assert model(jnp.ones(4)).shape == (2,)
    assert same(model.layers[1].weight, ai.uniform((16, 16), a=-0.25, b=0.25, seed=0, name="layers.1.weight"))


# where it is drawn


def mixed(key):
    keys = jax.random.split(key, 3)
    w = jax.random.normal(keys[0], (8, 4))
    return {
        "law": w,
        "program": jnp.exp(jax.random.normal(keys[1], (8, 4))),
        "half": jax.random.laplace(keys[2], (8, 2), "bfloat16"),
    }


def test_recording_takes_no_memory():
    shape = (1 << 20, 1 << 20)
    start = record(lambda key: {"w": jax.random.normal(key, shape), "b": jnp.ones(shape), "x": -jnp.ones(shape)}, KEY)
    assert law(start) == ai.spec("normal", std=1.0)
    assert law(start, "b") == ai.spec("ones")


def test_under_jit_and_vmap():
    start = record(mixed, KEY)
    expected = init_tree(start.shapes, start, seed=4)
    values = jax.jit(lambda key: init_tree(start.shapes, start, seed=key))(jax.random.key(4))
    assert same(values["law"], expected["law"])
    np.testing.assert_allclose(values["program"], expected["program"], rtol=1e-6)
    values = jax.vmap(lambda key: init_tree(start.shapes, start, seed=key))(jnp.stack([jax.random.key(4)] * 2))
    np.testing.assert_allclose(values["program"][1], expected["program"], rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_shardings(jit):
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = NamedSharding(mesh, PartitionSpec("x"))
    start = record(mixed, KEY)
    draw = lambda: init_tree(start.shapes, start, seed=4, shardings=place)  # noqa: E731
    values = (jax.jit(draw, out_shardings=place) if jit else draw)()
    assert values["program"].sharding == place
    np.testing.assert_allclose(values["program"], init_tree(start.shapes, start, seed=4)["program"], rtol=1e-6)


def test_meshes():
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        with jax.set_mesh(jax.make_mesh((1,), ("x",), axis_types=(kind,))):
            if kind == jax.sharding.AxisType.Explicit:
                with pytest.raises(ValueError, match="Explicit"):
                    record(mixed, KEY)
            else:
                start = record(mixed, KEY)
            values = init_tree(start.shapes, start, seed=4, shardings=PartitionSpec("x"))
            assert values["program"].sharding.spec == PartitionSpec("x")
    assert init_tree(start.shapes, start, seed=4)["program"].shape == (8, 4)


def test_another_dtype_and_another_shape():
    start = record(mixed, KEY)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, "bfloat16"), start.shapes)
    values = init_tree(shapes, start, seed=4)
    assert same(values["program"], init_tree(start.shapes, start, seed=4)["program"].astype("bfloat16"))
    shapes["law"] = jax.ShapeDtypeStruct((3,), "float32")
    with pytest.raises(ai.PlanError, match="must have the shape that was recorded"):
        init_tree(shapes, start, seed=4)
    with pytest.raises(ai.PlanError, match="not in this model"):
        init_tree({"law": start.shapes["law"]}, start, seed=4)


def test_a_record_of_laws_can_be_pickled():
    start = recorded(initializers.normal(0.02))
    assert str(pickle.loads(pickle.dumps(start))) == str(start)


@pytest.mark.parametrize("draw", [jax.random.normal, jax.random.uniform])
def test_the_negative_of_an_array_is_no_copy(draw):
    def init(key):
        x = draw(key, (50,))
        return {"x": x, "negative": -x, "mirrored": 1 - x}

    for name in ("negative", "mirrored"):
        start = record(lambda key, name=name: {each: init(key)[each] for each in ("x", name)}, KEY)
        arrays = init_tree(start.shapes, start, seed=0)
        expected = -arrays["x"] if name == "negative" else 1 - arrays["x"]
        assert np.allclose(arrays[name], expected, atol=1e-6)


def test_what_of_a_record_can_not_be_pickled():
    start = record(lambda key: {"table": jnp.cos(jnp.arange(5.0)), "w": jnp.zeros(3)}, KEY)
    assert str(start.find("table", (5,)).program) == "the values that the function gave"
    copied = pickle.loads(pickle.dumps(start))
    drawn = init_tree(copied.shapes, copied, seed=0)
    assert same(drawn["table"], init_tree(start.shapes, start, seed=0)["table"])
    assert drawn["table"][0] == 1
    start = record(lambda key: {"log": jnp.log(jax.random.uniform(key, (3,)))}, KEY)
    with pytest.raises(
        TypeError, match=r"a record of JAX with programs can't be pickled; got a program of .* behind log"
    ):
        pickle.dumps(start)
    refused = record(lambda key: {"gamma": jax.random.gamma(key, 2.0, (3,))}, KEY)
    assert pickle.loads(pickle.dumps(refused)).find("gamma", (3,)).problem == refused.find("gamma", (3,)).problem != ""
    with pytest.raises(ValueError, match="a recorded rule must be a law alone to be written; got a program"):
        start.to_json()
