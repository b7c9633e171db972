"""The junction of a draw: check the arguments, find the law, take the key, run an engine."""

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias, TypedDict

from arrayinit import engines
from arrayinit.backends import Backend, backend_named, find_backend, is_called_by, is_compiling
from arrayinit.common.cache_keys import NotPlainError, exact
from arrayinit.common.float_environment import in_default_environment
from arrayinit.common.messages import did_you_mean, known_as, module_hint, shown, warn
from arrayinit.job import Job, Target
from arrayinit.key import Key
from arrayinit.laws import Constant, Law, Packed, is_random, parts, warns
from arrayinit.laws.fit import fit
from arrayinit.laws.geometry import Axes, Geometry, check_shape, geometry
from arrayinit.laws.lattice import Sampling
from arrayinit.laws.regions import FlatIndex, Index, flat_index, is_flat, part_of
from arrayinit.seeds import Name, resolve_for

__all__ = [
    "IN_PLACE",
    "KEYWORDS",
    "Keywords",
    "Scheme",
    "array_target",
    "draw",
    "fitted",
    "job_of",
    "needs_key",
    "perform",
    "review",
    "shape_of",
    "shape_target",
    "unknown_keyword",
    "unknown_parameter",
    "whole_job",
]  # fmt: skip

Scheme: TypeAlias = Callable[[Geometry], Law]


class Keywords(TypedDict, total=False):
    """The keywords that every initializer shares: what each takes and does, its default, and when it is refused.

    All may be given to `f`; xp, dtype, device and chunks belong to a new array, and `f_` refuses them. A function of
    your own that passes keywords on is typed by this class:

        >>> from typing import Unpack
        >>> def embedding(x, **keywords: Unpack[ai.Keywords]):
        ...     return ai.normal(x, std=0.02, **keywords)
        >>> embedding((2, 3), seed=0, dtype="float16").dtype
        dtype('float16')

    Which numbers are drawn:

    seed: an integer in [0, 2**64), an `arrayinit.Key`, a key of JAX or of torch.func._random, a
        `numpy.random.Generator` or `torch.Generator` (from which 64 bits are drawn), or None, the default: the next key
        of the sequence that `manual_seed` and `seeded` start. None and generators are refused inside a JAX trace, where
        the key would become a constant of the program; None also for a distributed tensor before `manual_seed`. Unused
        where nothing is random.
    name: a string, an integer in [0, 2**64), or a tuple of them that are folded one after another; None by default.
        It is folded into the key, so that each parameter of a model has its own stream under one seed.

    Which part of which tensor:

    shape: the global shape where the array `x` holds a part of a larger tensor: an integer, or a sequence or array of
        them; by default the shape of `x`. Refused where `x` is itself a shape, and without an index where it differs
        from the shape of `x`.
    index: the part of the global shape that `x` holds, as integers and slices: `x` is `whole[index]`. Where `x` is a
        shape, the part that is returned. None, the default, is all of it. Refused: lists and masks, indices beyond the
        shape, and an array `x` without `shape`, or of another shape than that part.
    flat: in place of `index`, a slice of the elements in row-major order, start to stop: `x` has one axis and is
        `whole.reshape(-1)[flat]`, as parts of flattened parameters are. None by default. Refused beside `index`, and
        with a step.

    What the axes mean:

    layout: one lower-case letter an axis, "oi", "io", "oihw", "hwio", ...: out, in, b for batch, any other for spatial.
        Elements are numbered in the order (batch, out, in, spatial). None by default: axis 0 is out, axis 1 is in, and
        elements are numbered as they lie. Refused unless it has a letter for each axis, an o and an i.
    in_axis, out_axis, batch_axis: in place of a layout, the numbers of the axes, each an integer or a sequence of them;
        None, None and () by default. in_axis and out_axis go together. With batch_axis alone the others are
        (out, in, spatial). Refused beside `layout`, and where an axis is named twice or does not exist.
    groups: the number of groups of a convolution, 1 by default. Refused where it doesn't divide the output axis.
    transposed: True for the weight of a transposed convolution, (in, out, spatial); False by default.

    What array is made, by `f` alone:

    xp: the library of the result where `x` is a shape: a namespace or its name, "numpy" by default. Refused where `x`
        is an array, whose library the result takes.
    dtype: the dtype of the result, as an object of the library or by name: "float32", "bfloat16". By default that of
        `x`, and float32 for a shape. Random values need a floating or complex dtype of at least 16 bits a number.
    device: the device of the result; by default that of `x`, and the library's default for a shape. In JAX also a
        sharding, or a PartitionSpec of the mesh that is set.
    chunks: the chunks of a new Dask array, in all forms that Dask takes; None by default, for Dask's own. Refused
        beside an array, and for other libraries.
    """

    seed: Any
    name: Name | None
    shape: Sequence[int] | int | None
    index: Index | None
    flat: slice | None
    layout: str | None
    in_axis: Axes | None
    out_axis: Axes | None
    batch_axis: Axes
    groups: int
    transposed: bool
    xp: str | ModuleType | Any
    dtype: Any
    device: Any
    chunks: Any


