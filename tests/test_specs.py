"""spec, describe and fingerprint."""

import json
import math
import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from conftest import same

import arrayinit as ai
from arrayinit import initializers
from arrayinit.laws.geometry import geometry

GIVEN = {
    "constant": {"val": 0.5},
    "sparse": {"sparsity": 0.25},
    "wang_normal": {"layers": 6},
    "chrono": {"t_max": 100.0},
    "distribution": {"distribution": "gamma", "parameters": (2.0, 0.0, 0.5)},
    "s4d": {"variant": "real"},
    "packed": {"initializer": ai.spec("xavier_normal"), "blocks": 2},
    "mimetic": {"part": "query"},
    "lora_orthogonal": {"part": "A"},
}
SHAPES = {
    "dirac": (4, 6, 3),
    "delta_orthogonal": (6, 4, 3),
    "bilinear": (4, 4, 3),
    "icnr": (4, 6, 3),
    "lstm_bias": (8,),
    "chrono": (8,),
    "hippo_legs": (6, 6),
}


@pytest.mark.parametrize("name", [*initializers.NAMES, "glorot_uniform", "he_normal"])
def test_a_spec_draws_what_the_function_draws(name):
    shape = SHAPES.get(name, (4, 6))
    s = ai.spec(name, **GIVEN.get(name, {}))
    wanted = getattr(ai, name)(shape, seed=1, **GIVEN.get(name, {}))
    assert same(s(shape, seed=1), wanted)
    x = torch.empty(shape)
    assert s.fill_(x, seed=1) is x
    assert same(x, s(shape, seed=1, xp="torch"))
    for again in (pickle.loads(pickle.dumps(s)), ai.Spec.from_dict(json.loads(json.dumps(s.as_dict())))):
        assert again == s
        assert hash(again) == hash(s)
    with pytest.raises(AttributeError):
        s.name = "other"
    assert eval(repr(s), {"spec": ai.spec}) == s


def test_a_spec_takes_one_positional_argument_and_says_who_takes_three():
    with pytest.raises(TypeError, match=r"got 3 positional arguments .*arrayinit\.jax\.initializer\(spec\('ones'\)\)"):
        ai.spec("ones")((2, 3), np.float32, None)


def test_specs_that_differ_in_which_parameter_has_a_value_draw_apart():
    assert (ai.spec("normal", mean=3.0)((4,), seed=0) == ai.normal((4,), mean=3.0, seed=0)).all()
    assert (ai.spec("normal", std=3.0)((4,), seed=0) == ai.normal((4,), std=3.0, seed=0)).all()


def test_geometry_belongs_to_a_spec_and_axes_survive_json():
    s = ai.spec("kaiming_normal", in_axis=[0, 1], out_axis=-1, groups=2, transposed=True)
    assert ai.Spec.from_dict(json.loads(json.dumps(s.as_dict()))) == s
    assert same(
        s((3, 5, 4), seed=1),
        ai.kaiming_normal((3, 5, 4), in_axis=(0, 1), out_axis=-1, groups=2, transposed=True, seed=1),
    )
    assert same(ai.spec("normal", layout="oi")((3, 5), seed=1, layout="io"), ai.normal((3, 5), seed=1, layout="io"))


@pytest.mark.parametrize(
    ("name", "parameters", "error", "words"),
    [
        ("xavier", {}, ValueError, ["`name`", "'xavier'", "did you mean 'xavier_uniform'?"]),
        (3, {}, ValueError, ["`name`", "3"]),
        ("annotations", {}, ValueError, ["`name`"]),
        ("normal", {"sigma": 1.0}, TypeError, ["'sigma'", "std"]),
        ("normal", {"seed": 1}, TypeError, ["'seed'"]),
        ("normal", {"std": np.zeros(3)}, TypeError, ["`std`"]),
        ("constant", {}, TypeError, ["val"]),
        ("sparse", {"std": 0.1}, TypeError, ["sparsity"]),
        ("packed", {"blocks": 3}, TypeError, ["initializer"]),
        ("packed", {"initializer": ai.normal}, TypeError, ["`initializer`", "spec"]),
        ("packed", {"initializer": [ai.spec("normal"), ai.normal]}, TypeError, ["`initializer`", "spec"]),
    ],
)
def test_wrong_specs(name, parameters, error, words):
    with pytest.raises(error) as caught:
        ai.spec(name, **parameters)
    assert all(word in str(caught.value) for word in words)


