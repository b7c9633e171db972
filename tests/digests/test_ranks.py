"""Fingerprints where ranks hold different things: all of them say the same, and none waits for another."""

import pytest
from conftest import namespace

import arrayinit as ai

ON_RANK = "(on rank 1)"
OTHERS = "ValueError: processes must share the same arrays; those of ranks 0 and 1 differ: "


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    namespace("torch")
    from worlds import results_of

    return results_of("digest_world.py", 2, tmp_path_factory.mktemp("world") / "store")


@pytest.mark.parametrize(("case", "words"), [
    ("on disk", ("ValueError: 'weight' is partitioned by ZeRO-3, and its partition is on a disk", ON_RANK)),
    ("abstract", ("TypeError: 'b': `x` must hold values", ON_RANK)),
    ("abstract in two dimensions", ("TypeError: 'b': `x` must hold values", ON_RANK)),
    ("abstract beside a partition", ("TypeError: 'bias': `x` must hold values", ON_RANK)),
    ("another parameter", ("ValueError: 'b.weight': parts must have each of the 24 elements", "got 12")),
    ("another array", (f"{OTHERS}'b' float32 (4,)",)),
    ("another dtype", (f"{OTHERS}`x` float32 (4,), `x` float64 (4,)",)),
])  # fmt: skip
def test_an_error_is_the_same_on_all_ranks(found, case, words):
    first, second = (said[case] for said in found)
    assert first == second
    assert all(word in first for word in words), first


def test_ranks_without_parts(found):
    """One joins with `shards={}`; whole models ask for no other rank."""
    torch = namespace("torch")
    one = {"weight": ai.fingerprint(torch.ones(4, 6))}
    assert [said["nothing here"] for said in found] == [one, {}]
    assert [said["only rank 0"] for said in found] == ["done", "done"]


def test_flat_parameters_without_elements(found):
    assert [said["without elements"] for said in found] == [True, True]
