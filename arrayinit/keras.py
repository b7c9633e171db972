"""keras.initializers on arrayinit's stream: its names, parameters, defaults and formulas; and all other initializers.

    >>> from arrayinit.keras import HeNormal
    >>> np.asarray(HeNormal(seed=0, name="fc.weight")((2, 3)))
    array([[-2.0542226 ,  0.5660598 , -1.5856138 ],
           [ 0.28145465,  1.3005464 ,  1.6001883 ]], dtype=float32)

In the layers of a model:

    import arrayinit.keras as initializers

    keras.layers.Dense(128, kernel_initializer=initializers.HeNormal(seed=0, name="fc.weight"))
    keras.layers.Dense(128, kernel_initializer=initializers.initializer("kaiming_normal"))  # torch's formula
    keras.layers.Dense(128, kernel_initializer="arrayinit>HeNormal")

Each class is a keras.initializers.Initializer: it is saved with a model and loaded with it, cloned, and called on any
backend of Keras. Values are the same on all of them: those that `arrayinit` draws for NumPy from that seed and name.

**Loading needs `import arrayinit.keras` first**: Keras finds other packages' classes by their registration alone, and
imports no other packages. Without the import keras.saving.load_model, from_config and keras.initializers.get raise a
TypeError that shows the config of the initializer, whose entry "requires" says so. Keras never loads its initializer of
the same name instead, except constants, which are equal. A name such as "arrayinit>HeNormal" is then a ValueError.

Seeds are an integer in [0, 2**64), an `arrayinit.Key` (saved as its integer), a keras.random.SeedGenerator, or None.
An integer gives the same values at each call, as in Keras: one initializer that serves several weights, and the
copies of it that MultiHeadAttention makes for its projections, draw equal values into equal shapes. With None each
call takes the next key of `arrayinit.manual_seed` and `arrayinit.seeded`, where Keras would choose one number for good.
Where neither was called but keras.utils.set_random_seed was, each call takes 64 bits of Python's `random`, which that
function seeds, so that a program is as reproducible as with Keras's own initializers. Calls with a SeedGenerator(n)
draw the same as calls with None within `arrayinit.seeded(n)`; a copy starts the generator anew. `name` is folded in.

All names of keras.initializers are here: the lower-case ones; `get`, `serialize` and `deserialize`, for which a name
without a module means a class of this module; and STFT, which is Keras's own, since it draws nothing.

Give these classes to a layer. A function of `arrayinit` or a spec in their place is a TypeError that says what to
write, since Keras calls it with a shape that is not (out, in). One with a layout works:
functools.partial(arrayinit.normal, seed=0, layout="io").

Axes are Keras's, in_axis=-2 and out_axis=-1, and elements are numbered in the logical order (batch, out, in, spatial),
so that kernels are transposes of torch's weights for the same seed and name: of Dense and Conv, of a transposed
convolution (h, w, out, in), and of EinsumDense and MultiHeadAttention, whose layers tell the initializers derived from
VarianceScaling which axes are which. A depthwise kernel (h, w, in, multiplier) is that of torch with
`initializer(arrayinit.spec(..., in_axis=(), out_axis=(-2, -1), groups=channels))`, an Embedding (tokens, features) with
`layout="oi"`. The classes with Keras's names keep to its fans there: those of a plain convolution.
"""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from arrayinit.common.extras import missing_library

try:
    import keras
except ModuleNotFoundError as error:
    if error.name != "tensorflow":
        raise missing_library("arrayinit.keras", "Keras", "keras", error) from error
    raise ImportError(
        "Keras is set to TensorFlow, which is not installed and which arrayinit does not support: set "
        "KERAS_BACKEND=jax, torch or numpy before Keras is imported"
    ) from error
from keras.initializers import STFT
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.utils.rng_utils import get_random_seed

from arrayinit import seeds
from arrayinit.common.arguments import finite, nonnegative, one_of, real, scalar
from arrayinit.common.calls import hinting
from arrayinit.common.integers import as_integer, as_integers
from arrayinit.common.messages import no_attribute, shown
from arrayinit.key import Key
from arrayinit.laws.geometry import check_shape
from arrayinit.models.keras import init_model_
from arrayinit.seeds import Deferred
from arrayinit.specs import Spec, spec
from arrayinit.stream.philox import MASK

