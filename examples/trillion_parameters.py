"""Draw the parts of a model of a trillion parameters that single ranks of 16,384 hold, each on this machine.

    python examples/trillion_parameters.py                     # ten ranks at random; 3 GiB, one to three minutes
    python examples/trillion_parameters.py --ranks 0 16383     # these ranks
    python examples/trillion_parameters.py --count 3 --width 448 --hidden 128    # smaller weights, as many ranks

The model is a mixture of experts as DeepSeek-V3, whose 256 experts a layer are half as wide again. It is made on the
meta device and cut by tensor and expert parallelism, then by FSDP2 with replicas. Each rank is a process of its own, in
a process group of torch in which the others are only simulated. It plans, draws its part, and compares random slices
of every parameter with those slices of the whole tensors, drawn alone: all bits must be equal.
"""

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

import arrayinit as ai
from arrayinit.torch import init_module_

SEED = 0
AXES = ("replicas", "fsdp", "expert", "tensor")  # of the mesh of ranks
DENSE_LAYERS = 3  # the first ones, without experts

RULES = [
    ai.Rule("*.weight", "ones", kind="*Norm"),
    ("*.experts.*", ai.spec("lecun_normal", layout="bio")),  # a stack of (in, out), each with fans of its own
    ("embed.weight", ai.spec("normal", std=0.006)),
    ("head.weight", ai.spec("trunc_normal", std=0.006, a=-0.018, b=0.018)),
    ("*", ai.spec("normal", std=0.006)),
]


class Attention(nn.Module):
    """The projections of latent attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        queries, latent, rotary, head = 3 * width // 14, width // 14, width // 112, width // 56
        self.q_a, self.q_norm = linear(width, queries), norm(queries)
        self.q_b = linear(queries, heads * (head + rotary))
        self.kv_a, self.kv_norm = linear(width, latent + rotary), norm(latent)
        self.kv_b, self.o = linear(latent, heads * 2 * head), linear(heads * head, width)


class MLP(nn.Module):
    """A gated feed-forward network."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = linear(width, hidden), linear(width, hidden), linear(hidden, width)


class Experts(nn.Module):
    """Gated feed-forward networks, one matrix above the other: (experts, in, out)."""

    def __init__(self, count: int, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(count, width, 2 * hidden, dtype=torch.bfloat16))
        self.down_proj = nn.Parameter(torch.empty(count, hidden, width, dtype=torch.bfloat16))


class Block(nn.Module):
    """A layer of the transformer."""

    def __init__(self, sizes: argparse.Namespace, is_dense: bool) -> None:
        super().__init__()
        width = sizes.width
        self.attention_norm, self.attention = norm(width), Attention(width, sizes.heads)
        self.mlp_norm = norm(width)
        if is_dense:
            self.mlp = MLP(width, 18 * width // 7)
        else:
            self.router = linear(width, sizes.experts)
            self.shared = MLP(width, sizes.hidden)
            self.experts = Experts(sizes.experts, width, sizes.hidden)


class Model(nn.Module):
    """The whole of it; this program only initializes it."""

    def __init__(self, sizes: argparse.Namespace) -> None:
        super().__init__()
        self.embed = nn.Embedding(sizes.tokens, sizes.width, dtype=torch.bfloat16)
        self.layers = nn.ModuleList(Block(sizes, k < DENSE_LAYERS) for k in range(sizes.layers))
        self.norm = norm(sizes.width)
        self.head = linear(sizes.width, sizes.tokens)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A projection in bfloat16."""
    return nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16)


def norm(width: int) -> nn.RMSNorm:
    """A norm in bfloat16."""
    return nn.RMSNorm(width, dtype=torch.bfloat16)


def placements_of(path: str) -> tuple[Placement, Placement]:
    """How expert and tensor parallelism cut a parameter."""
    if ".experts." in path:
        return Shard(0), Shard(1 if "down" in path else 2)
    if "norm" in path or ".router." in path or "_a." in path:
        return Replicate(), Replicate()
    return Replicate(), Shard(1 if ".o." in path or ".down." in path else 0)


def cut(model: nn.Module, mesh: DeviceMesh) -> None:
    """Cut a model on the meta device: by experts and tensor parallelism, then by FSDP2."""
    names = mesh.mesh_dim_names or ()
    outer, inner = mesh[names[:2]], mesh[names[2:]]
    for path, x in list(model.named_parameters()):
        parent, _, name = path.rpartition(".")
        parts = distribute_tensor(x, inner, placements_of(path), src_data_rank=None)
        model.get_submodule(parent).register_parameter(name, nn.Parameter(parts))
    for block in model.layers:
        fully_shard(block, mesh=outer)
    fully_shard(model, mesh=outer)


def held(path: str, shape: tuple[int, ...], coordinate: dict[str, int], sizes: dict[str, int]) -> list[slice]:
    """The part of a parameter that a rank holds, by torch's own chunks: FSDP cuts the rows that the others left."""
    cuts = [*zip(("expert", "tensor"), placements_of(path), strict=True), ("fsdp", Shard(0))]
    part = []
    for axis, n in enumerate(shape):
        places = torch.arange(n)
        for name, placement in cuts:
            if placement.is_shard(axis):
                places = (*places.chunk(sizes[name]), *[places[:0]] * sizes[name])[coordinate[name]]
        first = int(places[0]) if len(places) else 0
        part.append(slice(first, first + len(places)))
    return part


def compare(model: nn.Module, plan: ai.Plan, part_of: Callable[[str, tuple[int, ...]], list[slice]], seed: int) -> int:
    """Compare a random slice of each parameter with that slice of the whole, drawn alone; counts the elements."""
    chance, compared = random.Random(seed), 0
    initializers = {entry.path: entry.initializer for entry in plan}
    for path, x in model.named_parameters():
        assert isinstance(x, DTensor)
        part, local = part_of(path, tuple(x.shape)), x.detach().to_local()
        lengths = tuple(axis.stop - axis.start for axis in part)
        firsts = [chance.randrange(max(n, 1)) for n in lengths]
        inner = tuple(slice(first, min(first + 64, n)) for first, n in zip(firsts, lengths, strict=True))
        index = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(part, inner, strict=True))
        initializer = initializers[path]
        assert initializer is not None
        wanted = initializer(tuple(x.shape), seed=SEED, name=path, xp="torch", dtype="bfloat16", index=index)
        if tuple(local.shape) != lengths or not bool((local[inner] == wanted).all()):
            raise SystemExit(f"{path} differs from the slices of the whole")
        compared += wanted.numel()
    return compared


