"""A refused call, or one that draws nothing, takes neither a key from the sequence nor bits from a generator."""

import contextlib
import warnings

import numpy as np
import pytest

import arrayinit as ai
import arrayinit.jax
import arrayinit.torch
from arrayinit import seeds, storage

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
dask = pytest.importorskip("dask.array")

SHAPE = (4, 6)


class Source:
    """A source of seeds: the `seed` argument, and the state that a draw changes."""

    def __init__(self, seed, state):
        self.seed, self.state = seed, state


@contextlib.contextmanager
def process():
    ai.manual_seed(7)
    yield Source(None, lambda: (seeds._process.root, seeds._process.peek()))


@contextlib.contextmanager
def scope():
    with ai.seeded(7):
        yield Source(None, lambda: (seeds._scoped.get().root, seeds._scoped.get().peek()))


@contextlib.contextmanager
def numpy():
    rng = np.random.default_rng(7)
    yield Source(rng, lambda: str(rng.bit_generator.state))


@contextlib.contextmanager
def of_torch():
    generator = torch.Generator().manual_seed(7)
    yield Source(generator, lambda: generator.get_state().tolist())


SOURCES = [process, scope, numpy, of_torch]


def read_only():
    x = np.zeros(SHAPE, "float32")
    x.flags.writeable = False
    return x


def sharding_of_three_axes():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "a")
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, None, "a"))


def linear(**keywords):
    return torch.nn.Linear(3, 2, **keywords)


def normal(**keywords):
    return lambda seed: ai.normal(SHAPE, seed=seed, **keywords)


