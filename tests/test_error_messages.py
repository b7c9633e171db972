"""Wrong arguments raise errors that name the argument and its value, before the first element is written."""

import importlib
import itertools
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import arrayinit as ai
import arrayinit.jax
import arrayinit.plot
import arrayinit.recipes
from arrayinit.torch import init_module_

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")

NAN, INF = float("nan"), float("inf")

# (initializer, its parameters, keywords, error, words in the message)
WRONG = [
    ("normal", {"std": -1.0}, {}, ValueError, ["`std`", "-1.0"]),
    ("normal", {"std": NAN}, {}, ValueError, ["`std`", "nan"]),
    ("normal", {"std": INF}, {}, ValueError, ["`std`", "inf"]),
    ("normal", {"mean": INF}, {}, ValueError, ["`mean`", "inf"]),
    ("normal", {"std": "1"}, {}, TypeError, ["`std`", "'1'"]),
    ("normal", {"std": True}, {}, TypeError, ["`std`", "True"]),
    ("normal", {"std": 1j}, {}, TypeError, ["`std`", "1j"]),
    ("normal", {"std": 10**400}, {}, ValueError, ["`std`", "range"]),
    ("normal", {"std": 1e38}, {}, ValueError, ["float32", "1e+38"]),
    ("normal", {"std": 1e-40}, {}, ValueError, ["2**-96", "1e-40"]),
    ("uniform", {"a": 1.0, "b": 1.0}, {}, ValueError, ["`a`", "a=1.0", "b=1.0"]),
    ("uniform", {"a": 2.0, "b": 1.0}, {}, ValueError, ["`a`", "a=2.0", "b=1.0"]),
    ("uniform", {"a": NAN}, {}, ValueError, ["`a`", "nan"]),
    ("uniform", {"b": INF}, {}, ValueError, ["`b`", "inf"]),
    ("uniform", {"a": 1.00000001, "b": 1.00000002}, {}, ValueError, ["[a, b)", "float32", "1.00000001"]),
    ("trunc_normal", {"a": 1.0, "b": 1.0}, {}, ValueError, ["`a`", "a=1.0"]),
    ("trunc_normal", {"a": NAN}, {}, ValueError, ["`a`", "nan"]),
    ("trunc_normal", {"std": -2.0}, {}, ValueError, ["`std`", "-2.0"]),
    ("trunc_normal", {"a": 30.0, "b": 31.0}, {}, ValueError, ["[a, b]", "30.0"]),
    ("trunc_normal", {"a": 1.0, "b": 1.0 + 1e-6}, {}, ValueError, ["[a, b]", "1.000001"]),
    ("trunc_normal", {"a": 1.00000001, "b": 1.00000002}, {}, ValueError, ["[a, b]", "1.00000001"]),
    ("constant", {"val": 1e39}, {}, ValueError, ["float32", "1e+39"]),
    ("constant", {"val": "0"}, {}, TypeError, ["`val`", "'0'"]),
    ("xavier_uniform", {"gain": -1.0}, {}, ValueError, ["`gain`", "-1.0"]),
    ("xavier_normal", {"gain": NAN}, {}, ValueError, ["`gain`", "nan"]),
    ("kaiming_normal", {"mode": "fan"}, {}, ValueError, ["`mode`", "'fan'", "fan_geo_avg"]),
    ("kaiming_uniform", {"nonlinearity": "geul"}, {}, ValueError, ["`nonlinearity`", "'geul', did you mean 'gelu'"]),
    ("kaiming_normal", {"nonlinearity": lambda x: x[:1]}, {}, ValueError, ["`nonlinearity` must return an array"]),
    ("kaiming_normal", {"gain": -1.0}, {}, ValueError, ["`gain`", "-1.0"]),
    ("kaiming_normal", {"gain": 2.0, "nonlinearity": "relu"}, {}, ValueError, ["`gain` must not be", "'relu'"]),
    ("kaiming_uniform", {"a": INF}, {}, ValueError, ["`a`", "inf"]),
    ("variance_scaling", {"scale": -1.0}, {}, ValueError, ["`scale`", "-1.0"]),
    ("variance_scaling", {"distribution": "cauchy"}, {}, ValueError, ["`distribution`", "'cauchy'"]),
    ("orthogonal", {"gain": NAN}, {}, ValueError, ["`gain`", "nan"]),
    ("sparse", {"sparsity": 1.5}, {}, ValueError, ["`sparsity`", "1.5"]),
    ("sparse", {"sparsity": -0.1}, {}, ValueError, ["`sparsity`", "-0.1"]),
    ("sparse", {"sparsity": 0.5, "std": -1.0}, {}, ValueError, ["`std`", "-1.0"]),
    ("dirac", {}, {}, ValueError, ["dirac", "(4, 6)"]),
    ("normal", {}, {"layout": "oih"}, ValueError, ["`layout`", "'oih'", "(4, 6)"]),
    ("normal", {}, {"layout": "oo"}, ValueError, ["`layout`", "'oo'"]),
    ("normal", {}, {"layout": "o?"}, ValueError, ["`layout`", "'o?'"]),
    ("normal", {}, {"layout": 3}, TypeError, ["`layout`", "3"]),
    ("normal", {}, {"layout": "oi", "in_axis": 0}, ValueError, ["`layout`", "`in_axis`"]),
    ("normal", {}, {"in_axis": 0}, ValueError, ["`in_axis`", "`out_axis`"]),
    ("normal", {}, {"in_axis": 2, "out_axis": 0}, ValueError, ["`in_axis`", "2"]),
    ("normal", {}, {"in_axis": 0, "out_axis": 0}, ValueError, ["`in_axis`", "once"]),
    ("xavier_normal", {}, {"groups": 3}, ValueError, ["`groups`", "3", "4"]),
    ("xavier_normal", {}, {"groups": 0}, ValueError, ["`groups`", "0"]),
    ("xavier_normal", {}, {"groups": 1.0}, ValueError, ["`groups`", "1.0"]),
    ("xavier_normal", {}, {"transposed": 1}, TypeError, ["`transposed`", "1"]),
    ("normal", {}, {"seed": -1}, ValueError, ["`seed`", "-1"]),
    ("normal", {}, {"seed": 2**64}, ValueError, ["`seed`", str(2**64)]),
    ("normal", {}, {"seed": 1.0}, TypeError, ["`seed`", "1.0"]),
    ("normal", {}, {"seed": True}, TypeError, ["`seed`", "True"]),
    ("normal", {}, {"seed": "zero"}, TypeError, ["`seed`", "'zero'"]),
    ("normal", {}, {"seed": np.zeros(2)}, TypeError, ["`seed`"]),
    ("normal", {}, {"name": 1.5}, TypeError, ["`name`", "1.5"]),
    ("normal", {}, {"name": -1}, ValueError, ["`name`", "-1"]),
    ("normal", {}, {"shape": (4, 7)}, ValueError, ["`shape`", "(4, 7)", "(4, 6)"]),
    ("normal", {}, {"index": 0}, TypeError, ["`index`", "`shape`"]),
    ("normal", {}, {"shape": (8, 6), "index": np.s_[6:10]}, ValueError, ["`index`", "10", "size 8"]),
    ("normal", {}, {"shape": (8, 6), "index": np.s_[0:3]}, ValueError, ["`index`", "(3, 6)", "(4, 6)"]),
    ("normal", {}, {"shape": (8, 4, 6), "index": 8}, ValueError, ["`index`", "8"]),
    ("normal", {}, {"shape": (8, 4, 6), "index": (0, 0, 0, 0)}, ValueError, ["`index`", "3 axes"]),
    ("normal", {}, {"shape": (8, 6), "index": [0, 1, 2, 3]}, TypeError, ["`index`", "[0, 1, 2, 3]"]),
    ("normal", {}, {"shape": (8, 6), "index": np.s_[None, 0:4]}, TypeError, ["`index`", "None"]),
    ("normal", {}, {"shape": (-8, 6), "index": np.s_[0:4]}, ValueError, ["`shape`", "-8"]),
    ("normal", {}, {"xp": "numpy"}, TypeError, ["`xp`", "'numpy'"]),
    ("normal", {}, {"dtype": "float64"}, TypeError, ["`dtype`", "'float64'"]),
    ("normal", {}, {"colour": 1}, TypeError, ["colour"]),
]  # fmt: skip

