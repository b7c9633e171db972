"""`only`: what a checkpoint lacks is drawn, as it would be in a whole draw, and nothing else changes."""

import re

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.models.matching import keyed, match, plan, root_of
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import PlanError
from arrayinit.models.selection import select

NORMAL = ai.spec("normal", std=0.02)
MODEL = [
    Parameter("embed.weight", (50, 8), "float32", tied=("head.weight",)),
    Parameter("fc.weight", (6, 8), "float32"),
    Parameter("fc.bias", (6,), "float32"),
    Parameter(
        "normed.weight", (6, 8), "float32", through="WeightNorm",
        originals=(Parameter("normed.g", (6, 1), "float32", marks=("g",)),
                   Parameter("normed.v", (6, 8), "float32", marks=("v",))),
    ),
    Parameter("table", (4,), "float32", kinds=("buffer",), persistent=False, has_values=False),
    Parameter("scale", (), "float32"),
]  # fmt: skip
TABLE = {"table": None}  # which no checkpoint has


@pytest.mark.parametrize(
    ("only", "rows"),
    [
        ("fc.bias", {"fc.bias": None}),
        ("fc.*", {"fc.weight": None, "fc.bias": None}),
        (["fc.bias", "scale"], {"fc.bias": None, "scale": None}),
        ({"fc.bias"}, {"fc.bias": None}),
        (iter(["fc.bias"]), {"fc.bias": None}),
        (re.compile("bias$"), {"fc.bias": None}),
        (lambda path, shape: shape == (6,), {"fc.bias": None}),
        ([re.compile("bias$"), "sc?le"], {"fc.bias": None, "scale": None}),
        (["embed.weight", "head.weight"], {"embed.weight": None}),
        ({"embed.weight": slice(40, None)}, {"embed.weight": range(40, 50)}),
        ({"head.weight": slice(-5, 48), "fc.bias": slice(None)}, {"embed.weight": range(45, 48), "fc.bias": None}),
        ("normed.weight", {"normed.weight": None, "normed.g": None, "normed.v": None}),
        (["normed.g", "normed.v"], {"normed.weight": None, "normed.g": None, "normed.v": None}),
        ([], {}),
    ],
)
def test_what_is_selected(only, rows):
    selection = select(MODEL, only)
    assert selection.rows == rows | TABLE
    assert not selection.problems


def test_without_only_everything_is_drawn():
    assert select(MODEL, None) is None
    assert "table" not in select([*MODEL[:4], Parameter("table", (4,), "float32", persistent=False)], []).rows


def test_weights_that_are_selected_by_halves():
    assert select(MODEL, ["normed.v"]).problems == {
        "normed.weight": "is also made of normed.g, which `only` lacks"
    }  # fmt: skip
    assert "needs all rows" in select(MODEL, {"normed.weight": slice(3, None)}).problems["normed.weight"]
    empty = [Parameter("w", (5, 3), "float32", has_values=False)]
    assert "the rows that stay" in select(empty, {"w": slice(3, None)}).problems["w"]
    with pytest.raises(PlanError, match=r"normed.weight .*is also made of normed.g"):
        plan(MODEL, {"*": NORMAL}, seed=0, only=["normed.v"])


def test_a_tied_parameter_needs_all_of_its_paths():
    with pytest.warns(UserWarning, match=r"head.weight stays as it is: it is also embed.weight, which `only` lacks"):
        assert "embed.weight" not in select(MODEL, ["head.weight"]).rows


