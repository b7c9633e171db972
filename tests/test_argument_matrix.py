"""Each argument of each public name is given what it is not: it is refused by its name, or the call is right."""

import inspect

import numpy as np
import pytest
from wrong_calls import SOME, VALUES, Call, failures, library_values

import arrayinit as ai
import arrayinit.jax
import arrayinit.torch
from arrayinit import initializers, recipes, storage
from arrayinit.draw import KEYWORDS
from arrayinit.laws.geometry import geometry

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

EVERY = VALUES | library_values(torch, jax)

SHAPES = {
    "dirac": (4, 6, 3), "delta_orthogonal": (6, 4, 3), "icnr": (4, 6, 3), "lstm_bias": (8,), "chrono": (8,),
    "hippo_legs": (6, 6), "bilinear": (4, 4, 3),
}  # fmt: skip
GIVEN = {
    "constant": {"val": 0.5},
    "sparse": {"sparsity": 0.25},
    "wang_normal": {"layers": 1},
    "chrono": {"t_max": 100.0},
    "distribution": {"distribution": "gamma", "parameters": (2.0, 0.0, 0.5)},
    "s4d": {"variant": "real"},
    "packed": {"initializer": ai.spec("xavier_normal"), "blocks": 2},
    "mimetic": {"part": "query"},
    "lora_orthogonal": {"part": "A"},
}
SHARED = {
    "seed": 0, "name": 1, "layout": None, "in_axis": 1, "out_axis": 0, "batch_axis": (), "groups": 1,
    "transposed": False, "xp": None, "dtype": None, "device": None, "chunks": None, "index": 0, "shape": None,
}  # fmt: skip


def of_initializers():
    for name in initializers.NAMES:
        own = {p: GIVEN.get(name, {}).get(p, d) for p, d in defaults(getattr(initializers, name)).items()}
        shape = SHAPES.get(name, (4, 6))
        skip = ("x", "seed")
        yield Call(name, getattr(ai, name), {"x": shape, "seed": 0, **own}, skip=skip)
        fresh = {"x": lambda shape=shape: np.full(shape, 7.0)}
        yield Call(name + "_", getattr(ai, name + "_"), {"seed": 0, **own}, skip=skip, fresh=fresh)
    for name in ("normal", "zeros", "orthogonal", "packed"):
        given, skip = GIVEN.get(name, {}), tuple(GIVEN.get(name, {}))
        yield Call(f"{name}, shared", getattr(ai, name), {"x": (4, 6), **given, **SHARED}, skip=skip)
        fresh = {"x": lambda: np.full((4, 6), 7.0)}
        arguments = {**given, **SHARED, "index": None}
        yield Call(f"{name}_, shared", getattr(ai, name + "_"), arguments, skip=skip, fresh=fresh)


def defaults(function):
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in KEYWORDS}


AXES = {"layout": None, "in_axis": 1, "out_axis": 0, "batch_axis": (), "groups": 1, "transposed": False}


def numbers():
    yield Call("calculate_fans", ai.calculate_fans, {"shape": (4, 6, 3), **AXES})
    yield Call(
        "calculate_gain", ai.calculate_gain, {"nonlinearity": "leaky_relu", "param": 0.2}, takes={"param": ("None",)}
    )
    yield Call("gain", ai.gain, {"f": np.tanh, "moment": "second"}, without=("spec",))
    yield Call("describe", ai.describe, {"initializer": "kaiming_normal", "shape": (4, 6), "dtype": "float32", **AXES})
    yield Call("bits", ai.bits, {"shape": (4, 6), "seed": 0, "name": 1, "index": 0, "xp": None, "device": None})
    given = {"layout": None, "in_axis": 1, "out_axis": 0, "batch_axis": ()}
    yield Call("fingerprint", ai.fingerprint, {"x": np.ones((4, 6)), **given})


def specs():
    yield Call("spec", lambda name: ai.spec(name), {"name": "normal"})
    for name in initializers.NAMES:
        own = {p: GIVEN.get(name, {}).get(p, d) for p, d in defaults(getattr(initializers, name)).items()}
        if own:
            yield Call(f"spec of {name}", spec_drawn(name, SHAPES.get(name, (4, 6))), own)
    yield Call("Spec", drawn_spec, {"name": "normal", "items": (("std", 1.0),)})
    yield Call("Spec.from_dict", ai.Spec.from_dict, {"data": {"name": "normal", "std": 1.0}})
    yield Call("Spec.law", ai.spec("normal").law, {"geometry": geometry((4, 6))})


def spec_drawn(name, shape):
    return lambda **parameters: ai.spec(name, **parameters)(shape, seed=0)


def drawn_spec(name, items):
    return ai.Spec(name, items)((4, 6), seed=0)


