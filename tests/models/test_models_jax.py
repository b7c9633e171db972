"""JAX pytrees: Flax linen and nnx, Haiku, Equinox; shardings, traces, and what the axes of their arrays mean."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from conftest import namespace, same  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit.jax import init_tree  # noqa: E402
from arrayinit.models.jax import parameters_of_tree  # noqa: E402

XAVIER = ai.spec("xavier_uniform")
RULES = [
    ai.Rule("*bias", ai.spec("zeros"), optional=True),
    ai.Rule("*.b", ai.spec("zeros"), optional=True),
    ai.Rule("*scale", ai.spec("ones"), optional=True),
    ai.Rule("*", XAVIER),
]


def linen():
    nn = namespace("flax.linen")

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Embed(11, 8)(x)
            x = nn.MultiHeadDotProductAttention(2, qkv_features=12)(x)
            x = nn.LayerNorm()(nn.Dense(6)(x))
            return nn.Conv(5, (3,))(x)

    return Model(), jnp.ones((2, 7), jnp.int32)


def test_linen_shapes_without_an_array():
    model, x = linen()
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    params = init_tree(shapes, RULES, seed=3)
    assert jax.tree.structure(params) == jax.tree.structure(shapes)
    kernel = params["Dense_0"]["kernel"]
    assert isinstance(kernel, jax.Array)
    assert same(kernel, XAVIER((8, 6), seed=3, name="Dense_0.kernel", layout="io"))
    assert same(params["Conv_0"]["kernel"], XAVIER((3, 6, 5), seed=3, name="Conv_0.kernel", layout="wio"))
    assert same(params["Embed_0"]["embedding"], XAVIER((11, 8), seed=3, name="Embed_0.embedding"))
    attention = params["MultiHeadDotProductAttention_0"]
    name = "MultiHeadDotProductAttention_0"
    assert same(attention["query"]["kernel"], XAVIER((8, 2, 6), seed=3, name=f"{name}.query.kernel", layout="ioo"))
    assert same(attention["out"]["kernel"], XAVIER((2, 6, 8), seed=3, name=f"{name}.out.kernel", layout="iio"))
    assert (params["LayerNorm_0"]["scale"] == 1).all()
    assert (attention["query"]["bias"] == 0).all()
    assert model.apply({"params": params}, x).shape == (2, 7, 5)


def test_boxes_of_linen_are_kept():
    nn = namespace("flax.linen")
    dense = nn.Dense(4, kernel_init=nn.with_partitioning(nn.initializers.ones, (None, "model")))
    shapes = jax.eval_shape(dense.init, jax.random.key(0), jnp.ones((2, 3)))["params"]
    params = init_tree(shapes, RULES, seed=3)
    assert isinstance(params["kernel"], nn.Partitioned)
    assert params["kernel"].names == (None, "model")
    assert same(params["kernel"].value, XAVIER((3, 4), seed=3, name="kernel", layout="io"))


@pytest.mark.parametrize("abstract", [False, True])
def test_nnx_modules(abstract):
    nnx = namespace("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 4, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs)])
            self.drop = nnx.Dropout(0.1, rngs=rngs)

        def __call__(self, x):
            return self.drop(self.blocks[0](self.norm(self.first(x))))

    def make():
        return Model(nnx.Rngs(0))

    if abstract:
        _, parameters, _ = nnx.split(nnx.eval_shape(make), nnx.Param, ...)
        parameters = init_tree(parameters, RULES, seed=3)
        assert same(parameters["first"]["kernel"][...], XAVIER((3, 4), seed=3, name="first.kernel", layout="io"))
        return
    model = make()
    made = init_tree(model, [("norm.var", None), ("norm.mean", None), ("*.rngs.*", None), *RULES], seed=3)
    assert type(made) is Model
    assert same(made.first.kernel[...], XAVIER((3, 4), seed=3, name="first.kernel", layout="io"))
    assert same(made.blocks[0].kernel[...], XAVIER((4, 4), seed=3, name="blocks.0.kernel", layout="io"))
    assert (made.norm.var[...] == 1).all()
    assert made(jnp.ones((2, 3))).shape == (2, 4)
    assert not same(model.first.kernel[...], made.first.kernel[...])
    nnx.update(model, init_tree(nnx.state(model, nnx.Param), RULES, seed=3))
    assert same(model.first.kernel[...], made.first.kernel[...])


@pytest.mark.parametrize("abstract", [False, True])
def test_equinox_modules(abstract):
    eqx = namespace("equinox")

    def make():
        return eqx.nn.MLP(3, 4, 5, 2, key=jax.random.key(0))

    model = init_tree(eqx.filter_eval_shape(make) if abstract else make(), RULES, seed=3)
    assert same(model.layers[0].weight, XAVIER((5, 3), seed=3, name="layers.0.weight"))
    assert (model.layers[2].bias == 0).all()
    assert model(jnp.ones(3)).shape == (4,)
    convolution = init_tree(eqx.nn.Conv2d(3, 6, 2, key=jax.random.key(0)), RULES, seed=3)
    assert same(convolution.weight, XAVIER((6, 3, 2, 2), seed=3, name="weight"))


def test_equinox_modules_within_other_trees():
    eqx = namespace("equinox")
    cell = eqx.nn.GRUCell(3, 4, key=jax.random.key(0))
    tree = {"kernel": jnp.ones((3, 4)), "cells": [cell, jnp.tanh, None]}
    made = init_tree(tree, [RULES[0], ai.Rule("*bias_n", ai.spec("zeros")), RULES[-1]], seed=3)
    assert same(made["cells"][0].weight_ih, XAVIER((12, 3), seed=3, name="cells.0.weight_ih"))
    assert same(made["kernel"], XAVIER((3, 4), seed=3, name="kernel", layout="io"))


def test_a_field_that_is_called_value():
    eqx = namespace("equinox")

    class Heads(eqx.Module):
        query: jax.Array
        value: jax.Array

    class Model(eqx.Module):
        heads: Heads

    found = parameters_of_tree(Model(Heads(jnp.ones((2, 2)), jnp.ones((2, 2)))))
    assert [parameter.path for parameter in found] == ["heads.query", "heads.value"]


def test_stacked_layers():
    eqx, nn = namespace("equinox"), namespace("flax.linen")
    keys = jax.random.split(jax.random.key(0), 7)
    stacked = eqx.filter_eval_shape(eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 5, key=key)), keys)
    made = init_tree(stacked, {"weight": ai.spec("xavier_uniform", layout="boi"), "bias": "zeros"}, seed=3)
    assert same(made.weight, XAVIER((7, 5, 3), seed=3, name="weight", layout="boi"))
    assert 0.9 < abs(made.weight).max() / (6 / 8) ** 0.5 <= 1

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.Dense(8)(x), None

    scanned = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)()
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), jnp.ones((2, 8)), None)["params"]
    spec = ai.spec("xavier_uniform", batch_axis=0, in_axis=1, out_axis=2)
    kernel = init_tree(shapes, {"*bias": "zeros", "*": spec}, seed=3)["Dense_0"]["kernel"]
    assert 0.9 < abs(kernel).max() / (6 / 16) ** 0.5 <= 1


def test_haiku():
    hk = namespace("haiku")

    def forward(x):
        return hk.nets.MLP([4, 5])(hk.Embed(7, 3)(x))

    transformed = hk.without_apply_rng(hk.transform(forward))
    x = jnp.ones((2,), jnp.int32)
    shapes = jax.eval_shape(transformed.init, jax.random.key(0), x)
    params = init_tree(shapes, RULES, seed=3)
    assert same(params["mlp/~/linear_0"]["w"], XAVIER((3, 4), seed=3, name="mlp.linear_0.w", layout="io"))
    assert same(params["embed"]["embeddings"], XAVIER((7, 3), seed=3, name="embed.embeddings"))
    assert transformed.apply(params, x).shape == (2, 5)


def test_a_spec_says_first_what_axes_mean():
    shapes = {"kernel": jax.ShapeDtypeStruct((3, 4, 6), "float32")}
    made = init_tree(shapes, {"*": ai.spec("xavier_normal", layout="iio")}, seed=0, dry_run=True)
    assert made[0].initializer == ai.spec("xavier_normal", layout="iio")
    assert parameters_of_tree(shapes)[0].axes == {"in_axis": -2, "out_axis": -1}


def test_traced_keys():
    shapes = {"a": jax.ShapeDtypeStruct((3, 4), "float32"), "b": [jax.ShapeDtypeStruct((5,), "bfloat16")]}
    rules = {"*": ai.spec("normal")}
    made = jax.jit(lambda key: init_tree(shapes, rules, seed=key))(jax.random.key(3))
    plain = init_tree(shapes, rules, seed=3)
    assert same(made["a"], plain["a"])
    assert same(made["b"][0], plain["b"][0])
    assert made["b"][0].dtype == "bfloat16"
    with pytest.raises(ValueError, match="`seed` must be given"):
        jax.jit(lambda x: init_tree({"a": x}, rules, seed=None))(jnp.ones(3))


def test_numpy_leaves_and_what_is_no_array():
    tree = {
        "w": np.ones((3, 4), "float32"),
        "f": jnp.tanh,
        "n": 3,
        "none": None,
        "key": jax.random.key(0),
        "i": jnp.ones(2, int),
    }
    made = init_tree(tree, {"w": "xavier_normal"}, seed=0)
    assert isinstance(made["w"], jax.Array)
    assert made["f"] is jnp.tanh
    assert (made["n"], made["none"]) == (3, None)
    assert made["key"] is tree["key"]
    assert made["i"] is tree["i"]


def test_mutable_arrays_are_drawn_into_new_ones():
    if not hasattr(jax, "new_ref"):
        pytest.skip("this JAX has no mutable arrays")
    tree = {"w": jax.new_ref(jnp.ones((3, 4))), "b": jnp.ones(3)}
    made = init_tree(tree, {"*": ai.spec("normal")}, seed=0)
    assert isinstance(made["w"], type(tree["w"]))
    assert same(made["w"][...], ai.normal((3, 4), seed=0, name="w", layout="io"))
    assert (tree["w"][...] == 1).all()


def test_what_has_a_shape_and_is_no_array_stays_and_other_libraries_are_refused():
    class Space:
        shape, dtype = (2, 2), np.dtype("float32")

    space = Space()
    made = init_tree({"w": jnp.ones((3, 4)), "space": space}, {"*": "normal"}, seed=0)
    assert made["space"] is space
    torch = namespace("torch")
    with pytest.raises(TypeError, match=r"must hold arrays of JAX or NumPy; got one of torch at '1'"):
        init_tree([jnp.ones((3, 4)), torch.ones(2, 2)], {"*": "normal"}, seed=0)


@pytest.mark.parametrize("tree", [3, {"a": 3}, [jnp.tanh], linen()[0]], ids=lambda tree: type(tree).__name__)
def test_a_tree_without_arrays_is_refused(tree):
    with pytest.raises(TypeError, match=rf"`tree` must hold arrays; got {type(tree).__name__} without any"):
        init_tree(tree, {"*": "zeros"}, seed=0)


@pytest.mark.parametrize("tree", [{}, [], (), None, {"a": {}, "b": None}, {"rng": jax.random.key(0)}], ids=str)
def test_an_empty_tree_stays_as_it_is(tree):
    assert init_tree(tree, {}, seed=0) == tree


def test_shardings():
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), ("x", "y"))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    all_ = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shapes = {"a": jax.ShapeDtypeStruct((4, 4), "float32"), "b": {"c": jax.ShapeDtypeStruct((4,), "float32")}}
    plain = init_tree(shapes, {"*": ai.spec("normal")}, seed=0)
    for given, wanted in (
        (rows, (rows, rows)),
        ({"a": rows, "b": all_}, (rows, all_)),
        ({"a": rows, "b": {"c": all_}}, (rows, all_)),
        (lambda path, shape: rows if len(shape) == 2 else all_, (rows, all_)),
    ):
        made = init_tree(shapes, {"*": ai.spec("normal")}, seed=0, shardings=given)
        assert (made["a"].sharding, made["b"]["c"].sharding) == wanted
        assert same(made["a"], plain["a"])
    held = jax.ShapeDtypeStruct((4, 4), "float32", sharding=rows)
    assert init_tree({"a": held}, {"*": ai.spec("normal")}, seed=0)["a"].sharding == rows


def test_errors_list_all():
    shapes = {
        "a": jax.ShapeDtypeStruct((4,), "float32"),
        "b": {"c": jax.ShapeDtypeStruct((4,), "int32")},
        "d": jnp.ones(3),
    }
    with pytest.raises(ai.PlanError) as caught:
        init_tree(shapes, {"a": "kaiming_normal", "b*": "normal"}, seed=0)
    assert set(caught.value.problems) == {"a", "b.c", "d"}


def test_nothing_is_compiled():
    model, x = linen()
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        compiled = []
        patch.setattr(jax._src.compiler, "backend_compile_and_load", lambda *a, **k: compiled.append(a), raising=True)
        init_tree(shapes, RULES, seed=4)
    assert compiled == []


EIGHT = """
import json, jax, numpy as np, arrayinit as ai
from jax.sharding import NamedSharding, PartitionSpec as P
from arrayinit.jax import init_tree

