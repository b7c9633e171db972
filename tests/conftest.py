"""Backends as parameters: a missing one is skipped with a reason, or fails where CI asks for all of them."""

import os
import signal
import threading

import pytest

from arrayinit.conformance.check import BACKENDS, Site, installed, sites

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX leaves a device no memory for the others
os.environ.pop("COLUMNS", None)  # texts of tables are as wide as without a terminal

# CuPy can't be imported without a GPU driver; tests/engines/test_cupy.py runs its code paths on a stand-in.
NEEDS_DEVICE = {"cupy"}


def pytest_addoption(parser):
    parser.addoption(
        "--all-backends",
        action="store_true",
        help="fail, not skip, where a backend that needs no GPU is missing",
    )
    parser.addoption("--fuzz-seconds", type=float, default=30.0, help="how long test_fuzz.py draws, in all")
    parser.addoption("--fuzz-seed", type=int, default=0, help="which cases it draws")


@pytest.fixture(autouse=True, scope="session")
def _backends_present(request):
    if request.config.getoption("--all-backends"):
        missing = [name for name in BACKENDS if name not in NEEDS_DEVICE and not installed(name)]
        assert not missing, f"--all-backends: not installed: {missing}"


@pytest.fixture
def in_time():
    """Fails what waits, instead of waiting with it."""

    def late(*_):
        raise AssertionError("it waited")

    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 20)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def found_places() -> list[Site]:
    """Every device of every backend that works here."""
    result = []
    for name in BACKENDS:
        if installed(name):
            try:
                result += list(sites(name))
            except Exception as error:  # installed but without a driver: the skip below says so
                print(f"{name}: {error}")
    return result


PLACES = found_places()


def is_on_device(place: Site) -> bool:
    """Whether a place is a CUDA device; JAX says gpu."""
    return place.device.startswith(("cuda", "gpu"))


def pytest_collection_modifyitems(items):
    """Tests that go to every place need a device where one of the places is one."""
    if any(is_on_device(place) for place in PLACES):
        for item in items:
            if item.get_closest_marker("places"):
                item.add_marker(pytest.mark.gpu)


def param_places():
    """Parameters for every place, and one that skips for each backend that is missing."""
    for place in PLACES:
        marks = [pytest.mark.gpu] if is_on_device(place) else []
        yield pytest.param(place, id=f"{place.label}-{place.device}".replace(" ", ""), marks=marks)
    for name in BACKENDS:
        if not any(place.backend == name for place in PLACES):
            yield pytest.param(
                name, id=name, marks=pytest.mark.skip(reason=f"{name} is not installed or has no device")
            )


def namespace(name: str):
    """A namespace by name, for tests about one library; skipped where it is missing."""
    return pytest.importorskip("dask.array" if name == "dask" else name)


def to_host(x):
    """The values of an array of any library as NumPy has them; bfloat16 as float32."""
    import numpy as np

    from arrayinit.backends import backend_of

    backend = backend_of(x)
    host = backend.to_numpy(x)
    if backend.dtype_name(x.dtype) == "bfloat16":
        host = (host.astype(np.uint32) << 16).view(np.float32)
    return host


def same(a, b) -> bool:
    """Whether two arrays have equal shape and equal elements, by ==."""
    a, b = to_host(a), to_host(b)
    return a.shape == b.shape and bool((a == b).all())


def within(seconds, function):
    """Run a function on a thread of its own, and return or raise as it does; a hang becomes a failure."""
    results = []

    def work():
        try:
            results.append((function(), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, f"no end after {seconds} s"
    (value, error) = results[0]
    if error is not None:
        raise error
    return value


__all__ = ["PLACES", "namespace", "param_places", "same", "to_host", "within"]
