"""Jaxprs as flat tapes: the steps of a traced constructor, what each value depends on, and values by running steps."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal, jaxpr_as_fun, jaxprs_in_params
from jax.interpreters.partial_eval import dce_jaxpr

__all__ = ["PLACEMENTS", "Step", "Tape", "is_key", "on_cpu"]

KEY = "its values depend on a key itself, and on no draw from it: give it a rule"
SHAPE_ALONE = "its values depend on an argument that was given by its shape alone"
DRAWN_KEY = "it is drawn with a key that depends on another draw: give it a rule"
LOST = "`{}` draws in a way that can't be recorded: give it a rule"

_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")
PLACEMENTS = ("reshard", "sharding_constraint")  # which change no value; arrays get their places later
_Draw = Callable[[int], Any]


class Step(NamedTuple):
    """One operation; inputs and outputs are numbers of values."""

    equation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return str(self.equation.primitive.name)

    def run(self, inputs: list[Any]) -> list[Any]:
        """The outputs for these inputs."""
        if self.name in PLACEMENTS:
            return inputs
        primitive = self.equation.primitive
        params = primitive.get_bind_params(self.equation.params)
        functions, params = params if isinstance(params, tuple) else ((), params)  # a tuple before JAX 0.10
        result = primitive.bind(*functions, *inputs, **params)
        return list(result) if primitive.multiple_results else [result]


class Tape:
    """The steps that lead to the outputs of a jaxpr, with all calls and independent loops taken apart.

    A loop over layers whose steps don't depend on each other, as of Flax's nn.scan, becomes what vmap would do.

    steps: in order. The draws among them are the steps called "random_bits".
    outputs: the numbers of the values that the jaxpr returns.
    avals: value -> its shape and dtype.
    makers: value -> the number of the step that makes it.
    problems: value -> why it can't be computed or drawn; "" where it can.
    random: the values that depend on a draw.
    orthogonal: the values that jax.random.orthogonal draws.
    """

    def __init__(self, closed: Any, arguments: list[Any]) -> None:
        self.steps: list[Step] = []
        self.avals: list[Any] = []
        self.problems: list[str] = []
        self.makers: dict[int, int] = {}
        self.random: set[int] = set()
        self.orthogonal: set[int] = set()
        self._held: dict[int, Any] = {}
        count = len(closed.jaxpr.outvars)
        jaxpr, _ = dce_jaxpr(closed.jaxpr, [True] * count, instantiate=True)  # cuts the forward pass, also out of loops
        self.outputs = self._add(jaxpr, map(self._hold, closed.consts), map(self._argument, arguments))

    def maker(self, value: int) -> Step | None:
        """The step that makes a value; None for a constant or an argument."""
        return self.steps[self.makers[value]] if value in self.makers else None

    def behind(self, value: int) -> list[int]:
        """The numbers of the steps that a value comes from, in order; nothing behind a draw."""
        needed: set[int] = set()
        todo = [value]
        while todo:
            number = self.makers.get(todo.pop())
            if number is not None and number not in needed:
                needed.add(number)
                todo += [] if self.steps[number].name == "random_bits" else self.steps[number].inputs
        return sorted(needed)

    def draws_behind(self, value: int) -> list[int]:
        """The numbers of the draws that a value comes from, in order."""
        return [number for number in self.behind(value) if self.steps[number].name == "random_bits"]

    def values_of(self, value: int, draw: _Draw) -> Any:
        """A value, by running all steps behind it.

        Args:
            draw: gives the words of a draw by the number of its step.
        """
        memory = dict(self._held)
        for number in self.behind(value):
            step = self.steps[number]
            if step.name == "random_bits":
                memory[step.outputs[0]] = draw(number)
                continue
            memory.update(zip(step.outputs, step.run([memory[x] for x in step.inputs]), strict=True))
        return memory[value]

    def known(self, value: int) -> Any:
        """A value that depends on no draw."""

        def refuse(number: int) -> Any:
            raise AssertionError(number)

        with on_cpu():
            return self.values_of(value, refuse)

    def _new(self, aval: Any, problem: str = "") -> int:
        self.avals.append(aval)
        self.problems.append(problem)
        return len(self.avals) - 1

    def _hold(self, x: Any) -> int:
        value = self._new(jax.typeof(x))
        self._held[value] = x if is_key(self.avals[value]) else np.asarray(x)  # on no mesh
        return value

    def _argument(self, x: Any) -> int:
        if isinstance(x, jax.ShapeDtypeStruct):
            return self._new(x, SHAPE_ALONE)
        value = self._hold(x)
        if x.dtype == np.uint32 and x.shape[-1:] == (2,):  # keys without a type
            self.problems[value] = KEY
        return value

    def _add(self, jaxpr: Any, consts: Iterator[int], arguments: Iterator[int]) -> list[int]:
        """Add the steps of a jaxpr; returns the numbers of its outputs."""
        numbers = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, arguments, strict=True))

        def number(atom: Any) -> int:
            return self._hold(atom.val) if isinstance(atom, Literal) else numbers[atom]

        for equation in jaxpr.eqns:
            inputs = tuple(map(number, equation.invars))
            inner = _inner(equation)
            if inner is None:
                outputs = self._step(equation, inputs)
            else:
                outputs = self._add(inner.jaxpr, map(self._hold, inner.consts), iter(inputs))
            if _is_orthogonal(equation):
                self.orthogonal.add(outputs[0])
            numbers.update(zip(equation.outvars, outputs, strict=True))
        return list(map(number, jaxpr.outvars))

    def _step(self, equation: Any, inputs: tuple[int, ...]) -> list[int]:
        primitive = equation.primitive
        is_random = not self.random.isdisjoint(inputs)
        problem = max((self.problems[x] for x in inputs), key=lambda text: (text != "", text != KEY), default="")
        if primitive.name in ("random_wrap", "random_bits") and problem == KEY:
            problem = ""
        if primitive.name == "random_bits":
            problem, is_random = DRAWN_KEY if is_random else problem, True
        elif primitive.name == "random_unwrap":
            problem = problem or KEY
        elif _takes_key(equation) or _draws_within(equation):
            problem, is_random = LOST.format(primitive.name), True
        outputs = [self._new(x.aval, problem) for x in equation.outvars]
        if is_random:
            self.random.update(outputs)
        self.makers.update(dict.fromkeys(outputs, len(self.steps)))
        self.steps.append(Step(equation, inputs, tuple(outputs)))
        return outputs


def on_cpu() -> AbstractContextManager[Any]:
    """Compute on the CPU, unless JAX was told to have none."""
    try:
        context: AbstractContextManager[Any] = jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return nullcontext()
    return context


def is_key(aval: Any) -> bool:
    """Whether something is an array of keys, which have a type of their own."""
    return bool(jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key))


def _takes_key(equation: Any) -> bool:
    """Whether an operation makes numbers of a key."""
    return any(is_key(x.aval) for x in equation.invars if hasattr(x.aval, "dtype")) and not all(
        is_key(x.aval) for x in equation.outvars if hasattr(x.aval, "dtype")
    )


def _draws_within(equation: Any) -> bool:
    """Whether there is a draw in the jaxprs that an operation holds."""
    inner = list(jaxprs_in_params(equation.params))
    return any(each.primitive.name == "random_bits" or _draws_within(each) for jaxpr in inner for each in jaxpr.eqns)


def _inner(equation: Any) -> Any:
    """The closed jaxpr that an operation stands for; None where it is a step."""
    params = equation.params
    if equation.primitive.name in _CALLS:
        inner = next(params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in params)
        return inner if hasattr(inner, "consts") else jax.extend.core.ClosedJaxpr(inner, ())
    if equation.primitive.name == "scan" and not params["num_carry"] and _draws_within(equation):
        count = params["num_consts"]
        axes = [None if k < count else 0 for k in range(len(equation.invars))]
        shapes = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in equation.invars]
        body = jax.vmap(jaxpr_as_fun(params["jaxpr"]), axes, axis_size=params["length"])
        return jax.make_jaxpr(body)(*shapes)
    return None


def _is_orthogonal(equation: Any) -> bool:
    """Whether this is what jax.random.orthogonal does for a matrix."""
    if equation.params.get("name") != "_orthogonal" or len(equation.invars) != 1 or len(equation.outvars) != 1:
        return False
    key, matrix = equation.invars[0].aval, equation.outvars[0].aval
    if not is_key(key) or key.shape or len(matrix.shape) != 2:
        return False
    return str(equation.params["jaxpr"]) == _orthogonal_text(
        key.dtype, matrix.shape, matrix.dtype, jax.sharding.get_abstract_mesh()
    )


@cache
def _orthogonal_text(key: Any, shape: tuple[int, ...], dtype: Any, mesh: Any) -> str:
    """The jaxpr of jax.random.orthogonal for a matrix, under the mesh that is set, which is a part of its text."""
    draw = jax.nn.initializers.orthogonal()
    jaxpr = jax.make_jaxpr(lambda key: draw(key, shape, dtype))(jax.ShapeDtypeStruct((), key))
    return next((str(each.params["jaxpr"]) for each in jaxpr.eqns if each.params.get("name") == "_orthogonal"), "")
