"""Laws of whole matrices and kernels: identities, orthogonal and sparse ones, and Hadamard's."""

import math

from arrayinit.laws import Constant, Dirac, Eye, Law, Orthogonal, Packed, Piece, Sparse, Table
from arrayinit.laws.formulas import hadamard
from arrayinit.laws.geometry import Geometry
from arrayinit.laws.regions import Box
from arrayinit.schemes.arguments import finite, nonnegative, plain

__all__ = ["delta_orthogonal", "dirac", "eye", "identity", "orthogonal", "sparse", "zero_hadamard"]


def eye(geometry: Geometry) -> Law:
    plain(geometry, (2,), "eye")
    return Eye()


def dirac(geometry: Geometry) -> Law:
    plain(geometry, (3, 4, 5), "dirac")
    _check_groups(geometry)
    return Dirac(geometry.groups)


def identity(geometry: Geometry, gain: float = 1.0) -> Law:
    plain(geometry, None, "identity")
    _check_groups(geometry)
    return Dirac(geometry.groups, finite(gain, "gain"))


def orthogonal(geometry: Geometry, gain: float = 1.0) -> Law:
    if len(geometry.shape) < 2:
        raise ValueError(f"orthogonal needs a shape of at least 2 dimensions; got {geometry.shape}")
    return Orthogonal(finite(gain, "gain"))


def delta_orthogonal(geometry: Geometry, gain: float = 1.0) -> Law:
    plain(geometry, (3, 4, 5), "delta_orthogonal")
    factor, (out, in_, _) = finite(gain, "gain"), geometry.sizes
    if geometry.groups != 1:
        raise ValueError(f"`groups` must be 1 for delta_orthogonal; got {geometry.groups}")
    if in_ > out:
        raise ValueError(
            f"delta_orthogonal needs at least as many output channels as input channels; got {in_} in, {out} out "
            f"for the shape {geometry.shape}"
        )
    return at_centre(geometry, Orthogonal(factor), lower=True)


def sparse(geometry: Geometry, sparsity: float, std: float = 0.01) -> Law:
    from fractions import Fraction  # here, for few processes need it

    plain(geometry, (2,), "sparse")
    fraction, scale = finite(sparsity, "sparsity"), nonnegative(std, "std")
    if not 0 <= fraction <= 1:
        raise ValueError(f"`sparsity` must be in [0, 1]; got {sparsity!r}")
    # The decimal number that was written, not the binary one nearest to it: 0.07 of 100 rows are 7, not 8.
    zeros = math.ceil(Fraction(repr(fraction)) * geometry.canonical[0])
    return Sparse(zeros, scale) if scale else Constant(0.0)


def zero_hadamard(geometry: Geometry) -> Law:
    plain(geometry, None, "zero_hadamard")
    if geometry.groups != 1:
        raise ValueError(f"`groups` must be 1 for zero_hadamard; got {geometry.groups}")
    out, in_, _ = geometry.sizes
    if out <= in_:
        return Dirac()
    bits = (out - 1).bit_length()
    scale = math.ldexp(math.sqrt(0.5) if bits % 2 else 1.0, -(bits // 2))
    return at_centre(geometry, Table(hadamard, (scale,), scale), lower=False)


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
