"""torch's compiler, tracers, transforms and modes: a draw is one operator for all of them, with eager's bits."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import seeds

torch = pytest.importorskip("torch")

from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import arrayinit.torch as init  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # torch's own uses among them
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning"),
]

DIFFERENT = {"randomness": "different"}
SAME = {"randomness": "same"}
KEY = ai.Key(2**64 - 5)
SPEC = ai.spec("normal", std=0.5)
NAN = float("nan")

DRAWS = {
    "new": lambda x: ai.xavier_uniform(x, seed=0),
    "in place": lambda x: ai.normal_(torch.empty_like(x), seed=KEY, name="w"),
    "drop-in": lambda x: init.kaiming_normal_(torch.empty_like(x), mode="fan_out", seed=2**63 + 5),
    "of a shape": lambda x: ai.normal(tuple(x.shape), seed=3, xp="torch", dtype="bfloat16"),
    "packed": lambda x: ai.packed(x, ai.spec("orthogonal"), blocks=2, seed=1),
    "fixed": lambda x: ai.zeros_(torch.empty_like(x)) + ai.eye(x),
    "spec": lambda x: SPEC(x, seed=ai.fold(0, "w")),
    "part": lambda x: ai.normal(x, seed=1, shape=(8, 6), index=slice(2, 6), layout="io"),
    "sparse": lambda x: init.sparse_(torch.empty_like(x), 0.3, seed=1),
    "words": lambda x: ai.bits((4, 6), seed=3, xp="torch").to(torch.int64),
}
FEW = ["new", "drop-in"]


@pytest.fixture(autouse=True)
def _poisoned():
    """Memory that nobody wrote is full of NaN."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


def poison(*shape, **kwargs):
    return torch.full(shape or (4, 6), NAN, **kwargs)


def equal(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


def compiled(f, backend="eager", **kwargs):
    torch._dynamo.reset()
    return torch.compile(f, backend=backend, **{"fullgraph": True, **kwargs})


def normal(shape, key=0, name=None):
    return ai.normal(shape, seed=key, name=name, xp="torch")


def test_uninitialized_memory_is_poisoned():
    assert torch.empty(100).isnan().all()


# The compiler.


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", FEW)
def test_compiled(name, dynamic):
    x = poison()
    assert equal(compiled(DRAWS[name], dynamic=dynamic)(x), DRAWS[name](x))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
@pytest.mark.parametrize("name", DRAWS)
def test_compiled_by_each_backend(name, backend):
    x = poison()
    for dynamic in (False, True):
        assert equal(compiled(DRAWS[name], backend, dynamic=dynamic)(x), DRAWS[name](x))


def counting(graphs):
    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return backend


@pytest.mark.parametrize("draw", [lambda x: ai.kaiming_uniform(x, seed=0), lambda x: normal((x.shape[0] * 2, 3))])
def test_one_graph_serves_all_sizes(draw):
    graphs = []
    f = compiled(draw, counting(graphs), dynamic=True)
    assert all(equal(f(poison(n, 4)), draw(poison(n, 4))) for n in range(3, 9))
    assert len(graphs) == 1


def test_a_seed_that_varies_is_an_input_of_the_graph():
    def draw(x, seed):
        return ai.normal(x, seed=seed)

    graphs = []
    f = compiled(draw, counting(graphs), dynamic=True)
    assert all(equal(f(poison(), k), draw(poison(), k)) for k in (3, 4, 2**62, 2**63 - 1))
    assert len(graphs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [None, True])
def test_numbers_that_vary(dynamic):
    cases = {
        "std": (lambda x, std: ai.normal(x, std=std, seed=0), (0.1, 0.2, 0.3, 2)),
        "seed": (lambda x, seed: ai.normal(x, seed=seed), (1, 2, 3, 2**63, 2**64 - 1)),
        "name": (lambda x, name: ai.normal(x, seed=0, name=name), (1, 2, 3, "w")),
        "key": (lambda x, key: ai.normal(x, seed=key), (ai.Key(1), ai.Key(2**63), ai.Key(2**64 - 1))),
        "fold": (lambda x, seed: ai.normal(x, seed=ai.fold(seed, "w")), (1, 2, 3)),
    }
    for name, (draw, values) in cases.items():
        f = compiled(draw, dynamic=dynamic)
        assert all(equal(f(poison(), value), draw(poison(), value)) for value in values), name


def test_a_parameter_is_filled_inside_a_graph():
    weight = torch.nn.Parameter(poison())

    def loss(p):
        init.xavier_normal_(p, seed=3)
        return (p * 2).sum()

    compiled(loss, "aot_eager")(weight).backward()
    assert equal(weight.detach(), ai.xavier_normal((4, 6), seed=3, xp="torch"))
    assert bool((weight.grad == 2).all())


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: ai.normal(x + 1),
        lambda x: init.normal_(torch.empty_like(x)),
        lambda x: init.normal_(torch.empty_like(x), generator=torch.default_generator),
    ],
)
def test_a_key_is_never_baked_in(draw):
    def twice(f):
        torch.manual_seed(0)
        ai.manual_seed(0)
        return f(poison()), f(poison())

    with pytest.raises(Exception, match="would be baked in"):
        compiled(draw)(poison())
    first, second = twice(compiled(draw, fullgraph=False))  # the graph breaks, and the draw is eager's
    assert all(map(equal, (first, second), twice(draw)))
    assert not equal(first, second)