MODULE = torch.nn.Linear(3, 4)


def fresh(library, shape=(4, 6), dtype="float32"):
    return ai.constant(shape, 7.0, xp=library, dtype=dtype)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(("name", "parameters", "keywords", "error", "words"), WRONG)
def test_in_place_refuses_and_leaves_the_array_alone(library, name, parameters, keywords, error, words):
    x = fresh(library)
    with pytest.raises(error) as caught:
        getattr(ai, name + "_")(x, **parameters, **{"seed": 0, **keywords})
    for word in words:
        assert word in str(caught.value)
    assert bool((x == 7).all())


@pytest.mark.parametrize(("name", "parameters", "keywords", "error", "words"), WRONG)
def test_functional_refuses_the_same(name, parameters, keywords, error, words):
    if keywords.keys() & {"shape", "index", "xp", "dtype"}:
        pytest.skip("legal, or of another meaning, without an array")
    with pytest.raises(error) as caught:
        getattr(ai, name)((4, 6), **parameters, **{"seed": 0, **keywords})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("shape", [(), (5,)])
@pytest.mark.parametrize(
    "name",
    [
        "xavier_uniform",
        "xavier_normal",
        "kaiming_uniform",
        "kaiming_normal",
        "lecun_normal",
        "variance_scaling",
        "orthogonal",
        "eye",
    ],
)
def test_shapes_without_fans(name, shape):
    with pytest.raises(ValueError, match=r"dimensions"):
        getattr(ai, name)(shape, seed=0)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "int64"])
