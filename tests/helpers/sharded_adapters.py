"""LoRA adapters with the names of peft, sharded: what each rank of a gloo world finds to differ from whole matrices.

`python sharded_adapters.py SIZE STORE` runs the world and prints the findings of each rank. See
test_models_adapters_sharded.
"""

import math

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from worlds import play

import arrayinit as ai
from arrayinit import recipes
from arrayinit.torch import init_module_

RANK = 8
BASE = 7.0  # of the loaded weights, which stay


class Adapted(nn.Module):
    """A frozen layer with two adapters, with the names that peft gives them; the second one is not active."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.base_layer = nn.Linear(inputs, outputs, bias=False).requires_grad_(False)
        adapters = {"default": RANK, "second": 2 * RANK}
        self.lora_A = nn.ModuleDict({name: nn.Linear(inputs, r, bias=False) for name, r in adapters.items()})
        self.lora_B = nn.ModuleDict({name: nn.Linear(r, outputs, bias=False) for name, r in adapters.items()})
        for pair in (self.lora_A, self.lora_B):
            pair["second"].requires_grad_(False)


class Model(nn.Module):
    """An MLP, and an embedding with its adapter: sizes that 2 and 4 ranks cut unevenly."""

    def __init__(self):
        super().__init__()
        self.up, self.down = Adapted(30, 101), Adapted(101, 30)
        self.tokens = nn.Module()
        self.tokens.base_layer = nn.Embedding(50, 30).requires_grad_(False)
        self.tokens.lora_embedding_A = nn.ParameterDict({"default": torch.empty(RANK, 50)})
        self.tokens.lora_embedding_B = nn.ParameterDict({"default": torch.empty(30, RANK)})
        with torch.no_grad():
            for x in self.parameters():
                x.fill_(BASE)


def of_one_axis(axis):
    """Adapter's B by column parallelism (axis 0), or A by row parallelism (axis 1); the other one is replicated."""
    return {"lora_A": Replicate() if axis == 0 else Shard(1), "lora_B": Shard(0) if axis == 0 else Replicate()}


def tensor_parallel(model, mesh):
    """The up projection by columns, the down projection by rows, as torchtitan cuts their adapters."""
    for layer, axis in ((model.up, 0), (model.down, 1)):
        places = {"base_layer": Shard(axis)} | of_one_axis(axis)
        for name, module in layer.named_modules():
            if isinstance(module, nn.Linear):
                place = places[name.partition(".")[0]]
                cut = distribute_tensor(module.weight, mesh, [place], src_data_rank=None)
                module.weight = nn.Parameter(cut, requires_grad=module.weight.requires_grad)


def fsdp(model, mesh):
    for layer in (model.up, model.down):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


RULES = {
    "kaiming": recipes.lora(), "gaussian": recipes.lora("gaussian", rank=RANK), "xavier": recipes.lora("xavier"),
}  # fmt: skip


def std_of(init, outputs, inputs):
    """The standard deviation of A by its whole matrix."""
    return {"kaiming": 1 / math.sqrt(3 * inputs), "gaussian": 1 / RANK, "xavier": math.sqrt(2 / (inputs + outputs))}[
        init
    ]


def differences(model, init):
    """What differs from the model in one piece, element by element, in the parts of this rank and put together."""
    whole = init_module_(Model(), RULES[init], seed=5, frozen="draw")
    init_module_(model, RULES[init], seed=5, frozen="draw")
    found = []
    for (path, x), expected in zip(model.named_parameters(), whole.parameters(), strict=True):
        full = x.detach().full_tensor() if isinstance(x, DTensor) else x.detach()
        if not torch.equal(full, expected):
            found.append(path)
        if path.endswith("base_layer.weight") and not bool((full == BASE).all()):
            found.append(f"{path} was drawn")
        if (
            "lora_A" in path and abs(full.std().item() / std_of(init, *full.shape) - 1) > 0.2
        ):  # a wrong fan: at least .41
            found.append(f"{path} has std {full.std().item()}")
        if "lora_B" in path and full.any():
            found.append(f"{path} is not 0")
    return found


def findings(rank, size):
    torch.manual_seed(rank)  # ranks differ in all that torch draws
    torch.randn(rank), ai.normal(rank)
    found, sharded = {}, set()
    ways = {"tensor parallel": lambda model: tensor_parallel(model, init_device_mesh("cpu", (size,)))}
    ways["fsdp"] = lambda model: fsdp(model, init_device_mesh("cpu", (size,)))
    if size == 4:

        def both(model):
            mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
            tensor_parallel(model, mesh["tp"])
            fsdp(model, mesh["dp"])

        ways["fsdp over tensor parallel"] = both
    for way, shard in ways.items():
        for init in RULES:
            model = Model()
            shard(model)
            sharded |= {way for x in model.parameters() if isinstance(x, DTensor)}
            found[f"{way}, {init}"] = differences(model, init)
    return {"found": found, "sharded": sorted(sharded)}


if __name__ == "__main__":
    play(findings)
