"""Reports: numbers beside independent computations; findings in models with and without the mistakes."""

import html.parser
import importlib.util
import io
import itertools
import math
import os
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.reports import statistics
from arrayinit.reports.statistics import measure, values_of

RULES = {"*.bias": "zeros", "*": ai.spec("xavier_normal")}


def kinds(report, path=None):
    return [finding.kind for finding in report.findings if path is None or finding.path == path]


def normal(*shape, std=None, **keywords):
    return ai.normal(shape, std=1 / math.sqrt(shape[-1]) if std is None else std, seed=5, **keywords)


# Numbers


def torch_model():
    nn = pytest.importorskip("torch.nn")
    from arrayinit.torch import init_module_

    model = nn.Sequential(nn.Embedding(50, 8), nn.Conv2d(8, 12, (3, 5), groups=4), nn.Linear(12, 6), nn.BatchNorm1d(6))
    rules = {"3.weight": "ones", "*.bias": "zeros", "*.weight": ai.spec("kaiming_uniform", nonlinearity="relu")}
    return init_module_(model, rules, seed=3), rules


def test_numbers_of_a_torch_module():
    model, rules = torch_model()
    report = ai.report(model, rules)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    assert [row.path for row in report] == list(tensors)
    for row in report:
        x = tensors[row.path].detach().double().numpy()
        assert row.shape == x.shape
        assert row.size == x.size
        assert row.bytes == tensors[row.path].nbytes
        assert row.mean == pytest.approx(x.mean(), abs=1e-12)
        assert row.std == pytest.approx(x.std(), abs=1e-12)
        assert (row.low, row.high) == (x.min(), x.max())
    assert (report["1.weight"].fan_in, report["1.weight"].fan_out) == (2 * 15, 12 // 4 * 15)
    assert report["1.weight"].expected_std == pytest.approx(math.sqrt(2 / 30))
    assert report["1.weight"].rule == "*.weight"
    assert report["1.weight"].initializer == "kaiming_uniform, nonlinearity='relu'"
    assert (report["2.bias"].fan_in, report["2.bias"].expected_std) == (None, 0)
    assert (report["3.running_mean"].rule, report["3.num_batches_tracked"].dtype) == (None, "int64")
    assert report.size == sum(x.numel() for x in tensors.values())
    assert report.bytes == sum(x.nbytes for x in tensors.values())
    assert report.findings == ()


def test_fans_without_rules_are_those_of_the_layer():
    model, rules = torch_model()
    bare, ruled = ai.report(model), ai.report(model, rules)
    for one, other in zip(bare, ruled, strict=True):
        if len(one.shape) != 1:
            assert (one.fan_in, one.fan_out) == (other.fan_in, other.fan_out)
        assert one.rule is one.initializer is one.expected_std is one.expected_mean is None
    assert bare.findings == ()


def test_tied_weights_are_one_row():
    nn = pytest.importorskip("torch.nn")
    model = nn.ModuleDict({"wte": nn.Embedding(20, 8), "head": nn.Linear(8, 20, bias=False)})
    model["head"].weight = model["wte"].weight
    report = ai.report(model)
    assert [row.path for row in report] == ["wte.weight"]
    assert report["head.weight"] is report["wte.weight"]
    assert report.size == 160
    assert "wte.weight = head.weight" in str(report)


def test_meta_tensors_have_expected_numbers_only():
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        model = torch.nn.Linear(300, 200)
    report = ai.report(model, {"bias": "zeros", "weight": ai.spec("normal", std=2.0)})
    assert report["weight"].mean is report["weight"].std is report["weight"].low is None
    assert report["weight"].expected_std == 2.0
    assert kinds(report) == ["exploding"]  # from the numbers of its rule
    assert model.weight.is_meta


def test_values_are_left_alone_where_they_are_not_wanted():
    report = ai.report({"w": np.full((4, 4), np.nan, np.float32)}, {"w": "xavier_normal"}, values=False)
    assert report["w"].std is None
    assert report.findings == ()


def flax_params():
    jax = pytest.importorskip("jax")
    linen = pytest.importorskip("flax.linen")

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.Conv(16, (3, 3))(x)
            x = linen.MultiHeadDotProductAttention(4, name="attention")(x.reshape(x.shape[0], -1, 16))
            return linen.Dense(5)(x)

    return jax.eval_shape(Model().init, jax.random.key(0), np.zeros((1, 4, 4, 2), np.float32))["params"]


def test_numbers_of_flax_params():
    from arrayinit.jax import init_tree

    shapes = flax_params()
    assert all(row.std is None for row in ai.report(shapes, RULES))
    params = init_tree(shapes, RULES, seed=1)
    report = ai.report(params, RULES)
    kernel = np.asarray(params["Conv_0"]["kernel"], np.float64)
    assert report["Conv_0.kernel"].std == pytest.approx(kernel.std(), rel=1e-12)
    assert (report["Conv_0.kernel"].fan_in, report["Conv_0.kernel"].fan_out) == (18, 144)
    heads = report["attention.query.kernel"]
    assert (heads.shape, heads.fan_in, heads.fan_out) == ((16, 4, 4), 16, 16)
    assert heads.expected_std == pytest.approx(math.sqrt(2 / 32))
    assert report["Dense_0.kernel"].initializer == "xavier_normal"
    assert report.findings == ()  # biases of heads, (4, 4), are not dead weights
    assert ai.report(params).findings == ()


def test_numbers_of_equinox_and_nnx():
    jax = pytest.importorskip("jax")
    eqx = pytest.importorskip("equinox")
    nnx = pytest.importorskip("flax.nnx")
    model = eqx.nn.MLP(6, 3, 32, 2, key=jax.random.key(0))
    report = ai.report(model)
    for k, layer in enumerate(model.layers):
        row = report[f"layers.{k}.weight"]
        assert (row.fan_out, row.fan_in) == layer.weight.shape
        assert row.std == pytest.approx(np.asarray(layer.weight, np.float64).std(), rel=1e-12)
    linear = nnx.Linear(6, 32, rngs=nnx.Rngs(0))
    row = ai.report(linear)["kernel"]
    assert (row.fan_in, row.fan_out) == (6, 32)
    assert row.std == pytest.approx(np.asarray(linear.kernel[...], np.float64).std(), rel=1e-12)
    assert report.findings == ()


def trees_of_jax():
    """Pytrees with one matrix each, beside keys, counters and other leaves that are not arrays."""
    jax, nnx = pytest.importorskip("jax"), pytest.importorskip("flax.nnx")
    eqx, optax = pytest.importorskip("equinox"), pytest.importorskip("optax")
    key, w = jax.random.key(0), ai.normal((6, 8), seed=0, xp="jax")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(6, 8, use_bias=False, rngs=rngs)
            self.drop, self.rngs = nnx.Dropout(0.5, rngs=rngs), rngs

    class Cell(eqx.Module):
        weight: object
        key: object
        drop: object
        activation: object

    net, deleted = Net(nnx.Rngs(0)), jax.numpy.ones((2, 2)) + 1
    deleted.delete()
    yield "nnx module", net
    yield "nnx state", nnx.state(net)
    yield "abstract nnx module", nnx.eval_shape(lambda: Net(nnx.Rngs(0)))
    yield "graph and state", nnx.split(net)
    yield "Equinox", (Cell(w, key, eqx.nn.Dropout(0.5), jax.numpy.tanh), key)
    yield "optax", optax.chain(optax.add_noise(0.1, 0.1, 0), optax.trace(0.9)).init({"w": w})
    yield "mapping", {"w": w, "keys": jax.random.split(key, 3), "raw": jax.random.PRNGKey(0), "f": len, "n": None}
    yield "key alone", {"rngs": {"params": key}}
    yield "shape of a key", {"w": w, "key": jax.eval_shape(lambda: key)}
    yield "other arrays", {"w": w, "text": np.array(["a"]), "objects": np.array([None]), "gone": deleted}
    if hasattr(jax, "new_ref"):
        yield "mutable", {"w": jax.new_ref(w), "key": key}


def test_trees_with_keys_and_other_leaves_that_are_no_arrays():
    for kind, tree in trees_of_jax():
        for rules in (None, {"*": ai.spec("normal", std=0.5)}):
            report = ai.report(tree, rules)
            assert str(report)
            assert report.to_html()
            matrices = [row for row in report if len(row.shape) == 2 and row.path != "gone"]
            assert [row.shape for row in matrices] == ([] if kind == "key alone" else [(6, 8)]), kind
            assert not any("key" in row.dtype for row in report)
            assert all((row.std is None) == (kind == "abstract nnx module") for row in matrices), kind


def test_mappings_of_several_libraries_are_reported_as_they_are():
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    report = ai.report({"a": jax.numpy.ones((2, 3)), "b": torch.ones(2, 3), "c": np.ones((2, 3))})
    assert [row.path for row in report] == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "complex64", "complex128"])
