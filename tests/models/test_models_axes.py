"""What the axes of models' arrays mean: the same fans and values in every framework, and an error where it is open."""

import math

import numpy as np
import pytest
from conftest import namespace, same
from recipe_checks import check_plan

import arrayinit as ai
from arrayinit import recipes
from arrayinit.models.axes import Leaf, Reading, layout_of, readings_of
from arrayinit.models.matching import plan
from arrayinit.models.parameters import Parameter

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
import jax.numpy as jnp  # noqa: E402
from torch import nn  # noqa: E402

from arrayinit.jax import init_tree  # noqa: E402
from arrayinit.models.jax import parameters_of_tree  # noqa: E402
from arrayinit.torch import init_module_  # noqa: E402

RULES = [
    ai.Rule("*bias", ai.spec("zeros"), optional=True),
    ai.Rule("*.b", ai.spec("zeros"), optional=True),
    ai.Rule("*scale", ai.spec("ones"), optional=True),
    ai.Rule("*offset", ai.spec("zeros"), optional=True),
    ai.Rule("*", ai.spec("kaiming_normal", mode="fan_out")),
]


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, "float32")


def found(order="io", **shapes):
    """Path -> the layouts that fit; "__" in a name stands for a dot."""
    leaves = [Leaf(path.replace("__", "."), sizes, order) for path, sizes in shapes.items()]
    return {path: [layout_of(each.roles) for each in readings] for path, readings in readings_of(leaves).items()}


# The same layers in each framework: values, without layouts in the rules.

L, IN, OUT, HEADS = 5, 3, 4, 2


def of_torch():
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(L, OUT, IN))
            self.bias = nn.Parameter(torch.empty(L, OUT))

    return init_module_(Stack(), RULES, seed=3, seed_names={"weight": "w"}).weight.detach(), "boi"


def of_mapping():
    params = {"weight": np.empty((L, OUT, IN), "float32"), "bias": np.empty((L, OUT), "float32")}
    return ai.init_params_(params, RULES, seed=3, seed_names={"weight": "w"})["weight"], "boi"


def of_linen():
    linen = namespace("flax.linen")

    class Block(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            linen.Dense(OUT, name="fc")(x)
            return x, None

    scanned = linen.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=L)()
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), jnp.ones((2, IN)), None)["params"]
    return init_tree(shapes, RULES, seed=3, seed_names={"fc.kernel": "w"})["fc"]["kernel"], "bio"


def of_nnx():
    nnx = namespace("flax.nnx")

    @nnx.split_rngs(splits=L)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def make(rngs):
        return nnx.Linear(IN, OUT, use_bias=False, rngs=rngs)

    return init_tree(make(nnx.Rngs(0)), RULES, seed=3, seed_names={"kernel": "w"}).kernel[...], "bio"


def of_equinox():
    eqx = namespace("equinox")
    make = eqx.filter_vmap(lambda key: eqx.nn.Linear(IN, OUT, use_bias=False, key=key))
    made = eqx.filter_eval_shape(make, jax.random.split(jax.random.key(0), L))
    return init_tree(made, RULES, seed=3, seed_names={"weight": "w"}).weight, "boi"


def of_haiku():
    hk = namespace("haiku")

    def forward(x):
        return hk.layer_stack(L, name="stack")(lambda x: x + hk.Linear(OUT)(x).sum())(x)

    shapes = jax.eval_shape(hk.transform(forward).init, jax.random.key(0), jnp.ones((2, IN)))
    made = init_tree(shapes, RULES, seed=3, seed_names={"stack.linear.w": "w"})
    return made["stack/linear"]["w"], "bio"


@pytest.mark.parametrize("make", [of_torch, of_mapping, of_linen, of_nnx, of_equinox, of_haiku])
def test_the_same_stack_in_every_framework(make):
    weight, layout = make()
    expected = ai.normal((L, OUT, IN), std=math.sqrt(2 / OUT), seed=3, name="w")
    assert ai.fingerprint(weight, layout=layout) == ai.fingerprint(expected, layout="boi")


