"""The machine that a table is of: processor, cores, threads, versions."""

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import arrayinit

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
    """All of it, for JSON. Imports torch to ask for its threads."""
    return {
        "cpu": cpu_name(),
        "cores": _cores(),
        "threads": _threads(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {"arrayinit": arrayinit.__version__, **_versions()},
    }


def cpu_name() -> str:
    """What the processor calls itself."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        if asked.returncode == 0:
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> dict[str, Any]:
    """The threads that torch takes, and what the environment says of threads."""
    found: dict[str, Any] = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.endswith("_NUM_THREADS") or name.startswith("ARRAYINIT_") or name == "XLA_FLAGS"
    }
    if importlib.util.find_spec("torch") is not None:
        import torch

        found["torch"] = torch.get_num_threads()
    return found


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
