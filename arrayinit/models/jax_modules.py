"""What the modules of nnx and Equinox know of their arrays: the fields that they were made with."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, tree_flatten_with_path

from arrayinit.models.axes import Reading, expanded

__all__ = ["known_readings", "modules_within", "owner_of"]


def owner_of(tree: Any, keys: Sequence[Any]) -> tuple[Any, str]:
    """The module of nnx or Equinox that holds a leaf, and the name that it has there; (None, "") without any."""
    kinds = tuple(_module_classes())
    owner, name, node = None, "", tree
    for key in keys if kinds else ():
        if isinstance(node, kinds):
            owner, name = node, str(getattr(key, "name", getattr(key, "key", "")))
        try:
            match key:
                case GetAttrKey(name="value") if not isinstance(node, kinds):
                    break  # a variable of Flax
                case GetAttrKey(name=field):
                    node = getattr(node, field)
                case DictKey(key=place) | SequenceKey(idx=place) | FlattenedIndexKey(key=place):
                    node = node[place]
                case _:
                    return None, ""
        except (AttributeError, IndexError, KeyError, TypeError):
            break  # within a pytree of some other class
    return owner, name


def modules_within(module: Any) -> Iterator[tuple[str, Any]]:
    """(path, module) of all modules of Equinox within one, whose own path is ""; paths as `init_tree` has them."""
    kind = sys.modules["equinox"].Module

    def walk(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        yield path, node
        parts = tree_flatten_with_path(node, is_leaf=lambda each: isinstance(each, kind) and each is not node)[0]
        for keys, part in parts:
            if isinstance(part, kind):
                words = (str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", "")))) for key in keys)
                yield from walk(part, ".".join(filter(None, (path, *words))))

    return walk(module, "")


def _module_classes() -> Iterator[type]:
    for where in ("flax.nnx", "equinox"):
        kind = getattr(sys.modules.get(where), "Module", None)
        if isinstance(kind, type):
            yield kind


def known_readings(owner: Any, name: str, shape: tuple[int, ...]) -> tuple[Reading, ...]:
    """The readings of an array that the fields of its module leave; none where they say nothing.

    The fields are those of one layer, whatever stacks it: nnx.vmap, nnx.scan, eqx.filter_vmap.
    """
    kinds = {kind.__name__ for kind in type(owner).__mro__ if kind.__module__.partition(".")[0] in ("flax", "equinox")}
    inner: Sequence[int] | None = None
    reading = Reading("")
    match name:
        case "kernel":
            inner, reading = _of_flax(owner, kinds)
        case "embedding" if "Embed" in kinds:
            inner, reading = (owner.num_embeddings, owner.features), Reading("oi")
        case "weight" | "weight_ih" | "weight_hh":
            inner, reading = _of_equinox(owner, kinds, name)
    if inner is None:
        return ()
    stacked = next(expanded(shape, inner, reading.roles), "")
    if not stacked or not set(stacked) & {"o", "i", "b"}:
        return ()
    return (Reading(stacked, reading.groups, reading.transposed),)


def _of_flax(owner: Any, kinds: set[str]) -> tuple[Sequence[int] | None, Reading]:
    """The shape of a kernel of nnx in one layer, and its roles."""
    if "LinearGeneral" in kinds:
        sizes = tuple(owner.batch_axis.values()), owner.in_features, owner.out_features
        roles = "".join(role * len(part) for role, part in zip("bio", sizes, strict=True))
        return tuple(n for part in sizes for n in part), Reading(roles)
    if "Einsum" in kinds:
        roles = _of_equation(owner.einsum_str, len(owner.kernel_shape))
        return (tuple(owner.kernel_shape), Reading(roles)) if roles else (None, Reading(""))
    if kinds & {"Conv", "ConvTranspose"}:
        roles = "s" * (len(owner.kernel_shape) - 2) + "io"
        groups, transposed = getattr(owner, "feature_group_count", 1), getattr(owner, "transpose_kernel", False)
        return tuple(owner.kernel_shape), Reading(roles, int(groups), bool(transposed))
    if "Linear" in kinds:
        return (owner.in_features, owner.out_features), Reading("io")
    return None, Reading("")


def _of_equation(equation: str, rank: int) -> str:
    """The roles of the second operand: out where the result has the axis, in where not, batch where all have it."""
    first, _, rest = equation.replace(" ", "").replace("...", "").partition(",")
    kernel, arrow, out = rest.partition("->")
    if not arrow or len(kernel) != rank:
        return ""
    return "".join("i" if letter not in out else "b" if letter in first else "o" for letter in kernel)


def _of_equinox(owner: Any, kinds: set[str], name: str) -> tuple[Sequence[int] | None, Reading]:
    """The shape of a weight of Equinox in one layer, and its roles."""
    if kinds & {"Conv", "ConvTranspose"}:
        inner = (owner.out_channels, owner.in_channels // owner.groups, *owner.kernel_size)
        return inner, Reading("oi" + "s" * len(owner.kernel_size), int(owner.groups))
    if "Linear" in kinds:
        sizes = (1 if n == "scalar" else n for n in (owner.out_features, owner.in_features))
        return tuple(sizes), Reading("oi")
    for kind, gates in (("GRUCell", 3), ("LSTMCell", 4)):
        if kind in kinds:
            return (gates * owner.hidden_size, owner.input_size if name == "weight_ih" else owner.hidden_size), Reading(
                "oi"
            )
    if "Embedding" in kinds:
        return (owner.num_embeddings, owner.embedding_size), Reading("oi")
    if kinds & {"LayerNorm", "RMSNorm"}:
        return tuple(owner.shape), Reading("s" * len(owner.shape))
    return None, Reading("")
