"""torch's defaults: the recipe against what torch's layers draw when they are made."""

import numpy as np
import pytest
from recipe_checks import check_module, tensors

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.torch import init_module_  # noqa: E402


class Attentions(nn.Module):
    def __init__(self):
        super().__init__()
        self.packed = nn.MultiheadAttention(32, 4, add_bias_kv=True)
        self.separate = nn.MultiheadAttention(32, 4, kdim=16, vdim=24)
        self.plain = nn.MultiheadAttention(32, 4, bias=False)


LAYERS = {  # name -> (constructor, how many are made)
    "Linear": (lambda: nn.Linear(48, 64), 50),
    "Bilinear": (lambda: nn.Bilinear(9, 40, 25), 100),
    "Conv1d": (lambda: nn.Conv1d(6, 32, 5), 80),
    "Conv2d": (lambda: nn.Conv2d(8, 32, 3, groups=4), 80),
    "depthwise": (lambda: nn.Conv2d(32, 64, 3, groups=32), 50),
    "Conv3d": (lambda: nn.Conv3d(4, 32, (1, 2, 3)), 80),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(8, 48, 3), 80),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(8, 48, 3, groups=4), 80),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(16, 40, 2), 80),
    "Embedding": (lambda: nn.Embedding(50, 32), 3),
    "padded Embedding": (lambda: nn.Embedding(50, 32, padding_idx=-3), 3),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(50, 32, padding_idx=2), 3),
    "LSTM": (lambda: nn.LSTM(12, 16, num_layers=2, bidirectional=True, proj_size=8), 50),
    "GRU": (lambda: nn.GRU(12, 16, num_layers=2), 60),
    "RNN": (lambda: nn.RNN(12, 36, nonlinearity="relu"), 60),
    "LSTMCell": (lambda: nn.LSTMCell(12, 16), 60),
    "GRUCell": (lambda: nn.GRUCell(12, 16), 60),
    "RNNCell": (lambda: nn.RNNCell(12, 36), 60),
    "MultiheadAttention": (Attentions, 70),
    "LayerNorm": (lambda: nn.LayerNorm((4, 8)), 1),
    "GroupNorm": (lambda: nn.GroupNorm(2, 8), 1),
    "RMSNorm": (lambda: nn.RMSNorm(8), 1),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(8), 1),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(8), 1),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(8, track_running_stats=False), 1),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(8), 1),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(8, affine=True), 1),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True), 1),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(8), 1),
    "PReLU": (lambda: nn.PReLU(8), 1),
    "AdaptiveLogSoftmaxWithLoss": (lambda: nn.AdaptiveLogSoftmaxWithLoss(32, 200, [20, 80], head_bias=True), 100),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 70),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(32, 4, 64), 70),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_torch(name):
    torch.manual_seed(0)
    make, times = LAYERS[name]
    plan = check_module(make, recipes.torch_defaults(), times)
    assert all(entry.rule is not None for entry in plan), "torch_defaults speaks of every tensor"


def test_the_transformer_of_torch():
    torch.manual_seed(0)
    make = lambda: nn.Transformer(32, 4, 1, 1, 64)  # noqa: E731
    check_module(make, recipes.torch_transformer(), 70)


def test_no_layer_of_torch_is_left_out():
    known = {name.split()[-1] for name in LAYERS} | {"Transformer", "RNNBase", "RNNCellBase"}
    kinds = {name: kind for name, kind in vars(nn).items() if isinstance(kind, type) and issubclass(kind, nn.Module)}
    found = {
        name
        for name, kind in kinds.items()
        if (hasattr(kind, "reset_parameters") or hasattr(kind, "_reset_parameters")) and not name.startswith("Lazy")
    }
    assert found <= known


def make_model(blocks, head=True, extra=False):
    parts = {f"block{k}": nn.TransformerEncoderLayer(16, 2, 32) for k in blocks}
    parts |= {"head": nn.Linear(16, 4)} if head else {}
    parts |= {"norm": nn.BatchNorm1d(16), "extra": nn.LSTM(16, 8)} if extra else {}
    return nn.ModuleDict(parts)


@pytest.mark.parametrize("other", [make_model([2, 1, 0]), make_model([1]), make_model([0, 1, 2, 3], False, True)])
def test_other_layers_leave_all_bits_alone(other):
    rules = recipes.torch_defaults()
    first = tensors(init_module_(make_model([0, 1, 2]), rules, seed=3))
    second = tensors(init_module_(other, rules, seed=3))
    shared = first.keys() & second.keys()
    assert len(shared) >= 12
    assert all((first[path] == second[path]).all() for path in shared)


def test_on_the_meta_device_as_elsewhere():
    def make():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Embedding(5, 4, padding_idx=1))

    with torch.device("meta"):
        model = make()
    here = tensors(init_module_(make(), recipes.torch_defaults(), seed=1))
    there = tensors(init_module_(model, recipes.torch_defaults(), seed=1))
    assert all((here[path] == there[path]).all() for path in here)
    assert (there["2.weight"][1] == 0).all()
    assert (there["2.weight"][[0, 2, 3, 4]] != 0).all()
    assert there["1.running_var"].tolist() == [1] * 4


def test_the_row_of_padding():
    embedding = nn.Embedding(5, 4, padding_idx=1)
    plan = init_module_(embedding, {"*": ai.spec("normal")}, seed=0, dry_run=True)
    assert str(plan).splitlines()[-1] == "weight       5x4  normal, row 1 is 0  *"
    init_module_(embedding, {"*": ai.spec("normal")}, seed=0)
    whole = ai.normal((5, 4), seed=0, name="weight")
    whole[1] = 0
    assert (tensors(embedding)["weight"] == whole).all()
    tied = nn.ModuleDict({"head": nn.Linear(4, 5, bias=False), "embedding": embedding})
    tied["head"].weight = embedding.weight
    init_module_(tied, {"*": ai.spec("ones")}, seed=0)
    assert np.array_equal(embedding.weight.detach().numpy().sum(1), [4, 0, 4, 4, 4])
    kept = nn.Embedding(2, 2, padding_idx=0)
    kept.weight.data[:] = 7
    init_module_(kept, {"*": None}, seed=0)
    assert (kept.weight == 7).all()