def test_experts_in_every_framework():
    class Experts(nn.Module):
        def __init__(self, transposed):
            super().__init__()
            up, down = ((12, 8), (8, 6)) if not transposed else ((8, 12), (6, 8))
            self.gate_up_proj = nn.Parameter(torch.empty(4, *up))
            self.down_proj = nn.Parameter(torch.empty(4, *down))

    expected = {
        name: ai.kaiming_normal((4, *sizes), mode="fan_out", batch_axis=0, seed=3, name=name)
        for name, sizes in (("gate_up_proj", (12, 8)), ("down_proj", (8, 6)))
    }
    for transposed, layout in ((False, "boi"), (True, "bio")):
        module = init_module_(Experts(transposed), RULES[-1:], seed=3)
        for name, x in expected.items():
            assert ai.fingerprint(getattr(module, name), layout=layout) == ai.fingerprint(x, layout="boi")
    tree = {"experts": {"gate_up_proj": shape(4, 8, 12), "down_proj": shape(4, 6, 8)}}
    names = {f"experts.{name}": name for name in expected}
    made = init_tree(tree, RULES[-1:], seed=3, seed_names=names)["experts"]
    for name, x in expected.items():
        assert ai.fingerprint(made[name], layout="bio") == ai.fingerprint(x, layout="boi")


def test_the_fused_experts_of_transformers():
    transformers = namespace("transformers")
    from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
    from transformers.models.jetmoe.modeling_jetmoe import JetMoeParallelExperts
    from transformers.models.mixtral.modeling_mixtral import MixtralExperts
    from transformers.models.nemotron_h.modeling_nemotron_h import NemotronHExperts

    def layouts(module):
        made = init_module_(module, RULES, seed=0, dry_run=True)
        return {e.path: ai.describe(e.initializer, e.shape).fan_in for e in made if e.path[-5:] != "_bias"}

    sizes = {"hidden_size": 8, "intermediate_size": 6, "num_local_experts": 4}
    wanted = {"gate_up_proj": 8, "down_proj": 6}
    assert layouts(MixtralExperts(transformers.MixtralConfig(**sizes))) == wanted
    assert layouts(GptOssExperts(transformers.GptOssConfig(**sizes))) == wanted
    assert layouts(JetMoeParallelExperts(4, 6, 8)) == {"weight": 6}
    config = transformers.NemotronHConfig(
        hidden_size=8, moe_intermediate_size=6, n_routed_experts=4, moe_latent_size=None
    )
    assert layouts(NemotronHExperts(config)) == {"up_proj": 8, "down_proj": 6}


def test_attention_in_every_framework():
    linen, nnx, eqx = namespace("flax.linen"), namespace("flax.nnx"), namespace("equinox")

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            y = linen.DenseGeneral((HEADS, 5), name="q_proj")(x)
            return linen.DenseGeneral(12, axis=(-2, -1), name="o_proj")(y)

    q = ai.kaiming_normal((HEADS * 5, 12), mode="fan_out", seed=3, name="q")
    names = {"q_proj.kernel": "q", "kernel": "q", "weight": "q"}
    shapes = jax.eval_shape(Model().init, jax.random.key(0), jnp.ones((2, 12)))["params"]
    rules = [ai.Rule("o_proj.kernel", ai.spec("lecun_normal")), *RULES]
    kernel = init_tree(shapes, rules, seed=3, seed_names=lambda path: names.get(path))["q_proj"]["kernel"]
    assert same(jnp.moveaxis(kernel, 0, -1).reshape(q.shape), q)
    general = nnx.eval_shape(lambda: nnx.LinearGeneral(12, (HEADS, 5), use_bias=False, rngs=nnx.Rngs(0)))
    kernel = init_tree(general, RULES, seed=3, seed_names=names.get).kernel[...]
    assert same(jnp.moveaxis(kernel, 0, -1).reshape(q.shape), q)
    linear = eqx.nn.Linear(12, HEADS * 5, key=jax.random.key(0))
    assert same(init_tree(linear, RULES, seed=3, seed_names=names.get).weight, q)
    assert same(init_module_(nn.Linear(12, HEADS * 5), RULES, seed=3, seed_names=names.get).weight.detach(), q)


# Against the libraries' own draws.


def arrays(tree):
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return {p.path: np.asarray(leaf) for p, leaf in zip(parameters_of_tree(tree), leaves, strict=True)}


def check(init, rules, times=8):
    """Trees that a library draws from keys, and those that rules draw, against the plan of the rules."""
    theirs = [arrays(init(key)) for key in jax.random.split(jax.random.key(1), times)]
    shapes = jax.eval_shape(init, jax.random.key(0))
    made = init_tree(shapes, rules, seed=0, dry_run=True)
    check_plan(made, theirs)
    check_plan(made, [arrays(init_tree(shapes, rules, seed=k)) for k in range(times)])
    return {entry.path: entry.initializer for entry in made}


