"""Values that a JAX function names, changed within its jaxpr: vmap, jit and remat may lie around them.

A tracer of jax.vmap can't be taken out of it, but an operation that the function calls stays in the jaxpr, where all of
the batch is one array.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal, Primitive, jaxprs_in_params
from jax.interpreters import batching

from arrayinit.plot.tapping import Tap

__all__ = ["mark", "run_marked"]

CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2")  # which may be run where they stand

_mark = Primitive("arrayinit_mark")
_mark.def_abstract_eval(lambda x, **params: x)
batching.primitive_batchers[_mark] = lambda xs, axes, **params: (_mark.bind(*xs, **params), axes[0])


def mark(name: str, x: Any) -> Any:
    """The array itself, which :func:`run_marked` finds by this name."""
    return _mark.bind(x, name=name)


def run_marked(function: Any, args: Sequence[Any], tap: Tap) -> Any:
    """function(*args), with `tap(name, x)` in place of each marked array.

    Raises:
        ValueError: a mark in a loop or a branch, whose values can't be taken out.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    outputs = _run(closed, jax.tree.leaves(args), tap)
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def _run(closed: Any, args: Sequence[Any], tap: Tap) -> list[Any]:
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        if equation.primitive is _mark:
            outputs = [tap(equation.params["name"], *inputs)]
        elif _holds_mark(equation):
            outputs = _run(_inner(equation), inputs, tap)
        else:
            params = equation.primitive.get_bind_params(equation.params)
            functions, params = params if isinstance(params, tuple) else ((), params)  # a tuple before JAX 0.10
            result = equation.primitive.bind(*functions, *inputs, **params)
            outputs = result if equation.primitive.multiple_results else [result]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _holds_mark(equation: Any) -> bool:
    return any(
        each.primitive is _mark or _holds_mark(each)
        for jaxpr in jaxprs_in_params(equation.params)
        for each in jaxpr.eqns
    )


def _inner(equation: Any) -> Any:
    if equation.primitive.name not in CALLS:
        raise ValueError(
            f"`layers` must choose layers outside of loops and branches (here `{equation.primitive.name}`), whose "
            f"values can't be taken out"
        )
    inner = next(equation.params[name] for name in ("jaxpr", "call_jaxpr") if name in equation.params)
    return inner if hasattr(inner, "consts") else ClosedJaxpr(inner, ())
