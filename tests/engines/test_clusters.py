"""Several processes of JAX, and a cluster of Dask: each draws its part. torch's are in test_dtensor."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import arrayinit as ai

ROOT = Path(ai.__file__).parents[1]
pytestmark = pytest.mark.slow


def start(code, *arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ARRAYINIT_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def finish(*processes):
    """The last line that each prints, as JSON."""
    results = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=240)
            assert process.returncode == 0, err
            results.append(json.loads(out.strip().splitlines()[-1]))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return results


JAX_RANK = """
    import json, sys
    import jax, numpy as np
    rank, size, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    jax.distributed.initialize(address, num_processes=size, process_id=rank)
    from jax.sharding import NamedSharding, PartitionSpec as P
    import arrayinit as ai, arrayinit.jax as ours

    assert jax.process_count() == size and len(jax.devices()) == 2 * size
    mesh = jax.make_mesh((size, 2), ("a", "b"))
    shape = (12 * size, 10)
    inits = {
        "normal": ours.normal(), "glorot_uniform": ours.glorot_uniform(), "glorot_normal": ours.glorot_normal(),
        "sparse": ours.initializer(ai.spec("sparse", sparsity=0.3)), "eye": ours.initializer("eye"),
    }
    compared, differing, held, marks = 0, [], set(), []
    for name, init in inits.items():
        wanted = np.asarray(init(5, shape))  # the whole, by this process alone
        for spec in (P("a", "b"), P("a"), P(None, "b"), P("b", "a") if size == 2 else P(), P()):
            sharding = NamedSharding(mesh, spec)
            placed = init(5, shape, out_sharding=sharding)
            drawn = jax.jit(lambda key: init(key, shape), out_shardings=sharding).lower(jax.random.key(5)).compile()
            text = drawn.as_text()
            if name != "sparse":
                assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "collective")), text
            traced = drawn(jax.random.key(5))
            marks.append(ai.fingerprint(placed) == ai.fingerprint(wanted))
            for made in (placed, traced):
                for shard in made.addressable_shards:
                    compared += 1
                    if not (np.asarray(shard.data) == wanted[shard.index]).all():
                        differing.append([name, str(spec)])
                    if spec == P("a"):
                        held.add(str(shard.index[0]))
    tree = {name: init(5, shape, out_sharding=NamedSharding(mesh, P("a", "b"))) for name, init in inits.items()}
    tree["here"] = np.arange(7)
    whole = {name: np.asarray(init(5, shape)) for name, init in inits.items()} | {"here": tree["here"]}
    marks.append(ai.fingerprints(tree) == ai.fingerprints(whole))
    print(json.dumps({"compared": compared, "differing": differing, "held": sorted(held), "marks": marks}))
"""


@pytest.mark.parametrize("size", [2, 3])
def test_jax_in_several_processes(size):
    """Concrete draws fill addressable shards alone, traced ones need no collective."""
    pytest.importorskip("jax")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    results = finish(*(start(JAX_RANK, rank, size, address, **flags) for rank in range(size)))
    for result in results:
        assert result["differing"] == []
        assert result["compared"] == 5 * 5 * 2 * 2
        assert result["marks"] == [True] * 26
    parts = [part for result in results for part in result["held"]]
    assert len(parts) == len(set(parts)) == size  # nobody holds what another process does


DASK_CLUSTER = """
    import json
    import numpy as np
    import dask.array
    from distributed import Client, LocalCluster, wait
    import arrayinit as ai

    if __name__ == "__main__":
        with LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster, Client(cluster) as client:
            wanted = ai.normal((700, 300), seed=4, name="w")
            equal = []
            for chunks in ((100, 300), (700, 7), (33, 150)):
                x = ai.normal((700, 300), seed=4, name="w", xp=dask.array, chunks=chunks)
                equal.append(bool((x.compute() == wanted).all()))
                equal.append(ai.fingerprint(x) == ai.fingerprint(wanted))
            huge = ai.normal((200_000, 100_000), seed=4, xp=dask.array, chunks=(4000, 4000))
            part = np.s_[199_990:, 99_000:99_010]
            equal.append(bool((huge[part].compute() == ai.normal((200_000, 100_000), seed=4, index=part)).all()))
            held = client.persist(x)
            wait(held)
            print(json.dumps({"equal": equal, "workers": sum(map(bool, client.has_what().values()))}))
"""


def test_dask_on_a_cluster(tmp_path):
    """Blocks are drawn by the workers that hold them."""
    pytest.importorskip("distributed")
    program = tmp_path / "cluster.py"  # which the workers import again
    program.write_text(textwrap.dedent(DASK_CLUSTER))
    (result,) = finish(start(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"))
    assert result["equal"] == [True] * 7
    assert result["workers"] == 2