def test_layers_of_linen_against_flax():
    linen = namespace("flax.linen")

    class Block(linen.Module):
        @linen.compact
        def __call__(self, x, _):
            y = linen.RMSNorm()(x)
            y = linen.MultiHeadDotProductAttention(4, use_bias=False)(y, y)
            y = linen.DenseGeneral((4, 8), name="wide")(y)
            y = linen.DenseGeneral(32, axis=(-2, -1), name="narrow")(y)
            return x + linen.Conv(32, (3,), use_bias=False, name="mixing_conv")(y), None

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.DenseGeneral((4, 8), axis=(-2, -1), name="first")(x)
            x = linen.DenseGeneral(32, axis=(-2, -1), name="second")(x)[:, None]
            stack = linen.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=6)
            return stack(name="stack")(x, None)[0]

    made = check(lambda key: Model().init(key, jnp.ones((2, 6, 16)))["params"], recipes.flax_defaults())
    layouts = {path: each.parameters.get("layout") for path, each in made.items() if path.endswith("kernel")}
    assert layouts == {
        "first.kernel": "iioo",
        "second.kernel": None,  # (in, in, out) or a convolution: the same fan_in
        "stack.MultiHeadDotProductAttention_0.key.kernel": "bioo",
        "stack.MultiHeadDotProductAttention_0.out.kernel": "biio",
        "stack.MultiHeadDotProductAttention_0.query.kernel": "bioo",
        "stack.MultiHeadDotProductAttention_0.value.kernel": "bioo",
        "stack.mixing_conv.kernel": "bwio",
        "stack.narrow.kernel": "bwio",
        "stack.wide.kernel": "bioo",
    }


def test_modules_of_nnx_against_flax():
    nnx = namespace("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.general = nnx.LinearGeneral((4, 6), (8, 10), axis=(-2, -1), use_bias=False, rngs=rngs)
            lecun = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=0, out_axis=(1, 2))
            self.einsum = nnx.Einsum("bsd,dnh->bsnh", (24, 8, 16), kernel_init=lecun, rngs=rngs)
            self.conv = nnx.Conv(32, 64, (3,), feature_group_count=8, rngs=rngs)

    def make(key):
        return Model(nnx.Rngs(key))

    rules = recipes.flax_defaults()
    made = init_tree(nnx.eval_shape(lambda: make(jax.random.key(0))), rules, seed=0, dry_run=True)
    theirs = [arrays(make(jax.random.key(k))) for k in range(6)]
    check_plan(made, [{e.path: each[e.path] for e in made} for each in theirs])
    fans = {e.path: (d.fan_in, d.fan_out) for e in made if (d := ai.describe(e.initializer, e.shape)).fan_in}
    assert fans == {"general.kernel": (24, 80), "einsum.kernel": (24, 128), "conv.kernel": (12, 24)}


def test_stacks_of_equinox_and_haiku_against_them():
    eqx, hk = namespace("equinox"), namespace("haiku")
    uniform = ai.spec("kaiming_uniform", a=math.sqrt(5))
    rules = [("*bias", None), ("*", uniform)]

    def ensemble(key):
        def make(key):
            first, second = jax.random.split(key)
            conv = eqx.nn.Conv1d(8, 16, 3, groups=4, use_bias=False, key=first)
            return [eqx.nn.Linear(12, 24, use_bias=False, key=second), conv]

        return eqx.filter(eqx.filter_vmap(make)(jax.random.split(key, 4)), eqx.is_array)

    made = check(ensemble, rules[1:])
    assert [each.parameters.get("layout") for each in made.values()] == ["boi", "boiw"]
    assert next(reversed(made.values())).parameters["groups"] == 4

    def forward(x):
        init = hk.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")

        def layer(x):
            x = hk.LayerNorm(-1, create_scale=True, create_offset=True)(x)
            return hk.Conv1D(16, 3, w_init=init, with_bias=False)(x) + hk.Linear(16, w_init=init)(x)

        return hk.layer_stack(6)(layer)(x)

    shapes = check(
        lambda key: hk.transform(forward).init(key, jnp.ones((2, 8, 16))),
        [*RULES[:-1], ("*", ai.spec("variance_scaling"))],
    )
    assert sorted(map(str, {each.parameters.get("layout") for each in shapes.values()})) == ["None", "bio", "bwio"]


