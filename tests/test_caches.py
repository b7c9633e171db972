"""Caches between calls: equal values of different types are kept apart, and no object of a user's is kept."""

import gc
import pickle
import weakref

import numpy as np
import pytest
import scipy.stats
from conftest import same

import arrayinit as ai
import arrayinit.draw as draw_module
from arrayinit.common.cache_keys import NotPlainError, exact

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
dask = pytest.importorskip("dask.array")

SHAPE = (4, 6)


class Whole(int):
    pass


class Number(float):
    pass


class Text(str):
    pass


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"index": 0}, {"index": 0.0}),
        ({"index": 1}, {"index": True}),
        ({"index": (0, slice(0, 2))}, {"index": (0.0, slice(0, 2))}),
        ({"index": slice(0, 2)}, {"index": slice(0.0, 2)}),
        ({"index": slice(0, 2)}, {"index": slice(False, 2)}),
        ({"layout": None, "batch_axis": ()}, {"batch_axis": b""}),
        ({"in_axis": 0, "out_axis": 1}, {"in_axis": 0.0, "out_axis": 1}),
        ({"in_axis": 0, "out_axis": 1}, {"in_axis": False, "out_axis": True}),
        ({"in_axis": (0,), "out_axis": 1}, {"in_axis": (0.0,), "out_axis": 1}),
        ({"in_axis": (0,), "out_axis": 1}, {"in_axis": (False,), "out_axis": 1}),
        ({"groups": 1}, {"groups": True}),
        ({"groups": 1}, {"groups": 1.0}),
        ({"transposed": True}, {"transposed": 1}),
        ({"gain": 1}, {"gain": True}),
        ({"gain": 1.0}, {"gain": np.True_}),
        ({"gain": 2.0}, {"gain": 2 + 0j}),
        ({"seed": 1}, {"seed": True}),
        ({"seed": 1}, {"seed": 1.0}),
        ({"name": 1}, {"name": True}),
        ({"name": 1}, {"name": 1.0}),
    ],
    ids=str,
)
def test_equal_values_are_checked_each_by_itself(first, second):
    given = {"seed": 0}
    ai.xavier_uniform(SHAPE, **given | first)
    with pytest.raises((TypeError, ValueError)):
        ai.xavier_uniform(SHAPE, **given | second)
    ai.xavier_uniform(SHAPE, **given | first)


ZEROS = {
    "constant": lambda zero, **where: ai.constant(SHAPE, zero, **where),
    "identity": lambda zero, **where: ai.identity(SHAPE, zero, **where),
    "orthogonal": lambda zero, **where: ai.orthogonal(SHAPE, zero, **where),
    "normal": lambda zero, **where: ai.normal(SHAPE, zero, 0.0, **where),
    "forget gates": lambda zero, **where: ai.lstm_bias(8, zero, **where),
    "packed": lambda zero, **where: ai.packed(SHAPE, ai.spec("constant", val=zero), 2, **where),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "orthogonal" else name for name in ZEROS]
)
def test_zeros_of_either_sign_are_not_taken_for_each_other(name):
    def jitted(zero):
        return np.asarray(jax.jit(lambda key: ZEROS[name](zero, seed=key, xp="jax"))(jax.random.key(0)))

    signs = [np.signbit(np.asarray(ZEROS[name](zero, seed=0))) for zero in (0.0, -0.0, 0.0)]
    assert (signs[0] == signs[2]).all()
    assert (signs[0] != signs[1]).any()
    for library in ("torch", "jax", "dask"):
        for zero, wanted in zip((-0.0, 0.0), (signs[1], signs[0]), strict=True):
            assert (np.signbit(np.asarray(ZEROS[name](zero, seed=0, xp=library))) == wanted).all()
    for zero, wanted in zip((0.0, -0.0), signs, strict=False):
        assert (np.signbit(jitted(zero)) == wanted).all()


def test_lists_and_their_later_contents():
    blocks = [1, 3]
    first = ai.packed(SHAPE, ai.spec("normal"), blocks, seed=0)
    blocks[:] = [3, 1]
    assert not same(ai.packed(SHAPE, ai.spec("normal"), blocks, seed=0), first)
    with pytest.raises(TypeError, match="`blocks`"):
        ai.packed(SHAPE, ai.spec("normal"), [3.0, 1.0], seed=0)


