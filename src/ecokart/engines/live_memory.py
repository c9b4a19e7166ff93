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

    async def cut_off(self) -> None:
        """End every iterator, behind what it has yet to yield."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.cut()

    async def ping(self) -> str:
        return "this process's memory"

    async def close(self) -> None:
        await self.cut_off()


class _Listener:
    """A bounded queue; None in it is the end: too far behind, or cut off with all others."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(FURTHEST_BEHIND + 1)
        self._cut = False

    def offer(self, message: bytes) -> None:
        if self._queue.qsize() >= FURTHEST_BEHIND:
            self.cut()
        elif not self._cut:
            self._queue.put_nowait(message)

    def cut(self) -> None:
        if not self._cut:
            self._cut = True
            self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._queue.get()) is not None:
            yield message
