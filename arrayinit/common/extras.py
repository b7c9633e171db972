"""Errors of libraries that are not installed."""

from typing import Any

__all__ = ["how_to_install", "missing_library"]


def how_to_install(extra: str) -> str:
    """The commands that install an extra of pyproject.toml; double quotes are right in all shells.

    Where arrayinit is installed from a copy of its repository, the first one still finds what the extra asks for; where
    a copy is only on the path, the second does.
    """
    return f'pip install "arrayinit[{extra}]", or in a copy of the repository pip install ".[{extra}]"'


def missing_library(what: str, library: str, extra: str, error: Any) -> ImportError:
    """The error of something that needs a library which can't be imported."""
    return ImportError(f"{what} needs {library}, which can't be imported ({error}): {how_to_install(extra)}")
