"""Models that are cut by ZeRO-3, FSDP1, Megatron or a scheme of one's own: each part is that of the whole, by ==.

The libraries are stood in for by the attributes that they set; FSDP1 is torch's own, in real processes. DeepSpeed and
Megatron themselves were run once beside this: DeepSpeed 0.19.8 on 3 ranks, megatron-core 0.16.1 on 1, 2 and 4.
"""

import copy
import math
import sys
from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

import arrayinit as ai

torch = pytest.importorskip("torch")
nn = torch.nn
pytest.importorskip("torch.distributed.fsdp")

from flat_world import model  # noqa: E402
from megatron_layers import column, group, row  # noqa: E402
from worlds import results_of  # noqa: E402

from arrayinit.torch import Part, Shard, init_method, init_module_, param_init_, record, shards_of  # noqa: E402

RULES = {"*.bias": ai.spec("normal", std=0.1), "1.1.weight": "ones", "*": "kaiming_normal"}


def drawn(seed=3):
    return init_module_(model(), RULES, seed=seed)


# ZeRO-3


def partitioned(module, rank, ranks, fill=-7.0, gathered=(), group=False):
    """As DeepSpeed's zero.Init leaves a module on one rank."""
    for name, x in module.named_parameters():
        size = -(-x.numel() // ranks)
        x.ds_shape, x.ds_numel, x.ds_id = x.shape, x.numel(), 0
        x.ds_status = SimpleNamespace(name="AVAILABLE" if name in gathered else "NOT_AVAILABLE")
        x.ds_tensor = torch.full((size,), fill, dtype=x.dtype)
        x.ds_secondary_tensor = None
        if group:
            x.ds_process_group = SimpleNamespace(rank=lambda: rank, size=lambda: ranks)
        else:
            x.ds_zero_partition_rank, x.ds_zero_partition_world_size = rank, ranks
        if name not in gathered:
            x.data = torch.empty(0, dtype=x.dtype)
    return module


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("group", [False, True])
def test_partitions_of_zero_3(ranks, group):
    whole = dict(drawn().named_parameters())
    pieces = {name: [] for name in whole}
    for rank in range(ranks):
        cut = init_module_(partitioned(model(), rank, ranks, group=group), RULES, seed=3)
        for name, x in cut.named_parameters():
            pieces[name].append(x.ds_tensor)
            assert x.shape == (0,)
    for name, x in whole.items():
        line = torch.cat(pieces[name])
        assert torch.equal(line[: x.numel()], x.detach().reshape(-1)), name
        assert (line[x.numel() :] == -7).all(), name  # the padding


def test_gathered_partitions_are_drawn_in_both_places():
    cut = init_module_(partitioned(model(), 1, 2, gathered=("0.weight", "1.0.bias")), RULES, seed=3)
    whole = dict(drawn().named_parameters())
    assert torch.equal(cut[0].weight, whole["0.weight"])
    assert torch.equal(cut[0].weight.ds_tensor[:17], whole["0.weight"].reshape(-1)[18:])
    assert torch.equal(cut[1][0].bias, whole["1.0.bias"])


def test_plans_and_shards_tell_of_partitions():
    cut = partitioned(model(), 1, 3)
    plan = init_module_(cut, RULES, seed=3, dry_run=True)
    assert [entry.shape for entry in plan] == [
        entry.shape for entry in init_module_(model(), RULES, seed=3, dry_run=True)
    ]
    assert "0.weight      5x7  kaiming_normal, partitioned by ZeRO-3" in str(plan)
    shard = shards_of(cut)["0.weight"]
    assert (shard.shape, shard.how, shard.parts[0].flat) == ((5, 7), "partitioned by ZeRO-3", slice(12, 24))
    assert shards_of(cut)["decoder.weight"].parts[0].x.data_ptr() == cut[2].weight.ds_tensor.data_ptr()


def test_fingerprints_of_partitions():
    """In one process a partition is not all; a single rank's is, gathered besides or not."""
    wanted = ai.fingerprints(drawn())
    for gathered in ((), ("0.weight",)):
        cut = init_module_(partitioned(model(), 0, 1, gathered=gathered), RULES, seed=3)
        assert ai.fingerprints(cut) == wanted
    cut = init_module_(partitioned(model(), 0, 2), RULES, seed=3)
    with pytest.raises(ValueError, match=r"'0.weight': parts must have each of the 35 elements .* got 18"):
        ai.fingerprints(cut)
    cut[0].weight.ds_tensor.ds_quant_scale = 1.0
    with pytest.raises(ValueError, match=r"'0.weight' is partitioned by ZeRO-3, and its partition is quantized"):
        ai.fingerprint(cut)


def spoil(x, what):
    match what:
        case "int8":
            x.ds_tensor = torch.zeros(18, dtype=torch.int8)
        case "strides":
            x.ds_tensor = torch.zeros(9, 2).t()
        case "numel":
            x.ds_numel = 34
        case "length":
            x.ds_tensor = torch.zeros(17)
        case "rank":
            x.ds_zero_partition_rank = 2
        case "inflight":
            x.ds_status = SimpleNamespace(name="INFLIGHT")
        case "disk":
            x.ds_tensor.final_location = "nvme"
        case "quantized":
            x.ds_tensor.ds_quant_scale = 1.0
        case "second":
            x.ds_secondary_tensor = torch.zeros(9)
        case "optimizer":
            x._z3_optimizer = object()
        case "stage 2":
            x._hp_mapping = object()
        case "stage 2, no part":
            x._hp_mapping, x.load_hp_checkpoint_state = None, lambda: None
        case "megatron":
            x.main_param = object()
        case "megatron, no part":
            x.main_param, x.main_param_sharded = None, True
        case "no partition":
            x.ds_tensor = None


@pytest.mark.parametrize(("what", "said"), [
    ("numel", "attributes disagree: 18 elements here, where rank 0 of 2 has 18 of ds_shape (5, 7), ds_numel 34"),
    ("length", "attributes disagree: 17 elements here"),
    ("rank", "where rank 2 of 2"),
    ("inflight", "on its way between ranks"),
    ("disk", "on a disk"),
    ("quantized", "quantized"),
    ("int8", "is float32, and a part of it that is here int8"),
    ("strides", "must be contiguous"),
    ("second", "zero_hpz_partition_size"),
    ("optimizer", "draw before deepspeed.initialize"),
    ("stage 2", "draw before deepspeed.initialize"),
    ("stage 2, no part", "draw before deepspeed.initialize"),
    ("megatron", "before the optimizer is made"),
    ("megatron, no part", "before the optimizer is made"),
    ("no partition", "only (0,) of (5, 7) is here"),
])  # fmt: skip
def test_partitions_that_can_not_be_drawn(what, said):
    cut = partitioned(model(), 0, 2)
    spoil(cut[0].weight, what)
    with pytest.raises(ai.PlanError) as caught:
        init_module_(cut, RULES, seed=3)
    assert list(caught.value.problems) == ["0.weight"]
    assert said in caught.value.problems["0.weight"]
    assert all((x.ds_tensor is None or (x.ds_tensor.flatten() <= 0).all()) for x in cut.parameters())  # nothing drawn
    if what in ("optimizer", "stage 2", "stage 2, no part", "megatron", "megatron, no part"):  # it can be read
        assert shards_of(cut)["0.weight"].shape == (5, 7)
        one = partitioned(model(), 0, 1, fill=0.0)
        spoil(one[0].weight, what)
        assert ai.fingerprints(one)["0.weight"] == ai.fingerprint(torch.zeros(5, 7))
    elif what != "int8":
        with pytest.raises(ai.PlanError, match=r"0.weight"):
            shards_of(cut)


def test_partitions_with_strides():
    """A line may have steps, and a partition more axes, as long as a draw reaches its memory."""
    for own in (torch.zeros(70)[::2], torch.zeros(5, 7)):
        cut = partitioned(nn.Linear(7, 5, bias=False), 0, 1)
        cut.weight.ds_tensor = own
        init_module_(cut, {"*": "normal"}, seed=3)
        assert torch.equal(own.reshape(-1), ai.normal((5, 7), seed=3, name="weight", xp=torch).reshape(-1))


@pytest.mark.parametrize("groups", ["fp16_groups", "bf16_groups", "bit16_groups"])
@pytest.mark.parametrize("is_engine", [False, True])
def test_engines_whose_optimizers_leave_no_mark(groups, is_engine, monkeypatch):
    """DeepSpeed's stage 0 with bfloat16: the engine is known by its own class, or by the hook that it sets."""

    class DeepSpeedEngine(nn.Module):
        __module__ = "deepspeed.runtime.engine"

        def __init__(self, module, **lists):
            super().__init__()
            self.module, self.optimizer = module, SimpleNamespace(**lists)
            module.register_forward_pre_hook(lambda module, inputs: self.settled)

    monkeypatch.setitem(sys.modules, "deepspeed.runtime.engine", SimpleNamespace(DeepSpeedEngine=DeepSpeedEngine))
    layer = nn.Linear(4, 3)
    engine = DeepSpeedEngine(layer, **{groups: [[layer.weight]]})
    if is_engine:
        layer._forward_pre_hooks.clear()
    with pytest.raises(ai.PlanError) as caught:
        init_module_(engine if is_engine else layer, {"*": "normal"}, seed=3)
    assert list(caught.value.problems) == ["weight"]
    assert "draw before deepspeed.initialize" in caught.value.problems["weight"]
    engine.optimizer = torch.optim.SGD(layer.parameters(), 0.1)  # in float32, without copies
    init_module_(engine, {"*": "normal"}, seed=3)
    assert torch.equal(layer.weight, ai.normal((3, 4), seed=3, name="weight", xp=torch))


def test_a_parameter_without_elements_is_not_skipped():
    module = nn.Module()
    module.lost = nn.Parameter(torch.empty(0))
    with pytest.raises(ai.PlanError, match="has no elements, and nothing tells the shape of the whole"):
        init_module_(module, {"*": "zeros"}, seed=3)
    init_module_(module, {"*": None}, seed=3)
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        init_module_(nn.Linear(4, 0), {"*": "zeros"}, seed=3)  # a layer that is meant so


def test_cut_models_need_a_seed():
    with pytest.raises(ValueError, match=r"`seed` must be given where parameters are cut.*0.weight is partitioned"):
        init_module_(partitioned(model(), 0, 2), RULES, seed=None)


def test_rows_and_records_of_partitions():
    """`only` rows, and programs of a record, of which each rank draws what it holds."""

    def make():
        layer = nn.Linear(6, 4)
        with torch.no_grad():
            layer.bias.copy_(torch.rand(4).log())
        return layer

    with record() as rules:
        whole = make()
    init_module_(whole, rules, seed=5)
    for rank in range(3):
        cut = init_module_(partitioned(make(), rank, 3), rules, seed=5)
        for name, x in whole.named_parameters():
            piece = dict(cut.named_parameters())[name].ds_tensor
            part = x.detach().reshape(-1)[rank * len(piece) : (rank + 1) * len(piece)]
            assert torch.equal(piece[: len(part)], part)
        table = partitioned(nn.Embedding(10, 3), rank, 3)
        init_module_(table, {"*": "normal"}, seed=5, only={"weight": slice(4, 9)})
        rows = torch.full((10, 3), -7.0)
        rows[4:9] = ai.normal((10, 3), seed=5, name="weight", xp=torch)[4:9]
        part = rows.reshape(-1)[rank * 10 : rank * 10 + 10]
        assert torch.equal(table.weight.ds_tensor, part)


# FSDP1


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3])
def test_flat_parameters_of_fsdp1_in_real_worlds(size, tmp_path):
    results = results_of("flat_world.py", size, tmp_path / "store")
    for rank, result in enumerate(results):
        assert result["different"] == []
        for said, is_freed in zip(result["alone"], (False, False, True), strict=size > 1):
            wanted = "another rank alone, within summon_full_params(rank0_only=True)" if rank else "storage was freed"
            assert set(said) == ({"weight", "bias"} if rank or is_freed else set())
            assert all(wanted in why for why in said.values())
        assert result["compared"] == 2 * 2 * 7 * (1 if size == 1 else 2)
        for said in result["refused"]:
            assert set(said) == {"weight", "bias"}
            assert all("is gathered by FullyShardedDataParallel" in why for why in said.values())
        wholes = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(7, 5)), nn.Linear(5, 3))
        wanted = ai.fingerprint(init_module_(wholes, {"*": "normal"}, seed=3))
        for said, mark in result["behind"]:
            assert mark == wanted
            assert len(said) in (1, 2)
            assert all("flattened" in why for why in said.values())


