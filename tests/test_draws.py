"""Draws as data: stored in a config in place of their arrays, and the same values in a later version."""

import copy
import hashlib
import json
import pickle
import tomllib
from pathlib import Path

import initializers_by_hand
import numpy as np
import pytest
import stream_by_hand
from conftest import namespace, to_host

import arrayinit as ai

# A config as a program stores it, and the values that it stood for when it was written. The digests are those of the
# bytes of the rows, little-endian. They change only together with the version of the stream.
STORED = json.loads((Path(__file__).parent / "helpers" / "stored_draws.json").read_text("utf-8"))
CONFIG = STORED["config"]
A = ai.Draw(ai.spec("kaiming_uniform"), (8, 64), seed=0, name="vera_A")


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("name", CONFIG)
def test_stored_config(name, library):
    namespace(library)
    stored = ai.Draw.from_dict(CONFIG[name])
    host = to_host(stored(xp=library))
    assert host.dtype == CONFIG[name]["dtype"]
    assert host.shape == tuple(CONFIG[name]["shape"])
    assert host.ravel()[:4].tolist() == STORED["first"][name]
    little = np.ascontiguousarray(host).astype(host.dtype.newbyteorder("<"))
    assert hashlib.sha256(little.tobytes()).hexdigest() == STORED["sha256"][name]
    assert stored.as_dict() == CONFIG[name]


@pytest.mark.parametrize("name", CONFIG)
def test_stored_config_by_hand(name):
    """The second implementation, which shares no code with the package, reads the same config."""
    data = CONFIG[name]
    given = {"name": data["initializer"]} if isinstance(data["initializer"], str) else dict(data["initializer"])
    name_parts = tuple(data["name"]) if isinstance(data["name"], list) else data["name"]
    key = stream_by_hand.fold(data["seed"], name_parts)
    expected = initializers_by_hand.draw(given.pop("name"), tuple(data["shape"]), data["dtype"], key, **given)
    host = ai.Draw.from_dict(data)()
    assert all(host[position] == expected[position] for position in np.ndindex(host.shape))


@pytest.mark.parametrize("version", [0, 2, None, True, "1", [1]])
def test_another_stream_is_refused(version):
    with pytest.raises(ValueError, match=r"`stream_version` must be 1, the stream of this version"):
        ai.Draw.from_dict(CONFIG["vera_A"] | {"stream_version": version})


def test_no_stream_version_is_refused():
    data = copy.deepcopy(CONFIG["vera_A"])
    del data["stream_version"]
    with pytest.raises(ValueError, match="`stream_version` must be 1"):
        ai.Draw.from_dict(data)


def test_a_later_stream_refuses_what_was_stored(monkeypatch):
    pickled, data = pickle.dumps(A), A.as_dict()
    assert pickle.loads(pickled) == A
    monkeypatch.setattr(ai, "STREAM_VERSION", 2)
    for load in (lambda: ai.Draw.from_dict(data), lambda: pickle.loads(pickled)):
        with pytest.raises(ValueError, match=r"`stream_version` must be 2, .* got 1"):
            load()
    assert A.as_dict()["stream_version"] == 2


@pytest.mark.parametrize("draw", [
    A,
    ai.Draw("orthogonal", (8, 8), seed=ai.fold(7, "x"), dtype="bfloat16"),
    ai.Draw(ai.spec("packed", initializer=ai.spec("normal", std=0.5), blocks=2), (6, 3), seed=1, name=("a", 2)),
    ai.Draw("ones", 5, seed=0, dtype="float64"),
])  # fmt: skip
def test_json_and_toml(draw):
    tomli_w = pytest.importorskip("tomli_w")
    assert ai.Draw.from_dict(json.loads(json.dumps(draw.as_dict()))) == draw
    assert ai.Draw.from_dict(tomllib.loads(tomli_w.dumps(draw.as_dict()))) == draw
    assert pickle.loads(pickle.dumps(draw)) == draw == copy.deepcopy(draw)
    assert hash(draw) == hash(copy.copy(draw))


def test_a_draw_is_that_of_its_initializer():
    expected = ai.kaiming_uniform((8, 64), seed=0, name="vera_A")
    assert np.array_equal(A(), expected)
    assert np.array_equal(A(index=np.s_[:, :48]), expected[:, :48])  # a layer with fewer inputs
    assert np.array_equal(A(flat=slice(5, 90)), expected.ravel()[5:90])
    assert ai.Draw("normal", (2, 3), seed=ai.Key(5)) == ai.Draw("normal", (2, 3), seed=5)


def test_filling():
    x = np.empty((8, 64), "float16")
    assert A.fill_(x) is x
    assert np.array_equal(x, A().astype("float16"))
    part = np.empty((2, 64), "float32")
    assert np.array_equal(A.fill_(part, index=slice(2, 4)), A()[2:4])
    assert np.array_equal(A.fill_(np.empty(7, "float32"), flat=slice(3, 10)), A().ravel()[3:10])


