"""One network in torch, Flax linen, Flax nnx, Equinox, Haiku and Keras: the same weights, outputs and training curve.

    pip install ".[torch,jax,keras]" flax equinox dm-haiku scikit-learn
    python examples/six_frameworks.py --seed 0

A convolution, self-attention with four heads, and a linear layer read the 8 x 8 digits that come with scikit-learn.
Each framework has its own names and layouts. torch packs the projections of attention into one (out, in) matrix. Flax
and Keras have separate ones, (in, heads, features of a head); so do Haiku, (in, out), and Equinox, (out, in). No weight
is copied from one framework to another. One table of rules says how each weight is drawn, `seed_names` gives its name
in torch, and the weights of all frameworks have the same fingerprints.
"""

import argparse
import os
import re
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "jax")

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import keras
import numpy as np
import torch
from flax import linen, nnx
from sklearn.datasets import load_digits

import arrayinit as ai
from arrayinit.jax import init_tree
from arrayinit.keras import init_model_
from arrayinit.torch import init_module_

CHANNELS, HEADS, CLASSES = 16, 4, 10
STEPS, RATE, IMAGES = 40, 0.5, 256
TOLERANCE = 1e-4  # on a loss near 2: libraries sum in different orders, and training amplifies the rounding errors

BIAS = ai.Rule(re.compile(r"(bias|\bb)$"), ai.spec("zeros"))
CONV = ai.Rule("conv.*", ai.spec("kaiming_normal", nonlinearity="relu"))
PROJECTIONS = ai.spec("packed", initializer=ai.spec("xavier_uniform"), blocks=3)
RULES = ai.Rules([BIAS, CONV, ("*", "xavier_uniform")])
TORCH_RULES = ai.Rules([BIAS, CONV, ("*.in_proj_weight", PROJECTIONS), ("*", "xavier_uniform")])


def torch_name(path: str) -> str | tuple[str, int]:
    """The name in torch of a weight of another framework; ("in_proj_weight", k) is block k of the packed one."""
    layer, *_, leaf = path.split(".")
    if leaf in ("bias", "b"):
        return path
    if layer != "attention":
        return f"{layer}.weight"
    part = path.split(".")[1].removesuffix("_proj")
    projections = ("query", "key", "value")
    return ("attention.in_proj_weight", projections.index(part)) if part in projections else "attention.out_proj.weight"


class TorchModel(torch.nn.Module):
    """The network in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.attention = torch.nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True)
        self.head = torch.nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (batch, 8, 8, 1) -> logits."""
        x = self.conv(x.permute(0, 3, 1, 2)).relu().flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1))


class LinenModel(linen.Module):
    """The network in Flax linen."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = linen.relu(linen.Conv(CHANNELS, (3, 3), name="conv")(x)).reshape(len(x), -1, CHANNELS)
        x = x + linen.MultiHeadDotProductAttention(HEADS, name="attention")(x)
        return linen.Dense(CLASSES, name="head")(x.mean(1))


class NnxModel(nnx.Module):
    """The network in Flax nnx."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(1, CHANNELS, (3, 3), rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, CHANNELS, decode=False, rngs=rngs)
        self.head = nnx.Linear(CHANNELS, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.conv(x)).reshape(len(x), -1, CHANNELS)
        x = x + self.attention(x)
        return self.head(x.mean(1))


