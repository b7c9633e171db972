"""Random orthogonal matrices as products of random Householder reflectors, by matrix products alone.

The reflectors that take the columns of a Gaussian matrix, each drawn afresh in the space that is left, to multiples of
the unit vectors have a Haar-distributed product (Stewart 1980; Mezzadri, Notices of the AMS 54, 2007, section 5). The
product of a block of them is I - V T V^H (Schreiber and Van Loan 1989), with T^-1 = striu(V^H V) + diag(1 / tau)
(Puglisi 1992), so nothing is factorized and no condition number is involved.
"""

from typing import Any

__all__ = ["orthonormal"]

BLOCK = 128  # reflectors applied at once


def orthonormal(xp: Any, gaussian: Any, device: Any, widest: Any) -> Any:
    """A matrix with orthonormal columns from independent standard normals of shape (m, n), m >= n, real or complex.

    Only elements on and below the diagonal are used. `widest` is the real dtype in which lengths are summed. Libraries
    agree as well as their matrix products do: 2e-6 absolute in float32, 1e-13 in float64.
    """
    m, n = gaussian.shape
    dtype = gaussian.dtype
    row = xp.reshape(xp.arange(m, dtype=xp.int64, device=device), (m, 1))
    column = xp.reshape(xp.arange(n, dtype=xp.int64, device=device), (1, n))
    on_diagonal = row == column
    zero, one = xp.zeros_like(gaussian), xp.ones_like(gaussian)
    x = xp.where(row >= column, gaussian, zero)
    head = xp.sum(xp.where(on_diagonal, x, zero), axis=0)  # the first element of each column's own space
    size = xp.abs(head)
    unit = xp.ones_like(size)
    phase = xp.where(size > 0, head / xp.astype(xp.where(size > 0, size, unit), dtype), xp.ones_like(head))
    norm = xp.astype(xp.sqrt(xp.sum(xp.abs(x) ** 2, axis=0, dtype=widest)), dtype)
    # H x = -phase |x| e1 for H = I - tau v v^H with v = x + phase |x| e1 and tau = 2 / |v|^2.
    v = x + xp.where(on_diagonal, one, zero) * (phase * norm)
    squares = xp.sum(xp.abs(v) ** 2, axis=0, dtype=widest)
    # 1 / tau. An error in it would shrink or stretch every column that the reflector meets, n times over.
    halves = xp.astype(xp.where(squares > 0, squares, xp.ones_like(squares)) / 2, dtype)
    # Q = H_1 ... H_n diag(-phase) on the first n columns of the identity. From the last block to the first, `q` is the
    # product so far on the rows and columns that it has touched; what is above and to the left is still the identity.
    stop, q = n, xp.zeros((m - n, 0), dtype=dtype, device=device)
    while stop:
        start = (stop - 1) // BLOCK * BLOCK
        width = stop - start
        block = v[start:, start:stop]
        adjoint = _adjoint(xp, block)
        gram, identity = adjoint @ block, xp.eye(width, dtype=dtype, device=device)
        t = xp.linalg.inv(xp.triu(gram, k=1) + identity * halves[start:stop])
        across = xp.concat([adjoint[:, :width], adjoint[:, width:] @ q], axis=1)
        above = xp.eye(width, n - start, dtype=dtype, device=device)
        below = xp.concat([xp.zeros((m - stop, width), dtype=dtype, device=device), q], axis=1)
        q = xp.concat([above, below], axis=0) - block @ (t @ across)
        stop = start
    return q * -phase


def _adjoint(xp: Any, x: Any) -> Any:
    transposed = xp.matrix_transpose(x)
    return xp.conj(transposed) if xp.isdtype(x.dtype, "complex floating") else transposed
