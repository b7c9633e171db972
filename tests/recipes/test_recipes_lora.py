"""LoRA: adapters with the names of peft and of loralib, started as these do, against the recipe."""

import math

import numpy as np
import pytest
from recipe_checks import check_plan, tensors

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.plans import PlanError  # noqa: E402
from arrayinit.models.torch import init_module_  # noqa: E402

RANK, TIMES = 8, 30


class PeftLayer(nn.Module):
    """A layer and its adapter, as in peft.tuners.lora.layer; an embedding's adapter are two plain tensors."""

    def __init__(self, base, gaussian):
        super().__init__()
        self.base_layer = base
        if isinstance(base, nn.Embedding):
            self.lora_embedding_A = nn.ParameterDict({"default": torch.zeros(RANK, base.num_embeddings)})
            self.lora_embedding_B = nn.ParameterDict({"default": torch.randn(base.embedding_dim, RANK)})
            return
        if isinstance(base, nn.Conv2d):
            first = nn.Conv2d(base.in_channels, RANK, base.kernel_size, bias=False)
            second = nn.Conv2d(RANK, base.out_channels, 1)
        else:
            first, second = nn.Linear(base.in_features, RANK, bias=False), nn.Linear(RANK, base.out_features)
        if gaussian:
            nn.init.normal_(first.weight, std=1 / RANK)
        else:
            nn.init.kaiming_uniform_(first.weight, a=math.sqrt(5))
        nn.init.zeros_(second.weight)
        nn.init.zeros_(second.bias)
        self.lora_A, self.lora_B = nn.ModuleDict({"default": first}), nn.ModuleDict({"default": second})


class LoralibLayer(nn.Linear):
    def __init__(self):
        super().__init__(32, 48)
        self.lora_A, self.lora_B = nn.Parameter(torch.empty(RANK, 32)), nn.Parameter(torch.zeros(48, RANK))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))


class LoralibEmbedding(nn.Embedding):
    def __init__(self):
        super().__init__(70, 32)
        self.lora_A, self.lora_B = nn.Parameter(torch.zeros(RANK, 70)), nn.Parameter(torch.randn(32, RANK))


def peft(gaussian=False):
    bases = (nn.Linear(32, 48), nn.Conv2d(16, 24, 3), nn.Embedding(70, 32))
    return nn.ModuleList([PeftLayer(base, gaussian) for base in bases])


MODELS = {
    "peft": (peft, recipes.lora()),
    "peft, gaussian": (lambda: peft(True), recipes.lora("gaussian", rank=RANK)),
    "loralib": (lambda: nn.ModuleList([LoralibLayer(), LoralibEmbedding()]), recipes.lora()),
}


def adapters(module):
    return {path: x for path, x in tensors(module).items() if "lora_" in path}


@pytest.mark.parametrize("name", MODELS)
def test_adapters(name):
    torch.manual_seed(0)
    make, rules = MODELS[name]
    module = make()
    for path, parameter in module.named_parameters():
        parameter.requires_grad_("lora_" in path)
    before = {path: x.copy() for path, x in tensors(module).items()}
    plan = init_module_(module, rules, seed=0, dry_run=True)
    drawn = type(plan)(tuple(entry for entry in plan if entry.initializer is not None))
    assert {entry.path for entry in drawn} == set(adapters(module))
    check_plan(drawn, [adapters(make()) for _ in range(TIMES)])
    ours = []
    for seed in range(TIMES):
        for path, parameter in module.named_parameters():
            if "lora_" in path:
                parameter.data.fill_(math.nan)
        ours.append({path: x.copy() for path, x in adapters(init_module_(module, rules, seed=seed)).items()})
    check_plan(drawn, ours)
    kept = {path: x for path, x in tensors(module).items() if "lora_" not in path}
    assert kept
    assert all(np.array_equal(x, before[path]) for path, x in kept.items())


def test_an_adapter_changes_nothing_at_the_start():
    module = init_module_(peft(), recipes.lora(), seed=0)
    x = torch.randn(5, 32)
    linear, _, embedding = module
    assert not linear.lora_B["default"](linear.lora_A["default"](x)).any()
    assert not (embedding.lora_embedding_B["default"] @ embedding.lora_embedding_A["default"]).any()


