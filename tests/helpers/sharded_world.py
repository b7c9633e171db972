"""Models that are recorded and then sharded, in all of torch's ways, and their comparison with a model in one piece.

`python sharded_world.py SIZE STORE` runs a gloo world and prints what each rank finds to differ. See
test_models_records_sharded, which runs single ranks of a large world in its own process, too.
"""

import copy
import functools
import hashlib

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.nn import init
from torch.nn.parallel import DistributedDataParallel
from worlds import play

import arrayinit as ai
from arrayinit.models.plans import PlanError
from arrayinit.torch import init_module_, record

# Models.


class Programs(nn.Module):
    """Parameters and buffers that constructors fill in all ways that are no plain initializer, and some that are.

    rows: how long the first axis of most is.
    turn: the layers are built in an order that is rotated by this, with further draws in between; where they are kept
        in the model does not change.
    """

    def __init__(self, rows=13, turn=0):
        super().__init__()
        parts = [name for name in vars(Programs) if name.startswith("make_")]
        start = turn % len(parts)
        built = {}
        for name in parts[start:] + parts[:start]:
            torch.randn(turn).mul_(2)
            built[name] = getattr(self, name)(rows)
        for name in parts:
            for path, value in built[name].items():
                if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                    self.register_buffer(path, value, persistent=path != "transient")
                else:
                    setattr(self, path, value)

    def make_a_log(self, rows):
        a_log = nn.Parameter(torch.log(torch.empty(rows, 7).uniform_(1, 16)))
        return {"a_log": a_log, "average": a_log.detach().clone()}

    def make_packed(self, rows):
        qkv = nn.Parameter(torch.empty(3 * rows, 8))
        init.xavier_uniform_(qkv[:rows])
        init.normal_(qkv[rows : 2 * rows], std=0.01)
        init.kaiming_uniform_(qkv[2 * rows :])
        return {"qkv": qkv}

    def make_recurrent(self, rows):
        lstm = nn.LSTM(6, 5)
        for bias in (lstm.bias_ih_l0, lstm.bias_hh_l0):
            bias.data.zero_()
            bias.data[5:10].fill_(1)
        for gate in lstm.weight_hh_l0.data.chunk(4):
            init.orthogonal_(gate)
        return {"lstm": lstm}

    def make_embeddings(self, rows):
        padded, zeroed = nn.Embedding(rows + 8, 10, padding_idx=rows + 5), nn.Embedding(rows, 10)
        init.trunc_normal_(zeroed.weight, std=0.02)
        zeroed.weight.data[rows - 2].zero_()
        redrawn = nn.Embedding(rows, 10, padding_idx=0)
        init.normal_(redrawn.weight, std=0.02)  # as many do, padding and all
        shifted = nn.Embedding(rows, 10, padding_idx=1)
        with torch.no_grad():
            shifted.weight.exp_()[1].fill_(0)
        return {"padded": padded, "zeroed": zeroed, "redrawn": redrawn, "shifted": shifted}

    def make_matrices(self, rows):
        orthogonal, sparse = nn.Linear(8, rows), nn.Linear(8, rows, dtype=torch.bfloat16)
        init.orthogonal_(orthogonal.weight, gain=2.0)
        init.sparse_(sparse.weight, sparsity=0.5)
        return {"orthogonal": orthogonal, "sparse": sparse}

    def make_convolutions(self, rows):
        transposed, grouped = nn.ConvTranspose1d(rows, 6, 3), nn.ConvTranspose2d(2 * rows, 4, 3, groups=2)
        init.kaiming_normal_(transposed.weight)
        dirac = nn.Conv1d(6, 6, 3)
        init.dirac_(dirac.weight)
        return {"transposed": transposed, "grouped": grouped, "dirac": dirac, "conv": nn.Conv2d(4, rows, 3)}

    def make_small(self, rows):
        return {"one": nn.Parameter(torch.randn(1).exp()), "few": nn.Parameter(torch.randn(3, 5) * 0.1 + 1)}

    def make_others(self, rows):
        first, second = nn.Linear(8, rows), nn.Linear(8, rows)
        second.weight = first.weight
        return {
            "first": first, "second": second, "copied": copy.deepcopy(first),
            "normed": nn.utils.parametrizations.weight_norm(nn.Linear(8, rows)), "norm": nn.BatchNorm1d(rows),
        }  # fmt: skip

    def make_buffers(self, rows):
        return {
            "given": torch.tensor([1.5, 2.5]),
            "causal": torch.tril(torch.ones(4, 4)),
            "frequencies": 1.0 / 10000 ** (torch.arange(0, 8, 2).float() / 8),
            "mask": torch.rand(rows, 4) < 0.25,
            "permutation": torch.randperm(50),
            "transient": torch.log(torch.rand(rows) + 1),
        }


def llama(tied, vocabulary=90):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=2, hidden_size=32, num_attention_heads=8, num_key_value_heads=4, intermediate_size=56,
        vocab_size=vocabulary, pad_token_id=3, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config)