def test_specs_within_specs_survive_json():
    inner = ai.spec("packed", initializer=ai.spec("orthogonal", gain=0.5), blocks=2)
    s = ai.spec("packed", initializer=[inner, ai.spec("zeros")], blocks=[np.int64(4), 2], layout="io")
    data = json.loads(json.dumps(s.as_dict()))
    assert data["initializer"][0] == {
        "name": "packed",
        "initializer": {"name": "orthogonal", "gain": 0.5},
        "blocks": 2,
    }
    for again in (ai.Spec.from_dict(data), pickle.loads(pickle.dumps(s)), eval(repr(s), {"spec": ai.spec})):
        assert again == s
        assert hash(again) == hash(s)
        assert same(again((5, 6), seed=1), s((5, 6), seed=1))


def test_a_spec_gives_its_law_for_a_geometry():
    where = geometry((6, 8))
    assert ai.spec("he_normal").law(where) == ai.spec("kaiming_normal").law(where)
    with pytest.raises(ValueError, match="`layout`"):
        ai.spec("he_normal", layout="io").law(where)


def test_from_dict_needs_a_name():
    with pytest.raises(ValueError, match="'name'"):
        ai.Spec.from_dict({"gain": 1.0})


DESCRIBED = [
    (ai.spec("uniform", a=-1.0, b=3.0), (50, 40), {}),
    (ai.spec("normal", mean=2.0, std=0.5), (50, 40), {}),
    (ai.spec("trunc_normal", std=2.0, a=-1.0, b=3.0), (50, 40), {}),
    (ai.spec("constant", val=0.25), (50, 40), {}),
    (ai.spec("eye"), (50, 40), {}),
    (ai.spec("dirac", groups=2), (8, 6, 3), {}),
    (ai.spec("xavier_uniform", gain=2.0), (50, 40), {}),
    (ai.spec("kaiming_normal", mode="fan_out"), (50, 4, 10), {}),
    (ai.spec("variance_scaling", mode="fan_avg"), (50, 40), {}),
    (ai.spec("variance_scaling", distribution="uniform"), (50, 40), {"dtype": "complex64"}),
    (ai.spec("lecun_normal", layout="io"), (50, 40), {"dtype": "complex64"}),
    (ai.spec("orthogonal", gain=3.0), (50, 40), {}),
    (ai.spec("sparse", sparsity=0.3, std=2.0), (50, 40), {}),
    (ai.spec("truncated_normal", mean=1.0, std=0.5, lower=-1.0, upper=3.0), (50, 40), {}),
    (ai.spec("truncated_normal", lower=-1.0, upper=1.0), (50, 40), {"dtype": "complex64"}),
    (ai.spec("siren"), (50, 40), {}),
    (ai.spec("siren", first=True), (50, 40), {}),
    (ai.spec("scaled_truncated_normal", gain=2.0, mode="fan_out"), (50, 40), {}),
    (ai.spec("small_normal"), (50, 40), {}),
    (ai.spec("wang_normal", layers=3), (50, 40), {}),
    (ai.spec("prior_bias"), (50,), {"dtype": "float64"}),
    (ai.spec("identity", gain=-2.0), (50, 40), {}),
    (ai.spec("delta_orthogonal", gain=2.0), (50, 40, 3), {}),
    (ai.spec("spectral_orthogonal", gain=2.0), (50, 40), {}),
    (ai.spec("bilinear"), (10, 10, 6, 6), {}),
    (ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=2), (50, 40), {}),
    (ai.spec("packed", initializer=[ai.spec("normal", mean=1.0), ai.spec("ones")], blocks=[30, 20]), (50, 40), {}),
    (ai.spec("packed", initializer=ai.spec("xavier_normal"), blocks=[30, 20]), (50, 40), {"dtype": "complex64"}),
    (ai.spec("icnr"), (60, 40, 3), {}),
    (ai.spec("lstm_bias"), (48,), {}),
    (ai.spec("chrono", t_max=100.0), (48,), {}),
    (ai.spec("mamba2_a_log"), (48,), {}),
    (ai.spec("mamba2_a_log", a_min=0.0, a_max=3.0), (48,), {}),
    (ai.spec("mamba_dt_bias"), (48,), {}),
    (ai.spec("lru_nu_log", r_min=0.5), (48,), {}),
    (ai.spec("lru_gamma_log", r_max=0.9), (48,), {}),
    (ai.spec("linspace", start=3.0, end=-6.0, zigzag=2.0, period=8), (3, 41), {"dtype": "float64"}),
    (ai.spec("hippo_legs"), (40, 40), {"dtype": "float64"}),
    (ai.spec("s4d", variant="real"), (3, 40), {}),
    (ai.spec("mamba_a_log"), (3, 40), {"dtype": "float64"}),
    (ai.spec("linspace", start=3.0, end=-6.0, power=1.7), (3, 41), {"dtype": "float64"}),
    (ai.spec("sinusoidal"), (50, 41), {"dtype": "float64"}),
    (ai.spec("zero_hadamard"), (33, 20, 3), {"dtype": "float64"}),
    (ai.spec("zero_hadamard"), (20, 33), {}),
    (ai.spec("distribution", distribution="gamma", parameters=(2.0, -1.0, 3.0)), (50, 40), {}),
    (ai.spec("distribution", distribution="beta", parameters=(0.5, 2.0)), (50, 40), {}),
    (ai.spec("distribution", distribution="norm"), (50, 40), {"dtype": "float32"}),
]


