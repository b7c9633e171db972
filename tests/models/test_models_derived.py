"""Weights that layers make of others: the whole weight is drawn, as that of a plain layer, and assigned."""

import contextlib
import copy
import warnings

import pytest

torch = pytest.importorskip("torch")

from conftest import same  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit.torch import init_module_  # noqa: E402

NORMAL = ai.spec("normal", std=0.02)
RULES = {"*.bias": "zeros", "*": NORMAL}
TINY = 1e-6  # of products and quotients in float32, which are not the same on every machine


def old(function):
    """One of torch's deprecated functions, without its warning."""

    def quiet(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return quiet


weight_norms = {"new": parametrizations.weight_norm, "old": old(nn.utils.weight_norm)}
spectral_norms = {"new": parametrizations.spectral_norm, "old": nn.utils.spectral_norm}
AGES = pytest.mark.parametrize("age", ["new", "old"])
# What weight_norm and spectral_norm do on the meta device makes torch import a thousand modules.
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("meta", marks=pytest.mark.slow)])


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, x):
        return x.triu()


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


class Upper(nn.Module):
    def forward(self, x):
        return x.triu()


class Scale(nn.Module):
    """It has a parameter of its own, which its inverse needs."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.by * x

    def right_inverse(self, x):
        return x / self.by


class Diagonal(nn.Module):
    """A weight of another shape than what it is made of."""

    def forward(self, x):
        return torch.diag(x)

    def right_inverse(self, x):
        return x.diagonal().clone() if x.ndim == 2 else x


class Root(nn.Module):
    def forward(self, x):
        return x**2

    def right_inverse(self, x):
        return x.sqrt()


def registered(layer, *each, name="weight", **keywords):
    for parametrization in each:
        parametrize.register_parametrization(layer, name, parametrization, **keywords)
    return layer


def drawn(shape, name, seed=3):
    return NORMAL(shape, seed=seed, name=name, xp="torch")


def near(a, b):
    return a.shape == b.shape and float((a - b).detach().abs().max()) <= TINY * float(b.abs().max())


def values(module):
    return {name: x.detach().clone() for name, x in [*module.named_parameters(), *module.named_buffers()]}


def unchanged(module, before):
    now = values(module)
    return now.keys() == before.keys() and all(same(now[name], x) for name, x in before.items())


@AGES
@DEVICES
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_has_the_magnitude_and_the_direction_of_the_plain_weight(age, device, dim):
    model = nn.Sequential(weight_norms[age](nn.Linear(6, 4, device=device), dim=dim))
    plan = init_module_(model, RULES, seed=3, dry_run=True)
    assert [entry.path for entry in plan] == ["0.weight", "0.bias"]
    assert "through _WeightNorm" in str(plan) or "through WeightNorm" in str(plan)
    init_module_(model, RULES, seed=3)
    wanted = drawn((4, 6), "0.weight")
    assert near(model[0].weight, wanted)
    held = dict(model[0].named_parameters())
    direction = held["weight_v" if age == "old" else "parametrizations.weight.original1"]
    magnitude = held["weight_g" if age == "old" else "parametrizations.weight.original0"]
    assert same(direction, wanted)
    assert near(magnitude, torch.norm_except_dim(wanted, 2, -1 if dim is None else dim))
    weight = model[0].weight
    model(torch.ones(1, 6)).sum().backward()
    assert same(weight, model[0].weight)
    assert magnitude.grad is not None


@AGES
@DEVICES
def test_spectral_norm_gets_new_vectors_that_are_those_of_the_weight(age, device):
    def make():
        model = nn.Sequential(spectral_norms[age](nn.Conv1d(6, 4, 3, device=device)))
        return init_module_(model, RULES, seed=3)

    model, twin = make(), make()
    wanted = drawn((4, 6, 3), "0.weight")
    norm = torch.linalg.matrix_norm(wanted.flatten(1), 2)
    assert float((model.eval()[0].weight * norm - wanted).detach().abs().max()) < 2e-3
    twin.load_state_dict(model.state_dict())
    assert unchanged(make(), values(make()))
    assert unchanged(twin, values(make()))


def test_vectors_do_not_depend_on_what_was_there():
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 4)))
    init_module_(model, RULES, seed=3)
    first = values(model)
    init_module_(model, RULES, seed=4)
    assert not same(values(model)["0.parametrizations.weight.0._u"], first["0.parametrizations.weight.0._u"])
    init_module_(model, RULES, seed=3)
    assert unchanged(model, first)


def test_vectors_go_with_the_name_of_the_seed():
    model = nn.ModuleDict({name: parametrizations.spectral_norm(nn.Linear(6, 4)) for name in "ab"})
    init_module_(model, RULES, seed=3)
    found = values(model)
    init_module_(model, RULES, seed=3, seed_names={"b.weight": "old", "a.weight": "b.weight"})
    assert same(model["a"].parametrizations.weight[0]._u, found["b.parametrizations.weight.0._u"])


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_orthogonal(shape, kind):
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(*shape[::-1]), orthogonal_map=kind))
    before = torch.get_rng_state()
    init_module_(model, {"*.bias": "zeros", "*": "orthogonal"}, seed=3)
    assert torch.equal(torch.get_rng_state(), before)  # right_inverse takes random numbers where a matrix is not square
    wanted = ai.orthogonal(shape, seed=3, name="0.weight", xp="torch")
    assert near(model[0].weight, wanted)
    first = values(model)
    init_module_(model, {"*.bias": "zeros", "*": "orthogonal"}, seed=3)
    assert unchanged(model, first)


def test_orthogonal_from_the_meta_device():
    model = parametrizations.orthogonal(nn.Linear(6, 4, device="meta"))
    init_module_(model, {"bias": "zeros", "weight": "orthogonal"}, seed=3)
    assert near(model.weight, ai.orthogonal((4, 6), seed=3, name="weight", xp="torch"))


def test_parametrizations_of_users_and_several_in_a_row():
    layer = registered(nn.Linear(4, 4), Symmetric(), Twice())
    model = init_module_(nn.Sequential(layer), RULES, seed=3)
    wanted = drawn((4, 4), "0.weight")
    assert same(model[0].weight, wanted.triu() + wanted.triu(1).T)
    assert "through Symmetric, Twice" in str(init_module_(model, RULES, seed=3, dry_run=True))


def test_stacked_on_weight_norm_and_spectral_norm():
    layer = parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(4, 4)))
    init_module_(layer, {"*": NORMAL}, seed=3)
    wanted = drawn((4, 4), "weight")
    norm = torch.linalg.matrix_norm(wanted, 2)
    assert same(layer.parametrizations.weight.original1, wanted)
    assert float((layer.eval().weight * norm - wanted).detach().abs().max()) < 2e-3


def test_several_tensors_of_one_layer():
    layer = registered(registered(nn.Linear(4, 4), Twice()), Twice(), name="bias")
    init_module_(layer, {"*": NORMAL}, seed=3)
    assert same(layer.weight, drawn((4, 4), "weight"))
    assert same(layer.bias, drawn((4,), "bias"))


@AGES
def test_the_weights_of_a_recurrent_layer(age):
    layer = nn.LSTM(3, 4)
    for name in ("weight_hh_l0", "weight_ih_l0"):
        weight_norms[age](layer, name)
    init_module_(layer, {"*": NORMAL}, seed=3)
    assert near(layer.weight_hh_l0, drawn((16, 4), "weight_hh_l0"))
    assert near(layer.weight_ih_l0, drawn((16, 3), "weight_ih_l0"))


def test_a_weight_of_another_shape():
    layer = registered(nn.Linear(4, 4), Diagonal(), name="bias", unsafe=True)
    init_module_(layer, {"*": NORMAL}, seed=3)
    assert same(layer.bias, torch.diag(drawn((4, 4), "bias").diagonal()))


def test_what_a_parametrization_holds_itself_is_drawn_before_it_is_asked():
    model = nn.Sequential(registered(nn.Linear(4, 4), Scale()))
    init_module_(model, {"*.by": ai.spec("constant", val=0.25), **RULES}, seed=3)
    assert model[0].parametrizations.weight[0].by == 0.25
    assert same(model[0].weight, drawn((4, 4), "0.weight"))
    assert same(model[0].parametrizations.weight.original, 4 * drawn((4, 4), "0.weight"))


def test_originals_stay_where_they_are():
    layer = parametrizations.weight_norm(nn.Linear(6, 4))
    before = [(x, x.data_ptr(), x._version) for x in layer.parameters()]
    init_module_(layer, {"*": NORMAL}, seed=3)
    for x, address, version in before:
        assert x.data_ptr() == address
        assert x._version > version
        assert x.requires_grad


def test_low_precision():
    layer = parametrizations.weight_norm(nn.Linear(6, 4)).to(torch.bfloat16)
    init_module_(layer, {"*": NORMAL}, seed=3)
    wanted = NORMAL((4, 6), seed=3, name="weight", xp="torch", dtype="bfloat16")
    assert same(layer.parametrizations.weight.original1, wanted)
    assert layer.weight.dtype == torch.bfloat16


def test_a_cached_weight_is_forgotten():
    layer = parametrizations.weight_norm(nn.Linear(6, 4))
    with parametrize.cached():
        before = layer.weight
        init_module_(layer, {"*": NORMAL}, seed=3)
        assert layer.weight is not before
        assert near(layer.weight, drawn((4, 6), "weight"))
        init_module_(layer, {"*original0": "ones", "*original1": NORMAL, "*": "zeros"}, seed=3)
        assert near(layer.weight.norm(dim=1), torch.ones(4))


def test_pruned_weights_are_drawn_beneath_their_mask():
    layer = prune.random_unstructured(nn.Linear(6, 4), "weight", 0.5)
    prune.l1_unstructured(layer, "bias", 0.25)
    mask = layer.weight_mask.clone()
    init_module_(layer, {"*": NORMAL}, seed=3)
    assert same(layer.weight_orig, drawn((4, 6), "weight"))
    assert same(layer.bias_orig, drawn((4,), "bias"))
    assert same(layer.weight_mask, mask)
    assert same(layer.weight, mask * drawn((4, 6), "weight"))


def test_quantization_aware_layers_have_a_plain_weight():
    quantization = pytest.importorskip("torch.ao.quantization")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.Linear(4, 4))
        model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
        model = quantization.prepare_qat(model.train())
    init_module_(model, RULES, seed=3)
    assert same(model[0].weight, drawn((4, 4), "0.weight"))
    assert model[0].weight_fake_quant.scale == 1


def test_parametrized_buffers():
    layer = nn.BatchNorm1d(4)
    registered(layer, Twice(), name="running_mean")
    plan = init_module_(layer, {"*": "ones"}, seed=3, dry_run=True)
    assert {entry.path: entry.initializer for entry in plan}["running_mean"] is None
    init_module_(layer, [ai.Rule("running_mean", NORMAL, kind="buffer"), ("*", "ones")], seed=3)
    assert same(layer.running_mean, drawn((4,), "running_mean"))


def test_a_shared_layer_is_assigned_once():
    layer = parametrizations.weight_norm(nn.Linear(4, 4))
    model = nn.Sequential(layer, nn.ReLU(), layer)
    plan = init_module_(model, RULES, seed=3, dry_run=True)
    assert [(entry.path, entry.parameter.tied) for entry in plan] == [
        ("0.weight", ("2.weight",)), ("0.bias", ("2.bias",)),
    ]  # fmt: skip
    init_module_(model, RULES, seed=3)
    assert near(layer.weight, drawn((4, 4), "0.weight"))


def test_originals_that_two_layers_share_are_refused():
    model = nn.ModuleDict({"embed": nn.Embedding(4, 4), "head": nn.Linear(4, 4, bias=False)})
    model["head"].weight = model["embed"].weight
    parametrizations.weight_norm(model["head"])
    with pytest.raises(ai.PlanError) as caught:
        init_module_(model, {"*": NORMAL}, seed=3)
    assert "shares a part of its memory with embed.weight" in caught.value.problems["head.weight"]


@DEVICES
def test_kept_weights_stay_with_all_that_goes_with_them(device):
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4, device=device)), nn.Linear(4, 4))
    before = None if device == "meta" else values(model[0])
    init_module_(model, {"0.*": None, "*": NORMAL}, seed=3)
    if before is None:
        assert all(x.is_meta for x in (*model[0].parameters(), *model[0].buffers()))
    else:
        assert unchanged(model[0], before)


# Originals by rules of their own


def test_rules_that_name_originals():
    rules = {"*original0": "ones", "*original1": NORMAL, "*": "zeros"}
    model = init_module_(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4))), rules, seed=3)
    held = model[0].parametrizations.weight
    assert (held.original0 == 1).all()
    assert same(held.original1, drawn((4, 6), "0.parametrizations.weight.original1"))
    model = old(nn.utils.weight_norm)(nn.Linear(6, 4))
    init_module_(model, [("weight_g", "ones"), ("weight_v", NORMAL), ("*", "zeros")], seed=3)
    assert same(model.weight_v, drawn((4, 6), "weight_v"))
    assert near(model.weight, torch.nn.functional.normalize(drawn((4, 6), "weight_v"), dim=1))


@pytest.mark.parametrize("pattern", ["*0", lambda path, shape: 1 in shape, ai.Rule("*", NORMAL, kind="Param*List")])
def test_rules_that_only_happen_to_match_an_original_are_not_for_it(pattern):
    rule = pattern if isinstance(pattern, ai.Rule) else ai.Rule(pattern, ai.spec("zeros"), optional=True)
    rules = [ai.Rule(rule.pattern, rule.initializer, kind=rule.kind, optional=True), ("*", NORMAL)]
    model = init_module_(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4))), rules, seed=3)
    assert near(model[0].weight, drawn((4, 6), "0.weight"))


def test_originals_that_no_rule_names_are_an_error_where_others_are_named():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4)))
    with pytest.raises(ai.PlanError, match=r"original0 .*no rule names it; its pattern must have 'original' or"):
        init_module_(model, {"*original1": NORMAL, "*": "zeros"}, seed=3)


@AGES
def test_spectral_norm_whose_matrix_was_drawn_by_its_name_gets_new_vectors_too(age):
    layer = spectral_norms[age](nn.Linear(6, 4))
    init_module_(layer, {"*_orig" if age == "old" else "*original": NORMAL, "*": "zeros"}, seed=3)
    name = "weight_orig" if age == "old" else "parametrizations.weight.original"
    matrix = drawn((4, 6), name)
    norm = torch.linalg.matrix_norm(matrix, 2)
    assert float((layer.eval()(torch.eye(6)).T * norm - matrix).detach().abs().max()) < 2e-3


def test_learning_rates_are_there_for_what_an_optimizer_has():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4)))
    plan = init_module_(model, [ai.Rule("*weight", NORMAL, lr_scale=0.5), ("*", "zeros")], seed=3, dry_run=True)
    assert all(name in plan.lr_scales for name, _ in model.named_parameters())
    assert plan.lr_scales["0.parametrizations.weight.original0"] == 0.5


# What is refused, with the module as it was


def refused(model, rules, match):
    before = values(model)
    with pytest.raises(ai.PlanError, match=match):
        init_module_(model, rules, seed=3)
    assert unchanged(model, before)


def test_a_parametrization_without_an_inverse():
    model = nn.Sequential(nn.Linear(4, 4), registered(nn.Linear(4, 4), Twice(), Upper()))
    refused(model, RULES, r"1\.weight .*Upper has no right_inverse.*name 1?\.?parametrizations\.weight\.original")
    init_module_(model, {"*original": NORMAL, **RULES}, seed=3)
    assert same(model[1].weight, (2 * drawn((4, 4), "1.parametrizations.weight.original")).triu())


def test_an_inverse_that_is_none_after_all():
    layer = parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="cayley", use_trivialization=False)
    refused(nn.Sequential(nn.Linear(4, 4), layer), RULES, "can't be assigned: It is not possible to assign")


@AGES
def test_rows_of_zeros_have_no_direction(age):
    model = nn.Sequential(nn.Linear(4, 4), weight_norms[age](nn.Linear(4, 4)))
    refused(model, {"1.weight": "zeros", "*": NORMAL}, r"1\.weight .*zeros can't be assigned: .*NaN")
    model = nn.Sequential(nn.Linear(4, 4), spectral_norms[age](nn.Linear(4, 4)))
    refused(model, {"1.weight": "zeros", "*": NORMAL}, r"1\.weight .*zeros can't be assigned: .*NaN")


def test_a_padding_row_under_weight_norm():
    refused(parametrizations.weight_norm(nn.Embedding(5, 4, padding_idx=1)), {"*": NORMAL}, "weight .*NaN")
    layer = parametrizations.spectral_norm(nn.Embedding(5, 4, padding_idx=1))
    init_module_(layer, {"*": NORMAL}, seed=3)
    wanted = drawn((5, 4), "weight")
    wanted[1] = 0
    assert same(layer.parametrizations.weight.original, wanted)


def test_an_inverse_that_gives_no_numbers_for_some_of_what_is_drawn():
    layer = registered(nn.Linear(4, 4), Root(), unsafe=True)
    with torch.no_grad():
        for x in layer.parameters():
            x.fill_(1)
    refused(nn.Sequential(nn.Linear(4, 4), layer), RULES, r"1\.weight .*Root turns this draw into NaN")


def test_an_inverse_that_gives_another_shape():
    layer = registered(nn.Linear(4, 4), Twice())
    layer.parametrizations.weight[0].right_inverse = lambda x: x[0]
    refused(layer, {"*": NORMAL}, r"must give \(4, 4\) of torch\.float32; got \(4,\)")


def test_a_magnitude_that_is_frozen_asks_for_a_word():
    layer = parametrizations.weight_norm(nn.Linear(4, 4))
    layer.parametrizations.weight.original0.requires_grad_(False)
    refused(layer, {"*": NORMAL}, r"weight .*frozen \(requires_grad=False\)")
    init_module_(layer, {"*original0": None, "*original1": NORMAL, "*": "zeros"}, seed=3)
    init_module_(layer, {"*": NORMAL}, seed=3, frozen="draw")
    assert near(layer.weight, drawn((4, 4), "weight"))


def test_a_weight_that_is_made_twice():
    layer = old(nn.utils.weight_norm)(nn.Linear(4, 4))
    prune.identity(layer, "weight_v")
    with pytest.raises(ai.PlanError, match=r"weight .*made of weight_v, which is made of others itself"):
        init_module_(layer, {"*": NORMAL}, seed=3)


def test_reading_changes_nothing():
    for layer in (parametrizations.spectral_norm(nn.Linear(4, 4)), nn.utils.spectral_norm(nn.Linear(4, 4))):
        before, training = values(layer), [each.training for each in layer.modules()]
        ai.report(layer, {"*": NORMAL})
        init_module_(layer, {"*": NORMAL}, seed=3, dry_run=True)
        assert unchanged(layer, before)
        assert [each.training for each in layer.modules()] == training


def test_copies_can_still_be_made():
    for age in ("new", "old"):
        layer = init_module_(spectral_norms[age](nn.Linear(4, 4)), {"*": NORMAL}, seed=3)
        assert unchanged(copy.deepcopy(layer), values(layer))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, contextlib.nullcontext])
@pytest.mark.parametrize(
    "wrap",
    [old(nn.utils.weight_norm), nn.utils.spectral_norm, parametrizations.spectral_norm, parametrizations.orthogonal],
)
def test_layers_can_be_trained_whatever_the_mode_in_which_they_were_drawn(mode, wrap):
    layer = wrap(nn.Linear(4, 4))
    with mode():
        init_module_(layer, {"bias": "zeros", "*": "orthogonal"}, seed=3)
    layer(torch.ones(1, 4)).sum().backward()
    assert all(x.grad is not None for x in layer.parameters())