@pytest.mark.parametrize("xp", ["numpy", "torch", "jax", "dask"])
def test_numbers_in_every_dtype_and_library(xp, dtype):
    if xp != "numpy":
        pytest.importorskip("dask.array" if xp == "dask" else xp)
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    if xp == "jax" and dtype in ("float64", "complex128"):
        pytest.skip("JAX has 32 bits unless it is told otherwise")
    chunks = {"chunks": (40, 33)} if xp == "dask" else {}
    x = ai.normal((64, 100), mean=0.25, std=0.1, seed=2, dtype=dtype, xp=xp, **chunks)
    wide = ai.normal((64, 100), mean=0.25, std=0.1, seed=2, dtype=dtype)
    wide = wide.astype(np.complex128 if "complex" in dtype else np.float64)
    row = ai.report({"w": x}, {"w": ai.spec("normal", mean=0.25, std=0.1)})["w"]
    assert row.mean == pytest.approx(wide.mean(), rel=1e-12)
    assert isinstance(row.mean, complex if "complex" in dtype else float)
    assert row.std == pytest.approx(math.sqrt((abs(wide - wide.mean()) ** 2).mean()), rel=1e-12)
    assert row.expected_std == pytest.approx(0.1)
    assert row.bytes == 6400 * int("".join(filter(str.isdigit, dtype))) // 8
    assert row.findings == ()


