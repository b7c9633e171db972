"""Initialize a transformer under FSDP2 from the meta device: the same weights for any number of processes.

    python examples/fsdp_model.py               # runs 1, 2 and 4 processes on this machine
    torchrun --nproc-per-node=3 examples/fsdp_model.py   # any other number

While initializing, no process holds the whole model or sends a weight to another. All runs print the same fingerprint.
"""

import os
import re
import subprocess
import sys
import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import arrayinit as ai
import arrayinit.torch as init

WIDTH, HEADS, LAYERS, TOKENS = 128, 4, 3, 1000


class Block(nn.Module):
    """Attention and a feed-forward network."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One layer of the transformer."""
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


def make() -> nn.Module:
    """The model, on the default device."""
    return nn.Sequential(nn.Embedding(TOKENS, WIDTH), *(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH))


RULES = [
    ai.Rule("*.weight", "ones", kind="*Norm"),
    ("*bias", "zeros"),
    (
        re.compile(r"(down|out_proj)\.weight$"),
        ai.spec("normal", std=0.02 / (2 * LAYERS) ** 0.5),
    ),  # residual projections
    ("*weight", ai.spec("normal", std=0.02)),
]  # GPT-2's weights; the first match wins


def rank() -> None:
    """The program of each process."""
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    with torch.device("meta"):
        model = make()
    for block in model:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    init.init_module_(model, RULES, seed=0, device="cpu")

    held = sum(parameter.to_local().numel() for parameter in model.parameters())
    total = sum(parameter.numel() for parameter in model.parameters())
    mark = ai.fingerprint(model)  # of what each process holds, added by one small collective
    loss = model(torch.arange(64).reshape(2, 32)).square().mean()
    loss.backward()
    if dist.get_rank() == 0:
        world = dist.get_world_size()
        print(
            f"{world} process{'es' if world > 1 else ''}: rank 0 holds {held:,} of {total:,} parameters, {mark}",
            flush=True,
        )
    dist.destroy_process_group()


def main() -> None:
    """Without torchrun, start 1, 2 and 4 processes and compare their fingerprints."""
    if "RANK" in os.environ:
        rank()
        return
    marks = set()
    for size in (1, 2, 4):
        with tempfile.TemporaryDirectory() as directory:
            ranks = [
                subprocess.Popen(
                    [sys.executable, __file__],
                    env={**os.environ, "RANK": str(k), "WORLD_SIZE": str(size), "STORE": f"{directory}/store"},
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for k in range(size)
            ]
            texts = [process.communicate()[0] for process in ranks]
            if any(process.returncode for process in ranks):
                raise SystemExit("a rank failed")
            print(texts[0], end="")
            marks.add(texts[0].split()[-1])
    assert len(marks) == 1, marks
    print("the same weights in every world")


if __name__ == "__main__":
    if "STORE" in os.environ:
        dist.init_process_group(
            "gloo",
            store=dist.FileStore(os.environ["STORE"], int(os.environ["WORLD_SIZE"])),
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )
    main()