def test_a_parameter_of_a_model_can_be_stored():
    torch = namespace("torch")
    from arrayinit.torch import init_module_

    model = init_module_(torch.nn.Sequential(torch.nn.Linear(64, 8)), {"*bias": "zeros", "*": "xavier_uniform"}, seed=3)
    stored = ai.Draw("xavier_uniform", (8, 64), seed=3, name="0.weight")
    assert torch.equal(stored(xp="torch"), model[0].weight.detach())


def test_a_shape_of_another_array_is_refused():
    x = np.full((8, 63), 5.0, "float32")
    with pytest.raises(ValueError, match=r"`x` must have the shape \(8, 64\) of the draw; got \(8, 63\)"):
        A.fill_(x)
    with pytest.raises(ValueError, match="`index` must select a part of the shape of `x`"):
        A.fill_(x, index=slice(0, 2))
    assert bool((x == 5).all())


@pytest.mark.parametrize(("make", "error", "match"), [
    (lambda: ai.Draw("normal", (2, 3), seed=None), TypeError, "`seed` must be an integer or an arrayinit.Key, .* None"),
    (lambda: ai.Draw("normal", (2, 3), seed=True), TypeError, "`seed` must be an integer .* True"),
    (lambda: ai.Draw("normal", (2, 3), seed=np.random.default_rng(0)), TypeError, "`seed` must be an integer"),
    (lambda: ai.Draw("normal", (2, 3), seed=2**64), ValueError, "`seed` must be"),
    (lambda: ai.Draw("normal", (2, 3), seed=-1), ValueError, "`seed` must be"),
    (lambda: ai.Draw("normal", (2, 3), seed=0, name=1.5), TypeError, "`name` must be"),
    (lambda: ai.Draw("normal", (2, -3), seed=0), ValueError, "`shape` must have no negative size"),
    (lambda: ai.Draw("normal", (2, 3), seed=0, dtype="float31"), TypeError, "`dtype`.* must be one of float64"),
    (lambda: ai.Draw("normall", (2, 3), seed=0), ValueError, "`initializer` must name an initializer; got 'normall'"),
    (lambda: ai.Draw(0.5, (2, 3), seed=0), TypeError, "`initializer` must be an arrayinit.Spec .* got 0.5: write"),
    (lambda: ai.Draw("xavier_normal", (3,), seed=0), ValueError, "at least 2 dimensions"),
    (lambda: ai.Draw(ai.spec("normal", std=-1.0), (3,), seed=0), ValueError, "`std` must"),
    (lambda: ai.Draw.from_dict([1]), TypeError, "`data` of a draw must be a mapping"),
    (lambda: ai.Draw.from_dict(CONFIG["vera_A"] | {"shapes": 1}), ValueError, "`data` of a draw must have initializer"),
    (lambda: ai.Draw.from_dict({"seed": 0, "stream_version": 1}), ValueError, "`data` of a draw must have initializer"),
    (
        lambda: ai.Draw.from_dict(CONFIG["vera_A"] | {"initializer": {"std": 1}}), ValueError, "with the name of an in",
    ),
    (lambda: ai.Draw.from_dict(CONFIG["vera_A"] | {"seed": 1.5}), TypeError, "`seed` must be an integer"),
])  # fmt: skip
def test_wrong_fields(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("name", [np.int64(3), ("a", np.int64(3)), np.str_("q"), ("a", np.str_("b"))])
def test_names_are_stored_as_plain_data(name):
    draw = ai.Draw("normal", (2, 3), seed=5, name=name)
    assert ai.Draw.from_dict(json.loads(json.dumps(draw.as_dict()))) == draw
    assert np.array_equal(draw(), ai.normal((2, 3), seed=5, name=name))


@pytest.mark.parametrize("version", [np.array([1, 2]), 1.0, np.array([1])])
def test_a_version_that_is_no_integer_is_refused(version):
    with pytest.raises(ValueError, match=r"`stream_version` must be 1"):
        ai.Draw.from_dict(CONFIG["vera_A"] | {"stream_version": version})


def test_a_scheme_with_a_path_gets_the_name():
    torch = namespace("torch")
    from arrayinit.torch import init_module_

    @ai.scheme
    def by_length_of_path(geometry, path=""):
        return ai.spec("normal", std=1.0 + len(path))

    layer = init_module_(torch.nn.Linear(3, 4, bias=False), {"*": "by_length_of_path"}, seed=0)
    stored = ai.Draw("by_length_of_path", (4, 3), seed=0, name="weight")
    assert stored.as_dict()["initializer"] == "by_length_of_path"
    for draw in (stored, ai.Draw.from_dict(json.loads(json.dumps(stored.as_dict())))):
        assert torch.equal(draw(xp="torch"), layer.weight.detach())
        assert np.array_equal(draw.fill_(np.empty((2, 3), "float32"), index=slice(1, 3)), layer.weight.detach()[1:3])
    given = ai.Draw(ai.spec("by_length_of_path", path="x"), (4, 3), seed=0, name="weight")
    assert not np.array_equal(given(), stored())
    assert np.array_equal(ai.Draw("by_length_of_path", 2, seed=0, name=7)(), ai.normal(2, seed=0, name=7))