def test_arrays_of_the_standard():
    xp = pytest.importorskip("array_api_strict")
    x = ai.normal((8, 30), seed=0, xp=xp)
    assert ai.report({"w": x})["w"].std == pytest.approx(np.asarray(x).std(), rel=1e-6)
    assert ai.report({"w": x}).bytes == 960


def test_mappings_are_nested_and_say_what_is_tied():
    w = normal(4, 6)
    report = ai.report({"a": [{"w": w, "b": np.zeros(4, np.float32)}], 7: w})
    assert [(row.path, row.tied) for row in report] == [("a.0.w", ("7",)), ("a.0.b", ())]
    assert report[0] is report["7"]
    assert report[:1] == (report["a.0.w"],)
    with pytest.raises(KeyError, match="nothing"):
        report["nothing"]


def test_a_model_of_keras():
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    code = """
        import keras, arrayinit as ai, numpy as np
        from arrayinit.models.keras import init_model_
        from keras import layers
        model = [layers.Input((8, 8, 6)), layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(5)]
        model = keras.Sequential(model)
        rules = {"*bias": "zeros", "*kernel": "xavier_normal"}
        init_model_(model, rules, seed=0)
        report = ai.report(model, rules)
        assert not report.findings, report
        row = report["dense.kernel"]
        assert (row.fan_in, row.fan_out) == (216, 5)
        assert abs(row.std - np.asarray(model.layers[-1].kernel).std()) < 1e-6
        assert report["depthwise_conv2d.kernel"].fan_in == 9
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    for backend in ("jax", "torch"):
        pytest.importorskip(backend)
        environment = os.environ | {"KERAS_BACKEND": backend}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
        )
        assert done.returncode == 0, done.stderr


def test_a_dtensor_is_measured_where_it_is(tmp_path):
    """Two processes: each measures its own rows, without communication."""
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available():
        pytest.skip("torch has no distributed")
    code = """
        import sys, torch, arrayinit as ai
        from torch import nn
        from torch.distributed.tensor import DTensor, Shard, init_device_mesh
        rank = int(sys.argv[1])
        store = torch.distributed.FileStore(sys.argv[2], 2)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
        mesh = init_device_mesh("cpu", (2,))
        whole = ai.normal((6, 40), std=0.1, seed=0, xp="torch")
        whole[3:] += 5
        model = nn.Linear(40, 6, bias=False)
        model.weight = nn.Parameter(DTensor.from_local(whole[3 * rank : 3 * rank + 3], mesh, [Shard(0)]))
        if rank == 0:  # the other one does nothing meanwhile
            row = ai.report(model, {"*": ai.spec("normal", std=0.1)})["weight"]
            assert row.shape == (6, 40) and row.fan_in == 40, row
            assert abs(row.mean - whole[:3].double().mean().item()) < 1e-9, row
            assert row.findings == (), row
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    command = [sys.executable, "-W", "ignore", "-c", code]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_shards_of_jax_are_measured_together():
    pytest.importorskip("jax")
    code = """
        import jax, numpy as np, arrayinit as ai
        from jax.sharding import NamedSharding, PartitionSpec
        mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
        x = ai.normal((8, 64), seed=0, xp="jax", device=NamedSharding(mesh, PartitionSpec("x", None)))
        row = ai.report({"w": x})["w"]
        assert abs(row.std - np.asarray(x, np.float64).std()) < 1e-12
        assert len(x.addressable_shards) == 4
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_report_takes_no_seed_and_changes_nothing():
    w = normal(8, 8)
    before = w.copy()
    ai.manual_seed(3)
    expected = ai.normal(4)
    ai.manual_seed(3)
    ai.report({"w": w}, {"w": "xavier_normal"})
    assert (ai.normal(4) == expected).all()
    assert (w == before).all()


# Memory


def test_pieces_cover_an_array_and_are_bounded(monkeypatch):
    monkeypatch.setattr(statistics, "CHUNK", 50)
    for shape in [(), (7,), (123,), (9, 11), (3, 60, 5), (2, 2, 2, 101)]:
        x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
        seen = np.full(shape, -1.0)
        for place, piece in values_of(x, "float32"):
            assert piece.size <= 50
            assert len(place) == len(shape) == piece.ndim
            seen[tuple(slice(k, k + n) for k, n in zip(place, piece.shape, strict=True))] = piece
        assert (seen == x).all()


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000, 1 << 20])
def test_moments_do_not_depend_on_the_pieces(monkeypatch, chunk):
    x = normal(9, 11, 3, std=2.0) + np.float32(100)
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    found = measure(x, "float32", "ois")
    assert found.mean == pytest.approx(x.mean(dtype=np.float64), rel=1e-13)
    assert found.std == pytest.approx(x.astype(np.float64).std(), rel=1e-12)
    assert found.alike == frozenset()
    alike = np.broadcast_to(x[:1], x.shape)
    assert measure(alike, "float32", "ois").alike == {"o"}
    assert measure(np.broadcast_to(x[:, :1], x.shape), "float32", "ois").alike == {"i"}
    changed = alike.copy()
    changed[-1, -1, -1] += 1
    assert measure(changed, "float32", "ois").alike == frozenset()


def test_likeness_across_the_blocks_of_dask():
    da = pytest.importorskip("dask.array")
    row = normal(1, 40)
    alike = np.repeat(row, 30, axis=0)
    assert measure(da.from_array(alike, chunks=(7, 9)), "float32", "oi").alike == {"o"}
    alike[20:] += 1  # equal within a block, different between blocks
    assert measure(da.from_array(alike, chunks=(10, 40)), "float32", "oi").alike == frozenset()


def test_memory_is_bounded(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "w.npy", "w+", np.float16, (1 << 12, 1 << 12))  # 32 MiB, as float64 128
    ai.normal_(x, std=0.02, seed=0)
    measure(x[:2], "float16", "oi")
    tracemalloc.start()
    try:
        report = ai.report({"w": x})
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()
    assert report["w"].std == pytest.approx(0.02, rel=1e-3)


# Findings


def test_dead():
    zero = np.zeros((8, 16), np.float32)
    assert kinds(ai.report({"w": zero})) == ["dead"]
    assert kinds(ai.report({"w": zero}, {"w": "xavier_normal"})) == ["dead"]
    assert kinds(ai.report({"w": zero}, {"w": "zeros"})) == []
    assert kinds(ai.report({"bias": zero, "b": zero})) == []
    assert kinds(ai.report({"cls": np.zeros((1, 1, 16), np.float32), "v": zero[0]})) == []
    assert kinds(ai.report({"v": zero[0]}, {"v": ai.spec("normal")})) == ["dead"]  # if a rule draws it
    assert kinds(ai.report({"w": normal(8, 16)})) == []


def test_symmetric():
    w = normal(8, 16)
    assert kinds(ai.report({"w": np.repeat(w[:1], 8, axis=0)})) == ["symmetric"]
    assert "output" in ai.report({"w": np.repeat(w[:1], 8, axis=0)}).findings[0].text
    assert "input" in ai.report({"w": np.repeat(w[:, :1], 16, axis=1)}).findings[0].text
    assert kinds(ai.report({"w": np.full((8, 16), 0.1, np.float32)}, {"w": ai.spec("constant", val=0.1)})) == [
        "symmetric"
    ]
    assert kinds(ai.report({"w": np.repeat(w[:1], 1, axis=0)})) == []  # a single output has no copies
    assert kinds(ai.report({"w": np.eye(8, dtype=np.float32)})) == []
    # A constant that no matrix is called, such as r_k of RWKV-7, multiplies element by element.
    r_k = np.full((12, 64), -0.04, np.float32)
    assert kinds(ai.report({"att.r_k": r_k})) == []
    assert kinds(ai.report({"att.r_k": r_k}, {"*r_k": ai.spec("constant", val=-0.04)})) == []
    assert kinds(ai.report({"att.r_k.weight": r_k})) == ["symmetric"]
    # Rules for matrices that are not random are intended.
    columns = ai.spec("packed", initializer=(ai.spec("zeros"), ai.spec("ones")), blocks=2, layout="io")
    x = columns((4, 2))
    assert kinds(ai.report({"w": x})) == ["symmetric"]
    assert kinds(ai.report({"w": x}, {"w": columns})) == []
    # The layout gives the roles of axes.
    rules = {"w": ai.spec("xavier_normal", layout="io")}
    found = ai.report({"w": np.repeat(ai.xavier_normal((1, 16), seed=0), 8, axis=0) / 3}, rules).findings
    assert "every input" in found[0].text


@pytest.mark.parametrize(
    "layer", ["norm", "input_layernorm", "LayerNorm_0", "layer_norm_1", "norm2", "q_norm", "ln_1", "ln_f", "bn1"]
)
@pytest.mark.parametrize("name", ["weight", "scale", "gamma", "g"])
def test_stacked_gains_are_gains(layer, name):
    def found(x, rules=None):
        return kinds(ai.report({"layers": {layer: {name: x}}}, rules))

    ones = np.ones((4, 256), np.float32)
    assert found(ones) == found(ones * 0) == found(ones[None]) == []  # 0 is a norm's that adds 1
    assert found(ones, {"*": "ones"}) == []
    assert found(normal(4, 256)) == found(ones, {"*": "xavier_normal"})[:1] == ["random gain"]


@pytest.mark.parametrize("layer", ["q", "linear", "normalizer", "norm_proj", "column"])
def test_matrices_of_ones_are_symmetric(layer):
    assert "symmetric" in kinds(ai.report({"layers": {layer: {"weight": np.ones((4, 8), np.float32)}}}))


def test_exploding_and_vanishing():
    assert kinds(ai.report({"w": normal(64, 256, std=1.0)})) == ["exploding"]
    assert kinds(ai.report({"w": normal(64, 81, std=1.0)})) == []
    assert kinds(ai.report({"w": normal(64, 256, std=1e-4)})) == ["vanishing"]
    assert kinds(ai.report({"w": normal(64, 256, std=1e-3)})) == []
    assert kinds(ai.report({"embed": normal(64, 256, std=1.0)})) == []
    assert kinds(ai.report({"embed": normal(64, 256, std=20.0)})) == ["exploding"]
    assert kinds(ai.report({"scale": normal(256, std=20.0)})) == []
    # A mean far from 0 adds up, too.
    assert kinds(ai.report({"w": np.float32(1) + normal(64, 256, std=0.01)})) == ["exploding"]


def test_gains_that_are_drawn_at_random():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)  # of eight elements, whose mean may by chance be as large as their std
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.LayerNorm((2, 4)), nn.PReLU(8))
    rules = {"*.bias": "zeros", "*": ai.spec("normal", std=0.02)}
    report = ai.report(model, rules, values=False)
    assert [finding.path for finding in report.findings if finding.kind == "random gain"] == ["1.weight", "2.weight"]
    assert report["1.weight"].findings[0].text == (
        "the gain of a norm starts with 1; its rule draws it with a std of 0.02"
    )
    assert "random gain" not in kinds(ai.report(model))
    nn.init.normal_(model[1].weight, std=0.02)
    assert kinds(ai.report(model)) == ["random gain"]
    nn.init.normal_(model[1].weight, mean=0.6, std=0.2)  # trained
    assert kinds(ai.report(model)) == []
    tree = {"ln": {"scale": normal(6, std=0.1), "bias": np.zeros(6)}, "fc": {"w": normal(6, 6), "scale": normal(6)}}
    assert kinds(ai.report(tree)) == ["random gain"]
    assert kinds(ai.report(tree), "ln.scale") == ["random gain"]
    assert kinds(ai.report(tree, {"ln.scale": "ones", "*": "normal"}, values=False), "ln.scale") == []


def test_weights_of_1_in_norms_that_add_1():
    torch = pytest.importorskip("torch")

    class GemmaRMSNorm(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(8))

    model = torch.nn.Sequential(GemmaRMSNorm(), torch.nn.RMSNorm(8))
    assert kinds(ai.report(model)) == []
    assert kinds(ai.report(model, {"*": "ones"}, values=False)) == ["doubled"]
    assert kinds(ai.report(model, {"*": "zeros"}, values=False)) == []
    torch.nn.init.ones_(model[0].weight)
    report = ai.report(model)
    assert [(finding.path, finding.kind) for finding in report.findings] == [("0.weight", "doubled")]
    assert "multiplies by 1 + weight" in report.findings[0].text
    torch.nn.init.normal_(
        model[0].weight, std=0.02
    )  # about 0, where it starts: nobody draws it like that, but it works
    assert kinds(ai.report(model)) == []
    assert kinds(ai.report(model, {"0.*": ai.spec("normal", std=0.02), "*": "ones"}, values=False)) == ["random gain"]


def test_what_is_common_is_no_finding():
    """Scales from the literature, at the widths of their models."""
    scales = {
        "ppo.head": ((6, 64), ai.spec("orthogonal", gain=0.01)),
        "gpt2_xl.c_proj": ((1600, 1600), ai.spec("normal", std=0.02 / math.sqrt(96))),
        "gpt2.c_proj": ((768, 3072), ai.spec("normal", std=0.02 / math.sqrt(24))),
        "siren.hidden": ((256, 256), ai.spec("uniform", a=-math.sqrt(6 / 256) / 30, b=math.sqrt(6 / 256) / 30)),
        "torch.linear": ((64, 512), ai.spec("kaiming_uniform", a=math.sqrt(5))),
        "resnet.conv": ((64, 256, 1, 1), ai.spec("kaiming_normal", mode="fan_out", nonlinearity="relu")),
        "dcgan.conv": ((64, 512, 4, 4), ai.spec("normal", std=0.02)),
        "t5.wi": ((256, 512), ai.spec("normal", std=512**-0.5)),
    }
    model = {name: initializer(shape, seed=1, name=name) for name, (shape, initializer) in scales.items()}
    assert ai.report(model).findings == ()
    assert ai.report(model, {name: initializer for name, (_, initializer) in scales.items()}).findings == ()


def test_deviates():
    rules = {"w": ai.spec("normal", std=0.1)}
    assert kinds(ai.report({"w": normal(50, 200, std=0.1)}, rules)) == []
    assert kinds(ai.report({"w": normal(50, 200, std=0.11)}, rules)) == ["deviates"]
    assert kinds(ai.report({"w": normal(50, 200, std=0.1) + np.float32(0.02)}, rules)) == ["deviates"]
    assert kinds(ai.report({"w": normal(2, 4, std=0.11)}, rules)) == []  # eight elements are too few to judge
    found = ai.report({"w": normal(50, 200, std=0.0577)}, {"w": ai.spec("uniform", a=-0.1, b=0.1)}).findings
    assert [finding.kind for finding in found] == ["deviates"]
    assert "outside of [-0.1, 0.1]" in found[0].text
    found = ai.report({"b": np.float32([0, 0.5, 0])}, {"b": "zeros"}).findings
    assert "there is 0.5" in found[0].text
    assert kinds(ai.report({"b": np.float32([0.1, 0.1])}, {"b": ai.spec("constant", val=0.1)})) == []  # 0.1 as float32


def test_not_finite():
    w = normal(8, 16)
    w[3, 3], w[4, 4] = np.nan, np.inf
    found = ai.report({"w": w}, {"w": "xavier_normal"}).findings
    assert [finding.kind for finding in found] == ["not finite"]
    assert "1 NaN and 1 infinite of 128" in found[0].text
    assert ai.report({"w": w})["w"].std == pytest.approx(np.delete(w.ravel(), [51, 68]).std(), rel=1e-6)
    assert math.isnan(ai.report({"w": np.full((2, 2), np.nan)})["w"].std)


def test_unmatched_undrawable_integer_and_idle():
    model = {"fc": {"weight": normal(4, 8), "bias": np.zeros(4, np.float32)}, "steps": np.zeros(3, np.int64)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = ai.report(model, {"*.bias": "kaiming_normal", "other.*": "zeros", "third": "ones"})
    assert kinds(report, "fc.weight") == ["unmatched"]
    assert kinds(report, "fc.bias") == ["undrawable"]
    assert "at least 2 dimensions" in next(finding.text for finding in report.findings if finding.path == "fc.bias")
    assert kinds(report, "steps") == ["integer", "unmatched"]
    assert kinds(report)[-2:] == ["idle rule", "idle rule"]
    assert report["fc.weight"].rule is None
    assert (report["fc.bias"].rule, report["fc.bias"].initializer) == ("*.bias", None)
    assert ai.report(model, {"fc.bias": "zeros", "fc.weight": None, "steps": "zeros"}).findings == ()


def test_a_rule_that_keeps_and_a_rule_of_a_neighbour():
    nn = pytest.importorskip("torch.nn")
    rule = ai.Rule(
        "bias", ai.spec("variance_scaling", scale=1 / 3, mode="fan_in", distribution="uniform"), like="weight"
    )
    report = ai.report(nn.Linear(75, 8), [rule, ("weight", None)])
    assert report["bias"].expected_std == pytest.approx(1 / 15)
    assert report["bias"].initializer.endswith("fans of weight")
    assert report["weight"].initializer == "kept as it is"
    assert report["weight"].expected_std is None


def test_every_initializer_agrees_with_what_it_promises():
    from arrayinit.conformance.cases import CASES

    seen = set()
    for case in CASES:
        if "index" in case.keywords:  # parts of tensors larger than memory
            continue
        rule = ai.spec(case.spec.name, **case.spec.parameters | case.keywords)
        for dtype in ("float32", "bfloat16", "complex64"):
            try:
                x = rule(case.shape, seed=1, name=case.name, dtype=dtype)
            except (TypeError, ValueError):  # not for this dtype
                continue
            found = ai.report({"bias": x}, {"bias": rule}).findings
            assert not found, (case.name, dtype, found)
            seen.add((case.spec.name, dtype))
    assert len(seen) > 60


# Tables


def wrong():
    """A report with all kinds of findings that change a line, and with names that need escapes."""
    model = {
        "layers": {"a|b": normal(8, 16), "<script>": np.zeros((8, 8), np.float32), "*x*": normal(4, 4)},
        "a.very.long.path.of.a.module.within.modules.within.modules.of.a.model.weight": normal(16, 16, std=9.0),
        "scalar": np.float32([1.0])[0:1].reshape(()),
    }
    return ai.report(model, {"layers.[!*]*": "xavier_normal", "*.weight": ai.spec("normal", std=9.0), "scalar": "ones"})


def test_plain_text_is_aligned():
    text = wrong().to_text(300)
    lines = text.splitlines()
    rule = next(k for k, line in enumerate(lines) if set(line) == {"-"})
    table = lines[rule + 1 : lines.index(lines[rule], rule + 1)]
    assert len(table) == 5
    starts = {line.index(name) for line in [lines[0], *table] for name in ("dtype", "float32") if name in line}
    assert len(starts) == 1
    path = "a.very.long.path.of.a.module.within.modules.within.modules.of.a.model.weight"
    assert any(path in line for line in table)
    cut = wrong().to_text(100).splitlines()[2:7]
    assert any("\N{HORIZONTAL ELLIPSIS}" in line and "of.a.model.weight" in line for line in cut)
    assert "5 arrays, 465 elements, 1.8 KiB; 3 findings" in lines
    assert sum(line.startswith("! ") for line in lines) == 3
    assert repr(wrong()) == str(wrong()) == wrong().to_text(100)  # where no terminal says how wide it is


@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_plain_text_fits(width):
    lines = wrong().to_text(width).splitlines()
    assert all(len(line) <= width for line in lines if not line.startswith("! "))
    assert lines[0].startswith("parameter")
    assert "std" in lines[0]
    assert lines[0].rstrip().endswith("findings")


@pytest.mark.parametrize("width", [80, 200])
def test_rich(width):
    console = pytest.importorskip("rich.console")
    out = io.StringIO()
    console.Console(file=out, width=width, color_system=None).print(wrong())
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    plain = [line.rstrip() for line in wrong().to_text(width).splitlines()]
    assert [line for line in lines if "\N{BOX DRAWINGS LIGHT HORIZONTAL}" not in line][:7] == [
        line for line in plain if set(line) != {"-"}
    ][:7]
    assert ("initializer" in lines[0]) == (width == 200)
    coloured = io.StringIO()
    console.Console(file=coloured, width=width, force_terminal=True, color_system="standard").print(wrong())
    assert "\x1b[33m" in coloured.getvalue()


def test_nothing_needs_rich():
    code = (
        "import sys; sys.modules['rich'] = None\n"
        "import numpy, arrayinit as ai; r = ai.report({'w': numpy.eye(3)})\n"
        "print(r); r.to_markdown(); r.to_html(); r._repr_html_()"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "1 array, 9 elements, 72 B; no findings" in done.stdout


def test_reports_cost_nothing_where_none_is_made():
    code = "import sys, arrayinit; print([name for name in sys.modules if name.startswith('arrayinit.reports.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def cells_of(report):
    table = report._table()
    return [[column.title for column in table.columns], *[list(row) for row in table.cells]]


def test_markdown_reads_back():
    markdown_it = pytest.importorskip("markdown_it")
    report = wrong()
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(report.to_markdown())
    rows, inline = [], []
    for before, token in itertools.pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            text = "".join(child.content for child in token.children)
            assert all(
                child.type in ("text", "text_special", "strong_open", "strong_close") for child in token.children
            )
            (rows[-1] if before.type in ("td_open", "th_open") else inline).append(text)
    assert rows == cells_of(report)
    assert inline[0] == "5 arrays, 465 elements, 1.8 KiB; 3 findings"
    assert inline[1:] == [f"{finding.path}: {finding.kind}: {finding.text}" for finding in report.findings]


class Page(html.parser.HTMLParser):
    """The rows of a page's table and the items of its list."""

    def __init__(self):
        super().__init__()
        self.rows, self.items, self.tags, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "li":
            self.items.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "li" in self.open:
            self.items[-1] += data
        elif "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def test_html_reads_back():
    report = wrong()
    for text in (report.to_html(), report._repr_html_()):
        page = Page()
        page.feed(text)
        page.close()
        assert page.open == []
        early = ["parameter", "shape", "std", "expected std", "findings"]
        assert page.rows[0][: len(early)] == early  # what findings are about is in sight
        titles = cells_of(report)[0]
        order = [page.rows[0].index(title) for title in titles]
        assert [[row[k] for k in order] for row in page.rows[:-1]] == cells_of(report)
        assert page.rows[-1] == ["5 arrays, 465 elements, 1.8 KiB; 3 findings"]
        assert page.items == [f"{finding.path}: {finding.kind}: {finding.text}" for finding in report.findings]
        names = {tag for tag, _ in page.tags}
        assert not names & {"script", "link", "img"}  # nothing is loaded
        assert sum(attributes.get("class") == "bad" for _, attributes in page.tags) == 3
    assert report.to_html().startswith("<!doctype html>")
    assert '<meta charset="utf-8">' in report.to_html()
    assert "<!doctype" not in report._repr_html_()