# What is known, and what is open.


def test_readings_by_the_bias():
    assert found(q__kernel=(24, 4, 16), q__bias=(4, 16))["q.kernel"] == ["ioo"]
    assert found(q__kernel=(5, 24, 16), q__bias=(5, 16))["q.kernel"] == ["bio"]
    assert found(q__kernel=(4, 4, 16), q__bias=(4, 16))["q.kernel"] == ["bio", "ioo"]  # both fit
    assert found(o__kernel=(4, 16, 24), o__bias=(24,))["o.kernel"] == ["wio", "iio"]
    assert found(o__kernel=(4, 16, 24), o__bias=(7,))["o.kernel"] == ["wio", "bio", "iio", "ioo"]
    assert found("oi", a__weight=(8, 3, 5), a__bias=(8,))["a.weight"] == ["oiw"]
    assert found("oi", a__weight=(6, 3, 5), a__bias=(6, 3))["a.weight"] == ["boi"]
    assert found("oi", a__weight=(6, 3, 5), a__bias=(6, 5))["a.weight"] == ["bio"]
    assert found("oi", w1=(6, 3, 5), b1=(6, 3))["w1"] == ["boi"]
    assert found("oi", up_proj=(6, 3, 5), up_proj_bias=(6, 5))["up_proj"] == ["bio"]


def test_readings_by_names():
    assert found(Conv_0__kernel=(3, 3, 4, 8)) == {"Conv_0.kernel": ["hwio"]}
    assert found(Conv_0__kernel=(5, 3, 4, 8), Conv_0__bias=(5, 8))["Conv_0.kernel"] == ["bwio"]
    assert found(ConvLocal_0__kernel=(5, 48, 8), ConvLocal_0__bias=(5, 8))["ConvLocal_0.kernel"] == ["wio"]
    attention = found(a__query__kernel=(24, 4, 16), a__key__kernel=(24, 2, 16), a__out__kernel=(4, 16, 24))
    assert attention == {"a.query.kernel": ["ioo"], "a.key.kernel": ["ioo"], "a.out.kernel": ["iio"]}
    stack = found(a__query__kernel=(6, 24, 24), a__key__kernel=(6, 24, 24), a__out__kernel=(6, 24, 24))
    assert set(map(tuple, stack.values())) == {("bio",)}
    assert found(a__query__kernel=(24, 4, 16))["a.query.kernel"] == ["bio", "ioo", "iio"]  # perhaps no attention
    assert found(moe__experts__wi=(8, 16, 32)) == {"moe.experts.wi": ["bio"]}
    assert found(experts__0__wi=(8, 16, 32)) == {"experts.0.wi": ["bio", "wio", "iio", "ioo"]}
    assert found("oi", features__0__weight=(64, 32, 3, 3)) == {"features.0.weight": ["oihw"]}
    assert found("oi", w=(8, 6, 64, 64))["w"] == ["oihw", "boiw", "bboi", "bbio"]
    assert found("oi", token__embedding=(6, 50, 8)) == {"token.embedding": ["oiw", "boi"]}


@pytest.mark.parametrize("name", ["query", "key", "value", "out"])
@pytest.mark.parametrize(
    ("features", "axis", "layout"),
    [((4, 16), -1, "ioo"), (10, (-2, -1), "iio"), ((2, 4, 5), -1, "iooo"), ((4, 5), (-2, -1), "iioo")],
)
def test_dense_layers_with_names_of_attention(name, features, axis, layout):
    linen = namespace("flax.linen")

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.DenseGeneral(features, axis=axis, use_bias=False, name=name)(x)

    tree = jax.eval_shape(Model().init, jax.random.key(0), jax.ShapeDtypeStruct((3, 8, 6), "float32"))["params"]
    with pytest.raises(ai.PlanError, match=rf"fans \(.*layout='{layout}'"):
        init_tree(tree, {"*": "lecun_normal"}, seed=0)
    drawn = init_tree(tree, {"*": ai.spec("lecun_normal", layout=layout)}, seed=0)[name]["kernel"]
    size = 6 if axis == -1 else 48  # lecun_normal of linen has this fan_in
    assert float(drawn.std()) == pytest.approx(size**-0.5, rel=0.3)