@pytest.mark.parametrize(("s", "shape", "more"), DESCRIBED, ids=lambda x: getattr(x, "name", None))
def test_descriptions_are_what_is_drawn(s, shape, more):
    told = ai.describe(s, shape, **more)
    x = np.concatenate([s(shape, seed=k, dtype=more.get("dtype", "float64")).ravel() for k in range(50)])
    n = x.size
    parts = x.view(x.real.dtype) if np.iscomplexobj(x) else x
    assert parts.min() >= told.low
    assert parts.max() <= told.high
    std = math.sqrt(np.mean(np.abs(x - told.mean) ** 2))
    assert std == pytest.approx(told.std, rel=6 / math.sqrt(n), abs=1e-12)
    assert abs(np.mean(x) - told.mean) <= 6 * told.std / math.sqrt(n) + 1e-12
    assert (told.name, told.shape) == (s.name, shape)


def test_describe_gives_fans_and_gain():
    told = ai.describe(ai.spec("kaiming_normal", nonlinearity="relu"), (512, 256, 3, 3))
    assert (told.fan_in, told.fan_out) == (2304, 4608)
    assert told.gain == math.sqrt(2)
    assert told.std == math.sqrt(2) / math.sqrt(2304)
    assert ai.describe("xavier_uniform", (6, 8), layout="io").fan_in == 6
    assert ai.describe("normal", (7,)).fan_in is None
    he = ai.spec("kaiming_normal")
    told = ai.describe(ai.spec("packed", initializer=he, blocks=3), (6, 8))
    assert (told.fan_in, told.fan_out, told.std, told.distribution) == (8, 2, math.sqrt(2) / math.sqrt(8), "normal")
    told = ai.describe(ai.spec("packed", initializer=he, blocks=[4, 2], layout="io"), (8, 6))
    assert (told.fan_in, told.distribution) == (None, "normal")
    assert ai.describe(ai.spec("delta_orthogonal"), (6, 4, 3)).fan_in == 12
    with pytest.raises(ValueError, match="dimensions"):
        ai.describe("xavier_uniform", (7,))


def test_descriptions_of_formulas_with_too_many_elements_and_with_complex_ones():
    told = ai.describe("sinusoidal", (2**32, 512))
    assert told.distribution == "formula"
    assert (told.mean, told.std) == (pytest.approx(0, abs=0.05), pytest.approx(math.sqrt(0.5), abs=0.05))
    told = ai.describe(ai.spec("s4d"), (2, 4), dtype="complex64")
    assert (told.mean, told.low, told.high) == (-0.5, -0.5, 3 * math.pi)
    assert told.std == pytest.approx(math.pi * math.sqrt(1.25))


