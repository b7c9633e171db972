"""Larger than memory: what is in the file is what the initializer draws, whole or resumed, in bounded memory."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from conftest import namespace, same

import arrayinit as ai
from arrayinit.laws import Normal
from arrayinit.storage import Tensor, documents, fill_, safetensors, save_safetensors
from arrayinit.storage.shapes import header_of, shapes_of
from arrayinit.storage.tiling import tiling

NORMAL = ai.spec("normal", std=0.02)


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize("shape", [(), (7,), (5, 7), (3, 5, 7), (1, 1000), (1000, 1), (4, 0, 3)])
@pytest.mark.parametrize("limit", [1, 4, 40, 333, 10**9])
@pytest.mark.parametrize("chunked", [False, True])
def test_parts_cover_each_element_once(shape, limit, chunked):
    chunks = tuple(min(2, max(n, 1)) for n in shape) if chunked else None
    seen = np.zeros(shape, int)
    for where in tiling(Normal(0.0, 1.0), shape, 4, limit, chunks):
        seen[where] += 1
        size = seen[where].size
        assert size * 4 <= max(limit, 4 * int(np.prod(chunks or 1)))
        if chunked:
            assert all(
                s.start % c == 0 and (s.stop % c == 0 or s.stop == n)
                for s, c, n in zip(where, chunks, shape, strict=True)
            )
    assert (seen == 1).all()


def test_parts_of_a_tensor_larger_than_any_disk_take_no_memory():
    cut = tiling(Normal(0.0, 1.0), (1 << 60, 2), 4)
    assert len(cut) == 1 << 37
    assert next(iter(cut)) == (slice(0, 1 << 23), slice(0, 2))


def test_parts_lie_one_after_another():
    flat = np.arange(3 * 5 * 7).reshape(3, 5, 7)
    order = np.concatenate([flat[where].ravel() for where in tiling(Normal(0.0, 1.0), flat.shape, 4, 100)])
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
    """An array that fails at one of its writes, and counts them and its reads."""

    def __init__(self, x, after):
        self.x, self.after, self.writes, self.reads = x, after, 0, 0
        self.shape, self.dtype = x.shape, x.dtype

    def __getitem__(self, where):
        self.reads += 1
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
    assert (x.writes, x.reads) == (4, 6)
    assert same(x.x, NORMAL((20, 50), seed=3))
    assert not (tmp_path / "journal").exists()


def test_an_array_that_was_made_anew_is_drawn_from_the_start(tmp_path):
    x = interrupted(tmp_path)
    x.x[:] = 0
    x.after, x.writes = -1, 0
    fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
    assert x.writes == 10
    assert same(x.x, NORMAL((20, 50), seed=3))


def damaged(x, first, kind):
    """Damage one of ten parts of an array, or all from it on, as a loss of power may leave them on the disk."""
    flat = x.reshape(-1).view(np.uint8)
    size = flat.size // 10
    if kind == "zeros":
        flat[first * size : (first + 1) * size] = 0
    elif kind == "zeros from there on":
        flat[first * size :] = 0
    elif kind == "one bit":
        flat[first * size + 7] ^= 64
    elif kind == "what was there before":
        flat[first * size : (first + 1) * size] = np.resize(np.frombuffer(b"old data", np.uint8), size)
    elif kind == "the part before":
        flat[first * size : (first + 1) * size] = flat[(first - 1) * size :][:size].copy()


DAMAGE = ["zeros", "zeros from there on", "one bit", "what was there before", "the part before"]


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_journal_that_is_ahead_of_the_data_is_not_believed(tmp_path, kind, mapped):
    interrupted(tmp_path)
    whole = NORMAL((20, 50), seed=3)
    kept = json.loads((tmp_path / "journal").read_text())
    for first in range(1, 10):
        (tmp_path / "journal").write_text(json.dumps(kept | {"done": 10}))
        host = whole.copy()
        damaged(host, first, kind)
        if mapped:
            x = np.memmap(tmp_path / "w", "float32", "w+", shape=(20, 50))
            x[:] = host
            fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
            assert same(x, whole), first
        else:
            x = Failing(host, -1)
            fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
            assert same(host, whole), first
            assert x.writes == (10 - first if kind == "zeros from there on" else 1)


def test_zeros_of_the_other_sign_are_not_what_is_drawn(tmp_path):
    x = np.full((4, 5), -0.0, "float32")
    journal = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        fill_(Failing(x, 1), "zeros", seed=0, journal=journal, part=20)
    x[:] = -0.0
    fill_(x, "zeros", seed=0, journal=journal, part=20)
    assert not np.signbit(x).any()


@pytest.mark.parametrize("dtype", [">f4", "complex64", "complex128", "bfloat16", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_there_is_compared_in_any_dtype_and_order(tmp_path, monkeypatch, dtype, order):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = np.memmap(tmp_path / "w", dtype, "w+", shape=(20, 50), order=order)
    journal = tmp_path / "journal"
    given = {"seed": 3, "journal": journal, "part": x.nbytes // 10}
    real = os.unlink
    monkeypatch.setattr(
        os, "unlink", lambda path: None
    )  # the journal of a run that ended as it would have been removed
    fill_(x, NORMAL, **given)
    assert json.loads(journal.read_text())["done"] == 10
    monkeypatch.setattr(os, "unlink", real)
    drawn = []
    fill = ai.Spec.fill_
    monkeypatch.setattr(ai.Spec, "fill_", lambda *given, **more: drawn.append(more["index"]) or fill(*given, **more))
    x[13 if order == "C" else 0, 0 if order == "C" else 33] = 1
    fill_(x, NORMAL, **given)
    assert len(drawn) == 1
    assert same(
        np.asarray(x).astype(np.dtype(dtype).newbyteorder("=")), NORMAL((20, 50), seed=3, dtype=np.dtype(dtype).name)
    )


def test_chunks_that_cannot_be_read_are_drawn_again(tmp_path):
    zarr = namespace("zarr")
    z = zarr.create_array(tmp_path / "w.zarr", shape=(40, 60), chunks=(10, 60), dtype="float32")
    fill_(z, NORMAL, seed=3)
    kept = {"initializer": NORMAL.as_dict(), "key": 3, "shape": [40, 60], "dtype": "float32", "parts": 4}
    for damage in (b"", b"\0" * 90, b"garbage"):
        (tmp_path / "journal").write_text(json.dumps({"draw": kept, "done": 4}))
        (tmp_path / "w.zarr" / "c" / "2" / "0").write_bytes(damage)
        fill_(z, NORMAL, seed=3, journal=tmp_path / "journal", part=2400)
        assert same(z[:], NORMAL((40, 60), seed=3)), damage


def json_of(data):
    """The JSON value of bytes, or None."""
    try:
        return json.loads(data)
    except ValueError:
        return None


@pytest.mark.parametrize("rest", [b"", bytes(50)], ids=["cut", "zeros"])
def test_a_journal_that_was_written_in_part(tmp_path, rest):
    x = interrupted(tmp_path)
    journal, x.after = tmp_path / "journal", -1
    text, before = journal.read_bytes(), x.x.copy()
    for cut in range(len(text)):
        journal.write_bytes(text[:cut] + rest)
        x.x[:] = before
        if (cut == 0 and not rest) or json_of(text[:cut] + rest):
            fill_(x, NORMAL, seed=3, journal=journal, part=400)
            assert same(x.x, NORMAL((20, 50), seed=3)), cut
            assert not journal.exists()
        else:
            with pytest.raises(ValueError, match="remove it to start again"):
                fill_(x, NORMAL, seed=3, journal=journal, part=400)
            assert (x.x == before).all()
            assert journal.read_bytes() == text[:cut] + rest
    assert cut > 100


def test_a_journal_is_for_one_process_at_a_time(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    x = interrupted(tmp_path)
    x.after = -1
    before, text = x.x.copy(), (tmp_path / "journal").read_text()
    with open(tmp_path / "journal") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FileExistsError, match="`journal` must not be written by another process"):
            fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
    assert (x.x == before).all()
    assert (tmp_path / "journal").read_text() == text


def test_a_journal_is_not_what_it_is_a_journal_of(tmp_path):
    x = np.memmap(tmp_path / "w", "float32", "w+", shape=(20, 50))
    with pytest.raises(ValueError, match="`journal` must be a new file or one that"):
        fill_(x, NORMAL, seed=3, journal=tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == bytes(4000)


def test_a_memory_map_that_the_disk_has_no_room_for_is_refused(tmp_path):
    disk = os.statvfs(tmp_path)
    size = 2 * disk.f_bavail * disk.f_frsize
    x = np.memmap(tmp_path / "w", "float32", "w+", shape=(size // 4,))  # of holes
    with pytest.raises(OSError, match=r"`x` must have .* bytes free on its disk; got .*: '.*/w'"):
        fill_(x, NORMAL, seed=3, journal=tmp_path / "journal")
    assert x[0] == 0
    assert not (tmp_path / "journal").exists()
    assert same(fill_(x[:100], NORMAL, seed=3), NORMAL((100,), seed=3))


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"seed": 4}, "key"), ({"name": "v"}, "key"), ({"part": 300}, "parts"), ({"initializer": "uniform"}, "initial")],
)
def test_a_journal_of_another_draw_is_refused(tmp_path, changed, named):
    x = interrupted(tmp_path)
    before = x.x.copy()
    given = {"initializer": NORMAL, "seed": 3, "journal": tmp_path / "journal", "part": 400} | changed
    with pytest.raises(ValueError, match=f"`journal` must belong to this draw.*{named}"):
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


def done_of(journal):
    """How many parts a journal counts while another process writes it."""
    try:
        return json.loads(journal.read_text())["done"]
    except (FileNotFoundError, ValueError):
        return 0


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path):
    shape = (400, 5000)
    np.memmap(tmp_path / "w", dtype="float32", mode="w+", shape=shape)
    journal = tmp_path / "journal"
    process = subprocess.Popen([sys.executable, "-c", FILL, tmp_path / "w", journal])
    while process.poll() is None and done_of(journal) <= 20:
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


@pytest.fixture
def written(monkeypatch):
    """(position, length) of all that is written to safetensors files."""
    found = []
    write = safetensors.write
    monkeypatch.setattr(
        safetensors, "write", lambda file, at, data: (found.append((at, len(data))), write(file, at, data))
    )
    return found


def test_finished_parts_are_not_written_again(tmp_path, written):
    save_safetensors(tmp_path / "whole", TENSORS, seed=5, part=512)
    data = (tmp_path / "whole").read_bytes()
    header, *places = written
    assert places[0][0] == header[1]
    assert all(at + length == start for (at, length), (start, _) in pairwise(places))
    cut = len(data) - 700
    (tmp_path / "m.unfinished").write_bytes(data[:cut])
    written.clear()
    save_safetensors(tmp_path / "m", TENSORS, seed=5, part=512)
    assert (tmp_path / "m").read_bytes() == data
    assert written == [(at, length) for at, length in places if at + length > cut]


FEW = {name: TENSORS[name] for name in ("half", "wide", "empty", "steps", "block")}


@pytest.mark.parametrize("kind", ["zeros", "zeros from there on", "one bit", "old data", "zeros behind"])
def test_what_a_loss_of_power_leaves_is_drawn_again(tmp_path, written, kind):
    save_safetensors(tmp_path / "whole", FEW, seed=5, part=256)
    whole = (tmp_path / "whole").read_bytes()
    _, *places = written
    assert len(places) > 10
    for at, length in places:
        data = bytearray(whole)
        if kind == "zeros":
            data[at : at + length] = bytes(length)
        elif kind == "zeros from there on":
            data[at:] = bytes(len(data) - at)
        elif kind == "one bit":
            data[at + length // 2] ^= 1
        elif kind == "old data":
            data[at : at + length] = whole[-length:]
        else:  # cut off within, and extended beyond the end
            data[at + length // 2 :] = bytes(len(data))
        (tmp_path / "m.unfinished").write_bytes(data)
        save_safetensors(tmp_path / "m", FEW, seed=5, part=256)
        assert (tmp_path / "m").read_bytes() == whole, at
        (tmp_path / "m").unlink()


def test_a_header_that_a_loss_of_power_left_in_part(tmp_path):
    file, unfinished = tmp_path / "m", tmp_path / "m.unfinished"
    save_safetensors(tmp_path / "whole", FEW, seed=5)
    whole = (tmp_path / "whole").read_bytes()
    length = 8 + int.from_bytes(whole[:8], "little")
    for cut in range(0, length, 7):
        unfinished.write_bytes(whole[:cut] + bytes(length - cut))  # the header is on the disk before there is more
        save_safetensors(file, FEW, seed=5)
        assert file.read_bytes() == whole
        file.unlink()
        for other in (whole[:cut] + bytes(length - cut) + whole[length:], whole[:cut] + b"~" + whole[cut + 1 :]):
            unfinished.write_bytes(other)
            with pytest.raises(FileExistsError, match="`path` has an unfinished file of another draw beside it: "):
                save_safetensors(file, FEW, seed=5)
            assert unfinished.read_bytes() == other
    unfinished.write_bytes(b"mine")  # shorter than a header
    with pytest.raises(FileExistsError, match="`path` has an unfinished file of another draw beside it: "):
        save_safetensors(file, FEW, seed=5)
    assert unfinished.read_bytes() == b"mine"


def test_names_follow_what_they_name_to_the_disk(tmp_path, monkeypatch):
    events = []
    replace = os.replace

    def synced(descriptor):
        status = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(status.st_mode) else status.st_size)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("named"), replace(*names)))
    save_safetensors(tmp_path / "m", FEW, seed=5)
    data = (tmp_path / "m").read_bytes()
    assert events == [8 + int.from_bytes(data[:8], "little"), len(data), "named", "folder"]


def test_a_part_size_of_another_run_changes_nothing(tmp_path):
    save_safetensors(tmp_path / "whole", TENSORS, seed=5)
    data = (tmp_path / "whole").read_bytes()
    for part in (100, 999, 5000):
        (tmp_path / "m.unfinished").write_bytes(data[:20_000] + bytes(3000))
        save_safetensors(tmp_path / "m", TENSORS, seed=5, part=part, force=True)
        assert (tmp_path / "m").read_bytes() == data


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
    with pytest.raises(
        FileExistsError,
        match=r"`path` must be a new file; .* already exists. Pass force=True \(--force\) to replace it",
    ):
        save_safetensors(file, TENSORS, seed=5)
    assert file.read_text() == "mine"
    file.unlink()
    unfinished.write_bytes(bytes(100_000))
    with pytest.raises(FileExistsError, match="`path` has an unfinished file of another draw beside it: "):
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
        (Tensor(NORMAL, (3, 4), "int32"), TypeError, "or that of `x`, must be one of .* for random values"),
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
        (np.zeros((3, 4), "int32"), {}, TypeError, "or that of `x`, must be one of"),
        (np.zeros(3, "float32"), {"initializer": "kaiming_normal"}, ValueError, "at least 2 dimensions"),
        (
            np.zeros(3, "float32"),
            {"initializer": "kaimig_normal"},
            ValueError,
            "`initializer` must name an init",
        ),
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
    start = 8 + int.from_bytes(data[:8], "little")
    for cut in (*range(0, start, 9), *range(start, len(data) + 1)):
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
        with pytest.raises(OSError, match=r"File too large: '.*m\.unfinished'"):
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
    assert len(calls) == 13  # the header, each ten of a thousand bytes, the whole, and its name


@pytest.mark.parametrize(
    ("tensors", "given", "error", "match"),
    [
        ({"w": Tensor("zeros", (3,))}, {}, TypeError, "initializer is an arrayinit.Spec.*'zeros'.*as 'w'"),
        ({"w": (NORMAL, (3,))}, {}, TypeError, "`tensors` must hold Tensors"),
        ({"w": NORMAL}, {}, TypeError, "`tensors` must hold Tensors"),
        ([("w", Tensor(NORMAL, (3,)))], {}, TypeError, "`tensors` must be a mapping"),
        ({"w": Tensor(NORMAL, (3,), name=1.5)}, {}, TypeError, "`name` must be a string, an integer or a tuple"),
        ({"w": Tensor(NORMAL, (3,))}, {"part": 0}, ValueError, "`part` must be a positive number of bytes"),
        ({"w": Tensor(NORMAL, (3,))}, {"metadata": {"epoch": 3}}, TypeError, "`metadata` must be a mapping of strings"),
        ({"w": Tensor(NORMAL, (3,))}, {"metadata": ["a"]}, TypeError, "`metadata` must be a mapping of strings"),
        (
            {"w": Tensor(NORMAL, (3,))},
            {"metadata": {"a": "\ud800"}},
            ValueError,
            r"`metadata` must be .* UTF-8 .*'\\ud800'",
        ),
        ({"w": Tensor(NORMAL, (3,))}, {"metadata": {"\udfff": ""}}, ValueError, "`metadata` must be .* UTF-8"),
        ({"w": Tensor(NORMAL, (3,))}, {"metadata": {"arrayinit": ""}}, ValueError, "must not have 'arrayinit'"),
        ({"\udc80": Tensor(NORMAL, (3,), name="w")}, {}, ValueError, "names in `tensors` must be .* UTF-8"),
        ({"w": Tensor(NORMAL, (3,), name="\udc80")}, {}, ValueError, "`name` must be text that can be"),
        ({"w": Tensor(NORMAL, (1,) * 65)}, {}, TypeError, "`shape of w` must be .* at most 64 of them"),
        ({"w\x1b[2J": Tensor(NORMAL, (1,) * 65)}, {}, TypeError, r"`shape of w\\x1b\[2J` must"),
        ({f"w{k}": Tensor(NORMAL, (1 << 60,)) for k in range(2)}, {}, ValueError, "`tensors` must fit a file"),
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
    printed = capfd.readouterr()
    assert "my weight" in printed.err
    assert "2.3/2.3 KiB" in printed.err
    assert printed.out == ""
    fill_(np.zeros((30, 20), "float32"), NORMAL, seed=0, name="my weight", progress=None, part=400)
    assert capfd.readouterr().err == ""  # no terminal


def test_a_bar_shows_any_name(capfd):
    namespace("rich")
    fill_(np.zeros(3, "float32"), NORMAL, seed=0, name="[red]w[/blue]\x1b[2J\n", progress=True)
    assert r"[red]w[/blue]\x1b[2J\n" in capfd.readouterr().err


def place(path, kind):
    """Something at a path that is no file of its own; returns what must stay as it is."""
    victim = path.with_name("victim")
    victim.write_bytes(b"mine")
    if kind == "symbolic link":
        path.symlink_to(victim)
    elif kind == "symbolic link to nothing":
        victim = path.with_name("not there")
        path.symlink_to(victim)
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            here = os.getcwd()
            os.chdir(path.parent)  # the names of sockets are short
            opened.bind(path.name)
            os.chdir(here)
    elif kind == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except OSError as error:
            pytest.skip(f"a device can't be made here: {error}")
    else:
        path.mkdir()
    return victim


def state(folder):
    return {
        path.name: (stat.S_IFMT(path.lstat().st_mode), path.read_bytes() if path.name == "victim" else None)
        for path in folder.iterdir()
    }


KINDS = ["symbolic link", "symbolic link to nothing", "hard link", "FIFO", "socket", "device", "directory"]


@pytest.mark.skipif(sys.platform == "win32", reason="makes FIFOs and links")
@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize(
    ("kind", "at"),
    [(kind, at) for kind in KINDS for at in ("m", "m.unfinished", "journal") if (kind, at) != ("hard link", "m")],
)
def test_only_files_of_their_own_are_written(tmp_path, kind, at):
    place(tmp_path / at, kind)
    before = state(tmp_path)
    x = np.zeros(3, "float32")

    def write():
        if at == "journal":
            fill_(x, NORMAL, seed=0, journal=tmp_path / at)
        else:
            save_safetensors(tmp_path / "m", FEW, seed=5, force=True)

    with pytest.raises((FileExistsError, IsADirectoryError)) as refused:
        write()
    said = str(refused.value)
    assert said.startswith("`journal` must" if at == "journal" else "`path` must")
    assert {"hard link": "no other hard link", "symbolic link to nothing": "symbolic link"}.get(kind, kind) in said
    assert str(tmp_path / at) in said
    assert state(tmp_path) == before
    assert not x.any()


def test_a_new_file_takes_one_name_alone(tmp_path):
    place(tmp_path / "m", "hard link")
    save_safetensors(tmp_path / "m", FEW, seed=5, force=True)
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert set(shapes_of(tmp_path / "m")) == set(FEW)


@pytest.mark.skipif(sys.platform == "win32", reason="makes FIFOs and links")
@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "directory"])
def test_only_regular_files_are_read(tmp_path, kind):
    for name in ("m", "m.json"):
        place(tmp_path / name, kind)
        if (kind, name) == ("FIFO", "m.json"):  # one that nobody writes to
            said = "must be JSON; Expecting value"
        else:
            said = f"must be a regular file; got a .*{kind}"
        with pytest.raises(ValueError, match=said):
            shapes_of(tmp_path / name)


def test_a_link_is_read(tmp_path):
    save_safetensors(tmp_path / "m", FEW, seed=5)
    (tmp_path / "link").symlink_to("m")
    assert shapes_of(tmp_path / "link") == shapes_of(tmp_path / "m")


def test_a_link_is_not_replaced_where_a_new_file_is_meant(tmp_path):
    (tmp_path / "m").symlink_to("not there")  # which exists() says is not there
    with pytest.raises(FileExistsError, match="must not be a symbolic link"):
        save_safetensors(tmp_path / "m", FEW, seed=5)
    assert (tmp_path / "m").is_symlink()


@pytest.mark.parametrize(
    ("path", "error"),
    [(b"m", TypeError), (3, TypeError), (None, TypeError), ("", ValueError), ("m\0", ValueError), ("m/", ValueError)],
)
def test_paths_that_name_no_file(tmp_path, monkeypatch, path, error):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match="`path` must"):
        save_safetensors(path, FEW, seed=5)
    if path is not None:
        with pytest.raises(error, match="`journal` must"):
            fill_(np.zeros(3, "float32"), NORMAL, seed=0, journal=path)
    assert os.listdir(tmp_path) == []


def meanwhile(monkeypatch, happens):
    """Let something happen while the first part of a safetensors file is written."""
    write = safetensors.write

    def writing(file, at, data):
        if at:
            monkeypatch.setattr(safetensors, "write", write)
            happens()
        write(file, at, data)

    monkeypatch.setattr(safetensors, "write", writing)


def test_paths_lead_from_where_the_call_began(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    meanwhile(monkeypatch, lambda: os.chdir("other"))
    save_safetensors("m", FEW, seed=5)
    assert sorted(os.listdir(tmp_path)) == ["m", "other"]
    monkeypatch.chdir(tmp_path)

    class Leaving(Failing):
        def __setitem__(self, where, values):
            super().__setitem__(where, values)
            os.chdir(tmp_path / "other")

    x = Leaving(np.zeros((20, 50), "float32"), -1)
    fill_(x, NORMAL, seed=3, journal="journal", part=400)
    assert sorted(os.listdir(tmp_path)) == ["m", "other"]
    assert os.listdir(tmp_path / "other") == []


def test_a_file_that_is_replaced_while_it_is_written_takes_no_name(tmp_path, monkeypatch):
    def replaced():
        (tmp_path / "other").write_bytes(b"other")
        os.replace(tmp_path / "other", tmp_path / "m.unfinished")

    meanwhile(monkeypatch, replaced)
    with pytest.raises(FileNotFoundError, match=r"`path` must not change .*m\.unfinished was removed or replaced"):
        save_safetensors(tmp_path / "m", FEW, seed=5)
    assert os.listdir(tmp_path) == ["m.unfinished"]
    assert (tmp_path / "m.unfinished").read_bytes() == b"other"


def test_a_file_that_is_made_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    meanwhile(monkeypatch, lambda: (tmp_path / "m").write_bytes(b"mine"))
    with pytest.raises(FileExistsError, match="`path` must be a new file"):
        save_safetensors(tmp_path / "m", FEW, seed=5)
    assert (tmp_path / "m").read_bytes() == b"mine"
    (tmp_path / "m").unlink()
    save_safetensors(tmp_path / "m", FEW, seed=5)  # goes on
    assert os.listdir(tmp_path) == ["m"]


def test_a_refused_call_takes_nothing_from_a_generator(tmp_path):
    generator = np.random.default_rng(0)
    for name, tensor in (("w", Tensor(ai.spec("xavier_normal"), (3,))), ("w\ud800", Tensor(NORMAL, (3,)))):
        with pytest.raises(ValueError, match=r"must be text that|fans need"):
            save_safetensors(tmp_path / "m", {name: tensor}, seed=generator)
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(FileExistsError):
        save_safetensors(tmp_path / "m", FEW, seed=generator)
    assert generator.integers(1 << 60) == np.random.default_rng(0).integers(1 << 60)


def test_systems_without_locks_and_the_like(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    for name in ("statvfs", "O_DIRECTORY"):
        monkeypatch.delattr(os, name)
    (tmp_path / "m.unfinished").write_bytes(b"")
    save_safetensors(tmp_path / "m", FEW, seed=5)
    x = np.memmap(tmp_path / "w", "float32", "w+", shape=(20, 50))
    fill_(x, NORMAL, seed=3, journal=tmp_path / "journal", part=400)
    assert same(x, NORMAL((20, 50), seed=3))
    assert sorted(os.listdir(tmp_path)) == ["m", "w"]


def test_a_file_larger_than_the_disk_is_refused(tmp_path):
    with pytest.raises(OSError, match=r"`tensors` must fit the disk, of .* bytes; got 4,611,686,018,427,387,904"):
        save_safetensors(tmp_path / "m", {"w": Tensor(NORMAL, (1 << 60,))}, seed=5)
    assert os.listdir(tmp_path) == []


def test_a_header_that_no_reader_takes_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors, "DOCUMENT_BYTES", 1000)
    with pytest.raises(ValueError, match="names that fit a header of 1,000 bytes"):
        save_safetensors(tmp_path / "m", TENSORS, seed=5)
    assert os.listdir(tmp_path) == []


WRITERS = """
import sys, arrayinit as ai
from arrayinit.storage import Tensor, save_safetensors
sys.stdin.read(1)
try:
    save_safetensors(sys.argv[1], {"w": Tensor(ai.spec("normal"), (400, 5000))}, seed=3, part=20000)