def test_readings_by_the_stack_around():
    inputs = {"s__norm__scale": (6, 24), "s__q_proj__kernel": (6, 24, 4, 8), "s__fc__kernel": (6, 24, 48)}
    assert found(**inputs)["s.fc.kernel"] == ["wio", "bio", "iio", "ioo"]  # six layers of 24 features, or the reverse
    around = inputs | {"s__down__kernel": (6, 48, 24)}
    stack = found(**around, head__kernel=(24, 10))
    assert stack["s.norm.scale"] == ["bw"]
    assert stack["s.fc.kernel"] == ["bio"]
    assert stack["s.q_proj.kernel"] == ["bwio", "bbio", "biio", "bioo"]
    assert stack["head.kernel"] == ["io"]
    nested = {path: (3, *sizes) for path, sizes in around.items()}
    assert found(**nested, t__out__kernel=(3, 24, 10), t__out__bias=(3, 10))["s.fc.kernel"] == ["bbio"]
    assert found(**around, s__pos=(5, 24))["s.fc.kernel"] == ["wio", "bio", "iio", "ioo"]  # not all are stacked
    # Stacked along axis 1, with a bias and without.
    assert found(s__norm__scale=(8, 3), s__fc__kernel=(8, 3, 8), s__fc__bias=(8, 3))["s.fc.kernel"][:2] == [
        "wio",
        "bio",
    ]
    assert found(s__norm__scale=(8, 3), s__fc__kernel=(8, 3, 8))["s.fc.kernel"][:2] == ["wio", "bio"]
    assert found(norm__scale=(4, 24)) == {"norm.scale": ["io"]}  # nothing that could be a stack


OPEN = Parameter("w", (8, 16, 32), "float32", order="io", readings=tuple(map(Reading, ("sio", "bio", "ioo"))),
                 axes={"in_axis": -2, "out_axis": -1})  # fmt: skip


def test_an_open_meaning_is_an_error_with_all_readings():
    with pytest.raises(ai.PlanError) as caught:
        plan([OPEN], {"*": ai.spec("lecun_normal")}, seed=0)
    assert caught.value.problems == {
        "w": "(8x16x32, float32): its axes may mean several things, and the draw depends on which: (kernel, in, out), "
        "fans (128, 256) (layout='wio'); or (batch, in, out), fans (16, 32) (layout='bio'); or (in, out, out), fans "
        "(8, 512) (layout='ioo'). Say which in a rule: ('w', spec('lecun_normal', layout=...)) with the layout that is "
        "right, or with batch_axis=0 for stacked layers (rule *)"
    }


@pytest.mark.parametrize("initializer", ["zeros", "normal", "uniform", ai.spec("trunc_normal", std=0.02)])
def test_laws_without_fans_need_no_meaning(initializer):
    assert plan([OPEN], {"*": initializer}, seed=0)[0].job is not None


def test_laws_that_readings_share_need_no_meaning():
    same_fan_in = Parameter("w", (4, 16, 24), "float32", readings=tuple(map(Reading, ("sio", "iio"))),
                            axes={"in_axis": -2, "out_axis": -1})  # fmt: skip
    assert plan([same_fan_in], {"*": "lecun_normal"}, seed=0)[0].job is not None
    for name in ("xavier_normal", "orthogonal"):
        with pytest.raises(ai.PlanError, match="may mean several things"):
            plan([same_fan_in], {"*": name}, seed=0)
    # One that can draw only one of them means that one.
    square = Parameter("w", (3, 4, 4), "float32", readings=tuple(map(Reading, ("sio", "bio"))),
                       axes={"in_axis": -2, "out_axis": -1})  # fmt: skip
    assert plan([square], {"*": "delta_orthogonal"}, seed=0)[0].job.geometry.roles == "sio"


