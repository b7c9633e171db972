"""The outputs of layers, passed through a function by the `__call__` of their classes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

__all__ = ["Tap", "tapping"]

Tap: TypeAlias = Callable[[str, Any], Any]  # (name, output) -> what the model goes on with


@contextmanager
def tapping(layers: Mapping[str, Any], tap: Tap) -> Iterator[None]:
    """Pass the outputs of layers, by name, through `tap`. Python looks for `__call__` in a type, not in an object."""
    wanted = {id(layer): name for name, layer in layers.items()}
    with ExitStack() as stack:
        for kind in {type(layer) for layer in layers.values()}:
            stack.enter_context(_tapping(kind, wanted, tap))
        yield


@contextmanager
def _tapping(kind: Any, wanted: Mapping[int, str], tap: Tap) -> Iterator[None]:
    own, call = vars(kind).get("__call__"), kind.__call__
    running: set[int] = set()  # a class may call the `__call__` of its base, which is one call of the layer

    def tapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self) not in wanted or id(self) in running:
            return call(self, *args, **kwargs)
        running.add(id(self))
        try:
            output = call(self, *args, **kwargs)
        finally:
            running.discard(id(self))
        return tap(wanted[id(self)], output)

    kind.__call__ = tapped
    try:
        yield
    finally:
        if own is not None:
            kind.__call__ = own
        else:
            del kind.__call__
