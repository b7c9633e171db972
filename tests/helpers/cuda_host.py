"""The CUDA kernel as a library of this machine: the same source, compiled by a C++ compiler."""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from arrayinit.engines.cuda.source import OPTIONS, source

COMPILER = shutil.which("g++") or shutil.which("clang++")
GRID = (3, 32)  # blocks and threads of a block: few, so that each thread has several turns
FLAGS = ("-O2",)


@functools.cache
def compiled(code: str, options: tuple[str, ...] = OPTIONS, flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """A library of the kernels, kept on disk for other tests and processes."""
    assert COMPILER is not None, "tests of the CUDA kernel need g++ or clang++"
    mark = hashlib.blake2b(repr((code, options, flags, COMPILER)).encode(), digest_size=8).hexdigest()
    path = Path(tempfile.gettempdir()) / f"arrayinit-kernel-{os.getuid()}-{mark}.so"
    if not path.exists():
        beside = path.with_suffix(f".{os.getpid()}")
        command = [COMPILER, "-x", "c++", *options, *flags, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-"]
        done = subprocess.run([*command, "-o", str(beside)], input=code, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        beside.replace(path)
    return ctypes.CDLL(str(path))


def library(flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """All kernels."""
    return compiled(source(), OPTIONS, flags)


def launch(library, name, block, grid=GRID):
    """Run a kernel on memory of this machine."""
    getattr(library, name)(ctypes.c_void_p(block.ctypes.data), *map(ctypes.c_uint32, grid))