MODELS = ("programs", "llama", "llama, tied")
BUILDERS = {
    "programs": Programs, "llama": lambda turn=0: llama(False), "llama, tied": lambda turn=0: llama(True),
    "programs, many rows": lambda turn=0: Programs(4095, turn),
    "llama, tied, many rows": lambda turn=0: llama(True, 4096),
    "programs, 17 rows": lambda turn=0: Programs(17, turn),
    "programs, 27 rows": lambda turn=0: Programs(27, turn),
}  # fmt: skip


@functools.cache
def _recorded(model, turn):
    with record() as start:
        result = BUILDERS[model](turn=turn)
    return result, start


def recorded(model, turn=0):
    """A new model without values, and its record."""
    result, start = _recorded(model, turn)
    return copy.deepcopy(result), start


@functools.cache
def whole(model):
    """The model in one piece."""
    result, start = recorded(model)
    return init_module_(result, start, seed=5)


# Ways of sharding, which leave meta tensors on the meta device and exchange no values.


def by_columns(x):
    """FSDP2 cuts other axes than the first only into equal parts."""
    axis = next((k for k in range(x.ndim - 1, 0, -1) if x.shape[k] % dist.get_world_size() == 0), 0)
    return Shard(axis)


def fsdp(model, mesh, **options):
    layers = model.model.layers if hasattr(model, "model") else [model.sparse]  # one dtype for each call
    for layer in layers:
        fully_shard(layer, mesh=mesh, **options)
    fully_shard(model, mesh=mesh, **options)


LLAMA_PLAN = {
    "model.embed_tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
    "model.layers.*.input_layernorm": SequenceParallel(),
    "model.layers.*.self_attn.q_proj": ColwiseParallel(),
    "model.layers.*.self_attn.k_proj": ColwiseParallel(),
    "model.layers.*.self_attn.v_proj": ColwiseParallel(),
    "model.layers.*.self_attn.o_proj": RowwiseParallel(output_layouts=Shard(1)),
    "model.layers.*.post_attention_layernorm": SequenceParallel(),
    "model.layers.*.mlp.gate_proj": ColwiseParallel(),
    "model.layers.*.mlp.up_proj": ColwiseParallel(),
    "model.layers.*.mlp.down_proj": RowwiseParallel(output_layouts=Shard(1)),
    "model.norm": SequenceParallel(),
    "lm_head": ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate()),
}


def tensor_parallel(model, mesh):
    if hasattr(model, "model"):
        parallelize_module(model, mesh, LLAMA_PLAN, src_data_rank=None)
        return
    # Each parameter along its first axis, its second one, ..., or not at all; tied ones once.
    cut = {}
    for module in model.modules():
        for name, x in list(module._parameters.items()):
            if x is not None and x not in cut:
                axis = len(cut) % (x.ndim + 1)
                placement = Replicate() if axis == x.ndim else Shard(axis)
                cut[x] = nn.Parameter(distribute_tensor(x, mesh, [placement], src_data_rank=None))
            if x is not None:
                module.register_parameter(name, cut[x])
    for name in ("causal", "mask"):
        model._buffers[name] = distribute_tensor(model._buffers[name], mesh, [Shard(0)], src_data_rank=None)


def mesh_of(*axes):
    """A mesh of (name, size) axes. It is named for its rank: torch keeps meshes, and equal ones of a former rank."""
    names, sizes = zip(*axes, strict=True)
    return init_device_mesh("cpu", sizes, mesh_dim_names=tuple(f"{name}_of_{dist.get_rank()}" for name in names))


def axis(mesh, *names):
    """The part of a mesh with these axes."""
    found = tuple(each for each in mesh.mesh_dim_names if each.partition("_of_")[0] in names)
    return mesh[found]