KEYWORDS = tuple(Keywords.__annotations__)
IN_PLACE = tuple(key for key in KEYWORDS if key not in ("xp", "dtype", "device", "chunks"))  # those of `f_`


def draw(
    x: Any,
    scheme: Scheme,
    _in_place: bool = False,
    *,
    seed: Any = None,
    name: Name | None = None,
    shape: Sequence[int] | int | None = None,
    index: Index | FlatIndex | None = None,
    flat: slice | None = None,
    layout: str | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes = (),
    groups: int = 1,
    transposed: bool = False,
    xp: str | ModuleType | Any = None,
    dtype: Any = None,
    device: Any = None,
    chunks: Any = None,
    **unknown: Any,
) -> Any:
    """Draw the law of a scheme into x, or into a new array like x or of shape x.

    _in_place: draw into x itself. Only `filling` passes it.
    """
    if unknown:
        raise unknown_parameter(scheme, next(iter(unknown)), IN_PLACE if _in_place else KEYWORDS)
    if flat is not None:
        if index is not None:
            raise TypeError(f"`flat` and `index` must not be given together; got {shown(flat)} and {shown(index)}")
        index = flat_index(flat)
    axes = (layout, in_axis, out_axis, batch_axis, groups, transposed)
    if is_compiling():
        from arrayinit.tracing import torch_compiled  # imported here: the compiler has been loaded by now

        return torch_compiled.draw(x, scheme, _in_place, seed, (name, shape, index, axes), (xp, dtype, device, chunks))
    backend = find_backend(x)
    if backend is not None:
        if chunks is not None:
            raise TypeError(
                f"`chunks` is for a new array made from a shape, but `x` is an array of {backend.name}; "
                f"got {shown(chunks)}"
            )
        target, dtype_name = array_target(backend, x, _in_place, xp, dtype, device)
    else:
        if _in_place:
            hint = module_hint(x) or " (for a new array of a shape, call the function without the underscore)"
            raise TypeError(f"`x` must be an array to be filled in place; got {shown(x)}{hint}")
        target, dtype_name = shape_target(xp, dtype, device, chunks)
    if target.backend.is_recorded(target.array):
        from arrayinit.tracing import torch_operator  # imported here: few processes need it

        return torch_operator.record(x, scheme, target, dtype_name, seed, (name, shape, index, axes))
    return _drawn(x, scheme, target, dtype_name, seed, (name, shape, index, axes))


@in_default_environment
def _drawn(x: Any, scheme: Scheme, target: Target, dtype: str, seed: Any, where: Any) -> Any:
    """Decide the job, and perform it."""
    name, shape, index, axes = where
    job = job_of(x, scheme, target, dtype, shape, index, axes)
    review(job, scheme, target)
    return _performed(job, target, seed, name)


@in_default_environment
def perform(job: Job, target: Target, key: Key) -> Any:
    """Draw what was decided before into a target, which must have the shape and the dtype of the job."""
    _warn_of_nothing(job)
    return _performed(job, target, key, None)


def _performed(job: Job, target: Target, seed: Any, name: Name | None) -> Any:
    """Make the array, take the key, run an engine, in this order: what fails, or draws nothing, takes no key."""
    ready = target.ready(job)
    array = ready.array if ready.in_place else None
    if not needs_key(job) or (array is not None and ready.backend.is_abstract(array)):
        return engines.run(job, ready)
    return engines.run(job.keyed(resolve_for(target.backend, target.array, seed, name)), ready)


def needs_key(job: Job) -> bool:
    """Whether anything is drawn at random."""
    return is_random(job.law) and job.size > 0


