"""The recipe of LRU against its paper's formulas, and the eigenvalues that two of its parameters share."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import same
from recipe_checks import check_plan

import arrayinit as ai
from arrayinit import recipes
from arrayinit.models.mappings import init_params_
from arrayinit.models.matching import plan
from arrayinit.models.parameters import Parameter

STATES, WIDTH = 48, 32
RING = {"r_min": 0.4, "r_max": 0.99}
SHAPES = {
    "nu_log": (STATES,), "theta_log": (STATES,), "gamma_log": (STATES,), "B_re": (STATES, WIDTH),
    "B_im": (STATES, WIDTH), "C_re": (WIDTH, STATES), "C_im": (WIDTH, STATES), "D": (WIDTH,),
}  # fmt: skip


def by_the_paper(seed, r_min, r_max, max_phase):
    """Appendix A of the paper, in NumPy."""
    r = np.random.default_rng(seed)
    u = r.uniform(size=(2, STATES))
    squares = u[0] * (r_max**2 - r_min**2) + r_min**2
    nu = np.log(-0.5 * np.log(squares))
    eigenvalues = np.exp(-np.exp(nu) + 1j * max_phase * u[1])
    made = {
        "nu_log": nu,
        "theta_log": np.log(max_phase * u[1]),
        "gamma_log": np.log(np.sqrt(1 - np.abs(eigenvalues) ** 2)),
    }
    for part in ("re", "im"):
        made[f"B_{part}"] = r.normal(size=(STATES, WIDTH)) / np.sqrt(2 * WIDTH)
        made[f"C_{part}"] = r.normal(size=(WIDTH, STATES)) / np.sqrt(STATES)
    return made | {"D": r.normal(size=WIDTH)}


def gamma_of(nu):
    """log sqrt(1 - |exp(-exp(nu))|^2), in float64."""
    return 0.5 * np.log(-np.expm1(-2 * np.exp(np.asarray(nu, np.float64))))


@pytest.mark.parametrize(("ring", "phase"), [(RING, 0.3), ({"r_min": 0.0, "r_max": 1.0}, 6.28)])
def test_it_is_the_papers(ring, phase):
    parameters = [Parameter(path, shape, "float32") for path, shape in SHAPES.items()]
    made = plan(parameters, recipes.lru(**ring, max_phase=phase), seed=0)
    check_plan(made, [by_the_paper(seed, **ring, max_phase=phase) for seed in range(100)])
    drawn = [plan(parameters, recipes.lru(**ring, max_phase=phase), seed=seed) for seed in range(100)]
    check_plan(made, [{e.path: e.initializer(e.shape, seed=e.key) for e in one} for one in drawn])


def numpy_params(seed, **keywords):
    return init_params_(
        {f"a.{path}": np.zeros(shape, np.float32) for path, shape in SHAPES.items()},
        recipes.lru(**RING), seed=seed, **keywords,
    )  # fmt: skip


def torch_params(seed, **keywords):
    torch = pytest.importorskip("torch")
    from arrayinit.torch import init_module_

    module = torch.nn.Module()
    module.a = torch.nn.ParameterDict({path: torch.zeros(shape) for path, shape in SHAPES.items()})
    made = init_module_(module, recipes.lru(**RING), seed=seed, **keywords)
    return {path: x.detach().numpy() for path, x in made.named_parameters()}


def jax_params(seed, **keywords):
    jax = pytest.importorskip("jax")
    shapes = {"a": {path: jax.ShapeDtypeStruct(shape, "float32") for path, shape in SHAPES.items()}}
    from arrayinit.jax import init_tree

    make = jax.jit(lambda: init_tree(shapes, recipes.lru(**RING), seed=seed, **keywords))
    return {f"a.{path}": np.asarray(x) for path, x in make()["a"].items()}


@pytest.mark.parametrize("make", [numpy_params, torch_params, jax_params])
def test_gamma_belongs_to_the_eigenvalues(make):
    made = make(3)
    assert np.abs(made["a.gamma_log"] - gamma_of(made["a.nu_log"])).max() < 1e-6
    assert len(set(made["a.nu_log"].tolist())) > 40
    assert all(same(made[path], x) for path, x in numpy_params(3).items())
    renamed = make(3, seed_names={"a.nu_log": "old.nu_log"})
    assert not same(renamed["a.nu_log"], made["a.nu_log"])
    assert np.abs(renamed["a.gamma_log"] - gamma_of(renamed["a.nu_log"])).max() < 1e-6


def test_keys_of_their_own_would_give_other_eigenvalues():
    apart = ai.Rules(replace(rule, seed_of=None) for rule in recipes.lru(**RING))
    params = {path: np.zeros(shape, np.float32) for path, shape in SHAPES.items()}
    init_params_(params, apart, seed=3)
    assert np.abs(params["gamma_log"] - gamma_of(params["nu_log"])).max() > 0.1


def test_complex_matrices_have_these_parts():
    rules = recipes.lru()
    for name, shape, std in (("B", (200, 50), 0.1), ("C", (50, 200), 200**-0.5)):
        x = rules.find(f"seq.{name}", shape).initializer(shape, seed=0, dtype="complex64")
        assert [x.real.std(), x.imag.std()] == pytest.approx([std, std], rel=0.03)


def test_what_is_not_of_the_unit_stays():
    assert recipes.lru().find("encoder.kernel", (3, 4)).initializer is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"r_min": 0.9, "r_max": 0.5}, "`r_min` must be below `r_max`"),
        ({"r_max": 1.1}, "`r_max`, which must be at most 1"),
        ({"r_min": -0.1}, "`r_min`"),
        ({"max_phase": 0.0}, "`max_phase`"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        recipes.lru(**arguments)