class EquinoxModel(eqx.Module):
    """The network in Equinox."""

    conv: eqx.nn.Conv2d
    attention: eqx.nn.MultiheadAttention
    head: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        biased = {f"use_{part}_bias": True for part in ("query", "key", "value", "output")}
        self.conv = eqx.nn.Conv2d(1, CHANNELS, 3, padding=1, key=key)
        self.attention = eqx.nn.MultiheadAttention(HEADS, CHANNELS, **biased, key=key)
        self.head = eqx.nn.Linear(CHANNELS, CLASSES, key=key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """One image."""
        x = jax.nn.relu(self.conv(x.transpose(2, 0, 1))).reshape(CHANNELS, -1).T
        x = x + self.attention(x, x, x)
        return self.head(x.mean(0))


def haiku_forward(x: jax.Array) -> jax.Array:
    """The network in Haiku."""
    x = jax.nn.relu(hk.Conv2D(CHANNELS, 3, name="conv")(x)).reshape(len(x), -1, CHANNELS)
    attention = hk.MultiHeadAttention(HEADS, CHANNELS // HEADS, w_init=jnp.zeros, model_size=CHANNELS, name="attention")
    x = x + attention(x, x, x)
    return hk.Linear(CLASSES, name="head")(x.mean(1))


def keras_model() -> keras.Model:
    """The network in Keras."""
    x = image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="relu", name="conv")(x)
    x = keras.layers.Reshape((64, CHANNELS))(x)
    x = x + keras.layers.MultiHeadAttention(HEADS, CHANNELS // HEADS, name="attention")(x, x)
    return keras.Model(image, keras.layers.Dense(CLASSES, name="head")(keras.ops.mean(x, 1)))


Apply = Callable[[object, jax.Array], jax.Array]


def starts(seed: int, x: jax.Array) -> dict[str, tuple[object, Apply, ai.Plan]]:
    """Framework on JAX -> its weights, the function that applies them to images, and the plan of their draw."""

    def draw(tree: object) -> tuple[object, ai.Plan]:
        names = {"seed": seed, "seed_names": torch_name}
        return init_tree(tree, RULES, **names), init_tree(tree, RULES, dry_run=True, **names)

    models: dict[str, tuple[object, Apply, ai.Plan]] = {}
    params, plan = draw(jax.eval_shape(LinenModel().init, jax.random.key(0), x)["params"])
    models["Flax linen"] = params, lambda params, x: LinenModel().apply({"params": params}, x), plan

    graph, state, rest = nnx.split(nnx.eval_shape(lambda: NnxModel(nnx.Rngs(0))), nnx.Param, ...)
    state, plan = draw(state)
    models["Flax nnx"] = state, lambda state, x: nnx.merge(graph, state, rest)(x), plan

    model, plan = draw(eqx.filter_eval_shape(EquinoxModel, jax.random.key(0)))
    arrays, static = eqx.partition(model, eqx.is_array)
    models["Equinox"] = arrays, lambda arrays, x: jax.vmap(eqx.combine(arrays, static))(x), plan

    forward = hk.without_apply_rng(hk.transform(haiku_forward))
    params, plan = draw(jax.eval_shape(forward.init, jax.random.key(0), x))
    models["Haiku"] = params, forward.apply, plan

    network = keras_model()
    plan = init_model_(network, RULES, seed=seed, seed_names=torch_name, dry_run=True)
    init_model_(network, RULES, seed=seed, seed_names=torch_name)
    values = [variable.value for variable in network.trainable_variables]
    models["Keras"] = values, lambda values, x: network.stateless_call(values, [], x)[0], plan
    return models


def in_torch(path: str, x: object) -> np.ndarray:
    """A weight in the layout of torch, which Equinox's weights already have."""
    x = np.asarray(x)
    if path.endswith(("weight", "bias", ".b")):
        return x
    return x.transpose(3, 2, 0, 1) if x.ndim == 4 else x.reshape(CHANNELS, -1).T


def marks_of(weights: dict[object, np.ndarray]) -> dict[str, str]:
    """Name in torch -> fingerprint, except for the biases, which are 0."""
    return {
        str(name): ai.fingerprint(np.ascontiguousarray(x))
        for name, x in weights.items()
        if not str(name).endswith((".bias", "_bias", ".b"))
    }


def train(params: object, apply: Apply, x: jax.Array, y: jax.Array) -> list[float]:
    """Losses of full-batch gradient descent."""

    @jax.jit
    def step(params: object) -> tuple[jax.Array, object]:
        def loss_of(params: object) -> jax.Array:
            return -jnp.take_along_axis(jax.nn.log_softmax(apply(params, x)), y[:, None], 1).mean()

        loss, gradients = jax.value_and_grad(loss_of)(params)
        return loss, jax.tree.map(lambda p, g: p - RATE * g, params, gradients)

    losses = []
    for _ in range(STEPS):
        loss, params = step(params)
        losses.append(float(loss))
    return losses


def train_torch(model: TorchModel, x: np.ndarray, y: np.ndarray) -> list[float]:
    """The same in torch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    losses = []
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Initialize, compare, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    x, y = load_digits(return_X_y=True)
    x, y = (x[:IMAGES] / 16).reshape(-1, 8, 8, 1).astype("float32"), y[:IMAGES].astype("int64")

    model = init_module_(TorchModel(), TORCH_RULES, seed=seed)
    weights = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    packed = weights.pop("attention.in_proj_weight").reshape(3, CHANNELS, CHANNELS)
    marks = marks_of(weights | {("attention.in_proj_weight", k): block for k, block in enumerate(packed)})
    outputs = model(torch.from_numpy(x)).detach().numpy()
    curve = train_torch(model, x, y)
    print(f"{'torch':<11} {len(marks)} weights{'':31} loss {curve[0]:.6f} -> {curve[-1]:.6f}")

    for name, (params, apply, plan) in starts(seed, jnp.asarray(x)).items():
        leaves = jax.tree.leaves(params)
        drawn = {entry.seed_name: in_torch(entry.path, leaf) for entry, leaf in zip(plan, leaves, strict=True)}
        assert marks_of(drawn) == marks, name
        apart = np.abs(np.asarray(apply(params, jnp.asarray(x))) - outputs).max()
        losses = train(params, apply, jnp.asarray(x), jnp.asarray(y))
        far = max(abs(a - b) for a, b in zip(losses, curve, strict=True))
        print(f"{name:<11} {len(marks)} equal, outputs within {apart:.0e}, loss {losses[0]:.6f} -> {losses[-1]:.6f}")
        assert apart < TOLERANCE, (name, apart)
        assert far < TOLERANCE, (name, far)
    print(f"ok: the same weights in six frameworks, and curves that part by less than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