# Megatron


class MLP(nn.Module):
    __module__ = "megatron.core.standin"

    def __init__(self, rank, ranks, gated, marked):
        super().__init__()
        self.config = SimpleNamespace(gated_linear_unit=gated)
        self.linear_fc1 = column(24, 6, rank, ranks, marked=marked)
        self.linear_fc2 = row(6, 24, rank, ranks, marked=marked)


class Layer(nn.Module):
    __module__ = "megatron.core.standin"

    def __init__(self, number, rank, ranks, gated, marked):
        super().__init__()
        self.layer_number = number
        self.norm = nn.LayerNorm(6)
        self.mlp = MLP(rank, ranks, gated, marked)


class SequentialMLP(nn.Module):
    __module__ = "megatron.core.standin"

    def __init__(self, rank, ranks, experts=4):
        super().__init__()
        self.num_local_experts, self.ep_group = experts // ranks, group(rank, ranks)
        self.local_experts = nn.ModuleList(MLP(0, 1, False, False) for _ in range(self.num_local_experts))


def stage(layers, rank=0, ranks=1, gated=False, marked=True):
    module = nn.Module()
    module.layers = nn.ModuleList(Layer(number, rank, ranks, gated, marked) for number in layers)
    return module


RULES_OF_STAGE = ai.Rules(
    {"*norm.weight": "ones", "*bias": ai.spec("normal", std=0.1), "*": ai.spec("kaiming_normal", mode="fan_out")}
)