__all__ = [
    "STFT",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "init_model_",
    "initializer",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "stft",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


if not TYPE_CHECKING:  # checkers would take it for any name

    def __getattr__(name: str) -> Any:
        raise no_attribute("arrayinit.keras", name, __all__)


_AXES = ("layout", "in_axis", "out_axis")
_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = {  # Keras's names -> ours
    "truncated_normal": "truncated_normal",
    "untruncated_normal": "normal",
    "uniform": "uniform",
}

# In the config of each random initializer. Keras's classes refuse this entry, so Keras never loads one of them in place
# of its namesake here, and its error shows the import that is missing.
_REQUIRES = {"requires": "import arrayinit.keras"}

_saved = keras.saving.register_keras_serializable(package="arrayinit")


@_saved
class Initializer(keras.initializers.Initializer):  # type: ignore[misc] # Keras has no types
    """Any initializer of arrayinit as Keras takes it; :func:`initializer` makes one from a name.

    Derive classes for your formulas from keras.initializers.Initializer, which takes no spec.

        >>> from arrayinit.keras import Initializer
        >>> np.asarray(Initializer(ai.spec("kaiming_normal", nonlinearity="relu"), seed=0)((2, 3)))
        array([[-0.84332544,  0.33753613,  0.03479751],
               [-0.1503098 ,  0.5165335 , -0.91138774]], dtype=float32)

    Args:
        spec: the initializer and its parameters. Axes that it leaves open are Keras's: in_axis=-2, out_axis=-1.
        seed: an integer in [0, 2**64), an arrayinit.Key, a keras.random.SeedGenerator, or None for the next key of
            arrayinit's own sequence at each call.
        name: folded into the key.

    Raises:
        TypeError: a spec, a seed or a name of another kind. ValueError: an integer outside [0, 2**64).
    """

    @hinting
    def __init__(self, spec: Spec, seed: Any = None, name: str | int | None = None) -> None:
        if not isinstance(spec, Spec):
            raise TypeError(f"`spec` must be an arrayinit.Spec; got {shown(spec)}")
        if name is not None:
            Key(0).fold(name)  # raises for other kinds
        self.spec = spec
        self.seed = _seed(seed)
        self.name = name

    def spec_for(self, shape: Sequence[int]) -> Spec:
        """The spec with its axes for a shape, for :func:`arrayinit.describe`.

        >>> from arrayinit.keras import Initializer
        >>> Initializer(ai.spec("xavier_normal")).spec_for((2, 3))
        spec('xavier_normal', in_axis=-2, out_axis=-1)
        """
        parameters = self.spec.parameters
        if len(shape) < 2 or any(parameters.get(axes) is not None for axes in _AXES):
            return self.spec
        return _with(self.spec, in_axis=-2, out_axis=-1)

    def __call__(self, shape: Sequence[int], dtype: Any = None, layout: Any = None) -> Any:
        """A new tensor of Keras's backend, on the device of keras.device; also within a JAX trace.

        Args:
            shape: of the whole tensor.
            dtype: a name, or a dtype of the backend or NumPy; keras.config.floatx() by default. Without
                jax_enable_x64 JAX has no types of 64 bits: they become those of 32, as everywhere there.
            layout: with JAX, a keras.distribution.TensorLayout or a jax.sharding.Sharding. Each device draws its part
                of the same tensor.

        Raises:
            TypeError: a dtype that can't hold the values, a layout that is none of the backend's.
            ValueError: a shape for which the scheme has no meaning; no seed inside a JAX trace.
        """
        sizes = check_shape(shape, "shape")
        dtype_name = _dtype(dtype)
        complete = self.spec_for(sizes)
        backend = keras.backend.backend()
        if backend == "jax":
            return _draw_jax(complete, sizes, dtype_name, self.seed, self.name, layout)
        if layout is not None:
            raise TypeError(
                f"`layout` may only be given with Keras's JAX backend; got {shown(layout)} with the backend {backend}"
            )
        if backend == "torch":
            x = keras.ops.empty(sizes, dtype=dtype_name)  # on Keras's device
            # Keras computes shapes on the meta device, where no key may be taken.
            return x if x.is_meta else complete.fill_(x, seed=_deferred(self.seed), name=self.name)
        host = complete(sizes, seed=_deferred(self.seed), name=self.name, xp="numpy", dtype=dtype_name)
        return keras.ops.convert_to_tensor(host, dtype=dtype_name)

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain data, for :meth:`from_config`.

        >>> from arrayinit.keras import HeNormal
        >>> HeNormal(seed=1).get_config()["seed"]
        1
        """
        return {"spec": self.spec.as_dict(), **self._seed_config(), "name": self.name, **_REQUIRES}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The initializer of a config, the inverse of :meth:`get_config`.

        >>> from arrayinit.keras import HeNormal
        >>> HeNormal.from_config(HeNormal(seed=1).get_config()).seed
        1
        """
        config = {key: value for key, value in config.items() if key != "requires"}
        if isinstance(config.get("spec"), Mapping):
            config["spec"] = Spec.from_dict(config["spec"])
        return cls(**config)

    def _seed_config(self) -> dict[str, Any]:
        seed = int(self.seed) if isinstance(self.seed, Key) else self.seed
        return {"seed": keras.saving.serialize_keras_object(seed)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec!r}, seed={self.seed!r}, name={self.name!r}>"


def initializer(spec: Spec | str, seed: Any = None, name: str | int | None = None) -> Initializer:
    """Any initializer of arrayinit for Keras, for torch's formulas and schemes that Keras doesn't have.

        >>> from arrayinit.keras import initializer
        >>> np.asarray(initializer("kaiming_normal", seed=0)((2, 3)))
        array([[-0.84332544,  0.33753613,  0.03479751],
               [-0.1503098 ,  0.5165335 , -0.91138774]], dtype=float32)

    Args:
        spec: an :class:`arrayinit.Spec`, or the name of an initializer with its defaults. A name means arrayinit's
            formula, which is torch's: `initializer("he_normal")` is not truncated, :class:`HeNormal` is.
        seed, name: as in :class:`Initializer`.

    Raises:
        TypeError, ValueError: as :func:`arrayinit.spec` and :class:`Initializer`.
    """
    return Initializer(_named(spec) if isinstance(spec, str) else spec, seed, name)


@_saved
class Zeros(Initializer):
    """Each element is 0.

    >>> from arrayinit.keras import Zeros
    >>> np.asarray(Zeros()((3,)))
    array([0., 0., 0.], dtype=float32)
    """

    @hinting
    def __init__(self) -> None:
        super().__init__(spec("zeros"))

    def get_config(self) -> dict[str, Any]:
        return {}


@_saved
class Ones(Initializer):
    """Each element is 1.

    >>> from arrayinit.keras import Ones
    >>> np.asarray(Ones()((3,)))
    array([1., 1., 1.], dtype=float32)
    """

    @hinting
    def __init__(self) -> None:
        super().__init__(spec("ones"))

    def get_config(self) -> dict[str, Any]:
        return {}


@_saved
class Constant(Initializer):
    """Each element is value, rounded to the dtype. An array as the value is left to keras.initializers.Constant.

        >>> from arrayinit.keras import Constant
        >>> np.asarray(Constant(0.5)((3,)))
        array([0.5, 0.5, 0.5], dtype=float32)

    Raises:
        TypeError: a value that is not one real number.
        ValueError: when called, a finite value that the dtype can't hold, where Keras would overflow or cut it off.
    """

    @hinting
    def __init__(self, value: Any = 0.0) -> None:
        self.value = _number(value, "value")
        super().__init__(spec("constant", val=self.value))

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


@_saved
class Identity(Initializer):
    """gain times the identity: gain where the row equals the column, else 0, for a matrix of any two sizes.

        >>> from arrayinit.keras import Identity
        >>> np.asarray(Identity(2.0)((2, 3)))
        array([[2., 0., 0.],
               [0., 2., 0.]], dtype=float32)

    Raises:
        TypeError: a gain that is not one real number.
        ValueError: one that is not finite; when called, one that the dtype can't hold, or a shape that is no matrix's.
    """

    @hinting
    def __init__(self, gain: Any = 1.0) -> None:
        self.gain = _finite(gain, "gain")
        super().__init__(spec("identity", gain=self.gain))

    def spec_for(self, shape: Sequence[int]) -> Spec:
        if len(shape) != 2:
            raise ValueError(f"`shape` must have two axes for Identity; got {tuple(shape)}")
        return super().spec_for(shape)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class _Random(Initializer):
    """The config of the classes of Keras that take a seed: the seed, and a name where there is one."""

    def get_config(self) -> dict[str, Any]:
        return self._seed_config() | ({} if self.name is None else {"name": self.name}) | _REQUIRES


@_saved
class RandomNormal(_Random):
    """N(mean, stddev^2), within 6.34 stddev.

        >>> from arrayinit.keras import RandomNormal
        >>> np.asarray(RandomNormal(stddev=0.02, seed=0)((3,)))
        array([-0.01686651, -0.0030062 ,  0.00675072], dtype=float32)

    Args:
        mean, stddev: numbers, or scalars of an array library; stddev >= 0.
        seed, name: as in :class:`Initializer`.

    Raises:
        TypeError: an argument of another kind. ValueError: a stddev that is negative, or a number that is not finite.
    """

    @hinting
    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: Any = None, *, name: str | int | None = None) -> None:
        self.mean, self.stddev = _finite(mean, "mean"), _scale(stddev, "stddev")
        super().__init__(spec("normal", mean=self.mean, std=self.stddev), seed, name)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"mean": self.mean, "stddev": self.stddev}


