"""Which streams have new facts, on the way to those who look at them live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

MOST = 10_000
# News gathers for so long: an order's facts of a moment are one message, and nobody sees the difference.
GATHERED_SECONDS = 0.02


class Publishes(Protocol):
    """What hands a message to whoever listens to a topic."""

    async def publish(self, topic: str, message: bytes) -> None: ...


class News:
    """A commit only says which streams it has added to; that is told behind its back, once for each stream.

    The stream's name is the topic, and the message is empty: who hears it looks. Nothing is kept, and
    beyond `MOST` nothing is told: who must not miss anything looks again now and then.
    """

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self.bell = asyncio.Event()

    def add(self, streams: Iterable[str]) -> None:
        if len(self._changed) < MOST:
            self._changed.update(streams)
            self.bell.set()

    async def tell(self, live: Publishes) -> None:
        """Tell what has been added so far. What `live` can't take is lost."""
        self.bell.clear()
        changed, self._changed = self._changed, set()
        for stream in changed:
            await live.publish(stream, b"")
