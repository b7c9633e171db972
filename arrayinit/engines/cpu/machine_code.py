"""The loops as machine code: compiled by numba once a machine, kept on disk, loaded by llvmlite alone.

A process that finds them on disk never imports numba, which would take several times as long as the draws of a small
model. A file is named by what its code depends on: the sources of the loops and their table, the processor, llvmlite.
It lies in NUMBA_CACHE_DIR where that is set, else beside this file, else in the user's cache.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.resources
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["is_stored", "load"]

Loops = Callable[..., None]

SOURCES = (
    *("backends/base.py", "data/inverse_normal.npy", "deviates.py", "engines/cpu/kernels.py"),
    *("engines/cpu/machine_code.py", "engines/cpu/parameters.py", "philox.py", "tails.py"),
)
SYMBOL = "arrayinit_fill"
# numba's functions return a status and are told where a result (None is one) and an exception go, then their arguments.
PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int32, *(ctypes.c_void_p,) * 2, *(ctypes.c_uint64,) * 3, *(ctypes.c_double,) * 3)

_loaded: list[Any] = []  # what must live as long as the process: the code, and where it writes None


def is_stored() -> bool:
    """Whether a directory holds these loops, for this processor or another."""
    return any(any(directory.glob(_name("*"))) for directory in _directories())


def load(may_compile: bool) -> Loops | None:
    """The C function (address, scratch, parameters, unit, low, high); None if it would have to be compiled first.

    Raises:
        ImportError: neither llvmlite and a stored function are there, nor numba.
    """
    import llvmlite
    import llvmlite.binding as llvm

    with contextlib.suppress(RuntimeError):  # newer versions do it by themselves, and say so
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    processor = _processor(llvm)
    name = _name(_digest(repr((llvmlite.__version__, llvm.get_default_triple(), processor)).encode()))
    code = _read(name)
    if code is None:
        if not may_compile:
            return None
        code = _compile(llvm, processor)
        _write(name, code)
    return _link(llvm, processor, code)


def _processor(llvm: Any) -> tuple[str, str]:
    """The name of the processor to compile for and its features, as numba decides them."""
    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = ""
        if name is None:
            with contextlib.suppress(RuntimeError):  # not known of every processor
                features = llvm.get_host_cpu_features().flatten()
    return llvm.get_host_cpu_name() if name is None else name, features


def _machine(llvm: Any, processor: tuple[str, str]) -> Any:
    """What turns the intermediate code into that of a processor."""
    target = llvm.Target.from_default_triple()
    relocation = "static" if target.name.startswith("x86") else "pic" if target.name.startswith("ppc") else "default"
    name, features = processor
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc=relocation, codemodel="jitdefault", jit=True
    )


def _compile(llvm: Any, processor: tuple[str, str]) -> bytes:
    """An object file with one symbol."""
    from arrayinit.engines.cpu.kernels import intermediate_code

    module = llvm.parse_assembly(intermediate_code())
    (function,) = (f for f in module.functions if not f.is_declaration and f.linkage == llvm.Linkage.external)
    function.name = SYMBOL
    code: bytes = _machine(llvm, processor).emit_object(module)
    return code


def _link(llvm: Any, processor: tuple[str, str], code: bytes) -> Loops:
    """The function of an object file, placed into this process."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm, processor))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    function = PROTOTYPE(engine.get_function_address(SYMBOL))
    unused = ctypes.create_string_buffer(16)
    _loaded.append(unused)
    return functools.partial(function, ctypes.addressof(unused), ctypes.addressof(unused) + 8)


def _name(suffix: str) -> str:
    return f"loops-{_sources()}-{suffix}.o"


@functools.cache
def _sources() -> str:
    package = importlib.resources.files("arrayinit")
    return _digest(b"".join(hashlib.sha256(package.joinpath(path).read_bytes()).digest() for path in SOURCES))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _directories() -> list[Path]:
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return [Path(given)]
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path("~", ".cache").expanduser()
    return [Path(__file__).parent / "__pycache__", Path(home) / "arrayinit"]


def _read(name: str) -> bytes | None:
    """The code in a file that is whole."""
    for directory in _directories():
        try:
            data = (directory / name).read_bytes()
        except OSError:
            continue
        digest, code = data[:32], data[32:]
        if hashlib.sha256(code).digest() == digest:
            return code
    return None


def _write(name: str, code: bytes) -> None:
    """Keep the code in the first directory that takes it; a reader sees all of it or nothing."""
    for directory in _directories():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=directory)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(code).digest() + code)
                os.chmod(temporary, 0o644)  # an installation may be shared
                os.replace(temporary, directory / name)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError:
            continue
        return