@pytest.mark.parametrize(("ranks", "gated", "marked"), [*product([1, 2, 3, 4], [False, True], [False, True])])
def test_tensor_parallelism_of_megatron(ranks, gated, marked):
    """All numbers of ranks give one model, with the fans of the whole; gates and values are cut one by one."""
    whole = init_module_(stage([1]), RULES_OF_STAGE, seed=3).layers[0].mlp
    plain = ai.kaiming_normal((24, 6), mode="fan_out", seed=3, name="layers.0.mlp.linear_fc1.weight", xp=torch)
    assert torch.equal(whole.linear_fc1.weight, plain)
    for rank in range(ranks):
        cut = init_module_(stage([1], rank, ranks, gated, marked), RULES_OF_STAGE, seed=3).layers[0].mlp
        n = 24 // ranks
        rows = range(rank * n, rank * n + n)
        if gated:
            half = n // 2
            rows = [*range(rank * half, rank * half + half), *range(12 + rank * half, 12 + rank * half + half)]
        assert torch.equal(cut.linear_fc1.weight, whole.linear_fc1.weight[list(rows)])
        assert torch.equal(cut.linear_fc1.bias, whole.linear_fc1.bias[list(rows)])
        assert torch.equal(cut.linear_fc2.weight, whole.linear_fc2.weight[:, rank * n : rank * n + n])
        assert torch.equal(cut.linear_fc2.bias, whole.linear_fc2.bias)


def test_strides_of_megatron():
    whole = init_module_(column(24, 6, 0, 1), {"*": "normal"}, seed=3).weight
    cut = init_module_(column(24, 6, 1, 2, stride=3), {"*": "normal"}, seed=3).weight
    assert torch.equal(cut, whole[[*range(4, 8), *range(12, 16), *range(20, 24)]])


