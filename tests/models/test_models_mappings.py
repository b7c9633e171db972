"""Mappings of arrays: filled in place where they can be, replaced where not, left alone where anything is wrong."""

from types import MappingProxyType

import numpy as np
import pytest
from conftest import namespace, same

import arrayinit as ai

NORMAL = ai.spec("normal", std=0.02)
RULES = {"*.b": "zeros", "*": NORMAL}


def model():
    return {
        "embed": np.ones((5, 4), "float32"),
        "layers": {
            "0": {"w": np.ones((4, 3)), "b": np.ones(3)},
            "1": {"w": np.ones((3, 2), "float16"), "b": np.ones(2)},
        },
    }


def test_numpy():
    params = model()
    held = params["layers"]["0"]["w"]
    assert ai.init_params_(params, RULES, seed=1) is params
    assert params["layers"]["0"]["w"] is held
    assert same(held, NORMAL((4, 3), seed=1, name="layers.0.w", dtype="float64"))
    assert same(params["layers"]["1"]["w"], NORMAL((3, 2), seed=1, name="layers.1.w", dtype="float16"))
    assert same(params["embed"], NORMAL((5, 4), seed=1, name="embed"))
    assert (params["layers"]["0"]["b"] == 0).all()


@pytest.mark.parametrize("library", ["jax", "dask", "torch"])
def test_other_libraries(library):
    namespace(library)
    params = {"w": ai.zeros((40, 30), xp=library), "deep": {"v": ai.zeros((7,), xp=library)}}
    before = params["w"]
    ai.init_params_(params, {"*": NORMAL}, seed=1)
    assert same(params["w"], NORMAL((40, 30), seed=1, name="w"))
    assert same(params["deep"]["v"], NORMAL((7,), seed=1, name="deep.v"))
    assert (params["w"] is before) == (library == "torch")


@pytest.mark.parametrize("library", ["numpy", "jax"])
def test_lists(library):
    namespace(library)
    params = {"layers": [{"w": ai.zeros((4, 3), xp=library)}, {"w": ai.zeros((4, 3), xp=library)}]}
    ai.init_params_(params, {"layers.*.w": NORMAL}, seed=1)
    for k, layer in enumerate(params["layers"]):
        assert same(layer["w"], NORMAL((4, 3), seed=1, name=f"layers.{k}.w"))


@pytest.mark.parametrize("library", ["numpy", "jax"])
def test_tied_arrays_stay_tied(library):
    namespace(library)
    w = ai.zeros((4, 3), xp=library)
    params = {"embed": w, "head": w, "other": ai.ones((4, 3), xp=library)}
    ai.init_params_(params, {"*": NORMAL}, seed=1)
    assert params["head"] is params["embed"]
    assert same(params["head"], NORMAL((4, 3), seed=1, name="embed"))
    assert not same(params["other"], params["head"])


def test_arrays_of_the_same_memory_are_tied():
    torch = namespace("torch")
    x = np.zeros((4, 3), np.float32)
    params = {"embed": x, "head": x[:], "other": np.zeros((4, 3))}
    made = ai.init_params_(params, {"*": NORMAL}, seed=1, dry_run=True)
    assert [(entry.path, entry.parameter.tied) for entry in made] == [("embed", ("head",)), ("other", ())]
    ai.init_params_(params, {"*": NORMAL}, seed=1)
    assert same(params["head"], NORMAL((4, 3), seed=1, name="embed"))
    t = torch.zeros(4, 3)
    assert len(ai.init_params_({"a": t, "b": t.detach()}, {"*": NORMAL}, seed=1, dry_run=True)) == 1


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_arrays_that_share_a_part_of_their_memory(library):
    namespace(library)
    x = ai.ones((4, 4), xp=library)
    for view in (x.T, x[1:], x.reshape(16)[3:6]):
        with pytest.raises(ai.PlanError) as caught:
            ai.init_params_({"a": x, "b": view, "c": ai.ones(4)}, {"*": NORMAL}, seed=1)
        assert set(caught.value.problems) == {"a", "b"}
        assert "shares a part of its memory with a" in caught.value.problems["b"]
    assert (x == 1).all()
    ai.init_params_({"a": x, "b": x.T}, {"*": None}, seed=1)
    flat = ai.ones((16,), xp=library)
    params = {"a": flat[:8].reshape(2, 4), "b": flat[8::2], "c": flat[9::2]}
    ai.init_params_(params, {"*": NORMAL}, seed=1)
    for name, array in params.items():
        assert same(array, NORMAL(tuple(array.shape), seed=1, name=name))


def test_memory_that_libraries_share():
    torch = namespace("torch")
    x = np.ones((4, 4), np.float32)
    with pytest.raises(ai.PlanError, match=r"b .*shares a part of its memory with a"):
        ai.init_params_({"a": x, "b": torch.from_numpy(x)}, {"*": NORMAL}, seed=1)


