"""Flax's defaults and ViT in JAX: the recipes against what linen and nnx draw."""

import numpy as np
import pytest
from recipe_checks import check_plan

import arrayinit as ai
from arrayinit import recipes

jax = pytest.importorskip("jax")
pytest.importorskip("flax")

import jax.numpy as jnp  # noqa: E402
from flax import linen, nnx  # noqa: E402

from arrayinit.models.jax import init_tree, parameters_of_tree  # noqa: E402


def arrays(tree):
    """Path -> array."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return {p.path: np.asarray(leaf) for p, leaf in zip(parameters_of_tree(tree), leaves, strict=True)}


def check(init, rules, times, compiled=True):
    """Trees that Flax draws from keys, and trees that rules draw, against the plan of the rules.

    Not compiled where there are QR decompositions: XLA's pool of two threads was seen to wait for them forever.
    """
    make = jax.jit(init) if compiled else init
    theirs = [arrays(make(key)) for key in jax.random.split(jax.random.key(1), times)]
    shapes = jax.eval_shape(init, jax.random.key(0))
    plan = init_tree(shapes, rules, seed=0, dry_run=True)
    check_plan(plan, theirs)
    check_plan(plan, [arrays(init_tree(shapes, rules, seed=k)) for k in range(times)])
    return plan


class Layers(linen.Module):
    @linen.compact
    def __call__(self, x):  # (2, 6, 24)
        x = linen.Conv(32, (3,), feature_group_count=4)(x)
        x = linen.ConvTranspose(24, (3,))(x)
        x = linen.ConvLocal(8, (2,))(x)
        x = linen.Dense(40)(x)
        x = linen.MultiHeadDotProductAttention(4, qkv_features=32)(x)
        x = linen.LayerNorm()(x) + linen.RMSNorm()(x) + linen.GroupNorm(4)(x) + linen.InstanceNorm()(x)
        x = linen.BatchNorm(use_running_average=False)(x)
        x = linen.PReLU()(x)
        x = x + linen.Embed(70, 40)(jnp.zeros((2, 1), int))
        x = linen.Einsum((40, 48), "...i,ij->...j")(x)
        return linen.DenseGeneral(48)(x)


class Cells(linen.Module):
    @linen.compact
    def __call__(self, x):
        cells = [
            linen.LSTMCell(32), linen.OptimizedLSTMCell(32), linen.GRUCell(32), linen.MGUCell(32),
            linen.SimpleCell(32),
        ]  # fmt: skip
        for cell in cells:
            carry = cell.initialize_carry(jax.random.key(0), x.shape)
            _, x = cell(carry, x)
        cell = linen.ConvLSTMCell(8, (3,))
        y = x[:, None]
        return cell(cell.initialize_carry(jax.random.key(0), y.shape), y)[1]


@pytest.mark.slow
def test_layers_of_linen():
    plan = check(lambda key: Layers().init(key, jnp.ones((2, 6, 24))), recipes.flax_defaults(), 20)
    assert {entry.path.split(".")[0] for entry in plan} == {"params", "batch_stats"}
    assert len(plan) == 33


@pytest.mark.slow
def test_cells_of_linen():
    plan = check(lambda key: Cells().init(key, jnp.ones((2, 32)))["params"], recipes.flax_defaults(), 10, False)
    orthogonal = {entry.path.split(".", 1)[1] for entry in plan if entry.initializer.name == "orthogonal"}
    assert orthogonal == {f"{name}.kernel" for name in ("hi", "hf", "hg", "ho", "hr", "hz", "hn", "h")}


class Modules(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(32, 40, rngs=rngs)
        self.general = nnx.LinearGeneral(24, 32, rngs=rngs)
        self.einsum = nnx.Einsum("ab,bc->ac", (32, 48), (48,), rngs=rngs)
        self.conv = nnx.Conv(16, 32, (3,), feature_group_count=4, rngs=rngs)
        self.transposed = nnx.ConvTranspose(16, 32, (3,), rngs=rngs)
        self.embed = nnx.Embed(70, 40, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 32, rngs=rngs)
        self.norms = nnx.List(
            [kind(8, rngs=rngs) for kind in (nnx.LayerNorm, nnx.RMSNorm, nnx.InstanceNorm, nnx.BatchNorm)]
        )
        self.group = nnx.GroupNorm(8, 2, rngs=rngs)
        self.prelu = nnx.PReLU()
        self.lora = nnx.LoRALinear(32, 40, lora_rank=16, rngs=rngs)
        self.lstm = nnx.LSTMCell(24, 16, rngs=rngs)
        self.optimized = nnx.OptimizedLSTMCell(24, 16, rngs=rngs)
        self.gru = nnx.GRUCell(24, 16, rngs=rngs)
        self.simple = nnx.SimpleCell(24, 16, rngs=rngs)
        self.weight_norm = nnx.WeightNorm(nnx.Linear(32, 40, rngs=rngs), rngs=rngs)
        self.spectral = nnx.SpectralNorm(nnx.Linear(32, 400, rngs=rngs), rngs=rngs)


@pytest.mark.slow
def test_modules_of_nnx():
    plan = check(lambda key: nnx.state(Modules(nnx.Rngs(key))), recipes.flax_defaults(), 6, False)
    assert len(plan) > 50


class MlpBlock(linen.Module):
    @linen.compact
    def __call__(self, x):
        start = {"kernel_init": linen.initializers.xavier_uniform(), "bias_init": linen.initializers.normal(1e-6)}
        return linen.Dense(x.shape[-1], **start)(linen.gelu(linen.Dense(128, **start)(x)))


class ViT(linen.Module):
    """As google-research/vision_transformer names and starts its parts."""

    depth: int = 2

    @linen.compact
    def __call__(self, x):
        x = linen.Conv(64, (4, 4), strides=(4, 4), name="embedding")(x).reshape(len(x), -1, 64)
        cls = self.param("cls", linen.initializers.zeros, (1, 1, 64))
        x = jnp.concatenate([jnp.tile(cls, (len(x), 1, 1)), x], 1)
        x = x + self.param("pos_embedding", linen.initializers.normal(0.02), (1, *x.shape[1:]))
        for k in range(self.depth):
            x = EncoderBlock(name=f"encoderblock_{k}")(x)
        x = linen.Dense(48, name="pre_logits")(linen.LayerNorm(name="encoder_norm")(x)[:, 0])
        zeros, bias = linen.initializers.zeros, linen.initializers.constant(-3.0)
        return linen.Dense(10, kernel_init=zeros, bias_init=bias, name="head")(x)


class EncoderBlock(linen.Module):
    @linen.compact
    def __call__(self, x):
        y = linen.LayerNorm()(x)
        x = x + linen.MultiHeadDotProductAttention(4, kernel_init=linen.initializers.xavier_uniform())(y, y)
        return x + MlpBlock()(linen.LayerNorm()(x))


def vit(depth=2):
    return lambda key: ViT(depth).init(key, jnp.ones((1, 16, 16, 3)))["params"]


@pytest.mark.slow
def test_vit():
    plan = check(vit(), recipes.vit_jax(head_bias=-3), 32)
    heads = next(e for e in plan if e.path.endswith("MultiHeadDotProductAttention_0.query.kernel"))
    assert ai.describe(heads.initializer, heads.shape).fan_out == 64


def test_depth_leaves_the_bits_of_other_layers_alone():
    rules = recipes.vit_jax()
    shallow, deep = (arrays(init_tree(jax.eval_shape(vit(n), jax.random.key(0)), rules, seed=6)) for n in (1, 3))
    assert len(deep) - len(shallow) == 2 * 16
    assert all((deep[path] == x).all() for path, x in shallow.items())


def test_general_layers_say_what_their_axes_are():
    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.DenseGeneral((4, 16))(x)

    rules = [ai.Rule("*DenseGeneral_0.kernel", ai.spec("variance_scaling", layout="ioo")), *recipes.flax_defaults()]
    check(lambda key: Model().init(key, jnp.ones((1, 24))), rules, 4)