@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "dask"])
@pytest.mark.parametrize("name", ["uniform", "normal", "trunc_normal", "xavier_uniform", "orthogonal"])
def test_random_values_need_a_floating_dtype(name, library, dtype):
    dtype = "int32" if library == "jax" and dtype == "int64" else dtype
    with pytest.raises(TypeError, match=rf"`dtype`.*{dtype}"):
        getattr(ai, name)((2, 3), seed=0, xp=library, dtype=dtype)


@pytest.mark.parametrize("library", ["numpy", "torch", "dask"])
def test_integers_take_constants_that_they_have(library):
    assert int(ai.constant((2, 3), 7, xp=library, dtype="uint8").sum()) == 42
    assert int(ai.eye((2, 3), xp=library, dtype="int16").sum()) == 2
    assert bool(ai.ones((2, 3), xp=library, dtype="bool").all())
    for val, dtype in ((0.5, "int32"), (256, "uint8"), (-1, "uint8"), (2, "bool"), (NAN, "int8")):
        with pytest.raises(ValueError, match="`val`"):
            ai.constant((2, 3), val, xp=library, dtype=dtype)


def test_targets_that_cannot_be_written():
    x = np.zeros((4, 6), np.float32)
    x.flags.writeable = False
    with pytest.raises(ValueError, match=r"`x` must be writable; got a read-only array"):
        ai.normal_(x, seed=0)
    for expanded in (np.lib.stride_tricks.as_strided(np.zeros(6), (4, 6), (0, 8)), torch.zeros(6).expand(4, 6)):
        with pytest.raises(ValueError, match="share memory"):
            ai.normal_(expanded, seed=0)
    windows = np.lib.stride_tricks.as_strided(np.zeros(20), (4, 6), (8, 8))
    with pytest.raises(ValueError, match="share memory"):
        ai.normal_(windows, seed=0)
    interleaved = np.lib.stride_tricks.as_strided(np.zeros(20), (2, 3), (24, 16))  # no two elements overlap
    ai.normal_(interleaved, seed=0)
    assert (interleaved == ai.normal((2, 3), seed=0, dtype="float64")).all()


def test_libraries_without_mutable_arrays_say_what_to_use():
    with pytest.raises(TypeError, match="without the underscore"):
        ai.normal_(jnp.zeros((2, 3)), seed=0)
    with pytest.raises(TypeError, match="in place"):
        ai.normal_((2, 3), seed=0)


@pytest.mark.parametrize("x", [1.5, "abc", None, [1.5, 2], {"a": 1}, np.float32(3)], ids=repr)
def test_neither_array_nor_shape(x):
    with pytest.raises(TypeError, match="`x` must be an array"):
        ai.normal(x, seed=0)


def test_inside_a_trace_a_seed_must_be_given():
    with pytest.raises(ValueError, match="`seed` must be given inside a JAX trace"):
        jax.jit(lambda x: ai.normal(x))(jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="`seed` must be given inside a JAX trace"):
        jax.jit(lambda: ai.normal((2, 3), xp="jax"))()
    with pytest.raises(TypeError, match="traced JAX key"):
        jax.jit(lambda key: ai.normal((2, 3), seed=key, xp="numpy"))(jax.random.key(0))
    with pytest.raises(TypeError, match="one JAX key"):
        ai.normal((2, 3), seed=jax.random.split(jax.random.key(0), 3))
    with pytest.raises(TypeError, match="one JAX key"):
        ai.normal((2, 3), seed=jnp.zeros((), "int32"))


