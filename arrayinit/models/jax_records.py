"""Records of JAX: what a function that makes arrays from a key does, as rules for the arrays by their paths."""

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from arrayinit.backends.jax import is_tracing
from arrayinit.common.escapes import printable
from arrayinit.common.messages import counted, shown
from arrayinit.initializers.bits import bits
from arrayinit.key import Key
from arrayinit.models.jax import leaves_of_tree, parameters_of_tree
from arrayinit.models.parameters import Parameter
from arrayinit.models.recorded import RecordedRule, RecordedRules
from arrayinit.recording.jax_laws import Recognized, recognize
from arrayinit.recording.jaxprs import Tape, is_key, on_cpu

__all__ = ["JaxRecord", "record"]

GIVEN = "the values that the function gave"
TWICE = "its key is used for other draws, too, which JAX makes dependent: give it a rule"


class JaxRecord(RecordedRules):
    """The rules that :func:`record` returns: one for each array, by path, and the arrays' `shapes`.

    shapes: what the recorded function returns, with a `jax.ShapeDtypeStruct` for each array. JAX keys, such as those of
        nnx's random streams, stay as the function made them.

    It is accepted wherever rules are, alone or behind others: `rules + start`. `print(start)` shows each path with its
    shape and law. Where every array follows a law, `start.as_rules().to_toml()` writes them as text, and the record can
    be pickled if `shapes` can.

    Example:
        >>> import jax
        >>> from arrayinit.jax import init_tree, record
        >>> start = record(lambda key: {"w": jax.random.normal(key, (2,)), "b": jax.numpy.ones(2)}, jax.random.key(0))
        >>> init_tree(start.shapes, ai.Rules({"b": "zeros"}) + start, seed=0)["b"]
        Array([0., 0.], dtype=float32)
    """

    shapes: Any

    def __init__(self, rules: tuple[RecordedRule, ...], shapes: Any) -> None:
        super().__init__(rules)
        object.__setattr__(self, "shapes", shapes)


def record(function: Callable[..., Any], *args: Any, **kwargs: Any) -> JaxRecord:
    """Trace a function that makes arrays from keys, and read from its jaxpr how each array is drawn; nothing is drawn.

        start = record(model.init, jax.random.key(0), x)                        # Flax linen, or Haiku
        start = record(lambda: Model(rngs=nnx.Rngs(0)))                         # nnx
        start = record(eqx.nn.MLP, 2, 2, 64, 2, key=jax.random.key(0))          # Equinox
        params = init_tree(start.shapes, start, seed=0)

    The paths are those of what the function returns: "params.Dense_0.kernel" for `model.init` of Flax. For the
    parameters alone, record `lambda key: model.init(key, x)["params"]`.

    Each array of the result becomes a rule for its path, as :func:`init_tree` has it:

    - a law, where one initializer draws all of its elements: uniform, normal, truncated normal or orthogonal, also for
      layers that `vmap` or nn.scan stack; or a constant. Its numbers are those of the jaxpr, rounded as JAX rounds
      them: std=0.33333334 where fan_in is 9;
    - a program otherwise, such as an orthogonal matrix within zeros or a draw that several arrays share: the steps of
      the jaxpr, run on words of this package. It is computed on the CPU, or in the trace, on the whole array also where
      only shards are kept; its last bits depend on the device and on `jit`;
    - the value itself, where nothing is random.

    The key of an array is fold(seed, its path), and draw k of a program has fold(that, k). Which keys the function is
    called with does not matter, but two draws of one shape with the same key stay copies of each other.

    In float16 and bfloat16 a law is what the function means; JAX's own draws in these dtypes take few distinct values
    and have coarse tails. What the function draws with NumPy is recorded as a constant. A record with programs can't be
    pickled.

    Args:
        function: a function that JAX can trace. What it returns is any pytree, also of modules.
        *args, **kwargs: its arguments. Arrays are traced, and those that are no keys may be `jax.ShapeDtypeStruct`s;
            all other arguments are passed as they are.

    Returns:
        A :class:`JaxRecord`. Arrays that can't be drawn, such as those of jax.random.gamma, have a rule that
        :func:`init_tree` refuses with the reason, unless another rule comes first.

    Raises:
        TypeError: a function that can't be called; a call inside `jit` or another transformation; a result that holds
            no arrays.
        ValueError: a mesh with axes of type Explicit is set: record outside of it, then draw on it.

    Example:
        >>> import jax
        >>> from arrayinit.jax import init_tree, record
        >>> def init(key):
        ...     w = jax.nn.initializers.lecun_normal()(key, (4, 3))
        ...     return {"w": w, "b": jax.numpy.zeros(3)}
        >>> start = record(init, jax.random.key(0))
        >>> print(start)
        b    3  zeros
        w  4x3  trunc_normal, a=-1.13685, b=1.13685, std=0.568424
        >>> init_tree(start.shapes, start, seed=0)["b"]
        Array([0., 0., 0.], dtype=float32)
    """
    if not callable(function):
        raise TypeError(f"`function` must be a function that makes arrays; got {shown(function)}")
    closed, arguments, tree = _traced(function, args, kwargs)
    tape = Tape(closed, arguments)
    outputs = iter(tape.outputs)
    leaves, values = [], {}
    for path, leaf in ((path, leaf) for path, leaf, _ in leaves_of_tree(tree)):
        value = next(outputs) if isinstance(leaf, jax.ShapeDtypeStruct) else None
        if value is None:
            leaves.append(leaf)
        elif is_key(leaf):
            leaves.append(leaf if tape.problems[value] or value in tape.random else tape.known(value))
        else:
            leaves.append(leaf)
            values[path] = value
    shapes = jax.tree.unflatten(jax.tree.structure(tree), leaves)
    parameters = [each for each in parameters_of_tree(shapes) if each.path in values]
    return JaxRecord(tuple(_rules(tape, parameters, values)), shapes)