def test_stages_of_a_pipeline_have_the_numbers_of_the_whole():
    whole = dict(init_module_(stage([1, 2, 3, 4]), RULES_OF_STAGE, seed=3).named_parameters())
    second = init_module_(stage([3, 4]), RULES_OF_STAGE, seed=3)
    for name, x in second.named_parameters():
        assert torch.equal(x, whole[name.replace("layers.1", "layers.3").replace("layers.0", "layers.2")])
    plan = init_module_(stage([3, 4]), RULES_OF_STAGE, seed=3, dry_run=True)
    assert plan[0].path == "layers.2.norm.weight"


def test_the_last_stage_has_a_copy_of_the_tied_embedding():
    """Megatron keeps one on both stages, and adds their gradients."""
    last = type("GPTModel", (nn.Module,), {"__module__": "megatron.core.standin"})()
    last.share_embeddings_and_output_weights = True
    last.output_layer = column(12, 6, 1, 2, bias=False)
    init_module_(last, {"embedding.word_embeddings.weight": ai.spec("normal", std=0.02)}, seed=3)
    whole = ai.normal((12, 6), std=0.02, seed=3, name="embedding.word_embeddings.weight", xp=torch)
    assert torch.equal(last.output_layer.weight, whole[6:])
    last.share_embeddings_and_output_weights = False
    assert init_module_(last, {"*": "normal"}, seed=3, dry_run=True)[0].path == "output_layer.weight"


def test_wrappers_of_megatron_add_nothing_to_paths(monkeypatch):
    """DistributedDataParallel around Float16Module around the model."""

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    model, whole = stage([3, 4]), dict(init_module_(stage([3, 4]), RULES_OF_STAGE, seed=3).named_parameters())
    for where, name in [
        ("megatron.core.transformer.module", "Float16Module"),
        ("megatron.core.distributed.data_parallel_base", "_BaseDataParallel"),
    ]:
        kind = type(name, (Wrapper,), {"__module__": where})
        monkeypatch.setitem(sys.modules, where, SimpleNamespace(**{name: kind}))
        model = kind(model)
    plan = init_module_(model, RULES_OF_STAGE, seed=3, dry_run=True)
    assert plan[0].path == "layers.2.norm.weight"
    init_module_(model, RULES_OF_STAGE, seed=3)
    assert all(torch.equal(x, whole[name.removeprefix("module.module.")]) for name, x in model.named_parameters())


def test_experts_have_the_numbers_of_the_whole():
    rules = {"*bias": ai.spec("normal", std=0.1), "*": "kaiming_normal"}
    whole = dict(init_module_(SequentialMLP(0, 1), rules, seed=3).named_parameters())
    second = init_module_(SequentialMLP(1, 2), rules, seed=3)
    for name, x in second.named_parameters():
        there = name.replace("experts.1", "experts.3").replace("experts.0", "experts.2")
        assert torch.equal(x, whole[there])
    assert shards_of(second) == {}