@_saved
class RandomUniform(_Random):
    """U[minval, maxval); the constant minval where the two are equal.

        >>> from arrayinit.keras import RandomUniform
        >>> np.asarray(RandomUniform(-1.0, 1.0, seed=0)((3,)))
        array([-0.20190705,  0.7610404 ,  0.47142556], dtype=float32)

    Args:
        minval, maxval: finite bounds: numbers, or scalars of an array library.
        seed, name: as in :class:`Initializer`.

    Raises:
        TypeError: an argument of another kind. ValueError: minval > maxval, or a bound that is not finite.
    """

    @hinting
    def __init__(
        self, minval: Any = -0.05, maxval: Any = 0.05, seed: Any = None, *, name: str | int | None = None
    ) -> None:
        self.minval, self.maxval = _finite(minval, "minval"), _finite(maxval, "maxval")
        if not self.minval <= self.maxval:
            raise ValueError(f"`minval` must not be greater than `maxval`; got {minval!r} and {maxval!r}")
        law = spec("uniform", a=self.minval, b=self.maxval)
        super().__init__(law if self.minval < self.maxval else spec("normal", mean=self.minval, std=0.0), seed, name)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"minval": self.minval, "maxval": self.maxval}


@_saved
class TruncatedNormal(_Random):
    """N(mean, stddev^2) given that it falls into [mean - 2 stddev, mean + 2 stddev], both ends in range.

    The result has a smaller standard deviation than stddev, 0.8796 of it: only :class:`VarianceScaling` makes up for
    that. Bounds are in units of stddev; those of torch's trunc_normal_ are absolute.

        >>> from arrayinit.keras import TruncatedNormal
        >>> np.asarray(TruncatedNormal(stddev=0.02, seed=0)((3,)))
        array([-0.00487874,  0.02189678,  0.01195447], dtype=float32)

    Args:
        mean, stddev: numbers, or scalars of an array library; stddev >= 0, and 0 gives the constant mean.
        seed, name: as in :class:`Initializer`.

    Raises:
        TypeError: an argument of another kind. ValueError: a stddev that is negative, or a number that is not finite.
    """

    @hinting
    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: Any = None, *, name: str | int | None = None) -> None:
        self.mean, self.stddev = _finite(mean, "mean"), _scale(stddev, "stddev")
        low, high = self.mean - 2 * self.stddev, self.mean + 2 * self.stddev
        if self.stddev and not low < high:
            raise ValueError(
                f"`stddev` must not vanish beside `mean` in float64; got {shown(stddev)} and {shown(mean)}"
            )
        law = spec("trunc_normal", mean=self.mean, std=self.stddev, a=low, b=high)
        super().__init__(law if low < high else spec("normal", mean=self.mean, std=0.0), seed, name)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"mean": self.mean, "stddev": self.stddev}


