"""Random draws as plain data: what is drawn, and where. A case is what its seed and number say, on every machine."""

import math
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DTYPES = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128")
REAL = ("float32", "float64", "float16", "bfloat16")
PLAIN = ("bool", "int8", "uint16", "int64")
TAKES_PLAIN = ("constant", "ones", "zeros", "eye", "dirac", "identity")
JOINT = ("sparse", "orthogonal", "delta_orthogonal", "spectral_orthogonal")  # a part costs as much as the whole
INF = math.inf


@dataclass(frozen=True)
class Destination:
    """The array that is asked for.

    form: "shape" and "like" give a new array, "in place" fills one; "jit", "jit key" and "vmap" are JAX's. memory: how
    the array lies, words that `fuzz_places` knows; `number` decides the rest of it.
    """

    library: str = "numpy"
    form: str = "shape"
    memory: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class Engine:
    """The engine for host memory.

    loops: "4" or "8" lanes, "vectors" (NumPy), "reference", or "" as the package decides.
    grain: words of a task, for several tasks in a small array; 0 leaves it.
    """

    loops: str = ""
    threads: int = 2
    grain: int = 0


@dataclass(frozen=True)
class Case:
    """One draw."""

    name: str
    shape: tuple[int, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    keywords: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    seed: tuple[str, int] = ("int", 0)  # kind, number
    fold: Any = None  # the name that is folded in
    index: Any = None
    place: Destination = Destination()
    engine: Engine = Engine()
    by_spec: bool = False  # called by way of `arrayinit.spec`
    before: str = ""  # a draw that is almost the same and comes first: of the "same", or of another "dtype" or "type"


def case_of(seed: int, number: int) -> Case:
    """Case `number` of a seed."""
    return Maker(random.Random(f"{seed}:{number}")).case()


class Maker:
    """Random choices, most of them legal."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.digits, self.least, self.most = LIMITS["float32"]

    def one(self, *values: Any) -> Any:
        return self.rng.choice(values)

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def case(self) -> Case:
        name = self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        dtype = self.dtype(name)
        self.digits, self.least, self.most = LIMITS.get(dtype, LIMITS["float32"])
        rank = self.rank(name)
        keywords = self.keywords(name, rank)
        shape, index = self.shape_and_index(name, rank, keywords)
        arguments = self.arguments(name, shape, keywords, dtype)
        place = self.place(name, dtype)
        seed, fold, engine = self.seed(place), self.fold(), self.engine()
        by_spec = self.chance(0.2) and name != "bits"
        before = self.one("same", "dtype", "type") if self.chance(0.2) else ""
        return Case(name, shape, arguments, keywords, dtype, seed, fold, index, place, engine, by_spec, before)

    def dtype(self, name: str) -> str:
        if name == "bits":
            return "uint32"
        if self.chance(0.2 if name in TAKES_PLAIN else 0.01):
            return str(self.one(*PLAIN))
        if name in ("s4d", "orthogonal") and self.chance(0.5):
            return str(self.one("complex64", "complex128"))
        return str(self.one(*DTYPES))

    # Shapes and indices.

    def shape_and_index(self, name: str, rank: int, keywords: dict[str, Any]) -> tuple[tuple[int, ...], Any]:
        kind = self.rng.random()
        if name in JOINT:
            shape = self.small(rank, {2: 14, 3: 7, 4: 4}.get(rank, 3))
            if name == "sparse" and rank == 2 and self.chance(0.3):
                long = min(self.near(), 3000)
                shape = self.one((long, 1), (self.one(1, 2, 3, 17), self.one(100, 1000)), (long, 3))
        elif kind < 0.5 or not rank:
            shape = self.small(rank, {0: 1, 1: 300, 2: 24, 3: 9, 4: 6, 5: 4}.get(rank, 3))
        elif kind < 0.7:  # one long axis, its length near a boundary of blocks, vectors, chunks or tasks
            long = self.near()
            others = tuple(self.one(1, 1, 1, 2, 3) if long < 5000 or axis < 1 else 1 for axis in range(rank - 1))
            shape = tuple(self.rng.sample((long, *others), rank))
        elif kind < 0.82 or name in FITTED:
            shape = self.small(rank, {1: 300_000, 2: 400, 3: 50, 4: 20, 5: 10, 6: 6}[rank])
        elif kind < 0.97:
            return self.huge(rank)
        else:
            return self.far(rank)
        if rank and self.chance(0.9):
            shape = self.fitted(name, shape, keywords)
        return shape, self.index(shape) if self.chance(0.3) else None

    def fitted(self, name: str, shape: tuple[int, ...], keywords: dict[str, Any]) -> tuple[int, ...]:
        """A shape that the initializer takes."""
        sizes = list(shape)
        out = shape_axis(keywords, "o")
        sizes[out] *= keywords.get("groups", 1)
        if name in FITTED:
            sizes = [min(n, 64) for n in sizes]
        if name == "lstm_bias":
            sizes[out] *= 4
        elif name == "icnr":
            space = keywords.get("layout", "").count("o") + keywords.get("layout", "").count("i") or 2
            sizes[out] *= self.one(1, 2 ** max(0, len(sizes) - space))
        elif name == "bilinear" and len(shape) > 1:
            sizes[out] = sizes[shape_axis(keywords, "i")] * keywords.get("groups", 1)
        elif name in ("hippo_legs", "delta_orthogonal") and len(shape) > 1:
            other = shape_axis(keywords, "i")
            sizes[out] = max(sizes[out], sizes[other])
            if name == "hippo_legs":
                sizes[other] = sizes[out]
        return tuple(sizes)

    def rank(self, name: str) -> int:
        if self.chance(0.05):
            return self.rng.randint(0, 6)
        if name in ("eye", "sparse", "hippo_legs", "sinusoidal", "spectral_orthogonal"):
            return 2
        if name in ("dirac", "delta_orthogonal", "bilinear"):
            return self.rng.randint(3, 5)
        if name in ("icnr", "zero_hadamard", "identity"):
            return self.rng.randint(3 if name == "icnr" else 2, 5)
        if name in NEEDS_FANS:
            return self.rng.randint(2, 6)
        return self.rng.choices(range(7), (1, 3, 4, 3, 2, 2, 1))[0]

    def small(self, rank: int, most: int) -> tuple[int, ...]:
        sides = tuple(self.rng.randint(1, most) if self.chance(0.85) else 1 for _ in range(rank))
        if self.chance(0.04):
            sides = tuple(0 if self.chance(0.4) else n for n in sides)
        return sides

    def near(self) -> int:
        """A size near what engines do at a time."""
        boundary = self.one(*(4, 16, 64, 96, 384, 960, 1024) * 4, 65536, 131072) * self.one(1, 1, 1, 2, 3)
        return max(1, int(boundary) + self.rng.randint(-3, 3))

    def huge(self, rank: int) -> tuple[tuple[int, ...], Any]:
        """A tensor of up to 2**62 elements and a little of it."""
        bits = self.rng.randint(20, 62)
        cuts = sorted(self.rng.randint(0, bits) for _ in range(rank - 1))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, bits], strict=True)]
        shape: tuple[int, ...] = tuple(max(1, (1 << size) - self.one(0, 0, 1, 3)) for size in sizes)
        index = []
        for n in shape:
            count = self.rng.randint(0 if self.chance(0.02) else 1, 6)
            step = self.one(1, 1, 2, 7, max(1, n // 8), -1, -3, -max(1, n // 8))
            span = max(0, count - 1) * abs(step) + 1
            if n >= span:
                low = self.one(0, n - span, self.rng.randint(0, n - span))
                part: Any = slice(low, low + span, step)
                if step < 0:
                    part = slice(low + span - 1, low - 1 if low else None, step)
                index.append(part if count else slice(low, low))
            else:
                index.append(self.rng.randrange(n))
        return shape, tuple(index)

    def far(self, rank: int) -> tuple[tuple[int, ...], Any]:
        """Neighbouring elements of a huge tensor among whose words the number of a block gets another upper half."""
        rest = tuple(self.rng.randint(1, 3) for _ in range(rank - 1))
        stride, count = math.prod(rest), self.rng.randint(1, 40)
        low = self.one(2**33, 2**34, 2**34, 2**35) // stride - self.rng.randint(0, count)
        part = slice(low, low + count) if self.chance(0.8) else slice(low + count, low, -1)
        return (2 ** self.rng.randint(36, 50), *rest), (part,)

    def index(self, shape: tuple[int, ...]) -> Any:
        parts: list[Any] = []
        for n in shape[: self.rng.randint(0, len(shape))]:
            kind = self.rng.random()
            if kind < 0.2 and n:
                parts.append(self.rng.randint(-n, n - 1))
            elif kind < 0.3:
                parts.append(slice(None))
            else:
                ends = [self.one(None, self.rng.randint(-n, n)) for _ in range(2)]
                parts.append(slice(*ends, self.one(None, 1, 2, 3, 5, -1, -2, -4)))
        if self.chance(0.3):
            parts.insert(self.rng.randint(0, len(parts)), ...)
        if self.chance(0.01):
            parts.append(slice(0, 1 << 40))
        if len(parts) == 1 and self.chance(0.5):
            return parts[0]
        return tuple(parts)

    # Layouts.

    def keywords(self, name: str, rank: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if name == "bits":
            return found
        kind = self.rng.random()
        letters = list("oi" + "".join(self.one(*"hwdsoibxx") for _ in range(rank - 2)))
        if name in (
            "eye",
            "sparse",
            "sinusoidal",
            "dirac",
            "identity",
            "delta_orthogonal",
            "zero_hadamard",
            "bilinear",
        ):
            letters = list("oihwdxy")[:rank] if self.chance(0.95) else letters
        elif name == "hippo_legs":
            letters = list("oibbbb")[:rank]
        self.rng.shuffle(letters)
        if kind < 0.3 and rank >= 2:
            found["layout"] = "".join(letters)
        elif kind < 0.45 and rank >= 2:
            for keyword, letter in (("in_axis", "i"), ("out_axis", "o"), ("batch_axis", "b")):
                axes = [axis - self.one(0, rank) for axis, one in enumerate(letters) if one == letter]
                if axes or letter != "b":
                    found[keyword] = axes[0] if len(axes) == 1 and self.chance(0.7) else tuple(axes)
        if self.chance(0.15):
            found["groups"] = self.one(1, 2, 2, 3, 4)
        if self.chance(0.1):
            found["transposed"] = True
        return found

    # Arguments.

    def arguments(self, name: str, shape: tuple[int, ...], keywords: dict[str, Any], dtype: str) -> dict[str, Any]:
        if name in ("icnr", "packed"):
            return self.pack(name, shape, keywords, dtype)
        make = getattr(self, name, None)
        found = make() if make is not None else {}
        return {key: value for key, value in found.items() if key in NEEDED or self.chance(0.9)}

    def scale(self) -> float:
        """A positive number: of everyday size, or of any size."""
        kind = self.rng.random()
        if kind < 0.5:
            return float(self.one(1.0, 0.02, 0.5, 2.0, 1e-3, 3.0, self.rng.random(), math.exp(self.rng.gauss(0, 3))))
        if kind < 0.75:
            return float(2.0 ** self.rng.uniform(-30, 30))
        if kind < 0.9:  # where lattices become subnormal, and where formats do and end
            lattice = (-96 if self.least > -1000 else -992) - 3
            return float(2.0 ** (self.one(lattice, self.least, self.least, self.most - 3) + self.rng.uniform(-3, 3)))
        if kind < 0.93:
            return float(self.one(5e-324, 2.0**-1074 * 3, 2.0**-1022, 1e-310, 1.7e308, 2.0**-126, 65504.0, 3.3e38))
        return math.ldexp(1 - 2.0 ** -self.rng.randint(20, 53), self.rng.randint(-20, 20))  # rounds up to a power of 2

    def number(self) -> float:
        """A number of either sign, or 0."""
        return 0.0 if self.chance(0.3) else self.kind(self.scale() * self.one(1, -1))

    def kind(self, x: float) -> Any:
        """The same number as another type, now and then."""
        if self.chance(0.05) and abs(x) < 1e9:
            return round(x)
        return np.float32(x) if self.chance(0.03) and 1e-30 < abs(x) < 1e30 else x

    def uniform(self) -> dict[str, Any]:
        kind = self.rng.random()
        if kind < 0.3:
            bound = self.scale()
            return {"a": -bound, "b": bound}
        a = self.number()
        if kind < 0.7:
            return {"a": a, "b": self.kind(float(a) + self.scale())}
        if kind < 0.8:  # close to each other
            b = float(a)
            for _ in range(self.rng.randint(1, 3)):
                b = math.nextafter(b, INF)
            return {"a": a, "b": b}
        if kind < 0.93:
            return dict(zip("ab", self.few(), strict=True))
        ends = (a, self.number())
        return dict(zip("ab", ends if self.chance(0.1) else sorted(ends), strict=True))

    def few(self) -> tuple[float, float]:
        """Ends between which the dtype has few values, so that it matters how they are rounded and clipped."""
        a = float(self.number()) or 1.0
        if self.chance(0.3):
            a = math.ldexp(self.one(1, -1), math.frexp(a)[1] - 1)  # beside powers of 2
        width = abs(a) * 2.0 ** -(self.digits + self.rng.uniform(-4, 3))
        if self.chance(0.4) and 1e-300 < abs(a) < 1e300:  # both are values of the dtype
            unit = math.frexp(a)[1] - min(self.digits, 24)
            a = math.ldexp(round(math.ldexp(a, -unit)), unit)
            width = math.ldexp(self.rng.randint(1, 8), unit)
        return (a, a + width) if self.chance(0.5) else (a - width, a)

    def tie(self) -> float:
        """A number in the middle between two values of the dtype."""
        middle = 2 * self.rng.randint(2 ** (self.digits - 1), 2**self.digits - 1) + 1
        return math.ldexp(middle, -self.digits - 1) * self.one(1, -1)

    def normal(self) -> dict[str, Any]:
        if self.chance(0.1):
            mean = self.tie()
            return {"mean": mean, "std": abs(mean) * 2.0 ** -(self.digits + self.rng.uniform(-4, 18))}
        std = 0.0 if self.chance(0.03) else self.kind(self.scale())
        mean = self.number()
        if self.chance(0.3):
            mean = self.kind(float(std) * self.one(1, -1) * 2.0 ** self.rng.uniform(-30, 24))
        if self.chance(0.1):  # |mean| + 8 std around a power of two, where offset and scale may round up to it
            mean = math.ldexp(1 - self.rng.random() * 2.0**-30, self.rng.randint(-2, 5)) - 8 * float(std)
        return {"mean": mean, "std": std}

    def trunc_normal(self) -> dict[str, Any]:
        found = self.truncated_normal()
        mean, std = float(found["mean"]), float(found["std"])
        a, b = (mean + std * float(found[key]) for key in ("lower", "upper"))
        if self.chance(0.1):
            a = math.nextafter(mean, self.one(-INF, INF)) if self.chance(0.5) else mean
        if self.chance(0.15):
            a, b = self.few()
            spread = (b - a) * 2.0 ** self.rng.uniform(-3, 8)
            return {"mean": self.one(a, b, a + self.rng.uniform(-3, 3) * spread), "std": spread, "a": a, "b": b}
        return {"mean": found["mean"], "std": found["std"], "a": a, "b": b}

    def truncated_normal(self) -> dict[str, Any]:
        found = {"mean": 0.0, "std": self.kind(self.scale())} if self.chance(0.5) else self.normal()
        kind = self.rng.random()
        if kind < 0.25:
            bound = abs(self.rng.gauss(0, 3))
            return {**found, "lower": -bound, "upper": bound}
        if kind < 0.5:  # either tail, far out
            a = self.rng.uniform(-12, 12)
            return {**found, "lower": a, "upper": a + 2.0 ** self.rng.uniform(-25, 4)}
        if kind < 0.75:
            a = self.rng.uniform(-10, 10)
            return {**found, "lower": self.one(a, -INF), "upper": INF} if self.chance(0.5) else {
                **found, "lower": -INF, "upper": a
            }  # fmt: skip
        lower = float(self.rng.randint(-9, 9))
        return {**found, "lower": lower, "upper": lower + self.rng.randint(0 if self.chance(0.05) else 1, 9)}

    def constant(self) -> dict[str, Any]:
        whole = self.rng.randint(-200, 70000)
        # Rounded to float32 the last one is a tie, which rounds to even in the narrow dtype.
        almost = self.tie() * (1 + self.one(1, -1) * 2.0 ** -self.rng.randint(26, 50))
        value = self.one(0, 1, -1, 0.1, -0.0, INF, -INF, self.number(), whole, 2**62 + 1, almost)
        return {"val": value}

    def gain(self) -> Any:
        return self.one(1.0, 0, 1, 5 / 3, math.sqrt(2), self.scale())

    def xavier_uniform(self) -> dict[str, Any]:
        return {"gain": self.gain()}

    xavier_normal = xavier_uniform

    def identity(self) -> dict[str, Any]:
        return {"gain": self.number()}

    def orthogonal(self) -> dict[str, Any]:
        return {"gain": self.one(1.0, -0.5, 2, 0.0, 1e-3)}

    delta_orthogonal = spectral_orthogonal = orthogonal

    def mode(self) -> str:
        return str(self.one("fan_in", "fan_out", "fan_avg", "fan_geo_avg"))

    def kaiming_uniform(self) -> dict[str, Any]:
        kinds = (
            "leaky_relu", "relu", "tanh", "selu", "linear", "sigmoid", "conv2d", "conv_transpose3d", "gelu", "silu",
            "mish", "elu", "softplus", "relu^2", "sin",
        )  # fmt: skip
        if self.chance(0.15):
            return {"mode": self.mode(), "gain": self.gain()}
        return {
            "a": self.one(0.0, None, math.sqrt(5), 3, -0.2, self.number() if self.chance(0.3) else 1),
            "mode": self.mode(),
            "nonlinearity": self.one(*kinds),
        }

    kaiming_normal = kaiming_uniform

    def variance_scaling(self) -> dict[str, Any]:
        return {
            "scale": self.gain(),
            "mode": self.mode(),
            "distribution": self.one("uniform", "normal", "truncated_normal"),
        }

    def siren(self) -> dict[str, Any]:
        return {"omega": self.one(30.0, 1, self.scale()), "first": self.chance(0.3)}

    def scaled_truncated_normal(self) -> dict[str, Any]:
        return {"gain": self.gain(), "mode": self.mode(), "cut": self.one(3.0, 2, 0.5)}

    def small_normal(self) -> dict[str, Any]:
        return {"dim": self.one(None, 1, 64, 4096)}

    def wang_normal(self) -> dict[str, Any]:
        return {"layers": self.one(1, 12, 96), "dim": self.one(None, 1, 64, 4096)}

    def prior_bias(self) -> dict[str, Any]:
        return {"p": self.one(0.01, 0.5, 1e-9, 1 - 2.0**-53, self.rng.random(), 5e-324)}

    def sparse(self) -> dict[str, Any]:
        return {
            "sparsity": self.one(0.0, 1.0, 0, 1, 0.1, 0.9, 0.07, self.rng.random()),
            "std": 0.0 if self.chance(0.05) else self.scale(),
        }

    def s4d(self) -> dict[str, Any]:
        return {"variant": self.one("lin", "inv", "real")}

    def linspace(self) -> dict[str, Any]:
        ends = {"start": self.number(), "end": self.number()}
        return ends | {"endpoint": self.chance(0.7)}

    def sinusoidal(self) -> dict[str, Any]:
        return {"base": self.one(10000.0, 500, 1.5, 1e9), "interleaved": self.chance(0.6)}

    def lstm_bias(self) -> dict[str, Any]:
        return {"forget": self.number(), "gates": "".join(self.rng.sample("ifgo", 4))}

    def pack(self, name: str, shape: tuple[int, ...], keywords: dict[str, Any], dtype: str) -> dict[str, Any]:
        def inner() -> tuple[str, dict[str, Any]]:
            one = self.one(*INNER) if self.chance(0.9) or len(shape) < 2 else "packed"
            return one, {"initializer": inner()} if one == "packed" else self.arguments(one, shape, keywords, dtype)

        if name == "icnr":
            return {"initializer": inner(), "scale": self.one(1, 2, 2, 3)} if self.chance(0.7) else {}
        n = shape[shape_axis(keywords, "o")] if len(shape) > 1 else sum(shape)
        if self.chance(0.5):
            divisors = [k for k in range(1, 9) if n % k == 0]
            return self.ordered({"initializer": inner(), "blocks": self.one(*divisors)})
        cuts = sorted(self.rng.randint(0, n) for _ in range(self.rng.randint(0, 4)))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
        return self.ordered({"initializer": [inner() for _ in sizes] if self.chance(0.6) else inner(), "blocks": sizes})

    def ordered(self, found: dict[str, Any]) -> dict[str, Any]:
        """Arguments of `packed`, perhaps with other numbers for its blocks."""
        blocks = found["blocks"]
        count = blocks if isinstance(blocks, int) else len(blocks)
        return {**found, "order": self.rng.sample(range(count), count)} if self.chance(0.3) else found

    # Seeds and places.

    def seed(self, place: Destination) -> tuple[str, int]:
        number = int(self.one(0, 5, 2**32, 2**64 - 1, self.rng.getrandbits(64), self.rng.getrandbits(64)))
        if place.form in ("jit key", "vmap"):
            return self.one("jax", "jax raw", "jax long"), number
        kinds = [*("int",) * 3, "uint64", "Key", "jax", "jax raw", "jax long"]
        if place.form != "jit":  # where a generator would be asked while the program is traced
            kinds += ["numpy", "torch", "seeded", "manual"]
        return str(self.one(*kinds)), number

    def fold(self) -> Any:
        def word() -> Any:
            pieces = ("a", "layer.", "0", "é", "\x00", "漢", "weight")
            text = "".join(self.one(*pieces) for _ in range(self.rng.randint(0, 5)))
            return self.one(text, text, self.one(0, 1, 7, 2**32, 2**64 - 1))

        return self.one(None, word(), tuple(word() for _ in range(self.rng.randint(0, 4))))

    def place(self, name: str, dtype: str) -> Destination:
        libraries = {"numpy": 40, "torch": 30, "dask": 4, "jax": 12, "array_api_strict": 5, "torch cuda": 3}
        library = self.rng.choices(list(libraries), list(libraries.values()))[0]
        number = self.rng.getrandbits(32)
        if library == "array_api_strict" and dtype in ("float16", "bfloat16"):
            library = "numpy"
        if name == "bits":
            return Destination(
                library, "shape" if library != "jax" else self.one("shape", "jit", "jit key"), (), number
            )
        if library == "jax":
            forms = (*("shape",) * 10, *("like",) * 8, "jit", "jit key", "jit key", "vmap")
            form = self.one(*forms)
            words = [word for word in ("x64", "sharded") if self.chance(0.4)]
            return Destination(library, form, tuple(words if form != "vmap" else words[:1]), number)
        form = self.one("shape", "like", "in place", "in place")
        if form == "shape" or library in ("dask", "array_api_strict"):
            return Destination(library, form, (), number)
        words = {
            "numpy": (
                "permuted",
                "gaps",
                "swapped",
                "unaligned",
                "field",
                "shifted",
                "readonly",
                "expanded",
                "overlapping",
            ),
            "torch": ("permuted", "gaps", "conj", "neg", "parameter", "channels_last", "expanded", "overlapping"),
            "torch cuda": ("permuted", "gaps", "conj", "parameter", "channels_last"),
        }[library]
        memory = [word for word in words[:2] if self.chance(0.4)]
        if library == "numpy" and dtype.startswith("complex") and self.chance(0.2):
            memory.append("shifted")  # to where the parts are aligned, but not the whole
        elif self.chance(0.6):
            memory.append(self.one(*words[2:]))
        return Destination(library, form, tuple(memory), number)

    def engine(self) -> Engine:
        return Engine(
            self.one("4", "8", "vectors", "reference", ""),
            self.one(1, 1, 2, 3, 7),
            self.one(0, 0, 0, 64, 512, 4096),
        )


def shape_axis(keywords: dict[str, Any], role: str) -> int:
    """The first axis of a role."""
    if "layout" in keywords:
        return int(keywords["layout"].index(role))
    axes = keywords.get({"o": "out_axis", "i": "in_axis"}[role], "oi".index(role))
    return axes[0] if isinstance(axes, tuple) else int(axes)


FITTED = ("lstm_bias", "icnr", "hippo_legs", "bilinear")  # few shapes suit them
LIMITS = {  # digits, and the exponents between which normal numbers lie
    **dict.fromkeys(("float32", "complex64"), (24, -126, 128)),
    **dict.fromkeys(("float64", "complex128"), (53, -1022, 1024)),
    "float16": (11, -14, 16),
    "bfloat16": (8, -126, 128),
}
NEEDED = ("val", "sparsity", "layers")  # arguments without a default
INNER = ("normal", "uniform", "zeros", "xavier_uniform", "kaiming_normal", "trunc_normal", "ones", "lecun_normal")
NEEDS_FANS = (
    *("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "lecun_uniform", "lecun_normal"),
    *("variance_scaling", "scaled_truncated_normal", "siren", "small_normal", "wang_normal", "orthogonal"),
)
WEIGHTS = {
    "uniform": 14,
    "normal": 14,
    "trunc_normal": 14,
    "truncated_normal": 8,
    **dict.fromkeys(NEEDS_FANS, 4),
    **dict.fromkeys(("packed", "sparse", "constant", "bits", "identity"), 5),
    **dict.fromkeys(("eye", "dirac", "icnr", "zeros", "ones", "delta_orthogonal", "zero_hadamard", "hippo_legs"), 2),
    **dict.fromkeys(("s4d", "lstm_bias", "prior_bias", "mamba_a_log", "linspace", "sinusoidal"), 2),
    **dict.fromkeys(("bilinear", "spectral_orthogonal"), 2),
    "orthogonal": 2,
}
