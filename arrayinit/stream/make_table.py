"""Make `inverse_normal.npy`: run `python -m arrayinit.stream.make_table` (about a minute; it needs no input).

The table holds |z| = -Phi^-1(p) for p in (2**-97, 1/2), in units of 2**-27. Octave c is the range
[2**-(c+2), 2**-(c+1)); each of its 64 equal segments is a parabola in t in [0, 2**32), evaluated in integers as

    z = c0 - (((c1 - ((c2 * t) >> 32)) * t) >> 32).
"""

import sys
from decimal import Context, Decimal, localcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt

from arrayinit.stream.normal_cdf import quantile

OCTAVES = 96
SEGMENTS = 64
UNIT = 2**27  # one unit of z is 2**-27
NODES = 9  # of the interpolant that stands for the exact quantile within a segment
CHECKS = 129  # points of a segment on which the integer parabola is centred

PATH = Path(__file__).with_name("inverse_normal.npy")

Floats = npt.NDArray[np.float64]


def exact(octave: int, segment: int) -> tuple[float, Floats, Floats]:
    """z in units of 2**-27 on a segment: its value in the middle, Chebyshev nodes in [-1, 1], offsets from it there."""
    nodes = np.cos(np.pi * (2 * np.arange(NODES) + 1) / (2 * NODES))
    nodes[NODES // 2] = 0.0
    with localcontext(Context(prec=60)):
        width = Decimal(2) ** -(octave + 2) / SEGMENTS
        start = Decimal(2) ** -(octave + 2) + segment * width
        values = [-quantile(start + width * (1 + Decimal(float(x))) / 2) * UNIT for x in nodes]
        middle = values[NODES // 2]
        return float(middle), nodes, np.array([float(v - middle) for v in values])


def parabola(octave: int, segment: int) -> tuple[int, int, int]:
    """(c0, c1, c2) of one segment: a near-minimax fit, then c0 and c1 that suit the integer evaluation best."""
    base, nodes, offsets = exact(octave, segment)
    fit = np.polynomial.Chebyshev(np.polynomial.chebyshev.chebfit(nodes, offsets, NODES - 1))
    # The first three Chebyshev terms are nearly minimax: the fourth is the error. With x = 2 s - 1 and s = t / 2**32:
    _, a1, a2 = fit.coef[:3]
    slope, bend = -(2 * a1 - 8 * a2), 8 * a2  # z = z(0) - slope * s + bend * s**2
    c2 = max(0, round(bend))
    t = np.linspace(0, 2**32 - 1, CHECKS).astype(np.int64)
    wanted = fit(t / 2**31 - 1)
    best: tuple[float, int, int] | None = None
    for c1 in range(max(0, round(slope) - 2), round(slope) + 3):
        drop = ((c1 - ((c2 * t) >> 32)) * t) >> 32
        excess = wanted + drop  # the best c0 - base at each point
        low, high = float(excess.min()), float(excess.max())
        c0 = round(base + (low + high) / 2)
        c0 = max(c0, int(drop.max()))  # |z| is never negative
        error = max(abs(c0 - base - low), abs(c0 - base - high))
        if best is None or error < best[0]:
            best = (error, c0, c1)
    assert best is not None
    return best[1], best[2], c2


def make(octaves: range = range(OCTAVES)) -> npt.NDArray[np.int32]:
    """Rows (c0, c1, c2) of the given octaves, octave by octave and segment by segment."""
    rows = [parabola(octave, segment) for octave in octaves for segment in range(SEGMENTS)]
    return np.array(rows, dtype=np.int32)


if __name__ == "__main__":
    table = make()
    np.save(PATH, table)
    bits = [int(column.max()).bit_length() for column in table.T]
    sys.stdout.write(f"{PATH}: {len(table)} segments, c0, c1 and c2 take {bits} bits\n")