except FileExistsError as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
def test_one_of_several_writers_works_and_the_others_say_so(tmp_path):
    file = tmp_path / "m"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITERS, file], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    time.sleep(1)  # until most of them wait
    for writer in writers:
        writer.stdin.write("x")
        writer.stdin.flush()
    said = [writer.communicate(timeout=120)[1] for writer in writers]
    assert sorted(writer.returncode for writer in writers) == [0, 1, 1, 1]
    assert all("by another process" in text or "already exists" in text for text in said if text)
    assert os.listdir(tmp_path) == ["m"]
    assert same(namespace("safetensors.numpy").load_file(file)["w"], ai.normal((400, 5000), seed=3, name="w"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ('{"a": 1' + "0" * 4400 + "}", "an integer of 4,401 digits"),
        ('{"a": 1' + "0" * 101 + "}", "an integer of 102 digits"),
        ('{"a": {"b": 1, "b": 1}}', "the name 'b' twice"),
        ("", "Expecting value"),
    ],
    ids=range(6),
)
def test_json_is_read_strictly(text, said):
    with pytest.raises(ValueError, match=said):
        documents.parse_json(text)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        (".".join("a" * 50_000) + " = 1", "a key of too many parts"),
        (" . ".join(["'a'"] * 50_000) + " = 1", "a key of too many parts"),
        ("a = 1" + "0" * 5000, "digits"),
        ("a = 1\na = 1", "overwrite"),
        ("a" * 100_000, "Expected"),
    ],
    ids=range(6),
)
def test_toml_is_read_strictly(text, said):
    with pytest.raises(ValueError, match=said):
        documents.parse_toml(text)


