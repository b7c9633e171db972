"""Pairs of matrices that are computed from one draw, on the host in float64: factors of a product, parts of a rotation.

A formula takes a source of random numbers, which both matrices share, and the sizes (batch, out, in) of one of them.
"""

import functools
import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Source", "mean_singular_value", "rotated", "singular"]

POINTS = 1 << 12  # singular values at which their density is computed

Floats = npt.NDArray[np.float64]


class Source(Protocol):
    """The random numbers of a key, in float64."""

    def normals(self, name: str, start: int, shape: tuple[int, ...]) -> Floats:
        """Standard normals, elements `start` and following of the stream of a name within the key."""

    def rotations(self, name: str, count: int, size: int) -> Floats:
        """Orthogonal matrices (count, size, size) of the key of a name."""


def singular(source: Source, sizes: tuple[int, int, int], part: str, heads: int, alpha: float, beta: float) -> Floats:
    """Left or right singular vectors of alpha Z + beta I for each head, times the roots of their singular values.

    The sign of each pair of vectors is that of an independent random number: libraries choose signs as they like.
    """
    batch, out, in_ = sizes
    width, d = (in_ // heads, out) if part == "out" else (out // heads, in_)
    name = "query key" if part in ("query", "key") else "value out"
    vectors = np.empty((batch * heads, width, d))
    for k in range(batch * heads):
        matrix = source.normals(name, k * d * d, (d, d)) * (alpha / math.sqrt(d))
        matrix[np.arange(d), np.arange(d)] += beta
        left, values, right = np.linalg.svd(matrix)
        left, right = left.T[:width], right[:width]
        projections = np.sum(left * source.normals(f"{name} signs", k * width * d, (width, d)), axis=1)
        scales = np.where(projections < 0, -1.0, 1.0) * np.sqrt(values[:width])
        vectors[k] = (left if part in ("query", "value") else right) * scales[:, None]
    rows = vectors.reshape(batch, heads * width, d)
    return rows.transpose(0, 2, 1) if part == "out" else rows


def rotated(source: Source, sizes: tuple[int, int, int], part: str, gain: float) -> Floats:
    """gain Q_1^T G for part "A", gain G^T Q_2 for "B": Q_1 and Q_2 are every other row of a rotation, G is normal."""
    batch, out, in_ = sizes
    rank, n = (out, in_) if part == "A" else (in_, out)
    rows = source.rotations("rotation", batch, rank)[:, 0 if part == "A" else 1 :: 2]
    normals = source.normals(part, 0, (batch, rank // 2, n)) * gain
    return rows.transpose(0, 2, 1) @ normals if part == "A" else normals.transpose(0, 2, 1) @ rows


@functools.lru_cache(maxsize=256)
def mean_singular_value(alpha: float, beta: float, share: float) -> float:
    """The mean of the largest singular values of alpha Z + beta I, this share of all, for a large matrix.

    The Stieltjes transform m(w) of the singular values and their negatives solves -1 / m = u - beta^2 / u with u = w +
    alpha^2 m, a cubic equation, and their density is Im m / pi. (Bai and Silverstein, Spectral Analysis of Large
    Dimensional Random Matrices, 2010, chapter 11.)
    """
    if alpha < abs(beta) / 1024:
        return abs(beta)  # all singular values are within 2 alpha of it
    unit = alpha + abs(beta)  # keeps powers within the range of floats
    a, b = (alpha / unit) ** 2, (beta / unit) ** 2
    x = np.linspace(0.0, 2.0, POINTS)
    companion = np.zeros((POINTS, 3, 3))
    companion[:, 1, 0] = companion[:, 2, 1] = 1.0
    companion[:, :, 2] = -np.stack([x, x * x - b + a, 2 * a * x], axis=1) / (a * a)
    density = np.linalg.eigvals(companion).imag.max(axis=1)
    total = np.concatenate([[0.0], np.cumsum(density[::-1])])
    taken = np.diff(np.minimum(total / total[-1], share))[::-1]
    return float(np.sum(taken * x) / share) * unit
