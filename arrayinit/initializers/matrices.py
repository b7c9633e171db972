"""Initializers of whole matrices and kernels: identities, orthogonal and sparse ones."""

from functools import partial
from typing import Any, Unpack

from arrayinit import schemes
from arrayinit.draw import Keywords, draw

__all__ = [
    "delta_orthogonal",
    "delta_orthogonal_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "identity",
    "identity_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "zero_hadamard",
    "zero_hadamard_",
]


def eye(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """The identity: 1 where the row equals the column, else 0, for a matrix of any two sizes.

    Raises:
        ValueError: a shape that is not two-dimensional.
    """
    return draw(x, schemes.eye, False, **keywords)


def eye_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`eye`; returns x."""
    return draw(x, schemes.eye, True, **keywords)


def dirac(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """The identity of a convolution: w[g * out/groups + d, d, k//2, ...] = 1 for d < min(out/groups, in), else 0.

    For shapes (out, in, *kernel) of 3 to 5 dimensions (another order by `layout`), for each group g < groups.

    Raises:
        ValueError: a shape of another rank, or groups that do not divide out.

    Source: Zagoruyko and Komodakis, DiracNets, 2017; torch.nn.init.dirac_.
    """
    return draw(x, schemes.dirac, False, **keywords)


def dirac_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`dirac`; returns x."""
    return draw(x, schemes.dirac, True, **keywords)


def orthogonal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Orthogonal rows or columns (whichever are fewer) of length gain, uniform over all such matrices (Haar).

    The weight is seen as a matrix (out, everything else): W W^H = gain^2 I or W^H W = gain^2 I. float16 and bfloat16
    are computed in float32, complex matrices are unitary. With a batch axis each of the batch is such a matrix.

    This is the one initializer that needs matrix products, so libraries agree to 2e-6 absolute in float32 for gain 1
    (1e-13 in float64), not bit for bit. A part of it costs as much as the whole.

    Args:
        gain: a finite factor.

    Raises:
        ValueError: a gain that is not finite, a shape of fewer than 2 dimensions.

    Sources: Saxe et al., ICLR 2014; the Haar measure by Householder reflectors: Stewart 1980, Mezzadri 2007.
    """
    return draw(x, partial(schemes.orthogonal, gain=gain), False, **keywords)


def orthogonal_(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`orthogonal`; returns x."""
    return draw(x, partial(schemes.orthogonal, gain=gain), True, **keywords)


def sparse(x: Any, sparsity: float, std: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """N(0, std^2) with exactly ceil(sparsity * rows) zeros in each column, at random places.

    The product is that of the decimal number as written: 0.07 of 100 rows are 7. A column holds the weights of one
    input (axis 0 is out, axis 1 is in). A part of it costs as much as the whole.

    Args:
        sparsity: the fraction of zeros, in [0, 1].
        std: the standard deviation of the others, >= 0.

    Raises:
        ValueError: a shape that is not two-dimensional, sparsity outside [0, 1], a negative or non-finite std.

    Source: Martens, ICML 2010, section 5.
    """
    return draw(x, partial(schemes.sparse, sparsity=sparsity, std=std), False, **keywords)


def sparse_(x: Any, sparsity: float, std: float = 0.01, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`sparse`; returns x."""
    return draw(x, partial(schemes.sparse, sparsity=sparsity, std=std), True, **keywords)


def identity(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """gain times the identity: :func:`eye` for matrices, :func:`dirac` for kernels of any rank, and groups of either.

    w[g * out/groups + d, d, k//2, ...] = gain for d < min(out/groups, in) and each group g < groups, else 0.

    Args:
        gain: a finite factor.

    Raises:
        ValueError: a shape of fewer than 2 dimensions, groups that do not divide out, a gain that is not finite.

    Sources: Le, Jaitly and Hinton, 2015 (IRNN); keras.initializers.Identity.
    """
    return draw(x, partial(schemes.identity, gain=gain), False, **keywords)


def identity_(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`identity`; returns x."""
    return draw(x, partial(schemes.identity, gain=gain), True, **keywords)


def delta_orthogonal(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """A kernel that is an orthogonal matrix at its centre, 0 elsewhere: a convolution that keeps the length of signals.

    w[:, :, c, ...] = W with W^H W = gain^2 I, uniform over all such matrices, for shapes (out, in, *kernel) of 3 to 5
    dimensions (another order by `layout`). The centre is c = (k - 1) // 2, as in JAX; for even k, :func:`dirac` and
    torch take k // 2. Like :func:`orthogonal` it agrees to 2e-6 in float32 between libraries, not bit for bit.

    Args:
        gain: a finite factor.

    Raises:
        ValueError: a shape of another rank, more input than output channels, groups, a gain that is not finite.

    Source: Xiao et al., ICML 2018, section 3.3 and algorithm 1; jax.nn.initializers.delta_orthogonal.
    """
    return draw(x, partial(schemes.delta_orthogonal, gain=gain), False, **keywords)


def delta_orthogonal_(x: Any, gain: float = 1.0, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`delta_orthogonal`; returns x."""
    return draw(x, partial(schemes.delta_orthogonal, gain=gain), True, **keywords)


def zero_hadamard(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """ZerO: an identity, or part of one, where out <= in, else columns of a Hadamard matrix; at the centre of kernels.

    W[a, b] = 2^(-m/2) (-1)^(number of ones that a and b share in binary), m = ceil(log2(out)), where out > in. All
    that is random in an initialization is gone, and no two outputs are alike. The centre of k places is k // 2.

    The factor keeps lengths where out is a power of two, as implementations do; the paper itself prints
    2^(-(m-1)/2), which is sqrt(2) times as much.

    Raises:
        ValueError: a shape of fewer than 2 dimensions, groups.

    Source: Zhao, Schaefer and Anandkumar, ZerO Initialization, TMLR 2022, algorithms 1 and 2.
    """
    return draw(x, schemes.zero_hadamard, False, **keywords)


def zero_hadamard_(x: Any, **keywords: Unpack[Keywords]) -> Any:
    """Fill x in place with :func:`zero_hadamard`; returns x."""
    return draw(x, schemes.zero_hadamard, True, **keywords)