def rotated_as_peft(layer):
    """A and B from the rows of one rotation, by the formula of peft's orthogonal_init."""
    q, _ = torch.linalg.qr(torch.randn(RANK, RANK))
    a = 0.1 * q[0::2].T @ torch.randn(RANK // 2, layer.weight.shape[1])
    return {"a": a.numpy(), "b": (0.1 * torch.randn(layer.weight.shape[0], RANK // 2) @ q[1::2]).numpy()}


@pytest.mark.parametrize("make", [lambda: PeftLayer(nn.Linear(32, 48), False), LoralibLayer], ids=["peft", "loralib"])
def test_rotated_adapters(make):
    rules = recipes.lora("orthogonal")

    def drawn(seed):
        made = tensors(init_module_(make(), rules, seed=seed))
        return {k: x for path, x in made.items() for k in "ab" if f"lora_{k.upper()}" in path and x.ndim == 2}

    torch.manual_seed(0)
    ours, theirs = [drawn(seed) for seed in range(TIMES)], [rotated_as_peft(nn.Linear(32, 48)) for _ in range(TIMES)]
    for some in (ours, theirs):
        for part in some:
            assert np.abs(part["b"] @ part["a"]).max() < 1e-6
            assert np.linalg.matrix_rank(part["a"], tol=1e-4) == np.linalg.matrix_rank(part["b"], tol=1e-4) == RANK // 2
        for k in "ab":
            values = np.stack([part[k] for part in some])
            assert abs(values.mean()) < 4 * 0.0707 / math.sqrt(values.size)
            assert (values**2).mean() == pytest.approx(0.005, rel=0.1)
            # 3 E v^2 of the variance v of an element: 1/100 of a sum of half the squares of a unit vector, Beta(2, 2).
            assert (values**4).mean() == pytest.approx(9e-5, rel=0.25)
    biases = [x for path, x in tensors(init_module_(make(), rules, seed=0)).items() if "lora_B.default.bias" in path]
    assert all(not x.any() for x in biases)


def test_rotated_adapters_by_name_and_what_is_refused():
    module = nn.Module()
    for k, shape in (("A", (32, RANK)), ("B", (RANK, 48))):
        layers = {name: nn.Linear(*shape, bias=False) for name in ("first", "second")}
        setattr(module, f"lora_{k}", nn.ModuleDict(layers))
    plan = init_module_(module, recipes.lora("orthogonal"), seed=0, dry_run=True)
    assert [entry.seed_name for entry in plan] == ["lora_A.first.weight", "lora_A.second.weight"] * 2
    one = init_module_(module, recipes.lora("orthogonal", adapter="second"), seed=0, dry_run=True)
    assert [entry.path for entry in one if entry.is_drawn] == ["lora_A.second.weight", "lora_B.second.weight"]
    assert [entry.key for entry in one if entry.is_drawn] == [plan[1].key, plan[3].key]
    module.lora_B = nn.ModuleDict({"first": nn.Linear(RANK + 2, 48)})
    with pytest.raises(PlanError, match=r"the pair \('lora_orthogonal', 10\); got '\.\.lora_A\.\*\.weight'"):
        init_module_(module, recipes.lora("orthogonal"), seed=0)
    with pytest.raises(PlanError, match="an even rank; got 7"):
        init_module_(nn.ModuleDict({"lora_a": nn.Linear(8, 7)}), recipes.lora("orthogonal"), seed=0)
    with pytest.raises(ValueError, match="`rank` may only be given with init='gaussian'"):
        recipes.lora("orthogonal", rank=8)


class BlockDiagonalLinear(nn.Linear):
    """The A of peft's BD-LoRA: its weight has the inputs of one block."""


def test_names_of_other_libraries():
    kaiming, zeros = ai.spec("kaiming_uniform", a=math.sqrt(5)), ai.spec("zeros")
    for path, initializer in {
        "layers.0.attn.q_proj.lora_a.weight": kaiming,  # torchtune, torchtitan
        "layers.0.attn.q_proj.lora_b.weight": zeros,
        "decoder.layers.0.self_attention.linear_qkv.adapter.linear_in.weight": kaiming,  # Megatron-Bridge, NeMo
        "decoder.layers.0.self_attention.linear_qkv.adapter.linear_out.weight": zeros,
        "decoder.layers.0.self_attention.linear_qkv.to_wrap.weight": None,
        "encoder.linear_in.weight": None,  # no adapter
        "layers.0.attn.q_proj.lora_magnitude_vector.default.weight": None,
    }.items():
        assert recipes.lora().find(path, (8, 32)).initializer == initializer, path
    path = "decoder.layers.0.mlp.linear_fc1.adapter.linear_in.weight"
    assert recipes.lora("xavier").find(path, (8, 32)).initializer == ai.spec("xavier_normal")


def test_block_diagonal_adapters_have_the_fans_of_a_block():
    module = nn.Module()
    module.lora_A = nn.ModuleDict({"default": BlockDiagonalLinear(16, RANK, bias=False)})
    plan = init_module_(module, recipes.lora("gaussian", rank=RANK), seed=0, dry_run=True)
    assert [entry.initializer for entry in plan] == [ai.spec("kaiming_uniform")]


def two_adapters():
    """As peft makes them: the second one is not active, and frozen."""
    layer = PeftLayer(nn.Linear(32, 48).requires_grad_(False), False)
    for pair in (layer.lora_A, layer.lora_B):
        pair["second"] = nn.Linear(*(pair["default"].weight.shape[::-1]), bias=False).requires_grad_(False)
    return nn.ModuleDict({"fc": layer})


def test_one_adapter_by_name():
    module = two_adapters()
    before = {path: x.copy() for path, x in tensors(module).items()}
    init_module_(module, recipes.lora(adapter="default"), seed=0)  # no warning of the frozen one
    init_module_(module, recipes.lora("gaussian", rank=RANK, adapter="second"), seed=0, frozen="draw")
    after = tensors(module)
    assert {path for path, x in after.items() if not np.array_equal(x, before[path])} == {
        "fc.lora_A.default.weight", "fc.lora_A.second.weight", "fc.lora_B.second.weight",
    }  # fmt: skip
    assert not after["fc.lora_B.second.weight"].any()
    first = ai.kaiming_uniform((RANK, 32), a=math.sqrt(5), seed=0, name="fc.lora_A.default.weight")
    assert np.array_equal(after["fc.lora_A.default.weight"], first)
    second = ai.normal((RANK, 32), std=1 / RANK, seed=0, name="fc.lora_A.second.weight")
    assert np.array_equal(after["fc.lora_A.second.weight"], second)


def test_an_adapter_that_is_not_active_stays_with_a_warning():
    module = two_adapters()
    before = tensors(module)["fc.lora_A.second.weight"].copy()
    with pytest.warns(UserWarning, match="2 frozen parameters not drawn.* or frozen='draw'"):
        init_module_(module, recipes.lora(), seed=0)
    assert np.array_equal(tensors(module)["fc.lora_A.second.weight"], before)
    init_module_(module, recipes.lora(), seed=0, frozen="draw")
    assert not np.array_equal(tensors(module)["fc.lora_A.second.weight"], before)


def test_the_name_of_an_adapter_is_matched_whole():
    rules = recipes.lora(adapter="en")
    for path, drawn in {
        "fc.lora_A.en.weight": True, "fc.lora_B.en.bias": True, "t.lora_embedding_A.en": True,
        "fc.lora_A.english.weight": False, "fc.lora_A.en-2.weight": False, "fc.lora_A.default.weight": False,
        "fc.lora_a.weight": False,
    }.items():  # fmt: skip
        assert (rules.find(path, (8, 32)).initializer is not None) is drawn, path


def test_ranks_of_several_adapters_by_rules_before():
    rules = ai.Rules([("*.lora_A.small.weight", ai.spec("normal", std=1 / 4)), *recipes.lora("gaussian", rank=16)])
    assert rules.find("fc.lora_A.small.weight", (4, 9)).initializer == ai.spec("normal", std=0.25)
    assert rules.find("fc.lora_A.default.weight", (16, 9)).initializer == ai.spec("normal", std=0.0625)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: recipes.lora("pissa"),
            ValueError,
            "`init` must be one of 'kaiming', 'gaussian', 'xavier', 'orthogonal'; got 'pissa'",
        ),
        (lambda: recipes.lora("gaussian"), ValueError, "`rank` must be the rank of the adapters .* got None"),
        (lambda: recipes.lora("gaussian", rank=0), ValueError, "`rank` must be at least 1; got 0"),
        (lambda: recipes.lora("gaussian", rank=1.5), TypeError, "`rank` must be an integer; got 1.5"),
        (
            lambda: recipes.lora("xavier", rank=8),
            ValueError,
            "`rank` may only be given with init='gaussian', .* 'xavier'.* got 8",
        ),
        (lambda: recipes.lora(adapter=""), ValueError, "`adapter` must be a name without dots; got ''"),
        (lambda: recipes.lora(adapter="a.b"), ValueError, "`adapter` must be a name without dots; got 'a.b'"),
        (lambda: recipes.lora(adapter=0), TypeError, "`adapter` must be the name of an adapter or None; got 0"),
        (lambda: recipes.lora(rank=8), ValueError, "`rank` may only be given with init='gaussian'.* got 8"),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
