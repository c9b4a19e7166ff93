"""What was made of the shelf's content, kept until what it shows has changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from ecokart.features.catalog.shelf import Shelf

ENTRY_BYTES = 512  # of a key and what is shown, about

V = TypeVar("V")
S = TypeVar("S")


class _Entry(NamedTuple, Generic[V]):
    """A value, what it shows, and the shelf's generation at which that was last compared."""

    generation: int
    shows: Any
    value: V


class Kept(Generic[V]):
    """Pages and answers that are the same for everybody.

    In a large shop something is sold at every moment, and most products are as they were: a value is
    made again when one of those that it shows has changed, not whenever any has.
    """

    def __init__(self, shelf: Shelf, size: Callable[[V], int], *, most_bytes: int) -> None:
        self._shelf, self._size, self._most_bytes = shelf, size, most_bytes
        self._entries: dict[Hashable, _Entry[V]] = {}
        self._bytes = 0

    def get(self, key: Hashable, shows: Callable[[], S], make: Callable[[S], V]) -> V:
        """The value for that key: as it was made before, if what `shows` gives is still the same."""
        entry, generation = self._entries.get(key), self._shelf.generation
        if entry and entry.generation == generation:
            return entry.value
        shown = shows()
        if entry and entry.shows == shown:
            self._entries[key] = _Entry(generation, shown, entry.value)
            return entry.value
        value = make(shown)
        self._keep(key, _Entry(generation, shown, value))
        return value

    def _keep(self, key: Hashable, entry: _Entry[V]) -> None:
        self._drop(key)
        self._entries[key] = entry
        self._bytes += self._size(entry.value) + ENTRY_BYTES
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._entries)))  # the one that was made first

    def _drop(self, key: Hashable) -> None:
        if entry := self._entries.pop(key, None):
            self._bytes -= self._size(entry.value) + ENTRY_BYTES
