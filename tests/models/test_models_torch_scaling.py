"""torch modules scaled by the outputs of a batch: LSUV by its formula, what stays, and what is restored."""

import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conftest import same  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils import parametrize, prune  # noqa: E402
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm  # noqa: E402

import arrayinit as ai  # noqa: E402
from arrayinit import recipes  # noqa: E402
from arrayinit.torch import init_module_, lsuv_, unit_output_  # noqa: E402


def normal(*shape, dtype="float32", seed=1):
    return ai.normal(shape, seed=seed, xp="torch", dtype=dtype)


def mlp(width=16, depth=4):
    layers = [nn.Linear(8, width)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*layers)


class ResidualNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.norm(self.stem(x))
        x = x + self.second(F.relu(self.first(F.relu(x))))
        return self.head(self.dropout(self.up(x).mean((2, 3))))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.block(self.embed(tokens)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class AttentionOf(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


def state(module):
    return {name: x.detach().clone() for name, x in module.state_dict().items()}


def outputs(module, names, *args):
    """The output of each layer's first call, by hooks of the test's own, in evaluation mode."""
    result = {}

    def hook(name):
        def keep(_, args, output):
            result.setdefault(name, (output[0] if isinstance(output, tuple) else output).detach().double())

        return keep

    handles = [module.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    training = module.training
    with torch.no_grad():
        module.eval()(*args)
    module.train(training)
    for handle in handles:
        handle.remove()
    return result


def std(x):
    return (x - x.mean()).square().mean().sqrt().item()


# By the formula


def test_it_is_algorithm_1_of_the_paper():
    x = normal(64, 8)
    model, reference = mlp(), mlp()
    report = lsuv_(model, x, seed=3, tolerance=0.01)
    names = ["0", "2", "4", "6"]
    for name in names:
        layer = reference.get_submodule(name)
        ai.orthogonal_(layer.weight.data, seed=3, name=f"{name}.weight")
        nn.init.zeros_(layer.bias)
    for name in names:
        first = std(outputs(reference, [name], x)[name])
        while abs(std(outputs(reference, [name], x)[name]) ** 2 - 1) >= 0.01:
            reference.get_submodule(name).weight.data /= std(outputs(reference, [name], x)[name])
        assert math.isclose(report[name].before, first, rel_tol=1e-6)
    for name, value in state(reference).items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-6, atol=0)
    assert [row.path for row in report] == names


@pytest.mark.parametrize(
    ("make", "batch", "names"),
    [
        (lambda: mlp(depth=30), normal(64, 8), [str(k) for k in range(0, 59, 2)]),
        (ResidualNet, normal(8, 3, 8, 8), ["stem", "first", "second", "up", "head"]),
        (Attention, normal(4, 6, 8), ["qkv", "out", "up", "down"]),
        (Transformer, torch.arange(10)[None], ["block.self_attn", "block.linear1", "block.linear2"]),
    ],
    ids=["mlp", "residual", "attention", "transformer"],
)
def test_each_output_has_unit_variance(make, batch, names):
    model = make()
    report = lsuv_(model, batch, seed=0, tolerance=1e-3)
    assert [row.path for row in report if row.iterations or not row.note] == names
    for name, y in outputs(model, names, batch).items():
        assert abs(std(y) ** 2 - 1) < 1e-3
        assert math.isclose(report[name].after, std(y), rel_tol=1e-6)
        assert math.isclose(report[name].mean, y.mean().item(), rel_tol=1e-3, abs_tol=1e-6)


def test_weights_are_the_draw_times_the_factor():
    model = mlp()
    report = lsuv_(model, normal(64, 8), {"*.bias": "zeros", "*.weight": ai.spec("normal", std=2.0)}, seed=3)
    for row in report:
        drawn = normal(*model.get_submodule(row.path).weight.shape, seed=3)
        drawn = ai.normal_(drawn, std=2.0, seed=3, name=f"{row.path}.weight")
        torch.testing.assert_close(model.get_submodule(row.path).weight.detach(), drawn * row.factor)
        assert math.isclose(row.factor, 1 / row.before, rel_tol=1e-6)


def test_what_is_within_the_tolerance_stays():
    model, x = mlp(), normal(64, 8)
    lsuv_(model, x, seed=0, tolerance=0.001)
    before = state(model)
    report = lsuv_(model, x, None)
    assert all(same(value, before[name]) for name, value in state(model).items())
    assert [(row.factor, row.iterations, row.note) for row in report] == [(1.0, 0, "")] * 4


def test_a_bias_is_scaled_with_its_weight():
    model, x = nn.Linear(8, 4), normal(64, 8)
    model.bias.data = torch.tensor([5.0, -5.0, 3.0, 0.0])
    before = model(x).detach()
    (row,) = lsuv_(model, x, None)
    assert row.iterations == 1
    torch.testing.assert_close(model(x).detach(), before / std(before.double()))


def test_seed_names_and_rules():
    one, other = mlp(), mlp()
    lsuv_(one, normal(64, 8), seed=0, seed_names={"0.weight": "first"})
    ai.orthogonal_(other[0].weight.data, seed=0, name="first")
    other[0].bias.data.zero_()
    (row, *_) = lsuv_(other, normal(64, 8), None)
    torch.testing.assert_close(one[0].weight, other[0].weight)
    assert row.path == "0"


def test_factors_are_the_same_again():
    x = normal(64, 8)
    assert lsuv_(mlp(), x, seed=0) == lsuv_(mlp(), x, seed=0) != lsuv_(mlp(), x, seed=1)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_dtypes(dtype):
    model, x = mlp(width=200).to(getattr(torch, dtype)), normal(64, 8, dtype=dtype)
    before = {name: x.dtype for name, x in model.state_dict().items()}
    for row in lsuv_(model, x, seed=0, tolerance=0.05):
        assert abs(row.after**2 - 1) < 0.05
    assert {name: x.dtype for name, x in model.state_dict().items()} == before


def test_half_precision_is_measured_widely():
    model, x = nn.Linear(8, 400).half(), normal(256, 8, dtype="float16")
    (row,) = lsuv_(model, 100 * x, {"weight": ai.spec("normal", std=3.0), "bias": "zeros"}, seed=0)
    assert row.before > 500  # the sum of its squares is beyond float16
    assert abs(row.after - 1) < 0.01


def test_complex_layers():
    model, x = nn.Linear(8, 4, dtype=torch.complex64), normal(64, 8, dtype="complex64")
    lsuv_(model, x, seed=0, tolerance=1e-3)
    y = model(x).detach()
    assert abs((y - y.mean()).abs().square().mean().item() - 1) < 1e-3


# One pass


LAYERS = {
    "linear": (lambda: nn.Linear(8, 5), (64, 8), -1),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, groups=2), (8, 4, 9, 9), 1),
    "unbatched convolution": (lambda: nn.Conv1d(4, 6, 3), (4, 20), 0),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3), (8, 4, 5, 5), 1),
    "weight_norm": (lambda: weight_norm(nn.Linear(8, 5)), (64, 8), -1),
    "attention": (lambda: AttentionOf(8), (4, 9, 8), -1),
    "mask": (lambda: prune.l1_unstructured(nn.Linear(8, 5), "weight", 0.4), (64, 8), -1),
}


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("per", ["layer", "channel"])
@pytest.mark.parametrize("name", LAYERS)
def test_unit_output_is_its_formula(name, per, center):
    make, shape, axis = LAYERS[name]
    model, x = make(), normal(*shape)
    with torch.no_grad():
        y = model(x).double()
        (row,) = unit_output_(model, x, per=per, center=center)
        after = model(x).double()
    axes = tuple(k for k in range(y.ndim) if per == "layer" or k != axis % y.ndim)
    mean, scale = y.mean(axes, keepdim=True), y.std(axes, keepdim=True, correction=0)
    torch.testing.assert_close(after, (y - mean * center) / scale, rtol=1e-5, atol=1e-5)
    assert row.iterations == 1
    np.testing.assert_allclose(row.factor, 1 / scale.flatten().numpy() if per == "channel" else 1 / scale.item())
    assert isinstance(row.factor, tuple) == (per == "channel")


