"""How much of a model is as a seed draws it: parameters, or rows of them, that were loaded or left out."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrayinit.backends import backend_of
from arrayinit.laws import is_joint
from arrayinit.models.plans import Planned
from arrayinit.reports.statistics import values_of

__all__ = ["loading_findings", "rows_as_drawn"]

SHOWN = 3  # runs of rows in a text
LEAST = 4  # elements of a row that is compared alone: fewer may be equal by chance, in 16 bits


def rows_as_drawn(entry: Planned, x: Any) -> NDArray[np.bool_] | None:
    """Whether each row along the first axis has the values that its plan draws; None where that can't be told.

    A vector, or rows of few elements, count as one row. The padding of an embedding counts for nothing.
    """
    parameter = entry.parameter
    backend = backend_of(x)
    if not entry.is_random or parameter.cut or backend.is_abstract(x) or entry.rows is not None:
        return None
    new = entry.new_like(x) if entry.program is None else entry.values()
    tolerance = 0.0
    # The last digits of whole matrices differ between libraries, and a layer that makes the weight rounds it again.
    if parameter.through or (entry.job is not None and is_joint(entry.job.law)):
        tolerance = 4e-6 if parameter.dtype in ("float32", "float64") else 2 * float(np.finfo("float16").eps)
    is_equal = np.ones(x.shape[0] if x.shape else 1, np.bool_)
    held = np.zeros(is_equal.shape, np.bool_)
    for (place, a), (_, b) in zip(values_of(x, parameter.dtype), values_of(new, parameter.dtype), strict=True):
        same = np.abs(a - b) <= tolerance * np.abs(b).max(initial=0.0)
        rows = slice(place[0], place[0] + a.shape[0]) if a.ndim else slice(None)
        is_equal[rows] &= same.reshape(len(same), -1).all(axis=1) if a.ndim else same
        held[rows] = True
    if parameter.zero_row is not None:
        held[parameter.zero_row] = False
    is_equal = is_equal[held]
    if parameter.size < LEAST * len(is_equal) or len(parameter.shape) < 2:
        is_equal = np.array([is_equal.all()])
    return is_equal if held.any() else None


def loading_findings(found: Mapping[str, NDArray[np.bool_]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """(path, (kind, text)) of what looks partly loaded: the fewer of what is as drawn and what is not.

    Args:
        found: path -> whether each row is as drawn, of the parameters that are drawn at random.
    """
    drawn = [path for path, rows in found.items() if rows.all()]
    others = [path for path, rows in found.items() if not rows.any()]
    for path, rows in found.items():
        text = ""
        if rows.any() and not rows.all():
            text = f"{_runs(rows)} as the seed draws them, the others are not"
        elif rows.all() and len(drawn) <= len(found) - len(drawn):
            text = f"is as the seed draws it, while {len(found) - len(drawn)} of {len(found)} random parameters are not"
        elif not rows.any() and len(others) < len(drawn):
            text = f"is not as the seed draws it, while {len(drawn)} of {len(found)} random parameters are"
        if text:
            yield path, ("partly loaded", text)


def _runs(rows: NDArray[np.bool_]) -> str:
    """The numbers of the rows that are true, or their count where they are many runs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
    runs = [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
    count = int(rows.sum())
    if len(runs) > SHOWN:
        return f"{count:,} of {len(rows):,} rows are"
    texts = [f"{a}" if a == b else f"{a} to {b}" for a, b in runs]
    return f"row{'s' * (count > 1)} {', '.join(texts)} of {len(rows):,} {'are' if count > 1 else 'is'}"
