"""Fingerprints of models on two ranks that hold different things: what each rank says.

`python digest_world.py SIZE STORE` runs a gloo world and prints, for each rank, results or errors by case. See
tests/digests/test_ranks.py.
"""

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor, Shard
from worlds import play

import arrayinit as ai


def partition(rank, size, value=1.0):
    """A layer as DeepSpeed's ZeRO-3 leaves it."""
    layer = nn.Linear(6, 4, bias=False)
    weight = layer.weight
    weight.ds_shape, weight.ds_numel, weight.ds_tensor = (4, 6), 24, torch.full((24 // size,), value)
    weight.ds_zero_partition_rank, weight.ds_zero_partition_world_size = rank, size
    weight.data = torch.empty(0)
    return layer


def findings(rank, size):
    lines = [init_device_mesh("cpu", (size,))] * 2 + [init_device_mesh("cpu", (1, size))]

    def sharded(number=0, dtype=torch.float32):
        placements = [Shard(0)] * lines[number].ndim
        return DTensor.from_local(torch.ones(2, dtype=dtype), lines[number], placements, run_check=False)

    def on_disk():
        layer = partition(rank, size)
        if rank == 1:
            layer.weight.ds_tensor.final_location = "nvme"
        return ai.fingerprint(layer)

    def abstract(first):
        return ai.fingerprint({"a": first, "b": torch.ones(2, device="meta" if rank == 1 else "cpu")})

    def abstract_beside_a_partition():
        layer = partition(rank, size)
        layer.bias = nn.Parameter(torch.ones(4, device="meta" if rank == 1 else "cpu"))
        return ai.fingerprint(layer)

    def another_parameter():
        layers = {"a": partition(rank, size)} | ({"b": partition(rank, size)} if rank == 0 else {})
        return ai.fingerprints(nn.ModuleDict(layers))

    def nothing_here():
        return ai.fingerprints(partition(0, 1) if rank == 0 else nn.ReLU(), shards={})

    def only_rank_0():
        return ai.fingerprint(nn.Linear(2, 2)) and "done" if rank == 0 else "done"

    def without_elements():
        layer = nn.Linear(3, 2)
        layer.empty = nn.Parameter(torch.zeros(0, 4))
        with torch.no_grad():
            layer.weight.fill_(1), layer.bias.fill_(1)
        wanted = ai.fingerprint(layer)
        flat = FullyShardedDataParallel(layer, device_id=torch.device("cpu"))
        return ai.fingerprint(flat) == wanted

    found = {}
    for name, case in {
        "on disk": on_disk,
        "abstract": lambda: abstract(sharded()),
        "abstract in two dimensions": lambda: abstract(sharded(2)),
        "abstract beside a partition": abstract_beside_a_partition,
        "another parameter": another_parameter,
        "another array": lambda: ai.fingerprint({"a": sharded()} | ({"b": sharded()} if rank == 0 else {})),
        "another dtype": lambda: ai.fingerprint(sharded(0, torch.float64 if rank else torch.float32)),
        "nothing here": nothing_here,
        "only rank 0": only_rank_0,
        "without elements": without_elements,
    }.items():
        try:
            found[name] = case()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    play(findings)