def test_dtypes_and_namespaces_that_are_not_there():
    with pytest.raises(TypeError, match="jax_enable_x64"):
        ai.normal((2, 3), seed=0, xp="jax", dtype="float64")
    with pytest.raises(TypeError, match="`dtype` must be one"):
        ai.normal((2, 3), seed=0, dtype="float128x")
    with pytest.raises(TypeError, match=r"longdouble|float128"):
        ai.normal((2, 3), seed=0, dtype=np.longdouble)
    with pytest.raises(ValueError, match=r"`xp` must be numpy, .* or an importable array API namespace; got 'nowhere'"):
        ai.normal((2, 3), seed=0, xp="nowhere")
    with pytest.raises(ValueError, match="`xp` must be a namespace of the array API"):
        ai.normal((2, 3), seed=0, xp="math")
    with pytest.raises(TypeError, match="`xp` must be an array namespace"):
        ai.normal((2, 3), seed=0, xp=3)
    with pytest.raises(ValueError, match="`device` must be 'cpu'"):
        ai.normal((2, 3), seed=0, device="cuda")


def test_sparse_tensors_and_unknown_shapes():
    with pytest.raises(TypeError, match="dense"):
        ai.normal(torch.eye(3).to_sparse(), seed=0)
    unknown = dask.array.from_array(np.arange(6.0), chunks=3)
    unknown = unknown[unknown > 2]
    with pytest.raises(ValueError, match="known shape"):
        ai.normal(unknown, seed=0)
    with pytest.raises(ValueError, match=r"2\*\*62"):
        ai.normal((2**40, 2**40), seed=0, index=(0, 0))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ai.zeros(2**63), ValueError, r"`x`.*2\*\*62"),
        (lambda: ai.zeros((2**70,)), ValueError, r"`x`.*2\*\*62"),
        (lambda: ai.xavier_normal((10**400, 3), seed=0), ValueError, r"`x`.*2\*\*62"),
        (lambda: ai.zeros(2**60), ValueError, r"`x`.*2\*\*59"),
        (lambda: ai.zeros((2**61, 0)), ValueError, r"`x`.*2\*\*59"),
        (lambda: ai.zeros((1,) * 65), TypeError, "`x`.*shape"),
        (lambda: ai.wang_normal((2, 3), layers=10**400, seed=0), ValueError, r"`layers`.*2\*\*63"),
        (lambda: ai.small_normal((2, 3), dim=10**400, seed=0), ValueError, r"`dim`.*2\*\*63"),
        (lambda: ai.recipes.gpt2(layers=10**400), ValueError, r"`layers`.*2\*\*63"),
        (lambda: ai.recipes.deepnorm(10**400, 10**400), ValueError, r"`encoder_layers`.*2\*\*63"),
        (lambda: ai.recipes.mup(inputs=itertools.count()), TypeError, "`inputs`"),
        (lambda: ai.recipes.recipe([]), ValueError, "`name`"),
        (lambda: ai.packed((0, 3), ai.spec("normal"), 10**9, seed=0), ValueError, "`blocks`"),
        (lambda: ai.packed((4, 3), ai.spec("normal"), itertools.count(), seed=0), TypeError, "`blocks`"),
        (lambda: ai.packed((4, 3), ai.spec("normal"), torch.ones(1), seed=0), TypeError, "`blocks`"),
        (lambda: ai.packed((4, 3), ai.spec("normal"), in_axis=(0, 1), out_axis=(), seed=0), ValueError, "`out_axis`"),
        (lambda: ai.packed((4, 3), Initializing(), seed=0), TypeError, "`initializer`"),
        (lambda: ai.icnr((0, 3, 2), scale=10**9, seed=0), ValueError, "`scale`"),
        (lambda: ai.normal(3, dtype="f4,(", seed=0), TypeError, "`dtype`"),
        (lambda: ai.normal(3, dtype=np.ones(2), seed=0), TypeError, "`dtype`"),
        (lambda: ai.normal(3, dtype=jnp.ones(2), seed=0), TypeError, "`dtype`"),
        (lambda: ai.normal(3, device=np.ones(2), seed=0), ValueError, "`device`"),
        (lambda: ai.normal(3, device="xpu", xp="torch", seed=0), ValueError, "`device`"),
        (lambda: ai.normal(3, device="xla", xp="torch", seed=0), ValueError, "`device`"),
        (lambda: ai.normal(3, device=10**400, xp="torch", seed=0), ValueError, "`device`"),
        (lambda: ai.normal(3, device="nowhere", xp="array_api_strict", seed=0), ValueError, "`device`"),
        (lambda: ai.normal(3, xp=".", seed=0), ValueError, "`xp`"),
        (lambda: ai.normal(3, xp="numpy.random", seed=0), ValueError, "`xp`"),
        (lambda: ai.normal(3, xp=np.linalg, seed=0), ValueError, "`xp`"),
        (lambda: ai.normal(3, xp="dask", chunks=itertools.count(), seed=0), ValueError, "`chunks`"),
        (lambda: ai.normal((2, 3), xp="dask", chunks={2, 3}, seed=0), ValueError, "`chunks`"),
        (lambda: ai.constant(3, np.longdouble("1e4000")), ValueError, "`val`.*range"),
        (lambda: ai.normal(3, std=np.timedelta64(3, "s"), seed=0), TypeError, "`std`"),
        (lambda: ai.normal(3, std=10**5000, seed=0), ValueError, "`std`"),
        (lambda: ai.calculate_gain(np.array(["relu", "tanh"])), ValueError, "`nonlinearity`"),
        (lambda: ai.calculate_gain("leaky_relu", np.timedelta64(3, "s")), ValueError, "`param`"),
        (lambda: ai.gain(lambda z: 1 / 0), TypeError, "`f`"),
        (lambda: ai.gain(lambda z: z * 1j), ValueError, "`f`"),
        (lambda: ai.lstm_bias(8, 1e39), ValueError, "`forget`"),
        (lambda: ai.normal(3, 1e39, 0.0), ValueError, "`mean`"),
        (lambda: ai.xavier_normal((2, 3), 1e38, seed=0), ValueError, "`gain` 1e[+]38"),
        (lambda: ai.init_params_({"a": np.ones(2)}, {"*": "ones"}, seed=0, dry_run="no"), TypeError, "`dry_run`"),
        (lambda: ai.init_params_({"a": np.ones(2)}, {"*": "ones"}, seed=0, progress="no"), TypeError, "`progress`"),
        (lambda: ai.report({"a": np.ones(2)}, values="no"), TypeError, "`values`"),
        (lambda: ai.init_params_(holding_itself({}), {"*": "ones"}, seed=0), ValueError, "`params`.*holds itself"),
        (lambda: ai.report(holding_itself({})), ValueError, "`model`.*holds itself"),
        (lambda: arrayinit.jax.init_tree(holding_itself([]), {"*": "ones"}, seed=0), ValueError, "`tree`.*itself"),
    ],
)  # fmt: skip
def test_what_led_to_other_errors_or_to_none(call, error, words):
    with pytest.raises(error, match=words):
        call()