def test_the_direction_of_weight_norm_stays():
    model, x = weight_norm(nn.Linear(8, 5)), normal(64, 8)
    direction = model.parametrizations.weight.original1.detach().clone()
    (row,) = unit_output_(model, x, per="channel", center=True)
    assert same(model.parametrizations.weight.original1, direction)
    assert row.note == ""


def test_channels_that_are_constant_stay():
    model, x = nn.Linear(8, 3), normal(64, 8)
    model.weight.data[1] = 0
    bias = model.bias[1].item()
    (row,) = unit_output_(model, x, per="channel", center=True)
    assert row.note == "1 of 3 channels stay, for their output is constant"
    assert row.factor[1] == 1
    assert model.bias[1].item() == bias


def test_unit_output_goes_through_depth():
    model, x = ResidualNet(), normal(8, 3, 8, 8)
    names = [row.path for row in unit_output_(model, x)]
    assert names == ["stem", "first", "second", "up", "head"]
    assert all(math.isclose(std(y), 1, rel_tol=1e-4) for y in outputs(model, names, x).values())


# What stays, and why


def notes(report):
    return {row.path: row.note for row in report if row.note}


def test_what_stays_is_listed():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(11, 8)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.spectral = spectral_norm(nn.Linear(8, 8))
            self.rotation = orthogonal(nn.Linear(8, 8))
            self.shared = nn.Linear(8, 8)
            self.lstm = nn.LSTM(8, 8)
            self.zero = nn.Linear(8, 8)
            self.flat = nn.Linear(8, 8)
            self.frozen = nn.Linear(8, 8).requires_grad_(False)
            self.loaded = nn.Linear(8, 8)
            self.idle = nn.Linear(2, 2)
            self.head = nn.Linear(8, 11)
            self.head.weight = self.embed.weight
            self.loaded.weight._is_hf_initialized = True
            nn.init.zeros_(self.zero.weight)
            nn.init.zeros_(self.zero.bias)
            nn.init.zeros_(self.flat.weight)
            nn.init.ones_(self.flat.bias)

        def forward(self, tokens):
            x = self.shared(self.shared(self.rotation(self.spectral(self.block(self.embed(tokens))))))
            x = self.lstm(x)[0] + self.zero(x) + self.flat(x)
            return self.head(self.loaded(self.frozen(x)))

    model = Model()
    before = state(model)
    report = lsuv_(model, torch.arange(10)[None], None, tolerance=0.001)
    assert notes(report) == {
        "embed": "unchanged: Embedding is no linear layer or convolution",
        "spectral": "unchanged: _SpectralNorm does not pass a scale on",
        "rotation": "unchanged: _Orthogonal does not pass a scale on",
        "shared": "runs 2 times, of which the first counts",
        "lstm": "unchanged: LSTM is no linear layer or convolution",
        "zero": "unchanged: its output is 0 and can't be scaled to variance 1",
        "flat": "unchanged: its output is constant and can't be scaled to variance 1",
        "frozen": "unchanged: its weight is frozen (requires_grad=False)",
        "loaded": "unchanged: its weight is frozen (loaded by transformers)",
        "head": "unchanged: its weight is tied to embed.weight, which ran earlier",
        "idle": "unchanged: it never runs on its own in the forward pass",
    }
    changed = {name.rpartition(".")[0] for name, x in state(model).items() if not same(x, before[name])}
    assert {row.path for row in report.scaled} == {"block.self_attn", "block.linear1", "block.linear2", "shared"}
    assert changed == {"block.self_attn.out_proj", "block.linear1", "block.linear2", "shared"}
    assert report["shared"].calls == 2
    assert report["idle"].calls == 0
    assert report["idle"].before is report["idle"].after is report["lstm"].before is None
    assert report["embed"].before == report["embed"].after == std(model.embed(torch.arange(10)[None]).detach().double())


