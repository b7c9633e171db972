"""Models in FSDP1, whose weights are pieces of flat parameters, and in stages of a pipeline, beside one in one piece.

`python flat_world.py SIZE STORE` runs a gloo world and prints, for each rank, what differs. See test_models_shards.
"""

import warnings

import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe, SplitPoint, pipeline
from worlds import play

import arrayinit as ai
from arrayinit import PlanError
from arrayinit.torch import init_module_, shards_of

RULES = {"*.bias": "normal", "1.1.weight": "ones", "*": "kaiming_normal"}


def model():
    """Layers of odd sizes, one with a padded embedding that is tied."""
    layers = nn.Sequential(
        nn.Linear(7, 5), nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)), nn.Embedding(11, 3, padding_idx=2)
    )
    layers.decoder = nn.Linear(3, 11, bias=False)
    layers.decoder.weight = layers[2].weight
    return layers


def compare(original, is_nested, strategy):
    """Paths that differ from the model in one piece, and how many were compared."""
    options = {"use_orig_params": original, "device_id": torch.device("cpu"), "sharding_strategy": strategy}
    cut = model()
    if is_nested:
        cut[1] = FullyShardedDataParallel(cut[1], **options)
    cut = FullyShardedDataParallel(cut, **options)
    init_module_(cut, RULES, seed=3)
    whole = dict(init_module_(model(), RULES, seed=3).named_parameters())
    different = []
    for path, shard in shards_of(cut).items():
        name = "2.weight" if path == "decoder.weight" else path
        if shard.shape != whole[name].shape or not all(
            torch.equal(part.x, part.of(whole[name])) for part in shard.parts
        ):
            different.append(f"the part of {path}")
    marks, wanted = ai.fingerprints(cut), ai.fingerprints(init_module_(model(), RULES, seed=3))
    different += [f"the fingerprint of {path}" for path in wanted if marks.get(path) != wanted[path]]
    with FullyShardedDataParallel.summon_full_params(cut):
        names = {name.replace("_fsdp_wrapped_module.", ""): x.detach().clone() for name, x in cut.named_parameters()}
    different += [name for name, x in whole.items() if not torch.equal(names[name], x)]
    return different, len(whole)


def refused(original):
    """What is said of weights that stay gathered between the forward and the backward pass."""
    cut = FullyShardedDataParallel(
        nn.Linear(6, 5),
        use_orig_params=original,
        device_id=torch.device("cpu"),
        sharding_strategy=ShardingStrategy.SHARD_GRAD_OP,
    )
    loss = cut(torch.zeros(2, 6)).sum()
    try:
        init_module_(cut, {"*": "normal"}, seed=3)
    except PlanError as error:
        said = dict(error.problems)
    else:
        said = {}
    loss.backward()
    init_module_(cut, {"*": "normal"}, seed=3)
    return said


def behind(original):
    """What is said of a weight that a layer makes of tensors in a flat parameter, and whether a report can be made."""
    layers = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(7, 5)), nn.Linear(5, 3))
    cut = FullyShardedDataParallel(layers, use_orig_params=original, device_id=torch.device("cpu"))
    ai.report(cut, {"*": "normal"})
    try:
        init_module_(cut, {"*": "normal"}, seed=3)
    except PlanError as error:
        said = dict(error.problems)
    else:
        said = {}
    with FullyShardedDataParallel.summon_full_params(cut):
        init_module_(cut, {"*": "normal"}, seed=3)
        mark = ai.fingerprint(cut)
        ai.report(cut, {"*": "normal"})
    return said, mark


def alone(original):
    """What is said where one rank alone has the whole weights; with offload_to_cpu on the CPU they have no memory."""
    said = []
    for options in ({}, {"offload_to_cpu": True})[: 1 + original]:
        cut = FullyShardedDataParallel(nn.Linear(7, 5), use_orig_params=original, device_id=torch.device("cpu"))
        with FullyShardedDataParallel.summon_full_params(cut, rank0_only=True, writeback=False, **options):
            try:
                init_module_(cut, {"*": "normal"}, seed=3)
            except PlanError as error:
                said.append(dict(error.problems))
            else:
                said.append({})
    return said


def stage(rank, size):
    """Paths of this rank's stage of a pipeline that differ from the whole; and whether its output does, at the end."""

    def make():
        return nn.Sequential(*(nn.Linear(6, 6) for _ in range(2 * size)))

    rules, x = {"*.bias": "normal", "*": "kaiming_normal"}, torch.ones(4, 6)
    whole = init_module_(make(), rules, seed=3)
    cuts = {str(2 * number): SplitPoint.BEGINNING for number in range(1, size)}
    module = init_module_(pipeline(make(), (x,), split_spec=cuts).get_stage_module(rank), rules, seed=3)
    weights = dict(whole.named_parameters())
    different = [path for path, value in module.named_parameters() if not torch.equal(value, weights[path])]
    assert len(list(module.parameters())) == 4
    with torch.no_grad():
        output = ScheduleGPipe(PipelineStage(module, rank, size, torch.device("cpu")), 1).step(*(x,) * (rank == 0))
        if rank == size - 1 and not torch.allclose(output, whole(x), rtol=0, atol=1e-6):
            different.append("the output")
    return different


def findings(rank, size):
    warnings.simplefilter("ignore")
    found = {
        "different": stage(rank, size) if size > 1 else [],
        "compared": 0,
        "refused": [],
        "behind": [],
        "alone": [],
    }
    strategies = [ShardingStrategy.FULL_SHARD] + ([] if size == 1 else [ShardingStrategy.NO_SHARD])
    for strategy in strategies:
        for original in (False, True):
            for is_nested in (False, True):
                different, compared = compare(original, is_nested, strategy)
                found["different"] += [f"{strategy.name} {original} {is_nested} {each}" for each in different]
                found["compared"] += compared
    for original in (False, True) if size > 1 else ():
        found["refused"].append(refused(original))
        found["behind"].append(behind(original))
        found["alone"] += alone(original)
    return found


if __name__ == "__main__":
    play(findings)