class Initializing:
    def law(self, geometry):
        return "normal"


def holding_itself(tree):
    if isinstance(tree, dict):
        tree["a"] = tree
    else:
        tree.append(tree)
    return tree


def test_a_tree_that_holds_itself_leaves_the_count_of_calls_alone():
    def depth(n=0):
        try:
            return depth(n + 1)
        except RecursionError:
            return n

    before = depth()
    with pytest.raises(ValueError, match="`tree`"):
        arrayinit.jax.init_tree(holding_itself([]), {"*": "ones"}, seed=0)
    with pytest.raises(ValueError, match="`shardings`"):
        arrayinit.jax.init_tree({"a": jnp.ones(2)}, {"*": "ones"}, seed=0, shardings=holding_itself([]))
    assert depth() == before


@pytest.mark.parametrize(
    "library", ["torch", "jax", "dask.array", "dask", "cupy", "jax.core", "torch.distributed.tensor"]
)
@pytest.mark.parametrize("stub", [None, types.ModuleType("stub")])
def test_libraries_that_are_barred_or_half_imported(monkeypatch, library, stub):
    importlib.import_module("torch._dynamo")
    monkeypatch.setitem(sys.modules, library, stub)
    x = np.ones((2, 3), "float32")
    assert (ai.normal_(x, seed=0) == ai.normal((2, 3), seed=0)).all()
    ai.normal((2, 3), seed=np.random.default_rng(0), name="a")
    assert ai.gain(np.tanh) == pytest.approx(1.5925374197228312)
    assert len(ai.report({"a": x}, {"*": "normal"})) == 1
    with pytest.raises(TypeError, match="`x`"):
        ai.normal("x")
    with pytest.raises(TypeError, match="`seed`"):
        ai.normal(3, seed="x")
    with pytest.raises(TypeError, match="`model`"):
        ai.report(3)
    with pytest.raises(TypeError, match="`model`"):
        arrayinit.plot.depth_scales(3, {"a": None}, x)


