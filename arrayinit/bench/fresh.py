"""Programs that need a fresh process: `python fresh.py PROGRAM ARGUMENT...` prints one number, as JSON.

This is run as a file, not as a module, so that a program decides when arrayinit is imported.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GIB = 2**30
WARM = (1024, 1024)
LARGE = (4096, 4096)


def importing() -> float:
    """Seconds of `import arrayinit` after `import numpy`."""
    import numpy  # noqa: F401

    start = time.perf_counter()
    import arrayinit  # noqa: F401

    return time.perf_counter() - start


def first_draw(setup: str, contender: str, initializer: str, size: str) -> float:
    """Seconds of the first call after the imports, on an array that has not been written to."""
    from arrayinit.bench.peers import SETUPS

    call = SETUPS[setup](initializer, (int(size), int(size)))[contender]
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def without_loops(setup: str, contender: str, initializer: str) -> float:
    """Seconds of a warm draw of 4096 x 4096 without the compiled loops; the median of three."""
    sys.modules["llvmlite"] = None  # type: ignore[assignment]
    from arrayinit.bench.peers import SETUPS
    from arrayinit.bench.timing import TimedCall

    timed = TimedCall(SETUPS[setup](initializer, LARGE)[contender])
    timed.warm()
    return statistics.median(timed.sample() for _ in range(3))


def dtensor(contender: str, size: str) -> float:
    """Seconds of a warm normal_ on a DTensor of 4096 x 4096, its rows on `size` processes: the slowest one's median."""
    with tempfile.TemporaryDirectory() as directory:
        ranks = [
            subprocess.Popen(
                [sys.executable, "-P", __file__, "dtensor_rank", contender, str(rank), size, f"{directory}/store"],
                stdout=subprocess.PIPE,
                env={**os.environ, "ARRAYINIT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
            for rank in range(int(size))
        ]
        return max(float(json.loads(rank.communicate()[0])) for rank in ranks)


def dtensor_rank(contender: str, rank: str, size: str, store: str) -> float:
    """The program of each of these processes. They begin each draw together."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    import arrayinit
    from arrayinit.bench.peers import OURS

    dist.init_process_group("gloo", store=dist.FileStore(store, int(size)), rank=int(rank), world_size=int(size))
    mesh = init_device_mesh("cpu", (int(size),))
    x = distribute_tensor(torch.empty(LARGE), mesh, [Shard(0)], src_data_rank=None)
    times = []
    for _ in range(9):
        dist.barrier()
        start = time.perf_counter()
        if contender == OURS:
            arrayinit.normal_(x, seed=0)
        else:
            torch.nn.init.normal_(x)
        times.append(time.perf_counter() - start)
    dist.destroy_process_group()
    return statistics.median(times[2:])


def memory(setup: str, contender: str, initializer: str) -> float:
    """Bytes that a draw of 1 GiB needs at its peak beyond that GiB, with everything imported, loaded and compiled."""
    from arrayinit.bench.peers import FILL, SETUPS, warm_engines

    warm_engines()
    SETUPS[setup](initializer, WARM)[contender]()
    calls = SETUPS[setup](initializer, (2**14, 2**14))
    in_place = setup in ("torch", "numpy")
    if in_place:
        calls[FILL]()
    before = _peak(reset=True)
    result = calls[contender]()
    after = _peak()
    del result
    return after - before - (0 if in_place else GIB)


def _peak(reset: bool = False) -> int:
    """Bytes of the largest resident set so far, or since a reset if the system can do that.

    ru_maxrss alone is not enough: on Linux it starts at the value of the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def compiling(contender: str) -> float:
    """Seconds to trace and compile one function with 144 draws: the matrices of a transformer with 12 layers."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    import jax.nn.initializers

    import arrayinit.jax
    from arrayinit.bench.peers import OURS

    init: Any = arrayinit.jax if contender == OURS else jax.nn.initializers
    attention = [(init.glorot_uniform(), (768, 768))] * 8  # self-attention and cross-attention
    gated = [(init.lecun_normal(), (768, 3072))] * 2 + [(init.lecun_normal(), (3072, 768))]
    positions = [(init.normal(0.02), (512, 768))]
    draws = (attention + gated + positions) * 12

    def model(key: Any) -> list[Any]:
        keys = jax.random.split(key, len(draws))
        return [draw(keys[k], shape) for k, (draw, shape) in enumerate(draws)]

    key = jax.random.key(0).block_until_ready()
    start = time.perf_counter()
    jax.jit(model).lower(key).compile()
    return time.perf_counter() - start


def flax_model(contender: str) -> float:
    """Seconds from a key to the 33.6 M parameters of a transformer in Flax's linen.

    "model.init" is Flax's method, "model.init, jit" the same compiled. Ours takes the shapes from eval_shape and draws
    each parameter from the same law by its path.
    """
    import flax.linen as nn
    import jax

    jax.config.update("jax_enable_compilation_cache", False)
    import jax.numpy as jnp

    import arrayinit
    from arrayinit.bench.peers import OURS

    width, heads, layers, tokens = 512, 8, 8, 16384

    class Layer(nn.Module):  # type: ignore[misc]
        @nn.compact  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            x = x + nn.MultiHeadDotProductAttention(heads, name="attention")(nn.LayerNorm(name="norm1")(x))
            hidden = nn.gelu(nn.Dense(4 * width, name="up")(nn.LayerNorm(name="norm2")(x)))
            return x + nn.Dense(width, name="down")(hidden)

    class Transformer(nn.Module):  # type: ignore[misc]
        @nn.compact  # type: ignore[untyped-decorator]
        def __call__(self, words: Any) -> Any:
            embedding = nn.Embed(tokens, width, name="embedding")
            x = embedding(words)
            for k in range(layers):
                x = Layer(name=f"layer{k}")(x)
            return embedding.attend(nn.LayerNorm(name="norm")(x))

    def draw(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name.endswith("bias"):
            return arrayinit.zeros(leaf)
        if name.endswith("scale"):
            return arrayinit.ones(leaf)
        if name.endswith("embedding"):  # Flax's default: variance 1 / features, not truncated
            return arrayinit.normal(leaf, std=width**-0.5, seed=0, name=name)
        layout = {2: "io", 3: "iio" if name.endswith("out.kernel") else "ioo"}[leaf.ndim]
        return arrayinit.variance_scaling(leaf, seed=0, name=name, layout=layout)  # lecun_normal, as in Flax

    model, words = Transformer(), jnp.zeros((1, 16), jnp.int32)
    key = jax.random.key(0).block_until_ready()
    start = time.perf_counter()
    if contender == OURS:
        parameters = jax.tree_util.tree_map_with_path(draw, jax.eval_shape(model.init, key, words))
    else:
        parameters = (jax.jit(model.init) if contender.endswith("jit") else model.init)(key, words)
    jax.block_until_ready(parameters)
    return time.perf_counter() - start


def model(contender: str, name: str) -> float:
    """Seconds until a model of transformers is built and drawn: by its constructor, or by a record drawn at once."""
    build = _constructor(contender, name)
    start = time.perf_counter()
    result = build()
    taken = time.perf_counter() - start
    del result
    return taken


def model_memory(contender: str, name: str) -> float:
    """Bytes that this needs at its peak beyond the parameters and buffers, with everything imported and loaded."""
    from arrayinit.bench.peers import warm_engines

    warm_engines()
    build = _constructor(contender, name)
    before = _peak(reset=True)
    result = build()
    after = _peak()
    tensors = {id(x): x for x in (*result.parameters(), *result.buffers())}
    held: int = sum(x.nbytes for x in tensors.values())
    return after - before - held


def _constructor(contender: str, name: str) -> Callable[[], Any]:
    """The construction of a model in its usual size, with random weights."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    import transformers

    from arrayinit.bench.peers import OURS
    from arrayinit.torch import record

    large: dict[str, Any] = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    }
    billion: dict[str, Any] = {
        "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 8192, "vocab_size": 128256, "tie_word_embeddings": True,
    }  # fmt: skip
    kind, config = {
        "gpt2": (transformers.GPT2LMHeadModel, transformers.GPT2Config()),
        "bert-base": (transformers.BertForMaskedLM, transformers.BertConfig()),
        "vit-large": (transformers.ViTForImageClassification, transformers.ViTConfig(**large)),
        "llama-1b": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**billion)),
    }[name]

    def recorded() -> Any:
        with record(draw=True, seed=0):
            return kind(config)

    return recorded if contender == OURS else lambda: kind(config)


PROGRAMS: dict[str, Callable[..., float]] = {
    "compiling": compiling,
    "dtensor": dtensor,
    "dtensor_rank": dtensor_rank,
    "first_draw": first_draw,
    "flax_model": flax_model,
    "importing": importing,
    "memory": memory,
    "model": model,
    "model_memory": model_memory,
    "without_loops": without_loops,
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])) + "\n")
