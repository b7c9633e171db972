"""A description of the machine: processor, cores, threads, versions."""

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import arrayinit
from arrayinit.engines.cpu.compile_policy import why_not_compiled

__all__ = ["cpu_name", "machine"]

LIBRARIES = (
    "numpy",
    "scipy",
    "array-api-compat",
    "torch",
    "cuda-bindings",
    "jax",
    "jaxlib",
    "flax",
    "llvmlite",
    "ml_dtypes",
)


def machine() -> dict[str, Any]:
    """The description as plain data. Imports torch to ask for its number of threads."""
    return {
        "cpu": cpu_name(),
        "cores": _cores(),
        "threads": _threads(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiled_loops": why_not_compiled(),  # None where there are some
        "versions": {"arrayinit": arrayinit.__version__, **_versions()},
    }


def cpu_name() -> str:
    """The name of the processor, as it reports it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        sysctl = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        if sysctl.returncode == 0:
            return sysctl.stdout.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> dict[str, Any]:
    """The number of torch's threads, and environment variables about threads and compilation."""
    threads: dict[str, Any] = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.endswith("_NUM_THREADS") or name.startswith("ARRAYINIT_") or name == "XLA_FLAGS"
    }
    if importlib.util.find_spec("torch") is not None:
        import torch

        threads["torch"] = torch.get_num_threads()
    return threads


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
