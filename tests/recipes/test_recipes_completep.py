"""CompleteP and depth-muP: a GPT started and grouped as the authors' code does, against the recipes."""

import math
import re

import numpy as np
import pytest
from recipe_checks import check_module

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.torch import init_module_  # noqa: E402

WIDTH, LAYERS, STD = 96, 8, 0.07
M, D = 3.0, 4.0  # relative to a width of 32 and 2 layers


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(width, 3 * width), "c_proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x, scale):
        q, k, v = self.attn["c_attn"](self.ln_1(x)).chunk(3, -1)
        scores = (q @ k.transpose(-1, -2)) / x.shape[-1]
        x = x + scale * self.attn["c_proj"](scores.softmax(-1) @ v)
        return x + scale * self.mlp["c_proj"](nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x))))


class Gpt(nn.Module):
    def __init__(self, width=WIDTH, layers=LAYERS, m=M):
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(50, width),
                "wpe": nn.Embedding(32, width),
                "h": nn.ModuleList([Block(width) for _ in range(layers)]),
                "ln_f": nn.LayerNorm(width),
            }
        )
        self.lm_head = nn.Linear(width, 50, bias=False)
        for path, x in self.named_parameters():
            if path.endswith(("c_attn.weight", "c_fc.weight", "c_proj.weight")):
                nn.init.normal_(x, std=STD / math.sqrt(m))
            elif x.ndim == 2:
                nn.init.normal_(x, std=STD)
            elif path.endswith("bias"):
                nn.init.zeros_(x)


def factors(path, alpha):
    """(learning rate, epsilon) in the groups of configure_optimizers."""
    deep, wide = D ** (alpha - 1), 1 / M
    if path in ("transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight"):
        lr = 1.0
    elif ".ln_" in path:
        lr = 1.0 if ".ln_f." in path else deep
    else:
        lr = deep if path.endswith("bias") else deep * wide
    return lr, wide * D**-alpha


SIZES = {"width": WIDTH, "base_width": 32, "layers": LAYERS, "base_layers": 2, "std": STD}


@pytest.mark.parametrize(
    ("alpha", "rules"),
    [
        (1.0, recipes.completep(**SIZES)),
        (0.5, recipes.depth_mup(**SIZES)),
        (0.75, recipes.completep(**SIZES, alpha=0.75)),
    ],
)
def test_a_gpt(alpha, rules):
    torch.manual_seed(0)
    plan = check_module(Gpt, rules, 2)
    found = {path: (lr, plan.eps_scales[path]) for path, lr in plan.lr_scales.items()}
    assert found == {path: pytest.approx(factors(path, alpha)) for path, _ in Gpt().named_parameters()}
    assert {rule.text for rule in rules} >= {entry.rule.text for entry in plan}


def test_names_decide_where_there_are_no_classes():
    rules = recipes.completep(**SIZES, alpha=0.5)
    ones = {"layers.3.norm1.weight": 0.5, "layers.3.ln_2.weight": 0.5, "norm.weight": 1.0, "model.ln_f.weight": 1.0}
    for path, lr in ones.items():
        rule = rules.find(path, (4,))
        assert (rule.initializer, rule.lr_scale) == (ai.spec("ones"), lr), path
    rule = rules.find("layers.3.norm_attn.qkv.weight", (12, 4))
    assert (rule.initializer, rule.lr_scale) == (ai.spec("normal", std=STD / math.sqrt(M)), pytest.approx(0.5 / M))
    assert rules.find("conv.weight", (4, 4)) is None  # neither within a block nor at the ends


def sizes_of(width, layers, rules, alpha, steps=3):
    """Sizes of the last hidden states at the start, and of their changes by Adam, averaged over seeds."""
    m, d, sizes = width / 32, layers / 2, []
    for seed in range(2):
        model = Gpt(width, layers, m)
        plan = init_module_(model, rules, seed=seed, dry_run=True)
        init_module_(model, rules, seed=seed)
        groups = [
            {"params": [p], "lr": 3e-3 * plan.lr_scales[path], "eps": 1e-8 * plan.eps_scales[path]}
            for path, p in model.named_parameters()
        ]
        learn, tokens = torch.optim.Adam(groups), torch.arange(32).reshape(2, 16) * 7 % 50
        states = []
        for _ in range(steps + 1):
            parts = model.transformer
            x = parts["wte"](tokens) + parts["wpe"](torch.arange(16))
            for block in parts["h"]:
                x = block(x, d**-alpha)
            states.append(x.detach())
            loss = nn.functional.cross_entropy((model.lm_head(parts["ln_f"](x)) / m).flatten(0, 1), tokens.flatten())
            learn.zero_grad()
            loss.backward()
            learn.step()
        sizes.append([states[0].abs().mean().item(), (states[-1] - states[0]).abs().mean().item()])
    return np.mean(sizes, 0)


@pytest.fixture
def one_thread():
    """Tensors this small are slowed down by more threads, on a busy machine many times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("alpha", "small", "large"), [(1.0, (32, 8), (128, 8)), (0.5, (32, 2), (128, 16))])
def test_activations_do_not_depend_on_the_size(alpha, small, large):
    """Of the width for any alpha, and of the depth for 1/2; with 1 the random part of the start dies out with depth."""
    first, second = (
        sizes_of(width, layers, recipes.completep(width, 32, layers, 2, std=0.125, alpha=alpha), alpha)
        for width, layers in (small, large)
    )
    ratio = second / first
    assert (ratio > 0.75).all(), ratio
    assert (ratio < 1.3).all(), ratio


@pytest.mark.usefixtures("one_thread")
def test_without_the_factors_they_do():
    rules = ai.Rules({"*bias": "zeros", "*.ln_*": "ones", "*": ai.spec("normal", std=0.125)})
    first, second = (sizes_of(width, layers, rules, 0.0) for width, layers in ((32, 2), (128, 16)))
    assert (second / first > 3).all(), second / first


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.completep(layers=0), ValueError, "`layers` must be at least 1; got 0"),
        (lambda: recipes.completep(base_layers=1.5), TypeError, "`base_layers` must be an integer; got 1.5"),
        (lambda: recipes.completep(alpha=0.4), ValueError, "`alpha` must be from 0.5 to 1; got 0.4"),
        (lambda: recipes.completep(alpha="1"), TypeError, "`alpha` must be a real number"),
        (lambda: recipes.depth_mup(std=-1), ValueError, "`std` must not be negative; got -1"),
        (
            lambda: recipes.depth_mup(blocks=3),
            TypeError,
            re.escape("`blocks` must be a glob or a sequence of them; got 3"),
        ),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