@pytest.mark.parametrize("gated", [False, True])
def test_grouped_experts(gated):
    """GroupedMLP keeps all experts of a rank in one matrix."""

    def make(expert_rank, expert_ranks, rank, ranks):
        kind = type("GroupedMLP", (nn.Module,), {"__module__": "megatron.core.standin"})
        module, width = kind(), (24 if gated else 12)
        module.config = SimpleNamespace(hidden_size=6, gated_linear_unit=gated)
        module.num_local_experts = 4 // expert_ranks
        module.ep_group, module.tp_group = group(expert_rank, expert_ranks), group(rank, ranks)
        module.weight1 = nn.Parameter(torch.zeros(6, module.num_local_experts * width // ranks))
        module.weight2 = nn.Parameter(torch.zeros(module.num_local_experts * 12 // ranks, 6))
        return init_module_(module, {"*": "kaiming_normal"}, seed=3)

    width = 24 if gated else 12
    first = ai.kaiming_normal((4, 6, width), layout="bio", seed=3, name="weight1", xp=torch)
    second = ai.kaiming_normal((4, 12, 6), layout="bio", seed=3, name="weight2", xp=torch)
    assert torch.equal(make(0, 1, 0, 1).weight1.view(4, 6, -1), first)
    cut = make(1, 2, 1, 2)
    half = first[2:, :, 6:12] if not gated else torch.cat([first[2:, :, 6:12], first[2:, :, 18:24]], 2)
    assert torch.equal(cut.weight1.view(2, 6, -1), half)
    assert torch.equal(cut.weight2.view(2, -1, 6), second[2:, 6:])


@pytest.mark.parametrize(("name", "mode", "axis"), [
    ("TEColumnParallelLinear", "column", 0), ("TERowParallelLinear", "row", 1), ("TELinear", None, None),
    ("TEColumnParallelGroupedLinear", None, 0), ("TERowParallelGroupedLinear", None, 1),
])  # fmt: skip
def test_layers_of_transformer_engine(name, mode, axis):
    """They mark each weight as cut along axis 0, whatever it is. Read, not run: it needs a GPU."""
    layer = nn.Linear(6, 8)
    layer.__class__ = type(name, (nn.Linear,), {"__module__": "megatron.core.standin"})
    layer.parallel_mode, layer.tp_group, layer._tp_group = mode, None, group(1, 2)
    layer.weight.tensor_model_parallel, layer.weight.partition_dim, layer.weight.partition_stride = True, 0, 1
    layer.layer_norm_weight = nn.Parameter(torch.empty(6))
    init_module_(layer, {"*": "normal"}, seed=3)
    shape = (8 * (1 + (axis == 0)), 6 * (1 + (axis == 1)))
    whole = ai.normal(shape, seed=3, name="weight", xp=torch)
    assert torch.equal(layer.weight, {0: whole[8:], 1: whole[:, 6:], None: whole}[axis])
    bias = ai.normal(shape[0], seed=3, name="bias", xp=torch)
    assert torch.equal(layer.bias, bias[8:] if axis == 0 else bias)
    assert torch.equal(layer.layer_norm_weight, ai.normal(6, seed=3, name="layer_norm_weight", xp=torch))


def test_grouped_experts_of_transformer_engine_have_the_numbers_of_the_whole():
    kind = type("TEGroupedMLP", (nn.Module,), {"__module__": "megatron.core.standin"})
    experts = kind()
    experts.config, experts.num_local_experts = SimpleNamespace(gated_linear_unit=True), 2
    experts.ep_group = group(1, 2)
    inner = type("TEColumnParallelGroupedLinear", (nn.Module,), {"__module__": "megatron.core.standin"})
    experts.linear_fc1 = inner()
    experts.linear_fc1.parallel_mode, experts.linear_fc1._tp_group = None, group(1, 2)
    for k in range(2):
        setattr(experts.linear_fc1, f"weight{k}", nn.Parameter(torch.empty(8, 6)))
    plan = init_module_(experts, {"*": "normal"}, seed=3, dry_run=True)
    assert [entry.path for entry in plan] == ["linear_fc1.weight2", "linear_fc1.weight3"]
    init_module_(experts, {"*": "normal"}, seed=3)
    whole = ai.normal((16, 6), seed=3, name="linear_fc1.weight3", xp=torch)
    assert torch.equal(experts.linear_fc1.weight1, torch.cat([whole[4:8], whole[12:16]]))


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda layer: setattr(layer.weight, "partition_dim", 2), "partition_dim 2"),
    (lambda layer: setattr(layer.weight, "partition_stride", 5), "partition_stride 5"),
    (lambda layer: object.__setattr__(layer, "tp_group", None), "no tp_group; pass its `shards`"),
    (lambda layer: object.__setattr__(layer, "tp_group", group(0, 3)), "have (36, 6), where the layer is (24, 6)"),
])  # fmt: skip
def test_attributes_of_megatron_that_disagree(spoil, said):
    layer = column(24, 6, 0, 2, bias=False)
    spoil(layer)
    with pytest.raises(ai.PlanError) as caught:
        init_module_(layer, {"*": "normal"}, seed=3)
    assert said in caught.value.problems["weight"]


def test_attributes_stay_where_memory_is_allocated():
    with torch.device("meta"):
        layer = column(24, 6, 1, 2)
    init_module_(layer, {"*": "normal"}, seed=3)
    assert layer.weight.partition_dim == 0
    assert layer.weight.device.type == "cpu"
    assert torch.equal(layer.weight, ai.normal((24, 6), seed=3, name="weight", xp=torch)[12:])


def test_init_method():
    def config():
        return [init_method("kaiming_normal", seed=0, name=name) for name in ("init_method", "output")]

    whole = [method(torch.empty(8, 6)) for method in config() for _ in range(2)]
    assert len({ai.fingerprint(x) for x in whole}) == 4
    first, second = config()
    for rank in range(2):
        layer = column(8, 6, rank, 2, bias=False)
        layer.weight.tp_group = layer.tp_group
        with pytest.raises(ValueError, match="call initialize_model_parallel first"):  # nobody tells the rank
            first(layer.weight)
    with pytest.raises(ValueError, match="`seed` must be given"):
        init_method("normal", seed=None, name="a")
    assert torch.equal(second(torch.empty(8, 6)), whole[2])


def test_init_method_in_a_parallel_world(monkeypatch):
    state = SimpleNamespace(
        model_parallel_is_initialized=lambda: True, get_expert_model_parallel_world_size=lambda: 1,
        get_tensor_model_parallel_world_size=lambda: 2, get_tensor_model_parallel_rank=lambda: 1,
        get_pipeline_model_parallel_rank=lambda: 3,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "megatron.core.parallel_state", state)
    method = init_method("kaiming_normal", seed=0, name="in")
    x = column(8, 6, 1, 2, bias=False).weight
    assert torch.equal(method(x), ai.kaiming_normal((8, 6), seed=0, name=("in", 3, 0), xp=torch)[4:])
    master = ai.kaiming_normal((8, 6), seed=0, name=("in", 3, 1), xp=torch)
    assert torch.equal(method(torch.empty(8, 6)), master)
    with pytest.raises(ValueError, match="whole, or a part of 2"):
        method(nn.Parameter(torch.empty(8, 6)))
    state.get_expert_model_parallel_world_size = lambda: 2
    with pytest.raises(ValueError, match="expert parallelism"):
        method(x)


# torchtitan


class Titan(nn.Module):
    """A module that initializes itself as torchtitan's do: children first, then its own parameters by hooks."""

    _param_init = None

    def init_states(self):
        for child in self.children():
            child.init_states()
        for name, x in self.named_parameters(recurse=False):
            self._param_init[name](x)


for _name in ("_init_self_parameters",):
    setattr(Titan, _name, lambda self: None)


class TitanLinear(nn.Linear, Titan):
    pass


class TitanModel(Titan):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({str(k): TitanLinear(6, 6) for k in range(4)})
        self.output = TitanLinear(6, 10)

    def init_states(self):
        for layer in self.layers.values():
            layer.init_states()
        self.output.init_states()


def test_hooks_of_torchtitan():
    rules = {"*bias": None, "output.weight": "xavier_uniform", "*": "kaiming_normal"}
    with torch.device("meta"):
        built = TitanModel()
    plan = param_init_(built, rules, seed=3)
    assert [entry.path for entry in plan if entry.is_drawn][-1] == "output.weight"
    stage = copy.deepcopy(built)  # as pipelining_fn does
    del stage.layers["0"], stage.layers["1"]
    whole = init_module_(TitanModel(), rules, seed=3)
    for each in (built, stage):
        each.to_empty(device="cpu")
        for x in each.parameters():
            x.detach().fill_(-7)
        each.init_states()
        for name, x in each.named_parameters():
            assert torch.equal(x, dict(whole.named_parameters())[name]) != name.endswith("bias"), name
            assert not name.endswith("bias") or (x == -7).all()
    with pytest.raises(ValueError, match=r"must have the shape that was planned, \(10, 6\); got \(5, 6\)"):
        built.output._param_init["weight"](torch.empty(5, 6))
    assert repr(built.output._param_init["weight"]).startswith("ParamInit('output.weight', ")


def test_hooks_of_torchtitan_that_are_refused():
    with pytest.raises(TypeError, match=r"must have modules of torchtitan.*got Linear, which holds weight"):
        param_init_(nn.Linear(3, 3), {"*": "zeros"}, seed=0)
    with pytest.raises(ValueError, match="`seed` must be given"):
        param_init_(TitanModel(), {"*": "zeros"}, seed=None)
    with pytest.raises(ai.PlanError):
        param_init_(TitanModel(), {"*weight": "zeros"}, seed=0)
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module"):
        param_init_({}, {}, seed=0)


# Schemes of one's own


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cut(data):
    """Boxes and ranges at random, in several parts: each is that of the whole."""
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    size = math.prod(shape)
    parts = []
    for _ in range(data.draw(st.integers(0, 3))):
        if data.draw(st.booleans()):
            start = data.draw(st.integers(0, size))
            stop = data.draw(st.integers(start, size))
            parts.append(Part(torch.full((stop - start,), -7.0), flat=slice(start, stop)))
        else:
            ends = [sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n)))) for n in shape]
            box = tuple(slice(a, b) for a, b in ends)
            parts.append(Part(torch.full(tuple(b - a for a, b in ends), -7.0), index=box))
    module = nn.Module()
    module.w = nn.Parameter(torch.empty(0))  # the parts are elsewhere, as those of ZeRO-3
    name = data.draw(st.sampled_from(["normal", "uniform", "trunc_normal"]))
    init_module_(module, {"w": name}, seed=9, shards={"w": Shard(shape, parts)})
    whole = getattr(ai, name)(shape, seed=9, name="w", xp=torch)
    for part in parts:
        assert torch.equal(part.x, part.of(whole))