def test_specs_that_are_equal_are_told_apart():
    ai.packed(SHAPE, ai.spec("siren", first=True), 2, seed=0)
    with pytest.raises(TypeError, match="`first`"):
        ai.packed(SHAPE, ai.spec("siren", first=1), 2, seed=0)


def test_keys_are_equal_only_for_what_is_alike():
    values = [
        0,
        0.0,
        -0.0,
        False,
        1,
        1.0,
        True,
        "1",
        None,
        ...,
        (),
        [],
        (1,),
        (1.0,),
        (True,),
        [1],
        slice(1),
        slice(1.0),
    ]
    values += [np.float64(1), np.float32(1), np.int64(1), np.float64(0), np.float64(-0.0), ai.spec("ones"), ((1,),)]
    keys = [exact((value,)) for value in values]
    assert len(set(keys)) == len(values)
    assert keys == [exact((value,)) for value in values]
    for value in (Whole(1), Number(1), Text("x"), np.ones(2), {}, object(), [object()], ai.Key(1)):
        with pytest.raises(NotPlainError):
            exact((value,))
    deep = []
    deep.append(deep)
    with pytest.raises(NotPlainError):
        exact((deep,))


class Law:
    """A distribution of a user's own."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def ppf(self, p):
        return self.scale * scipy.stats.norm.ppf(p)

    def isf(self, p):
        return self.scale * scipy.stats.norm.isf(p)

    def support(self):
        return -np.inf, np.inf


class Slotted(Law):
    __slots__ = ("scale",)

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


class Halved(scipy.stats.rv_continuous):
    def _ppf(self, p):
        return scipy.stats.norm.ppf(p) / 2

    def _isf(self, p):
        return scipy.stats.norm.isf(p) / 2


@pytest.mark.parametrize("kind", [Law, Slotted])
def test_a_distribution_that_changes_is_drawn_as_it_is(kind):
    law = kind()
    first = ai.distribution(SHAPE, law, seed=0)
    assert same(ai.distribution(SHAPE, law, seed=0), first)
    law.scale = 2.0
    assert same(ai.distribution(SHAPE, law, seed=0), 2 * first)
    assert same(ai.distribution(SHAPE, kind(3.0), seed=0), ai.distribution(SHAPE, kind(3.0), seed=0))
    assert not same(ai.distribution(SHAPE, kind(3.0), seed=0), 2 * first)


def test_tables_of_distributions_are_kept_while_these_exist(monkeypatch):
    from arrayinit.stream import quantile_tables

    made, table = [], quantile_tables._table
    monkeypatch.setattr(quantile_tables, "_table", lambda *a: (made.append(a), table(*a))[1])
    law = Law(5.0)
    for dtype in ("float32", "float64", "float32"):
        ai.distribution(SHAPE, law, seed=0, dtype=dtype)
    assert len(made) == 1
    made.clear()
    del law
    gc.collect()
    assert not any(kept.alive() is None for kept in quantile_tables._remembered.values())


class Sub(np.ndarray):
    pass


class Rng(np.random.Generator):
    pass


class Kind:
    dtype = np.dtype("float32")


class One:
    """An initializer of a user's own."""

    def law(self, geometry):
        return ai.spec("normal").law(geometry)


