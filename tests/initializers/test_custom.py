"""Schemes of one's own: equal on all backends and in all forms, as the built-in ones are; wrong ones are refused."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import dask.array
import jax
import numpy as np
import own_schemes
import pytest
import torch
from conftest import PLACES, same

import arrayinit as ai
import arrayinit.jax
import arrayinit.torch
from arrayinit.initializers import path_of
from arrayinit.initializers.custom import custom_names
from arrayinit.laws import Bits, Constant, Formula, Normal, Orthogonal, Rows, Truncated, Uniform

HELPERS = str(Path(own_schemes.__file__).parent)

# Built-in ones, too: whatever holds for them must hold for all.
SCHEMES = [
    (ai.spec("lab.laplace_he", gain=0.5), (12, 7)),
    (ai.spec("lab.block_orthogonal", gains=(0.5, 3.0)), (12, 7)),
    (ai.spec("lab.by_frequency"), (12, 7)),
    (ai.spec("lab.by_frequency", offset=3.0), (5, 3, 2, 2)),
    (ai.spec("lab.by_input"), (5, 9)),
    (ai.spec("lab.by_depth", path="layers.3.wo"), (4, 6)),
    (ai.spec("lab.ramped"), (6, 4)),
    (ai.spec("lab.grouped", groups=2), (6, 4, 3)),
    (ai.spec("xavier_uniform"), (6, 4)),
    (ai.spec("sparse", sparsity=0.3), (6, 4)),
]
scheme_of_all = pytest.mark.parametrize(("s", "shape"), SCHEMES, ids=lambda value: getattr(value, "name", None))


def is_inexact(s):
    return s.name == "lab.block_orthogonal"


def agree(s, x, y):
    x, y = np.asarray(x), np.asarray(y)
    if is_inexact(s):
        return x.shape == y.shape and (np.abs(x - y) <= 1e-5).all()
    return x.dtype == y.dtype and np.array_equal(x, y)


def test_all_that_the_helper_registers_is_tested():
    own = {name for name in custom_names() if path_of(name).startswith("own_schemes:")}
    assert own <= {s.name for s, _ in SCHEMES}
    assert len(own) == 7


@scheme_of_all
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "complex64"])
def test_all_places_and_precisions(s, shape, dtype):
    wide = s(shape, seed=5, name="w", dtype="complex128" if dtype == "complex64" else "float64")
    for place in PLACES:
        if dtype not in place.dtypes:
            continue
        with place.precision(dtype):
            drawn = s(shape, seed=5, name="w", dtype=dtype, **place.where)
            if is_inexact(s):
                continue
            assert ai.fingerprint(drawn) == ai.fingerprint(s(shape, seed=5, name="w", dtype=dtype, xp="torch")), place
    if dtype == "float32":
        assert agree(s, s(shape, seed=5, name="w"), wide.astype(np.float32))


@scheme_of_all
@pytest.mark.parametrize("index", [np.s_[2:], np.s_[::-2, 1:], np.s_[1], np.s_[..., -1], np.s_[2:2]], ids=str)
def test_a_part_is_a_slice(s, shape, index):
    whole = s(shape, seed=3)
    assert agree(s, s(shape, seed=3, index=index), whole[index])
    local = torch.empty(whole[index].shape)
    assert agree(s, s.fill_(local, seed=3, shape=shape, index=index), whole[index])


@scheme_of_all
def test_forms_of_a_draw(s, shape):
    wanted = s(shape, seed=3, name="w")
    x = np.empty(shape, np.float32)
    assert s.fill_(x, seed=3, name="w") is x
    assert agree(s, x, wanted)
    strided = np.empty((*shape[:-1], 2 * shape[-1]), np.float32)[..., ::2]
    assert agree(s, s.fill_(strided, seed=3, name="w"), wanted)
    assert agree(s, s(torch.empty(shape), seed=3, name="w"), wanted)
    chunked = s(shape, seed=3, name="w", xp=dask.array, chunks=2)
    assert agree(s, chunked.compute(scheduler="synchronous"), wanted)
    jitted = jax.jit(lambda key: s(shape, seed=key, name="w", xp="jax"))(jax.random.key(3))
    assert agree(s, jitted, wanted)
    as_param = arrayinit.jax.initializer(ai.spec(s.name, **({"in_axis": 1, "out_axis": 0} | s.parameters)))
    by_key = as_param(jax.random.key(3), shape)
    assert agree(s, by_key, ai.spec(s.name, **({"in_axis": 1, "out_axis": 0} | s.parameters))(shape, seed=3))
    torch.compiler.reset()  # the function below is one for the compiler, which recompiles it a few times only
    compiled = torch.compile(lambda y: s(y, seed=3, name="w"), fullgraph=True, backend="eager")
    assert agree(s, compiled(torch.empty(shape)), wanted)


@scheme_of_all
def test_layout_is_only_layout(s, shape):
    if len(shape) != 2:
        pytest.skip("of matrices")
    assert agree(s, s(shape[::-1], seed=3, layout="io").T, s(shape, seed=3))
    by_axes = s(shape[::-1], seed=3, in_axis=0, out_axis=1)
    assert agree(s, by_axes.T, s(shape, seed=3))


@scheme_of_all
def test_a_spec_is_data(s, shape):
    wanted = s(shape, seed=3)
    rules = ai.Rules({"*": s})
    for again in (
        pickle.loads(pickle.dumps(s)),
        ai.Spec.from_dict(json.loads(json.dumps(s.as_dict()))),
        ai.Rules.from_json(rules.to_json())[0].initializer,
        ai.Rules.from_toml(rules.to_toml())[0].initializer,
    ):
        assert again == s
        assert np.array_equal(again(shape, seed=3), wanted)
    described = ai.describe(s, shape)
    assert described.low <= wanted.min()
    assert wanted.max() <= described.high


@scheme_of_all
def test_models(s, shape):
    if len(shape) > 2:
        pytest.skip("of matrices: what more axes mean is open in a model")
    module = torch.nn.Module()
    module.w = torch.nn.Parameter(torch.empty(shape))
    arrayinit.torch.init_module_(module, {"w": s}, seed=9)
    wanted = ai.spec(s.name, **({"path": "w"} if s.name == "lab.by_depth" else {}) | s.parameters)(
        shape, seed=9, name="w"
    )
    assert agree(s, module.w.detach(), wanted)
    drawn = ai.init_params_({"w": np.empty(shape, np.float32)}, {"w": s}, seed=9)
    assert agree(s, drawn["w"], wanted)
    if len(shape) == 2:  # which JAX's trees hold as (in, out)
        tree = arrayinit.jax.init_tree({"w": jax.ShapeDtypeStruct(shape[::-1], np.float32)}, {"w": s}, seed=9)
        assert agree(s, tree["w"].T, wanted)
    report = ai.report(module, {"w": s})
    assert "deviates" not in str(report)


def test_values_of_laplace_he():
    w = own_schemes.laplace_he((400, 300), gain=2.0, seed=0)
    assert w.std() == pytest.approx(2 / 300**0.5, rel=0.02)
    assert np.abs(w).mean() == pytest.approx(2 / 600**0.5, rel=0.01)  # of a Laplace law, the scale


def test_values_of_block_orthogonal():
    w = own_schemes.block_orthogonal((8, 6), gains=(0.5, 3.0), seed=0, dtype="float64")
    for block, gain in ((w[:4], 0.5), (w[4:], 3.0)):
        assert np.allclose(block @ block.T, gain**2 * np.eye(4), atol=1e-5)


def test_a_row_does_not_depend_on_the_others():
    w = own_schemes.by_frequency((6, 5), seed=0)
    assert not w[0].any()
    for k in range(1, 6):
        assert np.array_equal(w[k], ai.normal((6, 5), std=1 / (k + 1) ** 0.5, seed=0)[k])
    transposed = own_schemes.by_frequency((5, 6), layout="io", seed=0)
    assert np.array_equal(transposed.T, w)


def test_rows_of_many_kinds_under_jit():
    for s, shape in ((ai.spec("lab.by_input"), (7, 8)), (ai.spec("lab.by_frequency"), (600, 3))):
        for dtype in ("float32", "bfloat16", "complex64"):
            draw = jax.jit(lambda key, s=s, shape=shape, dtype=dtype: s(shape, seed=key, xp="jax", dtype=dtype))
            assert same(draw(jax.random.key(4)), s(shape, seed=4, xp="torch", dtype=dtype))


def test_depth_follows_the_path_of_a_parameter():
    weights = {f"layers.{k}.wo": np.empty((50, 60), np.float32) for k in range(3)}
    plan = ai.Rules({"*.wo": "lab.by_depth"})
    drawn = ai.init_params_(weights, plan, seed=1)
    for k in range(3):
        path = f"layers.{k}.wo"
        assert np.array_equal(drawn[path], ai.normal((50, 60), std=0.02 / (2 * (k + 1)) ** 0.5, seed=1, name=path))
    other = {"layers.2.wo": np.empty((5, 6), np.float32)}
    fixed = ai.init_params_(other, {"*": ai.spec("lab.by_depth", path="layers.0")}, seed=1)
    assert np.array_equal(fixed["layers.2.wo"], ai.normal((5, 6), std=0.02 / 2**0.5, seed=1, name="layers.2.wo"))
    with pytest.raises(ai.PlanError, match=r"lab\.by_depth: 'NoneType' object is not subscriptable"):
        ai.init_params_({"a.wo": np.empty((5, 6), np.float32)}, plan, seed=1)


def test_names_and_paths():
    s = ai.spec("own_schemes:by_frequency")
    assert s == ai.spec("lab.by_frequency")
    assert s.as_dict() == {"name": "lab.by_frequency"}
    assert ai.Spec("own_schemes:laplace_he").name == "lab.laplace_he"
    assert pickle.loads(pickle.dumps(own_schemes.laplace_he)) is own_schemes.laplace_he
    with pytest.raises(TypeError, match=r"write arrayinit\.spec\('lab\.by_frequency'\)"):
        ai.Rules({"*": own_schemes.by_frequency})
    with pytest.raises(ValueError, match="import its module first"):
        ai.Rules.from_toml('rules = [{pattern = "*", initializer = "own_schemes:nothing"}]')
    with pytest.raises(ValueError, match=r"did you mean 'lab\.laplace_he'"):
        ai.spec("lab.laplace_hee")


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, cwd=HELPERS
    )


def test_other_processes():
    # A document imports nothing; pickle imports the module that registers, as it does for functions.
    text = ai.Rules({"*": "lab.laplace_he"}).to_json()
    done = run("import sys, arrayinit as ai; ai.Rules.from_json(sys.argv[1])", text)
    assert "for a scheme of your own, import its module first" in done.stderr
    done = run("import sys, arrayinit as ai, own_schemes; print(ai.Rules.from_json(sys.argv[1]))", text)
    assert done.stdout.split() == ["*", "lab.laplace_he"]
    data = pickle.dumps(ai.spec("lab.laplace_he", gain=2.0)).hex()
    done = run("import sys, pickle; s = pickle.loads(bytes.fromhex(sys.argv[1])); print(s((2, 3), seed=0).sum())", data)
    assert done.stdout.strip() == str(own_schemes.laplace_he((2, 3), gain=2.0, seed=0).sum()), done.stderr


def test_command_line(tmp_path):
    rules, shapes = tmp_path / "rules.toml", tmp_path / "shapes.json"
    rules.write_text(ai.Rules({"*": ai.spec("lab.laplace_he", gain=2.0)}).to_toml())
    shapes.write_text('{"w": [4, 6]}')

    def command(*words):
        return subprocess.run(
            [sys.executable, "-m", "arrayinit", *words], capture_output=True, text=True, timeout=120, cwd=HELPERS
        )

    done = command("describe", "--import", "own_schemes", "lab.laplace_he", "512x200", "--gain", "2")
    assert f"{2 / 200**0.5:.5g}" in done.stdout
    words = ["init", "--like", str(shapes), "--rules", str(rules), "--seed", "3", "-o", str(tmp_path / "w.safetensors")]
    refused = command(*words)
    assert refused.returncode == 2
    assert "'lab.laplace_he'" in refused.stderr
    done = command(*words, "--import", "own_schemes")
    assert done.returncode == 0, done.stderr
    from safetensors.numpy import load_file

    assert np.array_equal(
        load_file(tmp_path / "w.safetensors")["w"], own_schemes.laplace_he((4, 6), gain=2.0, seed=3, name="w")
    )
    assert command("describe", "--import", "nowhere", "normal", "3").returncode == 2


def test_arguments_of_a_call():
    f = own_schemes.laplace_he
    assert np.array_equal(f((2, 3), 0.5, seed=0), f((2, 3), gain=np.float64(0.5), seed=0))
    for call, words in (
        (lambda: f((2, 3), 1.0, 2.0), "at most 1 more positional"),
        (lambda: f((2, 3), 1.0, gain=2.0), "`gain` once"),
        (lambda: f((2, 3), gian=2.0), "did you mean `gain`"),
        (lambda: f((2, 3), gain=np.ones(2)), "`gain` must be plain data"),
        (lambda: f((2, 3), gain=torch.tensor(2.0)), "`gain` must be plain data"),
        (lambda: f("x"), "`x` must be an array"),
        (lambda: f.fill_((2, 3)), "`x` must be an array to be filled"),
    ):
        with pytest.raises(TypeError, match=words):
            call()


# --- what is no scheme ------------------------------------------------------------------------------------------------


counter = iter(range(10**6))


def returning(value):
    def scheme(geometry):
        return value

    return ai.scheme(name=f"returning{next(counter)}")(scheme)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (None, TypeError, "must return a law of arrayinit.laws or a spec, and draw nothing itself; got None"),
        (np.ones((2, 3)), TypeError, r"got an array of shape \(2, 3\)"),
        (torch.ones(2), TypeError, r"got an array of shape \(2,\)"),
        (0.02, TypeError, "got 0.02"),
        ("normal", TypeError, "got 'normal'"),
        (Normal, TypeError, "Normal"),
        (Bits(), TypeError, "Bits"),
        (Normal(0.0, -1.0), ValueError, "`std` must not be negative; got -1.0"),
        (Normal(float("nan"), 1.0), ValueError, "`mean` must be finite; got nan"),
        (Normal(0.0, "1"), TypeError, "`std` must be a real number"),
        (Normal(0.0, True), TypeError, "`std` must be a real number"),
        (Uniform(1.0, 1.0), ValueError, "`low` must be less than `high`"),
        (Uniform(0.0, float("inf")), ValueError, "`high` must be finite"),
        (Truncated(0.0, 1.0, 2.0, 1.0), ValueError, "`low` must be less than `high`"),
        (Constant(float("inf")), ValueError, "`value` must be finite"),
        (Constant(1j), TypeError, "`value` must be a real number"),
        (Rows([Normal(0.0, 1.0)]), ValueError, "one for each of the 2 indices of axis 0; got 1"),
        (Rows([Normal(0.0, 1.0)] * 2, axis=5), ValueError, "`axis` must be one of the 2 axes; got 5"),
        (Rows([Normal(0.0, 1.0)] * 2, axis="batch"), ValueError, "`axis` must name an axis of the shape; got 'batch'"),
        (Rows([Normal(0.0, 1.0)] * 2, axis="outer"), ValueError, "`axis` must be one of 'out', 'in', 'batch'"),
        (Rows([Normal(0.0, 1.0)] * 2, axis=None), TypeError, "`axis` must be an integer"),
        (Rows([Orthogonal(1.0)] * 2), ValueError, "don't depend on each other"),
        (Rows([ai.spec("sparse", sparsity=0.5)] * 2), ValueError, "don't depend on each other"),
        (Rows([Rows([Normal(0.0, 1.0)] * 2)] * 2), ValueError, "don't depend on each other"),
        (Rows([1.0, 2.0]), TypeError, "must return a law"),
        (Formula(3, (), 1.0), TypeError, "`formula` must be a function"),
        (Formula(sum, (), -1.0), ValueError, "`reach` must not be negative"),
        (Formula(lambda at: at[0] + 0.0, (), 0.5), ValueError, "`reach` must bound the values"),
        (Formula(lambda at: at[0] * float("nan"), (), 0.5), ValueError, "`reach` must bound the values"),
    ],
)
def test_what_is_returned_must_be_a_law(value, error, words):
    f = returning(value)
    with pytest.raises(error, match=words):
        f((2, 3), seed=0)
    x = np.full((2, 3), 7.0)
    with pytest.raises(error, match=words):
        f.fill_(x, seed=0)
    if not isinstance(value, Formula):
        assert (x == 7.0).all()


def test_a_std_of_zero_is_the_constant():
    assert (returning(Normal(0.25, 0.0))((2, 3), seed=0) == 0.25).all()
    assert (returning(Rows([Normal(0.25, 0.0), Truncated(9.0, 0.0, 0.0, 1.0)]))((2, 3), seed=0)[1] == 1.0).all()


def test_a_scheme_must_be_pure():
    @ai.scheme
    def impure(geometry):
        return Normal(0.0, 1.0 + next(counter))

    @ai.scheme
    def drawing(geometry):
        return Normal(0.0, float(ai.uniform(1, 1.0, 2.0)[0]))

    @ai.scheme
    def making(geometry):
        return Formula(lambda at: at[0] * 0.0, (), 1.0)

    for f in (impure, drawing, making):
        with pytest.raises(ValueError, match="must return equal laws for equal arguments"):
            f((2, 3), seed=0)


def test_errors_of_a_scheme():
    @ai.scheme
    def failing(geometry, kind=0):
        return [lambda: 1 / 0, lambda: {}["a"], lambda: int("x"), lambda: [] + 1][kind]()

    with pytest.raises(ValueError, match=r"failing failed for the shape \(2, 3\): ZeroDivisionError"):
        failing((2, 3))
    with pytest.raises(ValueError, match=r"failing failed for the shape .*KeyError"):
        failing((2, 3), 1)
    with pytest.raises(ValueError, match="failing: invalid literal"):
        failing((2, 3), 2)
    with pytest.raises(TypeError, match="failing: can only concatenate"):
        failing((2, 3), 3)


ARRAY = np.ones(2)


def nothing(geometry):
    return Normal(0.0, 1.0)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ai.scheme("normal"), TypeError, "`function` must be a function"),
        (lambda: ai.scheme(3), TypeError, "`function` must be a function"),
        (lambda: ai.scheme(Normal), TypeError, "`function` must be a function"),
        (lambda: ai.scheme(lambda geometry: Normal(0.0, 1.0)), ValueError, "give a lambda a name"),
        (lambda: ai.scheme(name="normal")(nothing), ValueError, "'normal' is an initializer of arrayinit"),
        (lambda: ai.scheme(name="he_normal")(nothing), ValueError, "'he_normal' is an initializer of arrayinit"),
        (lambda: ai.scheme(name="bits")(nothing), ValueError, "'bits' is an initializer of arrayinit"),
        (lambda: ai.scheme(name="lab.laplace_he")(nothing), ValueError, "taken by own_schemes:laplace_he"),
        (lambda: ai.scheme(name="a b")(nothing), ValueError, "`name` must be letters"),
        (lambda: ai.scheme(name="a_")(nothing), ValueError, "`name` must be letters"),
        (lambda: ai.scheme(name="_a")(nothing), ValueError, "`name` must be letters"),
        (lambda: ai.scheme(name="a:b")(nothing), ValueError, "`name` must be letters"),
        (lambda: ai.scheme(name="")(nothing), ValueError, "`name` must be letters"),
        (lambda: ai.scheme(name=3)(nothing), TypeError, "`name` must be a string"),
        (lambda: ai.scheme(name="q")(lambda: None), TypeError, "must take a geometry first"),
        (lambda: ai.scheme(name="q")(lambda *, g: None), TypeError, "must take a geometry first"),
        (lambda: ai.scheme(name="q")(lambda g, *rest: None), TypeError, "must have parameters with names"),
        (lambda: ai.scheme(name="q")(lambda g, **rest: None), TypeError, "must have parameters with names"),
        (lambda: ai.scheme(name="q")(lambda g, a, /: None), TypeError, "must have parameters with names"),
        (lambda: ai.scheme(name="q")(lambda g, seed=0: None), TypeError, "names are free; 'seed'"),
        (lambda: ai.scheme(name="q")(lambda g, x=0: None), TypeError, "names are free; 'x'"),
        (lambda: ai.scheme(name="q")(lambda g, _in_place=0: None), TypeError, "names are free; '_in_place'"),
        (lambda: ai.scheme(name="q")(lambda g, path: None), TypeError, "`path` must have a default"),
        (lambda: ai.scheme(name="q")(lambda g, t=ARRAY: None), TypeError, "`t` must have a default that is plain"),
        (lambda: ai.scheme(name="q")(lambda g, t={}: None), TypeError, "`t` must have a default that is plain"),
    ],
)  # fmt: skip
def test_what_is_no_scheme(make, error, words):
    before = custom_names()
    with pytest.raises(error, match=words):
        make()
    assert custom_names() == before


def test_a_scheme_may_be_defined_again():
    text = "import arrayinit as ai\nfrom arrayinit.laws import Normal\n"
    text += "@ai.scheme(name='lab.again')\ndef again(geometry): return Normal(0.0, {})"
    first, second = {"__name__": "cell"}, {"__name__": "cell"}
    exec(text.format(1.0), first)
    exec(text.format(2.0), second)
    assert np.array_equal(2 * first["again"]((3,), seed=0), second["again"]((3,), seed=0))
    assert np.array_equal(ai.spec("lab.again")((3,), seed=0), second["again"]((3,), seed=0))


def test_a_function_that_makes_schemes_names_each():
    def make(std):
        @ai.scheme
        def of_a_factory(geometry):
            return Normal(0.0, std)

        return of_a_factory

    first = make(1.0)
    with pytest.raises(ValueError, match="'of_a_factory' is taken by the same function with other"):
        make(2.0)
    assert np.array_equal(ai.spec("of_a_factory")((3,), seed=0), first((3,), seed=0))


def test_a_misspelt_parameter_is_named_before_a_missing_one():
    @ai.scheme(name="lab.with_gain")
    def with_gain(geometry, gain, count=3):
        return Normal(0.0, gain)

    with pytest.raises(TypeError, match=r"with_gain has no parameter `gian`, did you mean `gain`"):
        with_gain((3, 3), gian=1.0, seed=0)
    with pytest.raises(TypeError, match=r"with_gain has no parameter 'gian', did you mean 'gain'"):
        ai.spec("lab.with_gain", gian=1.0)
    with pytest.raises(TypeError, match=r"with_gain must be given gain; got count"):
        with_gain((3, 3), count=2, seed=0)


def test_paths_reach_specs_within_specs():
    w = np.empty((6, 50), np.float32)
    rules = {"*.wo": ai.spec("packed", initializer=ai.spec("lab.by_depth", std=1.0), blocks=2)}
    drawn = ai.init_params_({"layers.7.wo": w}, rules, seed=0)["layers.7.wo"]
    assert drawn.std() == pytest.approx(0.25, rel=0.2)
    rules = [ai.Rule("*.b", ai.spec("lab.by_depth", std=1.0), like="wo"), ("*", "zeros")]
    both = {"layers.7.wo": w, "layers.7.b": np.empty(400, np.float32)}
    assert ai.init_params_(both, rules, seed=0)["layers.7.b"].std() == pytest.approx(0.25, rel=0.2)