def test_shards_by_a_function():
    """On the meta device, too: the function sees the tensor that is drawn into."""
    with torch.device("meta"):
        layer = nn.Linear(6, 2)

    def shards(path, x):
        return Shard((4, 6), [Part(x.detach(), index=slice(2, 4))]) if path == "weight" else None

    init_module_(layer, {"weight": "kaiming_normal", "bias": "zeros"}, seed=0, shards=shards)
    assert torch.equal(layer.weight, ai.kaiming_normal((4, 6), seed=0, name="weight", xp=torch)[2:])
    assert layer.bias.tolist() == [0, 0]


X = torch.zeros(2, 6)


@pytest.mark.parametrize(("make", "error", "said"), [
    (lambda: Shard((4, 6), [Part(X, index=slice(3, 5))]), ValueError, "must lie inside the shape"),
    (lambda: Shard((4, 6), [Part(X, index=slice(1, 4))]), ValueError, r"selects \(3, 6\) of \(4, 6\)"),
    (lambda: Shard((4, 6), [Part(X, index=slice(3, 1))]), ValueError, "end no earlier than they start"),
    (lambda: Shard((4, 6), [Part(X, index=slice(0, 4, 2))]), ValueError, "steps of 1"),
    (lambda: Shard((4, 6), [Part(X, index=2)]), ValueError, "steps of 1"),
    (lambda: Shard((4, 6), [Part(X[0], flat=slice(20, 26))]), ValueError, "`flat` must be 0 <= start <= stop <= 24"),
    (lambda: Shard((4, 6), [Part(X[0], flat=slice(6, 2))]), ValueError, "end no earlier than they start"),
    (lambda: Shard((4, 6), [Part(X[0], flat=slice(0, 5))]), ValueError, r"selects \(5,\) of \(4, 6\)"),
    (lambda: Shard((4, 6), [Part(X, flat=slice(0, 12))]), ValueError, r"a tensor of shape \(2, 6\)"),
    (lambda: Part([1], index=slice(0, 1)), TypeError, r"`x` of a part must be a torch tensor; got \[1\]"),
    (lambda: Part(X.numpy(), index=slice(0, 2)), TypeError, "`x` of a part must be a torch tensor"),
    (lambda: Shard((4, 6), [Part(X)]), TypeError, "either an `index` or a range `flat`"),
    (lambda: Shard((4, 6), [Part(X, index=slice(0, 2), flat=slice(0, 12))]), TypeError, "either an `index`"),
    (lambda: Shard((4, 6), [X]), TypeError, "must be parts"),
    (lambda: Shard((4, -6), []), ValueError, "`shape`"),
])  # fmt: skip
def test_shards_that_are_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_shards_are_of_the_memory_of_the_parameter():
    layer = nn.Linear(6, 2, bias=False)
    old = layer.weight
    layer.weight = nn.Parameter(torch.full((2, 6), 7.0))
    for parts, said in [
        ([Part(old, index=slice(0, 2))], "got parts in other memory for 'weight'"),
        ([], "got parts with 0 elements for 'weight'"),
        ([Part(layer.weight[:1], index=slice(0, 1))], "got parts with 6 elements"),
        ([Part(layer.weight, index=slice(0, 2)), Part(layer.weight, index=slice(2, 4))], "got parts that overlap"),
        ([Part(layer.weight[:1], index=slice(k, k + 1)) for k in (0, 2)], "got parts that overlap in memory"),
        ([Part(layer.weight.view(torch.int32), index=slice(0, 2))], "got parts of torch.int32 in a tensor of torch.fl"),
        ([Part(layer.weight.view(torch.float16)[:, :6], index=slice(0, 2))], "got parts of torch.float16 in a tensor"),
        ([Part(layer.weight.detach().to("meta"), index=slice(0, 2))], "must have parts with values"),
    ]:
        with pytest.raises(ai.PlanError, match=said):
            init_module_(layer, {"*": "normal"}, seed=0, shards={"weight": Shard((4, 6), parts)})
    assert (layer.weight == 7).all()


