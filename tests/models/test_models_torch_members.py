"""Names of the model within, whatever is put around it; memory that is shared; tensors that are not what they seem."""

import sys
import types
import warnings

import pytest

torch = pytest.importorskip("torch")

from conftest import same  # noqa: E402
from torch import nn  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit.models.torch import parameters_of  # noqa: E402
from arrayinit.torch import init_module_, shards_of  # noqa: E402

NORMAL = ai.spec("normal", std=0.02)


class Inner(nn.Module):
    """With attributes that are called as wrappers call what is within them."""

    def __init__(self):
        super().__init__()
        self.module = nn.Linear(3, 3)
        self._orig_mod = nn.Linear(3, 3)
        self._checkpoint_wrapped_module = nn.ParameterList([nn.Parameter(torch.zeros(3))])


PLAIN = [
    "module.weight", "module.bias", "_orig_mod.weight", "_orig_mod.bias", "_checkpoint_wrapped_module.0",
]  # fmt: skip


@pytest.fixture
def world():
    """A world of four processes, of which this is one, and the others are not there."""
    dist = pytest.importorskip("torch.distributed")
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    dist.init_process_group("fake", store=fake.FakeStore(), rank=1, world_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield dist.device_mesh.init_device_mesh("cpu", (4,))
    dist.destroy_process_group()


def compile_(module):
    return torch.compile(module, backend="eager")


def wrappers():
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper, offload_wrapper

    return [compile_, checkpoint_wrapper, offload_wrapper, nn.DataParallel]


def paths(module, rules=None):
    return [entry.path for entry in init_module_(module, rules or {"*": NORMAL}, seed=3, dry_run=True)]


def refused(module, rules=None):
    before = {name: x.detach().clone() for name, x in module.named_parameters()}
    with pytest.raises(ai.PlanError) as caught:
        init_module_(module, rules or {"*": NORMAL}, seed=3)
    assert all(same(x, before[name]) for name, x in module.named_parameters())
    return caught.value.problems


def refused_dry(module):
    with pytest.raises(ai.PlanError) as caught:
        init_module_(module, {"*": NORMAL}, seed=3, dry_run=True)
    return caught.value.problems


def holding(**tensors):
    module = nn.Module()
    for name, x in tensors.items():
        setattr(module, name, x if isinstance(x, nn.Parameter) else nn.Parameter(x))
    return module


# Names


@pytest.mark.parametrize("number", [pytest.param(0, marks=pytest.mark.slow), 1, 2, 3])  # 0 imports dynamo
def test_no_wrapper_adds_a_name(number):
    wrap = wrappers()[number]
    assert paths(wrap(Inner())) == PLAIN
    inner = Inner()
    inner.module = wrap(inner.module)
    assert paths(inner) == PLAIN
    init_module_(wrap(inner), {"module.*": NORMAL, "*": "zeros"}, seed=3)
    assert same(next(inner.module.parameters()), NORMAL((3, 3), seed=3, name="module.weight"))


@pytest.mark.slow
def test_wrappers_in_wrappers_at_any_depth():
    _, checkpoint, offload, parallel = wrappers()
    inner = Inner()
    inner.module = checkpoint(compile_(inner.module))
    inner._orig_mod = offload(checkpoint(compile_(nn.Sequential(parallel(inner._orig_mod)))))
    names = [name.replace("_orig_mod.", "_orig_mod.0.") for name in PLAIN]
    assert paths(parallel(compile_(checkpoint(inner)))) == names


def test_averaged_models_and_distributed_ones(world):
    model = torch.optim.swa_utils.AveragedModel(nn.parallel.DistributedDataParallel(Inner()))
    assert paths(model) == [*PLAIN, "n_averaged"]


def test_an_engine_of_a_library_that_need_not_be_there(monkeypatch):
    class DeepSpeedEngine(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    engine = types.ModuleType("deepspeed.runtime.engine")
    engine.DeepSpeedEngine = DeepSpeedEngine
    monkeypatch.setitem(sys.modules, "deepspeed.runtime.engine", engine)
    assert paths(DeepSpeedEngine(Inner())) == PLAIN


def test_a_wrapper_with_a_parameter_of_a_name_within():
    class Gated(nn.DataParallel):
        def __init__(self, module):
            super().__init__(module)
            self.weight = nn.Parameter(torch.ones(3))

    assert refused(Gated(nn.Linear(3, 3))) == {"weight": "the path of several tensors"}


def test_reports_have_the_same_names():
    model = nn.DataParallel(Inner())
    assert [row.path for row in ai.report(model, {"*": NORMAL})] == PLAIN


def test_names_are_those_of_what_is_registered():
    class Renaming(nn.Linear):
        def named_parameters(self, prefix=""):
            yield "renamed", self.weight

    assert paths(Renaming(3, 3)) == ["weight", "bias"]


def test_compiled_by_jit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    assert paths(model) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    init_module_(model, {"*": NORMAL}, seed=3)
    assert same(model.state_dict()["1.weight"], NORMAL((3, 3), seed=3, name="1.weight"))


def test_lists_dictionaries_and_buffers_that_are_not_saved():
    module = nn.Module()
    module.table = nn.ParameterDict({"left": torch.zeros(3, 2)})
    module.list = nn.ParameterList([torch.zeros(3, 2), nn.Parameter(torch.zeros(2))])
    module.register_buffer("kept", torch.ones(3), persistent=False)
    assert paths(module) == ["table.left", "list.0", "list.1", "kept"]
    init_module_(module, {"*": NORMAL}, seed=3)
    assert (module.kept == 1).all()


def test_the_axes_of_a_layer_whose_class_was_made_of_another(world):
    transformers = pytest.importorskip("transformers.pytorch_utils")
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    sharded, normed = nn.Sequential(transformers.Conv1D(8, 4)), nn.Sequential(transformers.Conv1D(8, 4))
    fsdp.fully_shard(sharded[0], mesh=world)
    nn.utils.parametrizations.weight_norm(normed[0])
    for model in (sharded, normed):
        plan = init_module_(model, {"*weight": "kaiming_normal", "*": "zeros"}, seed=3, dry_run=True)
        assert plan[0].initializer == ai.spec("kaiming_normal", layout="io")


# Memory


def test_views_that_are_not_the_same_tensor_are_refused_by_both_names():
    weight = nn.Parameter(torch.zeros(4, 4))
    for view in (weight.T, weight[1:3], weight.reshape(-1)[5:9], weight.detach().reshape(16)):
        problems = refused(holding(a=weight, b=nn.Parameter(view), c=torch.zeros(4)))
        assert "shares a part of its memory with b" in problems["a"]
        assert "shares a part of its memory with a" in problems["b"]
        assert "c" not in problems


def test_one_that_is_kept_is_not_drawn_over():
    weight = nn.Parameter(torch.zeros(4, 4))
    module = holding(a=weight, b=nn.Parameter(weight.T))
    assert set(refused(module, {"a": None, "b": NORMAL})) == {"b"}
    init_module_(module, {"a": None, "b": None}, seed=3)


def test_buffers_that_are_views_of_parameters():
    module = nn.Linear(4, 4)
    module.register_buffer("diagonal", module.weight.detach().diagonal())
    assert set(refused(module)) == {"weight"}
    module.register_buffer("diagonal", module.weight.detach())
    plan = init_module_(module, {"*": NORMAL}, seed=3, dry_run=True)
    assert plan[0].parameter.tied == ("diagonal",)


def test_slices_of_one_buffer_that_are_apart():
    flat = torch.zeros(46)
    module = holding(a=flat[:16].view(4, 4), b=flat[16:36].view(4, 5).T, c=flat[36::2], d=flat[37::2])
    init_module_(module, {"*": NORMAL}, seed=3)
    assert same(module.a, NORMAL((4, 4), seed=3, name="a"))
    assert same(module.b, NORMAL((5, 4), seed=3, name="b"))
    assert same(flat[36::2], NORMAL((5,), seed=3, name="c"))
    assert same(flat[37::2], NORMAL((5,), seed=3, name="d"))


def test_memory_without_values():
    weight = nn.Parameter(torch.zeros(4, 4, device="meta"))
    assert set(refused_dry(holding(a=weight, b=nn.Parameter(weight.T)))) == {"a", "b"}
    module = holding(a=weight, b=nn.Parameter(weight), c=torch.zeros(4, 4, device="meta"))
    plan = init_module_(module, {"*": NORMAL}, seed=3, dry_run=True)
    assert [entry.path for entry in plan] == ["a", "c"]
    init_module_(module, {"*": NORMAL}, seed=3)
    assert module.a is not module.b
    assert module.a.data_ptr() == module.b.data_ptr()
    assert same(module.b, NORMAL((4, 4), seed=3, name="a"))


def test_sharded_tensors_of_the_same_memory(world):
    from torch.distributed.tensor import Shard, distribute_tensor

    x = distribute_tensor(torch.zeros(8, 4), world, [Shard(0)], src_data_rank=None)
    plan = init_module_(holding(a=nn.Parameter(x), b=nn.Parameter(x)), {"*": NORMAL}, seed=3, dry_run=True)
    assert [(entry.path, entry.parameter.tied) for entry in plan] == [("a", ("b",))]
    assert set(refused_dry(holding(a=nn.Parameter(x), b=nn.Parameter(x.to_local())))) == {"a", "b"}


# Tensors that are not what they stand for


def test_partitions_of_zero_3():
    model = nn.Linear(4, 3)
    model.weight = nn.Parameter(torch.zeros(0))
    model.weight.ds_shape, model.weight.ds_id = torch.Size((3, 4)), 0
    assert "partitioned by ZeRO-3, without a partition (ds_tensor): only (0,)" in refused(model)["weight"]
    with pytest.raises(ai.PlanError, match="partitioned by ZeRO-3"):
        ai.init_params_({"w": model.weight}, {"*": NORMAL}, seed=3)
    assert ai.report(model, {"*": NORMAL}).findings[0].kind == "undrawable"
    model.weight.data = torch.zeros(3, 4)  # as within GatheredParameters
    init_module_(model, {"*": NORMAL}, seed=3)
    assert same(model.weight, NORMAL((3, 4), seed=3, name="weight"))


@pytest.mark.parametrize("use_orig_params", [False, True])
def test_flat_parameters_of_fsdp(world, use_orig_params):
    """They are drawn under the names of their weights, unless they are gathered. See test_models_shards, too."""
    fsdp = pytest.importorskip("torch.distributed.fsdp").FullyShardedDataParallel
    inner = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    model = fsdp(inner, use_orig_params=use_orig_params, device_id=torch.device("cpu"))
    names = ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert paths(model) == names
    assert all(shard.how == "flattened by FSDP1" for shard in shards_of(model).values())
    with fsdp.summon_full_params(model, writeback=False):
        assert paths(model) == names
        assert shards_of(model) == {}


def test_copies_that_fully_shard_throws_away(world):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
    fsdp.fully_shard(model[0], mesh=world)
    fsdp.fully_shard(model, mesh=world)
    init_module_(model, {"*": NORMAL}, seed=3)
    model[0].unshard()
    problems = refused_dry(model)
    assert set(problems) == {"0.weight", "0.bias"}
    assert "reshard()" in problems["0.weight"]
    model[0].reshard()
    init_module_(model, {"*": NORMAL}, seed=3)


def test_a_storage_that_was_freed():
    x = torch.zeros(16)
    x.untyped_storage().resize_(0)
    with pytest.raises(ai.PlanError, match="a shape, and no memory"):
        init_module_(holding(w=x), {"*": NORMAL}, seed=3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.eye(3).to_sparse(), "must be a dense tensor"),
        (lambda: torch.zeros(3, 3).to_mkldnn(), "must be a dense tensor"),
        (lambda: torch.zeros(3, 3, dtype=torch.float8_e5m2), "or that of `x`, must be"),
        (lambda: torch.zeros(3, dtype=torch.int8), "not floating"),
        (lambda: torch.zeros(1).expand(3), "share memory"),
    ],
)
def test_what_can_not_be_drawn_is_refused_and_can_be_kept(make, said):
    module = nn.Module()
    module.w = nn.Parameter(make(), requires_grad=False)
    with pytest.raises(ai.PlanError, match=said):
        init_module_(module, {"*": NORMAL}, seed=3, frozen="draw")
    init_module_(module, {"*": None}, seed=3)