@pytest.mark.parametrize("shape", [(), (0, 5), (37,), (5, 7, 3), (1, 64), (64, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_fingerprints_are_taken_part_by_part(monkeypatch, shape, order):
    x = np.asarray(np.arange(math.prod(shape), dtype="float32").reshape(shape), order=order)
    expected = ai.fingerprint(x)
    for size in (1, 4, 30, 200):
        monkeypatch.setattr("arrayinit.digests.sums.SLAB", size)
        assert ai.fingerprint(x) == expected
        assert ai.fingerprint(x.astype(">f4")) == expected


def test_a_fingerprint_of_a_transpose_is_no_copy_of_it():
    x = np.zeros((1 << 12, 1 << 13), "float32")  # 128 MiB
    tracemalloc.start()
    try:
        ai.fingerprint(x, layout="io")
        assert tracemalloc.get_traced_memory()[1] < 70 << 20
    finally:
        tracemalloc.stop()


def test_fingerprints_are_of_values_dtype_and_shape():
    x = ai.normal((4, 6), seed=0)
    marks = [ai.fingerprint(y) for y in (x, x.astype(np.float64), x.reshape(6, 4), x + 1, -x, x.view(np.int32))]
    assert len(set(marks)) == len(marks)
    assert ai.fingerprint(x.copy(order="F")) == ai.fingerprint(x)
    assert ai.fingerprint(np.ascontiguousarray(x.T), layout="io") == ai.fingerprint(x)
    assert ai.fingerprint(torch.from_numpy(x).T, in_axis=0, out_axis=1) == ai.fingerprint(x)
    assert ai.fingerprint(np.float32(0.0) * np.ones(3)) != ai.fingerprint(np.float32(-0.0) * np.ones(3))  # bits, not ==
    assert ai.fingerprint(np.zeros((0, 3))) != ai.fingerprint(np.zeros((3, 0)))
    assert len(ai.fingerprint(np.array(1.0))) == 32
    with pytest.raises(TypeError, match="array"):
        ai.fingerprint([1.0])
    with pytest.raises(TypeError, match="`x` must be an array of numbers; got dtype object"):
        ai.fingerprint(np.array([None, "a"]))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ai.Spec("nope")((3,)), ValueError, "`name` must be an initializer"),
        (lambda: ai.Spec(None), ValueError, "`name`"),
        (lambda: ai.Spec("__class__"), ValueError, "`name`"),
        (lambda: ai.Spec("normal", {"std": 1.0}), TypeError, "`items`"),
        (lambda: ai.Spec("normal", (("std",),)), TypeError, "`items`"),
        (lambda: ai.Spec("normal", (("std", 1.0), ("std", 2.0))), TypeError, "once"),
        (lambda: ai.Spec("normal", (("colour", 1.0),)), TypeError, "colour"),
        (lambda: ai.Spec("normal", (("std", np.ones(2)),)), TypeError, "`std`"),
        (lambda: ai.Spec("sparse"), TypeError, "sparsity"),
        (lambda: ai.Spec.from_dict(None), ValueError, "`data`"),
        (lambda: ai.Spec.from_dict({"name": "normal", 3: 4}), ValueError, "`data`"),
        (lambda: ai.spec("normal", std=np.timedelta64(3, "s")), TypeError, "`std`"),
        (lambda: ai.describe("normal", (2, 3), dtype=None), TypeError, "`dtype`"),
        (lambda: ai.describe("normal", (2, 3), dtype="f4,("), TypeError, "`dtype`"),
        (lambda: ai.fingerprint(np.array([object()])), TypeError, "`x`"),
        (lambda: ai.fingerprint(torch.eye(2).to_sparse()), TypeError, "`x`"),
    ],
)
def test_specs_that_are_none(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_descriptions_of_what_reaches_far():
    law = ai.spec("packed", initializer=[ai.spec("normal", std=1e200), ai.spec("zeros")], blocks=2)
    assert ai.describe(law, (4, 6), dtype="float64").std == math.inf  # its square is beyond float64


def test_a_description_prints_as_on_the_command_line(capsys):
    from arrayinit.cli import main

    text = str(ai.describe("kaiming_normal", (4, 6)))
    assert text.splitlines()[:4] == [
        "name          kaiming_normal", "shape         4x6", "distribution  normal", "fan_in        6",
    ]  # fmt: skip
    assert main(["describe", "kaiming_normal", "4x6"]) == 0
    assert capsys.readouterr().out == f"{text}\n"
    assert "gain          -" in str(ai.describe("normal", 3))
