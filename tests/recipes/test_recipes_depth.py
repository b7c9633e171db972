"""DeepNorm, T-Fixup and muP: formulas written out again with torch.nn.init, and what they are for."""

import math
import re

import numpy as np
import pytest
from recipe_checks import check_module, check_plan, tensors

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.torch import init_module_  # noqa: E402


class Projections(nn.Module):
    """Attention as fairseq has it: a layer for each projection."""

    def __init__(self, width):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, nn.Linear(width, width))


class Layer(nn.Module):
    def __init__(self, width, cross):
        super().__init__()
        self.self_attn = Projections(width)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        if cross:
            self.encoder_attn = Projections(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)


class Side(nn.Module):
    def __init__(self, depth, width, cross, tokens=100):
        super().__init__()
        self.embed_tokens = nn.Embedding(tokens, width, padding_idx=1)
        self.layers = nn.ModuleList([Layer(width, cross) for _ in range(depth)])
        if cross:
            self.output_projection = nn.Linear(width, tokens, bias=False)


class Fairseq(nn.Module):
    def __init__(self, n, m, width=32):
        super().__init__()
        if n:
            self.encoder = Side(n, width, False)
        if m:
            self.decoder = Side(m, width, bool(n))


def start(model, xavier, gains, embedding):
    """The papers' words: side -> gain of values, outputs and feed-forward layers, and scale of embeddings."""
    for side in ("encoder", "decoder"):
        for path, module in getattr(model, side, nn.Module()).named_modules():
            if isinstance(module, nn.Linear):
                ungained = path.endswith(("q_proj", "k_proj"))
                xavier(module.weight, gain=1.0 if ungained else gains[side])
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=embedding[side] * module.embedding_dim**-0.5)
                nn.init.zeros_(module.weight[module.padding_idx])
            if path == "output_projection":
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
    return model


def deepnorm_of(n, m):
    if n and m:
        gains = {"encoder": 0.87 * (n**4 * m) ** (-1 / 16), "decoder": (12 * m) ** -0.25}
    else:
        gains = dict.fromkeys(("encoder", "decoder"), (8 * (n + m)) ** -0.25)
    return start(Fairseq(n, m), nn.init.xavier_normal_, gains, {"encoder": 1, "decoder": 1})


def t_fixup_of(n, m):
    gains = {"encoder": 0.67 * n**-0.25, "decoder": (9 * m) ** -0.25}
    embedding = {"encoder": (9 * n) ** -0.25, "decoder": (9 * m) ** -0.25}
    return start(Fairseq(n, m), nn.init.xavier_uniform_, gains, embedding)


