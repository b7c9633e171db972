"""The loops as machine code: compiled by llvmlite once a machine, in some tenths of a second, and stored by `cache`.

The name of a file has digests of all that its code depends on: the sources of the loops, the processor and llvmlite.
ARRAYINIT_CPU_NAME compiles for an older processor than this one, so that different machines can share a file. It is one
of "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4" and "generic", or LLVM's name of this processor. Any other name, or a
level that this processor does not reach, is ignored with a warning: LLVM would abort the process, or the processor
would stop at an instruction that it lacks.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.resources
import os
import sys
from collections.abc import Callable
from typing import Any

from arrayinit.engines.cpu import cache
from arrayinit.engines.cpu.warnings_once import warn_once

__all__ = ["is_stored", "load"]

Loops = Callable[..., None]

SOURCES = (
    *("stream/deviates.py", "engines/cpu/assembly.py", "engines/cpu/kernels.py", "engines/cpu/machine_code.py"),
    *("engines/cpu/parameters.py", "stream/philox.py", "stream/truncation.py"),
)
SYMBOL = "arrayinit_fill"
VARIABLE = "ARRAYINIT_CPU_NAME"

# The levels of x86-64 and the features of each, under LLVM's names.
V2 = "cx16 popcnt sahf sse3 sse4.1 sse4.2 ssse3"
V3 = f"{V2} avx avx2 bmi bmi2 f16c fma lzcnt movbe xsave"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"
LEVELS = {"generic": "", "x86-64": "", "x86-64-v2": V2, "x86-64-v3": V3, "x86-64-v4": V4}

PROTOTYPE = ctypes.CFUNCTYPE(None, *(ctypes.c_uint64,) * 2, ctypes.c_char_p, *(ctypes.c_double,) * 3)

_loaded: list[Any] = []  # engines of LLVM, which own the code and live as long as the process


def is_stored() -> bool:
    """Whether these loops are stored, for this processor or another."""
    return cache.holds(_name(""))


def load(may_compile: bool) -> Loops | None:
    """The C function (address, scratch, parameters, unit, low, high); None if it would have to be compiled first.

    Raises:
        ModuleNotFoundError: llvmlite is not installed.
        Exception: llvmlite does not work on this machine.
    """
    import llvmlite
    import llvmlite.binding as llvm

    if sys.byteorder != "little":
        raise NotImplementedError("the loops read pairs of 32-bit words as 64-bit ones, the first below")

    with contextlib.suppress(RuntimeError):  # newer versions need no call, and raise an error
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    processor = _processor(llvm)
    name = _name(_digest(repr((llvmlite.__version__, llvm.get_default_triple(), processor)).encode()) + ".o")
    code = cache.read(name)
    if code is None:
        if not may_compile:
            return None
        code = _compile(llvm, processor)
        cache.write(name, code)
    return _link(llvm, processor, code)


def _processor(llvm: Any) -> tuple[str, str]:
    """The name of the processor to compile for, and the features by which this one differs from its name."""
    name, features = llvm.get_host_cpu_name(), ""
    with contextlib.suppress(RuntimeError):  # unknown for some processors
        features = llvm.get_host_cpu_features().flatten()
    given = os.environ.get(VARIABLE)
    if not given or given == name:
        return name, features
    levels = LEVELS if llvm.get_default_triple().startswith("x86_64") else {"generic": ""}
    if given not in levels:
        rule = f"one of {', '.join(levels)}, or {name}, the name of this processor"
    elif lacks := [feature for feature in levels[given].split() if f"+{feature}" not in features.split(",")]:
        rule = f"a level that this processor reaches, and {name} lacks {', '.join(lacks)}"
    else:
        return given, ""
    warn_once(f"`{VARIABLE}` must be {rule}; got {given!r}, so it is ignored")
    return name, features


def _machine(llvm: Any, processor: tuple[str, str]) -> Any:
    """LLVM's translator from intermediate code to that of a processor."""
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
    # The loops are vectorized and unrolled as they are written.
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    code: bytes = machine.emit_object(module)
    return code


def _lanes(processor: tuple[str, str]) -> int:
    """The number of 64-bit lanes of a vector: 512 bits where the processor has them, else 256, or twice 128."""
    return 8 if "+avx512f" in processor[1].split(",") else 4


def _link(llvm: Any, processor: tuple[str, str], code: bytes) -> Loops:
    """The function of an object file, placed into this process."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm, processor))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    address = engine.get_function_address(SYMBOL)
    if not address:
        raise RuntimeError(f"{SYMBOL} is not among the compiled loops")
    return PROTOTYPE(address)


def _name(ending: str) -> str:
    return f"loops-{_sources()}-{ending}"


@functools.cache
def _sources() -> str:
    package = importlib.resources.files("arrayinit")
    return _digest(b"".join(hashlib.sha256(package.joinpath(path).read_bytes()).digest() for path in SOURCES))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
