"""Arrays -> backends: the only package that knows which array library is which.

An array can only come from a library that is already imported, so no library is imported to find out whose an array
is. The module of a backend is imported when the first array of its library arrives.
"""

import functools
import importlib
import sys
from types import FrameType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from arrayinit.backends.base import Backend, Lanes
from arrayinit.common.messages import did_you_mean, module_hint, shown

__all__ = [
    "Backend",
    "Lanes",
    "backend_named",
    "backend_of",
    "find_backend",
    "fold_words",
    "is_called_by",
    "is_compiling",
    "is_torch_generator",
    "is_traced",
    "seed_words",
]

_KNOWN = ("numpy", "torch", "jax", "cupy", "dask")  # libraries with a module and, but for NumPy, an extra of the name
_NAMESPACES = (*_KNOWN, "jax.numpy", "jax.experimental.array_api", "dask.array")  # their names as namespaces

_backends: dict[str, Backend] = {}


def _load(library: str) -> Backend:
    backend = _backends.get(library)
    if backend is None:
        module = importlib.import_module(f"arrayinit.backends.{library}")
        backend = _backends[library] = module.make()
    return backend


_libraries: dict[type, str] = {}  # the library of each type of array that has arrived
_subclasses: WeakKeyDictionary[type, str] = WeakKeyDictionary()  # of types of other modules, which may be collected


def _library_of(x: object) -> str | None:
    kind = type(x)
    library = _libraries.get(kind)
    if library is None:
        library = _subclasses.get(kind)
    if library is None:
        library = _find_library(x)
        if library is not None:
            is_of_library = kind.__module__.partition(".")[0] in (*_KNOWN, "jaxlib")
            types = _libraries if is_of_library else _subclasses
            types[kind] = library
    return library


def _find_library(x: object) -> str | None:
    if isinstance(x, np.ndarray):
        return "numpy"
    if _is_a(x, "torch", "Tensor"):
        return "dtensor" if _is_a(x, "torch.distributed.tensor", "DTensor") else "torch"
    if _is_a(x, "jax", "Array") or _is_a(x, "jax", "ShapeDtypeStruct"):
        return "jax"
    if _is_a(x, "cupy", "ndarray"):
        return "cupy"
    return "dask" if _is_a(x, "dask.array", "Array") else None


def _is_a(x: object, module: str, name: str) -> bool:
    """Whether x is of a type of a library. Half of a module may be imported, or None may stand in its place."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(x, kind)


def find_backend(x: Any) -> Backend | None:
    """The backend of an array of any library; None for anything else (a scalar, a list, a shape)."""
    library = _library_of(x)
    if library is not None:
        return _load(library)
    backend = None if isinstance(x, np.generic) else _standard_of(x)
    # JAX's namespace without one of its arrays is a wrapper, such as a Flax variable, which JAX unwraps by itself.
    return None if backend is not None and backend.name.startswith("jax.") else backend


def backend_of(x: Any) -> Backend:
    """The backend of an array, or of a scalar that can pass for one. TypeError for anything else."""
    backend = _load("numpy") if isinstance(x, np.generic) else find_backend(x) or _standard_of(x)
    if backend is None:
        raise TypeError(
            f"`x` must be an array of NumPy, torch, JAX, CuPy, Dask or the array API standard; got {shown(x)}"
            f"{module_hint(x)}"
        )
    return backend


def _standard_of(x: Any) -> Backend | None:
    if not hasattr(x, "__array_namespace__"):
        return None
    try:
        return _standard(x.__array_namespace__())
    except (NotImplementedError, TypeError):  # from wrappers of JAX's keys and from its abstract values
        return None


def backend_named(xp: str | ModuleType | Any) -> Backend:
    """The backend of a namespace, given as a module or by name ("numpy", "torch", "jax", "cupy", "dask", ...)."""
    name = xp if isinstance(xp, str) else getattr(xp, "__name__", None)
    if not name or not isinstance(name, str):
        raise TypeError(f"`xp` must be an array namespace or its name; got {shown(xp)}")
    plain = name.removeprefix("array_api_compat.")
    if plain in _NAMESPACES:
        library = plain.partition(".")[0]
        try:
            return _load(library)
        except ImportError as error:
            from arrayinit.common.extras import how_to_install  # imported here: few processes need it

            raise ImportError(
                f"`xp` is {name!r}, which can't be imported ({error}): {how_to_install(library)}"
            ) from error
    module = xp
    if isinstance(xp, str):
        try:
            module = importlib.import_module(xp)
        except Exception:  # no such module, no name of a module, or an import that fails
            raise ValueError(
                f"`xp` must be numpy, torch, jax, cupy, dask or an importable array API namespace; got "
                f"{shown(xp)}{did_you_mean(xp, _KNOWN)}"
            ) from None
    if not hasattr(module, "__array_api_version__"):
        raise ValueError(f"`xp` must be a namespace of the array API standard; got {shown(xp)}")
    return _standard(module)


_standards: dict[str, Backend] = {}  # by the name of the namespace, for the last one of that name


def _standard(namespace: Any) -> Backend:
    """A backend for any other namespace that keeps to the standard."""
    name = getattr(namespace, "__name__", type(namespace).__name__)
    backend = _standards.get(name)
    if backend is None or backend.xp is not namespace:
        backend = _standards[name] = Backend(name, namespace)
    return backend


def is_compiling() -> bool:
    """Whether torch's compiler reads the calling code instead of running it, or would read the functions it calls."""
    torch: Any = sys.modules.get("torch")
    if sys.modules.get("torch._dynamo") is None or not hasattr(torch, "compiler"):  # or torch is barred, or a stub
        return False
    if torch.compiler.is_dynamo_compiling():
        return True
    # The hook compiles each function as it is called. torch itself, too, takes it away to ask whether there is one.
    swap = torch._C._dynamo.eval_frame.set_eval_frame
    hook = swap(None)
    if hook is None:
        return False
    swap(hook)
    return True


def is_traced(x: object) -> bool:
    """Whether x is a value that a JAX trace will supply."""
    return _is_a(x, "jax.core", "Tracer")


def is_torch_generator(x: object) -> bool:
    """Whether x is a torch.Generator."""
    return _is_a(x, "torch", "Generator")


def is_called_by(library: str) -> bool:
    """Whether the caller of this package is a library, directly or through JAX, and no function of a user's."""
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
    """The words of a key of JAX or torch, or 64 bits of a torch.Generator, most significant first; None for others."""
    words: tuple[Any, ...] | None = None
    if is_torch_generator(seed):
        words = _module("torch").generator_words(seed)
    elif _is_a(seed, "torch", "Tensor"):
        words = _module("torch").key_words(seed)
    elif _is_a(seed, "jax", "Array"):
        words = _module("jax").key_words(seed)
    return words
