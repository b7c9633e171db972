"""LoRA adapters of a sharded model from one seed, and VeRA's random projections stored as a few lines of JSON.

    python examples/lora.py

The modules have the names of peft, and a model of peft takes the same calls. Tensor parallelism is simulated: each of
four ranks is asked for its slice of A and B, without the rest of the matrix.
"""

import json

import numpy as np
import torch
from torch import nn

import arrayinit as ai
from arrayinit import recipes
from arrayinit.torch import init_module_

INPUTS, OUTPUTS, RANKS = 64, 96, 4


class Adapted(nn.Module):
    """A frozen layer and its LoRA adapters, by name."""

    def __init__(self, adapters: dict[str, int]) -> None:
        super().__init__()
        self.base_layer = nn.Linear(INPUTS, OUTPUTS).requires_grad_(False)
        self.lora_A = nn.ModuleDict({name: nn.Linear(INPUTS, r, bias=False) for name, r in adapters.items()})
        self.lora_B = nn.ModuleDict({name: nn.Linear(r, OUTPUTS, bias=False) for name, r in adapters.items()})


class VeraLayer(nn.Module):
    """A frozen layer, two random matrices that are never trained nor stored, and two trained vectors."""

    def __init__(self, a: ai.Draw, b: ai.Draw) -> None:
        super().__init__()
        self.base_layer = nn.Linear(INPUTS, OUTPUTS).requires_grad_(False)
        self.register_buffer("vera_A", a(xp="torch"), persistent=False)
        self.register_buffer("vera_B", b(xp="torch"), persistent=False)
        self.lambda_d, self.lambda_b = nn.Parameter(torch.full((8,), 0.1)), nn.Parameter(torch.zeros(OUTPUTS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """W x + b * (B (d * (A x)))."""
        inner = self.lambda_d * (x @ self.vera_A.T)
        return self.base_layer(x) + self.lambda_b * (inner @ self.vera_B.T)


def lora() -> None:
    """Two adapters with starts of their own, and the slices of four ranks."""
    model = nn.ModuleDict({"q_proj": Adapted({"default": 8, "second": 16})})
    loaded = model["q_proj"].base_layer.weight.clone()
    init_module_(model, recipes.lora(adapter="default"), seed=0)
    init_module_(model, recipes.lora("gaussian", rank=16, adapter="second"), seed=0)
    layer = model["q_proj"]
    assert torch.equal(layer.base_layer.weight, loaded)
    assert not layer.lora_B["default"].weight.any()

    # Row parallelism cuts A along its inputs. A rank's std follows the fans of the whole matrix, not of its slice.
    path = "q_proj.lora_A.default.weight"
    rule = recipes.lora(adapter="default").find(path, (8, INPUTS))
    width = INPUTS // RANKS
    for rank in range(RANKS):
        columns = slice(rank * width, (rank + 1) * width)
        part = rule.initializer((8, INPUTS), seed=0, name=path, index=np.s_[:, columns], xp="torch")
        assert torch.equal(part, layer.lora_A["default"].weight[:, columns])
    print(f"LoRA: {RANKS} ranks draw the slices of one A, and the loaded weight stays")


def vera() -> None:
    """Projections as a config, and a layer that is built again from it and a checkpoint of its trained vectors."""
    config = {
        "vera_A": ai.Draw("kaiming_uniform", (8, INPUTS), seed=0, name="vera_A").as_dict(),
        "vera_B": ai.Draw("kaiming_uniform", (OUTPUTS, 8), seed=0, name="vera_B").as_dict(),
    }
    text = json.dumps(config)
    layer = VeraLayer(*map(ai.Draw.from_dict, config.values()))
    with torch.no_grad():
        layer.lambda_b += 0.5  # some training
    checkpoint = layer.state_dict()
    assert not [name for name in checkpoint if name.startswith("vera_")]

    again = VeraLayer(*map(ai.Draw.from_dict, json.loads(text).values()))
    again.load_state_dict(checkpoint)
    x = torch.ones(3, INPUTS)
    assert torch.equal(layer(x), again(x))
    matrices = layer.vera_A.nbytes + layer.vera_B.nbytes
    print(f"VeRA: {len(text)} bytes of JSON in place of {matrices} bytes of matrices")

    later = config["vera_A"] | {"stream_version": ai.STREAM_VERSION + 1}
    try:
        ai.Draw.from_dict(later)
    except ValueError as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    lora()
    vera()
    print("ok: the same adapters on every rank, and the same projections from their config")
