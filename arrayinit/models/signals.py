"""Forward passes of a model: its inputs, and the layers whose outputs are measured."""

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

__all__ = ["Layers", "arguments", "is_chosen"]

Layers: TypeAlias = str | Callable[[str, Any], bool]


def is_chosen(layers: Layers, path: str, module: Any) -> bool:
    """Whether `layers`, a glob or a predicate, chooses a layer."""
    return fnmatch.fnmatchcase(path, layers) if isinstance(layers, str) else bool(layers(path, module))


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional arguments and keywords that inputs stand for."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}
