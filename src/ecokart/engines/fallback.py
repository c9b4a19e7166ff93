"""A cache and a live that go on without their server, each process by itself, until it is back.

What is lost meanwhile is what their ports allow to be lost: values and counts that others see, and
messages between processes. Nothing that decides about goods or money rests on either.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Cache
from ecokart.engines.cache_memory import MemoryCache
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.live_redis import RedisLive

R = TypeVar("R")

ASK_AGAIN_SECONDS = 1.0

log = logging.getLogger("ecokart.engines")


class Circuit:
    """Whether a port's server is there. While it is away nobody waits for it: one task asks each second.

    `ping` raises `Unavailable` while the server is away; `returning` runs before it is used again,
    and may raise the same.
    """

    def __init__(
        self,
        port: str,
        ping: Callable[[], Awaitable[object]],
        returning: Callable[[], Awaitable[None]],
    ) -> None:
        self._port, self._ping, self._returning = port, ping, returning
        self._away = ""
        self._asking: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        return bool(self._away)

    def trip(self, error: Unavailable) -> None:
        """The server didn't answer. Only the first to say so changes anything."""
        if not self._away:
            self._away = str(error)
            log.warning("%s: %s This process goes on by itself.", self._port, error)
            self._asking = asyncio.create_task(self._ask_again())

    def check(self) -> None:
        """Raises `Unavailable` while the server is away, without asking it."""
        if self._away:
            raise Unavailable(self._away)

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _ask_again(self) -> None:
        began = time.monotonic()
        while self._away:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            try:
                await self._ping()
                await self._returning()
                self._away = ""
            except Unavailable:
                continue
            except Exception:  # asking must go on, or the port would stay away until a restart
                log.exception("%s: asked in vain", self._port)
        log.info("%s: back after %.0f s", self._port, time.monotonic() - began)


class FallbackCache:
    """`Cache` over another one, or over this process's memory while that one is away."""

    def __init__(self, cache: Cache) -> None:
        self._cache, self._own = cache, MemoryCache()
        self._circuit = Circuit("cache", cache.ping, self._forget_meanwhile)
        # What changed while the cache was away is forgotten there: it must not tell the old value.
        self._changed: set[str] = set()

    async def get(self, key: str) -> bytes | None:
        return await self._ask(lambda cache: cache.get(key))

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        await self._ask(lambda cache: cache.set(key, value, ttl_seconds=ttl_seconds), key)

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        return await self._ask(lambda cache: cache.add(key, value, ttl_seconds=ttl_seconds), key)

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        return await self._ask(lambda cache: cache.increment(key, ttl_seconds=ttl_seconds), key)

    async def delete(self, *keys: str) -> None:
        await self._ask(lambda cache: cache.delete(*keys), *keys)

    async def ping(self) -> str:
        self._circuit.check()
        try:
            return await self._cache.ping()
        except Unavailable as error:
            self._circuit.trip(error)
            raise

    async def close(self) -> None:
        await self._circuit.close()
        await self._cache.close()

    async def _ask(self, question: Callable[[Cache], Awaitable[R]], *changes: str) -> R:
        if not self._circuit.away:
            try:
                return await question(self._cache)
            except Unavailable as error:
                self._circuit.trip(error)
        self._changed.update(changes)
        return await question(self._own)

    async def _forget_meanwhile(self) -> None:
        while self._changed:
            keys = [self._changed.pop() for _ in range(min(1000, len(self._changed)))]
            try:
                await self._cache.delete(*keys)
            except Unavailable:
                self._changed.update(keys)
                raise
        self._own = MemoryCache()


class FallbackLive:
    """`Live` over Redis, or among the tasks of this process while that is away.

    Going over from one to the other ends every iterator: the listeners come again, and are then
    where the messages are.
    """

    def __init__(self, live: RedisLive) -> None:
        self._live, self._own = live, MemoryLive()
        self._circuit = Circuit("live", live.ping, self._own.cut_off)

    async def publish(self, topic: str, message: bytes) -> None:
        if not self._circuit.away:
            try:
                await self._live.publish(topic, message)
            except Unavailable as error:
                await self._fall_back(error)
            else:
                return
        await self._own.publish(topic, message)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            yield await self._listen(stack, topic)

    async def ping(self) -> str:
        self._circuit.check()
        try:
            return await self._live.ping()
        except Unavailable as error:
            await self._fall_back(error)
            raise

    async def close(self) -> None:
        await self._circuit.close()
        await self._live.close()
        await self._own.cut_off()

    async def _listen(self, stack: AsyncExitStack, topic: str) -> AsyncIterator[bytes]:
        if not self._circuit.away:
            try:
                return await stack.enter_async_context(self._live.subscribe(topic))
            except Unavailable as error:
                await self._fall_back(error)
        return await stack.enter_async_context(self._own.subscribe(topic))

    async def _fall_back(self, error: Unavailable) -> None:
        self._circuit.trip(error)
        await self._live.cut_off()
