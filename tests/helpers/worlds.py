"""Worlds of gloo ranks: a script that plays one, with a process for each rank, and a test's call of that script."""

import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path


def results_of(script, size, store):
    """What each rank of a world found; `script` is a file beside this one that ends in :func:`play`."""
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), str(size), str(store)],
        capture_output=True, text=True, timeout=240,
        env={**os.environ, "ARRAYINIT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout.splitlines()[-1])
    assert len(results) == size
    return results


def play(findings):
    """Print as JSON what `findings(rank, size)` returns on each rank, by `python SCRIPT SIZE STORE`.

    Each rank is a process that forks off here, where everything is imported and nothing is drawn yet.
    """
    warnings.filterwarnings("ignore", module="torch")
    size, store = int(sys.argv[1]), sys.argv[2]
    with multiprocessing.get_context("fork").Pool(size) as ranks:
        results = ranks.starmap(_rank, [(findings, rank, size, store) for rank in range(size)], chunksize=1)
    print(json.dumps(results))


def _rank(findings, rank, size, store):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    timeout = timedelta(seconds=60)  # for ranks that wait for one that failed
    dist.init_process_group("gloo", store=dist.FileStore(store, size), rank=rank, world_size=size, timeout=timeout)
    try:
        return findings(rank, size)
    finally:
        dist.destroy_process_group()