def rules():
    given = {
        "pattern": "*",
        "initializer": ai.spec("normal"),
        "like": None,
        "kind": None,
        "lr_scale": 1.0,
        "eps_scale": 1.0,
        "optional": False,
        "min_ndim": None,
        "max_ndim": None,
        "keeps_frozen": False,
        "seed_of": None,
    }
    yield Call("Rule", ai.Rule, given, takes={"initializer": ("None",), "pattern": ("function", "type")})
    yield Call("Rule.from_dict", ai.Rule.from_dict, {"data": {"pattern": "*", "initializer": "normal"}})
    yield Call("Rules", ai.Rules, {"rules": {"*": "normal"}}, takes={"rules": ("list", "dict")})
    yield Call("Rules.from_dict", ai.Rules.from_dict, {"data": {"rules": []}})
    yield Call("Rules.from_json", ai.Rules.from_json, {"text": '{"rules": []}'})
    yield Call("Rules.from_toml", ai.Rules.from_toml, {"text": "rules = []"})
    given = {"path": "a.b", "shape": (2, 3), "kinds": ()}
    yield Call("Rules.find", ai.Rules({"*": "normal"}).find, given)


def seeds():
    yield Call("Key", ai.Key, {"seed": 0})
    yield Call("Key.fold", ai.Key(0).fold, {"name": "a"})
    yield Call("fold", ai.fold, {"key": 0, "name": "a"})
    yield Call("manual_seed", ai.manual_seed, {"seed": 0})
    yield Call("seeded", first_key, {"seed": 0})


def first_key(seed):
    with ai.seeded(seed):
        return ai.bits(3)


def recipe_calls():
    yield Call("recipe", lambda name: recipes.recipe(name), {"name": "gpt2"})
    flags = ("None", "True", "False")
    takes = {"layers": ("None",), "zero_centered_norms": flags, "rescale": flags}
    for name, function in recipes.RECIPES.items():
        given = {p.name: p.default for p in inspect.signature(function).parameters.values()}
        if given:
            yield Call(f"recipe {name}", function, given, takes=takes)
    yield Call("deepnorm_constants", recipes.deepnorm_constants, {"encoder_layers": 0, "decoder_layers": 12})


def of_torch():
    of_models = ("init_module_", "lsuv_", "unit_output_", "param_init_")
    for name in (name for name in arrayinit.torch.__all__ if name.endswith("_") and name not in of_models):
        function = getattr(arrayinit.torch, name)
        own = {p: GIVEN.get(name[:-1], {}).get(p, d) for p, d in defaults(function).items() if p != "keywords"}
        if "generator" in own:
            own |= {"seed": 0, "name": None}
        fresh = {"tensor": lambda name=name: torch.full(SHAPES.get(name[:-1], (4, 6)), 7.0)}
        names = {"tensor": ("dtype", "shape"), "generator": ("seed",), "seed": ("generator",)}
        numbers = ("True", "False", "boolean tensor", "longdouble")  # which torch takes for 1 and 0, and for infinity
        takes = {p: numbers for p, value in own.items() if isinstance(value, int | float)} | {"tensor": tuple(EVERY)}
        yield Call(f"torch.{name}", function, own, names, (NotImplementedError,), (), takes, fresh=fresh)
    fresh = {"module": lambda: torch.nn.Linear(3, 2)}
    given = {"rules": {"*": "ones"}, "seed": 0, "seed_names": None, "dry_run": False, "device": None, "progress": None}
    takes = {"progress": ("True", "False"), "seed_names": ("function", "dict")}
    without = ("spec", "type")  # functions, whose own errors `seed_names` lets through
    yield Call("torch.init_module_", arrayinit.torch.init_module_, given, PLAN, (), (), takes, without, fresh)


PLAN = {"rules": ("parameters",), "seed_names": ("name",), "tree": ("dtype", "parameters")}


def of_jax():
    own, axes = arrayinit.jax, {"in_axis": 0, "out_axis": 1, "batch_axis": ()}
    drawn = {
        "constant": {"value": 0.5}, "uniform": {"scale": 1.0}, "normal": {"stddev": 1.0},
        "truncated_normal": {"stddev": 1.0, "lower": -2.0, "upper": 2.0},
        "variance_scaling": {"scale": 1.0, "mode": "fan_in", "distribution": "normal", **axes},
        "glorot_uniform": axes,
        "orthogonal": {"scale": 1.0, "column_axis": 1}, "delta_orthogonal": {"scale": 1.0, "column_axis": 1},
    }  # fmt: skip
    for name, given in drawn.items():
        shape = (3, 4, 6) if name == "delta_orthogonal" else (4, 6)
        function = initialized(getattr(own, name), shape)
        names = {"value": ("val",), "column_axis": ("out_axis", "in_axis"), "scale": ("gain", "b"), "stddev": ("std",)}
        yield Call(f"jax.{name}", function, {**given, "dtype": None}, names)
    given = {"key": 0, "shape": (4, 6), "dtype": None, "out_sharding": None}
    names = {"key": ("seed",), "out_sharding": ("device",)}
    yield Call("jax.Initializer", own.he_normal(), given, names)
    yield Call(
        "jax.initializer",
        initialized(own.initializer, (4, 6)),
        {"spec": "he_normal", "dtype": None},
        {"spec": ("name",)},
    )
    tree = {"a": jax.ShapeDtypeStruct((2, 3), "float32")}
    given = {
        "tree": tree,
        "rules": {"*": "ones"},
        "seed": 0,
        "seed_names": None,
        "shardings": None,
        "dry_run": False,
        "progress": None,
    }
    takes = {"progress": ("True", "False"), "seed_names": ("function", "dict"), "tree": tuple(EVERY)}
    yield Call("jax.init_tree", own.init_tree, given, PLAN, takes=takes, without=("spec", "type"))