@pytest.mark.parametrize(
    ("only", "error", "text"),
    [
        (5, TypeError, "`only` must be a path, a pattern or a function of path and shape, several of them"),
        (b"fc.bias", TypeError, "`only` must be a path"),
        ("", TypeError, "`only` must be a path"),
        ([5], TypeError, "`only` must hold paths, patterns or functions of path and shape; got 5"),
        ([["fc.bias"]], TypeError, "`only` must hold paths"),
        ([re.compile(b"w")], TypeError, "`only` must hold paths"),
        ({"fc.bias": 3}, TypeError, "`only` must map to slices of rows without a step, such as slice(90, None); got 3"),
        ({"fc.bias": slice(0, None, 2)}, TypeError, "without a step"),
        (
            {"fc.bias": slice("a", None)},
            TypeError,
            "`only` must map to slices of rows without a step, such as slice(90, None); got slice('a'",
        ),
        ({"fc.bias": slice(1.0, None)}, TypeError, "`only` must map to slices"),
        ("fc.biass", ValueError, "got fc.biass, which selects none, did you mean 'fc.bias'?"),
        (["fc.bias", "zz*"], ValueError, "got zz*, which selects none"),
        ({"fc.bias": slice(6, None)}, ValueError, "must select at least one row; got slice(6, None, None) for fc.bias"),
        ({"scale": slice(0, 1)}, ValueError, "must not select rows of a scalar"),
    ],
)
def test_wrong_selections(only, error, text):
    with pytest.raises(error, match=re.escape(text)):
        select(MODEL, only)


def test_further_paths_that_may_be_asked_for():
    assert select(MODEL, ["_extra_state"], known=["_extra_state"]).rows == TABLE


def test_what_is_not_selected_needs_no_rule_and_no_values():
    parameters = [*MODEL[1:3], Parameter("counter", (), "int64")]
    entries = plan(parameters, {"*.bias": NORMAL}, seed=7, only="fc.bias")
    assert [entry.is_drawn for entry in entries] == [False, True, False]
    assert entries[1].key == ai.fold(7, "fc.bias")
    assert "fc.weight  6x8  kept as it is" in str(entries).replace("    ", " ").replace("   ", "  ")


def test_rows_are_those_of_the_whole_draw():
    rows = {"embed.weight": slice(40, None)}
    matches = match(MODEL[:1], {"*": NORMAL}, only=rows, known=())
    assert "rows 40 to 49 only" in str(keyed(matches, root_of(7), dry_run=True))
    with pytest.raises(PlanError, match=r"rows can't be drawn alone by a rule of whole matrices, spec\('orthogonal'"):
        match(MODEL[:1], {"*": ai.spec("orthogonal", gain=1.0)}, only=rows, known=())


def test_mappings():
    params = {"w": np.zeros((3, 4), np.float32), "b": np.zeros(3, np.float32)}
    ai.init_params_(params, {"w": NORMAL}, seed=1, only=["w"])
    assert np.array_equal(params["w"], ai.normal((3, 4), std=0.02, seed=1, name="w"))
    assert not params["b"].any()
    with pytest.raises(TypeError, match="rows can be drawn alone in torch modules"):
        ai.init_params_(params, {"w": NORMAL}, seed=1, only={"w": slice(1, None)})