@dataclass(frozen=True, eq=False)
class Program:
    """The steps behind an array, run on words of this package.

    owners: draw -> the parameter that it counts to, and its number there.
    """

    tape: Tape
    value: int
    owners: dict[int, tuple[str, int]]

    @property
    def is_random(self) -> bool:
        """Whether there is a draw among the steps."""
        return bool(self.owners)

    def values(self, key_of: Callable[[str], Key]) -> Any:
        """The array, drawn with the keys of the paths: in the trace, or else on the CPU."""
        keys = {path: key_of(path) for path, _ in self.owners.values()}
        traced = is_tracing(*(word for key in keys.values() for word in (key.low, key.high)))

        def draw(number: int) -> Any:
            path, place = self.owners[number]
            aval = self.tape.avals[self.tape.steps[number].outputs[0]]
            return _words(aval, keys[path].fold(place), "jax" if traced else "numpy")

        with contextlib.nullcontext() if traced else on_cpu():
            return self.tape.values_of(self.value, draw)

    def __reduce__(self) -> Any:
        if self.owners:
            path = next(iter(self.owners.values()))[0]
            raise TypeError(f"a record of JAX with programs can't be pickled; got {self} behind {printable(path)}")
        return _Given, (np.asarray(self.tape.known(self.value)),)

    def __str__(self) -> str:
        if not self.owners:
            return GIVEN
        names = [self.tape.steps[number].name for number in self.tape.behind(self.value)]
        first = ", ".join(names[:6]) + ", ..." * (len(names) > 6)
        return f"a program of {counted(len(names), 'operation')} ({first})"


@dataclass(frozen=True, eq=False)
class _Given:
    """Values that depend on no draw, as they are pickled."""

    array: np.ndarray[Any, Any]
    is_random = False

    def values(self, key_of: Callable[[str], Key]) -> Any:
        return self.array

    def __str__(self) -> str:
        return GIVEN


def _traced(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, list[Any], Any]:
    """The jaxpr of a call, the arrays that it takes, and the pytree that it returns, without the arrays' values."""
    given, structure = jax.tree.flatten((args, kwargs))
    places = [k for k, x in enumerate(given) if isinstance(x, jax.Array | np.ndarray | jax.ShapeDtypeStruct)]
    arguments = [given[k] for k in places]
    if is_tracing(*arguments):
        raise TypeError("a record must be made outside of `jit` and other transformations, with concrete keys")
    if jax.sharding.AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
        raise ValueError(
            "a record must be made outside of a mesh with axes of type Explicit; `init_tree` may be in one"
        )
    held: list[Any] = []

    def call(*arrays: Any) -> list[Any]:
        filled = list(given)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        args, kwargs = jax.tree.unflatten(structure, filled)
        leaves, tree = jax.tree.flatten(function(*args, **kwargs))
        is_array = [isinstance(x, jax.Array | np.ndarray | np.generic) for x in leaves]
        shapes = [
            jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype, allow_extended_dtype=True))
            if yes
            else x
            for x, yes in zip(leaves, is_array, strict=True)
        ]
        held.append(jax.tree.unflatten(tree, shapes))
        return [x for x, yes in zip(leaves, is_array, strict=True) if yes]

    closed = jax.make_jaxpr(call)(*arguments)
    if not closed.jaxpr.outvars:
        raise TypeError(f"`function` must return arrays; got {shown(held[0])}")
    return closed, arguments, held[0]


