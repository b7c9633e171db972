"""Fingerprints: the same whole, in parts, on files and in models; another one for other bits."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from conftest import namespace
from hypothesis import given, settings, strategies as st

import arrayinit as ai
from arrayinit.conformance.vector_digest import vector_digest

MASK = (1 << 64) - 1
DTYPES = (
    "bool", "int8", "uint8", "int16", "float16", "int32", "float32", "int64", "uint64", "float64", "complex64",
    "complex128", ">f4", ">u8", ">c16",
)  # fmt: skip


def by_hand(x, order=None):
    """The formulas of arrayinit/digests/sums.py, word by word."""
    x = x if order is None else x.transpose(order)
    dtype = x.dtype.newbyteorder("<")
    size, data = dtype.itemsize, np.ascontiguousarray(x, dtype).tobytes()
    words = [data[at : at + min(size, 4)] for at in range(0, len(data), min(size, 4))]
    a = b = 0
    for n, word in enumerate(words):
        z = n * 0x9E3779B97F4A7C15 + int.from_bytes(word, "little") & MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        f = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        s = (z ^ z >> 33) * 0xC4CEB9FE1A85EC53 & MASK
        a, b = a + (f ^ f >> 31) & MASK, b + (s ^ s >> 29) & MASK
    text = f"{x.dtype.name} {x.shape} {a:016x}{b:016x}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def random(shape, dtype, seed=0):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.random.default_rng(seed).random(shape) < 0.5
    return np.frombuffer(
        np.random.default_rng(seed).bytes(int(np.prod(shape)) * dtype.itemsize), dtype
    ).reshape(shape)  # NaNs and infinities among them  # fmt: skip


shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@settings(deadline=None)
@given(shapes, st.sampled_from(DTYPES), st.integers(0, 9), st.randoms())
def test_the_sum_is_that_of_the_formulas(shape, dtype, seed, rng):
    x = random(shape, dtype, seed)
    assert ai.fingerprint(x) == by_hand(x)
    axes = rng.sample(range(x.ndim), x.ndim)
    lying_otherwise = np.array(x.transpose(axes), order="C").transpose(np.argsort(axes))
    assert ai.fingerprint(lying_otherwise) == by_hand(x)
    assert ai.fingerprint(np.flip(x)) == by_hand(np.flip(x))
    if x.ndim >= 2:
        layout = "".join(rng.sample("oi" + "s" * (x.ndim - 2), x.ndim))
        order = [layout.index("o"), layout.index("i"), *(k for k, letter in enumerate(layout) if letter == "s")]
        assert ai.fingerprint(x, layout=layout) == by_hand(x, order)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "complex128"])
@pytest.mark.parametrize("shape", [(70_001,), (3, 17_000), (9_001, 5, 2), (2, 3, 40_003), (40_003, 1, 3)])
def test_arrays_of_many_chunks(shape, dtype, monkeypatch):
    x = random(shape, dtype)
    wanted = by_hand(x)
    assert ai.fingerprint(x) == wanted
    assert ai.fingerprint(np.asfortranarray(x)) == wanted
    monkeypatch.setattr("arrayinit.digests.sums.SLAB", 100_003)
    monkeypatch.setattr("arrayinit.digests.parts.SLAB", 100_003)
    monkeypatch.setattr("arrayinit.digests.sums.SHARE", 30_011)
    assert ai.fingerprint(x) == wanted
    assert ai.fingerprint(namespace("torch").from_numpy(x.copy())) == wanted


def boxes(shape, rng):
    """A random partition into boxes."""
    if not shape or 0 in shape or rng.random() < 0.3:
        return [tuple(slice(0, n) for n in shape)]
    axis = rng.randrange(len(shape))
    cut = rng.randint(0, shape[axis])
    low = boxes((*shape[:axis], cut, *shape[axis + 1 :]), rng)
    high = boxes((*shape[:axis], shape[axis] - cut, *shape[axis + 1 :]), rng)
    shifted = [
        tuple(slice(s.start + cut, s.stop + cut) if k == axis else s for k, s in enumerate(each)) for each in high
    ]
    return low + shifted


@settings(deadline=None)
@given(shapes, st.sampled_from(DTYPES), st.randoms())
def test_parts_add_up(shape, dtype, rng):
    x = random(shape, dtype)
    axes = {"layout": "".join(rng.sample("oi" + "s" * (x.ndim - 2), x.ndim))} if x.ndim >= 2 else {}
    for keywords in ({}, axes):
        wanted = ai.fingerprint(x, **keywords)
        parts = [ai.fingerprint_part(x[index], shape=shape, index=index, **keywords) for index in boxes(shape, rng)]
        rng.shuffle(parts)
        assert sum(parts).digest() == wanted
        ends = sorted([0, x.size, *(rng.randint(0, x.size) for _ in range(3))])
        flats = [slice(a, b) for a, b in itertools.pairwise(ends)]
        parts = [ai.fingerprint_part(x.reshape(-1)[s], shape=shape, flat=s, **keywords) for s in flats]
        parts = [ai.FingerprintPart.from_dict(json.loads(json.dumps(part.as_dict()))) for part in parts]
        rng.shuffle(parts)
        assert sum(parts).digest() == wanted


def test_parts_by_steps_and_integers():
    x = random((7, 6, 4), "float32")
    for places in ((np.s_[::2], np.s_[1::2]), (np.s_[::-2], np.s_[5:0:-2]), (np.s_[3], np.s_[:3], np.s_[4:])):
        parts = [ai.fingerprint_part(x[place], shape=x.shape, index=place) for place in places]
        assert sum(parts).digest() == ai.fingerprint(x)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), max_size=3).map(tuple), st.sampled_from(DTYPES[1:]), st.data())
def test_one_bit_and_an_exchange_change_it(shape, dtype, data):
    x = random(shape, dtype)
    mark = ai.fingerprint(x)
    bit = data.draw(st.integers(0, 8 * x.nbytes - 1))
    y = x.copy()
    y.reshape(-1).view(np.uint8)[bit // 8] ^= 1 << bit % 8
    assert ai.fingerprint(y) != mark
    i, j = data.draw(st.integers(0, x.size - 1)), data.draw(st.integers(0, x.size - 1))
    y = x.copy()
    flat = y.reshape(-1)
    flat[[i, j]] = flat[[j, i]]
    assert (ai.fingerprint(y) == mark) == (vector_digest(y) == vector_digest(x))


def test_few_collisions_of_structured_arrays():
    """All arrays of few bits, where a weak hash would have equal sums: 3 x 2^16 different ones."""
    x = np.arange(1 << 16, dtype=np.uint16)
    bits = (x[:, None] >> np.arange(16, dtype=np.uint16) & 1).astype(np.uint8)
    marks = {ai.fingerprint(row) for row in bits[::16]} | {ai.fingerprint(2 * row) for row in bits[16::16]}
    assert len(marks) == 2 * (1 << 12) - 1


def test_bits_count_not_values():
    zeros = np.zeros(3, "float32")
    assert ai.fingerprint(zeros) != ai.fingerprint(-zeros)
    nans = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert ai.fingerprint(nans[:1]) != ai.fingerprint(nans[1:])
    assert ai.fingerprint(nans[:1]) == ai.fingerprint(nans[:1].copy())


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_small_floats(name):
    ml_dtypes, torch, jnp = namespace("ml_dtypes"), namespace("torch"), namespace("jax.numpy")
    dtype = np.dtype(getattr(ml_dtypes, name))
    x = random((5, 7), "uint8" if dtype.itemsize == 1 else "uint16")
    y = torch.from_numpy(x.copy()).view(getattr(torch, name))
    mark = ai.fingerprint(x.view(dtype))
    assert mark != ai.fingerprint(x)
    assert ai.fingerprint(y) == ai.fingerprint(y.T.contiguous().T) == mark
    finite = jnp.asarray(np.arange(6, dtype=dtype))
    assert ai.fingerprint(finite) == ai.fingerprint(np.asarray(finite))
    assert ai.fingerprint({"w": y}) == ai.fingerprint({"w": x.view(dtype)})


def test_refusals():
    torch = namespace("torch")
    x = np.zeros((4, 6), "float32")
    part = ai.fingerprint_part(x[:2], shape=(4, 6), index=np.s_[:2])
    for what, error, words in [
        (lambda: part.digest(), ValueError, "each of the 24 elements .* got 12, so some are missing"),
        (lambda: (part + part + part).digest(), ValueError, "got 36, so some were added twice"),
        (lambda: part + ai.fingerprint_part(x, shape=(4, 6)).digest(), TypeError, "unsupported operand"),
        (lambda: part + ai.fingerprint_part(x.astype("f8"), shape=(4, 6)), ValueError, "parts must be of one tensor"),
        (lambda: ai.fingerprint_part(x, shape=(4, 7)), ValueError, r"`x` must have the shape .*`index`.* \(4, 7\)"),
        (lambda: ai.fingerprint_part(x[0], shape=(4, 6), flat=slice(0, 7)), ValueError, "`flat`"),
        (lambda: ai.fingerprint_part(x[0], shape=(4, 6), flat=slice(20, 30)), ValueError, "`flat` must be 0 <= start"),
        (
            lambda: ai.fingerprint_part(x, shape=(4, 6), index=0, flat=slice(0, 6)),
            TypeError,
            "given together",
        ),
        (lambda: ai.fingerprint_part(x, shape=(4, 6), index=np.s_[2:9]), ValueError, "`index` must lie inside"),
        (lambda: ai.fingerprint_part([1.0], shape=(1,)), TypeError, "`x` must be an array"),
        (lambda: ai.FingerprintPart.from_dict({**part.as_dict(), "sum": "x"}), ValueError, "`data` must be"),
        (lambda: ai.FingerprintPart.from_dict(3), ValueError, "`data` must be"),
        (lambda: ai.fingerprint(np.array(["a"])), TypeError, "array of numbers"),
        (lambda: ai.fingerprint(np.zeros(2, "i4,f4")), TypeError, "array of numbers"),
        (lambda: ai.fingerprint(3.0), TypeError, "`x` must be an array"),
        (lambda: ai.fingerprint({"w": 3.0}), TypeError, "`model` must hold arrays"),
        (lambda: ai.fingerprint({"w": x}, layout="oi"), TypeError, "`x` must be an array where `layout`"),
        (
            lambda: ai.fingerprint({"w": torch.zeros(2, device="meta")}),
            TypeError,
            "'w': `x` must hold values; .* on the meta",
        ),
        (lambda: ai.fingerprint({"a": {"b": x}, "a.b": x + 1}), ValueError, "one array for each path"),
        (lambda: ai.fingerprint(torch.nn.LazyLinear(3)), ValueError, "`model` must have shapes"),
    ]:
        with pytest.raises(error, match=words):
            what()


def test_tensors_that_have_no_bits_of_numbers_are_refused():
    torch = namespace("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that both are prototypes
        quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
        nested = [torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=each)
                  for each in (torch.strided, torch.jagged)]  # fmt: skip
    for x, words in [(quantized, "dtype that NumPy has"), *((x, "a nested tensor") for x in nested)]:
        for call in (lambda x=x: ai.fingerprint(x), lambda x=x: ai.fingerprint({"w": x})):
            with pytest.raises(TypeError, match=words):
                call()


def test_a_path_that_utf8_can_not_hold():
    x = np.zeros(2)
    assert len({ai.fingerprint({path: x}) for path in ("a", "\ud800", "\ud801")}) == 3


@pytest.mark.parametrize("change", [
    {"dtype": "x"}, {"dtype": "object"}, {"dtype": 3}, {"dtype": "float32 "}, {"count": 3, "shape": [2]}, {"count": -1},
])  # fmt: skip
def test_other_data_of_parts(change):
    data = ai.fingerprint_part(np.zeros(2, "float32"), shape=2).as_dict()
    with pytest.raises(ValueError, match="`data` must be what"):
        ai.FingerprintPart.from_dict(data | change)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "bfloat16", "float8_e4m3fn", "complex128", "datetime64[ns]", "int4"]
)
def test_dtypes_of_parts(dtype):
    namespace("ml_dtypes")
    x = np.zeros(2, getattr(sys.modules["ml_dtypes"], dtype, dtype))
    part = ai.fingerprint_part(x, shape=2)
    assert ai.FingerprintPart.from_dict(json.loads(json.dumps(part.as_dict()))) == part


def test_a_partition_that_hides_its_place_is_refused():
    torch = namespace("torch")
    x = torch.nn.Parameter(torch.zeros(0))
    x.ds_shape = torch.Size((4, 6))
    with pytest.raises(ValueError, match=r"is partitioned by ZeRO-3.*fingerprint_part"):
        ai.fingerprint({"w": x})


# Files and models.


def test_zarr_and_h5py(tmp_path, monkeypatch):
    zarr, h5py = namespace("zarr"), namespace("h5py")
    monkeypatch.setattr("arrayinit.digests.stored.BLOCK", 3000)
    x = random((50, 31, 3), "float32")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number, chunks in enumerate([None, (7, 31, 2), (50, 1, 3), (1, 1, 1)]):
            y = zarr.open_array(
                tmp_path / f"x{number}", mode="w", shape=x.shape, dtype=x.dtype, chunks=chunks or x.shape
            )
            y[:] = x
            stored = file.create_dataset(f"x{number}", data=x, chunks=chunks)
            assert ai.fingerprint(y) == ai.fingerprint(stored) == ai.fingerprint(x)
            assert ai.fingerprint(stored, layout="iob") == ai.fingerprint(x, layout="iob")
        file["g/scalar"], file["g/empty"] = np.float64(3), np.empty((0, 3))
        assert ai.fingerprint(file["g/scalar"]) == ai.fingerprint(np.float64(3))
        assert ai.fingerprint(file["g"]) == ai.fingerprint({"scalar": np.float64(3), "empty": np.empty((0, 3))})
        part = ai.fingerprint_part(file["x1"], shape=(100, 31, 3), index=np.s_[:50])
        assert (part + part).count == 100 * 31 * 3


def test_stored_arrays_take_little_memory(tmp_path):
    zarr = namespace("zarr")
    x = zarr.open_array(tmp_path / "x", mode="w", shape=(1 << 26,), dtype="float32", chunks=(1 << 20,))  # 256 MiB
    x[:3] = [1, 2, 3]
    tracemalloc.start()
    try:
        ai.fingerprint(x)
        assert tracemalloc.get_traced_memory()[1] < 160 << 20  # a block of 64 MiB, and what zarr makes of it
    finally:
        tracemalloc.stop()


def test_dask_is_read_block_by_block():
    dask = namespace("dask.array")
    x = random((60, 50), "float64")
    assert ai.fingerprint(dask.from_array(x, chunks=(7, 11))) == ai.fingerprint(x)
    assert ai.fingerprint(dask.from_array(x, chunks=(7, 11)), layout="io") == ai.fingerprint(x.T)


def net(torch):
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    model.append(nn.Linear(4, 4))
    model[3].weight = model[2].parametrizations.weight.original1  # tied
    model.register_buffer("scratch", torch.zeros(3), persistent=False)
    return model


def test_a_model_its_state_dict_and_its_file(tmp_path, capsys):
    torch = namespace("torch")
    from arrayinit.cli import main

    model = net(torch)
    state = model.state_dict()
    assert list(ai.fingerprints(model)) == sorted(state)
    assert ai.fingerprints(model) == ai.fingerprints(state) == {k: ai.fingerprint(v) for k, v in sorted(state.items())}
    assert "3.weight" in state
    assert "2.parametrizations.weight.original1" in state
    mark = ai.fingerprint(model)
    assert mark == ai.fingerprint(state) == ai.fingerprint(torch.compile(model, backend="eager"))
    assert mark == ai.fingerprint({k: v.numpy() for k, v in state.items()})
    namespace("safetensors.torch").save_file({k: v.clone() for k, v in state.items()}, tmp_path / "m")
    np.savez(tmp_path / "m.npz", **{k: v.numpy() for k, v in state.items()})
    for name in ("m", "m.npz"):
        assert main(["fingerprint", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"{mark}  {len(state)} tensors"
        assert ai.fingerprint(tmp_path / name) == ai.fingerprint(str(tmp_path / name)) == mark
        assert ai.fingerprints(tmp_path / name) == ai.fingerprints(model)
    with np.load(tmp_path / "m.npz") as arrays:
        assert ai.fingerprint(arrays) == mark
    lines = "".join(f"{path} {each}\n" for path, each in ai.fingerprints(model).items())
    assert mark == hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()
    with torch.no_grad():
        model[1].running_mean[0] += 1
    assert ai.fingerprint(model) != mark


def test_float8_in_a_file(tmp_path, capsys):
    torch = namespace("torch")
    namespace("ml_dtypes")
    from arrayinit.cli import main

    state = {name: torch.ones(3, 2).to(getattr(torch, name)) for name in ("float8_e4m3fn", "float8_e5m2")}
    namespace("safetensors.torch").save_file(state, tmp_path / "m")
    assert main(["fingerprint", str(tmp_path / "m")]) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1].split()[0] == ai.fingerprint(state) == ai.fingerprint(tmp_path / "m")
    )


def test_paths_of_files(tmp_path):
    save, zarr = namespace("safetensors.numpy").save_file, namespace("zarr")
    state = {"a.w": random((3, 4), "float32"), "a.b": random((5,), "float64"), "none": np.zeros((0, 2), "float32")}
    mark = ai.fingerprint(state)
    save({"a.w": state["a.w"]}, tmp_path / "m-1.safetensors")
    save({name: state[name] for name in ("a.b", "none")}, tmp_path / "m-2.safetensors")
    places = {"a.w": "m-1.safetensors", "a.b": "m-2.safetensors", "none": "m-2.safetensors"}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert ai.fingerprint(tmp_path / "m.safetensors.index.json") == mark
    np.save(tmp_path / "x.npy", state["a.w"])
    assert ai.fingerprint(tmp_path / "x.npy") == ai.fingerprint(state["a.w"])
    assert ai.fingerprints(tmp_path / "x.npy") == {"": ai.fingerprint(state["a.w"])}
    group = zarr.open_group(tmp_path / "g", mode="w")
    for name, x in state.items():
        group.create_array(name.replace(".", "/"), shape=x.shape, dtype=x.dtype)[...] = x
    alone = zarr.open_array(tmp_path / "x", mode="w", shape=(3, 4), dtype="float32")
    alone[...] = state["a.w"]
    assert ai.fingerprint(group) == ai.fingerprint(tmp_path / "g") == mark
    assert ai.fingerprints(tmp_path / "g") == ai.fingerprints(group) == ai.fingerprints(state)
    assert ai.fingerprint(alone) == ai.fingerprint(tmp_path / "x") == ai.fingerprint(state["a.w"])


def test_paths_of_other_files(tmp_path):
    for name, content in {"m": b"x" * 20, "m.npy": b"", "m.npz": b"x", "m.safetensors.index.json": b"{}"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises((ValueError, OSError)):
            ai.fingerprint(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ai.fingerprint(tmp_path / "nowhere")
    namespace("zarr")
    with pytest.raises(ValueError, match="must be a file, or a directory that zarr has written"):
        ai.fingerprint(tmp_path)


def test_cut_in_a_way_of_ones_own():
    torch = namespace("torch")
    from arrayinit.torch import Part, Shard

    layer = torch.nn.Linear(6, 3)
    shard = Shard((4, 6), [Part(layer.weight, index=slice(0, 3)), Part(torch.zeros(1, 6), index=slice(3, 4))])
    rows = [Part(layer.weight[:2], index=slice(0, 2)), Part(layer.weight[2:], index=slice(3, 4))]
    with pytest.raises(ValueError, match=r"'weight'.*must have each of the 24 elements .* got 18"):
        ai.fingerprints(layer, shards={"weight": Shard((4, 6), rows)})
    whole = Shard((6, 3), [Part(layer.weight.view(6, 3), index=slice(0, 6))])
    marks = ai.fingerprints(layer, shards={"weight": whole})
    assert marks == {"bias": ai.fingerprint(layer.bias), "weight": ai.fingerprint(layer.weight.view(6, 3))}
    assert ai.fingerprint(layer, shards=lambda path, x: whole if path == "weight" else None) == ai.fingerprint(
        {"weight": layer.weight.view(6, 3), "bias": layer.bias}
    )
    for model, shards, error, words in [
        (layer, {"other": whole}, ValueError, "`shards` must have paths of the model; got other"),
        (layer, 3, TypeError, "`shards` must be a mapping"),
        (layer, {"weight": shard}, ValueError, "parts in other memory"),
        ({"w": layer.weight}, {}, TypeError, "`shards` goes with a torch.nn.Module; got dict"),
        (layer.weight, {}, TypeError, "`shards` goes with a torch.nn.Module; got Parameter"),
    ]:
        with pytest.raises(error, match=words):
            ai.fingerprint(model, shards=shards)


def test_trees_of_jax():
    jax, nnx = namespace("jax"), namespace("flax.nnx")
    eqx = namespace("equinox")
    params = {"a": {"kernel": jax.numpy.ones((2, 3)), "bias": jax.numpy.zeros(3)}}
    assert ai.fingerprint(params) == ai.fingerprint({"a.bias": np.zeros(3, "f4"), "a.kernel": np.ones((2, 3), "f4")})
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    assert ai.fingerprints(model) == {
        "bias": ai.fingerprint(model.bias[...]), "kernel": ai.fingerprint(model.kernel[...]),
    }  # fmt: skip
    layer = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    assert ai.fingerprints(layer) == {"bias": ai.fingerprint(layer.bias), "weight": ai.fingerprint(layer.weight)}


NUMBERS = """
import sys, numpy as np, arrayinit as ai
assert "jax" not in sys.modules
for stray in (3, "text", np.tanh):
    try:
        ai.fingerprint({"a": stray, "b": np.zeros(2)})
    except TypeError as error:
        print(error)
