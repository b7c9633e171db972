"""jax.nn.initializers on arrayinit's stream: its names, parameters, defaults and formulas, for Flax, Haiku and Equinox.

    >>> import jax
    >>> from arrayinit.jax import he_normal
    >>> he_normal()(jax.random.key(0), (2, 3))
    Array([[-0.2773189 ,  0.67952037,  1.8783101 ],
           [ 1.2446648 ,  0.29002544, -0.38219002]], dtype=float32)

In the layers of Flax and Haiku:

    from arrayinit.jax import he_normal, initializer

    nn.Dense(128, kernel_init=he_normal())
    nn.Dense(128, kernel_init=initializer(arrayinit.spec("kaiming_normal", nonlinearity="tanh")))  # torch's formula
    hk.Linear(128, w_init=he_normal())  # Haiku calls with shape and dtype: the key is hk.next_rng_key()

Axes are JAX's, in_axis=-2 and out_axis=-1, and elements are numbered in the logical order (batch, out, in, spatial).
So an (in, out) kernel is the transpose of the (out, in) weight of torch for the same seed, and an HWIO kernel that of
an OIHW one. Elements of shapes of fewer than two axes are numbered as they lie.

Other differences from jax.nn.initializers: values are the same eagerly, under `jit` and `vmap`, on any number of
devices and in any other library; an integer may be the key; parameters are numbers, not traced values; `dtype=None` in
a call means the dtype of the initializer; out_sharding may have axes of type Auto, and orthogonal and delta_orthogonal
take one. As in JAX, arrays lie on the whole mesh that jax.set_mesh sets.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arrayinit.common.extras import missing_library

try:
    import jax
except ModuleNotFoundError as error:
    raise missing_library("arrayinit.jax", "JAX", "jax", error) from error
import jax.numpy as jnp

from arrayinit.backends import backend_named
from arrayinit.backends.base import no_dtype
from arrayinit.backends.jax import check_place
from arrayinit.common.arguments import finite, nonnegative, one_of, real, scalar
from arrayinit.common.integers import as_integer
from arrayinit.common.messages import no_attribute, shown
from arrayinit.laws import is_random
from arrayinit.laws.geometry import Axes, axis_numbers, check_shape
from arrayinit.models.jax import init_tree
from arrayinit.models.jax_records import JaxRecord, record
from arrayinit.models.jax_scaling import lsuv, unit_output
from arrayinit.specs import Spec, law_of, spec

__all__ = [
    "Initializer",
    "JaxRecord",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "init_tree",
    "initializer",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "lsuv",
    "normal",
    "ones",
    "orthogonal",
    "record",
    "truncated_normal",
    "uniform",
    "unit_output",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

if not TYPE_CHECKING:  # checkers would take it for any name

    def __getattr__(name: str) -> Any:
        raise no_attribute("arrayinit.jax", name, __all__)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


@dataclass(frozen=True)
class Initializer:
    """A spec with JAX's signature; the functions of this module return these. Frozen, hashable and picklable.

    >>> from arrayinit.jax import Initializer
    >>> Initializer(ai.spec("kaiming_normal", nonlinearity="relu"))(0, (2, 3))
    Array([[-0.84332544,  0.33753613,  0.03479751],
           [-0.1503098 ,  0.5165335 , -0.91138774]], dtype=float32)
    """

    spec: Spec
    dtype: np.dtype[Any] | None = None

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None) -> Any:
        """A new jax.Array. Outside of a trace it is drawn in host memory, inside by one fused, partitionable function.

        Where a mesh is set (jax.set_mesh) the array lies on all of it, like other results of JAX. Haiku calls
        initializers with shape and dtype alone: then the key is hk.next_rng_key(), if one is needed.

        Args:
            key: one JAX key, typed or raw, or an integer in [0, 2**64): `jax.random.key(5)` and 5 are the same key.
                Ignored, and may be None, where nothing is random.
            shape: the global shape.
            dtype: that of the initializer by default, else JAX's default float dtype. Without jax_enable_x64 floats of
                64 bits become those of 32, as everywhere in JAX, and `int` means int32; int64 and uint64 are refused.
                Each part of a complex value has half the variance.
            out_sharding: a jax.sharding.Sharding, or a PartitionSpec of the mesh that is set. It never changes a value.

        Raises:
            TypeError: no key, more than one key, or a dtype that can't hold the values.
            ValueError: a shape for which the scheme has no meaning, e.g. fans of fewer than two axes; a PartitionSpec
                without a mesh; no key from Haiku.
        """
        is_haiku = isinstance(key, tuple | list) and not isinstance(shape, tuple | list)
        if is_haiku and dtype is None and out_sharding is None:
            key, shape, dtype = None, key, shape
        sizes = check_shape(shape, "shape")
        wanted = self.dtype if dtype is None else dtype
        drawn = jnp.result_type(float) if wanted is None else _canonical(wanted)
        axes = _axes(self.spec, len(sizes))
        whole = spec(self.spec.name, **self.spec.parameters | axes)
        if key is None and 0 not in sizes and is_random(law_of(whole, sizes, drawn.name)[0]):
            if not is_haiku:
                raise TypeError(f"`key` must be a JAX key or an integer for {self.spec.name}; got None")
            key = _key_of_haiku(sizes)
        place = check_place(out_sharding, "out_sharding")
        return self.spec(sizes, seed=key, xp="jax", dtype=drawn, device=place, **axes)


def initializer(spec: Spec | str, dtype: Any = None) -> Initializer:
    """Any initializer of arrayinit with JAX's signature, for torch's formulas and schemes that JAX doesn't have.

    Axes that the spec leaves open are JAX's: in_axis=-2, out_axis=-1, batch_axis=().

        >>> from arrayinit.jax import initializer
        >>> initializer("kaiming_normal")(0, (2, 3))
        Array([[-0.84332544,  0.33753613,  0.03479751],
               [-0.1503098 ,  0.5165335 , -0.91138774]], dtype=float32)

    Args:
        spec: an :class:`arrayinit.Spec`, or the name of an initializer with its defaults. A name means arrayinit's
            formula, which is torch's: `initializer("he_normal")` is not truncated, :func:`he_normal` of this module is.
        dtype: of the arrays, unless a call gives another; JAX's default float dtype by default.

    Raises:
        TypeError, ValueError: as :func:`arrayinit.spec`.
    """
    if isinstance(spec, str):
        return _make(spec, dtype)
    if not isinstance(spec, Spec):
        raise TypeError(f"`spec` must be an arrayinit.Spec or the name of an initializer; got {shown(spec)}")
    return Initializer(spec, _dtype(dtype))


zeros = Initializer(spec("zeros"))
"""Each element is 0. Itself an initializer: `zeros(key, shape, dtype)`; the key is ignored."""

ones = Initializer(spec("ones"))
"""Each element is 1. Itself an initializer: `ones(key, shape, dtype)`; the key is ignored."""


def constant(value: Any, dtype: Any = None) -> Initializer:
    """Each element is value, rounded to the dtype. An array as the value is left to jax.nn.initializers.constant.

        >>> from arrayinit.jax import constant
        >>> constant(0.5)(None, (3,))
        Array([0.5, 0.5, 0.5], dtype=float32)

    Raises:
        TypeError: a value that is not one real number.
        ValueError: when drawn, a finite value that the dtype can't hold; JAX would overflow or cut off its fraction.
    """
    return _make("constant", dtype, val=_number(value, "value"))


def uniform(scale: Any = 1e-2, dtype: Any = None) -> Initializer:
    """U[0, scale): not centred. torch's uniform_ has two bounds, and 1 for the upper one.

        >>> import jax
        >>> from arrayinit.jax import uniform
        >>> uniform(0.1)(jax.random.key(0), (3,))
        Array([0.03990465, 0.08805202, 0.07357128], dtype=float32)

    Args:
        scale: the upper bound, >= 0, of each part of a complex value; 0 gives zeros.
        dtype: as for :func:`initializer`.

    Raises:
        ValueError: a scale that is negative or not finite. TypeError: one that is not a concrete real number.
    """
    bound = _scale(scale, "scale")
    return _make("uniform", dtype, a=0.0, b=bound) if bound else _make("zeros", dtype)


def normal(stddev: Any = 1e-2, dtype: Any = None) -> Initializer:
    """N(0, stddev^2), within 6.34 stddev. torch's normal_ has a mean, and 1 for the standard deviation.

        >>> import jax
        >>> from arrayinit.jax import normal
        >>> normal(0.02)(jax.random.key(0), (3,))
        Array([-0.01686651, -0.0030062 ,  0.00675072], dtype=float32)

    Args:
        stddev: the standard deviation, >= 0.
        dtype: as for :func:`initializer`.

    Raises:
        ValueError: a stddev that is negative or not finite. TypeError: one that is not a concrete real number.
    """
    return _make("normal", dtype, mean=0.0, std=_scale(stddev, "stddev"))


def truncated_normal(stddev: Any = 1e-2, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0) -> Initializer:
    """N(0, stddev^2) given that it falls into [lower * stddev, upper * stddev], both ends in range.

    The bounds are in units of stddev; those of torch's trunc_normal_ are absolute. The result has a smaller standard
    deviation than stddev, 0.8796 of it for [-2, 2]: only :func:`variance_scaling` makes up for that. The parts of a
    complex value are N(0, stddev^2 / 2) within the same bounds; JAX refuses complex dtypes here.

        >>> from arrayinit.jax import truncated_normal
        >>> truncated_normal(0.02)(0, (3,))
        Array([-0.00487874,  0.02189678,  0.01195447], dtype=float32)

    Args:
        stddev: of the normal before it is truncated, >= 0; 0 gives zeros.
        lower, upper: lower < upper; either may be infinite.
        dtype: as for :func:`initializer`.

    Raises:
        ValueError: a stddev that is negative or not finite, bounds that are not in order or (when drawn) with too
            little mass between them. TypeError: an argument that is not a concrete real number.
    """
    std, low, high = _scale(stddev, "stddev"), _number(lower, "lower"), _number(upper, "upper")
    if not low < high:
        raise ValueError(f"`lower` must be less than `upper`; got lower={lower!r} and upper={upper!r}")
    if not std:
        return _make("zeros", dtype)
    return _make("trunc_normal", dtype, mean=0.0, std=std, a=low * std, b=high * std)


def variance_scaling(
    scale: Any,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> Initializer:
    """Mean 0 and variance scale / fan, where fan_in = in * receptive and fan_out = out * receptive.

    receptive is the product of the sizes of all axes that are not named. "uniform": U[-bound, bound) with bound =
    sqrt(3 scale / fan). "normal": N(0, scale / fan). "truncated_normal": a normal of standard deviation s truncated to
    [-2 s, 2 s], where s = sqrt(scale / fan) / 0.87962566103423978 makes up for the truncation. The real and the
    imaginary part of a complex value are drawn alike, with half the variance each, where JAX draws from a disk. A shape
    without elements is no error. torch has no namesake; the gains of its own schemes are square roots of scale.

        >>> from arrayinit.jax import variance_scaling
        >>> variance_scaling(2.0, "fan_avg", "uniform")(0, (2, 3))
        Array([[-0.31279308,  0.73032933,  1.4631858 ],
               [ 1.1789987 ,  0.32682356, -0.42729506]], dtype=float32)

    Args:
        scale: >= 0.
        mode: "fan_in", "fan_out", "fan_avg" (arithmetic mean) or "fan_geo_avg" (geometric mean).
        distribution: "truncated_normal", "normal" or "uniform".
        in_axis, out_axis, batch_axis: axis numbers. With "fan_in" an axis may be both in and out, as in Flax's Embed,
            which sets out_axis=0 for a matrix: as in JAX, fan_in is then the product of all the other axes.
        dtype: as for :func:`initializer`.

    Raises:
        ValueError: an unknown mode or distribution, a scale that is negative or not finite; when drawn, axes that the
            shape doesn't have. TypeError: a scale that is not a concrete real number.

    Source: He et al., ICCV 2015, section 2.2; the correction: the variance of a normal truncated at 2 sigma.
    """
    mode = one_of(mode, "mode", ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"))
    distribution = one_of(distribution, "distribution", ("truncated_normal", "normal", "uniform"))
    return _make(
        "variance_scaling", dtype, scale=_scale(scale, "scale"), mode=mode, distribution=distribution,
        in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis,
    )  # fmt: skip


def glorot_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """U[-bound, bound), bound = sqrt(6 / (fan_in + fan_out)); the bits of torch's xavier_uniform_ with gain 1.

        >>> from arrayinit.jax import glorot_uniform
        >>> glorot_uniform()(0, (2, 3))
        Array([[-0.2211781 ,  0.51642084,  1.0346286 ],
               [ 0.833678  ,  0.23109916, -0.30214322]], dtype=float32)

    Args and errors: as :func:`variance_scaling`, with 1, "fan_avg" and "uniform".

    Source: Glorot and Bengio, AISTATS 2010, eq. 16.
    """
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """A normal truncated at 2.27 std with standard deviation std = sqrt(2 / (fan_in + fan_out)) after the truncation.

    torch's xavier_normal_ has the same standard deviation and is not truncated.

        >>> from arrayinit.jax import glorot_normal
        >>> glorot_normal()(0, (2, 3))
        Array([[-0.17539187,  0.42976642,  1.1879476 ],
               [ 0.78719515,  0.1834282 , -0.24171819]], dtype=float32)

    Args and errors: as :func:`variance_scaling`, with 1, "fan_avg" and "truncated_normal".

    Source: Glorot and Bengio, AISTATS 2010, eq. 12.
    """
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def lecun_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """U[-bound, bound), bound = sqrt(3 / fan_in); torch has no namesake.

        >>> from arrayinit.jax import lecun_uniform
        >>> lecun_uniform()(0, (2, 3))
        Array([[-0.24728464,  0.57737607,  1.15675   ],
               [ 0.9320803 ,  0.25837672, -0.3378064 ]], dtype=float32)

    Args and errors: as :func:`variance_scaling`, with 1, "fan_in" and "uniform".

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6.
    """
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """A normal truncated at 2.27 std with standard deviation std = sqrt(1 / fan_in) after the truncation.

    torch has no namesake; arrayinit.lecun_normal has the same standard deviation and is not truncated.

        >>> from arrayinit.jax import lecun_normal
        >>> lecun_normal()(0, (2, 3))
        Array([[-0.19609407,  0.48049346,  1.3281658 ],
               [ 0.8801109 ,  0.20507896, -0.27024916]], dtype=float32)

    Args and errors: as :func:`variance_scaling`, with 1, "fan_in" and "truncated_normal".

    Sources: LeCun et al., Efficient BackProp, 1998, section 4.6; Klambauer et al., NeurIPS 2017 (SELU).
    """
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """U[-bound, bound), bound = sqrt(6 / fan_in); the law of torch's kaiming_uniform_ with its defaults.

        >>> from arrayinit.jax import he_uniform
        >>> he_uniform()(0, (2, 3))
        Array([[-0.3497133 ,  0.816533  ,  1.6358916 ],
               [ 1.3181607 ,  0.36539987, -0.4777304 ]], dtype=float32)

    Args and errors: as :func:`variance_scaling`, with 2, "fan_in" and "uniform".

    Source: He et al., ICCV 2015, eq. 10.
    """
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """A normal truncated at 2.27 std with standard deviation std = sqrt(2 / fan_in) after the truncation.

    torch's kaiming_normal_, with its defaults, has the same standard deviation and is not truncated.

        >>> from arrayinit.jax import he_normal
        >>> he_normal()(0, (2, 3))
        Array([[-0.2773189 ,  0.67952037,  1.8783101 ],
               [ 1.2446648 ,  0.29002544, -0.38219002]], dtype=float32)

    Args and errors: as :func:`variance_scaling`, with 2, "fan_in" and "truncated_normal".

    Source: He et al., ICCV 2015, eq. 10.
    """
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal


def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """A weight whose matrix (all other axes, column_axis) has orthogonal rows or columns, whichever are fewer.

    They have length |scale|, and all such matrices are equally likely (Haar). torch's orthogonal_ sets axis 0 against
    the others: with column_axis=-1 this is the transpose of its weight. Values agree across libraries, and with `jit`,
    to 2e-6 in float32, not bit for bit; see :func:`arrayinit.orthogonal`.

        >>> from arrayinit.jax import orthogonal
        >>> w = np.asarray(orthogonal()(0, (3, 2)))
        >>> np.allclose(w.T @ w, np.eye(2), atol=1e-5)
        True

    Args:
        scale: a finite factor.
        column_axis: the axis number of the columns.
        dtype: as for :func:`initializer`.

    Raises:
        ValueError: a scale that is not finite; when drawn, a shape of fewer than two axes or without column_axis.
        TypeError: a scale that is not a concrete real number.

    Source: Saxe et al., ICLR 2014.
    """
    axis = as_integer(column_axis)
    if axis is None:
        raise TypeError(f"`column_axis` must be an axis number; got {shown(column_axis)}")
    return _make("orthogonal", dtype, gain=_finite(scale, "scale"), out_axis=axis)


def delta_orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """A kernel (*spatial, in, out) of 3 to 5 axes that is an orthogonal matrix at its centre and 0 elsewhere.

    The matrix (in, out) has orthogonal rows of length |scale|, and all such matrices are equally likely (Haar). The
    centre of k places is (k - 1) // 2; torch's dirac_ takes k // 2. Values agree as those of :func:`orthogonal` do.

        >>> from arrayinit.jax import delta_orthogonal
        >>> w = np.asarray(delta_orthogonal()(0, (3, 2, 3)))
        >>> np.allclose(w[1] @ w[1].T, np.eye(2), atol=1e-5), np.allclose(w[0], 0)
        (True, True)

    Args:
        scale: a finite factor.
        column_axis: an axis of a matrix, -2 to 1. JAX draws a square matrix along this axis and cuts it; that has no
            effect on the law, nor on the values here.
        dtype: as for :func:`initializer`.

    Raises:
        ValueError: a scale that is not finite, another column_axis; when drawn, a shape of another rank, or with more
            input than output channels. TypeError: a scale that is not a concrete real number.

    Source: Xiao et al., ICML 2018, algorithm 1.
    """
    if as_integer(column_axis) not in (-2, -1, 0, 1):
        raise ValueError(f"`column_axis` must be an axis of a matrix, -2 to 1; got {shown(column_axis)}")
    return _make("delta_orthogonal", dtype, gain=_finite(scale, "scale"))


def _key_of_haiku(shape: tuple[int, ...]) -> Any:
    """The next key of the hk.transform that runs; ValueError where there is none."""
    haiku = sys.modules.get("haiku")
    try:
        if haiku is not None:
            return haiku.next_rng_key()
        reason = "Haiku is not imported"
    except ValueError as error:  # no transform, or one without a key
        reason = str(error)
    raise ValueError(
        f"`key` must be a JAX key or an integer; got the shape {shape}, as Haiku calls initializers, and Haiku has no "
        f"key: {reason}"
    )


def _make(name: str, dtype: Any, **parameters: Any) -> Initializer:
    for argument, value in parameters.items():
        if _is_key(value):
            raise TypeError(
                f"`{argument}` must not be a JAX key; got {shown(value)}: call the name to make an initializer, "
                "as in kernel_init=arrayinit.jax.xavier_uniform(), with parentheses"
            )
    return Initializer(spec(name, **parameters), _dtype(dtype))


def _is_key(value: Any) -> bool:
    """Whether a parameter is a JAX key, typed or raw: `normal(key, ...)` was called, not `normal()(key, ...)`."""
    if not isinstance(value, jax.Array):
        return False
    is_raw = value.dtype == jnp.uint32 and value.shape == (2,)
    return is_raw or bool(jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key))


def _dtype(dtype: Any) -> np.dtype[Any] | None:
    try:
        return None if dtype is None else _canonical(int) if dtype is int else np.dtype(dtype)
    except Exception:  # np.dtype raises a TypeError for most objects, a SyntaxError for some text
        raise no_dtype("JAX", dtype if isinstance(dtype, str) else shown(dtype)) from None


def _canonical(dtype: Any) -> Any:
    """A dtype as JAX has it now: floats of 64 bits become those of 32 without jax_enable_x64."""
    canonical = jax.dtypes.canonicalize_dtype(dtype if dtype is int else _dtype(dtype))
    if dtype is not int and jnp.issubdtype(canonical, jnp.integer):
        return backend_named("jax").dtype(np.dtype(dtype).name)
    return canonical


def _axes(spec: Spec, rank: int) -> dict[str, Any]:
    """The axes that a spec leaves open, for a shape of this rank: those of JAX's kernels."""
    parameters = spec.parameters
    in_axis, out_axis = parameters.get("in_axis"), parameters.get("out_axis")
    if parameters.get("layout") is not None or (rank < 2 and in_axis is None and out_axis is None):
        return {}
    if out_axis is None:
        out_axis = -2 if _places(in_axis, rank, "in_axis") == {rank - 1} else -1
    if in_axis is None:
        in_axis = -1 if _places(out_axis, rank, "out_axis") == {rank - 2} else -2
    both = _places(in_axis, rank, "in_axis") & _places(out_axis, rank, "out_axis")
    if both and parameters.get("mode") == "fan_in":
        in_axis = tuple(_places(in_axis, rank, "in_axis") - both)
    return {"in_axis": in_axis, "out_axis": out_axis}


def _places(axes: Axes | None, rank: int, name: str) -> set[int]:
    """Axis numbers counted from the front."""
    numbers = () if axes is None else axis_numbers(axes, name)
    return {axis + rank if axis < 0 else axis for axis in numbers}


def _number(value: Any, name: str) -> float:
    """A Python number, also from a scalar of NumPy or a concrete one of JAX."""
    if isinstance(value, jax.core.Tracer):
        raise TypeError(
            f"`{name}` must be known when the function is traced, since bounds are computed in Python; got {value!r}: "
            "draw with 1 and multiply, or use jax.nn.initializers"
        )
    number = scalar(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"`{name}` must be a real number; got {shown(value)}")
    real(number, name)
    return number


def _finite(value: Any, name: str) -> float:
    number = _number(value, name)
    finite(number, name)
    return number


def _scale(value: Any, name: str) -> float:
    return nonnegative(_number(value, name), name)
