"""Initializers by hand: names, arguments, shapes, layouts and indices -> elements of `stream_by_hand`, in plain Python.

An initializer is a function of a tensor and its arguments that gives the function position -> value. Like
`stream_by_hand` it shares no code with the package.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

import mpmath
from stream_by_hand import (
    FORMATS,
    PARTS,
    Refused,
    ends,
    fold,
    formats,
    normal_law,
    rounded,
    truncated_law,
    uniform_law,
    word,
)

ORDER = 1  # the purpose of the words that decide which elements of a sparse column are 0

# Fans, gains and bounds are binary64 numbers: the order of operations is part of each formula.


@dataclass(frozen=True)
class Tensor:
    """A global shape with a role for each axis ('o', 'i', 'b', or 's' for spatial; None where nothing was said)."""

    shape: tuple
    roles: str | None
    groups: int
    transposed: bool
    dtype: str
    key: int

    @cached_property
    def order(self):
        """Axes as elements are numbered: batch, out, in, spatial."""
        if self.roles is None:
            return tuple(range(len(self.shape)))
        return tuple(sorted(range(len(self.shape)), key=lambda axis: "bois".index(self.roles[axis])))

    @cached_property
    def canonical(self):
        return tuple(self.shape[axis] for axis in self.order)

    def number(self, position):
        """The index of an element in canonical order."""
        i = 0
        for axis in self.order:
            i = i * self.shape[axis] + position[axis]
        return i

    def size(self, role):
        if self.roles is None and len(self.shape) < 2:
            raise Refused("rank")
        roles = self.roles or "oi" + "s" * (len(self.shape) - 2)
        return math.prod(n for n, r in zip(self.shape, roles, strict=True) if r == role)

    @cached_property
    def fans(self):
        """(fan_in, fan_out). `in` of a grouped convolution is that of one group already."""
        if self.size("o") % self.groups:
            raise Refused("groups")
        fans = self.size("i") * self.size("s"), self.size("o") // self.groups * self.size("s")
        return fans[::-1] if self.transposed else fans

    def fan(self, mode):
        fan_in, fan_out = self.fans
        return {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[mode]


def axis_roles(rank, layout, in_axis, out_axis, batch_axis):
    """One letter an axis, from a layout or from numbers of axes."""
    if layout is not None:
        if len(layout) != rank:
            raise Refused("layout")
        return "".join(letter if letter in "oib" else "s" for letter in layout)
    if in_axis is None and out_axis is None and batch_axis == ():
        return None
    if in_axis is None and out_axis is None:  # a batch alone: the others are (out, in, *spatial)
        batch = {axis % rank for axis in ((batch_axis,) if isinstance(batch_axis, int) else batch_axis)}
        rest = iter("oi" + "s" * rank if rank - len(batch) > 1 else "s" * rank)
        return "".join("b" if axis in batch else next(rest) for axis in range(rank))
    roles = ["s"] * rank
    for role, axes in (("i", in_axis), ("o", out_axis), ("b", batch_axis)):
        for axis in (axes,) if isinstance(axes, int) else axes:
            if not -rank <= axis < rank or roles[axis] != "s":
                raise Refused("axis")
            roles[axis] = role
    return "".join(roles)


def chosen(shape, index):
    """The selection of an index along each axis: a range, or one position."""
    parts = () if index is None else index if isinstance(index, tuple) else (index,)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        before, after = parts[:at], parts[at + 1 :]
    else:
        before, after = parts, ()
    middle = len(shape) - len(before) - len(after)
    if middle < 0 or Ellipsis in after:
        raise Refused("index")
    found = []
    for part, n in zip((*before, *[slice(None)] * middle, *after), shape, strict=True):
        ends = (part.start, part.stop) if isinstance(part, slice) else (part,)
        last = n if isinstance(part, slice) else n - 1
        if any(end is not None and not -n <= end <= last for end in ends):
            raise Refused("outside")
        found.append(range(n)[part])
    return found


class Drawn:
    """A draw: its shape, and the value at each position."""

    def __init__(self, element, taken):
        self.element, self.taken = element, taken
        self.shape = tuple(len(part) for part in taken if isinstance(part, range))

    def __getitem__(self, position):
        along = iter(position)
        return self.element(tuple(part[next(along)] if isinstance(part, range) else part for part in self.taken))


def draw(
    name,
    /,
    shape,
    dtype="float32",
    key=0,
    index=None,
    *,
    layout=None,
    in_axis=None,
    out_axis=None,
    batch_axis=(),
    groups=1,
    transposed=False,
    **arguments,
):
    """The values that `arrayinit.NAME(shape, ...)` draws under this key."""
    roles = axis_roles(len(shape), layout, in_axis, out_axis, batch_axis)
    taken = chosen(shape, index)
    element = INITIALIZERS[name](Tensor(shape, roles, groups, transposed, dtype, key), **arguments)
    if math.prod(shape) > 2**62:
        raise Refused("elements")
    return Drawn(element, taken)


# Laws of elements that don't depend on each other.


def sampled(tensor, law, *numbers):
    """Each element by its own word, a complex one by two."""
    value = law(*numbers, tensor.dtype)
    if tensor.dtype not in PARTS:
        return lambda at: value(word(tensor.number(at), tensor.key))
    return lambda at: complex(*(value(word(2 * tensor.number(at) + part, tensor.key)) for part in (0, 1)))


def finite(*numbers):
    if not all(map(math.isfinite, numbers)):
        raise Refused("infinite")


def uniform(tensor, a=0.0, b=1.0):
    finite(a, b)
    if not a < b:
        raise Refused("order")
    return sampled(tensor, uniform_law, float(a), float(b))


def normal(tensor, mean=0.0, std=1.0):
    finite(mean, std)
    if not std:
        return point(tensor, mean)
    return sampled(tensor, normal_law, float(mean), part(tensor, std))


def part(tensor, number):
    """A standard deviation, of each part where elements are complex: half the variance."""
    return number / math.sqrt(2) if tensor.dtype in PARTS else float(number)


def point(tensor, mean, low=-math.inf, high=math.inf):
    """A law without a spread: each part is its mean, rounded and moved into [low, high] as a sample is."""
    mean = min(max(mean, low), high)
    if tensor.dtype not in FORMATS and tensor.dtype not in PARTS:
        return constant(tensor, mean)
    value, (low, high) = rounded(float(mean), tensor.dtype), ends(low, high, tensor.dtype)
    value = min(max(value, low), high)
    return lambda at: complex(value, value) if tensor.dtype in PARTS else value


def trunc_normal(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
    finite(mean, std)
    if not a < b:
        raise Refused("order")
    if not std:
        return point(tensor, mean, a, b)
    return sampled(tensor, truncated_law, float(mean), part(tensor, std), float(a), float(b))


def truncated_normal(tensor, mean=0.0, std=1.0, lower=-2.0, upper=2.0):
    finite(mean, std)
    if not lower < upper:
        raise Refused("order")
    if not std:
        return point(tensor, mean)
    return scaled_truncated(tensor, float(mean), float(std), mean + lower * std, mean + upper * std)


def scaled_truncated(tensor, mean, std, low, high):
    """A truncated normal whose bounds are multiples of std, and shrink with it where elements are complex."""
    if tensor.dtype in PARTS:
        low, high = (mean + (end - mean) / math.sqrt(2) for end in (low, high))
    return sampled(tensor, truncated_law, mean, part(tensor, std), low, high)


def constant(tensor, val):
    if tensor.dtype in FORMATS or tensor.dtype in PARTS:
        value = rounded(float(val), tensor.dtype)
        value = complex(value, 0.0) if tensor.dtype in PARTS else value
    else:
        low, high = {"bool": (0, 1), "int8": (-128, 127), "uint16": (0, 65535), "int64": (-(2**63), 2**63 - 1)}[
            tensor.dtype
        ]
        if not math.isfinite(val) or val != int(val) or not low <= val <= high:
            raise Refused(val)
        value = int(val)
    return lambda at: value


def ones(tensor):
    return constant(tensor, 1)


def zeros(tensor):
    return constant(tensor, 0)


def prior_bias(tensor, p=0.01):
    if not 0 < p < 1:
        raise Refused("p")
    with mpmath.workdps(60):
        return constant(tensor, float(mpmath.log(mpmath.mpf(p) / (1 - mpmath.mpf(p)))))


def centred(tensor, std, distribution):
    """Mean 0 and this standard deviation."""
    if not std:
        return zeros(tensor)
    if distribution == "normal":
        return normal(tensor, 0.0, std)
    if distribution == "uniform":
        return symmetric(tensor, math.sqrt(3.0) * std)
    whole = std / 0.87962566103423978
    return scaled_truncated(tensor, 0.0, whole, -2 * whole, 2 * whole)


def symmetric(tensor, bound):
    """U[-bound, bound) where the bound states a standard deviation."""
    return uniform(tensor, -part(tensor, bound), part(tensor, bound)) if bound else sampled(tensor, refused)


def refused(dtype):
    raise Refused("scale")


def xavier_std(tensor, gain):
    total = sum(tensor.fans)
    return gain * math.sqrt(2.0 / total) if total else 0.0


def xavier_uniform(tensor, gain=1.0):
    return centred(tensor, xavier_std(tensor, gain), "uniform")


def xavier_normal(tensor, gain=1.0):
    return centred(tensor, xavier_std(tensor, gain), "normal")


GAINS = {
    "tanh": 5.0 / 3, "selu": 0.75, "gelu": 1.5335304411955353, "silu": 1.676532470331091, "swish": 1.676532470331091,
    "mish": 1.486847581273208, "elu": 1.2451983007007066, "celu": 1.2451983007007066, "softplus": 1.0418668355353018,
    "relu^2": 0.816496580927726, "sin": 1.5208666231788148,
}  # fmt: skip


def kaiming_std(tensor, a, mode, nonlinearity, gain):
    slope = {"leaky_relu": 0.01 if a is None else a, "relu": 0}.get(nonlinearity)
    if gain is None:
        gain = GAINS.get(nonlinearity, 1.0)
    else:
        slope = None
    if slope is not None:
        finite(slope * slope)
        gain = math.sqrt(2.0 / (1 + slope * slope))
    return 0.0 if 0 in tensor.shape else gain / math.sqrt(tensor.fan(mode))


def kaiming_uniform(tensor, a=0.0, mode="fan_in", nonlinearity="leaky_relu", gain=None):
    return centred(tensor, kaiming_std(tensor, a, mode, nonlinearity, gain), "uniform")


def kaiming_normal(tensor, a=0.0, mode="fan_in", nonlinearity="leaky_relu", gain=None):
    return centred(tensor, kaiming_std(tensor, a, mode, nonlinearity, gain), "normal")


def variance_scaling(tensor, scale=1.0, mode="fan_in", distribution="truncated_normal"):
    fan = tensor.fan(mode)
    return centred(tensor, math.sqrt(scale / fan) if fan else 0.0, distribution)


def lecun_uniform(tensor):
    return variance_scaling(tensor, distribution="uniform")


def lecun_normal(tensor):
    return variance_scaling(tensor, distribution="normal")


def siren(tensor, omega=30.0, first=False):
    fan_in = tensor.fans[0]
    if not fan_in:
        return zeros(tensor)
    return symmetric(tensor, 1 / fan_in if first else math.sqrt(6 / fan_in) / omega)


def scaled_truncated_normal(tensor, gain=1.0, mode="fan_in", cut=3.0):
    fan = tensor.fan(mode)
    std = gain / math.sqrt(fan) if fan else 0.0
    return scaled_truncated(tensor, 0.0, std, -cut * std, cut * std) if std else zeros(tensor)


def small_normal(tensor, dim=None):
    width = tensor.fans[0] if dim is None else dim
    return centred(tensor, math.sqrt(2 / (5 * width)) if width else 0.0, "normal")


def wang_normal(tensor, layers, dim=None):
    width = tensor.fans[0] if dim is None else dim
    return centred(tensor, 2 / (layers * math.sqrt(width)) if width else 0.0, "normal")


# Matrices and kernels.


def plain(tensor, ranks):
    """Only one axis out, one in, and spatial ones."""
    if len(tensor.shape) not in ranks or sorted((tensor.roles or "io").replace("s", "")) != ["i", "o"]:
        raise Refused("shape")


def by_canonical(tensor, value):
    """Elements as a function of (out, in, *spatial)."""
    return lambda at: value(*(at[axis] for axis in tensor.order))


def identity(tensor, gain=1.0, ranks=range(2, 99)):
    plain(tensor, ranks)
    out, _, *space = tensor.canonical
    if out % tensor.groups:
        raise Refused("groups")
    one, nothing, group = constant(tensor, gain)(()), constant(tensor, 0)(()), out // tensor.groups
    centre = [n // 2 for n in space]
    return by_canonical(tensor, lambda o, i, *at: one if o % group == i and at == tuple(centre) else nothing)


def dirac(tensor):
    return identity(tensor, 1.0, range(3, 6))


def eye(tensor):
    return identity(replace(tensor, groups=1), 1.0, (2,))


def sparse(tensor, sparsity, std=0.01):
    plain(tensor, (2,))
    if not 0 <= sparsity <= 1:
        raise Refused("sparsity")
    if not std:
        return zeros(tensor)
    rows, columns = tensor.canonical
    lost = math.ceil(Fraction(repr(float(sparsity))) * rows)
    values, nothing = normal(tensor, 0.0, std), zeros(tensor)(())

    @lru_cache
    def cleared(column):
        """The rows whose words are smallest in a column, lower rows first where words are equal."""
        return set(sorted(range(rows), key=lambda row: word(row * columns + column, tensor.key, ORDER))[:lost])

    def value(at):
        row, column = (at[axis] for axis in tensor.order)
        return nothing if row in cleared(column) else values(at)

    return value


def orthogonal(tensor, gain=1.0):
    """To a tolerance: Householder's reflectors of normal columns, last one first, the phase of each in front."""
    out, n = tensor.size("o"), tensor.size("i") * tensor.size("s")
    rounded(float(gain), tensor.dtype)
    wide = tensor.dtype if tensor.dtype in PARTS or tensor.dtype == "float64" else "float32"
    line = Tensor((math.prod(tensor.shape),), None, 1, False, wide, tensor.key)
    z = normal(line)

    @lru_cache
    def matrix(batch):
        rows = [[z(((batch * out + r) * n + c,)) for c in range(n)] for r in range(out)]
        columns = rows if out < n else [list(column) for column in zip(*rows, strict=True)]  # the longer way down
        result = [[0.0] * j + [1.0] + [0.0] * (len(columns[0]) - j - 1) for j in range(len(columns))]
        for j, x in reversed(list(enumerate(columns))):
            x = [0.0] * j + x[j:]
            length = math.sqrt(sum(abs(a) ** 2 for a in x))
            phase = x[j] / abs(x[j])
            result[j][j] = -phase
            v = [*x[:j], x[j] + phase * length, *x[j + 1 :]]
            square = sum(abs(a) ** 2 for a in v)
            for column in result[j:]:
                dot = 2 * sum(a.conjugate() * b for a, b in zip(v, column, strict=True)) / square
                column[:] = [b - dot * a for a, b in zip(v, column, strict=True)]
        return result if out < n else [list(row) for row in zip(*result, strict=True)]

    def value(at):
        batch, rest = divmod(tensor.number(at), out * n)
        return gain * matrix(batch)[rest // n][rest % n]

    return value


def centre(tensor, law, shift):
    """A matrix at the centre of a kernel that is 0 elsewhere."""
    space = tensor.order[2:]
    inner = replace(
        tensor,
        shape=tuple(n for axis, n in enumerate(tensor.shape) if axis not in space),
        roles=tensor.roles and tensor.roles.replace("s", ""),
    )
    value, nothing = law(inner), zeros(tensor)(())

    def at_centre(at):
        if any(at[axis] != (tensor.shape[axis] - shift) // 2 for axis in space):
            return nothing
        return value(tuple(j for axis, j in enumerate(at) if axis not in space))

    return at_centre


def delta_orthogonal(tensor, gain=1.0):
    plain(tensor, range(3, 6))
    if tensor.groups != 1 or tensor.size("i") > tensor.size("o"):
        raise Refused("channels")
    return centre(tensor, lambda inner: orthogonal(inner, gain), 1)


def spectral_orthogonal(tensor, gain=1.0):
    if len(tensor.shape) < 2:
        raise Refused("rank")
    if tensor.groups != 1 or "s" in (tensor.roles or "oi" + "s" * (len(tensor.shape) - 2)):
        raise Refused("no matrices")
    out, in_ = tensor.size("o"), tensor.size("i")
    if tensor.transposed:
        out, in_ = in_, out
    return orthogonal(tensor, gain * math.sqrt(out / in_) if in_ else gain)


def matrices_of(tensor):
    """(batch, out, in) of a stack of matrices."""
    if tensor.groups != 1 or "s" in (tensor.roles or "oi" + "s" * (len(tensor.shape) - 2)):
        raise Refused("no matrices")
    out, in_ = tensor.size("o"), tensor.size("i")
    return math.prod(tensor.shape) // (out * in_), out, in_


def by_number(tensor, numbers):
    """Real elements in canonical order."""
    return lambda at: numbers[tensor.number(at)]


def singular_triples(matrix):
    """(value, left, right), the largest value first: Jacobi's rotations of pairs of columns."""
    n = len(matrix)
    columns = [list(column) for column in zip(*matrix, strict=True)]
    right = [[float(i == j) for i in range(n)] for j in range(n)]

    def dot(a, b):
        return math.fsum(x * y for x, y in zip(a, b, strict=True))

    for _ in range(60):
        for p in range(n):
            for q in range(p):
                a, b = columns[p], columns[q]
                angle = math.atan2(2 * dot(a, b), dot(a, a) - dot(b, b)) / 2
                c, s = math.cos(angle), math.sin(angle)
                for vectors in (columns, right):
                    a, b = vectors[p], vectors[q]
                    vectors[p] = [c * x + s * y for x, y in zip(a, b, strict=True)]
                    vectors[q] = [c * y - s * x for x, y in zip(a, b, strict=True)]
    lengths = [math.sqrt(dot(a, a)) for a in columns]
    triples = [(s, [x / s for x in a], v) for s, a, v in zip(lengths, columns, right, strict=True)]
    return sorted(triples, reverse=True)


def mimetic(tensor, part, heads=1, alpha=None, beta=None):
    """To a tolerance: singular vectors of each head, times the roots of their values."""
    batch, out, in_ = matrices_of(tensor)
    first = part in ("query", "key")
    alpha = (0.7 if first else 0.4) if alpha is None else alpha
    beta = (0.7 if first else -0.4) if beta is None else beta
    width, d = (in_ // heads, out) if part == "out" else (out // heads, in_)
    stream = "query key" if first else "value out"
    line = Tensor((batch * heads * d * d,), None, 1, False, "float64", fold(tensor.key, stream))
    signs = replace(line, key=fold(tensor.key, f"{stream} signs"))
    z, g = normal(line), normal(signs)
    numbers = {}
    for k in range(batch * heads):
        matrix = [
            [alpha / math.sqrt(d) * z(((k * d + r) * d + c,)) + beta * (r == c) for c in range(d)] for r in range(d)
        ]
        for i, (value, left, right) in enumerate(singular_triples(matrix)[:width]):
            sign = math.copysign(1, sum(x * g(((k * width + i) * d + j,)) for j, x in enumerate(left)))
            for j, x in enumerate(left if part in ("query", "value") else right):
                row = k % heads * width + i
                place = j * in_ + row if part == "out" else row * in_ + j
                numbers[k // heads * out * in_ + place] = sign * math.sqrt(value) * x
    return by_number(tensor, numbers)


def lora_orthogonal(tensor, part, gain=0.1):
    """To a tolerance: every other row of a rotation, times normals."""
    batch, out, in_ = matrices_of(tensor)
    rank, n = (out, in_) if part == "A" else (in_, out)
    rotation = orthogonal(Tensor((batch, rank, rank), "boi", 1, False, "float64", fold(tensor.key, "rotation")))
    normals = normal(Tensor((batch, rank // 2, n), None, 1, False, "float64", fold(tensor.key, part)))
    numbers = {}
    for b in range(batch):
        for r in range(rank):
            for j in range(n):
                x = sum(rotation((b, 2 * m + (part == "B"), r)) * normals((b, m, j)) for m in range(rank // 2))
                numbers[b * out * in_ + (r * in_ + j if part == "A" else j * in_ + r)] = gain * x
    return by_number(tensor, numbers)


def bilinear(tensor):
    plain(tensor, range(3, 6))
    out, in_, *sizes = tensor.canonical
    if out % tensor.groups or out // tensor.groups != in_:
        raise Refused("channels")

    def tent(p, size):
        """1 - |p - centre| / f, as a fraction."""
        f = (size + 1) // 2
        centre = f - 1 if size % 2 else f - Fraction(1, 2)
        return 1 - abs(p - centre) / Fraction(f)

    def value(o, i, *places):
        if o % in_ != i:
            return 0.0
        return float(math.prod(tent(p, size) for p, size in zip(places, sizes, strict=True)))

    return formula(tensor, value, reach=1.0)


def zero_hadamard(tensor):
    plain(tensor, range(2, 99))
    if tensor.groups != 1:
        raise Refused("groups")
    out, in_ = tensor.canonical[:2]
    if out <= in_:
        return identity(tensor)
    power = (out - 1).bit_length()
    size = math.ldexp(math.sqrt(0.5) if power % 2 else 1.0, -(power // 2))
    return centre(tensor, lambda inner: formula(inner, lambda o, i: -size if (o & i).bit_count() % 2 else size), 0)


# Formulas of the position.


def formula(tensor, value, is_complex=False, reach=0.0):
    """Elements as a function of canonical coordinates, rounded as samples are."""
    formats(tensor.dtype)
    if is_complex and tensor.dtype not in PARTS:
        raise Refused("complex")
    rounded(reach, tensor.dtype)

    def element(*at):
        x = complex(value(*at))
        real, imaginary = (rounded(part, tensor.dtype) for part in (x.real, x.imag))
        return complex(real, imaginary) if tensor.dtype in PARTS else real

    return by_canonical(tensor, element)


def hippo_legs(tensor):
    if len(tensor.shape) != 2 if tensor.roles is None else sorted(tensor.roles.replace("b", "")) != ["i", "o"]:
        raise Refused("shape")
    size = tensor.canonical[-1]
    if tensor.canonical[-2] != size:
        raise Refused("square")

    def value(*at):
        n, k = at[-2:]
        return -math.sqrt((2 * n + 1) * (2 * k + 1)) if n > k else -(n + 1) if n == k else 0

    return formula(tensor, value, reach=math.sqrt((2 * size + 1) * (2 * size - 1)) if size else 0.0)


def s4d(tensor, variant="lin"):
    if not tensor.shape:
        raise Refused("rank")
    count = tensor.canonical[-1]
    if not count:
        return zeros(tensor)
    if variant == "real":
        return formula(tensor, lambda *at: -(at[-1] + 1), reach=float(count))
    if variant == "lin":
        return formula(tensor, lambda *at: complex(-0.5, math.pi * at[-1]), True, math.pi * count)

    def inverse(*at):
        return complex(-0.5, 2.0 * count / math.pi * (2.0 * count / (2.0 * at[-1] + 1) - 1))

    return formula(tensor, inverse, True, 4 / math.pi * count * count)


def mamba_a_log(tensor):
    """To a tolerance."""
    if not tensor.shape:
        raise Refused("rank")
    return formula(tensor, lambda *at: math.log(at[-1] + 1))


def linspace(tensor, start=0.0, end=1.0, power=1.0, endpoint=True, zigzag=0.0, period=64):
    """To a tolerance, because of powers."""
    if not tensor.shape:
        raise Refused("rank")
    steps = tensor.canonical[-1] - bool(endpoint)
    if zigzag and period < 2:
        raise Refused("period")
    if steps < 1 and not zigzag:
        return constant(tensor, float(start))

    def value(*at):
        level = start + (end - start) * (at[-1] / steps) ** power if steps > 0 else start
        if not zigzag:
            return level
        s = (2 * (at[-1] % period) - (period - 1)) / (period - 1)
        return level + zigzag * s * abs(s)

    return formula(tensor, value, reach=max(abs(start), abs(end)) + abs(zigzag))


def sinusoidal(tensor, base=10000.0, interleaved=True):
    """To a tolerance."""
    plain(tensor, (2,))
    positions, features = tensor.canonical
    if base <= 1 or (not interleaved and features % 2) or positions > 2**32:
        raise Refused("features")

    def value(position, feature):
        pair, odd = divmod(feature, 2) if interleaved else divmod(feature, features // 2)[::-1]
        with mpmath.workdps(50):
            angle = position / mpmath.mpf(base) ** (mpmath.mpf(2 * pair) / features)
            return float(mpmath.cos(angle) if odd else mpmath.sin(angle))

    return formula(tensor, value)


# Tensors that are several in one, along the first axis out.


def blocks_of(tensor):
    if not tensor.shape:
        raise Refused("rank")
    return 0 if tensor.roles is None else tensor.roles.index("o")


def resized(tensor, axis, size, key=None):
    shape = (*tensor.shape[:axis], size, *tensor.shape[axis + 1 :])
    return replace(tensor, shape=shape, key=tensor.key if key is None else key)


def packed(tensor, initializer, blocks=1, order=None, shared=False):
    """Initializers are pairs (name, arguments)."""
    axis = blocks_of(tensor)
    n = tensor.shape[axis]
    if isinstance(blocks, int):
        if n % blocks:
            raise Refused("blocks")
        blocks = [n // blocks] * blocks
    if sum(blocks) != n:
        raise Refused("blocks")
    order = list(range(len(blocks))) if order is None else list(order)
    if sorted(order) != list(range(len(blocks))):
        raise Refused("order")
    each = initializer if isinstance(initializer, list) else [initializer] * len(blocks)
    values, starts = [], []
    for number, ((name, arguments), size) in enumerate(zip(each, blocks, strict=True)):
        block = resized(tensor, axis, size, tensor.key if shared else fold(tensor.key, order[number]))
        values.append(INITIALIZERS[name](block, **arguments))
        starts.append(sum(blocks[:number]))

    def value(at):
        number = max(k for k, start in enumerate(starts) if start <= at[axis] and blocks[k])
        return values[number]((*at[:axis], at[axis] - starts[number], *at[axis + 1 :]))

    return value


def icnr(tensor, initializer=("kaiming_normal", {}), scale=2):
    axis = blocks_of(tensor)
    spatial = (tensor.roles or "oi" + "s" * (len(tensor.shape) - 2)).count("s")
    copies = scale**spatial
    if not spatial or tensor.shape[axis] % copies:
        raise Refused("scale")
    name, arguments = initializer
    base = INITIALIZERS[name](resized(tensor, axis, tensor.shape[axis] // copies), **arguments)
    return lambda at: base((*at[:axis], at[axis] // copies, *at[axis + 1 :]))


def lstm_bias(tensor, forget=1.0, gates="ifgo"):
    axis = blocks_of(tensor)
    if tensor.shape[axis] % 4:
        raise Refused("gates")
    width = tensor.shape[axis] // 4
    inside, outside = constant(tensor, forget)(()), zeros(tensor)(())
    return lambda at: inside if gates[at[axis] // width] == "f" else outside


def bits(tensor):
    """The words themselves."""
    return lambda at: word(tensor.number(at), tensor.key)


INITIALIZERS = {
    scheme.__name__: scheme
    for scheme in (
        bilinear,
        bits,
        constant,
        delta_orthogonal,
        dirac,
        eye,
        hippo_legs,
        icnr,
        identity,
        kaiming_normal,
        kaiming_uniform,
        lecun_normal,
        lecun_uniform,
        linspace,
        lora_orthogonal,
        lstm_bias,
        mamba_a_log,
        mimetic,
        normal,
        ones,
        orthogonal,
        packed,
        prior_bias,
        s4d,
        sinusoidal,
        scaled_truncated_normal,
        siren,
        small_normal,
        sparse,
        spectral_orthogonal,
        trunc_normal,
        truncated_normal,
        uniform,
        variance_scaling,
        wang_normal,
        xavier_normal,
        xavier_uniform,
        zero_hadamard,
        zeros,
    )
}
CLOSE = {
    "orthogonal",
    "delta_orthogonal",
    "spectral_orthogonal",
    "mimetic",
    "lora_orthogonal",
    "linspace",
    "mamba_a_log",
    "sinusoidal",
}  # agree to a tolerance, not to the bit
