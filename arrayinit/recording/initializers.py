"""Functions of torch that an operation comes from: calls of torch.nn.init -> the initializers of this package.

A frame is known by its code, so it does not matter under which name or from where a constructor calls the function.
"""

from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.nn import init
from torch.nn.utils import parametrizations

from arrayinit.specs import Spec, spec

__all__ = ["is_deep_copy", "is_of_storage", "is_orthogonality_test", "named", "whole"]

DEPTH = 8  # frames between a call of torch.nn.init and its operation

Builder = Callable[[dict[str, Any]], Spec | None]


def _trunc_normal(given: dict[str, Any]) -> Spec:
    return spec("trunc_normal", mean=given["mean"], std=given["std"], a=given["a"], b=given["b"])


def _kaiming(name: str) -> Builder:
    def build(given: dict[str, Any]) -> Spec:
        parameters = {"mode": given["mode"], "nonlinearity": given["nonlinearity"]}
        if given["nonlinearity"] == "leaky_relu":
            parameters["a"] = given["a"]
        return spec(name, **parameters)

    return build


def _code(function: Any) -> CodeType | None:
    return getattr(function, "__code__", None)


# Functions that return at once where a tensor is on the meta device, by which they are noted as a whole.
_WHOLE: dict[CodeType | None, Builder] = {
    _code(getattr(init, "_no_grad_trunc_normal_", None)): _trunc_normal,
    _code(init.orthogonal_): lambda given: spec("orthogonal", gain=float(given["gain"])),
    _code(init.sparse_): lambda given: spec("sparse", sparsity=given["sparsity"], std=given["std"]),
    _code(init.dirac_): lambda given: spec("dirac", groups=given["groups"]) if given["groups"] != 1 else spec("dirac"),
}
# Functions that end in one draw into their tensor.
_NAMED: dict[CodeType | None, Builder] = {
    _code(init.xavier_uniform_): lambda given: spec("xavier_uniform", gain=float(given["gain"])),
    _code(init.xavier_normal_): lambda given: spec("xavier_normal", gain=float(given["gain"])),
    _code(init.kaiming_uniform_): _kaiming("kaiming_uniform"),
    _code(init.kaiming_normal_): _kaiming("kaiming_normal"),
}


def whole(frame: FrameType) -> Spec | None:
    """The initializer that a frame is, if it asks whether its tensor is on the meta device to do nothing then."""
    build = _WHOLE.get(frame.f_code)
    return None if build is None else build(frame.f_locals)


def is_orthogonality_test(frame: FrameType) -> bool:
    """Whether torch asks if a matrix is orthogonal already, to leave out a step that would not change it then."""
    code = _code(getattr(parametrizations, "_is_orthogonal", None))
    return any(each.f_code is code for each in _nearest(frame))


def is_deep_copy(frame: FrameType) -> bool:
    """Whether copy.deepcopy copies a parameter."""
    return any(each.f_code is _code(nn.Parameter.__deepcopy__) for each in _nearest(frame))


def is_of_storage(frame: FrameType) -> bool:
    """Whether torch copies or loads a storage, or gives a tensor the storage that is loaded."""
    return any(each.f_globals.get("__name__") in ("torch.storage", "torch._utils") for each in _nearest(frame))


def _nearest(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame, and those that called it, as far as an operation may lie from a function of torch."""
    for _ in range(DEPTH):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def named(frame: FrameType | None) -> tuple[Spec, torch.Tensor] | None:
    """The initializer that the nearest frames are a call of, and its tensor."""
    for each in _nearest(frame):
        build = _NAMED.get(each.f_code)
        if build is not None:
            initializer = build(each.f_locals)
            return None if initializer is None else (initializer, each.f_locals["tensor"])
    return None
