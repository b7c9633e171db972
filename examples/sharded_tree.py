"""Draw a mixture of experts in JAX over 512 devices, which are simulated on this machine, in one compiled program.

    python examples/sharded_tree.py                 # 856 M parameters; 10 seconds on two cores
    python examples/sharded_tree.py --width 256 --layers 2

`init_tree` under `jit` needs no communication: each device computes the elements of its own shard, whatever the
sharding. The program says how long it took to compile, that nothing in it moves data between devices, and compares
random slices of shards with those slices of the whole arrays, drawn alone: all bits must be equal.
"""

import argparse
import os
import random
import time
from typing import Any

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=512"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import arrayinit as ai
from arrayinit.jax import init_tree

SEED = 0
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective", "send(", "recv(")
RULES = [
    ("*.scale", "ones"),
    ("*.experts.*", ai.spec("lecun_normal", layout="bio")),  # a stack of (in, out), each with fans of its own
    ("*", ai.spec("normal", std=0.006)),
]


def shapes_of(layers: int, width: int) -> dict[str, Any]:
    """The parameters, without values: 64 experts a layer, each (in, out)."""

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, "bfloat16")

    hidden = width // 2
    block = {
        "norm": {"scale": array(width)},
        "attention": {name: {"kernel": array(width, width)} for name in ("q", "k", "v", "o")},
        "experts": {"gate_up": array(64, width, 2 * hidden), "down": array(64, hidden, width)},
    }
    return {"embed": {"embedding": array(16 * width, width)}, **{f"layer_{k}": block for k in range(layers)}}


def main() -> None:
    """Compile, draw and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--devices", type=int, default=10, help="whose shards are compared")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of devices and slices")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    mesh = jax.make_mesh((8, 16, 4), ("data", "expert", "tensor"))
    shapes = shapes_of(options.layers, options.width)

    def sharding_of(path: str, shape: tuple[int, ...]) -> NamedSharding:
        if ".experts." in path:
            return NamedSharding(mesh, PartitionSpec("expert", "data", "tensor"))
        if len(shape) == 1:
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, PartitionSpec(("data", "expert"), "tensor"))

    start = time.perf_counter()
    plan = init_tree(shapes, RULES, seed=SEED, shardings=sharding_of, dry_run=True)
    planned, start = time.perf_counter() - start, time.perf_counter()
    shardings = jax.tree.unflatten(jax.tree.structure(shapes), [sharding_of(entry.path, entry.shape) for entry in plan])
    lowered = jax.jit(lambda key: init_tree(shapes, RULES, seed=key), out_shardings=shardings).lower(
        jax.random.key(SEED)
    )
    traced, start = time.perf_counter() - start, time.perf_counter()
    compiled = lowered.compile()
    built, text = time.perf_counter() - start, compiled.as_text()
    moving = [word for word in COLLECTIVES if word in text]
    if moving:
        raise SystemExit(f"the program moves data between devices: {', '.join(moving)}")
    start = time.perf_counter()
    params = jax.block_until_ready(compiled(jax.random.key(SEED)))
    drawn = time.perf_counter() - start

    devices = chance.sample(jax.devices(), options.devices)
    compared, held = 0, dict.fromkeys(devices, 0)
    for entry, array in zip(plan, jax.tree.leaves(params), strict=True):
        shards = {shard.device: shard for shard in array.addressable_shards}
        assert entry.initializer is not None
        for device in devices:
            shard = shards[device]
            part = [slice(*axis.indices(n)) for axis, n in zip(shard.index, array.shape, strict=True)]
            firsts = [chance.randrange(n) for n in shard.data.shape]
            inner = tuple(slice(first, min(first + 32, n)) for first, n in zip(firsts, shard.data.shape, strict=True))
            index = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(part, inner, strict=True))
            wanted = entry.initializer(array.shape, seed=SEED, name=entry.path, dtype="bfloat16", index=index)
            if not (np.asarray(shard.data)[inner] == wanted).all():
                raise SystemExit(f"{entry.path} differs on {device} from the slices of the whole")
            compared += wanted.size
            held[device] += shard.data.nbytes
    total = sum(array.nbytes for array in jax.tree.leaves(params))
    print(f"{sum(entry.parameter.size for entry in plan):,} parameters in {len(plan)} arrays, {mesh.size} devices")
    print(f"plan {planned:.3f} s, trace {traced:.2f} s, compile {built:.2f} s, no collectives")
    print(
        f"draw {drawn:.2f} s for all devices, {total / 2**30:.2f} GiB without replicas; "
        f"{max(held.values()) / 2**20:.2f} MiB and {drawn / mesh.size * 1000:.1f} ms a device"
    )
    print(f"ok: {compared:,} elements equal the slices of the whole on {len(devices)} devices")


if __name__ == "__main__":
    main()