def test_documents_are_utf8(tmp_path):
    file = tmp_path / "m.json"
    file.write_bytes('\ufeff{"wé": [3]}'.encode())
    assert shapes_of(file) == {"wé": ((3,), None)}
    for encoding, said in (("utf-16", "UTF-16"), ("latin-1", "utf-8")):
        file.write_bytes('{"wé": [3]}'.encode(encoding))
        with pytest.raises(ValueError, match=f"must be JSON; .*{said}"):
            shapes_of(file)
    file.write_text("{}")
    with pytest.raises(ValueError, match="`it` must be at most 1 bytes long"):
        documents.read_text(file, "`it`", 1)


@pytest.mark.parametrize(
    "entry",
    [
        [-1],
        [1.0],
        [True],
        "34",
        [[3]],
        [1 << 63],
        [10**90],
        [1] * 65,
        {"shape": [3], "dtype": 5},
        {"shape": [3], "size": 3},
        None,
    ],
    ids=repr,
)
def test_shapes_that_are_none(tmp_path, entry):
    (tmp_path / "m.json").write_text(json.dumps({"w\x1b": entry}))
    with pytest.raises(ValueError, match=r"'w\\x1b' must"):
        shapes_of(tmp_path / "m.json")


def test_long_values_are_cut_off_in_messages(tmp_path):
    (tmp_path / "m.json").write_text(json.dumps({"w": [1] * 100_000}))
    with pytest.raises(ValueError, match="must have a shape") as refused:
        shapes_of(tmp_path / "m.json")
    assert len(str(refused.value)) < 3000