def test_what_stays_is_not_drawn():
    model = Transformer()
    before = state(model)
    lsuv_(model, torch.arange(10)[None], seed=0)
    changed = {name for name, x in state(model).items() if not same(x, before[name])}
    layers = ("block.self_attn.out_proj", "block.linear1", "block.linear2")
    weights = {f"{layer}.weight" for layer in layers}
    assert weights <= changed <= weights | {f"{layer}.bias" for layer in layers}


def test_layers_chooses():
    model, x = Transformer(), torch.arange(10)[None]
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    report = lsuv_(model, x, None, layers="embed", tolerance=0.001)
    assert [row.path for row in report] == ["embed"]
    assert math.isclose(std(model.embed(x).detach().double()), 1, rel_tol=1e-3)
    report = lsuv_(model, x, None, layers=lambda path, module: isinstance(module, nn.LayerNorm) or path == "head")
    assert [row.path for row in report] == ["block.norm1", "block.norm2", "head"]


def test_a_layer_within_a_layer():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.weight = nn.Linear(8, 8), nn.Parameter(torch.full((8, 8), 0.3))

        def forward(self, x):
            return self.inner(x) @ self.weight + x * 0

    model, x = Outer(), normal(64, 8)
    report = lsuv_(model, x, None, layers="*", tolerance=0.001)
    assert [(row.path, row.note) for row in report] == [("", ""), ("inner", "")]
    assert all(math.isclose(std(y), 1, rel_tol=1e-3) for y in outputs(model, ["", "inner"], x).values())