OBJECTS = {
    "distribution": (Law, lambda x: ai.distribution(SHAPE, x, seed=0)),
    "distribution, jax": (Law, lambda x: ai.distribution(SHAPE, x, seed=0, xp="jax")),
    "distribution, jit": (
        Law, lambda x: jax.jit(lambda key: ai.distribution(SHAPE, x, seed=key, xp="jax"))(jax.random.key(0)),
    ),
    "distribution, empty": (
        Law, lambda x: jax.jit(lambda key: ai.distribution((0, 3), x, seed=key, xp="jax"))(jax.random.key(0)),
    ),
    "distribution, dask": (Law, lambda x: ai.distribution(SHAPE, x, seed=0, xp="dask").compute()),
    "distribution, packed": (Law, lambda x: ai.distribution(SHAPE, x, seed=0, dtype="complex64")),
    "frozen": (lambda: scipy.stats.gamma(2.5), lambda x: ai.distribution(SHAPE, x, seed=0)),
    "of a class of its own": (lambda: Halved(name="halved"), lambda x: ai.distribution(SHAPE, x, seed=0)),
    "function": (lambda: lambda z: z, ai.gain),
    "array": (lambda: np.zeros(SHAPE).view(Sub), lambda x: ai.normal_(x, seed=0)),
    "array, like": (lambda: np.zeros(SHAPE).view(Sub), lambda x: ai.normal(x, seed=0)),
    "type of an array": (lambda: type("Mine", (np.ndarray,), {}), lambda x: ai.normal_(np.zeros(3).view(x), seed=0)),
    "type of a tensor": (
        lambda: type("Mine", (torch.Tensor,), {}), lambda x: ai.normal_(torch.zeros(3).as_subclass(x), seed=0),
    ),
    "generator": (lambda: Rng(np.random.PCG64(0)), lambda x: ai.normal(SHAPE, seed=x)),
    "generator of torch": (torch.Generator, lambda x: ai.normal(SHAPE, seed=x)),
    "seed": (lambda: Whole(3), lambda x: ai.normal(SHAPE, seed=x)),
    "name": (lambda: Text("a"), lambda x: ai.normal(SHAPE, seed=0, name=x)),
    "size": (lambda: Whole(3), lambda x: ai.normal((x, 2), seed=0)),
    "groups": (lambda: Whole(2), lambda x: ai.xavier_normal(SHAPE, seed=0, groups=x)),
    "index": (lambda: Whole(2), lambda x: ai.normal(SHAPE, seed=0, index=(slice(0, x), x))),
    "std": (lambda: Number(0.25), lambda x: ai.normal(SHAPE, std=x, seed=0)),
    "mode": (lambda: Text("fan_out"), lambda x: ai.kaiming_normal(SHAPE, mode=x, seed=0)),
    "initializer": (One, lambda x: ai.packed(SHAPE, x, 2, seed=0)),
    "dtype": (Kind, lambda x: ai.normal(SHAPE, dtype=x, seed=0)),
    "rules": (lambda: ai.Rules({"*": "normal"}), lambda x: ai.init_params_({"a": np.zeros(3)}, x, seed=0)),
}  # fmt: skip


@pytest.mark.parametrize("label", OBJECTS)
def test_nothing_of_a_user_is_kept_alive(label):
    make, call = OBJECTS[label]
    thing = make()
    try:
        alive = weakref.ref(thing)
    except TypeError:  # numbers and texts have no weak references; what they hold has
        thing.held = One()
        alive = weakref.ref(thing.held)
    for _ in range(2):
        call(thing)
    if label.endswith(("jit", "empty")):
        jax.clear_caches()  # JAX's own hold what is traced
    del thing
    if alive() is not None:  # what is in a cycle
        gc.collect()
    assert alive() is None


def test_an_initializer_of_a_user_is_asked_each_time():
    class Turning(One):
        turn = 0

        def law(self, geometry):
            self.turn += 1
            return ai.spec("constant", val=self.turn).law(geometry)

    one = Turning()
    assert [int(ai.packed(SHAPE, one, 1)[0, 0]) for _ in range(3)] == [1, 2, 3]


def test_jobs_are_remembered_for_plain_data():
    draw_module._jobs.clear()
    for _ in range(3):
        ai.normal(SHAPE, std=0.25, seed=0, index=(slice(0, 2), 1), in_axis=[1], out_axis=0)
        ai.packed(SHAPE, [ai.spec("normal"), ai.spec("ones")], [2, 2], seed=0)
    assert len(draw_module._jobs) == 2


def test_tables_are_equal_by_their_numbers():
    from arrayinit.laws.lattice import sampling
    from arrayinit.laws.quantile_functions import law

    first, second = (sampling(law(Law(2.0)), "float32").quantiles for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != sampling(law(Law(3.0)), "float32").quantiles
    assert pickle.loads(pickle.dumps(first)) == first


def test_one_namespace_is_not_taken_for_another_of_its_name():
    from arrayinit.backends import backend_named

    strict = pytest.importorskip("array_api_strict")

    class Namespace:
        __array_api_version__ = "2024.12"

        def __getattr__(self, name):
            return getattr(strict, name)

    pair = Namespace(), Namespace()
    for one in pair:
        one.__name__ = "mine"
    assert [backend_named(one).xp is one for one in (*pair, *pair)] == [True] * 4
    impostor = Namespace()
    impostor.__name__ = "numpy.of.mine"
    backend_named(impostor)
    assert backend_named("numpy").xp is not impostor