def initialized(make, shape):
    return lambda **given: make(**given)(0, shape)


def models():
    fresh = {"params": lambda: {"a": np.zeros((2, 3), "float32")}}
    given = {"rules": {"*": "ones"}, "seed": 0, "seed_names": None, "dry_run": False, "progress": None}
    takes = {"progress": ("True", "False"), "seed_names": ("function", "dict"), "params": ("list", "dict")}
    yield Call("init_params_", ai.init_params_, given, PLAN, (), (), takes, ("spec", "type"), fresh)
    given = {"model": {"a": np.ones((2, 3), "float32")}, "rules": {"*": "ones"}, "values": True, "progress": None}
    takes = {
        "progress": ("True", "False"),
        "model": ("dict", "list", "bool_", "datetime64", "float32", "int64", "longdouble", "timedelta64"),
        "rules": ("None", "list", "dict"),
    }
    yield Call("report", ai.report, given, PLAN, takes=takes)


def files(folder):
    given = {"initializer": "normal", "seed": 0, "name": 1, "journal": None, "progress": None, "part": 64}
    names, takes = {"initializer": ("name",)}, {"progress": ("True", "False")}
    fresh = {"x": lambda: np.zeros((2, 3), "float32")}
    yield Call("fill_", storage.fill_, given, names, (OSError,), ("journal", "x"), takes, fresh=fresh)
    given = {"x": np.zeros((2, 3), "float32"), "initializer": "normal", "seed": 0}
    yield Call("fill_, x", storage.fill_, given, {}, (), ("initializer", "seed"), {"x": tuple(EVERY)})

    def saved(tensors, seed, metadata, force, progress, part):
        file = folder / f"{len(list(folder.iterdir()))}.safetensors"
        storage.save_safetensors(file, tensors, seed=seed, metadata=metadata, force=force, progress=progress, part=part)
        return file.read_bytes()

    tensors = {"w": storage.Tensor(ai.spec("normal"), (2, 3))}
    given = {"tensors": tensors, "seed": 0, "metadata": None, "force": False, "progress": None, "part": 64}
    takes |= {"tensors": ("dict",), "metadata": ("dict",)}
    yield Call("save_safetensors", saved, given, {"seed": ("name",)}, takes=takes)

    def saved_one(initializer, shape, dtype, name):
        return saved({"w": storage.Tensor(initializer, shape, dtype, name)}, 0, None, False, None, 64)

    given = {"initializer": ai.spec("normal"), "shape": (2, 3), "dtype": "float32", "name": None}
    yield Call("Tensor", saved_one, given, {"initializer": ("tensors",), "shape": ("shape of w",)})


def plots():
    plot = pytest.importorskip("arrayinit.plot")
    pytest.importorskip("matplotlib")
    given = {
        "recipes": {"a": {"*": "ones"}},
        "inputs": torch.ones(2, 3),
        "params": None,
        "layers": None,
        "loss": None,
        "seed": 0,
    }
    takes = {"layers": ("function", "type"), "inputs": tuple(EVERY), "recipes": ("dict",)}
    fresh, names = {"model": lambda: torch.nn.Linear(3, 2)}, {"seed": ("name",), "params": ("model",)}
    skip = ("inputs", "recipes", "loss")  # which are of the model's own kind, and run it
    yield Call(
        "plot.depth_scales", plot.depth_scales, given, names, (), skip, takes, ("type", "function", "spec"), fresh
    )
    given = {"model": {"a": np.ones((2, 3))}, "rules": None, "layers": None, "bins": 4, "columns": 1, "title": None}
    takes = {"title": tuple(EVERY), "model": tuple(EVERY), "rules": ("list", "dict"), "layers": ("function", "type")}
    yield Call("plot.weights", drawn(plot.weights), given, {}, (), ("title",), takes, ("type", "function", "spec"))


def drawn(function):
    return lambda **given: len(function(**given).axes)


CALLS = {
    call.label: call
    for group in (of_initializers, numbers, specs, rules, seeds, recipe_calls, of_torch, of_jax, models, plots)
    for call in group()
}


@pytest.mark.parametrize("label", CALLS)
def test_some_wrong_calls(label):
    assert failures(CALLS[label], EVERY, SOME) == []


@pytest.mark.slow
@pytest.mark.parametrize("label", CALLS)
def test_wrong_calls(label):
    assert failures(CALLS[label], EVERY) == []


@pytest.mark.parametrize("count", [SOME, pytest.param(None, marks=pytest.mark.slow)])
def test_wrong_calls_of_files(tmp_path, count):
    assert [said for call in files(tmp_path) for said in failures(call, EVERY, count)] == []
