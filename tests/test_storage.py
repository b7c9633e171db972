"""Larger than memory: what is in the file is what the initializer draws, whole or resumed, in bounded memory."""

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from conftest import namespace, same

import arrayinit as ai
from arrayinit.laws import Normal
from arrayinit.storage import Tensor, fill_, save_safetensors
from arrayinit.storage.parts import parts
from arrayinit.storage.shapes import shapes_of

NORMAL = ai.spec("normal", std=0.02)


@pytest.mark.parametrize("shape", [(), (7,), (5, 7), (3, 5, 7), (1, 1000), (1000, 1), (4, 0, 3)])
@pytest.mark.parametrize("limit", [1, 4, 40, 333, 10**9])
@pytest.mark.parametrize("chunked", [False, True])
def test_parts_cover_each_element_once(shape, limit, chunked):
    chunks = tuple(min(2, max(n, 1)) for n in shape) if chunked else None
    seen = np.zeros(shape, int)
    for where in parts(Normal(0.0, 1.0), shape, 4, limit, chunks):
        seen[where] += 1
        size = seen[where].size
        assert size * 4 <= max(limit, 4 * int(np.prod(chunks or 1)))
        if chunked:
            assert all(
                s.start % c == 0 and (s.stop % c == 0 or s.stop == n)
                for s, c, n in zip(where, chunks, shape, strict=True)
            )
    assert (seen == 1).all()


def test_parts_are_not_listed():
    tracemalloc.start()
    try:
        every = parts(Normal(0.0, 1.0), (10**9, 300), 4, 1200)
        assert (len(every), every[10**9 - 1]) == (10**9, np.s_[10**9 - 1 : 10**9, 0:300])
        assert tracemalloc.get_traced_memory()[1] < 1 << 14
    finally:
        tracemalloc.stop()
    with pytest.raises(IndexError):
        every[10**9]