@_saved
class VarianceScaling(_Random, keras.initializers.VarianceScaling):  # type: ignore[misc] # EinsumDense looks for it
    """Mean 0 and variance scale / n, where n is fan_in, fan_out or their mean.

    fan_in = shape[-2] * receptive and fan_out = shape[-1] * receptive, receptive being the product of the other sizes;
    for one axis both are its size, for a scalar 1. With `input_axes` and `output_axes`, which EinsumDense and so
    MultiHeadAttention set, the fans are the products of those axes' sizes, and elements are numbered accordingly.

    "truncated_normal": a normal of standard deviation s truncated to [-2 s, 2 s], where s = sqrt(scale / n) /
    0.87962566103423978 makes up for the truncation. "untruncated_normal": N(0, scale / n). "uniform": U[-limit, limit)
    with limit = sqrt(3 scale / n).

        >>> from arrayinit.keras import VarianceScaling
        >>> np.asarray(VarianceScaling(2.0, "fan_avg", "uniform", seed=0)((2, 3)))
        array([[-0.31279308,  0.73032933,  1.4631858 ],
               [ 1.1789987 ,  0.32682356, -0.42729506]], dtype=float32)

    Args:
        scale: > 0.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal" ("normal" is another name for it), "untruncated_normal" or "uniform".
        input_axes, output_axes: axis numbers; unless both are given, neither counts.
        seed, name: as in :class:`Initializer`.

    Raises:
        TypeError: an argument of another kind.
        ValueError: a scale that is not positive, an unknown mode or distribution; when called, axes that the shape
            doesn't have or that are named twice.

    Source: keras.initializers.VarianceScaling, after Glorot and He.
    """

    @hinting
    def __init__(
        self,
        scale: Any = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
        *,
        name: str | int | None = None,
    ) -> None:
        self.scale = _scale(scale, "scale")
        if self.scale == 0:
            raise ValueError(f"`scale` must be positive; got {scale!r}")
        one_of(mode, "mode", _MODES)
        lower = distribution.lower() if isinstance(distribution, str) else distribution
        one_of(lower, "distribution", (*_DISTRIBUTIONS, "normal"))
        self.distribution = "truncated_normal" if lower == "normal" else lower
        self.mode = mode
        self.input_axes, self.output_axes = _axes(input_axes, "input_axes"), _axes(output_axes, "output_axes")
        law = spec("variance_scaling", scale=self.scale, mode=mode, distribution=_DISTRIBUTIONS[self.distribution])
        Initializer.__init__(self, law, seed, name)

    def spec_for(self, shape: Sequence[int]) -> Spec:
        if self.input_axes is not None and self.output_axes is not None:
            used = {axis % len(shape) for axis in (*self.input_axes, *self.output_axes)} if len(shape) else set()
            rest = tuple(axis for axis in range(len(shape)) if axis not in used)  # left out of the fans
            return _with(self.spec, in_axis=self.input_axes, out_axis=self.output_axes, batch_axis=rest)
        if len(shape) < 2:  # both fans are the number of elements
            return _with(self.spec, mode="fan_in", in_axis=tuple(range(len(shape))), out_axis=())
        return super().spec_for(shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "scale": self.scale, "mode": self.mode, "distribution": self.distribution,
            "input_axes": self.input_axes, "output_axes": self.output_axes,
        }  # fmt: skip


