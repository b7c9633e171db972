"""The calls that compete: ours and each library's, for the same law, on the same array or shape.

A setup is a way to draw: "torch" and "numpy" fill an existing array, "jit" makes a JAX array in a compiled function of
the key, "jax" makes one from a concrete key outside of `jit`. Nothing is drawn until a call is called.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

import arrayinit

__all__ = [
    "FILL",
    "JAX",
    "JAX_JIT",
    "OURS",
    "SETUPS",
    "TORCH",
    "Calls",
    "jit_calls",
    "peer_names",
    "torch_calls",
    "warm_engines",
]

Calls: TypeAlias = dict[str, Callable[[], Any]]  # contender -> a function that returns when its array is complete

OURS, FILL = "arrayinit", "fill"
TORCH, JAX, JAX_JIT = "torch.nn.init", "jax.nn.initializers", "jax.nn.initializers, jit"

_ARGUMENTS: dict[str, tuple[float, ...]] = {"sparse": (0.9,), "constant": (0.5,)}

# JAX's functions of the same law, and those of the same names in arrayinit.jax. In both, xavier_normal and
# kaiming_normal are truncated.
_IN_JAX: dict[str, tuple[str, tuple[float, ...]]] = {
    "uniform": ("uniform", (1.0,)),
    "xavier_uniform": ("glorot_uniform", ()),
    "kaiming_uniform": ("he_uniform", ()),
    "normal": ("normal", (1.0,)),
    "xavier_normal": ("glorot_normal", ()),
    "kaiming_normal": ("he_normal", ()),
    "trunc_normal": ("truncated_normal", (1.0,)),
    "orthogonal": ("orthogonal", ()),
    "constant": ("constant", (0.5,)),
}

_IN_NUMPY = {
    **dict.fromkeys(("uniform", "xavier_uniform", "kaiming_uniform"), "numpy.random"),
    **dict.fromkeys(("normal", "xavier_normal", "kaiming_normal"), "numpy.random"),
    "orthogonal": "numpy.linalg.qr",
    "eye": "numpy.fill_diagonal",
    "constant": "numpy.ndarray.fill",
}


def peer_names(setup: str, initializer: str) -> tuple[str, ...]:
    """The names of the libraries' calls for an initializer in a setup; none if the library has no such initializer."""
    if setup == "torch":
        return (TORCH,)
    if setup == "numpy":
        return (_IN_NUMPY[initializer],) if initializer in _IN_NUMPY else ()
    name = JAX if initializer in _IN_JAX else "jax.numpy.eye" if initializer == "eye" else None
    if name is None:
        return ()
    return (name,) if setup == "jit" else (name, f"{name}, jit")


@functools.cache
def warm_engines() -> None:
    """Draw 2**26 elements, once a process, so that the compiled loops are loaded before anything is timed.

    Otherwise a result would depend on the benchmarks before it. The cold benchmarks show the cost of loading.
    """
    x = np.empty((4096, 4096), np.float32)
    for seed in range(4):
        arrayinit.normal_(x, seed=seed)


def torch_calls(initializer: str, shape: tuple[int, ...], dtype: str = "float32", device: str = "cpu") -> Calls:
    """Fill one torch tensor."""
    import torch

    x = torch.empty(shape, dtype=getattr(torch, dtype), device=device)
    arguments = _ARGUMENTS.get(initializer, ())
    return {
        OURS: partial(getattr(arrayinit, f"{initializer}_"), x, *arguments, seed=0),
        TORCH: partial(getattr(torch.nn.init, f"{initializer}_"), x, *arguments),
        FILL: partial(x.fill_, 1),
    }


def numpy_calls(initializer: str, shape: tuple[int, ...], dtype: str = "float32") -> Calls:
    """Fill one NumPy array. The peer is the code that a user of numpy.random.Generator has to write."""
    x = np.empty(shape, dtype)
    arguments = _ARGUMENTS.get(initializer, ())
    calls: Calls = {OURS: partial(getattr(arrayinit, f"{initializer}_"), x, *arguments, seed=0)}
    for name in peer_names("numpy", initializer):
        calls[name] = _numpy_peer(initializer, x)
    return calls | {FILL: partial(x.fill, 1)}


