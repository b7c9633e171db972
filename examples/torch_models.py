"""Initialize a small ResNet and a Transformer encoder in torch, each parameter from one seed and its name.

    pip install ".[torch]"
    python examples/torch_models.py --seed 0

A parameter's bits depend only on the seed, its name, its shape and its initializer. The program prints a fingerprint of
each parameter, and checks that the fingerprints do not change if
  * NumPy draws the parameters, without torch,
  * they are initialized in reverse order,
  * the model gets another layer.
torch.manual_seed() alone guarantees none of these.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

import arrayinit as ai


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 2016)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and channels_in == channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


class ResNet(nn.Module):
    """A stem, three residual stages of the given depths, and a classifier."""

    def __init__(self, depths: tuple[int, ...] = (1, 1, 1)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stages = nn.ModuleList()
        width = 16
        for stage, depth in enumerate(depths):
            out, stride = 16 * 2**stage, 1 if stage == 0 else 2
            first, *others = [(width, out, stride)] + [(out, out, 1)] * (depth - 1)
            self.stages.append(nn.Sequential(Block(*first), *(Block(*other) for other in others)))
            width = out
        self.fc = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(x.mean(dim=(2, 3)))


class Transformer(nn.Module):
    """Token embeddings, nn.TransformerEncoder, and a classifier."""

    def __init__(self, layers: int = 2, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, width)
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(width, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(tokens)).mean(dim=1))


def recipe(model: nn.Module) -> Iterator[tuple[str, torch.Tensor, ai.Spec]]:
    """(name, tensor, initializer) of each draw. The name is the path of the parameter."""
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(path, recurse=False):
            if name.endswith("bias"):
                yield name, parameter, ai.spec("zeros")
            elif name.endswith("in_proj_weight"):
                # Attention packs three matrices into one of (3 width, width), for which xavier would see fan_out =
                # 3 width. So each matrix is drawn by itself. A chunk is a view: filling it fills the parameter.
                for letter, block in zip("qkv", parameter.chunk(3), strict=True):
                    yield f"{name}.{letter}", block, ai.spec("xavier_uniform")
            elif isinstance(module, nn.Conv2d):
                yield name, parameter, ai.spec("kaiming_normal", mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                yield name, parameter, ai.spec("xavier_uniform")
            elif isinstance(module, nn.Embedding):
                yield name, parameter, ai.spec("normal", std=1.0)
            elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                yield name, parameter, ai.spec("ones")
            else:
                raise TypeError(f"no initializer for {name}")


def initialize(model: nn.Module, seed: int, *, backwards: bool = False) -> dict[str, str]:
    """Fill all parameters of a model in place, and return their fingerprints."""
    steps = list(recipe(model))
    for name, tensor, initializer in reversed(steps) if backwards else steps:
        initializer.fill_(tensor, seed=seed, name=name)
    return {name: ai.fingerprint(tensor) for name, tensor, _ in steps}


def show(build: type[nn.Module], bigger: nn.Module, inputs: torch.Tensor, seed: int) -> None:
    """Initialize a model, print a table, check the claims at the top of this file, run the model once."""
    model = build()
    prints = initialize(model, seed)
    width = max(map(len, prints))
    print(f"{build.__name__}, {sum(p.numel() for p in model.parameters())} parameters\n")
    print(f"{'parameter':{width}}  {'shape':16}  {'fingerprint':12}  {'std':>7}")
    for name, tensor, _ in recipe(model):
        shape = "x".join(map(str, tensor.shape))
        print(f"{name:{width}}  {shape:16}  {prints[name][:12]}  {tensor.std(correction=0).item():7.4f}")

    # NumPy needs only the shapes to draw the same bits.
    in_numpy = {name: spec(tuple(t.shape), seed=seed, name=name, xp=np) for name, t, spec in recipe(model)}
    assert {name: ai.fingerprint(array) for name, array in in_numpy.items()} == prints

    # The order does not matter, and a bigger model has the same values in the parameters that both have.
    assert initialize(build(), seed, backwards=True) == prints
    in_bigger = initialize(bigger, seed)
    assert in_bigger.items() >= prints.items()
    print(f"\nok: the same {len(prints)} fingerprints from NumPy, in reverse order, and in a model of {len(in_bigger)}")

    # Good initializers keep activations near one scale through the depth of a model.
    def report(path: str):
        return lambda module, args, out: print(f"  {path:{width}}  {out.std().item():.3f}")

    modules = [(path, m) for path, m in model.named_modules() if isinstance(m, (Block, nn.TransformerEncoderLayer))]
    for path, module in [*modules, ("output", model)]:
        module.register_forward_hook(report(path))
    print("std of activations:")
    with torch.no_grad():
        logits = model(inputs)
    assert logits.isfinite().all()
    print()


def main() -> None:
    """Show both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed

    # The inputs also come from the seed and a name, without global state.
    images = ai.normal((32, 3, 32, 32), seed=seed, name="images", xp=torch)
    show(ResNet, ResNet(depths=(1, 2, 1)), images, seed)

    tokens = (100 * ai.uniform((32, 20), seed=seed, name="tokens", xp=torch)).long()
    show(Transformer, Transformer(layers=3), tokens, seed)


if __name__ == "__main__":
    main()
