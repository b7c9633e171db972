"""`python -m arrayinit`: output, exit status, and errors for wrong input."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import PLACES, namespace, same
from test_imports import modules

import arrayinit as ai
from arrayinit import __main__ as command, __version__
from arrayinit.conformance import check
from arrayinit.conformance.cases import CASES, DTYPES


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
    real = check.vector_digest
    monkeypatch.setattr(check, "vector_digest", lambda x: real(x) if x.shape != (31, 17) else "0" * 32)
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

    monkeypatch.setattr(check, "sites", broken)
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


COMMANDS = ("check", "describe", "recipes", "init", "fingerprint", "bench")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "-h"] for name in COMMANDS)])
def test_help_and_version(arguments, capsys):
    assert command.main(arguments) == 0
    out = capsys.readouterr().out
    assert (
        __version__ in out if arguments == ["--version"] else f"arrayinit {arguments[0]}".removesuffix(" --help") in out
    )


def test_commands_are_listed_with_what_they_do(capsys):
    command.main(["--help"])
    lines = [
        line.split(maxsplit=1)
        for line in capsys.readouterr().out.partition("Commands:")[2].split("\n\n")[0].splitlines()
        if line
    ]
    assert {name for name, _ in lines} == set(COMMANDS)
    assert all(not text.endswith("...") for _, text in lines)


def test_completion_of_the_shell():
    done = subprocess.run(
        [sys.executable, "-m", "arrayinit"], capture_output=True, text=True, timeout=60,
        env={"_ARRAYINIT_COMPLETE": "bash_complete", "COMP_WORDS": "arrayinit fing", "COMP_CWORD": "1", **os.environ},
    )  # fmt: skip
    assert "fingerprint" in done.stdout


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


def run(capsys, *arguments):
    """(exit status, stdout, stderr) of a command."""
    status = command.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_describe(capsys):
    status, out, _ = run(capsys, "describe", "kaiming_normal", "512x256x3x3", "--nonlinearity", "relu")
    assert status == 0
    numbers = dict(line.split() for line in out.splitlines())
    assert numbers["fan_in"] == "2304"
    assert numbers["gain"] == "1.414213562"
    assert float(numbers["std"]) == pytest.approx((2 / 2304) ** 0.5)
    _, out, _ = run(capsys, "describe", "trunc_normal", "6", "--std=0.02", "--a", "-0.04", "--b", "0.04", "--json")
    found = ai.describe(ai.spec("trunc_normal", std=0.02, a=-0.04, b=0.04), 6)
    assert json.loads(out)["std"] == found.std
    _, out, _ = run(capsys, "describe", "xavier_uniform", "3x3x64x128", "--in-axis", "-2", "--out-axis", "-1", "--json")
    assert (json.loads(out)["fan_in"], json.loads(out)["fan_out"]) == (576, 1152)
    _, out, _ = run(capsys, "describe", "trunc_normal", "6", "--a", "-inf", "--json")
    assert "Infinity" not in out  # it is not valid JSON
    assert (json.loads(out)["low"], json.loads(out)["high"]) == (None, 2.0)
    _, out, _ = run(capsys, "describe", "normal", "scalar")
    assert "shape         scalar" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["kaimng_normal", "3x4"], "'INITIALIZER': must be an initializer; got 'kaimng_normal', did you mean"),
        (["kaiming_normal", "3x4", "--mode", "fan"], "Error: --mode must be"),
        (["kaiming_normal", "3xx4"], "must be sizes separated by x, such as 512x256x3x3; got '3xx4'"),
        (["kaiming_normal", "3"], "fans need a shape of at least 2 dimensions"),
        (["kaiming_normal", "3x4", "--gian", "2"], "kaiming_normal has no parameter"),
        (["kaiming_normal", "3x4", "--mode"], "--mode needs a value"),
        (["kaiming_normal", "3x4", "mode"], "parameters must be given as --name value; got 'mode'"),
        (["kaiming_normal", "3x4", "--dtype", "int8"], "Error: --dtype must be one of"),
    ],
)
def test_describe_refuses(capsys, arguments, said):
    status, out, err = run(capsys, "describe", *arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_recipes(capsys):
    from arrayinit.recipes import RECIPES, recipe

    status, out, _ = run(capsys, "recipes")
    assert status == 0
    assert all(name in out for name in RECIPES)
    _, out, _ = run(capsys, "recipes", "gpt2", "--set", "layers=12")
    assert out.rstrip("\n") == str(recipe("gpt2", layers=12)).rstrip("\n")
    for form, read in (("toml", ai.Rules.from_toml), ("json", ai.Rules.from_json)):
        _, out, _ = run(capsys, "recipes", "gpt2", "--set", "layers=12", "--format", form)
        assert read(out).as_dict() == recipe("gpt2", layers=12).as_dict()
    status, _, err = run(capsys, "recipes", "gtp2")
    assert status == 2
    assert "gpt2" in err
    for words in (["recipes", "gpt2"], ["init", "--like", __file__, "--seed", "0", "--dry-run", "--recipe", "gpt2"]):
        status, _, err = run(capsys, *words, "--set", "layer=12")
        assert status == 2
        assert (
            "'--set layer': gpt2 has no parameter 'layer', did you mean 'layers'? it takes layers, std, zero_ce" in err
        )
    status, _, err = run(capsys, "recipes", "gpt2", "--set", "layers=0")
    assert "Invalid value for '--set layers': must be at least 1; got 0" in err
    status, _, err = run(capsys, "recipes", "gpt2", "--set", "zero-centered-norms=3")
    assert status == 2
    assert "Invalid value for '--set zero-centered-norms': must be" in err


GEMMA = {"model.norm.weight": [4], "model.layers.0.pre_feedforward_layernorm.weight": [4], "embed.weight": [8, 4]}


@pytest.mark.parametrize(
    ("others", "options", "warns"),
    [
        ({}, ["llama"], True),
        ({}, ["gpt2", "--set", "layers=3"], True),
        ({"layers.0.linear_attn.in_proj_qkvz.weight": [4, 4]}, ["mup"], True),
        ({}, ["llama", "--set", "zero_centered_norms=true"], False),
        ({}, ["llama", "--set", "zero-centered-norms=false"], False),
        ({"model.layers.0.layer_scalar.weight": [1]}, ["llama"], False),  # Gemma 4
        ({"model.layers.0.laurel.a.weight": [4, 4]}, ["llama"], False),  # Gemma 3n
    ],
)
@pytest.mark.filterwarnings("ignore:these rules apply to no parameter:UserWarning")
def test_files_of_models_with_zero_centered_norms(tmp_path, monkeypatch, capsys, others, options, warns):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text(json.dumps(GEMMA | others))
    status, out, err = run(capsys, "init", "--like", "s.json", "--seed", "0", "--dry-run", "--recipe", *options)
    assert status == 0
    assert ("say --set zero_centered_norms=true" in err) == warns
    if "zero_centered_norms=true" in options:
        assert {line.split()[2] for line in out.splitlines() if "norm.weight" in line} == {"zeros"}


def test_parameters_of_a_distribution(capsys):
    words = ("describe", "distribution", "4x4", "--distribution", "gamma", "--json", "--parameters")
    expected = ai.describe(ai.spec("distribution", distribution="gamma", parameters=(2.0,)), (4, 4))
    assert json.loads(run(capsys, *words, "2")[1])["std"] == expected.std
    (status, out, _), bounds = run(capsys, *words, "2,0,3"), (2.0, 0.0, 3.0)
    expected = ai.describe(ai.spec("distribution", distribution="gamma", parameters=bounds), (4, 4))
    assert (status, json.loads(out)["std"]) == (0, expected.std)


RULES = """
[[rules]]
pattern = "*.bias"
initializer = "zeros"

