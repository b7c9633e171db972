"""Keys and folding: known answers from a Philox written here, separate domains, and a value that behaves like one."""

import copy
import hashlib
import pickle

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import Key

ROOTS = [0, 5, 2**32, 2**64 - 1]
NAMES = ["", "weight", "encoder.layers.0.weight", "Gewicht äöü", "重み", "a" * 1000, "0"]
NUMBERS = [0, 1, 2**32 - 1, 2**32, 2**64 - 1]


def philox(counter, key):
    """Philox4x32-10 from the paper (Salmon et al. 2011, section 3.3), round by round."""
    (l0, r0, l1, r1), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * l0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * l1, 2**32)
        l0, r0, l1, r1 = high1 ^ r0 ^ k0, low1, high0 ^ r1 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return l0, r0, l1, r1


def folded(root, name):
    """fold as `arrayinit.fold` states it."""
    if isinstance(name, str):
        digest = hashlib.blake2b(name.encode("utf-8"), digest_size=16).digest()
        counter = np.frombuffer(digest, dtype="<u4").tolist()
    else:
        counter = [name % 2**32, name // 2**32, 0, 1]
    low, high, _, _ = philox(counter, (root % 2**32, root // 2**32))
    return low + 2**32 * high


def test_the_philox_of_this_file_knows_its_answer():
    counter, key = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert philox(counter, key) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@pytest.mark.parametrize("name", [*NAMES, *NUMBERS])
@pytest.mark.parametrize("root", ROOTS)
def test_fold_is_one_block_of_philox(root, name):
    assert int(Key(root).fold(name)) == folded(root, name)
    assert ai.fold(root, name) == Key(folded(root, name))
    assert int(Key(root).fold(name).fold("b")) == folded(folded(root, name), "b")


# Stated as numbers, so that they can't move together with the code above.
@pytest.mark.parametrize(
    ("root", "name", "wanted"),
    [
        (0, "weight", 0x54810A88A8890810),
        (5, "encoder.layers.0.weight", 0xBC5EAC390FC615A9),
        (2**64 - 1, "", 0x68EEAC9636B88C5F),
        (0, 0, 0x1348E23F2DCE73E5),
        (0, 1, 0x510C4549E9535BE3),
        (2**64 - 1, 2**64 - 1, 0xA1951B70D619276D),
    ],
)
def test_pinned_keys(root, name, wanted):
    assert int(ai.fold(root, name)) == wanted


@pytest.mark.parametrize("name", [*NAMES, *NUMBERS])
def test_name_of_a_draw_is_fold(name):
    for root in ROOTS:
        assert (ai.bits((9,), seed=root, name=name) == ai.bits((9,), seed=folded(root, name))).all()


def test_names_and_integers_are_separate_domains():
    keys = {int(Key(root).fold(name)) for root in ROOTS for name in [*NAMES, *NUMBERS, *map(str, NUMBERS)]}
    assert len(keys) == len(ROOTS) * (len({*NAMES, *map(str, NUMBERS)}) + len(NUMBERS))
    assert not keys & set(ROOTS)


def test_a_folded_key_is_not_a_word_of_its_own_stream():
    for root in ROOTS:
        for number in range(50):
            pair = ai.bits((2**40,), seed=root, index=np.s_[4 * number : 4 * number + 2]).astype(np.uint64)
            assert int(Key(root).fold(number)) != int(pair[0] | pair[1] << np.uint64(32))


def test_many_folds_are_distinct():
    keys = {int(ai.fold(0, k)) for k in range(20_000)} | {int(ai.fold(0, str(k))) for k in range(20_000)}
    assert len(keys) == 40_000


def test_order_of_names_matters():
    assert ai.fold(ai.fold(0, "a"), "b") != ai.fold(ai.fold(0, "b"), "a")
    assert ai.fold(ai.fold(0, "a"), "b") != ai.fold(0, "ab")


@pytest.mark.parametrize("seed", [*ROOTS, np.int8(5), np.uint64(2**64 - 1), np.int64(0)])
def test_int_and_equality(seed):
    key = Key(seed)
    assert int(key) == int(seed)
    assert type(key.low) is type(key.high) is int
    assert key == Key(int(seed)) == Key.of_words(int(seed) >> 32, int(seed) & 0xFFFFFFFF)
    assert hash(key) == hash(Key(int(seed)))
    assert key != Key(int(seed) ^ 2**40)
    assert key != int(seed)
    assert {key: "value"}[Key(int(seed))] == "value"
    assert repr(key) == f"Key({int(seed):#x})"


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda key: pickle.loads(pickle.dumps(key))])
def test_copies(clone):
    key = Key(2**63 + 17).fold("a")
    assert clone(key) == key
    assert clone(key) != key.fold("a")


def test_pickle_of_every_protocol():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(Key(2**64 - 1), protocol)) == Key(2**64 - 1)


@pytest.mark.parametrize("attribute", ["low", "high", "seed"])
def test_immutable(attribute):
    key = Key(3)
    with pytest.raises(AttributeError, match="immutable"):
        setattr(key, attribute, 1)
    with pytest.raises(AttributeError):
        delattr(key, attribute)
    assert int(key) == 3


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (True, TypeError),
        (np.True_, TypeError),
        (1.0, TypeError),
        (np.float32(1), TypeError),
        ("1", TypeError),
        (None, TypeError),
        (1j, TypeError),
        ([0, 1], TypeError),
        (-1, ValueError),
        (np.int64(-1), ValueError),
        (2**64, ValueError),
        (10**30, ValueError),
    ],
)
def test_bad_seeds(seed, error):
    with pytest.raises(error, match="`seed`") as caught:
        Key(seed)
    assert repr(seed) in str(caught.value) or str(seed) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (True, TypeError),
        (1.0, TypeError),
        (None, TypeError),
        (b"weight", TypeError),
        (("a",), TypeError),
        (-1, ValueError),
        (2**64, ValueError),
    ],
)
def test_bad_names(name, error):
    with pytest.raises(error, match="`name`"):
        Key(0).fold(name)
    with pytest.raises(error, match="`name`"):
        ai.fold(0, name)


def test_fold_needs_a_key():
    with pytest.raises(TypeError, match="`seed`"):
        ai.fold(None, "a")
    with pytest.raises(TypeError, match="`seed`"):
        ai.fold("a", "a")


def test_a_surrogate_is_no_name():
    with pytest.raises(ValueError, match="`name`"):
        ai.fold(0, "\ud800")
