"""One rank of a world: `python dtensor_rank.py RANK SIZE STORE WHAT`; prints what it found. See test_dtensor."""

import json
import sys
import time
import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

import arrayinit as ai
import arrayinit.torch as init

warnings.filterwarnings("ignore", module="torch")

LAWS = {
    "uniform": ai.spec("uniform", a=-0.5, b=2.0),
    "normal": ai.spec("normal", mean=0.1),
    "trunc_normal": ai.spec("trunc_normal"),
    "kaiming_normal": ai.spec("kaiming_normal"),
    "constant": ai.spec("constant", val=0.25),
    "sparse": ai.spec("sparse", sparsity=0.4),
    "orthogonal": ai.spec("orthogonal"),
    "eye": ai.spec("eye"),
    "distribution": ai.spec("distribution", distribution="triang", parameters=[0.3]),
    "sinusoidal": ai.spec("sinusoidal"),
    "packed": ai.spec("packed", initializer=[ai.spec("normal"), ai.spec("zero_hadamard")]),
    "packed orthogonal": ai.spec("packed", initializer=[ai.spec("orthogonal"), ai.spec("uniform")]),
}
SHAPES = ((13, 7), (16, 12), (2, 9), (1, 1))


def strided(split_factor):
    from torch.distributed.tensor.placement_types import _StridedShard

    return _StridedShard(0, split_factor=split_factor)