# Calls that are refused whatever the seed.
REFUSED = {
    "name": normal(name=1.5),
    "name within": normal(name=("a", -1)),
    "surrogate": normal(name="\ud800"),
    "std": normal(std=-1.0),
    "array std": normal(std=np.ones(2)),
    "law beyond dtype": normal(std=1e38),
    "dtype": normal(dtype="int32"),
    "no dtype": normal(dtype="f4,("),
    "layout": normal(layout="oih"),
    "index": normal(index=9),
    "index of another kind": normal(index=0.0),
    "groups": lambda seed: ai.xavier_normal(SHAPE, seed=seed, groups=3),
    "keyword": normal(colour=1),
    "xp": normal(xp="nowhere"),
    "shape": lambda seed: ai.normal((-1, 2), seed=seed),
    "large shape": lambda seed: ai.normal((2**40, 2**40), seed=seed),
    "larger than any memory": lambda seed: ai.normal(2**60, seed=seed),
    "larger than this memory": lambda seed: ai.normal(2**50, seed=seed),
    "larger than this memory, torch": lambda seed: ai.normal(2**50, seed=seed, xp="torch"),
    "larger than this memory, jax": lambda seed: ai.normal(2**50, seed=seed, xp="jax"),
    "axes": lambda seed: ai.normal((1,) * 65, seed=seed),
    "device": normal(device="cuda"),
    "device, torch": normal(xp="torch", device="nowhere"),
    "device that is not there": normal(xp="torch", device="xpu"),
    "device, jax": normal(xp="jax", device="abacus"),
    "sharding": normal(xp="jax", device=sharding_of_three_axes()),
    "chunks": normal(xp="dask", chunks=(3, 3, 3)),
    "chunks elsewhere": normal(chunks=2),
    "chunks without end": normal(xp="dask", chunks=iter([2, 2])),
    "x64": normal(xp="jax", dtype="float64"),
    "read-only": lambda seed: ai.normal_(read_only(), seed=seed),
    "overlap": lambda seed: ai.normal_(torch.zeros(6).expand(SHAPE), seed=seed),
    "immutable": lambda seed: ai.normal_(jax.numpy.zeros(SHAPE), seed=seed),
    "no array": lambda seed: ai.normal_(SHAPE, seed=seed),
    "index of x": lambda seed: ai.normal_(np.zeros(SHAPE), seed=seed, shape=(8, 6), index=slice(0, 3)),
    "bits, name": lambda seed: ai.bits(SHAPE, seed=seed, name=1.5),
    "bits, device": lambda seed: ai.bits(SHAPE, seed=seed, device="cuda"),
    "fold": lambda seed: ai.fold(ai.Key(0) if seed is None else seed, 1.5),
    "spec": lambda seed: ai.spec("normal", std=-1.0)(SHAPE, seed=seed),
    "in a trace": lambda seed: jax.jit(lambda: ai.normal(SHAPE, seed=seed, xp="jax"))(),
    "shapes of a trace": lambda seed: jax.eval_shape(lambda: ai.normal(SHAPE, seed=seed, xp="jax")),
    "mapping, no rule": lambda seed: ai.init_params_({"a": np.zeros(3)}, {"b": "normal"}, seed=seed),
    "mapping, law": lambda seed: ai.init_params_({"a": np.zeros(3)}, {"*": "xavier_normal"}, seed=seed),
    "mapping, meta": lambda seed: ai.init_params_({"a": torch.empty(3, device="meta")}, {"*": "normal"}, seed=seed),
    "mapping, read-only": lambda seed: ai.init_params_({"a": read_only()}, {"*": "normal"}, seed=seed),
    "mapping, name": lambda seed: ai.init_params_(
        {"a": np.zeros(3)}, {"*": "normal"}, seed=seed, seed_names={"a": 1.5}
    ),
    "mapping, progress": lambda seed: ai.init_params_({"a": np.zeros(3)}, {"*": "normal"}, seed=seed, progress=1),
    "mapping, idle rule": lambda seed: ai.init_params_({"a": np.zeros(3)}, {"*": "normal", "b": "normal"}, seed=seed),
    "module, no rule": lambda seed: arrayinit.torch.init_module_(linear(), {"weight": "normal"}, seed=seed),
    "module, overlap": lambda seed: arrayinit.torch.init_module_(overlapping(), {"*": "normal"}, seed=seed),
    "module, device": lambda seed: arrayinit.torch.init_module_(
        linear(device="meta"), {"*": "normal"}, seed=seed, device="xpu"
    ),
    "module, dry run": lambda seed: arrayinit.torch.init_module_(linear(), {"*": "normal"}, seed=seed, dry_run=1),
    "tree, no rule": lambda seed: arrayinit.jax.init_tree({"a": struct()}, {"b": "normal"}, seed=seed),
    "tree, shardings": lambda seed: arrayinit.jax.init_tree({"a": struct()}, {"*": "normal"}, seed=seed, shardings="x"),
    "tree, sharding": lambda seed: arrayinit.jax.init_tree(
        {"a": struct()}, {"*": "normal"}, seed=seed, shardings=sharding_of_three_axes()
    ),
    "tree, dtype": lambda seed: arrayinit.jax.init_tree({"a": np.zeros(SHAPE)}, {"*": "normal"}, seed=seed),
    "file, law": lambda seed: storage.fill_(np.zeros(3), "xavier_normal", seed=seed),
    "file, name": lambda seed: storage.fill_(np.zeros(3), "normal", seed=seed, name=1.5),
    "file, part": lambda seed: storage.fill_(np.zeros(3), "normal", seed=seed, part=0),
    "file, progress": lambda seed: storage.fill_(np.zeros(3), "normal", seed=seed, progress=1),
    "file, journal": lambda seed: storage.fill_(np.zeros(3), "normal", seed=seed, journal="/dev/null/journal"),
    "safetensors, law": lambda seed: storage.save_safetensors("unwritten", tensors("xavier_normal"), seed=seed),
    "safetensors, folder": lambda seed: storage.save_safetensors("/dev/null/x", tensors("normal"), seed=seed),
    "safetensors, metadata": lambda seed: storage.save_safetensors(
        "unwritten", tensors("normal"), seed=seed, metadata={1: 2}
    ),
}

