"""torch modules: real layers, tied and shared ones, the meta device, buffers, and what must stay as it was."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conftest import same  # noqa: E402
from torch import nn  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit.models.torch import parameters_of  # noqa: E402
from arrayinit.torch import init_module_  # noqa: E402

NORMAL = ai.spec("normal", std=0.02)
RULES = {"*bias": "zeros", "*norm*.weight": "ones", "*": NORMAL}


class Tied(nn.Module):
    def __init__(self, layers=2):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(layers))
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 11)
        self.head.weight = self.embed.weight


def values(module):
    return {name: x.detach().clone() for name, x in [*module.named_parameters(), *module.named_buffers()]}


def test_each_parameter_has_its_own_stream():
    model = init_module_(Tied(), RULES, seed=3)
    for name, x in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            assert (x == float(name.endswith("weight"))).all()
        else:
            assert same(x, NORMAL(tuple(x.shape), seed=3, name=name)), name
            assert x.requires_grad
            assert x.grad_fn is None


def test_adding_removing_and_reordering_layers_leaves_the_others_alone():
    def make(names):
        return nn.ModuleDict({name: nn.Linear(6, 6) for name in names})

    rules = {"*": ai.spec("uniform", a=-1.0, b=1.0)}
    three = values(init_module_(make("abc"), rules, seed=0))
    more = values(init_module_(make("cxaby"), rules, seed=0))
    less = values(init_module_(make("ca"), rules, seed=0))
    for name, x in three.items():
        assert same(more[name], x)
        assert name not in less or same(less[name], x)


def test_tied_weights_are_drawn_once():
    model = Tied()
    made = init_module_(model, RULES, seed=3, dry_run=True)
    assert made[0].path == "embed.weight"
    assert made[0].parameter.tied == ("head.weight",)
    assert "head.weight" not in [entry.path for entry in made]
    init_module_(model, RULES, seed=3)
    assert model.head.weight is model.embed.weight
    assert same(model.head.weight, NORMAL((11, 8), seed=3, name="embed.weight"))


def test_a_shared_layer_is_drawn_once():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    made = init_module_(model, {"0.*": NORMAL}, seed=3, dry_run=True)
    assert [(entry.path, entry.parameter.tied) for entry in made] == [
        ("0.weight", ("2.weight",)), ("0.bias", ("2.bias",)),
    ]  # fmt: skip


def test_a_layer_that_knows_what_it_is_in():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    layer.parent = model
    made = init_module_(model, {"*": NORMAL}, seed=3, dry_run=True)
    assert [(entry.path, entry.parameter.tied) for entry in made] == [
        ("0.weight", ("2.weight",)), ("0.bias", ("2.bias",)),
    ]  # fmt: skip


@pytest.mark.parametrize("device", [None, "cpu"])
def test_meta_models_become_what_real_ones_are(device):
    with torch.device("meta"):
        model = Tied()
    assert init_module_(model, RULES, seed=3, device=device) is model
    expected = values(init_module_(Tied(), RULES, seed=3))
    held = values(model)
    assert held.keys() == expected.keys()
    assert all(same(held[name], x) and held[name].dtype == x.dtype for name, x in expected.items())
    assert model.head.weight is model.embed.weight
    assert len(list(model.parameters())) == len(list(Tied().parameters()))
    assert isinstance(model.embed.weight, nn.Parameter)
    assert model.norm.num_batches_tracked.dtype == torch.int64
    model.layers[0](torch.ones(1, 3, 8)).sum().backward()


def test_what_is_real_in_a_partly_meta_model_is_kept():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    kept = model[0].weight
    before = kept.detach().clone()
    init_module_(model, {"0.*": None, "1.*": NORMAL}, seed=0)
    assert model[0].weight is kept
    assert same(kept, before)
    assert same(model[1].weight, NORMAL((4, 4), seed=0, name="1.weight"))


def test_what_is_kept_stays_on_the_meta_device():
    model = nn.Sequential(nn.Linear(4, 4, device="meta"), nn.Linear(4, 4, device="meta"))
    model[1].bias = model[0].bias
    init_module_(model, {"0.*": None, "1.*": NORMAL}, seed=0)
    assert model[0].weight.is_meta
    assert model[0].bias.is_meta
    assert model[1].bias is model[0].bias
    assert same(model[1].weight, NORMAL((4, 4), seed=0, name="1.weight"))


def test_parameters_of_the_same_memory_are_tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(model[0].weight)
    held = model[1].weight
    made = init_module_(model, {"*": NORMAL}, seed=0, dry_run=True)
    assert made[0].parameter.tied == ("1.weight",)
    init_module_(model, {"*": NORMAL}, seed=0)
    assert model[1].weight is held
    assert same(held, NORMAL((4, 4), seed=0, name="0.weight"))


def test_what_is_parametrized_is_of_its_layer():
    layer = nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(8, 4, 3, groups=2))
    rules = [
        ai.Rule("*original", ai.spec("kaiming_normal"), kind="ConvTranspose2d"), ("*", "zeros"),
    ]  # fmt: skip
    made = {entry.path: entry for entry in init_module_(nn.Sequential(layer), rules, seed=0, dry_run=True)}
    entry = made["0.parametrizations.weight.original"]
    assert entry.initializer == ai.spec("kaiming_normal", groups=2, transposed=True)
    alone = init_module_(layer, rules, seed=0, dry_run=True)
    assert alone[0].path == "parametrizations.weight.original"
    assert alone[0].initializer == entry.initializer


@pytest.mark.parametrize(("device", "said"), [("cudaa", "one that torch has here"), ("meta", "one that holds values")])
def test_devices_that_can_hold_nothing(device, said):
    model = nn.Linear(4, 4, device="meta")
    with pytest.raises(ValueError, match=f"`device` must be {said}; got '{device}'"):
        init_module_(model, {"*": NORMAL}, seed=0, device=device)
    assert model.weight.is_meta


def test_buffers_stay_unless_a_rule_is_for_them():
    model = nn.BatchNorm1d(4)
    model.running_var.fill_(7)
    rules = ai.Rules({"weight": "ones", "*": "zeros"})
    init_module_(model, rules, seed=0)
    assert (model.running_var == 7).all()
    init_module_(model, ai.Rules([ai.Rule("running_var", ai.spec("ones"), kind="_NormBase"), *rules]), seed=0)
    assert (model.running_var == 1).all()


def test_buffers_on_the_meta_device():
    model = nn.BatchNorm1d(4, device="meta")
    init_module_(model, {"*": "ones"}, seed=0)
    assert (model.running_mean == 0).all()
    assert (model.running_var == 1).all()
    assert model.num_batches_tracked == 0
    model = nn.Linear(3, 4, device="meta")
    model.register_buffer("scale", torch.empty(4, device="meta"))
    with pytest.raises(ai.PlanError, match=r"scale.*a buffer without values(.|\n)*\[\*rules, \*recorded\]"):
        init_module_(model, {"*": "ones"}, seed=0)
    assert model.weight.is_meta
    init_module_(model, [ai.Rule("scale", NORMAL, kind="buffer"), ("*", "ones")], seed=0)
    assert same(model.scale, NORMAL((4,), seed=0, name="scale"))


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (nn.Conv2d(8, 12, 3, groups=4), {"groups": 4}),
        (nn.Conv1d(8, 12, 3), {}),
        (nn.ConvTranspose2d(8, 12, 3, groups=2), {"groups": 2, "transposed": True}),
        (nn.Linear(8, 12), {}),
    ],
)
def test_layers_say_what_their_axes_mean(layer, axes):
    made = init_module_(layer, {"weight": "kaiming_normal", "bias": "zeros"}, seed=0, dry_run=True)
    assert made[0].initializer == ai.spec("kaiming_normal", **axes)
    fan = layer.in_channels // layer.groups * layer.kernel_size[0] ** (layer.weight.ndim - 2) if axes or hasattr(
        layer, "groups") else 8  # fmt: skip
    assert ai.describe(made[0].initializer, made[0].shape).fan_in == fan


def test_kinds_are_those_of_the_layer():
    rules = [
        ai.Rule("*.weight", ai.spec("kaiming_normal"), kind="_ConvNd"),
        ai.Rule("*.weight", ai.spec("xavier_normal"), kind="Linear"),
        ("*", "zeros"),
    ]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MultiheadAttention(8, 2).out_proj, nn.LayerNorm(4))
    made = {e.path: e.initializer.name for e in init_module_(model, rules, seed=0, dry_run=True)}
    assert made["0.weight"] == "kaiming_normal"
    assert made["1.weight"] == "xavier_normal"  # a subclass of Linear
    assert made["2.weight"] == "zeros"


def test_parametrized_and_half_precision_modules():
    model = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)).to(torch.bfloat16)
    init_module_(model, {"*original1": NORMAL, "*original0": "ones", "bias": "zeros"}, seed=0)
    held = model.parametrizations.weight.original1
    assert same(held, NORMAL((4, 6), seed=0, name="parametrizations.weight.original1", xp="torch", dtype="bfloat16"))


def test_dry_run_changes_nothing():
    with torch.device("meta"):
        model = nn.Linear(3, 4)
    made = init_module_(model, {"*": NORMAL}, seed=0, dry_run=True)
    assert isinstance(made, ai.Plan)
    assert model.weight.is_meta
    real = nn.Linear(3, 4)
    before = values(real)
    init_module_(real, {"*": NORMAL}, seed=0, dry_run=True)
    assert all(same(x, before[name]) for name, x in values(real).items())


def test_gradients_notice_that_values_changed():
    layer = nn.Linear(3, 1)
    x = torch.ones(2, 3, requires_grad=True)
    loss = layer(x).exp().sum()
    init_module_(layer, {"*": NORMAL}, seed=0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def wrong():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model.register_parameter("steps", nn.Parameter(torch.zeros(3, dtype=torch.int64), requires_grad=False))
    model.register_parameter("shared", nn.Parameter(torch.zeros(1).expand(4)))
    return model


def test_one_error_lists_all_and_leaves_the_module_as_it_was():
    model = wrong()
    before = values(model)
    with pytest.raises(ai.PlanError) as caught:
        init_module_(model, {"*.bias": "kaiming_normal", "0.*": NORMAL, "s*": NORMAL}, seed=0)
    assert set(caught.value.problems) == {"0.bias", "1.bias", "2.bias", "1.weight", "2.weight", "steps", "shared"}
    assert "not floating" in caught.value.problems["steps"]
    assert "must not have elements that share memory" in caught.value.problems["shared"]
    assert all(same(x, before[name]) for name, x in values(model).items())


def test_wrong_modules():
    with pytest.raises(TypeError, match=r"`module` must be a torch\.nn\.Module"):
        init_module_({"w": torch.zeros(3)}, {"*": NORMAL}, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy = nn.LazyLinear(3)
    with pytest.raises(ai.PlanError, match=r"weight.*lazy, without a shape"):
        init_module_(lazy, {"*": NORMAL}, seed=0)
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        init_module_(nn.Linear(2, 2), {"*": NORMAL}, seed="zero")
    with pytest.warns(UserWarning, match="these rules apply to no parameter.*wieght"):
        init_module_(nn.Linear(2, 2), {"*wieght": NORMAL, "*": "zeros"}, seed=0)


def test_packed_projections_have_the_fans_of_one_block():
    rules = {"in_proj_weight": ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=3), "*": "zeros"}
    attention = init_module_(nn.MultiheadAttention(32, 4), rules, seed=5)
    q, k, v = attention.in_proj_weight.chunk(3)
    for number, block in enumerate((q, k, v)):
        assert same(block, ai.xavier_uniform((32, 32), seed=5, name=("in_proj_weight", number)))
    assert q.abs().max() > (6 / 128) ** 0.5  # what the fans of the whole would allow


def test_parameters_of_a_module():
    found = {parameter.path: parameter for parameter in parameters_of(Tied(1))}
    assert found["norm.running_mean"].kinds == ("BatchNorm1d", "_BatchNorm", "_NormBase", "buffer")
    assert found["layers.0.self_attn.in_proj_weight"].kinds == ("MultiheadAttention",)
    assert found["layers.0.self_attn.out_proj.weight"].kinds == ("NonDynamicallyQuantizableLinear", "Linear")
    assert found["norm.num_batches_tracked"].dtype == "int64"
    assert found["norm.running_mean"].optional
    assert not found["norm.weight"].optional


@pytest.mark.slow
def test_what_layers_compute_is_asked_for_and_can_be_made_anew():
    transformers = pytest.importorskip("transformers")
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    from arrayinit import recipes

    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    with pytest.raises(ai.PlanError) as caught:
        init_module_(model, recipes.llama(), seed=0)
    assert set(caught.value.problems) == {"model.rotary_emb.inv_freq", "model.rotary_emb.original_inv_freq"}
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    init_module_(model, recipes.llama(), seed=0)
    real = init_module_(transformers.LlamaForCausalLM(config), recipes.llama(), seed=0)
    tokens = torch.arange(6)[None]
    assert torch.equal(model(tokens).logits, real(tokens).logits)


def test_the_next_key_is_not_baked_into_a_graph():
    def draw(seed):
        return lambda x: (
            x
            + init_module_(torch.nn.Linear(3, 2).requires_grad_(False), {"*": "normal"}, seed=seed, frozen="draw").bias
        )

    for seed in (None, torch.Generator(), np.random.default_rng(3)):
        with pytest.raises(ValueError, match="`seed` must be given inside a torch trace"):
            make_fx(draw(seed))(torch.ones(2))
    assert torch.equal(make_fx(draw(3))(torch.ones(2))(torch.ones(2)), draw(3)(torch.ones(2)))


def test_what_to_do_with_frozen_parameters_is_heard_within_a_compiled_function():
    frozen = torch.nn.Linear(3, 2)
    frozen.weight.requires_grad_(False)
    before = frozen.weight.clone()
    for choice in ("keep", "draw"):
        drawn = torch.compile(
            lambda x, choice=choice: init_module_(frozen, {"*": "normal"}, seed=1, frozen=choice).weight + x,
            backend="eager",
        )(0.0)
        assert torch.equal(drawn, before) == (choice == "keep")
        weights = {"a": torch.nn.Parameter(torch.zeros(3), requires_grad=False)}
        torch.compile(
            lambda x, w=weights, choice=choice: ai.init_params_(w, {"*": "normal"}, seed=1, frozen=choice)["a"] + x,
            backend="eager",
        )(0.0)
        assert (weights["a"] == 0).all() == (choice == "keep")
