"""JAX pytrees: the parameters of Flax, Haiku and Equinox models, drawn by rules into new arrays."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

from arrayinit.backends import backend_named, find_backend
from arrayinit.backends.jax import JaxBackend, check_place, is_tracing
from arrayinit.common.arguments import flag
from arrayinit.common.calls import hinting
from arrayinit.common.messages import shown
from arrayinit.models.axes import Leaf, described, readings_of
from arrayinit.models.fill import fill
from arrayinit.models.jax_modules import known_readings, owner_of
from arrayinit.models.mappings import check_depth
from arrayinit.models.matching import SeedNames, keyed, match, root_of
from arrayinit.models.parameters import Parameter
from arrayinit.models.plans import Match, PlanError, Planned
from arrayinit.models.selection import Only
from arrayinit.stream.formats import is_floating

__all__ = ["init_tree", "leaves_of_tree", "members_of_tree", "parameters_of_tree", "strays_of_tree"]

OF_STATISTICS = (
    "a running statistic must not be drawn at random: give it a rule of its own before, such as ('*mean', 'zeros') and "
    "('*var', 'ones'), or (path, None)"
)

OUT_FIRST = ("weight", "embedding", "embeddings")  # arrays that are (out, in) or (tokens, features)


@hinting
def init_tree(
    tree: Any,
    rules: Any,
    *,
    seed: Any,
    seed_names: SeedNames | None = None,
    only: Only = None,
    shardings: Any = None,
    dry_run: bool = False,
    progress: bool | None = None,
) -> Any:
    """Draw the arrays of a pytree by rules; returns a new pytree like `tree`.

        shapes = jax.eval_shape(model.init, jax.random.key(0), x)["params"]     # Flax linen, or Haiku: no array is made
        params = init_tree(shapes, {"*.bias": "zeros", "*": ai.spec("xavier_uniform")}, seed=0)
        model = init_tree(nnx.eval_shape(make), rules, seed=0)                  # nnx
        model = init_tree(eqx.filter_eval_shape(make), rules, seed=0)           # Equinox

    Nothing is compiled outside of `jit`; inside of it the seed may be a traced key. Paths are dotted, without the
    `.value` of Flax's boxes and the `~` of Haiku: "Dense_0.kernel", "layers.0.weight", "mlp.linear_0.w".

    Unless a spec says what the axes of an array mean, `weight` and all arrays of Equinox are (out, in, spatial),
    embeddings are (tokens, features), and all others, such as `kernel` and `w`, are (spatial, in, out). So a Flax
    kernel, an Equinox weight and a torch weight with one seed and name are the same weight.

    Arrays of three or more axes may also be stacked layers (nn.scan, nnx.vmap, eqx.filter_vmap, Haiku's layer_stack),
    or have several axes of inputs or outputs (DenseGeneral, attention). Their fans and their order are those of one
    layer, and of all axes of a side together, where that can be known:

    - by the fields of modules of nnx and Equinox, also groups (feature_group_count) and einsum_str;
    - by the bias beside a kernel, which has the axes of the stack and of the outputs, and by the names of Flax's
      attention, of convolutions and of `experts`;
    - in a subtree where all arrays start with the same size, and a norm's scale or a bias shows that it is a stack.

    Where it stays open, as in `{"wq": (512, 8, 64)}`, a rule whose law depends on it is refused, and the error lists
    what the axes may mean. Say which by `spec("lecun_normal", layout="ioo")`, or for stacked layers by
    `spec("lecun_normal", batch_axis=0)`, whose other axes are (*spatial, in, out) as JAX has them, where a direct call
    and :func:`arrayinit.init_params_` have (out, in, *spatial). Normal, uniform and constant laws of given numbers need
    nothing. The groups of a convolution are in no tree of linen or Haiku: for laws that depend on fan_out, give
    `groups` in its rule. A pytree has no shared leaves: give `nnx.state(model, nnx.Param)` of an nnx module that holds
    a layer in two places, which has it once.

    Args:
        tree: any pytree of arrays or `jax.ShapeDtypeStruct`s. Leaves that are not arrays, and JAX keys, stay as they
            are; so do concrete arrays that are not floating, such as counters, where no rule matches. The
            `nnx.state(model, nnx.Param)` of an nnx module leaves out its random streams and statistics. A mutable array
            (jax.new_ref) is replaced by a new one.
        rules: an :class:`arrayinit.Rules`, or anything `Rules()` accepts: a mapping from patterns to initializers, ...
            :func:`record` makes them of `model.init` or a constructor.
        seed: as in every initializer, or a JAX key; the key of each array is fold(seed, its path).
        seed_names: path -> name to be folded instead, as a mapping or a function.
        only: what is drawn, while all else stays as it is and needs no rule: a path or a pattern as in rules, or
            several of them.
        shardings: one sharding for all, a pytree of them like `tree` (or a prefix of it), or a function of path and
            shape. None keeps the sharding of each leaf.
        dry_run: return the plan; draw nothing and take no key. The plan has the keys of the next draw.
        progress: True shows a progress bar, False none; None shows one on terminals after a second, if rich is there.

    Raises:
        PlanError: arrays that no rule matches, or that their rule can't draw, or could draw by several meanings of the
            axes. It lists all of them; nothing is drawn.
        TypeError: a tree whose leaves are no arrays, or arrays of a library other than JAX and NumPy.
        ValueError: a PartitionSpec among `shardings` that does not fit the mesh that is set; no seed inside `jit`; a
            pattern of `only` that selects nothing.

    Warns:
        UserWarning: a rule applies to no parameter, or `seed_names` has a path that the model lacks.

    Example:
        >>> import jax
        >>> from arrayinit.jax import init_tree
        >>> shapes = {"Dense_0": {"kernel": jax.ShapeDtypeStruct((4, 3), "float32")}}
        >>> params = init_tree(shapes, {"*.kernel": "xavier_uniform"}, seed=0)
        >>> weight = ai.xavier_uniform((3, 4), seed=0, name="Dense_0.kernel")  # torch's (out, in)
        >>> bool((params["Dense_0"]["kernel"].T == weight).all())
        True
    """
    flag(dry_run, "dry_run")
    check_depth(tree, "tree")  # JAX would end in an error that leaves Python's count of calls too high
    structure = jax.tree.structure(tree)
    leaves = [(path, leaf) for path, leaf, _ in leaves_of_tree(tree)]
    if leaves and not any(_is_array(leaf) or find_backend(leaf) is not None for _, leaf in leaves):  # keys are arrays
        raise TypeError(
            f"`tree` must hold arrays; got {type(tree).__name__} without any (a record: pass its "
            f"`shapes`; Flax linen: pass jax.eval_shape(model.init, key, x); torch: use arrayinit.torch.init_module_)"
        )
    places = _places(shardings, tree, leaves)
    matches = match(parameters_of_tree(tree), rules, seed_names, only=only, runs_programs=True)
    arrays = {path: (leaf, place) for (path, leaf), place in zip(leaves, places, strict=True) if _is_array(leaf)}
    _check(matches, {path: place for path, (_, place) in arrays.items()})
    root = root_of(seed, (backend_named("jax"), None))
    if dry_run:
        return keyed(matches, root, dry_run=True)
    values: dict[str, Any] = {}

    def draw(entry: Planned) -> None:
        leaf, place = arrays[entry.path]
        if entry.program is not None:
            value = _placed(entry.values(), leaf, place)
        elif place is None:
            x = _value(leaf)
            if not hasattr(x, "at") and not isinstance(x, jax.ShapeDtypeStruct):
                x = jax.ShapeDtypeStruct(x.shape, x.dtype)  # an array of NumPy
            value = entry.new_like(x)
        else:
            value = entry.new("jax", place)
        values[entry.path] = jax.new_ref(value) if _is_ref(leaf) else value

    fill(matches, root, draw, progress=progress)
    return jax.tree_util.tree_unflatten(
        structure, [values.get(path, leaf) if _is_array(leaf) else leaf for path, leaf in leaves]
    )


def _placed(values: Any, leaf: Any, place: Any) -> Any:
    """The values of a program in the dtype of a leaf and at its place, or another one."""
    values = values.astype(leaf.dtype)
    if is_tracing(values):
        from arrayinit.engines.jax import placed  # engines are loaded by the first draw

        return placed(values, leaf, place)
    host = np.asarray(values)

    def fill(corner: tuple[int, ...], out: Any) -> None:
        out[...] = host[tuple(slice(start, start + n) for start, n in zip(corner, out.shape, strict=True))]

    backend = backend_named("jax")
    assert isinstance(backend, JaxBackend)
    return backend.place(host.shape, backend.dtype_name(host.dtype), fill, _value(leaf), place)


def _check(matches: list[Match], places: dict[str, Any]) -> None:
    """Refuse what JAX can't hold as its rule says, before a key is taken. PlanError."""
    backend = backend_named("jax")
    problems = dict.fromkeys(_statistics(matches), OF_STATISTICS)
    for each in matches:
        if each.is_drawn:
            dtype = each.parameter.dtype
            try:
                backend.dtype(dtype)
                backend.check_new(each.parameter.shape, dtype, None, places[each.path])
            except (TypeError, ValueError) as error:
                problems[each.path] = str(error)
    if problems:
        raise PlanError(problems)


def _statistics(matches: list[Match]) -> list[str]:
    """The paths of running statistics that would be drawn at random: an array `mean` beside an array `var`."""
    parts = {each.path: each.path.rpartition(".") for each in matches}
    names = {name: {parent for parent, _, last in parts.values() if last == name} for name in ("mean", "var")}
    both = names["mean"] & names["var"]
    random = [each.path for each in matches if each.is_random]
    return [path for path in random if parts[path][2] in names and parts[path][0] in both]


def parameters_of_tree(tree: Any) -> list[Parameter]:
    """The arrays of a pytree as rules see them."""
    return [parameter for parameter, _ in members_of_tree(tree)]


def members_of_tree(tree: Any) -> list[tuple[Parameter, Any]]:
    """The arrays of a pytree as rules see them, each with the array. TypeError for those of other libraries."""
    name_of = backend_named("jax").dtype_name
    result, leaves = [], []
    for path, leaf, keys, is_equinox in _keyed_leaves(tree):
        if _is_array(leaf):
            owner = find_backend(leaf)
            if owner is not None and owner.name not in ("jax", "numpy"):
                raise TypeError(f"`tree` must hold arrays of JAX or NumPy; got one of {owner.name} at {path!r}")
            shape = tuple(map(int, leaf.shape))
            dtype = name_of(leaf.dtype)
            optional = not is_floating(dtype) and not isinstance(leaf, jax.ShapeDtypeStruct)
            order = "oi" if is_equinox or path.rpartition(".")[2] in OUT_FIRST else "io"
            result.append((Parameter(path, shape, dtype, order=order, optional=optional), _value(leaf)))
            if is_floating(dtype):
                module, name = owner_of(tree, keys)
                known = () if module is None else known_readings(module, name, shape)
                leaves.append(Leaf(path, shape, order, known, type(module).__name__ if module is not None else ""))
    readings = readings_of(leaves)
    return [(replace(each, **described(readings.get(each.path, ()))), x) for each, x in result]


def leaves_of_tree(tree: Any) -> Iterator[tuple[str, Any, bool]]:
    """(path, leaf, whether it is in a module of Equinox, wherever in the tree that is) of all leaves."""
    for path, leaf, _, is_equinox in _keyed_leaves(tree):
        yield path, leaf, is_equinox


def strays_of_tree(tree: Any) -> Iterator[tuple[str, Any]]:
    """(path, leaf) of leaves that are data and no arrays: numbers, and whatever mappings and sequences hold.

    Modules of Equinox legitimately hold functions and numbers beside their arrays, and other nodes functions. Keys of
    JAX are no weights. ValueError: a tree without end.
    """
    check_depth(tree, "model")
    for path, leaf, keys, is_equinox in _keyed_leaves(tree):
        if is_equinox or _is_array(leaf) or isinstance(leaf, jax.Array):
            continue
        is_held = not keys or isinstance(keys[-1], DictKey | SequenceKey)
        if is_held or isinstance(leaf, bool | int | float | complex):
            yield path, leaf


def _keyed_leaves(tree: Any) -> Iterator[tuple[str, Any, tuple[Any, ...], bool]]:
    """As leaves_of_tree, with the keys of each leaf."""
    equinox = sys.modules.get("equinox")
    kind = () if equinox is None else equinox.Module
    for above, part in jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: isinstance(node, kind))[0]:
        if isinstance(part, kind):
            for below, leaf in jax.tree_util.tree_flatten_with_path(part)[0]:
                keys = (*above, *below)
                yield _path(keys, is_equinox=True), leaf, keys, True
        else:
            yield _path(above), part, above, False