# Calls that return without drawing.
NOTHING = {
    "zeros": lambda seed: ai.zeros(SHAPE, seed=seed),
    "eye": lambda seed: ai.eye(SHAPE, seed=seed),
    "formula": lambda seed: ai.sinusoidal(SHAPE, seed=seed),
    "std 0": normal(std=0.0),
    "gain 0": lambda seed: ai.xavier_uniform(SHAPE, 0.0, seed=seed),
    "constants in a pack": lambda seed: ai.lstm_bias(8, seed=seed),
    "a pack whose random block is empty": lambda seed: ai.packed(
        SHAPE, [ai.spec("normal"), ai.spec("zeros")], [0, 4], seed=seed
    ),
    "no elements": lambda seed: ai.normal((0, 3), seed=seed),
    "no elements, warned of": lambda seed: ai.kaiming_normal((0, 3), seed=seed),
    "no elements, torch": lambda seed: ai.normal_(torch.zeros(0, 3), seed=seed),
    "no elements, dask": lambda seed: ai.normal((0, 3), seed=seed, xp="dask"),
    "no elements of an index": normal(index=slice(2, 2)),
    "no bits": lambda seed: ai.bits(0, seed=seed),
    "meta": lambda seed: ai.normal(torch.empty(SHAPE, device="meta"), seed=seed),
    "meta, in place": lambda seed: ai.normal_(torch.empty(SHAPE, device="meta"), seed=seed),
    "meta, from a shape": normal(xp="torch", device="meta"),
    "meta, a pack": lambda seed: ai.packed(torch.empty(SHAPE, device="meta"), ai.spec("normal"), 2, seed=seed),
    "fake": lambda seed: fake(seed),
    "file, meta": lambda seed: storage.fill_(torch.empty(3, device="meta"), "normal", seed=seed),
    "mapping, dry run": lambda seed: ai.init_params_({"a": np.zeros(3)}, {"*": "normal"}, seed=seed, dry_run=True),
    "mapping, constants": lambda seed: ai.init_params_({"a": np.zeros(3)}, {"*": "zeros"}, seed=seed),
    "mapping, kept": lambda seed: ai.init_params_({"a": np.zeros(3)}, {"*": None}, seed=seed),
    "mapping, no elements": lambda seed: ai.init_params_({"a": np.zeros(0)}, {"*": "normal"}, seed=seed),
    "module, dry run": lambda seed: arrayinit.torch.init_module_(linear(), {"*": "normal"}, seed=seed, dry_run=True),
    "module, dry run on meta": lambda seed: arrayinit.torch.init_module_(
        linear(device="meta"), {"*": "normal"}, seed=seed, dry_run=True
    ),
    "module, constants": lambda seed: arrayinit.torch.init_module_(linear(), {"*": "ones"}, seed=seed),
    "tree, dry run": lambda seed: arrayinit.jax.init_tree({"a": struct()}, {"*": "normal"}, seed=seed, dry_run=True),
    "tree, constants": lambda seed: arrayinit.jax.init_tree({"a": struct()}, {"*": "ones"}, seed=seed),
    "file, constants": lambda seed: storage.fill_(np.zeros(3), "zeros", seed=seed),
    "file, no elements": lambda seed: storage.fill_(np.zeros(0), "normal", seed=seed),
}


def overlapping():
    module = linear()
    module.weight = torch.nn.Parameter(torch.zeros(3).expand(2, 3))
    return module


def struct():
    return jax.ShapeDtypeStruct(SHAPE, "float32")


def tensors(initializer):
    return {"w": storage.Tensor(ai.spec(initializer), (3,))}


def fake(seed):
    fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
    with fake_tensor.FakeTensorMode():
        return ai.normal(torch.zeros(SHAPE), seed=seed)


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("label", REFUSED)
def test_a_refused_call_takes_nothing(tmp_path, monkeypatch, label, make):
    monkeypatch.chdir(tmp_path)
    with make() as source:
        before = source.state()
        with pytest.raises(Exception) as caught:  # noqa: PT011 -- which one, and its words, other tests say
            REFUSED[label](source.seed)  # warnings are errors in tests
        assert source.state() == before
        assert not isinstance(caught.value, AttributeError | AssertionError)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("label", NOTHING)
def test_what_draws_nothing_takes_nothing(label, make):
    with make() as source:
        before = source.state()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            NOTHING[label](source.seed)
        assert source.state() == before


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_all_else_takes_one_key(make):
    taken = {
        "draw": normal(),
        "torch": normal(xp="torch"),
        "jax": normal(xp="jax"),
        "dask": normal(xp="dask"),
        "meta to a device": lambda seed: ai.normal(torch.empty(SHAPE, device="meta"), seed=seed, device="cpu"),
        "struct": lambda seed: ai.normal(struct(), seed=seed),
        "mapping": lambda seed: ai.init_params_({"a": np.zeros(3), "b": np.zeros(3)}, {"*": "normal"}, seed=seed),
        "module": lambda seed: arrayinit.torch.init_module_(linear(), {"*": "normal"}, seed=seed),
        "tree": lambda seed: arrayinit.jax.init_tree({"a": struct(), "b": struct()}, {"*": "normal"}, seed=seed),
        "file": lambda seed: storage.fill_(np.zeros(3), "normal", seed=seed),
    }
    with make() as source:
        for label, draw in taken.items():
            wanted = int(seeds.peek(source.seed))
            before = source.state()
            assert int(seeds.peek(source.seed)) == wanted  # peek takes nothing
            draw(source.seed)
            assert source.state() != before, label
            assert int(seeds.peek(source.seed)) != wanted


