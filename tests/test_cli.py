"""`python -m arrayinit`: the table, its exit status, and what it says of wrong input."""

import subprocess
import sys

import pytest
from conftest import PLACES

from arrayinit import __main__ as command
from arrayinit import __version__, check
from arrayinit.cases import DTYPES


def test_check_says_that_everything_is_identical(capsys):
    assert command.main(["check", "--dtype", "float32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["backend", "device", "dtype", "fingerprint", "identical", "orthogonal", "Mel/s"]
    rows = [line for line in lines if " float32 " in line]
    assert len(rows) == len(PLACES)
    assert len({row.split("float32")[1].split()[0] for row in rows}) == 1  # one fingerprint
    assert all(" yes " in row for row in rows)
    assert lines[-1].startswith(f"all {len(rows)} identical")


def test_check_fails_where_one_bit_differs(capsys, monkeypatch):
    real = check.fingerprint
    monkeypatch.setattr(check, "fingerprint", lambda x: real(x) if x.shape != (31, 17) else "0" * 32)
    assert command.main(["check", "--backend", "numpy", "--dtype", "float16"]) == 1
    out = capsys.readouterr().out
    assert " NO " in out
    assert "differs: sparse" in out


def test_check_fails_where_orthogonal_is_off(capsys, monkeypatch):
    monkeypatch.setattr(check, "tolerance", lambda dtype: 1e-12)
    assert command.main(["check", "--backend", "numpy", "--dtype", "float32"]) == 1


def test_check_fails_where_a_backend_is_asked_for_and_missing(capsys, monkeypatch):
    monkeypatch.setattr(check, "installed", lambda name: name != "dask")
    assert command.main(["check", "--backend", "dask"]) == 1
    assert "not installed" in capsys.readouterr().out


def test_a_backend_that_cannot_start_is_told(capsys, monkeypatch):
    def broken(name):
        raise RuntimeError("no driver")

    monkeypatch.setattr(check, "places", broken)
    assert command.main(["check", "--backend", "numpy"]) == 1
    assert "not usable: RuntimeError: no driver" in capsys.readouterr().out


def test_each_prints_every_initializer(capsys):
    assert command.main(["check", "--backend", "numpy", "--dtype", "float32", "--each"]) == 0
    out = capsys.readouterr().out
    assert all(f"    {name} " in out for name in ("uniform", "sparse", "dirac", "variance_scaling"))


@pytest.mark.parametrize(("given", "said"), [(["--backend", "tensorflow"], "numpy"), (["--dtype", "int8"], DTYPES[0])])
def test_wrong_options(given, said, capsys):
    assert command.main(["check", *given]) == 2
    error = capsys.readouterr().err
    assert given[0] in error
    assert repr(given[1]) in error
    assert said in error


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["--version"]])
def test_help_and_version(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert __version__ in out if arguments == ["--version"] else "check" in out


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "arrayinit", "check", "--backend", "numpy", "--dtype", "float32"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "all 1 identical" in done.stdout
