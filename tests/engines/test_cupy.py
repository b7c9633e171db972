"""The CuPy backend on a strict stand-in; on a real device by test_cuda and test_equality with `-m gpu`."""

import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"

SCRIPTS = {
    "every case has the golden bits": """
        import numpy as np
        from arrayinit.conformance.cases import CASES, golden
        from arrayinit.conformance.check import check, sites
        found = list(sites("cupy"))
        assert [site.device for site in found] == ["cuda:0", "cuda:1"]
        for site in found:
            for dtype in site.dtypes:
                comparison = check(site, dtype)
                assert comparison.is_identical, (site, dtype, comparison.differing, comparison.orthogonal)
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
    "one launch an array, nothing else, and nobody waits": """
        from standin_cupy import COMPILED, KERNELS, LAUNCHES, NULL
        x = cupy.empty((512, 512), dtype="float32")
        LAUNCHES.clear()
        ai.uniform_(x, seed=0)
        assert LAUNCHES == []
        # 65536 blocks of Philox, 256 threads a block, and two processors that hold 2048 threads each.
        assert KERNELS == [("dense_uniform_float32", 16, 256, 0, 0, NULL)]
        assert COMPILED == [(("-std=c++17", "-DONLY_KIND=uniform", "-DONLY_FORM=float32"), 0)]
        KERNELS.clear()
        ai.normal_(x[:2], seed=0)
        ai.trunc_normal_(x[:, :500], seed=0)
        ai.xavier_normal(x, seed=0)
        assert [kernel[:4] for kernel in KERNELS] == [
            ("dense_normal_float32", 1, 1024, 16384),
            ("strided_truncated_float32", 4, 1024, 2560),
            ("dense_normal_float32", 4, 1024, 16384),
        ]
        assert LAUNCHES == ["empty_like"]
        """,
    "on the current stream, and on the device of the array": """
        from standin_cupy import CURRENT, KERNELS, LAUNCHES
        with cupy.cuda.Device(1):
            x = cupy.empty((512, 512), dtype="float32")
        LAUNCHES.clear()
        with cupy.cuda.Stream(non_blocking=True) as stream:
            ai.normal_(x, seed=5)
        # Device 1 of the stand-in holds 1536 threads a processor, three blocks of 512 rather than one of 1024, but
        # registers for no more than two of them: 65536 where a thread takes 54, which are given as 56.
        assert KERNELS == [("dense_normal_float32", 4, 512, 16384, 1, stream)]
        assert CURRENT == [0]
        assert LAUNCHES == []
        assert (x.get() == ai.normal((512, 512), seed=5)).all()
        """,
    "each layout by kernels": """
        import numpy as np
        from standin_cupy import KERNELS
        whole = ai.normal((40, 3, 5, 6), seed=1, dtype="float32")
        turned = ai.normal((5, 6, 3, 40), seed=1, layout="hwio", dtype="float32", xp="cupy")
        assert (turned.get() == whole.transpose(2, 3, 1, 0)).all()
        for index in (np.s_[::3], np.s_[:, ::-1], np.s_[5, 1:], np.s_[..., ::-2], np.s_[3:4, 2, 1, 1:2]):
            part = ai.normal((40, 3, 5, 6), seed=1, index=index, dtype="float32", xp="cupy")
            assert (part.get() == whole[index]).all(), index
        for dtype in ("float64", "float32", "float16", "complex64", "complex128"):
            x = cupy.zeros((30, 77), dtype=dtype)
            for view in (x[::2, 1:], x.T, x[:, ::-1], x[::-3, 4::5], x[3:4, :5], x[:, 7], x[1:2, 3:4]):
                x[...] = cupy.zeros((30, 77), dtype=dtype)
                ai.trunc_normal_(view, seed=2)
                wanted = ai.trunc_normal(view.shape, seed=2, dtype=dtype)
                assert (view.get() == wanted).all()
                assert np.count_nonzero(x.get()) == wanted.size, "elements beside the view are written"
        assert len(KERNELS) == 6 + 5 * 7
        """,
    "what is drawn before a matrix is made of it has its kernels": """
        from standin_cupy import KERNELS
        ai.orthogonal((70, 30), seed=1, xp="cupy", dtype="float32")
        ai.sparse((70, 30), 0.5, seed=1, xp="cupy", dtype="float64")
        names = [kernel[0] for kernel in KERNELS]
        assert names == ["dense_normal_float32", "dense_normal_float64", "dense_words_uint32"]
        assert (ai.bits((9, 3), seed=1, xp="cupy").get() == ai.bits((9, 3), seed=1)).all()
        assert KERNELS[-1][0] == "dense_words_uint32"
        """,
    "a device is a number that there is": """
        import numpy as np
        for device in (1, np.int64(1), cupy.cuda.Device(1)):
            assert int(ai.normal((3,), seed=1, xp="cupy", device=device).device) == 1
        for wrong in (2, -1, "cuda:0", "1", 1.0):
            try:
                ai.normal((3,), seed=1, xp="cupy", device=wrong)
            except ValueError as error:
                assert str(error) == (
                    "`device` must be the number of a CUDA device, of which there are 2, or a cupy.cuda.Device; "
                    f"got {wrong!r}"
                )
            else:
                raise AssertionError(wrong)
        """,
    "bfloat16, where CuPy has it": """
        import ml_dtypes
        from standin_cupy import KERNELS
        x = cupy.zeros((30, 7), dtype=ml_dtypes.bfloat16)
        ai.normal_(x, seed=1)
        assert [kernel[0] for kernel in KERNELS] == ["dense_normal_bfloat16"]
        assert ai.fingerprint(x) == ai.fingerprint(ai.normal((30, 7), seed=1, dtype="bfloat16"))
        """,
    "laws by tables of their own, which a device is given once": """
        from standin_cupy import KERNELS, LAUNCHES
        law = ai.spec("distribution", distribution="triang", parameters=(0.3, -1.0, 4.0))
        said = []
        for device, dtype in ((0, "float32"), (0, "float64"), (0, "float16"), (0, "float32"), (1, "float32")):
            with cupy.cuda.Device(device):
                x = cupy.empty((30, 5), dtype=dtype)
            LAUNCHES.clear()
            law.fill_(x, seed=1)
            assert (x.get() == law((30, 5), seed=1, dtype=dtype)).all()
            LAUNCHES.pop()  # get
            said.append((*LAUNCHES, *KERNELS.pop()[:5]))
        new = ("asarray", "asarray", "synchronize")
        assert said == [
            (*new, "dense_quantile_float32", 1, 1024, 49152, 0),
            (*new, "dense_quantile_float64", 1, 1024, 49152, 0),
            ("dense_quantile_float16", 1, 1024, 49152, 0),
            ("dense_quantile_float32", 1, 1024, 49152, 0),
            (*new, "dense_quantile_float32", 1, 512, 49152, 1),
        ]
        """,
    "what has no kernel is left to the reference": """
        import numpy as np
        from standin_cupy import KERNELS
        shape = (2, 1, 3) * 4 + (2, 2)
        x = cupy.zeros(tuple(2 * n for n in shape))[(slice(None, None, 2),) * 14]  # ten axes that are apart
        ai.uniform_(x, seed=1)
        assert (x.get() == ai.uniform(shape, seed=1, dtype="float64")).all()
        memory = np.zeros(401, np.uint8)
        from standin_cupy import wrap
        odd = wrap(memory[1:].view(np.float32))
        ai.uniform_(odd, seed=1)
        assert (odd.get() == ai.uniform((100,), seed=1)).all()
        from standin_cupy import LAUNCHES
        for waits in (1, 0):  # until the table is there, for draws on other streams find it too
            LAUNCHES.clear()
            ai.normal_(odd, seed=1)
            assert (odd.get() == ai.normal((100,), seed=1)).all()
            assert LAUNCHES.count("synchronize") == waits
        assert KERNELS == []
        """,
    "a kernel that can't be used is replaced by the reference, with one warning": """
        import warnings
        from standin_cupy import KERNELS, RawKernel
        class CompileException(Exception):
            pass
        def broken(*arguments, **keywords):
            raise CompileException("libnvrtc.so.12: cannot open shared object file")
        wanted = ai.normal((50, 7), seed=3)
        for name in ("_load", "__call__"):
            from arrayinit.engines import cuda
            from arrayinit.engines.cuda import cupy as launcher
            cuda._warned.clear()
            launcher._kernel.cache_clear()
            working = getattr(RawKernel, name)
            setattr(RawKernel, name, broken)
            x = cupy.empty((50, 7), dtype="float32")
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                for turn in range(3):
                    x.host[...] = 9
                    ai.normal_(x, seed=3)
                    assert (x.get() == wanted).all()
            (one,) = said
            assert one.category is RuntimeWarning
            assert str(one.message) == (
                "draws of cupy on device 0 will be slow: arrayinit could not use its CUDA kernel "
                "(CompileException: libnvrtc.so.12: cannot open shared object file)"
            )
            setattr(RawKernel, name, working)
            with cupy.cuda.Device(1):  # the kernels of other devices are used
                y = ai.normal((50, 7), seed=3, xp="cupy")
            assert KERNELS.pop()[4] == 1
            assert (y.get() == wanted).all()
        """,
    "errors that the reference would make worse are raised": """
        import warnings
        from standin_cupy import RawKernel
        warnings.simplefilter("error")
        class OutOfMemoryError(MemoryError):
            pass
        def raises(error):
            def broken(*arguments, **keywords):
                raise error
            return broken
        x = cupy.zeros((50, 7))
        working = RawKernel.__call__
        RawKernel.__call__ = raises(OutOfMemoryError("out of memory allocating 400 bytes"))
        try:
            ai.normal_(x, seed=3)
        except OutOfMemoryError:
            pass
        else:
            raise AssertionError
        RawKernel.__call__ = raises(RuntimeError("operation not permitted when stream is capturing"))
        with cupy.cuda.Stream() as stream:
            stream.captures = True
            try:
                ai.normal_(x, seed=3)
            except RuntimeError as error:
                assert "capturing" in str(error)
            else:
                raise AssertionError
        assert not x.get().any()
        RawKernel.__call__ = working
        law = ai.spec("distribution", distribution="triang", parameters=(0.3, -1.0, 4.0))
        with cupy.cuda.Stream() as stream:
            stream.captures = True
            try:
                law.fill_(x, seed=3)
            except RuntimeError as error:
                assert "before the capture of a CUDA graph; got it on device 0" in str(error)
            else:
                raise AssertionError
            stream.captures = False
            law.fill_(x, seed=3)
            stream.captures = True
            law.fill_(x, seed=4)
        assert (x.get() == law((50, 7), seed=4, dtype="float64")).all()
        """,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_on_a_stand_in(script):
    lines = ["from standin_cupy import install", "cupy = install()", "import arrayinit as ai"]
    lines += [line.removeprefix("        ") for line in script.strip("\n").splitlines()]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=HELPERS, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_asks_a_device_can_ask_the_stand_in():
    """So that `pytest -m gpu` is in order when there is one."""
    code = """
import importlib.machinery, sys
import standin_cupy
cupy = standin_cupy.install()
cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
import pytest
chosen = "test_cupy_draws or test_streams or test_orthogonal"
sys.exit(pytest.main(["-q", "-m", "gpu", "../engines/test_cuda.py", "-k", chosen, "-p", "no:cacheprovider"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=HELPERS, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "62 passed" in done.stdout
    assert "skipped" not in done.stdout
