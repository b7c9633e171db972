"""The implementation by hand against the golden vectors, and against what was published of Philox."""

import ast
import itertools
from pathlib import Path

import pytest
import stream_by_hand
from initializers_by_hand import CLOSE, INITIALIZERS, draw

from arrayinit import Spec, initializers
from arrayinit.conformance.cases import CASES, DTYPES, SEED, golden
from arrayinit.conformance.check import tolerance

BY_TABLES_OF_SCIPY = {"chrono", "distribution", "lru_gamma_log", "lru_nu_log", "mamba2_a_log", "mamba_dt_bias"}


@pytest.mark.parametrize("name", ["stream_by_hand", "initializers_by_hand"])
def test_it_shares_no_code_with_the_package(name):
    tree = ast.parse((Path(__file__).parents[1] / "helpers" / f"{name}.py").read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names
    assert not [name for name in names if name.split(".")[0] in ("arrayinit", "numpy")]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_has_the_published_words(counter, key, words):
    counter, (low, high), words = ([int(word, 16) for word in text.split()] for text in (counter, key, words))
    assert stream_by_hand.philox(tuple(counter), high << 32 | low) == tuple(words)


def plain(value):
    """Specs as pairs (name, arguments)."""
    if isinstance(value, Spec):
        return value.name, {key: plain(one) for key, one in value.items}
    return [plain(one) for one in value] if isinstance(value, tuple) and isinstance(value[0], Spec) else value


def test_it_knows_every_initializer():
    assert set(INITIALIZERS) == set(initializers.NAMES) - BY_TABLES_OF_SCIPY | {"bits"}


@pytest.mark.parametrize("case", [case for case in CASES if case.spec.name in INITIALIZERS], ids=lambda case: case.name)
def test_it_draws_the_golden_vectors(case):
    key = stream_by_hand.fold(SEED, case.name)
    arguments = {name: plain(value) for name, value in case.spec.items}
    for dtype in ("float64", "complex64") if case.spec.name == "orthogonal" else DTYPES:  # that one takes long
        drawn = draw(case.spec.name, case.shape, dtype, key, **arguments, **case.keywords)
        first = [drawn[at] for at in itertools.islice(itertools.product(*map(range, drawn.shape)), 4)]
        parts = [part for x in first for part in ((x.real, x.imag) if dtype.startswith("complex") else (x,))]
        head = golden()[case.name][dtype]["head"]
        if case.spec.name in CLOSE:
            assert parts == pytest.approx([float.fromhex(x) for x in head], abs=tolerance(dtype))
        else:
            assert [float(x).hex() for x in parts] == head