def test_two_layers_with_one_weight_are_scaled_once():
    model, x = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 8)), normal(64, 8)
    model[2].weight = model[0].weight
    report = lsuv_(model, x, seed=0, tolerance=0.001)
    assert notes(report) == {"2": "unchanged: its weight is tied to 0.weight, which ran earlier"}
    assert math.isclose(std(model[0](x).detach().double()), 1, rel_tol=1e-3)


def test_a_parametrization_that_scales_row_by_row_only():
    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

    model, x = nn.Linear(8, 8), normal(64, 8)
    parametrize.register_parametrization(model, "weight", Symmetric())
    before = state(model)
    (row,) = unit_output_(model, x, per="channel")
    assert row.note == "unchanged: Symmetric does not pass a scale on"
    assert all(same(value, before[name]) for name, value in state(model).items())
    (row,) = unit_output_(model, x)
    assert row.note == ""
    assert math.isclose(std(model(x).detach().double()), 1, rel_tol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
def test_weight_norm_by_hooks():
    model, x = nn.Sequential(nn.utils.weight_norm(nn.Linear(8, 5))), normal(64, 8)
    lsuv_(model, x, seed=0, tolerance=0.001)
    assert model[0].weight.requires_grad
    torch.testing.assert_close(model[0].weight, torch._weight_norm(model[0].weight_v, model[0].weight_g, 0))
    model(x).sum().backward()
    assert model[0].weight_g.grad is not None


def test_an_output_that_depends_on_later_layers():
    class Entangled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return self.b(self.a(F.linear(x, self.b.weight)))

    with pytest.warns(UserWarning, match=r"std of some outputs is not 1 within `tolerance`: a \("):
        report = lsuv_(Entangled(), normal(64, 8), None)
    assert "changes once later layers are scaled" in report["a"].note


def test_an_output_that_is_not_proportional_to_the_weight():
    class Square(nn.Linear):
        def forward(self, x):
            return x @ self.weight.mT.square()

    model, x = Square(8, 8, bias=False), normal(64, 8)
    with pytest.warns(UserWarning, match="not 1 within `tolerance`"):
        (row,) = lsuv_(model, x, None, iterations=3)
    assert row.iterations == 3


# What is as before


def test_modes_generators_buffers_hooks_and_gradients_are_as_before():
    model, x = ResidualNet(), normal(8, 3, 8, 8)
    model.dropout.eval()
    model.stem.weight.grad = torch.ones_like(model.stem.weight)
    seen = []
    model.first.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    hooks = {name: len(each._forward_hooks) + len(each._forward_pre_hooks) for name, each in model.named_modules()}
    modes = {name: each.training for name, each in model.named_modules()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    parameters = dict(model.named_parameters())
    generator = torch.get_rng_state()
    lsuv_(model, x, seed=0)
    assert same(torch.get_rng_state(), generator)
    assert {name: each.training for name, each in model.named_modules()} == modes
    assert {
        name: len(each._forward_hooks) + len(each._forward_pre_hooks) for name, each in model.named_modules()
    } == hooks
    assert all(same(b, buffers[name]) for name, b in model.named_buffers())
    assert all(p is parameters[name] and p.requires_grad for name, p in model.named_parameters())
    assert (model.stem.weight.grad == 1).all()
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.is_grad_enabled()
    assert seen == [False] * 3


def test_a_model_that_draws_in_its_forward_pass():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return self.fc(x + torch.randn_like(x))

    x = normal(64, 8)
    one = lsuv_(Noisy(), x, seed=0)
    torch.manual_seed(5)
    assert lsuv_(Noisy(), x, seed=0) == one


def test_hooks_of_others_come_after():
    model, x = mlp(depth=2), normal(64, 8)
    model[0].register_forward_hook(lambda _, args, output: 10 * output)
    report = lsuv_(model, x, seed=0, tolerance=0.001)
    assert math.isclose(std(model[0].forward(x).detach().double()), 1, rel_tol=1e-3)
    assert report["2"].before > 3


class Failing(nn.Module):
    """A model whose forward pass fails at a given call."""

    def __init__(self, at):
        super().__init__()
        self.fc, self.norm, self.calls, self.at = nn.Linear(8, 8), nn.BatchNorm1d(8), 0, at

    def forward(self, x):
        self.calls += 1
        x = self.norm(self.fc(x))
        if self.calls == self.at:
            raise KeyboardInterrupt
        return x


@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_fails_changes_nothing(at):
    model = Failing(at)
    before, generator = state(model), torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        lsuv_(model, normal(64, 8), {"*.weight": "normal", "*.bias": "normal"}, seed=0)
    assert model.calls == at
    assert all(same(value, before[name]) for name, value in state(model).items())
    assert same(torch.get_rng_state(), generator)
    assert model.training
    assert model.norm.training
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
def test_what_fails_restores_weights_that_are_made_of_others():
    model = nn.Sequential(weight_norm(nn.Linear(8, 8)), nn.utils.weight_norm(nn.Linear(8, 8)), Failing(3))
    before, weight = state(model), model[1].weight.detach().clone()
    with pytest.raises(KeyboardInterrupt):
        lsuv_(model, normal(64, 8), seed=0)
    assert all(same(value, before[name]) for name, value in state(model).items())
    assert same(model[1].weight, weight)
    assert model[1].weight.requires_grad


# Bad input


def test_outputs_that_are_not_finite_name_the_layer():
    model, x = mlp(), normal(64, 8)
    model[4].weight.data[0, 0] = math.nan
    before = state(model)
    with pytest.raises(ValueError, match="output of layer '4' must be finite"):
        lsuv_(model, x, None)
    assert all(np.array_equal(value, before[name], equal_nan=True) for name, value in state(model).items())
    with pytest.raises(ValueError, match="output of layer '0' must be finite"):
        lsuv_(mlp(), x * math.inf, seed=0)


def test_a_factor_beyond_the_dtype():
    model, x = nn.Linear(8, 8, bias=False).half(), normal(64, 8, dtype="float16") * 2.0**-14 * 2.0**-4
    before = state(model)
    with pytest.raises(ValueError, match="output of layer '' must be finite"):
        lsuv_(model, x, seed=0)
    assert all(same(value, before[name]) for name, value in state(model).items())


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (TypeError, "`module` must be a torch.nn.Module", lambda x: lsuv_({"w": x}, x, seed=0)),
        (TypeError, "`batch` must be a tensor, a tuple", lambda x: lsuv_(mlp(), [x], seed=0)),
        (TypeError, "`batch` must be a tensor, a tuple", lambda x: lsuv_(mlp(), x.numpy(), seed=0)),
        (TypeError, "`batch` must be a tensor, a tuple", lambda x: lsuv_(mlp(), {"input": 3}, seed=0)),
        (TypeError, "`batch` must be a tensor, a tuple", lambda x: lsuv_(mlp(), (), seed=0)),
        (ValueError, "`batch` must hold values", lambda x: lsuv_(mlp(), x.to("meta"), seed=0)),
        (ValueError, "`tolerance` must be positive; got 0", lambda x: lsuv_(mlp(), x, seed=0, tolerance=0)),
        (ValueError, "`tolerance` must be less than 1", lambda x: lsuv_(mlp(), x, seed=0, tolerance=1.0)),
        (TypeError, "`tolerance` must be a real number", lambda x: lsuv_(mlp(), x, seed=0, tolerance="0.1")),
        (ValueError, "`iterations` must be at least 1", lambda x: lsuv_(mlp(), x, seed=0, iterations=0)),
        (TypeError, "`iterations` must be an integer", lambda x: lsuv_(mlp(), x, seed=0, iterations=2.5)),
        (ValueError, "`seed` may only be given with rules", lambda x: lsuv_(mlp(), x, None, seed=0)),
        (ValueError, "'orthogonal' or None; got 'normal'", lambda x: lsuv_(mlp(), x, "normal", seed=0)),
        (ai.PlanError, "no rule matches", lambda x: lsuv_(mlp(), x, {"*.bias": "zeros"}, seed=0)),
        (TypeError, "`layers` must be a glob", lambda x: lsuv_(mlp(), x, seed=0, layers=3)),
        (ValueError, "`layers` must have a layer .*got 'fc'", lambda x: lsuv_(mlp(), x, seed=0, layers="fc")),
        (ValueError, "`layers` must have.*1 unchanged: ReLU has no param", lambda x: lsuv_(mlp(), x, layers="1")),
        (ValueError, "`module` must have a layer", lambda x: lsuv_(nn.ReLU(), x, seed=0)),
        (ValueError, "`module` must have a layer.*frozen", lambda x: lsuv_(mlp().requires_grad_(False), x, seed=0)),
        (ValueError, "`module` must hold values; got none at '0.weight'", lambda x: lsuv_(mlp().to("meta"), x, seed=0)),
        (ai.PlanError, "lazy", lambda x: lsuv_(nn.LazyLinear(3), x, seed=0)),
        (ValueError, "`per` must be one of 'layer', 'channel'", lambda x: unit_output_(mlp(), x, per="row")),
        (TypeError, "`center` must be True or False", lambda x: unit_output_(mlp(), x, center=1)),
        (RuntimeError, "shapes cannot be multiplied", lambda x: lsuv_(mlp(), x[:, :3], seed=0)),
    ],
)
def test_bad_input(error, text, call):
    with pytest.raises(error, match=text):
        call(normal(64, 8))