def both(model, size, tp, **options):
    mesh = mesh_of(("dp", size // tp), ("tp", tp))
    tensor_parallel(model, axis(mesh, "tp"))
    fsdp(model, axis(mesh, "dp"), **options)


def hybrid(model, size):
    fsdp(model, mesh_of(("replicate", 2), ("shard", size // 2)))


def hybrid_over_tensor_parallel(model, size, tp):
    mesh = mesh_of(("replicate", 2), ("shard", size // tp // 2), ("tp", tp))
    tensor_parallel(model, axis(mesh, "tp"))
    fsdp(model, axis(mesh, "replicate", "shard"))


WAYS = {
    "fsdp": lambda model, size: fsdp(model, mesh_of(("dp", size))),
    "fsdp by columns": lambda model, size: fsdp(model, mesh_of(("dp", size)), shard_placement_fn=by_columns),
    "fsdp without resharding": lambda model, size: fsdp(model, mesh_of(("dp", size)), reshard_after_forward=False),
    "hybrid": hybrid,
    "tensor parallel": lambda model, size: tensor_parallel(model, mesh_of(("dp", size))),
    "fsdp over tensor parallel": lambda model, size: both(model, size, 2),
    "fsdp over 4 of tensor parallel": lambda model, size: both(model, size, 4),
    "fsdp over 8 of tensor parallel": lambda model, size: both(model, size, 8),
    "hybrid over tensor parallel": lambda model, size: hybrid_over_tensor_parallel(model, size, 2),
}


# Comparison.


def local(x):
    return x.detach().to_local() if isinstance(x, DTensor) else x.detach()


def tensors(model):
    """All parameters and buffers, tied ones under each path."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False)),
    }  # fmt: skip


def differing(ours, theirs):
    """The paths of tensors that are not equal, or not of one kind."""
    ours, theirs = tensors(ours), tensors(theirs)
    assert [*ours] == [*theirs]
    return [
        path
        for path, x in ours.items()
        if type(x) is not type(theirs[path])
        or x.dtype != theirs[path].dtype
        or getattr(x, "placements", ()) != getattr(theirs[path], "placements", ())
        or not torch.equal(local(x), local(theirs[path]))
    ]


def check(model, way, turn=0):
    """A model that is recorded, sharded and drawn: what differs from one that is drawn in one piece and sharded."""
    expected, (ours, start) = copy.deepcopy(whole(model)), recorded(model, turn)
    WAYS[way](expected, dist.get_world_size())
    WAYS[way](ours, dist.get_world_size())
    assert all(x.is_meta for x in ours.parameters())
    assert any(isinstance(x, DTensor) for x in tensors(ours).values())
    init_module_(ours, start, seed=5)
    return ours, differing(ours, expected)


def mark(model):
    """A digest of all values of a model that is in one piece."""
    digest = hashlib.sha256()
    for path, x in tensors(model).items():
        digest.update(path.encode() + x.detach().ravel().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# What the ranks of a gloo world find.


def every_way(size, turn):
    """Way and model -> what differs, on this rank or from this rank's view of all of them together."""
    ways = ["fsdp", "fsdp by columns", "tensor parallel"]
    ways += ["hybrid", "fsdp over tensor parallel", "hybrid over tensor parallel"] if size % 4 == 0 else []
    found = {}
    for model in MODELS:
        for way in ways:
            ours, found[f"{model}, {way}"] = check(model, way, turn)
            theirs = tensors(whole(model))
            found[f"{model}, {way}, gathered"] = [
                path
                for path, x in tensors(ours).items()
                if isinstance(x, DTensor) and not torch.equal(x.detach().full_tensor(), theirs[path])
            ]
            if way in ("fsdp", "hybrid"):
                found[f"{model}, {way}, unsharded"] = unsharded(ours, model)
    return found


def unsharded(ours, model):
    """What differs in the tensors with which FSDP computes."""
    parts = [each for each in ours.modules() if isinstance(each, FSDPModule)]
    for each in parts:
        each.unshard()
    result = differing(ours, whole(model))
    for each in parts:
        each.reshard()
    return result


def after_a_step(size):
    """FSDP that keeps its parameters unsharded after a forward pass: a draw would be lost, until they are sharded."""
    way = "fsdp without resharding"
    ours, found = check("llama", way)
    _, start = recorded("llama")
    ours(torch.arange(5)[None])
    with torch.no_grad():
        for x in ours.parameters():
            local(x).zero_()
    try:
        init_module_(ours, start, seed=5)
    except PlanError as error:
        found += [] if "is unsharded by fully_shard" in str(error) else [str(error)]
    else:
        found += ["drawn though it is unsharded"]
    for each in ours.modules():
        if isinstance(each, FSDPModule):
            each.reshard()
    init_module_(ours, start, seed=5)
    expected = copy.deepcopy(whole("llama"))
    WAYS[way](expected, size)
    return found + differing(ours, expected) + unsharded(ours, "llama")


def data_parallel(turn):
    """DDP, of a model that was drawn before it was wrapped, and of one that is drawn within it."""
    found = []
    for model in ("programs", "llama, tied"):
        ours, start = recorded(model, turn)
        init_module_(ours, start, seed=5)
        found += differing(DistributedDataParallel(ours).module, whole(model))
        ours, start = recorded(model, turn)
        wrapped = DistributedDataParallel(ours.to_empty(device="cpu"))
        assert init_module_(wrapped, start, seed=5) is wrapped
        found += differing(wrapped.module, whole(model))
    return found


def findings(rank, size):
    torch.manual_seed(rank)
    torch.randn(rank), ai.normal(rank)  # which takes keys that other ranks don't
    found = {
        **every_way(size, rank), "after a step": after_a_step(size), "data parallel": data_parallel(rank),
    }  # fmt: skip
    return {"found": found, "marks": [mark(whole(model)) for model in MODELS]}


if __name__ == "__main__":
    import transformers.models.llama.modeling_llama  # noqa: F401 # before ranks fork

    play(findings)
