"""What the axes of a model's arrays mean, by what is around them: modules, names, biases, neighbours and sizes.

The roles of an array are one letter an axis, as in a geometry: o, i, b for a stack of layers, s for spatial. Where more
than one reading fits, all of them are kept, and a rule must say which, if its law depends on that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from arrayinit.laws.geometry import Geometry

__all__ = ["Leaf", "Reading", "described", "expanded", "layout_of", "readings_of"]

BIASES = ("bias", "b")
SCALES = ("scale", "offset", "gamma", "beta")  # of norms, with one axis in a layer by itself
TABLES = ("embedding", "embeddings")
KERNEL_NAMES = ("kernel", "w", "weight")  # of a layer's one weight
KERNELS = (1, 3, 5, 7)  # sizes of square kernels that no weight of several heads or layers has at its end
SPATIAL = {1: "w", 2: "hw", 3: "dhw"}  # the letters of spatial axes in a layout


@dataclass(frozen=True)
class Reading:
    """One meaning of an array's axes."""

    roles: str
    groups: int = 1
    transposed: bool = False

    @property
    def keywords(self) -> dict[str, Any]:
        """It as keywords of an initializer."""
        roles, rest = self.roles, len(self.roles) - 2
        given: dict[str, Any] = {}
        if roles == "s" * rest + "io":
            given = {"in_axis": -2, "out_axis": -1}
        elif "o" in roles and "i" in roles:
            given = {} if roles == "oi" + "s" * rest else {"layout": layout_of(roles)}
        elif "o" in roles or "i" in roles:  # a depthwise kernel, or a scale
            given = {f"{name}_axis": _places(roles, name[0]) for name in ("in", "out", "batch")}
        elif "b" in roles:
            given = {"batch_axis": _places(roles, "b")}
        given |= {"groups": self.groups} if self.groups != 1 else {}
        return given | ({"transposed": True} if self.transposed else {})

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(fan_in, fan_out) of a shape."""
        return Geometry(shape, self.roles, self.groups, self.transposed).fans

    @property
    def words(self) -> str:
        """The meaning of each axis: "(batch, in, out)"."""
        names = {"o": "out", "i": "in", "b": "batch", "s": "kernel"}
        groups = f" of {self.groups} groups" if self.groups != 1 else ""
        return f"({', '.join(names[letter] for letter in self.roles)}){groups}"

    @property
    def text(self) -> str:
        """The keywords by which a rule says it."""
        groups = f", groups={self.groups}" if self.groups != 1 else ""
        return f"layout={layout_of(self.roles)!r}{groups}"


class Leaf(NamedTuple):
    """An array of a model.

    order: how the last two axes of a matrix lie: "io" in JAX and Keras, "oi" in torch and Equinox.
    known: what its module says of its axes: the readings that are left; none where it says nothing.
    kind: the name of the module's class.
    is_fused: whether its module, a single one, stacks the weights of several layers.
    """

    path: str
    shape: tuple[int, ...]
    order: str
    known: tuple[Reading, ...] = ()
    kind: str = ""
    is_fused: bool = False

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition(".")[2]

    @property
    def parent(self) -> str:
        """The path of what holds it."""
        return self.path.rpartition(".")[0]

    @property
    def is_convolution(self) -> bool:
        """Whether the name of the layer or of its class says so."""
        if self.name not in KERNEL_NAMES:
            return False
        return bool(re.search("conv(?!er)", f"{self.parent.rpartition('.')[2]} {self.kind}".lower()))  # no converter


def described(readings: Sequence[Reading]) -> dict[str, Any]:
    """Readings as the fields of a Parameter."""
    axes = readings[0].keywords if readings else {}
    return {"axes": axes, "readings": tuple(readings) if len(readings) > 1 else ()}


def layout_of(roles: str) -> str:
    """Roles as a layout, with letters of their own for spatial axes."""
    spatial = iter(SPATIAL.get(roles.count("s"), "s" * len(roles)))
    return "".join(next(spatial) if role == "s" else role for role in roles)


def readings_of(leaves: Iterable[Leaf]) -> dict[str, tuple[Reading, ...]]:
    """Path -> the readings that fit, the likeliest first; none for biases and other arrays whose axes have no roles.

    A kernel of more than two axes may be a convolution's, a stack of layers, or have several axes of inputs or outputs:

    - the module that owns it knows, or a layer's name does: "Conv_0", "query" in attention, "experts";
    - the bias beside it has the axes of the stack and of the outputs;
    - a subtree in which a norm's scale, a bias or a module is stacked, and all arrays start with the same size, is a
      stack of layers.
    """
    leaves = list(leaves)
    everything = {leaf.path: leaf for leaf in leaves}
    depths = _depths(leaves, everything)
    return {leaf.path: _readings(leaf, depths[leaf.path], everything) for leaf in leaves}


def _depths(leaves: Sequence[Leaf], everything: Mapping[str, Leaf]) -> dict[str, int]:
    """Path -> how many leading axes of the array number stacked layers."""
    nodes: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        words = leaf.path.split(".")
        for k in range(len(words)):
            nodes.setdefault(".".join(words[:k]), []).append(leaf)
    depths = dict.fromkeys(everything, 0)
    for inside in nodes.values():  # from the root down, so that all arrays below a node have the same depth
        while _are_stacked(inside, depths[inside[0].path], everything):
            depths |= {leaf.path: depths[leaf.path] + 1 for leaf in inside}
    return depths


def _are_stacked(inside: Sequence[Leaf], depth: int, everything: Mapping[str, Leaf]) -> bool:
    """Whether the axis at `depth` of all these arrays numbers layers."""
    if min(len(leaf.shape) for leaf in inside) <= depth or len({leaf.shape[depth] for leaf in inside}) > 1:
        return False
    if not any(len(leaf.shape) > depth + 2 for leaf in inside):
        return False
    votes = [_is_stacked(leaf, depth, everything) for leaf in inside]
    if not all(map(_is_of_experts, inside)):  # experts are a stack by themselves, and the router beside them is none
        votes = [None if vote and _is_of_experts(leaf) else vote for vote, leaf in zip(votes, inside, strict=True)]
    if False in votes or True in votes:
        return False not in votes
    # A norm's scale is (layers, features), or (features, layers) where all arrays have as many features and layers.
    has_scale = any(leaf.name in SCALES and leaf.order == "io" and len(leaf.shape) == depth + 2 for leaf in inside)
    return has_scale and len({leaf.shape[depth + 1] for leaf in inside if len(leaf.shape) > depth + 1}) > 1


def _is_stacked(leaf: Leaf, depth: int, everything: Mapping[str, Leaf]) -> bool | None:
    """Whether the axis of an array at `depth` numbers layers, by its module or its bias; None where they don't say.

    A module that stacks its own weights, as fused experts are, says nothing of the arrays beside it.
    """
    if leaf.known:
        is_stacked = all(reading.roles.startswith("b" * (depth + 1)) for reading in leaf.known)
        return None if is_stacked and leaf.is_fused else is_stacked
    bias = _bias(leaf, depth, everything)
    if bias is None or len(leaf.shape) < depth + 3:
        return None
    fitting = _beside(leaf.shape[depth:], bias, _patterns(len(leaf.shape) - depth, leaf.order))
    if leaf.is_convolution:
        fitting = [roles for roles in fitting if "s" in roles]
        return bool(fitting and all(roles[0] == "b" for roles in fitting)) or None
    stacked = {roles[0] == "b" for roles in fitting}
    return None if len(stacked) == 2 else stacked == {True}


def _readings(leaf: Leaf, depth: int, everything: Mapping[str, Leaf]) -> tuple[Reading, ...]:
    """The readings of one array within a stack of some depth."""
    if leaf.known:
        return leaf.known
    shape, above = leaf.shape[depth:], "b" * depth
    of_bias = leaf.name.endswith("_bias") and leaf.path.removesuffix("_bias") in everything
    if leaf.name in BIASES or of_bias or len(shape) < 2:
        return (Reading(above + "s" * len(shape)),) if depth else ()
    if len(shape) == 2:
        return tuple(Reading(above + roles) for roles in _of_matrix(leaf, depth, everything))
    groups = {1, shape[-1]} if "depthwise" in leaf.parent.lower() and leaf.order == "io" and shape[-2] == 1 else {1}
    transposed = _is_transposed(leaf, depth, everything)
    return tuple(
        Reading(above + roles, count, transposed)
        for roles in _roles(leaf, depth, everything)
        for count in sorted(groups)
    )


def _of_matrix(leaf: Leaf, depth: int, everything: Mapping[str, Leaf]) -> Sequence[str]:
    """The roles of a matrix. Where outputs come first, a stack may have been made by hand, (batch, in, out)."""
    if leaf.order == "io" or not depth or leaf.name in TABLES:
        return (leaf.order,)
    bias = _bias(leaf, depth, everything)
    fitting = ["oi", "io"] if bias is None else _beside(leaf.shape[depth:], bias, ("oi", "io")) or ["oi", "io"]
    return _gated(leaf, depth, everything) or fitting


def _roles(leaf: Leaf, depth: int, everything: Mapping[str, Leaf]) -> list[str]:
    """The roles that fit the axes after the first `depth` of an array, which has three or more of them."""
    shape, order = leaf.shape[depth:], leaf.order
    kernel = "s" * (len(shape) - 2) + "io" if order == "io" else "oi" + "s" * (len(shape) - 2)
    patterns = _patterns(len(shape), order)
    bias = _bias(leaf, depth, everything)
    fitting = patterns if bias is None else _beside(shape, bias, patterns)
    spatial = shape[2:] if order == "oi" else shape[:-2]
    if leaf.is_convolution and "local" in leaf.parent.rpartition(".")[2].lower():  # its bias has spatial axes, too
        return [kernel]
    if leaf.is_convolution and kernel in fitting and (bias is not None or len({1, *spatial}) <= 2):
        return [kernel]
    if leaf.is_convolution and bias is not None:
        stacked = [roles for roles in fitting if {"b", "s"} <= set(roles)]
        # The bias may show that the kernel lies as in other libraries.
        others = ["s" * (len(shape) - 2) + "io", "oi" + "s" * (len(shape) - 2), "s" * (len(shape) - 2) + "oi"]
        return stacked[:1] or _beside(shape, bias, others) or [*patterns, *others]
    is_square = len(shape) > 3 and len(set(spatial)) == 1 and spatial[0] in KERNELS
    if is_square and (order == "oi" or leaf.name in KERNEL_NAMES) and kernel in fitting:
        return [kernel]
    fitting = fitting or patterns
    if leaf.name in TABLES:
        return [roles for roles in fitting if not roles.endswith("io")]
    heads = _heads(leaf, depth, everything, fitting)
    if heads:
        return heads
    pair = _gated(leaf, depth, everything)
    if pair:
        return pair
    if _is_of_experts(leaf):
        return [roles for roles in fitting if re.fullmatch("b+(oi|io)", roles)] or fitting
    # The names of one layer's weight speak for a kernel, others for a stack.
    likely = [kernel] if leaf.name in ("kernel", "w", "weight") else [roles for roles in fitting if roles[0] == "b"]
    return sorted(fitting, key=lambda roles: roles not in likely)


def _patterns(rank: int, order: str) -> list[str]:
    """All roles of a weight: kernels and matrices, stacked or not, and where inputs come first, several axes a side.

    The likelier ones come first: one kernel, stacks, several axes without a stack.
    """
    patterns = []
    for stacked in range(rank - 1):
        rest = rank - stacked
        if order == "oi":
            inner = ["oi" + "s" * (rest - 2), *(["io"] if rest == 2 else [])]
        else:
            inner = ["s" * (rest - 2) + "io"] if rest > 2 else []
            inner += ["i" * n + "o" * (rest - n) for n in range(rest - 1, 0, -1)]
        patterns += ["b" * stacked + roles for roles in inner]
    return sorted(patterns, key=lambda roles: (roles != patterns[0], roles[0] != "b"))


def _beside(shape: tuple[int, ...], bias: tuple[int, ...], patterns: Iterable[str]) -> list[str]:
    """The roles that a bias allows: it has the axes of the stack and of the outputs, and perhaps axes of size 1."""
    fitting = []
    for roles in patterns:
        sizes = tuple(n for n, role in zip(shape, roles, strict=True) if role in "bo")
        if bias == sizes or (bias[: len(sizes)] == sizes and set(bias[len(sizes) :]) == {1}):
            fitting.append(roles)
    return fitting


def _bias(leaf: Leaf, depth: int, everything: Mapping[str, Leaf]) -> tuple[int, ...] | None:
    """The shape of the bias beside a weight, without the axes of the stack."""
    name = leaf.name
    names = [f"{name}_bias", f"{name}_b"]
    names += ["bias"] if name in ("kernel", "weight") else ["b"] if name == "w" else []
    names += ["b" + name[1:]] if name[:1] == "w" and name != "weight" else []
    above = f"{leaf.parent}." if leaf.parent else ""
    bias = next((everything[above + each] for each in names if above + each in everything), None)
    return None if bias is None or len(bias.shape) <= depth else bias.shape[depth:]


def _is_transposed(leaf: Leaf, depth: int, everything: Mapping[str, Leaf]) -> bool:
    """Whether a transposed convolution stores its kernel as (spatial, out, in): Haiku does, and Flax by an option."""
    if leaf.order != "io" or not leaf.is_convolution or "transpose" not in leaf.parent.rpartition(".")[2].lower():
        return False
    bias = _bias(leaf, depth, everything)
    return leaf.name == "w" or (bias is not None and bias == leaf.shape[-2:-1] != leaf.shape[-1:])


def _heads(leaf: Leaf, depth: int, everything: Mapping[str, Leaf], fitting: Sequence[str]) -> list[str]:
    """The roles of a kernel of Flax's attention: (in, heads, size), or (heads, size, out) in the layer `out`.

    Where no other layer confirms that this is attention, it may be any layer with these names: then follow the other
    readings that are no convolution.
    """
    above, _, layer = leaf.parent.rpartition(".")
    if leaf.name != "kernel" or layer not in ("query", "key", "value", "out"):
        return []
    last, first = "b*(iio|io)", "b*(ioo|io)"  # of out, and of the others
    possible = [roles for roles in fitting if re.fullmatch(last if layer == "out" else first, roles)]
    query, out = (everything.get(".".join(filter(None, (above, name, "kernel")))) for name in ("query", "out"))
    open_ = [*possible, *(roles for roles in fitting if possible and roles not in possible and "s" not in roles)]
    if query is None or out is None or len(possible) < 2:
        return open_
    # What comes out of the query goes into out. Keys and values lie as the query does, with fewer heads perhaps.
    agreed = set()
    for roles in (each for each in _patterns(len(query.shape) - depth, "io") if re.fullmatch(first, each)):
        for others in (each for each in _patterns(len(out.shape) - depth, "io") if re.fullmatch(last, each)):
            above_it, below_it = _by_role(query.shape[depth:], roles), _by_role(out.shape[depth:], others)
            if above_it["b"] == below_it["b"] and above_it["o"] == below_it["i"]:
                agreed.add(others if layer == "out" else roles)
    return [roles for roles in possible if roles in agreed] or open_


def _gated(leaf: Leaf, depth: int, everything: Mapping[str, Leaf]) -> list[str]:
    """The roles of fused experts: gate_up_proj has two outputs for each input of down_proj, which leads back."""
    above = f"{leaf.parent}." if leaf.parent else ""
    up, down = everything.get(f"{above}gate_up_proj"), everything.get(f"{above}down_proj")
    if up is None or down is None or leaf.name not in ("gate_up_proj", "down_proj"):
        return []
    if len(up.shape) != len(leaf.shape) or len(down.shape) != len(leaf.shape):
        return []
    (a, b), (c, d) = up.shape[-2:], down.shape[-2:]
    stack = "b" * (len(leaf.shape) - depth - 2)
    return [stack + roles for roles, fits in (("oi", (c, 2 * d) == (b, a)), ("io", (d, 2 * c) == (a, b))) if fits]


def _is_of_experts(leaf: Leaf) -> bool:
    """Whether a name says that the first axis numbers experts, which is not so in a list of them ("experts.0")."""
    return bool(re.search(r"experts?(?![._]?\d)(?![a-z])", f"{leaf.path} {leaf.kind}".lower()))


def _by_role(shape: tuple[int, ...], roles: str) -> dict[str, tuple[int, ...]]:
    return {role: tuple(n for n, one in zip(shape, roles, strict=True) if one == role) for role in "bio"}


def _places(roles: str, letter: str) -> tuple[int, ...]:
    return tuple(axis for axis, role in enumerate(roles) if role == letter)


def expanded(shape: tuple[int, ...], inner: Sequence[int], roles: str) -> Iterator[str]:
    """The roles of an array that stacks layers whose weights have the shape `inner`: leading axes are tried first."""
    more = len(shape) - len(inner)
    if more >= 0 and shape[more:] == tuple(inner):
        yield "b" * more + roles
    elif more == 1:
        for axis in range(1, len(shape)):
            if shape[:axis] + shape[axis + 1 :] == tuple(inner):
                yield roles[:axis] + "b" + roles[axis:]