def test_parameters_that_are_frozen_or_loaded():
    torch = namespace("torch")
    params = {
        "plain": torch.ones(3),  # which requires no gradient, as all tensors
        "table": torch.nn.Parameter(torch.ones(3), requires_grad=False),
        "loaded": torch.nn.Parameter(torch.ones(3)),
    }
    params["loaded"]._is_hf_initialized = True
    with pytest.raises(ai.PlanError) as caught:
        ai.init_params_(params, {"*": NORMAL}, seed=1)
    assert set(caught.value.problems) == {"table"}
    ai.init_params_(params, {"table": None, "*": NORMAL}, seed=1)
    assert (params["loaded"] == 1).all()
    ai.init_params_(params, {"*": NORMAL}, seed=1, frozen="keep")
    assert (params["table"] == 1).all()
    assert same(params["plain"], NORMAL((3,), seed=1, name="plain"))
    ai.init_params_(params, {"*": NORMAL}, seed=1, frozen="draw")
    assert same(params["loaded"], NORMAL((3,), seed=1, name="loaded"))


def test_nothing_is_drawn_into_no_memory_without_a_word():
    torch = namespace("torch")
    params = {"w": torch.empty(3, device="meta"), "v": np.ones(3)}
    with pytest.raises(ai.PlanError, match=r"w .*has a shape, and no memory to be filled"):
        ai.init_params_(params, {"*": NORMAL}, seed=1)
    ai.init_params_(params, {"w": None, "*": NORMAL}, seed=1)


def test_arrays_that_share_a_path():
    params = {"a.b": np.ones(3), "a": {"b": np.ones(3)}, "c": np.ones(3), 1: np.ones(2), "1": np.ones(2)}
    with pytest.raises(ai.PlanError) as caught:
        ai.init_params_(params, {"*": NORMAL}, seed=1)
    assert caught.value.problems == {"a.b": "2 of the arrays have this path", "1": "2 of the arrays have this path"}
    assert (params["c"] == 1).all()


def test_what_can_be_replaced_nowhere_is_told_before_anything_is_drawn():
    jnp = namespace("jax.numpy")
    params = {"first": np.ones(3), "rest": MappingProxyType({"w": jnp.ones(3)})}
    with pytest.raises(ai.PlanError, match=r"rest\.w .*must be in a mapping that can be changed"):
        ai.init_params_(params, {"*": NORMAL}, seed=1)
    assert (params["first"] == 1).all()
    ai.init_params_(params, {"first": NORMAL, "*": None}, seed=1)


def test_a_trace_needs_a_seed():
    jax = namespace("jax")
    with pytest.raises(ValueError, match="`seed` must be given inside a JAX trace"):
        jax.jit(lambda x: ai.init_params_({"a": x}, {"*": NORMAL}, seed=None)["a"])(jax.numpy.ones(3))
    drawn = jax.jit(lambda key: ai.init_params_({"a": jax.numpy.ones(3)}, {"*": NORMAL}, seed=key)["a"])
    assert same(drawn(jax.random.key(1)), NORMAL((3,), seed=1, name="a"))


@pytest.mark.parametrize("params", [None, np.ones(3), 3, "w"])
def test_what_is_no_mapping(params):
    with pytest.raises(TypeError, match="`params` must be a mapping of names to arrays"):
        ai.init_params_(params, {"*": NORMAL}, seed=1)


def test_progress_counts_elements(capfd):
    namespace("rich")
    ai.init_params_({"w": np.ones((40, 30)), "b": np.ones(30)}, {"*": NORMAL}, seed=1, progress=True)
    assert "parameters" in (shown := capfd.readouterr().err)
    assert "1,230/1,230" in shown


def test_dry_run_draws_nothing():
    params = model()
    made = ai.init_params_(params, RULES, seed=1, dry_run=True)
    assert [entry.path for entry in made] == ["embed", "layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b"]
    assert all((x == 1).all() for x in (params["embed"], params["layers"]["0"]["w"]))


def test_a_renamed_parameter_keeps_its_values():
    old, new = {"fc": {"w": np.zeros((4, 3))}}, {"proj": {"w": np.zeros((4, 3))}}
    ai.init_params_(old, {"*": NORMAL}, seed=1)
    ai.init_params_(new, {"*": NORMAL}, seed=1, seed_names={"proj.w": "fc.w"})
    assert same(new["proj"]["w"], old["fc"]["w"])


def test_errors_leave_all_as_it_was():
    params = model() | {"locked": np.ones((2, 2)), "count": np.ones(3, "int32")}
    params["locked"].flags.writeable = False
    with pytest.raises(ai.PlanError, match=r"locked.*read-only"):
        ai.init_params_(params, {"count": None, **RULES}, seed=1)
    with pytest.raises(ai.PlanError, match=r"count.*not floating.*no rule matches"):
        ai.init_params_(params, {"l*": None, "e*": NORMAL}, seed=1)
    params["layers"]["2"] = 3
    with pytest.raises(TypeError, match=r"`params` must hold arrays.*got 3 at 'layers\.2'"):
        ai.init_params_(params, RULES, seed=1)
    assert all((x == 1).all() for x in (params["embed"], params["layers"]["0"]["w"], params["locked"]))
    kept = {"locked": params["locked"], "w": np.ones((2, 2))}
    ai.init_params_(kept, {"locked": None, "w": "zeros"}, seed=1)
    assert (kept["locked"] == 1).all()


def test_dask_arrays_of_unknown_shape_are_named():
    array = pytest.importorskip("dask.array")
    x = array.arange(6, chunks=3)
    for call in (
        lambda: ai.init_params_({"a": {"b": x[x > 2]}}, {"*": "zeros"}, seed=0),
        lambda: ai.report({"a.b": x[x > 2]}),
    ):
        with pytest.raises(ai.PlanError, match=r"a\.b .*of unknown shape: call its compute_chunk_sizes"):
            call()
