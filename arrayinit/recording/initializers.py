"""Calls of torch.nn.init, found in the frames that an operation comes from -> the initializers of this package.

A frame is known by its code, so it does not matter under which name or from where a constructor calls the function.
"""

from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import torch
from torch.nn import init

from arrayinit.specs import Spec, spec

__all__ = ["named", "whole"]

DEPTH = 6  # frames between a call of torch.nn.init and its operation

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


def named(frame: FrameType | None) -> tuple[Spec, torch.Tensor] | None:
    """The initializer that the nearest frames are a call of, and its tensor."""
    for _ in range(DEPTH):
        if frame is None:
            return None
        build = _NAMED.get(frame.f_code)
        if build is not None:
            initializer = build(frame.f_locals)
            return None if initializer is None else (initializer, frame.f_locals["tensor"])
        frame = frame.f_back
    return None
