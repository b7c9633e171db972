"""u-muP: a transformer with the names of the package unit_scaling, and the learning rates of its optimizers."""

import pytest
from recipe_checks import check_module

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
nn = torch.nn

WIDTH, WIDER, LAYERS = 64, 96, 5


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mhsa_norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mhsa = nn.ModuleDict({"linear_qkv": nn.Linear(WIDTH, 3 * WIDTH), "linear_o": nn.Linear(WIDTH, WIDTH)})
        self.mlp = nn.ModuleDict({"linear_1": nn.Linear(WIDTH, WIDER), "linear_2": nn.Linear(WIDER, WIDTH)})


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, WIDTH)
        self.layers = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.final_norm = nn.LayerNorm(WIDTH)
        self.projection = nn.Linear(WIDTH, 50)
        for path, x in self.named_parameters():
            if x.ndim == 2:
                nn.init.normal_(x)
            elif path.endswith("bias"):
                nn.init.zeros_(x)


def lr_of(path, x):
    """`lr_scale_func_adam`: fan_in^(-1/2) of weights, depth^(-1/2) within the stack, 1 for the readout."""
    depth = LAYERS**-0.5 if path.startswith("layers.") else 1.0
    return depth * (1.0 if x.ndim == 1 or path.startswith("projection") else x.shape[1] ** -0.5)


def test_a_decoder():
    torch.manual_seed(0)
    rules = recipes.u_mup(width=WIDTH, ffn_width=WIDER, layers=LAYERS, outputs="projection*")
    plan = check_module(Decoder, rules, 2)
    assert plan.lr_scales == {path: pytest.approx(lr_of(path, x)) for path, x in Decoder().named_parameters()}
    assert set(plan.eps_scales.values()) == {1.0}


# Table 2 of Blake et al. 2024, whose base learning rate is 1: parameters -> their factor under Adam. An embedding's
# 1 / sqrt(fan-out) has the width; hidden weights have 1 / sqrt(fan-in) and, within a residual branch, 1 / sqrt(depth).
FACTORS = [
    ("embedding.weight", (50, WIDTH), ["Embedding"], WIDTH**-0.5),
    ("layers.0.q_proj.weight", (WIDTH, WIDTH), ["Linear"], (WIDTH * LAYERS) ** -0.5),
    ("layers.4.mlp.linear_2.weight", (WIDTH, WIDER), ["Linear"], (WIDER * LAYERS) ** -0.5),
    ("layers.0.down_proj.weight", (WIDTH, WIDER), ["Linear"], (WIDER * LAYERS) ** -0.5),
    ("layers.0.mlp.c_proj.weight", (WIDTH, WIDER), ["Linear"], (WIDER * LAYERS) ** -0.5),
    ("layers.0.fc2.weight", (WIDTH, WIDER), ["Linear"], (WIDER * LAYERS) ** -0.5),
    ("layers.0.linear2.weight", (WIDTH, WIDER), ["Linear"], (WIDER * LAYERS) ** -0.5),
    ("layers.0.w2.weight", (WIDTH, WIDER), ["Linear"], (WIDER * LAYERS) ** -0.5),
    ("layers.0.q_proj.bias", (WIDTH,), ["Linear"], LAYERS**-0.5),
    ("layers.0.norm.weight", (WIDTH,), ["LayerNorm"], LAYERS**-0.5),
    ("layers.0.norm.weight", (WIDTH,), ["GemmaRMSNorm"], LAYERS**-0.5),
    ("layers.0.norm.weight", (WIDTH,), [], LAYERS**-0.5),
    ("layers.0.act.weight", (1,), ["PReLU"], LAYERS**-0.5),
    ("head.weight", (50, WIDTH), ["Linear"], 1.0),
    ("head.bias", (50,), ["Linear"], 1.0),
    ("final_norm.weight", (WIDTH,), ["LayerNorm"], 1.0),
    ("final_norm.weight", (WIDTH,), ["GemmaRMSNorm"], 1.0),
    ("final_norm.weight", (WIDTH,), [], 1.0),
]


@pytest.mark.parametrize(("path", "shape", "kinds", "factor"), FACTORS)
def test_learning_rates_of_the_paper(path, shape, kinds, factor):
    rule = recipes.u_mup(width=WIDTH, ffn_width=WIDER, layers=LAYERS).find(path, shape, kinds)
    assert rule.lr_scale == pytest.approx(factor, rel=1e-15)
    assert rule.eps_scale == 1.0


def test_a_matrix_outside_of_all_globs_has_no_rule():
    rules = recipes.u_mup()
    assert rules.find("adapter.weight", (4, 4)) is None
    assert rules.find("blocks.0.fc2.weight", (4, 4)).lr_scale == pytest.approx((4096 * 12) ** -0.5)
    assert rules.find("blocks.0.norm2.weight", (4,)).initializer == ai.spec("ones")


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.u_mup(width=0), ValueError, "`width` must be at least 1; got 0"),
        (lambda: recipes.u_mup(ffn_width=2.5), TypeError, "`ffn_width` must be an integer; got 2.5"),
        (lambda: recipes.u_mup(layers=-1), ValueError, "`layers` must be at least 1; got -1"),
        (lambda: recipes.u_mup(down=()), TypeError, "`down` must be a glob or a sequence of them"),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