def test_a_default_device_that_is_not_there():
    torch.set_default_device("fpga")
    try:
        with pytest.raises(ValueError, match="`device` must be one that torch has here; got its default one"):
            ai.normal(3, seed=0, xp="torch")
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ai.normal((3, 3), stddev=0.02), ["normal takes `std`, not `stddev`", "mean, std", "seed"]),
        (lambda: ai.normal((3, 3), sedd=0), ["`sedd`", "`seed`?"]),
        (lambda: ai.ones((3, 3), xyz=0), ["ones has no parameter `xyz`: it takes the keywords"]),
        (lambda: ai.Rules({"*": ai.xavier_uniform}), ["`initializer`", "write arrayinit.spec('xavier_uniform')"]),
        (lambda: ai.Rule("*", ai.xavier_uniform), ["`initializer`", "write arrayinit.spec('xavier_uniform')"]),
        (lambda: ai.Rules({"*": torch.nn.init.zeros_}), ["`initializer`", "write arrayinit.spec('zeros')"]),
        (lambda: ai.Rules({"*": 0.0}), ["`initializer`", "write arrayinit.spec('constant', val=0.0)"]),
        (lambda: ai.spec(ai.normal), ["`name` must be an initializer; got", "write arrayinit.spec('normal')"]),
        (lambda: ai.spec("xavier_unifrom"), ["initializer; got 'xavier_unifrom', did you mean 'xavier_uniform'?"]),
        (lambda: ai.spec("qqq"), ["`name` must be an initializer; got 'qqq'", "chrono, ", "import its module first"]),
        (lambda: ai.spec("normal", sdt=1), ["has no parameter 'sdt', did you mean 'std'? a spec of it takes"]),
        (lambda: ai.packed((4, 3), "eye", 2), ["made by arrayinit.spec; got 'eye': write arrayinit.spec('eye')"]),
        (lambda: ai.calculate_gain("rleu"), ["`nonlinearity` must be one of", "got 'rleu', did you mean 'relu'?"]),
        (lambda: ai.normal(3, xp="pytorch"), ["array API namespace; got 'pytorch', did you mean 'torch'?"]),
        (lambda: ai.normal(shape=(3, 4), seed=0), ["as its first argument, not as `shape`: write normal((3, 4), ...)"]),
        (lambda: ai.Rule("*", "ones", kind=torch.nn.LayerNorm), ["`kind` must be the name", "write 'LayerNorm'"]),
        (
            lambda: ai.Rule("*", "ones", kinds="Linear"),
            ["Rule has no parameter 'kinds', did you mean 'kind'? it takes"],
        ),
        (lambda: init_module_(MODULE, {}, seed=0, dryrun=True), ["init_module_ has no", "did you mean 'dry_run'?"]),
        (lambda: ai.recipes.gpt2(n_layers=12), ["gpt2 has no parameter 'n_layers', did you mean 'layers'?"]),
        (lambda: ai.init_params_({}, {}, sed=0), ["init_params_ has no parameter 'sed', did you mean 'seed'?"]),
        (lambda: arrayinit.jax.init_tree({}, {}, sed=0), ["init_tree has no parameter 'sed', did you mean 'seed'?"]),
        (lambda: ai.report({}, rule={}), ["report has no parameter 'rule', did you mean 'rules'?"]),
        (lambda: ai.report(MODULE, seed=0), ["`seed` needs rules"]),
        (lambda: ai.kaiming_normal((3, 4), nonlinearity=torch.nn.ReLU), ["not a class; got", "write ReLU()"]),
        (lambda: ai.normal_(MODULE), ["give its .weight", "arrayinit.torch.init_module_"]),
        (lambda: ai.normal(MODULE), ["give its .weight"]),
        (lambda: arrayinit.torch.normal_(MODULE), ["give its .weight"]),
        (lambda: ai.init_params_(MODULE, {}, seed=0), ["`params` must", "arrayinit.torch.init_module_"]),
        (lambda: init_module_(MODULE, "kaiming_normal", seed=0), ['write {"*.weight": "kaiming_normal"}']),
        (lambda: ai.Rules({"*": "normal(0, 0.02)"}), ["write arrayinit.spec('normal', mean=0, std=0.02)"]),
        (lambda: ai.spec("normal", std="0.02"), ["`std` must be a number; got '0.02'"]),
        (lambda: ai.normal_(np.ones(3), dtype="float16"), ["`dtype` must not be given", "its own; got 'float16'"]),
        (lambda: init_module_({"w": 3}, {}, seed=0), ["must be a torch.nn.Module; got dict", "init_params_"]),
        (
            lambda: arrayinit.jax.xavier_uniform(jax.random.key(0), (3, 4)),
            ["`in_axis`", "arrayinit.jax.xavier_uniform()"],
        ),
        (
            lambda: arrayinit.jax.he_normal(jax.random.PRNGKey(0), (3, 4), "float32"),
            ["`in_axis`", "arrayinit.jax.xavier_uniform()"],
        ),
    ],
)
def test_slips_are_told_what_to_write(call, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("module", "name", "meant"),
    [
        ("torch", "kaming_normal_", "kaiming_normal_"),
        ("jax", "he_norml", "he_normal"),
        (None, "set_seed", "manual_seed"),
    ],
)
def test_misspelt_attributes(module, name, meant):
    with pytest.raises(AttributeError, match=f"no attribute '{name}', did you mean '{meant}'"):
        getattr(getattr(ai, module) if module else ai, name)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (".*ight", "write \"*ight\" or re.compile('.*ight'), a regular expression"),
        ("weight", '"weight" is a glob for the whole path: write "*weight"'),
        ("^l.w", "write re.compile('^l.w'), a regular expression"),
        ("wieght", ""),
    ],
)
def test_globs_that_match_nothing(pattern, said):
    with pytest.warns(UserWarning, match="apply to no parameter") as caught:
        init_module_(torch.nn.ModuleDict({"l": MODULE}), {pattern: "ones", "*": "zeros"}, seed=0)
    assert str(caught[0].message).endswith(said or f": {pattern}")


