"""Records: each parameter and buffer gets what the constructor would have given it, wherever it is drawn."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import init  # noqa: E402
from torch.nn.modules import module as registry  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit import recipes  # noqa: E402
from arrayinit.models.plans import PlanError  # noqa: E402
from arrayinit.models.records import Record, record  # noqa: E402
from arrayinit.recording.tape import RecordError  # noqa: E402
from arrayinit.torch import init_module_, kaiming_uniform_  # noqa: E402


def recorded(build):
    with record() as start:
        model = build()
    return model, start


def drawn(build, seed=0):
    model, start = recorded(build)
    return init_module_(model, start, seed=seed)


def tensors(model):
    return dict(model.state_dict(keep_vars=False))


class Kinds(nn.Module):
    """A parameter for each way in which constructors fill them."""

    def __init__(self):
        super().__init__()
        self.scaled_noise = nn.Parameter(torch.randn(64, 48) * 0.02 + 1)
        self.a_log = nn.Parameter(torch.log(torch.empty(64, 48).uniform_(1, 16)))
        self.forget = nn.Parameter(torch.zeros(8))
        self.forget.data[2:4].fill_(1)
        by_inversion = torch.empty(64, 48)
        by_inversion.uniform_(-0.9544997, 0.9544997).erfinv_().mul_(0.02 * math.sqrt(2)).add_(0.1)
        self.by_inversion = nn.Parameter(by_inversion.clamp_(0.06, 0.14))
        self.unit_scaled = nn.Parameter(torch.empty(64, 48))
        with torch.no_grad():
            self.unit_scaled.uniform_(-0.9544997, 0.9544997).erfinv_().mul_(math.sqrt(2)).clamp_(-2, 2).mul_(0.1)
        self.packed = nn.Parameter(torch.empty(192, 48))
        init.xavier_uniform_(self.packed[:64])
        init.normal_(self.packed[64:], std=0.01)
        self.rates = [x.item() for x in torch.linspace(0, 0.1, 3)]
        self.register_buffer("causal", torch.tril(torch.ones(4, 4)))
        self.register_buffer("frequencies", 1.0 / 10000 ** (torch.arange(0, 8, 2).float() / 8))
        self.register_buffer("given", torch.tensor([1.5, 2.5]))
        self.register_buffer("permutation", torch.randperm(50))
        self.register_buffer("mask", torch.rand(64, 48) < 0.25)
        self.register_buffer("tokens", torch.randint(3, 9, (500,)))
        self.register_buffer("waits", torch.empty(64, 48).exponential_(2.0))
        self.linear = nn.Linear(48, 64)
        self.twin = self.linear.weight
        self.norm = nn.BatchNorm1d(48)
        self.embedding = nn.Embedding(50, 48, padding_idx=3)
        init.normal_(self.embedding.weight, std=0.02)  # as many do, padding and all
        self.zeroed = nn.Embedding(50, 48)
        self.zeroed.weight.data[7].zero_()
        self.lstm = nn.LSTM(48, 16)
        init.orthogonal_(self.lstm.weight_hh_l0, gain=2.0)
        self.delta = nn.Conv1d(16, 16, 3)
        init.dirac_(self.delta.weight)
        self.rare = nn.Linear(48, 64)
        init.sparse_(self.rare.weight, sparsity=0.5, std=0.3)
        self.truncated = nn.Linear(48, 64)
        init.trunc_normal_(self.truncated.weight, mean=0.1, std=0.2, a=-0.1, b=0.5)
        self.weight_normed = nn.utils.parametrizations.weight_norm(nn.Linear(48, 64))


def words(start):
    return {rule.path: rule.words for rule in start}


def test_the_laws_of_a_record():
    _, start = recorded(Kinds)
    said = words(start)
    assert said["scaled_noise"] == "normal, mean=1.0, std=0.02"
    assert said["by_inversion"].startswith("trunc_normal, a=0.06, b=0.14, mean=0.1, std=0.0")
    assert said["unit_scaled"].startswith("trunc_normal, a=-0.2, b=0.2, mean=0.0, std=0.1")
    assert said["twin"].startswith("kaiming_uniform, a=2.236")
    assert said["embedding.weight"] == "normal, std=0.02"
    assert said["zeroed.weight"] == "normal, std=1.0, row 7 is 0"
    assert said["lstm.weight_hh_l0"] == "orthogonal, gain=2.0"
    assert said["rare.weight"] == "sparse, sparsity=0.5, std=0.3"
    assert said["truncated.weight"] == "trunc_normal, a=-0.1, b=0.5, mean=0.1, std=0.2"
    assert said["a_log"] == "a program of 2 operations (uniform_, log)"
    assert said["given"] == "the values that the constructor gave"
    assert "scaled_noise" in str(start)


def by_inversion(std, low, high, mean=0.0):
    x = torch.empty(64, 48)
    x.uniform_(math.erf((low - mean) / std / math.sqrt(2)), math.erf((high - mean) / std / math.sqrt(2)))
    return x.erfinv_().mul_(std * math.sqrt(2)).add_(mean).clamp_(low, high)


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        (lambda: by_inversion(0.02, -2, 2), (0, 0.02, -2, 2)),  # from -1 to 1, whose erfinv is infinite
        (lambda: by_inversion(0.25, -2, 2), (0, 0.25, -2, 2)),
        (lambda: by_inversion(0.3, -2, 2), (0, 0.3, -2, 2)),
        (lambda: by_inversion(0.02, 0, 2, mean=0.1), (0.1, 0.02, 0, 2)),
        (lambda: by_inversion(1, -20, 20).mul_(0.1).add_(1), (1, 0.1, -1, 3)),
        (lambda: torch.randn(64, 48).clamp_(-9, 7), (0, 1, -9, 7)),
        (lambda: init.trunc_normal_(torch.empty(64, 48), 0.1, 0.2, -1, 1).div_(4).add_(1), (1.025, 0.05, 0.75, 1.25)),
    ],
)
def test_normals_that_are_cut_and_scaled(draw, law):
    start = recorded(lambda: nn.ParameterList([draw()]))[1]
    parameters = start.rules[0].initializer.parameters
    assert tuple(parameters[name] for name in ("mean", "std", "a", "b")) == pytest.approx(law)


def test_normals_by_inversion_that_are_not_cut():
    x = lambda: torch.empty(64, 48).uniform_(-1, 1).erfinv_().mul_(math.sqrt(2))  # noqa: E731
    start = recorded(lambda: nn.ParameterList([x(), x().clamp_(-2, 2), torch.randn(64, 48).clamp_(-5, 9)]))[1]
    assert words(start)["0"].startswith("normal, std=1.0")
    assert words(start)["1"].startswith("a program of")  # some lie on the bounds
    assert words(start)["2"].startswith("a program of")


def test_what_is_drawn_is_distributed_as_what_constructors_draw():
    torch.manual_seed(0)
    real = [tensors(Kinds()) for _ in range(8)]
    ours = [tensors(drawn(Kinds, seed)) for seed in range(8)]
    assert [*ours[0]] == [*real[0]]
    for path, first in real[0].items():
        theirs, mine = (torch.stack([each[path].double() for each in every]) for every in (real, ours))
        assert mine.dtype == theirs.dtype, path
        assert ours[0][path].dtype == first.dtype, path
        for row in range(first.shape[0] if first.ndim else 0):  # parts that constructors never change
            if (theirs[:, row] == theirs[0, row]).all():
                assert torch.equal(mine[0, row], theirs[0, row]), (path, row)
        if theirs.std() == 0:
            assert torch.equal(mine[0], theirs[0]), path
        elif first.numel() >= 500:
            scale = float(theirs.std())
            assert abs(float(mine.mean() - theirs.mean())) < 5 * scale / math.sqrt(theirs.numel()) * 1.5, path
            assert float(mine.std()) == pytest.approx(scale, rel=0.05), path
            assert float(mine.min()) == pytest.approx(float(theirs.min()), abs=1.5 * scale), path
            assert float(mine.max()) == pytest.approx(float(theirs.max()), abs=1.5 * scale), path


def test_draws_that_are_no_laws_keep_their_meaning():
    model = drawn(Kinds)
    assert model.permutation.sort().values.tolist() == [*range(50)]
    assert {*model.tokens.tolist()} == {*range(3, 9)}
    key = ai.fold(ai.fold(0, "a_log"), 0)
    assert torch.equal(model.a_log, torch.log(ai.uniform((64, 48), 1.0, 16.0, seed=key, xp="torch")))
    assert torch.equal(
        model.linear.weight, ai.kaiming_uniform((64, 48), a=math.sqrt(5), seed=0, name="twin", xp="torch")
    )
    assert model.twin is model.linear.weight
    norm = model.weight_normed.weight.norm(dim=1, keepdim=True)
    assert torch.allclose(norm, model.weight_normed.parametrizations.weight.original0, rtol=1e-6)
    assert model.rates == pytest.approx([0.0, 0.05, 0.1])


LAYERS = [
    lambda: nn.Linear(5, 4), lambda: nn.Conv2d(4, 6, 3, groups=2), lambda: nn.ConvTranspose1d(4, 6, 3),
    lambda: nn.Embedding(7, 3, padding_idx=2), lambda: nn.LayerNorm(4), lambda: nn.BatchNorm2d(3),
    lambda: nn.LSTM(3, 4, 2), lambda: nn.GRU(3, 4), lambda: nn.MultiheadAttention(8, 2),
    lambda: nn.PReLU(3), lambda: nn.TransformerEncoderLayer(8, 2, 16),
]  # fmt: skip


@pytest.mark.parametrize("build", LAYERS)
def test_layers_of_torch_are_what_the_recipe_says(build):
    ours, recipe = drawn(build), init_module_(build(), recipes.torch_defaults(), seed=0)
    for path, x in tensors(recipe).items():
        assert torch.allclose(tensors(ours)[path], x, rtol=1e-6), path


def test_gpt2_is_what_the_recipe_says():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_embd=32, n_head=4, vocab_size=50, n_positions=20, bos_token_id=0, eos_token_id=0
    )
    model, start = recorded(lambda: transformers.GPT2LMHeadModel(config))
    assert all(x.is_meta for x in model.parameters())
    init_module_(model, start, seed=0)
    recipe = init_module_(transformers.GPT2LMHeadModel(config), recipes.gpt2(layers=2), seed=0)
    assert all(torch.equal(tensors(model)[path], x) for path, x in tensors(recipe).items())
    assert ai.Rules.from_toml(start.as_rules().to_toml()) == start.as_rules()
    again = init_module_(transformers.GPT2LMHeadModel(config), start.as_rules(), seed=0)
    assert all(torch.equal(tensors(again)[path], x) for path, x in tensors(recipe).items())


def test_buffers_of_a_llama_have_their_values():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        num_hidden_layers=1, hidden_size=32, num_attention_heads=4, intermediate_size=64, vocab_size=50
    )
    model = drawn(lambda: transformers.LlamaForCausalLM(config))
    real = transformers.LlamaForCausalLM(config)
    assert torch.equal(model.model.rotary_emb.inv_freq, real.model.rotary_emb.inv_freq)
    assert torch.isfinite(model(torch.arange(5)[None]).logits).all()


def test_what_follows_a_dirac():
    def build():
        module = nn.Conv1d(4, 4, 3)
        init.dirac_(module.weight)
        with torch.no_grad():
            module.weight.mul_(0.5)[0].neg_()
        return module

    assert torch.equal(drawn(build).weight, build().weight)


def test_constants_are_rounded_as_torch_rounds_them():
    def build():
        module = nn.Module()
        for name, start in (("a", torch.full((7,), 0.1)), ("b", torch.ones(7, dtype=torch.bfloat16))):
            module.register_buffer(name, start.mul_(3).div(7).add(0.02).clamp(max=5))
        return module

    model, start = recorded(build)
    assert all(rule.initializer.name == "constant" for rule in start)
    init_module_(model, start, seed=0)
    assert torch.equal(model.a, build().a)
    assert torch.equal(model.b, build().b)


def test_copies_of_a_layer_stay_copies():
    model = drawn(lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2))
    first, second = (dict(layer.named_parameters()) for layer in model.layers)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["linear1.weight"], first["linear2.weight"].T)


def test_deep_copies_of_modules_with_buffers():
    def build():
        module = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
        module[1].register_buffer("noise", torch.randn(4))
        module[1].register_buffer("same", module[1].noise)
        return nn.ModuleList([module, copy.deepcopy(module)])

    model = drawn(build)
    assert tensors(model[0]).keys() == tensors(model[1]).keys()
    assert all(torch.equal(x, tensors(model[1])[path]) for path, x in tensors(model[0]).items())
    assert model[1][1].noise is model[1][1].same is not model[0][1].noise
    assert model[1][1].running_var.tolist() == [1.0] * 4


def test_rules_before_a_record_win():
    model, start = recorded(Kinds)
    init_module_(model, ai.Rules({"twin": "ones", "a_log": "zeros"}) + start, seed=0)
    assert (model.linear.weight == 1).all()
    assert (model.a_log == 0).all()
    assert torch.equal(model.scaled_noise, drawn(Kinds).scaled_noise)


def test_a_record_is_data():
    model, start = recorded(Kinds)
    again = pickle.loads(pickle.dumps(start))
    assert isinstance(again, Record)
    assert str(again) == str(start)
    expected = init_module_(model, start, seed=0)
    elsewhere = init_module_(Kinds(), again, seed=0)
    for path, x in tensors(expected).items():
        assert torch.equal(tensors(elsewhere)[path], x), path
    with pytest.raises(ValueError, match=r"must have laws only to be plain rules; got .* for .*a_log"):
        start.as_rules()


def test_loaded_parameters_are_left_alone():
    model, start = recorded(lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)))
    model.to_empty(device="cpu")
    with torch.no_grad():
        model[0].weight.fill_(7)
    model[0].weight._is_hf_initialized = True
    init_module_(model, start, seed=0)
    assert (model[0].weight == 7).all()
    assert not (model[1].weight == 7).any()


def test_frozen_parameters_of_a_constructor_are_filled():
    model, start = recorded(lambda: nn.Linear(3, 2).requires_grad_(False))
    init_module_(model, start, seed=0)
    assert torch.equal(model.weight, drawn(lambda: nn.Linear(3, 2)).weight)
    assert not model.weight.requires_grad


def test_the_dtype_of_the_constructor():
    def build():
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            return Kinds()
        finally:
            torch.set_default_dtype(before)

    model = drawn(build)
    assert model.linear.weight.dtype == model.scaled_noise.dtype == torch.bfloat16
    expected = ai.kaiming_uniform((64, 48), a=math.sqrt(5), seed=0, name="twin", xp="torch", dtype="bfloat16")
    assert torch.equal(model.linear.weight, expected)


def test_the_device_that_a_constructor_sees():
    with record():
        x = torch.empty(3)
        assert (x.device, x.is_meta, x.is_cpu) == (torch.device("cpu"), False, True)
        assert torch.zeros(2).numpy().tolist() == torch.zeros(2).tolist() == [0.0, 0.0]
        assert bool(torch.ones(2).sum() == 2)
        assert str(torch.ones(2)) == "tensor([1., 1.])"
    assert x.device.type == "meta"


def test_tensors_go_where_the_constructor_wanted_them():
    def build():
        return nn.Sequential(nn.Linear(3, 2, device="mps"), nn.Linear(2, 2))  # torch asks nothing of this device

    model, start = recorded(build)
    assert [rule.device for rule in start] == ["mps", "mps", "", ""]
    model = init_module_(model, start, seed=0, device="cpu")
    assert model[0].weight.device == torch.device("cpu")
    with pytest.raises((RuntimeError, NotImplementedError), match=r"(?i)mps"):  # which is not there
        init_module_(*recorded(build), seed=0)


@pytest.mark.parametrize("rank", [3])
def test_shards_are_slices(rank):
    dist = pytest.importorskip("torch.distributed")
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    from torch.distributed.fsdp import fully_shard

    whole = drawn(Kinds)
    model, start = recorded(Kinds)
    dist.init_process_group("fake", store=fake.FakeStore(), rank=rank, world_size=4)
    try:
        mesh = dist.init_device_mesh("cpu", (4,))
        fully_shard(model, mesh=mesh)
        init_module_(model, start, seed=0)
        for path, x in model.named_parameters():
            full = tensors(whole)[path]
            start_row = min(len(full), rank * -(-len(full) // 4))
            local = x.to_local()
            assert torch.equal(local, full[start_row : start_row + len(local)]), path
    finally:
        dist.destroy_process_group()


# What can't be recorded, and models that are not what was recorded.


def hooks():
    return sum(
        len(each)
        for each in (
            registry._global_module_registration_hooks,
            registry._global_parameter_registration_hooks,
            registry._global_buffer_registration_hooks,
        )
    )


def test_nothing_stays_patched_after_an_exception():
    before = hooks()

    def fail():
        nn.Linear(3, 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        recorded(fail)
    assert hooks() == before
    assert not nn.Linear(3, 2).weight.is_meta
    with record():
        assert hooks() == before + 3


def test_records_within_records():
    with record(), pytest.raises(RecordError, match="within another"), record():
        pass


def test_values_that_depend_on_draws():
    with (
        record(),
        pytest.raises(RecordError, match=r"depend on a draw: aten.randn.default at .*test_models_records.py"),
    ):
        bool(torch.randn(3).sum() > 0)


def test_draws_that_there_are_not():
    def build():
        module = nn.Linear(3, 2)
        module.register_buffer("chosen", torch.multinomial(torch.ones(9), 2))
        return module

    model, start = recorded(build)
    with pytest.raises(PlanError, match=r"chosen .*aten.multinomial.default at .*can't be drawn"):
        init_module_(model, start, seed=0)
    assert model.weight.is_meta
    init_module_(model, ai.Rules([ai.Rule("chosen", ai.spec("zeros"), kind="buffer")]) + start, seed=0)


def test_tensors_that_a_constructor_leaves_empty():
    def build():
        module = nn.Linear(3, 2)
        module.extra = nn.Parameter(torch.empty(4))
        return module

    model, start = recorded(build)
    with pytest.raises(PlanError, match=r"extra .*leaves it as it was allocated"):
        init_module_(model, start, seed=0)
    init_module_(model, ai.Rules({"extra": "zeros"}) + start, seed=0)
    assert model.extra.tolist() == [0.0] * 4


def test_values_that_are_computed_from_earlier_ones_of_the_same_memory():
    def build():
        module = nn.Linear(3, 2)
        with torch.no_grad():
            module.weight.copy_(module.weight.uniform_(1, 16).log())
        return module

    key = ai.fold(ai.fold(0, "weight"), 0)
    assert torch.equal(drawn(build).weight, torch.log(ai.uniform((2, 3), 1.0, 16.0, seed=key, xp="torch")))


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_spectral_norms(norm):
    model = drawn(lambda: norm(nn.Linear(6, 5))).eval()
    assert float(torch.linalg.matrix_norm(model.weight.detach(), 2)) == pytest.approx(1, rel=0.01)
    assert any(0.3 < float(x.detach().abs().max()) <= 6**-0.5 for x in model.parameters() if x.ndim == 2)


def test_orthogonal_parametrizations():
    model = drawn(lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 4), use_trivialization=False))
    assert torch.allclose(model.weight @ model.weight.T, torch.eye(4), atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_parametrizations_with_a_base(shape, orthogonal_map):
    def build():
        layer = nn.Linear(*shape)
        return nn.utils.parametrizations.orthogonal(layer, orthogonal_map=orthogonal_map)

    model, start = recorded(build)
    paths = [f"parametrizations.weight.{name}" for name in ("original", "0.base")]
    assert [rule.path for rule in start] == [*paths, "bias"]
    init_module_(model, start, seed=0)
    rows = model.weight if shape[1] <= shape[0] else model.weight.mT
    assert torch.allclose(rows @ rows.mT, torch.eye(min(shape)), atol=1e-6)
    if shape == (4, 4):  # the factor of what the layer drew before: a triangle with positive numbers on its diagonal
        weight = ai.kaiming_uniform(shape, a=math.sqrt(5), seed=ai.fold(ai.fold(0, paths[1]), 0), xp="torch")
        triangle = model.weight.mT @ weight
        assert (triangle.tril(-1).abs() < 1e-6).all()
        assert (triangle.diagonal() > 0).all()
    with pytest.raises(PlanError, match=r"0.base .*a buffer without values|0.base .*no rule names it"):
        init_module_(recorded(build)[0], {"*original": "zeros", "bias": "zeros"}, seed=0)
    given = build()
    base = given.parametrizations.weight[0].base.clone()
    init_module_(given, {"*original": "zeros", "bias": "zeros"}, seed=0)
    assert torch.equal(given.parametrizations.weight[0].base, base)


def test_operations_that_torch_cannot_run_without_values():
    class Factor(nn.Module):
        def __init__(self):
            super().__init__()
            try:
                factors = torch.geqrf(torch.randn(4, 3))[0]
            except NotImplementedError:  # which would go unseen
                factors = torch.zeros(4, 3)
            self.factors = nn.Parameter(factors)

    state = torch.get_rng_state()
    model = drawn(Factor)
    assert model.factors.all()
    assert torch.equal(torch.get_rng_state(), state)


def test_likes_depend_on_a_shape_alone():
    def build():
        layer = nn.Linear(3, 3)
        layer.zeros = nn.Parameter(torch.zeros_like(layer.weight))
        layer.zeros.data.diagonal().fill_(2)
        layer.sum = float(layer.zeros.detach().sum())
        return layer

    model, start = recorded(build)
    assert words(start)["zeros"] == "a program of 2 operations (zeros_like, fill_)"
    assert model.sum == 6


def test_lazy_modules_and_uninitialized_ones():
    model, start = recorded(lambda: nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2)))
    assert [rule.path for rule in start] == ["0.weight", "0.bias"]
    with pytest.raises(PlanError, match="lazy, without a shape"):
        init_module_(model, start, seed=0)
    model, start = recorded(lambda: nn.utils.skip_init(nn.Linear, 3, 4))
    with pytest.raises(PlanError, match="leaves it as it was allocated"):
        init_module_(model, start, seed=0)


def test_draws_into_transposed_views():
    def build():
        module = nn.Module()
        module.a = nn.Parameter(torch.empty(64, 16))
        init.kaiming_uniform_(module.a.T)
        module.b = nn.Parameter(torch.empty(64, 16))
        init.sparse_(module.b.T, 0.25)
        module.c = nn.Parameter(module.a.detach().t().clone())
        return module

    model, start = recorded(build)
    assert words(start)["a"].startswith("a program of")
    init_module_(model, start, seed=0)
    assert ((model.b == 0).sum(dim=1) == 4).all()
    assert torch.equal(model.c, model.a.T)
    assert float(model.a.detach().abs().max()) == pytest.approx(math.sqrt(6 / 64), rel=0.01)  # the view's fan_in


def test_arrays_that_share_the_memory_of_tensors():
    def build():
        module = nn.Linear(3, 4)
        with torch.no_grad():
            module.weight.zero_().numpy()[1] = 7
            array = module.bias.fill_(1).numpy()
            array[0] = 3
            module.bias.mul_(2)
            array[1] = 5
        module.register_buffer("steps", torch.linspace(0, 1, 3) + torch.from_numpy(torch.zeros(3).numpy() + 1))
        return module

    model, start = recorded(build)
    pickle.dumps(start)
    init_module_(model, start, seed=0)
    assert model.weight.tolist() == [[0.0] * 3, [7.0] * 3, [0.0] * 3, [0.0] * 3]
    assert model.bias.tolist() == [6.0, 5.0, 2.0, 2.0]
    assert model.steps.tolist() == [1.0, 1.5, 2.0]


def test_tensors_made_of_numbers_of_others():
    def build():
        module = nn.Module()
        steps = torch.linspace(0, 1, 3)
        module.register_buffer("ends", torch.tensor([steps[0], [*steps][2], 7.0]))
        module.register_buffer("all", torch.as_tensor([*steps]))
        return module

    model = drawn(build)
    assert model.ends.tolist() == [0.0, 1.0, 7.0]
    assert model.all.tolist() == [0.0, 0.5, 1.0]
    with record(), pytest.raises(RecordError, match="depend on a draw"):
        torch.tensor([torch.randn(())])


def test_tensors_that_are_no_parameters():
    def build():
        module = nn.Linear(3, 2)
        module.steps = torch.linspace(0, 1, 3)
        module.tables = {"a": [torch.arange(3)]}
        module.noise = torch.randn(3)
        return module

    with pytest.warns(
        UserWarning, match="`noise` of Linear is no parameter or buffer, and gets no values: .*depend on a draw"
    ):
        model, _ = recorded(build)
    assert model.steps.tolist() == [0.0, 0.5, 1.0]
    assert model.tables["a"][0].tolist() == [0, 1, 2]


def test_tensors_of_others_that_are_drawn_into():
    mine = torch.ones(3)

    def build():
        mine.normal_()
        return nn.Linear(3, 2)

    with pytest.warns(UserWarning, match=r"was drawn into at .*test_models_records.py:\d+, and keeps its old values"):
        recorded(build)
    assert mine.tolist() == [1.0] * 3


def test_generators_of_a_constructor():
    def build():
        module = nn.Linear(3, 2)
        init.normal_(module.weight, generator=torch.Generator().manual_seed(3))
        return module

    model, start = recorded(build)
    assert words(start)["weight"] == "normal, std=1.0"
    pickle.dumps(start)
    assert torch.equal(init_module_(model, start, seed=0).weight, ai.normal((2, 3), seed=0, name="weight", xp="torch"))


def test_zeroed_rows_in_rules():
    padded, start = recorded(lambda: nn.Embedding(5, 3, padding_idx=1))
    assert len(start.as_rules()) == 1

    def redrawn():
        module = nn.Embedding(5, 3, padding_idx=1)
        init.normal_(module.weight)
        return module

    _, start = recorded(redrawn)
    with pytest.raises(ValueError, match="rows of 0 for weight"):
        start.as_rules()
    assert (init_module_(padded, start, seed=0).weight != 0).all()


def test_records_are_compared_by_what_they_draw():
    def build(low=1.0, cut=2):
        layer = nn.Linear(3, 3)
        layer.log = nn.Parameter(torch.empty(4).uniform_(low, 16).log())
        layer.log.data[:cut] = 0
        layer.register_buffer("table", torch.arange(3.0).cos())
        return layer

    start = recorded(build)[1]
    assert start == recorded(build)[1] == pickle.loads(pickle.dumps(start))
    assert hash(start) == hash(recorded(build)[1])
    assert start != recorded(lambda: build(low=2.0))[1]
    assert start != recorded(lambda: build(cut=3))[1]
    assert start != recorded(lambda: nn.Linear(3, 3))[1]
    assert recorded(lambda: nn.Linear(3, 3))[1] == recorded(lambda: nn.Linear(3, 3))[1]


def test_drawn_at_once():
    with record(draw=True, seed=7) as start:
        model = Kinds()
    other = init_module_(recorded(Kinds)[0], start, seed=7)
    for path, x in model.state_dict().items():
        assert torch.equal(x, other.state_dict()[path]), path
    with record(draw=True):
        unlike = nn.Linear(3, 3), nn.ModuleDict({"other": nn.Linear(3, 3)})
    assert not unlike[0].weight.is_meta
    assert not torch.equal(unlike[0].weight, unlike[1].other.weight)
    same = pytest.raises(RecordError, match="Linear and Linear both have weight, and would get the same random numbers")
    with same, record(draw=True, seed=0):
        _several = nn.Linear(3, 3), nn.Linear(3, 3)
    with pytest.raises(ValueError, match="`seed` may only be given with draw=True; got 3"), record(seed=3):
        pass
    with pytest.raises(TypeError, match="`draw` must be"), record(draw=1):
        pass


@pytest.mark.parametrize("f", [torch.nn.functional.logsigmoid, nn.SiLU(), np.tanh, lambda x: torch.relu(x) ** 2])
def test_functions_as_nonlinearities(f):
    def weights(given):
        class Layer(nn.Linear):
            def reset_parameters(self):
                ai.kaiming_normal_(self.weight, mode="fan_out", seed=5, **given)
                ai.kaiming_uniform_(self.bias[None], seed=6, **given)

        with record(draw=True, seed=3):
            layer = Layer(8, 6)
        return tensors(layer)

    ours, theirs = weights({"nonlinearity": f}), weights({"gain": ai.gain(f)})
    assert all(torch.equal(ours[path], theirs[path]) for path in ours)
    with record(draw=True, seed=3):
        layer = nn.Linear(8, 6)
        kaiming_uniform_(layer.weight, nonlinearity=f)
    assert 0.9 * math.sqrt(3 / 8) * ai.gain(f) < layer.weight.abs().max() <= math.sqrt(3 / 8) * ai.gain(f)


def test_other_generators():
    import random

    def build(number):
        layer = nn.Linear(2, 2)
        layer.weight.data.fill_(number())
        return layer

    for name, number in (("random", random.random), (r"numpy\.random", np.random.rand)):
        with pytest.warns(UserWarning, match=rf"drawn from {name} while models were built: what tensors hold of them"):
            model, start = recorded(lambda number=number: build(number))
        assert (init_module_(model, start, seed=0).weight == model.weight[0, 0]).all()


def test_deep_copies():
    import copy

    def build():
        layer = nn.Sequential(nn.Linear(2, 2))
        twin = copy.deepcopy(layer)
        init.ones_(twin[0].bias)
        return twin

    model = drawn(build)
    assert (model[0].bias == 1).all()
    assert torch.equal(model[0].weight, drawn(lambda: nn.Sequential(nn.Linear(2, 2)))[0].weight)


def test_draws_whose_parameters_are_tensors():
    def build():
        module = nn.Module()
        module.chances = nn.Parameter(torch.bernoulli(torch.linspace(0, 1, 2000).reshape(20, 100)))
        module.moved = nn.Parameter(torch.normal(torch.arange(20.0)[:, None].expand(20, 100), 0.5))
        module.spread = nn.Parameter(torch.normal(1.0, torch.arange(20.0)[:, None].expand(20, 100)))
        module.both = nn.Parameter(torch.distributions.Normal(torch.ones(2000), 2.0).sample().reshape(20, 100))
        return module

    model = drawn(build).requires_grad_(False)
    rows = torch.arange(20.0)
    assert (model.chances.mean(1) - (rows + 0.5) / 20).abs().max() < 0.2
    assert set(model.chances.flatten().tolist()) == {0.0, 1.0}
    assert (model.moved.mean(1) - rows).abs().max() < 0.3
    assert float(model.moved.std(1).mean()) == pytest.approx(0.5, rel=0.1)
    assert (model.spread.std(1) - rows).abs().max() < 6
    assert (model.spread[0] == 1).all()
    assert (float(model.both.mean()), float(model.both.std())) == (pytest.approx(1, abs=0.2), pytest.approx(2, rel=0.1))


@pytest.mark.parametrize(
    ("fill", "law"),
    [
        (lambda x: x.log_normal_(0.5, 0.25), stats.lognorm(0.25, scale=math.exp(0.5))),
        (lambda x: x.cauchy_(2.0, 0.5), stats.cauchy(2.0, 0.5)),
        (lambda x: x.exponential_(4.0), stats.expon(scale=0.25)),
        (lambda x: x.geometric_(0.3), stats.geom(0.3)),
    ],
)
def test_further_draws_of_torch(fill, law):
    def build():
        module = nn.Module()
        module.x = nn.Parameter(fill(torch.empty(5000)))
        return module

    values = drawn(build).x.detach().numpy()
    if law.dist.name == "geom":
        counts = [(values == k).sum() for k in range(1, 12)]
        expected = [5000 * law.pmf(k) for k in range(1, 12)]
        assert ((np.array(counts) - expected) ** 2 / expected).sum() < 40
    else:
        assert stats.kstest(values, law.cdf).pvalue > 1e-4


def test_several_models_in_one_block():
    def build():
        return nn.Sequential(nn.Linear(3, 2)), nn.ModuleDict({"other": nn.Linear(2, 3)}), nn.Sequential(nn.Linear(3, 2))

    models, start = recorded(build)
    for model in models:
        init_module_(model, start, seed=0)
        assert not any(x.is_meta for x in model.parameters())
    assert torch.equal(models[0][0].weight, models[2][0].weight)
    (first, _), start = recorded(lambda: (nn.Linear(3, 3), nn.Bilinear(3, 3, 3)))
    with pytest.raises(PlanError, match="several models that were built have this path, and differ there"):
        init_module_(first, start, seed=0)
    assert "can't be drawn: several models" in str(start)


def test_a_record_is_never_written_as_less_than_it_is():
    for build, words in (
        (Kinds, "a program of"),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2), "a copy of"),
    ):
        start = recorded(build)[1]
        for rules in (start, ai.Rules({"zzz": "zeros"}) + start):
            for write in (rules.as_dict, rules.to_json, rules.to_toml):
                with pytest.raises(
                    ValueError, match=r"must be a law alone to be written; got .* which only the record"
                ):
                    write()
        assert words in str(start)
        assert words in str({"zzz": "zeros"} + start)
    start = recorded(lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Embedding(5, 3, padding_idx=1)))[1]
    rules = ai.Rules.from_json(start.to_json())
    assert rules == start.as_rules() == ai.Rules.from_toml(start.to_toml())
    model = init_module_(nn.Sequential(nn.BatchNorm1d(3), nn.Embedding(5, 3, padding_idx=1)), start, seed=0)
    other = init_module_(nn.Sequential(nn.BatchNorm1d(3), nn.Embedding(5, 3, padding_idx=1)), rules, seed=0)
    assert all(torch.equal(x, other.state_dict()[path]) for path, x in model.state_dict().items())
    assert repr(start) == "<Record of 6 tensors>"


def test_records_and_mappings():
    def build():
        module = nn.Linear(2, 2)
        module.log = nn.Parameter(torch.rand(3).log())
        module.embedding = nn.Embedding(4, 2, padding_idx=1)
        return module

    start = recorded(build)[1]
    params = {path: np.full(rule.shape, 7.0, np.float32) for rule in start for path in [rule.path]}
    with pytest.raises(PlanError) as caught:
        ai.init_params_(params, start, seed=0)
    assert set(caught.value.problems) == {"log", "embedding.weight"}
    assert "is recorded as more than a law: a program of" in caught.value.problems["log"]
    assert all((x == 7).all() for x in params.values())
    ai.init_params_(params, {"log": "zeros", "embedding.weight": "ones"} + start, seed=0)
    assert np.array_equal(params["weight"], ai.kaiming_uniform((2, 2), a=math.sqrt(5), seed=0, name="weight"))


def test_what_is_frozen_after_the_block():
    model, start = recorded(lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)))
    init_module_(model, start, seed=0)
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    with pytest.raises(PlanError) as caught:
        init_module_(model, start, seed=1)
    assert set(caught.value.problems) == {"0.weight"}
    init_module_(model, start, seed=1, frozen="keep")
    assert torch.equal(model[0].weight, before)
    init_module_(model, start, seed=1, frozen="draw")
    assert not torch.equal(model[0].weight, before)


def test_records_in_reports():
    model, start = recorded(Kinds)
    init_module_(model, start, seed=0)
    rows = {row.path: row for row in ai.report(model, start).rows}
    assert rows["a_log"].initializer.startswith("a program of")
    assert rows["twin"].initializer.startswith("kaiming_uniform")


def test_records_that_are_not_there_yet_or_of_others():
    with record() as start:
        model = nn.Sequential(nn.Linear(2, 2))
        with pytest.raises(ValueError, match="`rules` is a record that is empty until its block ends"):
            init_module_(model, start, seed=0)
    with pytest.raises(PlanError) as caught:
        init_module_(nn.Linear(2, 2), start, seed=0)
    assert caught.value.problems == {
        "weight": "is in another model than the record is of, which has 0.weight, and no parameter of this one"
    }


def test_warnings_are_at_the_line_of_the_caller():
    with pytest.warns(UserWarning, match="nothing is recorded") as caught, record():
        nn.Linear(3, 3)
    assert caught[0].filename == __file__


def test_a_block_that_leaves_nothing():
    with pytest.warns(UserWarning, match="nothing is recorded, since no module is left at the end"), record():
        nn.Linear(3, 3)


def test_models_that_changed():
    model, start = recorded(lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)))
    model.append(nn.Linear(2, 2))
    with pytest.raises(PlanError, match=r"2.weight  \(2x2, float32\): no rule matches"):
        init_module_(model, start, seed=0)
    del model[2]
    model[1].bias = None
    with pytest.raises(PlanError, match=r"1\.bias +is in the record, and not in this model"):
        init_module_(model, start, seed=0)
    model[1] = nn.Linear(2, 3)
    with pytest.raises(PlanError, match=r"1.weight .* must have the shape that was recorded, \(2, 2\); got \(3, 2\)"):
        init_module_(model, start, seed=0)


def test_other_threads_build_models_meanwhile():
    built = []
    with record() as start:
        model = nn.Linear(3, 2)
        thread = threading.Thread(target=lambda: built.append(nn.Linear(5, 4)))
        thread.start()
        thread.join()
    assert not built[0].weight.is_meta
    assert [rule.path for rule in start] == ["weight", "bias"]
    assert model.weight.is_meta


def _drawn(fill, seed=0):
    """A module that a function fills in a constructor, drawn by its record."""

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            fill(self)

    with record() as start:
        module = Module()
    return init_module_(module, start, seed=seed), start


def test_laws_with_fans_are_those_of_the_tensor_that_was_drawn():
    def fill(module):
        weight = nn.init.xavier_uniform_(torch.empty(80, 40))
        module.heads = nn.Parameter(weight.clone().view(2, 40, 40))
        module.turned = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(400, 40)).clone().t())
        zeroed = torch.randn(4, 3)
        zeroed[1] = 0
        module.zeroed = nn.Parameter(torch.empty(6, 2))
        module.zeroed.data.view(4, 3).copy_(zeroed)

    module, _ = _drawn(fill)
    assert module.heads.abs().max().item() == pytest.approx(math.sqrt(6 / 120), rel=0.01)
    assert module.turned.abs().max().item() == pytest.approx(math.sqrt(6 / 40), rel=0.01)
    assert (module.zeroed.view(4, 3) == 0).all(1).tolist() == [False, True, False, False]


def test_what_went_through_another_dtype():
    def fill(module):
        module.a = nn.Parameter((torch.rand(300) * 10).long().float())
        module.b = nn.Parameter(torch.full((3,), 0.5).long().float())
        module.c = nn.Parameter(torch.full((3,), 0.1, dtype=torch.float16).float())
        module.register_buffer("d", torch.full((2,), 2**53 + 1))
        module.register_buffer("e", torch.full((2,), 300).to(torch.uint8))
        module.f = nn.Parameter(torch.full((3,), 0.1))
        module.g = nn.Parameter(torch.ones(3).clamp(torch.tensor(2.0)))

    module, start = _drawn(fill)
    assert sorted(set(module.a.tolist())) == list(range(10))
    assert module.b.tolist() == [0, 0, 0]
    assert torch.equal(module.c, torch.full((3,), 0.1, dtype=torch.float16).float())
    assert (module.d.tolist(), module.e.tolist()) == ([2**53 + 1] * 2, [44, 44])
    assert "constant, val=0.1\n" in f"{start}\n"
    assert module.g.tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: -x,
        lambda x: x * 0.3,
        lambda x: x.t().clone(),
        lambda x: x.double(),
        lambda x: x.half().float(),
        lambda x: x.abs(),
        lambda x: x.clone(),
    ],
)
@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randn(5, 3),
        lambda: torch.randn(5, 3) * 0.3,
        lambda: torch.empty(5, 3).uniform_(-0.9, 0.9).erfinv_().mul_(0.1),
        lambda: nn.init.kaiming_uniform_(torch.empty(5, 3)),
    ],
)
def test_what_is_made_of_a_parameter_stays_so(draw, change):
    def fill(module):
        module.a = nn.Parameter(draw())
        module.register_buffer("b", change(module.a.detach()))

    module, _ = _drawn(fill)
    assert torch.equal(module.b, change(module.a.detach()))


def test_operations_on_lists_of_tensors():
    def fill(module):
        module.a = nn.Parameter(torch.ones(4))
        torch._foreach_mul_([module.a.data[:2], module.a.data[2:]], [2.0, 3.0])

    assert _drawn(fill)[0].a.tolist() == [2, 2, 3, 3]


def test_tensors_with_values_in_a_constructor(tmp_path):
    torch.save({"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}, tmp_path / "linear.pt")

    def fill(module):
        module.norm = nn.BatchNorm1d(3)
        module.norm.running_mean.fill_(3.0)
        module.copied = copy.deepcopy(module.norm)
        module.loaded = nn.Linear(3, 2)
        module.loaded.load_state_dict(torch.load(tmp_path / "linear.pt"))
        module.given = nn.Linear(2, 1, bias=False)
        module.given.weight.data = torch.tensor([[1.0, 2.0]])
        module.replaced = nn.Parameter(torch.tensor([1.0, 2.0]))
        module.replaced.data = torch.full((3,), 5.0)
        with torch.device("meta"):
            module.register_buffer("table", torch.tensor([1.0, 2.0]))

    module, _ = _drawn(fill)
    assert module.copied.running_mean.tolist() == [3, 3, 3]
    assert module.loaded.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert module.given.weight.tolist() == [[1, 2]]
    assert module.replaced.tolist() == [5, 5, 5]
    assert module.table.tolist() == [1, 2]


def test_sparse_buffers_keep_their_values():
    def fill(module):
        module.register_buffer("a", torch.eye(3).to_sparse())
        module.linear = nn.Linear(2, 2)

    assert torch.equal(_drawn(fill)[0].a.to_dense(), torch.eye(3))


def test_memory_without_values_is_not_saved(tmp_path):
    with pytest.raises(RecordError, match="the memory of a tensor without values is copied"), record():
        torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pt")


def test_models_of_one_block_that_share_a_tensor():
    def build():
        with record(draw=True, seed=0):
            first, second = nn.Linear(2, 2), nn.Module()
            second.tied = first.weight

    with pytest.raises(RecordError, match="share"):
        build()


def test_models_are_drawn_in_the_order_in_which_they_were_built():
    values, kept = set(), []
    for _ in range(8):
        with ai.seeded(0), record(draw=True):
            first, second = nn.Sequential(nn.Linear(1, 1)), nn.Module()
            second.layer = nn.Linear(1, 1)
        values.add(first[0].weight.item())
        kept += [first, [object() for _ in range(17)]]
    assert len(values) == 1


def test_a_block_within_the_meta_device():
    with torch.device("meta"):
        with record() as start:
            module = nn.Linear(2, 2)
            module.register_buffer("table", torch.tensor([1.0, 2.0]))
            module.register_buffer("thirds", torch.ones(3) / 3)
        init_module_(module, start, seed=0)
    assert module.table.tolist() == [1, 2]
    assert torch.equal(module.thirds, torch.ones(3) / 3)
    assert module.weight.device.type == "cpu"


def test_copies_of_a_weight_that_is_numbered_by_its_layout():
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D

    def fill(module):
        module.conv = conv1d(6, 4)
        module.register_buffer("copied", module.conv.weight.detach().clone())
        module.register_buffer("sizes", module.conv.weight.detach().abs())

    module, _ = _drawn(fill)
    assert torch.equal(module.conv.weight, module.copied)
    assert torch.equal(module.conv.weight.abs(), module.sizes)


def test_programs_do_not_depend_on_autocast():
    def fill(module):
        module.register_buffer("product", torch.randn(32, 32) @ torch.randn(32, 32))

    plain = _drawn(fill)[0].product
    with record() as start:
        module = nn.Module()
        fill(module)
    with torch.autocast("cpu"):
        init_module_(module, start, seed=0)
    assert torch.equal(module.product, plain)