def meshes(size):
    """Meshes of the world, with the placements that are tried on each."""
    line = init_device_mesh("cpu", (size,), mesh_dim_names=("dp",))
    yield line, [(Shard(0),), (Shard(1),), (Replicate(),)]
    for rows in (2,):
        if size % rows == 0 and size > rows:
            grid = init_device_mesh("cpu", (rows, size // rows), mesh_dim_names=("dp", "tp"))
            yield grid, [
                (Shard(0), Shard(1)), (Shard(0), Shard(0)), (Replicate(), Shard(0)), (Shard(1), Replicate()),
                (strided(size // rows), Shard(0)), (strided(3), Replicate()), (strided(2), Shard(1)),
            ]  # fmt: skip


def cases(rank, size):
    differing, compared, fingerprints = [], 0, {}
    for mesh, placements in meshes(size):
        for shape in SHAPES:
            for name, law in LAWS.items():
                if law.name == "packed":
                    law = ai.spec("packed", **law.parameters, blocks=[1, shape[0] - 1])
                for dtype in ("float32", "bfloat16", "float64", "complex64"):
                    if dtype != "float32" and name not in ("uniform", "normal"):
                        continue
                    wanted = law(shape, seed=3, name="w", xp="torch", dtype=dtype)
                    for placement in placements:
                        # What torch itself cuts, without a word to other ranks.
                        part = distribute_tensor(wanted, mesh, placement, src_data_rank=None).to_local()
                        x = distribute_tensor(torch.zeros_like(wanted), mesh, placement, src_data_rank=None)
                        assert law.fill_(x, seed=3, name="w") is x
                        y = law(x, seed=3, name="w")
                        assert isinstance(y, DTensor)
                        for made in (x, y):
                            compared += 1
                            if not torch.equal(made.to_local(), part):
                                differing.append([name, dtype, shape, str(placement)])
                    if shape == (13, 7) and mesh.ndim == 1 and name in ("normal", "kaiming_normal"):
                        x = distribute_tensor(torch.zeros_like(wanted), mesh, [Shard(0)], src_data_rank=None)
                        fingerprints[f"{name} {dtype}"] = ai.fingerprint(law.fill_(x, seed=3, name="w"))
    return {"differing": differing, "compared": compared, "fingerprints": fingerprints}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(37, 24, padding_idx=30)
        self.up = nn.Linear(24, 50)
        self.down = nn.Linear(50, 24)
        self.norm = nn.LayerNorm(24)


class Normed(Model):
    """With weights that their layers make of others."""

    def __init__(self):
        super().__init__()
        self.directed = nn.utils.parametrizations.weight_norm(nn.Linear(24, 10))
        self.bounded = nn.utils.parametrizations.spectral_norm(nn.Linear(10, 7))
        self.older = nn.utils.spectral_norm(nn.Linear(7, 5))


def reset(model):
    for name, parameter in model.named_parameters():
        if name.startswith("norm") or name.endswith("bias"):
            init.constant_(parameter, 1.0 if name == "norm.weight" else 0.0)
        elif name.startswith("embed"):
            init.normal_(parameter, std=0.02, seed=7, name=name)
        else:
            init.kaiming_uniform_(parameter, nonlinearity="relu", seed=7, name=name)
    return {name: ai.fingerprint(parameter) for name, parameter in model.named_parameters()}


RULES = [
    ("norm.weight", "ones"), ("*.bias", "zeros"), ("embed.*", ai.spec("normal", std=0.02)),
    ("up.*", ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=2)), ("*", "kaiming_uniform"),
]  # fmt: skip


def by_rules(model):
    init.init_module_(model, RULES, seed=7, device="cpu")
    return {name: ai.fingerprint(x) for name, x in (*model.named_parameters(), *model.named_buffers())}


def rules(rank, size):
    """Models that rules take from the meta device, in one piece and in two ways of cutting."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    found = [by_rules(Normed())]
    with torch.device("meta"):
        sharded, both = Normed(), Normed()
    fully_shard(sharded, mesh=init_device_mesh("cpu", (size,), mesh_dim_names=("dp",)))
    with pytest.raises(ValueError, match="`seed` must be given for a distributed tensor"):
        init.init_module_(sharded, RULES, seed=None)
    assert all(parameter.is_meta for parameter in sharded.parameters())
    found.append(by_rules(sharded))
    assert all(isinstance(parameter, DTensor) for parameter in sharded.parameters())
    if size % 2 == 0:
        mesh = init_device_mesh("cpu", (size // 2, 2), mesh_dim_names=("dp", "tp"))
        parallelize_module(both, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()})
        fully_shard(both, mesh=mesh["dp"])
        found.append(by_rules(both))
    assert all(marks == found[0] for marks in found), found
    return found[0]


def model(rank, size):
    """Each way of cutting gives the marks of the model in one piece."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    whole = reset(Model())
    found = []
    with torch.device("meta"):
        sharded = Model()
    fully_shard(sharded, mesh=init_device_mesh("cpu", (size,), mesh_dim_names=("dp",)))
    assert all(parameter.is_meta for parameter in sharded.parameters())
    sharded.to_empty(device="cpu")
    assert all(isinstance(parameter, DTensor) for parameter in sharded.parameters())
    found.append(reset(sharded))
    if size % 2 == 0:
        mesh = init_device_mesh("cpu", (size // 2, 2), mesh_dim_names=("dp", "tp"))
        with torch.device("meta"):
            both = Model()
        parallelize_module(both, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()})
        fully_shard(both, mesh=mesh["dp"])
        both.to_empty(device="cpu")
        found.append(reset(both))
        if size == 4:
            with torch.device("meta"):
                hybrid = Model()
            fully_shard(hybrid, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard")))
            hybrid.to_empty(device="cpu")
            found.append(reset(hybrid))
    assert all(marks == whole for marks in found), (whole, found)
    return whole


def part(rank, size):
    mesh = init_device_mesh("cpu", (size,))
    x = distribute_tensor(torch.zeros(50, 8), mesh, [Shard(0)], src_data_rank=None)
    return ai.fingerprint(ai.normal_(x, seed=11).to_local())


def refused(rank, size):
    mesh = init_device_mesh("cpu", (size,))
    x = distribute_tensor(torch.zeros(4, 5), mesh, [Shard(0)], src_data_rank=None)
    wrong = DTensor.from_local(
        torch.zeros(3, 5), mesh, [Shard(0)], run_check=False, shape=torch.Size((4, 5)), stride=(5, 1)
    )
    partial = DTensor.from_local(torch.zeros(4, 5), mesh, [Partial()], run_check=False)
    tries = {
        "partial": lambda: ai.normal_(partial, seed=0),
        "local shape": lambda: ai.normal_(wrong, seed=0),
        "no seed": lambda: ai.normal_(x),
        "no seed, drop-in": lambda: init.normal_(x),
        "device": lambda: ai.normal(x, seed=0, device="cpu"),
        "index": lambda: ai.normal_(x, seed=0, shape=(8, 5), index=np.s_[6:10]),
    }
    messages = {}
    for name, attempt in tries.items():
        try:
            attempt()
        except (ValueError, TypeError) as error:
            messages[name] = str(error)
    parameter = nn.Parameter(distribute_tensor(torch.ones(4, 5), mesh, [Shard(0)], src_data_rank=None))
    loss = (parameter * parameter).sum()
    ai.normal_(parameter, seed=0)
    try:
        loss.to_local().backward()
    except RuntimeError as error:
        messages["autograd"] = str(error)
    untouched = all(not made.to_local().any() for made in (x, wrong, partial))
    return {"messages": messages, "untouched": untouched}


def slices(rank, size):
    """What becomes of a draw into a view of a DTensor: "drawn" as into one of a plain tensor, "refused", or "lost"."""
    mesh = init_device_mesh("cpu", (size,))
    views = {
        "rows": lambda x: x[1:6], "columns": lambda x: x[:, 1:4], "row": lambda x: x[2],
        "part of rows": lambda x: x[1:6][:2], "transposed": lambda x: x.t(), "all": lambda x: x[:],
        "detached": lambda x: x.detach(),
    }  # fmt: skip
    found = {}
    for placement in (Shard(0), Shard(1), Replicate()):
        for name, view in views.items():
            x = distribute_tensor(torch.zeros(8, 6), mesh, [placement], src_data_rank=None)
            wanted = torch.zeros(8, 6)
            ai.normal_(view(wanted), seed=0)
            try:
                ai.normal_(view(x), seed=0)
            except ValueError as error:
                found[f"{name}, {placement}"] = "refused" if "gathered from other ranks" in str(error) else str(error)
            else:
                found[f"{name}, {placement}"] = "drawn" if torch.equal(x.full_tensor(), wanted) else "lost"
    return found


def copies_that_differ(rank, size):
    """What fingerprints say where one rank, not the first one, has another bit in its copy."""
    said = []
    for mesh, placements in meshes(size):
        for placement in placements:
            if any(each.is_replicate() for each in placement):
                x = distribute_tensor(torch.arange(24.0).reshape(6, 4), mesh, placement, src_data_rank=None)
                state = {"same": x.clone(), "other": x, "plain": torch.zeros(3)}
                before = ai.fingerprint(state)
                if rank == size - 1:
                    x.to_local()[-1, -1] += 1
                for model in (x, state):
                    try:
                        said.append(ai.fingerprint(model))
                    except ValueError as error:
                        said.append(str(error))
                if rank == size - 1:
                    x.to_local()[-1, -1] -= 1
                said.append(before == ai.fingerprint(state))
    return said


def marks(rank, size):
    """Fingerprints of models and tensors in every way of cutting beside those in one piece, and what that took."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    reduced, gathered = [], []
    real = dist.all_reduce
    dist.all_reduce = lambda x, **options: (reduced.append(x.numel()), real(x, **options))[1]
    full = DTensor.full_tensor
    DTensor.full_tensor = lambda x: (gathered.append(x.shape), full(x))[1]
    whole = init.init_module_(Normed(), RULES, seed=7)
    wanted, paths = ai.fingerprint(whole), ai.fingerprints(whole)
    line = init_device_mesh("cpu", (size,), mesh_dim_names=("dp",))
    with torch.device("meta"):
        models = {"fsdp": Normed()}
        fully_shard(models["fsdp"], mesh=line)
        if size % 2 == 0:
            models |= {"tp": Normed(), "both": Normed()}
            grid = init_device_mesh("cpu", (size // 2, 2), mesh_dim_names=("dp", "tp"))
            plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
            parallelize_module(models["tp"], grid["tp"], plan)
            parallelize_module(models["both"], grid["tp"], plan)
            fully_shard(models["both"], mesh=grid["dp"])
            models["hybrid"] = Normed()
            fully_shard(models["hybrid"], mesh=init_device_mesh("cpu", (2, size // 2), mesh_dim_names=("r", "s")))
    result = {"differing": [], "collectives": {}}
    for name, model in models.items():
        init.init_module_(model, RULES, seed=7, device="cpu")
        reduced.clear()
        if ai.fingerprint(model) != wanted:
            result["differing"].append(name)
        result["collectives"][name] = list(reduced)
        if ai.fingerprints(model) != paths or ai.fingerprint(model.state_dict()) != wanted:
            result["differing"].append(f"{name}, by path or as a state dict")
    one = models["fsdp"].up.weight  # one element on one rank is enough
    if rank == 0:
        with torch.no_grad():
            one.to_local()[0, 0] += 1
    changed = ai.fingerprints(models["fsdp"])
    result["changed"] = [path for path, each in changed.items() if each != paths[path]]
    for mesh, placements in meshes(size):
        for shape in (*SHAPES, (5, 3, 4)):
            for dtype in (torch.float32, torch.bfloat16, torch.int64):
                x = torch.arange(torch.Size(shape).numel(), dtype=dtype).reshape(shape)
                for placement in placements:
                    y = distribute_tensor(x, mesh, placement, src_data_rank=None)
                    if ai.fingerprint(y) != ai.fingerprint(x):
                        result["differing"].append(f"{shape} {dtype} {placement}")
                    if ai.fingerprint(y, layout="ois"[: x.ndim][::-1]) != ai.fingerprint(
                        x, layout="ois"[: x.ndim][::-1]
                    ):
                        result["differing"].append(f"{shape} {dtype} {placement}, by its layout")
    result["copies"] = copies_that_differ(rank, size)
    y = distribute_tensor(x, line, [Shard(0)], src_data_rank=None)
    try:
        ai.fingerprint_part(y, shape=y.shape)
    except TypeError as error:
        result["refused"] = str(error)
    start = sum(len(c) for c in torch.arange(5).chunk(size)[:rank])
    own = y.to_local()
    part = ai.fingerprint_part(own, shape=y.shape, index=np.s_[start : start + len(own)])
    return result | {"part": part.as_dict(), "tensor": ai.fingerprint(y), "gathered": len(gathered)}


def main():
    rank, size, store, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    dist.init_process_group("gloo", store=dist.FileStore(store, size), rank=rank, world_size=size)
    try:
        commands = {each.__name__: each for each in (cases, model, rules, part, refused, slices, marks)}
        print(json.dumps(commands[what](rank, size)), flush=True)
        while "wait" in sys.argv:
            time.sleep(0.1)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
