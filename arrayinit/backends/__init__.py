"""Arrays -> backends: the only package that knows which array library is which.

An array can only come from a library that is already imported, so a library is never imported to ask whether an array
is one of its own; a backend module is imported when the first array of its library arrives.
"""

import functools
import importlib
import sys
from types import FrameType, ModuleType
from typing import Any

import array_api_compat
import numpy as np

from arrayinit.backends.base import Backend, Lanes

__all__ = [
    "Backend",
    "Lanes",
    "backend_named",
    "backend_of",
    "find_backend",
    "fold_words",
    "is_called_by",
    "is_compiling",
    "is_traced",
    "seed_words",
]

_KNOWN = ("numpy", "torch", "jax", "cupy", "dask")  # libraries with a module and, but for NumPy, an extra of the name

_made: dict[str, Backend] = {}


def _make(library: str) -> Backend:
    backend = _made.get(library)
    if backend is None:
        module = importlib.import_module(f"arrayinit.backends.{library}")
        backend = _made[library] = module.make()
    return backend


_libraries: dict[type, str] = {}  # types of arrays that were seen


def _library_of(x: object) -> str | None:
    library = _libraries.get(type(x))
    if library is None:
        library = _find_library(x)
        if library is not None:
            _libraries[type(x)] = library
    return library


def _find_library(x: object) -> str | None:
    if isinstance(x, np.ndarray):
        return "numpy"
    if array_api_compat.is_torch_array(x):
        distributed = sys.modules.get("torch.distributed.tensor")
        return "dtensor" if distributed is not None and isinstance(x, distributed.DTensor) else "torch"
    if array_api_compat.is_jax_array(x) or _is_jax_struct(x):
        return "jax"
    if array_api_compat.is_cupy_array(x):
        return "cupy"
    if array_api_compat.is_dask_array(x):
        return "dask"
    return None


def _is_jax_struct(x: object) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(x, jax.ShapeDtypeStruct)


def find_backend(x: Any) -> Backend | None:
    """The backend of an array of any library; None for anything else (a scalar, a list, a shape)."""
    library = _library_of(x)
    if library is not None:
        return _make(library)
    backend = None if isinstance(x, np.generic) else _standard_of(x)
    # JAX's namespace and none of its arrays: a wrapper of one, as Flax's variables are, which it unwraps by itself.
    return None if backend is not None and backend.name.startswith("jax.") else backend


def backend_of(x: Any) -> Backend:
    """The backend of an array, or of a scalar that can pass for one. TypeError for anything else."""
    backend = find_backend(x) or _standard_of(x)
    if backend is None:
        raise TypeError(f"`x` must be an array of NumPy, torch, JAX, CuPy, Dask or the array API standard; got {x!r}")
    return backend


def _standard_of(x: Any) -> Backend | None:
    if not hasattr(x, "__array_namespace__"):
        return None
    try:
        return _standard(x.__array_namespace__())
    except (NotImplementedError, TypeError):  # a wrapper of JAX's keys, and its abstract values
        return None


def backend_named(xp: str | ModuleType | Any) -> Backend:
    """The backend of a namespace, given as a module or by name ("numpy", "torch", "jax", "cupy", "dask", ...)."""
    name = xp if isinstance(xp, str) else getattr(xp, "__name__", None)
    if not name:
        raise TypeError(f"`xp` must be an array namespace or its name; got {xp!r}")
    parts = name.removeprefix("array_api_compat.").split(".")
    if parts[0] in _KNOWN:
        try:
            return _make(parts[0])
        except ImportError as error:
            raise ImportError(
                f"`xp` is {name!r}, which can't be imported ({error}): pip install arrayinit[{parts[0]}]"
            ) from error
    module = xp
    if isinstance(xp, str):
        try:
            module = importlib.import_module(xp)
        except ImportError:
            raise ValueError(
                f"`xp` must be a namespace that is installed: one of {', '.join(_KNOWN)} or another; got {xp!r}"
            ) from None
    if not hasattr(module, "__array_api_version__"):
        raise ValueError(f"`xp` must be a namespace of the array API standard; got {xp!r}")
    return _standard(module)


def _standard(namespace: Any) -> Backend:
    """A backend for any other namespace that keeps to the standard."""
    name = namespace.__name__
    if name not in _made:
        _made[name] = Backend(name, namespace)
    return _made[name]


def is_compiling() -> bool:
    """Whether torch's compiler reads the calling code instead of running it, or would read what that calls."""
    if sys.modules.get("torch._dynamo") is None:
        return False
    torch = sys.modules["torch"]
    if torch.compiler.is_dynamo_compiling():
        return True
    # The hook that compiles each function as it is called. Taking it away is how torch itself asks for it.
    swap = torch._C._dynamo.eval_frame.set_eval_frame
    hook = swap(None)
    if hook is None:
        return False
    swap(hook)
    return True


def is_traced(x: object) -> bool:
    """Whether x is a value that a JAX trace will supply."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(x, jax.core.Tracer)


def is_called_by(library: str) -> bool:
    """Whether a library, and no function of a user's, called this package, be it through JAX."""
    if library not in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = str(frame.f_globals.get("__name__")).partition(".")[0]
        if caller not in ("arrayinit", "jax"):
            return caller == library
        frame = frame.f_back
    return False


def fold_words(high: Any, low: Any, counter: tuple[Any, ...]) -> tuple[Any, Any]:
    """The two words (high, low) of a key folded inside a JAX trace."""
    words: tuple[Any, Any] = importlib.import_module("arrayinit.backends.jax").fold_words(high, low, counter)
    return words


@functools.cache
def _module(library: str) -> Any:
    return importlib.import_module(f"arrayinit.backends.{library}")


def seed_words(seed: Any) -> tuple[Any, ...] | None:
    """The words of a key of JAX or torch, or 64 bits of a torch.Generator, most significant first; else None."""
    torch = sys.modules.get("torch")
    words: tuple[Any, ...] | None = None
    if torch is not None and isinstance(seed, torch.Generator):
        words = _module("torch").generator_words(seed)
    elif torch is not None and isinstance(seed, torch.Tensor):
        words = _module("torch").key_words(seed)
    elif array_api_compat.is_jax_array(seed):
        words = _module("jax").key_words(seed)
    return words