MODELS = {
    "DeepNorm, encoder": (lambda: deepnorm_of(3, 0), recipes.deepnorm(encoder_layers=3, decoder_layers=0)),
    "DeepNorm, decoder": (lambda: deepnorm_of(0, 2), recipes.deepnorm(decoder_layers=2)),
    "DeepNorm, both": (lambda: deepnorm_of(2, 3), recipes.deepnorm(encoder_layers=2, decoder_layers=3)),
    "T-Fixup": (lambda: t_fixup_of(2, 3), recipes.t_fixup(encoder_layers=2, decoder_layers=3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_fairseq_models(name):
    torch.manual_seed(0)
    make, rules = MODELS[name]
    with torch.no_grad():
        check_module(make, rules, 4)


@pytest.mark.parametrize(
    ("rules", "name", "encoder", "decoder"),
    [
        (recipes.deepnorm(encoder_layers=2, decoder_layers=2), "xavier_normal", 0.87 * 32 ** (-1 / 16), 24**-0.25),
        (recipes.t_fixup(encoder_layers=2, decoder_layers=2), "xavier_uniform", 0.67 * 2**-0.25, 18**-0.25),
    ],
)
def test_packed_projections_of_torch(rules, name, encoder, decoder):
    model = nn.Transformer(48, 4, 2, 2, 96, batch_first=True)
    plan = init_module_(model, rules, seed=0, dry_run=True)
    check_plan(plan, [tensors(init_module_(model, rules, seed=0))])
    gains = {}
    for entry in plan:
        if entry.path.endswith("in_proj_weight"):
            q, k, v = entry.initializer.parameters["initializer"]
            assert q == k == ai.spec(name)
            gains.setdefault(entry.path.split(".")[0], []).append(v.parameters["gain"])
    assert gains == {"encoder": pytest.approx([encoder] * 2), "decoder": pytest.approx([decoder] * 4)}
    # The rows of v are those of a matrix of its own: fans of (48, 48), not of (144, 48).
    weight = tensors(model)["encoder.layers.0.self_attn.in_proj_weight"]
    assert weight[96:].std() == pytest.approx(encoder * math.sqrt(1 / 48), rel=0.1)
    assert weight[:96].std() == pytest.approx(math.sqrt(1 / 48), rel=0.1)


@pytest.mark.parametrize(("n", "m"), [(1, 0), (100, 0), (0, 18), (6, 6), (100, 3)])
def test_constants_of_deepnorm(n, m):
    found = recipes.deepnorm_constants(n, m)
    if n and m:
        assert found["encoder"] == pytest.approx((0.81 * (n**4 * m) ** 0.0625, 0.87 * (n**4 * m) ** -0.0625))
        assert found["decoder"] == pytest.approx(((3 * m) ** 0.25, (12 * m) ** -0.25))
    else:
        assert list(found.values()) == [pytest.approx(((2 * (n + m)) ** 0.25, (8 * (n + m)) ** -0.25))]


class Mlp(nn.Module):
    """Two hidden layers; the output is multiplied by what muP's table 8 says."""

    def __init__(self, width, multiplier=1.0):
        super().__init__()
        self.embed, self.hidden = nn.Linear(16, width), nn.Linear(width, width)
        self.head, self.multiplier = nn.Linear(width, 4), multiplier

    def forward(self, x):
        self.first = self.embed(x)
        self.second = self.hidden(self.first.relu())
        return self.head(self.second.relu()) * self.multiplier


def trained(width, rules, lr, optimizer, multiplier, steps=4):
    """Mean sizes of activations at the start, and of their changes after a few steps, averaged over seeds."""
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    batch = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 16, generator=batch), torch.randn(32, 4, generator=batch)
    sizes = []
    for seed in range(3):
        model = Mlp(width, multiplier)
        scales = init_module_(model, rules, seed=seed, dry_run=True).lr_scales
        init_module_(model, rules, seed=seed)
        learn = kind([{"params": [p], "lr": lr * scales[path]} for path, p in model.named_parameters()])
        before = [model(x).detach(), model.first.detach(), model.second.detach()]
        for _ in range(steps):
            learn.zero_grad()
            (model(x) - y).square().mean().backward()
            learn.step()
        after = [model(x), model.first, model.second]
        moved = [(b - a).abs().mean().item() for a, b in zip(before, after, strict=True)]
        sizes.append([before[1].abs().mean().item(), before[2].abs().mean().item(), *moved])
    return np.mean(sizes, 0)


@pytest.mark.parametrize("readout", ["multiplier", "variance"])
@pytest.mark.parametrize(("optimizer", "lr"), [("adam", 0.01), ("sgd", 0.05)])
def test_activations_of_mup_do_not_depend_on_the_width(optimizer, lr, readout):
    base, wide = 64, 512
    sizes = {}
    for width in (base, wide):
        rules = recipes.mup(width=width, base_width=base, std=0.125, optimizer=optimizer, readout=readout)
        sizes[width] = trained(width, rules, lr, optimizer, base / width if readout == "multiplier" else 1.0)
    ratio = sizes[wide] / sizes[base]
    assert (ratio > 0.6).all(), ratio
    assert (ratio < 1.4).all(), ratio


def test_without_mup_they_do():
    rules = ai.Rules({"*bias": "zeros", "*": ai.spec("variance_scaling", distribution="normal")})
    small, large = (trained(width, rules, 0.01, "adam", 1.0, steps=2) for width in (64, 1024))
    assert large[2] / small[2] > 4  # the output moves far more at the same learning rate


def test_the_table_of_mup():
    gpt = ("wte.weight", "h.0.attn.c_attn.weight", "h.0.mlp.c_fc.bias", "h.0.ln_1.weight", "lm_head.weight",
           "lm_head.bias", "h.0.multihead_attn.in_proj_weight")  # fmt: skip

    def table(**parameters):
        rules = recipes.mup(width=1024, base_width=256, std=0.02, **parameters)
        found = [rules.find(path, (4,) if "ln_" in path or path.endswith("bias") else (4, 4)) for path in gpt]
        return [(rule.initializer.parameters.get("std", rule.initializer.name), rule.lr_scale) for rule in found]

    hidden = (0.01, 0.25)
    assert table() == [(0.02, 1), hidden, ("zeros", 1), ("ones", 1), (0.02, 1), ("zeros", 1), hidden]
    assert table(readout="variance")[4] == (0.005, 0.25)
    assert table(zero_readout=True)[4] == ("zeros", 1)
    hidden = (0.01, 1)
    assert table(optimizer="sgd") == [(0.02, 4), hidden, ("zeros", 4), ("ones", 4), (0.02, 4), ("zeros", 1), hidden]
    assert table(optimizer="sgd", readout="variance")[4] == (0.005, 0.25)
    assert {scale for _, scale in [*table(inputs="none", outputs=["nothing"])]} == {1, 0.25}


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.deepnorm(0, 0), ValueError, "must not both be 0; got 0 and 0"),
        (lambda: recipes.deepnorm(-1, 2), ValueError, "`encoder_layers` must be at least 0; got -1"),
        (lambda: recipes.deepnorm(1, True), TypeError, "`decoder_layers` must be an integer; got True"),
        (lambda: recipes.t_fixup(0, 3), ValueError, "`encoder_layers` must be at least 1; got 0"),
        (lambda: recipes.mup(width=0), ValueError, "`width` must be at least 1; got 0"),
        (lambda: recipes.mup(base_width=1.5), TypeError, "`base_width` must be an integer; got 1.5"),
        (lambda: recipes.mup(optimizer="lion"), ValueError, "`optimizer` must be one of 'adam', 'sgd'; got 'lion'"),
        (lambda: recipes.mup(readout="none"), ValueError, "`readout` must be one of 'multiplier', 'variance'"),
        (lambda: recipes.mup(zero_readout=1), TypeError, "`zero_readout` must be True or False; got 1"),
        (
            lambda: recipes.mup(inputs=[3]),
            TypeError,
            re.escape("`inputs` must be a glob or a sequence of them; got [3]"),
        ),
        (
            lambda: recipes.mup(outputs=()),
            TypeError,
            re.escape("`outputs` must be a glob or a sequence of them; got ()"),
        ),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