mesh = jax.make_mesh((4, 2), ("a", "b"))
spread = lambda path, shape: NamedSharding(mesh, P("a", "b") if len(shape) == 2 else P("b"))
layer = {"kernel": jax.ShapeDtypeStruct((64, 48), "float32"), "bias": jax.ShapeDtypeStruct((48,), "bfloat16")}
shapes = {"l0": layer, "l1": layer}
rules = {"*.kernel": ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=3), "*": ai.spec("normal")}
made = init_tree(shapes, rules, seed=5, shardings=spread)
plain = init_tree(shapes, rules, seed=5)
jitted = jax.jit(lambda key: init_tree(shapes, rules, seed=key), out_shardings=jax.tree.map(lambda x: x.sharding, made))
compiled = jitted.lower(jax.random.key(5)).compile()
traced = compiled(jax.random.key(5))
text = compiled.as_text()
equal = [bool((np.asarray(a) == np.asarray(b)).all()) for other in (plain, traced)
         for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(other), strict=True)]
sizes = sorted({tuple(s.data.shape) for x in jax.tree.leaves(made) for s in x.addressable_shards})
print(json.dumps({"equal": equal, "sizes": sizes, "talks": any(w in text for w in ("all-gather", "all-reduce"))}))
"""


@pytest.mark.slow
def test_eight_devices():
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], capture_output=True, text=True, timeout=300,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["equal"] == [True] * 8
    assert found["sizes"] == [[16, 24], [24]]
    assert not found["talks"]
