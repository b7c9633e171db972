"""Whole models, generators, graphs of JAX and threads on a CUDA device, compared with the host."""

import threading

import numpy as np
import pytest
import scipy.stats
from conftest import same, to_host

import arrayinit as ai

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.gpu

RULES = {
    "norm*.weight": "ones",
    "*.bias": ai.spec("trunc_normal", std=0.02),
    "*.in_proj_weight": ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=3),
    "*conv*.weight": "orthogonal",
    "*.weight": ai.spec("kaiming_normal", nonlinearity="relu"),
    "*_bias": "zeros",
}


@pytest.fixture
def device():
    if not torch.cuda.is_available():
        pytest.skip("torch has no CUDA device")
    return torch.device("cuda", 0)


@pytest.fixture
def jax():
    module = pytest.importorskip("jax")
    if module.default_backend() != "gpu":
        pytest.skip("JAX has no CUDA device")
    return module


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3)
        self.norm = torch.nn.BatchNorm2d(16)
        self.attention = torch.nn.MultiheadAttention(64, 4)
        self.up = torch.nn.ConvTranspose2d(16, 8, 3, groups=2)
        self.head = torch.nn.Linear(64, 10)


def test_a_model_from_the_meta_device(device):
    from arrayinit.torch import init_module_

    wanted = init_module_(Net(), RULES, seed=3).state_dict()
    with torch.device("meta"):
        model = Net()
    made = init_module_(model, RULES, seed=3, device=device).state_dict()
    assert list(made) == list(wanted)
    for path, tensor in made.items():
        assert tensor.device == device, path
        if path == "conv.weight":
            assert (tensor.cpu() - wanted[path]).abs().max() <= 2e-6
        else:
            assert torch.equal(tensor.cpu(), wanted[path]), path
    moved = init_module_(Net().to(device), RULES, seed=3).state_dict()
    assert all(torch.equal(tensor, made[path]) for path, tensor in moved.items())


def test_report_of_a_model_on_the_device(device):
    from arrayinit.torch import init_module_

    model = init_module_(Net(), RULES, seed=3)
    on_host = ai.report(model, RULES).to_markdown()
    assert ai.report(model.to(device), RULES).to_markdown() == on_host


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_fingerprints_are_those_of_the_host(device, dtype):
    x = ai.normal((300, 301), seed=1, xp="torch", dtype=dtype)
    assert ai.fingerprint(x.to(device)) == ai.fingerprint(x)
    assert ai.fingerprint(x.to(device).T) == ai.fingerprint(x.T)


def test_generators_of_the_device(device):
    import arrayinit.torch as init

    def drawn(start):
        generator = torch.Generator(device).manual_seed(start)
        return [init.normal_(torch.empty(50, 60, device=device), generator=generator) for _ in range(2)]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    torch.manual_seed(5)
    x = init.xavier_uniform_(torch.empty(50, 60, device=device))
    torch.manual_seed(5)
    assert torch.equal(x, init.xavier_uniform_(torch.empty(50, 60, device=device)))


def test_laws_by_a_table_and_patterns(device):
    where = {"xp": "torch", "device": device}
    for draw in (
        ai.spec("distribution", distribution=scipy.stats.gamma(2.0)),
        ai.spec("sparse", sparsity=0.3),
        ai.spec("eye"),
        ai.spec("hippo_legs"),
        ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=4),
        ai.spec("zero_hadamard"),
    ):
        for dtype in ("float32", "float64", "bfloat16"):
            assert same(draw((64, 64), seed=2, dtype=dtype, **where), draw((64, 64), seed=2, dtype=dtype)), draw
    q = to_host(ai.orthogonal((300, 70), seed=1, dtype="float32", **where))
    assert np.abs(q - ai.orthogonal((300, 70), seed=1, dtype="float64")).max() <= 2e-6


def test_threads_draw_side_by_side(device):
    wanted = [ai.normal((500, 501), seed=k) for k in range(8)]
    found = [[] for _ in range(8)]

    def draw(k):
        with torch.cuda.stream(torch.cuda.Stream(device)):
            for _ in range(10):
                found[k].append(ai.normal((500, 501), seed=k, xp="torch", device=device))
            torch.cuda.current_stream().synchronize()

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(8):
        assert len(found[k]) == 10
        assert all(same(x, wanted[k]) for x in found[k])


def test_parameters_that_want_gradients_and_pinned_memory(device):
    x = torch.nn.Parameter(torch.empty(20, 30, device=device))
    assert ai.normal_(x, seed=1) is x
    assert x.requires_grad
    assert x.is_leaf
    assert same(x.detach(), ai.normal((20, 30), seed=1))
    pinned = torch.empty(20, 30, pin_memory=True)
    assert same(ai.normal_(pinned, seed=1), ai.normal((20, 30), seed=1))
    assert pinned.is_pinned()


def test_a_dtensor_on_the_device(device, tmp_path):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    if not dist.is_nccl_available():
        pytest.skip("torch has no NCCL")
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/store", rank=0, world_size=1, device_id=device)
    try:
        mesh = init_device_mesh("cuda", (1,))
        x = distribute_tensor(torch.empty(60, 50, device=device), mesh, [Shard(0)])
        assert ai.normal_(x, seed=4) is x
        assert same(x.to_local(), ai.normal((60, 50), seed=4))
    finally:
        dist.destroy_process_group()


def test_jax_on_the_device(jax):
    from jax.sharding import NamedSharding, PartitionSpec

    import arrayinit.jax

    wanted = ai.normal((256, 130), seed=2)
    x = ai.normal((256, 130), seed=2, xp="jax")
    assert {device.platform for device in x.devices()} == {"gpu"}
    assert same(x, wanted)
    mesh = jax.make_mesh((1,), ("a",))
    sharding = NamedSharding(mesh, PartitionSpec("a"))
    assert same(ai.normal(jax.device_put(x, sharding), seed=2), wanted)
    jitted = jax.jit(lambda key: ai.normal((256, 130), seed=key, xp="jax"), out_shardings=sharding)
    assert same(jitted(jax.random.key(2)), wanted)
    many = jax.vmap(lambda key: ai.trunc_normal((30, 40), seed=key, xp="jax"))(jax.random.split(jax.random.key(0), 3))
    for k, key in enumerate(jax.random.split(jax.random.key(0), 3)):
        assert same(many[k], ai.trunc_normal((30, 40), seed=key))
    tree = arrayinit.jax.init_tree(
        jax.eval_shape(lambda: {"fc": {"kernel": jax.numpy.zeros((64, 32)), "bias": jax.numpy.zeros(32)}}),
        {"*bias": "zeros", "*kernel": "xavier_uniform"},
        seed=1,
    )
    assert {device.platform for device in tree["fc"]["kernel"].devices()} == {"gpu"}
    assert same(tree["fc"]["kernel"], ai.xavier_uniform((64, 32), seed=1, name="fc.kernel", layout="io"))


@pytest.mark.parametrize("law", ["uniform", "normal", "trunc_normal"])
def test_every_kernel_leaves_its_neighbours_alone(device, law):
    """Guards before and behind tensors of awkward sizes and starts stay what they were."""
    for n in (1, 3, 4, 5, 255, 2047, 2048, 2049, 4097, 100_003):
        for start in (0, 1, 2, 3, 5):
            memory = torch.full((n + 64,), 7.0, device=device)
            part = memory[start : start + n]
            getattr(ai, f"{law}_")(part, seed=9)
            assert same(part, getattr(ai, law)((n,), seed=9))
            assert bool((memory[:start] == 7).all())
            assert bool((memory[start + n :] == 7).all())