def test_trees_of_jax():
    jax = pytest.importorskip("jax")
    from arrayinit.jax import init_tree

    tree = {"new": {"kernel": jax.numpy.zeros((4, 3))}, "loaded": {"kernel": jax.numpy.ones((4, 4))}}
    drawn = init_tree(tree, {"*": "xavier_uniform"}, seed=1, only="new.*")
    assert drawn["loaded"]["kernel"] is tree["loaded"]["kernel"]
    whole = init_tree(tree, {"*": "xavier_uniform"}, seed=1)
    assert (drawn["new"]["kernel"] == whole["new"]["kernel"]).all()


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def layers(torch):
    nn = torch.nn
    return nn.Sequential(nn.Embedding(10, 4, padding_idx=1), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def test_what_a_checkpoint_lacks(torch):
    from arrayinit.torch import init_module_, record

    with record(draw=True, seed=0):
        whole = layers(torch)
    lacking = {"3.weight", "3.bias", "2.running_mean"}
    checkpoint = {path: x + 1 for path, x in whole.state_dict().items() if path not in lacking}
    with record() as start:
        model = layers(torch)
    missing = model.load_state_dict(checkpoint, strict=False, assign=True)
    assert set(missing.missing_keys) == lacking
    init_module_(model, start, seed=0, only=missing)
    for path, x in model.state_dict().items():
        assert torch.equal(x, whole.state_dict()[path] if path in lacking else checkpoint[path]), path
    init_module_(model, {"*": "ones"}, seed=0, only="3.bias")
    assert (model[3].bias == 1).all()
    assert torch.equal(model[3].weight, whole[3].weight)


def test_statistics_of_a_checkpoint_stay_where_others_are_new(torch):
    from arrayinit.torch import init_module_

    with torch.device("meta"):
        model = torch.nn.BatchNorm1d(4)
    model.running_var = torch.full((4,), 3.0)
    init_module_(model, {"*": "ones"}, seed=0)
    assert (model.running_var == 3).all()
    assert (model.running_mean == 0).all()


def test_rows_that_were_added(torch):
    from arrayinit.torch import init_module_, record

    with record() as start:
        model = layers(torch)
    init_module_(model, start, seed=0)
    old = model[0].weight.detach().clone()
    model[0] = torch.nn.Embedding(14, 4, padding_idx=12)
    with torch.no_grad():
        model[0].weight[:10] = old
        model[0].weight[10:] = 7
    before = {path: x.clone() for path, x in model.state_dict().items()}
    init_module_(model, start, seed=0, only={"0.weight": slice(10, None)})
    expected = ai.normal((14, 4), std=1.0, seed=0, name="0.weight", xp="torch")
    assert torch.equal(model[0].weight[:10], old)
    assert torch.equal(model[0].weight[10:], expected[10:])
    assert all(torch.equal(x, before[path]) for path, x in model.state_dict().items() if path != "0.weight")
    init_module_(model, {"*": NORMAL}, seed=0, only={"0.weight": slice(10, None)})  # of the layer's own padding row
    assert (model[0].weight[12] == 0).all()
    assert torch.equal(model[0].weight[13], ai.normal((14, 4), std=0.02, seed=0, name="0.weight", xp="torch")[13])
    with pytest.raises(PlanError, match=r"must have the shape that was recorded, \(10, 4\); got \(14, 4\)"):
        init_module_(model, start, seed=0)


def test_rows_of_a_program(torch):
    from arrayinit.torch import init_module_, record

    def build():
        module = torch.nn.Module()
        module.log = torch.nn.Parameter(torch.rand(6, 3).add(1).log())
        return module

    with record(draw=True, seed=3) as start:
        whole = build()
    model = build()
    old = model.log.detach().clone()
    init_module_(model, start, seed=3, only={"log": slice(2, 4)})
    assert torch.equal(model.log[2:4], whole.log[2:4])
    assert torch.equal(model.log[:2], old[:2])
    assert torch.equal(model.log[4:], old[4:])


def test_rows_of_shards(torch):
    dist = pytest.importorskip("torch.distributed")
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    from torch.distributed.tensor import Shard, distribute_tensor

    from arrayinit.torch import init_module_

    expected = ai.normal((14, 6), std=0.02, seed=0, name="weight", xp="torch")
    expected[12] = 0
    expected[:10] = 1
    dist.init_process_group("fake", store=fake.FakeStore(), rank=3, world_size=4)
    try:
        mesh = dist.init_device_mesh("cpu", (2, 2))
        for placements in ([Shard(0), Shard(1)], [Shard(1), Shard(0)], [Shard(0), Shard(0)]):
            model = torch.nn.Embedding(14, 6, padding_idx=12)
            sharded = distribute_tensor(torch.ones(14, 6), mesh, placements, src_data_rank=None)
            model.weight = torch.nn.Parameter(sharded)
            init_module_(model, {"*": NORMAL}, seed=0, only={"weight": slice(10, None)})
            slices = distribute_tensor(expected, mesh, placements, src_data_rank=None)
            assert torch.equal(model.weight.to_local(), slices.to_local()), placements
    finally:
        dist.destroy_process_group()


def test_weights_behind_parametrizations(torch):
    from arrayinit.torch import init_module_, record

    def build():
        return torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4))

    with record(draw=True, seed=0) as start:
        whole = build()
    for only in ("weight", ["parametrizations.weight.original0", "parametrizations.weight.original1"]):
        model = build()
        bias = model.bias.detach().clone()
        init_module_(model, start, seed=0, only=only)
        assert torch.equal(model.weight, whole.weight)
        assert torch.equal(model.bias, bias)
        init_module_(model, {"*": NORMAL}, seed=0, only=only)
        assert torch.allclose(model.weight, ai.normal((4, 3), std=0.02, seed=0, name="weight", xp="torch"))
        assert torch.equal(model.bias, bias)