PACKED = ai.spec("packed", initializer=(SPEC, ai.spec("zeros")), blocks=2)
UNSEEDED = {
    "packed": lambda x: ai.packed_(x, SPEC, 2),
    "packed by a spec made within": lambda x: ai.packed_(x, ai.spec("normal", std=1 / x.shape[0]), (1, 3)),
    "specs in a spec": lambda x: PACKED.fill_(x),
    "specs in a spec made within": lambda x: ai.spec("packed", initializer=(SPEC, ai.spec("ones")), blocks=2)(x),
    "icnr": lambda x: ai.icnr(x[:, :, None], SPEC, 2),
    "specs with a generator": lambda x: PACKED.fill_(x, seed=np.random.default_rng(0)),
}


@pytest.mark.parametrize("name", ["packed", *(pytest.param(name, marks=pytest.mark.slow) for name in [*UNSEEDED][1:])])
def test_specs_in_specs_need_no_seed_where_the_graph_breaks(name):
    ai.manual_seed(0)
    wanted = (
        UNSEEDED[name](
            poison(),
        ),
        UNSEEDED[name](poison()),
    )
    ai.manual_seed(0)
    f = compiled(UNSEEDED[name], fullgraph=False)
    assert all(map(equal, (f(poison()), f(poison())), wanted))


# The compiler makes arrays without axes of NumPy's numbers.
NUMBERS = {
    "parameter": lambda x: ai.normal(x, std=1 / np.sqrt(x.shape[0]), seed=1),
    "seed": lambda x: ai.normal_(x.clone(), std=np.float32(0.1), seed=np.int64(3)),
    "without a seed": lambda x: ai.normal_(x.clone(), std=np.float64(0.1)),
    "drop-in": lambda x: init.normal_(x.clone(), std=np.float64(0.1), seed=np.int64(4)),
    "name": lambda x: ai.normal(x, seed=ai.fold(np.int64(3), "w"), name=np.int64(3)) + ai.zeros(x),
    "name of a key": lambda x: ai.normal(x, seed=ai.fold(3, np.int64(3)), name=("w", np.uint8(2))),
    "spec": lambda x: ai.packed(x, ai.spec("normal", std=1 / np.sqrt(4)), np.int64(2), seed=3),
    "shape": lambda x: x.zero_() + ai.normal((np.int64(4), 6), seed=3, xp="torch"),
    "part": lambda x: ai.normal(x, seed=3, shape=(np.int64(8), 6), index=np.s_[np.int64(1) : 5]),
    "part of a shape": lambda x: ai.normal((8, np.int64(6)), seed=3, index=np.s_[:: np.int64(2)], xp="torch"),
    "groups": lambda x: ai.xavier_normal(x, seed=3, groups=np.int64(2)),
}


@pytest.mark.parametrize(
    "name", ["parameter", *(pytest.param(name, marks=pytest.mark.slow) for name in [*NUMBERS][1:])]
)
def test_numbers_of_numpy_are_taken_where_the_graph_breaks(name):
    ai.manual_seed(0)
    wanted = NUMBERS[name](poison())
    ai.manual_seed(0)
    assert equal(compiled(NUMBERS[name], fullgraph=False)(poison()), wanted)


def test_arrays_without_axes_and_integers_as_shapes_stay_what_they_are():
    f = compiled(lambda x, y: x + torch.from_numpy(ai.normal(y, seed=1)), fullgraph=False)
    for y in (np.int64(3), np.zeros(())):
        assert equal(f(torch.zeros(3), y), torch.zeros(3) + torch.from_numpy(ai.normal(y, seed=1)))


class Own:
    """A distribution that text can't hold."""

    def ppf(self, p):
        return np.sqrt(p)

    def isf(self, p):
        return np.sqrt(1 - p)

    def support(self):
        return 0.0, 1.0


OWN = Own()


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda x: ai.distribution(x, OWN, seed=1),
        lambda x: torch.zeros_like(x) + torch.from_numpy(ai.normal((4, 6), seed=1)),
        lambda x: torch.zeros_like(x) + ai.normal(3, seed=1).sum(),
    ],
)
def test_what_a_graph_can_not_hold_is_drawn_outside_of_it(draw):
    assert equal(compiled(draw, fullgraph=False)(poison()), draw(poison()))
    with pytest.raises(Exception, match="arrayinit draws inside a graph only"):
        compiled(draw)(poison())