def test_rules_say_the_meaning():
    for given, roles in (
        ({"layout": "ioo"}, "ioo"), ({"batch_axis": 0}, "bio"), ({"batch_axis": (-3,)}, "bio"),
        ({"batch_axis": 1}, "ibo"), ({"in_axis": 0, "out_axis": 1}, "ios"),
    ):  # fmt: skip
        assert plan([OPEN], {"*": ai.spec("lecun_normal", **given)}, seed=0)[0].job.geometry.roles == roles
    with pytest.raises(ai.PlanError, match=r"layout='wio'\); or \(in, out, out\)"):
        plan([OPEN], {"*": ai.spec("lecun_normal", batch_axis=())}, seed=0)
    matrices = Parameter("w", (8, 16, 32), "float32")
    assert plan([matrices], {"*": ai.spec("lecun_normal", batch_axis=0)}, seed=0)[0].job.geometry.roles == "boi"
    known = Parameter("w", (8, 16, 32), "float32", axes={"layout": "bio"})
    assert plan([known], {"*": ai.spec("lecun_normal", batch_axis=0)}, seed=0)[0].job.geometry.roles == "bio"
    with pytest.raises(ai.PlanError, match="`batch_axis` must name an axis of the shape"):
        plan([OPEN], {"*": ai.spec("lecun_normal", batch_axis=3)}, seed=0)


def test_a_batch_axis_alone_leaves_the_order_of_the_framework():
    rules, shape = {"*": ai.spec("lecun_normal", batch_axis=0)}, (6, 3, 50)
    for path in ("w", "experts.w", "experts.gate_up_proj"):  # of which it is open whether they are (out, in)
        with pytest.raises(ai.PlanError, match=r"\(batch, out, in\).*\(batch, in, out\)"):
            ai.init_params_({path: np.empty(shape, np.float32)}, {"*": "lecun_normal"}, seed=0)
        drawn = ai.init_params_({path: np.empty(shape, np.float32)}, rules, seed=0)[path]
        assert same(drawn, ai.lecun_normal(shape, batch_axis=0, seed=0, name=path))
        assert same(drawn, ai.lecun_normal(shape, layout="boi", seed=0, name=path))
        drawn = init_tree({path: np.empty(shape, np.float32)}, rules, seed=0)[path]
        assert same(drawn, ai.lecun_normal(shape, layout="bio", seed=0, name=path))
    shown = {"fc.weight": np.empty(shape, np.float32), "fc.bias": np.empty((6, 50), np.float32)}  # (in, out)
    drawn = ai.init_params_(shown, {"*bias": "zeros", **rules}, seed=0)["fc.weight"]
    assert same(drawn, ai.lecun_normal(shape, layout="bio", seed=0, name="fc.weight"))
    module = nn.ParameterDict({"experts": nn.Parameter(torch.empty(shape))})
    drawn = init_module_(module, rules, seed=0)["experts"].detach()
    assert same(drawn.numpy(), ai.lecun_normal(shape, layout="boi", seed=0, name="experts"))


def test_the_fans_of_a_neighbour_of_open_meaning():
    rules = [ai.Rule("b", ai.spec("lecun_normal"), like="w"), ("w", "normal")]
    with pytest.raises(ai.PlanError, match=r"b .*of w, its axes may mean several things"):
        plan([OPEN, Parameter("b", (32,), "float32")], rules, seed=0)


def test_modules_of_torch():
    class Experts(nn.Module):
        def __init__(self, **fields):
            super().__init__()
            self.w1 = nn.Parameter(torch.empty(4, 16, 8))
            for name, value in fields.items():
                setattr(self, name, value)

    with pytest.raises(ai.PlanError, match=r"layout='boi'\); or \(batch, in, out\), fans \(16, 8\) \(layout='bio'\)"):
        init_module_(Experts(), {"*": "kaiming_normal"}, seed=0)
    init_module_(Experts(), {"*": "xavier_normal"}, seed=0)  # the same either way
    for fields, roles in (({"in_features": 8, "out_features": 16}, "boi"), ({"input_dim": 16, "output_dim": 8}, "bio")):
        made = init_module_(Experts(**fields), {"*": "kaiming_normal"}, seed=0, dry_run=True)
        assert made[0].job.geometry.roles == roles
    model = nn.ModuleList([nn.Conv1d(4, 8, 3, bias=False), nn.ConvTranspose2d(4, 8, 3), nn.Bilinear(3, 4, 5)])
    made = init_module_(model, {"*bias": "zeros", "*": "kaiming_normal"}, seed=0, dry_run=True)
    fans = [ai.describe(e.initializer, e.shape).fan_in for e in made if e.path.endswith("weight")]
    assert fans == [12, 36, 12]