def test_tied_weights_of_a_checkpoint_stay(torch):
    from arrayinit.torch import init_module_

    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 3), "head": torch.nn.Linear(3, 5, bias=False)})
    model.head.weight = model.embed.weight
    missing = model.load_state_dict({"embed.weight": torch.full((5, 3), 2.0)}, strict=False).missing_keys
    with pytest.warns(UserWarning, match="head.weight stays as it is"):
        init_module_(model, {"*": NORMAL}, seed=0, only=missing)
    assert (model.head.weight == 2).all()


def test_buffers_that_no_checkpoint_has(torch):
    from arrayinit.torch import init_module_, record

    def build():
        module = torch.nn.Linear(2, 2)
        module.register_buffer("frequencies", torch.arange(3.0).cos(), persistent=False)
        module.register_buffer("kept", torch.arange(3.0))
        return module

    with record() as start:
        model = build()
    model.load_state_dict({path: torch.ones(x.shape) for path, x in model.state_dict().items()}, assign=True)
    init_module_(model, start, seed=0, only=[])
    assert torch.equal(model.frequencies, torch.arange(3.0).cos())
    assert (model.kept == 1).all()


@pytest.mark.slow
def test_heads_that_transformers_lacks(torch, tmp_path):
    transformers = pytest.importorskip("transformers")
    from arrayinit.torch import init_module_, record

    config = transformers.GPT2Config(
        vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0, pad_token_id=0,
        num_labels=3,
    )  # fmt: skip
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    kind = transformers.GPT2ForSequenceClassification
    model, report = kind.from_pretrained(tmp_path, config=config, output_loading_info=True)
    before = {path: x.clone() for path, x in model.state_dict().items()}
    with record() as start:
        _new = kind(config)
    assert set(report["missing_keys"]) == {"score.weight"}
    init_module_(model, start, seed=4, only=report["missing_keys"])
    assert torch.equal(model.score.weight, ai.normal((3, 8), std=0.02, seed=4, name="score.weight", xp="torch"))
    assert all(torch.equal(x, before[path]) for path, x in model.state_dict().items() if path != "score.weight")
    model.resize_token_embeddings(25)
    init_module_(model, start, seed=4, only={"transformer.wte.weight": slice(20, None)})
    new = ai.normal((25, 8), std=0.02, seed=4, name="transformer.wte.weight", xp="torch")
    assert torch.equal(model.transformer.wte.weight[20:], new[20:])
    assert torch.equal(model.transformer.wte.weight[:20], before["transformer.wte.weight"])


def test_ties_that_loading_has_undone(torch):
    from arrayinit.torch import init_module_, record

    def build():
        model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 3), "head": torch.nn.Linear(3, 5, bias=False)})
        model.head.weight = model.embed.weight
        return model

    with record() as start:
        model = build()
    checkpoint = {"embed.weight": torch.full((5, 3), 2.0)}
    missing = model.load_state_dict(checkpoint, strict=False, assign=True).missing_keys
    with pytest.raises(PlanError, match=r"head\.weight .*was one tensor with embed\.weight, which stays as it is"):
        init_module_(model, start, seed=0, only=missing)
    assert model.head.weight.is_meta
    model.head.weight = model.embed.weight
    with pytest.warns(UserWarning, match="head.weight stays as it is"):
        init_module_(model, start, seed=0, only=missing)
    assert (model.head.weight == 2).all()


def test_tensors_that_are_left_without_values(torch):
    from arrayinit.torch import init_module_, record

    with record() as start:
        model = layers(torch)
    with pytest.warns(UserWarning, match=r"tensors that `only` leaves alone have no values, 0.weight and so on: load"):
        init_module_(model, start, seed=0, only="3.*")
    assert model[0].weight.is_meta
    assert not model[3].weight.is_meta
