"""Rows that are found by their number or their path, and print as a table."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, overload

__all__ = ["Listing"]

T = TypeVar("T")


class Listing(Sequence[T]):
    """A sequence of rows with a `path` each, and other paths in `tied` where a row has that."""

    @property
    @abstractmethod
    def _entries(self) -> tuple[T, ...]: ...

    @abstractmethod
    def to_text(self) -> str:
        """A plain table."""

    @overload
    def __getitem__(self, k: int | str) -> T: ...

    @overload
    def __getitem__(self, k: slice) -> tuple[T, ...]: ...

    def __getitem__(self, k: int | str | slice) -> T | tuple[T, ...]:
        """A row by its number or its path. KeyError, IndexError."""
        if not isinstance(k, str):
            return self._entries[k]
        for row in self._entries:
            entry: Any = row
            if k == entry.path or k in getattr(entry, "tied", ()):
                return row
        raise KeyError(k)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()