def test_a_wrong_call_takes_no_key_and_changes_nothing():
    model, x = mlp(), normal(64, 8)
    before = state(model)
    with ai.seeded(0):
        for wrong in (lambda: lsuv_(model, x[:, :3]), lambda: lsuv_(model, x, {"0.bias": "zeros"})):
            with pytest.raises((RuntimeError, ai.PlanError)):
                wrong()
        taken = ai.normal((3,), xp="numpy")
    with ai.seeded(0):
        assert same(taken, ai.normal((3,), xp="numpy"))
    assert all(same(value, before[name]) for name, value in state(model).items())


def test_inside_a_compiled_function():
    model, x = mlp(), normal(64, 8)
    compiled = torch.compile(lambda: lsuv_(model, x, seed=0), backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception, match=r"can't be scaled inside torch\.compile"):
            compiled()


def test_a_compiled_model():
    model, plain, x = mlp(), mlp(), normal(64, 8)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    assert lsuv_(compiled, x, seed=0) == lsuv_(plain, x, seed=0)
    assert all(same(value, plain.state_dict()[name]) for name, value in state(model).items())
    torch.testing.assert_close(compiled(x), plain(x))


def test_inputs_by_keyword_and_tuple():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x, scale=1.0):
            return self.fc(x * scale)

    x = normal(64, 8)
    reports = [lsuv_(Two(), batch, seed=0) for batch in ({"x": x, "scale": 3.0}, (x, 3.0), 3 * x)]
    assert reports[0] == reports[1]
    assert math.isclose(reports[1]["fc"].factor, reports[2]["fc"].factor, rel_tol=1e-6)


def test_init_module_draws_meta_models_first():
    with torch.device("meta"):
        model = mlp()
    x = normal(64, 8)
    init_module_(model, {"*.bias": "zeros", "*": "orthogonal"}, seed=0)
    plain = mlp()
    assert lsuv_(model, x, None) == lsuv_(plain, x, seed=0)


def test_a_model_of_transformers():
    transformers = pytest.importorskip("transformers")
    size = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**size))
    tokens = torch.arange(24).reshape(2, 12)
    report = lsuv_(model, {"input_ids": tokens}, recipes.gpt2(layers=2), seed=0, tolerance=0.001)
    names = [
        f"transformer.h.{k}.{name}" for k in (0, 1) for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    ]
    assert [row.path for row in report.scaled] == names
    assert report["lm_head"].note == "unchanged: its weight is tied to transformer.wte.weight, which ran earlier"
    for y in outputs(model, names, tokens).values():
        assert abs(std(y) ** 2 - 1) < 1e-3
    unit_output_(model, {"input_ids": tokens}, per="channel", center=True)
    y = outputs(model, names, tokens)["transformer.h.1.mlp.c_fc"].flatten(0, 1)
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(128).double(), rtol=1e-4, atol=0)
