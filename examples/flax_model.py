"""Initialize a Flax model with arrayinit: the same bits eagerly, under jit, and in every other framework.

    pip install ".[jax]" flax
    python examples/flax_model.py --seed 0

The initializers of arrayinit.jax have the names and signatures of those in jax.nn.initializers, so Flax accepts them as
kernel_init. Flax derives a key for each parameter from yours. The program
  * initializes a small CNN in linen, eagerly and under jit, and checks that all bits are equal;
  * draws the CNN again by name: eval_shape gives the shapes, and each parameter is drawn from the seed and its path.
    No key is split, eager draws compile nothing, and NumPy or torch can draw the same weights;
  * repeats the first step with nnx.
"""

import argparse
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import arrayinit as ai
import arrayinit.jax as init

# torch's formula for a convolution before a ReLU. JAX's, init.he_normal(), has fan_in and is truncated.
HE = ai.spec("kaiming_normal", mode="fan_out", nonlinearity="relu")
XAVIER = ai.spec("xavier_uniform")
IMAGES = jnp.zeros((1, 8, 8, 1))


class CNN(nn.Module):
    """Two convolutions and two dense layers."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = partial(nn.Conv, kernel_size=(3, 3), strides=2, use_bias=False, kernel_init=init.initializer(HE))
        x = nn.relu(conv(16, name="conv1")(x))
        x = nn.relu(conv(32, name="conv2")(x))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(64, kernel_init=init.he_uniform(), name="hidden")(x))
        return nn.Dense(10, kernel_init=init.xavier_uniform(), bias_init=init.zeros, name="output")(x)


class NnxCNN(nnx.Module):
    """The convolutions of the same model in nnx, where the keys come from an nnx.Rngs."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        conv = partial(nnx.Conv, kernel_size=(3, 3), strides=2, kernel_init=init.initializer(HE), rngs=rngs)
        self.conv1, self.conv2 = conv(1, 16), conv(16, 32)


def fingerprints(tree: object) -> dict[str, str]:
    """{path of a parameter: digest of its values}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): ai.fingerprint(leaf) for path, leaf in leaves}


def draw_by_name(path: tuple, leaf: jax.ShapeDtypeStruct | np.ndarray, seed: int) -> jax.Array | np.ndarray:
    """One parameter, drawn from the seed and its path. `leaf` gives the library, shape and dtype."""
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    if name.endswith("bias"):
        return ai.zeros(leaf)
    # With a layout, elements are numbered as (out, in, height, width), whatever their order in memory.
    initializer, layout = (HE, "hwio") if leaf.ndim == 4 else (XAVIER, "io")
    return initializer(leaf, seed=seed, name=name, layout=layout)


def table(title: str, tree: object, eager: dict[str, str], jitted: dict[str, str]) -> None:
    """Print a line for each parameter."""
    print(f"{title:14}  {'shape':14}  {'eager':12}  {'jit':12}  {'std':>6}")
    for name, leaf in zip(eager, jax.tree_util.tree_leaves(tree), strict=True):
        print(f"{name:14}  {leaf.shape!s:14}  {eager[name][:12]}  {jitted[name][:12]}  {float(leaf.std()):6.4f}")
    print()


def main() -> None:
    """Initialize the model in all three ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    key, model = jax.random.key(seed), CNN()

    params = model.init(key, IMAGES)["params"]
    eager = fingerprints(params)
    jitted = fingerprints(jax.jit(model.init)(key, IMAGES)["params"])
    table("linen", params, eager, jitted)
    assert eager == jitted

    shapes = jax.eval_shape(model.init, key, IMAGES)["params"]
    assert jax.tree_util.tree_structure(shapes) == jax.tree_util.tree_structure(params)
    draw_all = partial(jax.tree_util.tree_map_with_path, partial(draw_by_name, seed=seed), shapes)
    named = draw_all()
    eager, jitted = fingerprints(named), fingerprints(jax.jit(draw_all)())
    assert eager == jitted
    # NumPy draws the same values from the shapes.
    in_numpy = jax.tree_util.tree_map_with_path(
        lambda path, leaf: draw_by_name(path, np.empty(leaf.shape, leaf.dtype), seed), shapes
    )
    assert fingerprints(in_numpy) == eager
    # With torch's order of axes, the draw is a transpose of Flax's kernel and has the same fingerprint.
    weight = HE((32, 16, 3, 3), seed=seed, name="conv2.kernel", layout="oihw")
    assert np.array_equal(weight.transpose(2, 3, 1, 0), named["conv2"]["kernel"])
    assert ai.fingerprint(weight, layout="oihw") == ai.fingerprint(named["conv2"]["kernel"], layout="hwio")
    table("by name", named, eager, jitted)
    for way, weights in (("keys", params), ("names", named)):
        logits = model.apply({"params": weights}, jax.random.normal(key, (64, 8, 8, 1)))
        print(f"std of the output, drawn by {way}: {float(logits.std()):.3f}")
    print()

    def start() -> dict:
        return nnx.to_pure_dict(nnx.state(NnxCNN(nnx.Rngs(seed)), nnx.Param))

    eager, jitted = fingerprints(start()), fingerprints(nnx.jit(start)())
    table("nnx", start(), eager, jitted)
    assert eager == jitted
    print("ok: all bits equal, eagerly and under jit, in linen, nnx and NumPy")


if __name__ == "__main__":
    main()
