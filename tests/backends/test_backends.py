"""Features of single libraries: views, parameters, versions, abstract tensors, shardings, lazy blocks, modes."""

import math
import sys

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from conftest import namespace, same

import arrayinit as ai
from arrayinit import seeds
from arrayinit.backends import backend_named, backend_of, find_backend
from arrayinit.conformance.cases import CASES

dask = pytest.importorskip("dask")
pytest.importorskip("dask.array")

FILLED = ai.normal((6, 5, 4, 3), seed=0)


@pytest.mark.parametrize("make", [np.empty, torch.empty, array_api_strict.empty], ids=["numpy", "torch", "strict"])
def test_in_place_returns_the_same_object(make):
    x = make((3, 4))
    assert ai.xavier_uniform_(x, seed=0) is x


def test_a_model_gets_new_arrays_from_jax_and_dask_only():
    replaced = {name for name in ("numpy", "torch", "jax", "dask") if not backend_named(name).fills_in_place}
    assert replaced == {"jax", "dask"}
    assert backend_named(array_api_strict).fills_in_place


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "dask"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_blocks_hold_all_numbers_of_an_array(library, dtype):
    x = ai.normal((5, 7), seed=0, xp=library, dtype=dtype)
    wanted = ai.normal((5, 7), seed=0, xp="torch", dtype=dtype).float().numpy()
    there = np.zeros((5, 7), np.float32)
    for (row, column), block in backend_of(x).blocks(x):
        numbers = backend_of(block).numbers(block)
        there[row : row + len(numbers), column : column + numbers.shape[1]] = numbers
    assert same(there, wanted)


def test_numpy_subclasses_and_memory_maps(tmp_path):
    mapped = np.memmap(tmp_path / "w.bin", np.float32, "w+", shape=(6, 5, 4, 3))
    assert ai.normal_(mapped, seed=0) is mapped
    mapped.flush()
    assert (np.fromfile(tmp_path / "w.bin", np.float32) == FILLED.ravel()).all()
    masked = np.ma.masked_array(np.zeros((3, 4)), mask=np.eye(3, 4))
    assert ai.normal_(masked, seed=0) is masked
    assert same(masked.data, ai.normal((3, 4), seed=0, dtype="float64"))
    assert type(ai.normal(masked, seed=0)) is np.ndarray


def test_numpy_byte_order_and_fortran_order():
    swapped = np.empty((6, 5, 4, 3), ">f4")
    ai.normal_(swapped, seed=0)
    assert (swapped == FILLED).all()
    assert ai.fingerprint(swapped) == ai.fingerprint(FILLED)
    fortran = np.asfortranarray(FILLED)
    assert ai.normal(fortran, seed=0).flags.f_contiguous
    assert same(ai.normal(fortran, seed=0), FILLED)


def unaligned(shape):
    return np.empty(4 * math.prod(shape) + 1, np.uint8)[1:].view(np.float32).reshape(shape)


@pytest.mark.parametrize("columns", [1, 2, 40])
@pytest.mark.parametrize("make", [lambda shape: np.empty(shape, ">f4"), unaligned], ids=["swapped", "unaligned"])
def test_sparse_where_the_reference_draws_into_numpy(make, columns):
    """It ranks words that it still needs: one column as a row is its own memory."""
    for shape, layout in (((50, columns), None), ((columns, 50), "io")):
        x = ai.sparse_(make(shape), 0.5, seed=0, layout=layout)
        assert same(x.astype(np.float32), ai.sparse(shape, 0.5, seed=0, layout=layout))


def test_a_rank_leaves_what_it_ranks_alone():
    for columns in (1, 3, 33):
        words = np.arange(50 * columns, dtype=np.uint32)[::-1].reshape(50, columns)
        for held in (words.copy(), np.asfortranarray(words), words):
            for x in (held, torch.asarray(held.astype(np.int64))):
                lanes = backend_of(x).lanes(backend_of(x).device(x))
                assert np.array_equal(lanes.kth(x, 20), np.sort(words, axis=0)[20:21])
                assert np.array_equal(x, words)


def test_zero_dimensional_targets():
    for x in (np.empty(()), torch.empty(()), array_api_strict.empty(())):
        ai.normal_(x, seed=0)
        assert float(x) == float(ai.normal((), seed=0, dtype=str(x.dtype).rpartition(".")[-1]))


