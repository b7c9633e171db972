"""The CuPy backend: on a real device where there is one (`-m gpu`, via test_equality), else on a strict stand-in."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = {
    "every case has the golden bits": """
        import numpy as np
        from arrayinit.cases import CASES, golden
        from arrayinit.check import check, places
        found = list(places("cupy"))
        assert [place.device for place in found] == ["cuda:0", "cuda:1"]
        for place in found:
            for dtype in place.dtypes:
                row = check(place, dtype)
                assert row.is_identical, (place, dtype, row.differing, row.orthogonal)
        """,
    "in place: strided, transposed, on another device": """
        import numpy as np
        for device in (0, 1):
            with cupy.cuda.Device(device):
                x = cupy.empty((40, 30))
            assert ai.normal_(x, seed=1) is x
            assert (x.get() == ai.normal((40, 30), seed=1, dtype="float64")).all()
            part = x[::2, 5:20].T
            ai.zeros_(x)
            ai.normal_(part, seed=2)
            wanted = np.zeros((40, 30))
            wanted[::2, 5:20] = ai.normal((15, 20), seed=2, dtype="float64").T
            assert (x.get() == wanted).all()
            y = ai.xavier_uniform(x, seed=3)
            assert isinstance(y, cupy.ndarray) and int(y.device) == device
            assert ai.fingerprint(y) == ai.fingerprint(ai.xavier_uniform((40, 30), seed=3, dtype="float64"))
        """,
    "bad input is refused before anything is written": """
        x = cupy.zeros((4, 5))
        for wrong in (dict(std=-1.0), dict(seed=-1), dict(layout="oih"), dict(mean=float("nan"))):
            try:
                ai.normal_(x, **{"seed": 0, **wrong})
            except ValueError as error:
                assert next(iter(wrong)) in str(error)
            else:
                raise AssertionError(wrong)
        assert (x.get() == 0).all()
        try:
            ai.normal_(cupy.broadcast_to(cupy.zeros(5), (4, 5)), seed=0)
        except ValueError as error:
            assert "share memory" in str(error)
        else:
            raise AssertionError
        """,
    "no chunk is launched on its own, and none through the host": """
        from standin_cupy import LAUNCHES
        x = cupy.empty((512, 512))
        LAUNCHES.clear()
        ai.uniform_(x, seed=0)
        assert LAUNCHES.count("stack") == 1
        assert "get" not in LAUNCHES
        """,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_on_a_stand_in(script):
    lines = ["from standin_cupy import install", "cupy = install()", "import arrayinit as ai"]
    lines += [line.removeprefix("        ") for line in script.strip("\n").splitlines()]
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=here, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_streams_and_devices():
    cupy = pytest.importorskip("cupy")
    import arrayinit as ai

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    wanted = ai.fingerprint(ai.normal((1000, 1001), seed=4))
    for device in range(count):
        with cupy.cuda.Device(device), cupy.cuda.Stream(non_blocking=True) as stream:
            x = ai.normal((1000, 1001), seed=4, xp="cupy")
            stream.synchronize()
        assert ai.fingerprint(x) == wanted