def test_parts_lie_one_after_another():
    flat = np.arange(3 * 5 * 7).reshape(3, 5, 7)
    order = np.concatenate([flat[where].ravel() for where in parts(Normal(0.0, 1.0), flat.shape, 4, 100)])
    assert order.tolist() == [*range(105)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64", "bfloat16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_map(tmp_path, dtype, order):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = np.memmap(tmp_path / "w", dtype=dtype, mode="w+", shape=(31, 50), order=order)
    assert fill_(x, NORMAL, seed=3, name="w", part=1000) is x
    del x
    held = np.memmap(tmp_path / "w", dtype=dtype, mode="r", shape=(31, 50), order=order)
    assert same(held, NORMAL((31, 50), seed=3, name="w", dtype=np.dtype(dtype)))


def test_npy_file_and_view_of_it(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "w.npy", mode="w+", dtype="float32", shape=(40, 60))
    fill_(x[10:30], "xavier_uniform", seed=1, part=500)
    held = np.load(tmp_path / "w.npy")
    assert same(held[10:30], ai.xavier_uniform((20, 60), seed=1))
    assert (held[:10] == 0).all()
    assert (held[30:] == 0).all()


@pytest.mark.parametrize("name", ["sparse", "orthogonal", "kaiming_uniform", "eye", "ones", "trunc_normal", "packed"])
def test_every_kind_of_law(tmp_path, name):
    given = {"sparse": {"sparsity": 0.5}, "packed": {"initializer": ai.spec("orthogonal"), "blocks": 3}}
    spec = ai.spec(name, **given.get(name, {}))
    x = np.memmap(tmp_path / "w", dtype="float32", mode="w+", shape=(30, 20))
    fill_(x, spec, seed=5, part=256)
    assert same(np.asarray(x), spec((30, 20), seed=5))


def test_copy_on_write_keeps_what_was_drawn(tmp_path):
    (tmp_path / "w").write_bytes(bytes(4000))
    x = np.memmap(tmp_path / "w", dtype="float32", mode="c", shape=(10, 100))
    fill_(x, NORMAL, seed=0, part=400)
    assert same(np.asarray(x), NORMAL((10, 100), seed=0))
    assert (tmp_path / "w").read_bytes() == bytes(4000)


def test_torch_tensor_by_parts():
    torch = namespace("torch")
    x = torch.empty(30, 20, dtype=torch.bfloat16)
    fill_(x, NORMAL, seed=0, part=100)
    assert same(x, NORMAL((30, 20), seed=0, xp="torch", dtype="bfloat16"))


@pytest.mark.parametrize(("chunks", "shards"), [((7, 11), None), ((40, 60), None), ((4, 5), (16, 20)), ((1, 60), None)])
def test_zarr(tmp_path, chunks, shards):
    zarr = namespace("zarr")
    z = zarr.create_array(tmp_path / "w.zarr", shape=(40, 60), chunks=chunks, shards=shards, dtype="float32")
    assert fill_(z, NORMAL, seed=3, name="w", part=2000) is z
    assert same(zarr.open_array(tmp_path / "w.zarr", mode="r")[:], NORMAL((40, 60), seed=3, name="w"))


def test_zarr_writes_each_chunk_once(tmp_path):
    zarr = namespace("zarr")

    keys = []

    class Counting(zarr.storage.MemoryStore):
        async def set(self, key, value, byte_range=None):
            keys.append(key)
            await super().set(key, value)

    z = zarr.create_array(Counting(), shape=(40, 60), chunks=(7, 11), dtype="float32")
    fill_(z, NORMAL, seed=3, part=1000)
    drawn = [key for key in keys if key.startswith("c/")]
    assert len(drawn) == len(set(drawn)) == 6 * 6


def test_dask_writes_zarr_in_parallel(tmp_path):
    zarr, _ = namespace("zarr"), namespace("dask")
    lazy = ai.normal((400, 300), std=0.02, seed=3, name="w", xp="dask", chunks=(64, 100))
    z = zarr.create_array(tmp_path / "w.zarr", shape=(400, 300), chunks=(64, 100), dtype="float32")
    lazy.store(z, lock=False)
    assert same(z[:], NORMAL((400, 300), seed=3, name="w"))
    lazy.to_zarr(str(tmp_path / "v.zarr"))
    assert same(zarr.open_array(tmp_path / "v.zarr")[:], NORMAL((400, 300), seed=3, name="w"))


class Failing:
    """An array that fails at one of its writes, and counts them."""

    def __init__(self, x, after):
        self.x, self.after, self.writes = x, after, 0
        self.shape, self.dtype = x.shape, x.dtype

    def __getitem__(self, where):
        return self.x[where]

    def __setitem__(self, where, values):
        if self.writes == self.after:
            raise KeyboardInterrupt
        self.writes += 1
        self.x[where] = values


def interrupted(tmp_path, **changed):
    """An array of ten parts of which six are drawn, and the journal that says so."""
    x = Failing(np.zeros((20, 50), "float32"), 6)
    with pytest.raises(KeyboardInterrupt):
        fill_(x, NORMAL, **{"seed": 3, "journal": tmp_path / "journal", "part": 400} | changed)
    assert json.loads((tmp_path / "journal").read_text())["done"] == 6
    return x


def test_an_interrupted_draw_goes_on(tmp_path):
    x = interrupted(tmp_path)
    x.after, x.writes = -1, 0
    fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
    assert x.writes == 4
    assert same(x.x, NORMAL((20, 50), seed=3))
    assert not (tmp_path / "journal").exists()


def test_an_array_that_was_made_anew_is_drawn_from_the_start(tmp_path):
    x = interrupted(tmp_path)
    x.x[:] = 0
    x.after, x.writes = -1, 0
    fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
    assert x.writes == 10
    assert same(x.x, NORMAL((20, 50), seed=3))


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"seed": 4}, "key"), ({"name": "v"}, "key"), ({"part": 300}, "parts"), ({"initializer": "uniform"}, "initial")],
)
def test_a_journal_of_another_draw_is_refused(tmp_path, changed, named):
    x = interrupted(tmp_path)
    before = x.x.copy()
    given = {"initializer": NORMAL, "seed": 3, "journal": tmp_path / "journal", "part": 400} | changed
    with pytest.raises(ValueError, match=f"`journal` must be of the draw that goes on.*{named}"):
        fill_(x, **given)
    assert (x.x == before).all()
    (tmp_path / "journal").write_text("not a journal")
    with pytest.raises(ValueError, match="`journal` must be a new file or one that an interrupted"):
        fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)


