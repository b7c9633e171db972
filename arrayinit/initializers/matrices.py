"""Initializers of whole matrices and kernels: identities, orthogonal and sparse ones."""

import math
from functools import partial
from typing import Any, Unpack

from arrayinit.common.arguments import finite, nonnegative
from arrayinit.draw import Keywords, draw
from arrayinit.initializers.forms import creating, filling
from arrayinit.laws import Constant, Dirac, Eye, Formula, Law, Orthogonal, Packed, Piece, Sparse
from arrayinit.laws.formulas import hadamard, upsampling
from arrayinit.laws.geometry import Geometry, check_plain
from arrayinit.laws.regions import Box


def _eye(geometry: Geometry) -> Law:
    check_plain(geometry, (2,), "eye")
    return Eye()


@creating
def eye(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """The identity: 1 where the row equals the column, else 0, for a matrix of any two sizes.

        >>> ai.eye((2, 3))
        array([[1., 0., 0.],
               [0., 1., 0.]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape that is not two-dimensional.
    """
    return draw(x, _eye, **keywords)


eye_ = filling(eye)


def _dirac(geometry: Geometry) -> Law:
    check_plain(geometry, (3, 4, 5), "dirac")
    _check_groups(geometry)
    return Dirac(geometry.groups)


@creating
def dirac(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """The identity of a convolution: w[g * out/groups + d, d, k//2, ...] = 1 for d < min(out/groups, in), else 0.

    For shapes (out, in, *kernel) of 3 to 5 dimensions (another order by `layout`), for each group g < groups.

        >>> ai.dirac((2, 2, 3))[:, :, 1]
        array([[1., 0.],
               [0., 1.]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape of another rank, or groups that do not divide out.

    Source: Zagoruyko and Komodakis, DiracNets, 2017; torch.nn.init.dirac_.
    """
    return draw(x, _dirac, **keywords)


dirac_ = filling(dirac)


def _orthogonal(geometry: Geometry, gain: float) -> Law:
    if len(geometry.shape) < 2:
        raise ValueError(f"orthogonal needs a shape of at least 2 dimensions; got {geometry.shape}")
    if geometry.roles is not None and not {"o", "i"} & set(geometry.roles):
        raise ValueError(f"orthogonal needs an output or an input axis; got none in {geometry.shape}, a stacked vector")
    return Orthogonal(finite(gain, "gain"))


@creating
def orthogonal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Orthogonal rows or columns (whichever are fewer) of length gain, uniform over all such matrices (Haar).

    The weight is seen as a matrix (out, all other axes): W W^H = gain^2 I or W^H W = gain^2 I. float16 and bfloat16 are
    computed in float32, complex matrices are unitary. With a batch axis each entry of the batch is such a matrix.

    `orthogonal` and `delta_orthogonal` need matrix products, so libraries do not agree bit for bit: for gain 1 they
    agree to 2e-6 absolute in float32 and 1e-13 in float64, for other gains in proportion; float16 and bfloat16 add one
    rounding of the dtype. A part of the tensor costs as much as the whole.

        >>> w = ai.orthogonal((2, 3), seed=0)
        >>> np.allclose(w @ w.T, np.eye(2), atol=1e-5)
        True

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        gain: a finite factor.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a gain that is not finite, a shape of fewer than 2 dimensions.

    Sources: Saxe et al., ICLR 2014; the Haar measure by Householder reflectors: Stewart 1980, Mezzadri 2007.
    """
    return draw(x, partial(_orthogonal, gain=gain), **keywords)


orthogonal_ = filling(orthogonal)


def _sparse(geometry: Geometry, sparsity: float, std: float) -> Law:
    from fractions import Fraction  # imported here: few processes need it

    check_plain(geometry, (2,), "sparse")
    fraction, scale = finite(sparsity, "sparsity"), nonnegative(std, "std")
    if not 0 <= fraction <= 1:
        raise ValueError(f"`sparsity` must be in [0, 1]; got {sparsity!r}")
    # The product with the decimal number as written, not with the nearest binary one: 0.07 of 100 rows are 7, not 8.
    zeros = math.ceil(Fraction(repr(fraction)) * geometry.canonical[0])
    return Sparse(zeros, scale) if scale else Constant(0.0)


@creating
def sparse(x: Any, sparsity: float, std: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2), with ceil(sparsity * rows) elements of each column, at random places, set to 0.

    The product is that of the decimal number as written: 0.07 of 100 rows are 7. A column holds the weights of one
    input (axis 0 is out, axis 1 is in). A part of the tensor costs as much as the whole.

        >>> ai.sparse((4, 2), sparsity=0.5, seed=0)
        array([[-0.00843325, -0.0015031 ],
               [ 0.        ,  0.        ],
               [ 0.00034798, -0.00911388],
               [ 0.        ,  0.        ]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        sparsity: the fraction of zeros, in [0, 1].
        std: the standard deviation of the others, >= 0.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape that is not two-dimensional, sparsity outside [0, 1], a negative or non-finite std.

    Source: Martens, ICML 2010, section 5.
    """
    return draw(x, partial(_sparse, sparsity=sparsity, std=std), **keywords)


sparse_ = filling(sparse)


def _identity(geometry: Geometry, gain: float) -> Law:
    check_plain(geometry, None, "identity")
    _check_groups(geometry)
    return Dirac(geometry.groups, finite(gain, "gain"))


@creating
def identity(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """gain times the identity: :func:`eye` for matrices, :func:`dirac` for kernels of any rank, and groups of either.

    w[g * out/groups + d, d, k//2, ...] = gain for d < min(out/groups, in) and each group g < groups, else 0.

        >>> ai.identity((4, 2), gain=0.5, groups=2)
        array([[0.5, 0. ],
               [0. , 0.5],
               [0.5, 0. ],
               [0. , 0.5]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        gain: a finite factor.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape of fewer than 2 dimensions, groups that do not divide out, a gain that is not finite.

    Sources: Le, Jaitly and Hinton, 2015 (IRNN); keras.initializers.Identity.
    """
    return draw(x, partial(_identity, gain=gain), **keywords)


identity_ = filling(identity)


def _delta_orthogonal(geometry: Geometry, gain: float) -> Law:
    check_plain(geometry, (3, 4, 5), "delta_orthogonal")
    factor, (out, in_, _) = finite(gain, "gain"), geometry.sizes
    if geometry.groups != 1:
        raise ValueError(f"`groups` must be 1 for delta_orthogonal; got {geometry.groups}")
    if in_ > out:
        raise ValueError(
            f"delta_orthogonal needs at least as many output channels as input channels; got {in_} in, {out} out "
            f"for the shape {geometry.shape}"
        )
    return at_centre(geometry, Orthogonal(factor), lower=True)


@creating
def delta_orthogonal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """An orthogonal matrix at the centre of a kernel, 0 elsewhere: a convolution that keeps the length of signals.

    w[:, :, c, ...] = W with W^H W = gain^2 I, uniform over all such matrices, for shapes (out, in, *kernel) of 3 to 5
    dimensions (another order by `layout`). The centre is c = (k - 1) // 2, as in JAX; for even k, :func:`dirac` and
    torch take k // 2. As for :func:`orthogonal`, libraries agree to 2e-6 in float32, not bit for bit.

        >>> w = ai.delta_orthogonal((3, 2, 3), seed=0)
        >>> np.allclose(w[:, :, 1].T @ w[:, :, 1], np.eye(2), atol=1e-5), np.allclose(w[:, :, 0], 0)
        (True, True)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        gain: a finite factor.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape of another rank, more input than output channels, groups, a gain that is not finite.

    Source: Xiao et al., ICML 2018, section 3.3 and algorithm 1; jax.nn.initializers.delta_orthogonal.
    """
    return draw(x, partial(_delta_orthogonal, gain=gain), **keywords)


delta_orthogonal_ = filling(delta_orthogonal)


def _zero_hadamard(geometry: Geometry) -> Law:
    check_plain(geometry, None, "zero_hadamard")
    if geometry.groups != 1:
        raise ValueError(f"`groups` must be 1 for zero_hadamard; got {geometry.groups}")
    out, in_, _ = geometry.sizes
    if out <= in_:
        return Dirac()
    bits = (out - 1).bit_length()
    scale = math.ldexp(math.sqrt(0.5) if bits % 2 else 1.0, -(bits // 2))
    return at_centre(geometry, Formula(hadamard, (scale,), scale), lower=False)


@creating
def zero_hadamard(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """ZerO: an identity, or part of one, where out <= in, else columns of a Hadamard matrix; at the centre of kernels.

    Where out > in, W[a, b] = 2^(-m/2) (-1)^(number of ones that a and b share in binary), m = ceil(log2(out)). Nothing
    is random, and no two outputs are alike. The centre of k places is k // 2.

    The factor keeps lengths where out is a power of two, as implementations do; the paper itself prints
    2^(-(m-1)/2), which is sqrt(2) times as much.

        >>> ai.zero_hadamard((4, 2))
        array([[ 0.5,  0.5],
               [ 0.5, -0.5],
               [ 0.5,  0.5],
               [ 0.5, -0.5]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape of fewer than 2 dimensions, groups.

    Source: Zhao, Schaefer and Anandkumar, ZerO Initialization, TMLR 2022, algorithms 1 and 2.
    """
    return draw(x, _zero_hadamard, **keywords)


zero_hadamard_ = filling(zero_hadamard)


def _spectral_orthogonal(geometry: Geometry, gain: float) -> Law:
    fan_in, fan_out = geometry.fans
    if "s" in (geometry.roles or "oi" + "s" * (len(geometry.shape) - 2)):
        raise ValueError(
            f"spectral_orthogonal needs matrices, without spatial axes; got {geometry.shape}: for a convolution, a "
            f"layout such as 'oibb' draws one at each place of the kernel, and a gain divides by their number"
        )
    if geometry.groups != 1:
        raise ValueError(f"`groups` must be 1 for spectral_orthogonal; got {geometry.groups}")
    return Orthogonal(finite(gain, "gain") * (math.sqrt(fan_out / fan_in) if fan_in else 1.0))


@creating
def spectral_orthogonal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Orthogonal, scaled so that an input of root mean square 1 gives at most one of `gain`: the modular norm's start.

        W^T W = gain^2 (out / in) I  or  W W^T = gain^2 (out / in) I,    whichever matrix is smaller

    All singular values are gain * sqrt(out / in). For shapes (out, in) or, with a layout or batch_axis, a batch of such
    matrices: layout="oibb" and gain 1/9 for a convolution of 3 x 3, as in modula. As for :func:`orthogonal`, libraries
    agree to 2e-6 times that in float32, not bit for bit.

        >>> w = ai.spectral_orthogonal((8, 2), seed=0)
        >>> np.allclose(w.T @ w, 4 * np.eye(2), atol=1e-5)
        True

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        gain: a finite factor.
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: fewer than 2 dimensions, spatial axes, groups, a gain that is not finite.

    Sources: Large et al., Scalable optimization in the modular norm, NeurIPS 2024; modula (jxbz), atom.py, Linear;
    Yang, Simon and Bernstein, A spectral condition for feature learning, 2023, condition 1.
    """
    return draw(x, partial(_spectral_orthogonal, gain=gain), **keywords)


spectral_orthogonal_ = filling(spectral_orthogonal)


def _bilinear(geometry: Geometry) -> Law:
    check_plain(geometry, (3, 4, 5), "bilinear")
    _check_groups(geometry)
    out, in_, *sizes = geometry.canonical
    if out // geometry.groups != in_:
        raise ValueError(
            f"bilinear needs as many output as input channels in each group; got {out // geometry.groups} and {in_} "
            f"for the shape {geometry.shape} and groups {geometry.groups}"
        )
    return Formula(upsampling, (in_, tuple(sizes)), 1.0)


@creating
def bilinear(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Linear interpolation by a transposed convolution: each channel alone, a tent over the kernel.

        w[c, c, p, q] = t(p) t(q),    t(p) = 1 - |p - centre| / f,    f = (k + 1) // 2

    and 0 between different channels; the centre is f - 1 for odd k, f - 1/2 for even k. For shapes (channels, channels,
    *kernel) of 3 to 5 dimensions (linear, bilinear, trilinear), and (channels, 1, *kernel) with groups=channels. A
    stride of f with k = 2 f - f % 2 and padding (f - f % 2) / 2 enlarges by f: k = 4, stride 2, padding 1 for 2.

        >>> ai.bilinear((1, 1, 4, 4))[0, 0]
        array([[0.0625, 0.1875, 0.1875, 0.0625],
               [0.1875, 0.5625, 0.5625, 0.1875],
               [0.1875, 0.5625, 0.5625, 0.1875],
               [0.0625, 0.1875, 0.1875, 0.0625]], dtype=float32)

    Args:
        x: an array, whose shape, dtype, device and library the result takes, or a shape such as (256, 128).
        seed, name, shape, index, flat, layout, in_axis, out_axis, batch_axis, groups, transposed, xp, dtype, device,
            chunks: shared by all initializers; :class:`arrayinit.Keywords` explains each, and
            :mod:`arrayinit.initializers` their errors.

    Raises:
        ValueError: a shape of another rank, groups that do not divide the channels, other input than output channels.
        TypeError: an integer dtype.

    Source: Long, Shelhamer and Darrell, Fully convolutional networks, CVPR 2015, section 3.3; shelhamer/fcn,
    surgery.py, upsample_filt.
    """
    return draw(x, _bilinear, **keywords)


bilinear_ = filling(bilinear)


def at_centre(geometry: Geometry, law: Law, lower: bool) -> Law:
    """The law of a matrix (out, in) at the centre of a kernel that is 0 elsewhere: at (k - 1) // 2, or k // 2."""
    space = geometry.order[2:]
    if not space or 0 in geometry.shape:
        return law if not space else Constant(0.0)
    matrix = Geometry(
        tuple(n for axis, n in enumerate(geometry.shape) if axis not in space),
        None if geometry.roles is None else geometry.roles.replace("s", ""),
        1,
        geometry.transposed,
    )
    starts = tuple((n - lower) // 2 if axis in space else 0 for axis, n in enumerate(geometry.shape))
    counts = tuple(None if axis in space else n for axis, n in enumerate(geometry.shape))
    return Packed((Piece(Box(starts, (1,) * len(starts), counts), law, matrix, None),))


def _check_groups(geometry: Geometry) -> None:
    out = geometry.canonical[0]
    if out % geometry.groups:
        raise ValueError(f"`groups` must divide the output channels; got groups {geometry.groups} and {out} channels")