def test_fields_of_modules_of_jax():
    eqx = namespace("equinox")
    (weight,) = parameters_of_tree(eqx.nn.Conv2d(8, 16, 3, groups=4, use_bias=False, key=jax.random.key(0)))
    assert weight.axes == {"groups": 4}
    cells = eqx.filter_eval_shape(
        eqx.filter_vmap(lambda key: eqx.nn.GRUCell(3, 4, key=key)), jax.random.split(jax.random.key(0), 6)
    )
    axes = {p.path: p.axes for p in parameters_of_tree(cells)}
    assert axes == {
        "weight_ih": {"layout": "boi"}, "weight_hh": {"layout": "boi"}, "bias": {"batch_axis": (0,)},
        "bias_n": {"batch_axis": (0,)},
    }  # fmt: skip

    class Own(eqx.Module):
        w: jax.Array

    with pytest.raises(ai.PlanError, match="may mean several things"):
        init_tree(Own(jnp.ones((4, 5, 6))), {"*": "kaiming_normal"}, seed=0)
    last = eqx.filter_eval_shape(
        eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 5, use_bias=False, key=key), out_axes=-1),
        jax.random.split(jax.random.key(0), 7),
    )
    assert [p.axes for p in parameters_of_tree(last)] == [{"layout": "oib"}]


def test_plain_trees_say_it_by_rules():
    tree = {"wq": shape(24, 4, 16), "wi": shape(8, 24, 48), "out": shape(24, 10)}
    with pytest.raises(ai.PlanError) as caught:
        init_tree(tree, {"*": "lecun_normal"}, seed=0)
    assert set(caught.value.problems) == {"wq", "wi"}
    rules = [("wq", ai.spec("lecun_normal", layout="ioo")), ("wi", ai.spec("lecun_normal", batch_axis=0)),
             ("*", "lecun_normal")]  # fmt: skip
    made = init_tree(tree, rules, seed=0, dry_run=True)
    fans = {e.path: (d.fan_in, d.fan_out) for e in made if (d := ai.describe(e.initializer, e.shape))}
    assert fans == {"out": (24, 10), "wi": (24, 48), "wq": (24, 64)}


def test_biases_of_stacks_have_no_fans():
    tree = {"fc": {"kernel": shape(5, 24, 48), "bias": shape(5, 48)}}
    with pytest.raises(ai.PlanError, match=r"fc\.bias .*fans need a shape of at least 2 dimensions"):
        init_tree(tree, {"*": "lecun_normal"}, seed=0)
    made = init_tree(tree, {"*.bias": "normal", "*": "lecun_normal"}, seed=0)
    assert same(made["fc"]["bias"], ai.normal((5, 48), seed=0, name="fc.bias"))


# Reports.


def stack_of(std):
    return {"fc": {"kernel": jnp.asarray(ai.normal((16, 64, 64), std=std, seed=0)), "bias": jnp.zeros((16, 64))}}


def test_correct_stacks_have_no_finding():
    rules = {"*.bias": "zeros", "*": ai.spec("lecun_normal")}
    shapes = {"fc": {"kernel": shape(64, 48, 48), "bias": shape(64, 48)}}
    made = init_tree(shapes, rules, seed=0)
    for report in (ai.report(made), ai.report(made, rules)):
        assert report.findings == ()
        assert (report["fc.kernel"].fan_in, report["fc.kernel"].fan_out) == (48, 48)
    scaled = ai.report(stack_of(std=1.2))  # 9.6 times the input; as one kernel it would be 38 times
    assert scaled.findings == ()


def test_a_scale_that_no_reading_explains_has_a_finding():
    def report(std, rules=None):
        return ai.report({"w": jnp.asarray(ai.normal((16, 64, 64), std=std, seed=0))}, rules)

    row = report(1.2)["w"]
    assert row.findings == ()  # right for sixteen matrices
    assert (row.fan_in, row.fan_out) == (None, None)
    (finding,) = report(4.0).findings
    assert finding.kind == "exploding"
    for words in ("by 32 as (batch, in, out)", "by 128 as (kernel, in, out)", "by 16 as (in, out, out)"):
        assert words in finding.text
    (finding,) = report(1e-5).findings
    assert finding.kind == "vanishing"
    rules = {"*": ai.spec("normal", std=4.0, layout="bio")}
    (finding,) = report(4.0, rules).findings
    assert "64 inputs" in finding.text
    (finding,) = report(1.2, {"*": ai.spec("lecun_normal")}).findings
    assert finding.kind == "undrawable"
    assert "layout='bio'" in finding.text