def _is_array(leaf: Any) -> bool:
    """Whether a leaf is an array, or stands for one; one of JAX's keys is none."""
    if isinstance(leaf, np.generic) or _is_ref(leaf):
        return True
    owner = find_backend(leaf)
    if owner is None:
        return False
    return owner.name != "jax" or not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended)


def _value(leaf: Any) -> Any:
    """The array that a leaf is, or that a mutable one (jax.new_ref) has now."""
    return leaf[...] if _is_ref(leaf) else leaf


def _is_ref(leaf: Any) -> bool:
    return isinstance(leaf, getattr(jax, "Ref", ()))


def _path(keys: tuple[Any, ...], is_equinox: bool = False) -> str:
    """The keys of a leaf, dotted."""
    words: list[str] = []
    for k, key in enumerate(keys):
        match key:
            case GetAttrKey(name="value") if k == len(keys) - 1 and k and not is_equinox:  # Flax's variables and boxes
                pass
            case GetAttrKey(name=name):
                words.append(name)
            case DictKey(key=name):
                words += [word for word in str(name).split("/") if word != "~"]
            case SequenceKey(idx=place) | FlattenedIndexKey(key=place):
                words.append(str(place))
            case _:
                words.append(str(key).strip(".[]'"))
    return ".".join(words)