@pytest.mark.slow
def test_bad_input_is_refused_while_compiling():
    with pytest.raises(Exception, match="`std` must not be negative"):
        compiled(lambda x: ai.normal(x, std=-1.0, seed=0))(poison())
    with pytest.raises(ValueError, match=r"`seed` must be in \[0, 2\*\*64\)"):
        compiled(lambda x: ai.normal(x, seed=-1), fullgraph=False)(poison())
    with pytest.raises(TypeError, match="`dtype` must not be given where `x` is filled"):
        compiled(lambda x: ai.normal_(x, seed=1, dtype="float32"), fullgraph=False)(poison())


@pytest.mark.slow
def test_a_whole_module_is_filled_outside_of_the_graph():
    rules = {"bias": "zeros", "weight": "xavier_uniform"}
    first, second = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    compiled(lambda x: x + init.init_module_(first, rules, seed=0).weight.sum(), fullgraph=False)(torch.zeros(2))
    init.init_module_(second, rules, seed=0)
    assert equal(first.weight.detach(), second.weight.detach())
    with pytest.raises(Exception, match="arrayinit draws inside a graph only"):
        compiled(lambda x: x + init.init_module_(first, rules, seed=0).weight.sum())(torch.zeros(2))


@pytest.mark.slow
def test_the_first_draw_of_a_process_may_be_a_compiled_one():
    code = """
import torch, arrayinit as ai
x = torch.full((4, 6), float("nan"))
drawn = torch.compile(lambda x: ai.normal(x, seed=0), backend="eager", fullgraph=True)(x)
print(bool((drawn == ai.normal(x, seed=0)).all()))
"""
    assert run(code) == "True"


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Tracers.


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
@pytest.mark.parametrize("name", DRAWS)
def test_make_fx(name, mode):
    x = poison()
    assert equal(make_fx(DRAWS[name], tracing_mode=mode)(x)(x), DRAWS[name](x))


@pytest.mark.parametrize("name", FEW)
def test_make_fx_before_dispatch_and_functionalized(name):
    x = poison()
    assert equal(make_fx(DRAWS[name], pre_dispatch=True)(x)(x), DRAWS[name](x))
    assert equal(make_fx(torch.func.functionalize(DRAWS[name]))(x)(x), DRAWS[name](x))
    assert equal(torch.func.functionalize(DRAWS[name])(x), DRAWS[name](x))


def test_a_symbolic_graph_serves_all_sizes_and_seeds():
    def draw(x, seed):
        return init.kaiming_uniform_(torch.empty_like(x), seed=seed)

    graph = make_fx(draw, tracing_mode="symbolic")(poison(), 5)
    assert equal(graph(poison(9, 6), 7), draw(poison(9, 6), 7))


@pytest.mark.parametrize("name", DRAWS)
def test_jit_trace(name):
    x = poison()
    assert equal(torch.jit.trace(DRAWS[name], (x,), check_trace=False)(x), DRAWS[name](x))


def test_a_jit_trace_serves_all_sizes():
    for name in FEW:
        assert equal(torch.jit.trace(DRAWS[name], (poison(),))(poison(9, 6)), DRAWS[name](poison(9, 6)))


class Drawing(torch.nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, x):
        return self.draw(x)


@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FEW)
def test_export(name, strict):
    program = torch.export.export(Drawing(DRAWS[name]), (poison(),), strict=strict)
    assert "arrayinit.draw" in str(program.graph)
    assert equal(program.module()(poison()), DRAWS[name](poison()))
    assert equal(program.run_decompositions().module()(poison()), DRAWS[name](poison()))


@pytest.mark.slow
def test_an_exported_program_is_loaded_elsewhere_and_serves_all_sizes(tmp_path):
    sizes = {"x": {0: torch.export.Dim("n", min=2)}}
    program = torch.export.export(Drawing(DRAWS["drop-in"]), (poison(),), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "program.pt2")
    torch.save(DRAWS["drop-in"](poison(9, 6)), tmp_path / "wanted.pt")
    code = """
import sys, torch, arrayinit.torch
drawn = torch.export.load(sys.argv[1]).module()(torch.full((9, 6), float("nan")))
print(bool((drawn == torch.load(sys.argv[2])).all()))
"""
    assert run(code, tmp_path / "program.pt2", tmp_path / "wanted.pt") == "True"


RECORDERS = {
    "make_fx": lambda f: make_fx(f)(poison()),
    "make_fx symbolic": lambda f: make_fx(f, tracing_mode="symbolic")(poison()),
    "jit": lambda f: torch.jit.trace(f, (poison(),)),
    "export": lambda f: torch.export.export(Drawing(f), (poison(),), strict=False),
}


@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_graph_holds_no_key_that_was_not_given(recorder):
    ai.manual_seed(0)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for draw in (
        lambda x: ai.normal(x),
        lambda x: init.normal_(torch.empty_like(x)),
        lambda x: ai.normal(x, seed=torch.default_generator),
        lambda x: ai.normal(x, seed=np.random.default_rng(0)),
    ):
        with pytest.raises(ValueError, match=r"where torch records a graph; got .* would be baked in"):
            RECORDERS[recorder](draw)
    assert torch.equal(state, torch.get_rng_state())
    assert equal(normal((3,), None), normal((3,), ai.fold(0, 0)))  # nothing was taken