[[rules]]
pattern = "*"
initializer = {name = "normal", std = 0.02}
"""
SHAPES = {"fc.weight": [40, 30], "fc.bias": [40], "head.weight": {"shape": [7, 40], "dtype": "bfloat16"}}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "shapes.json").write_text(json.dumps(SHAPES))
    return tmp_path


INIT = ("init", "--rules", "rules.toml", "--seed", "5")


def test_init_from_shapes(capsys, files):
    status, out, err = run(capsys, *INIT, "--like", "shapes.json", "-o", "m.safetensors")
    assert (status, err) == (0, "")
    assert out == f"m.safetensors: 3 tensors, {(files / 'm.safetensors').stat().st_size:,} bytes\n"
    held = namespace("safetensors.torch").load_file("m.safetensors")
    normal = ai.spec("normal", std=0.02)
    assert same(held["fc.weight"], normal((40, 30), seed=5, name="fc.weight"))
    assert same(held["head.weight"], normal((7, 40), seed=5, name="head.weight", xp="torch", dtype="bfloat16"))
    assert (held["fc.bias"] == 0).all()


def test_init_like_a_file_and_an_index(capsys, files):
    run(capsys, *INIT, "--like", "shapes.json", "-o", "a.safetensors")
    (files / "index.json").write_text(json.dumps({"weight_map": dict.fromkeys(SHAPES, "a.safetensors")}))
    for like in ("a.safetensors", "index.json"):
        status, _, _ = run(capsys, *INIT, "--like", like, "-o", "again.safetensors", "--force")
        assert status == 0
        assert (files / "again.safetensors").read_bytes() == (files / "a.safetensors").read_bytes()
    run(capsys, *INIT, "--like", "a.safetensors", "--dtype", "float16", "-o", "half.safetensors")
    held = namespace("safetensors.numpy").load_file("half.safetensors")
    assert {x.dtype.name for x in held.values()} == {"float16"}


def test_init_with_other_names_and_without_writing(capsys, files):
    (files / "names.json").write_text(json.dumps({"fc.weight": ["old", 3], "head.weight": "lm.weight"}))
    given = (*INIT, "--like", "shapes.json", "--seed-names", "names.json")
    status, out, _ = run(capsys, *given, "--dry-run")
    assert status == 0
    assert out.splitlines() == [
        "parameter    shape  initializer       rule    seed name",
        "--------------------------------------------------------",
        "fc.weight    40x30  normal, std=0.02  *       ('old', 3)",
        "fc.bias         40  zeros             *.bias",
        "head.weight   7x40  normal, std=0.02  *       lm.weight",
    ]
    assert sorted(path.name for path in files.iterdir()) == ["names.json", "rules.toml", "shapes.json"]
    run(capsys, *given, "-o", "m.safetensors")
    held = namespace("safetensors.torch").load_file("m.safetensors")
    assert same(held["fc.weight"], ai.normal((40, 30), std=0.02, seed=5, name=("old", 3)))


def test_init_does_not_overwrite(capsys, files):
    (files / "m.safetensors").write_text("mine")
    status, _, err = run(capsys, *INIT, "--like", "shapes.json", "-o", "m.safetensors")
    assert status == 1
    assert "-o must be a new file; " in err
    assert "Give --force" in err
    assert (files / "m.safetensors").read_text() == "mine"
    assert run(capsys, *INIT, "--like", "shapes.json", "-o", "m.safetensors", "--force")[0] == 0
    assert (files / "m.safetensors").stat().st_size > 4000


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--rules", "rules.toml", "--seed", "0", "--like", "shapes.json"], 2, "either -o FILE or --dry-run"),
        (["--seed", "0", "--like", "shapes.json", "-o", "m"], 2, "either --rules or --recipe must be given"),
        (
            ["--rules", "rules.toml", "--seed", "-1", "--like", "shapes.json", "-o", "m"],
            2,
            "must be an integer from 0 to 2**64 - 1; got '-1'",
        ),
        (["--rules", "rules.toml", "--like", "shapes.json", "-o", "m"], 2, "Missing option '--seed'"),
        (["--rules", "lost.toml", "--seed", "0", "--like", "shapes.json", "-o", "m"], 2, "'lost.toml' does not exist"),
        (["--rules", "shapes.json", "--seed", "0", "--like", "shapes.json", "-o", "m"], 2, "rules must be patterns"),
        (["--rules", "rules.toml", "--seed", "0", "--like", "rules.toml", "-o", "m"], 1, "must be a safetensors file"),
        (["--rules", "few.toml", "--seed", "0", "--like", "shapes.json", "-o", "m"], 1, "head.weight"),
        (["--rules", "keep.toml", "--seed", "0", "--like", "shapes.json", "-o", "m"], 1, "has no values to keep"),
        (["--rules", "rules.toml", "--seed", "0", "--like", "bad.json", "-o", "m"], 1, "must have a shape, a list"),
        (["--rules", "rules.toml", "--seed", "0", "--like", "dtype.json", "-o", "m"], 1, "`dtype` of 'w' must be one"),
        (["--rules", "binary", "--seed", "0", "--like", "shapes.json", "-o", "m"], 2, "binary: 'utf-8' codec can't"),
        (["--rules", "utf16", "--seed", "0", "--like", "shapes.json", "-o", "m"], 2, "utf16: it must be UTF-8"),
        (["--rules", "rules.toml", "--seed", "0", "--like", "binary", "-o", "m"], 1, "must be a safetensors file"),
        (["--rules", "rules.toml", "--seed", "0", "--like", "shapes.json", "-o", "lost/m"], 1, "No such file"),
        (["--rules", "rules.toml", "--seed", "0", "--like", "index.json", "-o", "m"], 1, "names of files under"),
        (
            ["--rules", "rules.toml", "--seed", "0", "--like", "shapes.json", "-o", "m", "--seed-names", "binary"],
            1,
            "--seed-names must be a JSON object of names; got binary",
        ),
        (
            ["--rules", "rules.toml", "--seed", "0", "--like", "shapes.json", "-o", "m", "--seed-names", "nested.json"],
            1,
            "--seed-names must be a JSON object of names, or of lists of them; got [[3]] for 'w' in nested.json",
        ),
        (
            ["--rules", "rules.toml", "--seed", "0", "--like", "shapes.json", "-o", "m", "--dtype", "bf16"],
            2,
            "must be one of float64, float32, float16, bfloat16, complex64; got 'bf16', did you mean 'bfloat16'?",
        ),
    ],
)
def test_init_refuses(capsys, files, arguments, status, said):
    (files / "few.toml").write_text('[[rules]]\npattern = "fc.*"\ninitializer = "zeros"')
    (files / "keep.toml").write_text('[[rules]]\npattern = "*"\nkeep = true')
    (files / "bad.json").write_text('{"w": 3}')
    (files / "dtype.json").write_text('{"w": {"shape": [3], "dtype": "float99"}}')
    (files / "index.json").write_text('{"weight_map": {"w": 3}}')
    (files / "binary").write_bytes(b"\xff\xff\x00")
    (files / "nested.json").write_text('{"w": [[3]]}')
    (files / "utf16").write_text(RULES, "utf-16")
    before = sorted(files.iterdir())
    found, out, err = run(capsys, "init", *arguments)
    assert (found, out) == (status, "")
    assert said in err
    assert sorted(files.iterdir()) == before


def test_warnings_are_lines(capsys, files):
    (files / "idle.toml").write_text(RULES + '[[rules]]\npattern = "idle*"\ninitializer = "zeros"')
    status, out, err = run(capsys, "init", "--rules", "idle.toml", "--seed", "5", "--like", "shapes.json", "--dry-run")
    assert status == 0
    assert len(out.splitlines()) == 2 + 3
    assert (
        err == "Warning: these rules apply to no parameter (nothing matches, or an earlier rule comes first): idle*\n"
    )


@pytest.mark.parametrize("word", ["F8_E4M3", "F8_E8M0", "F4", "WHATEVER"])
def test_dtypes_that_nobody_draws_need_no_knowledge_where_another_is_given(capsys, files, word):
    whole = {"dtype": "I32", "shape": [2], "data_offsets": [16, 24]}
    text = json.dumps({"w": {"dtype": word, "shape": [4, 4], "data_offsets": [0, 16]}, "n": whole}).encode()
    (files / "like").write_bytes(len(text).to_bytes(8, "little") + text + bytes(24))
    (files / "like.json").write_text(json.dumps({"w": {"shape": [4, 4], "dtype": word}}))
    (files / "both.toml").write_text('[[rules]]\npattern = "n"\ninitializer = "ones"\n' + RULES)
    for like in ("like", "like.json"):
        status, out, err = run(capsys, *INIT, "--like", like, "-o", "m")
        assert (status, out) == (1, "")
        assert "`dtype` of 'w' must be one of float64, float32, " in err
        assert f"or --dtype given; got '{word}'" in err
    given = ("init", "--rules", "both.toml", "--seed", "5", "--like", "like", "--dtype", "bfloat16")
    assert run(capsys, *given, "-o", "m")[0] == 0
    held = namespace("safetensors.torch").load_file("m")
    assert same(held["w"], ai.normal((4, 4), std=0.02, seed=5, name="w", xp="torch", dtype="bfloat16"))
    assert held["n"].tolist() == [1, 1]
    assert "int32" in str(held["n"].dtype)


def test_a_file_is_drawn_in_its_own_place(capsys, files):
    run(capsys, *INIT, "--like", "shapes.json", "-o", "m")
    first = (files / "m").read_bytes()
    assert run(capsys, *INIT, "--like", "m", "-o", "m")[0] == 1
    assert (files / "m").read_bytes() == first
    status, _, _ = run(capsys, *INIT[:-1], "6", "--like", "m", "-o", "m", "--force")
    assert status == 0
    run(capsys, *INIT[:-1], "6", "--like", "shapes.json", "-o", "n")
    assert (files / "m").read_bytes() == (files / "n").read_bytes() != first
    assert not (files / "m.unfinished").exists()


EVIL = "w\x1b[2J\x9b1m\u202e\nnot a line"
SHOWN = r"w\x1b[2J\x9b1m\u202e\nnot a line"


def quiet(*texts):
    """Whether texts are free of characters that control a terminal."""
    return all(line.isprintable() for text in texts for line in text.split("\n"))


def test_names_command_no_terminal(capsys, files):
    (files / "like.json").write_text(json.dumps({EVIL: {"shape": [3], "dtype": "int8"}}))
    (files / "keep.toml").write_text('[[rules]]\npattern = "*"\nkeep = true')
    (files / "names.json").write_text(json.dumps({f"{EVIL}!": EVIL}))
    (files / "one.toml").write_text(RULES.replace("*.bias", json.dumps(EVIL)[1:-1]))
    (files / "dtype.json").write_text(json.dumps({EVIL: {"shape": [3], "dtype": EVIL}}))
    (files / "twice.json").write_text(f"{{{json.dumps(EVIL)}: [3], {json.dumps(EVIL)}: [4]}}")
    init = ("init", "--seed", "5", "--dry-run", "--like")
    for given, said in (
        ((*init, "like.json", "--rules", "rules.toml"), f"  {SHOWN}  (3, int8"),
        ((*init, "like.json", "--rules", "keep.toml"), f"rules keep {SHOWN}"),
        ((*init, "dtype.json", "--rules", "rules.toml"), f"got '{SHOWN}'"),
        ((*init, "twice.json", "--rules", "rules.toml"), f"the name '{SHOWN}' twice"),
        ((*init, "shapes.json", "--rules", EVIL), "does not exist"),
        ((*init, "shapes.json", "--recipe", EVIL), SHOWN),
        (("describe", EVIL, "3"), SHOWN),
        (("describe", "normal", EVIL), SHOWN),
        (("describe", "normal", "3", f"--{EVIL}=3"), "has no parameter"),
        (("recipes", EVIL), SHOWN),
        ((EVIL,), "No such command"),
    ):
        status, out, err = run(capsys, *given)
        assert (status > 0, out) == (True, "")
        assert quiet(err), given
        assert said in err, given
    (files / "like.json").write_text(json.dumps({EVIL: [3]}))
    status, out, err = run(capsys, *init, "like.json", "--rules", "one.toml", "--seed-names", "names.json")
    assert (status, out.splitlines()[2].split("  ")[0]) == (0, SHOWN)
    assert f"an earlier rule comes first): {SHOWN}" not in err
    assert f"--seed-names has paths that the model lacks: {SHOWN}!" in err
    assert quiet(out, err)
    status, out, err = run(capsys, *INIT, "--like", "like.json", "-o", EVIL)
    assert (status, out.partition(":")[0]) == (0, SHOWN)
    status, out, err = run(capsys, "fingerprint", EVIL)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].endswith(f"  {SHOWN}")
    (files / EVIL).write_bytes(b"")
    status, out, err = run(capsys, "fingerprint", EVIL)
    assert status == 1
    assert quiet(err)
    assert SHOWN in err


def test_names_that_the_stream_cannot_hold(files, monkeypatch, capsys):
    (files / "like.json").write_text(json.dumps({"wé中": [3]}))
    narrow = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert command.main([*INIT, "--like", "like.json", "--dry-run"]) == 0
    narrow.flush()
    assert narrow.buffer.getvalue().splitlines()[2].split(b"  ")[0] == rb"w\xe9\u4e2d"
    monkeypatch.undo()


def test_surrogates_are_refused_or_escaped(capsys, files):
    (files / "sur.json").write_text('{"w\\ud800": [3]}')
    status, out, err = run(capsys, *INIT, "--like", "sur.json", "-o", "m")
    assert (status, out) == (1, "")
    assert r"can be encoded as UTF-8; got 'w\ud800'" in err
    name = os.fsdecode(b"m\xff")  # not valid UTF-8
    status, out, err = run(capsys, *INIT, "--like", "shapes.json", "-o", name)
    assert (status, err) == (0, "")
    assert out.startswith(r"m\udcff: 3 tensors")
    assert (files / name).exists()


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("kind", ["FIFO", "device", "nested", "digits"])
@pytest.mark.parametrize("option", ["--like", "--rules", "--seed-names", "FILE"])
def test_what_would_not_end_is_refused(capsys, files, kind, option):
    path = files / ("bad.json" if option in ("--like", "--seed-names") else "bad")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/zero"
    elif kind == "nested":
        path.write_text(("x = " if option == "--rules" else "") + "[" * 100_000 + "]" * 100_000)
    else:
        path.write_text(("x = " if option == "--rules" else "") + "1" * 100_000)
    if option == "FILE":
        status, out, err = run(capsys, "fingerprint", path)
    else:
        given = {"--like": "shapes.json", "--rules": "rules.toml", option: path}
        words = [str(word) for pair in given.items() for word in pair]
        status, out, err = run(capsys, "init", *words, "--seed", "5", "-o", "m")
    assert (status, out) == (2 if option == "--rules" or (kind == "device" and "does not exist" in err) else 1, "")
    assert "Traceback" not in err
    assert len(err) < 3000
    assert str(path) in err
    assert not list(files.glob("m*"))


def test_rules_from_a_pipe(capsys, files):
    reading, writing = os.pipe()
    os.write(writing, RULES.encode())
    os.close(writing)
    given = ("init", "--rules", f"/dev/fd/{reading}", "--seed", "5", "--like", "shapes.json", "--dry-run")
    status, out, _ = run(capsys, *given)
    os.close(reading)
    assert status == 0
    assert len(out.splitlines()) == 2 + 3


@pytest.mark.parametrize("form", ["toml", "json"])
def test_rules_from_stdin_in_either_format(capsys, files, monkeypatch, form):
    _, text, _ = run(capsys, "recipes", "gpt2", "--set", "layers=3", "--format", form)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"\n{text}".encode())))
    given = ("init", "--seed", "5", "--like", "shapes.json", "--dry-run")
    status, out, _ = run(capsys, *given, "--rules", "-")
    assert status == 0
    assert out == run(capsys, *given, "--recipe", "gpt2", "--set", "layers=3")[1]


def test_rules_as_a_plain_mapping(capsys, files):
    (files / "plain.json").write_text('{"*.bias": "zeros", "*": {"name": "normal", "std": 0.02}}')
    given = ("init", "--seed", "5", "--like", "shapes.json", "--dry-run", "--rules")
    assert run(capsys, *given, "plain.json") == run(capsys, *given, "rules.toml")


@pytest.mark.parametrize(("text", "said"), [("{", "'--rules': -: "), ("x" * (1 << 21), "at most 1,048,576 bytes")])
def test_wrong_rules_from_stdin(capsys, files, monkeypatch, text, said):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    given = ("init", "--seed", "5", "--like", "shapes.json", "--rules", "-", "-o", "m.safetensors")
    status, out, err = run(capsys, *given)
    assert (status, out) == (2, "")
    assert said in err
    assert not list(files.glob("m*"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m.pt", "For .pt, load the safetensors file with safetensors.torch.load_file and torch.save that"),
        ("m.bin", "For .bin, "),
        ("m.h5", "with h5py"),
        ("m.NPZ", "with numpy.savez"),
        ("m.npy", "with numpy.save"),
        ("m.xyz", "must end with .safetensors; got 'm.xyz'\n"),
    ],
)
def test_endings_of_other_formats_are_refused(capsys, files, name, said):
    status, out, err = run(capsys, *INIT, "--like", "shapes.json", "-o", name)
    assert (status, out) == (2, "")
    assert "Invalid value for '-o' / '--output': the new file is a safetensors file" in err
    assert said in err
    assert not list(files.glob("m*"))


def test_only_some_tensors(capsys, files):
    run(capsys, *INIT, "--like", "shapes.json", "-o", "all.safetensors")
    given = (*INIT, "--like", "shapes.json", "--only", "head.weight", "--only", "*.bias")
    status, out, err = run(capsys, *given, "-o", "some.safetensors")
    assert (status, err) == (0, "")
    assert out.startswith("some.safetensors: 2 tensors, ")
    load = namespace("safetensors.torch").load_file
    whole, some = load("all.safetensors"), load("some.safetensors")
    assert some.keys() == {"head.weight", "fc.bias"}
    assert all(same(some[name], whole[name]) for name in some)
    assert len(run(capsys, *given, "--dry-run")[1].splitlines()) == 2 + 2  # with the heading
    status, out, err = run(capsys, *INIT, "--like", "shapes.json", "--only", "fc.wieght", "--dry-run")
    assert (status, out) == (1, "")
    assert "--only must select" in err
    assert "did you mean 'fc.weight'" in err


def document(capsys, *arguments):
    """The only thing on stdout, which is JSON as the standard has it."""
    status, out, err = run(capsys, *arguments)
    assert (status, err) == (0, "")
    assert out.count("\n") == 1 or arguments[0] == "recipes"

    def refuse(word):
        raise AssertionError(word)

    return json.loads(out, parse_constant=refuse)


def test_json_of_recipes(capsys):
    from arrayinit.recipes import RECIPES, recipe

    listed = document(capsys, "recipes", "--json")
    assert [each["name"] for each in listed] == list(RECIPES)
    assert all(each["summary"] for each in listed)
    assert next(each for each in listed if each["name"] == "gpt2")["parameters"]["std"] == 0.02
    data = document(capsys, "recipes", "gpt2", "--set", "layers=3", "--json")
    assert ai.Rules.from_dict(data).as_dict() == recipe("gpt2", layers=3).as_dict()
    for words in (["gpt2", "--json", "--format", "toml"], ["--format", "toml"]):
        assert run(capsys, "recipes", *words)[:2] == (2, "")


def test_json_of_init_and_fingerprint(capsys, files):
    planned = document(capsys, *INIT, "--like", "shapes.json", "--dry-run", "--json")
    assert planned["seed"] == 5
    assert planned["tensors"]["head.weight"] == {
        "shape": [7, 40],
        "dtype": "bfloat16",
        "initializer": {"name": "normal", "std": 0.02},
        "seed_name": "head.weight",
    }
    written = document(capsys, *INIT, "--like", "shapes.json", "-o", "m.safetensors", "--json")
    size = (files / "m.safetensors").stat().st_size
    assert written == planned | {"file": "m.safetensors", "bytes": size}
    marks = document(capsys, "fingerprint", "m.safetensors", "--json")
    lines = [line.split() for line in run(capsys, "fingerprint", "m.safetensors")[1].splitlines()]
    assert marks["fingerprint"] == lines[-1][0]
    assert {name: entry["fingerprint"] for name, entry in marks["tensors"].items()} == {w[-1]: w[0] for w in lines[:-1]}
    assert marks["tensors"]["fc.weight"]["shape"] == [40, 30]
    status, out, err = run(capsys, *INIT, "--like", "shapes.json", "-o", "m.safetensors", "--json")
    assert (status, out) == (1, "")
    assert "-o must be a new file" in err


def test_json_of_check(capsys, monkeypatch):
    given = ("check", "--backend", "numpy", "--dtype", "float32", "--json")
    found = document(capsys, *given, "--each")
    assert found["identical"] is True
    (row,) = found["comparisons"]
    assert (row["backend"], row["dtype"], row["differing"], row["tolerance"]) == ("numpy", "float32", [], 2e-6)
    assert row["orthogonal"] <= 2e-6
    assert "sparse" in row["fingerprints"]
    monkeypatch.setattr(check, "vector_digest", lambda x: "0" * 32)
    status, out, _ = run(capsys, *given)
    assert status == 1
    assert json.loads(out)["identical"] is False
    assert "sparse" in json.loads(out)["comparisons"][0]["differing"]


def test_json_of_bench(capsys):
    namespace("rich")
    given = ("bench", "--rows", "numpy/constant/64")
    found = document(capsys, *given, "--repeats", "1", "--json")
    assert [row["name"] for row in found["rows"]] == ["numpy/constant/64"]
    assert found["options"]["repeats"] == 1
    (listed,) = document(capsys, *given, "--list", "--json")
    assert listed["name"] == "numpy/constant/64"
    assert set(listed) == {"name", "peers", "goals"}
    status, out, err = run(capsys, *given, "--json", "--markdown")
    assert (status, out) == (2, "")
    assert "`--json` without a file excludes --markdown" in err


def test_jit_is_checked_in_one_dtype_unless_asked(capsys, monkeypatch):
    namespace("jax")
    asked = []

    def note(site, dtype, cases):
        assert {case.spec.name for case in cases} == {case.spec.name for case in CASES}
        asked.append((site.label, dtype))
        return check.Comparison(site, dtype, {}, 0.0, 1.0)

    monkeypatch.setattr(check, "check", note)
    for words, expected in (((), ("float32",)), (("--full",), DTYPES), (("--dtype", "float16"), ("float16",))):
        asked.clear()
        assert run(capsys, "check", "--backend", "jax", *words)[0] == 0
        assert [dtype for label, dtype in asked if label == "jax (jit)"] == list(expected)
        assert [dtype for label, dtype in asked if label == "jax"] == list(expected if "--dtype" in words else DTYPES)


@pytest.mark.parametrize(
    ("variable", "is_installed", "said"),
    [
        ("0", True, "not used, because ARRAYINIT_COMPILE is 0"),
        ("", False, "missing, because llvmlite is not installed (pip install llvmlite)"),
    ],
)
def test_check_and_bench_say_that_loops_are_missing(capsys, monkeypatch, variable, is_installed, said):
    monkeypatch.setenv("ARRAYINIT_COMPILE", variable)
    if not is_installed:
        monkeypatch.setitem(sys.modules, "llvmlite", None)
    given = ("check", "--backend", "numpy", "--dtype", "float32")
    last = run(capsys, *given)[1].splitlines()[-1]
    assert last == f"The compiled loops are {said}; NumPy draws the same bits, more slowly."
    assert document(capsys, *given, "--json")["compiled_loops"] is False
    assert last in run(capsys, "bench", "--rows", "numpy/constant/64", "--repeats", "1")[1].splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["describe", "normal", f"1{'0' * 400}x3"], "must be sizes below 2**63"),
        (["describe", "normal", f"{1 << 63}"], "must be sizes below 2**63"),
        (["describe", "normal", f"1{'0' * 5000}x3"], "must be sizes separated by x"),
        (["describe", "normal", "3", "--std", "1" * 5000], "must be a number with fewer digits"),
        (["recipes", "gpt2", "--set", f"layers={'1' * 5000}"], "must be a number with fewer digits"),
        (["recipes", "gpt2", "--set", "x" * 5000], "must be NAME=VALUE"),
    ],
    ids=range(6),
)
def test_numbers_of_many_digits_are_refused(capsys, arguments, said):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err) < 3000


def test_no_memory_is_an_error_in_words(capsys, files, monkeypatch):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 14.6 TiB")

    monkeypatch.setattr(sys.modules["arrayinit.cli.init"], "save_safetensors", full)
    status, out, err = run(capsys, *INIT, "--like", "shapes.json", "-o", "m")
    assert (status, out, err) == (1, "", "Error: there is not enough memory: Unable to allocate 14.6 TiB\n")


def test_fingerprint_of_a_file_that_ends_early(capsys, files):
    run(capsys, *INIT, "--like", "shapes.json", "-o", "m")
    os.truncate("m", (files / "m").stat().st_size - 1)
    status, _, err = run(capsys, "fingerprint", "m")
    assert status == 1
    assert "`m` must hold the whole of 'head.weight'; it ends at byte" in err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such pipes")
def test_a_reader_that_has_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "arrayinit", "recipes"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_an_error_in_words(unbuffered):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "arrayinit", "recipes"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "arrayinit: [Errno 28] No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "share"), [(signal.SIGINT, 130, 0.0), (signal.SIGTERM, -signal.SIGTERM, 0.6)]
)
def test_init_goes_on_after_a_signal(files, capsys, number, status, share):
    (files / "like.json").write_text(json.dumps({f"w{k}": [50, 1000] for k in range(400)}))
    (files / "all.toml").write_text('[[rules]]\npattern = "*"\ninitializer = "normal"')
    given = ("init", "--rules", "all.toml", "--seed", "5", "--like", "like.json", "-o")
    run(capsys, *given, "whole")
    whole, unfinished = (files / "whole").read_bytes(), files / "m.unfinished"
    process = subprocess.Popen(
        [sys.executable, "-m", "arrayinit", *given, "m"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (unfinished.exists() and unfinished.stat().st_size > share * len(whole)):
        time.sleep(0.0002)
    process.send_signal(number)
    said = process.communicate()[1]
    if process.returncode:  # otherwise it was faster
        assert process.returncode == status
        assert said.strip() == ("arrayinit: interrupted" if number == signal.SIGINT else "")
        assert not (files / "m").exists()
        assert run(capsys, *given, "m")[0] == 0
    assert (files / "m").read_bytes() == whole
    assert not unfinished.exists()


@pytest.mark.slow
def test_init_goes_on_after_it_was_killed(files):
    (files / "big.json").write_text(json.dumps({f"w{k}": [1000, 9000] for k in range(6)}))
    line = [sys.executable, "-m", "arrayinit", *INIT, "--like", "big.json", "-o", "m.safetensors"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    unfinished = files / "m.safetensors.unfinished"
    while process.poll() is None and not (unfinished.exists() and unfinished.stat().st_size > 40_000_000):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 40_000_000 < unfinished.stat().st_size < 216_000_000
    subprocess.run(line, check=True, timeout=120, stdout=subprocess.DEVNULL)
    held = namespace("safetensors.numpy").load_file("m.safetensors")
    assert all(same(held[f"w{k}"], ai.normal((1000, 9000), std=0.02, seed=5, name=f"w{k}")) for k in range(6))


def test_fingerprint(capsys, files):
    run(capsys, *INIT, "--like", "shapes.json", "-o", "m.safetensors")
    status, out, _ = run(capsys, "fingerprint", "m.safetensors")
    assert status == 0
    held = namespace("safetensors.torch").load_file("m.safetensors")
    *lines, total = out.splitlines()
    assert {line.split()[-1]: line.split()[0] for line in lines} == {k: ai.fingerprint(x) for k, x in held.items()}
    assert total.endswith("  3 tensors")
    plain = {name: np.asarray(held[name]) for name in ("fc.bias", "fc.weight")}
    np.savez("m.npz", **plain)
    _, out, _ = run(capsys, "fingerprint", "m.npz")
    assert [line.split()[0] for line in out.splitlines()[:-1]] == [ai.fingerprint(x) for x in plain.values()]
    np.save("w.npy", plain["fc.weight"].T)
    _, out, _ = run(capsys, "fingerprint", "w.npy", "--layout", "io")
    assert out.split()[0] == ai.fingerprint(plain["fc.weight"])


def test_fingerprint_of_all_does_not_depend_on_the_order(capsys, files):
    save = namespace("safetensors.numpy").save_file
    a, b = np.ones(3, "float32"), np.zeros((2, 2), "float64")
    save({"a": a, "b": b}, "one")
    save({"b": b, "a": a}, "two")
    save({"a": a, "c": b}, "three")
    totals = [run(capsys, "fingerprint", name)[1].splitlines()[-1] for name in ("one", "two", "three")]
    assert totals[0] == totals[1] != totals[2]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("e.npy", b"", "(No data left in file)"),
        ("e.npz", b"PK\x03\x04garbage", "`e.npz` must be a .npz file of NumPy (File is not a zip file)"),
        ("e.npy", b"\x93NUMPYgarbage", "(we only support format version"),
        ("e", b"", "`e` must be a safetensors file"),
        ("e.pt", b"PK", "save it with safetensors.torch.save_file (npy and npz files"),
    ],
)
def test_fingerprint_of_broken_files(capsys, files, name, data, said):
    (files / name).write_bytes(data)
    status, out, err = run(capsys, "fingerprint", name)
    assert (status, out) == (1, "")
    assert said in err


def test_fingerprints_of_scalars_and_of_nothing(capsys, files):
    namespace("ml_dtypes")
    (files / "few.json").write_text('{"s": {"shape": [], "dtype": "bfloat16"}, "e": [0, 3]}')
    run(capsys, *INIT, "--like", "few.json", "-o", "m")
    lines = run(capsys, "fingerprint", "m")[1].splitlines()
    assert lines[0] == f"{ai.fingerprint(np.empty((0, 3), 'float32'))}  float32    0x3              e"
    drawn = ai.normal((), std=0.02, seed=5, name="s", dtype="bfloat16")
    assert lines[1] == f"{ai.fingerprint(drawn)}  bfloat16   scalar           s"


def test_fingerprint_refuses(capsys, files):
    status, out, err = run(capsys, "fingerprint", "rules.toml")
    assert (status, out) == (1, "")
    assert "must be a safetensors file" in err
    assert run(capsys, "fingerprint", "lost")[0] == 2


@pytest.mark.slow
def test_without_docstrings_and_assertions(tmp_path):
    """`python -OO`: all modules can be imported, and all commands run."""
    (tmp_path / "shapes.json").write_text('{"h.c_proj.weight": [3, 2], "w.weight": [2, 2]}')
    init = [
        "init",
        "--like",
        "shapes.json",
        "--recipe",
        "gpt2",
        "--set",
        "layers=2",
        "--seed",
        "0",
        "-o",
        "a.safetensors",
    ]
    commands = {
        "recipes": ["--help"],
        "gpt2": ["recipes"],
        "c_proj": ["recipes", "gpt2", "--format", "toml"],
        "truncated_normal": ["describe", "trunc_normal", "3x4"],
        "2 tensors, ": init,
        "2 tensors": ["fingerprint", "a.safetensors"],
        "all 1 identical": ["check", "--backend", "numpy", "--dtype", "float32"],
        "torch/uniform": ["bench", "--list"],
    }
    every = [name for name in modules() if not any(word in name for word in ("cupy", "launcher", "triton", "keras"))]
    code = f"""
