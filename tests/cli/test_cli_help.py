"""The help of the commands: examples that run, exit statuses, completion, and what a start imports."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import namespace
from test_imports import FRAMEWORKS

from arrayinit import __main__ as command
from arrayinit.conformance import check
from arrayinit.initializers import known_names
from arrayinit.laws.gains import NONLINEARITIES
from arrayinit.recipes import RECIPES

COMMANDS = ("check", "describe", "recipes", "init", "fingerprint", "bench")

SCHEMES = """
import arrayinit as ai

@ai.scheme
def laplace_he(geometry, gain=2**0.5):
    scale = gain / (2 * geometry.fan_in) ** 0.5
    return ai.spec("distribution", distribution="laplace", parameters=(0.0, scale))
"""


def help_of(*names):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert command.main([*names, "--help"]) == 0
    return out.getvalue()


def examples(*names):
    return [line.strip() for line in help_of(*names).splitlines() if line.startswith(" " * 6 + "arrayinit ")]


def run(line, files, monkeypatch):
    """The exit status and the output of a line of a shell, with pipes and with > FILE, in this process."""
    out = ""
    for part in line.split(" | "):
        part, _, target = part.partition(" > ")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.encode())))
        with contextlib.redirect_stdout(io.StringIO()) as taken:
            status = command.main(shlex.split(part)[1:])
        out = taken.getvalue()
        if status:
            return status, out
        if target:
            (files / target).write_text(out)
    return 0, out


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_schemes", raising=False)
    (tmp_path / "shapes.json").write_text(json.dumps({"h.0.mlp.c_proj.weight": [4, 8], "h.0.mlp.c_proj.bias": [4]}))
    (tmp_path / "rules.toml").write_text('[[rules]]\npattern = "*"\ninitializer = "zeros"')
    (tmp_path / "my_schemes.py").write_text(SCHEMES)
    np.save(tmp_path / "kernel.npy", np.ones((2, 3)))
    like = ["init", "--like", "shapes.json", "--recipe", "gpt2", "--seed", "0", "-o", "model.safetensors"]
    assert command.main(like) == 0
    return tmp_path


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_examples_run_as_printed(name, files, monkeypatch, capsys):
    monkeypatch.setattr(check, "BACKENDS", ("numpy",))  # the others take their time, and .ci/run runs them
    namespace("torch")  # of a row of bench
    lines = examples(*name.split())
    assert len(lines) >= 3
    for line in lines:
        if line == "arrayinit bench --quick":  # two minutes
            line += " --list"
        status, out = run(line, files, monkeypatch)
        assert status == 0, (line, capsys.readouterr().err)
        assert out or ">" in line
        if "--json" in line and "--json bench" not in line and ">" not in line:
            json.loads(out)
    assert "laplace_he" not in "".join(lines) or "my_schemes" in sys.modules


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_terminal_and_says_what_exit_statuses_mean(name):
    text = help_of(*name.split())
    assert max(map(len, text.splitlines())) <= 110
    words = " ".join(text.split())
    assert re.search(r"Exit status: 0 if .*; 1 if .*; 2 if the command line is wrong; 130 after Ctrl-C\.", words)
    assert name == "" or "--json" in text


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["describe", "normal", "3"], 0),
        (["fingerprint", "rules.toml"], 1),
        (["init", "--like", "rules.toml", "--rules", "rules.toml", "--seed", "0", "--dry-run"], 1),
        (["recipes", "lost"], 2),
        (["fingerprint", "lost"], 2),
        (["check", "--dtype", "int8"], 2),
        (["bench", "--rows", "lost"], 2),
        (["lost"], 2),
    ],
)
def test_exit_statuses(words, status, files, capsys):
    assert command.main(words) == status


def completed(line):
    """What a shell is offered for the last word of a line."""
    *before, word = line.split(" ")
    from click.shell_completion import ShellComplete

    from arrayinit.cli import cli

    return [item.value for item in ShellComplete(cli, {}, "arrayinit", "X").get_completions(before, word)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fing", ["fingerprint"]),
        ("init --rec", ["--recipe"]),
        ("recipes gp", ["gpt2"]),
        ("recipes ", list(RECIPES)),
        ("init --recipe torchtitan", ["torchtitan", "torchtitan_gpt_oss"]),
        ("init --recipe=gp", ["gpt2"]),
        ("recipes gpt2 --set la", ["layers=12"]),
        ("recipes gpt2 --set std", ["std=0.02"]),
        ("init --recipe gpt2 --set zero", ["zero_centered_norms="]),
        ("init --recipe lost --set ", []),
        ("init --dtype bf", ["bfloat16"]),
        ("check --backend t", ["torch"]),
        ("check --dtype complex", ["complex128", "complex64"]),
        ("recipes gpt2 --format t", ["text", "toml"]),
        ("describe xavier_", ["xavier_uniform", "xavier_normal"]),
        ("describe ", None),
        ("describe normal 3x4 --dtype complex", ["complex64", "complex128"]),
        ("describe kaiming_normal 3x4 --no", ["--nonlinearity"]),
        ("describe kaiming_normal 3x4 --gr", ["--groups"]),
        ("describe kaiming_normal 3x4 --nonlinearity ", list(NONLINEARITIES)),
        ("describe kaiming_normal 3x4 --mode fan_o", ["fan_out"]),
        ("describe packed 6x4 --initializer small", ["small_normal"]),
        ("describe kaiming_normal 3x4 --gain ", []),
        ("describe lost 3x4 --no", []),
    ],
)
def test_completion(line, expected):
    found = completed(line)
    assert sorted(found) == sorted(known_names() if expected is None else expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_as_the_help_turns_it_on(tmp_path):
    (tmp_path / "arrayinit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m arrayinit "$@"\n')
    (tmp_path / "arrayinit").chmod(0o755)
    line = next(line for line in help_of().splitlines() if "bash_source" in line).partition("#")[0]
    script = f"{line}\nCOMP_WORDS=(arrayinit recipes gp) COMP_CWORD=2; _arrayinit_completion arrayinit"
    script += "; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("gpt2\n", 0), done.stderr


def test_start_imports_no_framework_and_nothing_that_only_draws_need():
    late = (*FRAMEWORKS, "arrayinit.models.matching", "arrayinit.recipes", "arrayinit.bench", "arrayinit.digests")
    lines = [["--help"], ["--version"], ["describe", "xavier_uniform", "3x4"], *([name, "--help"] for name in COMMANDS)]
    code = f"""
import contextlib, io, sys
from arrayinit.cli import main
for words in {lines!r}:
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(words) == 0, words
print(*[name for name in {late!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr + done.stdout