def test_torch_memory_formats():
    x = torch.empty(6, 5, 4, 3).to(memory_format=torch.channels_last)
    ai.normal_(x, seed=0)
    assert same(x, FILLED)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert ai.normal(x, seed=0).is_contiguous(memory_format=torch.channels_last)


MIRRORED = {
    "negated": lambda x: torch._neg_view(x),
    "imaginary part of conjugate": lambda x: torch.complex(x, x).conj().imag,
    "conjugate": lambda x: x.conj(),
    "both": lambda x: torch._neg_view(x.conj()),
}


@pytest.mark.parametrize("kind", MIRRORED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "complex64", "complex128"])
def test_torch_views_that_are_read_negated_or_conjugated(kind, dtype):
    """All laws, by their bits: zeros have the sign that they should."""
    if kind in ("conjugate", "both") and not dtype.startswith("complex"):
        return
    if kind == "imaginary part of conjugate" and dtype not in ("float32", "float64"):
        return
    torch_backend = backend_of(torch.empty(()))
    for case in CASES:
        if not case.is_exact or "index" in case.keywords:
            continue
        wanted = ai.zeros(case.shape, dtype=dtype)
        case.spec.fill_(wanted, seed=3, **case.keywords)
        x = MIRRORED[kind](ai.ones(case.shape, dtype=dtype, xp="torch"))
        version = x._version
        assert case.spec.fill_(x, seed=3, **case.keywords) is x
        assert x._version > version or not wanted.size
        assert torch_backend.to_numpy(x).tobytes() == wanted.tobytes(), case.name
        assert ai.fingerprint(case.spec(x, seed=3, **case.keywords)) == ai.fingerprint(wanted), case.name
        assert ai.fingerprint(x) == ai.fingerprint(wanted), case.name


def test_torch_parts_of_conjugates():
    base = torch.zeros(6, 5, dtype=torch.complex64)
    part = base.conj()[1:4, ::2]
    ai.packed_(part, ai.spec("normal"), 3, seed=0)
    assert same(part, ai.packed((3, 3), ai.spec("normal"), 3, seed=0, dtype="complex64"))
    assert same(base.conj()[1:4, ::2], part)
    assert not base[0].any()
    assert not base[:, 1].any()
    meta = torch.empty(3, dtype=torch.complex64, device="meta").conj()
    assert ai.normal_(meta, seed=0) is meta
    assert ai.orthogonal_(torch.empty(3, 3, dtype=torch.complex64).conj(), seed=0).is_conj()