def test_what_has_no_shape():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = holding(w=torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)]))
        lazy = nn.LazyLinear(3).weight
    with pytest.raises(ai.PlanError, match=r"w .*a nested tensor"):
        init_module_(module, {"*": NORMAL}, seed=3)
    with pytest.raises(ValueError, match="got w: a nested tensor"):
        ai.report(module)
    with pytest.raises(ai.PlanError, match=r"w .*lazy, without a shape"):
        ai.init_params_({"w": lazy}, {"*": NORMAL}, seed=3)


def test_parameters_on_several_devices_and_of_any_strides():
    module = holding(a=torch.zeros(4, 4), b=torch.zeros(4, 4, device="meta"), c=torch.zeros(4, 6, 3).transpose(0, 2))
    init_module_(module, {"*": NORMAL}, seed=3)
    for name, x in module.named_parameters():
        assert same(x, NORMAL(tuple(x.shape), seed=3, name=name))


# Frozen ones


def test_frozen_parameters_ask_for_a_word():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    table = model[0].weight.requires_grad_(False)
    before = table.clone()
    for dry_run in (False, True):
        with pytest.raises(ai.PlanError, match=r"0\.weight .*frozen \(requires_grad=False\).*rule \* would draw it"):
            init_module_(model, {"*": NORMAL}, seed=3, dry_run=dry_run)
    assert same(table, before)
    plan = init_module_(model, {"*": NORMAL}, seed=3, frozen="keep", dry_run=True)
    assert "kept as it is, frozen (requires_grad=False)" in str(plan)
    init_module_(model, {"*": NORMAL}, seed=3, frozen="keep")
    assert same(table, before)
    assert same(model[1].weight, NORMAL((3, 3), seed=3, name="1.weight"))
    assert "normal, std=0.02, frozen (requires_grad=False)" in str(
        init_module_(model, {"*": NORMAL}, seed=3, frozen="draw", dry_run=True)
    )
    init_module_(model, {"0.weight": None, "*": NORMAL}, seed=3)
    assert same(table, before)
    init_module_(model, {"*": NORMAL}, seed=3, frozen="draw")
    assert same(table, NORMAL((3, 3), seed=3, name="0.weight"))