def test_a_rule_takes_the_name_of_an_initializer():
    assert ai.Rule("*", "ones").initializer == ai.spec("ones")
    assert ai.Rule("*", {"name": "normal", "std": 0.5}).initializer == ai.spec("normal", std=0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ai.constant(3, vall=3), ["constant has no parameter `vall`, did you mean `val`?"]),
        (lambda: ai.constant_(np.ones(3), vall=3), ["did you mean `val`?"]),
        (lambda: ai.constant(3), ["constant must be given `val`; got only `x`"]),
        (lambda: ai.normal(), ["normal must be given `x`; got nothing"]),
        (lambda: ai.normal(3, sed=0), ["normal has no parameter `sed`, did you mean `seed`?"]),
        (lambda: ai.normal(3, stddev=1), ["normal takes `std`, not `stddev`"]),
        (lambda: ai.normal(3, scale=1), ["normal takes `std`, not `scale`"]),
        (lambda: ai.uniform(3, low=0), ["uniform takes `a`, not `low`"]),
        (lambda: ai.uniform(3, high=0), ["uniform takes `b`, not `high`"]),
        (lambda: ai.truncated_normal(3, a=0), ["truncated_normal takes `lower`, not `a`"]),
        (lambda: ai.constant(3, value=0), ["constant takes `val`, not `value`"]),
        (lambda: ai.normal(size=3), ["takes the shape of a new array as its first argument"]),
        (lambda: ai.normal(3, size=3), ["takes the shape of a new array as its first argument"]),
        (lambda: ai.spec("normal", stddev=1), ["normal takes 'std', not 'stddev'"]),
        (lambda: ai.spec("normal", seed=1), ["give that to the call of the spec"]),
        (lambda: ai.Rule("*", "nromal"), ["`initializer` must name an initializer; got 'nromal', did you"]),
        (lambda: ai.zeros(3, 4), ["zeros takes 1 positional argument, `x`; got 2: for", "write zeros((3, 4))"]),
        (lambda: ai.normal(0, 1, (3, 4)), ["`x`, the first argument, must be", "write normal((3, 4), 0, 1)"]),
        (lambda: ai.uniform(-1.0, 1.0, (3, 4)), ["write uniform((3, 4), -1.0, 1.0)"]),
        (lambda: ai.normal(3, name=1.5), ["`name` must be a string, an integer or a tuple of them; got 1.5"]),
        (lambda: ai.normal((3, 4), layout="OI"), ["`layout`", "got 'OI', did you mean 'oi'?"]),
        (lambda: ai.normal((3, 4), layout=("o", "i")), ["`layout`", "write 'oi'"]),
        (lambda: ai.normal((3, 4, 1, 1), layout="nchw"), ["`layout`", "the axes of a weight"]),
        (lambda: ai.kaiming_normal((3, 4), nonlinearity="ReLU"), ["got 'ReLU', did you mean 'relu'?"]),
        (lambda: ai.kaiming_normal((3, 4), nonlinearity="lrelu"), ["did you mean 'leaky_relu'?"]),
        (lambda: ai.kaiming_normal((3, 4), mode="fan-in"), ["did you mean 'fan_in'?"]),
        (lambda: ai.normal(3, xp="np"), ["`xp`", "did you mean 'numpy'?"]),
        (lambda: ai.normal(3, xp="torch", device="gpu"), ["`device`", "did you mean 'cuda'?"]),
        (lambda: ai.normal(3, device="cuda"), ["`device`", "xp='torch', 'jax' and 'cupy' have GPUs"]),
        (lambda: ai.normal(3, xp="torch", dtype="float"), ["`dtype`", "got 'float', write 'float32'"]),
        (lambda: ai.init_params_({"w": np.ones(3)}, ai.recipes.gpt2, seed=0), ["call it: arrayinit.recipes.gpt2("]),
        (lambda: ai.init_params_({"w": np.ones(3)}, "gpt2", seed=0), ["write arrayinit.recipes.gpt2(layers=...)"]),
        (lambda: ai.init_params_({"w": np.ones(3)}, "gtp2", seed=0), ["did you mean 'gpt2'?"]),
        (
            lambda: init_module_(torch.nn.Sequential(torch.nn.Linear(3, 2)), {"*": "zeros"}, seed=0, only="0"),
            ["`only` must select parameters", "write '0.*' for all parameters below it"],
        ),
        (
            lambda: init_module_(torch.nn.Linear(3, 2), {"*": "ones"}, seed=0, only={"weight": slice(1, 9)}),
            ["`only` must select rows that exist; got slice(1, 9, None) for weight of 2 rows"],
        ),
    ],
)  # fmt: skip
def test_slips_of_all_kinds_name_the_nearest_right_thing(call, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("bf16", "bfloat16"),
        ("fp16", "float16"),
        ("f32", "float32"),
        ("fp64", "float64"),
        ("torch.bfloat16", "bfloat16"),
    ],
)
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_other_names_of_dtypes_are_told_the_right_one(library, given, meant):
    with pytest.raises(TypeError, match=rf"`dtype` must be one that .*; got '{given}', did you mean '{meant}'\?"):
        ai.normal(3, seed=0, dtype=given, xp=library)


