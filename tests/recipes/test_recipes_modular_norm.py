"""The modular norm's start: what modula's atoms draw, and what it is for."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from recipe_checks import check_plan, tensors

import arrayinit as ai
from arrayinit import recipes
from arrayinit.jax import init_tree

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.torch import init_module_  # noqa: E402

SHAPES = {"up": (48, 16), "down": (16, 48), "embed": (300, 16)}


def model():
    linear = {name: nn.Linear(*SHAPES[name][::-1]) for name in ("up", "down")}
    return nn.ModuleDict(linear | {"embed": nn.Embedding(*SHAPES["embed"]), "norm": nn.LayerNorm(16)})


def modula():
    """Linear and Embed of modula: normal draws, made orthogonal by a polar decomposition, and rows made as long."""
    values = {}
    for name in ("up", "down"):
        x = torch.randn(SHAPES[name], dtype=torch.float64)
        u, _, v = torch.linalg.svd(x, full_matrices=False)
        values[f"{name}.weight"] = u @ v * math.sqrt(x.shape[0] / x.shape[1])
        values[f"{name}.bias"] = torch.zeros(x.shape[0])
    x = torch.randn(SHAPES["embed"], dtype=torch.float64)
    values["embed.weight"] = x / x.norm(dim=1, keepdim=True) * math.sqrt(x.shape[1])
    values |= {"norm.weight": torch.ones(16), "norm.bias": torch.zeros(16)}
    return {path: x.float().numpy() for path, x in values.items()}


def test_atoms_of_modula():
    torch.manual_seed(0)
    rules = recipes.modular_norm()
    module = model()
    plan = init_module_(module, rules, seed=0, dry_run=True)
    ours = [{path: x.copy() for path, x in tensors(init_module_(module, rules, seed=k)).items()} for k in range(10)]
    for models in (ours, [modula() for _ in range(10)]):
        matrices = [{path: x for path, x in one.items() if path != "embed.weight"} for one in models]
        check_plan(type(plan)(tuple(entry for entry in plan if entry.path != "embed.weight")), matrices)
        rows = np.concatenate([one["embed.weight"] for one in models])
        assert np.sqrt((rows**2).mean(1)) == pytest.approx(1, abs=1e-5)
        # Uniform directions: no mean, no correlation, and fourth moments 3 d / (d + 2) of a sphere, not 3 of normals.
        assert np.abs(rows.mean(0)).max() < 5 / math.sqrt(len(rows))
        assert np.abs(rows.T @ rows / len(rows) - np.eye(16)).max() < 6 * math.sqrt(2 / len(rows))
        assert (rows**4).mean() == pytest.approx(3 * 16 / 18, rel=0.03)


@pytest.mark.parametrize("width", [16, 256])
def test_no_width_changes_the_size_of_a_signal(width):
    layers = nn.ModuleDict({"embed": nn.Embedding(50, width), "fc": nn.Linear(width, width)})
    init_module_(layers, recipes.modular_norm(), seed=0)
    out = layers["fc"](layers["embed"](torch.arange(50)))
    assert out.square().mean(1).sqrt().tolist() == pytest.approx([1.0] * 50, abs=1e-4)


def test_the_same_in_flax():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(48)(linen.Embed(300, 16)(x))

    shapes = jax.eval_shape(lambda: Net().init(jax.random.key(0), jnp.zeros((1,), int)))
    names = {"params.Dense_0.kernel": "up.weight", "params.Embed_0.embedding": "embed.weight"}
    params = init_tree(shapes, recipes.modular_norm(), seed=3, seed_names=names)["params"]
    theirs = tensors(init_module_(model(), recipes.modular_norm(), seed=3))
    assert np.abs(np.asarray(params["Dense_0"]["kernel"]).T - theirs["up.weight"]).max() < 4e-6
    assert np.abs(np.asarray(params["Embed_0"]["embedding"]) - theirs["embed.weight"]).max() < 8e-6


def test_convolutions_have_no_rule():
    module = nn.ModuleDict({"conv": nn.Conv2d(8, 12, 3, bias=False)})
    with pytest.raises(ai.PlanError, match=r"conv\.weight.*no rule"):
        init_module_(module, recipes.modular_norm(), seed=0)
    rules = [("conv.weight", ai.spec("spectral_orthogonal", layout="oibb", gain=1 / 9)), *recipes.modular_norm()]
    x = init_module_(module, rules, seed=0)["conv"].weight.detach()
    for p in range(3):
        for q in range(3):  # modula: orthogonal_ of weight[:, :, p, q], times sqrt(out / in) / k**2
            wanted = torch.eye(8) * 12 / 8 / 81
            torch.testing.assert_close(x[:, :, p, q].T @ x[:, :, p, q], wanted, atol=1e-6, rtol=0)