FILL = """
import sys, numpy as np, arrayinit as ai
from arrayinit.storage import fill_
x = np.memmap(sys.argv[1], dtype="float32", mode="r+", shape=(400, 5000))
fill_(x, ai.spec("normal", std=0.02), seed=3, journal=sys.argv[2], part=20000)
"""


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path):
    shape = (400, 5000)
    np.memmap(tmp_path / "w", dtype="float32", mode="w+", shape=shape)
    journal = tmp_path / "journal"
    process = subprocess.Popen([sys.executable, "-c", FILL, tmp_path / "w", journal])
    while process.poll() is None and not (journal.exists() and json.loads(journal.read_text())["done"] > 20):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = json.loads(journal.read_text())["done"]
    assert 20 < done < 400
    subprocess.run([sys.executable, "-c", FILL, tmp_path / "w", journal], check=True, timeout=120)
    assert same(np.asarray(np.memmap(tmp_path / "w", dtype="float32", mode="r", shape=shape)), NORMAL(shape, seed=3))
    assert not journal.exists()


PEAK = """
import resource, sys, numpy as np, arrayinit as ai
from arrayinit.storage import Tensor, fill_, save_safetensors
n = ai.spec("normal")
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
n((1 << 20,), seed=0)
x = np.memmap(sys.argv[1], dtype="float32", mode="w+", shape=(64, 1 << 20))
before = peak()
fill_(x, n, seed=0, part=1 << 23)
filled = peak()
save_safetensors(sys.argv[1] + ".safetensors", {"w": Tensor(n, (64, 1 << 20))}, seed=0, part=1 << 23)
print(filled - before, peak() - filled)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_memory_is_bounded(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "w"], capture_output=True, text=True, check=True, timeout=120
    )
    filled, saved = map(int, done.stdout.split())
    assert filled < 48  # MiB, of a tensor of 256 that is drawn 8 at a time; measured 16
    assert saved < 48


TENSORS = {
    "norm.bias": Tensor(ai.spec("zeros"), (33,)),
    "half": Tensor(NORMAL, (9, 11), "bfloat16"),
    "fc.weight": Tensor(ai.spec("xavier_uniform"), (128, 63)),
    "wide": Tensor(NORMAL, (40, 7), "float64", name="other"),
    "scalar": Tensor(ai.spec("ones"), ()),
    "empty": Tensor(NORMAL, (0, 3)),
    "steps": Tensor(ai.spec("constant", val=7), (3,), "int16"),
    "block": Tensor(NORMAL, (5, 6), "float16", name=("fc", 1)),
    "q": Tensor(ai.spec("orthogonal"), (30, 20)),
}


def expected(name, seed=5):
    t = TENSORS[name]
    return t.initializer(
        t.shape, seed=seed, name=name if t.name is None else t.name, dtype=t.dtype,
        xp="numpy" if t.initializer.name == "orthogonal" else "torch",  # libraries differ in its last bits
    )  # fmt: skip


@pytest.mark.parametrize("part", [1, 1000, 1 << 26])
def test_safetensors(tmp_path, part):
    loaded = namespace("safetensors.torch")
    file = tmp_path / "m.safetensors"
    save_safetensors(file, TENSORS, seed=5, part=part)
    held = loaded.load_file(file)
    assert set(held) == set(TENSORS)
    for name, x in held.items():
        assert str(x.dtype).removeprefix("torch.") == TENSORS[name].dtype
        assert same(x, expected(name)), name
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    with namespace("safetensors").safe_open(file, "numpy") as opened:
        metadata = opened.metadata()
    made = json.loads(metadata["arrayinit"])
    assert metadata["format"] == "pt"
    assert (made["key"], made["stream"]) == (5, ai.STREAM_VERSION)
    assert ai.Spec.from_dict(made["initializers"]["fc.weight"]) == TENSORS["fc.weight"].initializer
    assert made["names"] == {"wide": "other", "block": ["fc", 1]}


@pytest.mark.parametrize("cut", [3, 100, 4000, 20_000, 30_000])
def test_a_safetensors_file_goes_on_where_it_was_cut_off(tmp_path, cut):
    whole, file = tmp_path / "whole", tmp_path / "m.safetensors"
    save_safetensors(whole, TENSORS, seed=5, part=512)
    data = whole.read_bytes()
    unfinished = tmp_path / "m.safetensors.unfinished"
    unfinished.write_bytes(data[:cut])
    save_safetensors(file, TENSORS, seed=5, part=512)
    assert file.read_bytes() == data
    assert not unfinished.exists()


def test_finished_parts_are_not_drawn_again(tmp_path):
    whole, file = tmp_path / "whole", tmp_path / "m.safetensors"
    save_safetensors(whole, TENSORS, seed=5, part=512)
    data = bytearray(whole.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start : start + 512] = bytes(512)  # a mark that a redraw would overwrite
    (tmp_path / "m.safetensors.unfinished").write_bytes(data[:-700])
    save_safetensors(file, TENSORS, seed=5, part=512)
    assert file.read_bytes() == bytes(data)


SAVE = """
import sys, arrayinit as ai
from arrayinit.storage import Tensor, save_safetensors
n = ai.spec("normal", std=0.02)
save_safetensors(sys.argv[1], {f"w{k}": Tensor(n, (50, 5000)) for k in range(8)}, seed=3, part=20000)
"""


@pytest.mark.slow
def test_a_killed_writer_goes_on(tmp_path):
    file = tmp_path / "m.safetensors"
    unfinished = tmp_path / "m.safetensors.unfinished"
    process = subprocess.Popen([sys.executable, "-c", SAVE, file])
    while process.poll() is None and not (unfinished.exists() and unfinished.stat().st_size > 500_000):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not file.exists()
    assert 500_000 < unfinished.stat().st_size < 8_000_000
    subprocess.run([sys.executable, "-c", SAVE, file], check=True, timeout=120)
    held = namespace("safetensors.numpy").load_file(file)
    for k in range(8):
        assert same(held[f"w{k}"], NORMAL((50, 5000), seed=3, name=f"w{k}"))


def test_files_are_not_replaced_unless_asked(tmp_path):
    file, unfinished = tmp_path / "m.safetensors", tmp_path / "m.safetensors.unfinished"
    file.write_text("mine")
    with pytest.raises(FileExistsError, match="`path` must be a new file, or `force` given"):
        save_safetensors(file, TENSORS, seed=5)
    assert file.read_text() == "mine"
    file.unlink()
    unfinished.write_bytes(bytes(100_000))
    with pytest.raises(FileExistsError, match="must have no unfinished file of another draw"):
        save_safetensors(file, TENSORS, seed=5)
    assert unfinished.read_bytes() == bytes(100_000)
    save_safetensors(file, TENSORS, seed=5, force=True)
    before = file.read_bytes()
    save_safetensors(file, TENSORS, seed=6, force=True)
    assert file.read_bytes() != before


@pytest.mark.parametrize(
    ("tensor", "error", "match"),
    [
        (Tensor(NORMAL, (3, 4), "complex128"), TypeError, "`dtype` of 'w' must be one of"),
        (Tensor(NORMAL, (3, 4), "int32"), TypeError, "`dtype` must be one of .* for random values"),
        (Tensor(ai.spec("xavier_normal"), (3,)), ValueError, "at least 2 dimensions"),
        (Tensor(NORMAL, (3, -4)), ValueError, "shape of w.* must have no negative size"),
        (Tensor(ai.spec("normal", std=1e6), (3,), "float16"), ValueError, "float16"),
    ],
)
def test_wrong_tensors_leave_no_file(tmp_path, tensor, error, match):
    with pytest.raises(error, match=match):
        save_safetensors(tmp_path / "m", {"good": Tensor(NORMAL, (3,)), "w": tensor}, seed=0)
    with pytest.raises(TypeError, match="`seed` must be given"):
        save_safetensors(tmp_path / "m", TENSORS, seed=None)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("x", "given", "error", "match"),
    [
        (np.zeros((3, 4), "float32"), {"part": 0}, ValueError, "`part` must be a positive number of bytes"),
        (np.zeros((3, 4), "float32"), {"seed": None, "journal": "j"}, TypeError, "`seed` must be given with a journal"),
        (np.zeros((3, 4), "int32"), {}, TypeError, "`dtype` must be one of"),
        (np.zeros(3, "float32"), {"initializer": "kaiming_normal"}, ValueError, "at least 2 dimensions"),
        (np.zeros(3, "float32"), {"initializer": "kaimig_normal"}, ValueError, "`name` must be an initializer"),
        ([1.0, 2.0], {}, TypeError, "`x` must be an array, or have a shape"),
        (np.broadcast_to(np.float32(0), (3, 4)), {}, ValueError, "`x` must be writable"),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, x, given, error, match):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=match):
        fill_(x, **{"initializer": NORMAL, "seed": 0} | given)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("done", [-1, 11, "6", 6.0, True, None])
def test_a_journal_that_says_nonsense_is_refused(tmp_path, done):
    x = interrupted(tmp_path)
    kept = json.loads((tmp_path / "journal").read_text())
    (tmp_path / "journal").write_text(json.dumps(kept | {"done": done}))
    with pytest.raises(ValueError, match="`journal` must be a new file or one that an interrupted"):
        fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)


def test_a_journal_that_cannot_be_written_is_told_before_anything_is_drawn(tmp_path):
    x = np.zeros((20, 50), "float32")
    with pytest.raises(FileNotFoundError):
        fill_(x, NORMAL, seed=3, journal=tmp_path / "lost" / "journal", part=400)
    assert (x == 0).all()


def test_a_journal_of_a_finished_draw_draws_nothing_more(tmp_path):
    x = interrupted(tmp_path)
    journal = (tmp_path / "journal").read_text()
    x.after, x.writes = -1, 0
    fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
    (tmp_path / "journal").write_text(json.dumps(json.loads(journal) | {"done": 10}))
    x.writes = 0
    fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
    assert x.writes == 0
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("library", ["dask", "jax"])
def test_arrays_that_are_never_written_to_are_refused(library):
    namespace(library)
    with pytest.raises(TypeError, match="`x` must be"):
        fill_(ai.zeros((3, 4), xp=library), NORMAL, seed=0)


def test_hdf5(tmp_path):
    h5py = namespace("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name, chunks in (("chunked", (7, 11)), ("whole", None)):
            x = file.create_dataset(name, (40, 60), "float32", chunks=chunks)
            assert fill_(x, NORMAL, seed=3, name="w", part=2000) is x
            assert same(x[:], NORMAL((40, 60), seed=3, name="w"))
    with h5py.File(tmp_path / "w.h5", "r") as file, pytest.raises(ValueError, match="`x` must be writable"):
        fill_(file["whole"], NORMAL, seed=4, journal=tmp_path / "journal")
    assert not (tmp_path / "journal").exists()


def test_an_unfinished_file_that_is_too_long_is_cut(tmp_path):
    whole, file = tmp_path / "whole", tmp_path / "m.safetensors"
    save_safetensors(whole, TENSORS, seed=5)
    (tmp_path / "m.safetensors.unfinished").write_bytes(whole.read_bytes() + b"more")
    save_safetensors(file, TENSORS, seed=5)
    assert file.read_bytes() == whole.read_bytes()


def test_every_byte_is_one_where_a_file_may_be_cut_off(tmp_path):
    tensors = {
        "a": Tensor(NORMAL, (3,), "bfloat16"),
        "b": Tensor(NORMAL, (5, 2)),
        "c": Tensor(ai.spec("ones"), (), "int8"),
    }
    file, unfinished = tmp_path / "m", tmp_path / "m.unfinished"
    save_safetensors(file, tensors, seed=5, part=16)
    data = file.read_bytes()
    for cut in range(len(data) + 1):
        file.unlink()
        unfinished.write_bytes(data[:cut])
        save_safetensors(file, tensors, seed=5, part=16)
        assert file.read_bytes() == data, cut


def test_a_full_disk_leaves_what_can_go_on(tmp_path):
    resource = pytest.importorskip("resource")
    file = tmp_path / "m"
    tensors = {"w": Tensor(NORMAL, (100, 1000))}
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(OSError, match="File too large"):
            save_safetensors(file, tensors, seed=5, part=9000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not file.exists()
    assert 90_000 < (tmp_path / "m.unfinished").stat().st_size <= 100_000
    save_safetensors(file, tensors, seed=5, part=9000)
    assert same(namespace("safetensors.numpy").load_file(file)["w"], NORMAL((100, 1000), seed=5, name="w"))


def test_two_writers_do_not_mix(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    unfinished = tmp_path / "m.unfinished"
    save_safetensors(tmp_path / "whole", TENSORS, seed=5)
    data = (tmp_path / "whole").read_bytes()[:-100]
    unfinished.write_bytes(data)
    with open(unfinished, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FileExistsError, match="`path` must not be written by another process"):
            save_safetensors(tmp_path / "m", TENSORS, seed=6, force=True)
        assert unfinished.read_bytes() == data
    save_safetensors(tmp_path / "m", TENSORS, seed=5)
    assert (tmp_path / "m").read_bytes()[:-100] == data


def test_many_small_tensors_are_not_synced_one_by_one(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", calls.append)
    save_safetensors(tmp_path / "m", {f"w{k}": Tensor(NORMAL, (25, 10)) for k in range(100)}, seed=5, part=10_000)
    assert len(calls) == 11  # each ten of a thousand bytes, and the whole


@pytest.mark.parametrize(
    ("tensors", "given", "error", "match"),
    [
        ({"w": Tensor("zeros", (3,))}, {}, TypeError, "initializer is an arrayinit.Spec.*'zeros'.*as 'w'"),
        ({"w": (NORMAL, (3,))}, {}, TypeError, "`tensors` must hold Tensors"),
        ({"w": NORMAL}, {}, TypeError, "`tensors` must hold Tensors"),
        ([("w", Tensor(NORMAL, (3,)))], {}, TypeError, "`tensors` must be a mapping"),
        ({"w": Tensor(NORMAL, (3,), name=1.5)}, {}, TypeError, "`name` must be a string or an integer; got 1.5"),
        ({"w": Tensor(NORMAL, (3,))}, {"part": 0}, ValueError, "`part` must be a positive number of bytes"),
        ({"w": Tensor(NORMAL, (3,))}, {"metadata": {"epoch": 3}}, TypeError, "`metadata` must be a mapping of strings"),
        ({"w": Tensor(NORMAL, (3,))}, {"metadata": ["a"]}, TypeError, "`metadata` must be a mapping of strings"),
    ],
)
def test_wrong_arguments_leave_no_file(tmp_path, tensors, given, error, match):
    with pytest.raises(error, match=match):
        save_safetensors(tmp_path / "m", tensors, seed=0, **given)
    assert os.listdir(tmp_path) == []


def test_a_directory_is_no_file(tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(IsADirectoryError, match="`path` must be a file"):
        save_safetensors(tmp_path / "m", TENSORS, seed=0, force=True)
    assert os.listdir(tmp_path) == ["m"]


def test_names_and_metadata_in_any_script(tmp_path):
    loaded = namespace("safetensors.torch")
    names = ('wé中😀.\n"', "", "a b")
    save_safetensors(tmp_path / "m", {name: Tensor(NORMAL, (3,)) for name in names}, seed=5, metadata={"é": "中"})
    held = loaded.load_file(tmp_path / "m")
    assert all(same(held[name], NORMAL((3,), seed=5, name=name)) for name in names)
    with namespace("safetensors").safe_open(tmp_path / "m", "pt") as opened:
        assert opened.metadata()["é"] == "中"


def header(tmp_path, entry, body=bytes(16)):
    """A file with a header of one tensor."""
    text = json.dumps({"w": entry}).encode()
    (tmp_path / "m").write_bytes(len(text).to_bytes(8, "little") + text + body)
    return tmp_path / "m"


GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {"data_offsets": [0, 16]},
        GOOD | {"shape": [-2, -2]},
        GOOD | {"shape": [1.5]},
        GOOD | {"shape": "ab"},
        GOOD | {"shape": [2, 3]},
        GOOD | {"dtype": ["F32"]},
        GOOD | {"data_offsets": []},
        GOOD | {"data_offsets": [-16, 0]},
        GOOD | {"data_offsets": [16, 0]},
    ],
)
def test_headers_that_are_none(tmp_path, entry):
    assert shapes_of(header(tmp_path, GOOD)) == {"w": ((2, 2), "float32")}
    with pytest.raises(ValueError, match=r"must be a safetensors file; its header has .* for 'w'"):
        shapes_of(header(tmp_path, entry))


def test_read_only_zarr_is_refused(tmp_path):
    zarr = namespace("zarr")
    zarr.create_array(tmp_path / "w.zarr", shape=(4,), dtype="float32")
    with pytest.raises(ValueError, match="`x` must be writable"):
        fill_(zarr.open_array(tmp_path / "w.zarr", mode="r"), NORMAL, seed=0)


def test_progress_is_shown_when_asked_for(capfd):
    namespace("rich")
    fill_(np.zeros((30, 20), "float32"), NORMAL, seed=0, name="my weight", progress=True, part=400)
    shown = capfd.readouterr()
    assert "my weight" in shown.err
    assert "2.3/2.3 KiB" in shown.err
    assert shown.out == ""
    fill_(np.zeros((30, 20), "float32"), NORMAL, seed=0, name="my weight", progress=None, part=400)
    assert capfd.readouterr().err == ""  # no terminal
