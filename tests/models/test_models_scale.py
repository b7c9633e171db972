"""Meshes of 16,384 ranks of torch and of 512 devices of JAX: each part is that slice of the whole tensor."""

import importlib.util
import json
import os
import random
import subprocess
import sys
import textwrap
import time
from argparse import Namespace
from contextlib import contextmanager
from pathlib import Path

import pytest

import arrayinit as ai

ROOT = Path(__file__).parents[2]
SIZES = {"replicas": 8, "fsdp": 16, "expert": 16, "tensor": 8}
WORLD = 16_384
RANKS = random.Random(20).sample(range(WORLD), 3)


@contextmanager
def rank_of_the_example(rank):
    """The module examples/trillion_parameters.py, and the mesh of a world of which this process is one rank."""
    pytest.importorskip("torch")
    dist = pytest.importorskip("torch.distributed")
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    pytest.importorskip("resource")
    found = importlib.util.spec_from_file_location("trillion", ROOT / "examples" / "trillion_parameters.py")
    example = importlib.util.module_from_spec(found)
    found.loader.exec_module(example)
    dist.init_process_group("fake", store=fake.FakeStore(), rank=rank, world_size=WORLD)
    try:
        # Named for the rank, because torch keeps meshes and would return that of another rank.
        example.AXES = tuple(f"{name}_of_{rank}" for name in SIZES)
        yield example, dist.device_mesh.init_device_mesh("cpu", tuple(SIZES.values()), mesh_dim_names=example.AXES)
    finally:
        dist.destroy_process_group()


def drawn(example, mesh, model):
    """Cut and draw a model on the meta device; the plan, and a function that gives the part of a parameter."""
    example.cut(model, mesh)
    start = time.perf_counter()
    plan = example.init_module_(model, example.RULES, seed=example.SEED, dry_run=True)
    print(f"planned {len(plan)} parameters in {time.perf_counter() - start:.3f} s")
    example.init_module_(model, example.RULES, seed=example.SEED)
    place = dict(zip(SIZES, mesh.get_coordinate(), strict=True))
    return plan, lambda path, shape: example.held(path, shape, place, SIZES)


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("sizes", [(256, 7168, 3072), (250, 96, 40), (3, 96, 40)])
def test_experts_on_single_ranks_of_16384(rank, sizes):
    """Of a trillion parameters, and of experts that the ranks can't share evenly: all elements."""
    torch = pytest.importorskip("torch")
    with rank_of_the_example(rank) as (example, mesh):
        with torch.device("meta"):
            model = torch.nn.Module()
            model.layers = torch.nn.ModuleList([torch.nn.Module()])
            model.layers[0].experts = example.Experts(*sizes)
            model.norm = example.norm(sizes[1])
        rules = example.RULES
        example.RULES = rules[:2]
        plan, part_of = drawn(example, mesh, model)
        assert plan[0].path == "layers.0.experts.gate_up_proj"
        for path, x in model.named_parameters():
            if "experts" not in path:
                continue
            index = tuple(part_of(path, tuple(x.shape)))
            wanted = ai.lecun_normal(
                tuple(x.shape), layout="bio", seed=0, name=path, xp="torch", dtype="bfloat16", index=index
            )
            part = x.detach().to_local()
            assert part.numel() == wanted.numel()
            assert bool((part.reshape(wanted.shape) == wanted).all()), path


def test_the_comparison_of_the_example_finds_parts_of_other_ranks():
    torch = pytest.importorskip("torch")
    with rank_of_the_example(RANKS[0]) as (example, mesh):
        sizes = Namespace(layers=4, width=448, heads=16, experts=256, hidden=128, tokens=2048)
        with torch.device("meta"):
            model = example.Model(sizes)
        plan, part_of = drawn(example, mesh, model)
        assert example.compare(model, plan, part_of, 0) > 5_000
        place = dict(zip(SIZES, mesh.get_coordinate(), strict=True))
        for name in ("fsdp", "expert", "tensor"):
            other = {**place, name: (place[name] + 1) % SIZES[name]}
            with pytest.raises(SystemExit, match="differs from the slices of the whole"):
                example.compare(
                    model, plan, lambda path, shape, other=other: example.held(path, shape, other, SIZES), 0
                )


DEVICES = """
    import json, time
    import jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec as P
    import arrayinit as ai
    from arrayinit.jax import init_tree

    mesh = jax.make_mesh((8, 16, 4), ("data", "expert", "tensor"))
    specs = {"experts": P("expert", "data", "tensor"), "all": P(("data", "expert", "tensor")), "rows": P(None, "data")}
    shapes = {"experts": (32, 16, 24), "all": (1024, 3), "rows": (5, 64)}
    tree = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}
    rules = {"experts": ai.spec("lecun_normal", layout="bio"), "all": ai.spec("trunc_normal"), "rows": "uniform"}
    places = {name: NamedSharding(mesh, spec) for name, spec in specs.items()}
    jitted = jax.jit(lambda key: init_tree(tree, rules, seed=key), out_shardings=places)
    start = time.perf_counter()
    compiled = jitted.lower(jax.random.key(7)).compile()
    seconds = time.perf_counter() - start
    plan = {entry.path: entry.initializer for entry in init_tree(tree, rules, seed=7, dry_run=True)}
    compared, differing = 0, []
    for drawn in (compiled(jax.random.key(7)), init_tree(tree, rules, seed=7, shardings=places)):
        for name, x in drawn.items():
            wanted = plan[name](shapes[name], seed=7, name=name)
            assert x.sharding.is_equivalent_to(places[name], x.ndim)
            for shard in x.addressable_shards:
                compared += 1
                if not (np.asarray(shard.data) == wanted[shard.index]).all():
                    differing.append([name, str(shard.device)])
    words = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective")
    summed = jax.jit(lambda tree: tree["experts"].sum()).lower(drawn).compile()
    print(json.dumps({
        "compared": compared, "differing": differing, "seconds": seconds,
        "moving": [word for word in words if word in compiled.as_text()],
        "moving in a sum": [word for word in words if word in summed.as_text()],
    }))
"""


def test_a_tree_over_512_devices_of_jax():
    pytest.importorskip("jax")
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=512", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DEVICES)], capture_output=True, text=True, timeout=240,
        env={**os.environ, **flags, "PYTHONPATH": str(ROOT), "ARRAYINIT_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"traced and compiled in {result['seconds']:.2f} s")
    assert result["compared"] == 2 * 3 * 512
    assert result["differing"] == []
    assert result["moving"] == []
    assert result["moving in a sum"] == ["all-reduce"]
