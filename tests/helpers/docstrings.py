"""Docstrings of a module: their examples, run as doctests, and the public names that have none.

`python docstrings.py MODULE` prints an :class:`Examination` as JSON, for modules that need a process of their own.
"""

import doctest
import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import arrayinit as ai

BLOCK = re.compile(r"\n\n {4,}\S")  # an indented block: entries of Args and Raises follow their heading at once


class Examination(NamedTuple):
    """The output of examples that failed, and the names in `__all__` whose docstring has no example."""

    failures: list[str]
    without_example: list[str]


@functools.cache
def examine(name: str) -> Examination:
    """Run the examples of a module, and look for its public names without one. ImportError where it needs more."""
    module = importlib.import_module(name)
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for label, text in docstrings(module):
        test = doctest.DocTestParser().get_doctest(text, {"ai": ai, "np": np}, label, module.__file__, 0)
        runner.run(test, out=failures.append)
    return Examination(failures, list(without_example(module)))


def docstrings(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Name and text of each docstring that a module defines: its own, its functions', its classes' and methods'."""
    yield module.__name__, module.__doc__ or ""
    for value in {id(value): value for value in vars(module).values()}.values():
        if getattr(value, "__module__", None) != module.__name__ or not hasattr(value, "__qualname__"):
            continue
        label = f"{module.__name__}.{value.__qualname__}"
        yield label, value.__doc__ or ""
        for name, member in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isroutine(member) or isinstance(member, property):
                yield f"{label}.{name}", member.__doc__ or ""


def without_example(module: ModuleType) -> Iterator[str]:
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        is_ours = getattr(value, "__module__", "").startswith("arrayinit")  # STFT is Keras's own
        if not is_ours or not (inspect.isroutine(value) or inspect.isclass(value)):
            continue
        if not has_example(value):
            yield name
        for method, member in vars(value).items() if inspect.isclass(value) else ():
            is_method = inspect.isroutine(member) and method[0] != "_"
            if is_method and not has_example(getattr(value, method)):
                yield f"{name}.{method}"


def has_example(value: Any) -> bool:
    """Whether a docstring shows one, or names the function that it stands for. Methods inherit their docstrings."""
    text = inspect.getdoc(value) or ""
    is_other_form = text.startswith(("Fill x in place with :func:", "Deprecated: :func:"))
    return is_other_form or ">>>" in text or BLOCK.search(text) is not None


if __name__ == "__main__":
    print(json.dumps(examine(sys.argv[1])))