def test_a_dry_run_has_the_keys_that_the_draw_takes():
    for make in SOURCES:
        with make() as source:
            model = {"a": np.zeros(3), "b": np.zeros((2, 2))}
            plan = ai.init_params_(model, {"*": "normal"}, seed=source.seed, dry_run=True)
            ai.init_params_(model, {"*": "normal"}, seed=source.seed)
            for entry in plan:
                assert (model[entry.path] == entry.initializer(entry.shape, seed=entry.key, dtype="float64")).all()


def test_a_traced_scope_is_left_alone_by_draws_elsewhere():
    def draw(key):
        with ai.seeded(key):
            with pytest.raises(TypeError, match="`seed`"):
                ai.normal(SHAPE, xp="numpy")
            return ai.normal(SHAPE, xp="jax")

    drawn = jax.jit(draw)(jax.random.key(4))
    assert (np.asarray(drawn) == ai.normal(SHAPE, seed=ai.fold(4, 0))).all()


def test_a_seed_that_waits_is_asked_once_and_last():
    asked = []

    def take():
        asked.append(1)
        return 5

    with pytest.raises(ValueError, match="`std`"):
        ai.normal(SHAPE, std=-1.0, seed=seeds.Deferred(take))
    ai.zeros(SHAPE, seed=seeds.Deferred(take))
    assert asked == []
    assert (ai.normal(SHAPE, seed=seeds.Deferred(take)) == ai.normal(SHAPE, seed=5)).all()
    assert asked == [1]


def test_weights_that_are_made_of_a_key_take_one():
    def spectral():
        return torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4))

    def vectors(module):
        return module.parametrizations.weight[0]._u.clone()

    rules = {"weight": "eye", "bias": "zeros"}
    for make in SOURCES:
        with make() as source:
            before = source.state()
            arrayinit.torch.init_module_(spectral(), rules, seed=source.seed, dry_run=True)
            assert source.state() == before
            modules = [arrayinit.torch.init_module_(spectral(), rules, seed=source.seed) for _ in range(2)]
            assert not torch.equal(*map(vectors, modules))
            assert source.state() != before


def test_what_a_right_inverse_draws_takes_the_key_of_its_weight():
    class Noisy(torch.nn.Module):
        def forward(self, x):
            return x

        def right_inverse(self, x):
            return x + ai.normal(x)

    def make():
        layer = torch.nn.Linear(3, 3)
        torch.nn.utils.parametrize.register_parametrization(layer, "weight", Noisy())
        return layer

    for source in SOURCES:
        with source() as given:
            layer = make()
            entry = arrayinit.torch.init_module_(layer, {"*": "normal"}, seed=given.seed, dry_run=True)[0]
            wanted = int(seeds.peek(given.seed))
            arrayinit.torch.init_module_(layer, {"*": "normal"}, seed=given.seed)
            again = arrayinit.torch.init_module_(make(), {"*": "normal"}, seed=wanted)
            assert torch.equal(layer.weight, again.weight)
            assert entry.key == ai.fold(wanted, entry.path)


def test_a_draw_that_was_interrupted_takes_the_key_of_its_generator_at_the_end(tmp_path):
    class FullError(Exception):
        pass

    class Disk:
        """An array that fails after some writes, as on a full disk."""

        shape, dtype, left = (8, 4), np.dtype("float32"), 3

        def __init__(self):
            self.values = np.zeros(self.shape, self.dtype)

        def __getitem__(self, where):
            return self.values[where]

        def __setitem__(self, where, values):
            self.left -= 1
            if not self.left:
                raise FullError
            self.values[where] = values

    x, generator = Disk(), np.random.default_rng(5)
    wanted = int(seeds.peek(generator))
    with pytest.raises(FullError):
        storage.fill_(x, "normal", seed=generator, journal=tmp_path / "journal", part=16)
    assert int(seeds.peek(generator)) == wanted
    storage.fill_(x, "normal", seed=generator, journal=tmp_path / "journal", part=16)
    assert int(seeds.peek(generator)) != wanted
    assert (x.values == ai.normal(x.shape, seed=wanted)).all()
