"""The loops as machine code: compiled by llvmlite once a machine, in some tenths of a second, and kept on disk.

A file is named by what its code depends on: the sources of the loops, the processor, llvmlite. It lies in
ARRAYINIT_CACHE_DIR where that is set, else beside this file, else in the user's cache. ARRAYINIT_CPU_NAME compiles for
another processor than this one, named as LLVM names it ("x86-64-v3"), so that machines can share a directory.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.resources
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["is_stored", "load"]

Loops = Callable[..., None]

SOURCES = (
    *("deviates.py", "engines/cpu/assembly.py", "engines/cpu/kernels.py", "engines/cpu/machine_code.py"),
    *("engines/cpu/parameters.py", "philox.py", "tails.py"),
)
SYMBOL = "arrayinit_fill"
PROTOTYPE = ctypes.CFUNCTYPE(None, *(ctypes.c_uint64,) * 2, ctypes.c_char_p, *(ctypes.c_double,) * 3)

_loaded: list[Any] = []  # what must live as long as the process


def is_stored() -> bool:
    """Whether a directory holds these loops, for this processor or another."""
    return any(any(directory.glob(_name("*"))) for directory in _directories())


def load(may_compile: bool) -> Loops | None:
    """The C function (address, scratch, parameters, unit, low, high); None if it would have to be compiled first.

    Raises:
        ImportError: llvmlite is not there, or the machine keeps the high half of a number before the low one.
    """
    if sys.byteorder != "little":
        raise ImportError("the loops read pairs of 32-bit words as 64-bit ones, the first below")
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
    """The name of the processor to compile for, and the features by which this one differs from its name."""
    given = os.environ.get("ARRAYINIT_CPU_NAME")
    if given:
        return given, ""
    features = ""
    with contextlib.suppress(RuntimeError):  # not known of every processor
        features = llvm.get_host_cpu_features().flatten()
    return llvm.get_host_cpu_name(), features


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

    module = llvm.parse_assembly(intermediate_code(SYMBOL, llvm.get_default_triple(), _lanes(processor)))
    machine = _machine(llvm, processor)
    # The loops are of vectors, and as long as they should be.
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    code: bytes = machine.emit_object(module)
    return code


def _lanes(processor: tuple[str, str]) -> int:
    """How many 64-bit lanes the vectors have: 512 bits where the processor has them, else 256 or twice 128."""
    return 8 if "+avx512f" in processor[1].split(",") else 4


def _link(llvm: Any, processor: tuple[str, str], code: bytes) -> Loops:
    """The function of an object file, placed into this process."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm, processor))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    return PROTOTYPE(engine.get_function_address(SYMBOL))


def _name(suffix: str) -> str:
    return f"loops-{_sources()}-{suffix}.o"


@functools.cache
def _sources() -> str:
    package = importlib.resources.files("arrayinit")
    return _digest(b"".join(hashlib.sha256(package.joinpath(path).read_bytes()).digest() for path in SOURCES))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _directories() -> list[Path]:
    given = os.environ.get("ARRAYINIT_CACHE_DIR")
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
