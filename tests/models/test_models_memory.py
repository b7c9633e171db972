"""Which arrays share memory: exactly, by all ways in which they can lie in it."""

import numpy as np
import pytest
from conftest import namespace

from arrayinit.backends import backend_of
from arrayinit.models.memory import shared_in_part


def found(**arrays):
    return shared_in_part((name, backend_of(x).extents(x)) for name, x in arrays.items())


def matrix(library):
    return namespace("torch").zeros(6, 8) if library == "torch" else np.zeros((6, 8), np.float32)


LIBRARIES = pytest.mark.parametrize("library", ["numpy", "torch"])
VIEWS = [
    lambda x: x,
    lambda x: x.T,
    lambda x: x[1:4],
    lambda x: x[:, ::2],
    lambda x: x[:, 1::2],
    lambda x: x.reshape(-1)[3:20],
    lambda x: x.reshape(-1)[::7],
    lambda x: x.reshape(-1)[1::7],
    lambda x: x.reshape(2, 3, 2, 4)[1, :, 0],
    lambda x: x[5:6, 7:8],
    lambda x: x[0:0],
]


@LIBRARIES
def test_every_pair_of_views_against_the_elements_that_they_have(library):
    x = matrix(library)
    numbers = np.arange(48).reshape(6, 8)
    for a in VIEWS:
        for b in VIEWS:
            common = np.intersect1d(np.asarray(a(numbers)), np.asarray(b(numbers)))
            assert bool(found(a=a(x), b=b(x))) == bool(common.size)


def test_reversed_arrays():
    x = np.zeros(20)
    assert not found(a=x[::-2], b=x[::2])
    assert found(a=x[::-2], b=x[1::2])
    assert found(a=x[:10][::-1], b=x[9:])
    assert not found(a=x[:10][::-1], b=x[10:])


def test_many_slices_of_one_buffer_are_apart():
    buffer = np.zeros(1000)
    slices = {str(k): buffer[10 * k : 10 * k + 10] for k in range(100)}
    columns = {f"column {k}": np.zeros((10, 30))[:, k] for k in range(30)}
    assert found(**slices, **columns) == {}
    assert found(**slices, all=buffer[995:]) == {"99": ["all"], "all": ["99"]}


def test_all_that_share_name_each_other():
    x = np.zeros((4, 4))
    others = {name: sorted(each) for name, each in found(a=x, b=x.T, c=x[0], d=np.zeros(4)).items()}
    assert others == {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}


def test_libraries_that_share_memory():
    torch = namespace("torch")
    x = np.zeros((4, 4), np.float32)
    t = torch.from_numpy(x)
    assert found(a=x[:2], b=t[1:])
    assert not found(a=x[:2], b=t[2:])


def test_storages_without_values():
    torch = namespace("torch")
    x = torch.zeros(4, 4, device="meta")
    assert found(a=x, b=x.T)
    assert not found(a=x[:, :2], b=x[:, 2:])
    assert not found(a=x, b=torch.zeros(4, 4, device="meta"))


def test_what_is_read_in_another_way_is_another_array():
    torch = namespace("torch")
    x = torch.zeros(4, dtype=torch.complex64)
    plain, conjugate = (backend_of(y).extents(y) for y in (x, x.conj()))
    assert plain != conjugate
    assert found(a=x, b=x.conj())
    assert found(a=x, b=torch.view_as_real(x))
    y = np.zeros(4, np.float32)
    assert backend_of(y).extents(y) != backend_of(y.view(np.int32)).extents(y.view(np.int32))


def test_axes_of_one_element_lead_nowhere():
    torch = namespace("torch")
    x = torch.zeros(4, 1)
    y = x.as_strided((4, 1), (1, 7))
    assert backend_of(x).extents(x) == backend_of(y).extents(y)


def test_tensors_that_hold_tensors():
    torch = namespace("torch")

    class Scaled(torch.Tensor):
        @staticmethod
        def __new__(cls, values):
            return torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype)

        def __init__(self, values):
            self.values_here = values

        def __tensor_flatten__(self):
            return ["values_here"], None

        @staticmethod
        def __tensor_unflatten__(inner, rest, size, stride):
            return Scaled(inner["values_here"])

        @classmethod
        def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
            return NotImplemented

    a = torch.zeros(3)
    assert found(x=Scaled(a), y=a)
    assert not found(x=Scaled(a), y=torch.zeros(3))
