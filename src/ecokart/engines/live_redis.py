"""Publish and subscribe between processes, through Redis: one connection a process for all its topics."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Connection
from redis.exceptions import RedisError

from ecokart.core.errors import Unavailable
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.redis_connection import RedisClient

MOST_CONNECTIONS = 4
# A connection that says nothing for so long is asked, and lost when it says nothing for as long again.
QUIET_SECONDS = 2.0


class RedisLive:
    """`Live` through Redis. Connects when it is used.

    Publishing takes at most half a second, then it is `Unavailable`; subscribing, four seconds of silence.
    When the connection of the subscriptions is lost, every iterator ends: what was published
    meanwhile nobody has kept. Subscribing again connects again.
    """

    def __init__(self, url: str) -> None:
        self._redis = RedisClient(url, most_connections=MOST_CONNECTIONS)
        self._prefix = self._redis.prefix
        self._opening: asyncio.Task[_Subscriptions] | None = None

    async def publish(self, topic: str, message: bytes) -> None:
        await self._redis.ask("PUBLISH", self._prefix + topic, message)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        subscriptions = await self._subscriptions()
        async with subscriptions.listen(self._prefix + topic) as messages:
            yield messages

    async def cut_off(self) -> None:
        """End every iterator, and begin with a new connection."""
        opening, self._opening = self._opening, None
        if opening:
            with suppress(Unavailable):
                await (await opening).close()

    async def ping(self) -> str:
        await self.publish("ping", b"")
        return await self._redis.version()

    async def close(self) -> None:
        await self.cut_off()
        await self._redis.close()

    async def _subscriptions(self) -> _Subscriptions:
        """The connection; all who need it while it is being made wait for the same one, or its failure."""
        opened = self._opening
        if opened is None or (opened.done() and (opened.exception() or opened.result().over)):
            self._opening = opened = asyncio.create_task(self._open())
        return await asyncio.shield(opened)

    async def _open(self) -> _Subscriptions:
        return _Subscriptions(await self._redis.connection())


class _Subscriptions:
    """One connection with all that is subscribed through it. Once it is lost it stays so: `over`.

    Whoever joins or leaves only says so, and one task sends it: who gives up halfway leaves the
    connection, which is everybody's, as it was.
    """

    def __init__(self, connection: Connection) -> None:
        self.over = False
        self._connection = connection
        self._here = MemoryLive()
        self._listeners: Counter[str] = Counter()
        self._unsent: list[tuple[str, ...]] = []
        self._bell = asyncio.Event()
        # Redis answers in order: these are the answers that are still to come, False if it is lost.
        self._unanswered: deque[asyncio.Future[bool]] = deque()
        self._writing = asyncio.create_task(self._write())
        self._reading = asyncio.create_task(self._read())

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """From here on the topic's messages come, since Redis has confirmed it."""
        async with self._here.subscribe(topic) as messages:
            self._listeners[topic] += 1
            try:
                # Bounded by the connection's silence, not by time: thousands may come at once.
                if not await asyncio.shield(self._ask("SUBSCRIBE", topic)):
                    raise Unavailable("Redis was lost before it answered to a subscription.")
                yield messages
            finally:
                self._listeners[topic] -= 1
                if not self._listeners[topic]:
                    del self._listeners[topic]
                    self._ask("UNSUBSCRIBE", topic)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, self._writing, return_exceptions=True)

    def _ask(self, *command: str) -> asyncio.Future[bool]:
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self.over:
            answered.set_result(False)
        else:
            self._unsent.append(command)
            self._unanswered.append(answered)
            self._bell.set()
        return answered

    async def _write(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            commands, self._unsent = self._unsent, []
            packed = self._connection.pack_commands(commands)
            with suppress(RedisError, OSError):  # who reads learns of it
                await self._connection.send_packed_command(packed, check_health=False)

    async def _read(self) -> None:
        """Hands on what comes, until the connection is lost or closed."""
        try:
            while True:
                asked = bool(self._unanswered)
                answer = await self._connection.read_response(
                    timeout=QUIET_SECONDS, disconnect_on_error=False, push_request=True
                )
                if isinstance(answer, list) and answer[0] == b"message":
                    await self._here.publish(answer[1].decode(), answer[2])
                elif answer is not None:
                    self._unanswered.popleft().set_result(True)
                elif asked:
                    break
                elif not self._unanswered:  # else somebody asked a moment ago
                    self._ask("PING")
        except (RedisError, OSError):
            pass
        finally:
            self.over = True
            for answered in self._unanswered:
                answered.set_result(False)
            self._writing.cancel()
            await self._here.cut_off()
            await self._connection.disconnect(nowait=True)
