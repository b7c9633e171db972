"""Draw every initializer on every installed backend and compare the bits with the golden vectors."""

import hashlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from arrayinit.backends import backend_of
from arrayinit.conformance.cases import CASES, DTYPES, SEED, Case, golden
from arrayinit.conformance.vector_digest import vector_digest
from arrayinit.specs import spec
from arrayinit.stream.formats import is_complex

__all__ = ["BACKENDS", "Comparison", "Site", "check", "sites", "tolerance"]

BACKENDS = ("numpy", "torch", "jax", "cupy", "dask", "array_api_strict")
TIMED = (1024, 1024)
_STANDARD = ("float64", "float32", "complex128", "complex64")

Drawn: TypeAlias = dict[str, Any]  # case -> array


@dataclass(frozen=True)
class Site:
    """A namespace and one of its devices, with or without jax.jit. `where`: the keywords that select them in a draw."""

    backend: str
    device: str
    dtypes: tuple[str, ...]
    where: dict[str, Any] = field(hash=False)
    jit: bool = False
    synchronize: Callable[[], None] = field(default=lambda: None, compare=False)

    @property
    def label(self) -> str:
        """The name in the table."""
        return f"{self.backend} (jit)" if self.jit else self.backend

    def draw(self, cases: Iterable[Case], dtype: str) -> Drawn:
        """Draw all cases here; under `jit`, in one compiled function of the key."""
        if not self.jit:
            return {case.name: case.draw(dtype, **self.where) for case in cases}
        import jax

        def draw_all(key: Any) -> Drawn:
            return {case.name: case.draw(dtype, seed=key, **self.where) for case in cases}

        words = np.array([SEED >> 32, SEED & 0xFFFFFFFF], np.uint32)
        return dict(jax.jit(draw_all)(words))

    def precision(self, dtype: str) -> AbstractContextManager[Any]:
        """A context in which the library supports this dtype."""
        if self.backend == "jax" and dtype in ("float64", "complex128"):
            context: AbstractContextManager[Any] = importlib.import_module("arrayinit.backends.jax").x64()
            return context
        return nullcontext()


def installed(backend: str) -> bool:
    """Whether the backend is installed."""
    return importlib.util.find_spec(backend) is not None


def sites(backend: str) -> Iterator[Site]:
    """The sites of an installed backend. ImportError, or an error of the library, if it does not work here."""
    namespace = "dask.array" if backend == "dask" else backend
    module = importlib.import_module(namespace)
    if backend == "torch":
        for device in ("cpu", "cuda", "mps"):
            if device == "cpu" or (device == "cuda" and module.cuda.is_available()):
                pass
            elif not (device == "mps" and module.backends.mps.is_available()):
                continue
            dtypes = tuple(d for d in DTYPES if device != "mps" or d not in ("float64", "complex128"))
            synchronize = {"cuda": module.cuda.synchronize, "mps": module.mps.synchronize}.get(device, lambda: None)
            yield Site(backend, device, dtypes, {"xp": backend, "device": device}, synchronize=synchronize)
    elif backend == "jax":
        for jit in (False, True):
            yield Site(backend, module.default_backend(), DTYPES, {"xp": backend}, jit=jit)
    elif backend == "cupy":
        dtypes = tuple(d for d in DTYPES if d != "bfloat16")
        for number in range(module.cuda.runtime.getDeviceCount()):
            where = {"xp": backend, "device": number}
            yield Site(backend, f"cuda:{number}", dtypes, where, synchronize=module.cuda.Device(number).synchronize)
    elif backend == "array_api_strict":
        yield Site(backend, "cpu", _STANDARD, {"xp": backend})
    else:
        has_bfloat16 = importlib.util.find_spec("ml_dtypes") is not None
        yield Site(backend, "cpu", tuple(d for d in DTYPES if d != "bfloat16" or has_bfloat16), {"xp": backend})


def tolerance(dtype: str) -> float:
    """The largest difference between two backends in `orthogonal`: rounding of matrix products, then of the dtype."""
    rounding = {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0.0)
    return 1e-13 if dtype in ("float64", "complex128") else 2e-6 + rounding


@dataclass(frozen=True)
class Comparison:
    """The draws of one site in one dtype beside the golden vectors."""

    site: Site
    dtype: str
    fingerprints: dict[str, str]  # by case, of the exact cases
    orthogonal: float  # largest difference from the same draws in float64 on NumPy
    rate: float  # million elements a second

    @property
    def differing(self) -> list[str]:
        """The cases whose bits differ from the golden vectors."""
        vectors = golden()
        return [name for name, mark in self.fingerprints.items() if mark != vectors[name][self.dtype]["fingerprint"]]

    @property
    def is_identical(self) -> bool:
        """Whether all bits equal the golden ones and orthogonal is within its tolerance."""
        return not self.differing and self.orthogonal <= tolerance(self.dtype)

    @property
    def fingerprint(self) -> str:
        """One digest of all exact cases."""
        return hashlib.blake2b("".join(self.fingerprints.values()).encode(), digest_size=16).hexdigest()


def check(site: Site, dtype: str, cases: Iterable[Case] = CASES) -> Comparison:
    """Draw the cases at a site in a dtype, compare them, and time a draw."""
    cases = list(cases)
    with site.precision(dtype):
        drawn = site.draw(cases, dtype)
        marks = {case.name: vector_digest(drawn[case.name]) for case in cases if case.is_exact}
        inexact = [case for case in cases if not case.is_exact]
        orthogonal = max((_distance(case, drawn[case.name], dtype) for case in inexact), default=0.0)
        return Comparison(site, dtype, marks, orthogonal, _rate(site, dtype))


def _distance(case: Case, x: Any, dtype: str) -> float:
    """The largest difference from the draw in float64 on NumPy."""
    exact = case.draw("complex128" if is_complex(dtype) else "float64")
    return float(np.abs(backend_of(x).numbers(x) - exact).max())


def _rate(site: Site, dtype: str) -> float:
    """Million elements of xavier_normal a second: the median of three warm draws of 1024 x 1024.

    The compiled loops are loaded first. Otherwise the figure would depend on how much this process has drawn before.
    """
    from arrayinit.engines.cpu.compile_policy import WORTH_COMPILING, compiled

    compiled(WORTH_COMPILING)
    case = Case("rate", spec("xavier_normal"), TIMED)

    def once() -> float:
        start = time.perf_counter()
        x = site.draw([case], dtype)["rate"]
        if site.backend == "jax":
            x.block_until_ready()
        elif site.backend == "dask":
            x.compute(scheduler="threads")
        site.synchronize()
        return time.perf_counter() - start

    if site.jit:
        once = _timed_jit(case, dtype, site)
    once()
    return TIMED[0] * TIMED[1] / sorted(once() for _ in range(3))[1] / 1e6


def _timed_jit(case: Case, dtype: str, site: Site) -> Callable[[], float]:
    import jax

    function = jax.jit(lambda key: case.draw(dtype, seed=key, **site.where))
    words = np.array([0, 1], np.uint32)

    def once() -> float:
        start = time.perf_counter()
        function(words).block_until_ready()
        return time.perf_counter() - start

    return once