def test_keeping_needs_no_rule():
    model = nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 3))
    init_module_(model, {"1.*": NORMAL}, seed=3, frozen="keep")
    with pytest.raises(ai.PlanError, match=r"0\.weight .*no rule matches"):
        init_module_(model, {"1.*": NORMAL}, seed=3)


def test_there_is_nothing_to_keep_on_the_meta_device():
    model = nn.Linear(3, 3, device="meta").requires_grad_(False)
    with pytest.raises(ai.PlanError, match="without values to keep; a rule of None"):
        init_module_(model, {"*": NORMAL}, seed=3, frozen="keep")
    with pytest.raises(ai.PlanError, match="frozen"):
        init_module_(model, {"*": NORMAL}, seed=3)
    init_module_(model, {"bias": None, "*": NORMAL}, seed=3, frozen="draw")
    assert model.bias.is_meta
    assert not model.weight.requires_grad


def test_one_frozen_tensor_of_several_that_are_tied():
    weight = nn.Parameter(torch.zeros(3, 3))
    module = holding(a=weight, b=nn.Parameter(weight, requires_grad=False))
    assert "frozen" in refused(module)["a"]


def test_tensors_that_transformers_has_loaded():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[0]._is_hf_initialized = model[1]._is_hf_initialized = True  # which new models have, too
    init_module_(model, {"*": "ones"}, seed=3)
    model[1].weight._is_hf_initialized = model[0].running_mean._is_hf_initialized = True
    rules = [ai.Rule("*running_mean", NORMAL, kind="buffer"), ("*", NORMAL)]
    for frozen in (None, "keep"):
        init_module_(model, rules, seed=3, frozen=frozen)
        assert (model[1].weight == 1).all()
        assert (model[0].running_mean == 0).all()
        assert same(model[1].bias, NORMAL((3,), seed=3, name="1.bias"))
    init_module_(model, rules, seed=3, frozen="draw")
    assert same(model[1].weight, NORMAL((3, 3), seed=3, name="1.weight"))
    assert model[0].running_mean.any()