def test_what_draws_nothing_needs_no_seed():
    graph = make_fx(lambda x: ai.zeros_(torch.empty_like(x)), tracing_mode="symbolic")(poison())
    assert equal(graph(poison(3, 2)), torch.zeros(3, 2))


def test_onnx_holds_a_constant_or_refuses(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    module, x = Drawing(lambda x: x @ normal((6, 3))), torch.ones(4, 6)
    for dynamo in (False, True):
        path = tmp_path / f"{dynamo}.onnx"
        try:
            torch.onnx.export(module, (x,), path, dynamo=dynamo)
        except Exception as error:
            assert "arrayinit" in str(error)  # noqa: PT017 # either is right
        else:
            session = runtime.InferenceSession(path)
            (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            assert equal(torch.from_numpy(found), module(x))


def test_the_operator_keeps_its_contract():
    if not hasattr(torch.library, "opcheck"):
        pytest.skip("torch.library.opcheck came with torch 2.5")
    said = '{"stream": 1, "draw": "normal", "with": {"std": 0.5}}'
    torch.library.opcheck(torch.ops.arrayinit.draw.default, (torch.zeros(3, 4), said, 5))
    torch.library.opcheck(torch.ops.arrayinit.draw.default, (torch.zeros(3, 4).T, said, -5), {"batch": [2]})


# Modes and kinds of tensors.


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_modes_see_one_operator():
    with Log() as outer, Log() as log:
        x = init.normal_(torch.empty(4, 6), seed=0)
    assert log.seen[-2:] == outer.seen[-2:] == ["arrayinit.draw.default", "aten.copy_.default"]
    assert equal(x, normal((4, 6)))
    with Log() as log:
        drawn = init.normal_(torch.empty(3), generator=torch.Generator().manual_seed(0))
    assert "arrayinit.draw.default" in log.seen
    assert "aten.randint" not in "".join(log.seen)
    assert equal(drawn, init.normal_(torch.empty(3), generator=torch.Generator().manual_seed(0)))


def test_modes_change_no_refusal():
    with Log():
        with pytest.raises(ValueError, match="elements that share memory"):
            ai.normal_(torch.zeros(1).expand(3), seed=0)
        with pytest.raises(TypeError, match="must be a dense tensor"):
            ai.normal(torch.eye(3).to_sparse(), seed=0)
        with pytest.raises(ValueError, match="`std` must not be negative"):
            ai.normal(poison(), std=-1.0, seed=0)
        with pytest.raises(TypeError, match="`std` must be plain data"):
            ai.normal(poison(), std=torch.ones(2), seed=0)


# Draws that draw nothing, or are refused: they take no key, whatever watches.
KEYLESS = {
    "no elements": lambda seed: ai.normal_(torch.empty(0, 4), seed=seed),
    "no elements, new": lambda seed: ai.normal((0, 3), seed=seed, xp="torch"),
    "no elements, no name": lambda seed: ai.normal_(torch.empty(0), seed=seed, name=1.5),
    "no spread": lambda seed: ai.normal_(torch.empty(3), std=0.0, seed=seed),
    "packed zeros": lambda seed: ai.packed_(torch.empty(4, 2), ai.spec("zeros"), 2, seed=seed),
    "packed constants": lambda seed: ai.packed(torch.empty(4, 2), ai.spec("normal", std=0.0), 2, seed=seed),
    "drop-in": lambda seed: init.normal_(torch.empty(3), std=0.0, generator=seed),
    "meta": lambda seed: ai.normal_(torch.empty(3, device="meta"), seed=seed),
    "to meta": lambda seed: ai.normal(torch.empty(3), seed=seed, device="meta"),
    "negative std": lambda seed: ai.normal_(torch.empty(3), std=-1.0, seed=seed),
    "empty interval": lambda seed: ai.uniform_(torch.empty(3), a=2.0, b=1.0, seed=seed),
    "integers": lambda seed: ai.normal_(torch.empty(3, dtype=torch.int32), seed=seed),
    "wrong part": lambda seed: ai.normal_(torch.empty(3), shape=(10,), index=slice(0, 4), seed=seed),
    "no name": lambda seed: ai.normal_(torch.empty(3), name=1.5, seed=seed),
    "too many elements": lambda seed: ai.normal((1 << 60,), seed=seed, xp="torch"),
}


def outcome(draw, seed):
    """The result of a draw, its warnings, and the next key."""
    ai.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            drawn = draw(seed)
            kind = "meta" if drawn.is_meta else str(drawn.tolist())
        except (TypeError, ValueError) as error:
            kind = str(error)
    return kind, [str(warning.message) for warning in caught], seeds.peek(None)


@pytest.mark.parametrize("name", KEYLESS)
def test_a_mode_takes_no_key_where_none_is_needed(name):
    plain = outcome(KEYLESS[name], None if name != "drop-in" else torch.Generator())
    assert plain[2] == ai.fold(0, 0)
    with Log():
        assert outcome(KEYLESS[name], None if name != "drop-in" else torch.Generator()) == plain
        generator = torch.Generator().manual_seed(3)
        outcome(KEYLESS[name], generator)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(3).get_state())


def test_a_mode_warns_of_empty_tensors():
    for draw in (
        lambda seed: ai.kaiming_normal_(torch.empty(0, 4)),
        lambda seed: ai.kaiming_uniform((3, 0), xp="torch"),
        lambda seed: ai.packed_(torch.empty(0, 4), ai.spec("kaiming_normal"), 1),
    ):
        plain = outcome(draw, None)
        assert plain[1]
        with Log():
            assert outcome(draw, None) == plain


def test_a_mode_changes_no_later_value():
    def draw():
        ai.manual_seed(0)
        ai.normal_(torch.empty(0, 4))
        return ai.normal_(torch.empty(4, 6))

    with Log():
        drawn = draw()
    assert equal(drawn, draw())


def test_abstract_tensors_under_a_map_take_no_key():
    ai.manual_seed(0)
    meta = torch.empty(3, 4, device="meta")
    assert torch.vmap(ai.normal, **DIFFERENT)(meta).is_meta
    assert seeds.peek(None) == ai.fold(0, 0)
    assert not torch.vmap(lambda x: ai.normal(x, device="cpu"), **DIFFERENT)(meta).is_meta
    assert seeds.peek(None) == ai.fold(0, 1)


@pytest.mark.parametrize("mode", ["real", "symbolic"])
def test_a_graph_keeps_the_seed_of_an_empty_draw(mode):
    graph = make_fx(lambda x: ai.normal(x, seed=5), tracing_mode=mode)(torch.empty(0, 4))
    assert equal(graph(poison(0, 4)), torch.empty(0, 4))
    if mode == "real":
        assert equal(graph(poison(3, 4)), normal((3, 4), 5))


def test_fake_tensors_stay_fake_and_real_ones_are_drawn():
    fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
    real = poison()
    with fake_tensor.FakeTensorMode():
        fake = torch.empty(3, 4)
        assert ai.normal_(fake) is fake
        assert isinstance(ai.normal(fake, seed=0), fake_tensor.FakeTensor)
        assert isinstance(ai.normal((3, 4), seed=0, xp="torch"), fake_tensor.FakeTensor)
        init.normal_(real, seed=0)
    assert isinstance(ai.normal(fake, seed=0), fake_tensor.FakeTensor)
    assert equal(real, normal((4, 6)))


def test_new_tensors_like_real_ones_are_fake_in_a_fake_mode():
    fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
    ai.manual_seed(0)
    for x in (poison(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.nn.Parameter(poison(3, 4))):
        with fake_tensor.FakeTensorMode():
            drawn = [ai.normal(x), ai.normal(x, dtype="float64"), ai.normal(x, device="cpu"), ai.zeros(x)]
            assert ai.normal(x, device="meta").device.type == "meta"
        assert all(isinstance(one, fake_tensor.FakeTensor) for one in drawn)
        assert all((one.shape, one.stride(), one.device) == (x.shape, x.stride(), x.device) for one in drawn)
        assert drawn[1].dtype == torch.float64
    assert seeds.peek(None) == ai.fold(0, 0)
    outside = poison()
    with fake_tensor.FakeTensorMode(), Log():
        for draw in (ai.normal, ai.normal_, ai.zeros):
            with pytest.raises(TypeError, match="`x` must be a fake tensor"):
                draw(outside)
    assert seeds.peek(None) == ai.fold(0, 0)
    assert outside.isnan().all()


def test_meta_tensors():
    meta = torch.empty(3, 4, device="meta")
    assert torch.ops.arrayinit.draw(meta, '{"stream": 1, "draw": "normal", "with": {}}', 0).is_meta
    with Log():
        assert ai.normal(meta, seed=0).is_meta
        assert ai.normal_(meta, seed=0) is meta


def test_inference_mode():
    with torch.inference_mode():
        x = torch.empty(4, 6)
        assert equal(torch.vmap(lambda x: init.normal_(x, seed=0), **SAME)(x[None])[0], normal((4, 6)))


class Wrapped(torch.Tensor):
    """A tensor that implements torch's operators itself, by those of the one within."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, strides=inner.stride(), dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def within(x):
            return x.inner if isinstance(x, cls) else x

        result = func(*map(within, args), **(kwargs or {}))
        return cls(result) if isinstance(result, torch.Tensor) else result


def test_subclasses_with_operators_of_their_own():
    x = Wrapped(poison())
    assert init.normal_(x, seed=0) is x
    assert equal(x.inner, normal((4, 6)))
    assert equal(ai.normal(x, seed=0).inner, normal((4, 6)))


# torch.vmap.


def members(shape, count, name=None):
    return torch.stack([normal(shape, ai.fold(ai.fold(0, name) if name else 0, i)) for i in range(count)])


X = poison(3, 4, 5)
WAYS = {
    "new": lambda x: ai.normal(x, seed=0),
    "in place": lambda x: init.normal_(x.clone(), seed=0),
    "of a shape": lambda x: normal(tuple(x.shape)),
    "like what is not mapped": lambda x: ai.normal(poison(*x.shape), seed=0),
}


@pytest.mark.parametrize("way", WAYS)
def test_members_of_a_map_differ_or_are_the_same(way):
    assert equal(torch.vmap(WAYS[way], **DIFFERENT)(X), members((4, 5), 3))
    assert equal(torch.vmap(WAYS[way], **SAME)(X), normal((4, 5)).expand(3, 4, 5))
    with pytest.raises(RuntimeError, match="needs randomness='different' or 'same'"):
        torch.vmap(WAYS[way])(X)


def test_a_member_has_the_index_folded_into_its_key_behind_the_name():
    drawn = torch.vmap(lambda x: ai.xavier_uniform(x, seed=0, name="w"), **DIFFERENT)(X)
    assert all(equal(drawn[i], ai.xavier_uniform(X[i], seed=0, name=("w", i))) for i in range(3))


def test_axes_of_a_map():
    for dims, shape, count in ((1, (3, 5), 4), (-1, (3, 4), 5)):
        for way in ("new", "in place"):
            assert equal(torch.vmap(WAYS[way], in_dims=dims, **DIFFERENT)(X), members(shape, count))
    drawn = torch.vmap(WAYS["new"], out_dims=1, **DIFFERENT)(X)
    assert equal(drawn, members((4, 5), 3).movedim(0, 1))


def test_nested_maps_fold_the_outer_index_first():
    wanted = torch.stack([torch.stack([normal((5,), ai.fold(ai.fold(0, i), j)) for j in range(4)]) for i in range(3)])
    for way in ("new", "in place"):
        assert equal(torch.vmap(torch.vmap(WAYS[way], **DIFFERENT), **DIFFERENT)(X), wanted)
    inner_same = torch.vmap(torch.vmap(WAYS["new"], **SAME), **DIFFERENT)(X)
    assert equal(inner_same, members((5,), 3)[:, None].expand(3, 4, 5))
    outer_same = torch.vmap(torch.vmap(WAYS["new"], **DIFFERENT), **SAME)(X)
    assert equal(outer_same, members((5,), 4).expand(3, 4, 5))
    with pytest.raises(RuntimeError, match="needs randomness"):
        torch.vmap(torch.vmap(WAYS["new"], **DIFFERENT))(X)


def test_a_tensor_that_members_share_can_not_differ():
    shared = poison()
    with pytest.raises(RuntimeError, match="`x` must be mapped over"):
        torch.vmap(lambda i: ai.normal_(shared, seed=0) + i, **DIFFERENT)(torch.zeros(3))
    assert shared.isnan().all()
    torch.vmap(lambda i: ai.normal_(shared, seed=0) + i, **SAME)(torch.zeros(3))
    assert equal(shared, normal((4, 6)))


def test_what_draws_nothing_is_mapped_as_any_operator():
    assert equal(torch.vmap(lambda x: ai.zeros_(x.clone()))(X), torch.zeros(3, 4, 5))
    assert equal(torch.vmap(ai.eye)(X), torch.eye(4, 5).expand(3, 4, 5))
    ai.manual_seed(0)
    assert equal(torch.vmap(lambda x: ai.normal(x, mean=2.0, std=0.0))(X), torch.full((3, 4, 5), 2.0))
    assert equal(torch.vmap(lambda x: ai.packed_(x.clone(), ai.spec("zeros"), 2))(X), torch.zeros(3, 4, 5))
    assert torch.vmap(ai.normal)(torch.empty(3, 0)).shape == (3, 0)
    assert seeds.peek(None) == ai.fold(0, 0)


@pytest.mark.parametrize("way", WAYS)
def test_maps_over_no_members(way):
    for randomness in (DIFFERENT, SAME):
        for dims, shape in ((0, (0, 4, 5)), (1, (4, 0, 5)), (-1, (4, 5, 0))):
            drawn = torch.vmap(WAYS[way], in_dims=dims, **randomness)(torch.empty(shape))
            assert equal(drawn, torch.empty(0, 4, 5))
            nested = torch.vmap(torch.vmap(WAYS[way], in_dims=dims, **randomness), **randomness)(torch.empty(3, *shape))
            assert equal(nested, torch.empty(3, 0, 4, 5))
            nested = torch.vmap(torch.vmap(WAYS[way], **randomness), in_dims=dims, **randomness)(torch.empty(shape))
            assert equal(nested, torch.empty(0, 4, 5))
    with pytest.raises(RuntimeError, match="needs randomness"):
        torch.vmap(WAYS[way])(torch.empty(0, 4, 5))
    assert equal(torch.vmap(ai.eye)(torch.empty(0, 4, 5)), torch.empty(0, 4, 5))


def test_maps_over_no_keys():
    keys = torch.empty(0, 2, dtype=torch.uint64)
    drawn = torch.vmap(lambda key: ai.normal((4, 5), seed=key, xp="torch", dtype="float64"))(keys)
    assert equal(drawn, torch.empty(0, 4, 5, dtype=torch.float64))
    both = torch.vmap(lambda x, key: init.normal_(x.clone(), seed=key))(torch.empty(0, 4, 5), keys)
    assert equal(both, torch.empty(0, 4, 5))
    nested = torch.vmap(torch.vmap(lambda key: normal((4, 5), key)))(torch.empty(3, 0, 2, dtype=torch.uint64))
    assert equal(nested, torch.empty(3, 0, 4, 5))


def test_a_map_without_a_seed_takes_one_key_and_a_refused_one_none():
    ai.manual_seed(1)
    shared = poison()
    with pytest.raises(RuntimeError, match="needs randomness="):
        torch.vmap(ai.normal)(X)
    with pytest.raises(RuntimeError, match="`x` must be mapped over"):
        torch.vmap(lambda i: ai.normal_(shared), **DIFFERENT)(X)
    root = ai.fold(1, 0)
    drawn = torch.vmap(lambda x: ai.normal(x), **DIFFERENT)(X)
    assert equal(drawn, torch.stack([normal((4, 5), ai.fold(root, i)) for i in range(3)]))
    assert equal(normal((2,), None), normal((2,), ai.fold(1, 1)))


def test_a_generator_is_obeyed_in_a_map():
    def draw(generator):
        return torch.vmap(lambda x: init.normal_(x.clone(), generator=generator), **DIFFERENT)(X)

    first, second = (draw(torch.Generator().manual_seed(0)) for _ in range(2))
    assert equal(first, second)
    assert not equal(first[0], first[1])


def test_a_map_in_chunks_needs_keys_that_are_mapped():
    with pytest.raises(RuntimeError, match=r"`seed` must be mapped over by torch\.vmap where it runs in chunks"):
        torch.vmap(WAYS["new"], chunk_size=2, **DIFFERENT)(X)
    ai.manual_seed(0)
    drawn = torch.vmap(lambda x: ai.normal(x), chunk_size=2, **DIFFERENT)(X)
    assert not equal(drawn[0], drawn[2])


def test_stacked_modules():
    models = [torch.nn.Linear(5, 4) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(models)
    drawn = torch.vmap(lambda p: {k: init.normal_(v, seed=0, name=k) for k, v in p.items()}, **DIFFERENT)(parameters)
    for i in range(3):
        assert equal(parameters["weight"][i].detach(), normal((4, 5), 0, ("weight", i)))
        assert equal(drawn["bias"][i].detach(), normal((4,), 0, ("bias", i)))

    def noisy(p, b):
        out = torch.func.functional_call(models[0], (p, b), (torch.zeros(5),))
        return out - p["bias"] + normal((4,))

    assert equal(torch.vmap(noisy, **DIFFERENT)(parameters, buffers).detach(), members((4,), 3))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiled_maps(backend):
    def nested(x):
        return torch.vmap(torch.vmap(WAYS["new"], **DIFFERENT), **DIFFERENT)(x)

    for f in (*(lambda x, way=way: torch.vmap(way, **DIFFERENT)(x) for way in WAYS.values()), nested):
        assert equal(compiled(f, backend)(X), f(X))


# Derivatives.


def test_a_draw_has_no_derivative():
    x, noise = torch.ones(4, 5), normal((4, 5))

    def product(x):
        return (x * ai.normal(x, seed=0)).sum()

    assert equal(torch.func.grad(product)(x), noise)
    assert equal(torch.func.jacrev(lambda x: x * ai.normal(x, seed=0))(x[0]), torch.diag(normal((5,))))
    assert equal(torch.func.jacfwd(lambda x: x * ai.normal(x, seed=0), **SAME)(x[0]), torch.diag(normal((5,))))
    assert equal(torch.vmap(torch.func.grad(product), **DIFFERENT)(torch.ones(3, 4, 5)), members((4, 5), 3))
    value, tangent = torch.func.jvp(lambda x: ai.normal(x, seed=0), (x,), (x,))
    assert equal(value, noise)
    assert not tangent.any()


@pytest.mark.parametrize("library", [torch.nn.init, init])
def test_in_place_derivatives_are_those_of_torch(library):
    x = torch.ones(4, 5)
    _, tangent = torch.func.jvp(lambda x: library.normal_(x.clone()), (x,), (x,))
    assert not tangent.any()  # what was there is gone
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.clone(), x)
        assert not torch.autograd.forward_ad.unpack_dual(library.normal_(dual)).tangent.any()
    gradient = torch.func.grad(lambda x: library.normal_(x.clone()).sum())(x)
    assert bool((gradient == 1).all())  # without a record, as everywhere in torch.nn.init


# Keys of torch's own.


def key_of(seed, offset=0):
    return torch.tensor([seed, offset], dtype=torch.uint64)


def test_a_key_of_torch_is_its_seed_where_its_offset_is_0():
    for seed in (0, 5, 2**64 - 1):
        assert equal(normal((3,), key_of(seed)), normal((3,), seed))
    assert ai.fold(key_of(5), "w") == ai.fold(5, "w")


def test_keys_of_torch_with_an_offset_are_keys_of_their_own():
    seeds = [0, 5, *(ai.fold(5, k) for k in range(3)), *(key_of(5, k) for k in (1, 2, 2**63)), key_of(4, 1)]
    assert len({normal((4,), seed).numpy().tobytes() for seed in seeds}) == len(seeds)


def test_what_is_no_key_of_torch_is_refused():
    for wrong in (torch.zeros(2, dtype=torch.int64), torch.zeros(3, dtype=torch.uint64), torch.zeros(2)):
        with pytest.raises(TypeError, match=r"`seed` must be one key of torch\.func\._random"):
            normal((3,), wrong)
    with pytest.raises(TypeError, match=r"map over keys with torch\.vmap"):
        normal((3,), torch.zeros(4, 2, dtype=torch.uint64))
    with pytest.raises(TypeError, match="`seed` must be a key that has a value here"):
        normal((3,), key_of(1).to("meta"))


def test_keys_that_are_mapped_over_are_the_members_own():
    keys = torch.stack([key_of(1), key_of(2), key_of(3, 7)])
    wanted = torch.stack([normal((4, 5), key) for key in keys])
    for randomness in ("error", "same", "different"):
        drawn = torch.vmap(lambda key: normal((4, 5), key), randomness=randomness)(keys)
        assert equal(drawn, wanted)
        drawn = torch.vmap(lambda x, key: init.normal_(x.clone(), seed=key), randomness=randomness)(X, keys)
        assert equal(drawn, wanted)
    graph = make_fx(lambda key: normal((4, 5), key))(keys[0])
    assert equal(graph(keys[2]), wanted[2])
    assert equal(compiled(lambda key: normal((4, 5), key))(keys[2]), wanted[2])


def stateless():
    """torch's own stateless generator, and a device on which it runs."""
    random = pytest.importorskip("torch.func._random", reason="torch before 2.13 has no torch.func._random")
    for device in ("cpu", "cuda"):
        try:
            random.split(random.key(0, device=device))
        except (RuntimeError, AssertionError, NotImplementedError):
            continue
        return random, device
    pytest.skip(f"torch {torch.__version__} has torch.func._random but no kernel of it for the devices here")


def test_words_are_those_of_the_generator_of_torch():
    random, device = stateless()
    key, words = random.key(5, device=device), ai.bits(1024, seed=5)
    single = random.uniform(key, (1024,)).cpu().numpy()
    assert (single == (words & 0xFFFFFF) / np.float32(2**24)).all()  # torch takes the low 24 bits of a word
    double = random.uniform(key, (512,), dtype=torch.float64).cpu().numpy()
    wide = words.astype(np.uint64)
    assert (double == ((wide[0::2] << 32 | wide[1::2]) & (2**53 - 1)) / 2.0**53).all()
    children = random.split(key, 3).cpu().numpy().ravel()
    assert (children == (wide[0:12:2] | wide[1:12:2] << 32)).all()  # a key of torch takes four words
    late = random.uniform(key_of(5, 2).to(device), (8,)).cpu().numpy()
    assert (late == (words[8:16] & 0xFFFFFF) / np.float32(2**24)).all()  # an offset counts blocks of four words


@pytest.mark.slow
def test_dtensors_are_drawn_outside_of_graphs():
    pytest.importorskip("torch.distributed.tensor")
    code = """
import torch, torch.distributed as dist, arrayinit as ai, arrayinit.torch as init
from torch.testing._internal.distributed.fake_pg import FakeStore
dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.fx.experimental.proxy_tensor import make_fx
x = DTensor.from_local(torch.zeros(2, 4), init_device_mesh("cpu", (2,)), [Shard(0)])
wanted = ai.normal((4, 4), seed=0, xp="torch")[:2]
drawn = torch.compile(lambda x: init.normal_(x, seed=0), backend="eager")(x)
print(bool((drawn.to_local() == wanted).all()))
for refused in (
    lambda: torch.compile(lambda x: init.normal_(x, seed=0), backend="eager", fullgraph=True)(x),
    lambda: make_fx(lambda x: init.normal_(x, seed=0))(x),
):
    torch._dynamo.reset()
    try:
        refused()
    except Exception as error:
        print("DTensor" in str(error))
"""
    assert run(code).split() == ["True", "True", "True"]
