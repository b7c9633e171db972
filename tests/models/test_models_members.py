"""Members: what is listed of a model of each framework is what its `init_...` draws."""

import numpy as np
import pytest

import arrayinit as ai
from arrayinit.models.members import members_of

RULES = {"*bias": "zeros", "*": ai.spec("normal", std=0.02)}


def paths(model):
    return {member.parameter.path: member for member in members_of(model)}


def test_mappings():
    model = {"a": {"weight": np.empty((3, 2), np.float32)}, "b": [np.empty(2, np.float32)]}
    made = ai.init_params_(model, {"b.*": "zeros", "*": "normal"}, seed=0, dry_run=True)
    members = paths(model)
    assert [*members] == [entry.path for entry in made] == ["a.weight", "b.0"]
    assert members["a.weight"].read() is model["a"]["weight"]


def test_torch_modules_with_derived_and_tied_weights():
    torch = pytest.importorskip("torch")
    from arrayinit.torch import init_module_

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(3, 2))
    model[1].weight = model[0].weight
    torch.nn.utils.parametrizations.weight_norm(model[2])
    made = init_module_(model, RULES, seed=0, dry_run=True)
    members = paths(model)
    assert [*members] == [entry.path for entry in made] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert members["0.weight"].parameter.tied == ("1.weight",)
    originals = members["2.weight"].originals
    assert [each.parameter.path.rpartition(".")[2] for each in originals] == ["original0", "original1"]
    assert torch.equal(members["2.weight"].read(), model[2].weight)


def test_trees_of_jax():
    jax = pytest.importorskip("jax")
    from arrayinit.jax import init_tree

    model = {"dense": {"kernel": jax.numpy.ones((3, 2)), "bias": np.ones(2, np.float32)}, "step": 3}
    made = init_tree(model, RULES, seed=0, dry_run=True)
    assert {*paths(model)} == {entry.path for entry in made} == {"dense.kernel", "dense.bias"}


@pytest.mark.parametrize("model", [3, "model", np.ones(3), None])
def test_no_models(model):
    with pytest.raises(TypeError, match="`model` must be a"):
        members_of(model)