def review(job: Job, scheme: Scheme, target: Target) -> None:
    """Refuse or warn of a job before it is drawn: TypeError where Keras needs a layout, a warning of empty tensors."""
    if target.array is None:
        _refuse_keras(scheme, job)
    _warn_of_nothing(job)


def _warn_of_nothing(job: Job) -> None:
    if isinstance(job.law, _MAY_WARN) and warns(job.law):
        warn("Initializing zero-element tensors is a no-op")


def unknown_parameter(scheme: Scheme, key: str, shared: Sequence[str] = KEYWORDS) -> TypeError:
    """The error of a keyword that the initializer of a scheme does not have."""
    import inspect  # imported here: few processes need it

    function: Any = scheme.func if isinstance(scheme, partial) else scheme
    parameters = [*inspect.signature(function).parameters][1:]
    return unknown_keyword(function.__name__.removeprefix("_"), parameters, key, shared)


def unknown_keyword(name: str, parameters: Sequence[str], key: str, shared: Sequence[str] = KEYWORDS) -> TypeError:
    """The error of a keyword that an initializer with these parameters does not have."""
    known = (*parameters, *shared)
    other = known_as(key, known)
    if other is None:
        text = f"{name} has no parameter `{key}`{did_you_mean(key, known, quote='`') or ':'} it takes"
    elif other == "shape":
        text = f"{name} takes the shape of a new array as its first argument, not as `{key}`; its parameters are"
    else:
        text = f"{name} takes `{other}`, not `{key}`; its parameters are"
    takes = f"{', '.join(parameters)}, and " if parameters else ""
    return TypeError(f"{text} {takes}the keywords of all initializers: {', '.join(shared)}")


def _refuse_keras(scheme: Scheme, job: Job) -> None:
    """Refuse to be a layer's initializer without a layout: Keras's kernels are not (out, in), and it can't say so."""
    if job.geometry.roles is not None or len(job.geometry.shape) < 2 or isinstance(job.law, Constant):
        return
    if not is_called_by("keras"):
        return
    function = scheme.func if isinstance(scheme, partial) else scheme
    name = getattr(function, "__name__", "...").removeprefix("_")
    raise TypeError(
        f"`layout` must be given where Keras calls {name} itself, here for the shape {job.geometry.shape}: give the "
        f'layer arrayinit.keras.initializer("{name}"), or with parameters arrayinit.keras.initializer('
        f'arrayinit.spec("{name}", ...))'
    )


def job_of(
    x: Any,
    scheme: Scheme,
    target: Target,
    dtype: str,
    shape: Any,
    index: Index | FlatIndex | None,
    axes: tuple[Any, ...],
) -> Job:
    """The job of a draw, still without its key; TypeError or ValueError where it can't be drawn."""
    if target.array is not None:
        whole = _global_shape(x, shape, index)
    else:
        whole = shape_of(x)
        if shape is not None:
            raise TypeError(
                f"`shape` is the global shape of an array `x` that holds a part of it, but `x` is the shape {whole}; "
                f"got {shown(shape)}"
            )
    job = _job_for(scheme, whole, index, axes, dtype)
    if index is not None and target.array is not None and job.shape != tuple(x.shape):
        word = "flat" if is_flat(index) else "index"
        raise ValueError(
            f"`{word}` must select a part of the shape of `x`; got one of shape {job.shape} from {whole} for `x` of "
            f"shape {tuple(x.shape)}"
        )
    return job


def whole_job(scheme: Scheme, shape: Any, axes: tuple[Any, ...], dtype: str) -> Job:
    """The job of a whole tensor, still without its key; TypeError or ValueError where it can't be drawn."""
    return _job_for(scheme, check_shape(shape, "shape"), None, axes, dtype)


_jobs: dict[Any, Job] = {}
JOBS = 4096  # cached jobs
PIECES = 256  # jobs with more pieces are not cached
_AXES = (None, None, None, (), 1, False)  # the keywords that say what axes mean, where none does
_AXES_TYPES = tuple(map(type, _AXES))
_MAY_WARN = (Constant, Packed)


def _job_for(
    scheme: Scheme, whole: tuple[int, ...], index: Index | FlatIndex | None, axes: tuple[Any, ...], dtype: str
) -> Job:
    """The job, still without its key, remembered for the next draw of the same law, shape and dtype."""
    function, values = (scheme.func, tuple(scheme.keywords.values())) if isinstance(scheme, partial) else (scheme, ())
    try:
        key = (function, exact(values), whole, None if index is None else exact((index,)), _axes_key(axes), dtype)
    except NotPlainError:
        return _new_job(scheme, whole, index, axes, dtype)
    job = _jobs.get(key)
    if job is None:
        job = _new_job(scheme, whole, index, axes, dtype)
        if not _is_large(job.law):
            if len(_jobs) >= JOBS:
                _jobs.clear()
            _jobs[key] = job
    return job


