"""Plot models before training: the scale of the signal through depth, and histograms of weights.

    pip install ".[torch,plot]"
    python examples/plots.py --out figures

- depth_relu.png, depth_tanh.png: an MLP of 30 layers under four recipes. Through relu, kaiming keeps the scale and
  xavier loses a factor of sqrt(2) per layer. Weights that are too small or too large lose the signal in a few layers.
- depth_gpt.png: the residual stream of 24 blocks as in GPT-2, with and without scaled residual projections.
- weights.png: histograms of weights, with the densities of their rules.

Everything is drawn from --seed, so the figures are the same each time.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import nn

import arrayinit as ai
from arrayinit import plot
from arrayinit.torch import init_module_

WIDTH, DEPTH, BATCH = 256, 30, 512
BLOCKS, EMBED, HEADS, TOKENS, VOCABULARY = 24, 192, 6, 64, 512


def make_mlp(activation: type[nn.Module]) -> nn.Sequential:
    """DEPTH layers of one width."""
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    return nn.Sequential(*layers[:-1])


def mlp_recipes(nonlinearity: str) -> dict[str, dict[str, object]]:
    """Four ways to draw a weight; biases are 0."""
    weights = {
        f"kaiming ({nonlinearity})": ai.spec("kaiming_normal", nonlinearity=nonlinearity),
        "xavier": ai.spec("xavier_normal"),
        "too small: std 0.02": ai.spec("normal", std=0.02),
        "too large: std 0.2": ai.spec("normal", std=0.2),
    }
    return {name: {"*.bias": "zeros", "*.weight": weight} for name, weight in weights.items()}


class Block(nn.Module):
    """Attention and an MLP, each behind a norm and added to the residual stream, as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(EMBED), nn.LayerNorm(EMBED)
        self.c_attn, self.c_proj = nn.Linear(EMBED, 3 * EMBED), nn.Linear(EMBED, EMBED)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(EMBED, 4 * EMBED), "c_proj": nn.Linear(4 * EMBED, EMBED)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.c_attn(self.ln_1(x)).unflatten(-1, (3 * HEADS, -1)).transpose(1, 2).chunk(3, dim=1)
        heads = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(heads.transpose(1, 2).flatten(-2))
        return x + self.mlp["c_proj"](nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x))))


class GPT(nn.Module):
    """Embeddings, blocks, a norm and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, EMBED), nn.Embedding(TOKENS, EMBED)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.ln_f, self.head = nn.LayerNorm(EMBED), nn.Linear(EMBED, VOCABULARY, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        return self.head(self.ln_f(self.blocks(x)))


def is_block(path: str, module: nn.Module) -> bool:
    """Select the layers to measure: the blocks."""
    return isinstance(module, Block)


def gpt_recipes() -> dict[str, dict[str, object]]:
    """N(0, 0.02^2) as in GPT-2, with and without 1 / sqrt(2 BLOCKS) for residual projections, and xavier."""
    rest = {"*.bias": "zeros", "*ln_*.weight": "ones"}
    scaled = ai.spec("normal", std=0.02 / math.sqrt(2 * BLOCKS))
    plain = ai.spec("normal", std=0.02)
    embeddings = {"wte.weight": plain, "wpe.weight": plain}
    return {
        "GPT-2: 0.02, residual / sqrt(2L)": rest | {"*c_proj.weight": scaled, "*": plain},
        "0.02 everywhere": rest | {"*": plain},
        "xavier": rest | embeddings | {"*": ai.spec("xavier_normal")},
    }


class ConvNet(nn.Module):
    """A few layers of different kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7)
        self.conv = nn.Conv2d(64, 128, 3)
        self.embed = nn.Embedding(1000, 64)
        self.recurrent = nn.Linear(128, 128)
        self.hidden = nn.Linear(256, 512)
        self.head = nn.Linear(512, 100)


CONVNET_RULES = ai.Rules({
    "*.bias": "zeros",
    "stem.weight": ai.spec("kaiming_normal", mode="fan_out", nonlinearity="relu"),
    "conv.weight": ai.spec("kaiming_uniform", nonlinearity="relu"),
    "embed.weight": ai.spec("trunc_normal", std=0.02, a=-0.04, b=0.04),
    "recurrent.weight": ai.spec("orthogonal"),
    "hidden.weight": ai.spec("sparse", sparsity=0.75, std=0.05),
    "head.weight": ai.spec("xavier_uniform"),
})  # fmt: skip


def main() -> None:
    """Draw all figures and print where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR")
    arguments = parser.parse_args()
    seed, out = arguments.seed, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # one order of summation, so that the figures are the same each time

    figures = {}
    x = ai.normal((BATCH, WIDTH), seed=seed, name="x", xp="torch")
    for name, activation in (("relu", nn.ReLU), ("tanh", nn.Tanh)):
        scales = plot.depth_scales(lambda activation=activation: make_mlp(activation), mlp_recipes(name), x, seed=seed)
        figures[f"depth_{name}"] = plot.depth(scales, title=f"An MLP of {DEPTH} layers, {WIDTH} wide, {name}")
        for scale in scales:
            first, last = scale.forward[0], scale.forward[-1]
            print(f"{name}, {scale.recipe:21} {first:8.2g} in layer 1 -> {last:8.2g} in layer {DEPTH}")

    tokens = torch.arange(4 * TOKENS).reshape(4, TOKENS) * 7 % VOCABULARY
    scales = plot.depth_scales(GPT, gpt_recipes(), tokens, layers=is_block, seed=seed)
    title = f"The residual stream of {BLOCKS} blocks as in GPT-2"
    figures["depth_gpt"] = plot.depth(scales, title=title, xlabel="block")

    model = init_module_(ConvNet(), CONVNET_RULES, seed=seed)
    figures["weights"] = plot.weights(model, CONVNET_RULES)

    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png")
    print(f"ok: {', '.join(f'{name}.png' for name in figures)} in {out}")


if __name__ == "__main__":
    main()
