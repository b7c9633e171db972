"""Parameters that Megatron cuts without saying so on them: by its sharded_state_dict, block by block, or tied.

Stand-ins have the attributes of megatron-core 0.16.1. Its GPTModel, GatedDeltaNet and MambaMixer (without its kernels)
were run once beside this on 1 and 2 ranks, and each part was that of the whole; for the latter two, each tensor of
their sharded_state_dict. T5Model and Transformer Engine's layers were read, not run.
"""

from itertools import product
from types import SimpleNamespace

import pytest

import arrayinit as ai

torch = pytest.importorskip("torch")
nn = torch.nn

from megatron_layers import column, group, megatron, row  # noqa: E402

from arrayinit.torch import Part, Shard, init_module_, shards_of  # noqa: E402

RANKS = [(0, 1), (0, 2), (1, 2), (3, 4)]
HOW = "tensor parallel in Megatron"


def standin(name, base=nn.Module, **fields):
    module = type(name, (base,), {"__module__": "megatron.core.standin"})()
    for key, value in fields.items():
        setattr(module, key, value)
    return module


def marked(x):
    """As a layer marks a parameter that it cuts itself: without the axis."""
    x.tensor_model_parallel = True
    return x


def drawn_in_blocks(x, blocks, rank, ranks, name, shape=(), spec="normal", **axes):
    """Whether a tensor has of each block the rank's part of the whole."""
    whole = getattr(ai, spec)((sum(blocks), *shape), seed=3, name=name, xp=torch, **axes)
    wanted = torch.cat([block.chunk(ranks)[rank] for block in whole.split(list(blocks))])
    return torch.equal(x, wanted)