def test_a_finding_prints_as_a_line():
    finding, *_ = ai.report({"norm": {"weight": normal(64)}}, {"*": ai.spec("normal", std=1.0)}).findings
    assert str(finding) == f"norm.weight: random gain: {finding.text}"


def test_biases_of_two_axes_have_no_fans():
    model = {"query": {"bias": np.zeros((2, 2), np.float32), "kernel": normal(2, 4)}}
    for report in (ai.report(model), ai.report(model, {"*.bias": "zeros", "*": "xavier_normal"})):
        assert (report["query.bias"].fan_in, report["query.bias"].fan_out) == (None, None)
        assert report["query.kernel"].fan_in is not None


def test_columns_of_rules_are_shown_with_rules_only():
    head = cells_of(ai.report({"w": normal(3, 4)}))[0]
    assert head == ["parameter", "shape", "dtype", "fan in", "fan out", "mean", "std", "findings"]
    assert {"rule", "initializer", "expected mean", "expected std"} < set(cells_of(wrong())[0])


def test_an_empty_model_has_an_empty_report():
    report = ai.report({})
    assert len(report) == report.size == 0
    assert "0 arrays, 0 elements, 0 B; no findings" in str(report)


def test_empty_arrays():
    report = ai.report({"w": np.zeros((0, 3), np.float32)}, {"w": "kaiming_normal"})
    assert report["w"].std is None
    assert report.findings == ()


