"""Make `golden.json`: run `python -m arrayinit.conformance.make_golden`. Vectors change only with STREAM_VERSION.

Each vector is drawn by the reference engine on NumPy: the fingerprint of the whole array, and its first elements as
hexadecimal floats (the real and the imaginary part of a complex one) for whoever writes another implementation. The
file says itself what each case is, so that nothing else is needed to use it: section 13 of arrayinit/stream/README.md.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from arrayinit import STREAM_VERSION, fingerprint
from arrayinit.conformance.cases import CASES, DTYPES, SEED, Case

PATH = Path(__file__).with_name("golden.json")
HEAD = 4
FORMAT = 1  # of the file


def head(x: Any) -> list[str]:
    """The first elements as hexadecimal floats, exactly."""
    first = np.asarray(x).reshape(-1)[:HEAD]
    parts = first.view(first.real.dtype) if np.iscomplexobj(first) else first
    return [float(part).hex() for part in parts]


def vector(case: Case, dtype: str) -> dict[str, Any]:
    """The golden entry of a case in a dtype."""
    x = case.draw(dtype)
    return {"fingerprint": fingerprint(x) if case.is_exact else None, "head": head(x)}


def described(case: Case) -> dict[str, Any]:
    """A case as plain data: initializer, shape and, of a part, `index` as [start, stop, step] for each axis."""
    data = {"initializer": _plain(case.spec.as_dict()), "shape": list(case.shape)}
    index = case.keywords.get("index")
    if index is not None:
        slices = index if isinstance(index, tuple) else (index,)
        data["index"] = [[part.start, part.stop, part.step] for part in slices]
    return data


def _plain(value: Any) -> Any:
    """Data that strict JSON can hold: infinite numbers as text."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def main() -> int:
    """Write the file; exit status 1 where that would change a vector of this version of the stream."""
    made: dict[str, Any] = {case.name: {dtype: vector(case, dtype) for dtype in DTYPES} for case in CASES}
    if PATH.exists():
        old = json.loads(PATH.read_text("utf-8"))
        if old["stream_version"] == STREAM_VERSION:
            # What needs matrix products has other last digits on other machines: it stays what it is.
            made |= {c.name: old["vectors"][c.name] for c in CASES if not c.is_exact and c.name in old["vectors"]}
            changed = [name for name in old["vectors"] if name in made and old["vectors"][name] != made[name]]
            if changed:
                sys.stderr.write(f"these vectors change, but STREAM_VERSION is still {STREAM_VERSION}: {changed}\n")
                return 1
    cases = {case.name: described(case) for case in CASES}
    data = {
        "format": FORMAT,
        "stream_version": STREAM_VERSION,
        "seed": f"{SEED:#018x}",
        "cases": cases,
        "vectors": made,
    }
    text = json.dumps(data, indent=1, allow_nan=False)
    PATH.write_text(text + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
