"""Residual networks written with torch.nn, started as torchvision and the authors of Fixup do, against the recipes."""

import math

import numpy as np
import pytest
from recipe_checks import check_module, tensors

from arrayinit import recipes

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.torch import init_module_  # noqa: E402


class Block(nn.Module):
    """Convolutions of these kernel sizes around a shortcut, with norms, or with Fixup's scalars."""

    def __init__(self, width, out, kernels, norm=True, groups=1):
        super().__init__()
        self.depth, self.norm = len(kernels), norm
        widths = [width, *[out // 2] * (self.depth - 1), out]
        for k, kernel in enumerate(kernels, 1):
            conv = nn.Conv2d(*widths[k - 1 : k + 1], kernel, padding=kernel // 2, bias=False, groups=groups)
            self.add_module(f"conv{k}", conv)
            if norm:
                self.add_module(f"bn{k}", nn.BatchNorm2d(widths[k]))
            else:
                self.register_parameter(f"bias{k}a", nn.Parameter(torch.zeros(1)))
                self.register_parameter(f"bias{k}b", nn.Parameter(torch.zeros(1)))
        if not norm:
            self.scale = nn.Parameter(torch.ones(1))
        shortcut = nn.Conv2d(width, out, 1, bias=False)
        self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out)) if norm else shortcut

    def forward(self, x):
        y = x
        for k in range(1, self.depth + 1):
            y = y if self.norm else y + getattr(self, f"bias{k}a")
            y = getattr(self, f"conv{k}")(y)
            if k == self.depth and not self.norm:
                y = y * self.scale
            y = getattr(self, f"bn{k}")(y) if self.norm else y + getattr(self, f"bias{k}b")
            y = y if k == self.depth else y.relu()
        return (self.downsample(x) + y).relu()


class ResNet(nn.Module):
    def __init__(self, kernels, norm=True, groups=1, start=None, width=16):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, bias=False)
        if norm:
            self.bn1 = nn.BatchNorm2d(width)
        else:
            self.bias1, self.bias2 = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.layer1 = nn.Sequential(Block(width, 2 * width, kernels, norm), Block(2 * width, 2 * width, kernels, norm))
        self.layer2 = nn.Sequential(Block(2 * width, 4 * width, kernels, norm, groups))
        self.fc = nn.Linear(4 * width, 100)
        if start:
            start(self)

    def forward(self, x):
        x = self.conv1(x)
        x = self.bn1(x) if hasattr(self, "bn1") else x + self.bias1
        x = self.layer2(self.layer1(x.relu())).mean((2, 3))
        return self.fc(x if hasattr(self, "bn1") else x + self.bias2)


BASIC, BOTTLENECK = (3, 3), (1, 3, 1)


def start_as_torchvision(model, zero=False):
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 1)
            nn.init.constant_(module.bias, 0)
    for module in model.modules():
        if zero and isinstance(module, Block):
            nn.init.constant_(getattr(module, f"bn{module.depth}").weight, 0)


def start_as_fixup(model):
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=math.sqrt(2 / (module.out_channels * math.prod(module.kernel_size))))
    with torch.no_grad():
        for block in blocks:
            for k in range(1, block.depth):
                getattr(block, f"conv{k}").weight.mul_(len(blocks) ** (-1 / (2 * block.depth - 2)))
            nn.init.zeros_(getattr(block, f"conv{block.depth}").weight)
    nn.init.zeros_(model.fc.weight)
    nn.init.zeros_(model.fc.bias)


MODELS = {
    "basic": (lambda: ResNet(BASIC, start=start_as_torchvision), recipes.resnet()),
    "groups": (lambda: ResNet(BOTTLENECK, groups=4, start=start_as_torchvision), recipes.resnet()),
    "zero, basic": (
        lambda: ResNet(BASIC, start=lambda model: start_as_torchvision(model, True)),
        recipes.resnet(zero_init_residual=True, block="basic"),
    ),
    "zero, bottleneck": (
        lambda: ResNet(BOTTLENECK, start=lambda model: start_as_torchvision(model, True)),
        recipes.resnet(zero_init_residual=True),
    ),
    "Fixup, basic": (lambda: ResNet(BASIC, norm=False, start=start_as_fixup), recipes.fixup(blocks=3)),
    "Fixup, bottleneck": (
        lambda: ResNet(BOTTLENECK, norm=False, start=start_as_fixup), recipes.fixup(blocks=3, block="bottleneck"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_residual_networks(name):
    torch.manual_seed(0)
    make, rules = MODELS[name]
    plan = check_module(make, rules, 20)
    assert all(entry.rule is not None for entry in plan)


def test_blocks_of_zero_are_the_shortcut():
    x = torch.randn(2, 3, 32, 32)
    for rules, norm in (
        (recipes.resnet(zero_init_residual=True, block="basic"), True),
        (recipes.fixup(blocks=3), False),
    ):
        model = init_module_(ResNet(BASIC, norm), rules, seed=0).eval()
        block, seen = model.layer1[1], []
        block.register_forward_hook(lambda module, args, out, seen=seen: seen.append((args[0], out)))
        model(x)
        before, after = seen[0]
        assert torch.equal(after, block.downsample(before).relu())
        assert after.abs().sum() > 0


def test_removing_a_block_leaves_all_other_bits_alone():
    rules = recipes.resnet()
    whole = tensors(init_module_(ResNet(BASIC), rules, seed=4))
    model = ResNet(BASIC)
    model.layer1 = nn.Sequential(model.layer1[0])
    part = tensors(init_module_(model, rules, seed=4))
    assert set(whole) - set(part) == {path for path in whole if path.startswith("layer1.1.")}
    assert all(np.array_equal(part[path], whole[path]) for path in part)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.resnet(block="big"), ValueError, "`block` must be one of 'bottleneck', 'basic'; got 'big'"),
        (lambda: recipes.resnet(zero_init_residual=1), TypeError, "`zero_init_residual` must be True or False; got 1"),
        (lambda: recipes.fixup(blocks=0), ValueError, "`blocks` must be at least 1; got 0"),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