def _is_large(law: Law) -> bool:
    """Whether a job is too large to cache."""
    return parts(law) > PIECES


def _axes_key(axes: tuple[Any, ...]) -> Any:
    if tuple(map(type, axes)) == _AXES_TYPES and axes == _AXES:
        return None
    layout, in_axis, out_axis, batch_axis, groups, transposed = axes
    batch = None if type(batch_axis) is tuple and not batch_axis else exact((batch_axis,))
    return (batch, exact((layout, in_axis, out_axis, groups, transposed)))


def _new_job(
    scheme: Scheme, whole: tuple[int, ...], index: Index | FlatIndex | None, axes: tuple[Any, ...], dtype: str
) -> Job:
    where = geometry(whole, *axes)
    part = part_of(whole, index)
    law, sampling = fitted(scheme, where, dtype)
    return Job(law, sampling, None, where, part, dtype)


def array_target(
    backend: Backend, x: Any, in_place: bool, xp: Any = None, dtype: Any = None, device: Any = None
) -> tuple[Target, str]:
    """The target of a draw into an array, or of a new array like it, and the name of its dtype."""
    backend.check_readable(x)
    if xp is not None:
        raise TypeError(
            f"`xp` is for a new array made from a shape, but `x` is an array of {backend.name}; got {shown(xp)}"
        )
    if in_place:
        backend.check_writable(x)
        for name, given in (("dtype", dtype), ("device", device)):
            if given is not None:
                raise TypeError(
                    f"`{name}` must not be given where `x` is filled in place: it has its own; got {shown(given)}"
                )
    dtype_name = backend.dtype_name(x.dtype if dtype is None else dtype)
    if not in_place:
        backend.dtype(dtype_name)
    return Target(backend, x, in_place, None if device is None else backend.check_device(device)), dtype_name


def shape_target(xp: Any, dtype: Any, device: Any, chunks: Any) -> tuple[Target, str]:
    """The target of a new array that nothing is like, and the name of its dtype."""
    backend = backend_named("numpy" if xp is None else xp)
    dtype_name = "float32" if dtype is None else backend.dtype_name(dtype)
    backend.dtype(dtype_name)
    if chunks is not None and not backend.is_chunked:
        raise TypeError(f"`chunks` is for Dask only; got {shown(chunks)} for {backend.name}")
    return Target(backend, None, in_place=False, device=backend.check_device(device), chunks=chunks), dtype_name


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape that stands in place of an array."""
    try:
        return check_shape(x, "x")
    except TypeError:
        raise TypeError(
            f"`x` must be an array of NumPy, torch, JAX, CuPy, Dask or the array API standard, or a shape (an integer "
            f"or a sequence of integers); got {shown(x)}{module_hint(x)}"
        ) from None


def _global_shape(x: Any, shape: Any, index: Any) -> tuple[int, ...]:
    sizes = x.shape
    here = tuple(map(int, sizes)) if type(sizes) is tuple else tuple(sizes)  # torch's are integers
    if shape is None:
        if index is not None:
            word, given = ("flat", slice(*index[1:])) if is_flat(index) else ("index", index)
            raise TypeError(
                f"`{word}` must come with `shape`, the global shape that it selects from, where `x` is an array; got "
                f"{shown(given)} alone"
            )
        return here
    whole = check_shape(shape, "shape")
    if index is None and whole != here:
        raise ValueError(
            f"`shape` must equal that of `x` unless `index` selects a part; got {whole} for `x` of shape {here}"
        )
    return whole


def fitted(scheme: Scheme, where: Geometry, dtype: str) -> tuple[Law, Sampling | None]:
    """The law of a scheme as a dtype can hold it, and its sampling; an error names the parameters it comes from."""
    law = scheme(where)
    try:
        return fit(law, dtype)
    except ValueError as error:
        if not isinstance(scheme, partial):
            raise
        given = ", ".join(f"`{name}` {shown(value)}" for name, value in scheme.keywords.items())
        raise ValueError(f"{error}; asked for by {scheme.func.__name__.removeprefix('_')} with {given}") from None