def test_torch_parameters():
    parameter = torch.nn.Parameter(torch.zeros(4, 3))
    before = parameter._version
    ai.normal_(parameter, seed=0)
    assert parameter._version > before
    assert parameter.requires_grad
    assert parameter.grad_fn is None
    assert type(ai.normal(parameter, seed=0)) is torch.Tensor
    assert not ai.normal(parameter, seed=0).requires_grad
    used = (parameter * parameter).sum()  # saves the parameter for its backward
    ai.normal_(parameter, seed=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        used.backward()


def test_torch_modes():
    with torch.inference_mode():
        inference = torch.empty(3, 4)
        ai.normal_(inference, seed=0)
    assert same(inference, ai.normal((3, 4), seed=0))
    with pytest.raises(ValueError, match="inference"):
        ai.normal_(inference, seed=0)
    wanted = ai.orthogonal((40, 30), seed=0, xp="torch")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(ai.orthogonal((40, 30), seed=0, xp="torch"), wanted)
    torch.set_float32_matmul_precision("medium")
    try:
        assert same(ai.orthogonal((40, 30), seed=0, xp="torch"), wanted)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_torch_default_dtype_and_device_do_not_matter():
    torch.set_default_dtype(torch.float64)
    try:
        assert ai.normal((3, 4), seed=0, xp="torch").dtype == torch.float32
        assert same(ai.normal((3, 4), seed=0, xp="torch"), ai.normal((3, 4), seed=0))
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert same(ai.normal_(torch.empty(3, 4, device="cpu"), seed=0), ai.normal((3, 4), seed=0))
        assert ai.normal((3, 4), seed=0, xp="torch").is_meta


def test_meta_and_fake_tensors_draw_nothing():
    with ai.seeded(0):
        meta = torch.empty(1000, 1000, 1000, 1000, device="meta")
        assert ai.normal_(meta) is meta
        assert ai.normal(meta).is_meta
        assert ai.orthogonal_(torch.empty(9, 9, device="meta")).is_meta
    fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
    with fake_tensor.FakeTensorMode():
        fake = torch.empty(3, 4)
        assert ai.kaiming_normal_(fake, seed=0) is fake
        assert isinstance(ai.normal(fake, seed=0), fake_tensor.FakeTensor)
    assert same(ai.normal((3, 4), seed=0, xp="torch"), ai.normal((3, 4), seed=0))


def test_meta_tensors_take_no_key_in_place():
    with ai.seeded(0):
        wanted = ai.normal((3,))
    with ai.seeded(0):
        ai.normal_(torch.empty(3, device="meta"))
        assert same(ai.normal((3,)), wanted)


def test_torch_subclasses_are_filled_as_tensors():
    class Logged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            raise AssertionError("drawing must not go through the subclass")

    x = torch.empty(3, 4).as_subclass(Logged)
    with torch._C.DisableTorchFunctionSubclass():
        ai.normal_(x, seed=0)
        assert same(x.as_subclass(torch.Tensor), ai.normal((3, 4), seed=0))


def test_jax_forms_agree():
    key = jax.random.key(7)
    wanted = ai.xavier_normal((33, 17), seed=7)
    assert same(ai.xavier_normal((33, 17), seed=key, xp="jax"), wanted)
    assert same(jax.jit(lambda k: ai.xavier_normal((33, 17), seed=k, xp="jax"))(key), wanted)
    assert same(jax.jit(lambda: ai.xavier_normal((33, 17), seed=7, xp="jax"))(), wanted)
    assert same(jax.jit(lambda x: ai.xavier_normal(x, seed=7))(jnp.zeros((33, 17))), wanted)
    assert same(jax.jit(lambda x, k: ai.xavier_normal(x, seed=k))(jnp.zeros((33, 17)), key), wanted)
    struct = jax.ShapeDtypeStruct((33, 17), jnp.float32)
    assert same(ai.xavier_normal(struct, seed=7), wanted)
    shape = jax.eval_shape(lambda k: ai.xavier_normal((33, 17), seed=k, xp="jax", dtype="bfloat16"), key)
    assert (shape.shape, shape.dtype) == ((33, 17), jnp.bfloat16)


def test_jax_vmap_over_keys_and_names():
    keys = jax.random.split(jax.random.key(1), 5)
    for transform in (jax.vmap, lambda f: jax.jit(jax.vmap(f))):
        many = transform(lambda k: ai.normal((3, 4), seed=k, name="w", xp="jax"))(keys)
        assert all(same(many[i], ai.normal((3, 4), seed=keys[i], name="w")) for i in range(5))
    layers = jax.vmap(lambda i: ai.normal((3, 4), seed=ai.fold(9, i), xp="jax"))(jnp.arange(5))
    assert all(same(layers[i], ai.normal((3, 4), seed=9, name=i)) for i in range(5))


@pytest.mark.parametrize("name", ["orthogonal", "sparse", "eye", "dirac", "constant"])
def test_jax_traces_the_others_too(name):
    parameters = {"sparse": {"sparsity": 0.5}, "constant": {"val": 0.1}}.get(name, {})
    shape = (6, 4, 3) if name == "dirac" else (40, 30)
    draw = ai.spec(name, **parameters)
    traced = jax.jit(lambda k: draw(shape, seed=k, xp="jax"))(jax.random.key(3))
    assert np.abs(np.asarray(traced) - draw(shape, seed=3)).max() <= (2e-6 if name == "orthogonal" else 0)


def test_jax_parts_inside_jit():
    whole = ai.normal((64, 10), seed=3, layout="io")
    for index in (np.s_[8:24], np.s_[::-3, 2], np.s_[..., 1::2]):
        part = jax.jit(lambda k, at=index: ai.normal((64, 10), seed=k, index=at, layout="io", xp="jax"))(
            jax.random.key(3)
        )
        assert same(part, np.asarray(whole[index]))


def test_jax_keeps_devices_and_x64():
    device = jax.devices()[0]
    x = jax.device_put(jnp.zeros((3, 4)), device)
    assert ai.normal(x, seed=0).sharding == x.sharding
    assert ai.normal((3, 4), seed=0, xp="jax", device=device).committed
    assert jnp.zeros(1).dtype == jnp.float32  # the 64-bit lanes stay inside
    with jax.enable_x64(True):
        assert same(ai.normal((3, 4), seed=0, xp="jax", dtype="float64"), ai.normal((3, 4), seed=0, dtype="float64"))


def test_jax_does_not_compile_for_concrete_keys(caplog):
    ai.normal((2, 3), seed=1, xp="jax")  # small helpers of JAX itself may compile once
    with jax.log_compiles():
        ai.normal((123, 45), seed=1, xp="jax")
        ai.sparse((45, 12), 0.5, seed=1, xp="jax")
        assert "Compiling" not in caplog.text
        jax.jit(lambda k: ai.normal((123, 45), seed=k, xp="jax"))(jax.random.key(1))
        assert "Compiling" in caplog.text  # which is how one would know


def test_dask_is_lazy_and_any_chunking_is_the_same_array():
    wanted = ai.normal((200, 150), seed=2)
    for chunks in ((50, 50), (200, 7), (33, 150), ((10, 190), (1, 149))):
        x = dask.array.zeros((200, 150), dtype="float32", chunks=chunks)
        y = ai.normal(x, seed=2)
        assert y.chunks == x.chunks
        assert same(y, wanted)
        assert ai.normal_(x, seed=2) is x
        assert same(x, wanted)
    for chunks in (60, (50, -1), {0: 33}, "1 MiB", ((10, 190), (1, 149))):
        y = ai.normal((200, 150), seed=2, xp=dask.array, chunks=chunks)
        assert y.chunks == dask.array.zeros((200, 150), dtype="float32", chunks=chunks).chunks
        assert same(y, wanted)
    huge = ai.normal((10**6, 10**6), seed=2, xp="dask")  # 4 TB, never drawn whole
    assert same(huge[123_456:123_459, -4:], ai.normal((10**6, 10**6), seed=2, index=np.s_[123_456:123_459, -4:]))


@pytest.mark.parametrize("shape", [(0, 5000, 5000), (5000, 0, 5000), (2, 0, 3, 40, 5), (0, 10**9), (0,)])
@pytest.mark.parametrize("chunks", [None, "auto", "1 MiB", -1])
def test_empty_dask_arrays_of_any_rank(shape, chunks):
    for draw in (ai.zeros, ai.normal, ai.orthogonal, ai.xavier_uniform):
        if len(shape) < 2 and draw in (ai.orthogonal, ai.xavier_uniform):
            continue
        x = draw(shape, seed=0, xp="dask", **({} if chunks is None else {"chunks": chunks}))
        assert (x.shape, x.compute().shape, str(x.dtype)) == (shape, shape, "float32")
    assert ai.normal_(dask.array.ones(shape, chunks=-1), seed=0).shape == shape
    part = ai.normal((10**4, 5000, 5000), seed=0, xp="dask", index=np.s_[3:3], chunks="auto")
    assert part.compute().shape == (0, 5000, 5000)


def test_dask_chunks_of_no_size():
    for chunks in (((0, 4), (3,)), ((2, 0, 2), (0, 3, 0)), {0: (0, 4), 1: -1}):
        assert same(ai.normal((4, 3), seed=0, xp="dask", chunks=chunks), ai.normal((4, 3), seed=0))
    empty = ai.normal((0, 5000, 5000), seed=0, xp="dask", chunks={0: -1, 1: "auto", 2: 1000})
    assert empty.chunks == ((0,), (5000,), (1000,) * 5)
    with pytest.raises(ValueError, match="`chunks`"):
        ai.normal((0, 5000, 5000), seed=0, xp="dask", chunks="some")


def test_dask_refuses_shapes_of_too_many_blocks_at_once():
    before = seeds.peek(None)
    for shape in ((2**45,), (2**30, 2**31), (2**20, 2**20, 2**18)):
        with pytest.raises(ValueError, match=r"`x` must have at most 2\*\*18 blocks where `chunks` is not given; got"):
            ai.normal(shape, xp="dask")
    assert seeds.peek(None) == before
    assert ai.normal((2**48,), xp="dask", chunks=-1).numblocks == (1,)


def test_dask_names_the_argument_that_was_given(monkeypatch):
    def fail(error):
        def normalize_chunks(*args, **kwargs):
            raise error

        monkeypatch.setattr(dask.array.core, "normalize_chunks", normalize_chunks)

    fail(MemoryError())
    for chunks in (None, 3):
        with pytest.raises(MemoryError):
            ai.normal((4, 3), seed=0, xp="dask", chunks=chunks)
    fail(OverflowError("too large"))
    with pytest.raises(ValueError, match=r"`x` must be a shape that Dask can cut .* got \(4, 3\) \(too large\)"):
        ai.normal((4, 3), seed=0, xp="dask")
    with pytest.raises(ValueError, match=r"`chunks` must be one of the forms .* got 3 \(too large\)"):
        ai.normal((4, 3), seed=0, xp="dask", chunks=3)


def test_array_api_strict_is_the_stand_in_for_any_other_namespace():
    x = array_api_strict.empty((3, 5), dtype=array_api_strict.float64)
    y = ai.xavier_uniform(x, seed=0)
    assert y.__array_namespace__() is array_api_strict
    assert same(y, ai.xavier_uniform((3, 5), seed=0, dtype="float64"))
    assert same(ai.normal((3, 5), seed=0, xp=array_api_strict), ai.normal((3, 5), seed=0))


def test_namespaces_by_module_and_by_name():
    import array_api_compat.numpy
    import array_api_compat.torch

    wanted = ai.normal((3, 5), seed=0)
    for xp in (np, "numpy", torch, "torch", jnp, jax, "jax", "jax.numpy", dask.array, "dask", "dask.array",
               array_api_compat.numpy, array_api_compat.torch, "array_api_strict"):  # fmt: skip
        assert same(ai.normal((3, 5), seed=0, xp=xp), wanted)


def test_dtypes_by_object_and_by_name():
    import ml_dtypes

    wanted = ai.normal((3, 5), seed=0, dtype="bfloat16")
    for xp, dtype in (
        ("numpy", ml_dtypes.bfloat16),
        ("torch", torch.bfloat16),
        ("jax", jnp.bfloat16),
        ("jax", "bfloat16"),
    ):
        assert same(ai.normal((3, 5), seed=0, xp=xp, dtype=dtype), wanted)
    for dtype in (np.float64, np.dtype("f8"), "float64", float, "double"):
        assert ai.normal((3, 5), seed=0, dtype=dtype).dtype == np.float64


def test_missing_frameworks_name_the_extra(monkeypatch):
    from arrayinit import backends

    monkeypatch.setattr(backends, "_backends", {})
    monkeypatch.setitem(sys.modules, "arrayinit.backends.torch", None)
    with pytest.raises(ImportError, match=r'pip install "arrayinit\[torch\]", or in a copy of the repository'):
        ai.normal((3,), seed=0, xp="torch")


def test_wrappers_of_jax_arrays_are_no_arrays_to_draw():
    nnx = namespace("flax.nnx")
    jax = namespace("jax")
    for x in (nnx.Param(jax.numpy.ones((3, 4))), nnx.RngKey(jax.random.key(0)), jax.typeof(jax.numpy.ones((3, 4)))):
        assert find_backend(x) is None
        with pytest.raises(TypeError, match="`x` must be an array"):
            ai.normal(x, seed=0)
        with pytest.raises(TypeError, match="`x` must be an array"):
            ai.normal_(x, seed=0)
    assert ai.fingerprint(nnx.Param(jax.numpy.ones((3, 4)))) == ai.fingerprint(jax.numpy.ones((3, 4)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int16", "bool"])
def test_reference_writes_ones_into_every_type_of_torch(dtype):
    # Tensors that vmap hands to a function have no memory of their own, so that the reference engine fills them.
    x = torch.zeros((2, 3, 4), dtype=getattr(torch, dtype))
    wanted = np.broadcast_to(np.eye(3, 4, dtype=dtype), (2, 3, 4))
    assert same(torch.func.vmap(ai.eye_)(x), wanted)
