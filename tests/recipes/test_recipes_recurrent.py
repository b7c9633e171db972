"""Recurrent layers of torch and Flax: the same gates in each layout, and what they compute. Keras: its own suite."""

import math

import jax
import numpy as np
import pytest
from flax import linen, nnx

import arrayinit as ai
from arrayinit import recipes
from arrayinit.jax import init_tree

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.torch import init_module_  # noqa: E402

FEATURES, WIDTH, SEED = 5, 16, 3
GATES = {"LSTM": "ifgo", "GRU": "rzn"}


def torch_layer(kind, rules, **keywords):
    layer = getattr(nn, kind)(FEATURES, WIDTH, batch_first=True, **keywords)
    init_module_(nn.ModuleDict({"rnn": layer}), rules, seed=SEED)
    return layer


def flax_names(kind, prefix="params."):
    """The seed names that make gates of Flax those of torch."""
    return {
        f"{prefix}{short}{gate}.kernel": (f"rnn.weight_{short}h_l0", k)
        for short in "ih"
        for k, gate in enumerate(GATES[kind])
    }


@pytest.mark.parametrize("kind", GATES)
def test_layers_of_flax_compute_what_torchs_do(kind):
    rules = recipes.recurrent(forget=1.5)
    theirs = torch_layer(kind, rules)
    cell = getattr(linen, f"{kind}Cell")(WIDTH)
    x = np.random.default_rng(0).standard_normal((3, 7, FEATURES)).astype(np.float32)
    carry = cell.initialize_carry(jax.random.key(0), (3, FEATURES))
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), carry, x[:, 0]))
    params = init_tree(shapes, rules, seed=SEED, seed_names=flax_names(kind))
    outputs = []
    for k in range(x.shape[1]):
        carry, y = cell.apply(params, carry, x[:, k])
        outputs.append(y)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(np.stack(outputs, 1), wanted, atol=1e-5)
    assert np.abs(wanted).max() > 0.3
    for k, gate in enumerate(GATES[kind]):  # of matrices that need no matrix products, bit for bit
        mine = theirs.weight_ih_l0.detach().numpy()[WIDTH * k : WIDTH * (k + 1)]
        assert ai.fingerprint(np.asarray(params["params"]["i" + gate]["kernel"]).T) == ai.fingerprint(mine)


def test_cells_of_nnx():
    cell = nnx.eval_shape(lambda: nnx.LSTMCell(FEATURES, WIDTH, rngs=nnx.Rngs(0)))
    names = flax_names("LSTM", "") | {"if_.kernel": ("rnn.weight_ih_l0", 1)}
    del names["if.kernel"]
    params = init_tree(nnx.state(cell, nnx.Param), recipes.recurrent(), seed=SEED, seed_names=names)
    theirs = torch_layer("LSTM", recipes.recurrent()).weight_ih_l0.detach().numpy()
    assert np.array_equal(np.asarray(params["if_"]["kernel"][...]).T, theirs[WIDTH : 2 * WIDTH])
    assert (np.asarray(params["hf"]["bias"][...]) == 1).all()
    assert (np.asarray(params["hg"]["bias"][...]) == 0).all()
    packed = nnx.state(nnx.eval_shape(lambda: nnx.GRUCell(FEATURES, WIDTH, rngs=nnx.Rngs(0))), nnx.Param)
    with pytest.raises(ai.PlanError, match=r"dense_h\.kernel.*no rule"):
        init_tree(packed, recipes.recurrent(), seed=0)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_each_gate_has_its_own_fans(kind):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    layer = torch_layer(kind, recipes.recurrent(), num_layers=2, bidirectional=True)
    bound = math.sqrt(6 / (FEATURES + WIDTH))
    for end in ("l0", "l0_reverse"):
        for gate in getattr(layer, f"weight_ih_{end}").detach().chunk(gates):
            assert 0.9 * bound < gate.abs().max() < bound
        for gate in getattr(layer, f"weight_hh_{end}").detach().chunk(gates):
            torch.testing.assert_close(gate @ gate.T, torch.eye(WIDTH), atol=1e-5, rtol=0)
    for path, x in layer.named_parameters():
        if path.startswith("bias"):
            wanted = torch.zeros_like(x)
            if kind == "LSTM" and path.startswith("bias_ih"):
                wanted[WIDTH : 2 * WIDTH] = 1
            assert torch.equal(x, wanted), path


def test_cells_and_projections_of_torch():
    rules = recipes.recurrent()
    for kind in ("LSTM", "GRU", "RNN"):
        layer = torch_layer(kind, rules)
        cell = nn.ModuleDict({"cell": getattr(nn, f"{kind}Cell")(FEATURES, WIDTH)})
        names = {f"cell.{name}": f"rnn.{name}_l0" for name in ("weight_ih", "weight_hh")}
        init_module_(cell, rules, seed=SEED, seed_names=names)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            assert torch.equal(getattr(cell["cell"], name), getattr(layer, f"{name}_l0")), (kind, name)
    layer = torch_layer("LSTM", rules, proj_size=4)
    assert layer.weight_hr_l0.abs().max() < math.sqrt(6 / 20)
    gate = layer.weight_hh_l0.detach().chunk(4)[2]
    torch.testing.assert_close(gate.T @ gate, torch.eye(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_irnn(scale):
    model = nn.ModuleDict({"rnn": nn.RNN(64, 64, nonlinearity="relu", num_layers=2), "head": nn.Linear(64, 60)})
    init_module_(model, recipes.irnn(scale=scale), seed=0)
    for path, x in model.named_parameters():
        if "weight_hh" in path:
            assert torch.equal(x, scale * torch.eye(64)), path
        elif "bias" in path:
            assert not x.any(), path
        else:
            assert x.std().item() == pytest.approx(0.001, rel=0.05), path


def test_an_irnn_keeps_its_state():
    layer = init_module_(nn.ModuleDict({"rnn": nn.RNN(3, 8, nonlinearity="relu")}), recipes.irnn(), seed=0)["rnn"]
    start = torch.rand(1, 1, 8)
    assert torch.allclose(layer(torch.zeros(50, 1, 3), start)[0][-1], start[0])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.recurrent(forget=math.inf), ValueError, "`forget` must be finite"),
        (lambda: recipes.recurrent("1"), TypeError, "`forget` must be a real number"),
        (lambda: recipes.irnn(std=-1), ValueError, "`std` must not be negative; got -1"),
        (lambda: recipes.irnn(scale=math.nan), ValueError, "`scale` must be finite"),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
