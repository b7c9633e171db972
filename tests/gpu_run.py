"""Everything that needs a CUDA device, in one command and less than eight minutes.

    ARRAYINIT_GPU_OUT=results python tests/gpu_run.py

runs from a copy of the repository with the Python that has the libraries (torch, CuPy, JAX; pytest and hypothesis;
pytest-xdist where it is there), whether arrayinit is installed or not. Each step has a limit of its own, so that a step
that hangs leaves time for the others:

    versions.json   devices, drivers, versions
    check.txt       python -m arrayinit check
    tests.txt       python -m pytest -m gpu
    bench.txt, bench.json   python -m arrayinit bench --device cuda; ended early, it keeps the rows that it has

The exit status is 1 where a step fails or there is no device. `--steps check,tests` runs some of them.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"versions": 20, "check": 110, "tests": 150, "bench": 150}  # seconds: 430 in all
GRACE = 40  # seconds between asking a step to end and ending it, for XLA does not stop in the middle of a compilation
PACKAGES = (
    "torch",
    "cuda-bindings",
    "cupy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "ml_dtypes",
)
PACKAGES += ("llvmlite", "array-api-compat", "array-api-strict", "click", "pytest", "pytest-xdist", "hypothesis")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.environ.get("ARRAYINIT_GPU_OUT", "gpu-results"), help="the folder")
    parser.add_argument("--steps", default=",".join(LIMITS), help="some of " + ", ".join(LIMITS))
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="of pytest-xdist")
    parser.add_argument("--limit", action="append", default=[], metavar="STEP=SECONDS", help="(repeatable)")
    parser.add_argument("--rows", action="append", default=[], metavar="PATTERN", help="of the bench (repeatable)")
    parser.add_argument("--select", default="", metavar="EXPRESSION", help="pytest's -k")
    options = parser.parse_args(arguments)
    steps = options.steps.split(",")
    limits = LIMITS | {name: int(seconds) for name, _, seconds in (text.partition("=") for text in options.limit)}
    if unknown := [name for name in (*steps, *limits) if name not in LIMITS]:
        parser.error(f"no such step: {', '.join(unknown)}; there are {', '.join(LIMITS)}")
    out = Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    failed = {}
    for step in steps:
        start = time.monotonic()
        if step == "versions":
            status = versions(out, limits[step])
        else:
            status = run(commands(out, options)[step], out / f"{step}.txt", limits[step])
        print(f"== {step}: {'passed' if status == 0 else f'status {status}'} in {time.monotonic() - start:.0f} s")
        if status:
            failed[step] = status
    print(f"failed: {failed}" if failed else "all passed", f"(results in {out})")
    return 1 if failed else 0


def commands(out: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    """Step -> its command."""
    python = [sys.executable, "-u", "-m"]
    tests = [*python, "pytest", "-m", "gpu", "-q", "-rfEs", "--durations=15", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("xdist") and options.workers > 1:
        tests += ["-n", str(options.workers), "-p", "no:benchmark"]  # which warns of xdist where it is installed
    if options.select:
        tests += ["-k", options.select]
    bench = [*python, "arrayinit", "bench", "--device", "cuda", "--json", str(out / "bench.json"), "--force"]
    for pattern in options.rows:
        bench += ["--rows", pattern]
    return {"check": [*python, "arrayinit", "check"], "tests": tests, "bench": bench}


def run(command: list[str], log: Path, limit: float) -> int:
    """A command's exit status; what it prints goes to the log, too. At its limit it is interrupted, as by Ctrl-C."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    if "-n" in command:  # processes side by side, each with threads for all cores, would be in each other's way
        environment["OMP_NUM_THREADS"] = "2"
    environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX leaves the others no memory
    print("$", *command, flush=True)
    with log.open("w") as stream:
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            stream.write(f"\nended after {limit} s\n")
            status = 124
    print(log.read_text(errors="replace"), flush=True)
    return status


def versions(out: Path, limit: float) -> int:
    """Write devices and versions as JSON; a status other than 0 where no library has a device."""
    found: dict[str, object] = {"python": sys.version, "platform": platform.platform(), "cores": os.cpu_count()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found["nvidia-smi"] = subprocess.run(query, capture_output=True, text=True, timeout=limit).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        found["nvidia-smi"] = f"{type(error).__name__}: {error}"
    sys.path.insert(0, str(ROOT))
    from arrayinit.bench import cuda

    devices, missing = cuda.devices()
    found |= {"devices": devices, "without a device": missing}
    text = json.dumps(found, indent=1)
    (out / "versions.json").write_text(text + "\n")
    print(text)
    return 0 if devices else 1


if __name__ == "__main__":
    sys.exit(main())
