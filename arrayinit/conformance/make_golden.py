"""Write `golden.json`: run `python -m arrayinit.conformance.make_golden`. Vectors change only with STREAM_VERSION.

Each vector is drawn on NumPy. An entry has the fingerprint of the whole array and, for authors of other
implementations, its first elements as hexadecimal floats (complex elements as real and imaginary part). The file also
describes each case, so that it can be used alone: see section 13 of arrayinit/stream/README.md.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from arrayinit import STREAM_VERSION
from arrayinit.conformance.cases import CASES, DTYPES, SEED, Case
from arrayinit.conformance.vector_digest import vector_digest

PATH = Path(__file__).with_name("golden.json")
HEAD = 4  # elements
FORMAT = 1  # version of the layout of the file


def head(x: Any) -> list[str]:
    """The first elements as hexadecimal floats, exactly."""
    first = np.asarray(x).reshape(-1)[:HEAD]
    parts = first.view(first.real.dtype) if np.iscomplexobj(first) else first
    return [float(part).hex() for part in parts]


def vector(case: Case, dtype: str) -> dict[str, Any]:
    """The golden entry of a case in a dtype."""
    x = case.draw(dtype)
    return {"fingerprint": vector_digest(x) if case.is_exact else None, "head": head(x)}


def description(case: Case) -> dict[str, Any]:
    """A case as plain data: initializer, shape and, for a part, `index` as [start, stop, step] for each axis."""
    data = {"initializer": _plain(case.spec.as_dict()), "shape": list(case.shape)}
    index = case.keywords.get("index")
    if index is not None:
        slices = index if isinstance(index, tuple) else (index,)
        data["index"] = [[s.start, s.stop, s.step] for s in slices]
    return data


def _plain(value: Any) -> Any:
    """Data for strict JSON, which has no infinite numbers: they become text."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def main() -> int:
    """Write the file. Exit status 1 if a vector of this version of the stream would change."""
    vectors: dict[str, Any] = {case.name: {dtype: vector(case, dtype) for dtype in DTYPES} for case in CASES}
    if PATH.exists():
        old = json.loads(PATH.read_text("utf-8"))
        if old["stream_version"] == STREAM_VERSION:
            committed = old["vectors"]
            # Matrix products have other last digits on other machines, so these vectors stay as they are.
            vectors |= {
                case.name: committed[case.name] for case in CASES if not case.is_exact and case.name in committed
            }
            changed = [name for name in committed if name in vectors and committed[name] != vectors[name]]
            if changed:
                sys.stderr.write(f"these vectors change, but STREAM_VERSION is still {STREAM_VERSION}: {changed}\n")
                return 1
    data = {
        "format": FORMAT,
        "stream_version": STREAM_VERSION,
        "seed": f"{SEED:#018x}",
        "cases": {case.name: description(case) for case in CASES},
        "vectors": vectors,
    }
    text = json.dumps(data, indent=1, allow_nan=False)
    PATH.write_text(text + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