def resident() -> int:
    """The most memory that this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def rank_of(options: argparse.Namespace, rank: int) -> dict[str, Any]:
    """The program of one rank: what it measured."""
    sizes = {name: getattr(options, name) for name in AXES}
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=math.prod(sizes.values()))
    start = time.perf_counter()
    mesh = init_device_mesh("cpu", tuple(sizes.values()), mesh_dim_names=AXES)
    with torch.device("meta"):
        model = Model(options)
    cut(model, mesh)
    built, start = time.perf_counter() - start, time.perf_counter()
    plan = init_module_(model, RULES, seed=SEED, dry_run=True)
    planned, before, start = time.perf_counter() - start, resident(), time.perf_counter()
    init_module_(model, RULES, seed=SEED)
    drawn, peak = time.perf_counter() - start, resident()

    bytes_held = sum(x.to_local().nbytes for x in model.parameters())
    start = time.perf_counter()
    torch.empty(bytes_held, dtype=torch.uint8).fill_(1)  # the least that new memory costs
    filled = time.perf_counter() - start
    coordinate = dict(zip(AXES, mesh.get_coordinate() or (), strict=True))
    compared = compare(model, plan, lambda path, shape: held(path, shape, coordinate, sizes), options.seed + rank)
    dist.destroy_process_group()
    return {
        "parameters": sum(entry.parameter.size for entry in plan), "tensors": len(plan), "built": built,
        "planned": planned, "drawn": drawn, "filled": filled, "bytes": bytes_held,
        "beyond": max(peak - before - bytes_held, 0), "compared": compared,
    }  # fmt: skip


def main() -> None:
    """Start the ranks one after another, and print what each says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ranks", type=int, nargs="+", help="default: some at random")
    parser.add_argument("--count", type=int, default=10, help="of random ranks")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of ranks and slices")
    for name, size in zip(AXES, (8, 16, 16, 8), strict=True):
        parser.add_argument(f"--{name}", type=int, default=size, help="ranks along this axis of the mesh")
    shape = {"layers": 61, "width": 7168, "heads": 128, "experts": 256, "hidden": 3072, "tokens": 129_280}
    for name, size in shape.items():
        parser.add_argument(f"--{name}", type=int, default=size, help="of the model")
    options = parser.parse_args()
    if "ONE_RANK" in os.environ:
        print(json.dumps(rank_of(options, int(os.environ["ONE_RANK"]))))
        return

    world = math.prod(getattr(options, name) for name in AXES)
    ranks = options.ranks or sorted(random.Random(options.seed).sample(range(world), options.count))
    results = []
    for rank in ranks:
        done = subprocess.run(
            [sys.executable, *sys.argv], env={**os.environ, "ONE_RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise SystemExit(f"rank {rank} failed")
        result = json.loads(done.stdout.splitlines()[-1])
        if not results:
            print(f"{result['parameters']:,} parameters in {result['tensors']} tensors, {world:,} ranks")
            print("  rank   plan, s   draw, s   fill, s   GiB held   GiB/s   MiB beyond   elements compared")
        results.append(result)
        size, beyond = result["bytes"] / 2**30, result["beyond"] / 2**20
        print(
            f"{rank:>6}{result['planned']:>10.3f}{result['drawn']:>10.3f}{result['filled']:>10.3f}{size:>11.3f}"
            f"{size / result['drawn']:>8.2f}{beyond:>13.1f}{result['compared']:>20,}",
            flush=True,
        )
    of = {
        name: median(result[name] for result in results) for name in ("built", "planned", "drawn", "filled", "beyond")
    }
    print(
        f"medians: plan {of['planned']:.3f} s; plan and draw {of['drawn']:.3f} s; fill of as much new memory "
        f"{of['filled']:.3f} s; {of['beyond'] / 2**20:.1f} MiB beyond the parameters; torch cut the model in "
        f"{of['built']:.1f} s"
    )
    print(f"ok: {sum(result['compared'] for result in results):,} elements equal the slices of the whole")


if __name__ == "__main__":
    main()