def test_headers_that_lie_about_their_length(tmp_path):
    file = header(tmp_path, GOOD)
    good = file.read_bytes()
    for length, rest in (
        (2**64 - 1, good[8:]),
        (len(good) - 7, good[8:]),
        (len(good) - 8, good[8:]),
        (0, good[8:]),
        (5, good[8:]),
        (100, b""),
    ):
        file.write_bytes(length.to_bytes(8, "little") + rest)
        with pytest.raises(ValueError, match="must be a safetensors file; its header can't be read"):
            header_of(file)
    with open(file, "wb") as sparse:  # of holes
        sparse.write((150 * 10**6).to_bytes(8, "little"))
        sparse.truncate(200 * 10**6)
    with pytest.raises(ValueError, match="longer than the format allows"):
        header_of(file)


def test_other_dtypes_are_told_by_the_words_of_the_file(tmp_path):
    entry = {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}
    assert shapes_of(header(tmp_path, entry)) == {"w": ((16,), "F8_E4M3")}
    (tmp_path / "m.json").write_text('{"w": {"shape": [16], "dtype": "float8_e4m3fn"}}')
    assert shapes_of(tmp_path / "m.json") == {"w": ((16,), "float8_e4m3fn")}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"w": "index.json"}, "names of safetensors files beside it"),  # itself
        ({"w": "../m"}, "names of safetensors files beside it"),
        ({"w": "/etc/passwd"}, "names of safetensors files beside it"),
        ({"w": ".."}, "names of safetensors files beside it"),
        ({"w": ""}, "names of safetensors files beside it"),
        ({"w": "m\0"}, "names of safetensors files beside it"),
        ({"w": ["m"]}, "names of files"),
        ({"w": "m", "v": "m"}, "must name the file of each tensor; 'v' is in none of them"),
        ({"w": "m", "v": "n"}, "'w' is in 'n', and is in or listed for 'm', too"),
        ({"v": "n"}, "'v' is in none"),
    ],
)
def test_indexes_that_lead_elsewhere(tmp_path, names, said):
    (tmp_path / "n").write_bytes(header(tmp_path, GOOD).read_bytes())
    (tmp_path / "index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ValueError, match=said):
        shapes_of(tmp_path / "index.json")


def test_pipes_are_read_where_a_text_is_asked_for():
    pytest.importorskip("fcntl")
    reading, writing = os.pipe()
    os.write(writing, b"text")
    os.close(writing)
    assert documents.read_text(f"/dev/fd/{reading}", "it") == "text"
    os.close(reading)