# Bad input


@pytest.mark.parametrize("model", [3, "model", None, [1, 2], np.zeros((2, 2))])
def test_no_model(model):
    with pytest.raises(TypeError, match="`model` must be"):
        ai.report(model)


def test_no_arrays_and_no_rules():
    with pytest.raises(TypeError, match=r"`model` must hold arrays.*'text' at 'a.b'"):
        ai.report({"a": {"b": "text"}})
    with pytest.raises(TypeError, match="`rules` must hold"):
        ai.report({"w": normal(2, 2)}, [3])


def normed(old=False):
    nn = pytest.importorskip("torch.nn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        norm = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
        return nn.Sequential(norm(nn.Linear(30, 20)), nn.utils.parametrizations.spectral_norm(nn.Linear(20, 10)))


@pytest.mark.parametrize("old", [False, True])
def test_weights_that_are_made_of_others_are_shown_themselves(old):
    from arrayinit.torch import init_module_

    model = init_module_(normed(old), RULES, seed=3)
    report = ai.report(model, RULES)
    assert [row.path for row in report] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    weight = model[0].weight.detach().double()
    assert report["0.weight"].std == pytest.approx(float(weight.std(correction=0)), rel=1e-6)
    assert report["0.weight"].bytes == 4 * 600
    assert report.findings == ()  # although spectral_norm divides by about 2
    weight = model.eval()[1].weight.detach().double()
    assert report["1.weight"].std == pytest.approx(float(weight.std(correction=0)), rel=1e-6)
    assert ai.report(model).findings == ()


@pytest.mark.parametrize("old", [False, True])
def test_magnitudes_that_were_drawn_as_weights(old):
    torch = pytest.importorskip("torch")
    model = normed(old)
    magnitude = model[0].weight_g if old else model[0].parametrizations.weight.original0
    with torch.no_grad():
        ai.normal_(magnitude, seed=3)
        if old:
            model[0](torch.ones(1, 30))
    assert kinds(ai.report(model, {**RULES, "*": "kaiming_normal"}), "0.weight") == ["deviates"]


def test_weights_that_a_parametrization_makes_something_else_of():
    nn = pytest.importorskip("torch.nn")
    from arrayinit.torch import init_module_

    model = nn.utils.parametrizations.orthogonal(nn.Linear(20, 10))
    rules = {"bias": "zeros", "weight": ai.spec("normal", std=0.02)}
    init_module_(model, rules, seed=3)
    assert kinds(ai.report(model, rules)) == ["deviates"]
    rules["weight"] = ai.spec("orthogonal")
    assert ai.report(init_module_(model, rules, seed=3), rules).findings == ()


def test_originals_that_have_rules_are_shown_below_their_weight():
    from arrayinit.torch import init_module_

    rules = {"0.*original0": "ones", "0.*original1": ai.spec("normal", std=100.0), **RULES}
    model = init_module_(normed(), rules, seed=3)
    report = ai.report(model, rules)
    originals = [f"0.parametrizations.weight.original{k}" for k in range(2)]
    assert [row.path for row in report][:3] == ["0.weight", *originals]
    assert report["0.weight"].rule is None
    assert report[originals[1]].rule == "0.*original1"
    assert report.findings == ()


def test_pruned_weights_are_compared_beneath_their_mask():
    nn = pytest.importorskip("torch.nn")
    from arrayinit.torch import init_module_

    layer = nn.utils.prune.random_unstructured(nn.Linear(300, 200), "weight", 0.9)
    init_module_(layer, {"bias": "zeros", "weight": "xavier_normal"}, seed=3)
    assert ai.report(layer, {"bias": "zeros", "weight": "xavier_normal"}).findings == ()


def test_weights_that_share_memory_or_are_not_here():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    model = nn.Linear(4, 4)
    model.copy = nn.Parameter(model.weight.T)
    model.part = nn.Parameter(torch.zeros(0))
    model.part.ds_shape = torch.Size((4, 4))
    report = ai.report(model, {"*": "zeros"}, values=False)
    assert kinds(report) == ["undrawable"] * 3
    assert "shares a part of its memory with copy" in report["weight"].findings[0].text
    assert "ZeRO-3" in report["part"].findings[0].text


def test_frozen_parameters_are_compared_with_their_rules():
    nn = pytest.importorskip("torch.nn")
    model = nn.Linear(4, 4).requires_grad_(False)
    assert kinds(ai.report(model, {"bias": None, "*": "ones"})) == ["deviates"]


def test_buffers_without_values_are_a_finding():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 4, device="meta")
    model.register_buffer("scale", torch.empty(4, device="meta"))
    assert kinds(ai.report(model, {"*": "ones"}, values=False)) == ["unmatched"]


def test_lazy_parameters():
    nn = pytest.importorskip("torch.nn")
    with pytest.raises(ValueError, match=r"called once.*0\.weight, 0\.bias"):
        ai.report(nn.Sequential(nn.LazyLinear(4)))