@pytest.mark.parametrize(("rank", "ranks"), RANKS)
def test_the_offsets_of_a_softmax(rank, ranks):
    """One for each head, of which a rank has some. Nothing on the parameter says so."""
    config = SimpleNamespace(num_attention_heads=8)
    layer = standin("DotProductAttention", tp_group=group(rank, ranks), config=config)
    layer.softmax_offset = nn.Parameter(torch.zeros(8 // ranks))
    init_module_(layer, {"*": "normal"}, seed=3)
    assert drawn_in_blocks(layer.softmax_offset, [8], rank, ranks, "softmax_offset")
    assert ("softmax_offset" in shards_of(layer)) == (ranks > 1)
    if ranks > 1:
        config.num_attention_heads = 9
        with pytest.raises(ai.PlanError, match=r"in blocks of the sizes \(9,\), which \d ranks of \(\d,\) don't make"):
            init_module_(layer, {"*": "normal"}, seed=3)
        layer.config = None
        with pytest.raises(ai.PlanError, match="in blocks of unknown sizes"):
            init_module_(layer, {"*": "normal"}, seed=3)


def delta_net(rank, ranks, has_marks):
    """GatedDeltaNet: query, key, value, gate, beta and alpha in one projection."""
    layer = standin("GatedDeltaNet", qk_dim=8, v_dim=16, num_value_heads=4)
    layer.pg_collection = SimpleNamespace(tp=group(rank, ranks))
    layer.in_proj = column(56, 6, rank, ranks, marked=has_marks)
    layer.conv1d = nn.Conv1d(32 // ranks, 32 // ranks, 3, groups=32 // ranks)
    layer.dt_bias, layer.A_log = (nn.Parameter(torch.zeros(4 // ranks)) for _ in range(2))
    layer.out_norm = nn.LayerNorm(4)
    layer.out_proj = row(6, 16, rank, ranks)
    for x in (layer.dt_bias, layer.A_log, layer.conv1d.weight, layer.conv1d.bias):
        marked(x)
    return layer


def mamba(rank, ranks, has_marks):
    layer = standin("MambaMixer", d_inner=16, ngroups=4, d_state=2, nheads=8, D_has_hdim=has_marks)
    layer.tp_group = group(rank, ranks)
    layer.in_proj = column(56, 6, rank, ranks, marked=has_marks)
    layer.conv1d = nn.Conv1d(32 // ranks, 32 // ranks, 3, groups=32 // ranks)
    layer.dt_bias, layer.A_log = (nn.Parameter(torch.zeros(8 // ranks)) for _ in range(2))
    layer.D = nn.Parameter(torch.ones((16 if has_marks else 8) // ranks))
    layer.norm = standin("ExtendedRMSNorm")
    layer.norm.weight = nn.Parameter(torch.ones(16 // ranks))
    layer.out_proj = row(6, 16, rank, ranks)
    for x in (layer.dt_bias, layer.A_log, layer.D, layer.conv1d.weight, layer.conv1d.bias, layer.norm.weight):
        marked(x)
    return layer


@pytest.mark.parametrize(("rank", "ranks", "has_marks"), [(*at, marks) for at, marks in product(RANKS, [True, False])])
def test_fused_projections_are_cut_block_by_block(rank, ranks, has_marks):
    """Convolutions of one channel each have as many groups as the whole has channels."""
    rules = {"conv1d.weight": ai.spec("kaiming_normal", mode="fan_out"), "*": "normal"}
    net = init_module_(delta_net(rank, ranks, has_marks), rules, seed=3)
    at = (rank, ranks)
    for name in ("dt_bias", "A_log"):
        assert drawn_in_blocks(getattr(net, name), [4], *at, name)
    assert drawn_in_blocks(net.in_proj.weight, [8, 8, 16, 16, 4, 4], *at, "in_proj.weight", (6,))
    assert drawn_in_blocks(net.in_proj.bias, [8, 8, 16, 16, 4, 4], *at, "in_proj.bias")
    axes = {"spec": "kaiming_normal", "mode": "fan_out", "groups": 32}
    assert drawn_in_blocks(net.conv1d.weight, [8, 8, 16], *at, "conv1d.weight", (1, 3), **axes)
    assert drawn_in_blocks(net.conv1d.bias, [8, 8, 16], *at, "conv1d.bias")
    assert torch.equal(net.out_norm.weight, ai.normal(4, seed=3, name="out_norm.weight", xp=torch))
    mixer = init_module_(mamba(rank, ranks, has_marks), rules, seed=3)
    for name, size in (("dt_bias", 8), ("A_log", 8), ("D", 16 if has_marks else 8), ("norm.weight", 16)):
        assert drawn_in_blocks(mixer.get_parameter(name), [size], *at, name), name
    assert drawn_in_blocks(mixer.in_proj.weight, [16, 16, 8, 8, 8], *at, "in_proj.weight", (6,))
    assert drawn_in_blocks(mixer.conv1d.weight, [16, 8, 8], *at, "conv1d.weight", (1, 3), **axes)
    assert drawn_in_blocks(mixer.conv1d.bias, [16, 8, 8], *at, "conv1d.bias")


def test_blocks_that_are_unknown_are_refused():
    net = delta_net(1, 2, True)
    del net.qk_dim
    with pytest.raises(ai.PlanError) as caught:
        init_module_(net, {"*": "normal"}, seed=3)
    assert set(caught.value.problems) == {
        f"{layer}.{name}" for layer in ("in_proj", "conv1d") for name in ("weight", "bias")
    }
    net.qk_dim, net.v_dim = 8, 12
    with pytest.raises(ai.PlanError, match=r"in_proj.weight .*in blocks of the sizes \(8, 8, 12, 12, 4, 4\)"):
        init_module_(net, {"*": "normal"}, seed=3)


def test_a_mark_without_an_axis():
    """On one rank all is here; on several nothing tells which part is."""
    layer = megatron(nn.Linear(6, 4, bias=False), tp_group=group(0, 1))
    marked(layer.weight)
    init_module_(layer, {"*": "normal"}, seed=3)
    assert torch.equal(layer.weight, ai.normal((4, 6), seed=3, name="weight", xp=torch))
    layer.tp_group = group(1, 2)
    with pytest.raises(ai.PlanError, match="nothing tells along which axis: pass its `shards`"):
        init_module_(layer, {"*": "normal"}, seed=3)
    rows = Shard((8, 6), [Part(layer.weight, index=slice(4, 8))])
    init_module_(layer, {"*": "normal"}, seed=3, shards={"weight": rows})
    assert torch.equal(layer.weight, ai.normal((8, 6), seed=3, name="weight", xp=torch)[4:])


def test_experts_in_memory_that_can_not_be_seen_as_theirs():
    layer = standin("GroupedMLP", num_local_experts=2, ep_group=group(0, 2), tp_group=group(0, 1))
    layer.config = SimpleNamespace(hidden_size=6, gated_linear_unit=False)
    layer.weight1 = nn.Parameter(torch.zeros(24, 6).t())
    with pytest.raises(ai.PlanError, match="must be contiguous"):
        init_module_(layer, {"*": "normal"}, seed=3)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("normed", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_cut_weights_that_are_made_of_others(normed):
    """The tensors behind them have no marks, so that each rank would draw the same."""
    for rank, ranks in RANKS[:3]:
        layer = normed(column(24, 6, rank, ranks, bias=False))
        if ranks == 1:
            init_module_(layer, {"*": "normal"}, seed=3)
            continue
        for rules in ({"*": "normal"}, dict.fromkeys((name for name, _ in layer.named_parameters()), "normal")):
            with pytest.raises(ai.PlanError, match=f"in a layer that is {HOW} on 2 ranks: nothing tells how those"):
                init_module_(layer, rules, seed=3)
        with pytest.raises(ai.PlanError, match="nothing tells how those are cut"):
            shards_of(layer)
    net = delta_net(0, 2, True)
    normed(net.conv1d)
    with pytest.raises(ai.PlanError, match=r"conv1d.weight .*is made of others"):
        init_module_(net, {"*": "normal"}, seed=3)
    whole = normed(megatron(nn.Linear(6, 4), output_size=4, input_size=6, tp_group=group(1, 2)))
    init_module_(whole, {"*": "normal"}, seed=3)


# The tied output layer


def words(rank, ranks):
    return standin("LanguageModelEmbedding", word_embeddings=column(12, 6, rank, ranks, bias=False))


WORDS = "embedding.word_embeddings.weight"
ONLY_WORDS = {WORDS: "normal", "*": "zeros"}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_tied_output_layer_beside_the_embedding(device):
    """The last stage has both for multi-token prediction, in memory of their own. Both get the same values."""
    with torch.device(device):
        last = standin("GPTModel", share_embeddings_and_output_weights=True, embedding=words(1, 2))
        last.output_layer = column(12, 6, 1, 2, bias=False)
    plan = init_module_(last, {WORDS: "normal"}, seed=3, dry_run=True)
    assert [(entry.path, entry.parameter.tied) for entry in plan] == [(WORDS, ("output_layer.weight",))]
    init_module_(last, {WORDS: "normal"}, seed=3)
    whole = ai.normal((12, 6), seed=3, name=WORDS, xp=torch)
    assert torch.equal(last.embedding.word_embeddings.weight, whole[6:])
    assert torch.equal(last.output_layer.weight, whole[6:])
    assert last.output_layer.weight is not last.embedding.word_embeddings.weight
    assert set(shards_of(last)) == {WORDS, "output_layer.weight"}
    last.output_layer = column(14, 6, 1, 2, bias=False)
    with pytest.raises(ai.PlanError, match=r"has \(12, 6\) .*output_layer.weight, which is tied to it, \(14, 6\)"):
        init_module_(last, {WORDS: "normal"}, seed=3)
    init_module_(last, {"*": None}, seed=3)


def test_a_tied_output_layer_that_is_kept_without_values():
    with torch.device("meta"):
        last = standin("GPTModel", share_embeddings_and_output_weights=True, embedding=words(1, 2))
        last.output_layer = column(12, 6, 1, 2, bias=False)
    init_module_(last, {"*": None}, seed=3)
    assert last.output_layer.weight.is_meta


def test_the_tied_output_layer_of_t5():
    """T5Model has the flag; its lm_head has the layer, whose bias is its own."""
    last = standin("T5Model", share_embeddings_and_output_weights=True)
    last.lm_head = standin("T5LMHead", output_layer=column(12, 6, 1, 2))
    last.output_layer = last.lm_head.output_layer
    plan = init_module_(last, ONLY_WORDS, seed=3, dry_run=True)
    assert [entry.path for entry in plan] == [WORDS, "lm_head.output_layer.bias"]
    init_module_(last, ONLY_WORDS, seed=3)
    assert torch.equal(last.output_layer.weight, ai.normal((12, 6), seed=3, name=WORDS, xp=torch)[6:])
    nested = nn.Module()
    nested.language = last
    assert init_module_(nested, {"*": "zeros"}, seed=3, dry_run=True)[0].path == f"language.{WORDS}"


def test_the_bias_of_a_tied_output_layer_is_its_own():
    """As of BertModel."""
    last = standin("BertModel", share_embeddings_and_output_weights=True, output_layer=column(12, 6, 1, 2))
    plan = init_module_(last, {"*": "normal"}, seed=3, dry_run=True)
    assert [entry.path for entry in plan] == [WORDS, "output_layer.bias"]