def _places(shardings: Any, tree: Any, leaves: list[tuple[str, Any]]) -> list[Any]:
    """The sharding of each leaf; None where it keeps its own."""
    if _is_place(shardings):
        return [check_place(shardings, "shardings")] * len(leaves)
    if callable(shardings):
        places = [shardings(path, tuple(leaf.shape)) if _is_array(leaf) else None for path, leaf in leaves]
    else:
        check_depth(shardings, "shardings")
        try:
            spread = jax.tree.map(
                lambda place, part: jax.tree.map(lambda _: _Box(place), part), shardings, tree, is_leaf=_is_place
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`shardings` must be one sharding, a pytree of them like `tree`, or a function; got "
                f"{shown(shardings)} ({error})"
            ) from None
        places = [box.place for box in jax.tree.leaves(spread)]
    for place in places:
        if not _is_place(place):
            raise TypeError(f"`shardings` must be shardings, PartitionSpecs, devices or None; got {shown(place)}")
    return [check_place(place, "shardings") for place in places]


def _is_place(x: Any) -> bool:
    return x is None or isinstance(x, jax.sharding.Sharding | jax.sharding.PartitionSpec | jax.Device)


class _Box:
    """A leaf that jax.tree doesn't take apart, None neither."""

    def __init__(self, place: Any) -> None:
        self.place = place