def test_shards_of_a_tensor_with_gaps():
    """Of a layer that has every other column of a matrix: neighbours in memory are no part of it."""
    both = torch.full((2, 6), 7.0)
    layer = nn.Linear(3, 2, bias=False)
    layer.weight = nn.Parameter(both[:, ::2])
    columns = [Part(layer.weight[:, k : k + 1], index=(slice(0, 2), slice(3 - k, 4 - k))) for k in range(3)]
    init_module_(layer, {"*": "normal"}, seed=0, shards={"weight": Shard((4, 6), columns)})
    assert torch.equal(both[:, ::2], ai.normal((4, 6), seed=0, name="weight", xp=torch)[:2, [3, 2, 1]])
    assert (both[:, 1::2] == 7).all()
    for wrong in (both[:, :3], both[:, 1:4], both[:, 1::2]):
        shard = Shard((4, 6), [Part(wrong, index=(slice(0, 2), slice(0, 3)))])
        with pytest.raises(ai.PlanError, match="got parts with elements beside those of the tensor"):
            init_module_(layer, {"*": "normal"}, seed=0, shards={"weight": shard})


def tied_layers():
    pair = nn.Module()
    pair.a, pair.b = nn.Linear(6, 2, bias=False), nn.Linear(6, 2, bias=False)
    pair.b.weight = pair.a.weight
    return pair


def rows(x, start):
    return Shard((8, 6), [Part(x[:1], index=slice(start, start + 1)), Part(x[1:], index=slice(start + 1, start + 2))])


@pytest.mark.parametrize("path", ["a.weight", "b.weight"])
@pytest.mark.parametrize("is_function", [False, True])
def test_shards_under_any_path_of_a_tied_tensor(path, is_function):
    pair = tied_layers()
    given = {path: rows(pair.a.weight, 2)}
    init_module_(pair, {"*": "normal"}, seed=0, shards=(lambda each, x: given.get(each)) if is_function else given)
    assert torch.equal(pair.a.weight, ai.normal((8, 6), seed=0, name="a.weight", xp=torch)[2:4])
    both = {"a.weight": rows(pair.a.weight, 4), "b.weight": rows(pair.b.weight, 4)}
    init_module_(pair, {"*": "normal"}, seed=0, shards=both)
    assert torch.equal(pair.a.weight, ai.normal((8, 6), seed=0, name="a.weight", xp=torch)[4:6])


@pytest.mark.parametrize("is_function", [False, True])
def test_shards_of_a_tied_tensor_that_contradict(is_function):
    pair = tied_layers()
    given = {"a.weight": rows(pair.a.weight, 2), "b.weight": rows(pair.a.weight, 4)}
    with pytest.raises(ai.PlanError, match="must give one Shard for the paths of a tied tensor"):
        init_module_(pair, {"*": "normal"}, seed=0, shards=(lambda each, x: given[each]) if is_function else given)


NORMED = {
    "parametrizations.weight.original1": nn.utils.parametrizations.weight_norm,
    "weight_v": nn.utils.weight_norm,
}

