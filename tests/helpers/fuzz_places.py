"""Draws of a case: arrays of every library and memory layout, engines chosen in the process, keys of every kind.

`draw` gives the result in host memory and says what it finds wrong around it: neighbours written to, an argument
changed, a dtype or a shape that is not what was asked for.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import math
import random
import warnings
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from fuzz_cases import Case, Engine
from stream_by_hand import fold, key_of_words

import arrayinit as ai
from arrayinit.engines import cpu, reference
from arrayinit.engines.cpu import machine_code, sparse

SENTINEL = 7  # what arrays hold before they are filled
SHARED = ("expanded", "overlapping")  # memory in which elements lie on top of each other


class WrongError(AssertionError):
    """A draw did something besides its values that it must not do."""


def refuses(case: Case) -> bool:
    """Whether the place can't take the draw, whatever it is."""
    memory = case.place.memory
    if case.place.form != "in place":
        return False
    if "readonly" in memory:
        return True
    shape = local_shape(case)
    shared = ("expanded" in memory) + 2 * ("overlapping" in memory)  # how many axes it takes for elements to meet
    return bool(shared) and 0 not in shape and sum(n > 1 for n in shape) >= shared


def local_shape(case: Case) -> tuple[int, ...]:
    """The shape of the part that a case draws; that of the whole where the index is to be refused."""
    try:
        return np.broadcast_to(np.int8(0), case.shape)[case.index if case.index is not None else ...].shape
    except IndexError:
        return case.shape


def is_there(library: str) -> bool:
    if library == "torch cuda":
        return has_cuda()
    return importlib.util.find_spec(library) is not None


@functools.cache
def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


# Keys.


def key_of(case: Case, member: int = 0) -> int:
    """The key that a seed stands for, before the name is folded in."""
    kind, number = case.seed
    number = (number + member) % 2**64
    if kind == "numpy":
        return int(np.random.default_rng(number).integers(0, 2**64, dtype=np.uint64))
    if kind == "torch":
        import torch

        generator = torch.Generator().manual_seed(number % 2**63)
        high, low = torch.randint(0, 2**32, (2,), generator=generator).tolist()
        return high << 32 | low
    if kind in ("seeded", "manual"):
        return fold(number, number % 40)
    return key_of_words(words_of(kind, number))


def words_of(kind: str, number: int) -> list[int]:
    """The words of a JAX key."""
    words = [number >> 32, number & 0xFFFFFFFF]
    return [*words, 5, 2**32 - 1] if kind == "jax long" else words


def jax_key(kind: str, number: int) -> Any:
    import jax

    words = np.array(words_of(kind, number), np.uint32)
    if kind == "jax raw":
        return jax.numpy.asarray(words)
    return jax.random.wrap_key_data(words, impl="rbg" if kind == "jax long" else "threefry2x32")


def seed_of(case: Case, stack: ExitStack, member: int = 0) -> Any:
    """The seed as the package is given it; contexts that it needs are entered."""
    kind, number = case.seed
    number = (number + member) % 2**64
    if kind == "int":
        return number
    if kind == "uint64":
        return np.uint64(number)
    if kind == "Key":
        return ai.Key(number)
    if kind == "numpy":
        return np.random.default_rng(number)
    if kind == "torch":
        import torch

        return torch.Generator().manual_seed(number % 2**63)
    if kind == "seeded":
        stack.enter_context(ai.seeded(number))
    elif kind == "manual":
        ai.manual_seed(number)
    else:
        return jax_key(kind, number)
    for _ in range(number % 40):  # keys of a sequence before this one
        ai.bits(1)
    return None


def state_of(seed: Any) -> Any:
    """The state of a generator; of the package's own sequence, the next words."""
    if isinstance(seed, np.random.Generator):
        return seed.bit_generator.state["state"]
    if type(seed).__name__ == "Generator":
        return seed.get_state().tolist()
    return ai.bits(4).tolist() if seed is None else None


# Engines.


@functools.cache
def loops_of(lanes: int) -> Any:
    """The compiled loops with vectors of so many 64-bit lanes, whatever this processor would choose; None without."""
    if importlib.util.find_spec("llvmlite") is None:
        return None
    import llvmlite.binding

    machine_code.load(may_compile=True)  # which starts LLVM
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_code, "_lanes", lambda processor: lanes)
        processor = machine_code._processor(llvmlite.binding)
        return machine_code._link(llvmlite.binding, processor, machine_code._compile(llvmlite.binding, processor))