def _numpy_peer(initializer: str, x: np.ndarray[Any, Any]) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    kind = x.dtype.type
    rows, columns = x.shape
    bounds = {
        "uniform": None,
        "xavier_uniform": math.sqrt(6 / (rows + columns)),
        "kaiming_uniform": math.sqrt(6 / columns),
    }
    stds = {"normal": None, "xavier_normal": math.sqrt(2 / (rows + columns)), "kaiming_normal": math.sqrt(2 / columns)}

    def uniform() -> None:
        rng.random(out=x, dtype=kind)
        if (bound := bounds[initializer]) is not None:
            np.multiply(x, 2 * bound, out=x)
            np.subtract(x, bound, out=x)

    def normal() -> None:
        rng.standard_normal(out=x, dtype=kind)
        if (std := stds[initializer]) is not None:
            np.multiply(x, std, out=x)

    def orthogonal() -> None:
        q, r = np.linalg.qr(rng.standard_normal((max(x.shape), min(x.shape)), dtype=kind))
        np.multiply(q, np.sign(np.diagonal(r)), out=x if rows >= columns else x.T)

    def eye() -> None:
        x.fill(0)
        np.fill_diagonal(x, 1)

    if initializer in bounds:
        return uniform
    if initializer in stds:
        return normal
    others: Calls = {"orthogonal": orthogonal, "eye": eye, "constant": partial(x.fill, _ARGUMENTS["constant"][0])}
    return others[initializer]


def jit_calls(initializer: str, shape: tuple[int, ...], dtype: str = "float32") -> Calls:
    """Make a JAX array inside jit; the key is an argument."""
    import jax

    ours, theirs = _jax_pair(initializer, shape, dtype)
    key = jax.random.key(0)
    calls: Calls = {OURS: _ready(jax.jit(ours), key)}
    for name in peer_names("jit", initializer):
        calls[name] = _ready(jax.jit(theirs), key)
    return calls | {FILL: _jax_fill(shape, dtype)}


def jax_calls(initializer: str, shape: tuple[int, ...], dtype: str = "float32") -> Calls:
    """Make a JAX array from a concrete key. The peer runs both directly and under jit."""
    import jax

    ours, theirs = _jax_pair(initializer, shape, dtype)
    key = jax.random.key(0)
    calls: Calls = {OURS: _ready(ours, key)}
    for name in peer_names("jax", initializer):
        calls[name] = _ready(jax.jit(theirs) if name.endswith("jit") else theirs, key)
    return calls | {FILL: _jax_fill(shape, dtype)}


def _jax_pair(initializer: str, shape: tuple[int, ...], dtype: str) -> tuple[Callable[[Any], Any], Any]:
    """Two functions of the key: ours, and JAX's, or None if JAX has no such initializer."""
    import jax.numpy as jnp

    import arrayinit.jax

    kind = jnp.dtype(dtype)
    theirs: Callable[[Any], Any] | None = None
    if initializer in _IN_JAX:
        import jax.nn.initializers

        name, arguments = _IN_JAX[initializer]
        ours = getattr(arrayinit.jax, name)(*arguments)
        peer = getattr(jax.nn.initializers, name)(*arguments)
        theirs = lambda key: peer(key, shape, kind)  # noqa: E731
    else:
        parameters = {"sparsity": _ARGUMENTS["sparse"][0]} if initializer == "sparse" else {}
        ours = arrayinit.jax.initializer(arrayinit.spec(initializer, **parameters))
        if initializer == "eye":
            theirs = lambda key: jnp.eye(shape[0], shape[1], dtype=kind)  # noqa: E731
    return lambda key: ours(key, shape, kind), theirs


def _jax_fill(shape: tuple[int, ...], dtype: str) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    return _ready(jax.jit(lambda value: jnp.full(shape, value, jnp.dtype(dtype))), np.float32(1))


def _ready(function: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: function(argument).block_until_ready()


SETUPS: dict[str, Callable[..., Calls]] = {
    "torch": torch_calls,
    "numpy": numpy_calls,
    "jit": jit_calls,
    "jax": jax_calls,
}
