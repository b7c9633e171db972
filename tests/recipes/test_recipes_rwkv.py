"""RWKV-7 as its training code starts it, written again with torch.nn.init, against the recipe."""

import math

import numpy as np
import pytest
from recipe_checks import check_plan, tensors

from arrayinit import recipes
from arrayinit.models.plans import PlanError

torch = pytest.importorskip("torch")
nn, init = torch.nn, torch.nn.init

from arrayinit.models.torch import init_module_  # noqa: E402

LAYERS, WIDTH, HEAD, TOKENS, RANK, TIMES = 3, 64, 8, 150, 32, 8


class Mixing(nn.Module):
    """Time mixing of a layer."""

    def __init__(self, layer, layers, matrices):
        super().__init__()
        i, left, depth = torch.arange(WIDTH), 1 - layer / layers, layer / (layers - 1)
        for name, power in zip("rwkvag", (0.2, 0.9, 0.7, 0.7, 0.9, 0.2), strict=True):
            self.put(f"x_{name}", 1 - (i / WIDTH) ** (power * left))
        within = (i % HEAD - (HEAD - 1) / 2) / ((HEAD - 1) / 2)
        zigzag, line = within * within.abs(), i / (WIDTH - 1) - 0.5
        self.put("w0", -6 + 6 * (i / (WIDTH - 1)) ** (1 + depth**0.3) + 0.5 + 2.5 * zigzag)
        self.put("a0", -0.19 + 0.3 * zigzag + 0.4 * line)
        self.put("v0", 0.73 - 0.4 * line)
        self.put("k_k", 0.71 - 0.1 * line)
        self.put("k_a", torch.full((WIDTH,), 1.02))
        self.r_k = nn.Parameter(torch.full((WIDTH // HEAD, HEAD), -0.04))
        for name in "wavg":
            setattr(self, f"{name}1", nn.Parameter(torch.zeros(WIDTH, RANK)))
            setattr(self, f"{name}2", nn.Parameter(init.orthogonal_(torch.empty(RANK, WIDTH), gain=0.1)))
        for name, gain, bound in (("receptance", 1, 0.5), ("key", 0.1, 0.05), ("value", 1, 0.5)):
            setattr(self, name, matrix(WIDTH, WIDTH, gain, bound, matrices))
        self.output = matrix(WIDTH, WIDTH, 0, 0, "uniform")
        self.ln_x = nn.GroupNorm(WIDTH // HEAD, WIDTH)
        init.constant_(self.ln_x.weight, ((layer + 1) / layers) ** 0.7)

    def put(self, name, values):
        setattr(self, name, nn.Parameter(values.float().reshape(1, 1, WIDTH)))


def matrix(out, into, gain, bound, matrices):
    layer = nn.Linear(into, out, bias=False)
    if matrices == "orthogonal":
        init.orthogonal_(layer.weight, gain=gain)
    else:
        init.uniform_(layer.weight, -bound / math.sqrt(into), bound / math.sqrt(into))
    return layer


class Feeding(nn.Module):
    """Channel mixing of a layer."""

    def __init__(self, layer, layers, matrices):
        super().__init__()
        self.x_k = nn.Parameter((1 - (torch.arange(WIDTH) / WIDTH) ** ((1 - layer / layers) ** 4)).reshape(1, 1, WIDTH))
        self.key = matrix(4 * WIDTH, WIDTH, 1, 0.5, matrices)
        self.value = matrix(WIDTH, 4 * WIDTH, 0, 0, "uniform")


def model(matrices="orthogonal", layers=LAYERS):
    root = nn.Module()
    root.emb, root.head = nn.Embedding(TOKENS, WIDTH), nn.Linear(WIDTH, TOKENS, bias=False)
    init.uniform_(root.emb.weight, -1e-4, 1e-4)
    init.orthogonal_(root.head.weight, gain=0.5 * math.sqrt(TOKENS / WIDTH))
    root.ln_out, root.blocks = nn.LayerNorm(WIDTH), nn.ModuleList()
    for layer in range(layers):
        block = nn.ModuleDict({name: nn.LayerNorm(WIDTH) for name in ("ln1", "ln2", *(("ln0",) if not layer else ()))})
        block["att"], block["ffn"] = Mixing(layer, layers, matrices), Feeding(layer, layers, matrices)
        root.blocks.append(block)
    return root


def planned(module, rules):
    return init_module_(module, rules, seed=0, dry_run=True)


@pytest.mark.parametrize("matrices", ["orthogonal", "uniform"])
def test_it_is_the_training_codes(matrices):
    torch.manual_seed(0)
    theirs = [model(matrices) for _ in range(TIMES)]
    rules = recipes.rwkv7(layers=LAYERS, head_size=HEAD, matrices=matrices)
    plan = planned(theirs[0], rules)
    assert all(entry.rule is not None for entry in plan)
    check_plan(plan, [tensors(each) for each in theirs])
    ours = [tensors(init_module_(model(matrices), rules, seed=seed)) for seed in range(TIMES)]
    check_plan(plan, ours)
    other = {"orthogonal": "uniform", "uniform": "orthogonal"}[matrices]
    with pytest.raises(AssertionError):
        check_plan(planned(theirs[0], recipes.rwkv7(LAYERS, HEAD, other)), [tensors(each) for each in theirs])


@pytest.mark.filterwarnings("ignore:these rules apply to no parameter")
@pytest.mark.parametrize("changed", [{"head_size": 16}, {"layers": 4}])
def test_other_numbers_are_noticed(changed):
    module = model()
    with pytest.raises(AssertionError):
        check_plan(planned(module, recipes.rwkv7(**{"layers": LAYERS, "head_size": HEAD} | changed)), [tensors(module)])


def test_decays_of_each_head_go_up():
    decays = recipes.rwkv7(layers=12).find("blocks.4.att.w0", (1, 1, 256)).initializer((1, 1, 256)).reshape(4, 64)
    assert (np.diff(decays, axis=1) >= 0).all()
    assert (decays[1:, 0] < decays[:-1, -1]).all()


def test_a_layer_beyond_is_refused():
    with pytest.raises(PlanError, match=r"blocks\.3\.att\.w0"):
        planned(model(layers=4), recipes.rwkv7(layers=3, head_size=HEAD))


def test_a_model_with_fewer_layers_is_told_of():
    with pytest.warns(
        UserWarning, match=r"apply to no parameter .*blocks.*3.*att.*w0.*, .*4.*w0[^,]*, .*5.*w0\$/ and 1 more"
    ):
        planned(model(layers=3), recipes.rwkv7(layers=7, head_size=HEAD))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"layers": 1}, ValueError, "`layers` must be at least 2, because decays divide by layers - 1; got 1"),
        ({"head_size": 1}, ValueError, "`head_size` must be at least 2; got 1"),
        ({"matrices": "normal"}, ValueError, "`matrices`"),
        ({"container": ""}, TypeError, "`container`"),
    ],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        recipes.rwkv7(**arguments)