def _rules(tape: Tape, parameters: list[Parameter], values: dict[str, int]) -> Iterator[RecordedRule]:
    """A rule for each array."""
    draws = {path: tape.draws_behind(value) for path, value in values.items()}
    laws = {path: recognize(tape, value) for path, value in values.items()}
    model = (uuid.uuid4().hex,)
    first, reused = _distinct(tape, sorted({number for path in draws for number in draws[path]}))
    users: dict[int, list[Parameter]] = {}
    for parameter in parameters:
        for number in draws[parameter.path]:
            users.setdefault(first.get(number, number), []).append(parameter)
    owners: dict[int, tuple[str, int]] = {}
    for path in draws:
        for place, number in enumerate(draws[path]):
            owners.setdefault(first.get(number, number), (path, place))
    for parameter in parameters:
        path, law, numbers = parameter.path, laws[parameter.path], draws[parameter.path]
        rule = RecordedRule(
            pattern=re.sub(r"([\[*?])", r"[\1]", path), initializer=None, path=path, shape=parameter.shape, models=model
        )
        problem = tape.problems[values[path]] or (TWICE if not reused.isdisjoint(numbers) else "")
        sharing = users[first.get(numbers[0], numbers[0])] if numbers and not problem else []
        if law is not None and not problem and _are_copies(sharing, laws):
            shares = None if not sharing or sharing[0].path == path else sharing[0].path
            yield replace(rule, initializer=law.initializer, shares=shares)
        else:
            counts = {} if problem else {number: owners[first[number]] for number in numbers}
            yield replace(rule, program=None if problem else Program(tape, values[path], counts), problem=problem)


def _are_copies(sharing: list[Parameter], laws: dict[str, Recognized | None]) -> bool:
    """Whether the arrays with one draw are equal, so that each may be drawn by the law."""
    first = [(laws[each.path], each.shape, each.axes) for each in sharing]
    kinds = [None if law is None else (law.initializer, law.moves, shape, dict(axes)) for law, shape, axes in first]
    return len(kinds) < 2 or (kinds[0] is not None and all(kind == kinds[0] for kind in kinds))


def _distinct(tape: Tape, numbers: list[int]) -> tuple[dict[int, int], set[int]]:
    """Draw -> the first one with its keys and shape; and the draws that share some of their keys with others."""
    first: dict[int, int] = {}
    seen: dict[Any, int] = {}
    users: dict[bytes, set[int]] = {}
    for number in numbers:
        step = tape.steps[number]
        result, key = step.outputs[0], step.inputs[0]
        if tape.problems[result]:
            continue
        data = np.asarray(jax.random.key_data(tape.known(key)))
        aval = tape.avals[result]
        first[number] = seen.setdefault((data.tobytes(), data.shape, aval.shape, aval.dtype), number)
        rows = [row.tobytes() for row in data.reshape(-1, data.shape[-1])]
        for row in rows:
            users.setdefault(row, set()).add(first[number])
        if len(set(rows)) < len(rows):
            users[rows[0]].add(-1)
    mixed = {number for each in users.values() if len(each) > 1 for number in each}
    return first, {number for number, one in first.items() if one in mixed}


def _words(aval: Any, key: Key, xp: str) -> Any:
    """Random words of 8 to 64 bits."""
    width = aval.dtype.itemsize * 8
    if width == 64:
        pairs = bits((*aval.shape, 2), seed=key, xp=xp).astype(aval.dtype)
        return pairs[..., 0] << 32 | pairs[..., 1]
    return (bits(aval.shape, seed=key, xp=xp) >> np.uint32(32 - width)).astype(aval.dtype)
