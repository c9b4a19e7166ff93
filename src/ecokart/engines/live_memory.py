"""Publish and subscribe inside this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FURTHEST_BEHIND = 1000


class MemoryLive:
    """`Live` among the tasks of one event loop."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[_Listener]] = defaultdict(set)

    async def publish(self, topic: str, message: bytes) -> None:
        for listener in tuple(self._listeners.get(topic, ())):
            listener.offer(message)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        listener = _Listener()
        self._listeners[topic].add(listener)
        try:
            yield listener.messages()
        finally:
            self._listeners[topic].discard(listener)
            if not self._listeners[topic]:
                del self._listeners[topic]

    async def ping(self) -> str:
        return "this process's memory"

    async def close(self) -> None:
        """Nothing is held."""


class _Listener:
    """A bounded queue; None in it means that the listener fell too far behind."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(FURTHEST_BEHIND + 1)
        self._cut = False

    def offer(self, message: bytes) -> None:
        if self._cut:
            return
        self._cut = self._queue.qsize() >= FURTHEST_BEHIND
        self._queue.put_nowait(None if self._cut else message)

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._queue.get()) is not None:
            yield message