SCALES = {"parametrizations.weight.original1": "*original0", "weight_v": "*_g"}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("path", NORMED)
@pytest.mark.parametrize("is_function", [False, True])
def test_shards_behind_a_weight(path, is_function):
    """They go with the tensors that are cut; the weight itself, which is made of parts, can't be assigned."""
    layer = NORMED[path](nn.Linear(6, 2, bias=False))
    x = layer.get_parameter(path)
    before = x.detach().clone()

    def draw(rules, path):
        given = {path: rows(x, 2)}
        init_module_(layer, rules, seed=0, shards=(lambda each, x: given.get(each)) if is_function else given)

    with pytest.raises(
        ai.PlanError, match=r"weight .* is made of others, so that `shards` can't say what is here of it"
    ):
        draw({"*": "normal"}, "weight")
    with pytest.raises(ai.PlanError, match=f"weight .* is made of {path}, of which a part is here: have rules that"):
        draw({"*": "normal"}, path)
    assert torch.equal(x, before)
    draw({path: "normal", SCALES[path]: "ones"}, path)
    assert torch.equal(x, ai.normal((8, 6), seed=0, name=path, xp=torch)[2:4])


@pytest.mark.parametrize("kind", ["float64", "bfloat16", "int32", "float8_e4m3fn", "complex64"])
def test_parts_of_another_dtype(kind):
    """Another precision is drawn in it, as a master copy; what can't hold the values is refused before a draw."""
    layers = nn.Sequential(nn.Linear(6, 2, bias=False), nn.Linear(6, 2, bias=False))
    before = layers[0].weight.detach().clone()
    layers[1].weight.data = torch.empty(0)
    part = torch.zeros(2, 6).to(getattr(torch, kind))
    shards = {"1.weight": Shard((8, 6), [Part(part, index=slice(0, 2))])}
    if kind in ("float64", "bfloat16"):
        init_module_(layers, {"*": "normal"}, seed=0, shards=shards)
        assert torch.equal(part, ai.normal((8, 6), seed=0, name="1.weight", xp=torch, dtype=kind)[:2])
        return
    with pytest.raises(
        ai.PlanError, match=f"1.weight .* is float32, and a part of it that is here {kind}, which can't"
    ):
        init_module_(layers, {"*": "normal"}, seed=0, shards=shards)
    assert torch.equal(layers[0].weight, before)


def test_parts_say_where_they_are_and_not_what_they_hold():
    assert repr(Part(torch.zeros(2, 6), index=slice(2, 4))) == "Part((2, 6) torch.float32, index=slice(2, 4, None))"
    with pytest.raises(TypeError, match=r"`parts` must be a list of parts"):
        Shard((4, 6), Part(torch.zeros(2, 6), index=slice(2, 4)))
    with pytest.raises(TypeError, match=r"`module` must be a torch.nn.Module; got OrderedDict"):
        shards_of(nn.Linear(2, 2).state_dict())


def test_copies_of_ddp_need_a_seed(monkeypatch):
    class Copies(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(3, 3)

    from torch.nn.parallel import distributed

    monkeypatch.setattr(distributed, "DistributedDataParallel", Copies)
    with pytest.raises(ValueError, match="`seed` must be given where DistributedDataParallel has copies"):
        init_module_(Copies(), {"*": "normal"}, seed=None)
    init_module_(Copies(), {"*": "normal"}, seed=0)


def test_a_draw_leaves_memory_that_can_be_resized():
    """FSDP1 resizes the storage of what was gathered; torch refuses that once Tensor.numpy() has seen it."""
    x = torch.empty(4, 6)
    for draw in (
        lambda: ai.normal_(x, seed=0),
        lambda: ai.orthogonal_(x, seed=0),
        lambda: ai.eye_(x),
        lambda: ai.fingerprint(x),
    ):
        draw()
        x.untyped_storage().resize_(0)
        x.untyped_storage().resize_(96)
    layer = nn.Linear(6, 4)
    ai.report(layer, {"*": "zeros"})
    layer.weight.untyped_storage().resize_(0)


def test_reports_of_partitions():
    report = ai.report(init_module_(partitioned(model(), 0, 2), RULES, seed=3), RULES)
    row = report["0.weight"]
    assert (row.shape, row.fan_in) == ((5, 7), 7)
    assert abs(row.std - (2 / 7) ** 0.5) < 0.3
    assert row.findings == ()


def test_rules_that_draw_nothing_are_noticed():
    from arrayinit import recipes

    with pytest.warns(UserWarning, match="nothing is drawn: no rule that draws matches any path"):
        init_module_(nn.Linear(3, 3), recipes.lora(adapter="second"), seed=0)


def test_wrong_shards_of_a_model():
    layer = nn.Linear(6, 2)
    with pytest.raises(ValueError, match="`shards` must have paths of the model; got wieght"):
        init_module_(layer, {"*": "zeros"}, seed=0, shards={"wieght": Shard((4, 6), [])})
    with pytest.raises(TypeError, match=r"`shards` must be a mapping of paths to arrayinit.torch.Shard"):
        init_module_(layer, {"*": "zeros"}, seed=0, shards={"weight": (4, 6)})
    with pytest.raises(TypeError, match="`shards` must give a Shard or None for 'weight'; got 3"):
        init_module_(layer, {"*": "zeros"}, seed=0, shards=lambda path, x: 3)
    meta = nn.Linear(6, 2, device="meta")
    with pytest.raises(ai.PlanError, match="on the meta device, pass a function"):
        init_module_(
            meta, {"*": "zeros"}, seed=0, shards={"weight": Shard((4, 6), [Part(meta.weight, index=slice(2, 4))])}
        )