import contextlib, importlib, io
from arrayinit.cli import main
for said, arguments in {commands!r}.items():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if main(arguments) or said not in out.getvalue():
            raise SystemExit(f"{{arguments}}: {{out.getvalue()}}")
for name in {every!r}:
    importlib.import_module(f"arrayinit.{{name}}".rstrip("."))
"""
    command = [sys.executable, "-OO", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


WORDS = [
    *(
        "",
        " ",
        "-1",
        "0",
        "1e400",
        "9" * 5000,
        "nan",
        "None",
        "x",
        "f4,(",
        "\uff11x2",
        "a" * 10**4,
        "--",
        "=",
    ),
    *(",", ",,", "1,2", "[1]", "{}", "1_000", "9" * 30 + "x3", "1e3", "true", "normal", "gpt2", "%s", "/dev/null", "*"),
]
TEMPLATES = [
    "describe @ 3x4", "describe normal @", "describe normal 3x4 --std @", "describe normal 3x4 --@ 1",
    "describe kaiming_normal 3x4 --layout @", "describe kaiming_normal 3x4 --in-axis @ --out-axis 0",
    "describe packed 3x4 --initializer @", "describe normal 3x4 --dtype @", "describe xavier_normal 3x4 --groups @",
    "describe distribution 3x4 --distribution gamma --parameters @", "recipes @", "recipes gpt2 --set @",
    "recipes gpt2 --set layers=@", "recipes mup --set inputs=@", "recipes gpt2 --format @",
    "init --like @ --recipe gpt2 --seed 0 --dry-run", "init --like s.json --rules @ --seed 0 --dry-run",
    "init --like s.json --recipe gpt2 --seed @ --dry-run", "init --like s.json --recipe @ --seed 0 --dry-run",
    "init --like s.json --recipe gpt2 --seed 0 --seed-names @ --dry-run",
    "init --like s.json --recipe gpt2 --seed 0 --dtype @ --dry-run", "fingerprint @", "fingerprint a.npy --layout @",
    "check --backend @", "check --backend numpy --dtype @", "bench --rows @ --list", "@",
]  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_wrong_words(tmp_path, monkeypatch, capsys, template):
    """Whatever is typed, a command ends with an exit status, and with an error if the status is not 0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text('{"a.weight": [3, 2]}')
    np.save("a.npy", np.ones(3))
    for word in WORDS:
        status = command.main([part.replace("@", word) for part in template.split()])
        said = capsys.readouterr()
        assert status in (0, 1, 2), word
        assert status == 0 or said.err or "nothing to check" in said.out, word