"""


def test_what_is_no_array_is_refused_with_jax_and_without():
    jax, eqx, nnx = namespace("jax"), namespace("equinox"), namespace("flax.nnx")
    x = np.zeros(2)
    messages = []
    for stray in (3, "text", np.tanh):
        with pytest.raises(TypeError, match=r"`model` must hold arrays.* at 'a'") as refused:
            ai.fingerprint({"a": stray, "b": x})
        messages.append(str(refused.value))
    alone = subprocess.run([sys.executable, "-P", "-c", NUMBERS], capture_output=True, text=True, timeout=120)
    assert alone.stdout.splitlines() == messages, alone.stderr
    for model, path in [
        ({"a": (3, x)}, "a.0"),
        ([jax.numpy.zeros(2), 3.5], "1"),
        ({"a": [{"b": True}], "c": x}, "a.0.b"),
    ]:
        with pytest.raises(TypeError, match=f"`model` must hold arrays.* at '{path}'"):
            ai.fingerprint(model)
    assert ai.fingerprint({"a": None, "b": x}) == ai.fingerprint({"b": x})
    mlp = eqx.nn.MLP(2, 2, 2, 1, key=jax.random.key(0))  # holds jax.nn.relu and sizes
    assert set(ai.fingerprints({"mlp": mlp})) == {
        f"mlp.layers.{k}.{name}" for k in (0, 1) for name in ("weight", "bias")
    }
    with pytest.raises(TypeError, match="got 1e-05 at 'eps'"):
        ai.fingerprint({"mlp": mlp, "eps": 1e-5})
    rngs = nnx.Rngs(0)
    layers = nnx.Sequential(nnx.Dropout(0.1, rngs=rngs), nnx.relu, nnx.Linear(2, 2, rngs=rngs))
    assert set(ai.fingerprints(layers)) >= {"layers.2.kernel", "layers.2.bias"}


def test_arrays_without_values_for_all_elements_are_refused(tmp_path):
    namespace("jax")
    h5py, dask = namespace("h5py"), namespace("dask.array")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        null = file.create_dataset("x", dtype="f4", shape=None)
        for model in (null, {"x": null}, {"x": null, "y": np.zeros(2)}):
            with pytest.raises(TypeError, match=r"`model` must hold arrays.*shape None"):
                ai.fingerprint(model)
    masked = np.ma.masked_array([1.0, 2.0], [False, True])
    for x in (masked, {"a": masked}, dask.from_array(masked)):
        with pytest.raises(TypeError, match="masked array"):
            ai.fingerprint(x)


def test_jax_arrays_over_devices():
    jax = namespace("jax")
    devices = np.array(jax.devices())
    mesh = jax.sharding.Mesh(devices, ("d",))
    x = random((len(devices) * 3, 5), "int32")
    for spec in (("d",), (None,), (None, None)):
        y = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec)))
        assert ai.fingerprint(y) == ai.fingerprint(x)


EIGHT = """
import json, jax, numpy as np, arrayinit as ai
from jax.sharding import NamedSharding, PartitionSpec as P
assert len(jax.devices()) == 8
mesh = jax.make_mesh((4, 2), ("a", "b"))
shapes = {"m": (8, 6), "v": (16,), "t": (4, 2, 3)}
x = {name: ai.normal(shape, seed=0) for name, shape in shapes.items()}
marks = []
for specs in ((P("a", "b"), P("a"), P("a", "b")), (P("b"), P(("a", "b")), P(None, "b")), (P(), P(), P())):
    y = {name: jax.device_put(each, NamedSharding(mesh, s)) for (name, each), s in zip(x.items(), specs)}
    marks.append(ai.fingerprints(y) == ai.fingerprints(x) and ai.fingerprint(y) == ai.fingerprint(x))
    for each, other in zip(y.values(), x.values()):
        shards = {str(shard.index): shard for shard in each.addressable_shards}.values()
        parts = [ai.fingerprint_part(shard.data, shape=each.shape, index=shard.index) for shard in shards]
        marks.append(sum(parts).digest() == ai.fingerprint(other))
print(json.dumps(marks))
"""


@pytest.mark.slow
def test_jax_on_eight_devices():
    namespace("jax")
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], capture_output=True, text=True, check=True, env=os.environ | flags, timeout=120
    )
    assert json.loads(done.stdout) == [True] * 12


def test_fingerprints_of_models_take_threads_and_no_order(monkeypatch):
    x = random((3, 1 << 20), "float32")
    marks = set()
    for count in ("1", "3"):
        monkeypatch.setenv("ARRAYINIT_NUM_THREADS", count)
        marks.add(ai.fingerprint({"a": x, "b": x[0]}))
        marks.add(ai.fingerprint({"b": x[0], "a": x}))
    assert len(marks) == 1


def test_a_transposed_map_is_read_as_it_lies(tmp_path):
    path = tmp_path / "w"
    x = random((300, 200), "float32")
    x.tofile(path)
    mapped = np.memmap(path, "float32", "r", shape=(300, 200))
    assert ai.fingerprint(mapped.T) == ai.fingerprint(x.T) == by_hand(x.T)
    assert os.path.getsize(path) == x.nbytes