@pytest.mark.parametrize("name", ["normal", "uniform", "trunc_normal", "truncated_normal", "small_normal"])
@pytest.mark.parametrize("size", [1, np.int64(1)])
def test_sizes_by_position_are_told_the_shape_they_mean(name, size):
    draw = getattr(ai, name)
    with pytest.warns(UserWarning, match=rf"shape \(3,\) with `\w+` .* shape \(3, 1\) write {name}\(\(3, 1\)\)"):
        draw(3, size, **({"b": 2.0} if name == "uniform" else {}), seed=0)


def test_numbers_that_are_no_sizes_are_silent():
    x = np.zeros((3, 4), "float32")
    for call in (
        lambda: ai.normal(3, mean=4, seed=0),
        lambda: ai.normal(3, 4.0, seed=0),
        lambda: ai.normal(3, 0, 1, seed=0),
        lambda: ai.uniform(3, -1, 1, seed=0),
        lambda: ai.normal(x, 0.0, 0.02, seed=0),
        lambda: ai.normal((3, 4), 1, 2, seed=0),
        lambda: ai.normal_(x, 1, 2, seed=0),
        lambda: ai.constant(3, 4),
        lambda: ai.linspace(8, 1, 9),
    ):
        call()  # warnings are errors


@pytest.mark.parametrize("shape", [np.array([4, 6]), torch.Size([4, 6]), [4, 6], (np.int64(4), 6), range(4, 8, 2)])
def test_shapes_of_all_kinds_of_integers(shape):
    x, part = np.zeros((4, 6), "float32"), np.zeros((2, 6), "float32")
    whole = ai.normal((4, 6), seed=0)
    assert (ai.normal(x, shape=shape, seed=0) == whole).all()
    assert (ai.normal_(part, shape=shape, index=np.s_[:2], seed=0) == whole[:2]).all()
    assert ai.calculate_fans(shape) == (6, 4)
    assert ai.describe("normal", shape).shape == (4, 6)
    if not isinstance(shape, np.ndarray):  # which is an array to be filled, also where it holds integers
        assert (ai.normal(shape, seed=0) == whole).all()


def test_an_array_of_integers_is_an_array():
    with pytest.raises(TypeError, match="`dtype`, or that of `x`"):
        ai.normal(np.array([3, 4]), seed=0)
    assert ai.zeros(np.array([3, 4])).shape == (2,)