@contextlib.contextmanager
def drawing_with(engine: Engine) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARRAYINIT_NUM_THREADS", str(engine.threads))
        if engine.grain:
            patch.setattr(cpu, "GRAIN", engine.grain)
            patch.setattr(cpu, "UNCACHED", 1 << 10)
            patch.setattr(cpu, "LONG", 1 << 6)
            patch.setattr(sparse, "SLAB", engine.grain // 8)
            patch.setattr(sparse, "NARROWEST", 1)
            forget_decisions()  # calls that were cut for another grain
        if engine.loops == "reference":
            patch.setattr("arrayinit.engines.cpu.draw", reference.draw)
        elif engine.loops:
            loops = None if engine.loops == "vectors" else loops_of(int(engine.loops))
            patch.setattr(cpu, "compiled", lambda elements: loops)
        ai.engines._draw.cache_clear()
        try:
            yield
        finally:
            ai.engines._draw.cache_clear()
            if engine.grain:
                forget_decisions()


def forget_decisions() -> None:
    """Clear the package's cache of jobs."""
    ai.draw._jobs.clear()


# Memory.


class Memory:
    """An array of a shape within a larger one, and whether anything but the array itself was written to."""

    def __init__(self, case: Case, shape: tuple[int, ...], dtype: str):
        self.words, self.torch, self.shape = case.place.memory, case.place.library.startswith("torch"), shape
        self.number = case.place.number
        rng = random.Random(self.number)
        axes = list(range(len(shape)))
        if "permuted" in self.words:
            rng.shuffle(axes)
        with_gaps = set(rng.sample(axes, min(len(axes), 2))) if "gaps" in self.words else ()
        self.slices, sizes = [], []
        for axis, n in ((axis, shape[axis]) for axis in axes):
            step, before, after = 1, 0, 0
            if axis in with_gaps:
                step, before, after = rng.choice((1, 1, 2, 3)), rng.choice((0, 1, 3)), rng.choice((0, 1, 2))
            span = (n - 1) * step + 1 if n else 0
            part = slice(before, before + span, step)
            if axis in with_gaps and not self.torch and n and rng.random() < 0.4:
                part = slice(before + span - 1, before - 1 if before else None, -step)
            self.slices.append(part)
            sizes.append(before + span + after)
        self.back = [axes.index(axis) for axis in range(len(shape))]
        self.stays = case.place.form == "like" or refuses(case)
        if any(word in self.words for word in SHARED):
            sizes = [sum(max(1, n) for n in shape) + 1]
        self.base, self.raw = self.allocate(tuple(sizes), dtype, case.place.library)
        self.array = self.view(self.base)
        self.before = self.bytes()

    def allocate(self, shape: tuple[int, ...], dtype: str, library: str) -> Any:
        """(array, all of its memory)."""
        words = self.words
        if self.torch:
            import torch

            device = "cuda" if library == "torch cuda" else "cpu"
            base = torch.full(shape, SENTINEL if dtype != "bool" else True, dtype=getattr(torch, dtype), device=device)
            if "channels_last" in words and len(shape) in (4, 5) and 0 not in shape:
                base = base.to(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
            return base, base
        kind = numpy_dtype(dtype)
        if "swapped" in words and dtype != "bfloat16":
            kind = kind.newbyteorder(">")
        if "field" in words:
            between = ["u1", "u1"] if self.number % 2 else ["V0", f"V{kind.alignment}"]  # aligned, but oddly strided
            raw = np.zeros(shape, [("before", between[0]), ("x", kind), ("after", between[1])])
            base = raw["x"]
        elif "unaligned" in words or "shifted" in words:
            raw = np.zeros(math.prod(shape) * kind.itemsize + self.shift(kind), np.uint8)
            base = raw[self.shift(kind) :].view(kind).reshape(shape)
        else:
            raw = base = np.zeros(shape, kind)
        base[...] = SENTINEL
        return base, raw

    def shift(self, kind: Any) -> int:
        """How many bytes of memory are before the array: one, or as many as leave it aligned."""
        return 1 if "unaligned" in self.words else kind.alignment

    def view(self, base: Any) -> Any:
        """The array that is filled, within its base."""
        x = self.inside(base)
        if not any(word in self.words for word in SHARED):
            x = x.permute(self.back) if self.torch else x.transpose(self.back)
        if not self.torch:
            if "readonly" in self.words:
                x.flags.writeable = False
            return x
        import torch

        if "conj" in self.words and x.is_complex():
            x = x.conj()
        if "neg" in self.words and (x.is_floating_point() or x.is_complex()):
            x = torch._neg_view(x)
        if "parameter" in self.words and (x.is_floating_point() or x.is_complex()):
            x = torch.nn.Parameter(x)
        return x

    def inside(self, base: Any) -> Any:
        """The memory that the array covers."""
        if not any(word in self.words for word in SHARED):
            return base[(*self.slices, ...)]
        strides = (int("overlapping" in self.words),) * len(self.shape)
        if self.torch:
            return base.as_strided(self.shape, strides)
        return np.lib.stride_tricks.as_strided(base, self.shape, tuple(base.itemsize * stride for stride in strides))

    def bytes(self) -> Any:
        """All of the memory as bytes, the array's own cleared where it may be written to."""
        if self.torch:
            import torch

            rest = self.base.detach().clone(memory_format=torch.preserve_format)
            if not self.stays:
                self.inside(rest)[...] = 0
            return to_host(rest).tobytes()
        rest = self.raw.copy()
        if not self.stays:
            base = rest
            if "field" in self.words:
                base = rest["x"]
            elif rest.dtype != self.base.dtype:
                base = rest[self.shift(self.base.dtype) :].view(self.base.dtype).reshape(self.base.shape)
            self.inside(base)[...] = 0
        return rest.tobytes()

    def check(self) -> None:
        if self.bytes() != self.before:
            raise WrongError("memory around the array was written to")


def numpy_dtype(dtype: str) -> Any:
    if dtype == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(dtype)


def to_host(x: Any) -> Any:
    """The values as a NumPy array of a type that holds them, bfloat16 as float32."""
    kind = type(x).__module__.split(".")[0]
    if kind == "torch":
        import torch

        x = x.detach().resolve_conj().resolve_neg().cpu()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    if kind == "dask":
        x = x.compute(scheduler="synchronous")
    elif kind == "array_api_strict":
        x = x._array
    x = np.asarray(x)
    return x.astype(np.float32) if x.dtype.name == "bfloat16" else x


def dtype_name(x: Any) -> str:
    return str(x.dtype).rpartition(".")[-1] if not isinstance(x, np.ndarray) else x.dtype.name


# Draws.


def function_of(case: Case, in_place: bool = False) -> Any:
    """The initializer with its arguments."""
    if case.name == "bits":
        return ai.bits
    arguments = {name: with_specs(value) for name, value in case.arguments.items()}
    if case.by_spec:
        initializer = ai.spec(case.name, **arguments)
        return initializer.fill_ if in_place else initializer
    return functools.partial(getattr(ai, case.name + ("_" if in_place else "")), **arguments)


def with_specs(value: Any) -> Any:
    """Pairs (name, arguments) as specs."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], dict):
        return ai.spec(value[0], **{key: with_specs(one) for key, one in value[1].items()})
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return [with_specs(one) for one in value]
    return value


def draw(case: Case) -> list[tuple[int, Any]]:
    """(member, values in host memory) of a case; more than one where it is drawn for several keys at once."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        for message in ("Initializing zero-element tensors is a no-op", "mean is more than 2 std from"):
            warnings.filterwarnings("ignore", message)
        if case.place.library == "jax" and needs_x64(case):
            import jax

            stack.enter_context(jax.enable_x64(True))
        stack.enter_context(drawing_with(case.engine))
        shared = {"name": case.fold, **case.keywords}
        if case.index is not None:
            shared["index"] = case.index
        if case.place.library == "jax" and case.place.form in ("jit", "jit key", "vmap"):
            return drawn_by_jax(case, shared, stack)
        if case.before and math.prod(local_shape(case)) <= 1 << 16:
            draw_before(case, shared)
        shared["seed"] = seed_of(case, stack)
        try:
            if case.place.form == "shape":
                result = function_of(case)(case.shape, **shared, **new(case))
            else:
                result = drawn_into(case, shared)
        except (ValueError, TypeError):
            if state_of(shared["seed"]) != state_of(seed_of(case, stack)):
                raise WrongError("the draw was refused, but a key was taken") from None
            raise
        if dtype_name(result) != case.dtype:
            raise WrongError(f"the result has dtype {dtype_name(result)}")
        return [(0, to_host(result))]


def draw_before(case: Case, shared: dict[str, Any]) -> None:
    """Draw what must not be taken for the case, though it is almost the same."""
    if case.before == "type":
        case = dataclasses.replace(case, arguments={key: almost(value) for key, value in case.arguments.items()})
    if case.name != "bits":
        shared = {**shared, "dtype": "float64" if case.before == "dtype" else case.dtype}
    with contextlib.suppress(ValueError, TypeError):
        function_of(case)(case.shape, seed=1, **shared)


def almost(value: Any) -> Any:
    """A value that is equal, but not the same."""
    if isinstance(value, bool | str) or value is None:
        return value
    if value == 0:
        return 0.0 if math.copysign(1, value) < 0 else -0.0
    if isinstance(value, float) and value.is_integer():
        return True if value == 1 else int(value)
    return float(value) if isinstance(value, int) else value


def needs_x64(case: Case) -> bool:
    return "x64" in case.place.memory or case.dtype in ("float64", "complex128", "int64")


def new(case: Case) -> dict[str, Any]:
    """Keywords for an array made from a shape."""
    library, rng = case.place.library, random.Random(case.place.number)
    found: dict[str, Any] = {"xp": library.split()[0]}
    if case.name != "bits":
        found["dtype"] = case.dtype
        if library == "dask" and (shape := local_shape(case)):
            found["chunks"] = tuple(chunks(rng, n) for n in shape)
    if library == "torch cuda":
        found["device"] = "cuda"
    if "sharded" in case.place.memory and case.place.form != "vmap":
        found["device"] = sharding(rng, local_shape(case))
    return found


def sharding(rng: random.Random, shape: tuple[int, ...]) -> Any:
    """Some axes of an array cut over all devices of JAX, which may be one."""
    import jax

    devices = np.array(jax.devices())
    mesh = jax.sharding.Mesh(devices.reshape(-1, 2 if len(devices) % 2 == 0 else 1), ("a", "b"))
    free, spec = {"a", "b"}, []
    for n in shape:
        names = [name for name in sorted(free) if n % mesh.shape[name] == 0]
        spec.append(rng.choice([None, *names]))
        free.discard(spec[-1])
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


def chunks(rng: random.Random, n: int) -> tuple[int, ...]:
    """An axis in blocks of odd sizes."""
    cuts = sorted(rng.sample(range(1, n), min(n - 1, rng.randint(0, 3)))) if n > 1 else []
    return tuple(b - a for a, b in zip([0, *cuts], [*cuts, n], strict=True))


def drawn_into(case: Case, shared: dict[str, Any]) -> Any:
    """Into an array, or a new one like an array."""
    shape, place = local_shape(case), case.place
    rng = random.Random(place.number)
    if case.index is not None or rng.random() < 0.3:
        shared["shape"] = case.shape
    in_place = place.form == "in place"
    dtype = case.dtype
    if not in_place and rng.random() < 0.2:
        shared["dtype"], dtype = case.dtype, "float32"
    memory = None
    if place.library in ("numpy", "torch", "torch cuda"):
        memory = Memory(case, shape, dtype)
        x = memory.array
    elif place.library == "dask":
        import dask.array

        x = dask.array.zeros(shape, dtype=numpy_dtype(dtype), chunks=tuple(chunks(rng, n) for n in shape))
    elif place.library == "jax":
        import jax

        where = sharding(rng, shape) if "sharded" in place.memory else None
        x = jax.device_put(np.zeros(shape, numpy_dtype(dtype)), where)
    else:
        namespace = importlib.import_module(place.library)
        x = namespace.zeros(shape, dtype=getattr(namespace, dtype))
    before = to_host(x).copy()
    try:
        result = function_of(case, in_place)(x, **shared)
    except Exception:
        if not (to_host(x) == before).all():
            raise WrongError("the draw was refused, but something was written") from None
        raise
    finally:
        if memory is not None:
            memory.check()
    if in_place and result is not x:
        raise WrongError("the result is not the array that was filled")
    if not in_place and not (to_host(x) == before).all():
        raise WrongError("the array was changed")
    if tuple(result.shape) != shape:
        raise WrongError(f"the result has shape {tuple(result.shape)}")
    return result


def drawn_by_jax(case: Case, shared: dict[str, Any], stack: ExitStack) -> list[tuple[int, Any]]:
    """Inside a trace: with a key of the program, or one that is given to it, or for several keys at once."""
    import jax

    def drawn(key: Any) -> Any:
        return function_of(case)(case.shape, seed=key, **shared, **new(case))

    if case.place.form == "jit":
        seed = seed_of(case, stack)
        return [(0, to_host(jax.jit(lambda: drawn(seed))()))]
    if case.place.form == "jit key":
        return [(0, to_host(jax.jit(drawn)(seed_of(case, stack))))]
    keys = jax.numpy.stack([seed_of(case, stack, member) for member in range(3)])
    mapped = to_host(jax.vmap(drawn)(keys))
    return list(enumerate(mapped))