def test_models_that_are_loaded_whole():
    model = nn.Linear(3, 3)
    model.weight._is_hf_initialized = model.bias._is_hf_initialized = True
    before = model.weight.detach().clone()
    with pytest.warns(UserWarning, match="nothing is drawn: 2 parameters stay as transformers has loaded them, weight"):
        init_module_(model, {"*": NORMAL}, seed=3)
    assert torch.equal(model.weight, before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        init_module_(model, {"*": None}, seed=3)
        init_module_(model, {"*": NORMAL}, seed=3, only=[])
        init_module_(model, {"*": NORMAL}, seed=3, frozen="keep")


@pytest.mark.slow
def test_models_that_transformers_makes_and_loads(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0, pad_token_id=0
    )
    model = transformers.GPT2Model(config)
    init_module_(model, {"*": NORMAL}, seed=3)
    model.save_pretrained(tmp_path)
    loaded = transformers.GPT2ForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    init_module_(loaded, {"*": NORMAL}, seed=4)
    assert same(loaded.transformer.wte.weight, model.wte.weight)
    assert same(loaded.score.weight, NORMAL((3, 8), seed=4, name="score.weight"))


@pytest.mark.parametrize("word", ["kept", True, 1])
def test_other_words(word):
    with pytest.raises(ValueError, match="`frozen` must be 'draw', 'keep' or None"):
        init_module_(nn.Linear(3, 3), {"*": NORMAL}, seed=3, frozen=word)


def test_parameters_say_what_they_are():
    model = nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))
    found = {parameter.path: parameter for parameter in parameters_of(model)}
    assert found["0.weight"].frozen == "requires_grad=False"
    assert found["1.weight"].through == "_WeightNorm"
    assert [original.path for original in found["1.weight"].originals] == [
        "1.parametrizations.weight.original0", "1.parametrizations.weight.original1",
    ]  # fmt: skip