@pytest.mark.parametrize(
    ("order", "shapes", "layouts"),
    [
        # The bias shows that a kernel lies as in other libraries.
        ("io", {"conv1.w": (64, 3, 3, 3), "conv1.b": (64,)}, ["oihw"]),
        ("oi", {"conv1.weight": (3, 3, 3, 64), "conv1.bias": (64,)}, ["hwio"]),
        ("io", {"deconv.w": (2, 2, 64, 16), "deconv.b": (64,)}, ["hwoi"]),
        # Without a bias: kernels whose sizes are those of kernels, whatever the layer is called.
        ("io", {"Conv_0.kernel": (3, 3, 8, 8)}, ["hwio"]),
        ("io", {"Conv_0.kernel": (1, 7, 8, 8)}, ["hwio"]),
        ("io", {"stem.kernel": (3, 3, 3, 8)}, ["hwio"]),
        ("io", {"query.kernel": (1, 1, 8, 8)}, ["hwio"]),
    ],
)
def test_kernels(order, shapes, layouts):
    path = next(iter(shapes))
    readings = readings_of([Leaf(each, sizes, order) for each, sizes in shapes.items()])[path]
    assert [layout_of(each.roles) for each in readings] == layouts


@pytest.mark.parametrize(
    ("order", "shapes"),
    [
        ("oi", {"up.weight": (64, 16, 3, 3), "up.bias": (16,)}),  # of a transposed convolution, perhaps
        ("io", {"Conv_0.kernel": (4, 3, 8, 8)}),  # four layers of one-dimensional kernels, perhaps
        ("io", {"conv_block.wq": (64, 4, 16)}),
    ],
)
def test_kernels_that_may_be_something_else(order, shapes):
    path = next(iter(shapes))
    assert len(readings_of([Leaf(each, sizes, order) for each, sizes in shapes.items()])[path]) > 1


def test_the_router_beside_experts_is_a_matrix():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_experts, self.is_transposed = 4, False
            self.gate_up_proj = nn.Parameter(torch.empty(4, 32, 8))
            self.gate_up_proj_bias = nn.Parameter(torch.empty(4, 32))

    class Router(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.empty(4, 8)), nn.Parameter(torch.empty(4))

    model = nn.ModuleDict({"experts": Experts(), "router": Router()})
    entries = {e.path: e for e in init_module_(model, {"*bias": "zeros", "*": "xavier_normal"}, seed=0, dry_run=True)}
    router, experts = (entries[path] for path in ("router.weight", "experts.gate_up_proj"))
    assert ai.describe(router.initializer, router.shape).fan_in == 8
    assert experts.job.geometry.roles == "boi"
    tree = {path: np.empty(e.shape, np.float32) for path, e in entries.items()}
    drawn = ai.init_params_(tree, {"*bias": "zeros", "*": "xavier_normal"}, seed=0)
    assert same(drawn["router.weight"], ai.xavier_normal((4, 8), seed=0, name="router.weight"))


def test_gains_in_a_stack_have_one_axis_in_a_layer():
    eqx = namespace("equinox")

    class Block(eqx.Module):
        ln: eqx.nn.LayerNorm
        fc: eqx.nn.Linear

        def __init__(self, key):
            self.ln, self.fc = eqx.nn.LayerNorm(8), eqx.nn.Linear(8, 8, key=key)

    layers = eqx.filter_vmap(Block)(jax.random.split(jax.random.key(0), 3))
    for rules in (recipes.llama(), recipes.mup()):
        drawn = init_tree({"layers": layers}, rules, seed=0)["layers"]
        assert (drawn.ln.weight == 1).all()
        assert float(drawn.fc.weight.std()) > 0


def test_running_statistics_are_not_drawn_at_random():
    tree = {"bn.mean": shape(4), "bn.var": shape(4), "bn.scale": shape(4), "fc.kernel": shape(4, 4)}
    nested = {
        "bn": {name: tree[f"bn.{name}"] for name in ("mean", "var", "scale")},
        "fc": {"kernel": tree["fc.kernel"]},
    }
    rules = {"*scale": "ones", "*": ai.spec("normal", std=0.02)}
    with pytest.raises(ai.PlanError, match=r"bn\.var +a running statistic must not be drawn at random"):
        init_tree(nested, rules, seed=0)
    drawn = init_tree(nested, {"*mean": "zeros", "*var": "ones", **rules}, seed=0)
    assert (drawn["bn"]["var"] == 1).all()
