"""Random orthogonal matrices as products of random Householder reflectors, by matrix products alone.

Reflector k takes column k of a Gaussian matrix, of which only the elements from the diagonal on are used, to a multiple
of unit vector k. The product of the reflectors, with the signs below, is Haar-distributed (Stewart 1980; Mezzadri,
Notices of the AMS 54, 2007, section 5). The product of a block of them is I - V T V^H (Schreiber and Van Loan 1989),
with T^-1 = striu(V^H V) + diag(1 / tau) (Puglisi 1992), so nothing is factorized and no condition number is involved.

The signs. Let A be Gaussian, and A = Q R with a positive diagonal of R, which makes Q unique. Then U A = (U Q) R for
each orthogonal (unitary) U. A and U A have the same distribution, so Q and U Q have it, too, and Q is Haar-distributed.
The signs must not depend on A, as they do in plain Householder QR. There reflector H takes x to -phase |x| e, where
phase is that of the first element of x: with this sign, v = x + phase |x| e adds two numbers of one phase, and nothing
cancels. So the diagonal of R is -phase |x|, and multiplying column k of Q by -phase makes it |x|. Each reflector needs
only the rest of its column, because the reflectors before it leave an independent Gaussian column Gaussian.
`test_reflectors_one_by_one` compares with reflectors applied one after another, `test_every_entry_of_haar_matrices`
with the distribution of the entries.
"""

from typing import Any

__all__ = ["orthonormal"]


def orthonormal(lanes: Any, gaussian: Any) -> Any:
    """Orthonormal columns from independent standard normals, matrices (..., m, n), m >= n, real or complex.

    Where arrays are mutable the result is written over them. Libraries agree as well as their matrix products do: to
    2e-6 absolute in float32, 1e-13 in float64.
    """
    xp, q = lanes.xp, gaussian
    m, n = gaussian.shape[-2:]
    block = _block(n)
    # Q = H_1 ... H_n diag(-phase) on the first n columns of the identity, from the last block to the first. Above and
    # to the left of a block Q is still the identity, so this memory holds the elements of the blocks to come.
    for start in reversed(range(0, n, block)):
        stop = min(start + block, n)
        width = stop - start
        v, phase, halves = _reflectors(lanes, q[..., start:, start:stop])
        adjoint = _adjoint(xp, v)
        identity = xp.eye(m - start, width, dtype=v.dtype, device=lanes.device)
        w = lanes.solve(xp.triu(adjoint @ v, k=1) + identity[:width, :] * halves, adjoint)  # T V^H
        if stop < n:
            z = w[..., :, width:] @ q[..., stop:, stop:]
            q = lanes.put(q, (start, stop), -(v[..., :width, :] @ z))
            q = lanes.subtract_product(q, (stop, stop), v[..., width:, :], z)
        q = lanes.put(q, (start, start), (v @ w[..., :, :width] - identity) * phase)
    return q


def _block(n: int) -> int:
    """How many reflectors to apply at once."""
    return 64 if n <= 512 else 128 if n < 4096 else 256


def _reflectors(lanes: Any, gaussian: Any) -> tuple[Any, Any, Any]:
    """(v, phase, 1 / tau) of H = I - tau v v^H with H x = -phase |x| e, for each column x from the diagonal on.

    v = x + phase |x| e and tau = 2 / |v|^2, where phase is that of the first element of x.
    """
    xp, dtype = lanes.xp, gaussian.dtype
    width = gaussian.shape[-1]
    x = xp.tril(gaussian)
    diagonal = xp.eye(*gaussian.shape[-2:], dtype=dtype, device=lanes.device)
    head = xp.sum(x[..., :width, :] * diagonal[:width, :], axis=-2, keepdims=True)
    phase = _phase(xp, head)
    squares = _squares(lanes, x)
    norm = phase * xp.astype(xp.sqrt(squares), dtype)
    # An error in 1 / tau would shrink or stretch every column that the reflector meets, n times over.
    squares = squares - _squares(lanes, head) + _squares(lanes, head + norm)
    halves = xp.where(squares > 0, squares, xp.ones_like(squares)) / 2
    return x + diagonal * norm, phase, xp.astype(halves, dtype)


def _phase(xp: Any, x: Any) -> Any:
    """x / |x|, and 1 for 0."""
    one = xp.ones_like(x)
    if xp.isdtype(x.dtype, "real floating"):
        return xp.where(x < 0, -one, one)
    size = xp.abs(x)
    return xp.where(size > 0, x / xp.astype(xp.where(size > 0, size, xp.ones_like(size)), x.dtype), one)


def _squares(lanes: Any, x: Any) -> Any:
    """The sum of |x|^2 down each column, in the real dtype with the most digits."""
    xp = lanes.xp
    size = x if xp.isdtype(x.dtype, "real floating") else xp.abs(x)
    return xp.sum(size * size, axis=-2, keepdims=True, dtype=lanes.widest)


def _adjoint(xp: Any, x: Any) -> Any:
    transposed = xp.matrix_transpose(x)
    return xp.conj(transposed) if xp.isdtype(x.dtype, "complex floating") else transposed