class _Scheme(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution are fixed by its class."""

    numbers: tuple[float, str, str]

    @hinting
    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
        *,
        name: str | int | None = None,
    ) -> None:
        super().__init__(*self.numbers, seed, input_axes, output_axes, name=name)

    def get_config(self) -> dict[str, Any]:
        fixed = ("scale", "mode", "distribution")
        return {key: value for key, value in super().get_config().items() if key not in fixed}


@_saved
class GlorotUniform(_Scheme):
    """U[-limit, limit), limit = sqrt(6 / (fan_in + fan_out)); the bits of torch's xavier_uniform_ with gain 1.

        >>> from arrayinit.keras import GlorotUniform
        >>> np.asarray(GlorotUniform(seed=0)((2, 3)))
        array([[-0.2211781 ,  0.51642084,  1.0346286 ],
               [ 0.833678  ,  0.23109916, -0.30214322]], dtype=float32)

    Args and errors: as :class:`VarianceScaling`.

    Source: Glorot and Bengio, AISTATS 2010, eq. 16.
    """

    numbers = (1.0, "fan_avg", "uniform")


@_saved
class GlorotNormal(_Scheme):
    """A normal truncated at 2.27 std with standard deviation std = sqrt(2 / (fan_in + fan_out)) after the truncation.

    torch's xavier_normal_ has the same standard deviation and is not truncated.

        >>> from arrayinit.keras import GlorotNormal
        >>> np.asarray(GlorotNormal(seed=0)((2, 3)))
        array([[-0.17539187,  0.42976642,  1.1879476 ],
               [ 0.78719515,  0.1834282 , -0.24171819]], dtype=float32)

    Args and errors: as :class:`VarianceScaling`.

    Source: Glorot and Bengio, AISTATS 2010, eq. 12.
    """

    numbers = (1.0, "fan_avg", "truncated_normal")


@_saved
class HeUniform(_Scheme):
    """U[-limit, limit), limit = sqrt(6 / fan_in); the law of torch's kaiming_uniform_ with its defaults.

        >>> from arrayinit.keras import HeUniform
        >>> np.asarray(HeUniform(seed=0)((2, 3)))
        array([[-0.3497133 ,  0.816533  ,  1.6358916 ],
               [ 1.3181607 ,  0.36539987, -0.4777304 ]], dtype=float32)

    Args and errors: as :class:`VarianceScaling`.

    Source: He et al., ICCV 2015, eq. 10.
    """

    numbers = (2.0, "fan_in", "uniform")


@_saved
class HeNormal(_Scheme):
    """A normal truncated at 2.27 std with standard deviation std = sqrt(2 / fan_in) after the truncation.

    torch's kaiming_normal_, with its defaults, has the same standard deviation and is not truncated.

        >>> from arrayinit.keras import HeNormal
        >>> np.asarray(HeNormal(seed=0)((2, 3)))
        array([[-0.2773189 ,  0.67952037,  1.8783101 ],
               [ 1.2446648 ,  0.29002544, -0.38219002]], dtype=float32)

    Args and errors: as :class:`VarianceScaling`.

    Source: He et al., ICCV 2015, eq. 10.
    """

    numbers = (2.0, "fan_in", "truncated_normal")


@_saved
class LecunUniform(_Scheme):
    """U[-limit, limit), limit = sqrt(3 / fan_in); torch has no namesake.

        >>> from arrayinit.keras import LecunUniform
        >>> np.asarray(LecunUniform(seed=0)((2, 3)))
        array([[-0.24728464,  0.57737607,  1.15675   ],
               [ 0.9320803 ,  0.25837672, -0.3378064 ]], dtype=float32)

    Args and errors: as :class:`VarianceScaling`.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6.
    """

    numbers = (1.0, "fan_in", "uniform")


@_saved
class LecunNormal(_Scheme):
    """A normal truncated at 2.27 std with standard deviation std = sqrt(1 / fan_in) after the truncation.

    torch has no namesake; arrayinit.lecun_normal has the same standard deviation and is not truncated.

        >>> from arrayinit.keras import LecunNormal
        >>> np.asarray(LecunNormal(seed=0)((2, 3)))
        array([[-0.19609407,  0.48049346,  1.3281658 ],
               [ 0.8801109 ,  0.20507896, -0.27024916]], dtype=float32)

    Args and errors: as :class:`VarianceScaling`.

    Sources: LeCun et al., Efficient BackProp, 1998, section 4.6; Klambauer et al., NeurIPS 2017 (SELU).
    """

    numbers = (1.0, "fan_in", "truncated_normal")


@_saved
class Orthogonal(_Random):
    """A kernel whose matrix (all other axes, last axis) has orthogonal rows or columns, whichever are fewer.

    They have length |gain|, and all such matrices are equally likely (Haar). torch's orthogonal_ sets axis 0 against
    the others: this is the transpose of its weight. Values agree across backends to 2e-6 in float32, not bit for bit;
    see :func:`arrayinit.orthogonal`. float16 and bfloat16 are computed in float32.

        >>> from arrayinit.keras import Orthogonal
        >>> w = np.asarray(Orthogonal(seed=0)((3, 2)))
        >>> np.allclose(w.T @ w, np.eye(2), atol=1e-5)
        True

    Args:
        gain: a finite factor.
        seed, name: as in :class:`Initializer`.

    Raises:
        TypeError: an argument of another kind.
        ValueError: a gain that is not finite; when called, a shape of fewer than two axes.

    Source: Saxe et al., ICLR 2014.
    """

    @hinting
    def __init__(self, gain: Any = 1.0, seed: Any = None, *, name: str | int | None = None) -> None:
        self.gain = _finite(gain, "gain")
        super().__init__(spec("orthogonal", gain=self.gain), seed, name)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"gain": self.gain}


# Keras's other names for these classes.
constant, identity, ones, zeros = Constant, Identity, Ones, Zeros
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
orthogonal, variance_scaling = Orthogonal, VarianceScaling
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
STFTInitializer = stft = STFT

_CLASSES: dict[str, Any] = {
    name: kind
    for name, kind in {
        **globals(),
        "normal": RandomNormal,
        "uniform": RandomUniform,
        "one": Ones,
        "zero": Zeros,
    }.items()
    if name[0] != "_" and isinstance(kind, type) and issubclass(kind, keras.initializers.Initializer)
}


def serialize(initializer: Any) -> Any:
    """The config of an initializer, as keras.initializers.serialize gives it, for :func:`deserialize`.

    >>> from arrayinit.keras import HeNormal, deserialize, serialize
    >>> deserialize(serialize(HeNormal(seed=1))).seed
    1
    """
    return keras.initializers.serialize(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """An initializer from its config, or from its name.

        >>> from arrayinit.keras import deserialize
        >>> type(deserialize("he_normal")).__name__
        'HeNormal'

    Args:
        config: what :func:`serialize` returned, of Keras's own initializers too, or {"class_name": ..., "config": ...}
            without a module, which means a class of this module.
        custom_objects: names -> other classes. These, and registered ones, come before the classes of this module.

    Raises:
        TypeError, ValueError: as keras.initializers.deserialize.
    """
    entry = {"class_name": config, "config": {}} if isinstance(config, str) else config
    if isinstance(entry, Mapping) and not entry.get("module"):
        name = entry.get("class_name")
        if name in _CLASSES and keras.saving.get_registered_object(name, custom_objects) is None:
            return _CLASSES[name].from_config(entry.get("config") or {})
    return keras.initializers.deserialize(config, custom_objects)


def get(identifier: Any) -> Any:
    """An initializer from its name, config or class, as keras.initializers.get; names mean classes of this module.

        >>> from arrayinit.keras import HeNormal, get
        >>> isinstance(get("he_normal"), HeNormal)
        True

    Args:
        identifier: a name ("glorot_uniform", "HeNormal", "arrayinit>HeNormal"), a config, an initializer or a class of
            one, a callable of shape and dtype, a tensor, an :class:`arrayinit.Spec`, or None, which is returned.

    Raises:
        ValueError: an unknown name. TypeError: as :func:`deserialize`.
    """
    if isinstance(identifier, Spec):
        return Initializer(identifier)
    return keras.initializers.get(deserialize(identifier) if isinstance(identifier, str | dict) else identifier)


_named = spec  # for functions with an argument `spec`


def _with(base: Spec, **parameters: Any) -> Spec:
    """A spec with other values for some parameters."""
    return _named(base.name, **base.parameters | parameters)


def _seed(seed: Any) -> Any:
    """A seed as an initializer keeps it; also from the config of a SeedGenerator. TypeError for other kinds."""
    if isinstance(seed, Mapping):
        seed = keras.saving.deserialize_keras_object(seed)
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    if isinstance(seed, Key):
        int(seed)  # raises for a traced key, which could neither be saved nor used after the trace
        return seed
    number = as_integer(seed) if isinstance(seed, int | np.integer) else None
    if number is None:
        raise TypeError(
            f"`seed` must be an integer, an arrayinit.Key, a keras.random.SeedGenerator or None; got {shown(seed)}"
        )
    return int(Key(number))


def _key(seed: Any) -> Key | int | None:
    """The seed of one call."""
    if isinstance(seed, keras.random.SeedGenerator):
        start, count = seed.next()
        if keras.backend.backend() == "jax":
            from arrayinit.backends import is_traced

            if is_traced(start):
                return Key.of_words(np.uint32(0), start).fold(count)
        return Key(int(start) & MASK).fold(int(count) & MASK)
    if seed is None and in_symbolic_scope():
        return 0  # Keras computes shapes and drops the values: no key is taken from the sequence
    if seed is None and get_random_seed() is not None and not seeds.is_seeded() and not _is_tracing():
        return random.getrandbits(64)
    return seed  # type: ignore[no-any-return]


def _is_tracing() -> bool:
    """Whether JAX traces, so that a key would become a constant of the program; then the draw itself raises."""
    if keras.backend.backend() != "jax":
        return False
    from arrayinit.backends.jax import is_tracing

    return is_tracing()


def _deferred(seed: Any) -> Any:
    """The seed of one call; a SeedGenerator advances only when the draw takes its key."""
    return Deferred(lambda: _key(seed)) if isinstance(seed, keras.random.SeedGenerator) else _key(seed)


def _dtype(dtype: Any) -> str:
    try:
        name: str = keras.backend.standardize_dtype(dtype)
    except Exception as error:  # a ValueError, or any error of the dtype object
        raise ValueError(f"`dtype` must be one that Keras has; got {shown(dtype)} ({error})") from None
    return name


def _draw_jax(complete: Spec, shape: tuple[int, ...], dtype: str, seed: Any, name: Any, layout: Any) -> Any:
    import jax

    from arrayinit.backends.jax import is_tracing

    if in_symbolic_scope() and is_tracing():
        return keras.ops.zeros(shape, dtype)  # Keras needs only the shape and dtype, and zeros trace fast
    canonical = jax.dtypes.canonicalize_dtype(dtype)
    return complete(shape, seed=_deferred(seed), name=name, xp="jax", dtype=canonical, device=_sharding(layout))


def _sharding(layout: Any) -> Any:
    """A JAX sharding from a layout of Keras."""
    import jax

    layout = getattr(layout, "backend_layout", layout)
    if layout is not None and not isinstance(layout, jax.sharding.Sharding):
        raise TypeError(
            f"`layout` must be a keras.distribution.TensorLayout or a jax.sharding.Sharding; got {shown(layout)}"
        )
    return layout


def _axes(axes: Any, name: str) -> Sequence[int] | None:
    numbers = None if axes is None else as_integers(axes)
    if axes is not None and numbers is None:
        raise TypeError(f"`{name}` must be a list of axis numbers or None; got {shown(axes)}")
    return None if numbers is None else list(numbers)


def _number(value: Any, name: str) -> float:
    """A Python number, also from a scalar of an array library."""
    number = scalar(value)
    if number is None:
        raise TypeError(f"`{name}` must be a real number; got {shown(value)}")
    real(number, name)
    return number  # type: ignore[no-any-return]


def _finite(value: Any, name: str) -> float:
    number = _number(value, name)
    finite(number, name)
    return number


def _scale(value: Any, name: str) -> float:
    number = _number(value, name)
    nonnegative(number, name)
    return number
